//! Where reads go, by methods, routes and stated wishes.

use dbrouter::scope::{with_primary, with_replica};

use super::*;

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

/// A scope around a part of a handler is more than a rule for the whole request.
#[tokio::test(start_paused = true)]
async fn scopes_inside_of_a_handler_are_heard() {
    let world = Arc::new(World::of(2).await);
    let db = world.db.clone();
    let service = layer(&world).layer(service_fn(move |request: Request<()>| {
        let db = db.clone();
        async move {
            let reads = async || {
                let work = Terms::new(&db).read().work();
                work.explain().map(|decision| decision.reason).unwrap()
            };
            let post = request.method() == Method::POST;
            assert_eq!(reads().await == Reason::PreferenceIsPrimary, post);
            assert_ne!(with_replica(reads()).await, Reason::PreferenceIsPrimary);
            assert_eq!(with_primary(reads()).await, Reason::PreferenceIsPrimary);
            assert_eq!(reads().await == Reason::PreferenceIsPrimary, post);
            // It is the request's session, not one of the scope's own.
            let session = format!("{:?}", db.current_session());
            let inside = with_replica(async { format!("{:?}", db.current_session()) });
            assert_eq!(inside.await, session);
            Ok::<_, Infallible>(Response::new(Empty::<&[u8]>::new()))
        }
    }));
    for method in [Method::GET, Method::POST] {
        service.clone().oneshot(request(method)).await.unwrap();
    }
}
