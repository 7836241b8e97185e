//! The sessions that keep a connection of one node, and those who wait for one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::affinity::Slot;
use crate::live::{Admission, Epoch, Live};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::vocabulary::Role;

/// One node's. Nobody who waits for a connection waits for an idle one.
///
/// Who begins to wait is counted first, and then looks at each slot; who parks a connection has its slot known
/// first, and then looks at the count, under the slot's lock. So one of the two sees the other.
pub(crate) struct Holders {
    live: Arc<Live>,
    begun: Instant,
    waiting: AtomicU32,
    /// Until when the pool counts as short of connections, in nanoseconds since the beginning.
    short_until: AtomicU64,
    stopped: AtomicBool,
    /// Those who wait for a connection that comes back, because the server has no room for another one.
    crowd: AtomicU32,
    returns: Notify,
    /// When one of them may see next whether another connection opens, in nanoseconds since the beginning.
    next_trial: AtomicU64,
    slots: Mutex<BTreeMap<u64, Weak<Slot>>>,
}

/// After somebody had to wait because there are too few connections, nothing is kept for this time. Where a pool is always short, connections that are
/// kept would be called back all the time, and each would be a round trip away when it is wanted.
const SHORT: Duration = Duration::from_millis(100);

/// Somebody waits, until it is dropped.
pub(crate) struct Waiting<'a> {
    holders: &'a Holders,
    short: bool,
}

/// Somebody waits for a connection that comes back, until it is dropped.
pub(crate) struct InCrowd<'a>(&'a Holders);

impl Drop for InCrowd<'_> {
    fn drop(&mut self) {
        self.0.crowd.fetch_sub(1, Ordering::AcqRel);
        // It may have been told, and gives that on.
        self.0.work_ended();
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.short {
            self.holders.mark_short();
        }
        self.holders.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Holders {
    pub(crate) fn new(live: &Arc<Live>) -> Self {
        Self {
            live: Arc::clone(live),
            begun: Instant::now(),
            waiting: AtomicU32::new(0),
            short_until: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            crowd: AtomicU32::new(0),
            returns: Notify::new(),
            next_trial: AtomicU64::new(0),
            slots: Mutex::new(BTreeMap::new()),
        }
    }

    /// Whether an idle connection may be kept from the pool.
    pub(crate) fn may_keep(&self, epoch: Epoch) -> bool {
        let standing = self.live.standing();
        self.waiting.load(Ordering::Acquire) == 0
            && !self.stopped.load(Ordering::Acquire)
            && standing.role == Role::Replica
            && standing.admission == Admission::Enabled
            && self.live.epoch() == epoch
            && self.now() >= self.short_until.load(Ordering::Acquire)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn mark_short(&self) {
        // As many nanoseconds as fit in a word many times over.
        let until = self.now().saturating_add(SHORT.as_nanos() as u64);
        self.short_until.fetch_max(until, Ordering::AcqRel);
    }

    /// Somebody waits for a connection: an idle one goes back to the pool, and until the guard is dropped none
    /// is kept from it. The pool is short of connections if there is more work than it has connections at most, or if
    /// it was an idle one that was missing. Otherwise one is just being opened, or comes back: if nothing were kept
    /// because of that, still more would have to come back.
    pub(crate) fn wait(&self, overloaded: bool) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let mut slots = self.known().into_iter();
        let called_back = slots.any(|slot| slot.dismiss(self));
        let short = overloaded || called_back;
        if short {
            self.mark_short();
        }
        let holders = self;
        Waiting { holders, short }
    }

    /// All idle connections go back to the pool.
    pub(crate) fn recall_all(&self) {
        for slot in self.known() {
            slot.dismiss(self);
        }
    }

    /// From now on no connection is kept.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.recall_all();
    }

    /// Whether the pool is on its way out: another one has taken its place, or its node has gone.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Whether somebody waits for a connection that comes back. Who comes later waits behind them.
    #[inline]
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowd.load(Ordering::Acquire) > 0
    }

    /// Waits for one, until it is dropped.
    pub(crate) fn join_crowd(&self) -> InCrowd<'_> {
        self.crowd.fetch_add(1, Ordering::AcqRel);
        InCrowd(self)
    }

    /// Completes when work has ended on the node: its connection is back, or about to be. Who has waited longest is told.
    pub(crate) fn returned(&self) -> Notified<'_> {
        self.returns.notified()
    }

    /// Whether one of those who wait for a connection that comes back may see whether another one opens. One of them may
    /// in each `pause`: the server may have room again, and a pool may close what comes back.
    pub(crate) fn may_try(&self, pause: Duration) -> bool {
        let now = self.now();
        let next = self.next_trial.load(Ordering::Acquire);
        let after = now.saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
        let (won, lost) = (Ordering::AcqRel, Ordering::Acquire);
        let next_trial = &self.next_trial;
        now >= next && next_trial.compare_exchange(next, after, won, lost).is_ok()
    }

    /// Another one did open, so the next may be tried at once.
    pub(crate) fn trial_succeeded(&self) {
        self.next_trial.store(0, Ordering::Release);
    }

    /// Work has ended on the node.
    #[inline]
    pub(crate) fn work_ended(&self) {
        if self.is_crowded() {
            self.returns.notify_one();
        }
    }

    /// How many wait for a connection.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Acquire)
    }

    pub(crate) fn add(&self, id: u64, slot: Weak<Slot>) {
        self.slots().insert(id, slot);
    }

    pub(crate) fn remove(&self, id: u64) {
        self.slots().remove(&id);
    }

    /// The slots as they are now, so that none is locked under the lock that slots take themselves.
    fn known(&self) -> Vec<Arc<Slot>> {
        let slots = self.slots();
        slots.values().filter_map(Weak::upgrade).collect()
    }

    fn slots(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Holders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holders")
            .field("waiting", &self.waiting.load(Ordering::Relaxed))
            .field("known", &self.slots().len())
            .finish_non_exhaustive()
    }
}
