//! Nodes that die, freeze, are not there yet, come back, or change their roles (contracts: `Work`, `Router`,
//! `Backend`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dbrouter::{MonitorSettings, NodeOptions, Promotion, Role, Router, Start};
use tokio::task::JoinHandle;

use super::{
    Handle, Mount, Need, READ, READS, Site, Subject, WRITES, check, error, expect, last, next,
    refusal, until,
};
use crate::Result;
use crate::proxy::{Mode, Proxy};

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{MariaDb, Postgres, Retries, Servers};
    mount
        .case(
            "a_killed_replica_fails_no_read",
            &[Servers, Retries],
            killed_replica_fails_no_read,
        )
        .case(
            "no_connection_is_wanted_of_a_lost_replica",
            &[Servers],
            lost_replica_is_left_alone,
        )
        .case(
            "no_read_waits_for_the_pool_of_a_lost_replica",
            &[Servers, Retries],
            no_read_waits,
        )
        .case(
            "all_replicas_gone_the_primary_serves",
            &[Servers],
            all_replicas_gone,
        )
        .case(
            "a_replica_that_returns_serves_again",
            &[Servers],
            replica_returns,
        )
        .case(
            "a_replica_that_is_not_there_yet_is_no_error",
            &[Servers],
            not_there_yet,
        )
        .case("a_frozen_replica_is_found_out", &[Servers], frozen_replica)
        .case(
            "without_its_primary_a_router_still_reads",
            &[Servers],
            without_its_primary,
        )
        .case("a_router_may_start_read_only", &[Servers], start_read_only)
        .case(
            "a_router_over_standbys_alone_reads_until_one_is_promoted",
            &[Servers],
            standbys_alone,
        )
        .case("a_full_pool_is_no_sick_node", &[], full_pool)
        .case(
            "an_old_primary_that_returns_receives_nothing",
            &[Servers],
            returning_primary,
        )
        .case(
            "a_demoted_primary_takes_no_writes",
            &[Servers],
            demoted_primary,
        )
        .case(
            "a_write_that_waits_for_a_deposed_primary_runs_on_the_new_one",
            &[Servers],
            waiting_write_moves,
        )
        .case(
            "a_transaction_that_waits_for_a_deposed_primary_begins_on_the_new_one",
            &[Servers],
            waiting_transaction_moves,
        )
        .case(
            "a_replica_left_on_the_old_history_is_not_read",
            &[Servers],
            left_behind,
        )
        .case(
            "a_replica_promoted_beside_its_primary_takes_over",
            &[Postgres],
            promoted_beside,
        )
        .case(
            "a_replica_promoted_beside_its_primary_waits_until_that_is_gone_if_it_is_to",
            &[Servers],
            promoted_for_later,
        )
        .case(
            "a_replica_promoted_beside_its_primary_never_takes_over_if_it_is_not_to",
            &[Servers],
            promoted_in_vain,
        )
        .case(
            "a_replica_that_becomes_writable_takes_no_write_from_a_primary_that_lost_a_connection",
            &[MariaDb],
            writable_replica,
        );
}

/// Sixteen readers, half on sessions and half on the root handle, while a replica is killed. Fails with the
/// first read that does.
async fn killed_replica_fails_no_read<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..16)
        .map(|reader| {
            let (db, stop, reads) = (db.clone(), Arc::clone(&stop), Arc::clone(&reads));
            tokio::spawn(async move {
                let handle = if reader % 2 == 0 { db.session() } else { db };
                while !stop.load(Ordering::Relaxed) {
                    handle.get(1).await.map_err(|error| error.to_string())?;
                    reads.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, String>(())
            })
        })
        .collect();
    let more = async |wanted: u64| {
        let goal = reads.load(Ordering::Relaxed) + wanted;
        let count = || reads.load(Ordering::Relaxed);
        let has_failed = || readers.iter().any(JoinHandle::is_finished);
        let reached = crate::wait::until_count(goal, count, has_failed).await;
        check(reached || has_failed(), "the readers stand still")
    };
    more(200).await?;
    site.kill(1).await?;
    more(1000).await?;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await??;
    }
    check(
        reads.load(Ordering::Relaxed) >= 1200,
        "the readers stopped early",
    )
}

