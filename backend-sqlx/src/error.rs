//! How the router's errors become sqlx's, and what sqlx's say of a node.

use std::io;

use dbrouter::{Fault, RouteError};

use crate::database::RoutedDatabase;

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
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Fault::Unavailable,
        sqlx::Error::PoolTimedOut => Fault::Busy,
        sqlx::Error::Database(error) => DB::fault(&**error),
        _ => Fault::Other,
    }
}
