//! What differs from one of sqlx's drivers to the next.

#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::future::Future;

use dbrouter::{Answer, Dialect, Fault, Question};
use sqlx::error::DatabaseError;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use sqlx::{ColumnIndex, Decode, Row, Type};
use sqlx::{ConnectOptions, Connection, Database};

/// The connect options of a driver.
pub(crate) type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

/// A database that can be routed: what the router must know of one of sqlx's drivers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be routed",
    note = "turn on the feature of `dbrouter-sqlx` that is named after the database"
)]
pub trait RoutedDatabase: Database<Arguments: Clone> {
    /// The kind of server.
    const DIALECT: Dialect;

    /// The same options, such that the server refuses writes on the connection.
    #[must_use]
    fn read_only(options: Options<Self>) -> Options<Self>;

    /// What an error of the server says of the node that it came from.
    fn fault(error: &dyn DatabaseError) -> Fault;

    /// Asks a question that has one row of text columns for an answer.
    fn ask(
        connection: &mut Self::Connection,
        question: &Question,
    ) -> impl Future<Output = Result<Answer, sqlx::Error>> + Send;
}

/// The same options for the monitor, whose questions nobody wants to read in a log.
pub(crate) fn unlogged<DB: Database>(options: Options<DB>) -> Options<DB> {
    options.disable_statement_logging()
}

/// The one row that a question was answered with.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn answer<'r, R: Row>(row: &'r R, question: &Question) -> Result<Answer, sqlx::Error>
where
    usize: ColumnIndex<R>,
    Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    (0..question.columns())
        .map(|column| row.try_get(column))
        .collect()
}
