//! Replicas that die, are not there yet, or come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dbrouter_sqlx::RoutedPool;
use dbrouter_sqlx::dbrouter::{MonitorSettings, Reason, Role, Start};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::Cluster;
use sqlx::Postgres;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinHandle;

use crate::support::{check, cluster, node, on_postgres, router, until};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres(
            "failover::a_killed_standby_fails_no_read",
            killed_standby_fails_no_read,
        ),
        on_postgres(
            "failover::a_stopped_standby_fails_no_read",
            stopped_standby_fails_no_read,
        ),
        on_postgres(
            "failover::all_standbys_gone_fails_no_read",
            all_standbys_gone_fails_no_read,
        ),
        on_postgres(
            "failover::a_standby_that_returns_serves_again",
            standby_returns,
        ),
        on_postgres(
            "failover::a_replica_that_is_not_there_yet_is_no_error",
            not_there_yet,
        ),
        on_postgres("failover::a_router_may_start_read_only", start_read_only),
        on_postgres(
            "failover::a_demoted_primary_takes_no_writes",
            demoted_primary,
        ),
        // Far below the pool's timeout, which is an hour.
        on_postgres(
            "failover::no_read_waits_for_the_pool_of_a_lost_standby",
            no_read_waits,
        )
        .within(Duration::from_secs(30)),
        on_postgres(
            "failover::a_standby_left_on_the_old_timeline_is_not_read",
            left_on_the_old_timeline,
        ),
        on_postgres(
            "failover::a_standby_that_follows_the_promoted_node_is_read",
            follows_the_promoted_node,
        ),
        on_postgres(
            "failover::a_full_pool_is_no_sick_node",
            full_pool_is_no_sick_node,
        ),
    ]
}

const READ: &str = "select version from kv where id = 1";

/// Sixteen readers, half on sessions and half on the root handle, while `fault` is done to the cluster.
/// Fails with the first read that does.
async fn readers_under(
    cluster: &Cluster,
    fault: impl AsyncFnOnce(&Cluster) -> Result<()>,
) -> Result<()> {
    let db = router(cluster).connect().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicU64::new(0));
    let readers: Vec<_> = (0..16)
        .map(|reader| {
            let (db, stop, reads) = (db.clone(), Arc::clone(&stop), Arc::clone(&reads));
            tokio::spawn(async move {
                let session = db.session();
                while !stop.load(Ordering::Relaxed) {
                    match reader % 2 {
                        0 => sqlx::query(READ).fetch_one(&session).await?,
                        _ => sqlx::query(READ).fetch_one(&db).await?,
                    };
                    reads.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, sqlx::Error>(())
            })
        })
        .collect();
    let more = async |wanted: u64| {
        let goal = reads.load(Ordering::Relaxed) + wanted;
        until(&db, "reading on", |_| {
            reads.load(Ordering::Relaxed) >= goal || readers.iter().any(JoinHandle::is_finished)
        })
        .await
    };
    more(500).await?;
    fault(cluster).await?;
    more(3000).await?;
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await??;
    }
    check(
        reads.load(Ordering::Relaxed) >= 3500,
        "the readers stopped early",
    )
}

async fn killed_standby_fails_no_read() -> Result<()> {
    readers_under(&cluster().await?, async |cluster| {
        cluster.standbys()[0].kill()
    })
    .await
}

async fn stopped_standby_fails_no_read() -> Result<()> {
    readers_under(&cluster().await?, async |cluster| {
        cluster.standbys()[0].stop().await
    })
    .await
}

async fn all_standbys_gone_fails_no_read() -> Result<()> {
    readers_under(&cluster().await?, async |cluster| {
        cluster.standbys()[0].kill()?;
        cluster.standbys()[1].kill()
    })
    .await
}

async fn standby_returns() -> Result<()> {
    let cluster = cluster().await?;
    let standby = &cluster.standbys()[0];
    let db = router(&cluster).connect().await?;
    let health = |healthy| {
        move |status: &dbrouter_sqlx::dbrouter::Status| {
            status
                .node(standby.name())
                .is_some_and(|node| node.healthy == healthy)
        }
    };
    standby.kill()?;
    until(&db, "found dead", health(false)).await?;
    let error = db
        .status()
        .node(standby.name())
        .and_then(|node| node.last_error.clone());
    let error = error.ok_or("no error is shown")?;
    check(!error.contains("sup3r-secret"), &*error)?;
    standby.start().await?;
    until(&db, "found alive", health(true)).await?;
    until(&db, "proved fresh", |status| {
        status
            .node(standby.name())
            .is_some_and(|node| node.staleness.is_some())
    })
    .await?;
    db.cluster().disable(cluster.standbys()[1].name())?;
    for _ in 0..10 {
        sqlx::query(READ).fetch_one(&db).await?;
    }
    let served = standby.served("kv").await?.reads;
    check(served == 10, format!("{served} of 10"))
}

async fn not_there_yet() -> Result<()> {
    let cluster = cluster().await?;
    let late = &cluster.standbys()[0];
    late.stop().await?;
    let db = router(&cluster).connect().await?;
    let status = db.status();
    let node = status.node(late.name()).ok_or("not in the status")?;
    check(
        !node.healthy && node.role == Role::Unknown,
        status.to_string(),
    )?;
    for _ in 0..10 {
        sqlx::query(READ).fetch_one(&db).await?;
    }
    late.start().await?;
    until(&db, "healthy", |status| {
        status.nodes.iter().all(|node| node.healthy)
    })
    .await
}

