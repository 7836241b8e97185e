//! What a router tells of itself as it happens: decisions, in line, and rarer events.
//!
//! ```
//! use dbrouter::observer::{Event, Observer};
//! use dbrouter::Settings;
//!
//! struct Pager;
//!
//! impl Observer for Pager {
//!     fn happened(&self, event: &Event) {
//!         if let Event::PrimaryChanged { to, .. } = event {
//!             println!("the primary is {} now", to.node());
//!         }
//!     }
//! }
//!
//! let settings = Settings::new().observer(Pager);
//! # let _ = settings;
//! ```
//!
//! With the feature `tracing` there is an observer that reports all events, which every router has; with the feature
//! `metrics` one that counts them.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tracing")]
mod tracing;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::decision::Reason;
use crate::dialect::Dialect;
use crate::health::Health;
use crate::vocabulary::{Fault, Intent, Role};

#[cfg(feature = "metrics")]
pub use self::metrics::Metrics;
#[cfg(feature = "tracing")]
pub use self::tracing::Tracing;

/// Is told what a router decides, and what happens to it.
///
/// # Contract
///
/// * `decided` is called for each piece of work that is given a place, where that happens: it neither blocks nor waits.
///   Work that is run again elsewhere is decided again. What is only [explained](crate::Cluster::explain) is not.
/// * `happened` is called for one event after the other, in the order in which they happened, on a thread of Tokio's for
///   work that blocks: it may take its time. Up to 1,024 events wait for it; what is more is dropped, and
///   [counted](crate::Status::dropped_events).
/// * An observer that [is prompt](Self::is_prompt) is told of events where they happen, by several threads at once maybe,
///   and may not block either.
/// * An observer that panics misses that event, and nothing else is disturbed.
pub trait Observer: Send + Sync + 'static {
    /// A piece of work has been given its place. Defaults to nothing.
    fn decided(&self, decision: &Decided<'_>) {
        let _: &Decided<'_> = decision;
    }

    /// Something has happened. Defaults to nothing.
    fn happened(&self, event: &Event) {
        let _: &Event = event;
    }

    /// Whether it is told of events at once, where they happen. Defaults to no.
    fn is_prompt(&self) -> bool {
        false
    }
}

/// Which server something is about.
#[derive(Clone, PartialEq, Eq)]
pub struct Peer {
    pub(crate) node: Arc<str>,
    pub(crate) system: Dialect,
    pub(crate) address: Option<Arc<str>>,
    pub(crate) port: Option<u16>,
}

impl Peer {
    /// The node's name.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The kind of server.
    #[must_use]
    pub fn system(&self) -> Dialect {
        self.system
    }

    /// The server's host, if the node was given as a URL that names one.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// The server's port, likewise.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.node, f)
    }
}

/// Where a piece of work goes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Decided<'a> {
    /// The node.
    pub peer: &'a Peer,
    /// What the work needs.
    pub intent: Intent,
    /// Why it goes there. Reads that [fell back](Self::is_fallback) to the primary are told by it; those that were kept
    /// from showing the past have [`Reason::NotFresh`].
    pub reason: Reason,
    /// A number that is the session's own; `None` for the root handle's.
    pub session: Option<u64>,
}

impl Decided<'_> {
    /// Whether it is a read that the primary has only because no replica would do.
    #[must_use]
    pub fn is_fallback(&self) -> bool {
        self.reason.is_fallback()
    }
}

/// Something that happens rarely, and that an operator may want to hear of.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Work has failed on a node, which is suspected of being gone.
    Suspected {
        /// The node.
        peer: Arc<Peer>,
        /// What the work failed with.
        error: Arc<str>,
    },
    /// A node does not answer the monitor, or work has failed on it too often: it gets no more.
    Ejected {
        /// The node.
        peer: Arc<Peer>,
        /// What was wrong last.
        error: Arc<str>,
        /// For how long at least; until it answers in any case.
        at_least: Duration,
    },
    /// A node answers the monitor, but its pool gave no connection: it gets reads only if no other node will do, until
    /// the pool has given one.
    PoolFailed {
        /// The node.
        peer: Arc<Peer>,
        /// Why.
        error: Arc<str>,
    },
    /// Its pool has given a connection again.
    PoolRecovered {
        /// The node.
        peer: Arc<Peer>,
    },
    /// A node answers, for the first time or again.
    Found {
        /// The node.
        peer: Arc<Peer>,
        /// What it is, by its own account.
        role: Role,
        /// What it was before.
        before: Health,
        /// What it is now: healthy, or recovering.
        after: Health,
    },
    /// A node says that it is something else than the router takes it for.
    RoleChanged {
        /// The node.
        peer: Arc<Peer>,
        /// What it says.
        role: Role,
    },
    /// Writes go to another node from now on.
    PrimaryChanged {
        /// Where they went.
        from: Arc<Peer>,
        /// Where they go.
        to: Arc<Peer>,
    },
    /// Two nodes claim to be the primary, and nobody can tell which of them is. No writes are taken.
    Contested {
        /// The one that was.
        primary: Arc<Peer>,
        /// The other.
        rival: Arc<Peer>,
    },
    /// A node is no part of what the router routes to, and takes no work: it belongs to another cluster or leads to another
    /// database, it calls itself the primary and was never seen to follow it, or it is on another history.
    Refused {
        /// The node.
        peer: Arc<Peer>,
        /// Why.
        error: Arc<str>,
    },
    /// Two nodes lead to one server: an address was given twice, or has moved. They count as one from now on.
    SameServer {
        /// The node that is only a second name of that server.
        peer: Arc<Peer>,
        /// The other node.
        other: Arc<str>,
    },
    /// A node's address leads to several servers. The router uses one of them, and closes connections to the others as
    /// soon as they are opened. Give each server an address of its own, so that all serve reads.
    SeveralServers {
        /// The node.
        peer: Arc<Peer>,
    },
    /// The primary's address leads to another cluster, and no node of the former one answers. The router goes on with
    /// the new one: nothing that was proved holds, and tokens of the former cluster only ask for the freshness of now.
    ClusterReplaced {
        /// The primary.
        peer: Arc<Peer>,
        /// What all nodes of the former cluster had in common.
        from: Arc<str>,
        /// What all nodes of the new one have in common.
        to: Arc<str>,
    },
    /// A piece of work goes on elsewhere because its node has failed it.
    Retried {
        /// The node that failed it.
        peer: Arc<Peer>,
        /// How.
        fault: Fault,
    },
    /// A replica refused as a write what was taken for a read. Once per statement.
    Misjudged {
        /// The replica.
        peer: Arc<Peer>,
        /// The first 200 characters: enough to find it by, and the rest may be values.
        statement: Arc<str>,
    },
    /// The policy returned an index that no candidate has. Once per router.
    PolicyOutOfRange {
        /// The index.
        index: usize,
        /// How many candidates there were.
        candidates: usize,
    },
    /// What the classifier wants to know of the server could not be asked.
    NotLearnt {
        /// What went wrong.
        problem: Arc<str>,
    },
    /// The source of the nodes has a new one, which was added.
    Discovered {
        /// Its name.
        node: Arc<str>,
    },
    /// The source of the nodes no longer has one, which was drained and removed.
    LetGo {
        /// Its name.
        node: Arc<str>,
    },
    /// It could not be found out which nodes there are, or one of them could not be added.
    NotDiscovered {
        /// What went wrong.
        problem: Arc<str>,
    },
}
