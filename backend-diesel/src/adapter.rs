//! How a node's pool is opened: what core's builder needs to know of diesel-async.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use dbrouter::{
    Adapter, BoxFuture, Cluster, ConfigError, ConfigErrorKind, Dialect, Role, ServerCheck, runtimes,
};
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod,
};

use crate::backend::DieselBackend;
use crate::database::RoutedConnection;
use crate::pool::RoutedPool;
use crate::pools::Pool;

/// Configures a [`RoutedPool`]. Whatever is wrong is reported by [`connect`](dbrouter::Builder::connect).
pub type Builder<P> = dbrouter::Builder<DieselAdapter<P>>;

/// One node's options: where it is, and what the router should know of it.
///
/// ```
/// # #[cfg(all(feature = "deadpool", feature = "postgres"))] {
/// use dbrouter_diesel::NodeOptions;
/// use dbrouter_diesel::diesel_async::{AsyncPgConnection, pooled_connection::deadpool::Pool};
///
/// let replica = NodeOptions::<Pool<AsyncPgConnection>>::new("postgres://app@replica-eu/shop")
///     .name("replica-eu")
///     .weight(3)
///     .tag("zone", "eu");
/// # let _ = replica;
/// # }
/// ```
pub type NodeOptions<P> = dbrouter::NodeOptions<DieselAdapter<P>>;

/// What dbrouter's builder needs to know of diesel-async.
pub struct DieselAdapter<P: Pool> {
    pool_options: PoolOptions<P>,
    ping_after: Option<Duration>,
}

impl<P: Pool> DieselAdapter<P> {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pool_options: PoolOptions::default(),
            ping_after: Some(Duration::from_millis(500)),
        }
    }
}

impl<P: Pool> Default for DieselAdapter<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Pool> Adapter for DieselAdapter<P> {
    type Backend = DieselBackend<P>;
    type Handle = RoutedPool<P>;
    /// What the driver's `establish` takes.
    type ConnectOptions = String;
    type Pool = P;
    type PoolOptions = PoolOptions<P>;

    fn dialects() -> &'static [Dialect] {
        &[P::Connection::DIALECT]
    }

    fn parse(url: &str) -> Result<String, Box<dyn Error + Send + Sync>> {
        P::Connection::parse(url)
    }

    fn pool_options(&mut self, options: PoolOptions<P>) {
        self.pool_options = options;
    }

    fn ping_after(&mut self, idle: Option<Duration>) {
        self.ping_after = idle;
    }

    fn open(
        &self,
        url: String,
        pool_options: Option<&PoolOptions<P>>,
        role: Role,
        check: &ServerCheck,
        field: &str,
    ) -> Result<DieselBackend<P>, ConfigError> {
        let options = pool_options.unwrap_or(&self.pool_options);
        let connect = Connect {
            url: url.into(),
            setup: options.setup.clone(),
            role,
        };
        let (recycling, ping_after) = match (&options.recycling, self.ping_after) {
            (Some(recycling), _) => (recycling(), None),
            (None, Some(window)) if P::KNOWS_IDLE && P::Connection::SURVIVES_A_DROP => {
                (RecyclingMethod::Fast, Some(window))
            }
            (None, _) => (P::Connection::recycling(), None),
        };
        let manager = connect.manager(recycling, check);
        // Some pools' builders panic if they are given what makes no sense.
        let open = || P::open(manager, &*options.build, ping_after, field);
        let pool = catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|panic| {
            let field = format!("{field}.pool_options");
            Err(ConfigError::new(
                ConfigErrorKind::OutOfRange,
                field,
                words(&*panic),
            ))
        })?;
        Ok(DieselBackend::new(pool, Some(connect)))
    }

    fn adopt(&self, pool: P, field: &str) -> Result<DieselBackend<P>, ConfigError> {
        pool.check(field)?;
        Ok(DieselBackend::new(pool, None))
    }

    fn dialect(_backend: &DieselBackend<P>) -> Dialect {
        P::Connection::DIALECT
    }

    fn handle(self, cluster: Cluster<DieselBackend<P>>) -> RoutedPool<P> {
        RoutedPool::new(&cluster, self)
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    words.unwrap_or("the pool's builder panicked")
}

// Not derived: that would ask for `P: Clone`, which is implied, and for `P: Debug`.
impl<P: Pool> Clone for DieselAdapter<P> {
    fn clone(&self) -> Self {
        Self {
            pool_options: self.pool_options.clone(),
            ping_after: self.ping_after,
        }
    }
}

impl<P: Pool> fmt::Debug for DieselAdapter<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DieselAdapter")
            .field("ping_after", &self.ping_after)
            .finish_non_exhaustive()
    }
}

type Build<P> = dyn Fn(<P as Pool>::Builder) -> <P as Pool>::Builder + Send + Sync;
type Setup<C> = dyn Fn(&str) -> BoxFuture<'_, ConnectionResult<C>> + Send + Sync;
type Recycling<C> = dyn Fn() -> RecyclingMethod<C> + Send + Sync;

