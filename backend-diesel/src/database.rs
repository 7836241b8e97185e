//! What differs by driver: URLs, how a question is asked, how transactions begin that only read.

#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::error::Error;

use dbrouter::{Answer, Dialect, Login, Pings, Question};
use diesel::backend::Backend;
use diesel::deserialize::{self, FromSql, QueryableByName};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::DatabaseErrorKind;
use diesel::row::{Field, NamedRow, Row};
use diesel::sql_types::{Text, Untyped};
use diesel::{ConnectionResult, QueryResult};
use diesel_async::pooled_connection::{PoolableConnection, RecyclingMethod};
use diesel_async::{AsyncConnection, TransactionManager};
use tokio::time::timeout;

use crate::strict::{Handle, ReadWrite};

/// The answer to a ping, which is awaited no longer than one may take.
async fn answered<T>(ping: impl Future<Output = QueryResult<T>>) -> QueryResult<T> {
    let silent = |_| {
        let problem = Box::new("the server does not answer".to_owned());
        Err(diesel::result::Error::DatabaseError(
            DatabaseErrorKind::ClosedConnection,
            problem,
        ))
    };
    timeout(Pings::LIMIT, ping).await.unwrap_or_else(silent)
}

/// A connection of diesel-async's that can be routed to: `AsyncPgConnection` with the feature `postgres`,
/// `AsyncMysqlConnection` with `mysql`, and `SyncConnectionWrapper<SqliteConnection>` with `sqlite`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no connection that can be routed to",
    note = "turn on the feature `postgres`, `mysql` or `sqlite` of dbrouter-diesel for its driver"
)]
pub trait RoutedConnection:
    AsyncConnection + PoolableConnection + Handle<Connection = Self, Mode = ReadWrite> + 'static
{
    /// The kind of server that it leads to.
    const DIALECT: Dialect;

    /// Whether the connection can still be used when a statement on it was dropped half-way. If not, a pool finds
    /// out by a ping at every checkout. Defaults to yes.
    const SURVIVES_A_DROP: bool = true;

    /// How a pool checks a connection that it hands out, unless it is told otherwise. Defaults to a query that must be
    /// answered within [`Pings::LIMIT`].
    #[must_use]
    fn recycling() -> RecyclingMethod<Self> {
        RecyclingMethod::CustomFunction(Box::new(|connection: &mut Self| {
            Box::pin(answered(connection.batch_execute("SELECT 1")))
        }))
    }

    /// What the driver is given for a URL.
    ///
    /// # Errors
    ///
    /// If the URL cannot be understood. The error shows none of it.
    fn parse(url: &str) -> Result<String, Box<dyn Error + Send + Sync>>;

    /// The same with another password, and with another user if there is one. `None` if there is no place for them.
    fn with_login(url: &str, login: &Login) -> Option<String> {
        login.within(url)
    }

    /// The same such that the connection is fit for a replica ([`Dialect::replica_session`]). `None` if it must be told by a
    /// statement, which is the default.
    fn read_only(url: &str) -> Option<String> {
        let _ = url;
        None
    }

    /// Whether the connection was opened as [`read_only`](Self::read_only) says. Defaults to no.
    fn was_opened_read_only(&mut self) -> impl Future<Output = QueryResult<bool>> + Send {
        std::future::ready(Ok(false))
    }

    /// Asks the server a question of the router's.
    fn ask(&mut self, question: &Question) -> impl Future<Output = QueryResult<Answer>> + Send;

    /// Opens a connection, where the application does not say how. Defaults to diesel's own way.
    fn open(url: &str) -> impl Future<Output = ConnectionResult<Self>> + Send {
        Self::establish(url)
    }

    /// Begins a transaction that may write. Defaults to diesel's own beginning.
    fn begin_writing(&mut self) -> impl Future<Output = QueryResult<()>> + Send {
        <Self as AsyncConnection>::TransactionManager::begin_transaction(self)
    }

    /// Begins a transaction in which the server refuses writes.
    fn begin_read_only(&mut self) -> impl Future<Output = QueryResult<()>> + Send;

    /// Begins a transaction in which the server refuses writes and all statements see one moment.
    fn begin_snapshot(&mut self) -> impl Future<Output = QueryResult<()>> + Send;
}

/// A question as a query. Unlike [`sql_query`](diesel::sql_query) it is prepared only once per connection, if it is
/// asked more than once.
#[derive(Debug)]
#[cfg_attr(
    not(any(feature = "postgres", feature = "mysql", feature = "sqlite")),
    expect(dead_code, reason = "each kind of database asks this way")
)]
struct Ask<'q>(&'q Question);

impl Query for Ask<'_> {
    type SqlType = Untyped;
}

impl QueryId for Ask<'_> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<DB: Backend> QueryFragment<DB> for Ask<'_> {
    fn walk_ast<'b>(&'b self, mut pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        if !self.0.is_repeated() {
            pass.unsafe_to_cache_prepared();
        }
        pass.push_sql(self.0.sql());
        Ok(())
    }
}

/// A row of text columns, however many.
#[derive(Debug)]
struct Columns(Vec<Option<String>>);

impl<DB: Backend> QueryableByName<DB> for Columns
where
    String: FromSql<Text, DB>,
{
    fn build<'a>(row: &impl NamedRow<'a, DB>) -> deserialize::Result<Self> {
        let column = |index| {
            let field = Row::get(row, index).ok_or("the answer lacks a column")?;
            Option::<String>::from_nullable_sql(field.value())
        };
        (0..row.field_count())
            .map(column)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl From<Columns> for Answer {
    fn from(columns: Columns) -> Self {
        columns.0.into_iter().collect()
    }
}
