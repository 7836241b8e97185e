//! What is known of a server's health, whichever pool leads to it, and who waits for that to change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::clock::Instant;
use crate::context::Context;
use crate::health::{Fitness, Health, Sign};
use crate::live::{Live, Supply};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::vocabulary::Role;

/// One server's health.
#[derive(Debug)]
pub(crate) struct Vitals {
    known: Mutex<Known>,
    changes: Notify,
    /// When traffic last found it lost.
    lost_at: AtomicU64,
    doubted: AtomicU32,
    idle: Notify,
}

#[derive(Debug)]
struct Known {
    fitness: Fitness,
    last_error: Option<Arc<str>>,
    /// Why its pool gave no connection, until it has given one.
    pool_error: Option<Arc<str>>,
    /// The name of the node that leads to the same server, if this one is a second name of it.
    same_as: Option<Arc<str>>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            known: Mutex::new(Known {
                fitness: Fitness::new(),
                last_error: None,
                pool_error: None,
                same_as: None,
            }),
            changes: Notify::new(),
            lost_at: AtomicU64::new(0),
            doubted: AtomicU32::new(0),
            idle: Notify::new(),
        }
    }
}

impl Vitals {
    /// Takes in a sign, lets routes see what follows from it, and wakes who waits for the node to be lost. Returns
    /// the health before and after.
    pub(crate) fn take(
        &self,
        sign: Sign,
        error: Option<&str>,
        live: &Live,
        context: &Context,
    ) -> (Health, Health) {
        let settings = match live.standing().role {
            Role::Primary => context.health.of_the_primary(),
            Role::Replica | Role::Unknown => context.health,
        };
        let mut known = self.known();
        let before = known.fitness.health();
        known.fitness.take(sign, context.now(), &settings);
        let after = known.fitness.health();
        if before == Health::Ejected && after.is_fit() {
            // Its share grows little by little in any case; what it took before it was away says nothing.
            live.latency.forget();
            // What its pool could not do while it was away says nothing either.
            known.pool_error = None;
            live.change(|standing| standing.supply = Supply::Gives);
        }
        if let Some(since) = known.fitness.back_since() {
            live.set_back_since(since);
        }
        // While the lock is held, so that the last word of two is the later one's.
        live.change(|standing| standing.health = after);
        if sign != Sign::Answered {
            known.last_error = error.map(Into::into);
        } else if after.is_fit() {
            known.last_error = None;
        }
        drop(known);
        if before != after && !after.is_fit() {
            self.changes.notify_waiters();
        }
        (before, after)
    }

    /// The last suspicion was not the node's fault.
    pub(crate) fn acquit(&self) {
        self.known().fitness.acquit();
    }

    /// For how long it stays ejected at least, if it is.
    pub(crate) fn ejected_for(&self, now: Instant) -> Option<Duration> {
        self.known().fitness.ejected_for(now)
    }

    pub(crate) fn last_error(&self) -> Option<Arc<str>> {
        self.known().last_error.clone()
    }

    pub(crate) fn pool_error(&self) -> Option<Arc<str>> {
        self.known().pool_error.clone()
    }

    /// Sets that, and returns the one before. Routes see it.
    pub(crate) fn set_pool_error(&self, error: Option<Arc<str>>, live: &Live) -> Option<Arc<str>> {
        let mut known = self.known();
        live.change(|standing| {
            standing.supply = match error {
                Some(_) => Supply::Fails,
                None => Supply::Gives,
            };
        });
        std::mem::replace(&mut known.pool_error, error)
    }

    /// The name of the node that leads to the same server.
    pub(crate) fn same_as(&self) -> Option<Arc<str>> {
        self.known().same_as.clone()
    }

    /// Sets that, and returns the one before.
    pub(crate) fn set_same_as(&self, other: Option<Arc<str>>) -> Option<Arc<str>> {
        std::mem::replace(&mut self.known().same_as, other)
    }

    /// Completes when the node is next found less than fit, or its pool is another one.
    pub(crate) fn changes(&self) -> Notified<'_> {
        self.changes.notified()
    }

    /// Its pool is another one.
    pub(crate) fn change(&self) {
        self.changes.notify_waiters();
    }

    /// Traffic has found it lost at `now`.
    pub(crate) fn lost_at(&self, now: Instant) {
        self.lost_at.fetch_max(now.as_nanos(), Ordering::AcqRel);
    }

    /// Whether an answer to a question of that instant still says something of it.
    pub(crate) fn answers_since(&self, asked: Instant) -> bool {
        asked.as_nanos() >= self.lost_at.load(Ordering::Acquire)
    }

    pub(crate) fn doubt(&self) {
        self.doubted.store(1, Ordering::Release);
    }

    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Acquire) == 1
    }

    pub(crate) fn end_doubt(&self) {
        self.doubted.store(0, Ordering::Release);
    }

    /// Completes when the last work has left the closed node, or the operator's wish has changed.
    pub(crate) fn emptied(&self) -> Notified<'_> {
        self.idle.notified()
    }

    pub(crate) fn empty(&self) {
        self.idle.notify_waiters();
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
