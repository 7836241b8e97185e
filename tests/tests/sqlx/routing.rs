//! What goes where, by the servers' own accounts.

use std::time::Duration;

use dbrouter_sqlx::dbrouter::policy::{Random, RoundRobin, WeightedRandom, WeightedRoundRobin};
use dbrouter_sqlx::dbrouter::{MonitorSettings, Reason};
use dbrouter_sqlx::{PoolOptions, RoutedPool};
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Result, wait};
use sqlx::{Executor, PgPool, Postgres};

use crate::support::{ACQUIRE_LIMIT, check, cluster, node, on_postgres, router};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres(
            "routing::explaining_changes_nothing",
            explaining_changes_nothing,
        ),
        on_postgres(
            "routing::checkouts_ping_after_a_while",
            checkouts_ping_after_a_while,
        ),
        on_postgres(
            "routing::writes_reach_the_primary_alone",
            writes_reach_the_primary_alone,
        ),
        on_postgres("routing::random_is_uniform", random_is_uniform),
        on_postgres("routing::weights_are_kept", weights_are_kept),
        on_postgres(
            "routing::replica_connections_are_read_only",
            replica_connections_are_read_only,
        ),
        on_postgres(
            "routing::pools_that_exist_can_be_used",
            pools_that_exist_can_be_used,
        ),
        on_postgres(
            "routing::a_single_pool_takes_everything",
            a_single_pool_takes_everything,
        ),
        on_postgres(
            "routing::every_decision_is_explained",
            every_decision_is_explained,
        ),
    ]
}

const READ: &str = "select version from kv where id = 1";
const WRITE: &str = "update kv set version = version + 1 where id = 1";

async fn read(db: &RoutedPool<Postgres>, times: usize) -> Result<()> {
    for _ in 0..times {
        // Eventual, so that nothing but the policy decides.
        sqlx::query(READ).fetch_one(&db.eventual()).await?;
    }
    Ok(())
}

/// Reads of `kv` that each node has served, the primary first.
async fn reads(cluster: &Cluster) -> Result<Vec<i64>> {
    let mut reads = Vec::new();
    for node in cluster.nodes() {
        reads.push(node.served("kv").await?.reads);
    }
    Ok(reads)
}

async fn writes_reach_the_primary_alone() -> Result<()> {
    let cluster = cluster().await?;
    let db = router(&cluster).connect().await?;
    let session = db.session();
    for _ in 0..50 {
        sqlx::query(WRITE).execute(&db).await?;
        sqlx::query("insert into kv values (1000, 0) on conflict (id) do nothing")
            .execute(&session)
            .await?;
        let mut tx = session.begin().await?;
        sqlx::query(WRITE).execute(&mut *tx).await?;
        tx.commit().await?;
        // A CTE that writes, and a locking read: neither is a read.
        sqlx::query("with w as (update kv set version = version returning id) select id from w")
            .fetch_all(&db)
            .await?;
        sqlx::query("select id from kv where id = 2 for update")
            .fetch_one(&session)
            .await?;
        sqlx::query(READ).fetch_one(&db.eventual()).await?;
    }
    let primary = cluster.primary().served("kv").await?;
    check(
        primary.writes == 200,
        format!("the primary served {primary:?}"),
    )?;
    check(
        primary.reads == 50,
        format!("the locking reads are the primary's: {primary:?}"),
    )?;
    for standby in cluster.standbys() {
        let served = standby.served("kv").await?;
        check(
            served.writes == 0,
            format!("{} served {served:?}", standby.name()),
        )?;
    }
    let reads: i64 = reads(&cluster).await?.iter().skip(1).sum();
    check(
        reads == 50,
        format!("the standbys served {reads} reads of 50"),
    )
}

/// Reads until each standby has served one.
async fn standbys_are_read(db: &RoutedPool<Postgres>, cluster: &Cluster) -> Result<()> {
    let all = wait::until(async || {
        let read = read(db, 1).await.is_ok();
        read && reads(cluster)
            .await
            .is_ok_and(|reads| !reads[1..].contains(&0))
    });
    check(all.await, format!("{:?}", reads(cluster).await?))
}

