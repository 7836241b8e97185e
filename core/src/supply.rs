//! A pool that gives no connection while its server answers the monitor: the server refuses the login, it has no room
//! for more connections, or they take longer to open than anybody waits.
//!
//! Such a node is left out of reads while another one will do. Meanwhile one connection is opened in the background, again
//! and again with longer pauses, and the first one that the pool gives brings the node back.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::causes::Causes;
use crate::checkout::Pings;
use crate::health::Health;
use crate::live::Supply;
use crate::node::Node;
use crate::observer::Event;
use crate::router::Backend;

/// The pause after the first attempt in vain. Each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause: a replica that could not be logged in to is back so long after it can at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl<B: Backend> Node<B> {
    /// The pool gave no connection, for this reason.
    pub(crate) fn pool_failed(self: &Arc<Self>, error: &dyn fmt::Display) {
        // Without a monitor nobody knows whether the server answers, and there is no other node. One that does not answer
        // is out anyway.
        let is_gone = self.holders.is_stopped() || self.health() == Health::Ejected;
        if !self.context.wake.is_watched() || is_gone {
            return;
        }
        self.note_pool_error(error);
        self.open_in_background();
    }

    /// The pool has given a connection.
    #[inline]
    pub(crate) fn pool_gave(&self) {
        if self.live.standing().supply == Supply::Fails {
            self.pool_recovered();
        }
    }

    #[cold]
    fn pool_recovered(&self) {
        if self.vitals.set_pool_error(None, &self.live).is_some() {
            self.context.wake.proved();
            self.context.events.emit(|| Event::PoolRecovered {
                peer: Arc::clone(self.peer()),
            });
        }
    }

    fn note_pool_error(&self, error: &dyn fmt::Display) {
        let error: Arc<str> = error.to_string().into();
        let before = self
            .vitals
            .set_pool_error(Some(Arc::clone(&error)), &self.live);
        if before.is_none() {
            // Who waits for this node to become fresh may go elsewhere.
            self.context.wake.proved();
            self.context.events.emit(|| Event::PoolFailed {
                peer: Arc::clone(self.peer()),
                error,
            });
        }
    }

    /// Opens a connection for the pool that nobody waits for, unless that is under way already: what takes longer than
    /// anybody waits is there for the next ones.
    pub(crate) fn open_in_background(self: &Arc<Self>) {
        if !self.opening.swap(true, Ordering::AcqRel) {
            tokio::spawn(keep_opening(Opening(Arc::downgrade(self))));
        }
    }
}

/// Takes a connection from the pool: one that comes back in the place of one that does not open.
async fn acquire<B: Backend>(backend: &B) -> Result<B::Connection, B::Error> {
    const LOOK: Duration = Duration::from_millis(100);
    let mut attempt = pin!(backend.acquire());
    // The first attempt may be the check of a dead connection. One that opens a connection gets longer and longer.
    let mut limit = Pings::LIMIT;
    let mut begun = Instant::now();
    loop {
        if let Ok(acquired) = timeout(LOOK, attempt.as_mut()).await {
            return acquired;
        }
        let is_late = begun.elapsed() >= limit;
        if is_late {
            limit *= 2;
        }
        if is_late || backend.pressure().idle > 0 {
            attempt.set(backend.acquire());
            begun = Instant::now();
        }
    }
}

/// A connection of the node's pool is being opened, until this is dropped: with its runtime, if that ends before.
struct Opening<B>(Weak<Node<B>>);

impl<B> Drop for Opening<B> {
    fn drop(&mut self) {
        if let Some(node) = self.0.upgrade() {
            node.opening.store(false, Ordering::Release);
        }
    }
}

/// Takes one connection from the pool and gives it back, however often that fails, unless nobody needs the pool any longer.
async fn keep_opening<B: Backend>(opening: Opening<B>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let Some(backend) = opening.0.upgrade().map(|node| node.backend().clone()) else {
            return;
        };
        let acquired = acquire(&backend).await;
        drop(backend);
        let Some(node) = opening.0.upgrade() else {
            return;
        };
        match acquired {
            Ok(connection) => {
                drop(connection);
                // Before: whoever finds that the pool fails again has it tried again.
                drop(opening);
                node.pool_gave();
                return;
            }
            Err(_) if node.holders.is_stopped() => return,
            Err(error) if node.health() != Health::Ejected => node.note_pool_error(&Causes(&error)),
            // The monitor has more to say of it, and will find it again.
            Err(_) => {}
        }
        drop(node);
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
