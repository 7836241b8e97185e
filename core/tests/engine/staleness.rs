//! How old what a replica shows may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dbrouter::policy::{RoundRobin, Sticky};
use dbrouter::{
    Clock, Cluster, ConfigErrorKind, Consistency, Dialect, Instant, MonitorSettings, NodeSpec,
    Preference, Reason, Request, Router, SessionState, Settings, Terms, WhyNot,
};

use crate::world::{Server, World, millis, pass, rarely, settings};

const BOUND: Duration = millis(500);

fn bounded() -> Request {
    Request::read().max_staleness(BOUND)
}

fn eventually() -> Request {
    bounded().consistency(Consistency::Eventual)
}

fn fell_back() -> (String, Reason) {
    ("primary".to_owned(), Reason::NotFresh)
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_has_fallen_behind_by_more_serves_no_read() {
    let world = World::of(1).await;
    let sessions = || [world.db.current_session(), world.db.session()];
    pass(1000).await;
    world.replicas[0].pause();
    world.primary.commit();
    pass(250).await;
    for session in sessions() {
        for request in [bounded(), eventually()] {
            assert_eq!(world.went(&request, &session).0, "replica-1");
        }
    }
    pass(500).await;
    for session in sessions() {
        for request in [bounded(), eventually()] {
            assert_eq!(world.went(&request, &session), fell_back());
        }
        // Nobody else's reads are bounded by that.
        let unbounded = Request::read().consistency(Consistency::Eventual);
        assert_eq!(world.went(&unbounded, &session).0, "replica-1");
    }
    world.replicas[0].resume();
    pass(10).await;
    assert_eq!(world.went(&bounded(), &world.db.session()).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn an_idle_primary_keeps_its_replicas_within_a_bound() {
    let world = World::of(2).await;
    for server in world.replicas.iter().chain([&world.primary]) {
        server.latency(millis(2));
    }
    // Three times the interval, as the documentation has it.
    let request = Request::read().max_staleness(millis(300));
    let session = world.db.session();
    for _ in 0..2000 {
        pass(7).await;
        assert_ne!(world.went(&request, &session).0, "primary");
    }
}

#[tokio::test(start_paused = true)]
async fn it_adds_to_what_a_session_must_see() {
    let world = World::of(1).await;
    pass(1000).await;
    let session = world.db.session();
    world.replicas[0].pause();
    world.write(&session);
    assert_eq!(world.went(&bounded(), &session), fell_back());
}

/// Staying where it is would not be going back in time, and yet be too old.
#[tokio::test(start_paused = true)]
async fn it_holds_on_the_sessions_own_replica_as_well() {
    let world = World::under(Sticky::new(RoundRobin::new()), 1).await;
    let session = world.db.session();
    pass(1000).await;
    assert_eq!(world.went(&bounded(), &session).0, "replica-1");
    world.replicas[0].pause();
    world.primary.commit();
    pass(250).await;
    let home = world.went(&bounded(), &session);
    assert_eq!(home, ("replica-1".to_owned(), Reason::Sticky));
    pass(500).await;
    assert_eq!(world.went(&bounded(), &session), fell_back());
}

#[tokio::test(start_paused = true)]
async fn who_wants_only_replicas_is_refused_and_told_by_how_much() {
    let world = World::of(1).await;
    pass(1000).await;
    world.replicas[0].pause();
    world.primary.commit();
    pass(2000).await;
    let request = eventually().preference(Preference::Replica);
    let refused = world.goes(&request, &world.db.session()).unwrap_err();
    let staleness = world.db.status().node("replica-1").unwrap().staleness;
    let over = staleness.unwrap() - BOUND;
    let WhyNot::NotFresh(Some(short)) = refused.refusals()[1].why else {
        panic!("{refused}");
    };
    // The clock ticks at each look.
    assert!(
        short <= over && short + millis(1) >= over,
        "{short:?} {over:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_monitor_is_asked_for_it() {
    let world = World::with(settings().monitor(rarely()), vec![NodeSpec::new()]).await;
    pass(2000).await;
    for consistency in [Consistency::Causal, Consistency::Eventual] {
        pass(1000).await;
        let request = bounded().consistency(consistency);
        let session = world.db.session();
        assert_eq!(world.went(&request, &session), fell_back());
        pass(5).await;
        assert_eq!(world.went(&request, &session).0, "replica-1");
        // And where the read is refused for it.
        pass(1000).await;
        let only = request.preference(Preference::Replica);
        world.goes(&only, &session).unwrap_err();
        pass(5).await;
        assert_eq!(world.went(&only, &session).0, "replica-1");
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_session_may_be_writing_its_reads_are_the_primarys() {
    let world = World::of(1).await;
    let session = world.db.session();
    let writer = session.hold_open();
    let went = world.went(&bounded(), &session);
    assert_eq!(went, ("primary".to_owned(), Reason::OpenWriter));
    // And nobody asks for what never comes.
    drop(writer);
    pass(200).await;
    let before = world.replicas[0].asked();
    pass(1000).await;
    assert!(world.replicas[0].asked() - before <= 11);
}

#[tokio::test(start_paused = true)]
async fn a_router_has_a_bound_for_all_who_state_none() {
    let settings = settings().max_staleness(BOUND);
    let world = World::with(settings, vec![NodeSpec::new()]).await;
    pass(1000).await;
    world.replicas[0].pause();
    world.primary.commit();
    pass(800).await;
    let session = world.db.session();
    let eventual = Request::read().consistency(Consistency::Eventual);
    for request in [Request::read(), eventual] {
        assert_eq!(world.went(&request, &session), fell_back());
        let laxer = request.clone().max_staleness(Duration::from_secs(2));
        assert_eq!(world.went(&laxer, &world.db.session()).0, "replica-1");
        let lifted = request.max_staleness(Duration::MAX);
        assert_eq!(world.went(&lifted, &world.db.session()).0, "replica-1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_when_a_replica_is_within_the_bound() {
    let world = World::of(1).await;
    pass(1000).await;
    world.replicas[0].pause();
    world.primary.commit();
    pass(1000).await;
    let patient = eventually().wait_for_fresh(millis(400));
    let session = world.db.session();
    let resume = async {
        pass(100).await;
        world.replicas[0].resume();
    };
    let routed = world.db.route_patiently(&patient, &session);
    let (routed, ()) = tokio::join!(routed, resume);
    assert_eq!(&**routed.unwrap().node().name(), "replica-1");
    assert_eq!(world.db.status().fallbacks(Reason::NotFresh), 0);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_know_is_refused_when_it_is_configured_and_when_it_is_stated() {
    let interval = millis(200);
    let monitor = MonitorSettings::new().interval(interval);
    let with = |bound| settings().monitor(monitor).max_staleness(bound);
    let connect = |settings: Settings| async {
        let primary = Server::primary();
        let builder = crate::world::builder(settings).primary(NodeSpec::new(), primary);
        builder.connect().await
    };
    let short = millis(199);
    let configured = connect(with(short)).await.unwrap_err();
    let db = connect(with(interval)).await.unwrap();
    let terms = Terms::new(&db);
    let stated = terms.max_staleness(short).unwrap_err();
    for error in [configured, stated] {
        assert_eq!(error.kind(), ConfigErrorKind::OutOfRange);
        assert_eq!(error.field(), "max_staleness");
        let text = error.to_string();
        assert!(
            text.starts_with(
                "max_staleness: is 199ms; it must not be below monitor.interval, 200ms"
            ),
            "{text}"
        );
    }
    for right in [interval, Duration::from_secs(9), Duration::MAX] {
        assert!(terms.max_staleness(right).is_ok(), "{right:?}");
    }
    // SQLite's readers show whatever is committed.
    let file = Cluster::single(Dialect::Sqlite, Settings::new(), Server::primary());
    assert!(Terms::new(&file).max_staleness(Duration::ZERO).is_ok());
}

/// What a request says holds, though no router would have taken it.
#[tokio::test(start_paused = true)]
async fn a_request_knows_no_router_and_is_believed() {
    let world = World::of(1).await;
    pass(1000).await;
    let request = Request::read().max_staleness(Duration::ZERO);
    assert_eq!(world.went(&request, &world.db.session()), fell_back());
}

/// Counts the looks at it.
#[derive(Clone, Debug, Default)]
struct Counting(Arc<AtomicU64>);

impl Clock for Counting {
    fn now(&self) -> Instant {
        Instant::ORIGIN + Duration::from_nanos(1 + self.0.fetch_add(1, Ordering::SeqCst))
    }
}

#[tokio::test(start_paused = true)]
async fn only_who_states_a_bound_pays_for_a_look_at_the_clock() {
    let clock = Counting::default();
    let settings = settings().clock(clock.clone());
    let world = World::with(settings, vec![NodeSpec::new()]).await;
    let looks = |request: &Request, session: &SessionState| {
        let before = clock.0.load(Ordering::SeqCst);
        drop(world.db.route(request, session).unwrap());
        clock.0.load(Ordering::SeqCst) - before
    };
    let root = world.db.current_session();
    assert_eq!(looks(&Request::read(), &root), 0);
    assert_eq!(looks(&bounded(), &root), 1);
    // A session's read looks when it ends.
    let session = world.db.session();
    assert_eq!(looks(&Request::read(), &session), 1);
    assert_eq!(looks(&bounded(), &session), 2);
}
