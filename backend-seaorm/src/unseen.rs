//! Work that the router cannot see, and how it learns of it all the same.
//!
//! Migrations want a `DatabaseExecutor`, which SeaORM can only make of its own connection, by reference. So a
//! handle keeps one, to the primary. What is done on it is SeaORM's own; but SeaORM can be asked to call back
//! after each statement, and a pool of sqlx's says how many of its connections are out. So that connection has
//! a pool of its own, with the options and hooks of the primary's: from the call back, or from the moment when
//! it is handed out, until none of its connections is out any more, the session's reads go to the primary; and
//! then all that was written counts as written.
//!
//! SQLite's readers are always fresh, so nothing need be known of it: there it is the primary's own connection.
//! (A second pool would lead to another database, if it is one in memory.)

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use dbrouter::{Backend, Dialect, OpenWriter, Terms};
use sea_orm::{DatabaseConnection, DbErr};
use tokio::runtime::Handle;

use crate::backend::SeaOrmBackend;

/// A handle's connection for work that cannot be seen, opened when it is first wanted.
#[derive(Default)]
pub(crate) struct Unseen(OnceLock<(DatabaseConnection, Option<Arc<Watch>>)>);

impl Unseen {
    /// The connection, which is about to be used.
    pub(crate) fn connection(&self, terms: &Terms<SeaOrmBackend>) -> &DatabaseConnection {
        let (connection, watch) = self.0.get_or_init(|| open(terms));
        match watch {
            Some(watch) => watch.used(),
            // It counts as a write now; what follows is not seen.
            None => drop(terms.state().hold_open()),
        }
        connection
    }

    /// Closes the pool, if it is one of its own.
    pub(crate) async fn close(&self) -> Result<(), DbErr> {
        match self.0.get() {
            Some((connection, Some(_))) => connection.close_by_ref().await,
            Some((_, None)) | None => Ok(()),
        }
    }
}

fn open(terms: &Terms<SeaOrmBackend>) -> (DatabaseConnection, Option<Arc<Watch>>) {
    let primary = terms.cluster().primary();
    let own = || (primary.backend().connection().clone(), None);
    if terms.cluster().dialect() == Dialect::Sqlite || Handle::try_current().is_err() {
        return own();
    }
    // What cannot be opened anew is a mock or the like, with no replica to be behind.
    let Some(backend) = primary.backend().again() else {
        return own();
    };
    let mut connection = backend.connection().clone();
    let watch = Arc::new(Watch {
        terms: terms.clone(),
        backend,
        held: Mutex::default(),
    });
    let called = Arc::clone(&watch);
    connection.set_metric_callback(move |_| called.used());
    (connection, Some(watch))
}

/// Whether any of the pool's connections is out.
pub(crate) struct Watch {
    terms: Terms<SeaOrmBackend>,
    backend: SeaOrmBackend,
    /// As many as there have been calls since the pool was last found idle; none while nobody watches.
    held: Mutex<Vec<OpenWriter>>,
}

impl Watch {
    /// How often the pool is looked at while it is in use.
    const INTERVAL: Duration = Duration::from_millis(5);

    /// The connection is used: from now on, until it no longer is, the session has an open writer.
    fn used(self: &Arc<Self>) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.push(self.terms.state().hold_open());
        if held.len() > 1 {
            return;
        }
        // Outside a runtime nothing of sqlx's runs either.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(Arc::clone(self).watch())),
            Err(_) => held.clear(),
        }
    }

    async fn watch(self: Arc<Self>) {
        let mut seen = 0;
        loop {
            tokio::time::sleep(Self::INTERVAL).await;
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            if held.len() == seen && self.backend.pressure().in_use == 0 {
                return held.clear();
            }
            seen = held.len();
        }
    }
}
