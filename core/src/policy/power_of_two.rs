use super::dice::Dice;
use super::least_in_flight::Load;
use super::{Policy, pair};
use crate::candidates::Candidates;
use crate::request::Request;

/// Of two candidates drawn by weight, the one with less work under way for its weight.
///
/// With work spread at random over `n` nodes the fullest has about `log n / log log n` pieces more than the average;
/// with the better of two random ones it has `log log n / log 2`: an exponential gain for one more look
/// (M. Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing*, 2001). More looks gain little more. And where
/// many processes choose at once, each with a picture of its own, they do not all run to the one node that all of them
/// think is idle, as with [`LeastInFlight`](super::LeastInFlight).
#[derive(Debug)]
pub struct PowerOfTwo(Dice);

impl PowerOfTwo {
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

impl Default for PowerOfTwo {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for PowerOfTwo {
    fn pick(&self, candidates: Candidates<'_>, _: &Request) -> Option<usize> {
        let (one, other) = pair::draw(candidates, &self.0)?;
        let Some(other) = other else {
            return Some(one.0);
        };
        match Load::of(&other.1).cmp(Load::of(&one.1)) {
            std::cmp::Ordering::Less => Some(other.0),
            // Drawn by weight as well.
            std::cmp::Ordering::Equal | std::cmp::Ordering::Greater => Some(one.0),
        }
    }
}
