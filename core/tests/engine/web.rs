//! The web layer: what requests are given, and what responses say.

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
    Cluster, ConfigErrorKind, NodeSpec, Reason, Request as Work, Router, SessionState, Terms, Token,
};
use http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::world::{Server, World, builder, pass, settings};

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
            db: router(&world).await,
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

async fn router(world: &World) -> Cluster<Server> {
    builder(settings())
        .primary(NodeSpec::new(), world.primary.clone())
        .replica(NodeSpec::new(), world.replicas[0].clone())
        .connect()
        .await
        .unwrap()
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

// -- tokens --------------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn who_wrote_nothing_is_told_nothing() {
    let site = Site::open().await;
    let written = site.written().await;
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST] {
        let mut request = request(method);
        let none = visit(&site.other, layer(&site.other), request.clone(), "r").await;
        assert_eq!(none.headers, HeaderMap::new());
        let cookie = HeaderValue::try_from(format!("dbrouter={written}")).unwrap();
        request.headers_mut().insert(COOKIE, cookie);
        let one = visit(&site.other, layer(&site.other), request, "r").await;
        assert_eq!(one.headers, HeaderMap::new());
    }
}

#[tokio::test(start_paused = true)]
async fn who_wrote_is_given_a_cookie_as_documented() {
    let world = Arc::new(World::of(1).await);
    for method in [Method::GET, Method::POST] {
        let visit = visit(&world, layer(&world), request(method), "w").await;
        let text = token(&visit.headers);
        let token: Token = text.parse().unwrap();
        assert!(token.issued().is_some());
        let cookie = visit.headers[SET_COOKIE].to_str().unwrap();
        assert_eq!(
            cookie,
            format!("dbrouter={text}; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60")
        );
        assert_eq!(visit.headers[CACHE_CONTROL], "private");
        assert_eq!(visit.headers.len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_request_sees_the_write_in_another_process() {
    let site = Site::open().await;
    let written = site.written().await;
    let cookie = || with(COOKIE, format!("dbrouter={written}"));
    // Without it, it would not: this is what the rest of these tests rest upon.
    let stale = site.reads(layer(&site.other), request(Method::GET)).await;
    assert_eq!(stale, ("replica-1".to_owned(), Reason::Policy));
    let fresh = site.reads(layer(&site.other), cookie()).await;
    assert_eq!(fresh, ("primary".to_owned(), Reason::NotFresh));
    let visit = visit(&site.other, layer(&site.other), cookie(), "rcr").await;
    assert_eq!(visit.nodes(), ["primary", "replica-1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_replayed_keeps_nobody_from_a_replica() {
    let site = Site::open().await;
    let replayed = site.replayed().await;
    let cookie = with(COOKIE, format!("dbrouter={replayed}"));
    let read = site.reads(layer(&site.other), cookie).await;
    assert_eq!(read, ("replica-1".to_owned(), Reason::Policy));
}

#[tokio::test(start_paused = true)]
async fn of_many_tokens_each_counts() {
    let site = Site::open().await;
    let replayed = site.replayed().await;
    let written = site.written().await;
    let all = |replayed_ones: usize, written_ones: usize| {
        let replayed = vec![format!("dbrouter={replayed}"); replayed_ones];
        let written = vec![format!("dbrouter={written}"); written_ones];
        let cookies = [replayed, written].concat().join("; ");
        site.reads(layer(&site.other), with(COOKIE, cookies))
    };
    assert_eq!(all(3, 0).await.1, Reason::Policy);
    assert_eq!(all(2, 1).await.1, Reason::NotFresh);
    // More than a few are not looked at.
    assert_eq!(all(4, 0).await.1, Reason::NotFresh);
    assert_eq!(all(100, 0).await.1, Reason::NotFresh);
}

#[tokio::test(start_paused = true)]
async fn reads_are_carried_when_that_is_asked_for() {
    let site = Site::open().await;
    let layer = || layer(&site.world).carry_reads();
    let get = || request(Method::GET);
    assert_eq!(
        visit(&site.world, layer(), get(), "").await.headers,
        HeaderMap::new()
    );
    let read = visit(&site.world, layer(), get(), "r").await.headers;
    let first = token(&read).to_owned();
    // Nothing has happened since, so there is nothing new to say.
    let cookie = || with(COOKIE, format!("dbrouter={first}"));
    let again = visit(&site.world, layer(), cookie(), "r").await.headers;
    assert_eq!(again, HeaderMap::new());
    site.world.primary.commit();
    pass(250).await;
    let again = visit(&site.world, layer(), cookie(), "r").await.headers;
    assert_ne!(token(&again), first);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_needs_the_freshness_of_now() {
    let site = Site::open().await;
    let written = site.written().await;
    let long = "A".repeat(10_000);
    let cut = &written[..written.len() - 1];
    for text in [
        b"".as_slice(),
        b"hello",
        b"\xFF\xFE",
        long.as_bytes(),
        cut.as_bytes(),
    ] {
        let cookie = [b"dbrouter=", text].concat();
        let read = site.reads(layer(&site.other), with(COOKIE, cookie)).await;
        assert_eq!(read.1, Reason::NotFresh, "{}", text.escape_ascii());
    }
}

#[tokio::test(start_paused = true)]
async fn the_cookie_is_found_among_others() {
    let site = Site::open().await;
    let written = site.written().await;
    let found = |header: String, also: &'static [u8]| {
        let header = [header.as_bytes(), also].concat();
        site.reads(layer(&site.other), with(COOKIE, header))
    };
    let token = format!("a=1;  dbrouter={written} ;b;;=;dbrouterer=1;c=\"2\"");
    assert_eq!(found(token, b"").await.1, Reason::NotFresh);
    // Some proxies quote; other cookies may hold anything.
    let quoted = format!("dbrouter=\"{written}\"; name=");
    assert_eq!(found(quoted, b"\xC3\x9F\xFF").await.1, Reason::NotFresh);
    let others = "Dbrouter=x; xdbrouter=y; a=dbrouter=z".to_owned();
    assert_eq!(found(others, b"").await.1, Reason::Policy);
    // All of one name count, however many they are.
    let before = Token::UNPLACED;
    let many = vec![format!("dbrouter={before}"); 100].join("; ");
    assert_eq!(found(many, b"").await.1, Reason::NotFresh);
}

#[tokio::test(start_paused = true)]
async fn a_header_carries_tokens_when_that_is_asked_for() {
    let site = Site::open().await;
    let written = site.written().await;
    let header = || with(HEADER, format!(" {written} "));
    let read = site.reads(layer(&site.other), header()).await;
    assert_eq!(read.1, Reason::Policy);
    let both = || layer(&site.other).header(HEADER).unwrap();
    assert_eq!(site.reads(both(), header()).await.1, Reason::NotFresh);
    let cookie = || with(COOKIE, format!("dbrouter={written}"));
    assert_eq!(site.reads(both(), cookie()).await.1, Reason::NotFresh);
    let alone = || both().without_cookie();
    assert_eq!(site.reads(alone(), header()).await.1, Reason::NotFresh);
    assert_eq!(site.reads(alone(), cookie()).await.1, Reason::Policy);

    let post = || request(Method::POST);
    let set = visit(&site.other, both(), post(), "w").await.headers;
    assert_eq!(set[HEADER], token(&set));
    let set = visit(&site.other, alone(), post(), "w").await.headers;
    assert!(set.contains_key(HEADER) && !set.contains_key(SET_COOKIE));
    assert_eq!(set[CACHE_CONTROL], "private");
    let neither = layer(&site.other).without_cookie();
    let set = visit(&site.other, neither, post(), "w").await.headers;
    assert_eq!(set, HeaderMap::new());
}

#[cfg(feature = "signed")]
#[tokio::test(start_paused = true)]
async fn with_keys_only_signed_tokens_are_believed() {
    use dbrouter::TokenKeys;
    let site = Site::open().await;
    let keys = TokenKeys::new("a key that nobody guesses").unwrap();
    let signing = |world| layer(world).keys(keys.clone());
    let post = request(Method::POST);
    let set = visit(&site.world, signing(&site.world), post, "w").await;
    let signed = token(&set.headers).to_owned();
    assert!(signed.parse::<Token>().is_err());
    assert!(set.headers[SET_COOKIE].len() < 160);
    let unsigned = site.replayed().await;
    for (text, expected) in [(signed, Reason::Policy), (unsigned, Reason::NotFresh)] {
        let cookie = with(COOKIE, format!("dbrouter={text}"));
        let read = site.reads(signing(&site.other), cookie).await;
        assert_eq!(read.1, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_caching_stays_and_is_made_private() {
    let world = Arc::new(World::of(1).await);
    for (said, expected) in [
        (&[][..], &["private"][..]),
        (&["public, max-age=60"], &["public, max-age=60", "private"]),
        (
            &["no-cache", "max-age=0"],
            &["no-cache", "max-age=0", "private"],
        ),
        (&["max-age=5,Private"], &["max-age=5,Private"]),
        (
            &["no-cache", "no-transform, NO-STORE"],
            &["no-cache", "no-transform, NO-STORE"],
        ),
        (
            &["private=\"set-cookie\""],
            &["private=\"set-cookie\"", "private"],
        ),
    ] {
        let db = world.db.clone();
        let service = layer(&world).layer(service_fn(move |request: Request<bool>| {
            let db = db.clone();
            async move {
                if *request.body() {
                    drop(db.route(&Work::write(), &db.current_session()).unwrap());
                }
                let mut response = Response::new(Empty::<&[u8]>::new());
                for said in said {
                    let said = HeaderValue::from_static(said);
                    response.headers_mut().append(CACHE_CONTROL, said);
                }
                Ok::<_, Infallible>(response)
            }
        }));
        for (writes, expected) in [(true, expected), (false, said)] {
            let response = service.clone().oneshot(Request::new(writes)).await.unwrap();
            let values: Vec<_> = response.headers().get_all(CACHE_CONTROL).iter().collect();
            assert_eq!(values, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_routers_have_two_cookies() {
    let (one, other) = (World::of(1).await, World::of(1).await);
    let cookie = TokenCookie::new().name("other");
    let layers = ServiceBuilder::new()
        .layer(layer(&one))
        .layer(layer(&other).cookie(cookie).unwrap());
    let (one, other) = (Arc::new(one), Arc::new(other));
    let service = {
        let worlds = [Arc::clone(&one), Arc::clone(&other)];
        layers.service_fn(move |_: Request<()>| {
            for world in &worlds {
                world.write(&world.db.current_session());
            }
            async { Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new())) }
        })
    };
    let response = service.oneshot(Request::new(())).await.unwrap();
    let names: Vec<_> = response.headers().get_all(SET_COOKIE).iter().collect();
    let names = names
        .iter()
        .map(|value| value.to_str().unwrap().split('=').next());
    assert_eq!(names.collect::<Vec<_>>(), [Some("other"), Some("dbrouter")]);
    // The root was left in peace.
    assert_eq!(one.read(&one.db.current_session()).1, Reason::Policy);
}

// -- methods and routes --------------------------------------------------------------------------

/// Where a read goes before the first write, after it, and when a replica shows it.
async fn goes<L>(world: &Arc<World>, layer: L, method: &Method) -> [Reason; 3]
where
    L: Layer<Handler, Service: Service<Request<()>, Response: IntoHead, Error = Infallible>>,
{
    world.replicas[0].resume();
    pass(250).await;
    world.replicas[0].pause();
    let visit = visit(world, layer, request(method.clone()), "rwrcr").await;
    let reasons: Vec<_> = visit.reads.iter().map(|(_, reason)| *reason).collect();
    reasons.try_into().unwrap()
}

const CAUSAL: [Reason; 3] = [Reason::Policy, Reason::NotFresh, Reason::Policy];
const UNTIL_FRESH: [Reason; 3] = [
    Reason::PreferenceIsPrimary,
    Reason::NotFresh,
    Reason::Policy,
];
const THROUGHOUT: [Reason; 3] = [Reason::PreferenceIsPrimary; 3];

fn safe() -> [Method; 4] {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE]
}

fn others() -> [Method; 6] {
    let [own, connect] =
        [b"PURGE".as_slice(), b"CONNECT"].map(|name| Method::from_bytes(name).unwrap());
    [
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        connect,
        own,
    ]
}

#[tokio::test(start_paused = true)]
async fn reads_go_by_the_method() {
    let world = Arc::new(World::of(1).await);
    let rules = [
        (None, UNTIL_FRESH),
        (Some(UnsafeMethods::PrimaryUntilFresh), UNTIL_FRESH),
        (Some(UnsafeMethods::PrimaryThroughout), THROUGHOUT),
        (Some(UnsafeMethods::AsSafe), CAUSAL),
    ];
    for (rule, expected) in rules {
        let layer = || match rule {
            None => layer(&world),
            Some(rule) => layer(&world).unsafe_methods(rule),
        };
        for method in safe() {
            assert_eq!(
                goes(&world, layer(), &method).await,
                CAUSAL,
                "{rule:?} {method}"
            );
        }
        for method in others() {
            assert_eq!(
                goes(&world, layer(), &method).await,
                expected,
                "{rule:?} {method}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn routes_say_otherwise_from_inside_and_from_around() {
    let world = Arc::new(World::of(1).await);
    let on: [(fn() -> ReadsLayer, _); 2] = [(on_primary, THROUGHOUT), (on_replica, CAUSAL)];
    for (on, expected) in on {
        for method in [Method::GET, Method::POST] {
            let inside = ServiceBuilder::new().layer(layer(&world)).layer(on());
            assert_eq!(goes(&world, inside, &method).await, expected, "{method}");
            let around = ServiceBuilder::new().layer(on()).layer(layer(&world));
            assert_eq!(goes(&world, around, &method).await, expected, "{method}");
            // The innermost one knows best.
            for other in [on_primary, on_replica] {
                let both = ServiceBuilder::new()
                    .layer(other())
                    .layer(layer(&world))
                    .layer(other())
                    .layer(on());
                assert_eq!(goes(&world, both, &method).await, expected, "{method}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_route_speaks_for_all_routers() {
    let worlds = [World::of(1).await, World::of(1).await].map(Arc::new);
    let service = ServiceBuilder::new()
        .layer(layer(&worlds[0]))
        .layer(layer(&worlds[1]).without_cookie())
        .layer(on_primary())
        .service_fn({
            let worlds = worlds.clone();
            move |_: Request<()>| {
                for world in &worlds {
                    let read = world.read(&world.db.current_session());
                    assert_eq!(read.1, Reason::PreferenceIsPrimary);
                }
                async { Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new())) }
            }
        });
    service.oneshot(Request::new(())).await.unwrap();
}

/// What has been written in a connection that is held is not seen before it is back.
#[tokio::test(start_paused = true)]
async fn a_transaction_is_a_write_when_it_ends() {
    let world = Arc::new(World::of(1).await);
    let db = world.db.clone();
    let service = layer(&world).layer(service_fn(move |_: Request<()>| {
        let (db, world) = (db.clone(), Arc::clone(&world));
        async move {
            let session = db.current_session();
            let open = db.route(&Work::write(), &session).unwrap().hold_open();
            assert_eq!(world.read(&session).1, Reason::PreferenceIsPrimary);
            open.rolled_back();
            assert_eq!(world.read(&session).1, Reason::PreferenceIsPrimary);
            drop(db.route(&Work::write(), &session).unwrap().hold_open());
            assert_eq!(world.read(&session).1, Reason::NotFresh);
            Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new()))
        }
    }));
    service.oneshot(request(Method::POST)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_states_a_wish_is_believed() {
    let world = Arc::new(World::of(1).await);
    let db = world.db.clone();
    let service = layer(&world).layer(service_fn(move |_: Request<()>| {
        let reason = |request: Work| {
            let session = db.current_session();
            // To explain is to look: the rule still holds.
            db.explain(&request, &session).unwrap().reason
        };
        let wishes = [
            (Work::read(), Reason::PreferenceIsPrimary),
            (
                Work::read().preference(dbrouter::Preference::Replica),
                Reason::Policy,
            ),
            (
                Work::read().consistency(dbrouter::Consistency::Eventual),
                Reason::Policy,
            ),
        ];
        for (request, expected) in wishes {
            assert_eq!(reason(request), expected);
        }
        async { Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new())) }
    }));
    service.oneshot(request(Method::POST)).await.unwrap();
}

// -- the session ---------------------------------------------------------------------------------

/// Whether two handles are one session: what one needs, the other needs.
fn same(world: &World, one: &SessionState, other: &SessionState) -> bool {
    world.write(one);
    one.needs() == other.needs()
}

#[tokio::test(start_paused = true)]
async fn the_extension_is_the_ambient_session() {
    let world = Arc::new(World::of(1).await);
    let inner = {
        let world = Arc::clone(&world);
        service_fn(move |request: Request<()>| {
            // Already while the service is called, and when its future is polled.
            let ambient = world.db.current_session();
            let extracted = session_of::<Server>(request.extensions());
            let world = Arc::clone(&world);
            async move {
                let session = extracted.unwrap().state();
                assert!(same(&world, &session, &ambient) && !session.is_root());
                assert!(same(&world, &session, &world.db.current_session()));
                Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new()))
            }
        })
    };
    let response = layer(&world).layer(inner).oneshot(Request::new(())).await;
    assert!(response.unwrap().headers().contains_key(SET_COOKIE));
}

#[test]
fn a_missing_layer_is_named() {
    let missing = session_of::<Server>(Request::new(()).extensions()).unwrap_err();
    let message = missing.to_string();
    assert!(message.contains("Server"), "{message}");
    assert!(message.contains(".layer(db.session_layer())"), "{message}");
}

#[cfg(feature = "axum")]
#[test]
fn a_missing_layer_is_the_servers_mistake() {
    use axum_core::response::IntoResponse;
    let missing = session_of::<Server>(Request::new(()).extensions()).unwrap_err();
    assert_eq!(missing.into_response().status(), 500);
}

/// A body that notes at each of its frames whose session it is in.
#[derive(Debug)]
struct Asking {
    db: Cluster<Server>,
    asked: Arc<Mutex<Vec<SessionState>>>,
    frames: usize,
}

impl Body for Asking {
    type Data = &'static [u8];
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<&'static [u8]>, Infallible>>> {
        let session = self.db.current_session();
        self.asked.lock().unwrap().push(session);
        let left = self.frames.checked_sub(1);
        Poll::Ready(left.map(|left| {
            self.frames = left;
            Ok(Frame::data(b"frame".as_slice()))
        }))
    }
}

#[tokio::test(start_paused = true)]
async fn the_session_lives_until_the_body_ends() {
    let world = Arc::new(World::of(1).await);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let handler = {
        let (world, asked) = (Arc::clone(&world), Arc::clone(&asked));
        service_fn(move |_: Request<()>| {
            world.write(&world.db.current_session());
            let (db, asked) = (world.db.clone(), Arc::clone(&asked));
            let body = Asking {
                db,
                asked,
                frames: 2,
            };
            async { Ok::<_, Infallible>(Response::new(body)) }
        })
    };
    world.replicas[0].pause();
    let response = layer(&world).layer(handler).oneshot(Request::new(())).await;
    let mut body = response.unwrap().into_body();
    while let Some(frame) = body.frame().await {
        assert_eq!(frame.unwrap().into_data().unwrap(), b"frame");
        assert!(!format!("{body:?}").contains("session: None"));
    }
    assert!(format!("{body:?}").contains("session: None"));
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 3);
    for session in &*asked {
        // It is the handler's: it needs what that wrote.
        assert_eq!(world.read(session).1, Reason::NotFresh);
        assert!(same(&world, session, &asked[0]) && !session.is_root());
    }
    assert!(world.db.current_session().is_root());
}

#[tokio::test(start_paused = true)]
async fn a_body_is_what_it_was() {
    let world = World::of(1).await;
    let respond = service_fn(async |request: Request<&'static [u8]>| {
        Ok::<_, Infallible>(Response::new(Full::new(request.into_body())))
    });
    for text in [b"".as_slice(), b"hello"] {
        let response = layer(&world).layer(respond).oneshot(Request::new(text));
        let body = response.await.unwrap().into_body();
        assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
        assert_eq!(body.is_end_stream(), text.is_empty());
        assert_eq!(
            format!("{body:?}").contains("session: None"),
            text.is_empty()
        );
        assert_eq!(body.collect().await.unwrap().to_bytes(), text);
    }
}

// -- the service ---------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn errors_and_panics_pass_through() {
    let world = World::of(1).await;
    let fail = service_fn(async |_: Request<()>| Err::<Response<Empty<&[u8]>>, _>("no"));
    let service = layer(&world).layer(fail);
    assert_eq!(service.oneshot(Request::new(())).await.unwrap_err(), "no");

    async fn oops(_: Request<()>) -> Result<Response<Empty<&'static [u8]>>, Infallible> {
        panic!("oops")
    }
    let mut panicking = Box::pin(
        layer(&world)
            .layer(service_fn(oops))
            .oneshot(Request::new(())),
    );
    let poll = |cx: &mut Context<'_>| {
        let poll = AssertUnwindSafe(|| panicking.as_mut().poll(cx).map(drop));
        Poll::Ready(std::panic::catch_unwind(poll))
    };
    let panic = std::future::poll_fn(poll).await.unwrap_err();
    assert_eq!(panic.downcast_ref(), Some(&"oops"));
    assert!(world.db.current_session().is_root());
}

/// A service of which only the one that was asked is ready.
#[derive(Debug, Default)]
struct Exact {
    ready: bool,
}

impl Clone for Exact {
    fn clone(&self) -> Self {
        Self { ready: false }
    }
}

impl Service<Request<()>> for Exact {
    type Response = Response<Empty<&'static [u8]>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "it was not ready");
        std::future::ready(Ok(Response::new(Empty::new())))
    }
}

#[tokio::test(start_paused = true)]
async fn the_service_that_is_called_is_the_one_that_is_ready() {
    let world = World::of(1).await;
    let mut service = ServiceBuilder::new()
        .layer(layer(&world))
        .layer(on_primary())
        .service(Exact::default());
    for _ in 0..3 {
        let ready = service.ready().await.unwrap();
        ready.call(Request::new(())).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_layer_goes_wherever_services_go() {
    fn goes_anywhere<T: Clone + Send + Sync + 'static>(thing: T) -> T {
        thing
    }
    let world = World::of(1).await;
    let layer = goes_anywhere(layer(&world));
    goes_anywhere(layer.layer(Exact::default()));
    goes_anywhere(on_replica());
}

// -- configuration -------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn cookies_are_as_configured() {
    let world = Arc::new(World::of(1).await);
    let set = async |cookie: TokenCookie| {
        let layer = layer(&world).cookie(cookie).unwrap();
        let visit = visit(&world, layer, request(Method::POST), "w").await;
        let cookie = visit.headers[SET_COOKIE].to_str().unwrap();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        (
            pair.split('=').next().unwrap().to_owned(),
            attributes.to_owned(),
        )
    };
    let (name, attributes) = set(TokenCookie::new().insecure()).await;
    assert_eq!(name, "dbrouter");
    assert_eq!(attributes, "HttpOnly; SameSite=Lax; Path=/; Max-Age=60");
    let cookie = TokenCookie::new()
        .name("__Secure-seen")
        .domain("shop.example")
        .max_age(Duration::from_millis(2500));
    let (name, attributes) = set(cookie).await;
    assert_eq!(name, "__Secure-seen");
    assert_eq!(
        attributes,
        "HttpOnly; SameSite=Lax; Secure; Path=/; Domain=shop.example; Max-Age=2"
    );
}

#[tokio::test(start_paused = true)]
async fn what_browsers_would_refuse_is_refused() {
    let world = World::of(1).await;
    let cookie = TokenCookie::new;
    let seconds = Duration::from_secs;
    let name = "a cookie's name consists of letters, digits and !#$%&'*+-.^_`|~";
    let age = "it must be a second at least, and 34560000s at most";
    for (cookie, expected) in [
        (cookie().name(""), format!("cookie.name: is \"\"; {name}")),
        (
            cookie().name("a;b"),
            format!("cookie.name: is \"a;b\"; {name}"),
        ),
        (
            cookie().name("__Host-a").insecure(),
            "cookie.name: is \"__Host-a\", which browsers only accept with `Secure`".to_owned(),
        ),
        (
            cookie().name("__Host-a").domain("a.b"),
            "cookie.name: is \"__Host-a\", which browsers only accept without a domain".to_owned(),
        ),
        (
            cookie().domain("a; Path=/b"),
            "cookie.domain: is \"a; Path=/b\"; it must be a domain, such as shop.example"
                .to_owned(),
        ),
        (
            cookie().max_age(seconds(0)),
            format!("cookie.max_age: is 0ns; {age}"),
        ),
        (
            cookie().max_age(Duration::from_millis(999)),
            format!("cookie.max_age: is 999ms; {age}"),
        ),
        (
            cookie().max_age(Duration::MAX),
            format!("cookie.max_age: is {:?}; {age}", Duration::MAX),
        ),
    ] {
        let error = layer(&world).cookie(cookie).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    for cookie in [cookie().name("__Host-a"), cookie().max_age(seconds(1))] {
        assert!(layer(&world).cookie(cookie).is_ok());
    }
    let error = layer(&world).header("two words").unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Name);
    assert_eq!(
        error.to_string(),
        "header: is \"two words\"; it must be a header's name, such as x-dbrouter-token"
    );
}
