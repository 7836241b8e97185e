//! The cookie that a token travels in.

use std::borrow::Cow;
use std::time::Duration;

use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, header};

use crate::config::{ConfigError, ConfigErrorKind};

/// The cookie that a token travels in. It is always `HttpOnly`, since no script needs it, `SameSite=Lax`, so that a link
/// from elsewhere to what was just written shows it, and has `Path=/`, since a write under one path is read under others.
/// Its size is bounded: with its name it has at most 53 bytes with a token of PostgreSQL, 72 if that is signed, and
/// never more than 384 besides its name.
///
/// ```
/// use std::time::Duration;
/// use dbrouter::web::TokenCookie;
///
/// let cookie = TokenCookie::new()
///     .name("__Host-seen")
///     .max_age(Duration::from_secs(10));
/// # let _ = cookie;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a cookie is of use to a `SessionLayer`"]
pub struct TokenCookie {
    name: Cow<'static, str>,
    /// As long as is needed, if it was not said.
    max_age: Option<Duration>,
    domain: Option<String>,
    connections: Connections,
}

/// Over which connections the cookie travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connections {
    Encrypted,
    All,
}

impl TokenCookie {
    /// What browsers keep at most.
    const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);

    /// How long it is kept where replicas may lag by any time.
    const USUAL: Duration = Duration::from_secs(60);

    /// The defaults.
    pub const fn new() -> Self {
        Self {
            name: Cow::Borrowed("dbrouter"),
            max_age: None,
            domain: None,
            connections: Connections::Encrypted,
        }
    }

    /// Its name. Defaults to `dbrouter`. Two routers in one application need two. The prefix `__Host-` is a promise to
    /// browsers that no other host of the domain has set it.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Cow::Owned(name.into());
        self
    }

    /// How long a browser keeps it, in whole seconds. A token matters only until every replica that serves reads has
    /// replayed what it speaks of. So it defaults to the router's [`max_staleness`](crate::Settings::max_staleness), and
    /// the interval and the timeout of its [monitor](crate::MonitorSettings), in which a lag becomes known, rounded up:
    /// 62 s, where nothing is configured. No replica that lags by more serves reads. If `max_staleness` is lifted, it
    /// defaults to 60 s: replay takes milliseconds, and where it takes a minute people are called; on the other hand, no
    /// request should carry a token all day for a write in the morning.
    ///
    /// What is lost when it expires: a browser's next request then begins a session that knows nothing of the
    /// write, and a replica that lags by *more than this* may show it the time before, if it serves reads: when
    /// `max_staleness` is lifted, or while the primary does not answer. Nothing is lost while all replicas lag by less.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }

    /// The same for a router whose replicas serve reads only if they lag by less, if that is limited.
    pub(super) fn with_longest_lag(mut self, most: Option<Duration>) -> Self {
        let needed = most.map(|most| {
            let rounded_up = most
                .saturating_add(Duration::from_nanos(999_999_999))
                .as_secs();
            Duration::from_secs(rounded_up.max(1)).min(Self::LONGEST)
        });
        self.max_age.get_or_insert(needed.unwrap_or(Self::USUAL));
        self
    }

    fn age(&self) -> Duration {
        self.max_age.unwrap_or(Self::USUAL)
    }

    /// The domain whose hosts all get it. Defaults to none: only the host that has set it does.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Without `Secure`, so that it also travels over connections that are not encrypted: for development. (Browsers
    /// make an exception for `localhost` as it is; other clients may not.) Defaults to `Secure`.
    pub fn insecure(mut self) -> Self {
        self.connections = Connections::All;
        self
    }

    /// # Errors
    ///
    /// If browsers would refuse it, or delete it at once.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let wrong =
            |kind, field: &str, problem: String| Err(ConfigError::new(kind, field, problem));
        let (name, max_age) = (&self.name, self.age());
        if name.is_empty() || !name.bytes().all(is_token) {
            let problem = format!(
                "is {name:?}; a cookie's name consists of letters, digits and !#$%&'*+-.^_`|~"
            );
            return wrong(ConfigErrorKind::Name, "cookie.name", problem);
        }
        let of_host = name.starts_with("__Host-");
        let secure = self.connections == Connections::Encrypted;
        if (of_host || name.starts_with("__Secure-")) && !secure {
            let problem = format!("is {name:?}, which browsers only accept with `Secure`");
            return wrong(ConfigErrorKind::Name, "cookie.name", problem);
        }
        if of_host && self.domain.is_some() {
            let problem = format!("is {name:?}, which browsers only accept without a domain");
            return wrong(ConfigErrorKind::Name, "cookie.name", problem);
        }
        if max_age.as_secs() == 0 || max_age > Self::LONGEST {
            let problem = format!(
                "is {max_age:?}; it must be a second at least, and {:?} at most",
                Self::LONGEST
            );
            return wrong(ConfigErrorKind::OutOfRange, "cookie.max_age", problem);
        }
        if let Some(domain) = &self.domain {
            let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
            if domain.is_empty() || !domain.bytes().all(is_part) {
                let problem = format!("is {domain:?}; it must be a domain, such as shop.example");
                return wrong(ConfigErrorKind::Name, "cookie.domain", problem);
            }
        }
        Ok(())
    }

    /// The values of all cookies of this name. (Cookies of several paths or domains may bear one.)
    pub(super) fn values(&self, headers: &HeaderMap, mut take: impl FnMut(&str)) {
        for header in headers.get_all(header::COOKIE) {
            // Other cookies may hold anything.
            let header = String::from_utf8_lossy(header.as_bytes());
            for cookie in Cookie::split_parse(header).flatten() {
                if cookie.name() == self.name {
                    take(cookie.value_trimmed());
                }
            }
        }
    }

    /// The header that sets it, or `None` if the value holds what no header may.
    pub(super) fn set(&self, value: &str) -> Option<HeaderValue> {
        let mut cookie = Cookie::build((self.name.as_ref(), value))
            .http_only(true)
            .same_site(SameSite::Lax)
            .secure(self.connections == Connections::Encrypted)
            .path("/")
            .max_age(self.age().try_into().ok()?);
        if let Some(domain) = &self.domain {
            cookie = cookie.domain(domain);
        }
        HeaderValue::try_from(cookie.build().to_string()).ok()
    }
}

impl Default for TokenCookie {
    fn default() -> Self {
        Self::new()
    }
}

/// RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
