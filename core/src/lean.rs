//! Where a session's reads go when nobody says where.

use crate::sync::{AtomicU32, Ordering};
use crate::vocabulary::Preference;

/// Where the reads of a whole session go, unless a handle, a scope or a request says otherwise: the rule for one web
/// request, before anything is known of what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Lean {
    /// Where the router's own preference says.
    Nowhere,
    /// To replicas.
    Replica,
    /// To the primary.
    Primary,
    /// To the primary until something has been written; from then on the write is what must be seen.
    PrimaryUntilWritten,
}

impl Lean {
    fn preference(self) -> Option<Preference> {
        match self {
            Self::Nowhere => None,
            Self::Replica => Some(Preference::ReplicaPreferred),
            Self::Primary | Self::PrimaryUntilWritten => Some(Preference::Primary),
        }
    }
}

/// A lean that others change meanwhile.
#[derive(Debug)]
pub(crate) struct AtomicLean(AtomicU32);

impl AtomicLean {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(Lean::Nowhere as u32))
    }

    pub(crate) fn set(&self, lean: Lean) {
        self.0.store(lean as u32, Ordering::Release);
    }

    fn value(&self) -> Lean {
        const REPLICA: u32 = Lean::Replica as u32;
        const PRIMARY: u32 = Lean::Primary as u32;
        const PRIMARY_UNTIL_WRITTEN: u32 = Lean::PrimaryUntilWritten as u32;
        match self.0.load(Ordering::Acquire) {
            REPLICA => Lean::Replica,
            PRIMARY => Lean::Primary,
            PRIMARY_UNTIL_WRITTEN => Lean::PrimaryUntilWritten,
            _ => Lean::Nowhere,
        }
    }

    pub(crate) fn assume(&self, other: &Self) {
        self.set(other.value());
    }

    /// Where reads go, if this says so. Who sees that it no longer says so sees what has been written, too.
    #[inline]
    pub(crate) fn preference(&self) -> Option<Preference> {
        self.value().preference()
    }

    /// Something has been written, and is needed already. A rule that was set meanwhile stays.
    pub(crate) fn wrote(&self) {
        let (current, new) = (Lean::PrimaryUntilWritten as u32, Lean::Nowhere as u32);
        if self.0.load(Ordering::Relaxed) != current {
            return;
        }
        self.0
            .compare_exchange(current, new, Ordering::AcqRel, Ordering::Relaxed)
            .ok();
    }
}
