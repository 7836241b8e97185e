//! How a router over sqlx pools is configured.

use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use dbrouter::{
    Classifier, Clock, Cluster, ConfigError, ConfigErrorKind, MonitorSettings, NodeSpec, Policy,
    Preference, Role, Settings, Start,
};
use sqlx::pool::PoolOptions;
use sqlx::{Connection, Pool};
use tokio::runtime::Handle;

use crate::backend::SqlxBackend;
use crate::database::{Options, RoutedDatabase};
use crate::pool::RoutedPool;
use crate::url;

/// Configures a [`RoutedPool`]. Whatever is wrong is reported by [`connect`](Self::connect).
#[must_use = "a builder does nothing until `connect` is called"]
pub struct Builder<DB: RoutedDatabase> {
    primary: Option<NodeOptions<DB>>,
    replicas: Vec<NodeOptions<DB>>,
    settings: Settings,
    opening: Opening<DB>,
    error: Option<ConfigError>,
}

impl<DB: RoutedDatabase> Builder<DB> {
    pub(crate) fn new() -> Self {
        Self {
            primary: None,
            replicas: Vec::new(),
            settings: Settings::new(),
            opening: Opening::new(),
            error: None,
        }
    }

    /// The node that takes the writes: a URL, connect options, a pool, or [`NodeOptions`] to say more.
    pub fn primary(mut self, primary: impl Into<NodeOptions<DB>>) -> Self {
        if self.primary.replace(primary.into()).is_some() {
            let problem = "was given twice; a cluster has one";
            self.wrong(ConfigError::new(
                ConfigErrorKind::Primary,
                "primary",
                problem,
            ));
        }
        self
    }

    /// A node that takes reads: a URL, connect options, a pool, or [`NodeOptions`] to say more. Its
    /// connections are opened read-only, unless it is a pool that exists already. PostgreSQL is told so
    /// by the startup parameter `options`. A PgBouncer in between refuses that unless its
    /// `ignore_startup_parameters` lists it; or give a pool of your own. (A standby refuses writes in any
    /// case.)
    pub fn replica(mut self, replica: impl Into<NodeOptions<DB>>) -> Self {
        self.replicas.push(replica.into());
        self
    }

