//! How the router's errors become sqlx's, and what sqlx's say of a node.

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
