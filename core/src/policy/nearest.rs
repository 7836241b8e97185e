use std::time::Duration;

use super::Policy;
use super::dice::Dice;
use crate::candidates::{Candidate, Candidates};
use crate::request::Request;

/// Any candidate, by weight, among those that are about as near as the nearest: for replicas in several regions.
///
/// It is the rule of MongoDB's drivers (specification "Server Selection", *latency window*): the
/// [round trip](Candidate::round_trip) of a node may be that of the nearest plus a window. It is the network's, measured
/// by the monitor's own questions, so it neither follows the load nor flaps with it. Candidates that have not been
/// measured yet are only taken if none has.
///
/// [`Preference::Nearest`](crate::Preference::Nearest) is another thing: it says that the primary is a candidate, too.
/// Together they are MongoDB's mode of that name.
#[derive(Debug)]
pub struct Nearest {
    window: Duration,
    dice: Dice,
}

impl Nearest {
    /// With a window of 15 ms, which is MongoDB's: all nodes of a region are within it, and no other continent's.
    #[must_use]
    pub fn new() -> Self {
        Self {
            window: Duration::from_millis(15),
            dice: Dice::Thread,
        }
    }

    /// How much farther than the nearest a candidate may be.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Draws from a reproducible sequence, for tests and simulations.
    #[must_use]
    pub fn seeded(mut self, seed: u64) -> Self {
        self.dice = Dice::seeded(seed);
        self
    }
}

impl Default for Nearest {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for Nearest {
    fn pick(&self, candidates: Candidates<'_>, _: &Request) -> Option<usize> {
        let nearest = candidates
            .iter()
            .filter_map(|candidate| candidate.round_trip())
            .min();
        let limit = nearest.map(|nearest| nearest.saturating_add(self.window));
        let is_near = |candidate: &Candidate<'_>| match (candidate.round_trip(), limit) {
            (Some(round_trip), Some(limit)) => round_trip <= limit,
            (None, limit) => limit.is_none(),
            (Some(_), None) => true,
        };
        let near = || {
            candidates
                .iter()
                .enumerate()
                .filter(|(_, candidate)| is_near(candidate))
        };
        let total = near()
            .map(|(_, candidate)| u64::from(candidate.weight()))
            .sum();
        let mut at = self.dice.below(total);
        let mut last = None;
        for (index, candidate) in near() {
            let weight = u64::from(candidate.weight());
            if at < weight {
                return Some(index);
            }
            at -= weight;
            last = Some(index);
        }
        // A round trip may have changed between the two looks.
        last.or(Some(0))
    }
}
