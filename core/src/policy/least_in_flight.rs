use std::cmp::Ordering;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Policy;
use super::dice::Dice;
use crate::candidates::{Candidate, Candidates};
use crate::request::Request;

/// The candidate with the least work under way for its weight.
///
/// A slow node finishes its work later, so its work piles up and it gets less: the policy adapts to
/// speed without measuring time. Only this process's work is seen. If all are equal it takes turns by
/// weight, lest an idle cluster's first node get everything. If some are, it draws one of them by weight: turns
/// among a number that changes in a constant rhythm would always meet the same ones.
#[derive(Debug)]
pub struct LeastInFlight {
    turn: AtomicU64,
    dice: Dice,
}

impl LeastInFlight {
    /// Begins with the first candidate.
    #[must_use]
    pub fn new() -> Self {
        Self {
            turn: AtomicU64::new(0),
            // What it draws settles ties and nothing else, so one sequence is as good as another.
            dice: Dice::seeded(0),
        }
    }
}

impl Default for LeastInFlight {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for LeastInFlight {
    fn pick(&self, candidates: Candidates<'_>, _: &Request) -> Option<usize> {
        let (least, idlest) = candidates
            .iter()
            .enumerate()
            .min_by(|a, b| by_load(&a.1, &b.1))?;
        let load = Load::of(&idlest);
        let equal = |candidate: &Candidate<'_>| Load::of(candidate).cmp(load) == Ordering::Equal;
        let (mut all, mut equals) = (0, 0);
        for candidate in candidates.iter() {
            let weight = u64::from(candidate.weight());
            all += weight;
            equals += if equal(&candidate) { weight } else { 0 };
        }
        let mut place = match equals == all {
            true => self
                .turn
                .fetch_add(1, Relaxed)
                .checked_rem(all)
                .unwrap_or(0),
            false => self.dice.below(equals),
        };
        let chosen = candidates.iter().position(|candidate| {
            let weight = u64::from(candidate.weight());
            let found = equal(&candidate) && place < weight;
            if equal(&candidate) {
                place = place.saturating_sub(weight);
            }
            found
        });
        // Work may begin and end between the two looks; then the first look decides.
        Some(chosen.unwrap_or(least))
    }
}

fn by_load(one: &Candidate<'_>, other: &Candidate<'_>) -> Ordering {
    Load::of(one).cmp(Load::of(other))
}

/// Work under way in proportion to the weight.
#[derive(Clone, Copy)]
pub(super) struct Load {
    in_flight: u64,
    weight: u64,
}

impl Load {
    pub(super) fn of(candidate: &Candidate<'_>) -> Self {
        Self {
            in_flight: candidate.in_flight().into(),
            weight: candidate.weight().into(),
        }
    }

    /// a/x < b/y if and only if a*y < b*x: no division, no rounding.
    pub(super) fn cmp(self, other: Self) -> Ordering {
        (self.in_flight * other.weight).cmp(&(other.in_flight * self.weight))
    }
}
