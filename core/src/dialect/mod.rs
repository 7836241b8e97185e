//! What is asked of each kind of server, and how its answers are read.
//!
//! An adapter runs a [`Question`] on one of its connections and hands back the columns as text. What
//! they mean is known here and nowhere else: no adapter knows what a log position is.

mod postgres;
mod sqlite;

use std::fmt;
use std::time::Duration;

use crate::vocabulary::Role;

/// A kind of database server, with all that the router must know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Dialect {
    /// PostgreSQL with streaming replication.
    Postgres,
    /// SQLite: every node is a set of connections to one file, so every node is always fresh.
    Sqlite,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Postgres => "PostgreSQL",
            Self::Sqlite => "SQLite",
        })
    }
}

impl Dialect {
    /// The question that also asks who the server is. Asked when a node is met and after each time
    /// that it was away.
    pub(crate) fn identify(self) -> Question {
        match self {
            Self::Postgres => postgres::IDENTIFY,
            Self::Sqlite => sqlite::IDENTIFY,
        }
    }

    /// The question of every other round, which costs the server as little as can be.
    pub(crate) fn locate(self) -> Question {
        match self {
            Self::Postgres => postgres::LOCATE,
            Self::Sqlite => sqlite::LOCATE,
        }
    }

    /// What an answer says.
    pub(crate) fn read(self, answer: &Answer) -> Result<Report, AnswerError> {
        match self {
            Self::Postgres => postgres::read(answer),
            Self::Sqlite => sqlite::read(answer),
        }
    }
}

/// One statement whose answer is one row of text columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    sql: &'static str,
    columns: usize,
}

impl Question {
    /// A question with as many columns in its answer.
    #[must_use]
    pub const fn new(sql: &'static str, columns: usize) -> Self {
        Self { sql, columns }
    }

    /// The statement. It has no parameters and changes nothing.
    #[must_use]
    pub const fn sql(&self) -> &'static str {
        self.sql
    }

    /// How many columns its one row has; each is text or NULL.
    #[must_use]
    pub const fn columns(&self) -> usize {
        self.columns
    }
}

/// The one row that a server answered a [`Question`] with.
///
/// ```
/// use dbrouter::Answer;
///
/// let answer: Answer = [Some("f".to_owned()), None].into_iter().collect();
/// assert_eq!(format!("{answer:?}"), r#"Answer([Some("f"), None])"#);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(Vec<Option<String>>);

impl FromIterator<Option<String>> for Answer {
    fn from_iter<I: IntoIterator<Item = Option<String>>>(columns: I) -> Self {
        Self(columns.into_iter().collect())
    }
}

impl Answer {
    /// The columns: text, or NULL.
    pub fn columns(&self) -> impl Iterator<Item = Option<&str>> {
        self.0.iter().map(Option::as_deref)
    }

    pub(crate) fn column(&self, index: usize) -> Option<&str> {
        self.0.get(index)?.as_deref()
    }

    fn required(&self, index: usize, name: &'static str) -> Result<&str, AnswerError> {
        self.column(index).ok_or(AnswerError {
            column: name,
            found: None,
            wanted: "a value",
        })
    }
}

/// An answer that makes no sense: another kind of server, a proxy that answers for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AnswerError {
    column: &'static str,
    found: Option<String>,
    wanted: &'static str,
}

impl AnswerError {
    fn new(column: &'static str, found: &str, wanted: &'static str) -> Self {
        Self {
            column,
            found: Some(found.to_owned()),
            wanted,
        }
    }
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            column,
            found,
            wanted,
        } = self;
        match found {
            Some(found) => write!(f, "the server answered {column} = {found:?}, not {wanted}"),
            None => write!(
                f,
                "the server's answer lacks {column}: {wanted} was expected"
            ),
        }
    }
}

impl std::error::Error for AnswerError {}

/// What a node said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    /// Its role, if servers of this kind have one of their own.
    pub(crate) role: Option<Role>,
    /// What all nodes of one cluster have in common, if it was asked for.
    pub(crate) identity: Option<String>,
    /// Where it stands in the cluster's log.
    pub(crate) standing: LogStanding,
}

/// Where a node stands in the cluster's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogStanding {
    /// There is no log to wait for: the nodes share their storage.
    Shared,
    /// A primary's.
    Written {
        /// Which history the positions belong to.
        timeline: u64,
        /// How far it has written.
        written: Written,
    },
    /// A replica's.
    Replayed {
        /// Which history it follows, if that was asked for. It may follow a later one already.
        timeline: Option<u64>,
        /// How far it has replayed it; `None` while it has replayed nothing.
        position: Option<Position>,
    },
}

/// How far a primary has written its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Covers every acknowledged write.
    pub(crate) inserted: Position,
    /// Covers every write acknowledged `flush_delay` earlier, and travels to the replicas by itself.
    pub(crate) flushed: Position,
    /// The longest that an acknowledged write may stay unflushed.
    pub(crate) flush_delay: Duration,
}

/// A place in a cluster's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// An offset in one log.
    Log(u64),
}

impl Position {
    /// Whether a node that has replayed up to here shows all that was written up to `other`.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let (Self::Log(here), Self::Log(there)) = (self, other);
        here >= there
    }
}
