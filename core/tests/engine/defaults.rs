//! Each default is what its documentation says, by what can be observed.

use std::time::Duration;

use dbrouter::{NodeSpec, Preference, Reason, Request, Router, Settings, Terms};

use crate::world::{Failure, Mood, Server, World, builder, millis, pass};

#[test]
fn settings_show_the_documented_defaults() {
    let shown = format!("{:?}", Settings::new());
    for part in [
        "preference: ReplicaPreferred",
        "clock: SystemClock",
        "interval: 100ms",
        "gap: 1ms",
        "timeout: 1s",
        "commits: MayBeAsynchronous",
        "refresh: 30s",
        "ejection: 500ms",
        "longest_ejection: 30s",
        "forgiveness: 60s",
        "suspicions: 5",
        "slow_start: 5s",
        "acquire_limit: 250ms",
        "standstill_limit: 1s",
        "retries: 3",
        "wait_for_primary: 0ns",
        "start: WithPrimary",
        "hold: WhileBusy(10ms)",
        "max_staleness: Some(60s)",
        "fallback_limit: None",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert_eq!(Preference::default(), Preference::ReplicaPreferred);
}

#[test]
fn a_node_has_weight_one_and_no_labels() {
    let shown = format!("{:?}", NodeSpec::new());
    assert!(shown.contains("name: None, weight: 1, tags: {}"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_round_comes_every_100_ms_and_an_answer_is_awaited_for_one_second() {
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    let db = builder(Settings::new())
        .primary(NodeSpec::new(), primary.clone())
        .replica(NodeSpec::new(), replica.clone())
        .connect()
        .await
        .unwrap();
    // The primary is asked twice while the router connects, to see who follows it.
    pass(1050).await;
    let times = primary.times()[1..].to_vec();
    assert_eq!(times.len(), 11);
    let whole = |gap: Duration| gap.as_millis() == 100 || gap.as_millis() == 101;
    assert!(
        times[1..].windows(2).all(|two| whole(two[1] - two[0])),
        "{times:?}"
    );
    replica.mood(Mood::Hanging);
    pass(1000).await;
    assert!(db.node("replica-1").unwrap().is_healthy());
    pass(110).await;
    assert!(!db.node("replica-1").unwrap().is_healthy());
}

/// The default policy is `Sticky` over `PeakEwma`.
#[tokio::test(start_paused = true)]
async fn sessions_stay_and_the_root_goes_where_a_read_would_be_done_sooner() {
    let settings = Settings::new();
    let world = World::with(settings, vec![NodeSpec::new(); 2]).await;
    // Both are as far away.
    for server in &world.replicas {
        server.latency(millis(1));
    }
    pass(5000).await;
    let session = world.db.session();
    let (home, _) = world.read(&session);
    for _ in 0..5 {
        assert_eq!(world.read(&session), (home.clone(), Reason::Sticky));
    }
    // By the work under way …
    let root = world.db.current_session();
    let busy = world.db.route(&Request::read(), &root).unwrap();
    for _ in 0..5 {
        assert_ne!(world.read(&root).0, crate::world::name(&busy));
    }
    drop(busy);
    // … and by what a read has taken, here to fail at once.
    let failing = Terms::new(&world.db).read();
    let mut failed = Vec::new();
    for _ in 0..20 {
        let run = failing.work().run("select 1", |server, _| {
            let fails = server.is(&world.replicas[0]);
            failed.push(fails);
            Box::pin(async move {
                match fails {
                    true => Err(Failure("conflict with recovery")),
                    false => Ok(()),
                }
            })
        });
        drop(run.await.unwrap());
    }
    let failed = failed.into_iter().filter(|failed| *failed).count();
    assert!(failed <= 5, "{failed} of 20 began where all fail");
}

#[cfg(feature = "sql")]
#[tokio::test(start_paused = true)]
async fn statements_are_classified_by_the_dialect() {
    use dbrouter::{Classifier, Cluster, Dialect, Sql};
    for (dialect, sql) in [
        (Dialect::Postgres, Sql::postgres()),
        (Dialect::MariaDb, Sql::mysql()),
        (Dialect::Sqlite, Sql::sqlite()),
    ] {
        let db = Cluster::single(dialect, Settings::new(), Server::primary());
        for text in [
            "select 1",
            "select [a](1)",
            "insert into t values (1)",
            "table t",
            "begin",
        ] {
            assert_eq!(db.classify(text), sql.classify(text), "{text}");
        }
    }
}

#[cfg(not(feature = "sql"))]
#[tokio::test(start_paused = true)]
async fn without_a_classifier_nothing_is_a_read() {
    let world = World::with(Settings::new(), vec![]).await;
    assert_eq!(
        world.db.classify("select 1"),
        dbrouter::Classification::UNKNOWN
    );
}
