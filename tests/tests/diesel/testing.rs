//! An application's own tests, in a transaction that is never committed: diesel's `begin_test_transaction`.

use dbrouter_diesel::{Pool, RoutedPool};
use dbrouter_tests::harness::{Case, Need};
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Failure, Result};
use diesel::prelude::*;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, bb8, deadpool};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

diesel::table! {
    kv (id) {
        id -> Integer,
        version -> BigInt,
    }
}

type Manager = AsyncDieselConnectionManager<AsyncPgConnection>;

pub(crate) fn cases() -> Vec<Case> {
    let case =
        |name: &str| format!("testing::a_test_transaction_is_everybodys_and_leaves_nothing_{name}");
    vec![
        Case::new(case("deadpool"), on_deadpool).needs(Need::Postgres),
        Case::new(case("bb8"), on_bb8).needs(Need::Postgres),
    ]
}

async fn on_deadpool() -> Result<()> {
    let cluster = cluster().await?;
    let manager = Manager::new(cluster.primary().url());
    let pool = deadpool::Pool::builder(manager).max_size(1).build()?;
    pool.get().await?.begin_test_transaction().await?;
    in_a_test_transaction(&RoutedPool::single(pool)).await?;
    is_empty(&cluster).await
}

async fn on_bb8() -> Result<()> {
    let cluster = cluster().await?;
    let manager = Manager::new(cluster.primary().url());
    let pool = bb8::Pool::builder().max_size(1).build(manager).await?;
    pool.get().await?.begin_test_transaction().await?;
    in_a_test_transaction(&RoutedPool::single(pool)).await?;
    is_empty(&cluster).await
}

async fn cluster() -> Result<Cluster> {
    let cluster = Cluster::start(0).await?;
    let table = "create table kv (id int primary key, version bigint not null)";
    let mut app = cluster.primary().connect().await?;
    sqlx::raw_sql(table).execute(&mut app).await?;
    Ok(cluster)
}

/// Nothing was committed.
async fn is_empty(cluster: &Cluster) -> Result<()> {
    let mut elsewhere = AsyncPgConnection::establish(&cluster.primary().url()).await?;
    expect(
        "committed",
        kv::table.count().get_result(&mut elsewhere).await?,
        0,
    )
}

async fn in_a_test_transaction<P>(db: &RoutedPool<P>) -> Result<()>
where
    P: Pool<Connection = AsyncPgConnection>,
{
    let insert =
        |id: i32| diesel::insert_into(kv::table).values((kv::id.eq(id), kv::version.eq(0_i64)));
    let count = async || -> Result<i64> {
        let mut guard = db.session().read().await?;
        Ok(kv::table.count().get_result(&mut guard).await?)
    };
    for id in [1, 2] {
        // The pool has one connection, so the guard must not be held.
        insert(id).execute(&mut db.write().await?).await?;
    }
    expect("after two guards", count().await?, 2)?;
    let session = db.session();
    session
        .transaction(async |conn| insert(3).execute(conn).await)
        .await?;
    expect("after a transaction", count().await?, 3)?;
    let rolled_back: QueryResult<()> = session
        .transaction(async |conn| {
            insert(4).execute(conn).await?;
            Err(diesel::result::Error::RollbackTransaction)
        })
        .await;
    if rolled_back.is_ok() {
        return Err("the error was lost".into());
    }
    expect("after that", count().await?, 3)?;
    let within: QueryResult<i64> = session
        .read_only_transaction(async |conn| kv::table.count().get_result(conn).await)
        .await;
    expect("in one that only reads", within?, 3)?;
    expect("at the end", count().await?, 3)
}

fn expect(what: &str, found: i64, expected: i64) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => Err(Failure::new(format!("{what}: {found}, not {expected}")).into()),
    }
}
