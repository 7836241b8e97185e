//! What becomes of a piece of work that fails on its first node: the contract of `Work`.

use dbrouter::{
    Backend, BoxStream, Classification, Classifier, Fault, Health, Intent, NodeSpec, Preference,
    Reason, Router, Terms,
};

use crate::world::{Failure, Mood, Server, World, settings};

/// Takes everything for a read.
struct Trusting;

impl Classifier for Trusting {
    fn classify(&self, _: &str) -> Classification {
        Classification::READ
    }
}

async fn world() -> World {
    World::with(
        settings().classifier(Trusting),
        vec![NodeSpec::new(), NodeSpec::new()],
    )
    .await
}

/// Runs a statement that fails on standbys with one failure and on the primary with another, or with none.
/// Returns where it ran, and how it ended.
async fn run(
    terms: &Terms<Server>,
    on_standbys: Option<&'static str>,
    on_primary: Option<&'static str>,
) -> (Vec<&'static str>, Result<(), &'static str>) {
    let mut ran = Vec::new();
    let run = terms.work().run("select f()", |server, _| {
        let (where_to, failure) = match server.is_standby() {
            true => ("standby", on_standbys),
            false => ("primary", on_primary),
        };
        ran.push(where_to);
        Box::pin(async move { failure.map_or(Ok(()), |failure| Err(Failure(failure))) })
    });
    let ended = run.await.map(drop).map_err(|failure| failure.0);
    (ran, ended)
}

