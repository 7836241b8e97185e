//! How a router over an ORM's pools is configured: the same for all adapters.

use std::error::Error;
use std::ffi::OsString;
use std::fmt;
use std::time::Duration;

use tokio::runtime::{self, EnterGuard, Runtime};

use crate::classify::Classifier;
use crate::clock::Clock;
use crate::cluster::{Cluster, ClusterBuilder, inside_a_runtime};
use crate::config::{ConfigError, ConfigErrorKind};
use crate::credentials::Credentials;
use crate::dialect::Dialect;
use crate::discover::{Backoff, Discover, Follower, Opened, Opener, Servers, Sorted, Source, sort};
use crate::fallback::FallbackLimit;
use crate::health::HealthSettings;
use crate::hold::Hold;
use crate::observer::Observer;
use crate::options::{IntoNode, NodeOptions};
use crate::policy::Policy;
use crate::router::Backend;
use crate::server_check::ServerCheck;
use crate::settings::{MonitorSettings, Promotion, Settings, Start};
use crate::url;
use crate::vocabulary::{Preference, Role};

/// What an adapter adds to the [`Builder`] that all adapters share: how its pools are opened. Its value is
/// what the builder was told of pools in general.
///
/// # Contract
///
/// * `open` connects to nothing yet: whether a node answers is found out when it is met.
/// * Each connection of a pool that `open` opens is asked which server it leads to, and kept only if [`ServerCheck`] admits
///   it. The monitor's own connections are not.
/// * All connections, the monitor's own included, are opened as [`NodeCredentials`](crate::NodeCredentials) says, if
///   there are [`credentials`](Self::credentials).
/// * The connections of a [`Role::Replica`] are opened read-only. A pool that exists already is used as it is.
/// * No error shows a password.
pub trait Adapter: Clone + Send + Sync + Sized + 'static {
    /// The ORM's way to one node.
    type Backend: Backend;
    /// What the application uses.
    type Handle;
    /// What a URL is read as, and what may be given in its place.
    type ConnectOptions: Clone + Send + Sync + 'static;
    /// A pool that exists already.
    type Pool: Clone + Send + Sync + 'static;
    /// The options of a node's pool.
    type PoolOptions: Clone + Send + Sync + 'static;

    /// The kinds of databases whose URLs are understood.
    fn dialects() -> &'static [Dialect];

    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// If it cannot be understood.
    fn parse(url: &str) -> Result<Self::ConnectOptions, Box<dyn Error + Send + Sync>>;

    /// The options of all pools whose nodes have none of their own.
    fn pool_options(&mut self, options: Self::PoolOptions);

    /// A connection that was idle for longer is pinged when it is taken from its pool.
    fn ping_after(&mut self, idle: Option<Duration>);

    /// What the connections of all pools log in with that `open` opens. Defaults to an error, for adapters that take
    /// passwords from the nodes' options only.
    ///
    /// # Errors
    ///
    /// If the adapter cannot ask for credentials.
    fn credentials(&mut self, credentials: Credentials) -> Result<(), ConfigError> {
        let problem = format!(
            "this adapter cannot ask for passwords, so {credentials:?} is of no use; give them in the nodes' URLs"
        );
        let kind = ConfigErrorKind::Credentials;
        Err(ConfigError::new(kind, "credentials", problem))
    }

    /// Opens a node's pool, whose connections pass the check. `field` is what errors call the node.
    ///
    /// # Errors
    ///
    /// If the options are wrong.
    fn open(
        &self,
        options: Self::ConnectOptions,
        pool_options: Option<&Self::PoolOptions>,
        role: Role,
        check: &ServerCheck,
        field: &str,
    ) -> Result<Self::Backend, ConfigError>;

    /// Takes a pool that exists already. `field` is what errors call the node.
    ///
    /// # Errors
    ///
    /// If the pool cannot be used.
    fn adopt(&self, pool: Self::Pool, field: &str) -> Result<Self::Backend, ConfigError>;

    /// As [`adopt`](Self::adopt), for a [single](Builder::single) node, which nobody watches: it need not be one whose log
    /// can be asked about. Defaults to the same.
    ///
    /// # Errors
    ///
    /// If the pool cannot be used.
    fn adopt_alone(&self, pool: Self::Pool, field: &str) -> Result<Self::Backend, ConfigError> {
        self.adopt(pool, field)
    }

    /// The kind of database that a node is.
    fn dialect(backend: &Self::Backend) -> Dialect;

    /// What the application uses.
    fn handle(self, cluster: Cluster<Self::Backend>) -> Self::Handle;
}

