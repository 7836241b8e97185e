//! What differs from one of sqlx's drivers to the next.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::future::Future;

use dbrouter::{Answer, Dialect, Fault, Login, LoginTarget, Question};
use sqlx::database::HasStatementCache;
use sqlx::error::DatabaseError;
use sqlx::{AssertSqlSafe, ColumnIndex, Decode, Executor, IntoArguments, Row, Type};
use sqlx::{ConnectOptions, Connection, Database};

/// The connect options of a driver.
pub(crate) type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

/// A database that can be routed: what the router must know of one of sqlx's drivers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be routed",
    note = "turn on the feature of `dbrouter-sqlx` that is named after the database"
)]
pub trait RoutedDatabase: Database<Arguments: Clone> + HasStatementCache {
    /// The kind of server.
    const DIALECT: Dialect;

    /// The same options, such that the connection is fit for a replica: the server refuses writes on it, and its
    /// isolation level is one that replicas take. What they have no place for is in
    /// [`replica_session`](Self::replica_session).
    #[must_use]
    fn read_only(options: Options<Self>) -> Options<Self>;

    /// Whether an error of the server says that it does not take what [`read_only`](Self::read_only) adds. Defaults to no.
    #[must_use]
    fn refuses_read_only(error: &dyn DatabaseError) -> bool {
        let _ = error;
        false
    }

    /// Whether statements may be prepared on connections with these options. Defaults to yes.
    #[must_use]
    fn prepares(options: &Options<Self>) -> bool {
        let _ = options;
        true
    }

    /// The statement that a replica's connection is sent when it is opened, for what its options have no place for.
    #[must_use]
    fn replica_session() -> Option<&'static str> {
        None
    }

    /// The same options with another password, and with another user if there is one.
    #[must_use]
    fn with_login(options: Options<Self>, login: &Login) -> Options<Self>;

    /// The same node, at the address that the options lead to.
    #[must_use]
    fn target(options: &Options<Self>, node: LoginTarget) -> LoginTarget;

    /// What an error of the server says of the node that it came from.
    fn fault(error: &dyn DatabaseError) -> Fault;

    /// Whether an error of the server says that it refuses the user or the password.
    fn refuses_login(error: &dyn DatabaseError) -> bool;

    /// Runs a statement of the router's own.
    fn execute(
        connection: &mut Self::Connection,
        sql: &'static str,
    ) -> impl Future<Output = Result<(), sqlx::Error>> + Send;

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

/// Asks a question that has one row of text columns for an answer.
#[cfg_attr(
    not(any(feature = "mysql", feature = "postgres", feature = "sqlite")),
    expect(dead_code, reason = "drivers use it")
)]
async fn ask<DB: Database>(
    connection: &mut DB::Connection,
    question: &Question,
) -> Result<Answer, sqlx::Error>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    usize: ColumnIndex<DB::Row>,
    for<'r> Option<String>: Decode<'r, DB> + Type<DB>,
{
    // It is made by core, of nothing but its own words and numbers.
    let sql = AssertSqlSafe(question.sql());
    // What is asked only once is not prepared: to close a statement is a message without an answer, and the next
    // one then waits for it to be acknowledged, which MySQL's protocol takes 40 ms for.
    let row = match question.is_repeated() {
        true => sqlx::query(sql).fetch_one(connection).await?,
        false => sqlx::raw_sql(sql).fetch_one(connection).await?,
    };
    (0..question.columns())
        .map(|column| row.try_get(column))
        .collect()
}
