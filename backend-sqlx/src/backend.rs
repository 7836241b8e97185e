//! One node's pool.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dbrouter::runtimes::Homes;
use dbrouter::{Answer, Backend, Dialect, Fault, Pressure, Question, RouteError, run_to_end};
use sqlx::pool::PoolOptions as SqlxOptions;
use sqlx::{ConnectOptions, Connection, Pool, Transaction};

use crate::connecting::{Connecting, PLAIN, Wraps};
use crate::connection::Lease;
use crate::database::{Options, RoutedDatabase, unlogged};
use crate::error;
use crate::lanes::Lanes;
use crate::pool_options::Keeps;
#[cfg(feature = "postgres")]
use crate::pool_options::of_one_connection;
use crate::transaction::Open;

/// One node's pool. Reach it through [`RoutedPool::primary`](crate::RoutedPool::primary) or
/// [`Node::backend`](dbrouter::Node::backend).
pub struct SqlxBackend<DB: RoutedDatabase> {
    pool: Pool<DB>,
    lanes: Arc<Lanes<DB>>,
    connecting: Connecting<DB>,
    /// Whether statements may be prepared.
    prepares: bool,
    access: Access,
    homes: Arc<Homes>,
    /// Options whose hook sets a connection up as the application does, if there may be one.
    set_up: Option<SqlxOptions<DB>>,
}

/// A connection of the router's monitor.
#[expect(
    missing_debug_implementations,
    reason = "the connection's would show what it holds"
)]
pub struct Probe<DB: RoutedDatabase> {
    connection: DB::Connection,
    prepares: bool,
}

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
        // Which hooks a pool has that exists already cannot be read.
        let set_up = Some(pool.options().clone());
        Self::with_hook(pool, None, Connecting::as_it_is(), set_up)
    }

    /// As [`new`](Self::new), with the hook that the pool's connections run when they are released, how they are opened, and
    /// how the application sets them up.
    pub(crate) fn with_hook(
        pool: Pool<DB>,
        after_release: Option<Arc<Keeps<DB>>>,
        connecting: Connecting<DB>,
        set_up: Option<SqlxOptions<DB>>,
    ) -> Self {
        Self {
            prepares: DB::prepares(&pool.connect_options()),
            pool,
            connecting,
            lanes: Arc::new(Lanes::new(after_release)),
            access: Access::Unrestricted,
            homes: Arc::new(Homes::of_a_pool()),
            set_up,
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
        let connecting = self.connecting.again(&pool);
        Self {
            access: self.access,
            ..Self::with_hook(pool, None, connecting, self.set_up.clone())
        }
    }

    /// A pool beside this one for a connection that is held for long, and how that is opened.
    #[cfg(feature = "postgres")]
    pub(crate) fn beside(&self) -> (Pool<DB>, Connecting<DB>) {
        let options = (*self.pool.connect_options()).clone();
        let pool = of_one_connection(&self.pool).connect_lazy_with(options);
        let connecting = self.connecting.again(&pool);
        (pool, connecting)
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

    pub(crate) fn connecting(&self) -> &Connecting<DB> {
        &self.connecting
    }

    /// Takes a connection of the pool by other means than this backend's: `take` may open one, which logs in as
    /// [`Credentials`](dbrouter::Credentials) say. `inner` finds sqlx's error in that of `take`, and `outer` is the
    /// reverse.
    ///
    /// # Errors
    ///
    /// That of `take`; or that the credentials could not be had.
    pub async fn take_by<F, R, T, E>(
        &self,
        inner: fn(&E) -> Option<&sqlx::Error>,
        outer: fn(sqlx::Error) -> E,
        take: F,
    ) -> Result<T, E>
    where
        F: FnMut() -> R,
        R: Future<Output = Result<T, E>>,
    {
        let wraps = Wraps { inner, outer };
        self.connecting.take(&self.pool, wraps, take).await
    }

    /// Begins a transaction, to the end of that even if it is dropped. In sqlx 0.9 a `begin` that is dropped while it
    /// waits for the server's answer leaves its connection inside the transaction, and hands it to the next caller, whose
    /// statements are then never committed.
    fn begin(
        &self,
        statement: &'static str,
    ) -> impl Future<Output = Result<Transaction<'static, DB>, sqlx::Error>> + Send + use<DB> {
        self.sweep();
        let (pool, connecting) = (self.pool.clone(), self.connecting.clone());
        run_to_end(async move {
            let begin = || pool.begin_with(statement);
            connecting.take(&pool, PLAIN, begin).await
        })
    }

    /// As [`begin`](Self::begin), a transaction that may write.
    pub(crate) fn begin_writing(
        &self,
    ) -> impl Future<Output = Result<Transaction<'static, DB>, sqlx::Error>> + Send + use<DB> {
        self.sweep();
        begin_writing(self.pool.clone(), self.connecting.clone())
    }

    /// Begins a transaction in which the server refuses writes.
    pub(crate) fn begin_reading(
        &self,
        how: &'static str,
    ) -> impl Future<Output = Result<Open<DB>, sqlx::Error>> + Send + use<DB> {
        self.sweep();
        let (pool, connecting, access) = (self.pool.clone(), self.connecting.clone(), self.access);
        run_to_end(async move {
            let begun = connecting.take(&pool, PLAIN, || pool.begin_with(how)).await;
            let mut open = Open::new(begun?);
            if access == Access::Unrestricted {
                open.refuse_writes().await?;
            }
            Ok(open)
        })
    }
}

