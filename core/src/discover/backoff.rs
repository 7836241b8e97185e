//! How long the router waits before it asks a source again that failed.

use std::time::Duration;

/// How long the router waits before it asks a source again that failed: twice as long each time, up to a limit, and
/// of that a random part between the half and the whole. (Equal jitter: Brooker, *Exponential Backoff and Jitter*, AWS
/// Architecture Blog 2015.) The half is what is left of full jitter's advantage where nobody waits for the result.
#[derive(Clone, Debug)]
#[must_use]
pub struct Backoff {
    first: Duration,
    most: Duration,
    random: fastrand::Rng,
    failures: u32,
}

impl Backoff {
    /// The defaults.
    pub fn new() -> Self {
        Self {
            first: Duration::from_secs(1),
            most: Duration::from_secs(30),
            random: fastrand::Rng::new(),
            failures: 0,
        }
    }

    /// The longest wait after the first error. Defaults to 1 s.
    pub fn first(mut self, wait: Duration) -> Self {
        self.first = wait;
        self
    }

    /// The longest wait of all. Defaults to 30 s, which is how often sources ask when they do not fail.
    pub fn most(mut self, wait: Duration) -> Self {
        self.most = wait;
        self
    }

    /// The seed of its random numbers, for tests. Defaults to one that differs each time.
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = fastrand::Rng::with_seed(seed);
        self
    }

    /// The source has failed again: how long to wait.
    pub(super) fn failed(&mut self) -> Duration {
        // At ten thousand years it stops growing, whatever was configured.
        let wait = self.first.saturating_mul(1 << self.failures.min(30));
        self.failures = self.failures.saturating_add(1);
        let half = wait.min(self.most) / 2;
        half + half.mul_f64(self.random.f64())
    }

    /// It has answered.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_grows_to_its_limit_and_begins_anew_after_a_success() {
        let mut backoff = Backoff::new().seed(3);
        let within = |wait: Duration, most: u64| {
            let most = Duration::from_secs(most);
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
        };
        for most in [1, 2, 4, 8, 16, 30, 30, 30] {
            within(backoff.failed(), most);
        }
        backoff.succeeded();
        within(backoff.failed(), 1);
    }

    #[test]
    fn it_is_random_and_can_be_repeated() {
        let waits = |seed| {
            let mut backoff = Backoff::new().seed(seed);
            [(); 8].map(|()| backoff.failed())
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn no_configuration_is_too_long_for_it() {
        let mut backoff = Backoff::new().first(Duration::MAX).most(Duration::MAX);
        for _ in 0..100 {
            assert!(backoff.failed() >= Duration::MAX / 2);
        }
    }
}