/// Configures a router. Whatever is wrong is reported by [`connect`](Self::connect).
#[must_use = "a builder does nothing until `connect` is called"]
pub struct Builder<A: Adapter> {
    primary: Option<NodeOptions<A>>,
    replicas: Vec<NodeOptions<A>>,
    /// Whose roles are to be found out.
    nodes: Option<Vec<NodeOptions<A>>>,
    source: Option<Box<dyn Source>>,
    template: Option<NodeOptions<A>>,
    backoff: Backoff,
    settings: Settings,
    adapter: A,
    credentials: Option<Credentials>,
    error: Option<ConfigError>,
}

impl<A: Adapter> Builder<A> {
    /// A router with no nodes yet.
    pub fn new(adapter: A) -> Self {
        Self {
            primary: None,
            replicas: Vec::new(),
            nodes: None,
            source: None,
            template: None,
            backoff: Backoff::new(),
            settings: Settings::new(),
            adapter,
            credentials: None,
            error: None,
        }
    }

    /// The nodes that variables name, such as the environment's: `DATABASE_URL` the primary and, if it is
    /// set, `DATABASE_REPLICA_URLS` the replicas, separated by commas. (A comma in a password separates nothing.)
    pub fn from_variables(adapter: A, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        const PRIMARY: &str = "DATABASE_URL";
        const REPLICAS: &str = "DATABASE_REPLICA_URLS";
        let mut builder = Self::new(adapter);
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
        let urls = url::listed(&list);
        if urls.is_empty() {
            let problem = "is set and names no replica; give URLs separated by commas, or unset it";
            builder.wrong(ConfigError::new(
                ConfigErrorKind::EmptyList,
                REPLICAS,
                problem,
            ));
        }
        urls.into_iter().fold(builder, Self::replica)
    }

