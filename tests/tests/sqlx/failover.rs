//! Replicas that die, are not there yet, or come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dbrouter_sqlx::RoutedPool;
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Result, wait};
use sqlx::Postgres;
use tokio::task::JoinHandle;

use crate::support::{check, cluster, node, on_postgres, router, until};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres(
            "failover::a_stopped_standby_fails_no_read",
            stopped_standby_fails_no_read,
        ),
        on_postgres(
            "failover::all_standbys_gone_fails_no_read",
            all_standbys_gone_fails_no_read,
        ),
        // Far below the pool's timeout, which is an hour.
        on_postgres(
            "failover::a_standby_that_follows_the_promoted_node_is_read",
            follows_the_promoted_node,
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
        let count = || reads.load(Ordering::Relaxed);
        let has_failed = || readers.iter().any(JoinHandle::is_finished);
        let reached = wait::until_count(goal, count, has_failed).await;
        check(reached || has_failed(), "the readers stand still")
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
