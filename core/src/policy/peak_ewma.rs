use super::dice::Dice;
use super::{Policy, pair};
use crate::candidates::{Candidate, Candidates};
use crate::clock::Instant;
use crate::request::Request;

/// Of two candidates drawn by weight, the one on which the read would be done sooner: its
/// [latency](Candidate::latency) times the work under way on it for its weight, plus one for this read.
///
/// It is Finagle's `PeakEwma` in the form that linkerd and tower have given it. The latency is an average that
/// a long time raises at once and that is forgotten with a time constant of 1 s, so a node that stalls is left within
/// one statement and tried again before long. A failure counts as twice the latency, however fast it was: without that,
/// a node that fails at once would look like the best of all, and draw all reads.
///
/// What a node takes when nobody sends it reads is what it takes to answer the monitor. So nothing is sent to a slow
/// one just to see whether it still is, as Prequal does with its probes; and an idle one is not thought to be faster
/// than the network.
///
/// Latencies that differ by less than a factor of two are taken for the same, and only the work counts: of different
/// statements on equal nodes they differ by that much anyway, and without it whichever node happened to look the faster
/// would get nearly all reads of a service that is not busy, and the others' caches would go cold.
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
        let (latency, other_latency) = (latency(&one.1, now), latency(&other.1, now));
        let alike = latency <= ALIKE * other_latency && other_latency <= ALIKE * latency;
        let (cost, other_cost) = match alike {
            true => (work(&one.1), work(&other.1)),
            false => (latency * work(&one.1), other_latency * work(&other.1)),
        };
        match other_cost < cost {
            true => Some(other.0),
            false => Some(one.0),
        }
    }
}

/// By how much latencies may differ and be taken for the same.
const ALIKE: f64 = 2.0;

/// In seconds. One that nothing is known of takes next to nothing: it is tried, and then something is known.
fn latency(candidate: &Candidate<'_>, now: Instant) -> f64 {
    let latency = candidate.latency(now);
    latency.map_or(1e-9, |latency| latency.as_secs_f64())
}

/// The work that there would be with this read. Among idle ones the weight has had its say when they were drawn.
fn work(candidate: &Candidate<'_>) -> f64 {
    f64::from(candidate.in_flight()) / f64::from(candidate.weight()) + 1.0
}
