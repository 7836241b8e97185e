//! A connection to keep for several statements.

use std::fmt;
use std::ops::{Deref, DerefMut};

use dbrouter::{Decision, Pings, Route, Work};
use futures_core::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Acquire, Connection as _, Transaction};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::backend::SqlxBackend;
use crate::database::RoutedDatabase;

/// A connection of a node's pool, which is back there when it is dropped, and then as it was. It derefs to the driver's
/// own connection.
pub struct Lease<DB: RoutedDatabase>(Lent<DB>);

enum Lent<DB: RoutedDatabase> {
    AsItIs(Borrowed<DB>),
    /// In a read-only transaction, which is rolled back when it is dropped.
    Within(Transaction<'static, DB>),
    Refusing(Refusing<DB>),
}

/// A connection that goes back to its pool. sqlx pings each one that does, and waits for the answer for as long as it takes:
/// a connection that a firewall has forgotten would keep its place in the pool for many minutes.
struct Borrowed<DB: RoutedDatabase>(Option<PoolConnection<DB>>);

impl<DB: RoutedDatabase> Drop for Borrowed<DB> {
    fn drop(&mut self) {
        if let Some(mut connection) = self.0.take()
            && let Ok(runtime) = Handle::try_current()
        {
            let returning = connection.return_to_pool();
            runtime.spawn(async move { timeout(Pings::LIMIT, returning).await.ok() });
        }
    }
}

/// A connection on which the server refuses writes, until it has been told to take them again.
struct Refusing<DB: RoutedDatabase>(Option<PoolConnection<DB>>);

/// Why there is always a connection.
const HELD: &str = "a connection is only given back when it is dropped";

impl<DB: RoutedDatabase> Lease<DB> {
    pub(crate) fn new(connection: PoolConnection<DB>) -> Self {
        Self(Lent::AsItIs(Borrowed(Some(connection))))
    }

    /// In a transaction that only reads.
    pub(crate) fn within(transaction: Transaction<'static, DB>) -> Self {
        Self(Lent::Within(transaction))
    }

    /// See [`Backend::forget_prepared`](dbrouter::Backend::forget_prepared).
    pub(crate) async fn forget_prepared(&mut self) -> bool {
        if self.clear_cached_statements().await.is_err() {
            return false;
        }
        match self.0 {
            // It has failed, and runs nothing more until it is another one. (PostgreSQL before version 12 knows no such
            // statement.)
            Lent::Within(_) => DB::execute(self, "ROLLBACK AND CHAIN").await.is_ok(),
            Lent::AsItIs(_) | Lent::Refusing(_) => true,
        }
    }

    /// Has the server refuse writes on the connection until it is given back.
    pub(crate) async fn refusing_writes(self) -> Result<Self, sqlx::Error> {
        let Lent::AsItIs(mut borrowed) = self.0 else {
            return Ok(self);
        };
        let mut connection = borrowed.0.take().expect(HELD);
        if let Some(question) = DB::DIALECT.refuses_writes()
            && DB::ask(&mut connection, &question).await?.is_yes()
        {
            return Ok(Self::new(connection));
        }
        // Before it is told so: whether it has taken effect is not known if this is dropped.
        let mut lease = Self(Lent::Refusing(Refusing(Some(connection))));
        DB::execute(&mut lease, DB::DIALECT.refuse_writes()).await?;
        Ok(lease)
    }
}

impl<DB: RoutedDatabase> Deref for Lease<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        match &self.0 {
            Lent::AsItIs(connection) => connection.0.as_ref().expect(HELD),
            Lent::Within(transaction) => transaction,
            Lent::Refusing(connection) => connection.0.as_ref().expect(HELD),
        }
    }
}

impl<DB: RoutedDatabase> DerefMut for Lease<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        match &mut self.0 {
            Lent::AsItIs(connection) => connection.0.as_mut().expect(HELD),
            Lent::Within(transaction) => transaction,
            Lent::Refusing(connection) => connection.0.as_mut().expect(HELD),
        }
    }
}

impl<DB: RoutedDatabase> Drop for Refusing<DB> {
    fn drop(&mut self) {
        let Some(connection) = self.0.take() else {
            return;
        };
        let restoring = Restoring(Some(connection));
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(restoring.restore());
        }
    }
}

/// A connection that is on its way back. Unless the server says that it takes writes on it again, it is closed.
struct Restoring<DB: RoutedDatabase>(Option<PoolConnection<DB>>);

impl<DB: RoutedDatabase> Restoring<DB> {
    async fn restore(mut self) {
        if let Some(connection) = &mut self.0 {
            let allowed = DB::execute(connection, DB::DIALECT.allow_writes_again());
            if matches!(timeout(Pings::LIMIT, allowed).await, Ok(Ok(()))) {
                drop(Borrowed(self.0.take()));
            }
        }
    }
}

impl<DB: RoutedDatabase> Drop for Restoring<DB> {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

impl<DB: RoutedDatabase> fmt::Debug for Lease<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

/// A connection to one node, from `acquire_read` or `acquire_write`. It derefs to the driver's own
/// connection, so `&mut *connection` is an executor.
///
/// What happens on it cannot be seen. While one from `acquire_write` is out, its session's reads go to
/// the primary; when it is dropped, all that may have been written on it counts as written. What is read
/// on one from `acquire_read` counts as read when it is dropped.
pub struct Connection<DB: RoutedDatabase> {
    connection: Lease<DB>,
    route: Route<SqlxBackend<DB>>,
}

impl<DB: RoutedDatabase> Connection<DB> {
    pub(crate) async fn acquire(work: Work<SqlxBackend<DB>>) -> Result<Self, sqlx::Error> {
        let (connection, route) = work.of_connection().acquire().await?;
        let route = route.hold_open();
        Ok(Self { connection, route })
    }

    /// The node that it leads to, and why.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.route.decision()
    }
}

impl<DB: RoutedDatabase> Deref for Connection<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.connection
    }
}

impl<DB: RoutedDatabase> DerefMut for Connection<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.connection
    }
}

impl<'c, DB: RoutedDatabase> Acquire<'c> for &'c mut Connection<DB> {
    type Database = DB;
    type Connection = &'c mut DB::Connection;

    fn acquire(self) -> BoxFuture<'c, Result<Self::Connection, sqlx::Error>> {
        Box::pin(std::future::ready(Ok(&mut **self)))
    }

    fn begin(self) -> BoxFuture<'c, Result<Transaction<'c, DB>, sqlx::Error>> {
        Box::pin(sqlx::Connection::begin(&mut **self))
    }
}

impl<DB: RoutedDatabase> fmt::Debug for Connection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("decision", &self.decision())
            .finish_non_exhaustive()
    }
}
