//! The conformance suite, mounted on the diesel-async adapter.

use dbrouter_tests::conformance::{Capabilities, Support};

diesel::table! {
    kv (id) {
        id -> Integer,
        version -> BigInt,
    }
}

fn capabilities() -> Capabilities {
    Capabilities {
        classifies: Support::No("with diesel the caller takes a guard to read from or to write to"),
        retries: Support::No(
            "the router does not see what is run on a guard, so it fails over at acquire",
        ),
        holds_between_statements: Support::No(
            "a guard is a connection that the caller keeps, for as long as that is good",
        ),
        ..Capabilities::default()
    }
}

/// One mount: its name, its database, its pool, and how that is told its limits. A macro and no generic type:
/// diesel's bounds for a connection of any kind would be longer than all that is said here.
macro_rules! mount {
    ($module:ident, $name:literal, $dialect:ident, $pool:ty, |$builder:ident, $most:ident, $patience:ident| $limits:expr) => {
        pub(crate) mod $module {
            use std::ops::DerefMut;
            use std::time::Duration;

            use async_stream::try_stream;
            use dbrouter_diesel::dbrouter::{
                Adapter, BoxFuture, BoxStream, ConfigError, Dialect, Intent, Role, ServerCheck,
            };
            use dbrouter_diesel::{
                DieselAdapter, DieselBackend, NodeOptions, PoolOptions, Routed, RoutedPool,
            };
            use dbrouter_tests::Result;
            use dbrouter_tests::conformance::{
                Body, Capabilities, Handle, How, Statements, Subject,
            };
            use diesel::dsl::sql;
            use diesel::prelude::*;
            use diesel::sql_types::BigInt;
            use diesel_async::RunQueryDsl;
            use futures_util::TryStreamExt;

            use super::kv;

            type Pool = $pool;
            type Connection = <Pool as dbrouter_diesel::Pool>::Connection;

            pub(crate) struct Mounted;

            impl Subject for Mounted {
                const NAME: &'static str = $name;
                const DATABASE: Dialect = Dialect::$dialect;
                type Adapter = DieselAdapter<Pool>;
                type Handle = Db;

                fn capabilities() -> Capabilities {
                    super::capabilities()
                }

                fn adapter() -> DieselAdapter<Pool> {
                    DieselAdapter::new()
                }

                fn root(pool: RoutedPool<Pool>) -> Db {
                    let on = (*pool).clone();
                    Db { pool, on }
                }

                fn add_replica(db: &Db, replica: NodeOptions<Pool>) -> Result<(), ConfigError> {
                    db.pool.add_replica(replica)
                }

                async fn open_pool(url: &str) -> Result<Pool> {
                    let backend = Self::adapter().open(
                        url.to_owned(),
                        None,
                        Role::Primary,
                        &ServerCheck::none(),
                        "pool",
                    )?;
                    Ok(backend.pool().clone())
                }

                fn pool($most: u32, $patience: Duration) -> PoolOptions<Pool> {
                    PoolOptions::<Pool>::new(move |$builder| $limits)
                }
            }

            /// A handle, and the root handle that it came from.
            #[derive(Clone)]
            pub(crate) struct Db {
                pool: RoutedPool<Pool>,
                on: Routed<Pool>,
            }

            impl Db {
                fn with(&self, on: Routed<Pool>) -> Self {
                    let pool = self.pool.clone();
                    Self { pool, on }
                }
            }

            impl Handle for Db {
                dbrouter_tests::terms_by_their_names!(DieselBackend<Pool>);

                async fn query(&self, how: How, text: &str) -> Result<i64> {
                    match how {
                        How::Stated(Intent::Write) => {
                            number(&mut *self.on.write().await?, text).await
                        }
                        _ => number(&mut *self.on.read().await?, text).await,
                    }
                }

                async fn execute(&self, how: How, text: &str) -> Result<()> {
                    match how {
                        How::Stated(Intent::Read) => run(&mut *self.on.read().await?, text).await,
                        _ => run(&mut *self.on.write().await?, text).await,
                    }
                }

                async fn get(&self, id: i32) -> Result<Option<i64>> {
                    let mut reader = self.on.read().await?;
                    let version = kv::table.find(id).select(kv::version);
                    Ok(version.first(&mut reader).await.optional()?)
                }

                async fn set(&self, id: i32, version: i64) -> Result<()> {
                    let mut writer = self.on.write().await?;
                    let update = diesel::update(kv::table.find(id)).set(kv::version.eq(version));
                    update.execute(&mut writer).await?;
                    Ok(())
                }

                async fn insert(&self, id: i32, version: i64) -> Result<i64> {
                    let mut writer = self.on.write().await?;
                    let row = (kv::id.eq(id), kv::version.eq(version));
                    diesel::insert_into(kv::table)
                        .values(row)
                        .execute(&mut writer)
                        .await?;
                    drop(writer);
                    Ok(self.get(id).await?.ok_or("it is not there")?)
                }

                fn stream(&self, how: How, text: &str) -> BoxStream<'static, Result<i64>> {
                    assert_ne!(how, How::Stated(Intent::Write), "streams only read here");
                    let (on, text) = (self.on.clone(), text.to_owned());
                    Box::pin(try_stream! {
                        let mut reader = on.read().await?;
                        let mut rows = sql::<BigInt>(&text).load_stream::<i64>(&mut reader).await?;
                        while let Some(row) = rows.try_next().await? {
                            yield row;
                        }
                    })
                }

                async fn transact(&self, body: Body) -> Result<()> {
                    self.on
                        .transaction(async |connection| body(&mut On(connection)).await)
                        .await
                }

                async fn read_only(&self, body: Body) -> Result<()> {
                    let on = &self.on;
                    on.read_only_transaction(async |reader| body(&mut On(&mut **reader)).await)
                        .await
                }

                async fn snapshot(&self, body: Body) -> Result<()> {
                    let on = &self.on;
                    on.snapshot_transaction(async |reader| body(&mut On(&mut **reader)).await)
                        .await
                }

                async fn hold(&self, intent: Intent) -> Result<Box<dyn Statements>> {
                    Ok(match intent {
                        Intent::Read => Box::new(On(self.on.read().await?)),
                        Intent::Write => Box::new(On(self.on.write().await?)),
                    })
                }
            }

            async fn number(connection: &mut Connection, text: &str) -> Result<i64> {
                Ok(sql::<BigInt>(text).get_result(connection).await?)
            }

            async fn run(connection: &mut Connection, text: &str) -> Result<()> {
                diesel::sql_query(text).execute(connection).await?;
                Ok(())
            }

            /// On something that leads to a connection.
            struct On<G>(G);

            impl<G: DerefMut<Target = Connection> + Send> Statements for On<G> {
                fn query<'s>(&'s mut self, text: &'s str) -> BoxFuture<'s, Result<i64>> {
                    Box::pin(number(&mut self.0, text))
                }

                fn execute<'s>(&'s mut self, text: &'s str) -> BoxFuture<'s, Result<()>> {
                    Box::pin(run(&mut self.0, text))
                }
            }
        }
    };
}

