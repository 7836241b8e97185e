//! Waiting for what only time can tell: short polls, and always a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a fixture waits for anything. Generous: it is met only by what is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(2);

/// Asks until the answer is `true`; `false` if it was not within [`PATIENCE`], during which a
/// question that hangs is given up, too.
pub async fn until(mut question: impl AsyncFnMut() -> bool) -> bool {
    let asking = async {
        while !question().await {
            pause().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.is_ok()
}

/// What passes between two polls.
pub(crate) async fn pause() {
    tokio::time::sleep(PAUSE).await;
}

/// The same where nothing may be awaited, as in a destructor.
pub(crate) fn until_now(patience: Duration, mut question: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + patience;
    loop {
        if question() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(PAUSE);
    }
}
