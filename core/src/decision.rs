//! Which node, and why: every route has a reason, and every refusal one per node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{ConfigError, ConfigErrorKind};
use crate::live::Admission;
use crate::vocabulary::{Intent, Role};

/// What an intent was concluded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The caller said so.
    Asked,
    /// The statement begins with a comment that says so.
    Hint,
    /// All of the statement is known, and it only reads.
    Query,
    /// It writes, or is of a kind that does.
    Writes,
    /// It reads, and locks what it reads.
    Locks,
    /// It calls a function that may change something.
    Volatile,
    /// It calls a function that is not known.
    UnknownFunction,
    /// What it returns depends on its connection or its server: a variable, the last generated key, the
    /// server's own activity.
    SessionDependent,
    /// It changes the state of its connection: `BEGIN`, `SET`, a temporary table, a cursor, `LISTEN`,
    /// `PREPARE`. On a pooled handle the next statement may get another connection; use the handle's
    /// `begin` or `acquire_write` instead and keep what it returns.
    SessionState,
    /// It is more than one statement.
    SeveralStatements,
    /// It cannot be read: a string or comment without an end, a parenthesis too many or too few.
    Malformed,
    /// It is empty, or of a kind that is not known.
    Unknown,
    /// It was taken for a read, and a replica has refused it as a write.
    Refused,
    /// It is a read, and a replica lacked something that it relies on: a table, a type, a function, a privilege.
    NotReplayed,
}

impl Cause {
    /// The reason for sending a write to the primary.
    pub(crate) fn of_write(self) -> Reason {
        match self {
            Self::Asked | Self::Hint | Self::Writes | Self::Locks => Reason::Write,
            Self::SessionState => Reason::SessionState,
            Self::Refused => Reason::Misrouted,
            Self::Query
            | Self::Volatile
            | Self::UnknownFunction
            | Self::SessionDependent
            | Self::SeveralStatements
            | Self::Malformed
            | Self::Unknown
            | Self::NotReplayed => Reason::Unclassified,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Asked => "the caller said so",
            Self::Hint => "a hint says so",
            Self::Query => "only reads",
            Self::Writes => "writes",
            Self::Locks => "locks what it reads",
            Self::Volatile => "calls a function that may change something",
            Self::UnknownFunction => "calls a function that is not known",
            Self::SessionDependent => "depends on its connection or server",
            Self::SessionState => "changes its connection's state",
            Self::SeveralStatements => "more than one statement",
            Self::Malformed => "cannot be read",
            Self::Unknown => "empty, or of an unknown kind",
            Self::Refused => "a replica refused it as a write",
            Self::NotReplayed => "names what a replica did not know",
        })
    }
}

/// Why a piece of work went where it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Reason {
    /// It is a write, and the primary takes the writes.
    Write,
    /// It is not surely a read, so the primary has it.
    Unclassified,
    /// It changes the state of a connection, so the primary has it. On a pooled handle the next statement
    /// may get another connection: use `begin` or `acquire_write`, and keep what it returns.
    SessionState,
    /// It was taken for a read, and a replica refused it as a write. Nothing happened there.
    Misrouted,
    /// The policy chose this node among the candidates.
    Policy,
    /// The session read from this node before, and the policy stayed with it.
    Sticky,
    /// The preference is the primary, and it is there.
    PreferenceIsPrimary,
    /// The primary is preferred and does not serve the read (it is not there, is disabled, or has just failed it), so a
    /// replica has it.
    NoPrimary,
    /// No replica is known to show what the session must see, so the primary has the read.
    NotFresh,
    /// No healthy replica is left, so the primary has the read.
    NoHealthyReplica,
    /// A replica lacked something that the read relies on, such as a table, a type, a function or a privilege, and may
    /// not have replayed it yet, so the primary has the read.
    NotReplayed,
    /// There is no replica that would suit the read at all, so the primary has it.
    NoReplica,
    /// The policy chose none of the candidates, so the primary has the read.
    PolicyDeclined,
    /// The session holds a connection that may be writing, so its reads go to the primary as well.
    OpenWriter,
}

impl Reason {
    /// Whether the primary has the read only because no candidate would do.
    ///
    /// ```
    /// use dbrouter::Reason;
    ///
    /// assert!(Reason::NotFresh.is_fallback());
    /// assert!(!Reason::PreferenceIsPrimary.is_fallback());
    /// ```
    #[must_use]
    pub fn is_fallback(self) -> bool {
        match self {
            Self::NotFresh
            | Self::NotReplayed
            | Self::NoHealthyReplica
            | Self::NoReplica
            | Self::PolicyDeclined
            | Self::OpenWriter => true,
            Self::Write
            | Self::Unclassified
            | Self::SessionState
            | Self::Misrouted
            | Self::Policy
            | Self::Sticky
            | Self::PreferenceIsPrimary
            | Self::NoPrimary => false,
        }
    }

