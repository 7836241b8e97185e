//! One unit of work's handle.

use std::fmt;
use std::future::Future;
use std::ops::Deref;

use crate::pools::Pool;
use crate::routed::Routed;

/// One unit of work, such as a web request or a job: its reads stay on one replica, see its writes, and
/// never go back in time. Clones are the same session.
///
/// ```no_run
/// # use dbrouter_diesel::{Pool, RoutedPool};
/// # async fn example<P: Pool>(db: RoutedPool<P>) -> diesel::QueryResult<()> {
/// use diesel_async::SimpleAsyncConnection;
///
/// let session = db.session();
/// let mut primary = session.write().await?;
/// primary.batch_execute("insert into notes (text) values ('hello')").await?;
/// drop(primary);
/// let mut replica = session.read().await?; // shows the note
/// # Ok(())
/// # }
/// ```
pub struct Session<P: Pool> {
    routed: Routed<P>,
}

impl<P: Pool> Session<P> {
    pub(crate) fn new(routed: Routed<P>) -> Self {
        Self { routed }
    }
}

impl<P: Pool> Deref for Session<P> {
    type Target = Routed<P>;

    fn deref(&self) -> &Routed<P> {
        &self.routed
    }
}

impl<P: Pool> Clone for Session<P> {
    fn clone(&self) -> Self {
        Self::new(self.routed.clone())
    }
}

impl<P: Pool> fmt::Debug for Session<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Session").field(&self.routed).finish()
    }
}

/// Runs `future` inside `session`: the root handle then uses this session, so that code which knows
/// nothing of sessions gets reads that stay on one replica and see their writes. Scopes nest; a task that
/// `future` spawns is outside, unless it does so by [`spawn`](crate::spawn).
///
/// ```no_run
/// # use dbrouter_diesel::{Error, Pool, RoutedPool, with_session};
/// async fn handler<P: Pool>(db: &RoutedPool<P>) -> Result<(), Error> {
///     let mut conn = db.read().await?; // the session's replica
///     # let _ = &mut conn;
///     Ok(())
/// }
///
/// # async fn example<P: Pool>(db: RoutedPool<P>) -> Result<(), Error> {
/// with_session(&db.session(), handler(&db)).await?;
/// # Ok(())
/// # }
/// ```
pub fn with_session<P: Pool, F: Future>(
    session: &Session<P>,
    future: F,
) -> impl Future<Output = F::Output> + use<P, F> {
    dbrouter::with_session(session.state(), future)
}
