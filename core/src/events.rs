//! How observers are told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::spawn_blocking;

use crate::observer::{Decided, Event, Observer};
use crate::sync::{AtomicU64, Ordering};

/// All observers of a router, shared.
type Observers = Arc<[Arc<dyn Observer>]>;

/// One router's observers, and the way to them.
pub(crate) struct Events {
    /// All of them.
    observers: Observers,
    /// Those that are told of events where they happen.
    prompt: Observers,
    /// Those that are told by the task.
    patient: Observers,
    /// To the task, once there is one.
    sender: Mutex<Option<Sender<Event>>>,
    dropped: AtomicU64,
}

impl Events {
    /// So many events may wait to be told.
    const MOST: usize = 1024;

    pub(crate) fn new(observers: &[Arc<dyn Observer>]) -> Self {
        let of = |prompt: bool| {
            let mut all = observers.to_vec();
            all.retain(|observer| observer.is_prompt() == prompt);
            all.into()
        };
        Self {
            observers: observers.into(),
            prompt: of(true),
            patient: of(false),
            sender: Mutex::new(None),
            dropped: AtomicU64::new(0),
        }
    }

    /// Tells of a decision, where it was made.
    #[inline]
    pub(crate) fn decided<'a>(&self, decided: impl FnOnce() -> Decided<'a>) {
        if !self.observers.is_empty() {
            let decided = decided();
            tell(&self.observers, |observer| observer.decided(&decided));
        }
    }

    /// Tells of an event: some at once, the others as soon as they have time.
    pub(crate) fn emit(&self, event: impl FnOnce() -> Event) {
        if self.observers.is_empty() {
            return;
        }
        let event = event();
        tell(&self.prompt, |observer| observer.happened(&event));
        if !self.patient.is_empty() && !self.send(event) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many events nobody had time for.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Hands an event to the task, and starts it if there is none, or none any more because its runtime is gone.
    fn send(&self, event: Event) -> bool {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let event = match sender.as_ref() {
            None => event,
            Some(sender) => match sender.try_send(event) {
                Ok(()) => return true,
                Err(TrySendError::Full(_)) => return false,
                Err(TrySendError::Closed(event)) => event,
            },
        };
        self.start(&mut sender, event)
    }

    fn start(&self, place: &mut Option<Sender<Event>>, event: Event) -> bool {
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        let (sender, receiver) = channel(Self::MOST);
        runtime.spawn(pass_on(receiver, Arc::clone(&self.patient)));
        let sent = sender.try_send(event).is_ok();
        *place = Some(sender);
        sent
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events")
            .field("observers", &self.observers.len())
            .finish_non_exhaustive()
    }
}

/// Tells of one event after the other, until the router is gone.
async fn pass_on(mut events: Receiver<Event>, observers: Observers) {
    while let Some(event) = events.recv().await {
        let observers = Arc::clone(&observers);
        let told = spawn_blocking(move || {
            tell(&observers, |observer| observer.happened(&event));
        });
        if told.await.is_err() {
            // The runtime is shutting down.
            return;
        }
    }
}

/// Tells all of them; who panics disturbs nobody else.
fn tell(observers: &Observers, tell: impl Fn(&dyn Observer)) {
    for observer in observers.iter() {
        // What it leaves behind is its own affair; and that it panicked, the panic hook has said.
        catch_unwind(AssertUnwindSafe(|| tell(&**observer))).ok();
    }
}