    /// The node that takes the writes: a URL, connect options, a pool, or [`NodeOptions`] to say more.
    pub fn primary(mut self, primary: impl IntoNode<A>) -> Self {
        if self.primary.replace(primary.into_node()).is_some() {
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
    /// connections are opened read-only, unless it is a pool that exists already. (A replica that is set up
    /// as its manual says refuses writes in any case.)
    pub fn replica(mut self, replica: impl IntoNode<A>) -> Self {
        self.replicas.push(replica.into_node());
        self
    }

    /// Nodes whose roles nobody has written down: URLs, connect options, pools, or [`NodeOptions`] to say more. Each is
    /// asked for its role, all at once, within the monitor's [timeout](MonitorSettings::timeout). The one that says so
    /// is the primary; of two, the one on the highest timeline. All others are replicas, and opened read-only; those
    /// that do not answer take work once they do. A server that is given twice, by two addresses, is one node. A node without a name is called after its host and port, such as
    /// `10.0.0.7:5432`, because what it is may change.
    ///
    /// If none says that it is the primary, or two do on the same timeline, that is an error which says what each of
    /// them said. A router that may [start read-only](Start::ReadOnly) takes the first that does not answer for the
    /// primary, or the first of all if all are standbys. Nothing is written before one has said that it is the primary.
    ///
    /// SQLite's databases have no roles: give one as the [`primary`](Self::primary).
    pub fn nodes<N: IntoNode<A>>(mut self, nodes: impl IntoIterator<Item = N>) -> Self {
        let nodes = nodes.into_iter().map(IntoNode::into_node);
        self.nodes.get_or_insert_default().extend(nodes);
        self
    }

    /// Where nodes come from that nobody lists: see [`discover`](crate::discover). They are added to those that are
    /// listed, and followed for as long as the router is there. Its first set must be there for
    /// [`connect`](Self::connect) to succeed, unless the router may [start read-only](Start::ReadOnly).
    ///
    /// Without a [`primary`](Self::primary) and without [`nodes`](Self::nodes), the primary is found in the first set
    /// as it would be among those. A source that asks the primary for the nodes needs one that is named.
    pub fn discover(mut self, source: impl Discover) -> Self {
        if self.source.replace(Box::new(source)).is_some() {
            let problem = "was given twice; make one source of the two";
            let kind = ConfigErrorKind::Discovery;
            self.wrong(ConfigError::new(kind, "discover", problem));
        }
        self
    }

    /// What a [source](Self::discover) that finds hosts does not know: a URL into which the host is put, and if the
    /// source knows it the port. Database, user, password and parameters stay as they are; only the parameters `host`,
    /// `hostaddr` and `port` go. With [`NodeOptions`], their weight, labels and pool options are those of all nodes
    /// that come from the source.
    ///
    /// Defaults to the primary's URL and pool options.
    pub fn discover_template(mut self, template: impl IntoNode<A>) -> Self {
        self.template = Some(template.into_node());
        self
    }

    /// How long to wait before a [source](Self::discover) that failed is asked again. Defaults to
    /// [`Backoff::new`].
    pub fn discover_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// The options of all pools whose nodes have none of their own. Defaults to the pool's own defaults.
    pub fn pool_options(mut self, options: A::PoolOptions) -> Self {
        self.adapter.pool_options(options);
        self
    }

    /// A connection is pinged when it is taken from its pool if it was idle for longer than this; `None`
    /// leaves it to the pool's own options. Defaults to 500 ms, as HikariCP does: a ping at every checkout
    /// costs a round trip on every statement, and a connection that was in use half a second ago is very
    /// probably alive. Where nothing can be run again (a write, a transaction, a connection to keep) one that was idle for
    /// longer than [5 ms](crate::Pings::CAREFUL) is pinged. A ping gets [a second](crate::Pings::LIMIT).
    pub fn ping_after(mut self, idle: impl Into<Option<Duration>>) -> Self {
        self.adapter.ping_after(idle.into());
        self
    }

    /// What connections log in with, for passwords that change: a function that is asked whenever a connection is opened.
    /// What it gives takes the place of the password in URLs and connect options, those of nodes that are added or
    /// discovered later included. A pool that exists already keeps its own. Defaults to the URLs' and options' own
    /// passwords.
    ///
    /// Not for SQLite, which has no passwords: that is an error.
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// How one of several candidates is chosen. Defaults to [`Sticky`](crate::policy::Sticky) over
    /// [`PeakEwma`](crate::policy::PeakEwma).
    pub fn policy(mut self, policy: impl Policy) -> Self {
        self.settings = self.settings.policy(policy);
        self
    }

    /// Where reads go that do not say so themselves. Defaults to [`Preference::ReplicaPreferred`].
    pub fn preference(mut self, preference: Preference) -> Self {
        self.settings = self.settings.preference(preference);
        self
    }

    /// How reads are told from writes. Defaults to `Sql` for this kind of server, with the feature `sql`;
    /// give your own to add functions to what is known, to ignore hints, or to decide in another way.
    pub fn classifier(mut self, classifier: impl Classifier) -> Self {
        self.settings = self.settings.classifier(classifier);
        self
    }

    /// How replicas are watched.
    pub fn monitor(mut self, monitor: MonitorSettings) -> Self {
        self.settings = self.settings.monitor(monitor);
        self
    }

    /// When nodes are kept from work that has failed, and how they come back: see [`HealthSettings`].
    pub fn health(mut self, health: HealthSettings) -> Self {
        self.settings = self.settings.health(health);
        self
    }

    /// How long a read waits for a connection of one node while another would serve it: see
    /// [`Settings::acquire_limit`]. Defaults to 250 ms.
    pub fn acquire_limit(mut self, limit: Duration) -> Self {
        self.settings = self.settings.acquire_limit(limit);
        self
    }

    /// How long a replica's replay may stand still while the primary writes, until reads go elsewhere: see
    /// [`Settings::standstill_limit`]. Defaults to 1 s; `Duration::MAX` switches it off.
    pub fn standstill_limit(mut self, limit: Duration) -> Self {
        self.settings = self.settings.standstill_limit(limit);
        self
    }

    /// On how many other nodes a read is tried after the first has failed it. Defaults to 3.
    pub fn retries(mut self, most: u32) -> Self {
        self.settings = self.settings.retries(most);
        self
    }

    /// How long a write waits for a primary if there is none: see [`Settings::wait_for_primary`]. Defaults to zero,
    /// which fails it at once.
    pub fn wait_for_primary(mut self, most: Duration) -> Self {
        self.settings = self.settings.wait_for_primary(most);
        self
    }

    /// Somebody who is told of decisions and events: see [`observer`](crate::observer). May be called several times.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.settings = self.settings.observer(observer);
        self
    }

    /// The router's clock. Defaults to [`SystemClock`](crate::SystemClock).
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.settings = self.settings.clock(clock);
        self
    }

