use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use dbrouter::policy::RoundRobin;
use dbrouter::{
    Cluster, ConfigErrorKind, Dialect, Fault, ManualClock, NodeSpec, Preference, Reason, Request,
    Role, Router, Settings,
};

use crate::world::{Mood, Server, World, builder, millis, pass, settings};

fn names(db: &Cluster<Server>) -> Vec<String> {
    db.nodes()
        .iter()
        .map(|node| node.name().to_string())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn nodes_are_named_in_order_and_the_lowest_free_number_is_taken() {
    let specs = vec![NodeSpec::new(), NodeSpec::new().name("eu"), NodeSpec::new()];
    let world = World::with(settings(), specs).await;
    assert_eq!(
        names(&world.db),
        ["primary", "replica-1", "eu", "replica-2"]
    );
    world.db.remove("replica-1").unwrap();
    let server = Server::standby_of(&world.primary);
    world.db.add_replica(&NodeSpec::new(), server).unwrap();
    assert_eq!(
        names(&world.db),
        ["primary", "eu", "replica-2", "replica-1"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_comes_takes_reads_once_it_has_said_who_it_is() {
    let world = World::of(1).await;
    let server = Server::standby_of(&world.primary);
    let spec = NodeSpec::new().name("new").weight(2).tag("zone", "b");
    world.db.add_replica(&spec, server).unwrap();
    let session = world.db.session();
    assert_eq!(world.read(&session).0, "replica-1");
    assert_eq!(world.node("new").role(), Role::Unknown);
    pass(200).await;
    let other = world.db.session();
    assert_eq!(world.read(&other).0, "new");
}

#[tokio::test(start_paused = true)]
async fn the_first_replica_of_a_router_brings_its_monitor() {
    let world = World::of(0).await;
    pass(1000).await;
    assert_eq!(world.primary.asked(), 1);
    let server = Server::standby_of(&world.primary);
    world.db.add_replica(&NodeSpec::new(), server).unwrap();
    pass(300).await;
    let session = world.db.session();
    assert_eq!(world.read(&session).0, "replica-1");
    assert!(world.primary.asked() >= 3);
}

#[tokio::test(start_paused = true)]
async fn a_replica_of_another_cluster_that_comes_later_takes_nothing() {
    let world = World::of(1).await;
    let server = Server::standby_of(&world.primary);
    server.identity(Some("9999"));
    world
        .db
        .add_replica(&NodeSpec::new().name("foreign"), server)
        .unwrap();
    pass(1000).await;
    let node = world.node("foreign");
    assert!(!node.is_healthy());
    assert!(node.last_error().unwrap().contains("another cluster"));
    assert_eq!(world.read(&world.db.session()).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_removed_replica_takes_nothing_and_what_runs_on_it_ends_well() {
    let world = World::of(2).await;
    let session = world.db.session();
    let route = world.db.route(&Request::read(), &session).unwrap();
    assert_eq!(crate::world::name(&route), "replica-2");
    world.db.remove("replica-2").unwrap();
    assert!(world.db.node("replica-2").is_none());
    let node = Arc::clone(route.node());
    drop(route);
    assert_eq!(node.in_flight(), 0);
    pass(200).await;
    assert_eq!(world.read(&world.db.session()).0, "replica-1");
    let asked = world.replicas[1].asked();
    pass(1000).await;
    assert_eq!(world.replicas[1].asked(), asked, "it is no longer asked");
}

#[tokio::test(start_paused = true)]
async fn the_last_replica_may_go() {
    let world = World::of(1).await;
    world.db.remove("replica-1").unwrap();
    let went = world.read(&world.db.session());
    assert_eq!(went, ("primary".to_owned(), Reason::NoReplica));
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_the_work_in_flight_and_lets_none_in() {
    let world = World::of(1).await;
    let session = world.db.session();
    let works: Vec<_> = (0..2)
        .map(|_| world.db.route(&Request::read(), &session).unwrap())
        .collect();
    let db = world.db.clone();
    let drain = tokio::spawn(async move { db.drain("replica-1").await });
    for work in works {
        pass(10).await;
        assert!(!drain.is_finished());
        let went = world.read(&world.db.session());
        assert_eq!(went, ("primary".to_owned(), Reason::NoReplica));
        drop(work);
    }
    drain.await.unwrap().unwrap();
    assert_eq!(names(&world.db), ["primary"]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_dropped_leaves_the_replica_closed_until_it_is_enabled() {
    let world = World::of(1).await;
    let session = world.db.session();
    let work = world.db.route(&Request::read(), &session).unwrap();
    let cut = tokio::time::timeout(millis(5), world.db.drain("replica-1")).await;
    assert!(cut.is_err());
    drop(work);
    pass(10).await;
    assert_eq!(world.read(&world.db.session()).1, Reason::NoReplica);
    world.db.enable("replica-1").unwrap();
    assert_eq!(world.read(&world.db.session()).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_would_be_refused_closes_nothing() {
    let specs = vec![NodeSpec::new(), NodeSpec::new().weight(0)];
    let world = World::with(settings(), specs).await;
    for (name, kind) in [
        ("replica-1", ConfigErrorKind::Weights),
        ("primary", ConfigErrorKind::Primary),
        ("nobody", ConfigErrorKind::UnknownNode),
    ] {
        assert_eq!(world.db.drain(name).await.unwrap_err().kind(), kind);
        assert_eq!(world.db.remove(name).unwrap_err().kind(), kind);
    }
    let session = world.db.session();
    assert_eq!(world.read(&session).0, "replica-1");
    world.write(&session);
}

/// Drains race with work that comes and is refused: none of them waits for ever.
#[test]
fn a_drain_always_ends() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let settings = Settings::new()
        .clock(ManualClock::new())
        .policy(RoundRobin::new());
    let world = runtime.block_on(World::with(settings, vec![NodeSpec::new()]));
    let db = world.db;
    let stop = Arc::new(AtomicBool::new(false));
    let worker = {
        let (db, stop) = (db.clone(), Arc::clone(&stop));
        thread::spawn(move || {
            let session = db.session();
            while !stop.load(Ordering::Relaxed) {
                drop(db.route(&Request::read(), &session));
            }
        })
    };
    runtime.block_on(async {
        for _ in 0..200 {
            let name = db.nodes()[1].name().to_string();
            db.drain(&name).await.unwrap();
            let server = Server::standby_of(&world.primary);
            db.add_replica(&NodeSpec::new(), server).unwrap();
        }
    });
    stop.store(true, Ordering::Relaxed);
    worker.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_operators_wish_and_the_routers_finding_are_two_things() {
    let world = World::of(1).await;
    world.db.disable("replica-1").unwrap();
    pass(200).await;
    assert!(world.node("replica-1").is_healthy());
    world.replicas[0].mood(Mood::Refusing);
    pass(200).await;
    world.db.enable("replica-1").unwrap();
    assert!(!world.node("replica-1").is_healthy());
    let went = world.read(&world.db.session());
    assert_eq!(went, ("primary".to_owned(), Reason::NoHealthyReplica));
}

#[tokio::test(start_paused = true)]
async fn weights_change_at_run_time_and_one_must_remain() {
    let world = World::of(2).await;
    world.db.set_weight("replica-2", 0).unwrap();
    assert_eq!(world.read(&world.db.session()).0, "replica-1");
    let error = world.db.set_weight("replica-1", 0).unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Weights);
    assert_eq!(world.read(&world.db.session()).0, "replica-1");
    let error = world.db.remove("replica-1").unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Weights);
    world.db.set_weight("replica-2", u32::MAX).unwrap();
    assert_eq!(world.read(&world.db.session()).0, "replica-2");
}

#[tokio::test(start_paused = true)]
async fn a_change_keeps_what_the_other_nodes_have_proved() {
    let world = World::of(2).await;
    let fresh = world.node("replica-1").fresh_as_of();
    world.db.set_weight("replica-2", 7).unwrap();
    world.db.remove("replica-2").unwrap();
    assert_eq!(world.node("replica-1").fresh_as_of(), fresh);
}

#[tokio::test(start_paused = true)]
async fn a_router_holds_1024_nodes_and_routes_to_the_last() {
    let primary = Server::primary();
    let mut over = builder(settings()).primary(NodeSpec::new(), primary.clone());
    for _ in 0..1023 {
        over = over.replica(NodeSpec::new(), Server::standby_of(&primary));
    }
    let db = over.connect().await.unwrap();
    let one_more = db.add_replica(&NodeSpec::new(), Server::standby_of(&primary));
    let error = one_more.unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::TooManyNodes);
    assert!(error.to_string().contains("1024"), "{error}");
    let route = db.route(&Request::read(), &db.session()).unwrap();
    assert_eq!(crate::world::name(&route), "replica-1023");
    let nearest = Request::read().preference(Preference::Nearest);
    assert!(db.route(&nearest, &db.session()).is_ok());
    pass(300).await;
    assert!(db.nodes().iter().all(|node| node.is_healthy()));
}

#[test]
fn a_single_database_takes_everything_and_needs_no_runtime() {
    let db = Cluster::single(Dialect::Sqlite, Settings::new(), Server::primary());
    let session = db.session();
    for preference in [
        Preference::Primary,
        Preference::PrimaryPreferred,
        Preference::ReplicaPreferred,
        Preference::Nearest,
    ] {
        let read = Request::read().preference(preference);
        assert!(db.route(&read, &session).is_ok(), "{preference}");
    }
    drop(db.route(&Request::write(), &session).unwrap());
    assert!(db.route(&Request::read(), &session).is_ok());
}

/// Nobody watches a router over one node, so nobody could find the node again.
#[tokio::test(start_paused = true)]
async fn a_node_that_nobody_watches_is_never_lost() {
    let world = World::of(0).await;
    let single = Cluster::single(Dialect::Postgres, Settings::new(), Server::primary());
    for db in [world.db, single] {
        let route = db.route(&Request::write(), &db.session()).unwrap();
        route.report(Fault::Unavailable, &"connection reset");
        assert!(route.node().is_healthy());
        let status = db.status();
        assert_eq!(status.node("primary").unwrap().failures, 1);
        let lost = tokio::time::timeout(millis(10), route.node().lost()).await;
        assert!(lost.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_called_off_leaves_the_replica() {
    let world = World::of(2).await;
    let held = world
        .db
        .route(&Request::read(), &world.db.session())
        .unwrap();
    let name = held.node().name().to_string();
    let drain = tokio::spawn({
        let (db, name) = (world.db.clone(), name.clone());
        async move { db.drain(&name).await }
    });
    pass(10).await;
    world.db.enable(&name).unwrap();
    let error = drain.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::NotDrained);
    drop(held);
    assert!(world.db.node(&name).is_some());
}

#[test]
fn outside_a_runtime_connecting_is_an_error_and_no_panic() {
    let connecting = builder(settings())
        .primary(NodeSpec::new(), Server::primary())
        .connect();
    let mut connecting = std::pin::pin!(connecting);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(connected) = connecting.as_mut().poll(&mut context) else {
        panic!("it waits for nothing");
    };
    assert_eq!(connected.unwrap_err().kind(), ConfigErrorKind::Runtime);
}

#[test]
fn outside_a_runtime_nothing_is_added() {
    let db = Cluster::single(Dialect::Postgres, Settings::new(), Server::primary());
    let error = db
        .add_replica(&NodeSpec::new(), Server::primary())
        .unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Runtime);
    assert_eq!(db.nodes().len(), 1);
}
