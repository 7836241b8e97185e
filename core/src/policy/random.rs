use super::Policy;
use super::dice::Dice;
use crate::candidates::Candidates;
use crate::request::Request;

/// Any candidate, with equal chances.
///
/// It needs no state and no coordination, and any number of processes that use it balance well
/// together. For `n` statements a node's share strays by about the square root of its expectation.
#[derive(Debug)]
pub struct Random(Dice);

impl Random {
    /// Draws from each thread's own generator.
    #[must_use]
    pub fn new() -> Self {
        Self(Dice::Thread)
    }

    /// Draws from a reproducible sequence, for tests and simulations.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Dice::seeded(seed))
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for Random {
    fn pick(&self, candidates: Candidates<'_>, _: &Request) -> Option<usize> {
        usize::try_from(self.0.below(candidates.len() as u64)).ok()
    }
}