async fn lost<S: Subject>(db: &S::Handle, site: &Site<S>, node: usize) -> Result<()> {
    let name = site.name(node).to_owned();
    until(db, "found lost", |status| {
        status.node(&name).is_some_and(|node| !node.healthy)
    })
    .await
}

async fn lost_replica_is_left_alone<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site
        .builder()
        .pool_options(S::pool(4, Duration::from_secs(3600)));
    let db = S::root(builder.connect().await?);
    site.kill(1).await?;
    lost(&db, site, 1).await?;
    for _ in 0..50 {
        let session = db.session();
        session.get(1).await?;
        expect("node", site.number(&last(&session)?.0)?, 2)?;
    }
    Ok(())
}

/// Neither the pool's patience nor the monitor's interval, which are an hour, keeps a read waiting.
async fn no_read_waits<S: Subject>(site: &Site<S>) -> Result<()> {
    let hour = Duration::from_secs(3600);
    let builder = site.builder().pool_options(S::pool(4, hour));
    let db = S::root(
        builder
            .monitor(MonitorSettings::new().interval(hour))
            .connect()
            .await?,
    );
    site.kill(1).await?;
    site.kill(2).await?;
    expect("on the root handle", db.get(1).await?, Some(0))?;
    expect("on a session", db.session().get(1).await?, Some(0))?;
    let status = db.cluster().status();
    let lost = status.nodes.iter().filter(|node| !node.healthy).count();
    expect("lost nodes", lost, 2)?;
    expect("reads on the primary", site.reads(&db, 0).await?, 2)
}

async fn all_replicas_gone<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    for replica in 1..=2 {
        site.kill(replica).await?;
        lost(&db, site, replica).await?;
    }
    for _ in 0..20 {
        let session = db.session();
        session.get(1).await?;
        expect("node", last(&session)?.0, "primary".to_owned())?;
        session.set(1, 1).await?;
    }
    Ok(())
}

async fn replica_returns<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.kill(1).await?;
    lost(&db, site, 1).await?;
    let status = db.cluster().status();
    let shown = status
        .node(site.name(1))
        .and_then(|node| node.last_error.clone());
    let shown = shown.ok_or("no error is shown")?;
    check(!shown.contains("sup3r-secret"), &*shown)?;
    db.set(1, 6).await?;
    site.start(1).await?;
    until(&db, "proved fresh", |status| {
        status
            .node(site.name(1))
            .is_some_and(|node| node.healthy && node.staleness.is_some())
    })
    .await?;
    site.catch_up(1).await?;
    db.cluster().disable(site.name(2))?;
    // Who has seen nothing may read from it, as soon as it is back.
    let session = db.session();
    expect("version", session.get(1).await?, Some(6))?;
    expect("node", site.number(&last(&session)?.0)?, 1)
}

async fn not_there_yet<S: Subject>(site: &Site<S>) -> Result<()> {
    site.stop(1).await?;
    let db = site.connect().await?;
    let status = db.cluster().status();
    let node = status.node(site.name(1)).ok_or("not in the status")?;
    check(
        !node.healthy && node.role == Role::Unknown,
        status.to_string(),
    )?;
    for _ in 0..10 {
        db.get(1).await?;
    }
    site.start(1).await?;
    until(&db, "healthy", |status| {
        status.nodes.iter().all(|node| node.healthy)
    })
    .await
}

async fn frozen_replica<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site.builder().monitor(MonitorSettings::new());
    let db = S::root(builder.connect().await?);
    site.freeze(1)?;
    lost(&db, site, 1).await?;
    for _ in 0..20 {
        let session = db.session();
        session.get(1).await?;
        expect("node", site.number(&last(&session)?.0)?, 2)?;
    }
    site.thaw(1)?;
    until(&db, "back", |status| {
        status.nodes.iter().all(|node| node.healthy)
    })
    .await
}

async fn without_its_primary<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site
        .builder()
        .pool_options(S::pool(4, Duration::from_secs(3)));
    let db = S::root(builder.connect().await?);
    site.kill(0).await?;
    lost(&db, site, 0).await?;
    for _ in 0..20 {
        expect("version", db.session().get(1).await?, Some(0))?;
    }
    error(db.set(1, 1).await, "a write without a primary")?;
    site.start(0).await?;
    until(&db, "complete", |status| {
        status.nodes.iter().all(|node| node.healthy)
    })
    .await?;
    db.set(1, 2).await?;
    expect("version", db.get(1).await?, Some(2))
}

