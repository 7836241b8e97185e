//! The sessions of a request, in its extensions.

use std::any::type_name;
use std::error::Error;
use std::fmt;

use http::Extensions;

use crate::lean::Lean;
use crate::router::Backend;
use crate::session::SessionState;
use crate::terms::Terms;

/// The session of a request, as the adapter's handle: what the [`SessionLayer`](super::SessionLayer) of the same
/// router has put there. For adapters, whose `Session`s are extractors.
///
/// # Errors
///
/// If the request did not pass such a layer.
pub fn session_of<B: Backend>(extensions: &Extensions) -> Result<Terms<B>, NoSession> {
    let terms = extensions.get::<Terms<B>>().cloned();
    terms.ok_or(NoSession {
        backend: type_name::<B>(),
    })
}

/// A request has no session: it did not pass the layer that gives it one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSession {
    backend: &'static str,
}

impl fmt::Display for NoSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the request has no session of {}; add `.layer(db.session_layer())` around the route that takes one",
            self.backend
        )
    }
}

impl Error for NoSession {}

/// A server's own mistake: status 500.
#[cfg(feature = "axum")]
impl axum_core::response::IntoResponse for NoSession {
    fn into_response(self) -> axum_core::response::Response {
        let status = http::StatusCode::INTERNAL_SERVER_ERROR;
        (status, self.to_string()).into_response()
    }
}

/// All sessions of a request: one of each router whose layer it has passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions(Vec<SessionState>);

impl Sessions {
    pub(super) fn add(&mut self, session: SessionState) {
        self.0.push(session);
    }

    pub(super) fn lean(&self, lean: Lean) {
        for session in &self.0 {
            session.lean(lean);
        }
    }
}
