//! How nodes' pools are opened, for the builder that all adapters share.

use std::error::Error;
use std::time::Duration;

use dbrouter::{Adapter, Cluster, ConfigError, Dialect, IntoNode, NodeOptions, Role};
use sqlx::pool::PoolOptions;
use sqlx::{Connection, Pool};

use crate::backend::SqlxBackend;
use crate::database::{Options, RoutedDatabase};
use crate::pool::RoutedPool;

/// sqlx's part of the configuration: the options of pools in general.
///
/// [`Builder::pool_options`](dbrouter::Builder::pool_options) takes sqlx's own, which default to 10 connections
/// a node and an acquire timeout of 30 s. [`Builder::ping_after`](dbrouter::Builder::ping_after) takes the
/// place of their `test_before_acquire` and `before_acquire`: sqlx itself pings at every checkout.
///
/// PostgreSQL is told by the startup parameter `options` that a replica's connections are read-only, and that their
/// isolation level is *repeatable read*, whatever the database's default is: a standby refuses *serializable*. A
/// PgBouncer in between refuses that unless its `ignore_startup_parameters` lists it. MariaDB is told by the
/// pool's `after_connect` hook, in whose place it stands. Where either is in the way, give a pool of your own.
#[derive(Debug)]
pub struct Sqlx<DB: RoutedDatabase> {
    pool_options: PoolOptions<DB>,
    ping_after: Option<Duration>,
}

// Not derived: that would ask for `DB: Clone`.
impl<DB: RoutedDatabase> Clone for Sqlx<DB> {
    fn clone(&self) -> Self {
        Self {
            pool_options: self.pool_options.clone(),
            ping_after: self.ping_after,
        }
    }
}

impl<DB: RoutedDatabase> Sqlx<DB> {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pool_options: PoolOptions::new(),
            ping_after: Some(Duration::from_millis(500)),
        }
    }

    fn pings(&self, options: PoolOptions<DB>) -> PoolOptions<DB> {
        let Some(window) = self.ping_after else {
            return options;
        };
        options
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > window {
                        // A connection that fails the ping is closed, and another one taken or opened.
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
    }
}

impl<DB: RoutedDatabase> Default for Sqlx<DB> {
    fn default() -> Self {
        Self::new()
    }
}

impl<DB: RoutedDatabase> Adapter for Sqlx<DB> {
    type Backend = SqlxBackend<DB>;
    type Handle = RoutedPool<DB>;
    type ConnectOptions = Options<DB>;
    type Pool = Pool<DB>;
    type PoolOptions = PoolOptions<DB>;

    fn dialects() -> &'static [Dialect] {
        &[DB::DIALECT]
    }

    fn parse(url: &str) -> Result<Options<DB>, Box<dyn Error + Send + Sync>> {
        Ok(url.parse::<Options<DB>>()?)
    }

    fn pool_options(&mut self, options: PoolOptions<DB>) {
        self.pool_options = options;
    }

    fn ping_after(&mut self, idle: Option<Duration>) {
        self.ping_after = idle;
    }

    fn open(
        &self,
        options: Options<DB>,
        pool_options: Option<&PoolOptions<DB>>,
        role: Role,
        _: &str,
    ) -> Result<SqlxBackend<DB>, ConfigError> {
        let pool_options = self.pings(pool_options.unwrap_or(&self.pool_options).clone());
        Ok(match role {
            Role::Replica => {
                let (options, pool_options) = DB::read_only(options, pool_options);
                SqlxBackend::read_only(pool_options.connect_lazy_with(options))
            }
            Role::Primary | Role::Unknown => {
                SqlxBackend::new(pool_options.connect_lazy_with(options))
            }
        })
    }

    fn adopt(&self, pool: Pool<DB>, _: &str) -> Result<SqlxBackend<DB>, ConfigError> {
        Ok(SqlxBackend::new(pool))
    }

    fn dialect(_: &SqlxBackend<DB>) -> Dialect {
        DB::DIALECT
    }

    fn handle(self, cluster: Cluster<SqlxBackend<DB>>) -> RoutedPool<DB> {
        RoutedPool::new(&cluster, self)
    }
}

impl<DB: RoutedDatabase> IntoNode<Sqlx<DB>> for Pool<DB> {
    fn into_node(self) -> NodeOptions<Sqlx<DB>> {
        NodeOptions::with_pool(self)
    }
}

#[cfg(feature = "postgres")]
impl IntoNode<Sqlx<sqlx::Postgres>> for sqlx::postgres::PgConnectOptions {
    fn into_node(self) -> NodeOptions<Sqlx<sqlx::Postgres>> {
        NodeOptions::with_options(self)
    }
}

#[cfg(feature = "mysql")]
impl IntoNode<Sqlx<sqlx::MySql>> for sqlx::mysql::MySqlConnectOptions {
    fn into_node(self) -> NodeOptions<Sqlx<sqlx::MySql>> {
        NodeOptions::with_options(self)
    }
}

