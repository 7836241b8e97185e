//! The conformance suite, mounted on the sqlx adapter.

use std::marker::PhantomData;
use std::ops::DerefMut;
use std::time::Duration;

use async_stream::try_stream;
use dbrouter_sqlx::dbrouter::{BoxFuture, BoxStream, ConfigError, Dialect, Hold, Intent};
use dbrouter_sqlx::{
    NodeOptions, PoolOptions, Routed, RoutedDatabase, RoutedPool, Sqlx, SqlxBackend, Transaction,
};
use dbrouter_tests::Result;
use dbrouter_tests::conformance::{Body, Handle, How, Statements, Subject};
use futures_util::TryStreamExt;
use sqlx::{
    AssertSqlSafe, ColumnIndex, Database, Decode, Encode, Executor, IntoArguments, MySql, Pool,
    Postgres, Sqlite, Type,
};

/// sqlx on one of its databases.
pub(crate) struct Mounted<DB>(PhantomData<fn() -> DB>);

/// What the three drivers have in common beyond being routed.
pub(crate) trait Driver: RoutedDatabase {
    const NAME: &'static str;
    const GET: &'static str;
    const SET: &'static str;
    const INSERT: &'static str;
}

impl Driver for Sqlite {
    const NAME: &'static str = "sqlx_sqlite";
    const GET: &'static str = "select version from kv where id = ?";
    const SET: &'static str = "update kv set version = ? where id = ?";
    const INSERT: &'static str = "insert into kv (id, version) values (?, ?)";
}

impl Driver for Postgres {
    const NAME: &'static str = "sqlx_postgres";
    const GET: &'static str = "select version from kv where id = $1";
    const SET: &'static str = "update kv set version = $1 where id = $2";
    const INSERT: &'static str = "insert into kv (id, version) values ($1, $2)";
}

impl Driver for MySql {
    const NAME: &'static str = "sqlx_mariadb";
    const GET: &'static str = <Sqlite as Driver>::GET;
    const SET: &'static str = <Sqlite as Driver>::SET;
    const INSERT: &'static str = <Sqlite as Driver>::INSERT;
}

/// A handle, and the root handle that it came from.
pub(crate) struct Sub<DB: RoutedDatabase> {
    pool: RoutedPool<DB>,
    on: Routed<DB>,
}

impl<DB: RoutedDatabase> Clone for Sub<DB> {
    fn clone(&self) -> Self {
        self.with(self.on.clone())
    }
}

impl<DB: RoutedDatabase> Sub<DB> {
    fn with(&self, on: Routed<DB>) -> Self {
        let pool = self.pool.clone();
        Self { pool, on }
    }

    fn how(&self, how: How) -> Routed<DB> {
        match how {
            How::AsIs => self.on.clone(),
            How::Stated(Intent::Read) => self.on.read(),
            How::Stated(Intent::Write) => self.on.write(),
        }
    }
}

impl<DB> Subject for Mounted<DB>
where
    DB: Driver,
    Sub<DB>: Handle<Backend = SqlxBackend<DB>>,
{
    const NAME: &'static str = <DB as Driver>::NAME;
    const DATABASE: Dialect = DB::DIALECT;
    type Adapter = Sqlx<DB>;
    type Handle = Sub<DB>;

    fn adapter() -> Sqlx<DB> {
        Sqlx::new()
    }

    fn root(pool: RoutedPool<DB>) -> Sub<DB> {
        let on = (*pool).clone();
        Sub { pool, on }
    }

    fn add_replica(db: &Sub<DB>, replica: NodeOptions<DB>) -> Result<(), ConfigError> {
        db.pool.add_replica(replica)
    }

    async fn open_pool(url: &str) -> Result<Pool<DB>> {
        Ok(Pool::connect(url).await?)
    }

    fn without_statement_cache() -> Option<&'static str> {
        Some("?statement-cache-capacity=0")
    }

    fn pool(most: u32, patience: Duration) -> PoolOptions<DB> {
        PoolOptions::new()
            .max_connections(most)
            .acquire_timeout(patience)
    }
}