    /// The nodes that variables name, such as the environment's.
    pub(crate) fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        const PRIMARY: &str = "DATABASE_URL";
        const REPLICAS: &str = "DATABASE_REPLICA_URLS";
        let mut builder = Self::new();
        let mut variable = |name| match variable(name)?.into_string() {
            Ok(text) => Some(text),
            Err(_) => {
                let problem = "is not Unicode, so it is no URL";
                builder.wrong(ConfigError::new(ConfigErrorKind::Url, name, problem));
                Some(String::new())
            }
        };
        let (primary, replicas) = (variable(PRIMARY), variable(REPLICAS));
        match primary.filter(|url| !url.trim().is_empty()) {
            Some(url) => builder = builder.primary(url.trim()),
            None => {
                let problem = "is not set; set it to the URL of the server that takes the writes";
                builder.wrong(ConfigError::new(ConfigErrorKind::Primary, PRIMARY, problem));
            }
        }
        let Some(list) = replicas else {
            return builder;
        };
        let urls = || list.split(',').map(str::trim).filter(|url| !url.is_empty());
        if urls().next().is_none() {
            let problem = "is set and names no replica; give URLs separated by commas, or unset it";
            builder.wrong(ConfigError::new(
                ConfigErrorKind::EmptyList,
                REPLICAS,
                problem,
            ));
        }
        urls().fold(builder, Self::replica)
    }

    /// sqlx's options for the pools of all nodes that have none of their own. Defaults to sqlx's
    /// defaults: 10 connections a node, an acquire timeout of 30 s.
    pub fn pool_options(mut self, options: PoolOptions<DB>) -> Self {
        self.opening.pool_options = options;
        self
    }

    /// A connection is pinged when it is taken from its pool if it was idle for longer than this;
    /// `None` leaves it to the pool options. Defaults to 500 ms, as HikariCP does: sqlx itself pings at
    /// every checkout, which costs a round trip on every statement, and a connection that was in use
    /// half a second ago is very probably alive. (A read on one that is not is run again elsewhere.)
    ///
    /// The window takes the place of the pool options' `test_before_acquire` and `before_acquire`.
    pub fn ping_after(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.opening.ping_after = idle.into();
        self
    }

    /// How one of several candidates is chosen. Defaults to [`Sticky`](dbrouter::policy::Sticky) over
    /// [`LeastInFlight`](dbrouter::policy::LeastInFlight).
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.settings = self.settings.policy(policy);
        self
    }

    /// Where reads go that do not say so themselves. Defaults to [`Preference::ReplicaPreferred`].
    pub fn preference(mut self, preference: Preference) -> Self {
        self.settings = self.settings.preference(preference);
        self
    }

    /// How reads are told from writes. Defaults to [`Sql`](dbrouter::Sql) for this kind of server; give your
    /// own to add functions to what is known, to ignore hints, or to decide in another way.
    ///
    /// ```
    /// use dbrouter_sqlx::{RoutedPool, dbrouter::Sql};
    /// use sqlx::Postgres;
    ///
    /// let sql = Sql::postgres().reading(["geo.distance"]).without_hints();
    /// let builder = RoutedPool::<Postgres>::builder().classifier(sql);
    /// ```
    pub fn classifier(mut self, classifier: impl Classifier) -> Self {
        self.settings = self.settings.classifier(classifier);
        self
    }

    /// How replicas are watched.
    pub fn monitor(mut self, monitor: MonitorSettings) -> Self {
        self.settings = self.settings.monitor(monitor);
        self
    }

    /// The router's clock. Defaults to [`SystemClock`](dbrouter::SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings = self.settings.clock(clock);
        self
    }

    /// Whether the primary must be there at the start. Defaults to [`Start::WithPrimary`].
    pub fn start(mut self, start: Start) -> Self {
        self.settings = self.settings.start(start);
        self
    }

    /// Opens the pools and meets all nodes.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the configuration: see [`ConfigErrorKind`]. A replica that cannot be
    /// reached is no error: it takes work as soon as it answers.
    pub async fn connect(mut self) -> Result<RoutedPool<DB>, ConfigError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        let mut cluster = Cluster::builder(DB::DIALECT, self.settings);
        if let Some(primary) = self.primary {
            let backend = self.opening.open(&primary, Role::Primary, "primary")?;
            cluster = cluster.primary(primary.into_spec(), backend);
        }
        for (index, replica) in self.replicas.into_iter().enumerate() {
            let position = format!("replica-{}", index + 1);
            let backend = self.opening.open(&replica, Role::Replica, &position)?;
            cluster = cluster.replica(replica.into_spec(), backend);
        }
        Ok(RoutedPool::new(cluster.connect().await?, self.opening))
    }

    /// Remembers the first thing that is wrong.
    fn wrong(&mut self, error: ConfigError) {
        self.error.get_or_insert(error);
    }
}

impl<DB: RoutedDatabase> fmt::Debug for Builder<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("primary", &self.primary)
            .field("replicas", &self.replicas)
            .field("settings", &self.settings)
            .field("ping_after", &self.opening.ping_after)
            .finish_non_exhaustive()
    }
}

/// One node's options: where it is, and what the router should know of it.
///
/// ```
/// use dbrouter_sqlx::NodeOptions;
/// use sqlx::Postgres;
///
/// let replica = NodeOptions::<Postgres>::new("postgres://app@replica-eu/shop")
///     .name("replica-eu")
///     .weight(3)
///     .tag("zone", "eu");
/// # let _ = replica;
/// ```
#[must_use]
pub struct NodeOptions<DB: RoutedDatabase> {
    place: Place<DB>,
    spec: NodeSpec,
    pool_options: Option<PoolOptions<DB>>,
}

/// Where a node is to be found.
enum Place<DB: RoutedDatabase> {
    Url(String),
    Options(Options<DB>),
    Pool(Pool<DB>),
}