    /// Whether the primary must be there at the start. Defaults to [`Start::WithPrimary`].
    pub fn start(mut self, start: Start) -> Self {
        self.settings = self.settings.start(start);
        self
    }

    /// When another node takes over the writes. Defaults to [`Promotion::WhenSeenToFollow`].
    pub fn promotion(mut self, promotion: Promotion) -> Self {
        self.settings = self.settings.promotion(promotion);
        self
    }

    /// For how long sessions keep the replica connection that they read from, between their statements.
    /// Defaults to [`Hold::closely`]: while they follow each other within 10 ms.
    pub fn hold_connection(mut self, hold: Hold) -> Self {
        self.settings = self.settings.hold_connection(hold);
        self
    }

    /// By how much a replica may lag that serves reads which do not say so themselves: see
    /// [`Settings::max_staleness`]. Defaults to 60 s; `Duration::MAX` lifts it.
    pub fn max_staleness(mut self, bound: Duration) -> Self {
        self.settings = self.settings.max_staleness(bound);
        self
    }

    /// How many reads may be on the primary at once because no replica would serve them: see [`FallbackLimit`].
    /// Defaults to no limit.
    pub fn fallback_limit(mut self, limit: FallbackLimit) -> Self {
        self.settings = self.settings.fallback_limit(limit);
        self
    }

    /// Opens the pools and meets all nodes.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the configuration: see [`ConfigErrorKind`]. A replica that cannot be
    /// reached is no error: it takes work as soon as it answers.
    pub async fn connect(mut self) -> Result<A::Handle, ConfigError> {
        inside_a_runtime()?;
        self.check_what_was_said()?;
        let mut follower = self.follower();
        let found = self.find_primary(follower.as_mut()).await?;
        let start = self.settings.start;
        let mut listed = self.open(found, follower.as_mut())?;
        if let Some(follower) = &mut follower {
            let present = std::mem::take(&mut listed.present);
            let opened = follower.nodes(&listed.servers, present, start).await?;
            for Opened { spec, access, .. } in opened {
                listed.cluster = listed.cluster.replica(spec, access);
            }
        }
        let cluster = listed.cluster.connect().await?;
        if let Some(follower) = follower {
            follower.follow(&cluster);
        }
        Ok(listed.adapter.handle(cluster))
    }

    /// A router whose nodes are met when it is first used: by the first statement, in whichever Tokio runtime that runs.
    /// For applications that build their state before there is a runtime, or before their database is up. Nothing is
    /// awaited, and nothing is connected to, except that SeaORM opens the files of SQLite.
    ///
    /// * The first statement meets all nodes as [`connect`](Self::connect) does, and is then routed. Statements that
    ///   begin meanwhile wait for that, and cause no second attempt.
    /// * That takes as long as `connect` takes, and at most as long: the monitor's
    ///   [timeout](MonitorSettings::timeout), 1 s by default, for each of a few questions one after the other, and up to
    ///   10 s for a connection that is being opened. A server that refuses connections is an error at once.
    /// * If `connect` would have failed, the statement fails. Its error's source is a [`RouteError`](crate::RouteError)
    ///   whose [`connect_error`](crate::RouteError::connect_error) is what `connect` would have returned. The next
    ///   statement tries again.
    /// * Until then [`Status::unwatched`](crate::Status::unwatched) is true, and of all nodes the role is unknown and the
    ///   health new.
    /// * A [source](Self::discover) of nodes is first asked when the others have been met, and the first statement does
    ///   not wait for its nodes.
    /// * Pools that are opened where there is no runtime are opened anew with the first statement. So take the primary's
    ///   own pool from the router after that, or whenever it is needed.
    ///
    /// To use one database without a monitor, end with [`single`](Self::single).
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration and can be known without a server; and
    /// [`ConfigErrorKind::Primary`] if no primary is named: which of several [`nodes`](Self::nodes) is the primary must be
    /// asked of them.
    pub fn connect_lazy(mut self) -> Result<A::Handle, ConfigError> {
        let outside = Outside::of_runtimes()?;
        let _inside = outside.enter();
        self.check_what_was_said()?;
        let mut follower = self.follower();
        let found = self.named_primary(follower.is_some())?;
        let listed = self.open(found, follower.as_mut())?;
        let cluster = listed.cluster.connect_lazy()?;
        if outside.is_outside() {
            cluster.note_homeless_pools();
        }
        if let Some(follower) = follower {
            follower.follow_later(&cluster);
        }
        Ok(listed.adapter.handle(cluster))
    }

