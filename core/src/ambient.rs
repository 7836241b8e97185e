//! The session that code is in without knowing it.

use std::future::Future;
use std::sync::Arc;

use crate::context::Context;
use crate::session::SessionState;

tokio::task_local! {
    static AMBIENT: Arc<Frame>;
}

/// One scope: its session, and the scope around it. Routers are told apart, so that an application
/// with two databases may be inside a session of each.
struct Frame {
    session: SessionState,
    outer: Option<Arc<Frame>>,
}

/// Runs `future` inside `session`: the root handle of the session's router then uses this session
/// instead of its own. Scopes nest; what was there before is there again when the future has returned,
/// failed, panicked or been dropped. A task that `future` spawns is outside.
///
/// Adapters offer this with their own session type.
pub async fn with_session<F: Future>(session: SessionState, future: F) -> F::Output {
    let outer = AMBIENT.try_with(Arc::clone).ok();
    AMBIENT
        .scope(Arc::new(Frame { session, outer }), future)
        .await
}

/// The innermost ambient session of this router, if there is one.
pub(crate) fn ambient(context: &Arc<Context>) -> Option<SessionState> {
    AMBIENT
        .try_with(|frame| innermost(frame, context).cloned())
        .ok()
        .flatten()
}

fn innermost<'a>(frame: &'a Frame, context: &Arc<Context>) -> Option<&'a SessionState> {
    let mut next = Some(frame);
    while let Some(frame) = next {
        if frame.session.belongs_to(context) {
            return Some(&frame.session);
        }
        next = frame.outer.as_deref();
    }
    None
}