impl<DB: RoutedDatabase> NodeOptions<DB> {
    /// The node at a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self::at(Place::Url(url.into()))
    }

    /// The node that sqlx's connect options lead to.
    pub fn with_options(options: Options<DB>) -> Self {
        Self::at(Place::Options(options))
    }

    /// The node of a pool that exists already.
    pub fn with_pool(pool: Pool<DB>) -> Self {
        Self::at(Place::Pool(pool))
    }

    fn at(place: Place<DB>) -> Self {
        Self {
            place,
            spec: NodeSpec::new(),
            pool_options: None,
        }
    }

    /// The node's name in decisions, status and errors. Defaults to `primary`, `replica-1`, …
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.spec = self.spec.name(name);
        self
    }

    /// The node's share of reads relative to the others'; zero means never. Defaults to 1.
    pub fn weight(mut self, weight: u32) -> Self {
        self.spec = self.spec.weight(weight);
        self
    }

    /// Adds a label. Defaults to none.
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.spec = self.spec.tag(key, value);
        self
    }

    /// sqlx's options for this node's pool. Defaults to those of the builder. A pool that exists already
    /// keeps its own.
    pub fn pool_options(mut self, options: PoolOptions<DB>) -> Self {
        self.pool_options = Some(options);
        self
    }

    pub(crate) fn into_spec(self) -> NodeSpec {
        self.spec
    }
}

impl<DB: RoutedDatabase> From<&str> for NodeOptions<DB> {
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

impl<DB: RoutedDatabase> From<String> for NodeOptions<DB> {
    fn from(url: String) -> Self {
        Self::new(url)
    }
}

impl<DB: RoutedDatabase> From<Pool<DB>> for NodeOptions<DB> {
    fn from(pool: Pool<DB>) -> Self {
        Self::with_pool(pool)
    }
}

#[cfg(feature = "postgres")]
impl From<sqlx::postgres::PgConnectOptions> for NodeOptions<sqlx::Postgres> {
    fn from(options: sqlx::postgres::PgConnectOptions) -> Self {
        Self::with_options(options)
    }
}

#[cfg(feature = "sqlite")]
impl From<sqlx::sqlite::SqliteConnectOptions> for NodeOptions<sqlx::Sqlite> {
    fn from(options: sqlx::sqlite::SqliteConnectOptions) -> Self {
        Self::with_options(options)
    }
}

impl<DB: RoutedDatabase> fmt::Debug for NodeOptions<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // sqlx's connect options show their password.
        let place = match &self.place {
            Place::Url(url) => url::masked(url),
            Place::Options(_) => "connect options".to_owned(),
            Place::Pool(_) => "a pool".to_owned(),
        };
        f.debug_struct("NodeOptions")
            .field("place", &place)
            .field("spec", &self.spec)
            .finish()
    }
}

/// How the pools of nodes are opened.
pub(crate) struct Opening<DB: RoutedDatabase> {
    pool_options: PoolOptions<DB>,
    ping_after: Option<Duration>,
}

// Not derived: that would ask for `DB: Clone`.
impl<DB: RoutedDatabase> Clone for Opening<DB> {
    fn clone(&self) -> Self {
        Self {
            pool_options: self.pool_options.clone(),
            ping_after: self.ping_after,
        }
    }
}

impl<DB: RoutedDatabase> Opening<DB> {
    pub(crate) fn new() -> Self {
        Self {
            pool_options: PoolOptions::new(),
            ping_after: Some(Duration::from_millis(500)),
        }
    }

    /// Opens a node's pool, without connecting yet. `position` is what errors call a node that has no
    /// name of its own.
    pub(crate) fn open(
        &self,
        node: &NodeOptions<DB>,
        role: Role,
        position: &str,
    ) -> Result<SqlxBackend<DB>, ConfigError> {
        if Handle::try_current().is_err() {
            let problem = "pools can only be opened inside a Tokio runtime";
            return Err(ConfigError::new(
                ConfigErrorKind::Runtime,
                position,
                problem,
            ));
        }
        let connect_options = match &node.place {
            Place::Pool(pool) => return Ok(SqlxBackend::new(pool.clone())),
            Place::Options(options) => options.clone(),
            Place::Url(url) => {
                let name = node.spec.stated_name().unwrap_or(position);
                url::parse::<DB>(&format!("{name}.url"), url)?
            }
        };
        let connect_options = match role {
            Role::Replica => DB::read_only(connect_options),
            Role::Primary | Role::Unknown => connect_options,
        };
        let pool_options = node
            .pool_options
            .as_ref()
            .unwrap_or(&self.pool_options)
            .clone();
        let pool = self.pings(pool_options).connect_lazy_with(connect_options);
        Ok(SqlxBackend::new(pool))
    }

