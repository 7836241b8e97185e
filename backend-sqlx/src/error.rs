//! How the router's errors become sqlx's, and what sqlx's say of a node.

use dbrouter::{CredentialsError, Fault, RouteError};

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
        // No connection to this node can be opened.
        sqlx::Error::Configuration(error) if error.is::<CredentialsError>() => Fault::Unavailable,
        // Somebody has closed the pool: there is no room in it, and nothing wrong with the server.
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Fault::Busy,
        // sqlx has asked the server for a type of this name, which a replica may not have replayed yet.
        sqlx::Error::TypeNotFound { .. } => Fault::Missing,
        sqlx::Error::Database(error) => DB::fault(&**error),
        // The driver's own errors about values, columns, transactions or the protocol are the statement's.
        _ => Fault::Other,
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;
    use sqlx::{Error, Postgres};

    #[test]
    fn each_of_sqlxs_own_errors_says_whose_fault_it_is() {
        let broken = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let name = || "mood".to_owned();
        for (expected, errors) in [
            (
                Fault::Unavailable,
                vec![
                    Error::Io(broken()),
                    Error::Tls(Box::new(broken())),
                    Error::WorkerCrashed,
                ],
            ),
            (Fault::Busy, vec![Error::PoolTimedOut, Error::PoolClosed]),
            (
                Fault::Missing,
                vec![Error::TypeNotFound { type_name: name() }],
            ),
            (
                Fault::Other,
                vec![
                    Error::Configuration("no such option".into()),
                    Error::Protocol("an unexpected message".to_owned()),
                    Error::RowNotFound,
                    Error::ColumnIndexOutOfBounds { index: 1, len: 1 },
                    Error::ColumnNotFound(name()),
                    Error::ColumnDecode {
                        index: name(),
                        source: "mismatched types".into(),
                    },
                    Error::Encode("too long".into()),
                    Error::Decode("too short".into()),
                    Error::InvalidArgument(name()),
                    Error::InvalidSavePointStatement,
                    Error::BeginFailed,
                ],
            ),
        ] {
            for error in errors {
                assert_eq!(fault::<Postgres>(&error), expected, "{error}");
            }
        }
    }
}
