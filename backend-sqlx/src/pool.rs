//! The root handle: what an application has instead of a `Pool`.

use dbrouter::{
    Cluster, ConfigError, Decision, Request, Role, Route, RouteError, Router, SessionState,
    Settings, Status,
};
use sqlx::Pool;

use crate::backend::SqlxBackend;
use crate::builder::{Builder, NodeOptions, Opening};
use crate::connection::Connection;
use crate::database::RoutedDatabase;
use crate::routed::Routed;
use crate::session::Session;
use crate::transaction::Transaction;
use crate::work::Work;

/// A primary and its replicas, used like a [`Pool`]: `&db` is an executor. Clones are the same router.
///
/// Without a session of its own the handle uses the ambient one inside
/// [`with_session`](crate::with_session), and otherwise one that is shared by everybody who uses the
/// router: it sees all writes of this process.
pub struct RoutedPool<DB: RoutedDatabase> {
    cluster: Cluster<SqlxBackend<DB>>,
    /// How the pools of nodes that are added later are opened.
    opening: Opening<DB>,
}

// Not derived: that would ask for `DB: Clone`.
impl<DB: RoutedDatabase> Clone for RoutedPool<DB> {
    fn clone(&self) -> Self {
        Self {
            cluster: self.cluster.clone(),
            opening: self.opening.clone(),
        }
    }
}

impl<DB: RoutedDatabase> RoutedPool<DB> {
    /// Begins to configure a router.
    pub fn builder() -> Builder<DB> {
        Builder::new()
    }

    /// Begins to configure a router from the environment: `DATABASE_URL` for the primary and, if it is
    /// set, `DATABASE_REPLICA_URLS` for the replicas, separated by commas.
    pub fn from_env() -> Builder<DB> {
        Builder::from_variables(|name| std::env::var_os(name))
    }

    /// A router over pools that exist already. Their connections are as they are: replicas' are not made
    /// read-only here, and checkouts ping as the pools' own options say.
    ///
    /// # Errors
    ///
    /// As [`Builder::connect`].
    pub async fn from_pools(
        primary: Pool<DB>,
        replicas: impl IntoIterator<Item = Pool<DB>>,
    ) -> Result<Self, ConfigError> {
        let builder = Self::builder().primary(primary);
        replicas
            .into_iter()
            .fold(builder, Builder::replica)
            .connect()
            .await
    }

    /// A router over one database that takes reads and writes alike: the same code for development and
    /// tests, where there is no replica.
    #[must_use]
    pub fn single(pool: Pool<DB>) -> Self {
        let backend = SqlxBackend::new(pool);
        let cluster = Cluster::single(DB::DIALECT, Settings::new(), backend);
        Self::new(cluster, Opening::new())
    }

    pub(crate) fn new(cluster: Cluster<SqlxBackend<DB>>, opening: Opening<DB>) -> Self {
        Self { cluster, opening }
    }

    /// Begins a session: one per web request, job, or other unit of work.
    #[must_use]
    pub fn session(&self) -> Session<DB> {
        Session::new(self)
    }

    /// All statements are reads, and go to a replica without being looked at.
    #[must_use]
    pub fn read(&self) -> Routed<DB> {
        self.routed().read()
    }

    /// All statements are writes, and go to the primary without being looked at.
    #[must_use]
    pub fn write(&self) -> Routed<DB> {
        self.routed().write()
    }

    /// Reads may show any state of a replica, however old.
    #[must_use]
    pub fn eventual(&self) -> Routed<DB> {
        self.routed().eventual()
    }

    /// A handle to say more on: preference, labels, key.
    #[must_use]
    pub fn routed(&self) -> Routed<DB> {
        Routed::new(&self.cluster, None)
    }

    /// The primary's own pool: the way around the router, for what it is in the way of. The router does
    /// not learn of writes made here.
    #[must_use]
    pub fn primary(&self) -> Pool<DB> {
        self.cluster.primary().backend().pool().clone()
    }

    /// Begins a transaction on the primary.
    ///
    /// # Errors
    ///
    /// If there is no primary, or it gives no connection.
    pub async fn begin(&self) -> Result<Transaction<DB>, sqlx::Error> {
        self.write().work().transaction().await
    }

    /// A connection to a replica, to keep for several reads.
    ///
    /// # Errors
    ///
    /// If no node will do, or none gives a connection.
    pub async fn acquire_read(&self) -> Result<Connection<DB>, sqlx::Error> {
        self.read().acquire().await
    }

    /// A connection to the primary, to keep. While it is out, the session's reads go to the primary; on
    /// the root handle those are everybody's.
    ///
    /// # Errors
    ///
    /// If there is no primary, or it gives no connection.
    pub async fn acquire_write(&self) -> Result<Connection<DB>, sqlx::Error> {
        self.write().acquire().await
    }

    /// Where the statement would go now, and why. Nothing is run.
    ///
    /// # Errors
    ///
    /// If it could go nowhere now.
    pub fn explain(&self, sql: &str) -> Result<Decision, RouteError> {
        self.routed().explain(sql)
    }

    /// A snapshot of the router and its nodes, to print, serialise, or alert on.
    #[must_use]
    pub fn status(&self) -> Status {
        self.cluster.status()
    }

    /// Adds a replica while the router is in use. It takes reads once it has said who it is.
    ///
    /// # Errors
    ///
    /// If its URL is wrong, its name is taken, or there is no room for another node.
    pub fn add_replica(&self, replica: impl Into<NodeOptions<DB>>) -> Result<(), ConfigError> {
        let replica = replica.into();
        let backend = self.opening.open(&replica, Role::Replica, "replica")?;
        self.cluster.add_replica(&replica.into_spec(), backend)
    }

    /// The engine: nodes by name, to add, drain, disable, or weigh them anew.
    #[must_use]
    pub fn cluster(&self) -> &Cluster<SqlxBackend<DB>> {
        &self.cluster
    }

    /// Closes all pools and waits until they are. The monitor goes on with its own connections until
    /// the last handle is dropped.
    pub async fn close(&self) {
        for node in self.cluster.nodes() {
            node.backend().lanes().close().await;
            node.backend().pool().close().await;
        }
    }

    pub(crate) fn work(&self) -> Work<DB> {
        self.routed().work()
    }
}

impl<DB: RoutedDatabase> Router for RoutedPool<DB> {
    type Backend = SqlxBackend<DB>;

    fn route(
        &self,
        request: &Request,
        session: &SessionState,
    ) -> Result<Route<Self::Backend>, RouteError> {
        self.cluster.route(request, session)
    }

    fn status(&self) -> Status {
        self.status()
    }
}
