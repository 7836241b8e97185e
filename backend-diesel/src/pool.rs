//! The root handle: what an application has instead of a pool.

use std::fmt;
use std::ops::Deref;

use dbrouter::{
    Cluster, ConfigError, IntoNode, Request, Route, RouteError, Router, SessionState, Settings,
    Status, Terms, Token,
};

use crate::adapter::{Builder, DieselAdapter, NodeOptions};
use crate::backend::DieselBackend;
use crate::database::RoutedConnection;
use crate::pools::Pool;
use crate::routed::Routed;
use crate::session::Session;

/// A primary and its replicas. `P` is the pool that each of them has: diesel-async's deadpool, bb8 or mobc
/// pool. Clones are the same router.
///
/// Without a session of its own the handle uses the ambient one inside
/// [`with_session`](crate::with_session), and otherwise one that is shared by everybody who uses the
/// router: it sees all writes of this process.
///
/// What it does is in [`Routed`], to which it derefs.
pub struct RoutedPool<P: Pool> {
    routed: Routed<P>,
    /// How the pools of nodes that are added later are opened.
    adapter: DieselAdapter<P>,
}

impl<P: Pool> RoutedPool<P> {
    /// Begins to configure a router.
    pub fn builder() -> Builder<P> {
        Builder::new(DieselAdapter::new())
    }

    /// Begins to configure a router from the environment: `DATABASE_URL` for the primary and, if it is
    /// set, `DATABASE_REPLICA_URLS` for the replicas, separated by commas.
    pub fn from_env() -> Builder<P> {
        Builder::from_variables(DieselAdapter::new(), |name| std::env::var_os(name))
    }

    /// A router over pools that exist already. Their connections are as they are: replicas' are not made
    /// read-only here, and checkouts ping as the pools' own managers say.
    ///
    /// # Errors
    ///
    /// As [`connect`](dbrouter::Builder::connect).
    pub async fn from_pools(
        primary: P,
        replicas: impl IntoIterator<Item = P>,
    ) -> Result<Self, ConfigError> {
        let builder = Self::builder().primary(NodeOptions::with_pool(primary));
        let replicas = replicas.into_iter().map(NodeOptions::with_pool);
        replicas.fold(builder, Builder::replica).connect().await
    }

    /// A router over one database that takes reads and writes alike: the same code for development and
    /// tests, where there is no replica. With a name, observers or other settings, it is made by
    /// [`Builder::single`](dbrouter::Builder::single).
    #[must_use]
    pub fn single(pool: P) -> Self {
        let backend = DieselBackend::new(pool, None);
        let cluster = Cluster::single(P::Connection::DIALECT, Settings::new(), backend);
        Self::new(&cluster, DieselAdapter::new())
    }

    pub(crate) fn new(cluster: &Cluster<DieselBackend<P>>, adapter: DieselAdapter<P>) -> Self {
        let routed = Routed::new(Terms::new(cluster));
        Self { routed, adapter }
    }

    /// Begins a session: one per web request, job, or other unit of work.
    #[must_use]
    pub fn session(&self) -> Session<P> {
        Session::new(Routed::new(self.terms().session()))
    }

    /// Begins a session that sees what another one has written, in whichever process: `token` is that session's
    /// [`token`](Routed::token).
    ///
    /// ```no_run
    /// # use diesel_async::SimpleAsyncConnection;
    /// # use dbrouter_diesel::{Pool, RoutedPool, dbrouter::Token};
    /// # async fn example<P: Pool>(db: RoutedPool<P>, queue: (std::sync::mpsc::Sender<String>, std::sync::mpsc::Receiver<String>))
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let session = db.session();
    /// session.write().await?.batch_execute("insert into orders (item) values (7)").await?;
    /// if let Some(token) = session.token().await {
    ///     queue.0.send(token.to_string())?;
    /// }
    ///
    /// // Elsewhere:
    /// let token: Token = queue.1.recv()?.parse().unwrap_or(Token::UNPLACED);
    /// let session = db.session_from(&token);
    /// let mut replica = session.read().await?; // shows the order
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn session_from(&self, token: &Token) -> Session<P> {
        Session::new(Routed::new(self.terms().session_from(token)))
    }

    /// The primary's own pool: the way around the router, for what it is in the way of, such as migrations.
    /// The router does not learn of writes made here. (Other nodes' pools are reached by name, through
    /// [`cluster`](Routed::cluster), [`node`](Cluster::node) and [`pool`](DieselBackend::pool).)
    #[must_use]
    pub fn primary(&self) -> P {
        self.cluster().primary().backend().pool().clone()
    }

    /// A snapshot of the router and its nodes, to print, serialise, or alert on.
    #[must_use]
    pub fn status(&self) -> Status {
        self.cluster().status()
    }

    /// Adds a replica while the router is in use. It takes reads once it has said who it is.
    ///
    /// # Errors
    ///
    /// If its options are wrong, its name is taken, or there is no room for another node.
    pub fn add_replica(&self, replica: impl IntoNode<DieselAdapter<P>>) -> Result<(), ConfigError> {
        dbrouter::add_replica(&self.adapter, self.cluster(), replica)
    }

    /// Closes all pools that can be closed: deadpool's. Whoever wants a connection afterwards gets an error;
    /// connections that are out are closed when they come back. bb8 and mobc close theirs when the last handle is
    /// dropped. The monitor goes on with its own connections until then.
    pub fn close(&self) {
        for node in self.cluster().nodes() {
            node.backend().pool().close();
        }
    }
}

impl<P: Pool> Deref for RoutedPool<P> {
    type Target = Routed<P>;

    fn deref(&self) -> &Routed<P> {
        &self.routed
    }
}

impl<P: Pool> Clone for RoutedPool<P> {
    fn clone(&self) -> Self {
        Self {
            routed: self.routed.clone(),
            adapter: self.adapter.clone(),
        }
    }
}

impl<P: Pool> fmt::Debug for RoutedPool<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RoutedPool").field(&self.routed).finish()
    }
}

impl<P: Pool> Router for RoutedPool<P> {
    type Backend = DieselBackend<P>;

    fn route(
        &self,
        request: &Request,
        session: &SessionState,
    ) -> Result<Route<Self::Backend>, RouteError> {
        self.cluster().route(request, session)
    }

    fn status(&self) -> Status {
        self.status()
    }
}
