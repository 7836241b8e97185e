use std::sync::atomic::{AtomicU64, Ordering};

use super::Policy;
use super::weighted_random::{at_weight, total_weight};
use crate::candidates::Candidates;
use crate::request::Request;

/// In turn, each candidate as often as its weight says, evenly interleaved.
///
/// While the candidates stay the same, any run of as many picks as the sum of the weights gives each
/// candidate exactly its weight.
///
/// nginx's smooth weighted round robin keeps a running balance per node, which has to be changed
/// under a lock. This one keeps a counter. Lay the weights end to end on a circle of `W` places; the
/// `n`-th pick is the owner of place `n × s mod W`. With `s` coprime to `W` each place comes up once in
/// `W` picks; with `s` near `W` divided by the golden ratio, a node's places come up evenly spread,
/// because the multiples of that ratio divide the circle into gaps of at most three lengths (the
/// three-gap theorem; V. T. Sós, *On the distribution mod 1 of the sequence nα*, 1958).
#[derive(Debug, Default)]
pub struct WeightedRoundRobin {
    picks: AtomicU64,
    /// The circle last used and its stride, in one word. Only a memory of a pure function's result.
    stride: AtomicU64,
}

impl WeightedRoundRobin {
    /// Begins with the first candidate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn stride(&self, total: u64) -> u64 {
        let Ok(small) = u32::try_from(total) else {
            return stride(total);
        };
        let known = self.stride.load(Ordering::Relaxed);
        if known >> 32 == u64::from(small) {
            return known & u64::from(u32::MAX);
        }
        let stride = stride(total);
        self.stride
            .store(u64::from(small) << 32 | stride, Ordering::Relaxed);
        stride
    }
}

impl Policy for WeightedRoundRobin {
    fn pick(&self, candidates: Candidates<'_>, _: &Request) -> Option<usize> {
        let total = total_weight(candidates);
        let turn = self
            .picks
            .fetch_add(1, Ordering::Relaxed)
            .checked_rem(total)?;
        // Both factors are below `total`, which is below 2^42.
        let place = u128::from(turn) * u128::from(self.stride(total)) % u128::from(total);
        at_weight(candidates, u64::try_from(place).ok()?)
    }
}

/// The number nearest above `total` divided by the golden ratio that is coprime to it.
fn stride(total: u64) -> u64 {
    const INVERSE_GOLDEN_RATIO: u128 = 0x9E37_79B9_7F4A_7C15;
    let first = (u128::from(total) * INVERSE_GOLDEN_RATIO) >> 64;
    let first = u64::try_from(first).unwrap_or(1).max(1);
    (first..=total)
        .find(|stride| gcd(*stride, total) == 1)
        .unwrap_or(1)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
