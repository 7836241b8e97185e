//! How sqlx's and the router's errors become SeaORM's, in the same way as SeaORM itself does it, and what
//! SeaORM's say of a node.

use std::fmt;
use std::sync::Arc;

use dbrouter::{Fault, Intent, RouteError};
use sea_orm::{ConnAcquireErr, DbErr, RuntimeErr};

use crate::database;

/// The router's refusal that an error carries, if it is one: no node would do, and why not. It is among the
/// error's [sources](std::error::Error::source) as well.
///
/// ```no_run
/// # use sea_orm::ConnectionTrait;
/// # async fn example(db: dbrouter_seaorm::RoutedConnection) {
/// if let Err(error) = db.execute_unprepared("delete from visits").await
///     && let Some(refusal) = dbrouter_seaorm::refusal(&error)
/// {
///     println!("{refusal}; try again later: {}", refusal.is_temporary());
/// }
/// # }
/// ```
#[must_use]
pub fn refusal(error: &DbErr) -> Option<&RouteError> {
    match error {
        DbErr::TryIntoErr { source, .. } => source.downcast_ref().map(|Refused(refusal)| refusal),
        _ => None,
    }
}

/// What an error says of the node that it came from.
pub(crate) fn fault(error: &DbErr) -> Fault {
    match error {
        // A pool that is full, or that somebody has closed: there is nothing wrong with the server.
        DbErr::ConnectionAcquire(_) => Fault::Busy,
        _ => of_sqlx(error).map_or(Fault::Other, database::fault),
    }
}

/// sqlx's error that SeaORM's is about.
pub(crate) fn of_sqlx(error: &DbErr) -> Option<&sqlx::Error> {
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => Some(error),
        _ => None,
    }
}

/// The router's refusal, one step down from SeaORM's error: that one's own source is an `Arc`, which hides
/// what is in it, but not the source of that.
#[derive(Debug)]
struct Refused(RouteError);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// Of all of SeaORM's errors this is the one whose `source()` can be somebody else's: sqlx's own are wrapped
/// in a `RuntimeErr`, which shows them and has no source.
pub(crate) fn of_router(refusal: RouteError) -> DbErr {
    let from = match refusal.intent() {
        Intent::Read => "a read",
        Intent::Write => "a write",
    };
    DbErr::TryIntoErr {
        from,
        into: "a route",
        source: Arc::new(Refused(refusal)),
    }
}

pub(crate) fn of_acquire(error: sqlx::Error) -> DbErr {
    match error {
        sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        error => of_connection(error),
    }
}

pub(crate) fn of_connection(error: sqlx::Error) -> DbErr {
    DbErr::Conn(RuntimeErr::SqlxError(Arc::new(error)))
}

pub(crate) fn of_execute(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(Arc::new(error)))
}

pub(crate) fn of_query(error: sqlx::Error) -> DbErr {
    DbErr::Query(RuntimeErr::SqlxError(Arc::new(error)))
}
