//! The ends of Tokio runtimes, for adapters whose ORM has connections that do not outlive theirs.
//!
//! A socket belongs to the runtime in which it was opened, and is dead when that has ended. A pool that is then used in another
//! runtime, such as the next test's, must not hand it out. To ask the server does not tell: an answer that is there at once may
//! still be read. Pools do not tell where a connection was opened; so an adapter notes in which runtimes a pool is [used](Homes),
//! and closes what is idle in it when one of them has ended. Or it notes where connections are [opened], and asks those that are
//! [older](have_ended_within) than the last end.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Id};

/// The runtimes in which connections were opened, and that have not ended.
static KNOWN: Mutex<Vec<Id>> = Mutex::new(Vec::new());

/// How many have ended.
static ENDS: AtomicU64 = AtomicU64::new(0);

/// When the last one ended: nanoseconds after `BEGUN`; 0 means that none has.
static ENDED: AtomicU64 = AtomicU64::new(0);

static BEGUN: LazyLock<Instant> = LazyLock::new(now);

thread_local! {
    /// The last one in which this thread has opened a connection.
    static HERE: Cell<Option<Id>> = const { Cell::new(None) };
}

/// Notes that a connection is opened here, or may be.
pub fn opened() {
    if let Ok(runtime) = Handle::try_current() {
        opened_in(&runtime);
    }
}

fn opened_in(runtime: &Handle) {
    let id = runtime.id();
    if HERE.replace(Some(id)) == Some(id) {
        return;
    }
    {
        let mut known = known();
        if known.contains(&id) {
            return;
        }
        known.push(id);
    }
    LazyLock::force(&BEGUN);
    let sentinel = Sentinel(id);
    runtime.spawn(async move {
        let _until_the_runtime_ends = sentinel;
        std::future::pending::<()>().await;
    });
}

/// The runtimes in which connections of one pool were opened.
#[derive(Debug)]
pub struct Homes(Mutex<Known>);

#[derive(Debug)]
struct Known {
    homes: Vec<Id>,
    /// Whether there may be another one, which nobody has noted.
    unnoted: bool,
    /// How many runtimes had ended when that was last looked at.
    ends: u64,
}

impl Homes {
    /// Those of a pool that is made here, or taken over. The latter's connections were opened in this runtime, it is assumed;
    /// if there is none here, in one that may have ended already.
    #[must_use]
    pub fn of_a_pool() -> Self {
        let here = Handle::try_current().ok();
        here.iter().for_each(opened_in);
        Self(Mutex::new(Known {
            unnoted: here.is_none(),
            homes: here.iter().map(Handle::id).collect(),
            ends: 0,
        }))
    }

    /// Notes that a connection may be opened here, and returns whether one of the pool's runtimes has ended since the last
    /// call.
    #[must_use]
    pub fn enter(&self) -> bool {
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        opened_in(&runtime);
        let ends = ENDS.load(Ordering::Relaxed);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut has_ended = std::mem::take(&mut known.unnoted);
        if known.ends != ends {
            known.ends = ends;
            let living = self::known();
            let before = known.homes.len();
            known.homes.retain(|home| living.contains(home));
            has_ended |= known.homes.len() < before;
        }
        let here = runtime.id();
        if !known.homes.contains(&here) {
            known.homes.push(here);
        }
        has_ended
    }
}

/// Whether a runtime in which connections were opened has ended within the life of a connection of this age.
#[inline]
#[must_use]
pub fn have_ended_within(age: Duration) -> bool {
    match ENDED.load(Ordering::Relaxed) {
        0 => false,
        ended => since_begun().saturating_sub(Duration::from_nanos(ended)) <= age,
    }
}

/// Dropped with its runtime.
struct Sentinel(Id);

impl Drop for Sentinel {
    fn drop(&mut self) {
        known().retain(|id| *id != self.0);
        let ended = u64::try_from(since_begun().as_nanos()).unwrap_or(u64::MAX);
        ENDED.fetch_max(ended.max(1), Ordering::Relaxed);
        ENDS.fetch_add(1, Ordering::Relaxed);
    }
}

fn known() -> MutexGuard<'static, Vec<Id>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn since_begun() -> Duration {
    now().saturating_duration_since(*BEGUN)
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is compared with the ages of connections, which pools measure so"
)]
fn now() -> Instant {
    Instant::now()
}
