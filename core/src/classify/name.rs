//! Names as they are compared.

use super::lexer::{Kind, Token, unquoted};
use super::sql::Grammar;

/// The longest name that PostgreSQL does not cut off.
pub(super) const NAME_LENGTH: usize = 63;

/// A name that is compared with others: in lower case, where the server folds it.
pub(super) struct Folded {
    bytes: [u8; NAME_LENGTH],
    length: usize,
}

impl Folded {
    /// The name that a token is, as the server compares it; `None` if it is none, or none that is known.
    pub(super) fn of(token: Token<'_>, grammar: Grammar) -> Option<Self> {
        match (token.kind, grammar) {
            (Kind::Word, _) => Self::lower(token.text),
            (Kind::Quoted, Grammar::Postgres) => Self::within_quotes(token.text),
            (Kind::Quoted, Grammar::MySql | Grammar::Sqlite) => {
                unquoted(token.text).and_then(Self::lower)
            }
            _ => None,
        }
    }

    /// The word that a token is, in lower case.
    pub(super) fn word(token: Token<'_>) -> Option<Self> {
        match token.kind {
            Kind::Word => Self::lower(token.text),
            _ => None,
        }
    }

    pub(super) fn lower(name: &str) -> Option<Self> {
        let mut folded = Self::exactly(name)?;
        folded.bytes[..folded.length].make_ascii_lowercase();
        Some(folded)
    }

    /// The name in PostgreSQL's double quotes, in which a quote is doubled; `None` if it has escapes.
    fn within_quotes(quoted: &str) -> Option<Self> {
        if quoted.starts_with(['u', 'U']) {
            return None;
        }
        let inside = quoted.get(1..quoted.len().checked_sub(1)?)?;
        match inside.contains('"') {
            true => Self::exactly(&inside.replace("\"\"", "\"")),
            false => Self::exactly(inside),
        }
    }

    /// `None` if the name is longer than any that is known.
    fn exactly(name: &str) -> Option<Self> {
        let mut bytes = [0; NAME_LENGTH];
        let length = name.len();
        bytes.get_mut(..length)?.copy_from_slice(name.as_bytes());
        Some(Self { bytes, length })
    }
}

impl std::ops::Deref for Folded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