#[cfg(feature = "sqlite")]
impl IntoNode<Sqlx<sqlx::Sqlite>> for sqlx::sqlite::SqliteConnectOptions {
    fn into_node(self) -> NodeOptions<Sqlx<sqlx::Sqlite>> {
        NodeOptions::with_options(self)
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;
    use crate::{Builder, NodeOptions};
    use dbrouter::ConfigErrorKind;
    use sqlx::Postgres;

    fn from(variables: &[(&str, &str)]) -> Builder<Postgres> {
        Builder::from_variables(Sqlx::new(), |name| {
            let mut all = variables.iter();
            all.find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).into())
        })
    }

    async fn error(builder: Builder<Postgres>) -> ConfigError {
        builder.connect().await.expect_err("a wrong configuration")
    }

    #[tokio::test]
    async fn an_environment_without_a_primary_is_an_error() {
        let error = error(from(&[("DATABASE_REPLICA_URLS", "postgres://h/d")])).await;
        assert_eq!(
            (error.kind(), error.field()),
            (ConfigErrorKind::Primary, "DATABASE_URL")
        );
    }

    #[tokio::test]
    async fn an_empty_list_is_an_error() {
        for list in ["", " ", ",", " , ,"] {
            let variables = [
                ("DATABASE_URL", "postgres://h/d"),
                ("DATABASE_REPLICA_URLS", list),
            ];
            let error = error(from(&variables)).await;
            assert_eq!(error.kind(), ConfigErrorKind::EmptyList, "{list:?}");
            assert_eq!(error.field(), "DATABASE_REPLICA_URLS");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_is_not_unicode_is_not_silently_unset() {
        use std::ffi::OsString;
        use std::os::unix::ffi::OsStringExt;
        let builder = Builder::<Postgres>::from_variables(Sqlx::new(), |name| match name {
            "DATABASE_URL" => Some("postgres://h/d".into()),
            _ => Some(OsString::from_vec(vec![0xFF])),
        });
        let error = error(builder).await;
        assert_eq!(error.kind(), ConfigErrorKind::Url);
        assert_eq!(error.field(), "DATABASE_REPLICA_URLS");
    }

    #[test]
    fn without_a_runtime_there_is_an_error_and_no_panic() {
        use futures_util::FutureExt;
        let connecting = Builder::<Postgres>::new(Sqlx::new())
            .primary("postgres://h/d")
            .connect();
        let error = connecting.now_or_never().unwrap().map(drop).unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::Runtime);
    }

    #[test]
    fn a_list_is_split_at_commas() {
        let builder = from(&[
            ("DATABASE_URL", "postgres://p/d"),
            ("DATABASE_REPLICA_URLS", " postgres://a/d, postgres://b/d ,"),
        ]);
        let replicas = |builder: &Builder<Postgres>| {
            let shown = format!("{builder:?}");
            ["a", "b", ""].map(|host| shown.contains(&format!("`postgres://{host}/d`")))
        };
        assert_eq!(replicas(&builder), [true, true, false]);
        let alone = from(&[("DATABASE_URL", "postgres://p/d")]);
        assert_eq!(replicas(&alone), [false; 3]);
    }

    #[tokio::test]
    async fn errors_name_the_node() {
        let named = NodeOptions::new("mysql://h/d").name("eu");
        let builder = Builder::new(Sqlx::new()).primary("postgres://h/d");
        let error = error(builder.replica("postgres://h/d").replica(named)).await;
        assert_eq!(
            (error.kind(), error.field()),
            (ConfigErrorKind::WrongDatabase, "eu.url")
        );
    }

    #[tokio::test]
    async fn two_primaries_are_an_error_and_so_is_none() {
        let two = Builder::new(Sqlx::new())
            .primary("postgres://h/d")
            .primary("postgres://h/d");
        assert_eq!(error(two).await.kind(), ConfigErrorKind::Primary);
        assert_eq!(
            error(Builder::new(Sqlx::new()).replica("postgres://h/d"))
                .await
                .kind(),
            ConfigErrorKind::Primary
        );
    }

    #[tokio::test]
    async fn a_function_that_is_none_is_an_error() {
        let sql = dbrouter::Sql::postgres().writing(["audit()"]);
        let builder = Builder::new(Sqlx::new())
            .primary("postgres://h/d")
            .classifier(sql);
        let error = error(builder).await;
        assert_eq!(
            (error.kind(), error.field()),
            (ConfigErrorKind::Function, "classifier.writing")
        );
    }

    #[test]
    fn debug_shows_no_password() {
        let options: sqlx::postgres::PgConnectOptions =
            "postgres://a:sup3r-secret@h/d".parse().unwrap();
        let builder = Builder::new(Sqlx::new())
            .primary("postgres://a:sup3r-secret@h/d")
            .replica(options);
        let shown = format!("{builder:?}");
        assert!(
            !shown.contains("sup3r") && shown.contains("a:***@h"),
            "{shown}"
        );
    }
}
