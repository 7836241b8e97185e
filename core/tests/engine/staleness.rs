//! How old what a replica shows may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dbrouter::policy::{RoundRobin, Sticky};
use dbrouter::{
    Clock, Cluster, ConfigErrorKind, Consistency, Dialect, FallbackLimit, Health, Instant,
    MonitorSettings, NodeSpec, Preference, Reason, Request, Router, SessionState, Settings, Start,
    Terms, WhyNot,
};

use crate::world::{Mood, Server, World, millis, pass, rarely, settings};

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

/// Every kind of read without needs: the root's, a session's, and eventual ones.
fn reads_without_needs(world: &World) -> [(Request, SessionState); 4] {
    let eventual = || Request::read().consistency(Consistency::Eventual);
    [
        (Request::read(), world.db.current_session()),
        (Request::read(), world.db.session()),
        (eventual(), world.db.current_session()),
        (eventual(), world.db.session()),
    ]
}

fn all_go_to(world: &World, node: &str) {
    for (request, session) in reads_without_needs(world) {
        let (went, reason) = world.went(&request, &session);
        assert_eq!(went, node, "{reason:?}: {request:?}\n{}", world.db.status());
    }
}

const MINUTE: u64 = 60_000;

#[tokio::test(start_paused = true)]
async fn by_default_a_replica_that_lags_by_more_than_a_minute_serves_no_read() {
    // Or else it would get no reads after a second.
    let settings = settings().standstill_limit(Duration::MAX);
    let world = World::with(settings, vec![NodeSpec::new(); 2]).await;
    pass(1000).await;
    world.replicas[1].pause();
    world.primary.commit();
    pass(MINUTE - 1000).await;
    all_go_to(&world, "replica-2");
    pass(2000).await;
    all_go_to(&world, "replica-1");
    world.replicas[0].pause();
    world.primary.commit();
    pass(MINUTE + 1000).await;
    for (request, session) in reads_without_needs(&world) {
        assert_eq!(world.went(&request, &session), fell_back());
        // A read that accepts any age is served there all the same.
        let lifted = request.max_staleness(Duration::MAX);
        assert_eq!(world.went(&lifted, &world.db.session()).0, "replica-2");
    }
    world.replicas[1].resume();
    pass(200).await;
    all_go_to(&world, "replica-2");
}

#[tokio::test(start_paused = true)]
async fn a_router_whose_bound_is_lifted_reads_from_replicas_of_any_age() {
    let settings = settings().max_staleness(Duration::MAX);
    let world = World::with(settings, vec![NodeSpec::new()]).await;
    world.replicas[0].pause();
    world.primary.commit();
    pass(60 * MINUTE).await;
    all_go_to(&world, "replica-1");
}

