//! The root handle: what an application has instead of a `Pool`.

use std::ops::Deref;

use dbrouter::{
    Builder, Cluster, ConfigError, IntoNode, Request, Route, RouteError, Router, SessionState,
    Settings, Status, Token,
};
use sqlx::Pool;

use crate::adapter::Sqlx;
use crate::backend::SqlxBackend;
use crate::database::RoutedDatabase;
use crate::routed::Routed;
use crate::session::Session;
use crate::transaction::Transaction;

/// A primary and its replicas, used like a [`Pool`]: `&db` is an executor. Clones are the same router.
///
/// Without a session of its own the handle uses the ambient one inside
/// [`with_session`](crate::with_session), and otherwise one that is shared by everybody who uses the
/// router: it sees all writes of this process.
pub struct RoutedPool<DB: RoutedDatabase> {
    root: Routed<DB>,
    /// How the pools of nodes that are added later are opened.
    adapter: Sqlx<DB>,
}

// Not derived: that would ask for `DB: Clone`.
impl<DB: RoutedDatabase> Clone for RoutedPool<DB> {
    fn clone(&self) -> Self {
        Self {
            root: self.root.clone(),
            adapter: self.adapter.clone(),
        }
    }
}

impl<DB: RoutedDatabase> RoutedPool<DB> {
    /// Begins to configure a router.
    pub fn builder() -> Builder<Sqlx<DB>> {
        Builder::new(Sqlx::new())
    }

    /// Begins to configure a router from the environment: `DATABASE_URL` for the primary and, if it is
    /// set, `DATABASE_REPLICA_URLS` for the replicas, separated by commas.
    pub fn from_env() -> Builder<Sqlx<DB>> {
        Builder::from_variables(Sqlx::new(), |name| std::env::var_os(name))
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
    /// tests, where there is no replica. With a name, observers or other settings, it is made by
    /// [`Builder::single`](dbrouter::Builder::single).
    #[must_use]
    pub fn single(pool: Pool<DB>) -> Self {
        let backend = SqlxBackend::new(pool);
        let cluster = Cluster::single(DB::DIALECT, Settings::new(), backend);
        Self::new(&cluster, Sqlx::new())
    }

    pub(crate) fn new(cluster: &Cluster<SqlxBackend<DB>>, adapter: Sqlx<DB>) -> Self {
        let root = Routed::new(cluster);
        Self { root, adapter }
    }

    /// Begins a session: one per web request, job, or other unit of work.
    #[must_use]
    pub fn session(&self) -> Session<DB> {
        Session::new(self.root.session())
    }

    /// Begins a session that sees what another one has written, in whichever process: `token` is that session's
    /// [`token`](Routed::token).
    ///
    /// ```no_run
    /// # use dbrouter_sqlx::{RoutedPool, dbrouter::Token};
    /// # async fn example(db: RoutedPool<sqlx::Postgres>, queue: (std::sync::mpsc::Sender<String>, std::sync::mpsc::Receiver<String>))
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let session = db.session();
    /// sqlx::query("insert into orders (item) values (7)").execute(&session).await?;
    /// if let Some(token) = session.token().await {
    ///     queue.0.send(token.to_string())?;
    /// }
    ///
    /// // Elsewhere:
    /// let token: Token = queue.1.recv()?.parse().unwrap_or(Token::UNPLACED);
    /// let session = db.session_from(&token);
    /// let orders: i64 = sqlx::query_scalar("select count(*) from orders").fetch_one(&session).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn session_from(&self, token: &Token) -> Session<DB> {
        Session::new(self.root.session_from(token))
    }

    /// The primary's own pool: the way around the router, for what it is in the way of. The router does
    /// not learn of writes made here; [`observe_now`](Routed::observe_now) tells it.
    #[must_use]
    pub fn primary(&self) -> Pool<DB> {
        self.cluster().primary().backend().pool().clone()
    }

    /// Begins a transaction on the primary, as [`Routed::begin`] does. (Without this, where sqlx's `Acquire`
    /// is imported, its method of that name would be found first.)
    ///
    /// # Errors
    ///
    /// If there is no primary, or it gives no connection.
    pub async fn begin(&self) -> Result<Transaction<DB>, sqlx::Error> {
        self.root.begin().await
    }

    /// Adds a replica while the router is in use. It takes reads once it has said who it is.
    ///
    /// # Errors
    ///
    /// If its URL is wrong, its name is taken, or there is no room for another node.
    pub fn add_replica(&self, replica: impl IntoNode<Sqlx<DB>>) -> Result<(), ConfigError> {
        dbrouter::add_replica(&self.adapter, self.cluster(), replica)
    }

    /// Closes all pools and waits until they are. The monitor goes on with its own connections until
    /// the last handle is dropped.
    pub async fn close(&self) {
        for node in self.cluster().nodes() {
            node.stop_holding();
            node.backend().lanes().close().await;
            node.backend().pool().close().await;
        }
    }
}

/// All that a handle can do.
impl<DB: RoutedDatabase> Deref for RoutedPool<DB> {
    type Target = Routed<DB>;

    fn deref(&self) -> &Routed<DB> {
        &self.root
    }
}

impl<DB: RoutedDatabase> Router for RoutedPool<DB> {
    type Backend = SqlxBackend<DB>;

    fn route(
        &self,
        request: &Request,
        session: &SessionState,
    ) -> Result<Route<Self::Backend>, RouteError> {
        self.cluster().route(request, session)
    }

    fn status(&self) -> Status {
        self.cluster().status()
    }
}
