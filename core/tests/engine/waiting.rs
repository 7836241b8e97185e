//! Reads that wait for a replica rather than fall back to the primary.

use std::time::Duration;

use dbrouter::{
    BoxStream, Cluster, Dialect, FallbackLimit, Intent, NodeSpec, Preference, Reason, Request,
    Router, Settings, Terms, WhyNot, with_session,
};
use tokio::time::{self, Instant};

use crate::world::{Failure, Server, World, millis, pass, rarely, settings};

const WAIT: Duration = millis(400);

/// One replica that stands still, and a session that has written since.
async fn lagging() -> (World, Terms<Server>) {
    let world = World::of(1).await;
    let session = Terms::new(&world.db).session();
    world.replicas[0].pause();
    world.write(&session.state());
    (world, session)
}

/// The ways to a connection.
#[derive(Clone, Copy, Debug)]
enum Way {
    Run,
    Stream,
    Acquire,
    Begin,
}

const WAYS: [Way; 4] = [Way::Run, Way::Stream, Way::Acquire, Way::Begin];

/// Where a read goes that ends at once, and why.
async fn reads(terms: &Terms<Server>, way: Way) -> (String, Reason) {
    let work = terms.read().work();
    let route = match way {
        Way::Run => {
            let run = work.run("select", |_, _| Box::pin(async { Ok(()) }));
            Some(run.await.unwrap().1)
        }
        Way::Stream => {
            let mut rows = work.stream("select", |_, _| {
                Box::pin(async_stream::stream! { yield Ok::<_, Failure>(1) })
            });
            next(&mut rows).await.unwrap().unwrap();
            None
        }
        Way::Acquire => {
            let mut work = work;
            Some(work.acquire().await.unwrap().1)
        }
        Way::Begin => {
            let begun = work.begin(|server| {
                let server = server.clone();
                async move { dbrouter::Backend::acquire(&server).await }
            });
            Some(begun.await.unwrap().1)
        }
    };
    let last = || terms.last_decision().unwrap();
    let decision = route.map_or_else(last, |route| route.decision());
    (decision.node.to_string(), decision.reason)
}

async fn next<T>(stream: &mut BoxStream<'_, T>) -> Option<T> {
    std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await
}

fn replica() -> (String, Reason) {
    ("replica-1".to_owned(), Reason::Policy)
}

fn primary() -> (String, Reason) {
    ("primary".to_owned(), Reason::NotFresh)
}

/// What a future returns, and how much virtual time it took.
async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let begun = Instant::now();
    let output = future.await;
    (output, begun.elapsed())
}