mount!(
    sqlite,
    "diesel_sqlite",
    Sqlite,
    diesel_async::pooled_connection::deadpool::Pool<
        diesel_async::sync_connection_wrapper::SyncConnectionWrapper<diesel::SqliteConnection>,
    >,
    |builder, most, patience| builder.max_size(most as usize).wait_timeout(Some(patience))
);

mount!(
    postgres,
    "diesel_postgres",
    Postgres,
    diesel_async::pooled_connection::deadpool::Pool<diesel_async::AsyncPgConnection>,
    |builder, most, patience| builder.max_size(most as usize).wait_timeout(Some(patience))
);

mount!(
    mariadb,
    "diesel_mariadb",
    MariaDb,
    diesel_async::pooled_connection::deadpool::Pool<diesel_async::AsyncMysqlConnection>,
    |builder, most, patience| builder.max_size(most as usize).wait_timeout(Some(patience))
);

mount!(
    bb8_postgres,
    "diesel_bb8_postgres",
    Postgres,
    diesel_async::pooled_connection::bb8::Pool<diesel_async::AsyncPgConnection>,
    |builder, most, patience| builder.max_size(most).connection_timeout(patience)
);

mount!(
    mobc_postgres,
    "diesel_mobc_postgres",
    Postgres,
    diesel_async::pooled_connection::mobc::Pool<diesel_async::AsyncPgConnection>,
    |builder, most, patience| builder.max_open(most.into()).get_timeout(Some(patience))
);
