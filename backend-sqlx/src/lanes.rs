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

use crate::backend::{SqlxBackend, begin};
use crate::database::RoutedDatabase;

/// A node's lanes. There are as many as there have been such transactions at once.
pub(crate) struct Lanes<DB: RoutedDatabase>(Mutex<Vec<Lane<DB>>>);

struct Lane<DB: RoutedDatabase> {
    pool: Pool<DB>,
    /// Empty while the lane is free.
    occupant: Occupant<DB>,
}

type Occupant<DB> = Arc<Mutex<Option<Stay<DB>>>>;

/// What ends with the transaction: the work's place on the node, and the connection of the node's own
/// pool, which is held unused so that no more transactions run than that pool has connections.
struct Stay<DB: RoutedDatabase> {
    _held: PoolConnection<DB>,
    _route: Route<SqlxBackend<DB>>,
}

impl<DB: RoutedDatabase> Lanes<DB> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Begins a transaction that occupies a lane until its connection is back.
    pub(crate) async fn begin(
        &self,
        held: PoolConnection<DB>,
        route: Route<SqlxBackend<DB>>,
    ) -> Result<Transaction<'static, DB>, sqlx::Error> {
        let pool = route.node().backend().pool().clone();
        let (lane, occupant) = self.occupy(
            &pool,
            Stay {
                _held: held,
                _route: route.hold_open(),
            },
        );
        let beginning = Beginning {
            lanes: self,
            occupant: Some(occupant),
        };
        let transaction = begin(lane, None).await?;
        beginning.done();
        Ok(transaction)
    }

    /// Closes all lanes.
    pub(crate) async fn close(&self) {
        let pools: Vec<_> = lock(&self.0).iter().map(|lane| lane.pool.clone()).collect();
        for pool in pools {
            pool.close().await;
        }
    }

    fn occupy(&self, pool: &Pool<DB>, stay: Stay<DB>) -> (Pool<DB>, Occupant<DB>) {
        let mut lanes = lock(&self.0);
        for lane in lanes.iter() {
            let mut occupant = lock(&lane.occupant);
            if occupant.is_none() {
                *occupant = Some(stay);
                return (lane.pool.clone(), Arc::clone(&lane.occupant));
            }
        }
        let occupant = Arc::new(Mutex::new(Some(stay)));
        let lane = Lane {
            pool: open(pool, &occupant),
            occupant: Arc::clone(&occupant),
        };
        let pool = lane.pool.clone();
        lanes.push(lane);
        (pool, occupant)
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
            lock(&self.lanes.0).retain(|lane| !Arc::ptr_eq(&lane.occupant, &occupant));
            drop(lock(&occupant).take());
        }
    }
}

fn open<DB: RoutedDatabase>(pool: &Pool<DB>, occupant: &Occupant<DB>) -> Pool<DB> {
    let leaves = Arc::clone(occupant);
    // As the node's own pool, its hooks included, but for the one that is needed here.
    let options = pool.options().clone();
    options
        .min_connections(0)
        .max_connections(1)
        // A connection past its lifetime is closed without the hook being called.
        .max_lifetime(None)
        .after_release(move |_, _| {
            drop(lock(&leaves).take());
            Box::pin(async { Ok(true) })
        })
        .connect_lazy_with((*pool.connect_options()).clone())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<DB: RoutedDatabase> fmt::Debug for Lanes<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lanes").field(&lock(&self.0).len()).finish()
    }
}
