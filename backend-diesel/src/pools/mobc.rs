//! mobc. Its state is behind an asynchronous lock, a timeout may mean anything, and it has no way to close it.
//!
//! In diesel-async 0.9.2 its manager answers mobc's question "is this connection still valid?" with whether
//! it is *broken*: mobc closes every healthy connection that is given back, and keeps those that were left
//! inside a transaction. The latter are taken out of the pool here.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dbrouter::{ConfigError, IntoNode, NodeOptions, Pressure};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, PoolError, mobc as pooled};
use mobc::Manager;

use super::Pool;
use crate::adapter::DieselAdapter;
use crate::database::RoutedConnection;
use crate::error::{Error, ErrorKind};
use crate::strict::{Handle, ReadWrite};

impl<C> Pool for pooled::Pool<C>
where
    C: RoutedConnection,
    AsyncDieselConnectionManager<C>: Manager<Connection = C, Error = PoolError>,
{
    type Connection = C;
    type Guard = pooled::PooledConnection<C>;
    type Builder = pooled::Builder<C>;
    const KNOWS_IDLE: bool = false;

    /// mobc's own `test_on_check_out` stays.
    fn open(
        manager: AsyncDieselConnectionManager<C>,
        options: &(dyn Fn(Self::Builder) -> Self::Builder + Send + Sync),
        _ping_after: Option<Duration>,
        _field: &str,
    ) -> Result<Self, ConfigError> {
        Ok(options(Self::builder()).build(manager))
    }

    fn limit(builder: Self::Builder, connections: u32) -> Self::Builder {
        builder.max_open(connections.into())
    }

    async fn take(&self) -> Result<Self::Guard, Error> {
        self.get().await.map_err(|error| match error {
            mobc::Error::Inner(error) => error.into(),
            mobc::Error::Timeout => Error::new(ErrorKind::Exhausted),
            mobc::Error::PoolClosed => Error::new(ErrorKind::Closed),
            mobc::Error::BadConn => Error::new(ErrorKind::Connect),
        })
    }

    fn give_back(mut guard: Self::Guard) {
        if guard.is_broken() {
            drop(guard.into_inner());
        }
    }

    /// mobc opens no other connections, so one of the pool's is taken out of it for good.
    async fn connect(&self) -> Result<C, Error> {
        self.take().await.map(mobc::Connection::into_inner)
    }

    /// Where somebody else holds mobc's lock at this very moment, nothing is known.
    fn pressure(&self) -> Pressure {
        let state = pin!(self.state());
        let Poll::Ready(state) = state.poll(&mut Context::from_waker(Waker::noop())) else {
            return Pressure::default();
        };
        let count = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Pressure {
            in_use: count(state.in_use),
            idle: count(state.idle),
            waiting: Some(count(state.wait_count)),
            max: count(state.max_open),
        }
    }
}

impl<C> IntoNode<DieselAdapter<Self>> for pooled::Pool<C>
where
    C: RoutedConnection,
    AsyncDieselConnectionManager<C>: Manager<Connection = C, Error = PoolError>,
{
    fn into_node(self) -> NodeOptions<DieselAdapter<Self>> {
        NodeOptions::with_pool(self)
    }
}

impl<C> Handle for pooled::PooledConnection<C>
where
    C: RoutedConnection,
    AsyncDieselConnectionManager<C>: Manager<Connection = C, Error = PoolError>,
{
    type Connection = C;
    type Mode = ReadWrite;

    fn connection(&mut self) -> &mut C {
        self
    }
}
