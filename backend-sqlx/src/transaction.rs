//! A transaction that sees its own commit.

use std::fmt;
use std::ops::{Deref, DerefMut};

use dbrouter::{Decision, Route};
use futures_core::future::BoxFuture;
use sqlx::Acquire;
use tokio::runtime::Handle;

use crate::backend::SqlxBackend;
use crate::database::RoutedDatabase;

/// A transaction on the primary. It derefs to the driver's own connection, so `&mut *tx` is an executor,
/// as with sqlx's own; for functions that want sqlx's own there is [`as_sqlx`](Self::as_sqlx).
///
/// Its session sees what it wrote as soon as [`commit`](Self::commit) returns. Dropped without commit it
/// is rolled back.
pub struct Transaction<DB: RoutedDatabase> {
    transaction: Open<DB>,
    route: Route<SqlxBackend<DB>>,
}

/// sqlx's own transaction, and whether its connection refuses writes until it has ended.
pub(crate) struct Open<DB: RoutedDatabase> {
    transaction: Option<sqlx::Transaction<'static, DB>>,
    refuses_writes: bool,
}

impl<DB: RoutedDatabase> Open<DB> {
    /// Why there is always a transaction.
    const OPEN: &str = "a transaction is only taken out when it ends";

    pub(crate) fn new(transaction: sqlx::Transaction<'static, DB>) -> Self {
        Self {
            transaction: Some(transaction),
            refuses_writes: false,
        }
    }

    /// Has SQLite refuse writes until the transaction ends. Elsewhere the transaction was begun so.
    pub(crate) async fn refuse_writes(&mut self) -> Result<(), sqlx::Error> {
        let Some(question) = DB::DIALECT.refuses_writes() else {
            return Ok(());
        };
        if DB::ask(&mut **self, &question).await?.is_yes() {
            return Ok(());
        }
        self.refuses_writes = true;
        DB::execute(&mut **self, DB::DIALECT.refuse_writes()).await
    }

    /// Makes the connection what it was, and hands out the transaction for its end.
    async fn end(mut self) -> Result<sqlx::Transaction<'static, DB>, sqlx::Error> {
        if self.refuses_writes {
            DB::execute(&mut *self, DB::DIALECT.allow_writes_again()).await?;
            self.refuses_writes = false;
        }
        Ok(self.transaction.take().expect(Self::OPEN))
    }
}

impl<DB: RoutedDatabase> Deref for Open<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.transaction.as_ref().expect(Self::OPEN)
    }
}

impl<DB: RoutedDatabase> DerefMut for Open<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.transaction.as_mut().expect(Self::OPEN)
    }
}

/// A connection that refuses writes goes back to its pool only after a task has had it take them again. (Without a runtime
/// sqlx cannot give back any connection.)
impl<DB: RoutedDatabase> Drop for Open<DB> {
    fn drop(&mut self) {
        if self.refuses_writes
            && let Some(mut transaction) = self.transaction.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                let allow = DB::DIALECT.allow_writes_again();
                DB::execute(&mut transaction, allow).await
            });
        }
    }
}

impl<DB: RoutedDatabase> Transaction<DB> {
    pub(crate) fn new(transaction: Open<DB>, route: Route<SqlxBackend<DB>>) -> Self {
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
        let committed = async { transaction.end().await?.commit().await }.await;
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
        transaction.end().await?.rollback().await?;
        route.rolled_back();
        Ok(())
    }

    /// sqlx's own transaction, for functions that want `&mut sqlx::Transaction`.
    pub fn as_sqlx(&mut self) -> &mut sqlx::Transaction<'static, DB> {
        self.transaction
            .transaction
            .as_mut()
            .expect(Open::<DB>::OPEN)
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
