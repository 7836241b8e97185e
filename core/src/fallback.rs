//! How many reads may be on the primary at once that no replica would serve.

use std::future::pending;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::{ConfigError, ConfigErrorKind};
use crate::vocabulary::Pressure;

/// How many reads may be on the primary at once because they fell back to it: no replica was fresh enough,
/// healthy, or otherwise fit to serve them.
///
/// A primary is sized for its writes. When all replicas are lost, or all lag, the whole load of reads comes down on
/// it, and then the writes fail as well. Under a limit they do not: the reads that are too many fail, each at once
/// and by name, with a [`RouteError`](crate::RouteError) that says [`FallbackLimit`](crate::WhyNot::FallbackLimit)
/// of the primary, and of each replica why that would not do.
///
/// A read counts from when its node is chosen until its work ends, as the node's work under way does: a stream
/// until it is dropped, a read-only transaction until its end. Reads that *prefer* the primary do not count, nor do
/// those of a router without replicas: there the primary is simply where reads go. A read that a replica serves
/// pays nothing for being under a limit. Each process counts its own reads: what the primary bears is shared among
/// as many as there are.
///
/// ```
/// use std::time::Duration;
/// use dbrouter::FallbackLimit;
///
/// // Half of the primary's connections stay with its writes. A read that finds no place waits for one a little.
/// let limit = FallbackLimit::share(0.5).or_wait(Duration::from_millis(50));
/// # let _ = limit;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FallbackLimit {
    most: Most,
    wait: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Most {
    Reads(u32),
    Share(f64),
}

impl FallbackLimit {
    /// So many reads at once, above zero. (Reads that must never fall back have
    /// [`Preference::Replica`](crate::Preference::Replica).)
    #[must_use]
    pub const fn reads(most: u32) -> Self {
        Self::of(Most::Reads(most))
    }

    /// As many reads at once as this share of the connections that the primary's pool may open
    /// ([`Pressure::max`], as it is when the router connects): above 0 and up to 1, rounded down, and at least one
    /// read.
    #[must_use]
    pub const fn share(share: f64) -> Self {
        Self::of(Most::Share(share))
    }

    const fn of(most: Most) -> Self {
        let wait = Duration::ZERO;
        Self { most, wait }
    }

    /// A read that finds no place waits so long for one, or for a replica that will do, and fails after that.
    /// Places are given out in the order of asking. Defaults to no wait: while there are too many reads, to let
    /// them queue makes all of them slow.
    #[must_use]
    pub const fn or_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// Whether there can be such a limit on a primary whose pool is like this.
    pub(crate) fn check(&self, primary: Pressure) -> Result<(), ConfigError> {
        let wrong = |problem: String| {
            let kind = ConfigErrorKind::OutOfRange;
            Err(ConfigError::new(kind, "fallback_limit", problem))
        };
        match self.most {
            Most::Reads(0) => wrong(
                "is 0 reads; it must be above zero, and reads that must never fall back have \
                 Preference::Replica"
                    .to_owned(),
            ),
            Most::Share(share) if !(share > 0.0 && share <= 1.0) => wrong(format!(
                "is a share of {share}; it must be above 0 and at most 1"
            )),
            Most::Share(share) if primary.max == 0 => wrong(format!(
                "is a share of {share} of a pool without a limit; limit the primary's pool, or say how many \
                 reads"
            )),
            Most::Reads(_) | Most::Share(_) => Ok(()),
        }
    }

    fn places(&self, primary: Pressure) -> u32 {
        let most = match self.most {
            Most::Reads(most) => most,
            // Rounded down, and what is no number is zero.
            Most::Share(share) => (f64::from(primary.max) * share) as u32,
        };
        most.max(1)
    }
}

/// The places for reads that fall back, of one router.
#[derive(Debug)]
pub(crate) struct Places {
    free: Semaphore,
    most: u32,
    wait: Duration,
}

/// One of them, until it is dropped.
pub(crate) type Place<'a> = SemaphorePermit<'a>;

impl Places {
    pub(crate) fn new(limit: FallbackLimit, primary: Pressure) -> Self {
        // As many as a semaphore holds, which may be fewer on a machine of 32 bits.
        let most = usize::try_from(limit.places(primary)).unwrap_or(usize::MAX);
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            free: Semaphore::new(most),
            most: u32::try_from(most).unwrap_or(u32::MAX),
            wait: limit.wait,
        }
    }

    /// A place, if one is free and nobody has waited for it.
    pub(crate) fn take(&self) -> Option<Place<'_>> {
        self.free.try_acquire().ok()
    }

    /// A place, when it is free. Dropped, it leaves the queue, or its place to the next one.
    pub(crate) async fn wait_for_one(&self) -> Place<'_> {
        match self.free.acquire().await {
            Ok(place) => place,
            // Nobody closes it.
            Err(_) => pending().await,
        }
    }

    /// One that was taken, and forgotten, is free. Who has waited longest gets it.
    pub(crate) fn give_back(&self) {
        self.free.add_permits(1);
    }

    pub(crate) fn are_taken(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// How long a read waits for a place.
    pub(crate) fn patience(&self) -> Duration {
        self.wait
    }

    pub(crate) fn most(&self) -> u32 {
        self.most
    }

    pub(crate) fn taken(&self) -> u32 {
        // Never more than there are, which fit.
        let free = u32::try_from(self.free.available_permits()).unwrap_or(u32::MAX);
        self.most.saturating_sub(free)
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn pool(max: u32) -> Pressure {
        Pressure {
            max,
            ..Pressure::default()
        }
    }

    #[test]
    fn a_share_is_rounded_down_and_at_least_one_read() {
        for (share, max, places) in [
            (0.5, 10, 5),
            (0.59, 10, 5),
            (1.0, 10, 10),
            (0.01, 10, 1),
            (1.0, u32::MAX, u32::MAX),
        ] {
            let limit = FallbackLimit::share(share);
            assert!(limit.check(pool(max)).is_ok());
            assert_eq!(limit.places(pool(max)), places, "{share} of {max}");
        }
    }

    #[test]
    fn no_limit_panics() {
        for limit in [
            FallbackLimit::reads(0),
            FallbackLimit::reads(u32::MAX),
            FallbackLimit::share(f64::NAN),
            FallbackLimit::share(f64::INFINITY),
            FallbackLimit::share(-1.0),
        ] {
            for max in [0, 1, u32::MAX] {
                let places = Places::new(limit, pool(max));
                assert!(places.take().is_some());
            }
        }
    }

    #[test]
    fn there_are_never_more_than_the_limit() {
        let places = Places::new(FallbackLimit::reads(3), pool(10));
        let (inside, most_seen) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let Some(place) = places.take() else { continue };
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        most_seen.fetch_max(now, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        drop(place);
                    }
                });
            }
        });
        assert!(most_seen.into_inner() <= 3);
        assert_eq!((places.taken(), places.are_taken()), (0, false));
    }
}
