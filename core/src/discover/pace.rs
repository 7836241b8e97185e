//! How often a source that must ask does so.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How often a source that must ask does so: at an interval, stretched at random, so that the processes of a service
/// which start together do not ask together for ever.
///
/// ```
/// use std::time::Duration;
/// use dbrouter::discover::Pace;
///
/// let pace = Pace::every(Duration::from_secs(10)).jitter(0.2).seed(7);
/// # let _ = pace;
/// ```
#[derive(Clone, Debug)]
pub struct Pace {
    interval: Duration,
    jitter: f64,
    random: fastrand::Rng,
    due: Option<Instant>,
}

impl Pace {
    /// What no interval is below, however it came about: a source that asks all the time is a load that nobody
    /// ordered.
    pub const LEAST: Duration = Duration::from_millis(100);

    /// Asks at once, and then at this interval.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self {
            interval,
            jitter: 0.1,
            random: fastrand::Rng::new(),
            due: None,
        }
    }

    /// By which share of itself an interval is stretched at most. Defaults to 0.1: within ten rounds processes that
    /// started together are spread over all of an interval. It is never cut short, because an answer may not be
    /// asked for again before its time to live is over. What is no share counts as none.
    #[must_use]
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = if share.is_finite() {
            share.max(0.0)
        } else {
            0.0
        };
        self
    }

    /// The seed of its random numbers, for tests. Defaults to one that differs each time.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = fastrand::Rng::with_seed(seed);
        self
    }

    pub(super) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// Waits until it is time to ask: not at all before the first [`rest`](Self::rest), and not after an error, when
    /// nobody has called that.
    pub async fn due(&mut self) {
        if let Some(due) = self.due {
            sleep_until(due).await;
            self.due = None;
        }
    }

    /// There was an answer: the next is due after an interval.
    pub fn rest(&mut self) {
        self.rest_for(self.interval);
    }

    /// There was an answer, and this is how long it is good for.
    pub fn rest_for(&mut self, interval: Duration) {
        // What no clock can show is as good as a day.
        const LONG: Duration = Duration::from_secs(24 * 60 * 60);
        let stretched = interval.as_secs_f64() * (1.0 + self.jitter * self.random.f64());
        let pause = Duration::try_from_secs_f64(stretched).unwrap_or(LONG);
        self.due = Some(Instant::now() + pause.clamp(Self::LEAST, LONG));
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    async fn intervals(mut pace: Pace) -> Vec<Duration> {
        let mut all = Vec::new();
        for _ in 0..50 {
            let before = Instant::now();
            pace.due().await;
            all.push(before.elapsed());
            pace.rest();
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn it_asks_at_once_and_then_at_the_stretched_interval() {
        let every = Duration::from_secs(10);
        let seen = intervals(Pace::every(every).jitter(0.5).seed(1)).await;
        assert_eq!(seen[0], Duration::ZERO);
        let stretched = &seen[1..];
        assert!(stretched.iter().all(|interval| *interval >= every));
        // Tokio's clock has milliseconds.
        let most = every.mul_f64(1.5) + Duration::from_millis(2);
        assert!(stretched.iter().all(|interval| *interval <= most));
        assert!(
            stretched
                .iter()
                .any(|interval| *interval < every.mul_f64(1.1))
        );
        assert!(
            stretched
                .iter()
                .any(|interval| *interval > every.mul_f64(1.4))
        );
        assert_eq!(
            seen,
            intervals(Pace::every(every).jitter(0.5).seed(1)).await
        );
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_error_it_asks_at_once() {
        let mut pace = Pace::every(Duration::from_secs(10));
        pace.due().await;
        pace.rest();
        pace.due().await;
        let failed = Instant::now();
        pace.due().await;
        assert_eq!(failed.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn no_interval_is_a_busy_loop_or_a_panic() {
        for (interval, jitter) in [
            (Duration::ZERO, 0.0),
            (Duration::ZERO, -1.0),
            (Duration::ZERO, f64::NAN),
            (Duration::MAX, 0.1),
            (Duration::MAX, f64::INFINITY),
        ] {
            let seen = intervals(Pace::every(interval).jitter(jitter)).await;
            assert!(
                seen[1..].iter().all(|seen| *seen >= Pace::LEAST),
                "{interval:?} {jitter}"
            );
        }
    }
}
