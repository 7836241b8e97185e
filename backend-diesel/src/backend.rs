//! One node's pool.

use std::fmt;

use dbrouter::{Answer, Backend, Fault, Pressure, Question, RouteError};

use crate::adapter::Opened;
use crate::connection::Lease;
use crate::database::RoutedConnection;
use crate::error::Error;
use crate::pools::Pool;

/// One node's pool. Reach it through [`RoutedPool::primary`](crate::RoutedPool::primary) or
/// [`Node::backend`](dbrouter::Node::backend).
pub struct DieselBackend<P: Pool> {
    pool: P,
    /// How the pool was opened; not known of a pool that existed already.
    opened: Option<Opened<P>>,
}

impl<P: Pool> DieselBackend<P> {
    pub(crate) fn new(pool: P, opened: Option<Opened<P>>) -> Self {
        Self { pool, opened }
    }

    /// The pool itself, with the status that it tells of.
    #[must_use]
    pub fn pool(&self) -> &P {
        &self.pool
    }

    /// Whether the pool's connections are opened read-only.
    fn is_read_only(&self) -> bool {
        let opened = self.opened.as_ref();
        opened.is_some_and(Opened::is_read_only)
    }
}

impl<P: Pool> Clone for DieselBackend<P> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            opened: self.opened.clone(),
        }
    }
}

impl<P: Pool> fmt::Debug for DieselBackend<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DieselBackend")
            .field("pressure", &self.pressure())
            .finish_non_exhaustive()
    }
}

impl<P: Pool> Backend for DieselBackend<P> {
    type Error = Error;
    type Connection = Lease<P>;
    type Probe = P::Connection;

    fn pressure(&self) -> Pressure {
        self.pool.pressure()
    }

    fn fault(error: &Error) -> Fault {
        error.fault()
    }

    fn refused(refusal: RouteError) -> Error {
        Error::refused(refusal)
    }

    async fn acquire(&self) -> Result<Lease<P>, Error> {
        self.pool.take().await.map(Lease::new)
    }

    async fn acquire_read_only(&self) -> Result<Lease<P>, Error> {
        let mut lease = self.acquire().await?;
        if !self.is_read_only() {
            lease.refuse_writes().await?;
        }
        Ok(lease)
    }

    async fn open_probe(&self) -> Result<P::Connection, Error> {
        match &self.opened {
            Some(opened) => opened.connect().await,
            None => self.pool.connect().await,
        }
    }

    async fn ask(probe: &mut P::Connection, question: &Question) -> Result<Answer, Error> {
        probe.ask(question).await.map_err(Error::query)
    }
}
