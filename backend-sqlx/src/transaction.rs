//! A transaction that sees its own commit.

use std::fmt;
use std::ops::{Deref, DerefMut};

use dbrouter::{Decision, Route};
use futures_core::future::BoxFuture;
use sqlx::Acquire;

use crate::backend::SqlxBackend;
use crate::database::RoutedDatabase;

/// A transaction on the primary. It derefs to the driver's own connection, so `&mut *tx` is an executor,
/// as with sqlx's own; for functions that want sqlx's own there is [`as_sqlx`](Self::as_sqlx).
///
/// Its session sees what it wrote as soon as [`commit`](Self::commit) returns. Dropped without commit it
/// is rolled back.
pub struct Transaction<DB: RoutedDatabase> {
    transaction: sqlx::Transaction<'static, DB>,
    route: Route<SqlxBackend<DB>>,
}

impl<DB: RoutedDatabase> Transaction<DB> {
    pub(crate) fn new(
        transaction: sqlx::Transaction<'static, DB>,
        route: Route<SqlxBackend<DB>>,
    ) -> Self {
        Self { transaction, route }
    }

    /// Commits. From then on the session's reads see what was written.
    ///
    /// # Errors
    ///
    /// The database's. The transaction may have taken effect all the same, if the connection broke; the
    /// session's reads are routed as if it had.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let Self { transaction, route } = self;
        let committed = transaction.commit().await;
        // The session learns of the write before the caller does. A dropped future comes to the same.
        drop(route);
        committed
    }

    /// Rolls back. The session's reads need not see what was written, only what the transaction may have read.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        let Self { transaction, route } = self;
        transaction.rollback().await?;
        route.rolled_back();
        Ok(())
    }

    /// sqlx's own transaction, for functions that want `&mut sqlx::Transaction`.
    pub fn as_sqlx(&mut self) -> &mut sqlx::Transaction<'static, DB> {
        &mut self.transaction
    }

    /// The node that it runs on, and why.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.route.decision()
    }
}

impl<DB: RoutedDatabase> Deref for Transaction<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.transaction
    }
}

impl<DB: RoutedDatabase> DerefMut for Transaction<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.transaction
    }
}

impl<'t, DB: RoutedDatabase> Acquire<'t> for &'t mut Transaction<DB> {
    type Database = DB;
    type Connection = &'t mut DB::Connection;

    fn acquire(self) -> BoxFuture<'t, Result<Self::Connection, sqlx::Error>> {
        Box::pin(std::future::ready(Ok(&mut **self)))
    }

    fn begin(self) -> BoxFuture<'t, Result<sqlx::Transaction<'t, DB>, sqlx::Error>> {
        Box::pin(sqlx::Connection::begin(&mut **self))
    }
}

impl<DB: RoutedDatabase> fmt::Debug for Transaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("decision", &self.decision())
            .finish_non_exhaustive()
    }
}
