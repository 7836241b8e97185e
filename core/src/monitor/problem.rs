//! What the monitor finds wrong with a node.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::causes::Causes;
use crate::config::ConfigErrorKind;
use crate::dialect::AnswerError;
use crate::router::Backend;
use crate::vocabulary::Fault;

use super::following::Beyond;

/// What is wrong with a node.
#[derive(Debug)]
pub(super) enum Problem {
    Failed(Box<dyn Error + Send + Sync>),
    /// It is there, and has no room for the question. That is no sign of illness.
    Busy(Box<dyn Error + Send + Sync>),
    TimedOut(Duration),
    /// No connection could be opened in that time. The attempt goes on.
    Unconnected(Duration),
    Answer(AnswerError),
    OtherCluster {
        found: String,
        expected: String,
    },
    /// The primary's address leads to another cluster, while a node of the former one answers.
    PrimaryOfOtherCluster {
        found: String,
        expected: String,
        witness: Arc<str>,
    },
    OtherDatabase {
        found: String,
        expected: String,
    },
    Private,
    /// A replica has replayed what the primary has not written.
    Beyond(Beyond),
    /// It calls itself the primary beside one that answers, and never followed that one.
    Stranger {
        primary: Arc<str>,
    },
}

impl Problem {
    /// That a question, or opening a connection for it, failed.
    pub(super) fn of<B: Backend>(error: B::Error) -> Self {
        match B::fault(&error) {
            Fault::Busy => Self::Busy(error.into()),
            _ => Self::Failed(error.into()),
        }
    }

    /// The kind of configuration error that it is, if only another configuration can mend it.
    pub(super) fn of_configuration(&self) -> Option<ConfigErrorKind> {
        match self {
            Self::OtherCluster { .. } | Self::PrimaryOfOtherCluster { .. } | Self::Private => {
                Some(ConfigErrorKind::OtherCluster)
            }
            Self::OtherDatabase { .. } => Some(ConfigErrorKind::OtherDatabase),
            Self::Failed(_)
            | Self::Busy(_)
            | Self::TimedOut(_)
            | Self::Unconnected(_)
            | Self::Answer(_)
            | Self::Beyond(_)
            | Self::Stranger { .. } => None,
        }
    }

    /// Whether the node does not belong to what the router routes to, so that no role is its own.
    pub(super) fn is_of_a_stranger(&self) -> bool {
        self.of_configuration().is_some() || matches!(self, Self::Stranger { .. })
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) | Self::Busy(error) => Causes(&**error).fmt(f),
            Self::TimedOut(limit) => write!(f, "no answer within {:?}", in_millis(*limit)),
            Self::Unconnected(limit) => write!(f, "no connection within {:?}", in_millis(*limit)),
            Self::Answer(error) => error.fmt(f),
            Self::OtherCluster { found, expected } => write!(
                f,
                "belongs to another cluster than the primary: its identity is {found}, not {expected}"
            ),
            Self::PrimaryOfOtherCluster {
                found,
                expected,
                witness,
            } => write!(
                f,
                "belongs to another cluster than before: its identity is {found}, not {expected}; {witness} still \
                 answers as a node of the former cluster, so no writes are taken until it no longer does"
            ),
            Self::OtherDatabase { found, expected } => write!(
                f,
                "leads to {}, but the primary to {}; give the replica's URL the primary's database",
                database(found),
                database(expected)
            ),
            Self::Private => f.write_str(
                "is an in-memory database, which no other node can share; give the path of a file",
            ),
            Self::Beyond(Beyond { replayed, written }) => write!(
                f,
                "is on another history than the primary: it has replayed the log up to {replayed}, and the primary, \
                 asked later, had written it up to {written}; rebuild the replica from the primary"
            ),
            Self::Stranger { primary } => write!(
                f,
                "calls itself the primary, but {primary} answers as the primary, and this router has never seen this \
                 server follow it: it may be a restored copy, and takes no work"
            ),
        }
    }
}

/// As exactly as anybody wants to read it.
fn in_millis(time: Duration) -> Duration {
    Duration::new(time.as_secs(), time.subsec_millis() * 1_000_000)
}

fn database(name: &str) -> String {
    match name {
        "" => "no database".to_owned(),
        name => format!("the database {name:?}"),
    }
}
