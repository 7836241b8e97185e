//! Where policies get their random numbers: the thread's generator, or a seeded sequence.

use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random numbers that any number of threads may draw from without a lock.
#[derive(Debug)]
pub(super) enum Dice {
    /// Each thread's own generator.
    Thread,
    /// One reproducible sequence. With one thread it is always the same; with several, the numbers
    /// are the same and who gets which is not.
    Seeded(AtomicU64),
}

impl Dice {
    pub(super) fn seeded(seed: u64) -> Self {
        Self::Seeded(AtomicU64::new(seed))
    }

    /// A number below `end`, or zero if `end` is zero.
    pub(super) fn below(&self, end: u64) -> u64 {
        if end == 0 {
            return 0;
        }
        match self {
            Self::Thread => fastrand::u64(..end),
            Self::Seeded(state) => {
                // Wyrand's state is a counter, so a sequence can be shared by sharing the counter.
                // Any odd step visits all states; this one is 2^64 divided by the golden ratio.
                let state = state.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
                fastrand::Rng::with_seed(state).u64(..end)
            }
        }
    }
}