async fn start_read_only<S: Subject>(site: &Site<S>) -> Result<()> {
    site.stop(0).await?;
    let db = S::root(site.builder().start(Start::ReadOnly).connect().await?);
    expect("version", db.get(1).await?, Some(0))?;
    let refused = error(db.set(1, 1).await, "a write without a primary")?;
    let refused = refusal(&*refused)?.to_string();
    check(refused.contains("primary: its role is unknown"), refused)?;
    site.start(0).await?;
    until(&db, "complete", |status| {
        status.nodes.iter().all(|node| node.healthy)
    })
    .await?;
    db.set(1, 1).await
}

/// As at a disaster-recovery site: the primary is none of the routers' nodes.
async fn standbys_alone<S: Subject>(site: &Site<S>) -> Result<()> {
    let connect = async |builder| {
        let builder = Site::<S>::with_time(builder).start(Start::ReadOnly);
        Ok::<_, dbrouter::ConfigError>(S::root(builder.connect().await?))
    };
    let one = connect(S::builder().primary(site.node(1))).await?;
    let two = connect(S::builder().nodes([site.node(2), site.node(1)])).await?;
    for db in [&one, &two] {
        expect("version", db.get(1).await?, Some(0))?;
        expect("in a session", db.session().get(1).await?, Some(0))?;
        let refused = error(db.set(1, 1).await, "a write without a primary")?;
        let refused = refusal(&*refused)?;
        let text = refused.to_string();
        check(
            refused.is_without_primary() && text.contains("it is a replica"),
            text,
        )?;
    }
    site.stop(0).await?;
    site.promote(1).await?;
    for (version, db) in [(1, &one), (2, &two)] {
        let session = db.session();
        check(
            crate::wait::until(async || session.set(1, version).await.is_ok()).await,
            format!(
                "no write is taken after a promotion:\n{}",
                db.cluster().status()
            ),
        )?;
        expect("version", session.get(1).await?, Some(version))?;
        let written = db.cluster().primary();
        expect("the primary", site.number(written.name())?, 1)?;
    }
    Ok(())
}

async fn full_pool<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site
        .builder()
        .pool_options(S::pool(1, Duration::from_secs(2)));
    let db = S::root(builder.connect().await?);
    // Both replicas' only connections are taken.
    let mut streams = Vec::new();
    for replica in 1..=2 {
        let alone = db.session();
        db.cluster().disable(site.name(3 - replica))?;
        let mut rows = alone.stream(READS, "select version from kv");
        next(&mut rows).await.ok_or("no row")??;
        db.cluster().enable(site.name(3 - replica))?;
        streams.push(rows);
    }
    let session = db.session();
    expect("version", session.query(READS, READ).await?, 0)?;
    expect("node", last(&session)?.0, "primary".to_owned())?;
    let status = db.cluster().status();
    check(
        status.nodes.iter().all(|node| node.healthy),
        status.to_string(),
    )?;
    expect("failovers", status.failovers, 2)
}

/// The node that was configured as the primary comes back as a replica of the one that was promoted.
async fn demoted_primary<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.stop(0).await?;
    site.promote(1).await?;
    let session = db.session();
    check(
        crate::wait::until(async || session.set(1, 1).await.is_ok()).await,
        "no write is taken after a promotion",
    )?;
    expect("version", session.get(1).await?, Some(1))?;
    site.rejoin(0, 1).await?;
    until(&db, "known as demoted", |status| {
        let demoted = status.node("primary");
        demoted.is_some_and(|node| node.role == Role::Replica && node.healthy)
    })
    .await?;
    for version in 2..=20 {
        session.set(1, version).await?;
        expect("version", session.get(1).await?, Some(version))?;
        expect(
            "node of the write",
            db.cluster().primary().name().as_ref(),
            site.name(1),
        )?;
    }
    expect("writes on the demoted", site.writes(&db, 0).await?, 0)
}

