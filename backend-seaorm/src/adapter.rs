//! How nodes' pools are opened, for the builder that all adapters share.

use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use dbrouter::{
    Adapter, Cluster, ConfigError, ConfigErrorKind, Credentials, Dialect, IntoNode, NodeOptions,
    Pings, Role, ServerCheck,
};
use sea_orm::{ConnectOptions, Database, DatabaseConnection, DbErr, RuntimeErr};

use crate::backend::SeaOrmBackend;
use crate::database;
use crate::pool::RoutedConnection;

/// SeaORM's part of the configuration. Nodes are given by URL, as SeaORM's [`ConnectOptions`], or as a
/// [`DatabaseConnection`]; each gets a pool as SeaORM would open it, with the same defaults, settings and
/// hooks, but lazily.
///
/// * [`Builder::ping_after`](dbrouter::Builder::ping_after) takes the place of `test_before_acquire`, unless the
///   options say otherwise: SeaORM itself pings at every checkout. Its check is not told what a connection is for, so one
///   that was idle for longer than [5 ms](Pings::CAREFUL) is pinged for reads as well.
/// * Replicas' pools are read-only: see [`Sqlx`](dbrouter_sqlx::Sqlx).
/// * For SQLite, SeaORM asks for the version when it opens a pool, so the file must be there.
/// * The hooks of `map_sqlx_…_pool_opts` run on the connections of every node, replicas included, before the router's own,
///   and `after_connect` on those of the router's monitor as well.
///   SeaORM tells nobody which there are, so each connection is opened twice for that: see
///   [`PoolOptions::from_sqlx`](dbrouter_sqlx::PoolOptions::from_sqlx).
/// * SeaORM's `after_connect` is called once for each pool, not for each connection, and here on a pool that is
///   opened again afterwards. Set connections up in sqlx's own hook, through `map_sqlx_…_pool_opts`.
#[derive(Clone, Debug)]
pub struct SeaOrm {
    pool_options: Option<PoolOptions>,
    ping_after: Option<Duration>,
    credentials: Option<Credentials>,
}

impl SeaOrm {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            pool_options: None,
            ping_after: Some(Duration::from_millis(500)),
            credentials: None,
        }
    }
}

impl Default for SeaOrm {
    fn default() -> Self {
        Self::new()
    }
}

/// What is to be said of SeaORM's options for each pool, after what they say themselves.
///
/// ```
/// use dbrouter_seaorm::{PoolOptions, RoutedConnection};
///
/// let builder = RoutedConnection::builder()
///     .primary("postgres://app@primary/shop")
///     .replica("postgres://app@replica-1/shop")
///     .pool_options(PoolOptions::new(|options| {
///         options.max_connections(20).sqlx_logging(false);
///     }));
/// # let _ = builder;
/// ```
#[derive(Clone)]
pub struct PoolOptions {
    set: Arc<dyn Fn(&mut ConnectOptions) + Send + Sync>,
    /// They are those of the builder, on top of which this comes.
    embedded: Option<Embedded>,
}

/// The options that a pool of an embedded database has, whatever the application states.
#[derive(Clone)]
pub(crate) struct Embedded {
    /// How many connections it has at most, whatever is said.
    pub(crate) most: Option<u32>,
    /// Whether the options were asked which file it is.
    pub(crate) is_named: Arc<AtomicBool>,
}

impl PoolOptions {
    /// What `set` does to the options.
    pub fn new(set: impl Fn(&mut ConnectOptions) + Send + Sync + 'static) -> Self {
        Self {
            set: Arc::new(set),
            embedded: None,
        }
    }

    /// Those of a pool of an embedded database.
    #[cfg(feature = "sqlite")]
    pub(crate) fn embedded(embedded: Embedded) -> Self {
        Self {
            embedded: Some(embedded),
            ..Self::new(|_| {})
        }
    }
}

impl fmt::Debug for PoolOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolOptions").finish_non_exhaustive()
    }
}

impl Adapter for SeaOrm {
    type Backend = SeaOrmBackend;
    type Handle = RoutedConnection;
    type ConnectOptions = ConnectOptions;
    type Pool = DatabaseConnection;
    type PoolOptions = PoolOptions;

