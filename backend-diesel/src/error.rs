//! Why there is no connection, and how that becomes diesel's own error.

use std::error::Error as StdError;
use std::fmt;

use dbrouter::{Fault, RouteError};
use diesel::ConnectionError;
use diesel::result::DatabaseErrorKind;
use diesel_async::pooled_connection::PoolError;

/// Why the router gave no connection, or a transaction did not begin.
///
/// It becomes a [`diesel::result::Error`] by `?`, in which [`source`](StdError::source) leads to the
/// [`RouteError`] where the router refused: see [`refusal`]. Whether a pool is full or its server cannot be
/// reached, only deadpool tells apart; with bb8 and mobc both are [`ErrorKind::Exhausted`].
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No node would do. The source is the [`RouteError`], with a reason for each node.
    Refused,
    /// The pool had no connection to give in time.
    Exhausted,
    /// The pool was closed.
    Closed,
    /// A connection could not be opened.
    Connect,
    /// The database refused a statement of the router's own, such as `BEGIN`.
    Query,
    /// The pool has timeouts and no runtime to measure them.
    Runtime,
}

impl Error {
    /// An error of a pool: what a [`Pool`](crate::Pool) of another kind is implemented with.
    #[must_use]
    pub fn new(kind: ErrorKind) -> Self {
        Self { kind, source: None }
    }

    /// The same error with what it came from.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of error it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    pub(crate) fn refused(refusal: RouteError) -> Self {
        Self::new(ErrorKind::Refused).with_source(refusal)
    }

    pub(crate) fn query(error: diesel::result::Error) -> Self {
        Self::new(ErrorKind::Query).with_source(error)
    }

    /// What it says of the node that it came from.
    pub(crate) fn fault(&self) -> Fault {
        let source = self.source.as_deref();
        match self.kind {
            ErrorKind::Exhausted | ErrorKind::Closed => Fault::Busy,
            ErrorKind::Connect => connecting(source.and_then(|source| source.downcast_ref())),
            ErrorKind::Query => source
                .and_then(|source| source.downcast_ref())
                .map_or(Fault::Other, querying),
            ErrorKind::Refused | ErrorKind::Runtime => Fault::Other,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            ErrorKind::Refused => "the router gave no connection",
            ErrorKind::Exhausted => "the pool had no connection to give in time",
            ErrorKind::Closed => "the pool is closed",
            ErrorKind::Connect => "no connection could be opened",
            ErrorKind::Query => "the database refused a statement of the router's own",
            ErrorKind::Runtime => {
                "the pool has timeouts and no runtime to measure them: build it with \
                 `.runtime(deadpool::Runtime::Tokio1)`"
            }
        })
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        Self::new(ErrorKind::Connect).with_source(error)
    }
}

/// The database's own error as it is; any other inside of diesel's, whose `source` is then this one's.
impl From<Error> for diesel::result::Error {
    fn from(mut error: Error) -> Self {
        let boxed = |error| Self::QueryBuilderError(Box::new(error));
        match error
            .source
            .take()
            .map(<dyn StdError + Send + Sync>::downcast)
        {
            Some(Ok(source)) => *source,
            Some(Err(source)) => {
                error.source = Some(source);
                boxed(error)
            }
            None => boxed(error),
        }
    }
}

/// The router's refusal that an error comes from, if it comes from one: no node would do, and why not.
///
/// ```no_run
/// # use dbrouter_diesel::{Pool, RoutedPool};
/// # async fn example<P: Pool>(db: RoutedPool<P>) {
/// if let Err(error) = db.read().await
///     && let Some(refusal) = dbrouter_diesel::refusal(&error)
/// {
///     println!("{refusal}; try again later: {}", refusal.is_temporary());
/// }
/// # }
/// ```
#[must_use]
pub fn refusal<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e RouteError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refusal) = error.downcast_ref() {
            return Some(refusal);
        }
        next = error.source();
    }
    None
}

/// A node that gives no connection is unreachable, unless it says that it has no room.
fn connecting(error: Option<&PoolError>) -> Fault {
    match error {
        Some(PoolError::ConnectionError(ConnectionError::CouldntSetupConfiguration(error)))
        | Some(PoolError::QueryError(error))
            if querying(error) == Fault::Busy =>
        {
            Fault::Busy
        }
        _ => Fault::Unavailable,
    }
}