/// Pearson's χ² of the counts against equal or weighted expectations.
fn chi_squared(counts: &[i64], weights: &[f64]) -> f64 {
    let total: i64 = counts.iter().sum();
    let sum: f64 = weights.iter().sum();
    let terms = counts.iter().zip(weights).map(|(count, weight)| {
        let expected = total as f64 * weight / sum;
        (*count as f64 - expected).powi(2) / expected
    });
    terms.sum()
}

/// χ² with one degree of freedom is above this in one of a thousand samples.
const ONE_IN_A_THOUSAND: f64 = 10.83;

async fn random_is_uniform() -> Result<()> {
    let cluster = cluster().await?;
    let db = router(&cluster).policy(Random::seeded(7)).connect().await?;
    read(&db, 2000).await?;
    let reads = reads(&cluster).await?;
    let chi_squared = chi_squared(&reads[1..], &[1.0, 1.0]);
    check(
        reads[0] == 0 && chi_squared < ONE_IN_A_THOUSAND,
        format!("{reads:?}, χ² {chi_squared}"),
    )
}

async fn weights_are_kept() -> Result<()> {
    let cluster = cluster().await?;
    let [first, second] = cluster.standbys() else {
        return check(false, "not two standbys");
    };
    let builder = || {
        RoutedPool::<Postgres>::builder()
            .primary(cluster.primary().url())
            .replica(node(first).weight(3))
            .replica(node(second).weight(1))
            .acquire_limit(ACQUIRE_LIMIT)
    };
    let in_turn = builder()
        .policy(WeightedRoundRobin::new())
        .connect()
        .await?;
    read(&in_turn, 1000).await?;
    let reads_in_turn = reads(&cluster).await?;
    check(
        reads_in_turn == [0, 750, 250],
        format!("in turn: {reads_in_turn:?}"),
    )?;

    for node in cluster.nodes() {
        node.forget_served().await?;
    }
    let at_random = builder()
        .policy(WeightedRandom::seeded(7))
        .connect()
        .await?;
    read(&at_random, 2000).await?;
    let reads = reads(&cluster).await?;
    let chi_squared = chi_squared(&reads[1..], &[3.0, 1.0]);
    check(
        chi_squared < ONE_IN_A_THOUSAND,
        format!("at random: {reads:?}, χ² {chi_squared}"),
    )
}

async fn replica_connections_are_read_only() -> Result<()> {
    // A server that would write if it were let.
    let cluster = Cluster::start(0).await?;
    let url = cluster.primary().url();
    let pretended = RoutedPool::<Postgres>::builder()
        .primary(url.clone())
        .replica(url)
        .connect()
        .await?;
    let node = pretended
        .cluster()
        .node("replica-1")
        .ok_or("no such node")?;
    let setting: String = sqlx::query_scalar("show default_transaction_read_only")
        .fetch_one(node.backend().pool())
        .await?;
    check(setting == "on", setting)?;
    // Being no replica by its own account, it is not used as one.
    let decision = pretended.explain("select 1")?;
    check(
        &*decision.node == "primary" && decision.reason == Reason::NoReplica,
        decision.to_string(),
    )
}

async fn pools_that_exist_can_be_used() -> Result<()> {
    let cluster = cluster().await?;
    let primary = PgPool::connect(&cluster.primary().url()).await?;
    let mut replicas = Vec::new();
    for standby in cluster.standbys() {
        replicas.push(PgPool::connect(&standby.url()).await?);
    }
    let db = RoutedPool::from_pools(primary, replicas).await?;
    sqlx::query(WRITE).execute(&db).await?;
    standbys_are_read(&db, &cluster).await?;
    check(
        cluster.primary().served("kv").await?.writes == 1,
        "the write is not the primary's",
    )
}

