//! A response's body, during which the session goes on.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::session::SessionState;
use crate::with_session;

pin_project! {
    /// A response's body inside the session of its request, which ends with it.
    pub struct SessionBody<B> {
        #[pin]
        body: B,
        // Until the body has ended.
        session: Option<SessionState>,
    }
}

impl<B: Body> SessionBody<B> {
    pub(super) fn new(body: B, session: SessionState) -> Self {
        let session = (!body.is_end_stream()).then_some(session);
        Self { body, session }
    }
}

impl<B: Body> Body for SessionBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let Some(session) = this.session.clone() else {
            return this.body.poll_frame(cx);
        };
        let polled = {
            let poll = poll_fn(|cx| Poll::Ready(this.body.as_mut().poll_frame(cx)));
            // Each frame is a scope of its own, which the session outlives.
            ready!(pin!(with_session(session, poll)).poll(cx))
        };
        if matches!(polled, Poll::Ready(None)) || this.body.is_end_stream() {
            *this.session = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B: fmt::Debug> fmt::Debug for SessionBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionBody")
            .field("body", &self.body)
            .field("session", &self.session)
            .finish()
    }
}
