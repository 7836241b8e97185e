//! Waiting for what only time can tell: short polls, and always a deadline.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How long a fixture waits for anything. Generous: it is met only by what is broken.
pub const PATIENCE: Duration = Duration::from_secs(30);

const PAUSE: Duration = Duration::from_millis(2);

/// The pause between two polls grows with the time that has passed, of which it is this part. On a busy machine what is
/// asked again and again without a pause only takes longer; and what a session has read from the primary is on a replica,
/// as far as can be known, only after a round of questions that has begun since.
const PART: u32 = 16;

/// Asks until the answer is `true`; `false` if it was not within [`PATIENCE`], during which a
/// question that hangs is given up, too.
pub async fn until(mut question: impl AsyncFnMut() -> bool) -> bool {
    let begun = Instant::now();
    let asking = async {
        while !question().await {
            tokio::time::sleep(PAUSE.max(begun.elapsed() / PART)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.is_ok()
}

/// Waits until a count has come to `goal`, for as long as it grows: `false` if it has stood still for [`PATIENCE`], or
/// `is_over` says that it will not grow any more.
pub async fn until_count(
    goal: u64,
    mut count: impl FnMut() -> u64,
    mut is_over: impl FnMut() -> bool,
) -> bool {
    loop {
        let before = count();
        if before >= goal {
            return true;
        }
        if !until(async || count() > before || is_over()).await || is_over() {
            return count() >= goal;
        }
    }
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
