//! How a node's pool is opened: what core's builder needs to know of diesel-async.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbrouter::{
    Adapter, BoxFuture, Cluster, ConfigError, ConfigErrorKind, Credentials, CredentialsError,
    Dialect, Login, LoginTarget, NodeCredentials, Role, ServerCheck, runtimes,
};
use diesel::result::{DatabaseErrorKind, Error};
use diesel::{ConnectionError, ConnectionResult};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolError, RecyclingMethod,
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
    credentials: Option<Credentials>,
}

impl<P: Pool> DieselAdapter<P> {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pool_options: PoolOptions::default(),
            ping_after: Some(Duration::from_millis(500)),
            credentials: None,
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

    fn parse(url: &str) -> Result<String, Box<dyn StdError + Send + Sync>> {
        P::Connection::parse(url)
    }

    fn pool_options(&mut self, options: PoolOptions<P>) {
        self.pool_options = options;
    }

    fn ping_after(&mut self, idle: Option<Duration>) {
        self.ping_after = idle;
    }

    fn credentials(&mut self, credentials: Credentials) -> Result<(), ConfigError> {
        self.credentials = Some(credentials);
        Ok(())
    }

    fn open(
        &self,
        url: String,
        pool_options: Option<&PoolOptions<P>>,
        role: Role,
        check: &ServerCheck,
        field: &str,
    ) -> Result<DieselBackend<P>, ConfigError> {
        let options = match pool_options {
            Some(stated) => stated.over(&self.pool_options),
            None => self.pool_options.clone(),
        };
        let credentials = self.credentials.as_ref();
        let credentials =
            credentials.map(|credentials| credentials.of(LoginTarget::new(field).at_url(&url)));
        let connect = Connect {
            credentials,
            url: url.into(),
            setup: options.setup.clone(),
            role,
            is_plain: Arc::default(),
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
        let build = Arc::clone(&options.build);
        Ok(DieselBackend::new(pool, Some(Opened { connect, build })))
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
            credentials: self.credentials.clone(),
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
pub(crate) type Setup<C> = dyn Fn(&str) -> BoxFuture<'_, ConnectionResult<C>> + Send + Sync;
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
    /// They are those of the builder, on top of which this comes.
    on_top: Option<Arc<OnTop<P>>>,
}

/// Whether a number of connections holds against what the application says.
#[cfg(feature = "sqlite")]
#[derive(Clone, Copy)]
pub(crate) enum Limit {
    UnlessStated,
    InAnyCase,
}

type OnTop<P> = dyn Fn(PoolOptions<P>) -> PoolOptions<P> + Send + Sync;

impl<P: Pool> PoolOptions<P> {
    /// What is to be said to the pool's own builder. It is called once for each pool, and with deadpool once for each
    /// connection of the router's monitor, so that its `post_create` hooks run on that as well. (bb8's
    /// `connection_customizer` does not: bb8 would try again and again to reach a lost server, and not say why. Give a
    /// [`setup`](Self::setup), which runs on all connections.)
    #[must_use]
    pub fn new(build: impl Fn(P::Builder) -> P::Builder + Send + Sync + 'static) -> Self {
        Self {
            build: Arc::new(build),
            setup: None,
            recycling: None,
            on_top: None,
        }
    }

    /// One node's options: the builder's, changed by this function.
    #[cfg(feature = "sqlite")]
    pub(crate) fn on_top(change: impl Fn(Self) -> Self + Send + Sync + 'static) -> Self {
        Self {
            on_top: Some(Arc::new(change)),
            ..Self::default()
        }
    }

    /// The options of a node for which these were given, where the builder's are `general`.
    fn over(&self, general: &Self) -> Self {
        match &self.on_top {
            Some(change) => change(general.clone()),
            None => self.clone(),
        }
    }

    /// A limit on the pool's connections.
    #[cfg(feature = "sqlite")]
    pub(crate) fn limited(self, connections: u32, limit: Limit) -> Self {
        let stated = Arc::clone(&self.build);
        let build = move |builder| match limit {
            Limit::UnlessStated => stated(P::limit(builder, connections)),
            Limit::InAnyCase => P::limit(stated(builder), connections),
        };
        Self {
            build: Arc::new(build),
            ..self
        }
    }

    /// The function that opens connections, if the application has given one.
    #[cfg(feature = "sqlite")]
    pub(crate) fn stated_setup(&self) -> Option<Arc<Setup<P::Connection>>> {
        self.setup.clone()
    }

    /// How a connection is opened, for TLS and the like: what
    /// [`ManagerConfig::custom_setup`] takes. Defaults to diesel-async's `establish`, and on SQLite a busy timeout of 5 s.
    ///
    /// The URL has the login that [`Credentials`] give, if there are some. Of a replica on PostgreSQL it also has `options`
    /// by which the connection is read-only, and its isolation level *repeatable read*. One that was opened without heeding
    /// them, and those of other servers, are told so by a statement afterwards
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
            on_top: self.on_top.clone(),
        }
    }
}

impl<P: Pool> fmt::Debug for PoolOptions<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolOptions").finish_non_exhaustive()
    }
}

/// How a pool was opened.
pub(crate) struct Opened<P: Pool> {
    connect: Connect<P::Connection>,
    build: Arc<Build<P>>,
}

