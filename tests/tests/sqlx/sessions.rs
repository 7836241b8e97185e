//! Read your writes, monotonic reads, and what a session is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use dbrouter_sqlx::dbrouter::{Hold, Reason};
use dbrouter_sqlx::{PoolOptions, RoutedPool, Session};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::{Cluster, Node};
use futures_util::TryStreamExt;
use sqlx::{Acquire, Executor, Postgres};
use tokio::time::timeout;

use crate::support::{check, cluster, on_postgres, router, until};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres(
            "sessions::stay_on_one_replica_and_never_go_back_in_time",
            never_go_back_in_time,
        ),
        on_postgres("sessions::unseen_commits_are_seen", unseen_commits_are_seen),
        on_postgres(
            "sessions::unseen_transactions_keep_the_pools_hooks",
            lanes_keep_hooks,
        ),
        on_postgres(
            "sessions::asynchronous_commits_are_read",
            asynchronous_commits_are_read,
        ),
        on_postgres(
            "sessions::closing_waits_for_no_session_that_holds",
            closing_waits_for_no_session,
        ),
    ]
}

const READ: &str = "select version from kv where id = 1";
const WRITE: &str = "update kv set version = $1 where id = 1";

/// A router over a cluster whose standbys replay nothing from now on.
async fn stalled() -> Result<(Cluster, RoutedPool<Postgres>)> {
    let cluster = cluster().await?;
    let db = router(&cluster).connect().await?;
    for standby in cluster.standbys() {
        standby.pause_replay().await?;
    }
    Ok((cluster, db))
}

/// Writes a version and reads it back, so many times. Returns how many reads were stale.
async fn pairs<'e, W, R>(times: i64, writer: W, reader: R) -> Result<usize>
where
    W: Executor<'e, Database = Postgres> + Copy,
    R: Executor<'e, Database = Postgres> + Copy,
{
    let mut stale = 0;
    for version in 1..=times {
        sqlx::query(WRITE).bind(version).execute(writer).await?;
        let read: i64 = sqlx::query_scalar(READ).fetch_one(reader).await?;
        stale += usize::from(read < version);
    }
    Ok(stale)
}

/// The version, and the port of the server that showed it.
async fn look(session: &Session<Postgres>) -> Result<(i64, i32)> {
    let both = sqlx::query_as("select version, inet_server_port() from kv where id = 1");
    Ok(both.fetch_one(&session.read()).await?)
}

/// The standby at that port, and the one that is not.
fn home_and_other(cluster: &Cluster, port: i32) -> Result<(&Node, &Node)> {
    match cluster.standbys() {
        [one, two] if i32::from(one.port()) == port => Ok((one, two)),
        [one, two] if i32::from(two.port()) == port => Ok((two, one)),
        _ => Err("home is no standby, or there are not two".into()),
    }
}

async fn never_go_back_in_time() -> Result<()> {
    let cluster = cluster().await?;
    let db = router(&cluster).connect().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicI64::new(0));
    let writer = tokio::spawn({
        let (writer, stop) = (db.session(), Arc::clone(&stop));
        let acknowledged = Arc::clone(&acknowledged);
        async move {
            let mut version = 0_i64;
            while !stop.load(Ordering::Relaxed) {
                version += 1;
                sqlx::query(WRITE).bind(version).execute(&writer).await?;
                acknowledged.store(version, Ordering::SeqCst);
            }
            Ok::<_, sqlx::Error>(())
        }
    });
    let session = db.session();
    let mut newest = 0;
    let mut ports = BTreeSet::new();
    for _ in 0..200 {
        let (version, port) = look(&session).await?;
        check(
            version >= newest,
            format!("from {newest} back to {version}"),
        )?;
        newest = version;
        ports.insert(port);
    }
    let home = ports.pop_first().ok_or("no port")?;
    check(
        ports.is_empty(),
        format!("the session read from {home} and from {ports:?}"),
    )?;
    let (killed, other) = home_and_other(&cluster, home)?;
    killed.kill()?;

    let mut on_other = 0;
    // Until there were as many of either as show something, whatever the machine's speed.
    while on_other <= 1000 || acknowledged.load(Ordering::SeqCst) <= 100 {
        let told = acknowledged.load(Ordering::SeqCst);
        let (version, port) = look(&session).await?;
        // A standby may show a commit a moment before the primary does: see the conformance suite's case.
        let bound = match port == i32::from(cluster.primary().port()) {
            true => newest.min(told),
            false => newest,
        };
        check(
            version >= bound,
            format!("from {newest} back to {version}, on {port}"),
        )?;
        newest = newest.max(version);
        on_other += usize::from(port == i32::from(other.port()));
    }
    stop.store(true, Ordering::Relaxed);
    writer.await??;
    Ok(())
}

