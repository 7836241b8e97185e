//! A session for each web request, in axum and other services of `tower`.

pub use dbrouter::web::*;

use crate::backend::SqlxBackend;
use crate::database::RoutedDatabase;
use crate::pool::RoutedPool;
#[cfg(feature = "axum")]
use crate::{Routed, Session};

impl<DB: RoutedDatabase> RoutedPool<DB> {
    /// A layer that gives each HTTP request a session, which begins where the user's last one left off, in whichever
    /// process that was: see [`web`](self). Inside of it `&db` uses that session, and [`Session`](crate::Session) is an extractor
    /// (feature `axum`).
    #[must_use]
    pub fn session_layer(&self) -> SessionLayer<SqlxBackend<DB>> {
        SessionLayer::new(self.terms())
    }
}

/// The session that the [`session_layer`](RoutedPool::session_layer) has given the request.
#[cfg(feature = "axum")]
impl<DB: RoutedDatabase, S: Send + Sync> axum_core::extract::FromRequestParts<S> for Session<DB> {
    type Rejection = NoSession;

    async fn from_request_parts(
        parts: &mut http::request::Parts,
        _: &S,
    ) -> Result<Self, NoSession> {
        let session = session_of(&parts.extensions)?;
        Ok(Self::new(Routed::on(session)))
    }
}
