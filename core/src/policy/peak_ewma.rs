use super::dice::Dice;
use super::{Policy, pair};
use crate::candidates::{Candidate, Candidates};
use crate::clock::Instant;
use crate::request::Request;

/// Of two candidates drawn by weight, the one on which the read would be done sooner: its
/// [latency](Candidate::latency) times the work under way on it for its weight, plus one for this read.
///
/// It is Finagle's `PeakEwma` in the form that linkerd and tower have given it. The latency is an average that
/// a long time raises at once and that is forgotten with a time constant of 10 s, so a node that stalls is left within
/// one statement and tried again before long. A failure counts as twice the latency, however fast it was: without that,
/// a node that fails at once would look like the best of all, and draw all reads.
///
/// What a node takes when nobody sends it reads is what it takes to answer the monitor. So nothing is sent to a slow
/// one just to see whether it still is, as Prequal does with its probes; and an idle one is not thought to be faster
/// than the network.
///
/// It compares the latency of different statements as if they were alike. Where some take a thousand times as long as
/// others, that is mostly chance, and [`PowerOfTwo`](super::PowerOfTwo) or [`LeastInFlight`](super::LeastInFlight) are
/// calmer.
#[derive(Debug)]
pub struct PeakEwma(Dice);

impl PeakEwma {
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

impl Default for PeakEwma {
    fn default() -> Self {
        Self::new()
    }
}

impl Policy for PeakEwma {
    fn pick(&self, candidates: Candidates<'_>, _: &Request) -> Option<usize> {
        let (one, other) = pair::draw(candidates, &self.0)?;
        let Some(other) = other else {
            return Some(one.0);
        };
        let now = candidates.now();
        match cost(&other.1, now) < cost(&one.1, now) {
            true => Some(other.0),
            false => Some(one.0),
        }
    }
}

/// One that nothing is known of costs next to nothing: it is tried, and then something is known.
fn cost(candidate: &Candidate<'_>, now: Instant) -> f64 {
    let latency = candidate
        .latency(now)
        .map_or(1e-9, |latency| latency.as_secs_f64());
    // Among idle ones the weight has had its say when they were drawn.
    let work = f64::from(candidate.in_flight()) / f64::from(candidate.weight());
    latency * (work + 1.0)
}
