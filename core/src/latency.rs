//! How long a node takes, as far as it has been seen: an average that forgets.
//!
//! Each figure is one word, an estimate and the time when it was made, so that a reader sees both of the same moment.
//! Reading changes nothing: how much of the estimate is still believed is worked out from its age. (An estimate that
//! decays when it is read decays faster the more often it is looked at: linkerd had that once.)

use std::time::Duration;

use crate::clock::Instant;
use crate::sync::{AtomicU64, Ordering};

/// An estimate in nanoseconds, and when it was made.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Estimate {
    nanos: f32,
    /// In milliseconds of the router's clock, which wrap around after 49 days. An estimate that old and no older is
    /// taken for a new one, once.
    at: u32,
}

impl Estimate {
    fn pack(self) -> u64 {
        u64::from(self.nanos.to_bits()) << 32 | u64::from(self.at)
    }

    /// `None` if there is none yet.
    fn unpack(word: u64) -> Option<Self> {
        let nanos = f32::from_bits((word >> 32) as u32);
        // No estimate is zero: what takes no time takes a nanosecond.
        (word != 0).then_some(Self {
            nanos,
            at: word as u32,
        })
    }

    fn new(nanos: f32, now: Instant) -> Self {
        let at = (now.as_nanos() / 1_000_000) as u32;
        let nanos = nanos.max(1.0);
        Self { nanos, at }
    }

    /// What is left of it at `now`, if without news it comes to `rest` in the end.
    fn at(self, now: Instant, rest: f32) -> f32 {
        let now = (now.as_nanos() / 1_000_000) as u32;
        // Who was overtaken by a later one sees no age.
        let age = now.wrapping_sub(self.at);
        let age = if age > u32::MAX / 2 { 0 } else { age };
        let left = (-(age as f32) / Latency::FORGETS.as_millis() as f32).exp();
        self.nanos * left + rest * (1.0 - left)
    }
}

/// How long a node's statements take to their first row: a peak-sensitive average, after Finagle's `PeakEwma`. A
/// longer time counts at once and in full; shorter ones count the more, the longer ago that was.
#[derive(Debug)]
pub(crate) struct Latency(AtomicU64);

impl Latency {
    /// How long it takes for two thirds of an estimate to be forgotten. Finagle has 10 s. But what a client sees of a
    /// database also has its own pauses in it, which all nodes' figures show at once; as long as they do, nobody can
    /// tell a node that is slow from one that is not (`tests/benches/tail.rs`). Who is slow all the time is so again
    /// at the next read, which comes soon where there are many, and matters little where there are few.
    const FORGETS: Duration = Duration::from_secs(1);

    /// No failure counts as more than that.
    const WORST: f32 = 10e9;

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A statement took so long.
    pub(crate) fn took(&self, time: Duration, now: Instant, rest: Option<Duration>) {
        let sample = nanos(time);
        self.update(|estimate| {
            let Some(estimate) = estimate else {
                return Estimate::new(sample, now);
            };
            let left = estimate.at(now, rest.map_or(0.0, nanos));
            if sample >= left {
                return Estimate::new(sample, now);
            }
            // The share of the past that has been forgotten is the sample's.
            let kept = estimate.at(now, sample);
            Estimate::new(kept, now)
        });
    }

    /// A statement failed after so long, which says nothing of how long it would have taken. The node counts as twice
    /// as slow as before: who fails once in a while is not put out, and who fails all the time, however fast, soon
    /// looks worse than all others.
    pub(crate) fn failed(&self, after: Duration, now: Instant, rest: Option<Duration>) {
        let rest = rest.map_or(0.0, nanos);
        self.update(|estimate| {
            let before = estimate.map_or(rest, |estimate| estimate.at(now, rest));
            let worse = 2.0 * before.max(nanos(after));
            Estimate::new(worse.min(Self::WORST), now)
        });
    }

    /// Nothing that was seen counts any longer: the server was away.
    pub(crate) fn forget(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// How long a statement would take now. Without news it comes to `rest` in the end, what the monitor's own
    /// questions take: a node that nobody sends anything to is not thought to be as slow as it was for ever, nor to be
    /// faster than it can be.
    pub(crate) fn estimate(&self, now: Instant, rest: Option<Duration>) -> Option<Duration> {
        let estimate = Estimate::unpack(self.0.load(Ordering::Relaxed));
        match estimate {
            Some(estimate) => Some(duration(estimate.at(now, rest.map_or(0.0, nanos)))),
            None => rest,
        }
    }

    fn update(&self, update: impl Fn(Option<Estimate>) -> Estimate) {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let next = update(Estimate::unpack(word)).pack();
            match self
                .0
                .compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }
}

/// How long a node's answers to the monitor take: an average of which each new one is a fifth, as MongoDB's drivers
/// have it (specification "Server Selection").
#[derive(Debug)]
pub(crate) struct RoundTrip(AtomicU64);

impl RoundTrip {
    const WEIGHT: f32 = 0.2;

    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// An answer took so long. Only the monitor says so, and one at a time.
    pub(crate) fn took(&self, time: Duration) {
        let sample = nanos(time);
        let next = match self.nanos() {
            Some(before) => before + Self::WEIGHT * (sample - before),
            None => sample,
        };
        self.0
            .store(u64::from(next.max(1.0).to_bits()), Ordering::Relaxed);
    }

    pub(crate) fn estimate(&self) -> Option<Duration> {
        self.nanos().map(duration)
    }

