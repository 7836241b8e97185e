//! One unit of work's handle.

use std::future::Future;
use std::ops::Deref;

use dbrouter::Hold;

use crate::database::RoutedDatabase;
use crate::routed::Routed;
use crate::transaction::Transaction;

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
pub struct Session<DB: RoutedDatabase>(Routed<DB>);

// Not derived: that would ask for `DB: Clone`.
impl<DB: RoutedDatabase> Clone for Session<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: RoutedDatabase> Session<DB> {
    pub(crate) fn new(routed: Routed<DB>) -> Self {
        Self(routed)
    }

    /// For how long the session keeps the replica connection that it reads from, between its statements,
    /// whichever handle they come through. Defaults to what the builder was told.
    ///
    /// ```no_run
    /// # use dbrouter_sqlx::{RoutedPool, dbrouter::Hold};
    /// # fn example(db: RoutedPool<sqlx::Postgres>) {
    /// // A report of many small queries, one right after the other:
    /// let report = db.session().hold_connection(Hold::ForLife);
    /// # }
    /// ```
    #[must_use]
    pub fn hold_connection(self, hold: Hold) -> Self {
        self.state().hold_connection(hold);
        self
    }

    /// Begins a transaction on the primary, as [`Routed::begin`] does. (Without this, where sqlx's `Acquire`
    /// is imported, its method of that name would be found first.)
    ///
    /// # Errors
    ///
    /// If there is no primary, or it gives no connection.
    pub async fn begin(&self) -> Result<Transaction<DB>, sqlx::Error> {
        self.0.begin().await
    }
}

/// All that a handle can do.
impl<DB: RoutedDatabase> Deref for Session<DB> {
    type Target = Routed<DB>;

    fn deref(&self) -> &Routed<DB> {
        &self.0
    }
}

/// Runs `future` inside `session`: the root handle then uses this session, so that code which knows
/// nothing of sessions gets reads that stay on one replica and see their writes. Scopes nest; a task that
/// `future` spawns is outside, unless it does so by [`spawn`](crate::spawn).
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
pub fn with_session<DB: RoutedDatabase, F: Future>(
    session: &Session<DB>,
    future: F,
) -> impl Future<Output = F::Output> + use<DB, F> {
    dbrouter::with_session(session.state(), future)
}
