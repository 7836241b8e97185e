//! What is held: a connection to read from, and one to write to.

use std::fmt;
use std::ops::{Deref, DerefMut};

use dbrouter::{Decision, Route};

use crate::backend::DieselBackend;
use crate::pools::Pool;
use crate::strict::{Handle, ReadOnly, ReadWrite};

/// A pool's connection. One that is dropped inside a transaction does not go back to the pool: it is closed,
/// which rolls back.
pub struct Lease<P: Pool>(Option<P::Guard>);

impl<P: Pool> Lease<P> {
    /// Why there is always a connection.
    const HELD: &str = "a connection is only given back when it is dropped";

    pub(crate) fn new(guard: P::Guard) -> Self {
        Self(Some(guard))
    }
}

impl<P: Pool> Deref for Lease<P> {
    type Target = P::Connection;

    fn deref(&self) -> &P::Connection {
        self.0.as_ref().expect(Self::HELD)
    }
}

impl<P: Pool> DerefMut for Lease<P> {
    fn deref_mut(&mut self) -> &mut P::Connection {
        self.0.as_mut().expect(Self::HELD)
    }
}

impl<P: Pool> Drop for Lease<P> {
    fn drop(&mut self) {
        if let Some(guard) = self.0.take() {
            P::give_back(guard);
        }
    }
}

impl<P: Pool> fmt::Debug for Lease<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

/// A connection to read from, on a node that shows what its session must see. It derefs to diesel-async's
/// own connection and is one itself, so every query, transaction and pipeline runs on it as it is.
///
/// A write on it is refused by the server, if the router opened the node's pool. With
/// [`RunQueryDsl`](crate::RunQueryDsl) imported from this crate instead of diesel-async, it does not compile.
///
/// What is read counts as read when the guard is dropped, so do not keep one for longer than the reads that
/// belong together. A statement that fails because the node was lost is not run again elsewhere: the router does
/// not see it. The next guard leads to another node.
#[must_use = "the connection goes back to its pool when the guard is dropped"]
pub struct ReadGuard<P: Pool> {
    // Given back before the work counts as ended.
    connection: Lease<P>,
    route: Route<DieselBackend<P>>,
}

/// A connection to write to, on the primary. It derefs to diesel-async's own connection and is one itself.
///
/// What happens on it cannot be seen. While it is out, its session's reads go to the primary; when it is
/// dropped, all that may have been written on it counts as written. A
/// [`transaction`](crate::Routed::transaction) of the handle's sees its own commit, and needs no such caution.
#[must_use = "the connection goes back to its pool when the guard is dropped"]
pub struct WriteGuard<P: Pool> {
    connection: Lease<P>,
    route: Route<DieselBackend<P>>,
}

impl<P: Pool> ReadGuard<P> {
    pub(crate) fn new((connection, route): (Lease<P>, Route<DieselBackend<P>>)) -> Self {
        Self { connection, route }
    }

    /// The node that it leads to, and why.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.route.decision()
    }
}

impl<P: Pool> WriteGuard<P> {
    pub(crate) fn new((connection, route): (Lease<P>, Route<DieselBackend<P>>)) -> Self {
        let route = route.hold_open();
        Self { connection, route }
    }

    /// The node that it leads to, and why.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.route.decision()
    }
}

impl<P: Pool> Deref for ReadGuard<P> {
    type Target = P::Connection;

    fn deref(&self) -> &P::Connection {
        &self.connection
    }
}

impl<P: Pool> DerefMut for ReadGuard<P> {
    fn deref_mut(&mut self) -> &mut P::Connection {
        &mut self.connection
    }
}

impl<P: Pool> Deref for WriteGuard<P> {
    type Target = P::Connection;

    fn deref(&self) -> &P::Connection {
        &self.connection
    }
}

impl<P: Pool> DerefMut for WriteGuard<P> {
    fn deref_mut(&mut self) -> &mut P::Connection {
        &mut self.connection
    }
}

impl<P: Pool> Handle for ReadGuard<P> {
    type Connection = P::Connection;
    type Mode = ReadOnly;

    fn connection(&mut self) -> &mut P::Connection {
        self
    }
}

impl<P: Pool> Handle for WriteGuard<P> {
    type Connection = P::Connection;
    type Mode = ReadWrite;

    fn connection(&mut self) -> &mut P::Connection {
        self
    }
}

impl<P: Pool> fmt::Debug for ReadGuard<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadGuard")
            .field("decision", &self.decision())
            .finish_non_exhaustive()
    }
}

impl<P: Pool> fmt::Debug for WriteGuard<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteGuard")
            .field("decision", &self.decision())
            .finish_non_exhaustive()
    }
}