async fn start_read_only() -> Result<()> {
    let cluster = cluster().await?;
    cluster.primary().stop().await?;
    let db = router(&cluster).start(Start::ReadOnly).connect().await?;
    sqlx::query(READ).fetch_one(&db).await?;
    let refused = sqlx::query("delete from kv").execute(&db).await.map(drop);
    let refused = refused.expect_err("there is no primary").to_string();
    check(refused.contains("primary: its role is unknown"), refused)?;
    cluster.primary().start().await?;
    until(&db, "complete", |status| {
        status.nodes.iter().all(|node| node.healthy)
    })
    .await?;
    sqlx::query("delete from kv where id = 64")
        .execute(&db)
        .await?;
    Ok(())
}

/// The node that was configured as the primary comes back as a standby of the one that was promoted.
async fn demoted_primary() -> Result<()> {
    let cluster = cluster().await?;
    let db = router(&cluster).connect().await?;
    let (old, new) = (cluster.primary(), &cluster.standbys()[0]);
    old.stop().await?;
    new.promote().await?;
    old.rejoin(new).await?;
    until(&db, "known as demoted", |status| {
        status
            .node("primary")
            .is_some_and(|node| node.role == Role::Replica)
    })
    .await?;
    let refused = sqlx::query("delete from kv").execute(&db).await.map(drop);
    let refused = refused
        .expect_err("the primary is a standby now")
        .to_string();
    check(refused.contains("primary: it is a replica"), refused)?;
    check(
        new.served("kv").await?.writes == 0,
        "the promoted node wrote",
    )?;
    check(
        db.status().fallbacks(Reason::Write) == 0,
        db.status().to_string(),
    )
}

async fn full_pool_is_no_sick_node() -> Result<()> {
    let cluster = cluster().await?;
    let small = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_millis(50));
    let db = router(&cluster).pool_options(small).connect().await?;
    let mut held = Vec::new();
    for _ in cluster.standbys() {
        held.push(db.acquire_read().await?);
    }
    // Both standbys' pools are full, so the primary serves, and nobody is taken for sick.
    let session = db.session();
    sqlx::query(READ).fetch_one(&session).await?;
    let status = db.status();
    check(
        status.nodes.iter().all(|node| node.healthy),
        status.to_string(),
    )?;
    check(
        status.failovers == 2,
        format!("{} failovers", status.failovers),
    )?;
    check(
        cluster.primary().served("kv").await?.reads == 1,
        "the primary did not serve",
    )
}

/// The second standby goes on following the old primary, which goes on writing: it has replayed further
/// than the promoted node has written, and lacks everything written there.
async fn left_on_the_old_timeline() -> Result<()> {
    let cluster = cluster().await?;
    let [promoted, left] = cluster.standbys() else {
        return check(false, "not two standbys");
    };
    promoted.promote().await?;
    let mut old = cluster.primary().connect().await?;
    for _ in 0..200 {
        sqlx::query("update kv set version = -1")
            .execute(&mut old)
            .await?;
    }
    left.catch_up_with(cluster.primary()).await?;

    let db = RoutedPool::<Postgres>::builder()
        .primary(promoted.url())
        .replica(node(left))
        .connect()
        .await?;
    let session = db.session();
    for version in 1..=200_i64 {
        sqlx::query("update kv set version = $1 where id = 1")
            .bind(version)
            .execute(&session)
            .await?;
        let read: i64 = sqlx::query_scalar(READ).fetch_one(&session).await?;
        check(read == version, format!("{read} instead of {version}"))?;
    }
    let read: i64 = sqlx::query_scalar(READ).fetch_one(&db.session()).await?;
    check(
        read == 200,
        format!("{read}: a session that needs nothing read another history"),
    )?;
    check(
        left.served("kv").await?.reads == 0,
        "the standby left behind was read",
    )
}

async fn follows_the_promoted_node() -> Result<()> {
    let cluster = cluster().await?;
    let [promoted, follower] = cluster.standbys() else {
        return check(false, "not two standbys");
    };
    // Without this, the standby's timeline is only known after its next restartpoint.
    let mut admin = cluster.primary().admin().await?;
    sqlx::query("grant pg_read_all_stats to app")
        .execute(&mut admin)
        .await?;
    drop(admin);
    cluster.primary().stop().await?;
    promoted.promote().await?;
    follower.follow(promoted).await?;
    let db = RoutedPool::<Postgres>::builder()
        .primary(promoted.url())
        .replica(node(follower))
        .connect()
        .await?;
    sqlx::query("update kv set version = 1")
        .execute(&db)
        .await?;
    until(&db, "read from", |_| {
        db.explain(READ)
            .is_ok_and(|decision| *decision.node == *follower.name())
    })
    .await
}

/// The pools are empty, so reads must connect; sqlx's pool would try for an hour. The monitor by itself
/// would look after an hour.
async fn no_read_waits() -> Result<()> {
    let cluster = cluster().await?;
    let hour = Duration::from_secs(3600);
    let db = router(&cluster)
        .pool_options(PgPoolOptions::new().acquire_timeout(hour))
        .monitor(MonitorSettings::new().interval(hour))
        .connect()
        .await?;
    for standby in cluster.standbys() {
        standby.kill()?;
    }
    sqlx::query(READ).fetch_one(&db).await?;
    sqlx::query(READ).fetch_one(&db.session()).await?;
    let status = db.status();
    let lost = |name: &str| status.node(name).is_some_and(|node| !node.healthy);
    check(
        cluster.standbys().iter().all(|node| lost(node.name())),
        status.to_string(),
    )?;
    check(
        cluster.primary().served("kv").await?.reads == 2,
        "the primary did not serve",
    )
}
