//! What a session must see, in a form that travels: a cookie, a header, a message in a queue.

use crate::dialect::{Position, Timeline};

/// What a session must see because of what it wrote (or read), for another process that has a router over the
/// same cluster.
///
/// A token is a hint and no promise: one that is forged, garbled, foreign, from the future, or from before a
/// failover costs at most the freshness of *now*. It never causes a stale read, an error, or more than one
/// round of questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    pub(crate) place: Option<Place>,
    /// Seconds since 1970 by the clock of the machine that issued it. Nothing is decided by it.
    pub(crate) issued: u64,
}

/// A place in one cluster's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// A hash of the cluster's identity.
    pub(crate) cluster: u64,
    pub(crate) timeline: Timeline,
    pub(crate) position: Position,
}

impl Token {
    /// A token that says of no place where it is: whoever gets it needs the freshness of now.
    pub const UNPLACED: Self = Self {
        place: None,
        issued: 0,
    };
}