    /// All reasons, in a stable order.
    pub(crate) const ALL: [Self; 14] = [
        Self::Write,
        Self::Unclassified,
        Self::SessionState,
        Self::Misrouted,
        Self::Policy,
        Self::Sticky,
        Self::PreferenceIsPrimary,
        Self::NoPrimary,
        Self::NotFresh,
        Self::NoHealthyReplica,
        Self::NotReplayed,
        Self::NoReplica,
        Self::PolicyDeclined,
        Self::OpenWriter,
    ];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Write => "a write",
            Self::Unclassified => "not surely a read",
            Self::SessionState => "changes its connection's state",
            Self::Misrouted => "a replica refused it as a write",
            Self::Policy => "chosen by the policy",
            Self::Sticky => "the session's replica",
            Self::PreferenceIsPrimary => "the primary is preferred",
            Self::NoPrimary => "the preferred primary does not serve it",
            Self::NotFresh => "no replica is fresh enough yet",
            Self::NotReplayed => "names what the replica did not know",
            Self::NoHealthyReplica => "no replica is healthy",
            Self::NoReplica => "no replica suits",
            Self::PolicyDeclined => "the policy declined",
            Self::OpenWriter => "the session holds a writing connection",
        })
    }
}

/// The node chosen, and the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Decision {
    /// The name of the node.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_str"))]
    pub node: Arc<str>,
    /// What the work needed.
    pub intent: Intent,
    /// Why it went there.
    pub reason: Reason,
}

#[cfg(feature = "serde")]
fn as_str<S: serde::Serializer>(name: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(name)
}

impl fmt::Display for Decision {
    /// `read on replica-2: chosen by the policy`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}: {}", self.intent, self.node, self.reason)
    }
}

/// Why one node was no candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhyNot {
    /// Its role is not the one that the work needs.
    Role(Role),
    /// It is a write, and this is not the node that takes the writes.
    NotThePrimary,
    /// The operator has disabled it, or drains it.
    Admission(Admission),
    /// It does not answer, or work has failed on it again and again.
    Unhealthy,
    /// Work has failed on it, and it has not answered yet whether it is there.
    Suspect,
    /// It answers the monitor, but its pool gave no connection. One is being opened.
    NoConnection,
    /// It says that it is the primary, and so does another node. Neither is known to be the later one.
    Contested,
    /// It is not known to show what the session must see; for that it must catch up by this much,
    /// or prove for the first time where it stands.
    NotFresh(Option<Duration>),
    /// It lacks a label that the read demands.
    Tags,
    /// Its weight is zero.
    Weight,
    /// It is only a second name of a server that [another node](crate::Node::same_server_as) leads to.
    SameServer,
    /// The preference rules it out.
    Preference,
    /// The same work has just failed there.
    JustFailed,
    /// The policy chose none of the candidates, of which it was one.
    PolicyDeclined,
    /// It is a write, and began inside of [`without_writes`](crate::scope::without_writes).
    WritesForbidden,
    /// The read was to fall back to it, and there are as many such reads on it as
    /// [may be at once](crate::FallbackLimit).
    FallbackLimit,
}

impl WhyNot {
    /// Whether the primary, of which this is said, is none at present.
    pub(crate) fn is_for_want_of_a_primary(self) -> bool {
        matches!(
            self,
            Self::Role(_) | Self::Unhealthy | Self::Suspect | Self::Contested
        )
    }
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role(Role::Unknown) => f.write_str("its role is unknown"),
            Self::Role(role) => write!(f, "it is a {role}"),
            Self::NotThePrimary => f.write_str("it does not take the writes"),
            Self::Admission(Admission::Draining) => f.write_str("it is being drained"),
            Self::Admission(_) => f.write_str("it is disabled"),
            Self::Unhealthy => f.write_str("it does not answer, or failed too often"),
            Self::Suspect => f.write_str("work has failed on it, and it has not answered since"),
            Self::NoConnection => f.write_str("its pool gives no connection"),
            Self::Contested => f.write_str("it is one of two that claim to be the primary"),
            Self::NotFresh(Some(by)) => write!(f, "it is {by:?} short of what must be seen"),
            Self::NotFresh(None) => f.write_str("it has not proved yet where it stands"),
            Self::Tags => f.write_str("it lacks a demanded label"),
            Self::Weight => f.write_str("its weight is zero"),
            Self::SameServer => f.write_str("another node leads to the same server"),
            Self::Preference => f.write_str("the preference rules it out"),
            Self::JustFailed => f.write_str("the work has just failed there"),
            Self::PolicyDeclined => f.write_str("the policy declined it"),
            Self::WritesForbidden => f.write_str("writes are forbidden in this scope"),
            Self::FallbackLimit => {
                f.write_str("as many reads have fallen back to it as may at once")
            }
        }
    }
}

