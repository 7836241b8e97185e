//! A report, a migration, and everybody else: on a replica that lets reports finish, replay of an `ALTER TABLE` waits for
//! a report, and all new reads of that table wait behind it (cityofaustin/atd-data-tech#11380).

use std::time::Duration;

use dbrouter_sqlx::dbrouter::Status;
use dbrouter_tests::harness::Case;
use dbrouter_tests::{Result, wait};
use sqlx::Executor;
use tokio::time::timeout;

use crate::support::{builder, check, cluster, node, on_postgres};

pub(crate) fn cases() -> Vec<Case> {
    vec![on_postgres(
        "standstill::no_read_waits_for_a_report_that_holds_up_replay",
        report_and_migration,
    )]
}

const READ: &str = "select version from kv where id = 1";

async fn report_and_migration() -> Result<()> {
    let cluster = cluster().await?;
    let [reporting, other] = cluster.standbys() else {
        return Err("a cluster has two standbys".into());
    };
    reporting.set("max_standby_streaming_delay", "-1").await?;
    // A read may be sent to the replica that stands still only while the other one is not fit to serve it. On a busy
    // machine it would not be, by the default limits.
    let db = builder()
        .primary(cluster.primary().url())
        .replica(node(reporting).tag("for", "reports"))
        .replica(node(other))
        .connect()
        .await?;
    let mut report = db.tag("for", "reports").begin_snapshot().await?;
    let rows: i64 = sqlx::query_scalar("select count(*) from kv")
        .fetch_one(&mut *report)
        .await?;
    check(rows == 64, format!("{rows} rows"))?;
    let mut migration = cluster.primary().connect().await?;
    migration
        .execute("alter table kv add column note text")
        .await?;
    // Replay has come to the migration, and waits for the report: so does every read of the table from now on.
    let mut admin = reporting.admin().await?;
    let queued = "select exists (select from pg_locks where mode = 'AccessExclusiveLock' \
                  and relation = 'kv'::regclass and not granted)";
    let arrived = async || {
        let waits = sqlx::query_scalar::<_, bool>(queued);
        waits.fetch_one(&mut admin).await.unwrap_or(false)
    };
    check(
        wait::until(arrived).await,
        "replay never came to the report's lock",
    )?;
    let readers: Vec<_> = (0..20)
        .map(|number| {
            let db = db.clone();
            tokio::spawn(async move {
                let session = db.session();
                if number % 2 == 0 {
                    sqlx::query("update kv set version = version + 1 where id = 2")
                        .execute(&session)
                        .await?;
                }
                sqlx::query_scalar::<_, i64>(READ).fetch_one(&session).await
            })
        })
        .collect();
    // Far longer than the limit of a second, and yet the report goes on: none of them waits for it.
    for reader in readers {
        timeout(Duration::from_secs(30), reader).await???;
    }
    // And no new one is sent to that replica.
    let begun = db.status();
    for _ in 0..50 {
        let session = db.session();
        let read = sqlx::query_scalar::<_, i64>(READ).fetch_one(&session);
        timeout(Duration::from_secs(30), read).await??;
    }
    let reads = |status: &Status| status.node(reporting.name()).map(|node| node.reads);
    let sent = (reads(&begun), reads(&db.status()));
    check(
        sent.0 == sent.1,
        format!("reads sent there: {sent:?}\n{begun}\n{}", db.status()),
    )?;
    let rows: i64 = sqlx::query_scalar("select count(*) from kv")
        .fetch_one(&mut *report)
        .await?;
    check(rows == 64, format!("{rows} rows for the report afterwards"))?;
    report.commit().await?;
    // With the report the standstill ends.
    let back = async || {
        let read = sqlx::query(READ).execute(&db.session()).await;
        read.is_ok() && reads(&db.status()) > sent.1
    };
    check(wait::until(back).await, "the replica is not read again")
}
