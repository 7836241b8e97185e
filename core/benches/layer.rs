//! What the web layer costs: `cargo bench -p dbrouter --features signed,tower --bench layer`.
//!
//! Each figure is one whole request, without HTTP: to a service that does nothing, bare or within the layer. Making the
//! request is not counted, dropping the response is.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has failed"
)]

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use dbrouter::web::{SessionLayer, on_primary};
use dbrouter::{
    Answer, Backend, Cluster, Dialect, Fault, NodeSpec, Pressure, Question, Request as Work,
    RouteError, Router, Settings, Terms, Token, TokenKeys,
};
use divan::{AllocProfiler, Bencher, black_box};
use http::header::COOKIE;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use tower::{Layer, Service, service_fn};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A server that shares its storage with all others, and so is always fresh.
#[derive(Clone)]
struct File;

impl Backend for File {
    type Error = RouteError;
    type Connection = ();
    type Probe = ();

    fn refused(refusal: RouteError) -> RouteError {
        refusal
    }

    async fn acquire(&self) -> Result<(), RouteError> {
        Ok(())
    }

    fn pressure(&self) -> Pressure {
        Pressure::default()
    }

    fn fault(_: &RouteError) -> Fault {
        Fault::Other
    }

    async fn open_probe(&self) -> Result<(), RouteError> {
        Ok(())
    }

    async fn ask(_: &mut (), _: &Question) -> Result<Answer, RouteError> {
        Ok([Some("/a/file".to_owned())].into_iter().collect())
    }
}

fn router() -> Cluster<File> {
    let builder = Cluster::builder(Dialect::Sqlite, Settings::new())
        .primary(NodeSpec::new(), File)
        .replica(NodeSpec::new(), File);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(builder.connect()).unwrap()
}

fn layer(db: &Cluster<File>) -> SessionLayer<File> {
    SessionLayer::new(&Terms::new(db))
}

/// A token of PostgreSQL's, of a cluster that is not this one.
const TOKEN: &str = "EYD3xNUG__________8DyLDTm-sCA_xxAA";

type Reply = Response<Empty<&'static [u8]>>;

fn nothing(_: Request<()>) -> Ready<Result<Reply, Infallible>> {
    ready(Ok(Response::new(Empty::new())))
}

/// Requests with a cookie, or without one. What is never ready would wait for a server; nothing here does.
fn measure<S, B>(bencher: Bencher<'_, '_>, mut service: S, cookie: Option<&str>)
where
    S: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let cookie = cookie.map(|cookie| HeaderValue::try_from(cookie).unwrap());
    let mut context = Context::from_waker(Waker::noop());
    bencher
        .with_inputs(|| {
            let mut request = Request::new(());
            if let Some(cookie) = &cookie {
                request.headers_mut().insert(COOKIE, cookie.clone());
            }
            request
        })
        .bench_local_values(|request| {
            let ready = service.poll_ready(&mut context);
            assert!(ready.is_ready());
            let response = pin!(service.call(black_box(request))).poll(&mut context);
            let Poll::Ready(Ok(response)) = response else {
                panic!("the request waits");
            };
            drop(black_box(response));
        });
}

#[divan::bench]
fn bare(bencher: Bencher<'_, '_>) {
    measure(bencher, service_fn(nothing), None);
}

#[divan::bench]
fn no_cookie(bencher: Bencher<'_, '_>) {
    let db = router();
    measure(bencher, layer(&db).layer(service_fn(nothing)), None);
}

#[divan::bench]
fn other_cookies(bencher: Bencher<'_, '_>) {
    let db = router();
    let cookies = "theme=dark; session=0123456789abcdef0123456789abcdef; language=en";
    let service = layer(&db).layer(service_fn(nothing));
    measure(bencher, service, Some(cookies));
}

#[divan::bench]
fn token(bencher: Bencher<'_, '_>) {
    let db = router();
    let service = layer(&db).layer(service_fn(nothing));
    measure(bencher, service, Some(&format!("dbrouter={TOKEN}")));
}

#[divan::bench]
fn signed_token(bencher: Bencher<'_, '_>) {
    let db = router();
    let keys = TokenKeys::new("a key that nobody guesses").unwrap();
    let token: Token = TOKEN.parse().unwrap();
    let cookie = format!("dbrouter={}", keys.sign(&token));
    let service = layer(&db).keys(keys).layer(service_fn(nothing));
    measure(bencher, service, Some(&cookie));
}

/// With a layer on the route.
#[divan::bench]
fn on_the_primary(bencher: Bencher<'_, '_>) {
    let db = router();
    let service = layer(&db).layer(on_primary().layer(service_fn(nothing)));
    measure(bencher, service, None);
}

/// A request that writes, and is given a token.
#[divan::bench]
fn write(bencher: Bencher<'_, '_>) {
    let db = router();
    let service = layer(&db).layer(service_fn(move |request| {
        drop(db.route(&Work::write(), &db.current_session()).unwrap());
        nothing(request)
    }));
    measure(bencher, service, None);
}
