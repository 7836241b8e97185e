//! One node's pool, and the monitor's own connection to it.

use std::fmt;
use std::sync::Arc;

use dbrouter::{Answer, Backend, Fault, Pressure, Question};
use sqlx::{ConnectOptions, Connection, Pool};
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
    pub(crate) fn new(pool: Pool<DB>) -> Self {
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

    async fn connect(&self) -> Result<DB::Connection, sqlx::Error> {
        let options = unlogged::<DB>((*self.pool.connect_options()).clone());
        options.connect().await
    }
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