/// Opens another connection in the place of one, and sets that up by the hook of a pool's options: sqlx runs a hook only for
/// a pool, which is made for this alone. That a server cannot be reached is known by then: a pool would try again and
/// again, and not say why.
async fn instead_of<DB: RoutedDatabase>(
    connection: DB::Connection,
    set_up: SqlxOptions<DB>,
    options: Options<DB>,
) -> Result<DB::Connection, sqlx::Error> {
    // Whoever waits for it waits no longer.
    const LIMIT: Duration = Duration::from_secs(10);
    connection.close().await.ok();
    // Nothing is left for tasks of the pool's to do.
    let pool = set_up
        .min_connections(0)
        .max_lifetime(None)
        .idle_timeout(None);
    let pool = pool.acquire_timeout(LIMIT).connect_lazy_with(options);
    Ok(pool.acquire().await?.detach())
}

/// As [`SqlxBackend::begin_writing`], on any pool.
pub(crate) fn begin_writing<DB: RoutedDatabase>(
    pool: Pool<DB>,
    connecting: Connecting<DB>,
) -> impl Future<Output = Result<Transaction<'static, DB>, sqlx::Error>> + Send {
    run_to_end(async move {
        let Some(statement) = DB::DIALECT.begin_writing() else {
            return connecting.take(&pool, PLAIN, || pool.begin()).await;
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
        Self {
            pool: self.pool.clone(),
            lanes: Arc::clone(&self.lanes),
            connecting: self.connecting.clone(),
            prepares: self.prepares,
            access: self.access,
            homes: Arc::clone(&self.homes),
            set_up: self.set_up.clone(),
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
    type Probe = Probe<DB>;

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
        let take = || self.pool.acquire();
        let taken = self.connecting.take(&self.pool, PLAIN, take).await;
        taken.map(Lease::new)
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

    async fn open_probe(&self) -> Result<Probe<DB>, sqlx::Error> {
        self.connecting.renew(&self.pool).await?;
        let connect = || {
            let options = unlogged::<DB>((*self.pool.connect_options()).clone());
            let set_up = self.set_up.clone();
            async move {
                let connection = options.connect().await?;
                match set_up {
                    Some(set_up) => instead_of(connection, set_up, options).await,
                    None => Ok(connection),
                }
            }
        };
        let connected = self.connecting.retry(&self.pool, PLAIN, connect);
        Ok(Probe {
            connection: connected.await?,
            prepares: self.prepares,
        })
    }

    async fn ask(probe: &mut Probe<DB>, question: &Question) -> Result<Answer, sqlx::Error> {
        match probe.prepares {
            true => DB::ask(&mut probe.connection, question).await,
            false => DB::ask(&mut probe.connection, &question.unprepared()).await,
        }
    }

    async fn close_probe(probe: Probe<DB>) {
        probe.connection.close().await.ok();
    }
}