/// One node's part in a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The name of the node.
    pub node: Arc<str>,
    /// Why it was no candidate.
    pub why: WhyNot,
}

/// No node may run this work now. It says, node by node, why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteError {
    intent: Intent,
    refusals: Vec<Refusal>,
    without_primary: bool,
    not_connected: Option<NotConnected>,
}

/// Why a router that connects with its first work could not. Clones are the same attempt.
#[derive(Clone, Debug)]
struct NotConnected(Arc<ConfigError>);

impl PartialEq for NotConnected {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for NotConnected {}

impl RouteError {
    pub(crate) fn new(intent: Intent, refusals: Vec<Refusal>, without_primary: bool) -> Self {
        Self {
            intent,
            refusals,
            without_primary,
            not_connected: None,
        }
    }

    /// The router connects with its first work, and could not.
    pub(crate) fn not_connected(intent: Intent, error: Arc<ConfigError>) -> Self {
        Self {
            intent,
            refusals: Vec::new(),
            without_primary: error.kind() == ConfigErrorKind::Unreachable,
            not_connected: Some(NotConnected(error)),
        }
    }

    /// Why the nodes could not be met, if the router was to [connect with its first
    /// work](crate::ClusterBuilder::connect_lazy): the error that [`connect`](crate::ClusterBuilder::connect) would have
    /// given. The next piece of work tries again.
    #[must_use]
    pub fn connect_error(&self) -> Option<&ConfigError> {
        self.not_connected
            .as_ref()
            .map(|NotConnected(error)| &**error)
    }

    /// What the work needed.
    #[must_use]
    pub fn intent(&self) -> Intent {
        self.intent
    }

    /// Why not, for every node of the cluster. Empty if they [could not be met](Self::connect_error).
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        &self.refusals
    }

    /// Whether some node was ruled out only by what may pass: health, freshness, a failure, or too many reads; or the
    /// primary could not be reached.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        let is_unreached = |error: &ConfigError| error.kind() == ConfigErrorKind::Unreachable;
        self.connect_error().is_some_and(is_unreached)
            || self.refusals.iter().any(|refusal| {
                matches!(
                    refusal.why,
                    WhyNot::Unhealthy
                        | WhyNot::Suspect
                        | WhyNot::NoConnection
                        | WhyNot::Contested
                        | WhyNot::NotFresh(_)
                        | WhyNot::JustFailed
                        | WhyNot::FallbackLimit
                )
            })
    }

    /// Whether it is a read that was to fall back to the primary, where there are as many such reads as
    /// [may be at once](crate::FallbackLimit).
    #[must_use]
    pub fn is_fallback_limit(&self) -> bool {
        let mut whys = self.refusals.iter().map(|refusal| refusal.why);
        whys.any(|why| why == WhyNot::FallbackLimit)
    }

    /// Whether it is for want of a primary: a write, or a read that only the primary could have served, and there is
    /// none that answers and says that it is one, or there are two.
    #[must_use]
    pub fn is_without_primary(&self) -> bool {
        self.without_primary
    }

    /// Whether some node would do if it were fresher.
    pub(crate) fn is_for_freshness(&self) -> bool {
        let mut whys = self.refusals.iter().map(|refusal| refusal.why);
        whys.any(|why| matches!(why, WhyNot::NotFresh(_)))
    }
}

impl fmt::Display for RouteError {
    /// `no node for this write: primary: it is a replica; replica-1: the preference rules it out`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = self.connect_error() {
            return write!(f, "cannot connect for this {}: {error}", self.intent);
        }
        match self.without_primary {
            true => write!(f, "no primary for this {}", self.intent)?,
            false => write!(f, "no node for this {}", self.intent)?,
        }
        for (index, Refusal { node, why }) in self.refusals.iter().enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            write!(f, "{separator}{node}: {why}")?;
        }
        Ok(())
    }
}

impl std::error::Error for RouteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.connect_error().map(|error| error as _)
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn all_reasons_are_listed_at_their_own_index() {
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }
}