    /// A router over the primary alone, which is taken for one without being asked: for development and tests, and for an
    /// application whose one database has no replicas. Nothing is connected to, and nothing watched: what works with the
    /// pool works with the router, and what fails fails in the same way. To be told by a failover, or to have replicas
    /// later, end with [`connect`](Self::connect) or [`connect_lazy`](Self::connect_lazy).
    ///
    /// A pool that exists already may be given outside of a Tokio runtime.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration, and that there are other nodes: replicas, [`nodes`](Self::nodes), or a
    /// [source](Self::discover).
    pub fn single(mut self) -> Result<A::Handle, ConfigError> {
        self.check_what_was_said()?;
        let others = [
            (!self.replicas.is_empty(), "replicas"),
            (self.nodes.is_some(), "nodes"),
            (self.source.is_some(), "discover"),
        ];
        if let Some((_, field)) = others.into_iter().find(|(given, _)| *given) {
            let problem =
                "was given, and a single node has no others; leave it out, or end with `connect`";
            return Err(ConfigError::new(ConfigErrorKind::Primary, field, problem));
        }
        let primary = self.primary.take().ok_or_else(ConfigError::no_primary)?;
        let (spec, access) = primary.open_alone(&self.adapter, "primary")?;
        let dialect = A::dialect(access.backend());
        self.check_credentials(dialect)?;
        let cluster = Cluster::builder(dialect, self.settings).primary(spec, access);
        Ok(self.adapter.handle(cluster.single()?))
    }

    /// Whether what was said so far is right. Tells the adapter of the credentials.
    fn check_what_was_said(&mut self) -> Result<(), ConfigError> {
        if let Some(error) = self.error.take() {
            return Err(error);
        }
        match &self.credentials {
            Some(credentials) => self.adapter.credentials(credentials.clone()),
            None => Ok(()),
        }
    }

    fn check_credentials(&self, dialect: Dialect) -> Result<(), ConfigError> {
        if self.credentials.is_none() || dialect != Dialect::Sqlite {
            return Ok(());
        }
        let problem = "SQLite's files have no passwords; leave it out";
        let kind = ConfigErrorKind::Credentials;
        Err(ConfigError::new(kind, "credentials", problem))
    }

    /// Opens the pools of the nodes that are listed, and of those that were found.
    fn open(
        self,
        found: Sorted<A>,
        follower: Option<&mut Follower<A>>,
    ) -> Result<Listed<A>, ConfigError> {
        let primary = found.primary.clone();
        let (spec, access) = primary.open(&self.adapter, Role::Primary, "primary")?;
        let dialect = A::dialect(access.backend());
        self.check_credentials(dialect)?;
        let servers = Servers::primary_alone(dialect, access.backend().clone(), self.limit());
        let mut present = vec![access.backend().clone()];
        let mut cluster = Cluster::builder(dialect, self.settings).primary(spec, access);
        if let Some(follower) = follower {
            let listed = std::iter::once(&found.primary).chain(&self.replicas);
            let listed = listed.chain(&found.replicas).chain(&found.silent);
            follower.begin(listed);
        }
        let replicas = self.replicas.into_iter().chain(found.replicas);
        for (index, replica) in replicas.chain(found.silent).enumerate() {
            let position = format!("replica-{}", index + 1);
            let (spec, access) = replica.open(&self.adapter, Role::Replica, &position)?;
            let field = spec.stated_name().unwrap_or(&position);
            same_kind::<A>(access.backend(), dialect, field)?;
            present.push(access.backend().clone());
            cluster = cluster.replica(spec, access);
        }
        Ok(Listed {
            adapter: self.adapter,
            cluster,
            servers,
            present,
        })
    }

    /// How long a node may take to say what it is.
    fn limit(&self) -> Duration {
        self.settings.monitor.timeout
    }

    fn follower(&mut self) -> Option<Follower<A>> {
        let opener = Opener {
            adapter: self.adapter.clone(),
            template: self.template.take(),
            limit: self.limit(),
        };
        let source = self.source.take()?;
        Some(Follower::new(source, self.backoff.clone(), opener))
    }