#[tokio::test(start_paused = true)]
async fn a_read_is_run_on_each_node_at_most_once() {
    for failure in ["connection reset", "conflict with recovery"] {
        let world = world().await;
        let session = Terms::new(&world.db).session();
        let (ran, ended) = run(&session, Some(failure), None).await;
        assert_eq!(ran, ["standby", "standby", "primary"], "{failure}");
        assert_eq!(ended, Ok(()));
        let (ran, ended) = run(&session, Some(failure), Some(failure)).await;
        assert!(ran.len() <= 3, "{failure}: {ran:?}");
        assert_eq!(ended, Err(failure));
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_is_never_sent_again() {
    for failure in [
        "connection reset",
        "no room",
        "conflict with recovery",
        "read-only",
    ] {
        let world = world().await;
        let (ran, ended) = run(&Terms::new(&world.db).write(), None, Some(failure)).await;
        assert_eq!((ran, ended), (vec!["primary"], Err(failure)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_statements_own_error_is_the_callers() {
    let world = world().await;
    let (ran, ended) = run(&Terms::new(&world.db), Some("syntax error"), None).await;
    assert_eq!((ran, ended), (vec!["standby"], Err("syntax error")));
    assert_eq!(world.db.status().failovers, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_only_taken_for_a_read_runs_once_on_the_primary() {
    let world = world().await;
    let terms = Terms::new(&world.db);
    let (ran, ended) = run(&terms, Some("read-only"), None).await;
    assert_eq!((ran, ended), (vec!["standby", "primary"], Ok(())));
    assert_eq!(world.db.status().misjudged, 1);
    // And from then on it goes there at once.
    let (ran, _) = run(&terms, Some("read-only"), None).await;
    assert_eq!(ran, ["primary"]);
}

#[tokio::test(start_paused = true)]
async fn an_unclear_refusal_is_remembered_only_if_the_primary_carries_it_out() {
    for (on_primary, misjudged) in [(None, 1), (Some("syntax error"), 0)] {
        let world = world().await;
        let (ran, _) = run(&Terms::new(&world.db), Some("not in recovery"), on_primary).await;
        assert_eq!(ran, ["standby", "primary"]);
        assert_eq!(world.db.status().misjudged, misjudged);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_replayed_yet_is_asked_of_the_primary_unless_only_replicas_are_wanted() {
    let world = world().await;
    let session = Terms::new(&world.db).session();
    let (ran, ended) = run(&session, Some("no such table"), None).await;
    assert_eq!((ran, ended), (vec!["standby", "primary"], Ok(())));
    assert_eq!(session.last_decision().unwrap().reason, Reason::NotReplayed);
    let only = Terms::new(&world.db).preference(Preference::Replica);
    let (ran, ended) = run(&only, Some("no such table"), None).await;
    assert_eq!((ran, ended), (vec!["standby"], Err("no such table")));
}

#[tokio::test(start_paused = true)]
async fn what_the_caller_states_is_not_second_guessed() {
    for failure in ["read-only", "not in recovery", "no such table"] {
        let world = world().await;
        let (ran, ended) = run(&Terms::new(&world.db).read(), Some(failure), None).await;
        assert_eq!((ran, ended), (vec!["standby"], Err(failure)));
        assert_eq!(world.db.status().misjudged, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_passed_by_and_nobody_taken_for_sick() {
    let world = world().await;
    for replica in &world.replicas {
        replica.full(true);
    }
    let (ran, ended) = run(&Terms::new(&world.db), None, None).await;
    assert_eq!((ran, ended), (vec!["primary"], Ok(())));
    assert_eq!(world.db.status().failovers, 2);
    assert!(world.db.nodes().iter().all(|node| node.is_healthy()));
    // A write has nowhere else to go.
    world.primary.full(true);
    let (ran, ended) = run(&Terms::new(&world.db).write(), None, None).await;
    assert_eq!((ran, ended), (vec![], Err("no room")));
}

#[tokio::test(start_paused = true)]
async fn when_no_node_was_tried_the_refusal_is_the_error() {
    let world = world().await;
    world.db.disable("primary").unwrap();
    let (ran, ended) = run(&Terms::new(&world.db).write(), None, None).await;
    assert_eq!((ran, ended), (vec![], Err("refused by the router")));
}

/// A stream that hands out so many rows and then fails.
fn rows(count: usize, failure: Option<&'static str>) -> BoxStream<'static, Result<usize, Failure>> {
    Box::pin(async_stream::stream! {
        for row in 0..count {
            yield Ok(row);
        }
        if let Some(failure) = failure {
            yield Err(Failure(failure));
        }
    })
}

async fn drain(mut stream: BoxStream<'_, Result<usize, Failure>>) -> (usize, Option<&'static str>) {
    let mut count = 0;
    while let Some(row) = std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await {
        match row {
            Ok(_) => count += 1,
            Err(failure) => return (count, Some(failure.0)),
        }
    }
    (count, None)
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_run_again_only_before_its_first_row() {
    for (before, expected) in [(0, (5, None)), (2, (2, Some("connection reset")))] {
        let world = world().await;
        let mut runs = 0;
        let stream = Terms::new(&world.db)
            .work()
            .stream("select f()", move |_, intent| {
                assert_eq!(intent, Intent::Read);
                runs += 1;
                match runs {
                    1 => rows(before, Some("connection reset")),
                    _ => rows(5, None),
                }
            });
        assert_eq!(drain(stream).await, expected);
    }
}

#[test]
fn the_scripted_faults_are_told_apart() {
    assert_eq!(Server::fault(&Failure("read-only")), Fault::ReadOnly);
    assert_eq!(Server::fault(&Failure("whatever")), Fault::Unavailable);
}

/// Runs a statement that breaks its connection wherever it runs.
async fn run_breaking(db: &dbrouter::Cluster<Server>, sql: &str) {
    let run = Terms::new(db).session().work().run(sql, |_, _| {
        Box::pin(async { Err::<(), _>(Failure("connection reset")) })
    });
    assert_eq!(run.await.map(drop).unwrap_err().0, "connection reset");
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_breaks_its_connection_everywhere_costs_no_node_its_place() {
    let world = world().await;
    let others = world.db.session();
    let health = |name| world.node(name).health();
    for run in 0..500 {
        run_breaking(&world.db, "select repeat('x', 100000000)").await;
        // The first run could not be told from a node's loss; then the monitor asked, and the node answered.
        if run == 0 {
            crate::world::pass(10).await;
        }
        for name in ["primary", "replica-1", "replica-2"] {
            assert_eq!(health(name), Health::Healthy, "{name}, run {run}");
        }
        assert_eq!(world.read(&others).0, "replica-2", "run {run}");
    }
    let status = world.db.status();
    let failures: u64 = status.nodes.iter().map(|node| node.failures).sum();
    assert_eq!(failures, 1, "{status}");
}

#[tokio::test(start_paused = true)]
async fn ever_new_statements_that_break_their_connections_eject_no_node() {
    let world = world().await;
    for number in 0..50 {
        run_breaking(&world.db, &format!("select {number}")).await;
        crate::world::pass(10).await;
        for node in &world.db.nodes() {
            assert_eq!(node.health(), Health::Healthy, "{node:?} after {number}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_replicas_that_are_lost_at_once_are_found_lost_and_no_statement_is_blamed() {
    let world = world().await;
    for replica in &world.replicas {
        replica.mood(Mood::Refusing);
    }
    let (ran, ended) = run(&Terms::new(&world.db), Some("connection reset"), None).await;
    assert_eq!((ran.len(), ended), (3, Ok(())));
    crate::world::pass(10).await;
    for name in ["replica-1", "replica-2"] {
        assert_eq!(world.node(name).health(), Health::Ejected);
    }
    // They are back, and one of them is lost again: it is suspect at once because of the same statement.
    for replica in &world.replicas {
        replica.mood(Mood::Answering);
    }
    crate::world::pass(1000).await;
    world.db.disable("replica-1").unwrap();
    let (ran, _) = run(&Terms::new(&world.db), Some("connection reset"), None).await;
    assert_eq!(ran, ["standby", "primary"]);
    assert_eq!(world.node("replica-2").health(), Health::Suspect);
}

#[tokio::test(start_paused = true)]
async fn a_read_goes_to_another_node_if_one_refuses_the_login_whatever_the_error() {
    for refusal in [
        "no such role",
        "syntax error",
        "not in recovery",
        "read-only",
    ] {
        for terms in [
            |terms: Terms<Server>| terms,
            |terms: Terms<Server>| terms.read(),
        ] {
            let world = world().await;
            world.replicas[1].refuses_logins(Some(refusal));
            let (ran, ended) = run(&terms(Terms::new(&world.db)), None, None).await;
            assert_eq!((ran, ended), (vec!["standby"], Ok(())), "{refusal}");
            // If all replicas do, the primary serves it; and if that does, the error is the caller's.
            world.replicas[0].refuses_logins(Some(refusal));
            let (ran, ended) = run(&terms(Terms::new(&world.db)), None, None).await;
            assert_eq!((ran, ended), (vec!["primary"], Ok(())), "{refusal}");
            world.primary.refuses_logins(Some(refusal));
            let (ran, ended) = run(&terms(Terms::new(&world.db)), None, None).await;
            assert_eq!((ran, ended), (vec![], Err(refusal)));
            assert_eq!(world.db.status().misjudged, 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_the_primary_refuses_the_login_is_told_so() {
    let world = world().await;
    world.primary.refuses_logins(Some("no such role"));
    let (ran, ended) = run(&Terms::new(&world.db).write(), None, None).await;
    assert_eq!((ran, ended), (vec![], Err("no such role")));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_replayed_yet_is_never_remembered_and_the_primarys_own_error_is_the_callers() {
    let world = world().await;
    let terms = Terms::new(&world.db);
    for _ in 0..2 {
        let (ran, ended) = run(&terms, Some("no such table"), Some("no such table")).await;
        assert_eq!(
            (ran, ended),
            (vec!["standby", "primary"], Err("no such table"))
        );
        let (ran, ended) = run(&terms, Some("no such table"), None).await;
        assert_eq!((ran, ended), (vec!["standby", "primary"], Ok(())));
        assert_eq!(world.db.status().misjudged, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_statement_that_breaks_one_connection_and_is_wrong_elsewhere_costs_no_node_its_place() {
    let world = world().await;
    for run in 0..20 {
        let mut ran = 0;
        let work = Terms::new(&world.db)
            .work()
            .run("select 'too large'", |_, _| {
                ran += 1;
                let failure = match ran {
                    1 => "connection reset",
                    _ => "syntax error",
                };
                Box::pin(async move { Err::<(), _>(Failure(failure)) })
            });
        let ended = work.await.map(drop).map_err(|failure| failure.0);
        assert_eq!((ran, ended), (2, Err("syntax error")));
        if run == 0 {
            crate::world::pass(10).await;
        }
        for node in &world.db.nodes() {
            assert_eq!(node.health(), Health::Healthy, "{node:?}, run {run}");
        }
    }
}
