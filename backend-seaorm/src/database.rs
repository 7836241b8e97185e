//! What differs from one of sqlx's drivers to the next.

use std::error::Error;

use dbrouter::{Answer, Backend, Dialect, Fault, Question};
use dbrouter_sqlx::{Lease, SqlxBackend};
use sea_orm::{DatabaseConnection, DatabaseConnectionType, DbBackend};

/// Matches an enum that has a variant for each driver, and `Other` for what SeaORM does not run on sqlx.
macro_rules! by_driver {
    ($value:expr, $enum:ident, $inner:pat => $body:expr, $other:pat => $otherwise:expr $(,)?) => {
        match $value {
            #[cfg(feature = "mysql")]
            $enum::MySql($inner) => $body,
            #[cfg(feature = "postgres")]
            $enum::Postgres($inner) => $body,
            #[cfg(feature = "sqlite")]
            $enum::Sqlite($inner) => $body,
            $other => $otherwise,
        }
    };
}

pub(crate) use by_driver;

/// All that is said driver by driver. `$of` is SeaORM's variant of a connection, `$pool` its way to the pool.
macro_rules! drivers {
    ($($feature:literal: $driver:ident, $error:path, $of:ident, $pool:ident;)*) => {
        /// The kinds of databases whose drivers are turned on.
        pub(crate) const DIALECTS: &[Dialect] = &[
            $(#[cfg(feature = $feature)] <sqlx::$driver as dbrouter_sqlx::RoutedDatabase>::DIALECT,)*
        ];

        /// One node's pool, by its driver.
        #[derive(Clone)]
        pub(crate) enum NodePool {
            $(#[cfg(feature = $feature)] $driver(SqlxBackend<sqlx::$driver>),)*
            /// SeaORM does not run it on sqlx: a mock, a proxy.
            Other,
        }

        impl NodePool {
            pub(crate) fn of(connection: &DatabaseConnection) -> Self {
                match &connection.inner {
                    $(#[cfg(feature = $feature)]
                    DatabaseConnectionType::$of(_) => {
                        Self::$driver(SqlxBackend::new(connection.$pool().clone()))
                    })*
                    _ => Self::Other,
                }
            }
        }

        $(#[cfg(feature = $feature)]
        impl From<SqlxBackend<sqlx::$driver>> for NodePool {
            fn from(pool: SqlxBackend<sqlx::$driver>) -> Self {
                Self::$driver(pool)
            }
        })*

        /// A connection to one node, as its pool hands it out.
        #[derive(Debug)]
        #[non_exhaustive]
        pub enum Connection {
            $(#[cfg(feature = $feature)]
            #[doc = concat!("sqlx's, with the feature `", $feature, "`.")]
            $driver(Lease<sqlx::$driver>),)*
            /// What SeaORM does not run on sqlx, such as a mock.
            Other(DatabaseConnection),
        }

        $(#[cfg(feature = $feature)]
        impl From<Lease<sqlx::$driver>> for Connection {
            fn from(connection: Lease<sqlx::$driver>) -> Self {
                Self::$driver(connection)
            }
        })*

        /// A connection of the router's monitor to one node.
        #[expect(missing_debug_implementations, reason = "sqlx's would show what it holds")]
        pub struct Probe(Driver);

        enum Driver {
            $(#[cfg(feature = $feature)]
            $driver(dbrouter_sqlx::Probe<sqlx::$driver>),)*
            /// So that there is something to match without any driver.
            #[expect(dead_code, reason = "there is no such value")]
            None(std::convert::Infallible),
        }

        impl Probe {
            /// `None` for what SeaORM does not run on sqlx.
            pub(crate) async fn open(pool: &NodePool) -> Option<Result<Self, sqlx::Error>> {
                match pool {
                    $(#[cfg(feature = $feature)]
                    NodePool::$driver(node) => {
                        Some(node.open_probe().await.map(|probe| Self(Driver::$driver(probe))))
                    })*
                    NodePool::Other => None,
                }
            }

            pub(crate) async fn ask(&mut self, question: &Question) -> Result<Answer, sqlx::Error> {
                match &mut self.0 {
                    $(#[cfg(feature = $feature)]
                    Driver::$driver(probe) => {
                        SqlxBackend::<sqlx::$driver>::ask(probe, question).await
                    })*
                    Driver::None(none) => match (*none, question) {},
                }
            }

            pub(crate) async fn close(self) {
                match self.0 {
                    $(#[cfg(feature = $feature)]
                    Driver::$driver(probe) => SqlxBackend::<sqlx::$driver>::close_probe(probe).await,)*
                    Driver::None(none) => match none {},
                }
            }
        }

        /// What an error says of the node that it came from. Drivers differ in those of the server.
        pub(crate) fn fault(error: &sqlx::Error) -> Fault {
            $(#[cfg(feature = $feature)]
            if error
                .as_database_error()
                .is_none_or(|error| error.try_downcast_ref::<$error>().is_some())
            {
                return SqlxBackend::<sqlx::$driver>::fault(error);
            })*
            match error {
                sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Fault::Busy,
                _ => Fault::Other,
            }
        }

        /// The URL as SeaORM spells it, if the driver of its scheme understands it.
        pub(crate) fn url(url: &str) -> Result<String, Box<dyn Error + Send + Sync>> {
            let (scheme, rest) = url.split_once(':').unwrap_or_default();
            $(#[cfg(feature = $feature)]
            if <sqlx::$driver as dbrouter_sqlx::RoutedDatabase>::DIALECT
                .url_schemes()
                .contains(&scheme)
            {
                <dbrouter_sqlx::Sqlx<sqlx::$driver> as dbrouter::Adapter>::parse(url)?;
                return Ok(match scheme {
                    "mariadb" => format!("mysql:{rest}"),
                    "file" => format!("sqlite:{url}"),
                    _ => url.to_owned(),
                });
            })*
            Err("it does not begin with the scheme of a driver that is turned on".into())
        }
    };
}

drivers! {
    "mysql": MySql, sqlx::mysql::MySqlDatabaseError,
        SqlxMySqlPoolConnection, get_mysql_connection_pool;
    "postgres": Postgres, sqlx::postgres::PgDatabaseError,
        SqlxPostgresPoolConnection, get_postgres_connection_pool;
    "sqlite": Sqlite, sqlx::sqlite::SqliteError,
        SqlxSqlitePoolConnection, get_sqlite_connection_pool;
}

/// SeaORM's word for a kind of database.
pub(crate) fn backend(dialect: Dialect) -> DbBackend {
    match dialect {
        Dialect::Postgres => DbBackend::Postgres,
        Dialect::MariaDb => DbBackend::MySql,
        _ => DbBackend::Sqlite,
    }
}

/// The router's word for a kind of database.
pub(crate) fn dialect(backend: DbBackend) -> Dialect {
    match backend {
        DbBackend::Postgres => Dialect::Postgres,
        DbBackend::MySql => Dialect::MariaDb,
        _ => Dialect::Sqlite,
    }
}
