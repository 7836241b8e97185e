//! Why a text is no token.

use std::error::Error;
use std::fmt;

/// A text that cannot be read as a token: what it is, and what would be right. Of the text itself it repeats no more
/// than one character.
///
/// There is nothing to do about it but to take [`Token::UNPLACED`](crate::Token::UNPLACED) instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    kind: TokenErrorKind,
    problem: Problem,
}

/// The kinds of [`TokenError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenErrorKind {
    /// It is longer than any token, and was not looked at.
    TooLong,
    /// It was cut off, lengthened or changed on its way, or is something else altogether.
    Garbled,
    /// Another release wrote it, in a form that this one does not know.
    Version,
    /// It is signed, and was read without keys.
    Signed,
    /// It is not signed, and was to be verified.
    Unsigned,
    /// It was signed with a key that is not, or no longer, accepted.
    UnknownKey,
    /// Its signature is not the key's.
    Forged,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    TooLong {
        found: usize,
        most: usize,
    },
    Character {
        found: char,
        at: usize,
    },
    Encoding,
    Short,
    Trailing(usize),
    Layout,
    Number,
    Domains {
        found: u64,
        most: usize,
    },
    Checksum,
    Version {
        found: u8,
        known: u8,
    },
    Signed,
    #[cfg(feature = "signed")]
    Unsigned,
    #[cfg(feature = "signed")]
    UnknownKey,
    #[cfg(feature = "signed")]
    Forged,
}

impl TokenError {
    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> TokenErrorKind {
        self.kind
    }
}

impl From<Problem> for TokenError {
    fn from(problem: Problem) -> Self {
        let kind = match problem {
            Problem::TooLong { .. } => TokenErrorKind::TooLong,
            Problem::Version { .. } => TokenErrorKind::Version,
            Problem::Signed => TokenErrorKind::Signed,
            #[cfg(feature = "signed")]
            Problem::Unsigned => TokenErrorKind::Unsigned,
            #[cfg(feature = "signed")]
            Problem::UnknownKey => TokenErrorKind::UnknownKey,
            #[cfg(feature = "signed")]
            Problem::Forged => TokenErrorKind::Forged,
            _ => TokenErrorKind::Garbled,
        };
        Self { kind, problem }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.problem {
            Problem::TooLong { found, most } => {
                write!(f, "the token has {found} bytes; none has more than {most}")
            }
            Problem::Character { found, at } => write!(
                f,
                "the token has {found:?} at byte {at}; it consists of letters, digits, '-' and '_'"
            ),
            Problem::Encoding => {
                f.write_str("the token's last characters are no base64url without padding")
            }
            Problem::Short => f.write_str("the token ends too early; all of it is needed"),
            Problem::Trailing(bytes) => {
                write!(f, "the token goes on for {bytes} bytes after its end")
            }
            Problem::Layout => {
                f.write_str("the token's first byte describes no token of this version")
            }
            Problem::Number => f.write_str(
                "the token holds a number that is out of its range or not in its shortest form",
            ),
            Problem::Domains { found, most } => write!(
                f,
                "the token names {found} replication domains; it names {most} at most"
            ),
            Problem::Checksum => f.write_str("the token was changed: its checksum is another"),
            Problem::Version { found, known } => write!(
                f,
                "the token is of version {found}; this release reads version {known}"
            ),
            Problem::Signed => {
                f.write_str("the token is signed; it is read with the keys (TokenKeys::verify)")
            }
            #[cfg(feature = "signed")]
            Problem::Unsigned => {
                f.write_str("the token is not signed; only signed ones are accepted here")
            }
            #[cfg(feature = "signed")]
            Problem::UnknownKey => f.write_str(
                "the token is signed with an unknown key; accept the key that it was signed with",
            ),
            #[cfg(feature = "signed")]
            Problem::Forged => f.write_str("the token's signature is not its key's"),
        }
    }
}

impl Error for TokenError {}
