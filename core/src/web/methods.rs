//! Where a request's reads go: by its method, unless its route says so.

use std::task::{Context, Poll};

use http::{Method, Request};
use tower_layer::Layer;
use tower_service::Service;

use super::extension::Sessions;
use crate::lean::Lean;

/// Where the reads of requests go whose method is not safe (RFC 9110, 9.2.1: all but GET, HEAD, OPTIONS and TRACE).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum UnsafeMethods {
    /// To the primary until the request's first commit; after it, to a replica as soon as one is proven to show it. The
    /// default: who writes usually checks before, and a check against an old state is none.
    #[default]
    PrimaryUntilFresh,
    /// To the primary, all of them.
    PrimaryThroughout,
    /// To replicas, as those of safe methods: for APIs that read by POST.
    AsSafe,
}

impl UnsafeMethods {
    pub(super) fn lean(self, method: &Method) -> Lean {
        match self {
            _ if method.is_safe() => Lean::Nowhere,
            Self::PrimaryUntilFresh => Lean::PrimaryUntilWritten,
            Self::PrimaryThroughout => Lean::Primary,
            Self::AsSafe => Lean::Nowhere,
        }
    }
}

/// A layer for a route whose reads go to the primary, whatever the method: a page that must show what *others* have just
/// written.
///
/// It stands inside of a [`SessionLayer`](super::SessionLayer) (or around it, for all of its routes), and does
/// nothing without one.
#[must_use]
pub fn on_primary() -> ReadsLayer {
    ReadsLayer(Lean::Primary)
}

/// A layer for a route whose reads go to replicas, whatever the method: a search by POST. They are still causal: what
/// the session has written, now or before, it sees.
///
/// It stands inside of a [`SessionLayer`](super::SessionLayer) (or around it, for all of its routes), and does
/// nothing without one.
///
/// ```no_run
/// use dbrouter::web::{on_primary, on_replica};
/// # use dbrouter::{Backend, Terms, web::SessionLayer};
/// # use axum::{Router, routing::{get, post}};
/// # fn example<B: Backend>(layer: SessionLayer<B>) -> Router {
/// # async fn balance() {}
/// # async fn search() {}
/// Router::new()
///     .route("/balance", get(balance).layer(on_primary()))
///     .route("/search", post(search).layer(on_replica()))
///     .layer(layer) // db.session_layer()
/// # }
/// ```
#[must_use]
pub fn on_replica() -> ReadsLayer {
    ReadsLayer(Lean::Replica)
}

/// A layer that says where a route's reads go: see [`on_primary`] and [`on_replica`].
#[derive(Clone, Copy, Debug)]
pub struct ReadsLayer(Lean);

impl<S> Layer<S> for ReadsLayer {
    type Service = ReadsService<S>;

    fn layer(&self, inner: S) -> ReadsService<S> {
        ReadsService {
            inner,
            lean: self.0,
        }
    }
}

/// A service within a [`ReadsLayer`].
#[derive(Clone, Copy, Debug)]
pub struct ReadsService<S> {
    inner: S,
    lean: Lean,
}

/// What a route says, for a layer that is further inside.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said(pub(super) Lean);

impl<S, B> Service<Request<B>> for ReadsService<S>
where
    S: Service<Request<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        let extensions = request.extensions_mut();
        if let Some(sessions) = extensions.get::<Sessions>() {
            sessions.lean(self.lean);
        }
        extensions.insert(Said(self.lean));
        self.inner.call(request)
    }
}
