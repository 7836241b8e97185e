use std::sync::atomic::{AtomicUsize, Ordering};

use super::Policy;
use crate::candidates::Candidates;
use crate::request::Request;

/// One candidate after the other.
///
/// While the candidates stay the same, the shares of any two differ by at most one statement.
#[derive(Debug, Default)]
pub struct RoundRobin(AtomicUsize);

impl RoundRobin {
    /// Begins with the first candidate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Policy for RoundRobin {
    fn pick(&self, candidates: Candidates<'_>, _: &Request) -> Option<usize> {
        self.0
            .fetch_add(1, Ordering::Relaxed)
            .checked_rem(candidates.len())
    }
}
