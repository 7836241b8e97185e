//! How tokens come in requests, and go in responses.

use http::header::{CACHE_CONTROL, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::cookie::TokenCookie;
use crate::token::Token;
#[cfg(feature = "signed")]
use crate::token::TokenKeys;

/// How tokens come in requests, and go in responses.
#[derive(Clone, Debug)]
pub(super) struct Carrier {
    pub(super) cookie: Option<TokenCookie>,
    pub(super) header: Option<HeaderName>,
    pub(super) form: Form,
}

/// The form of their text.
#[derive(Clone, Debug)]
pub(super) enum Form {
    Unsigned,
    #[cfg(feature = "signed")]
    Signed(TokenKeys),
}

impl Form {
    /// What cannot be read still came from a session that may have written.
    fn read(&self, text: &str) -> Token {
        let token = match self {
            Self::Unsigned => text.parse(),
            #[cfg(feature = "signed")]
            Self::Signed(keys) => keys.verify(text),
        };
        token.unwrap_or(Token::UNPLACED)
    }

    fn write(&self, token: &Token) -> String {
        match self {
            Self::Unsigned => token.to_string(),
            #[cfg(feature = "signed")]
            Self::Signed(keys) => keys.sign(token),
        }
    }
}

impl Carrier {
    /// More tokens than this are not read one by one: then the freshness of now does for all of them.
    const MOST: usize = 4;

    /// Hands out the tokens of a request.
    pub(super) fn receive(&self, headers: &HeaderMap, mut take: impl FnMut(Token)) {
        let mut count = 0;
        let mut found = |text: &str| {
            count += 1;
            if count < Self::MOST {
                take(self.form.read(text));
            } else if count == Self::MOST {
                take(Token::UNPLACED);
            }
        };
        if let Some(name) = &self.header {
            for value in headers.get_all(name) {
                found(String::from_utf8_lossy(value.as_bytes()).trim());
            }
        }
        if let Some(cookie) = &self.cookie {
            cookie.values(headers, found);
        }
    }

    /// Sets the token on a response.
    pub(super) fn send(&self, token: &Token, headers: &mut HeaderMap) {
        let text = self.form.write(token);
        let cookie = self.cookie.as_ref().and_then(|cookie| cookie.set(&text));
        if let Some(cookie) = cookie {
            headers.append(SET_COOKIE, cookie);
        }
        if let Some(name) = &self.header
            && let Ok(value) = HeaderValue::try_from(text)
        {
            headers.insert(name, value);
        }
        if self.cookie.is_some() || self.header.is_some() {
            keep_private(headers);
        }
    }
}

/// No shared cache keeps the response: it would give one user's token to others. What else is said of caching stays.
fn keep_private(headers: &mut HeaderMap) {
    let directives = headers.get_all(CACHE_CONTROL).into_iter();
    let mut directives = directives
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii);
    let is_private = directives.any(|directive| {
        directive.eq_ignore_ascii_case(b"private") || directive.eq_ignore_ascii_case(b"no-store")
    });
    if !is_private {
        headers.append(CACHE_CONTROL, HeaderValue::from_static("private"));
    }
}
