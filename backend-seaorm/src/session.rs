//! One unit of work's handle.

use std::future::Future;
use std::ops::Deref;

use dbrouter::Hold;

use crate::routed::Routed;

/// One unit of work, such as a web request or a job: its reads stay on one replica, see its writes, and
/// never go back in time. `&session` is used as `&DatabaseConnection` is. Clones are the same session.
///
/// ```no_run
/// # use sea_orm::ConnectionTrait;
/// # async fn example(db: dbrouter_seaorm::RoutedConnection) -> Result<(), sea_orm::DbErr> {
/// let session = db.session();
/// session.execute_unprepared("insert into notes (text) values ('hello')").await?;
/// let notes = sea_orm::Statement::from_string(session.get_database_backend(), "select * from notes");
/// let rows = session.query_all_raw(notes).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session(Routed);

impl Session {
    pub(crate) fn new(routed: Routed) -> Self {
        Self(routed)
    }

    /// For how long the session keeps the replica connection that it reads from, between its statements,
    /// whichever handle they come through. Defaults to what the builder was told.
    ///
    /// ```no_run
    /// # use dbrouter_seaorm::{RoutedConnection, dbrouter::Hold};
    /// # fn example(db: RoutedConnection) {
    /// // A report of many small queries, one right after the other:
    /// let report = db.session().hold_connection(Hold::ForLife);
    /// # }
    /// ```
    #[must_use]
    pub fn hold_connection(self, hold: Hold) -> Self {
        self.state().hold_connection(hold);
        self
    }
}

/// All that a handle can do.
impl Deref for Session {
    type Target = Routed;

    fn deref(&self) -> &Routed {
        &self.0
    }
}

/// Runs `future` inside `session`: the root handle then uses this session, so that code which knows
/// nothing of sessions gets reads that stay on one replica and see their writes. Scopes nest; a task that
/// `future` spawns is outside, unless it does so by [`spawn`](crate::spawn).
///
/// ```no_run
/// # use dbrouter_seaorm::{RoutedConnection, with_session};
/// # use sea_orm::{ConnectionTrait, DbErr};
/// async fn handler(db: &RoutedConnection) -> Result<u64, DbErr> {
///     let visits = db.execute_unprepared("insert into visits default values").await?;
///     Ok(visits.rows_affected())
/// }
///
/// # async fn example(db: RoutedConnection) -> Result<(), DbErr> {
/// let visits = with_session(&db.session(), handler(&db)).await?;
/// # Ok(())
/// # }
/// ```
pub fn with_session<F: Future>(
    session: &Session,
    future: F,
) -> impl Future<Output = F::Output> + use<F> {
    dbrouter::with_session(session.state(), future)
}