/// The primary had told all that there was to know when it was lost, and the replica shows it.
#[tokio::test(start_paused = true)]
async fn no_replica_grows_old_while_the_primary_does_not_answer() {
    let world = World::of(2).await;
    pass(1000).await;
    world.replicas[1].pause();
    world.primary.commit();
    pass(MINUTE + 1000).await;
    world.primary.mood(Mood::Refusing);
    pass(60 * MINUTE).await;
    all_go_to(&world, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn when_nothing_else_is_left_a_replica_serves_that_is_too_old() {
    let world = World::of(1).await;
    let writer = world.db.session();
    world.replicas[0].pause();
    world.write(&writer);
    pass(MINUTE + 1000).await;
    // Only a replica was wanted.
    let only = Request::read().preference(Preference::Replica);
    assert_eq!(world.went(&only, &world.db.session()).0, "replica-1");
    all_go_to(&world, "primary");
    world.primary.mood(Mood::Refusing);
    pass(200).await;
    assert_eq!(world.node("primary").health(), Health::Ejected);
    let reader = world.db.session();
    assert_eq!(
        world.read(&reader),
        ("replica-1".to_owned(), Reason::Policy)
    );
    // What a session must see, or a request promises, holds even now.
    world.db.disable("primary").unwrap();
    for (request, session) in [(Request::read(), &writer), (bounded(), &reader)] {
        let refused = world.goes(&request, session).unwrap_err();
        let why = refused.refusals()[1].why;
        assert!(matches!(why, WhyNot::NotFresh(Some(_))), "{refused}");
    }
}

/// One broken connection to the primary is no reason to read from a replica that is out of service.
#[tokio::test(start_paused = true)]
async fn a_primary_that_is_only_suspected_comes_before_a_replica_that_is_too_old() {
    let world = World::with(settings().monitor(rarely()), vec![NodeSpec::new()]).await;
    world.replicas[0].stand_at(Some(500));
    world.primary.commit();
    let slow = millis(100);
    world.primary.latency(slow);
    let bound = Request::read().max_staleness(Duration::MAX);
    assert_eq!(world.went(&bound, &world.db.session()).0, "replica-1");
    // Its age becomes known.
    pass(4 * 60 * MINUTE).await;
    world.lose("primary");
    assert_eq!(world.node("primary").health(), Health::Suspect);
    all_go_to(&world, "primary");
}

/// Its lag may be of any length: the router was not there.
#[tokio::test(start_paused = true)]
async fn a_replica_that_has_proved_nothing_is_no_younger_than_any_bound() {
    let primary = Server::primary();
    let standby = Server::standby_of(&primary);
    standby.stand_at(Some(500));
    let builder = crate::world::builder(settings()).primary(NodeSpec::new(), primary.clone());
    let builder = builder.replica(NodeSpec::new(), standby.clone());
    let db = builder.connect().await.unwrap();
    let replicas = vec![standby];
    let world = World {
        db,
        primary,
        replicas,
    };
    all_go_to(&world, "primary");
    let hours = Request::read().max_staleness(Duration::from_secs(48 * 3600));
    assert_eq!(world.went(&hours, &world.db.session()), fell_back());
    world.replicas[0].resume();
    pass(200).await;
    all_go_to(&world, "replica-1");
    assert_eq!(world.went(&hours, &world.db.session()).0, "replica-1");
}

/// Nobody knows how old the replica is, and somebody has to serve the reads.
#[tokio::test(start_paused = true)]
async fn a_router_that_starts_without_its_primary_reads_from_replicas_until_it_has_met_it() {
    let primary = Server::primary();
    let standby = Server::standby_of(&primary);
    standby.stand_at(Some(500));
    primary.mood(Mood::Refusing);
    let settings = settings().start(Start::ReadOnly);
    let builder = crate::world::builder(settings).primary(NodeSpec::new(), primary.clone());
    let builder = builder.replica(NodeSpec::new(), standby.clone());
    let db = builder.connect().await.unwrap();
    let replicas = vec![standby];
    let world = World {
        db,
        primary,
        replicas,
    };
    all_go_to(&world, "replica-1");
    pass(60 * MINUTE).await;
    all_go_to(&world, "replica-1");
    world.primary.mood(Mood::Answering);
    pass(60_000).await;
    all_go_to(&world, "primary");
    world.replicas[0].resume();
    pass(200).await;
    all_go_to(&world, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn when_all_replicas_are_too_old_the_limit_protects_the_primary() {
    let settings = settings().fallback_limit(FallbackLimit::reads(1));
    let world = World::with(settings, vec![NodeSpec::new(); 2]).await;
    for replica in &world.replicas {
        replica.pause();
    }
    world.primary.commit();
    pass(MINUTE + 1000).await;
    let session = world.db.session();
    let first = world.db.route(&Request::read(), &session).unwrap();
    assert_eq!(&**first.node().name(), "primary");
    let refused = world.goes(&Request::read(), &session).unwrap_err();
    assert!(refused.is_fallback_limit(), "{refused}");
    drop(first);
    assert_eq!(world.read(&session), fell_back());
}
