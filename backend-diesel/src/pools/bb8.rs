//! bb8. It retries a server that cannot be reached until its timeout, so a lost server looks like a full pool;
//! a read leaves as soon as the monitor has found its node lost. It has no way to close it.

use std::time::Duration;

use bb8::{ManageConnection, RunError};
use dbrouter::{ConfigError, IntoNode, NodeOptions, Pressure};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, PoolError, bb8 as pooled};

use super::Pool;
use crate::adapter::DieselAdapter;
use crate::database::RoutedConnection;
use crate::error::{Error, ErrorKind};
use crate::strict::{Handle, ReadWrite};

impl<C> Pool for pooled::Pool<C>
where
    C: RoutedConnection,
    AsyncDieselConnectionManager<C>: ManageConnection<Connection = C, Error = PoolError>,
{
    type Connection = C;
    type Guard = pooled::PooledConnection<'static, C>;
    type Builder = bb8::Builder<AsyncDieselConnectionManager<C>>;
    const KNOWS_IDLE: bool = false;

    /// bb8 does not tell how long a connection was idle, so its own `test_on_check_out` stays.
    fn open(
        manager: AsyncDieselConnectionManager<C>,
        options: &(dyn Fn(Self::Builder) -> Self::Builder + Send + Sync),
        _ping_after: Option<Duration>,
        _field: &str,
    ) -> Result<Self, ConfigError> {
        Ok(options(Self::builder()).build_unchecked(manager))
    }

    fn limit(builder: Self::Builder, connections: u32) -> Self::Builder {
        builder.max_size(connections)
    }

    async fn take(&self) -> Result<Self::Guard, Error> {
        self.get_owned().await.map_err(|error| match error {
            RunError::User(error) => error.into(),
            RunError::TimedOut => Error::new(ErrorKind::Exhausted),
        })
    }

    /// bb8 itself turns away what was left inside a transaction.
    fn give_back(guard: Self::Guard) {
        drop(guard);
    }

    async fn connect(&self) -> Result<C, Error> {
        Ok(self.dedicated_connection().await?)
    }

    fn pressure(&self) -> Pressure {
        let state = self.state();
        Pressure {
            in_use: state.connections.saturating_sub(state.idle_connections),
            idle: state.idle_connections,
            waiting: None,
            max: self.config().max_size,
        }
    }
}

impl<C> IntoNode<DieselAdapter<Self>> for pooled::Pool<C>
where
    C: RoutedConnection,
    AsyncDieselConnectionManager<C>: ManageConnection<Connection = C, Error = PoolError>,
{
    fn into_node(self) -> NodeOptions<DieselAdapter<Self>> {
        NodeOptions::with_pool(self)
    }
}

impl<C> Handle for pooled::PooledConnection<'_, C>
where
    C: RoutedConnection,
    AsyncDieselConnectionManager<C>: ManageConnection<Connection = C, Error = PoolError>,
{
    type Connection = C;
    type Mode = ReadWrite;

    fn connection(&mut self) -> &mut C {
        self
    }
}
