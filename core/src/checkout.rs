//! Whether a pooled connection is still there, asked before it is handed out.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::sync::{AtomicU64, Ordering};

/// Which of a pool's idle connections are pinged when they are taken, and which are closed without being asked. It is
/// for adapters, in the hook that their pools call then: one value for each pool.
///
/// * A connection that was idle for longer than [`ping_after`](crate::Builder::ping_after) is pinged. Where nothing can be
///   run again elsewhere (a write, a transaction, a connection to keep), so is one that was idle for longer than
///   [5 ms](Self::CAREFUL): a server may have ended it since, and a busy pool's connections are not idle that long.
/// * A ping that gets no answer within [`LIMIT`](Self::LIMIT) means that the connection is dead: a firewall has forgotten
///   it, say. The connections that were last used before that one was, or at the same time, are then closed without a
///   ping, so that a pool full of dead connections costs the limit once.
///
/// ```
/// use std::time::Duration;
/// use dbrouter::Pings;
///
/// # async fn example() {
/// let pings = Pings::new(Some(Duration::from_millis(500)));
/// # async fn ping() -> Result<(), std::io::Error> { Ok(()) }
/// // In the hook, for a connection that was idle for ten seconds:
/// let is_alive = pings.check(Duration::from_secs(10), ping()).await.is_ok();
/// # }
/// ```
#[derive(Debug)]
pub struct Pings {
    after: Option<Duration>,
    begun: Instant,
    /// When a connection was last used that then turned out to be dead, in nanoseconds since the beginning.
    silent_since: AtomicU64,
}

/// Why a connection is not to be handed out.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dead<E> {
    /// It gives no answer, or belongs to those that give none.
    Silent,
    /// The ping failed.
    Failed(E),
}

thread_local! {
    static CAREFULLY: Cell<bool> = const { Cell::new(false) };
}

/// Polls something by which a connection is taken for what cannot be run again elsewhere, if it is `careful`.
pub(crate) fn polled_for<T>(careful: bool, poll: impl FnOnce() -> T) -> T {
    if !careful {
        return poll();
    }
    let before = CAREFULLY.replace(true);
    let polled = poll();
    CAREFULLY.set(before);
    polled
}

impl Pings {
    /// How long a ping may take.
    pub const LIMIT: Duration = Duration::from_secs(1);

    /// How long a connection may have been idle that is handed out without a ping where nothing can be run again.
    pub const CAREFUL: Duration = Duration::from_millis(5);

    /// For a pool whose connections are pinged if they were idle for longer than `after`; never, if that is `None`.
    #[must_use]
    pub fn new(after: Option<Duration>) -> Self {
        Self {
            after,
            begun: Instant::now(),
            silent_since: AtomicU64::new(0),
        }
    }

    /// Checks a connection that was idle for so long, with `ping` if need be.
    ///
    /// # Errors
    ///
    /// If it is not to be used. It is then to be closed without waiting for the server.
    pub async fn check<E>(
        &self,
        idle: Duration,
        ping: impl Future<Output = Result<(), E>>,
    ) -> Result<(), Dead<E>> {
        let Some(after) = self.after else {
            return Ok(());
        };
        let after = match CAREFULLY.get() {
            true => after.min(Self::CAREFUL),
            false => after,
        };
        if idle <= after {
            return Ok(());
        }
        let last_used = self.begun.elapsed().saturating_sub(idle).as_nanos();
        let last_used = u64::try_from(last_used).unwrap_or(u64::MAX).max(1);
        if last_used <= self.silent_since.load(Ordering::Acquire) {
            return Err(Dead::Silent);
        }
        match timeout(Self::LIMIT, ping).await {
            Ok(answer) => answer.map_err(Dead::Failed),
            Err(_) => {
                self.silent_since.fetch_max(last_used, Ordering::AcqRel);
                Err(Dead::Silent)
            }
        }
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use std::future::pending;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    async fn alive() -> Result<(), ()> {
        Ok(())
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_were_last_used_before_a_dead_one_are_closed_without_a_ping() {
        let pings = Pings::new(Some(SECOND));
        tokio::time::sleep(60 * SECOND).await;
        let began = Instant::now();
        let dead = pings.check(10 * SECOND, pending::<Result<(), ()>>()).await;
        assert_eq!(dead, Err(Dead::Silent));
        assert_eq!(began.elapsed(), Pings::LIMIT);
        // A second has passed.
        for idle in [11, 12, 59] {
            let asked = pings.check(idle * SECOND, async { panic!("it is not asked") });
            assert_eq!(asked.await, Err(Dead::<()>::Silent));
        }
        assert_eq!(pings.check(9 * SECOND, alive()).await, Ok(()));
        assert_eq!(began.elapsed(), Pings::LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_run_again_gets_no_connection_unasked() {
        let refused = || async { Err("closed") };
        let pings = Pings::new(Some(SECOND));
        let idle = Duration::from_millis(100);
        assert_eq!(pings.check(idle, refused()).await, Ok(()));
        let mut checked = Box::pin(pings.check(idle, refused()));
        let polled = polled_for(true, || {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            checked.as_mut().poll(&mut cx)
        });
        assert_eq!(polled, std::task::Poll::Ready(Err(Dead::Failed("closed"))));
        let never = Pings::new(None);
        assert_eq!(never.check(60 * SECOND, refused()).await, Ok(()));
    }
}