/// The options of the pools that a router opens: the pool's own, through its own builder.
///
/// Defaults to the pool's defaults, but for deadpool's timeouts: it waits 30 s for a connection, and 30 s for
/// one to be opened, as sqlx and bb8 do. Its own default is to wait for ever.
///
/// ```
/// # #[cfg(all(feature = "deadpool", feature = "postgres"))] {
/// use dbrouter_diesel::{PoolOptions, RoutedPool};
/// use dbrouter_diesel::diesel_async::{AsyncPgConnection, pooled_connection::deadpool::Pool};
///
/// type Shop = Pool<AsyncPgConnection>;
/// let options = PoolOptions::<Shop>::new(|builder| builder.max_size(20));
/// let builder = RoutedPool::<Shop>::builder().pool_options(options);
/// # let _ = builder;
/// # }
/// ```
pub struct PoolOptions<P: Pool> {
    build: Arc<Build<P>>,
    setup: Option<Arc<Setup<P::Connection>>>,
    recycling: Option<Arc<Recycling<P::Connection>>>,
}

impl<P: Pool> PoolOptions<P> {
    /// What is to be said to the pool's own builder. It is called once for each pool.
    #[must_use]
    pub fn new(build: impl Fn(P::Builder) -> P::Builder + Send + Sync + 'static) -> Self {
        Self {
            build: Arc::new(build),
            setup: None,
            recycling: None,
        }
    }

    /// How a connection is opened, for TLS and the like: what
    /// [`ManagerConfig::custom_setup`] takes. Defaults to diesel-async's `establish`, and on SQLite a busy timeout of 5 s. On a replica the
    /// connection is made read-only afterwards, and its isolation level *repeatable read*
    /// ([`Dialect::replica_session`]).
    ///
    /// ```
    /// # #[cfg(all(feature = "deadpool", feature = "postgres"))] {
    /// # use dbrouter_diesel::PoolOptions;
    /// # use dbrouter_diesel::diesel_async::pooled_connection::deadpool::Pool;
    /// use dbrouter_diesel::diesel_async::{
    ///     AsyncConnection, AsyncPgConnection, SimpleAsyncConnection,
    /// };
    ///
    /// let options = PoolOptions::<Pool<AsyncPgConnection>>::default().setup(|url| {
    ///     Box::pin(async move {
    ///         let mut connection = AsyncPgConnection::establish(url).await?;
    ///         connection.batch_execute("SET statement_timeout = '5s'").await
    ///             .map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
    ///         Ok(connection)
    ///     })
    /// });
    /// # let _ = options;
    /// # }
    /// ```
    #[must_use]
    pub fn setup(
        mut self,
        setup: impl Fn(&str) -> BoxFuture<'_, ConnectionResult<P::Connection>> + Send + Sync + 'static,
    ) -> Self {
        self.setup = Some(Arc::new(setup));
        self
    }

    /// How a connection is checked when it is taken from the pool, instead of by
    /// [`ping_after`](dbrouter::Builder::ping_after).
    #[must_use]
    pub fn recycling(
        mut self,
        method: impl Fn() -> RecyclingMethod<P::Connection> + Send + Sync + 'static,
    ) -> Self {
        self.recycling = Some(Arc::new(method));
        self
    }
}

impl<P: Pool> Default for PoolOptions<P> {
    fn default() -> Self {
        Self::new(|builder| builder)
    }
}

impl<P: Pool> Clone for PoolOptions<P> {
    fn clone(&self) -> Self {
        Self {
            build: Arc::clone(&self.build),
            setup: self.setup.clone(),
            recycling: self.recycling.clone(),
        }
    }
}

impl<P: Pool> fmt::Debug for PoolOptions<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolOptions").finish_non_exhaustive()
    }
}

/// How a node's connections are opened.
pub(crate) struct Connect<C> {
    url: Arc<str>,
    setup: Option<Arc<Setup<C>>>,
    role: Role,
}

impl<C: RoutedConnection> Connect<C> {
    pub(crate) async fn connect(&self) -> ConnectionResult<C> {
        runtimes::opened();
        let mut connection = match &self.setup {
            Some(setup) => setup(&self.url).await?,
            None => C::open(&self.url).await?,
        };
        if self.is_read_only() {
            let prepared = connection.batch_execute(C::DIALECT.replica_session()).await;
            prepared.map_err(ConnectionError::CouldntSetupConfiguration)?;
        }
        Ok(connection)
    }

    /// Whether the server refuses writes on the connections.
    pub(crate) fn is_read_only(&self) -> bool {
        self.role == Role::Replica
    }

    /// Opens connections until one leads to the node's server.
    async fn connect_to(&self, check: &ServerCheck) -> ConnectionResult<C> {
        loop {
            let mut connection = self.connect().await?;
            let Some(question) = check.question(C::DIALECT) else {
                return Ok(connection);
            };
            let asked = connection.ask(&question).await;
            let answer = asked.map_err(ConnectionError::CouldntSetupConfiguration)?;
            match check.admit(&answer).await {
                Ok(()) => return Ok(connection),
                Err(other) if other.is_final() => {
                    return Err(ConnectionError::BadConnection(other.to_string()));
                }
                Err(_) => {}
            }
        }
    }

    fn manager(
        &self,
        recycling: RecyclingMethod<C>,
        check: &ServerCheck,
    ) -> AsyncDieselConnectionManager<C> {
        let (connect, check) = (self.clone(), check.clone());
        let mut config = ManagerConfig::default();
        config.recycling_method = recycling;
        config.custom_setup = Box::new(move |_| {
            let (connect, check) = (connect.clone(), check.clone());
            Box::pin(async move { connect.connect_to(&check).await })
        });
        AsyncDieselConnectionManager::new_with_config(&*self.url, config)
    }
}

impl<C> Clone for Connect<C> {
    fn clone(&self) -> Self {
        Self {
            url: Arc::clone(&self.url),
            setup: self.setup.clone(),
            role: self.role,
        }
    }
}