async fn a_single_pool_takes_everything() -> Result<()> {
    let cluster = cluster().await?;
    let db = RoutedPool::single(PgPool::connect(&cluster.primary().url()).await?);
    let session = db.session();
    sqlx::query(WRITE).execute(&session).await?;
    let version: i64 = sqlx::query_scalar(READ).fetch_one(&session).await?;
    check(version == 1, format!("version {version}"))?;
    check(
        db.explain("select 1")?.reason == Reason::NoReplica,
        format!("{:?}", db.explain("select 1")),
    )?;

    // It can grow replicas later.
    for standby in cluster.standbys() {
        db.add_replica(node(standby))?;
    }
    crate::support::until(&db, "healthy", |status| {
        status.nodes.iter().all(|node| node.healthy)
    })
    .await?;
    standbys_are_read(&db, &cluster).await
}

async fn every_decision_is_explained() -> Result<()> {
    let cluster = cluster().await?;
    let db = router(&cluster).connect().await?;
    let session = db.session();
    let explain = |sql: &str| db.explain(sql).map(|decision| decision.reason);
    check(explain("select 1")? == Reason::Policy, "a read")?;
    check(explain("delete from kv")? == Reason::Write, "a write")?;
    check(
        explain("select who_knows()")? == Reason::Unclassified,
        "an unknown function",
    )?;
    check(
        explain("set search_path = x")? == Reason::SessionState,
        "session state",
    )?;

    session.execute(READ).await?;
    let first = session.last_decision().ok_or("no decision")?;
    session.execute(READ).await?;
    let second = session.last_decision().ok_or("no decision")?;
    check(
        first.reason == Reason::Policy && second.reason == Reason::Sticky,
        format!("{first}; {second}"),
    )?;
    check(first.node == second.node, format!("{first}; {second}"))
}

async fn explaining_changes_nothing() -> Result<()> {
    let cluster = cluster().await?;
    let db = router(&cluster).connect().await?;
    let session = db.session();
    session.execute(READ).await?;
    let before = (
        session.last_decision(),
        db.status().nodes.iter().map(|node| node.reads).sum::<u64>(),
    );
    for sql in [READ, WRITE, "select who_knows()"] {
        session.explain(sql)?;
        db.explain(sql)?;
    }
    let after = (
        session.last_decision(),
        db.status().nodes.iter().map(|node| node.reads).sum::<u64>(),
    );
    check(before == after, format!("{before:?}, then {after:?}"))?;
    check(
        db.status().fallbacks.is_empty(),
        format!("{:?}", db.status().fallbacks),
    )?;
    check(
        session.explain(READ)?.reason == Reason::Sticky,
        "it does not know the session's replica",
    )
}

/// All connections to the standbys are cut while they are idle. A checkout that pings finds out; one that
/// does not has the read run again elsewhere.
async fn checkouts_ping_after_a_while() -> Result<()> {
    let cluster = cluster().await?;
    for (window, failovers) in [(Duration::ZERO, 0), (Duration::from_secs(3600), 1)] {
        let one = PoolOptions::new().max_connections(1);
        let db = router(&cluster)
            .pool_options(one)
            .ping_after(window)
            // Nobody but the read itself looks at the standbys.
            .monitor(MonitorSettings::new().interval(Duration::from_secs(3600)))
            .policy(RoundRobin::new())
            .connect()
            .await?;
        read(&db, 2).await?;
        for standby in cluster.standbys() {
            let cut = "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity \
                       where usename = 'app' and application_name = '' and query like '%version from kv%'";
            let cut: i64 = sqlx::query_scalar(cut)
                .fetch_one(&mut standby.admin().await?)
                .await?;
            check(cut == 1, format!("{cut} connections were cut"))?;
        }
        read(&db, 1).await?;
        let status = db.status();
        check(
            (status.failovers > 0) == (failovers > 0),
            format!("{} failovers with a window of {window:?}", status.failovers),
        )?;
    }
    Ok(())
}