impl<DB> Handle for Sub<DB>
where
    DB: Driver<Arguments: IntoArguments<DB>>,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    for<'r> i64: Decode<'r, DB> + Encode<'r, DB> + Type<DB>,
    for<'r> i32: Encode<'r, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    dbrouter_tests::terms_by_their_names!(SqlxBackend<DB>);

    fn hold_connection(&self, hold: Hold) -> Self {
        self.with(self.on.hold_connection(hold))
    }

    async fn query(&self, how: How, sql: &str) -> Result<i64> {
        let query = sqlx::query_scalar(AssertSqlSafe(sql));
        Ok(query.fetch_one(&self.how(how)).await?)
    }

    async fn execute(&self, how: How, sql: &str) -> Result<()> {
        sqlx::query(AssertSqlSafe(sql))
            .execute(&self.how(how))
            .await?;
        Ok(())
    }

    async fn get(&self, id: i32) -> Result<Option<i64>> {
        Ok(sqlx::query_scalar(DB::GET)
            .bind(id)
            .fetch_optional(&self.on)
            .await?)
    }

    async fn set(&self, id: i32, version: i64) -> Result<()> {
        sqlx::query(DB::SET)
            .bind(version)
            .bind(id)
            .execute(&self.on)
            .await?;
        Ok(())
    }

    async fn insert(&self, id: i32, version: i64) -> Result<i64> {
        sqlx::query(DB::INSERT)
            .bind(id)
            .bind(version)
            .execute(&self.on)
            .await?;
        Ok(sqlx::query_scalar(DB::GET)
            .bind(id)
            .fetch_one(&self.on)
            .await?)
    }

    fn stream(&self, how: How, sql: &str) -> BoxStream<'static, Result<i64>> {
        let (on, sql) = (self.how(how), sql.to_owned());
        Box::pin(try_stream! {
            let mut rows = sqlx::query_scalar(AssertSqlSafe(sql)).fetch(&on);
            while let Some(row) = rows.try_next().await? {
                yield row;
            }
        })
    }

    async fn transact(&self, body: Body) -> Result<()> {
        to_its_end(self.on.begin().await?, body).await
    }

    async fn read_only(&self, body: Body) -> Result<()> {
        to_its_end(self.on.begin_read_only().await?, body).await
    }

    async fn snapshot(&self, body: Body) -> Result<()> {
        to_its_end(self.on.begin_snapshot().await?, body).await
    }

    async fn hold(&self, intent: Intent) -> Result<Box<dyn Statements>> {
        let held = self.how(How::Stated(intent)).acquire().await?;
        Ok(Box::new(On(held)))
    }
}

async fn to_its_end<DB: Driver>(tx: Transaction<DB>, body: Body) -> Result<()>
where
    On<Transaction<DB>>: Statements,
{
    let mut tx = On(tx);
    match body(&mut tx).await {
        Ok(()) => Ok(tx.0.commit().await?),
        Err(error) => {
            tx.0.rollback().await?;
            Err(error)
        }
    }
}

/// On something that derefs to a driver's connection.
struct On<C>(C);

impl<C, DB> Statements for On<C>
where
    C: DerefMut<Target: sqlx::Connection<Database = DB>> + Send,
    DB: Database<Connection = C::Target, Arguments: IntoArguments<DB>>,
    for<'c> &'c mut C::Target: Executor<'c, Database = DB>,
    for<'r> i64: Decode<'r, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    fn query<'s>(&'s mut self, sql: &'s str) -> BoxFuture<'s, Result<i64>> {
        let query = sqlx::query_scalar(AssertSqlSafe(sql));
        Box::pin(async move { Ok(query.fetch_one(&mut *self.0).await?) })
    }

    fn execute<'s>(&'s mut self, sql: &'s str) -> BoxFuture<'s, Result<()>> {
        Box::pin(async move {
            sqlx::query(AssertSqlSafe(sql))
                .execute(&mut *self.0)
                .await?;
            Ok(())
        })
    }
}
