//! The field's own words: role, intent, preference, fault, pressure.

use std::fmt;

/// What a database server is, by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Role {
    /// It accepts writes, and the others replay its log.
    Primary,
    /// It replays the primary's log and serves reads.
    Replica,
    /// It has not said yet. A node of unknown role takes no work that depends on its role.
    Unknown,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
            Self::Unknown => "unknown",
        })
    }
}

/// What a piece of work needs of the node that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Intent {
    /// It surely changes nothing: any fresh enough node will do.
    Read,
    /// It changes something, or may: only the primary will do.
    Write,
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::Write => "write",
        })
    }
}

/// Where reads may go: MongoDB's five read preference modes, in this project's words.
///
/// A preference never weakens consistency. A node that is not fresh enough for the session is no
/// candidate, whatever the preference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Preference {
    /// Only the primary.
    Primary,
    /// The primary while it is healthy, otherwise a replica.
    PrimaryPreferred,
    /// Only replicas: with none to be had, the read is refused.
    Replica,
    /// A replica if there is a candidate among them, otherwise the primary. The default: it takes
    /// all the load off the primary that can be taken, and fails no read that could be served.
    #[default]
    ReplicaPreferred,
    /// The primary and the replicas alike: the policy chooses among all of them.
    Nearest,
}

impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Primary => "primary",
            Self::PrimaryPreferred => "primary-preferred",
            Self::Replica => "replica",
            Self::ReplicaPreferred => "replica-preferred",
            Self::Nearest => "nearest",
        })
    }
}

/// How much of the past a read must see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Consistency {
    /// All that its session wrote, and nothing older than what its session read. The default.
    #[default]
    Causal,
    /// Whatever a replica in service shows (see [`max_staleness`](crate::Settings::max_staleness)). Asked for, never
    /// assumed.
    Eventual,
}

/// What an error says about the node that it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The node cannot be reached, or its connection broke: refused, reset, shut down, starting up.
    Unavailable,
    /// The node is there and has no room: a full pool, too many connections. It is not sick.
    Busy,
    /// The node refused a write because it is read-only.
    ReadOnly,
    /// The node refused the statement, maybe because it is a replica: what recovery does not allow bears
    /// the same code as what no server can do.
    Unsupported,
    /// The node lacks something that the statement relies on: a table, a column, a type or one of its values, a
    /// function, an extension, a privilege, a role, a setting. A replica may not have replayed the change yet that
    /// brings it.
    Missing,
    /// A statement that the connection has prepared is out of date, such as after a migration, or the server does not know
    /// it any longer. Neither the node nor the statement's text is at fault: prepared again it succeeds.
    Prepared,
    /// The node cancelled the statement in favour of replication, or its connection cannot run any; elsewhere it may
    /// succeed.
    Conflict,
    /// Nothing: the statement is at fault, or the caller.
    Other,
}

/// How occupied a node's pool is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Pressure {
    /// Connections that are at work.
    pub in_use: u32,
    /// Connections that are open and idle.
    pub idle: u32,
    /// Callers that wait for a connection, where the pool can tell.
    pub waiting: Option<u32>,
    /// The most connections that the pool opens.
    pub max: u32,
}
