//! A connection to keep for several statements.

use std::fmt;
use std::ops::{Deref, DerefMut};

use dbrouter::{Decision, Route, Work};
use futures_core::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Acquire, Transaction};

use crate::backend::SqlxBackend;
use crate::database::RoutedDatabase;

/// A connection to one node, from `acquire_read` or `acquire_write`. It derefs to the driver's own
/// connection, so `&mut *connection` is an executor.
///
/// What happens on it cannot be seen. While one from `acquire_write` is out, its session's reads go to
/// the primary; when it is dropped, all that may have been written on it counts as written. What is read
/// on one from `acquire_read` counts as read when it is dropped.
pub struct Connection<DB: RoutedDatabase> {
    connection: PoolConnection<DB>,
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
