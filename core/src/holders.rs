//! The sessions that keep a connection of one node, and those who wait for one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::affinity::{AnyConnection, Slot};
use crate::live::{Admission, Epoch, Live};
use crate::sync::{AtomicU32, Ordering};
use crate::vocabulary::Role;

/// One node's. Nobody who waits for a connection waits for an idle one.
///
/// Who begins to wait is counted first, and then looks at each slot; who parks a connection has its slot known
/// first, and then looks at the count, under the slot's lock. So one of the two sees the other.
pub(crate) struct Holders {
    live: Arc<Live>,
    waiting: AtomicU32,
    stopped: AtomicBool,
    slots: Mutex<BTreeMap<u64, Weak<Slot>>>,
}

/// Somebody waits, until it is dropped.
pub(crate) struct Waiting<'a>(&'a Holders);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Holders {
    pub(crate) fn new(live: &Arc<Live>) -> Self {
        Self {
            live: Arc::clone(live),
            waiting: AtomicU32::new(0),
            stopped: AtomicBool::new(false),
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
    }

    /// Somebody waits for a connection: an idle one goes back to the pool, and until the guard is dropped none
    /// is kept from it.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let waiting = Waiting(self);
        for slot in self.known() {
            if slot.dismiss(self) {
                break;
            }
        }
        waiting
    }

    /// Takes an idle connection away from whoever keeps it, for somebody who would otherwise wait.
    pub(crate) fn steal(&self, epoch: Epoch) -> Option<AnyConnection> {
        let mut known = self.known().into_iter();
        known.find_map(|slot| slot.recall(self))?.usable(epoch)
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