/// Within the millisecond to which timers are rounded.
fn is_about(time: Duration, expected: Duration) -> bool {
    time >= expected && time <= expected + millis(2)
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_comes_in_time_serves_the_read() {
    for way in WAYS {
        let (world, session) = lagging().await;
        let patient = session.wait_for_fresh(WAIT);
        let resume = async {
            pass(150).await;
            world.replicas[0].resume();
        };
        let ((went, took), ()) = tokio::join!(timed(reads(&patient, way)), resume);
        assert_eq!(went, replica(), "{way:?}");
        assert!(took >= millis(150) && took < WAIT, "{way:?}: {took:?}");
        let status = world.db.status();
        assert_eq!(status.fallbacks(Reason::NotFresh), 0, "{way:?}");
        assert_eq!(status.node("primary").unwrap().reads, 0, "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn if_none_comes_in_time_the_primary_serves_it() {
    for way in WAYS {
        let (world, session) = lagging().await;
        let (went, took) = timed(reads(&session.wait_for_fresh(WAIT), way)).await;
        assert_eq!(went, primary(), "{way:?}");
        assert!(is_about(took, WAIT), "{way:?}: {took:?}");
        assert_eq!(world.db.status().fallbacks(Reason::NotFresh), 1, "{way:?}");
        let status = world.db.status();
        assert_eq!(status.node("primary").unwrap().reads, 1, "{way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_being_told_to_nobody_waits() {
    let (_world, session) = lagging().await;
    for terms in [session.clone(), session.wait_for_fresh(Duration::ZERO)] {
        let (went, took) = timed(reads(&terms, Way::Run)).await;
        assert_eq!((went, took), (primary(), Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_finds_a_replica_waits_for_nothing() {
    let world = World::of(1).await;
    let patient = Terms::new(&world.db).session().wait_for_fresh(WAIT);
    let (went, took) = timed(reads(&patient, Way::Run)).await;
    assert_eq!((went, took), (replica(), Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn where_only_replicas_are_wanted_it_is_refused_after_the_wait_and_not_before() {
    let request = Request::read()
        .preference(Preference::Replica)
        .wait_for_fresh(WAIT);
    let (world, session) = lagging().await;
    let session = session.state();
    let (refused, took) = timed(world.db.route_patiently(&request, &session)).await;
    let refused = refused.unwrap_err();
    let why = |index: usize| refused.refusals()[index].why;
    assert_eq!(why(0), WhyNot::Preference);
    assert!(matches!(why(1), WhyNot::NotFresh(Some(_))), "{refused}");
    assert!(is_about(took, WAIT), "{took:?}");
    let resume = async {
        pass(150).await;
        world.replicas[0].resume();
    };
    let (routed, ()) = tokio::join!(world.db.route_patiently(&request, &session), resume);
    assert_eq!(&**routed.unwrap().node().name(), "replica-1");
}

#[tokio::test(start_paused = true)]
async fn the_root_and_whoever_is_in_a_scope_waits_as_well() {
    let (world, session) = lagging().await;
    let root = Terms::new(&world.db);
    let patient = root.wait_for_fresh(WAIT);
    let (went, took) = timed(with_session(session.state(), reads(&patient, Way::Run))).await;
    assert_eq!(went, primary());
    assert!(is_about(took, WAIT), "{took:?}");
    // The root must see what the session has written.
    let (went, took) = timed(reads(&patient, Way::Run)).await;
    assert_eq!(went, primary());
    assert!(is_about(took, WAIT), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_monitor_is_asked_at_once() {
    let world = World::with(settings().monitor(rarely()), vec![NodeSpec::new()]).await;
    for server in [&world.primary, &world.replicas[0]] {
        server.latency(millis(1));
    }
    let session = Terms::new(&world.db).session();
    // What was read a moment ago on the primary is on no replica yet, as far as is known.
    reads(&session.preference(Preference::Primary), Way::Run).await;
    let (went, took) = timed(reads(&session.wait_for_fresh(WAIT), Way::Run)).await;
    assert_eq!(went, replica());
    assert!(took < millis(20), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_held_while_it_waits() {
    let settings = settings().fallback_limit(FallbackLimit::reads(1));
    let world = World::with(settings, vec![NodeSpec::new()]).await;
    let session = Terms::new(&world.db).session();
    world.replicas[0].pause();
    world.write(&session.state());
    let patient = session.wait_for_fresh(WAIT);
    let look = async {
        for _ in 0..9 {
            pass(40).await;
            let status = world.db.status();
            assert!(status.nodes.iter().all(|node| node.in_flight == 0));
            assert_eq!(status.fallback_places.unwrap().taken, 0);
            // So nobody else is refused for it.
            drop(world.db.route(&Request::read(), &session.state()).unwrap());
        }
    };
    let (went, ()) = tokio::join!(reads(&patient, Way::Run), look);
    assert_eq!(went, primary());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_leaves_nothing_behind() {
    let (world, session) = lagging().await;
    let patient = session.wait_for_fresh(WAIT);
    for way in WAYS {
        time::timeout(millis(100), reads(&patient, way))
            .await
            .unwrap_err();
    }
    let status = world.db.status();
    assert!(status.nodes.iter().all(|node| node.in_flight == 0));
    assert!(status.nodes.iter().all(|node| node.reads == 0));
    assert!(status.fallbacks.is_empty());
    world.replicas[0].resume();
    pass(250).await;
    assert_eq!(reads(&patient, Way::Run).await, replica());
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_what_no_time_brings() {
    // While it may be writing, a session's reads are the primary's.
    let (_world, session) = lagging().await;
    let patient = session.wait_for_fresh(WAIT);
    let writer = session.state().hold_open();
    let (went, took) = timed(reads(&patient, Way::Run)).await;
    let expected = ("primary".to_owned(), Reason::OpenWriter);
    assert_eq!((went, took), (expected, Duration::ZERO));
    let only = patient.preference(Preference::Replica).read().work();
    let (refused, took) = timed(async { only.begin(|_| async { Ok(()) }).await.map(drop) }).await;
    assert_eq!((refused.is_err(), took), (true, Duration::ZERO));
    drop(writer);

    // A replica that is lost does not become fresh.
    let (world, session) = lagging().await;
    world.lose("replica-1");
    let (went, took) = timed(reads(&session.wait_for_fresh(WAIT), Way::Run)).await;
    let expected = ("primary".to_owned(), Reason::NoHealthyReplica);
    assert_eq!((went, took), (expected, Duration::ZERO));

    // Nor does anything where nobody looks.
    let single = Cluster::single(Dialect::Postgres, Settings::new(), Server::primary());
    let session = Terms::new(&single).session();
    drop(session.write().work().acquire().await.unwrap());
    let (went, took) = timed(reads(&session.wait_for_fresh(WAIT), Way::Run)).await;
    let expected = ("primary".to_owned(), Reason::NoReplica);
    assert_eq!((went, took), (expected, Duration::ZERO));
}

/// The primary has the answer, and the replica may never have it.
#[tokio::test(start_paused = true)]
async fn what_a_replica_does_not_know_is_asked_of_the_primary_at_once() {
    let world = World::with(settings().classifier(Trusting), vec![NodeSpec::new()]).await;
    let patient = Terms::new(&world.db).session().wait_for_fresh(WAIT);
    let run = patient.work().run("select", |server, _| {
        let known = !server.is_standby();
        Box::pin(async move { known.then_some(()).ok_or(Failure("no such table")) })
    });
    let (run, took) = timed(run).await;
    assert_eq!(run.unwrap().1.reason(), Reason::NotReplayed);
    assert_eq!(took, Duration::ZERO);
}

/// Takes everything for a read.
struct Trusting;

impl dbrouter::Classifier for Trusting {
    fn classify(&self, _: &str) -> dbrouter::Classification {
        dbrouter::Classification::READ
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_last_replica_that_could_end_it() {
    for (disable, reason) in [(true, Reason::NoReplica), (false, Reason::NoHealthyReplica)] {
        let (world, session) = lagging().await;
        let patient = session.wait_for_fresh(WAIT);
        let end = async {
            pass(20).await;
            match disable {
                true => world.db.disable("replica-1").unwrap(),
                false => world.lose("replica-1"),
            }
        };
        let ((went, took), ()) = tokio::join!(timed(reads(&patient, Way::Run)), end);
        assert_eq!(went, ("primary".to_owned(), reason));
        assert!(took < millis(30), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_it_has_waited_it_does_not_wait_again() {
    let world = World::of(2).await;
    let session = Terms::new(&world.db).session();
    world.replicas[0].pause();
    world.replicas[1].pause();
    world.write(&session.state());
    // Nobody has room: first the replica is awaited in vain, then the primary fails it, and no node is left but
    // one that does not show what must be seen.
    world.primary.full(true);
    let mut work = session.wait_for_fresh(WAIT).read().work();
    let (failed, took) = timed(work.acquire()).await;
    assert_eq!(failed.unwrap_err().0, "no room");
    assert!(is_about(took, WAIT), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_wait_goes_on_after_a_node_has_failed_it() {
    let world = World::of(2).await;
    let session = Terms::new(&world.db).session();
    pass(250).await;
    world.replicas[0].pause();
    world.write(&session.state());
    pass(250).await;
    // The one that is fresh has no room.
    world.replicas[1].full(true);
    let mut work = session.wait_for_fresh(WAIT).read().work();
    let resume = async {
        pass(100).await;
        world.replicas[0].resume();
    };
    let (acquired, ()) = tokio::join!(work.acquire(), resume);
    assert_eq!(&**acquired.unwrap().1.node().name(), "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_write_does_not_wait() {
    let (_world, session) = lagging().await;
    let mut work = session.wait_for_fresh(WAIT).write().work();
    let (written, took) = timed(work.acquire()).await;
    assert_eq!(written.unwrap().1.intent(), Intent::Write);
    assert_eq!(took, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_wait_without_end_is_one() {
    let (world, session) = lagging().await;
    let patient = session.wait_for_fresh(Duration::MAX);
    let resume = async {
        pass(40_000).await;
        world.replicas[0].resume();
    };
    let (went, ()) = tokio::join!(reads(&patient, Way::Run), resume);
    assert_eq!(went, replica());
}

/// Who states nothing waits a moment at the fourth read in a row that falls back, the eighth, the sixteenth.
#[tokio::test(start_paused = true)]
async fn a_session_that_reads_without_a_pause_waits_a_moment_now_and_then() {
    let (world, session) = lagging().await;
    let mut waited = Vec::new();
    for read in 1..=20 {
        let (went, took) = timed(reads(&session, Way::Run)).await;
        assert_eq!(went, primary());
        if !took.is_zero() {
            assert!(is_about(took, millis(5)), "{took:?}");
            waited.push(read);
        }
    }
    assert_eq!(waited, [4, 8, 16]);
    assert_eq!(world.db.status().fallbacks(Reason::NotFresh), 20);
}