/// It comes back as it was, and takes itself for the primary.
async fn returning_primary<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.catch_up(1).await?;
    site.kill(0).await?;
    site.promote(1).await?;
    let session = db.session();
    check(
        crate::wait::until(async || session.set(1, 1).await.is_ok()).await,
        "no write is taken after a promotion",
    )?;
    let before = site.writes(&db, 1).await?;
    site.start(0).await?;
    until(&db, "known as a primary", |status| {
        let old = status.node("primary");
        old.is_some_and(|node| node.role == Role::Primary && node.healthy)
    })
    .await?;
    for version in 2..=50 {
        session.set(1, version).await?;
        expect("version", session.get(1).await?, Some(version))?;
        db.get(1).await?;
    }
    expect("writes on the old primary", site.writes(&db, 0).await?, 0)?;
    expect("reads on the old primary", site.reads(&db, 0).await?, 0)?;
    expect(
        "writes on the new one",
        site.writes(&db, 1).await?,
        before + 49,
    )
}

/// A write and a transaction wait for the only connection of the primary while a replica is promoted and the primary goes
/// on answering.
async fn waiting_write_moves<S: Subject>(site: &Site<S>) -> Result<()> {
    moves(site, async |db| db.session().set(1, 7).await).await
}

async fn waiting_transaction_moves<S: Subject>(site: &Site<S>) -> Result<()> {
    moves(site, async |db| {
        let writes = super::body(|tx| {
            Box::pin(async move { tx.execute("update kv set version = 7 where id = 1").await })
        });
        db.session().transact(writes).await
    })
    .await
}

async fn moves<S: Subject>(
    site: &Site<S>,
    write: impl AsyncFnOnce(S::Handle) -> Result<()>,
) -> Result<()> {
    let builder = site.builder().pool_options(S::pool(1, super::PATIENCE));
    let db = S::root(builder.connect().await?);
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let (begin, begun) = tokio::sync::oneshot::channel::<()>();
    let holder = db.session();
    let holds = super::body(move |_| {
        Box::pin(async move {
            begin.send(()).ok();
            released.await.ok();
            Ok(())
        })
    });
    let changes = async {
        until(&db, "waiting for the primary", |status| {
            let primary = status.node("primary");
            primary.is_some_and(|primary| primary.in_flight == 2)
        })
        .await?;
        site.promote(1).await?;
        site.depose(0).await?;
        until(&db, "following the promoted node", |_| {
            db.cluster().primary().name().as_ref() == site.name(1)
        })
        .await?;
        release.send(()).ok();
        Ok(())
    };
    let held = async {
        // What becomes of the transaction that held the connection is its own affair.
        holder.transact(holds).await.ok();
        Ok(())
    };
    let written = async {
        begun.await?;
        write(db.clone()).await
    };
    tokio::try_join!(held, written, changes)?;
    expect("on the new primary", site.ask(1, READ).await?, 7)?;
    expect("on the old one", site.ask(0, READ).await?, 0)?;
    expect("writes on the old one", site.writes(&db, 0).await?, 0)
}

/// The second replica goes on following the old primary, which goes on writing: it has replayed further
/// than the promoted node has written, and lacks everything written there.
async fn left_behind<S: Subject>(site: &Site<S>) -> Result<()> {
    site.promote(1).await?;
    for _ in 0..200 {
        site.execute(0, "update kv set version = version - 1")
            .await?;
    }
    site.catch_up(2).await?;
    let builder = S::builder().primary(site.node(1)).replica(site.node(2));
    let db = S::root(builder.connect().await?);
    let session = db.session();
    for version in 1..=50 {
        session.execute(WRITES, &super::write(version)).await?;
        expect("version", session.query(READS, READ).await?, version)?;
    }
    Ok(())
}

/// A router that has seen the first replica follow the primary, and sees it promoted while the primary goes on
/// (scaleway/docs-content PR 2051).
async fn promote_beside<S: Subject>(site: &Site<S>, promotion: Promotion) -> Result<S::Handle> {
    let builder = S::builder().primary(site.node(0)).replica(site.node(1));
    let db = S::root(builder.promotion(promotion).connect().await?);
    db.session().set(1, 1).await?;
    site.catch_up(1).await?;
    super::serves::<S>(&db, site.name(1), 1).await?;
    site.promote(1).await?;
    // It has a history of its own.
    site.execute(1, "update kv set version = -1 where id = 64")
        .await?;
    until(&db, "known to be promoted", |status| {
        let node = status.node(site.name(1));
        node.is_some_and(|node| node.role == Role::Primary)
    })
    .await?;
    asked_again(&db).await?;
    Ok(db)
}

