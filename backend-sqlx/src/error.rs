//! How the router's errors become sqlx's, and what sqlx's say of a node.

use std::io;

use dbrouter::{Fault, RouteError};

use crate::database::RoutedDatabase;

/// The router's refusal that an error carries, if it is one: no node would do, and why not.
///
/// ```no_run
/// # async fn example(db: dbrouter_sqlx::RoutedPool<sqlx::Postgres>) {
/// if let Err(error) = sqlx::query("select 1").fetch_one(&db).await
///     && let Some(refusal) = dbrouter_sqlx::refusal(&error)
/// {
///     println!("{refusal}; try again later: {}", refusal.is_temporary());
/// }
/// # }
/// ```
#[must_use]
pub fn refusal(error: &sqlx::Error) -> Option<&RouteError> {
    match error {
        sqlx::Error::Configuration(source) => source.downcast_ref(),
        _ => None,
    }
}

/// A refusal, where sqlx's error type must be used. `Error::source` leads to the [`RouteError`].
pub(crate) fn refused(error: RouteError) -> sqlx::Error {
    sqlx::Error::Configuration(Box::new(error))
}

/// The node was lost while somebody waited for a connection to it.
pub(crate) fn lost(node: &str, reason: Option<&str>) -> sqlx::Error {
    let reason = reason.unwrap_or("it does not answer");
    sqlx::Error::Io(io::Error::new(
        io::ErrorKind::NotConnected,
        format!("{node} was lost: {reason}"),
    ))
}

/// What an error says of the node that it came from.
pub(crate) fn fault<DB: RoutedDatabase>(error: &sqlx::Error) -> Fault {
    match error {
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed => Fault::Unavailable,
        // Somebody has closed the pool: there is no room in it, and nothing wrong with the server.
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Fault::Busy,
        sqlx::Error::Database(error) => DB::fault(&**error),
        _ => Fault::Other,
    }
}
