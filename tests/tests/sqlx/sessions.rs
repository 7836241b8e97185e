//! Read your writes, monotonic reads, and what a session is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dbrouter_sqlx::dbrouter::Reason;
use dbrouter_sqlx::{RoutedPool, Session, with_session};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::{Cluster, Node};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Acquire, Executor, Postgres};

use crate::support::{check, cluster, on_postgres, router, until};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres(
            "sessions::read_their_writes_while_replay_is_paused",
            session_reads_its_writes,
        ),
        on_postgres(
            "sessions::the_root_reads_its_writes_while_replay_is_paused",
            root_reads_its_writes,
        ),
        on_postgres(
            "sessions::eventual_reads_do_go_stale",
            eventual_reads_do_go_stale,
        ),
        on_postgres(
            "sessions::others_writes_keep_nobody_off_the_replicas",
            sessions_are_independent,
        ),
        on_postgres(
            "sessions::stay_on_one_replica_and_never_go_back_in_time",
            never_go_back_in_time,
        ),
        on_postgres(
            "sessions::a_lagging_replica_takes_over_nothing",
            lagging_replica_takes_over_nothing,
        ),
        on_postgres(
            "sessions::transactions_see_their_commit",
            transactions_see_their_commit,
        ),
        on_postgres(
            "sessions::what_a_rolled_back_transaction_read_stays_read",
            what_a_rolled_back_transaction_read_stays_read,
        ),
        on_postgres(
            "sessions::reads_without_pause_leave_the_primary",
            reads_without_pause_leave_the_primary,
        )
        // Other cases' load would make pauses between the reads.
        .alone(),
        on_postgres(
            "sessions::a_rollback_keeps_nobody_off_the_replicas",
            rollback_is_no_write,
        ),
        on_postgres("sessions::unseen_commits_are_seen", unseen_commits_are_seen),
        on_postgres(
            "sessions::a_held_connection_keeps_reads_on_the_primary",
            held_connection,
        ),
        on_postgres(
            "sessions::unseen_transactions_keep_the_pools_hooks",
            lanes_keep_hooks,
        ),
        on_postgres("sessions::ambient_sessions_nest", ambient_sessions_nest),
        on_postgres(
            "sessions::asynchronous_commits_are_read",
            asynchronous_commits_are_read,
        ),
        on_postgres(
            "sessions::a_failed_write_counts_as_a_write",
            failed_writes_count,
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

async fn session_reads_its_writes() -> Result<()> {
    let (_cluster, db) = stalled().await?;
    let session = db.session();
    let stale = pairs(1000, &session, &session).await?;
    check(stale == 0, format!("{stale} stale reads of 1000"))?;
    check(
        db.status().fallbacks(Reason::NotFresh) == 1000,
        db.status().to_string(),
    )
}

async fn root_reads_its_writes() -> Result<()> {
    let (_cluster, db) = stalled().await?;
    let stale = pairs(1000, &db, &db).await?;
    check(stale == 0, format!("{stale} stale reads of 1000"))
}

/// The two cases above can fail: this one is they, with the guarantee switched off.
async fn eventual_reads_do_go_stale() -> Result<()> {
    let (_cluster, db) = stalled().await?;
    let session = db.session();
    let stale = pairs(1000, &session, &session.eventual()).await?;
    check(
        stale == 1000,
        format!("{stale} stale session reads of 1000"),
    )?;
    let stale = pairs(1000, &db, &db.eventual()).await?;
    check(stale == 1000, format!("{stale} stale root reads of 1000"))
}

async fn sessions_are_independent() -> Result<()> {
    let (cluster, db) = stalled().await?;
    let (writer, reader) = (db.session(), db.session());
    for version in 1..=50_i64 {
        sqlx::query(WRITE).bind(version).execute(&writer).await?;
        sqlx::query(READ).fetch_one(&reader).await?;
    }
    let mut served = 0;
    for standby in cluster.standbys() {
        served += standby.served("kv").await?.reads;
    }
    check(
        served == 50,
        format!("the standbys served {served} of the reader's 50 reads"),
    )
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
    let writer = tokio::spawn({
        let (writer, stop) = (db.session(), Arc::clone(&stop));
        async move {
            let mut version = 0_i64;
            while !stop.load(Ordering::Relaxed) {
                version += 1;
                sqlx::query(WRITE).bind(version).execute(&writer).await?;
            }
            Ok::<_, sqlx::Error>(version)
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
    for _ in 0..2000 {
        let (version, port) = look(&session).await?;
        check(
            version >= newest,
            format!("from {newest} back to {version}, on {port}"),
        )?;
        newest = version;
        on_other += usize::from(port == i32::from(other.port()));
    }
    stop.store(true, Ordering::Relaxed);
    let written = writer.await??;
    check(
        on_other > 1000,
        format!("{on_other} of 2000 reads on the other standby"),
    )?;
    check(
        written > 100,
        format!("only {written} writes went on meanwhile"),
    )
}

/// With the other standby's replay paused, the session whose standby dies has nowhere to go but the
/// primary: the lagging one would take it back in time.
async fn lagging_replica_takes_over_nothing() -> Result<()> {
    let cluster = cluster().await?;
    let db = router(&cluster).connect().await?;
    let session = db.session();
    let (_, home) = look(&session).await?;
    let (killed, lagging) = home_and_other(&cluster, home)?;
    lagging.pause_replay().await?;

    let writer = db.session();
    for version in 1..=20_i64 {
        sqlx::query(WRITE).bind(version).execute(&writer).await?;
    }
    killed.catch_up_with(cluster.primary()).await?;
    let (seen, port) = look(&session).await?;
    check(
        seen == 20 && port == home,
        format!("version {seen} on {port}"),
    )?;
    killed.kill()?;
    for _ in 0..100 {
        let (version, port) = look(&session).await?;
        check(
            version == 20,
            format!("from 20 back to {version} on {port}"),
        )?;
        check(
            port == i32::from(cluster.primary().port()),
            format!("read on {port}"),
        )?;
    }
    // A session that has seen nothing may read from the lagging one.
    let (version, port) = look(&db.session()).await?;
    check(
        version == 0 && port == i32::from(lagging.port()),
        format!("{version} on {port}"),
    )
}

async fn transactions_see_their_commit() -> Result<()> {
    let (_cluster, db) = stalled().await?;
    for version in 1..=100_i64 {
        let session = db.session();
        let mut tx = session.begin().await?;
        sqlx::query(WRITE).bind(version).execute(&mut *tx).await?;
        // Outside the transaction nothing is to be seen yet.
        let outside: i64 = sqlx::query_scalar(READ).fetch_one(&session).await?;
        check(
            outside < version,
            format!("{outside} before the commit of {version}"),
        )?;
        tx.commit().await?;
        let after: i64 = sqlx::query_scalar(READ).fetch_one(&session).await?;
        check(
            after == version,
            format!("{after} after the commit of {version}"),
        )?;
    }
    Ok(())
}

async fn rollback_is_no_write() -> Result<()> {
    let (_cluster, db) = stalled().await?;
    let mut tx = db.begin().await?;
    sqlx::query(WRITE).bind(9_i64).execute(&mut *tx).await?;
    tx.rollback().await?;
    let decision = db.explain(READ)?;
    check(decision.reason == Reason::Policy, decision.to_string())?;
    let version: i64 = sqlx::query_scalar(READ).fetch_one(&db).await?;
    check(version == 0, format!("rolled back, and {version} is there"))
}

async fn what_a_rolled_back_transaction_read_stays_read() -> Result<()> {
    let (_cluster, db) = stalled().await?;
    sqlx::query(WRITE)
        .bind(7_i64)
        .execute(&db.session())
        .await?;
    let session = db.session();
    let mut tx = session.begin().await?;
    let inside: i64 = sqlx::query_scalar(READ).fetch_one(&mut *tx).await?;
    tx.rollback().await?;
    let after: i64 = sqlx::query_scalar(READ).fetch_one(&session).await?;
    check(
        (inside, after) == (7, 7),
        format!("{inside} inside, {after} afterwards"),
    )
}

/// Many reads without a pause: the session comes back from the primary all the same.
async fn reads_without_pause_leave_the_primary() -> Result<()> {
    let cluster = cluster().await?;
    let db = router(&cluster).connect().await?;
    let session = db.session();
    sqlx::query(WRITE).bind(1_i64).execute(&session).await?;
    for _ in 0..1000 {
        let version: i64 = sqlx::query_scalar(READ).fetch_one(&session).await?;
        check(version == 1, format!("version {version}"))?;
    }
    let served = cluster.primary().served("kv").await?.reads;
    check(
        served < 100,
        format!("the primary served {served} of 1000 reads"),
    )
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

async fn held_connection() -> Result<()> {
    let cluster = cluster().await?;
    let db = router(&cluster).connect().await?;
    let session = db.session();
    let mut held = session.acquire_write().await?;
    sqlx::query(WRITE).bind(1_i64).execute(&mut *held).await?;
    let version: i64 = sqlx::query_scalar(READ).fetch_one(&session).await?;
    check(version == 1, format!("version {version}"))?;
    let decision = session.last_decision().ok_or("no decision")?;
    check(decision.reason == Reason::OpenWriter, decision.to_string())?;
    // Another session is not concerned.
    check(
        db.session().explain(READ)?.reason == Reason::Policy,
        "the other session is",
    )?;
    drop(held);
    until(&db, "back on the replicas", |_| {
        session
            .explain(READ)
            .is_ok_and(|decision| &*decision.node != "primary")
    })
    .await
}

/// Code that knows nothing of sessions.
async fn handler(db: &RoutedPool<Postgres>) -> Result<i32> {
    Ok(sqlx::query_scalar("select inet_server_port()")
        .fetch_one(&db.read())
        .await?)
}

async fn ambient_sessions_nest() -> Result<()> {
    let cluster = cluster().await?;
    let policy = dbrouter_sqlx::dbrouter::policy::RoundRobin::new();
    let policy = dbrouter_sqlx::dbrouter::policy::Sticky::new(policy);
    let db = router(&cluster).policy(policy).connect().await?;
    let (outer, inner) = (db.session(), db.session());
    let (first, second, third, other) = with_session(&outer, async {
        let first = handler(&db).await?;
        let other = with_session(&inner, async { handler(&db).await }).await?;
        let second = handler(&db).await?;
        // An explicit session wins over the ambient one, and the ambient one is there again after an error.
        let failed: Result<()> = with_session(&inner, async { Err("on purpose".into()) }).await;
        check(failed.is_err(), "it succeeded")?;
        let third = handler(&db).await?;
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((first, second, third, other))
    })
    .await?;
    check(
        first == second && second == third,
        format!("{first}, {second}, {third}"),
    )?;
    check(
        other != first,
        "in turn, the inner session has the other standby",
    )?;
    // Outside, the root handle takes turns.
    let ports = [handler(&db).await?, handler(&db).await?];
    check(ports[0] != ports[1], format!("{ports:?}"))
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

async fn failed_writes_count() -> Result<()> {
    let (_cluster, db) = stalled().await?;
    let session = db.session();
    let before = session.state().needs();
    let failed = sqlx::query("insert into kv values (1, 1)")
        .execute(&session)
        .await;
    check(failed.is_err(), "a duplicate key was accepted")?;
    check(
        session.state().needs() > before,
        "the failed write is not remembered",
    )?;
    check(
        session.explain(READ)?.reason == Reason::NotFresh,
        "the read is not the primary's",
    )
}

/// A transaction begun through sqlx's own trait has connections that the pool's options have set up.
async fn lanes_keep_hooks() -> Result<()> {
    let cluster = cluster().await?;
    let options = PgPoolOptions::new().after_connect(|connection, _| {
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
