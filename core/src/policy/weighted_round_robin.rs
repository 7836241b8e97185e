use std::sync::atomic::{AtomicU64, Ordering};

use super::Policy;
use super::weighted_random::{at_weight, total_weight};
use crate::candidates::Candidates;
use crate::request::Request;

/// In turn, each candidate as often as its weight says, evenly interleaved.
///
/// While the candidates stay the same, any run of as many picks as the sum of the weights gives each
/// candidate exactly its weight. Weights count by their proportion: 2 and 4 are the same as 1 and 2.
///
/// nginx's smooth weighted round robin keeps a running balance per node, which has to be changed
/// under a lock. This one keeps a counter. Lay the weights end to end on a circle of `W` places; the
/// `n`-th pick is the owner of place `n × s mod W`. With `s` coprime to `W` each place comes up once in
/// `W` picks. The multiples of `s / W` divide the circle into gaps of at most three lengths (the
/// three-gap theorem; V. T. Sós, *On the distribution mod 1 of the sequence nα*, 1958), and the smaller
/// the partial quotients of its continued fraction, the nearer these lengths are to each other. They
/// are smallest near the golden ratio, so the best stride is looked for there.
#[derive(Debug, Default)]
pub struct WeightedRoundRobin {
    picks: AtomicU64,
    /// Circles lately used and their strides, in one word each: a memory of a pure function's results.
    strides: [AtomicU64; Self::MEMORY],
}

impl WeightedRoundRobin {
    const MEMORY: usize = 16;

    /// Begins with the first candidate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn stride(&self, total: u64) -> u64 {
        let Ok(small) = u32::try_from(total) else {
            return stride(total);
        };
        let memory = &self.strides[small as usize % Self::MEMORY];
        let known = memory.load(Ordering::Relaxed);
        if known >> 32 == total {
            return known & u64::from(u32::MAX);
        }
        let stride = stride(total);
        memory.store(total << 32 | stride, Ordering::Relaxed);
        stride
    }
}

impl Policy for WeightedRoundRobin {
    fn pick(&self, candidates: Candidates<'_>, _: &Request) -> Option<usize> {
        let divisor = greatest_common_divisor(candidates);
        let total = total_weight(candidates).checked_div(divisor)?;
        let turn = self
            .picks
            .fetch_add(1, Ordering::Relaxed)
            .checked_rem(total)?;
        // Both factors are below `total`, which is below 2^42.
        let place = u128::from(turn) * u128::from(self.stride(total)) % u128::from(total);
        at_weight(candidates, u64::try_from(place).ok()? * divisor)
    }
}

/// What all weights can be divided by: the smaller the circle, the sooner it is even.
fn greatest_common_divisor(candidates: Candidates<'_>) -> u64 {
    let weights = candidates.iter().map(|candidate| candidate.weight().into());
    weights.fold(0, |divisor, weight| match divisor {
        1 => 1,
        _ => gcd(weight, divisor),
    })
}

/// The stride of the most even circle near `total` divided by the golden ratio.
fn stride(total: u64) -> u64 {
    const INVERSE_GOLDEN_RATIO: u128 = 0x9E37_79B9_7F4A_7C15;
    const NEAR: u64 = 16;
    let golden = u64::try_from((u128::from(total) * INVERSE_GOLDEN_RATIO) >> 64).unwrap_or(1);
    let near = golden.saturating_sub(NEAR).max(1)..=golden.saturating_add(NEAR).min(total);
    let even = near.filter_map(|stride| Some((unevenness(total, stride)?, stride)));
    even.min_by_key(|(unevenness, stride)| (*unevenness, golden.abs_diff(*stride)))
        .map_or(1, |(_, stride)| stride)
}

/// The largest partial quotient of `stride / total`, if the two are coprime.
fn unevenness(total: u64, stride: u64) -> Option<u64> {
    let (mut a, mut b, mut largest) = (total, stride, 0);
    while b != 0 {
        largest = largest.max(a / b);
        (a, b) = (b, a % b);
    }
    (a == 1).then_some(largest)
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