    fn nanos(&self) -> Option<f32> {
        let word = self.0.load(Ordering::Relaxed);
        (word != 0).then(|| f32::from_bits(word as u32))
    }
}

fn nanos(time: Duration) -> f32 {
    time.as_secs_f32() * 1e9
}

fn duration(nanos: f32) -> Duration {
    Duration::try_from_secs_f32(nanos / 1e9).unwrap_or(Duration::MAX)
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1_000_000_000 + millis * 1_000_000)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// In milliseconds.
    fn shown(latency: &Latency, now: u64, rest: Option<Duration>) -> f32 {
        let estimate = latency.estimate(at(now), rest);
        estimate.map_or(0.0, |estimate| estimate.as_secs_f32() * 1e3)
    }

    fn close(found: f32, expected: f32) {
        assert!(
            (found - expected).abs() <= expected * 1e-3,
            "{found}, not {expected}"
        );
    }

    #[test]
    fn nothing_is_known_at_first_but_what_the_monitor_knows() {
        let latency = Latency::new();
        assert_eq!(latency.estimate(at(0), None), None);
        assert_eq!(latency.estimate(at(0), Some(ms(3))), Some(ms(3)));
    }

    #[test]
    fn a_peak_counts_at_once_and_is_forgotten_in_time() {
        let latency = Latency::new();
        latency.took(ms(10), at(0), None);
        close(shown(&latency, 0, None), 10.0);
        latency.took(ms(200), at(0), None);
        close(shown(&latency, 0, None), 200.0);
        // A shorter one at the same moment says nothing; after a time constant it has two thirds.
        latency.took(ms(10), at(0), None);
        close(shown(&latency, 0, None), 200.0);
        let e = std::f32::consts::E;
        latency.took(ms(10), at(1000), None);
        close(
            shown(&latency, 1000, None),
            200.0 / e + 10.0 * (1.0 - 1.0 / e),
        );
    }

    #[test]
    fn without_news_it_comes_to_what_the_monitor_finds() {
        let latency = Latency::new();
        latency.took(ms(200), at(0), None);
        let e = std::f32::consts::E;
        for (rest, rests) in [(None, 0.0), (Some(ms(50)), 50.0)] {
            let after = 200.0 / e + rests * (1.0 - 1.0 / e);
            close(shown(&latency, 1000, rest), after);
        }
        close(shown(&latency, 360_000, Some(ms(50))), 50.0);
    }

    #[test]
    fn who_fails_fast_looks_slower_each_time_and_never_for_ever() {
        let latency = Latency::new();
        let rest = Some(ms(1));
        latency.failed(Duration::ZERO, at(0), rest);
        close(shown(&latency, 0, rest), 2.0);
        latency.failed(Duration::ZERO, at(0), rest);
        close(shown(&latency, 0, rest), 4.0);
        latency.failed(ms(100), at(0), rest);
        close(shown(&latency, 0, rest), 200.0);
        for _ in 0..100 {
            latency.failed(ms(100), at(0), rest);
        }
        close(shown(&latency, 0, rest), 10_000.0);
        assert!(shown(&latency, 12_000, rest) < 1.1);
    }

    #[test]
    fn who_was_away_has_no_past() {
        let latency = Latency::new();
        latency.failed(ms(1000), at(0), None);
        latency.forget();
        assert_eq!(latency.estimate(at(0), None), None);
    }

    #[test]
    fn the_round_trip_takes_a_fifth_of_each_new_one() {
        let round_trip = RoundTrip::new();
        assert_eq!(round_trip.estimate(), None);
        round_trip.took(ms(10));
        round_trip.took(ms(20));
        close(round_trip.estimate().unwrap().as_secs_f32() * 1e3, 12.0);
    }

    #[test]
    fn a_clock_that_wraps_around_forgets_and_does_not_jump() {
        let latency = Latency::new();
        let before = u64::from(u32::MAX) - 1_000_000_000 / 1_000_000;
        latency.took(ms(100), at(before), None);
        let e = std::f32::consts::E;
        close(shown(&latency, before + 1000, None), 100.0 / e);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        /// It is never above all that was seen, nor below; and to look at it changes nothing.
        #[test]
        fn an_estimate_is_between_what_was_seen(
            samples in proptest::collection::vec((0_u64..5000, 1_u64..10_000), 1..50),
        ) {
            let latency = Latency::new();
            let mut now = 0;
            for (passed, sample) in &samples {
                now += passed;
                latency.took(ms(*sample), at(now), Some(ms(1)));
                let word = latency.0.load(Ordering::Relaxed);
                let found = shown(&latency, now, Some(ms(1)));
                prop_assert_eq!(latency.0.load(Ordering::Relaxed), word);
                let most = samples.iter().map(|(_, sample)| *sample).max().unwrap();
                prop_assert!(found >= 0.99 && found <= most as f32 * 1.01, "{found}");
                prop_assert!(found >= *sample as f32 * 0.99, "a peak counts in full");
            }
        }
    }
}

#[cfg(all(test, dbrouter_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// Whichever of two is last: the higher one is not lost.
    #[test]
    fn no_peak_is_lost() {
        loom::model(|| {
            let latency = Arc::new(Latency::new());
            let now = Instant::from_nanos(1_000_000_000);
            let other = {
                let latency = Arc::clone(&latency);
                thread::spawn(move || latency.took(Duration::from_millis(7), now, None))
            };
            latency.took(Duration::from_millis(3), now, None);
            other.join().unwrap();
            let found = latency.estimate(now, None).unwrap();
            assert!(found > Duration::from_millis(6), "{found:?}");
        });
    }
}