impl<P: Pool> Opened<P> {
    /// Whether the server refuses writes on the connections.
    pub(crate) fn is_read_only(&self) -> bool {
        self.connect.is_read_only()
    }

    /// Opens a connection beside the pool, set up as the pool's are.
    pub(crate) async fn connect(&self) -> Result<P::Connection, crate::Error> {
        let manager = self
            .connect
            .manager(P::Connection::recycling(), &ServerCheck::none());
        if let Some(connected) = P::connect_as(manager, &*self.build).await {
            return connected;
        }
        let connected = self.connect.connect().await;
        connected.map_err(|error| PoolError::ConnectionError(error).into())
    }
}

// Not derived: that would ask for `P: Clone`, which is implied.
impl<P: Pool> Clone for Opened<P> {
    fn clone(&self) -> Self {
        Self {
            connect: self.connect.clone(),
            build: Arc::clone(&self.build),
        }
    }
}

/// How a node's connections are opened.
pub(crate) struct Connect<C> {
    url: Arc<str>,
    credentials: Option<NodeCredentials>,
    setup: Option<Arc<Setup<C>>>,
    role: Role,
    /// A pooler in front of the server refuses the options that make a replica's connections read-only.
    is_plain: Arc<AtomicBool>,
}

impl<C: RoutedConnection> Connect<C> {
    async fn connect(&self) -> ConnectionResult<C> {
        runtimes::opened();
        let mut connection = self.log_in().await?;
        if self.is_read_only() && self.needs_a_statement(&mut connection).await? {
            let prepared = connection.batch_execute(C::DIALECT.replica_session()).await;
            prepared.map_err(ConnectionError::CouldntSetupConfiguration)?;
        }
        Ok(connection)
    }

    /// Whether a replica's connection must be told what it is by a statement. Not behind a pooler that refuses to be told
    /// when the connection is opened: the statement's effect could outlive this client there, and a standby refuses writes
    /// in any case.
    async fn needs_a_statement(&self, connection: &mut C) -> ConnectionResult<bool> {
        if self.is_plain.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match (C::read_only(&self.url), &self.setup) {
            (None, _) => Ok(true),
            (Some(_), None) => Ok(false),
            // The application's own function may have opened it in another way than the URL says.
            (Some(_), Some(_)) => {
                let was = connection.was_opened_read_only().await;
                Ok(!was.map_err(ConnectionError::CouldntSetupConfiguration)?)
            }
        }
    }

    /// Opens a connection with the login of now, and once more if the server refuses that and there is another.
    async fn log_in(&self) -> ConnectionResult<C> {
        let Some(credentials) = &self.credentials else {
            return self.open(&self.url).await;
        };
        let login = credentials.now().await.map_err(|error| unknown(&error))?;
        let refused = match self.open(&self.with(&login)?).await {
            Err(error) if is_of_the_server(&error) => error,
            opened => return opened,
        };
        match credentials.after_refusal(Some(&login)).await {
            Ok(Some(login)) => self.open(&self.with(&login)?).await,
            Ok(None) => Err(refused),
            Err(error) => Err(unknown(&error)),
        }
    }

    async fn open(&self, url: &str) -> ConnectionResult<C> {
        if self.is_read_only()
            && !self.is_plain.load(Ordering::Relaxed)
            && let Some(url) = C::read_only(url)
        {
            match self.open_as_it_is(&url).await {
                Err(error) if refuses_options::<C>(&error) => {
                    self.is_plain.store(true, Ordering::Relaxed);
                }
                opened => return opened,
            }
        }
        self.open_as_it_is(url).await
    }

    async fn open_as_it_is(&self, url: &str) -> ConnectionResult<C> {
        match &self.setup {
            Some(setup) => setup(url).await,
            None => C::open(url).await,
        }
    }

    fn with(&self, login: &Login) -> ConnectionResult<String> {
        C::with_login(&self.url, login).ok_or_else(|| {
            let problem = "the node's URL has no place for a user and a password";
            ConnectionError::InvalidConnectionUrl(problem.to_owned())
        })
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

fn unknown(error: &CredentialsError) -> ConnectionError {
    ConnectionError::BadConnection(error.to_string())
}

/// Whether a pooler refuses the options that make a connection read-only. diesel tells no codes.
fn refuses_options<C: RoutedConnection>(error: &ConnectionError) -> bool {
    const CODE: &str = "08P01";
    match error {
        ConnectionError::CouldntSetupConfiguration(Error::DatabaseError(_, information)) => {
            C::DIALECT.refuses_options(CODE, information.message())
        }
        _ => false,
    }
}

/// Whether the server has said why it takes no connection. diesel tells no codes, and the words depend on the server's
/// language.
fn is_of_the_server(error: &ConnectionError) -> bool {
    match error {
        ConnectionError::CouldntSetupConfiguration(Error::DatabaseError(kind, _)) => {
            !matches!(kind, DatabaseErrorKind::UnableToSendCommand)
        }
        _ => false,
    }
}

impl<C> Clone for Connect<C> {
    fn clone(&self) -> Self {
        Self {
            url: Arc::clone(&self.url),
            credentials: self.credentials.clone(),
            setup: self.setup.clone(),
            role: self.role,
            is_plain: Arc::clone(&self.is_plain),
        }
    }
}
