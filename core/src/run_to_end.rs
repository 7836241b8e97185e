//! Work that its caller may drop at any time, and that is not left half done for that.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

/// Runs `future` in the caller's task. If the caller drops it after it has begun and before it has ended, a task of its own
/// runs it to its end, and drops what it returns.
///
/// It is for adapters whose ORM does not bear that a future is dropped: the `begin` of sqlx 0.9, dropped while it waits for
/// the server's answer, leaves its connection inside the transaction and hands it to the next caller. A task from the outset
/// would prevent that as well, but another caller's task may run before it: transactions would not get a connection in the
/// order in which they asked.
///
/// Outside of a Tokio runtime, and in one that shuts down, it is dropped where it is.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use tokio::sync::oneshot;
///
/// let (sender, receiver) = oneshot::channel();
/// let mut sending = dbrouter::run_to_end(async {
///     tokio::task::yield_now().await;
///     sender.send("sent all the same").ok();
/// });
/// // Begun, and dropped.
/// tokio::select! { biased; () = &mut sending => (), () = std::future::ready(()) => () }
/// drop(sending);
/// assert_eq!(receiver.await, Ok("sent all the same"));
/// # }
/// ```
pub fn run_to_end<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> RunToEnd<T> {
    RunToEnd {
        future: Some(Box::pin(future)),
        begun: false,
    }
}

/// What [`run_to_end`] returns.
#[must_use = "a future does nothing until it is polled"]
pub struct RunToEnd<T: Send + 'static> {
    /// Until it has ended.
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    begun: bool,
}

impl<T: Send + 'static> Future for RunToEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        self.begun = true;
        // Taken out meanwhile: one that panics is not polled again.
        let mut future = self.future.take().expect("it is not polled after its end");
        let polled = future.as_mut().poll(cx);
        if polled.is_pending() {
            self.future = Some(future);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for RunToEnd<T> {
    fn drop(&mut self) {
        if self.begun
            && let Some(future) = self.future.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async { drop(future.await) });
        }
    }
}

impl<T: Send + 'static> fmt::Debug for RunToEnd<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunToEnd")
            .field("begun", &self.begun)
            .finish_non_exhaustive()
    }
}