/// What a library does that takes anything a connection can be acquired from.
async fn write_in_a_transaction<'a>(
    db: impl Acquire<'a, Database = Postgres>,
    version: i64,
) -> Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query(WRITE).bind(version).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

async fn unseen_commits_are_seen() -> Result<()> {
    let (cluster, db) = stalled().await?;
    let session = db.session();
    for version in 1..=200_i64 {
        write_in_a_transaction(&session, version).await?;
        let after: i64 = sqlx::query_scalar(READ).fetch_one(&session).await?;
        check(
            after == version,
            format!("{after} after an unseen commit of {version}"),
        )?;
    }
    for version in 201..=400_i64 {
        write_in_a_transaction(&db, version).await?;
        let after: i64 = sqlx::query_scalar(READ).fetch_one(&db).await?;
        check(
            after == version,
            format!("{after} after an unseen commit of {version}"),
        )?;
    }
    // Once the connections are back, nothing keeps the reads on the primary but freshness.
    for standby in cluster.standbys() {
        standby.resume_replay().await?;
    }
    until(&db, "empty", |status| {
        status.nodes.iter().all(|node| node.in_flight == 0)
    })
    .await?;
    until(&db, "back on the replicas", |_| {
        db.explain(READ)
            .is_ok_and(|decision| decision.reason == Reason::Policy)
    })
    .await
}

/// With `synchronous_commit = off` a commit is acknowledged before it is flushed, let alone replayed.
async fn asynchronous_commits_are_read() -> Result<()> {
    let cluster = cluster().await?;
    let mut app = cluster.primary().admin().await?;
    app.execute("alter role app set synchronous_commit = off")
        .await?;
    let db = router(&cluster).connect().await?;
    let session = db.session();
    let setting: String = sqlx::query_scalar("show synchronous_commit")
        .fetch_one(&session.write())
        .await?;
    check(setting == "off", setting)?;
    let stale = pairs(1000, &session, &session).await?;
    check(stale == 0, format!("{stale} stale reads of 1000"))?;
    // And reads do come back to the standbys once the commits are flushed.
    until(&db, "back on the replicas", |_| {
        session
            .explain(READ)
            .is_ok_and(|decision| &*decision.node != "primary")
    })
    .await
}

/// A transaction begun through sqlx's own trait has connections that the pool's options have set up.
async fn lanes_keep_hooks() -> Result<()> {
    let cluster = cluster().await?;
    let options = PoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move {
            sqlx::query("set application_name = 'shop'")
                .execute(connection)
                .await
                .map(drop)
        })
    });
    let db = router(&cluster).pool_options(options).connect().await?;
    let mut tx = Acquire::begin(&db).await?;
    let name: String = sqlx::query_scalar("show application_name")
        .fetch_one(&mut *tx)
        .await?;
    check(name == "shop", name)
}

/// sqlx's pools wait for all their connections when they are closed, those included that sessions keep.
async fn closing_waits_for_no_session() -> Result<()> {
    let cluster = cluster().await?;
    let db = router(&cluster)
        .hold_connection(Hold::ForLife)
        .connect()
        .await?;
    let (idle, busy) = (db.session(), db.session());
    sqlx::query(READ).fetch_one(&idle).await?;
    let mut rows = sqlx::query("select version from kv").fetch(&busy);
    rows.try_next().await?;
    let closing = async {
        let ends = async { while matches!(rows.try_next().await, Ok(Some(_))) {} };
        tokio::join!(db.close(), ends)
    };
    timeout(Duration::from_secs(20), closing).await?;
    Ok(())
}
