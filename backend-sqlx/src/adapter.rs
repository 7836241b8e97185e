//! How nodes' pools are opened, for the builder that all adapters share.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use dbrouter::{
    Adapter, Cluster, ConfigError, Credentials, Dead, Dialect, IntoNode, LoginTarget, NodeOptions,
    Pings, Role, ServerCheck,
};
use sqlx::pool::PoolOptions as SqlxOptions;
use sqlx::{Connection, Pool};

use crate::backend::SqlxBackend;
use crate::connecting::{Connecting, Present};
use crate::database::{Options, RoutedDatabase};
use crate::opening::Opening;
use crate::pool::RoutedPool;
use crate::pool_options::PoolOptions;

/// sqlx's part of the configuration: the options of pools in general.
///
/// [`Builder::pool_options`](dbrouter::Builder::pool_options) takes [`PoolOptions`], which default to 10 connections
/// a node and an acquire timeout of 30 s. [`Builder::ping_after`](dbrouter::Builder::ping_after) takes the
/// place of their `test_before_acquire`: sqlx itself pings at every checkout.
///
/// PostgreSQL is told by the startup parameter `options` that a replica's connections are read-only, and that their
/// isolation level is *repeatable read*, whatever the database's default is: a standby refuses *serializable*. Where a
/// PgBouncer in between refuses the parameter, it is left out, and the standby alone refuses writes. MariaDB is told by a
/// statement on each new connection.
#[derive(Debug)]
pub struct Sqlx<DB: RoutedDatabase> {
    pool_options: PoolOptions<DB>,
    ping_after: Option<Duration>,
    credentials: Option<Credentials>,
}

// Not derived: that would ask for `DB: Clone`.
impl<DB: RoutedDatabase> Clone for Sqlx<DB> {
    fn clone(&self) -> Self {
        Self {
            pool_options: self.pool_options.clone(),
            ping_after: self.ping_after,
            credentials: self.credentials.clone(),
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
            credentials: None,
        }
    }

    /// Puts the hooks into a pool's options: the application's, and after them the router's own.
    fn with_hooks(&self, pool_options: PoolOptions<DB>, opening: Opening<DB>) -> SqlxOptions<DB> {
        let mut options = pool_options.options;
        if !opening.is_empty() {
            let opening = Arc::new(opening);
            options = options.after_connect(move |connection, meta| {
                let opening = Arc::clone(&opening);
                Box::pin(async move { opening.prepare(connection, meta).await })
            });
        }
        if let Some(hook) = pool_options.after_release {
            options = options.after_release(move |connection, meta| hook(connection, meta));
        }
        let hook = pool_options.before_acquire;
        if pool_options.hides_hooks && hook.is_none() {
            // The pool's own pings, as it should.
            return options;
        }
        let window = self.ping_after;
        if window.is_some() {
            options = options.test_before_acquire(false);
        } else if hook.is_none() {
            return options;
        }
        let pings = Arc::new(Pings::new(window));
        options.before_acquire(move |connection, meta| {
            let (hook, pings) = (hook.clone(), Arc::clone(&pings));
            Box::pin(async move {
                let idle = meta.idle_for;
                if let Some(hook) = hook
                    && !hook(connection, meta).await?
                {
                    return Ok(false);
                }
                // A connection that fails the ping is closed, and another one taken or opened.
                match pings.check(idle, connection.ping()).await {
                    Ok(()) => Ok(true),
                    Err(Dead::Failed(error)) => Err(error),
                    Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
                }
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

    fn credentials(&mut self, credentials: Credentials) -> Result<(), ConfigError> {
        self.credentials = Some(credentials);
        Ok(())
    }

    fn open(
        &self,
        options: Options<DB>,
        pool_options: Option<&PoolOptions<DB>>,
        role: Role,
        check: &ServerCheck,
        field: &str,
    ) -> Result<SqlxBackend<DB>, ConfigError> {
        let pool_options = match pool_options {
            Some(stated) => stated.over(&self.pool_options),
            None => self.pool_options.clone(),
        };
        let is_replica = role == Role::Replica;
        let (options, plain, session) = match is_replica {
            true => (
                DB::read_only(options.clone()),
                Some(options),
                DB::replica_session(),
            ),
            false => (options, None, None),
        };
        let credentials = self
            .credentials
            .as_ref()
            .map(|credentials| credentials.of(DB::target(&options, LoginTarget::new(field))));
        let present = Arc::new(Present::new(options, plain, credentials));
        let opening = Opening::new(Arc::clone(&present), check, &pool_options, session);
        let after_release = pool_options.after_release.clone();
        let set_up = pool_options.set_up();
        let pool = self.with_hooks(pool_options, opening);
        let pool = pool.connect_lazy_with(present.options());
        let connecting = Connecting::with(present, &pool);
        let backend = SqlxBackend::with_hook(pool, after_release, connecting, set_up);
        Ok(match is_replica {
            true => backend.of_replica(),
            false => backend,
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
