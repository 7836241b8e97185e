//! One node's pool, and the monitor's own connection to it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use dbrouter::runtimes::Homes;
use dbrouter::{Answer, Backend, Dialect, Fault, Pressure, Question, RouteError, run_to_end};
use sqlx::{ConnectOptions, Connection, Database, Pool, Transaction};
use tokio::runtime::{Handle, Id};
use tokio::sync::Mutex;

use crate::connection::Lease;
use crate::database::{RoutedDatabase, unlogged};
use crate::error;
use crate::lanes::Lanes;
use crate::pool_options::Keeps;
use crate::transaction::Open;

/// One node's pool. Reach it through [`RoutedPool::primary`](crate::RoutedPool::primary) or
/// [`Node::backend`](dbrouter::Node::backend).
pub struct SqlxBackend<DB: RoutedDatabase> {
    pool: Pool<DB>,
    /// The monitor's connection. It is taken out while it is in use, so that one whose question was
    /// dropped half-way is never asked another.
    probe: Arc<Mutex<Option<Probe<DB>>>>,
    lanes: Arc<Lanes<DB>>,
    access: Access,
    homes: Arc<Homes>,
}

/// The monitor's connection, and the runtime in which it was opened.
type Probe<DB> = (Id, <DB as Database>::Connection);

/// Whether the pool's connections were opened to refuse writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// They do whatever the server allows.
    Unrestricted,
    /// They were opened such that the server refuses writes on them.
    ReadOnly,
}

impl<DB: RoutedDatabase> SqlxBackend<DB> {
    /// The node that a pool leads to.
    #[must_use]
    pub fn new(pool: Pool<DB>) -> Self {
        Self::with_hook(pool, None)
    }

    /// As [`new`](Self::new), with the hook that the pool's connections run when they are released.
    pub(crate) fn with_hook(pool: Pool<DB>, after_release: Option<Arc<Keeps<DB>>>) -> Self {
        Self {
            pool,
            probe: Arc::new(Mutex::new(None)),
            lanes: Arc::new(Lanes::new(after_release)),
            access: Access::Unrestricted,
            homes: Arc::default(),
        }
    }

    /// The node that a pool leads to whose connections the server takes no writes on, as those of a replica that
    /// the router has opened.
    #[must_use]
    pub fn read_only(pool: Pool<DB>) -> Self {
        Self::new(pool).of_replica()
    }

    pub(crate) fn of_replica(self) -> Self {
        Self {
            access: Access::ReadOnly,
            ..self
        }
    }

    /// Another pool to the same node, with the same options and hooks.
    #[must_use]
    pub fn reopened(&self) -> Self {
        let options = (*self.pool.connect_options()).clone();
        let pool = self.pool.options().clone().connect_lazy_with(options);
        Self {
            access: self.access,
            ..Self::new(pool)
        }
    }

    /// sqlx's own pool for this node.
    #[must_use]
    pub fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// Closes the pool's idle connections if a Tokio runtime has ended in which the pool was used: those that were opened in it
    /// are dead. (SQLite's belong to threads of their own.) Whatever takes a connection from the pool calls this before.
    pub fn sweep(&self) {
        if DB::DIALECT != Dialect::Sqlite && self.homes.enter() {
            while let Some(connection) = self.pool.try_acquire() {
                drop(connection.detach());
            }
            self.lanes.sweep();
        }
    }

    pub(crate) fn lanes(&self) -> &Lanes<DB> {
        &self.lanes
    }

    /// Begins a transaction, to the end of that even if it is dropped. In sqlx 0.9 a `begin` that is dropped while it
    /// waits for the server's answer leaves its connection inside the transaction, and hands it to the next caller, whose
    /// statements are then never committed.
    fn begin(
        &self,
        statement: &'static str,
    ) -> impl Future<Output = Result<Transaction<'static, DB>, sqlx::Error>> + Send + use<DB> {
        self.sweep();
        let pool = self.pool.clone();
        run_to_end(async move { pool.begin_with(statement).await })
    }

    /// As [`begin`](Self::begin), a transaction that may write.
    pub(crate) fn begin_writing(
        &self,
    ) -> impl Future<Output = Result<Transaction<'static, DB>, sqlx::Error>> + Send + use<DB> {
        self.sweep();
        begin_writing(self.pool.clone())
    }

    /// Begins a transaction in which the server refuses writes.
    pub(crate) fn begin_reading(
        &self,
        how: &'static str,
    ) -> impl Future<Output = Result<Open<DB>, sqlx::Error>> + Send + use<DB> {
        self.sweep();
        let (pool, access) = (self.pool.clone(), self.access);
        run_to_end(async move {
            let mut open = Open::new(pool.begin_with(how).await?);
            if access == Access::Unrestricted {
                open.refuse_writes().await?;
            }
            Ok(open)
        })
    }

    async fn connect(&self) -> Result<DB::Connection, sqlx::Error> {
        let options = unlogged::<DB>((*self.pool.connect_options()).clone());
        options.connect().await
    }
}

