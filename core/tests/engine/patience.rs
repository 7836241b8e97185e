//! How long work waits for a node that neither serves it nor refuses: nobody waits longer than once, and nobody
//! that need not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dbrouter::{
    BoxStream, Classification, Classifier, Health, NodeSpec, Router, Settings, Terms, WhyNot,
};
use tokio::time;

use crate::world::{Failure, Mood, Server, World, millis, pass, settings};

/// Takes everything for a read.
struct Trusting;

impl Classifier for Trusting {
    fn classify(&self, _: &str) -> Classification {
        Classification::READ
    }
}

async fn world(settings: Settings, replicas: usize) -> World {
    let specs = vec![NodeSpec::new(); replicas];
    World::with(settings.classifier(Trusting), specs).await
}

/// Runs a read that hangs on frozen servers. Says whether it ran on a standby, and how long it took.
async fn read(terms: &Terms<Server>, frozen: &[Server]) -> (Result<bool, &'static str>, u128) {
    let begun = time::Instant::now();
    let run = terms.work().run("select 1", |server, _| {
        let standby = server.is_standby();
        let hangs = frozen.iter().any(|frozen| frozen.is(server));
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok(standby)
        })
    });
    let ended = run.await.map(|(standby, _)| standby);
    (
        ended.map_err(|failure| failure.0),
        begun.elapsed().as_millis(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_waited_for_no_longer_than_the_limit_if_another_node_would_serve() {
    let world = world(settings().acquire_limit(millis(250)), 2).await;
    world.replicas[1].stuck(true);
    let session = Terms::new(&world.db).session();
    let (ended, waited) = read(&session, &[]).await;
    assert_eq!(ended, Ok(true), "the other replica");
    assert!((250..260).contains(&waited), "{waited}");
    // The server answers the monitor, so it is the pool that fails. Nobody else waits for it.
    let node = world.node("replica-2");
    assert_eq!(node.health(), Health::Healthy);
    assert_eq!(
        node.pool_error().as_deref(),
        Some("no connection within 250ms")
    );
    let status = world.db.status();
    assert_eq!(status.node("replica-2").unwrap().failures, 0);
    let line = "replica-2 answers, but its pool gives no connection: no connection within 250ms";
    assert!(status.to_string().contains(line), "{status}");
    for _ in 0..4 {
        let (ended, waited) = read(&Terms::new(&world.db).session(), &[]).await;
        assert_eq!((ended, waited), (Ok(true), 0));
    }
    world.replicas[1].stuck(false);
    pass(10).await;
    assert_eq!(node.pool_error(), None);
    let explained = Terms::new(&world.db).session().read();
    let (_, route) = explained.work().acquire().await.unwrap();
    assert_eq!(&**route.node().name(), "replica-2");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_gone_costs_the_limit_once() {
    let world = world(settings(), 2).await;
    world.replicas[1].stuck(true);
    world.replicas[1].mood(Mood::Hanging);
    // As many as the pool has connections; more would take it for a full one, and wait for the monitor's word.
    let reads = (0..10).map(|_| {
        let terms = Terms::new(&world.db).session();
        tokio::spawn(async move { read(&terms, &[]).await })
    });
    for read in reads.collect::<Vec<_>>() {
        let (ended, waited) = read.await.unwrap();
        assert_eq!(ended, Ok(true));
        assert!(waited <= 260, "{waited}");
    }
    let (_, waited) = read(&Terms::new(&world.db).session(), &[]).await;
    assert_eq!(waited, 0);
    pass(1100).await;
    assert_eq!(world.node("replica-2").health(), Health::Ejected);
}

/// A write waits for the monitor's word as well.
#[tokio::test(start_paused = true)]
async fn a_read_that_no_other_node_would_serve_stays_with_a_node_that_is_only_doubted() {
    let world = world(settings(), 1).await;
    world.replicas[0].pause();
    let session = Terms::new(&world.db).session();
    world.write(&session.state());
    world.primary.stuck(true);
    let reading = tokio::spawn(async move { read(&session, &[]).await });
    pass(10).await;
    world.primary.mood(Mood::Hanging);
    world.lose("primary");
    pass(600).await;
    assert_eq!(world.node("primary").health(), Health::Suspect);
    world.primary.mood(Mood::Answering);
    world.primary.stuck(false);
    let (ended, waited) = reading.await.unwrap();
    assert_eq!(ended, Ok(false), "the primary");
    assert!(waited >= 600, "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_waited_for() {
    let world = world(settings(), 2).await;
    world.replicas[1].at_most(1);
    let session = Terms::new(&world.db).session().read();
    let (held, route) = session.work().acquire().await.unwrap();
    assert_eq!(&**route.node().name(), "replica-2");
    let waiting = {
        let terms = Terms::new(&world.db).session();
        tokio::spawn(async move { read(&terms, &[]).await })
    };
    pass(2000).await;
    assert!(!waiting.is_finished());
    drop((held, route));
    assert_eq!(waiting.await.unwrap().0, Ok(true));
    let node = world.node("replica-2");
    assert_eq!(node.health(), Health::Healthy);
    assert_eq!(world.db.status().node("replica-2").unwrap().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn where_no_other_node_would_serve_a_connection_is_waited_for() {
    let world = world(settings(), 1).await;
    world.db.disable("primary").unwrap();
    world.replicas[0].stuck(true);
    let waiting = {
        let terms = Terms::new(&world.db).session();
        tokio::spawn(async move { read(&terms, &[]).await })
    };
    pass(5000).await;
    world.replicas[0].stuck(false);
    let (ended, waited) = waiting.await.unwrap();
    assert_eq!(ended, Ok(true));
    assert!(waited >= 5000, "{waited}");
}

/// Nodes that are not fit are tried when nothing else is left, but nobody waits for their pools for long.
#[tokio::test(start_paused = true)]
async fn a_node_that_is_tried_for_want_of_a_better_one_is_waited_for_no_longer_than_the_limit() {
    let world = world(settings(), 1).await;
    let session = Terms::new(&world.db).session();
    world.replicas[0].mood(Mood::Refusing);
    world.primary.mood(Mood::Refusing);
    pass(200).await;
    world.primary.stuck(true);
    let (ended, waited) = read(&session, &[]).await;
    assert_eq!(ended, Err("refused by the router"));
    assert!((250..270).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_statement_on_a_frozen_server_is_run_elsewhere_once_that_is_known() {
    let world = world(settings(), 2).await;
    let frozen = [world.replicas[1].clone()];
    let session = Terms::new(&world.db).session();
    let reading = {
        let (terms, frozen) = (session.clone(), frozen.clone());
        tokio::spawn(async move { read(&terms, &frozen).await })
    };
    pass(10).await;
    world.replicas[1].mood(Mood::Hanging);
    let (ended, waited) = reading.await.unwrap();
    assert_eq!(ended, Ok(true), "the other replica");
    // The monitor's interval and its time limit.
    assert!((1000..=1110).contains(&waited), "{waited}");
    assert_eq!(world.node("replica-2").health(), Health::Ejected);
    assert_eq!(world.node("replica-2").in_flight(), 0);
    assert_eq!(world.db.status().failovers, 1);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_shown_nothing_as_well_and_one_that_has_not() {
    for shown in [0, 1] {
        let world = world(settings(), 2).await;
        let frozen = world.replicas[1].clone();
        let session = Terms::new(&world.db).session();
        let mut rows = session
            .work()
            .stream("select 1", move |server, _| rows(server.is(&frozen), shown));
        let mut next = async || std::future::poll_fn(|cx| rows.as_mut().poll_next(cx)).await;
        if shown == 1 {
            assert!(next().await.unwrap().unwrap(), "a row of the frozen one");
        }
        world.replicas[1].mood(Mood::Hanging);
        let more = time::timeout(Duration::from_secs(60), next()).await;
        match shown {
            0 => assert!(!more.unwrap().unwrap().unwrap(), "a row of the other"),
            _ => assert!(more.is_err(), "rows of two servers do not mix"),
        }
    }
}

/// Rows that say whether their server hangs, which it does after so many.
fn rows(hangs: bool, shown: usize) -> BoxStream<'static, Result<bool, Failure>> {
    Box::pin(async_stream::stream! {
        for row in 0.. {
            if hangs && row == shown {
                std::future::pending::<()>().await;
            }
            yield Ok(hangs);
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_slow_statement_on_a_server_that_answers_is_left_alone() {
    let world = world(settings(), 2).await;
    let frozen = [world.replicas[1].clone()];
    let reading = {
        let terms = Terms::new(&world.db).session();
        tokio::spawn(async move { read(&terms, &frozen).await })
    };
    pass(60_000).await;
    assert!(!reading.is_finished());
    // Nor is it given up because another one's connection broke.
    world.lose("replica-2");
    pass(1000).await;
    assert!(!reading.is_finished());
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_no_other_node_would_run_is_left_where_it_is() {
    let world = world(settings(), 1).await;
    world.db.disable("primary").unwrap();
    let frozen = [world.replicas[0].clone()];
    let reading = {
        let terms = Terms::new(&world.db).session();
        tokio::spawn(async move { read(&terms, &frozen).await })
    };
    pass(10).await;
    world.replicas[0].mood(Mood::Hanging);
    pass(5000).await;
    assert_eq!(world.node("replica-1").health(), Health::Ejected);
    assert!(!reading.is_finished());
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn a_write_is_left_where_it_is() {
    let world = world(settings(), 2).await;
    let sent = Arc::new(AtomicUsize::new(0));
    let writing = {
        let (terms, sent) = (Terms::new(&world.db).write(), Arc::clone(&sent));
        tokio::spawn(async move {
            let run = terms.work().run("insert", |_, _| {
                sent.fetch_add(1, Ordering::SeqCst);
                Box::pin(std::future::pending::<Result<(), Failure>>())
            });
            run.await.map(drop)
        })
    };
    pass(10).await;
    world.primary.mood(Mood::Hanging);
    pass(10_000).await;
    assert!(!writing.is_finished());
    assert_eq!(sent.load(Ordering::SeqCst), 1);
    writing.abort();
}

#[tokio::test(start_paused = true)]
async fn a_read_is_tried_on_so_many_more_nodes() {
    for (retries, tried) in [(0, 1), (1, 2), (3, 4), (100, 11)] {
        let world = world(settings().retries(retries), 10).await;
        let session = Terms::new(&world.db).session();
        let mut ran = 0;
        let run = session.work().run("select 1", |_, _| {
            ran += 1;
            Box::pin(async { Err::<(), _>(Failure("conflict with recovery")) })
        });
        assert_eq!(run.await.map(drop).unwrap_err().0, "conflict with recovery");
        assert_eq!(ran, tried, "{retries}");
        assert_eq!(world.db.status().failovers, tried - 1);
        assert!(world.db.nodes().iter().all(|node| node.is_healthy()));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_primary_calls_a_conflict_is_the_callers() {
    let world = world(settings(), 2).await;
    let primary = Terms::new(&world.db)
        .session()
        .preference(dbrouter::Preference::PrimaryPreferred);
    let mut ran = 0;
    let run = primary.work().run("select 1", |_, _| {
        ran += 1;
        Box::pin(async { Err::<(), _>(Failure("conflict with recovery")) })
    });
    assert_eq!(run.await.map(drop).unwrap_err().0, "conflict with recovery");
    assert_eq!(ran, 1);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_nothing_is_refused() {
    let primary = Server::primary();
    let connecting = crate::world::builder(settings().acquire_limit(Duration::ZERO))
        .primary(NodeSpec::new(), primary)
        .connect();
    let error = connecting.await.unwrap_err();
    assert_eq!(error.field(), "acquire_limit");
    assert!(error.to_string().contains("above zero"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_suspect_says_why() {
    let world = world(settings().monitor(crate::world::rarely()), 1).await;
    world.replicas[0].mood(Mood::Hanging);
    world.lose("replica-1");
    world.db.disable("primary").unwrap();
    let request = dbrouter::Request::read().preference(dbrouter::Preference::Replica);
    let mut other = request.clone();
    other.exclude(world.node("primary").id());
    let session = world.db.session();
    // It is tried, since nothing else is left …
    assert_eq!(world.went(&request, &session).0, "replica-1");
    // … unless it has just failed.
    other.exclude(world.node("replica-1").id());
    let refused = world.goes(&other, &session).unwrap_err();
    assert!(
        refused
            .refusals()
            .iter()
            .any(|refusal| refusal.why == WhyNot::JustFailed)
    );
    assert_eq!(world.node("replica-1").health(), Health::Suspect);
}
