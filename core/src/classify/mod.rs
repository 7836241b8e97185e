//! What a statement's text tells of its intent.

#[cfg(feature = "sql")]
mod cache;
#[cfg(test)]
#[cfg(feature = "sql")]
mod differential;
#[cfg(feature = "sql")]
mod functions;
#[cfg(feature = "sql")]
mod head;
#[cfg(feature = "sql")]
mod lexer;
#[cfg(feature = "sql")]
mod name;
#[cfg(feature = "sql")]
mod postgres;
#[cfg(feature = "sql")]
mod scan;
#[cfg(feature = "sql")]
mod sql;
#[cfg(all(test, feature = "sql"))]
mod tests;
#[cfg(feature = "sql")]
mod words;

#[cfg(feature = "sql")]
pub use sql::{Inspection, Sql};

use std::sync::Arc;

use crate::config::ConfigError;
use crate::decision::Cause;
use crate::dialect::{Answer, Dialect, Question};
use crate::vocabulary::Intent;

/// What a statement needs, and what that was concluded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Classification {
    /// What the statement needs.
    pub intent: Intent,
    /// What that was concluded from.
    pub reason: Cause,
}

impl Classification {
    /// The statement surely changes nothing.
    pub const READ: Self = Self::because(Cause::Query);
    /// The statement changes something.
    pub const WRITE: Self = Self::because(Cause::Writes);
    /// The statement may change something.
    pub const UNKNOWN: Self = Self::because(Cause::Unknown);
    /// The statement changes the state of its connection.
    pub const SESSION_STATE: Self = Self::because(Cause::SessionState);

    /// What follows from a cause: a read from [`Cause::Query`], a write from any other.
    #[must_use]
    pub const fn because(reason: Cause) -> Self {
        let intent = match reason {
            Cause::Query => Intent::Read,
            _ => Intent::Write,
        };
        Self { intent, reason }
    }
}

/// Tells reads from writes by their text.
///
/// # Contract
///
/// * [`Classification::READ`] is only for statements that succeed on a read-only server and change
///   nothing. Whatever is not surely so is not a read: a read taken for a write costs the primary a
///   little; a write taken for a read is refused by the replica.
/// * `classify` neither blocks nor panics, whatever the text; it runs before every statement whose
///   intent was not stated.
///
/// ```
/// use dbrouter::{Classification, Classifier};
///
/// /// Only what is marked as a read is a read.
/// struct Marked;
///
/// impl Classifier for Marked {
///     fn classify(&self, sql: &str) -> Classification {
///         if sql.starts_with("/* read */") {
///             Classification::READ
///         } else {
///             Classification::UNKNOWN
///         }
///     }
/// }
/// ```
pub trait Classifier: Send + Sync + 'static {
    /// What the statement needs.
    fn classify(&self, sql: &str) -> Classification;

    /// What is wrong with how the classifier was configured, to be said before the router is there. Defaults
    /// to nothing.
    ///
    /// # Errors
    ///
    /// If it cannot be used.
    fn check(&self) -> Result<(), ConfigError> {
        Ok(())
    }

    /// What the classifier wants to know of the server. The router's monitor asks it before the router is
    /// handed out, and again every [`refresh`](crate::MonitorSettings::refresh), unless the [`sign`](Self::sign) says that
    /// nothing has changed: the primary, or while that does not answer a replica. Defaults to nothing.
    fn question(&self) -> Option<Question> {
        None
    }

    /// A question that costs the server less than [`question`](Self::question), and is answered otherwise as soon as
    /// that would be. While a node's answer to it stays the same, that node is not asked the other one again. Defaults
    /// to none: then it always is.
    fn sign(&self) -> Option<Question> {
        None
    }

    /// Takes in what a server answered to the [`question`](Self::question). Returns the question for what that answer
    /// leaves out, which the same server is asked next, until it answers or its [`sign`](Self::sign) has changed; `None` if nothing is left
    /// out. Defaults to doing nothing.
    fn learn(&self, answer: &Answer) -> Option<Question> {
        let _ = answer;
        None
    }
}

/// The hash of a statement without its comments and literals. A list of literals counts as one of them.
#[cfg(feature = "sql")]
pub(crate) fn shape(sql: &str, dialect: Dialect) -> u64 {
    sql::shape(sql, dialect)
}

/// The hash of a statement.
#[cfg(not(feature = "sql"))]
pub(crate) fn shape(sql: &str, _: Dialect) -> u64 {
    crate::request::stable_hash(sql.as_bytes())
}

/// The classifier of a router that was given none.
pub(crate) fn default_for(dialect: Dialect) -> Arc<dyn Classifier> {
    #[cfg(feature = "sql")]
    return Arc::new(Sql::of(dialect));
    #[cfg(not(feature = "sql"))]
    {
        let _ = dialect;
        Arc::new(Stated)
    }
}

/// Takes nothing for a read: the feature `sql` is off, and intents must be stated.
#[cfg(not(feature = "sql"))]
struct Stated;

#[cfg(not(feature = "sql"))]
impl Classifier for Stated {
    fn classify(&self, _: &str) -> Classification {
        Classification::UNKNOWN
    }
}
