//! deadpool, the default: its status is synchronous, and it tells a full pool from a lost server.

use std::sync::Arc;
use std::time::Duration;

use dbrouter::{
    ConfigError, ConfigErrorKind, Dead, IntoNode, NodeOptions, Pings, Pressure, runtimes,
};
use deadpool::Runtime;
use deadpool::managed::{Hook, HookError, Manager, Object, TimeoutType};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, PoolError, deadpool as pooled,
};

use super::Pool;
use crate::adapter::DieselAdapter;
use crate::database::RoutedConnection;
use crate::error::{Error, ErrorKind};
use crate::strict::{Handle, ReadWrite};

/// As long as sqlx and bb8 wait. deadpool's own default is to wait for ever, and then a primary that
/// neither answers nor refuses holds every request that writes.
const WAIT: Duration = Duration::from_secs(30);

impl<C> Pool for pooled::Pool<C>
where
    C: RoutedConnection,
    AsyncDieselConnectionManager<C>: Manager<Type = C, Error = PoolError>,
{
    type Connection = C;
    type Guard = pooled::Object<C>;
    type Builder = pooled::PoolBuilder<C>;
    const KNOWS_IDLE: bool = true;

    fn open(
        manager: AsyncDieselConnectionManager<C>,
        options: &(dyn Fn(Self::Builder) -> Self::Builder + Send + Sync),
        ping_after: Option<Duration>,
        field: &str,
    ) -> Result<Self, ConfigError> {
        let builder = Self::builder(manager)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(WAIT));
        let builder = match ping_after {
            Some(window) => builder.pre_recycle(ping::<C>(window)),
            None => builder,
        };
        let pool = options(builder).build().map_err(|error| {
            let problem = "the pool's timeouts need a runtime: `.runtime(Runtime::Tokio1)`";
            let field = format!("{field}.pool_options");
            ConfigError::new(ConfigErrorKind::Runtime, field, problem).with_source(error)
        })?;
        pool.check(field)?;
        Ok(pool)
    }

    fn limit(builder: Self::Builder, connections: u32) -> Self::Builder {
        builder.max_size(usize::try_from(connections).unwrap_or(usize::MAX))
    }

    fn check(&self, field: &str) -> Result<(), ConfigError> {
        if self.is_closed() {
            let kind = ConfigErrorKind::Pool;
            return Err(ConfigError::new(kind, field, "its pool is closed"));
        }
        if self.status().max_size == 0 {
            let problem = "is 0, so nobody would ever get a connection; give it at least 1";
            let field = format!("{field}.pool_options.max_size");
            return Err(ConfigError::new(
                ConfigErrorKind::OutOfRange,
                field,
                problem,
            ));
        }
        Ok(())
    }

    async fn take(&self) -> Result<Self::Guard, Error> {
        self.get().await.map_err(|error| match error {
            pooled::PoolError::Backend(error) => error.into(),
            pooled::PoolError::Closed => Error::new(ErrorKind::Closed),
            pooled::PoolError::Timeout(TimeoutType::Wait) => Error::new(ErrorKind::Exhausted),
            pooled::PoolError::NoRuntimeSpecified => Error::new(ErrorKind::Runtime),
            error @ (pooled::PoolError::Timeout(_) | pooled::PoolError::PostCreateHook(_)) => {
                Error::new(ErrorKind::Connect).with_source(error)
            }
        })
    }

    /// deadpool would keep a connection that was left inside a transaction, locks and all, until somebody
    /// else is about to get it.
    fn give_back(mut guard: Self::Guard) {
        if guard.is_broken() {
            drop(Object::take(guard));
        }
    }

    async fn connect(&self) -> Result<C, Error> {
        Ok(self.manager().create().await?)
    }

    async fn connect_as(
        manager: AsyncDieselConnectionManager<C>,
        options: &(dyn Fn(Self::Builder) -> Self::Builder + Send + Sync),
    ) -> Option<Result<C, Error>> {
        // It could be opened before.
        let pool = Self::open(manager, options, None, "").ok()?;
        Some(pool.take().await.map(Object::take))
    }

    fn pressure(&self) -> Pressure {
        let status = self.status();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Pressure {
            in_use: count(status.size.saturating_sub(status.available)),
            idle: count(status.available),
            waiting: Some(count(status.waiting)),
            max: count(status.max_size),
        }
    }

    fn close(&self) {
        self.close();
    }
}

/// Pings a connection that was not taken from the pool for longer than `window`, or whose runtime may have ended.
fn ping<C>(window: Duration) -> Hook<AsyncDieselConnectionManager<C>>
where
    C: RoutedConnection,
    AsyncDieselConnectionManager<C>: Manager<Type = C, Error = PoolError>,
{
    let pings = Arc::new(Pings::new(Some(window)));
    Hook::async_fn(move |connection: &mut C, metrics| {
        // One of a runtime that has ended may be dead however short it was idle.
        let idle = match runtimes::have_ended_within(metrics.age()) {
            true => Duration::MAX,
            false => metrics.last_used(),
        };
        let pings = Arc::clone(&pings);
        Box::pin(async move {
            // One that is in a transaction, or known to be closed, is turned away without being asked.
            if connection.is_broken() {
                return Ok(());
            }
            match pings
                .check(idle, connection.batch_execute("SELECT 1"))
                .await
            {
                Ok(()) => Ok(()),
                Err(Dead::Failed(error)) => Err(HookError::Backend(PoolError::QueryError(error))),
                Err(_) => Err(HookError::message("the server does not answer")),
            }
        })
    })
}

impl<C> IntoNode<DieselAdapter<Self>> for pooled::Pool<C>
where
    C: RoutedConnection,
    AsyncDieselConnectionManager<C>: Manager<Type = C, Error = PoolError>,
{
    fn into_node(self) -> NodeOptions<DieselAdapter<Self>> {
        NodeOptions::with_pool(self)
    }
}

impl<C> Handle for pooled::Object<C>
where
    C: RoutedConnection,
    AsyncDieselConnectionManager<C>: Manager<Type = C, Error = PoolError>,
{
    type Connection = C;
    type Mode = ReadWrite;

    fn connection(&mut self) -> &mut C {
        self
    }
}