    fn pings(&self, options: PoolOptions<DB>) -> PoolOptions<DB> {
        let Some(window) = self.ping_after else {
            return options;
        };
        options
            .test_before_acquire(false)
            .before_acquire(move |connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > window {
                        // A connection that fails the ping is closed, and another one taken or opened.
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
    }
}

#[cfg(all(test, feature = "postgres"))]
mod tests {
    use super::*;
    use sqlx::Postgres;

    fn from(variables: &[(&str, &str)]) -> Builder<Postgres> {
        Builder::from_variables(|name| {
            let mut all = variables.iter();
            all.find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).into())
        })
    }

    async fn error(builder: Builder<Postgres>) -> ConfigError {
        builder.connect().await.expect_err("a wrong configuration")
    }

    #[tokio::test]
    async fn an_environment_without_a_primary_is_an_error() {
        let error = error(from(&[("DATABASE_REPLICA_URLS", "postgres://h/d")])).await;
        assert_eq!(
            (error.kind(), error.field()),
            (ConfigErrorKind::Primary, "DATABASE_URL")
        );
    }

    #[tokio::test]
    async fn an_empty_list_is_an_error() {
        for list in ["", " ", ",", " , ,"] {
            let variables = [
                ("DATABASE_URL", "postgres://h/d"),
                ("DATABASE_REPLICA_URLS", list),
            ];
            let error = error(from(&variables)).await;
            assert_eq!(error.kind(), ConfigErrorKind::EmptyList, "{list:?}");
            assert_eq!(error.field(), "DATABASE_REPLICA_URLS");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn what_is_not_unicode_is_not_silently_unset() {
        use std::os::unix::ffi::OsStringExt;
        let builder = Builder::<Postgres>::from_variables(|name| match name {
            "DATABASE_URL" => Some("postgres://h/d".into()),
            _ => Some(OsString::from_vec(vec![0xFF])),
        });
        let error = error(builder).await;
        assert_eq!(error.kind(), ConfigErrorKind::Url);
        assert_eq!(error.field(), "DATABASE_REPLICA_URLS");
    }

    #[test]
    fn without_a_runtime_there_is_an_error_and_no_panic() {
        use futures_util::FutureExt;
        let connecting = Builder::<Postgres>::new()
            .primary("postgres://h/d")
            .connect();
        let error = connecting.now_or_never().unwrap().map(drop).unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::Runtime);
    }

    #[test]
    fn a_list_is_split_at_commas() {
        let builder = from(&[
            ("DATABASE_URL", "postgres://p/d"),
            ("DATABASE_REPLICA_URLS", " postgres://a/d, postgres://b/d ,"),
        ]);
        assert_eq!(builder.replicas.len(), 2);
        assert!(
            from(&[("DATABASE_URL", "postgres://p/d")])
                .replicas
                .is_empty()
        );
    }

    #[tokio::test]
    async fn errors_name_the_node() {
        let named = NodeOptions::new("mysql://h/d").name("eu");
        let builder = Builder::new().primary("postgres://h/d");
        let error = error(builder.replica("postgres://h/d").replica(named)).await;
        assert_eq!(
            (error.kind(), error.field()),
            (ConfigErrorKind::WrongDatabase, "eu.url")
        );
    }

    #[tokio::test]
    async fn two_primaries_are_an_error_and_so_is_none() {
        let two = Builder::new()
            .primary("postgres://h/d")
            .primary("postgres://h/d");
        assert_eq!(error(two).await.kind(), ConfigErrorKind::Primary);
        assert_eq!(
            error(Builder::new().replica("postgres://h/d")).await.kind(),
            ConfigErrorKind::Primary
        );
    }

    #[tokio::test]
    async fn a_function_that_is_none_is_an_error() {
        let sql = dbrouter::Sql::postgres().writing(["audit()"]);
        let builder = Builder::new().primary("postgres://h/d").classifier(sql);
        let error = error(builder).await;
        assert_eq!(
            (error.kind(), error.field()),
            (ConfigErrorKind::Function, "classifier.writing")
        );
    }

    #[test]
    fn debug_shows_no_password() {
        let options: sqlx::postgres::PgConnectOptions =
            "postgres://a:sup3r-secret@h/d".parse().unwrap();
        let builder = Builder::new()
            .primary("postgres://a:sup3r-secret@h/d")
            .replica(options);
        let shown = format!("{builder:?}");
        assert!(
            !shown.contains("sup3r") && shown.contains("a:***@h"),
            "{shown}"
        );
    }
}
