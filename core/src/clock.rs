//! The one clock of a router, and the instants it hands out.
//!
//! Every guarantee is a comparison of two [`Instant`]s of one monotonic clock in one process. No wall
//! clock is read, and no clock of another machine is trusted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A point on a router's own monotonic clock, in nanoseconds since that clock's beginning.
///
/// ```
/// use std::time::Duration;
/// use dbrouter::Instant;
///
/// let written = Instant::from_nanos(5_000_000);
/// let later = written + Duration::from_millis(2);
/// assert_eq!(later.since(written), Duration::from_millis(2));
/// assert_eq!(written.since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// Before every instant of a clock. A node that is fresh as of `VOID` has proved nothing; a read
    /// that needs no more than `VOID` accepts any node.
    pub const VOID: Self = Self(0);

    /// The beginning of every clock: what a node that belongs to the cluster is at least fresh as
    /// of, and what a session that did nothing needs.
    pub const ORIGIN: Self = Self(1);

    /// Right after [`Instant::ORIGIN`]: what a node is at least fresh as of that has proved anything at all.
    pub(crate) const PROVED: Self = Self(2);

    /// After every instant of a clock: what the primary is fresh as of.
    pub const ALWAYS: Self = Self(u64::MAX);

    /// The instant that many nanoseconds after the clock's beginning.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's beginning.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this instant, and zero if `earlier` is in fact later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This instant moved back by `duration`, and [`Instant::ORIGIN`] if the clock began after that.
    #[must_use]
    pub fn back(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(duration))).max(Self::ORIGIN)
    }
}

impl std::ops::Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Tells the time to a router.
///
/// # Contract
///
/// * `now` never goes back, on any thread: if one call happens before another, its answer is not
///   later.
/// * `now` is after [`Instant::ORIGIN`] and before [`Instant::ALWAYS`].
/// * `now` neither blocks nor panics; it is called at the end of every statement.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Instant;
}

/// The operating system's monotonic clock, counted from the clock's creation. The default.
#[derive(Clone, Debug)]
pub struct SystemClock(std::time::Instant);

impl SystemClock {
    /// A clock that begins now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is where time enters the crate"
    )]
    pub fn new() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::ORIGIN + self.0.elapsed() + Duration::from_nanos(1)
    }
}

/// A clock that stands still until it is told to move, for tests. Clones show the same time.
///
/// ```
/// use std::time::Duration;
/// use dbrouter::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.advance(Duration::from_millis(3));
/// assert_eq!(clock.now().since(before), Duration::from_millis(3));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows one second after its beginning.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(AtomicU64::new(1_000_000_000)))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(nanos(by), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant(self.0.load(Ordering::SeqCst))
    }
}
