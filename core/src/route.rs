//! The place on a node that a piece of work has been given.

use std::fmt;
use std::sync::Arc;

use crate::clock::Instant;
use crate::decision::{Decision, Reason};
use crate::fallback::Place;
use crate::health::{Health, Sign};
use crate::live::Epoch;
use crate::node::Node;
use crate::observer::Event;
use crate::request::Request;
use crate::session::SessionState;
use crate::vocabulary::{Consistency, Fault, Intent, Role};

/// A place on a node: keep it as long as the work lasts, results included.
///
/// Dropping it ends the work, whether it finished, failed or was cancelled: the place is given back,
/// and the session learns what it must see from now on. A write whose outcome is not known counts as
/// one that took effect.
#[must_use = "the work counts as ended when its route is dropped"]
pub struct Route<B> {
    node: Arc<Node<B>>,
    epoch: Epoch,
    intent: Intent,
    reason: Reason,
    /// It has one of the places for reads that fall back. (Not the place itself: routes are moved often, and what
    /// is one word longer is moved more slowly.)
    placed: bool,
    ending: Ending,
}

/// What the session learns when the work ends.
enum Ending {
    /// Nothing: nothing was sent, or nothing need be remembered.
    Silent,
    /// A read ended.
    Read(SessionState, Epoch),
    /// A write ended.
    Write(SessionState, Epoch),
    /// A connection that may have been writing is back in its pool.
    OpenWriter(SessionState, Epoch),
}

impl<B> Route<B> {
    /// The work takes its place, unless the node has just been closed.
    pub(crate) fn enter(
        node: &Arc<Node<B>>,
        epoch: Epoch,
        reason: Reason,
        session: &SessionState,
        request: &Request,
    ) -> Option<Self> {
        if !node.enter() {
            return None;
        }
        let intent = request.intent();
        let ending = match intent {
            Intent::Write => {
                node.live.count_write();
                Ending::Write(session.clone(), epoch)
            }
            // The root's reads are not monotonic, and an eventual read promises nothing.
            Intent::Read
                if session.is_root() || request.stated_consistency() == Consistency::Eventual =>
            {
                Ending::Silent
            }
            Intent::Read => Ending::Read(session.clone(), epoch),
        };
        Some(Self {
            node: Arc::clone(node),
            epoch,
            intent,
            reason,
            ending,
            placed: false,
        })
    }

    /// The work has a place among the reads that fall back, until it ends.
    pub(crate) fn taking(mut self, place: Place<'_>) -> Self {
        place.forget();
        self.placed = true;
        self
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> &Arc<Node<B>> {
        &self.node
    }

    /// The node's epoch when it was chosen.
    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What the work needs.
    #[must_use]
    pub fn intent(&self) -> Intent {
        self.intent
    }

    /// Why the node was chosen.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// The same, for a read that prefers the primary and goes to a replica.
    pub(crate) fn instead_of_the_primary(mut self) -> Self {
        self.reason = Reason::NoPrimary;
        self
    }

    /// The node and the reason, to keep.
    #[must_use]
    pub fn decision(&self) -> Decision {
        Decision {
            node: Arc::clone(self.node.name()),
            intent: self.intent,
            reason: self.reason,
        }
    }

    /// The work is a connection that is held and may write at any time, unseen. Until it is back, the
    /// session's reads go to the primary; then all that may have been written counts as written.
    pub fn hold_open(mut self) -> Self {
        if let Ending::Write(session, epoch) = &self.ending {
            session.open_writer();
            self.ending = Ending::OpenWriter(session.clone(), *epoch);
        }
        self
    }

    /// Ends a transaction that was rolled back: it changed nothing, and may have shown something.
    pub fn rolled_back(mut self) {
        match &self.ending {
            Ending::Write(session, epoch) | Ending::OpenWriter(session, epoch) => {
                // As a read that the primary has served because no replica could.
                session.read(*epoch, Reason::NotFresh);
                self.silence();
            }
            // What only read ends as it would have anyway.
            Ending::Silent | Ending::Read(..) => {}
        }
    }

    /// Ends the work without effect: it ran, and changed and showed nothing.
    pub fn without_effect(mut self) {
        self.silence();
    }

    /// Ends a read that failed before it showed anything. What may have been written still counts.
    pub(crate) fn showed_nothing(mut self) {
        if let Ending::Read(..) = self.ending {
            self.silence();
        }
    }

    /// Ends the work before it began: nothing was sent to the node, and nothing is counted.
    pub fn unsent(mut self) {
        self.silence();
        self.node.live.uncount(self.intent);
    }

    fn silence(&mut self) {
        if let Ending::OpenWriter(session, _) = &self.ending {
            session.close_silent_writer();
        }
        self.ending = Ending::Silent;
    }

    /// A read that began at `began` has its first row, or has ended without one. Writes take as long as the log takes,
    /// which says nothing of reads.
    pub(crate) fn took(&self, began: Instant) {
        if self.intent == Intent::Read {
            self.node.live.took(began, self.node.context.now());
        }
    }

    /// A read that began at `began` was failed by its node.
    pub(crate) fn failed(&self, began: Instant) {
        if self.intent == Intent::Read {
            self.node.live.failed(began, self.node.context.now());
        }
    }

    /// Tells what an error says of the node. A node that is unavailable gets no more work until the
    /// monitor, which is woken at once, finds that it answers. On a router without a monitor,
    /// one over a single node, it is only counted. If it was to be the primary, all nodes are asked at once which of
    /// them is; so they are if it refuses a write because it is read-only.
    pub fn report(&self, fault: Fault, error: &dyn fmt::Display) {
        self.accuse(fault, error);
    }

    /// As [`report`](Self::report). Whether the node is suspect because of that.
    pub(crate) fn accuse(&self, fault: Fault, error: &dyn fmt::Display) -> bool {
        let context = &self.node.context;
        let suspected = match fault {
            Fault::Unavailable if !context.wake.is_watched() => {
                self.node.live.count_failure();
                return false;
            }
            Fault::Unavailable => self.suspect(error),
            Fault::ReadOnly if self.intent == Intent::Write => false,
            _ => return false,
        };
        if self.node.role() == Role::Primary {
            context.wake.ask_roles(context.after_now());
        }
        suspected
    }

    /// The node is suspected of being gone. Whether it was not yet.
    pub(crate) fn suspect(&self, error: &dyn fmt::Display) -> bool {
        if self.node.health() != Health::Suspect {
            // Only the first failure: an answer to what was asked after it says that the node is there, however many
            // follow before that arrives.
            self.node.forget_answers();
        }
        let (before, after) = self.node.take(Sign::WorkFailed, Some(&error.to_string()));
        if before != after {
            self.node.context.events.emit(|| Event::Suspected {
                peer: Arc::clone(self.node.peer()),
                error: error.to_string().into(),
            });
        }
        self.node.context.wake.ring();
        before != after
    }
}

impl<B> Drop for Route<B> {
    fn drop(&mut self) {
        // The session first: who sees the place free must see what the work left behind.
        match &self.ending {
            Ending::Silent => {}
            Ending::Read(session, epoch) => session.read(*epoch, self.reason),
            Ending::Write(session, _) => session.wrote(),
            Ending::OpenWriter(session, _) => session.close_writer(),
        }
        self.node.leave();
        if self.placed
            && let Some(places) = &self.node.context.places
        {
            places.give_back();
        }
    }
}

impl<B> fmt::Debug for Route<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("node", &self.node.name())
            .field("intent", &self.intent)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}
