//! The web layer: what requests are given, and what responses say.

mod config;
mod methods;
mod service;
mod session;
mod tokens;

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use dbrouter::web::{
    ReadsLayer, SessionLayer, TokenCookie, UnsafeMethods, on_primary, on_replica, session_of,
};
use dbrouter::{
    Cluster, ConfigErrorKind, Reason, Request as Work, Router, SessionState, Terms, Token,
};
use http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::world::{Server, World, pass, router, settings};

const HEADER: &str = "x-dbrouter-token";

/// A site of two processes over the same servers: each has a router of its own.
struct Site {
    world: Arc<World>,
    other: Arc<World>,
}

impl Site {
    async fn open() -> Self {
        let world = World::of(1).await;
        let other = World {
            db: router(settings(), &world).await,
            primary: world.primary.clone(),
            replicas: world.replicas.clone(),
        };
        Self {
            world: Arc::new(world),
            other: Arc::new(other),
        }
    }

    /// The token of a write by one process, as cookies have it, while the replica stands still before it.
    async fn written(&self) -> String {
        self.world.replicas[0].pause();
        let layer = layer(&self.world);
        let visit = visit(&self.world, layer, request(Method::POST), "w").await;
        token(&visit.headers).to_owned()
    }

    /// The token of a write that the replica has replayed, as both processes know.
    async fn replayed(&self) -> String {
        let layer = layer(&self.world);
        let visit = visit(&self.world, layer, request(Method::POST), "w").await;
        pass(250).await;
        token(&visit.headers).to_owned()
    }

    /// Where the first read in the other process goes.
    async fn reads(&self, layer: SessionLayer<Server>, request: Request<()>) -> (String, Reason) {
        visit(&self.other, layer, request, "r")
            .await
            .reads
            .remove(0)
    }
}

fn layer(world: &World) -> SessionLayer<Server> {
    SessionLayer::new(&Terms::new(&world.db))
}

fn request(method: Method) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method;
    request
}

fn with(name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Request<()> {
    let value = HeaderValue::from_bytes(value.as_ref()).unwrap();
    let request = Request::builder().header(name.as_ref(), value);
    request.body(()).unwrap()
}

/// The value of the cookie that a response sets.
fn token(headers: &HeaderMap) -> &str {
    let cookie = headers[SET_COOKIE].to_str().unwrap();
    let value = cookie.strip_prefix("dbrouter=").unwrap();
    value.split(';').next().unwrap()
}

struct Visited {
    reads: Vec<(String, Reason)>,
    headers: HeaderMap,
}

impl Visited {
    fn nodes(&self) -> Vec<&str> {
        self.reads.iter().map(|(node, _)| node.as_str()).collect()
    }
}

/// A request to a handler that knows of no session, and reads (`r`), writes (`w`), or lets the replica catch up (`c`).
async fn visit<L>(world: &Arc<World>, layer: L, request: Request<()>, steps: &str) -> Visited
where
    L: Layer<Handler, Service: Service<Request<()>, Response: IntoHead, Error = Infallible>>,
{
    let reads = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let (world, reads, steps) = (Arc::clone(world), Arc::clone(&reads), steps.to_owned());
        Handler(Arc::new(move |_| {
            let (world, reads, steps) = (Arc::clone(&world), Arc::clone(&reads), steps.clone());
            Box::pin(async move {
                for step in steps.chars() {
                    let session = world.db.current_session();
                    match step {
                        'r' => reads.lock().unwrap().push(world.read(&session)),
                        'w' => world.write(&session),
                        _ => {
                            world.replicas[0].resume();
                            pass(250).await;
                        }
                    }
                    // Longer than one question takes to be asked again.
                    pass(10).await;
                }
                Response::new(Empty::new())
            })
        }))
    };
    let response = layer.layer(handler).oneshot(request).await.unwrap();
    let reads = reads.lock().unwrap().clone();
    let headers = response.into_headers();
    Visited { reads, headers }
}

trait IntoHead {
    fn into_headers(self) -> HeaderMap;
}

impl<B> IntoHead for Response<B> {
    fn into_headers(self) -> HeaderMap {
        self.into_parts().0.headers
    }
}

type Replying = Pin<Box<dyn Future<Output = Response<Empty<&'static [u8]>>> + Send>>;

/// A handler of requests.
#[derive(Clone)]
struct Handler(Arc<dyn Fn(Request<()>) -> Replying + Send + Sync>);

impl Service<Request<()>> for Handler {
    type Response = Response<Empty<&'static [u8]>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let reply = (self.0)(request);
        Box::pin(async move { Ok(reply.await) })
    }
}
