//! The root handle: what an application has instead of a `DatabaseConnection`.

use std::ops::Deref;

use dbrouter::{
    Builder, Cluster, ConfigError, IntoNode, Request, Route, RouteError, Router, SessionState,
    Status, Token,
};
use sea_orm::{DatabaseConnection, DbErr};

use crate::adapter::SeaOrm;
use crate::backend::SeaOrmBackend;
use crate::routed::Routed;
use crate::session::Session;

/// A primary and its replicas, used like a [`DatabaseConnection`]. Clones are the same router.
///
/// Without a session of its own the handle uses the ambient one inside
/// [`with_session`](crate::with_session), and otherwise one that is shared by everybody who uses the
/// router: it sees all writes of this process.
#[derive(Clone)]
pub struct RoutedConnection {
    root: Routed,
    /// How the pools of nodes that are added later are opened.
    adapter: SeaOrm,
}

impl RoutedConnection {
    /// Begins to configure a router.
    pub fn builder() -> Builder<SeaOrm> {
        Builder::new(SeaOrm::new())
    }

    /// Begins to configure a router from the environment: `DATABASE_URL` for the primary and, if it is
    /// set, `DATABASE_REPLICA_URLS` for the replicas, separated by commas.
    pub fn from_env() -> Builder<SeaOrm> {
        Builder::from_variables(SeaOrm::new(), |name| std::env::var_os(name))
    }

    /// A router over connections that exist already. Their pools are as they are: replicas' are not made
    /// read-only here, and checkouts ping as the pools' own options say.
    ///
    /// # Errors
    ///
    /// As [`Builder::connect`].
    pub async fn from_pools(
        primary: DatabaseConnection,
        replicas: impl IntoIterator<Item = DatabaseConnection>,
    ) -> Result<Self, ConfigError> {
        let builder = Self::builder().primary(primary);
        replicas
            .into_iter()
            .fold(builder, Builder::replica)
            .connect()
            .await
    }

    /// A router over one database that takes reads and writes alike: the same code for development and
    /// tests, where there is no replica. It may also be a mock, a proxy, or rusqlite. With a name, observers or other
    /// settings, it is made by [`Builder::single`].
    ///
    /// # Errors
    ///
    /// If the connection is closed.
    pub fn single(connection: DatabaseConnection) -> Result<Self, ConfigError> {
        Self::builder().primary(connection).single()
    }

    pub(crate) fn new(cluster: &Cluster<SeaOrmBackend>, adapter: SeaOrm) -> Self {
        let root = Routed::new(cluster);
        Self { root, adapter }
    }

    /// Begins a session: one per web request, job, or other unit of work.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::new(self.root.session())
    }

    /// Begins a session that sees what another one has written, in whichever process: `token` is that session's
    /// [`token`](Routed::token).
    ///
    /// ```no_run
    /// # use sea_orm::ConnectionTrait;
    /// # use dbrouter_seaorm::{RoutedConnection, dbrouter::Token};
    /// # async fn example(db: RoutedConnection, queue: (std::sync::mpsc::Sender<String>, std::sync::mpsc::Receiver<String>))
    /// # -> Result<(), Box<dyn std::error::Error>> {
    /// let session = db.session();
    /// session.execute_unprepared("insert into orders (item) values (7)").await?;
    /// if let Some(token) = session.token().await {
    ///     queue.0.send(token.to_string())?;
    /// }
    ///
    /// // Elsewhere:
    /// let token: Token = queue.1.recv()?.parse().unwrap_or(Token::UNPLACED);
    /// let session = db.session_from(&token);
    /// let orders = sea_orm::Statement::from_string(session.get_database_backend(), "select * from orders");
    /// let orders = session.query_all_raw(orders).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn session_from(&self, token: &Token) -> Session {
        Session::new(self.root.session_from(token))
    }

    /// Adds a replica while the router is in use. It takes reads once it has said who it is.
    ///
    /// # Errors
    ///
    /// If its URL is wrong, its name is taken, or there is no room for another node.
    pub fn add_replica(&self, replica: impl IntoNode<SeaOrm>) -> Result<(), ConfigError> {
        dbrouter::add_replica(&self.adapter, self.cluster(), replica)
    }

    /// Closes all pools and waits until they are, like SeaORM's own. The monitor goes on with its own
    /// connections until the last handle is dropped.
    ///
    /// # Errors
    ///
    /// SeaORM's.
    pub async fn close(self) -> Result<(), DbErr> {
        self.close_by_ref().await
    }

    /// As [`close`](Self::close), by reference.
    ///
    /// # Errors
    ///
    /// SeaORM's.
    pub async fn close_by_ref(&self) -> Result<(), DbErr> {
        self.close_unseen().await?;
        for node in self.cluster().nodes() {
            node.stop_holding();
            node.backend().connection().close_by_ref().await?;
        }
        Ok(())
    }
}

/// All that a handle can do.
impl Deref for RoutedConnection {
    type Target = Routed;

    fn deref(&self) -> &Routed {
        &self.root
    }
}

impl Router for RoutedConnection {
    type Backend = SeaOrmBackend;

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
