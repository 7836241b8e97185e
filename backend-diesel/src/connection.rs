//! What is held: a connection to read from, and one to write to.

use std::fmt;
use std::ops::{Deref, DerefMut};

use dbrouter::{Decision, Pings, Route};
use diesel_async::pooled_connection::PoolableConnection;
use diesel_async::{SimpleAsyncConnection, TransactionManager};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::backend::DieselBackend;
use crate::database::RoutedConnection;
use crate::error::Error;
use crate::pools::Pool;
use crate::strict::{self, ReadOnly, ReadWrite};
use crate::transaction::Manager;

/// A pool's connection. One that is dropped inside a transaction does not go back to the pool: it is closed,
/// which rolls back.
pub struct Lease<P: Pool> {
    guard: Option<P::Guard>,
    writes: Writes,
}

/// The state of a connection that tells whether the server refuses writes on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writes {
    /// Nothing was changed.
    AsItWas,
    /// It refuses them.
    Refused,
    /// It is being told to do again what it did, and has not said that it does.
    Restoring,
}

impl<P: Pool> Lease<P> {
    /// Why there is always a connection.
    const HELD: &str = "a connection is only given back when it is dropped";

    pub(crate) fn new(guard: P::Guard) -> Self {
        Self {
            guard: Some(guard),
            writes: Writes::AsItWas,
        }
    }

    /// Has the server refuse writes on the connection until it is given back.
    pub(crate) async fn refuse_writes(&mut self) -> Result<(), Error> {
        let dialect = P::Connection::DIALECT;
        if let Some(question) = dialect.refuses_writes()
            && self.ask(&question).await.map_err(Error::query)?.is_yes()
        {
            return Ok(());
        }
        // Before it is told so: whether it has taken effect is not known if this is dropped.
        self.writes = Writes::Refused;
        let refused = self.batch_execute(dialect.refuse_writes()).await;
        refused.map_err(Error::query)
    }

    /// Gives the connection back as it was, or closes it.
    async fn restore(mut self) {
        let allow = P::Connection::DIALECT.allow_writes_again();
        let allowed = timeout(Pings::LIMIT, self.batch_execute(allow)).await;
        if matches!(allowed, Ok(Ok(()))) {
            self.writes = Writes::AsItWas;
        }
    }
}

impl<P: Pool> Deref for Lease<P> {
    type Target = P::Connection;

    fn deref(&self) -> &P::Connection {
        self.guard.as_ref().expect(Self::HELD)
    }
}

impl<P: Pool> DerefMut for Lease<P> {
    fn deref_mut(&mut self) -> &mut P::Connection {
        self.guard.as_mut().expect(Self::HELD)
    }
}

impl<P: Pool> Drop for Lease<P> {
    fn drop(&mut self) {
        let Some(mut guard) = self.guard.take() else {
            return;
        };
        // A connection that is broken, or in a transaction, is closed in any case.
        if self.writes == Writes::AsItWas || guard.is_broken() {
            return P::give_back(guard);
        }
        match Handle::try_current() {
            Ok(runtime) if self.writes == Writes::Refused => {
                let lease = Self {
                    guard: Some(guard),
                    writes: Writes::Restoring,
                };
                runtime.spawn(lease.restore());
            }
            _ => {
                Manager::<P>::transaction_manager_status_mut(&mut *guard).set_in_error();
                P::give_back(guard);
            }
        }
    }
}

impl<P: Pool> fmt::Debug for Lease<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

/// A connection to read from, on a node that shows what its session must see. It derefs to diesel-async's
/// own connection and is one itself, so every query, transaction and pipeline runs on it as it is.
///
/// A write on it is refused by the server. Where it leads to the primary, the server is told so when the guard is taken,
/// which costs a round trip, and that writes are allowed again after it was dropped. (A transaction that has begun before
/// that, as a test's [`begin_test_transaction`](diesel_async::AsyncConnection::begin_test_transaction), stays as it was, but
/// for SQLite's. And a PgBouncer that lends connections for one transaction at a time must not be in between.) With
/// [`RunQueryDsl`](crate::RunQueryDsl) imported from this crate instead of diesel-async, it does not compile.
///
/// What is read counts as read when the guard is dropped, so do not keep one for longer than the reads that
/// belong together. A statement that fails because the node was lost is not run again elsewhere: the router does
/// not see it. The next guard leads to another node.
#[must_use = "the connection goes back to its pool when the guard is dropped"]
pub struct ReadGuard<P: Pool> {
    // Given back before the work counts as ended.
    connection: Lease<P>,
    route: Route<DieselBackend<P>>,
}

/// A connection to write to, on the primary. It derefs to diesel-async's own connection and is one itself.
///
/// What happens on it cannot be seen. While it is out, its session's reads go to the primary; when it is
/// dropped, all that may have been written on it counts as written. A
/// [`transaction`](crate::Routed::transaction) of the handle's sees its own commit, and needs no such caution.
#[must_use = "the connection goes back to its pool when the guard is dropped"]
pub struct WriteGuard<P: Pool> {
    connection: Lease<P>,
    route: Route<DieselBackend<P>>,
}

impl<P: Pool> ReadGuard<P> {
    pub(crate) fn new((connection, route): (Lease<P>, Route<DieselBackend<P>>)) -> Self {
        Self { connection, route }
    }

    /// The node that it leads to, and why.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.route.decision()
    }
}

impl<P: Pool> WriteGuard<P> {
    pub(crate) fn new((connection, route): (Lease<P>, Route<DieselBackend<P>>)) -> Self {
        let route = route.hold_open();
        Self { connection, route }
    }

    /// The node that it leads to, and why.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.route.decision()
    }
}

impl<P: Pool> Deref for ReadGuard<P> {
    type Target = P::Connection;

    fn deref(&self) -> &P::Connection {
        &self.connection
    }
}

impl<P: Pool> DerefMut for ReadGuard<P> {
    fn deref_mut(&mut self) -> &mut P::Connection {
        &mut self.connection
    }
}

impl<P: Pool> Deref for WriteGuard<P> {
    type Target = P::Connection;

    fn deref(&self) -> &P::Connection {
        &self.connection
    }
}

impl<P: Pool> DerefMut for WriteGuard<P> {
    fn deref_mut(&mut self) -> &mut P::Connection {
        &mut self.connection
    }
}

impl<P: Pool> strict::Handle for ReadGuard<P> {
    type Connection = P::Connection;
    type Mode = ReadOnly;

    fn connection(&mut self) -> &mut P::Connection {
        self
    }
}

impl<P: Pool> strict::Handle for WriteGuard<P> {
    type Connection = P::Connection;
    type Mode = ReadWrite;

    fn connection(&mut self) -> &mut P::Connection {
        self
    }
}

impl<P: Pool> fmt::Debug for ReadGuard<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGuard")
            .field("decision", &self.decision())
            .finish_non_exhaustive()
    }
}

impl<P: Pool> fmt::Debug for WriteGuard<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGuard")
            .field("decision", &self.decision())
            .finish_non_exhaustive()
    }
}
