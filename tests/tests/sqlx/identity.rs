//! One pool given as the primary's and as a replica's: one server.

use dbrouter_sqlx::{RoutedDatabase, RoutedPool};
use dbrouter_tests::Result;
use dbrouter_tests::any::Kind;
use dbrouter_tests::harness::Case;
use sqlx::{ColumnIndex, Decode, Executor, IntoArguments, MySql, Pool, Postgres, Type};

use crate::support::check;

pub(crate) fn cases() -> Vec<Case> {
    let name = |kind: Kind| {
        let kind = kind.name();
        format!("identity::one_pool_as_primary_and_as_replica_works_as_one_node_{kind}")
    };
    vec![
        Case::new(name(Kind::Postgres), || {
            one_pool::<Postgres>(Kind::Postgres)
        })
        .needs(Kind::Postgres.need()),
        Case::new(name(Kind::MariaDb), || one_pool::<MySql>(Kind::MariaDb))
            .needs(Kind::MariaDb.need()),
    ]
}

async fn one_pool<DB>(kind: Kind) -> Result<()>
where
    DB: RoutedDatabase<Arguments: IntoArguments<DB>>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'r> i64: Decode<'r, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    let cluster = kind.start(0).await?;
    let pool = Pool::<DB>::connect(&cluster.primary().url()).await?;
    let db = RoutedPool::from_pools(pool.clone(), [pool]).await?;
    sqlx::query("create table orders (id int primary key)")
        .execute(&db)
        .await?;
    let session = db.session();
    for count in 1..=20_i64 {
        let mut tx = session.begin().await?;
        let insert = sqlx::AssertSqlSafe(format!("insert into orders values ({count})"));
        sqlx::query(insert).execute(&mut *tx).await?;
        tx.commit().await?;
        let orders = sqlx::query_scalar("select count(*) from orders");
        let orders: i64 = orders.fetch_one(&session).await?;
        check(orders == count, format!("{orders} orders, not {count}"))?;
    }
    let status = db.status();
    check(!status.contested, status.to_string())
}
