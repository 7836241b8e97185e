use std::time::Duration;

use dbrouter::policy::{RoundRobin, Sticky};
use dbrouter::{
    Cluster, Commits, Dialect, Fault, Health, HealthSettings, Instant, MonitorSettings, NodeSpec,
    Preference, Reason, Request, Role, Router, Settings, Start,
};
use tokio::time;

use crate::world::{Asked, Flushing, Mood, Server, World, builder, millis, pass, rarely, settings};

#[tokio::test(start_paused = true)]
async fn freshness_moves_by_proof_and_not_by_time() {
    let world = World::of(1).await;
    let fresh = || world.node("replica-1").fresh_as_of();
    world.replicas[0].pause();
    world.primary.commit();
    pass(250).await;
    let stuck = fresh();
    pass(10_000).await;
    assert_eq!(fresh(), stuck);
    world.replicas[0].resume();
    pass(250).await;
    assert!(fresh().since(stuck) > Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn an_idle_primary_keeps_its_replicas_fresh() {
    let world = World::of(1).await;
    pass(3_600_000).await;
    let status = world.db.status();
    assert!(status.node("replica-1").unwrap().staleness.unwrap() <= millis(200));
}

#[tokio::test(start_paused = true)]
async fn a_question_counts_from_before_it_was_sent() {
    let world = World::of(1).await;
    let session = world.db.session();
    world.primary.latency(millis(80));
    world.replicas[0].latency(millis(80));
    pass(1000).await;
    world.replicas[0].pause();
    world.write(&session);
    let written = session.needs();
    pass(5000).await;
    assert!(world.node("replica-1").fresh_as_of() < written);
}

#[tokio::test(start_paused = true)]
async fn what_was_flushed_proves_as_much_as_the_router_is_told_to_trust() {
    for (commits, at_once, in_time) in [
        (Commits::MayBeAsynchronous, false, false),
        (Commits::FlushedInTime, false, true),
        (Commits::Synchronous, true, true),
    ] {
        let monitor = MonitorSettings::new().commits(commits);
        let world = World::with(settings().monitor(monitor), vec![NodeSpec::new()]).await;
        let session = world.db.session();
        pass(1000).await;
        world.write(&session);
        // The record is inserted and not flushed: the replica stands where the primary flushed.
        world.primary.flushing(Flushing::Unknown);
        world.primary.unflushed(100);
        world.replicas[0].stand_at(Some(world.primary.shows() - 100));
        let proved = || world.node("replica-1").fresh_as_of() >= session.needs();
        pass(250).await;
        assert_eq!(proved(), at_once, "{commits:?}");
        pass(600).await;
        assert_eq!(
            proved(),
            in_time,
            "{commits:?}: three times wal_writer_delay later"
        );
        pass(60_000).await;
        assert_eq!(proved(), in_time, "{commits:?}: a minute later");
    }
}

/// A transaction that is still open leaves records that nobody flushes, and a WAL writer may stand still.
#[tokio::test(start_paused = true)]
async fn the_primary_is_made_to_flush_what_a_read_waits_for_and_only_then() {
    let world = World::of(1).await;
    let session = world.db.session();
    let flushes = || world.primary.asked_about(Asked::ToFlush);
    let stand = || {
        world.primary.unflushed(100);
        world.replicas[0].stand_at(Some(world.primary.shows() - 100));
    };
    world.primary.commit();
    stand();
    pass(1000).await;
    assert_eq!(flushes(), 0, "no read wants it");
    for round in 1..=3 {
        world.write(&session);
        stand();
        pass(120).await;
        assert_eq!(flushes(), round);
        assert_eq!(world.read(&session).0, "primary");
        world.replicas[0].resume();
        pass(120).await;
        assert_eq!(world.read(&session).0, "replica-1");
    }
    // The log is never flushed: the primary is told once in an interval at most.
    world.write(&session);
    for _ in 0..100 {
        stand();
        pass(10).await;
    }
    assert!(flushes() <= 3 + 11, "{}", flushes());
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_cannot_flush_when_it_is_told_to_is_told_once() {
    let world = World::of(1).await;
    let session = world.db.session();
    world.primary.flushing(Flushing::Unknown);
    for _ in 0..5 {
        world.write(&session);
        world.primary.unflushed(100);
        world.replicas[0].stand_at(Some(world.primary.shows() - 100));
        pass(300).await;
    }
    assert_eq!(world.primary.asked_about(Asked::ToFlush), 1);
    assert!(world.node("primary").is_healthy());
    assert_eq!(world.read(&session).0, "primary");
}

#[tokio::test(start_paused = true)]
async fn a_lagging_replica_is_asked_less_and_less() {
    let world = World::of(1).await;
    let session = world.db.session();
    world.replicas[0].latency(Duration::from_micros(200));
    world.replicas[0].pause();
    world.write(&session);
    world.read(&session);
    let before = world.replicas[0].asked();
    pass(2000).await;
    let times = world.replicas[0].times()[before..].to_vec();
    let gaps: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(gaps[..3].iter().all(|gap| *gap <= millis(2)), "{gaps:?}");
    assert!(
        gaps[1..].is_sorted_by(|one, next| *next + millis(1) >= *one),
        "{gaps:?}"
    );
    assert!(gaps.last().unwrap() >= &millis(99), "{gaps:?}");
    assert!(times.len() < 40, "{} questions", times.len());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_sessions_that_ask_cause_one_round() {
    let world = World::with(settings().monitor(rarely()), vec![NodeSpec::new()]).await;
    let sessions: Vec<_> = (0..1000).map(|_| world.db.session()).collect();
    pass(500).await;
    sessions.iter().for_each(|session| world.write(session));
    for session in &sessions {
        assert_eq!(world.read(session).1, Reason::NotFresh);
    }
    let (primary, replica) = (world.primary.asked(), world.replicas[0].asked());
    pass(500).await;
    assert_eq!(world.primary.asked() - primary, 1);
    assert!(world.replicas[0].asked() - replica <= 2);
    for session in &sessions {
        assert_eq!(world.read(session).0, "replica-1");
    }
}

#[tokio::test(start_paused = true)]
async fn rounds_that_are_asked_for_keep_their_distance() {
    let gap = millis(7);
    let monitor = rarely().gap(gap);
    let world = World::with(settings().monitor(monitor), vec![NodeSpec::new()]).await;
    let session = world.db.session();
    let connecting = world.primary.asked();
    for _ in 0..200 {
        world.write(&session);
        pass(1).await;
    }
    let times = world.primary.times()[connecting - 1..].to_vec();
    assert!(times.len() > 20, "{} rounds", times.len());
    assert!(times.windows(2).all(|two| two[1] - two[0] >= gap));
}

#[tokio::test(start_paused = true)]
async fn a_gap_of_zero_spins_neither_the_monitor_nor_the_servers() {
    let world = World::with(
        settings().monitor(MonitorSettings::new().gap(Duration::ZERO)),
        vec![NodeSpec::new()],
    )
    .await;
    world.primary.latency(millis(1));
    world.replicas[0].latency(millis(1));
    let session = world.db.session();
    world.replicas[0].pause();
    world.write(&session);
    world.read(&session);
    let before = world.replicas[0].asked();
    pass(10_000).await;
    assert!(
        world.replicas[0].asked() - before < 150,
        "{}",
        world.replicas[0].asked()
    );
}

#[tokio::test(start_paused = true)]
async fn the_next_read_milliseconds_later_finds_a_fresh_replica() {
    let world = World::of(1).await;
    for server in [&world.primary, &world.replicas[0]] {
        server.latency(Duration::from_micros(300));
    }
    pass(1000).await;
    let session = world.db.session();
    world.write(&session);
    assert_eq!(world.read(&session).1, Reason::NotFresh);
    pass(10).await;
    assert_eq!(world.read(&session).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_replica_delays_no_other() {
    let world = World::of(2).await;
    world.replicas[1].mood(Mood::Hanging);
    let session = world.db.session();
    pass(500).await;
    world.write(&session);
    world.read(&session);
    pass(10).await;
    assert_eq!(world.read(&session).0, "replica-1");
    pass(1000).await;
    let node = world.node("replica-2");
    assert!(!node.is_healthy());
    assert_eq!(&*node.last_error().unwrap(), "no answer within 1s");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_primary_loses_no_replica() {
    let world = World::of(1).await;
    world.primary.mood(Mood::Hanging);
    pass(5000).await;
    assert!(!world.node("primary").is_healthy());
    assert!(world.node("replica-1").is_healthy());
    assert_eq!(world.read(&world.db.session()).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_lost_replica_takes_nothing_until_it_answers() {
    for mood in [
        Mood::Refusing,
        Mood::Panicking,
        Mood::Garbling,
        Mood::Hanging,
    ] {
        let world = World::of(1).await;
        world.replicas[0].mood(mood);
        pass(1500).await;
        let went = world.read(&world.db.session());
        assert_eq!(
            went,
            ("primary".to_owned(), Reason::NoHealthyReplica),
            "{mood:?}"
        );
        assert!(world.node("replica-1").last_error().is_some(), "{mood:?}");
        world.replicas[0].mood(Mood::Answering);
        pass(1500).await;
        assert_eq!(world.read(&world.db.session()).0, "replica-1", "{mood:?}");
        assert_eq!(world.node("replica-1").last_error(), None, "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_traffic_finds_lost_is_asked_at_once_and_found_again() {
    let world = World::with(settings().monitor(rarely()), vec![NodeSpec::new()]).await;
    let session = world.db.session();
    let route = world.db.route(&Request::read(), &session).unwrap();
    let node = route.node().clone();
    let lost = async { node.lost().await };
    let report = async {
        route.report(Fault::Unavailable, &"connection reset by peer");
        assert!(!route.node().is_healthy());
        assert_eq!(
            &*route.node().last_error().unwrap(),
            "connection reset by peer"
        );
    };
    tokio::join!(lost, report);
    pass(10).await;
    assert!(node.is_healthy());
}

#[tokio::test(start_paused = true)]
async fn only_an_unavailable_node_is_lost() {
    let world = World::of(1).await;
    let route = world
        .db
        .route(&Request::read(), &world.db.session())
        .unwrap();
    for fault in [Fault::Busy, Fault::ReadOnly, Fault::Conflict, Fault::Other] {
        route.report(fault, &"an error");
        assert!(route.node().is_healthy(), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_standby_that_comes_back_older_serves_no_session_that_saw_it_newer() {
    let world = World::under(Sticky::new(RoundRobin::new()), 1).await;
    let session = world.db.session();
    world.primary.commit();
    pass(200).await;
    assert_eq!(world.read(&session).0, "replica-1");
    world.replicas[0].mood(Mood::Refusing);
    pass(200).await;
    world.replicas[0].stand_at(Some(900));
    world.replicas[0].mood(Mood::Answering);
    pass(200).await;
    assert!(world.node("replica-1").is_healthy());
    assert_eq!(
        world.read(&session),
        ("primary".to_owned(), Reason::NotFresh)
    );
    world.replicas[0].resume();
    pass(200).await;
    assert_eq!(world.read(&session).0, "replica-1");
}

/// A restart so quick that only a broken connection tells of it.
#[tokio::test(start_paused = true)]
async fn a_broken_connection_voids_what_the_server_had_proved() {
    let world = World::of(1).await;
    let session = world.db.session();
    world.read(&session);
    world.replicas[0].stand_at(Some(900));
    world.replicas[0].restart();
    pass(250).await;
    assert!(world.node("replica-1").is_healthy());
    assert_eq!(world.read(&session).1, Reason::NotFresh);
}

/// It answers all the time, but what it says it has replayed goes back.
#[tokio::test(start_paused = true)]
async fn a_replica_whose_log_goes_back_has_proved_nothing() {
    let world = World::of(1).await;
    let session = world.db.session();
    pass(200).await;
    world.read(&session);
    for position in [Some(900), None] {
        world.replicas[0].stand_at(position);
        pass(200).await;
        assert_eq!(world.read(&session).1, Reason::NotFresh);
        world.replicas[0].resume();
        pass(200).await;
        assert_eq!(world.read(&session).0, "replica-1");
    }
}

#[tokio::test(start_paused = true)]
async fn while_the_primary_is_not_there_a_restarted_replica_is_not_trusted_either() {
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    primary.mood(Mood::Refusing);
    let db = builder(settings().start(Start::ReadOnly))
        .primary(NodeSpec::new(), primary)
        .replica(NodeSpec::new(), replica.clone())
        .connect()
        .await
        .unwrap();
    let session = db.session();
    let only = Request::read().preference(Preference::Replica);
    drop(db.route(&only, &session).unwrap());
    replica.mood(Mood::Refusing);
    pass(200).await;
    replica.mood(Mood::Answering);
    pass(200).await;
    assert!(db.node("replica-1").unwrap().is_healthy());
    assert!(
        db.route(&only, &session).is_err(),
        "it may show an older state now"
    );
    assert!(db.route(&only, &db.session()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn another_timeline_or_a_log_that_goes_back_voids_all_proofs() {
    for (timeline, written) in [(2, 1100), (1, 500), (2, 500)] {
        let world = World::of(2).await;
        let session = world.db.session();
        world.read(&session);
        world
            .replicas
            .iter()
            .for_each(|replica| replica.stand_at(Some(400)));
        pass(150).await;
        world.primary.fork(timeline, written);
        pass(150).await;
        for name in ["replica-1", "replica-2"] {
            let fresh = world.node(name).fresh_as_of();
            assert!(fresh <= Instant::ORIGIN, "{name} {fresh:?}");
        }
        assert_eq!(world.read(&session).1, Reason::NotFresh);
        world.replicas.iter().for_each(Server::resume);
        pass(150).await;
        assert_eq!(world.read(&session).0, "replica-2");
    }
}

/// What the old primary wrote proves nothing of replicas that may follow another by now.
#[tokio::test(start_paused = true)]
async fn a_demoted_primarys_past_proves_nothing() {
    let world = World::of(1).await;
    let session = world.db.session();
    world.replicas[0].pause();
    world.write(&session);
    pass(150).await;
    world.primary.demote();
    pass(150).await;
    // On the new history the replica passes the position of the write, which is lost.
    world.replicas[0].stand_at(Some(5000));
    pass(150).await;
    let only = Request::read().preference(Preference::Replica);
    assert!(world.goes(&only, &session).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_dead_primarys_past_proves_nothing_once_another_was_promoted() {
    let world = World::of(2).await;
    let session = world.db.session();
    world.replicas.iter().for_each(Server::pause);
    world.write(&session);
    pass(150).await;
    world.primary.mood(Mood::Refusing);
    pass(150).await;
    world.replicas[0].promote();
    world.replicas[0].fork(2, 1200);
    world.replicas[1].stand_at(Some(1150));
    pass(150).await;
    let only = Request::read().preference(Preference::Replica);
    assert!(
        world.goes(&only, &session).is_err(),
        "the write is not on the new history"
    );
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_comes_back_as_another_cluster_is_lost() {
    let world = World::of(1).await;
    world.primary.mood(Mood::Refusing);
    pass(150).await;
    world.primary.identity(Some("9999"));
    world.primary.mood(Mood::Answering);
    pass(150).await;
    let primary = world.node("primary");
    assert!(!primary.is_healthy());
    let error = primary.last_error().unwrap();
    assert!(error.contains("its identity is 9999, not 7301"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_a_server_is_is_asked_when_it_is_met_and_after_it_was_away() {
    let world = World::of(1).await;
    assert_eq!(world.replicas[0].asked_about(Asked::WhoItIs), 1);
    pass(150).await;
    assert_eq!(world.replicas[0].last_asked(), Asked::WhereItStands);
    world.replicas[0].restart();
    pass(110).await;
    let times = world.replicas[0].times().len();
    pass(500).await;
    assert!(world.replicas[0].times().len() > times);
    assert!(world.node("replica-1").is_healthy());
}

#[tokio::test(start_paused = true)]
async fn a_router_may_start_without_its_primary_and_finds_it_later() {
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    let foreign = Server::standby_of(&primary);
    foreign.identity(Some("9999"));
    primary.mood(Mood::Refusing);
    let db = builder(settings().start(Start::ReadOnly))
        .primary(NodeSpec::new(), primary.clone())
        .replica(NodeSpec::new(), replica)
        .replica(NodeSpec::new().name("foreign"), foreign)
        .connect()
        .await
        .unwrap();
    let session = db.session();
    assert!(db.route(&Request::write(), &session).is_err());
    assert!(db.route(&Request::read(), &session).is_ok());
    primary.mood(Mood::Answering);
    pass(300).await;
    assert_eq!(db.node("primary").unwrap().role(), Role::Primary);
    assert!(db.route(&Request::write(), &session).is_ok());
    assert!(!db.node("foreign").unwrap().is_healthy());
    assert!(db.node("replica-1").unwrap().is_healthy());
}

#[tokio::test(start_paused = true)]
async fn a_lost_node_is_tried_less_often_the_longer_an_attempt_takes() {
    for (opening, least, most) in [(0, 90, 105), (50, 15, 25), (400, 6, 9)] {
        let world = World::of(1).await;
        let replica = &world.replicas[0];
        replica.opens_in(millis(opening));
        replica.mood(Mood::Refusing);
        pass(1000).await;
        let before = replica.asked();
        pass(10_000).await;
        let asked = replica.asked() - before;
        assert!((least..=most).contains(&asked), "{opening} ms: {asked}");
        replica.mood(Mood::Answering);
        pass(2000).await;
        assert!(world.node("replica-1").is_healthy());
    }
}

#[tokio::test(start_paused = true)]
async fn the_monitor_ends_with_the_last_handle_and_not_with_the_last_session() {
    let world = World::of(1).await;
    let (first, second) = (world.db.clone(), world.db.clone());
    let session = first.session();
    drop(world.db);
    drop(first);
    let asked = world.primary.asked();
    pass(1000).await;
    assert!(world.primary.asked() > asked, "a handle is left");
    drop(second);
    let asked = (world.primary.asked(), world.replicas[0].asked());
    pass(1000).await;
    assert_eq!((world.primary.asked(), world.replicas[0].asked()), asked);
    drop(session);
}

#[tokio::test(start_paused = true)]
async fn settings_without_end_do_not_kill_the_monitor() {
    let monitor = MonitorSettings::new()
        .interval(Duration::MAX)
        .gap(Duration::MAX)
        .timeout(Duration::MAX);
    let world = World::with(settings().monitor(monitor), vec![NodeSpec::new()]).await;
    world.lose("replica-1");
    pass(10).await;
    assert!(
        world.node("replica-1").is_healthy(),
        "the monitor is still there"
    );
}

#[tokio::test(start_paused = true)]
async fn a_thousand_replicas_are_watched() {
    let world = World::of(1000).await;
    let before = world.replicas[999].asked();
    let begun = time::Instant::now();
    pass(1000).await;
    assert_eq!(begun.elapsed(), millis(1000));
    assert!(world.replicas[999].asked() - before >= 8);
}

/// After a failover that it missed, a standby may have replayed further on the old timeline than the new
/// primary has written on its own.
#[tokio::test(start_paused = true)]
async fn a_standby_of_another_timeline_proves_nothing() {
    let world = World::of(2).await;
    let session = world.db.session();
    world.replicas[0].astray(Some(1));
    world.replicas[0].stand_at(Some(1_000_000));
    world.primary.fork(2, 1100);
    pass(150).await;
    world.primary.commit();
    pass(150).await;
    assert_eq!(world.node("replica-1").fresh_as_of(), Instant::VOID);
    assert!(world.node("replica-1").is_healthy());
    for _ in 0..10 {
        assert_eq!(world.read(&session).0, "replica-2");
        assert_eq!(world.read(&world.db.session()).0, "replica-2");
    }
    // Once it follows, it proves where it stands like any other.
    world.replicas[0].astray(None);
    world.replicas[0].resume();
    pass(150).await;
    assert!(world.node("replica-1").fresh_as_of() > Instant::ORIGIN);
}

/// The same, when the router is started after the failover.
#[tokio::test(start_paused = true)]
async fn a_standby_of_another_timeline_proves_nothing_at_the_start() {
    let primary = Server::primary();
    primary.fork(2, 1100);
    let standby = Server::standby_of(&primary);
    standby.astray(Some(1));
    standby.stand_at(Some(1_000_000));
    let builder = Cluster::builder(Dialect::Postgres, Settings::new());
    let builder = builder.primary(NodeSpec::new(), primary);
    let db = builder
        .replica(NodeSpec::new(), standby)
        .connect()
        .await
        .unwrap();
    let route = db.route(&Request::read(), &db.session()).unwrap();
    assert_eq!(&**route.node().name(), "primary");
}

/// The simulation found it: one that had been away twice stayed ejected though it answered, took no writes, and was asked
/// without a pause.
#[tokio::test(start_paused = true)]
async fn a_primary_that_answers_is_back_however_often_it_was_away() {
    let health = HealthSettings::new().ejection(millis(5000));
    let world = World::with(settings().health(health), vec![NodeSpec::new(); 1]).await;
    for _ in 0..5 {
        for server in [&world.primary, &world.replicas[0]] {
            server.mood(Mood::Refusing);
        }
        pass(150).await;
        for server in [&world.primary, &world.replicas[0]] {
            server.mood(Mood::Answering);
        }
        pass(150).await;
    }
    assert!(world.node("primary").is_healthy());
    assert_eq!(world.node("replica-1").health(), Health::Ejected);
    let before = world.primary.asked();
    pass(1000).await;
    let asked = world.primary.asked() - before;
    assert!(asked <= 11, "asked without a pause: {asked}");
}
