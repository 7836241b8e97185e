//! A router's own tasks end with their runtime. The router may be used in another one after that, such as the next test's:
//! then what they did goes on there.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::task::AbortHandle;

use crate::config::ConfigError;
use crate::context::Context;
use crate::work::BoxFuture;

/// What a task of the router does, and another one can go on with.
pub(crate) trait Lasting: Send {
    /// Does it for ever.
    fn run(&mut self) -> BoxFuture<'_, ()>;

    /// Makes up for the time in which nobody did it, or begins it. What belonged to the former task's runtime is gone. It
    /// may be dropped, or fail, and then begins again.
    fn catch_up(&mut self) -> BoxFuture<'_, Result<Then, ConfigError>>;
}

/// What comes after catching up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// It is [run](Lasting::run).
    Run,
    /// There is nothing to be done.
    Rest,
}

/// One of a router's own tasks, and what it does even if the task has ended.
pub(crate) struct Keeper {
    context: Arc<Context>,
    /// The task, once there is one.
    task: Mutex<Option<AbortHandle>>,
    left: Arc<Left>,
}

/// What a task did that has ended, or will do that is to begin later.
type Left = Mutex<Option<Box<dyn Lasting>>>;

impl Keeper {
    pub(crate) fn new(context: &Arc<Context>) -> Self {
        Self {
            context: Arc::clone(context),
            task: Mutex::new(None),
            left: Arc::default(),
        }
    }

    /// Starts the task, if it was not started yet. Only inside a Tokio runtime.
    pub(crate) fn start(&self, lasting: impl FnOnce() -> Box<dyn Lasting>) {
        let mut task = lock(&self.task);
        if task.is_none() && !self.is_left() {
            *task = Some(self.keep(Some(lasting())).spawn());
        }
    }

    /// What the task does is begun by [`resume`](Self::resume).
    pub(crate) fn begin_later(&self, lasting: Box<dyn Lasting>) {
        drop(self.keep(Some(lasting)));
    }

    /// Starts another task if the former one has ended, or was to begin later, after it has caught up. Only inside a Tokio
    /// runtime.
    pub(crate) async fn resume(&self) -> Result<(), ConfigError> {
        let left = lock(&self.left).take();
        // If this is dropped meanwhile, or fails, the next who resumes it begins again.
        let mut kept = self.keep(left);
        if let Some(lasting) = &mut kept.lasting {
            match lasting.catch_up().await? {
                Then::Run => *lock(&self.task) = Some(kept.spawn()),
                Then::Rest => kept.lasting = None,
            }
        }
        Ok(())
    }

    /// Whether the task has ended, or is to begin later, and no other was started since.
    pub(crate) fn is_left(&self) -> bool {
        lock(&self.left).is_some()
    }

    /// Ends the task.
    pub(crate) fn end(&self) {
        if let Some(task) = &*lock(&self.task) {
            task.abort();
        }
    }

    fn keep(&self, lasting: Option<Box<dyn Lasting>>) -> Kept {
        Kept {
            lasting,
            context: Arc::clone(&self.context),
            left: Arc::downgrade(&self.left),
        }
    }
}

/// What goes back to its keeper when the task that does it ends: when the runtime shuts down, or because of a panic.
struct Kept {
    lasting: Option<Box<dyn Lasting>>,
    context: Arc<Context>,
    /// Gone with the router.
    left: Weak<Left>,
}

impl Kept {
    fn spawn(mut self) -> AbortHandle {
        let running = async move {
            if let Some(lasting) = &mut self.lasting {
                lasting.run().await;
            }
        };
        tokio::spawn(running).abort_handle()
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(lasting) = self.lasting.take()
            && let Some(left) = self.left.upgrade()
        {
            *lock(&left) = Some(lasting);
            self.context.wake.leave();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("is_left", &self.is_left())
            .finish_non_exhaustive()
    }
}