    /// The primary that was given. None can be found without asking the nodes.
    fn named_primary(&mut self, has_source: bool) -> Result<Sorted<A>, ConfigError> {
        let field = match (&self.primary, &self.nodes) {
            (Some(_), Some(_)) => return Err(given_twice()),
            (None, Some(_)) => "nodes",
            (None, None) if has_source => "discover",
            (_, None) => "primary",
        };
        let primary = self.primary.take().ok_or_else(|| match field {
            "primary" => ConfigError::no_primary(),
            field => {
                let problem = "must be asked which of the nodes is the primary; name it with `primary`, or await \
                               `connect`";
                ConfigError::new(ConfigErrorKind::Primary, field, problem)
            }
        })?;
        Ok(Sorted::of(primary))
    }

    /// The primary that was given, or that is found among the nodes without roles, or in the source's first set.
    async fn find_primary(
        &mut self,
        follower: Option<&mut Follower<A>>,
    ) -> Result<Sorted<A>, ConfigError> {
        let wrong = |kind, field: &str, problem: &str| Err(ConfigError::new(kind, field, problem));
        let (limit, start) = (self.limit(), self.settings.start);
        match (self.primary.take(), self.nodes.take(), follower) {
            (Some(_), Some(_), _) => Err(given_twice()),
            (Some(primary), None, _) => Ok(Sorted::of(primary)),
            (None, Some(nodes), _) if nodes.is_empty() => {
                let problem = "is empty; give the URLs of the nodes";
                wrong(ConfigErrorKind::EmptyList, "nodes", problem)
            }
            (None, Some(nodes), _) => {
                let nodes = nodes.into_iter().map(NodeOptions::named_after_its_place);
                sort(&self.adapter, nodes.collect(), limit, start, "nodes").await
            }
            (None, None, Some(follower)) => follower.sort(start).await,
            (None, None, None) => Err(ConfigError::no_primary()),
        }
    }

    /// Remembers the first thing that is wrong.
    fn wrong(&mut self, error: ConfigError) {
        self.error.get_or_insert(error);
    }
}

/// The nodes that the configuration names, opened.
struct Listed<A: Adapter> {
    adapter: A,
    cluster: ClusterBuilder<A::Backend>,
    servers: Servers,
    present: Vec<A::Backend>,
}

fn given_twice() -> ConfigError {
    let problem = "was given, and so were nodes to find it among; give one or the other";
    ConfigError::new(ConfigErrorKind::Primary, "primary", problem)
}

/// Where pools are opened: in the runtime that there is, or in one that is there for that alone. Pools spawn tasks when
/// they are opened.
struct Outside(Option<Runtime>);

impl Outside {
    fn of_runtimes() -> Result<Self, ConfigError> {
        if inside_a_runtime().is_ok() {
            return Ok(Self(None));
        }
        match runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => Ok(Self(Some(runtime))),
            Err(error) => {
                let problem = "there is no Tokio runtime, and none can be made to open pools in";
                let kind = ConfigErrorKind::Runtime;
                Err(ConfigError::new(kind, "runtime", problem).with_source(error))
            }
        }
    }

    fn enter(&self) -> Option<EnterGuard<'_>> {
        self.0.as_ref().map(Runtime::enter)
    }

    fn is_outside(&self) -> bool {
        self.0.is_some()
    }
}

/// Adds a replica to a router that is in use, as the builder would have. It takes reads once it has said who
/// it is.
///
/// # Errors
///
/// If its options are wrong, its name is taken, or there is no room for another node.
pub fn add_replica<A: Adapter>(
    adapter: &A,
    cluster: &Cluster<A::Backend>,
    replica: impl IntoNode<A>,
) -> Result<(), ConfigError> {
    let (spec, access) = replica
        .into_node()
        .open(adapter, Role::Replica, "replica")?;
    let field = spec.stated_name().unwrap_or("replica");
    same_kind::<A>(access.backend(), cluster.dialect(), field)?;
    cluster.add_replica(&spec, access)
}

/// Whether a node is of the same kind as the primary.
pub(crate) fn same_kind<A: Adapter>(
    backend: &A::Backend,
    expected: Dialect,
    field: &str,
) -> Result<(), ConfigError> {
    let found = A::dialect(backend);
    if found == expected {
        return Ok(());
    }
    let problem = format!("is a {found} database, and the primary is a {expected} one");
    let kind = ConfigErrorKind::WrongDatabase;
    Err(ConfigError::new(kind, field, problem))
}

impl<A: Adapter> fmt::Debug for Builder<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("primary", &self.primary)
            .field("replicas", &self.replicas)
            .field("nodes", &self.nodes)
            .field("discover_template", &self.template)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
