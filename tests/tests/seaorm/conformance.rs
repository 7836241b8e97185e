//! The conformance suite, mounted on the SeaORM adapter.

use std::time::Duration;

use async_stream::try_stream;
use dbrouter_seaorm::dbrouter::{BoxFuture, BoxStream, ConfigError, Dialect, Hold, Intent};
use dbrouter_seaorm::{
    NodeOptions, PoolOptions, Routed, RoutedConnection, SeaOrm, SeaOrmBackend, Transaction,
};
use dbrouter_tests::conformance::{Body, Capabilities, Handle, How, Statements, Subject, Support};
use dbrouter_tests::{Failure, Result};
use futures_util::TryStreamExt;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, Database, DatabaseConnection, EntityTrait,
    QueryFilter, Set, Statement, StreamTrait, TransactionTrait,
};

mod kv {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "kv")]
    pub(super) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(super) id: i32,
        pub(super) version: i64,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

macro_rules! mount {
    ($mounted:ident, $name:literal, $dialect:ident, $opens_early:expr) => {
        pub(crate) struct $mounted;

        impl Subject for $mounted {
            const NAME: &'static str = $name;
            const DATABASE: Dialect = Dialect::$dialect;
            type Adapter = SeaOrm;
            type Handle = Db;

            fn capabilities() -> Capabilities {
                Capabilities {
                    opens_early: $opens_early,
                    holds: Support::No("SeaORM hands out no connection but inside a transaction"),
                    ..Capabilities::default()
                }
            }

            fn adapter() -> SeaOrm {
                SeaOrm::new()
            }

            fn root(pool: RoutedConnection) -> Db {
                let on = (*pool).clone();
                Db { pool, on }
            }

            fn add_replica(db: &Db, replica: NodeOptions) -> Result<(), ConfigError> {
                db.pool.add_replica(replica)
            }

            async fn open_pool(url: &str) -> Result<DatabaseConnection> {
                Ok(Database::connect(url).await?)
            }

            fn without_statement_cache() -> Option<&'static str> {
                Some("?statement-cache-capacity=0")
            }

            fn pool(most: u32, patience: Duration) -> PoolOptions {
                PoolOptions::new(move |options| {
                    options.max_connections(most).acquire_timeout(patience);
                })
            }
        }
    };
}

mount!(
    OnSqlite,
    "seaorm_sqlite",
    Sqlite,
    Support::No("SeaORM looks into the file when it makes a pool")
);
mount!(OnPostgres, "seaorm_postgres", Postgres, Support::Yes);
mount!(OnMariaDb, "seaorm_mariadb", MariaDb, Support::Yes);

/// A handle, and the root handle that it came from.
#[derive(Clone)]
pub(crate) struct Db {
    pool: RoutedConnection,
    on: Routed,
}

impl Db {
    fn with(&self, on: Routed) -> Self {
        let pool = self.pool.clone();
        Self { pool, on }
    }

    fn how(&self, how: How) -> Routed {
        match how {
            How::AsIs => self.on.clone(),
            How::Stated(Intent::Read) => self.on.read(),
            How::Stated(Intent::Write) => self.on.write(),
        }
    }
}

impl Handle for Db {
    dbrouter_tests::terms_by_their_names!(SeaOrmBackend);

    fn hold_connection(&self, hold: Hold) -> Self {
        self.with(self.on.hold_connection(hold))
    }

    async fn query(&self, how: How, sql: &str) -> Result<i64> {
        number(&self.how(how), sql).await
    }

    async fn execute(&self, how: How, sql: &str) -> Result<()> {
        run(&self.how(how), sql).await
    }

    async fn get(&self, id: i32) -> Result<Option<i64>> {
        let found = kv::Entity::find_by_id(id).one(&self.on).await?;
        Ok(found.map(|row| row.version))
    }

    async fn set(&self, id: i32, version: i64) -> Result<()> {
        let update = kv::Entity::update_many().col_expr(kv::Column::Version, version.into());
        update.filter(kv::Column::Id.eq(id)).exec(&self.on).await?;
        Ok(())
    }

    async fn insert(&self, id: i32, version: i64) -> Result<i64> {
        let row = kv::ActiveModel {
            id: Set(id),
            version: Set(version),
        };
        Ok(row.insert(&self.on).await?.version)
    }

    fn stream(&self, how: How, sql: &str) -> BoxStream<'static, Result<i64>> {
        let on = self.how(how);
        let statement = Statement::from_string(on.get_database_backend(), sql);
        Box::pin(try_stream! {
            let mut rows = on.stream_raw(statement).await?;
            while let Some(row) = rows.try_next().await? {
                yield row.try_get_by_index(0)?;
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

    async fn hold(&self, _: Intent) -> Result<Box<dyn Statements>> {
        Err(Failure::new("there is nothing to hold").into())
    }
}

async fn to_its_end(tx: Transaction, body: Body) -> Result<()> {
    let mut tx = Inside(tx);
    match body(&mut tx).await {
        Ok(()) => Ok(tx.0.commit().await?),
        Err(error) => {
            tx.0.rollback().await?;
            Err(error)
        }
    }
}

struct Inside(Transaction);

async fn number(on: &impl ConnectionTrait, sql: &str) -> Result<i64> {
    let statement = Statement::from_string(on.get_database_backend(), sql);
    let row = on.query_one_raw(statement).await?.ok_or("no row")?;
    Ok(row.try_get_by_index(0)?)
}

async fn run(on: &impl ConnectionTrait, sql: &str) -> Result<()> {
    let statement = Statement::from_string(on.get_database_backend(), sql);
    on.execute_raw(statement).await?;
    Ok(())
}

impl Statements for Inside {
    fn query<'s>(&'s mut self, sql: &'s str) -> BoxFuture<'s, Result<i64>> {
        Box::pin(number(&self.0, sql))
    }

    fn execute<'s>(&'s mut self, sql: &'s str) -> BoxFuture<'s, Result<()>> {
        Box::pin(run(&self.0, sql))
    }
}
