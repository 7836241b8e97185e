//! What SeaORM does on a connection of its own, which the router hands over and cannot see through: migrations
//! take such executors.

use dbrouter_seaorm::{RoutedConnection, Session};
use dbrouter_tests::any::{Cluster, Kind};
use dbrouter_tests::harness::Case;
use dbrouter_tests::{Failure, Result};
use sea_orm::{
    ConnectionTrait, IntoDatabaseExecutor, Statement, TransactionSession, TransactionTrait,
};

pub(crate) fn cases() -> Vec<Case> {
    let on = |kind: Kind| {
        let name = |case: &str| format!("executors::{case}_on_{}", kind.name());
        [
            Case::new(name("writes_are_seen_at_once"), async move || {
                writes_are_seen(kind).await
            }),
            Case::new(name("commits_are_seen_at_once"), async move || {
                commits_are_seen(kind).await
            }),
        ]
        .map(|case| case.needs(kind.need()))
    };
    Kind::ALL.into_iter().flat_map(on).collect()
}

/// A router over a cluster whose standbys replay nothing from now on.
async fn stalled(kind: Kind) -> Result<(Cluster, RoutedConnection)> {
    let cluster = kind.start(2).await?;
    let table = "create table kv (id int primary key, version bigint not null); \
                 insert into kv values (1, 0)";
    cluster.primary().execute(table).await?;
    cluster.wait_caught_up().await?;
    let builder = RoutedConnection::builder().primary(cluster.primary().url());
    let standbys = cluster.standbys().into_iter();
    let builder = standbys.fold(builder, |builder, standby| builder.replica(standby.url()));
    let db = builder.connect().await?;
    for standby in cluster.standbys() {
        standby.pause_replay().await?;
    }
    Ok((cluster, db))
}

async fn version(session: &Session) -> Result<i64> {
    let read = "select version from kv where id = 1";
    let read = Statement::from_string(session.get_database_backend(), read);
    let row = session.query_one_raw(read).await?.ok_or("no row")?;
    Ok(row.try_get_by_index(0)?)
}

fn write(session: &Session, version: i64) -> Statement {
    let write = format!("update kv set version = {version} where id = 1");
    Statement::from_string(session.get_database_backend(), write)
}

fn check(found: i64, expected: i64) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Failure::new(format!("version {found}, not {expected}")).into())
}

async fn writes_are_seen(kind: Kind) -> Result<()> {
    let (_cluster, db) = stalled(kind).await?;
    for number in 1..=30 {
        let session = db.session();
        let executor = (&session).into_database_executor();
        executor.execute_raw(write(&session, number)).await?;
        check(version(&session).await?, number)?;
    }
    Ok(())
}

async fn commits_are_seen(kind: Kind) -> Result<()> {
    let (_cluster, db) = stalled(kind).await?;
    for number in 1..=30 {
        let session = db.session();
        let tx = (&session).into_database_executor().begin().await?;
        tx.execute_raw(write(&session, number)).await?;
        // What is not committed yet is not seen, and what keeps it is the primary.
        check(version(&session).await?, number - 1)?;
        TransactionSession::commit(tx).await?;
        check(version(&session).await?, number)?;
    }
    Ok(())
}