    fn dialects() -> &'static [Dialect] {
        database::DIALECTS
    }

    fn parse(url: &str) -> Result<ConnectOptions, Box<dyn Error + Send + Sync>> {
        database::url(url).map(ConnectOptions::new)
    }

    fn pool_options(&mut self, options: PoolOptions) {
        self.pool_options = Some(options);
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
        mut options: ConnectOptions,
        pool_options: Option<&PoolOptions>,
        role: Role,
        check: &ServerCheck,
        field: &str,
    ) -> Result<SeaOrmBackend, ConfigError> {
        let embedded = pool_options.and_then(|options| options.embedded.clone());
        let pool_options = pool_options.filter(|options| options.embedded.is_none());
        if let Some(pool_options) = pool_options.or(self.pool_options.as_ref()) {
            (pool_options.set)(&mut options);
        }
        if let Some(idle) = self.ping_after
            && options.get_test_before_acquire()
        {
            // SeaORM's check is not told what the connection is for.
            options.test_before_acquire_if_idle_for(idle.min(Pings::CAREFUL));
        }
        options.connect_lazy(true);
        let connection = connect(options, field)?;
        if let Some(embedded) = &embedded
            && !embedded.is_named.load(Ordering::Relaxed)
        {
            let problem = "takes the place of what names the file; set pragmas in an `after_connect` of \
                           `map_sqlx_sqlite_pool_opts`, or give the nodes themselves";
            let field = format!("{field}.pool_options.map_sqlx_sqlite_opts");
            return Err(ConfigError::new(ConfigErrorKind::Pool, field, problem));
        }
        let most = embedded.and_then(|embedded| embedded.most);
        let credentials = self.credentials.as_ref();
        SeaOrmBackend::watched(connection, field)?.reopened(role, credentials, check, most, field)
    }

    fn adopt(&self, pool: DatabaseConnection, field: &str) -> Result<SeaOrmBackend, ConfigError> {
        SeaOrmBackend::watched(pool, field)
    }

    fn adopt_alone(
        &self,
        pool: DatabaseConnection,
        field: &str,
    ) -> Result<SeaOrmBackend, ConfigError> {
        SeaOrmBackend::new(pool, field)
    }

    fn dialect(backend: &SeaOrmBackend) -> Dialect {
        backend.dialect()
    }

    fn handle(self, cluster: Cluster<SeaOrmBackend>) -> RoutedConnection {
        RoutedConnection::new(&cluster, self)
    }
}

/// Lets SeaORM make a pool of its options: nobody else can read all of them. A lazy pool is there at once, but
/// for SQLite's, of which SeaORM asks the version; that is done on a thread, so that it can be waited for here.
fn connect(options: ConnectOptions, field: &str) -> Result<DatabaseConnection, ConfigError> {
    let url = options.get_url().to_owned();
    let connected = if url.starts_with("sqlite:") {
        let on_thread = || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(Database::connect(options)))
        };
        let joined = thread::scope(|scope| scope.spawn(on_thread).join());
        let ran = joined.unwrap_or_else(|_| Err(std::io::Error::other("a hook panicked")));
        ran.unwrap_or_else(|error| Err(crate::error::of_connection(error.into())))
    } else {
        let connecting = pin!(Database::connect(options));
        match connecting.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(connected) => connected,
            Poll::Pending => {
                let problem = "its `after_connect` waits for the database, which is met later; set \
                               connections up through `map_sqlx_…_pool_opts`, or give a `DatabaseConnection`";
                return Err(ConfigError::new(ConfigErrorKind::Pool, field, problem));
            }
        }
    };
    connected.map_err(|error| unopened(error, &url, field))
}

/// No error shows a password, and some of SeaORM's show the URL.
fn unopened(error: DbErr, url: &str, field: &str) -> ConfigError {
    let field = format!("{field}.url");
    if matches!(&error, DbErr::Conn(RuntimeErr::SqlxError(error)) if !matches!(**error, sqlx::Error::Configuration(_)))
    {
        let problem = "cannot be opened; see the source";
        return ConfigError::new(ConfigErrorKind::Unreachable, field, problem).with_source(error);
    }
    let problem = "cannot be understood; give a URL that begins with the scheme of a driver that is turned on";
    let shows_url = error.to_string().contains(url);
    let unopened = ConfigError::new(ConfigErrorKind::Url, field, problem);
    match shows_url {
        true => unopened,
        false => unopened.with_source(error),
    }
}

impl IntoNode<SeaOrm> for ConnectOptions {
    fn into_node(self) -> NodeOptions<SeaOrm> {
        NodeOptions::with_options(self)
    }
}

impl IntoNode<SeaOrm> for DatabaseConnection {
    fn into_node(self) -> NodeOptions<SeaOrm> {
        NodeOptions::with_pool(self)
    }
}
