//! How work asks the monitor for fresher replicas: a thousand sessions that ask cause one round.

use std::sync::atomic::AtomicBool;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::clock::Instant;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// The instant that somebody wants replicas to be fresh as of, and the bell that tells the monitor.
#[derive(Debug)]
pub(crate) struct Wake {
    wanted: Wanted,
    bell: Notify,
    /// Somebody found no primary where it should be, and wants all nodes asked after then what they are.
    roles_wanted: Wanted,
    /// How much work waits for a primary.
    awaiting: AtomicU32,
    /// Rung by the monitor when a replica has become fresher.
    proof: Notify,
    watched: AtomicBool,
    left: AtomicBool,
}

impl Wake {
    pub(crate) fn new() -> Self {
        Self {
            wanted: Wanted::new(),
            bell: Notify::new(),
            roles_wanted: Wanted::new(),
            awaiting: AtomicU32::new(0),
            proof: Notify::new(),
            watched: AtomicBool::new(false),
            left: AtomicBool::new(false),
        }
    }

    /// From now on there is a monitor.
    pub(crate) fn watch(&self) {
        self.watched.store(true, Ordering::Relaxed);
    }

    /// Whether there is a monitor, who alone can find a lost node again.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// A task of the router's has ended with its runtime. Work that waits for what it does looks again.
    pub(crate) fn leave(&self) {
        self.left.store(true, Ordering::Release);
        self.proved();
    }

    /// The tasks of the router's run again.
    pub(crate) fn end_leave(&self) {
        self.left.store(false, Ordering::Release);
    }

    /// Whether a task of the router's has ended with its runtime.
    #[inline]
    pub(crate) fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }

    /// Asks for replicas that are fresh as of `instant`.
    pub(crate) fn ask(&self, instant: Instant) {
        if self.wanted.raise(instant) {
            self.bell.notify_one();
        }
    }

    /// Asks for a round, whatever is known: a node was lost, or added.
    pub(crate) fn ring(&self) {
        self.bell.notify_one();
    }

    /// Asks for all nodes to be asked, after `instant`, what they are: the primary is no longer there, or none.
    pub(crate) fn ask_roles(&self, instant: Instant) {
        if self.roles_wanted.raise(instant) {
            self.bell.notify_one();
        }
    }

    /// After which instant somebody wants all nodes to have been asked what they are.
    pub(crate) fn roles_wanted(&self) -> Instant {
        self.roles_wanted.instant()
    }

    /// Asks for all nodes to be asked again and again what they are, until the guard is dropped.
    pub(crate) fn await_primary(&self) -> Awaiting<'_> {
        self.awaiting.fetch_add(1, Ordering::AcqRel);
        self.bell.notify_one();
        Awaiting(self)
    }

    /// Whether work waits for a primary.
    pub(crate) fn is_primary_awaited(&self) -> bool {
        self.awaiting.load(Ordering::Acquire) > 0
    }

    /// A replica has become fresher, or another node will do for other reasons.
    pub(crate) fn proved(&self) {
        self.proof.notify_waiters();
    }

    /// Completes when a replica becomes fresher after this call.
    pub(crate) fn next_proof(&self) -> Notified<'_> {
        self.proof.notified()
    }

    pub(crate) fn wanted(&self) -> Instant {
        self.wanted.instant()
    }

    /// Waits until somebody asks. What was asked since the last wait is not missed.
    pub(crate) async fn rung(&self) {
        self.bell.notified().await;
    }
}

/// Work that waits for a primary.
#[derive(Debug)]
pub(crate) struct Awaiting<'a>(&'a Wake);

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.awaiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The latest instant asked for.
#[derive(Debug)]
struct Wanted(AtomicU64);

impl Wanted {
    fn new() -> Self {
        Self(AtomicU64::new(Instant::VOID.as_nanos()))
    }

    /// Returns whether this is later than all that was asked for before.
    fn raise(&self, instant: Instant) -> bool {
        self.0.fetch_max(instant.as_nanos(), Ordering::AcqRel) < instant.as_nanos()
    }

    fn instant(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Acquire))
    }
}

#[cfg(all(test, dbrouter_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// Of any number of sessions that want the same instant exactly one rings the bell, and the
    /// latest wish is never lost.
    #[test]
    fn one_wish_rings_once() {
        loom::model(|| {
            let wanted = Arc::new(Wanted::new());
            let other = {
                let wanted = Arc::clone(&wanted);
                thread::spawn(move || wanted.raise(Instant::from_nanos(7)))
            };
            let mine = wanted.raise(Instant::from_nanos(7));
            let theirs = other.join().unwrap();
            assert!(mine != theirs);
            assert_eq!(wanted.instant(), Instant::from_nanos(7));
        });
    }

    /// Whoever asked, and in whichever order: the latest wish stands, and somebody rang for it.
    #[test]
    fn the_latest_wish_stands() {
        loom::model(|| {
            let wanted = Arc::new(Wanted::new());
            let other = {
                let wanted = Arc::clone(&wanted);
                thread::spawn(move || wanted.raise(Instant::from_nanos(9)))
            };
            wanted.raise(Instant::from_nanos(7));
            assert!(other.join().unwrap(), "nobody rang for the latest");
            assert_eq!(wanted.instant(), Instant::from_nanos(9));
        });
    }
}
