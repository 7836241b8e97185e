//! The replica connection that a session keeps between its statements.
//!
//! It is here only while nothing runs on it. A statement's future takes it out and owns it, and it comes back
//! only when the statement has succeeded, to its end; whatever else becomes of the future, the connection is
//! dropped with it and so goes back to its pool, whose checks deal with it. So what is here is always whole.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

use crate::holders::Holders;
use crate::live::Epoch;

/// A connection of whichever kind: a session does not know its router's backends.
pub(crate) type AnyConnection = Box<dyn Any + Send>;

/// After this idle time a connection is not used again, but checked by its pool: as long as pools trust one.
const TRUSTED: Duration = Duration::from_millis(500);

/// Where a session keeps its connection.
pub(crate) struct Slot {
    /// The session's number.
    id: u64,
    /// Where what pools do when a connection comes back can run.
    runtime: Handle,
    state: Mutex<State>,
}

struct State {
    /// Those of the node whose connection is kept, or whose is out on a statement: they know of this slot.
    holders: Option<Arc<Holders>>,
    parked: Option<Parked>,
    /// A task waits for the connection to have been idle for too long.
    watched: bool,
}

/// A connection on which nothing runs.
pub(crate) struct Parked {
    connection: AnyConnection,
    epoch: Epoch,
    since: Instant,
    /// How long it may be idle.
    limit: Option<Duration>,
}

impl Parked {
    /// The connection, if it still leads to its node in this epoch, as far as can be known without asking.
    pub(crate) fn usable(self, epoch: Epoch) -> Option<AnyConnection> {
        (self.epoch == epoch && self.since.elapsed() < TRUSTED).then_some(self.connection)
    }
}

impl Slot {
    /// A slot for the session of that number; none outside a Tokio runtime, where nobody could give its
    /// connection back in time.
    pub(crate) fn new(id: u64) -> Option<Self> {
        let state = State {
            holders: None,
            parked: None,
            watched: false,
        };
        Some(Self {
            id,
            runtime: Handle::try_current().ok()?,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection out for a statement on the node that `holders` belongs to. One that leads elsewhere
    /// goes back to its pool.
    pub(crate) fn take(&self, holders: &Arc<Holders>, epoch: Epoch) -> Option<AnyConnection> {
        let mut state = self.state();
        let parked = state.parked.take()?;
        let here = state
            .holders
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, holders));
        if !here {
            state.forget(self.id);
            drop(state);
            self.within(|| drop(parked));
            return None;
        }
        drop(state);
        self.within(|| parked.usable(epoch))
    }

    /// Keeps a connection, unless there is one already, or it is wanted elsewhere.
    pub(crate) fn park(
        self: &Arc<Self>,
        holders: &Arc<Holders>,
        epoch: Epoch,
        limit: Option<Duration>,
        connection: AnyConnection,
    ) {
        let mut state = self.state();
        if state.parked.is_some() {
            return;
        }
        // Known first: whoever wants one from now on finds the slot, and has to wait for its lock. Who
        // came before that is seen below.
        state.become_known(holders, self);
        if !holders.may_keep(epoch) {
            state.forget(self.id);
            return;
        }
        state.parked = Some(Parked {
            connection,
            epoch,
            since: Instant::now(),
            limit,
        });
        if limit.is_some() && !state.watched {
            state.watched = true;
            drop(state);
            self.within(|| drop(tokio::spawn(watch(Arc::downgrade(self)))));
        }
    }

    /// Gives the connection back to its pool.
    pub(crate) fn give_back(&self) {
        let mut state = self.state();
        let parked = state.parked.take();
        if let Some(parked) = parked {
            state.forget(self.id);
            drop(state);
            self.within(|| drop(parked));
        }
    }

    /// Takes the connection away from the session, if it is one of that node's.
    pub(crate) fn recall(&self, holders: &Holders) -> Option<Parked> {
        let mut state = self.state();
        let here = state
            .holders
            .as_ref()
            .is_some_and(|known| std::ptr::eq(&**known, holders));
        let parked = if here { state.parked.take() } else { None };
        if parked.is_some() {
            state.forget(self.id);
        }
        parked
    }

    /// As [`recall`](Self::recall), and gives it back to its pool. Returns whether there was one.
    pub(crate) fn dismiss(&self, holders: &Holders) -> bool {
        let parked = self.recall(holders);
        let found = parked.is_some();
        self.within(|| drop(parked));
        found
    }

    /// How long the connection may still be idle. One that has been for too long goes back to its pool; then,
    /// and while there is none, there is nothing to watch.
    fn time_left(&self) -> Option<Duration> {
        let mut state = self.state();
        let left = match &state.parked {
            Some(Parked {
                limit: Some(limit),
                since,
                ..
            }) => limit.saturating_sub(since.elapsed()),
            _ => {
                state.watched = false;
                return None;
            }
        };
        if !left.is_zero() {
            return Some(left);
        }
        state.watched = false;
        let parked = state.parked.take();
        state.forget(self.id);
        drop(state);
        drop(parked);
        None
    }

    /// Pools spawn tasks when a connection comes back, and a session may end outside the runtime.
    fn within<T>(&self, work: impl FnOnce() -> T) -> T {
        let _entered = match Handle::try_current() {
            Ok(_) => None,
            Err(_) => Some(self.runtime.enter()),
        };
        work()
    }
}

impl State {
    fn become_known(&mut self, holders: &Arc<Holders>, slot: &Arc<Slot>) {
        match &self.holders {
            Some(known) if Arc::ptr_eq(known, holders) => {}
            _ => {
                self.forget(slot.id);
                holders.add(slot.id, Arc::downgrade(slot));
                self.holders = Some(Arc::clone(holders));
            }
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some(holders) = self.holders.take() {
            holders.remove(id);
        }
    }
}

/// The session has ended.
impl Drop for Slot {
    fn drop(&mut self) {
        self.give_back();
        self.state().forget(self.id);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("id", &self.id)
            .field("parked", &self.state().parked.is_some())
            .finish_non_exhaustive()
    }
}

/// Gives the connection back once it has been idle for too long. It ends with the connection, or when it finds
/// it out on a statement; the next parking then starts another: one task a session that reads without a pause.
async fn watch(slot: Weak<Slot>) {
    /// A session that has ended is noticed within this time, however long its connection might have been idle.
    const LOOK: Duration = Duration::from_secs(1);
    loop {
        let left = match slot.upgrade() {
            Some(slot) => slot.time_left(),
            None => return,
        };
        match left {
            Some(left) => sleep(left.min(LOOK)).await,
            None => return,
        }
    }
}