/// What the database's error says of its node. diesel tells neither SQLSTATEs nor numbers, so most of it is
/// concluded from the message, which is the server's own in English. What is not recognised says nothing of
/// the node, and the monitor finds out.
pub(crate) fn querying(error: &diesel::result::Error) -> Fault {
    use DatabaseErrorKind as Kind;
    const FULL: [&str; 4] = [
        "too many c",
        "connection slots are reserved",
        "max_user_connections",
        "database is locked",
    ];
    const GONE: [&str; 6] = [
        "terminating connection",
        "the database system is ",
        "Input/output error",
        "Driver error",
        "Server shutdown",
        "unable to open database file",
    ];
    let diesel::result::Error::DatabaseError(kind, information) = error else {
        return Fault::Other;
    };
    let message = information.message();
    let says = |texts: &[&str]| {
        texts
            .iter()
            .any(|text| message.contains(text) || message.to_ascii_lowercase().contains(text))
    };
    match kind {
        Kind::UnableToSendCommand | Kind::ClosedConnection => Fault::Unavailable,
        Kind::ReadOnlyTransaction => Fault::ReadOnly,
        Kind::SerializationFailure => Fault::Conflict,
        _ if says(&FULL) => Fault::Busy,
        _ if says(&GONE) => Fault::Unavailable,
        _ if says(&["readonly database", "--read-only option"]) => Fault::ReadOnly,
        _ if says(&["serializable mode in a hot standby"]) => Fault::Conflict,
        _ => Fault::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(kind: DatabaseErrorKind, message: &str) -> diesel::result::Error {
        diesel::result::Error::DatabaseError(kind, Box::new(message.to_owned()))
    }

    #[test]
    fn faults_are_read_from_kinds_and_messages() {
        let unknown = |message| querying(&database(DatabaseErrorKind::Unknown, message));
        for (message, fault) in [
            ("sorry, too many clients already", Fault::Busy),
            ("Too many connections", Fault::Busy),
            (
                "remaining connection slots are reserved for roles with the SUPERUSER attribute",
                Fault::Busy,
            ),
            ("database is locked", Fault::Busy),
            (
                "terminating connection due to administrator command",
                Fault::Unavailable,
            ),
            ("the database system is starting up", Fault::Unavailable),
            (
                "Input/output error: can't parse: buf doesn't have enough data",
                Fault::Unavailable,
            ),
            (
                "Driver error: `Connection to the server is closed.'",
                Fault::Unavailable,
            ),
            ("attempt to write a readonly database", Fault::ReadOnly),
            (
                "cannot use serializable mode in a hot standby",
                Fault::Conflict,
            ),
            ("relation \"orders\" does not exist", Fault::Other),
        ] {
            assert_eq!(unknown(message), fault, "{message}");
        }
        let broken = database(
            DatabaseErrorKind::UnableToSendCommand,
            "error connecting to server",
        );
        assert_eq!(querying(&broken), Fault::Unavailable);
    }

    #[test]
    fn a_full_server_is_no_lost_one() {
        let connect = |error| Error::from(PoolError::ConnectionError(error)).fault();
        let full = database(
            DatabaseErrorKind::Unknown,
            "sorry, too many clients already",
        );
        assert_eq!(
            connect(ConnectionError::CouldntSetupConfiguration(full)),
            Fault::Busy
        );
        let wrong = database(DatabaseErrorKind::Unknown, "password authentication failed");
        assert_eq!(
            connect(ConnectionError::CouldntSetupConfiguration(wrong)),
            Fault::Unavailable
        );
        let refused = ConnectionError::BadConnection("refused".to_owned());
        assert_eq!(connect(refused), Fault::Unavailable);
    }

    #[test]
    fn the_databases_own_error_stays_itself() {
        let error = Error::query(database(
            DatabaseErrorKind::ReadOnlyTransaction,
            "read-only",
        ));
        assert!(matches!(
            diesel::result::Error::from(error),
            diesel::result::Error::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)
        ));
    }

    #[test]
    fn other_errors_keep_what_they_came_from() {
        let refused = PoolError::ConnectionError(ConnectionError::BadConnection("refused".into()));
        let error = diesel::result::Error::from(Error::from(refused));
        assert_eq!(error.to_string(), "no connection could be opened");
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("refused")
        );
        let error = diesel::result::Error::from(Error::new(ErrorKind::Closed));
        assert_eq!(error.to_string(), "the pool is closed");
        assert!(error.source().is_none());
    }
}
