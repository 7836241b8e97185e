//! One node's pool, and the monitor's own connection to it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use dbrouter::{Answer, Backend, Fault, Pressure, Question, RouteError};
use sqlx::pool::PoolConnection;
use sqlx::{ConnectOptions, Connection, Pool, Transaction};
use tokio::sync::Mutex;

use crate::database::{RoutedDatabase, unlogged};
use crate::error;
use crate::lanes::Lanes;

/// One node's pool. Reach it through [`RoutedPool::primary`](crate::RoutedPool::primary) or
/// [`Node::backend`](dbrouter::Node::backend).
pub struct SqlxBackend<DB: RoutedDatabase> {
    pool: Pool<DB>,
    /// The monitor's connection. It is taken out while it is in use, so that one whose question was
    /// dropped half-way is never asked another.
    probe: Arc<Mutex<Option<DB::Connection>>>,
    lanes: Arc<Lanes<DB>>,
}

impl<DB: RoutedDatabase> SqlxBackend<DB> {
    /// The node that a pool leads to.
    #[must_use]
    pub fn new(pool: Pool<DB>) -> Self {
        let lanes = Arc::new(Lanes::new());
        Self {
            pool,
            probe: Arc::new(Mutex::new(None)),
            lanes,
        }
    }

    /// sqlx's own pool for this node.
    #[must_use]
    pub fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    pub(crate) fn lanes(&self) -> &Lanes<DB> {
        &self.lanes
    }

    /// Begins a transaction in a task of its own, so that it is never left half-begun. In sqlx 0.9 a `begin`
    /// that is dropped while it waits for the server's answer leaves its connection inside the transaction,
    /// and hands it to the next caller, whose statements are then never committed.
    pub(crate) fn begin(
        &self,
        statement: Option<&'static str>,
    ) -> impl Future<Output = Result<Transaction<'static, DB>, sqlx::Error>> + Send + use<DB> {
        begin(self.pool.clone(), statement)
    }

    async fn connect(&self) -> Result<DB::Connection, sqlx::Error> {
        let options = unlogged::<DB>((*self.pool.connect_options()).clone());
        options.connect().await
    }
}

/// As [`SqlxBackend::begin`], on any pool.
pub(crate) async fn begin<DB: RoutedDatabase>(
    pool: Pool<DB>,
    statement: Option<&'static str>,
) -> Result<Transaction<'static, DB>, sqlx::Error> {
    let begun = tokio::spawn(async move {
        match statement {
            Some(statement) => pool.begin_with(statement).await,
            None => pool.begin().await,
        }
    });
    begun.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}

impl<DB: RoutedDatabase> Clone for SqlxBackend<DB> {
    fn clone(&self) -> Self {
        let (probe, lanes) = (Arc::clone(&self.probe), Arc::clone(&self.lanes));
        Self {
            pool: self.pool.clone(),
            probe,
            lanes,
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
    type Connection = PoolConnection<DB>;

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

    async fn acquire(&self) -> Result<PoolConnection<DB>, sqlx::Error> {
        self.pool.acquire().await
    }

    async fn probe(&self, question: &Question) -> Result<Answer, sqlx::Error> {
        let mut place = self.probe.lock().await;
        let mut connection = match place.take() {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let answer = DB::ask(&mut connection, question).await?;
        *place = Some(connection);
        Ok(answer)
    }

    async fn ask(&self, question: &Question) -> Result<Answer, sqlx::Error> {
        let mut connection = self.connect().await?;
        let answer = DB::ask(&mut connection, question).await;
        connection.close().await?;
        answer
    }
}