/// Waits until the monitor has asked several times more.
async fn asked_again<H: Handle>(db: &H) -> Result<()> {
    let begun = db.cluster().status().monitor_rounds;
    until(db, "asked again", |status| {
        status.monitor_rounds >= begun + 5
    })
    .await
}

/// All writes go to one server, and sessions read what they wrote.
async fn only_writes_to<S: Subject>(site: &Site<S>, db: &S::Handle, number: usize) -> Result<()> {
    let other = 1 - number;
    let others = site.writes(db, other).await?;
    let before = site.writes(db, number).await?;
    for version in 2..=21 {
        let session = db.session();
        session.set(1, version).await?;
        super::expect_version::<S>(&session, version).await?;
        super::expect_version::<S>(db, version).await?;
    }
    let written = site.writes(db, number).await? - before;
    expect("writes on the one", written, 20)?;
    let status = db.cluster().status();
    check(!status.contested, status.to_string())?;
    expect("writes on the other", site.writes(db, other).await?, others)
}

async fn promoted_beside<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = promote_beside(site, Promotion::default()).await?;
    only_writes_to(site, &db, 1).await
}

async fn promoted_for_later<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = promote_beside(site, Promotion::WhenPrimaryIsGone).await?;
    only_writes_to(site, &db, 0).await?;
    site.kill(0).await?;
    let written = crate::wait::until(async || db.session().set(1, 100).await.is_ok());
    check(
        written.await,
        "nobody takes over from a primary that is gone",
    )?;
    expect("at the promoted one", site.ask(1, READ).await?, 100)
}

async fn promoted_in_vain<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = promote_beside(site, Promotion::Never).await?;
    only_writes_to(site, &db, 0).await?;
    let before = site.writes(&db, 1).await?;
    site.kill(0).await?;
    lost(&db, site, 0).await?;
    for _ in 0..20 {
        error(db.session().set(1, 100).await, "a write without a primary")?;
    }
    site.start(0).await?;
    let written = crate::wait::until(async || db.session().set(1, 101).await.is_ok());
    check(written.await, "the primary that is back takes no write")?;
    expect("at the primary", site.ask(0, READ).await?, 101)?;
    expect("writes on the other", site.writes(&db, 1).await?, before)
}

/// One connection to a healthy primary breaks, while the monitor's answer takes its time: that is no failover.
async fn writable_replica<S: Subject>(site: &Site<S>) -> Result<()> {
    const SLOW: &str = "update kv set version = version + sleep(10) where id = 64";
    let proxy = Proxy::in_front_of(site.port(0)?).await?;
    let primary = NodeOptions::new(proxy.url(&site.url(0))).name("primary");
    let builder = S::builder().primary(primary).replica(site.node(1));
    let db = S::root(builder.connect().await?);
    let session = db.session();
    session.set(1, 1).await?;
    site.catch_up(1).await?;
    super::serves::<S>(&db, site.name(1), 1).await?;
    proxy.set(Mode::Delay(Duration::from_millis(20)));
    site.administer(1, "set global read_only = OFF").await?;
    until(&db, "known to be writable", |status| {
        let node = status.node(site.name(1));
        node.is_some_and(|node| node.role == Role::Primary)
    })
    .await?;
    for version in 2..=6 {
        let writing = {
            let db = db.clone();
            tokio::spawn(async move { db.session().execute(WRITES, SLOW).await.is_err() })
        };
        let mut connection = 0;
        let found = crate::wait::until(async || {
            let running =
                "select cast(coalesce(max(id), 0) as signed) from information_schema.processlist
                           where info like '%sleep(10)%' and id <> connection_id()";
            connection = site.ask(0, running).await.unwrap_or(0);
            connection > 0
        });
        check(found.await, "the write does not run")?;
        site.end_connection(0, connection).await?;
        // Beside what is found out about the primary.
        for _ in 0..20 {
            let session = db.session();
            // While it is suspect there may be no primary, but another one there is not.
            let written = crate::wait::until(async || session.set(1, version).await.is_ok());
            check(written.await, "no write is taken")?;
            expect("on the primary", site.ask(0, READ).await?, version)?;
            super::expect_version::<S>(&session, version).await?;
        }
        check(writing.await?, "its connection was ended")?;
        expect("primary", &**db.cluster().primary().name(), "primary")?;
    }
    expect("writes on the replica", site.writes(&db, 1).await?, 0)
}
