//! Keys that sign tokens: who has none of them cannot make one.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::error::{Problem, TokenError};
use super::{Token, text};
use crate::config::{ConfigError, ConfigErrorKind};

/// Keys that tokens are signed with and verified by: HMAC-SHA256, of which 16 bytes are kept.
///
/// A token without a signature does no harm in the wrong hands: see [`Token`]. Signatures are for those who let nobody
/// choose what their routers believe, and who want positions in their log to be nobody's invention.
///
/// ```
/// use dbrouter::{Token, TokenKeys};
///
/// # fn example() -> Result<(), dbrouter::ConfigError> {
/// let keys = TokenKeys::new("sixteen bytes at least, from a secret store")?;
/// let text = keys.sign(&Token::UNPLACED);
/// assert_eq!(keys.verify(&text), Ok(Token::UNPLACED));
/// // Who has no key reads no signed text, and who has one reads no other.
/// assert!(text.parse::<Token>().is_err());
/// assert!(keys.verify(&Token::UNPLACED.to_string()).is_err());
/// # Ok(())
/// # }
/// # example().unwrap();
/// ```
///
/// # Rotation
///
/// Keys are changed without a token being refused on the way, in three steps, each of which reaches all processes
/// before the next one begins:
///
/// 1. Accept the new key: `TokenKeys::new(old)?.accept(new)?`.
/// 2. Sign with it: `TokenKeys::new(new)?.accept(old)?`.
/// 3. When the last token of the old key has expired (cookies: their maximal age), forget it:
///    `TokenKeys::new(new)?`.
///
/// To skip a step costs no error and no stale read, only the freshness of now where a token's key is not known.
#[derive(Clone)]
pub struct TokenKeys {
    signing: Key,
    accepted: Vec<Key>,
}

impl TokenKeys {
    /// Signs with this key, and accepts what it has signed. It should be random, and be used for nothing else.
    ///
    /// # Errors
    ///
    /// If it has fewer than 16 bytes.
    pub fn new(signing: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        Ok(Self {
            signing: Key::new(signing.as_ref(), "token_keys.signing")?,
            accepted: Vec::new(),
        })
    }

    /// Also accepts what this key has signed: an older one, or the next one.
    ///
    /// # Errors
    ///
    /// If it has fewer than 16 bytes.
    pub fn accept(mut self, key: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let key = Key::new(key.as_ref(), "token_keys.accepted")?;
        self.accepted.push(key);
        Ok(self)
    }

    /// The token's text, signed.
    #[must_use]
    pub fn sign(&self, token: &Token) -> String {
        let mut bytes = text::body(token, text::SIGNED);
        let signature = self.signing.signature(&bytes);
        bytes.extend_from_slice(&self.signing.id);
        bytes.extend_from_slice(&signature);
        text::encode(&bytes)
    }

    /// The token of a signed text.
    ///
    /// # Errors
    ///
    /// If the text is no token, is not signed, or not by one of these keys.
    pub fn verify(&self, text: &str) -> Result<Token, TokenError> {
        let mut buffer = text::buffer();
        let bytes = text::decode(text, &mut buffer)?;
        if !text::is_signed(bytes)? {
            return Err(Problem::Unsigned.into());
        }
        let (signed, signature) = bytes
            .split_last_chunk::<SIGNATURE>()
            .ok_or(Problem::Short)?;
        let (body, id) = signed.split_last_chunk().ok_or(Problem::Short)?;
        let mut problem = Problem::UnknownKey;
        for key in std::iter::once(&self.signing).chain(&self.accepted) {
            // Two keys may have one id.
            if key.id == *id {
                if key.has_signed(body, signature) {
                    return text::parse(body);
                }
                problem = Problem::Forged;
            }
        }
        Err(problem.into())
    }
}

/// No key is shown.
impl fmt::Debug for TokenKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKeys")
            .field("accepted", &self.accepted.len())
            .finish_non_exhaustive()
    }
}

/// What is kept of a signature: nobody guesses 128 bits, and the text stays short.
const SIGNATURE: usize = 16;

/// What is kept of a key's name: enough to find it among a few.
const ID: usize = 2;

/// As long as what is kept of a signature: a shorter one were easier to guess.
const SHORTEST: usize = SIGNATURE;

#[derive(Clone)]
struct Key {
    id: [u8; ID],
    mac: Hmac<Sha256>,
}

impl Key {
    fn new(bytes: &[u8], field: &str) -> Result<Self, ConfigError> {
        let short = || {
            let problem = format!(
                "has {} bytes; a key needs {SHORTEST} at least, random ones",
                bytes.len()
            );
            ConfigError::new(ConfigErrorKind::Key, field, problem)
        };
        if bytes.len() < SHORTEST {
            return Err(short());
        }
        let mac = Hmac::new_from_slice(bytes).map_err(|_| short())?;
        let mut key = Self { id: [0; ID], mac };
        // No body is empty, so this is no token's signature.
        let [a, b, ..] = key.signature(&[]);
        key.id = [a, b];
        Ok(key)
    }

    fn signature(&self, body: &[u8]) -> [u8; SIGNATURE] {
        let mac = self.mac.clone().chain_update(body).finalize();
        let mut signature = [0; SIGNATURE];
        signature.copy_from_slice(&mac.into_bytes()[..SIGNATURE]);
        signature
    }

    /// In a time that tells nothing of the signature.
    fn has_signed(&self, body: &[u8], signature: &[u8; SIGNATURE]) -> bool {
        let mac = self.mac.clone().chain_update(body);
        mac.verify_truncated_left(signature).is_ok()
    }
}
