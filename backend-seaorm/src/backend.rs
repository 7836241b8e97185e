//! One node, as SeaORM and as sqlx know it.

use std::fmt;
use std::future::Future;

use dbrouter::{
    Answer, Backend, ConfigError, ConfigErrorKind, Credentials, Dialect, Fault, Pressure, Question,
    Role, RouteError, ServerCheck, run_to_end,
};
use dbrouter_sqlx::PoolOptions;
use sea_orm::{
    AccessMode, DatabaseConnection, DatabaseConnectionType, DatabaseTransaction, DbErr,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};

use crate::database::{self, Connection, NodePool, Probe, by_driver};
use crate::error;
use crate::transaction::Open;

/// One node: SeaORM's connection, and the sqlx pool in it, on which statements run. Reach it through
/// [`Routed::primary`](crate::Routed::primary) or
/// [`Node::backend`](dbrouter::Node::backend).
#[derive(Clone)]
pub struct SeaOrmBackend {
    connection: DatabaseConnection,
    pool: NodePool,
}

impl SeaOrmBackend {
    /// The node that a connection leads to. One that SeaORM does not run on sqlx, such as a mock, can be used,
    /// but not watched.
    ///
    /// # Errors
    ///
    /// If the connection is closed. `field` is what the error calls it.
    pub fn new(connection: DatabaseConnection, field: &str) -> Result<Self, ConfigError> {
        let backend = Self::of(connection);
        if backend.is_closed() {
            let problem = "is a closed connection; connect it first, and close it last";
            return Err(ConfigError::new(ConfigErrorKind::Pool, field, problem));
        }
        Ok(backend)
    }

    /// As [`new`](Self::new), for a node that the router watches.
    pub(crate) fn watched(
        connection: DatabaseConnection,
        field: &str,
    ) -> Result<Self, ConfigError> {
        let backend = Self::new(connection, field)?;
        if matches!(backend.pool, NodePool::Other) {
            let problem = format!(
                "{:?} is not a pool of sqlx's, so it cannot be asked how far it has replicated; use it alone, \
                 through `RoutedConnection::single`",
                backend.connection.inner
            );
            return Err(ConfigError::new(ConfigErrorKind::Pool, field, problem));
        }
        Ok(backend)
    }

    fn of(connection: DatabaseConnection) -> Self {
        let pool = NodePool::of(&connection);
        Self { connection, pool }
    }

    /// SeaORM's own connection to this node.
    #[must_use]
    pub fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// A new pool with the same options and hooks, and of no more than `most` connections; a replica's is read-only.
    pub(crate) fn reopened(
        &self,
        role: Role,
        credentials: Option<&Credentials>,
        check: &ServerCheck,
        most: Option<u32>,
        field: &str,
    ) -> Result<Self, ConfigError> {
        by_driver!(&self.pool, NodePool,
            node => {
                use dbrouter::Adapter;
                let mut adapter = dbrouter_sqlx::Sqlx::new();
                if let Some(credentials) = credentials {
                    adapter.credentials(credentials.clone())?;
                }
                let options = (*node.pool().connect_options()).clone();
                let mut pool_options = node.pool().options().clone();
                if let Some(most) = most {
                    let least = pool_options.get_min_connections().min(most);
                    pool_options = pool_options.max_connections(most).min_connections(least);
                }
                let pool_options = PoolOptions::from_sqlx(pool_options);
                let node = adapter.open(options, Some(&pool_options), role, check, field)?;
                let connection = node.pool().clone().into();
                Ok(Self { connection, pool: node.into() })
            },
            NodePool::Other => Self::watched(self.connection.clone(), field),
        )
    }

    /// Another pool with the same options and hooks, for the same role; `None` if there is no pool.
    pub(crate) fn again(&self) -> Option<Self> {
        by_driver!(&self.pool, NodePool,
            node => {
                let node = node.reopened();
                let connection = node.pool().clone().into();
                Some(Self { connection, pool: node.into() })
            },
            NodePool::Other => None,
        )
    }

    pub(crate) fn dialect(&self) -> Dialect {
        database::dialect(self.connection.get_database_backend())
    }

    fn is_closed(&self) -> bool {
        by_driver!(&self.pool, NodePool,
            node => node.pool().is_closed(),
            NodePool::Other => {
                matches!(self.connection.inner, DatabaseConnectionType::Disconnected)
            },
        )
    }

