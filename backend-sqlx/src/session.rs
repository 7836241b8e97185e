//! One unit of work's handle.

use std::future::Future;

use dbrouter::{Decision, RouteError, SessionState};

use crate::connection::Connection;
use crate::database::RoutedDatabase;
use crate::pool::RoutedPool;
use crate::routed::Routed;
use crate::transaction::Transaction;
use crate::work::Work;

/// One unit of work, such as a web request or a job: its reads stay on one replica, see its writes, and
/// never go back in time. `&session` is an executor, as `&Pool` is. Clones are the same session.
///
/// ```no_run
/// # use dbrouter_sqlx::RoutedPool;
/// # async fn example(db: RoutedPool<sqlx::Postgres>) -> Result<(), sqlx::Error> {
/// let session = db.session();
/// sqlx::query("insert into notes (text) values ('hello')").execute(&session).await?;
/// let notes: i64 = sqlx::query_scalar("select count(*) from notes").fetch_one(&session).await?;
/// # Ok(())
/// # }
/// ```
pub struct Session<DB: RoutedDatabase> {
    pool: RoutedPool<DB>,
    state: SessionState,
}

// Not derived: that would ask for `DB: Clone`.
impl<DB: RoutedDatabase> Clone for Session<DB> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            state: self.state.clone(),
        }
    }
}

impl<DB: RoutedDatabase> Session<DB> {
    pub(crate) fn new(pool: &RoutedPool<DB>) -> Self {
        Self {
            pool: pool.clone(),
            state: pool.cluster().session(),
        }
    }

    /// All statements are reads, and go to a replica without being looked at.
    #[must_use]
    pub fn read(&self) -> Routed<DB> {
        self.routed().read()
    }

    /// All statements are writes, and go to the primary without being looked at.
    #[must_use]
    pub fn write(&self) -> Routed<DB> {
        self.routed().write()
    }

    /// Reads may show any state of a replica, however old.
    #[must_use]
    pub fn eventual(&self) -> Routed<DB> {
        self.routed().eventual()
    }

    /// A handle on this session to say more on: preference, labels, key.
    #[must_use]
    pub fn routed(&self) -> Routed<DB> {
        Routed::new(self.pool.cluster(), Some(&self.state))
    }

    /// Begins a transaction on the primary.
    ///
    /// # Errors
    ///
    /// If there is no primary, or it gives no connection.
    pub async fn begin(&self) -> Result<Transaction<DB>, sqlx::Error> {
        self.write().work().transaction().await
    }

    /// A connection to a replica, to keep for several reads.
    ///
    /// # Errors
    ///
    /// If no node will do, or none gives a connection.
    pub async fn acquire_read(&self) -> Result<Connection<DB>, sqlx::Error> {
        self.read().acquire().await
    }

    /// A connection to the primary, to keep. While it is out, this session's reads go to the primary.
    ///
    /// # Errors
    ///
    /// If there is no primary, or it gives no connection.
    pub async fn acquire_write(&self) -> Result<Connection<DB>, sqlx::Error> {
        self.write().acquire().await
    }

    /// Where the statement would go now, and why. Nothing is run.
    ///
    /// # Errors
    ///
    /// If it could go nowhere now.
    pub fn explain(&self, sql: &str) -> Result<Decision, RouteError> {
        self.routed().explain(sql)
    }

    /// Where the session's last piece of work went, and why.
    #[must_use]
    pub fn last_decision(&self) -> Option<Decision> {
        self.pool.cluster().last_decision(&self.state)
    }

    /// The router's own view of the session.
    #[must_use]
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    pub(crate) fn work(&self) -> Work<DB> {
        self.routed().work()
    }
}

/// Runs `future` inside `session`: the root handle then uses this session, so that code which knows
/// nothing of sessions gets reads that stay on one replica and see their writes. Scopes nest; a task that
/// `future` spawns is outside.
///
/// ```no_run
/// # use dbrouter_sqlx::{RoutedPool, with_session};
/// # use sqlx::Postgres;
/// async fn handler(db: &RoutedPool<Postgres>) -> Result<i64, sqlx::Error> {
///     sqlx::query("insert into visits default values").execute(db).await?;
///     sqlx::query_scalar("select count(*) from visits").fetch_one(db).await
/// }
///
/// # async fn example(db: RoutedPool<Postgres>) -> Result<(), sqlx::Error> {
/// let visits = with_session(&db.session(), handler(&db)).await?;
/// # Ok(())
/// # }
/// ```
pub async fn with_session<DB: RoutedDatabase, F: Future>(
    session: &Session<DB>,
    future: F,
) -> F::Output {
    dbrouter::with_session(session.state.clone(), future).await
}
