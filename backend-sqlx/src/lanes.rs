//! Transactions whose end cannot be seen, and how the router learns of it all the same.
//!
//! sqlx's `Acquire::begin` returns sqlx's own transaction, which commits without telling. Its connection
//! then goes back to its pool, and a pool has a hook for that, which cannot tell one connection from
//! another. So such a transaction gets a *lane*: a pool of a single connection whose hook knows whose it
//! is. While it runs, the session's reads go to the primary.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dbrouter::Route;
use sqlx::pool::PoolConnection;
use sqlx::{Pool, Transaction};

use crate::backend::{SqlxBackend, begin_writing};
use crate::connecting::{Connecting, PLAIN};
use crate::database::RoutedDatabase;
use crate::pool_options::{Keeps, of_one_connection};

/// A node's lanes.
pub(crate) struct Lanes<DB: RoutedDatabase> {
    /// As many as there have been such transactions at once.
    lanes: Mutex<Vec<Lane<DB>>>,
    /// The application's own hook of the kind that lanes need.
    after_release: Option<Arc<Keeps<DB>>>,
}

struct Lane<DB: RoutedDatabase> {
    pool: Pool<DB>,
    connecting: Connecting<DB>,
    /// Empty while the lane is free.
    occupant: Occupant<DB>,
}

type Occupant<DB> = Arc<Mutex<Option<Stay<DB>>>>;

/// What ends with the transaction: the work's place on the node, and the connection of the node's own
/// pool, which is held unused so that no more transactions run than that pool has connections.
struct Stay<DB: RoutedDatabase> {
    _held: PoolConnection<DB>,
    /// Unknown until the transaction has begun.
    route: Option<Route<SqlxBackend<DB>>>,
}

/// A transaction that has begun on a lane, whose end frees the lane.
pub(crate) struct Begun<DB: RoutedDatabase> {
    transaction: Transaction<'static, DB>,
    occupant: Occupant<DB>,
}

impl<DB: RoutedDatabase> Begun<DB> {
    /// The transaction, whose session reads from the primary until it ends.
    pub(crate) fn on(self, route: Route<SqlxBackend<DB>>) -> Transaction<'static, DB> {
        if let Some(stay) = &mut *lock(&self.occupant) {
            stay.route = Some(route.hold_open());
        }
        self.transaction
    }
}

impl<DB: RoutedDatabase> Lanes<DB> {
    pub(crate) fn new(after_release: Option<Arc<Keeps<DB>>>) -> Self {
        Self {
            lanes: Mutex::default(),
            after_release,
        }
    }

    /// Begins a transaction that occupies a lane until its connection is back. It leads where the node's own pool does.
    pub(crate) async fn begin(
        &self,
        pool: &Pool<DB>,
        connecting: &Connecting<DB>,
    ) -> Result<Begun<DB>, sqlx::Error> {
        let stay = Stay {
            _held: connecting.take(pool, PLAIN, || pool.acquire()).await?,
            route: None,
        };
        let (lane, connecting, occupant) = self.occupy(pool, connecting, stay);
        let beginning = Beginning {
            lanes: self,
            occupant: Some(Arc::clone(&occupant)),
        };
        let transaction = begin_writing(lane, connecting).await?;
        beginning.done();
        Ok(Begun {
            transaction,
            occupant,
        })
    }

    /// Closes all lanes.
    pub(crate) async fn close(&self) {
        let pools: Vec<_> = lock(&self.lanes)
            .iter()
            .map(|lane| lane.pool.clone())
            .collect();
        for pool in pools {
            pool.close().await;
        }
    }

    /// Gives up the lanes that are free: their connections may be dead.
    pub(crate) fn sweep(&self) {
        lock(&self.lanes).retain(|lane| lock(&lane.occupant).is_some());
    }

    fn occupy(
        &self,
        pool: &Pool<DB>,
        connecting: &Connecting<DB>,
        stay: Stay<DB>,
    ) -> (Pool<DB>, Connecting<DB>, Occupant<DB>) {
        let mut lanes = lock(&self.lanes);
        for lane in lanes.iter() {
            let mut occupant = lock(&lane.occupant);
            if occupant.is_none() {
                *occupant = Some(stay);
                return lane.parts();
            }
        }
        let occupant = Arc::new(Mutex::new(Some(stay)));
        let pool = open(pool, &occupant, self.after_release.clone());
        let lane = Lane {
            connecting: connecting.again(&pool),
            pool,
            occupant,
        };
        let parts = lane.parts();
        lanes.push(lane);
        parts
    }
}

impl<DB: RoutedDatabase> Lane<DB> {
    fn parts(&self) -> (Pool<DB>, Connecting<DB>, Occupant<DB>) {
        let (pool, connecting) = (self.pool.clone(), self.connecting.clone());
        (pool, connecting, Arc::clone(&self.occupant))
    }
}

/// A transaction that has not begun yet. If it never does, there may be no connection whose return
/// would free the lane, or one that comes back at any time; so the lane is given up.
struct Beginning<'a, DB: RoutedDatabase> {
    lanes: &'a Lanes<DB>,
    occupant: Option<Occupant<DB>>,
}

impl<DB: RoutedDatabase> Beginning<'_, DB> {
    fn done(mut self) {
        self.occupant = None;
    }
}

impl<DB: RoutedDatabase> Drop for Beginning<'_, DB> {
    fn drop(&mut self) {
        if let Some(occupant) = self.occupant.take() {
            lock(&self.lanes.lanes).retain(|lane| !Arc::ptr_eq(&lane.occupant, &occupant));
            drop(lock(&occupant).take());
        }
    }
}

fn open<DB: RoutedDatabase>(
    pool: &Pool<DB>,
    occupant: &Occupant<DB>,
    hook: Option<Arc<Keeps<DB>>>,
) -> Pool<DB> {
    let leaves = Arc::clone(occupant);
    // A connection past its lifetime would be closed without the hook being called.
    of_one_connection(pool)
        .after_release(move |connection, meta| {
            drop(lock(&leaves).take());
            match &hook {
                Some(hook) => hook(connection, meta),
                None => Box::pin(async { Ok(true) }),
            }
        })
        .connect_lazy_with((*pool.connect_options()).clone())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<DB: RoutedDatabase> fmt::Debug for Lanes<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lanes")
            .field("lanes", &lock(&self.lanes).len())
            .finish_non_exhaustive()
    }
}
