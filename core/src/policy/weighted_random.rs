use super::Policy;
use super::dice::Dice;
use crate::candidates::Candidates;
use crate::request::Request;

/// Any candidate, with chances in proportion to the weights.
#[derive(Debug)]
pub struct WeightedRandom(Dice);

impl WeightedRandom {
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

impl Default for WeightedRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for WeightedRandom {
    fn pick(&self, candidates: Candidates<'_>, _: &Request) -> Option<usize> {
        at_weight(candidates, self.0.below(total_weight(candidates)))
    }
}

/// The sum of the candidates' weights: at most 1,024 times 2³², so it cannot overflow.
pub(super) fn total_weight(candidates: Candidates<'_>) -> u64 {
    candidates
        .iter()
        .map(|candidate| u64::from(candidate.weight()))
        .sum()
}

/// The candidate that owns the place `at`, if each in turn owns as many places as its weight.
pub(super) fn at_weight(candidates: Candidates<'_>, mut at: u64) -> Option<usize> {
    candidates.iter().position(|candidate| {
        let weight = u64::from(candidate.weight());
        let found = at < weight;
        at = at.saturating_sub(weight);
        found
    })
}