/// As [`SqlxBackend::begin_writing`], on any pool.
pub(crate) fn begin_writing<DB: RoutedDatabase>(
    pool: Pool<DB>,
) -> impl Future<Output = Result<Transaction<'static, DB>, sqlx::Error>> + Send {
    run_to_end(async move {
        let Some(statement) = DB::DIALECT.begin_writing() else {
            return pool.begin().await;
        };
        match pool.begin_with(statement).await {
            // The application's own pool takes no writes. Its transactions may read.
            Err(error) if error::fault::<DB>(&error) == Fault::ReadOnly => pool.begin().await,
            begun => begun,
        }
    })
}

impl<DB: RoutedDatabase> Clone for SqlxBackend<DB> {
    fn clone(&self) -> Self {
        let (probe, lanes) = (Arc::clone(&self.probe), Arc::clone(&self.lanes));
        Self {
            pool: self.pool.clone(),
            probe,
            lanes,
            access: self.access,
            homes: Arc::clone(&self.homes),
        }
    }
}

impl<DB: RoutedDatabase> fmt::Debug for SqlxBackend<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pool's own Debug could show its connect options, and with them a password.
        f.debug_struct("SqlxBackend")
            .field("pressure", &self.pressure())
            .finish_non_exhaustive()
    }
}

impl<DB: RoutedDatabase> Backend for SqlxBackend<DB> {
    type Error = sqlx::Error;
    type Connection = Lease<DB>;

    fn pressure(&self) -> Pressure {
        let size = self.pool.size();
        let idle = u32::try_from(self.pool.num_idle())
            .unwrap_or(u32::MAX)
            .min(size);
        let max = self.pool.options().get_max_connections();
        // sqlx does not tell how many wait.
        Pressure {
            in_use: size - idle,
            idle,
            waiting: None,
            max,
        }
    }

    fn fault(error: &sqlx::Error) -> Fault {
        error::fault::<DB>(error)
    }

    fn refused(refusal: RouteError) -> sqlx::Error {
        sqlx::Error::Configuration(Box::new(refusal))
    }

    async fn acquire(&self) -> Result<Lease<DB>, sqlx::Error> {
        self.sweep();
        self.pool.acquire().await.map(Lease::new)
    }

    async fn acquire_read_only(&self) -> Result<Lease<DB>, sqlx::Error> {
        let lease = self.acquire().await?;
        match self.access {
            Access::Unrestricted => lease.refusing_writes().await,
            Access::ReadOnly => Ok(lease),
        }
    }

    /// On PostgreSQL in a transaction, which leaves no trace on the connection, however it ends, and is safe behind a
    /// PgBouncer that lends connections for one transaction at a time. SQLite has no transactions that only read; and sqlx
    /// 0.9 never gives back a connection to MariaDB whose transaction was dropped in the midst of a statement.
    async fn acquire_read_only_once(&self) -> Result<Lease<DB>, sqlx::Error> {
        if self.access == Access::ReadOnly || DB::DIALECT != Dialect::Postgres {
            return self.acquire_read_only().await;
        }
        let begun = self.begin(DB::DIALECT.begin_read_only());
        begun.await.map(Lease::within)
    }

    async fn forget_prepared(connection: &mut Lease<DB>) -> bool {
        connection.forget_prepared().await
    }

    async fn probe(&self, question: &Question) -> Result<Answer, sqlx::Error> {
        let mut place = self.probe.lock().await;
        let here = Handle::current().id();
        let mut connection = match place.take() {
            Some((home, connection)) if home == here => connection,
            // That of a runtime which has ended.
            Some(_) | None => self.connect().await?,
        };
        let answer = DB::ask(&mut connection, question).await?;
        *place = Some((here, connection));
        Ok(answer)
    }

    async fn ask(&self, question: &Question) -> Result<Answer, sqlx::Error> {
        let mut connection = self.connect().await?;
        let answer = DB::ask(&mut connection, question).await;
        connection.close().await?;
        answer
    }
}