    /// Begins a transaction, to the end of that even if it is dropped: SeaORM's `begin` is sqlx's, which leaves its
    /// connection inside the transaction if it is dropped while it waits for the server's answer.
    ///
    /// In one that is to be read-only the server refuses writes. SQLite has no such transactions: there the connection
    /// refuses them until it has ended.
    pub(crate) fn begin(
        &self,
        mut options: TransactionOptions,
    ) -> impl Future<Output = Result<Open, DbErr>> + Send + use<> {
        let refuses_writes = self.dialect() == Dialect::Sqlite
            && !matches!(self.pool, NodePool::Other)
            && options.access_mode == Some(AccessMode::ReadOnly);
        let reads = options.access_mode == Some(AccessMode::ReadOnly);
        let takes_lock = self.dialect() == Dialect::Sqlite
            && !reads
            && options.sqlite_transaction_mode.is_none();
        if self.dialect() == Dialect::Sqlite {
            // It knows neither, and SeaORM would warn of that each time. Readers are read-only, and every
            // transaction sees one moment.
            options.access_mode = None;
            options.isolation_level = None;
        }
        by_driver!(&self.pool, NodePool,
            node => node.sweep(),
            NodePool::Other => {}
        );
        let Self { connection, pool } = self.clone();
        run_to_end(async move {
            let mut open = Open::new(match takes_lock {
                true => begin_writing(&connection, options).await?,
                false => {
                    let begin = || connection.begin_with_options(options);
                    by_driver!(&pool, NodePool,
                        node => node.take_by(error::of_sqlx, error::of_connection, begin).await?,
                        NodePool::Other => begin().await?,
                    )
                }
            });
            if refuses_writes {
                open.refuse_writes().await?;
            }
            Ok(open)
        })
    }
}

/// Begins a transaction on SQLite that may write: see [`Dialect::begin_writing`].
async fn begin_writing(
    connection: &DatabaseConnection,
    options: TransactionOptions,
) -> Result<DatabaseTransaction, DbErr> {
    let writing = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..options
    };
    match connection.begin_with_options(writing).await {
        // The application's own connection takes no writes. Its transactions may read.
        Err(error) if error::fault(&error) == Fault::ReadOnly => {
            connection.begin_with_options(options).await
        }
        begun => begun,
    }
}

impl fmt::Debug for SeaOrmBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeaOrmBackend")
            .field("connection", &self.connection.inner)
            .field("pressure", &self.pressure())
            .finish()
    }
}

impl Backend for SeaOrmBackend {
    type Error = DbErr;
    type Connection = Connection;
    type Probe = Probe;

    fn pressure(&self) -> Pressure {
        by_driver!(&self.pool, NodePool,
            node => node.pressure(),
            NodePool::Other => Pressure::default(),
        )
    }

    fn fault(error: &DbErr) -> Fault {
        error::fault(error)
    }

    fn refused(refusal: RouteError) -> DbErr {
        error::of_router(refusal)
    }

    async fn acquire(&self) -> Result<Connection, DbErr> {
        by_driver!(&self.pool, NodePool,
            node => node.acquire().await.map(Into::into).map_err(error::of_acquire),
            NodePool::Other => Ok(Connection::Other(self.connection.clone())),
        )
    }

    async fn acquire_read_only(&self) -> Result<Connection, DbErr> {
        by_driver!(&self.pool, NodePool,
            node => node.acquire_read_only().await.map(Into::into).map_err(error::of_acquire),
            NodePool::Other => self.acquire().await,
        )
    }

    async fn acquire_read_only_once(&self) -> Result<Connection, DbErr> {
        by_driver!(&self.pool, NodePool,
            node => node.acquire_read_only_once().await.map(Into::into).map_err(error::of_acquire),
            NodePool::Other => self.acquire().await,
        )
    }

    async fn forget_prepared(connection: &mut Connection) -> bool {
        connection.forget_prepared().await
    }

    async fn open_probe(&self) -> Result<Probe, DbErr> {
        let opened = Probe::open(&self.pool).await;
        opened
            .ok_or_else(unwatchable)?
            .map_err(error::of_connection)
    }

    async fn ask(probe: &mut Probe, question: &Question) -> Result<Answer, DbErr> {
        probe.ask(question).await.map_err(error::of_connection)
    }

    async fn close_probe(probe: Probe) {
        probe.close().await;
    }
}

/// Rows of mocks and proxies are sorted by the names of their columns, and a question's columns go by their
/// order.
fn unwatchable() -> DbErr {
    DbErr::BackendNotSupported {
        db: "a mock or a proxy",
        ctx: "being watched",
    }
}
