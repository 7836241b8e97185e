//! What the suite asks of an adapter, and what an adapter may say that it cannot do.

use std::future::Future;
use std::time::Duration;

use dbrouter::{
    Adapter, BoxFuture, BoxStream, Builder, Cluster, ConfigError, Decision, Dialect, Hold, Intent,
    NodeOptions, Preference, SessionState, Token,
};

use crate::{Failure, Result};

/// An adapter on one kind of database: what a mount of the suite consists of.
pub trait Subject: Sized + Send + Sync + 'static {
    /// The mount's name, the first part of its cases': `seaorm_mariadb`.
    const NAME: &'static str;

    /// The kind of database.
    const DATABASE: Dialect;

    /// What the adapter gives core's builder.
    type Adapter: Adapter;

    /// The adapter's handle.
    type Handle: Handle<Backend = <Self::Adapter as Adapter>::Backend>;

    /// What the adapter can do.
    fn capabilities() -> Capabilities {
        Capabilities::default()
    }

    /// The adapter's defaults.
    fn adapter() -> Self::Adapter;

    /// The adapter's builder, without nodes.
    fn builder() -> Builder<Self::Adapter> {
        Builder::new(Self::adapter())
    }

    /// The root handle of a router.
    fn root(router: <Self::Adapter as Adapter>::Handle) -> Self::Handle;

    /// Adds a replica to a router in use.
    ///
    /// # Errors
    ///
    /// The adapter's.
    fn add_replica(
        db: &Self::Handle,
        replica: NodeOptions<Self::Adapter>,
    ) -> Result<(), ConfigError>;

    /// A pool that is opened without a router, as [`NodeOptions::with_pool`] takes it. Defaults to an error, for
    /// adapters that [take none](Capabilities::takes_pools).
    fn open_pool(
        url: &str,
    ) -> impl Future<Output = Result<<Self::Adapter as Adapter>::Pool>> + Send {
        let error = Failure::new(format!(
            "the adapter takes no pools, such as one over {url}"
        ));
        std::future::ready(Err(error.into()))
    }

    /// What is appended to a URL such that the driver uses no statement again that it has prepared. Defaults to `None`: it
    /// cannot be told.
    fn without_statement_cache() -> Option<&'static str> {
        None
    }

    /// The options of a pool of `most` connections, in which nobody waits longer than `patience` for one.
    fn pool(most: u32, patience: Duration) -> <Self::Adapter as Adapter>::PoolOptions;
}

/// What an adapter can do beyond what all must. A case that needs what is not there is reported as
/// inapplicable, with the reason.
#[derive(Debug, Clone, Copy)]
pub struct Capabilities {
    /// The intent of a statement is found out from the statement.
    pub classifies: Support,
    /// Connections are opened with what a function says.
    pub credentials: Support,
    /// A read whose node fails before its first row is run again elsewhere.
    pub retries: Support,
    /// A connection can be kept for several statements.
    pub holds: Support,
    /// A session can keep its replica connection between statements.
    pub holds_between_statements: Support,
    /// A node's pool is opened before the node can be reached.
    pub opens_early: Support,
    /// A node may be given as a pool that exists already.
    pub takes_pools: Support,
    /// A transaction is told to be read-only when it begins, and runs on a replica.
    pub read_only_transactions: Support,
    /// All statements of such a transaction see one moment, if that is wanted.
    pub snapshots: Support,
    /// The server refuses what a stated read writes on the primary as well.
    pub refuses_stated_writes: Support,
    /// A PgBouncer may be before each node.
    pub poolers: Support,
}

impl Default for Capabilities {
    /// All of them.
    fn default() -> Self {
        Self {
            classifies: Support::Yes,
            credentials: Support::Yes,
            retries: Support::Yes,
            holds: Support::Yes,
            holds_between_statements: Support::Yes,
            opens_early: Support::Yes,
            takes_pools: Support::Yes,
            read_only_transactions: Support::Yes,
            snapshots: Support::Yes,
            refuses_stated_writes: Support::Yes,
            poolers: Support::Yes,
        }
    }
}

/// Whether something is supported, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It is.
    Yes,
    /// It is not, for this reason.
    No(&'static str),
}

/// Who says what a statement needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Nobody: the adapter finds out; or, where intents must be stated, a query reads and the rest writes.
    AsIs,
    /// The caller.
    Stated(Intent),
}

/// What is done in a transaction, until it ends.
pub type Body = Box<dyn for<'t> FnOnce(&'t mut dyn Statements) -> BoxFuture<'t, Result<()>> + Send>;

/// An adapter's handle: the root, a session's, or one that says more. Its statements are about the table
/// `kv (id int primary key, version bigint not null)`, which has the keys 1 to 64.
///
/// The methods that are about terms are the adapter's own of the same names.
pub trait Handle: Clone + Send + Sync + 'static {
    /// The adapter's.
    type Backend: dbrouter::Backend;

    /// The engine.
    fn cluster(&self) -> &Cluster<Self::Backend>;

    /// A new session.
    #[must_use]
    fn session(&self) -> Self;

    /// A new session that sees what the token stands for.
    #[must_use]
    fn session_from(&self, token: &Token) -> Self;

    /// The session must see what the token stands for.
    fn observe(&self, token: &Token);

    /// The session must see all that was committed so far.
    fn observe_now(&self);

    /// What others must see who are to see what the session has written.
    fn token(&self) -> impl Future<Output = Option<Token>> + Send;

    /// What others must see who are to see what the session has seen.
    fn token_with_reads(&self) -> impl Future<Output = Option<Token>> + Send;

    /// Reads may be stale.
    #[must_use]
    fn eventual(&self) -> Self;

    /// Reads wait so long for a fresh replica.
    #[must_use]
    fn wait_for_fresh(&self, most: Duration) -> Self;

    /// Reads are at most that stale.
    ///
    /// # Errors
    ///
    /// The adapter's.
    fn max_staleness(&self, bound: Duration) -> Result<Self, ConfigError>;

    /// Where reads may go.
    #[must_use]
    fn preference(&self, preference: Preference) -> Self;

    /// Reads go to replicas with this label.
    #[must_use]
    fn tag(&self, key: &str, value: &str) -> Self;

    /// What the reads are about.
    #[must_use]
    fn key(&self, key: &str) -> Self;

    /// For how long the session keeps its replica connection between statements. Defaults to telling the session
    /// itself, for adapters whose handles cannot be told.
    #[must_use]
    fn hold_connection(&self, hold: Hold) -> Self {
        self.state().hold_connection(hold);
        self.clone()
    }

    /// The router's own view of the session.
    fn state(&self) -> SessionState;

    /// Where the session's last work went.
    fn last_decision(&self) -> Option<Decision>;

    /// Runs a statement as text; the first column of its one row is a number.
    fn query(&self, how: How, sql: &str) -> impl Future<Output = Result<i64>> + Send;

    /// Runs a statement as text.
    fn execute(&self, how: How, sql: &str) -> impl Future<Output = Result<()>> + Send;

    /// The version of a key, as one reads it with this ORM.
    fn get(&self, id: i32) -> impl Future<Output = Result<Option<i64>>> + Send;

    /// Changes the version of a key, as one does with this ORM.
    fn set(&self, id: i32, version: i64) -> impl Future<Output = Result<()>> + Send;

    /// Adds a key, and returns its version as the ORM says it is stored.
    fn insert(&self, id: i32, version: i64) -> impl Future<Output = Result<i64>> + Send;

    /// Runs a statement whose rows are numbers, and hands them out as they come.
    fn stream(&self, how: How, sql: &str) -> BoxStream<'static, Result<i64>>;

    /// A transaction on the primary: committed if the body succeeds, otherwise rolled back.
    fn transact(&self, body: Body) -> impl Future<Output = Result<()>> + Send;

    /// A read-only transaction on a replica.
    fn read_only(&self, body: Body) -> impl Future<Output = Result<()>> + Send;

    /// A read-only transaction on a replica, all of whose statements see one moment.
    fn snapshot(&self, body: Body) -> impl Future<Output = Result<()>> + Send;

    /// A connection to keep.
    fn hold(&self, intent: Intent) -> impl Future<Output = Result<Box<dyn Statements>>> + Send;
}

/// A connection, inside a transaction or not.
pub trait Statements: Send {
    /// Runs a statement as text; the first column of its one row is a number.
    fn query<'s>(&'s mut self, sql: &'s str) -> BoxFuture<'s, Result<i64>>;

    /// Runs a statement as text.
    fn execute<'s>(&'s mut self, sql: &'s str) -> BoxFuture<'s, Result<()>>;
}

/// The methods of [`Handle`] that are about terms, for a handle that has the adapter's root handle in its field
/// `pool`, what it stands for in its field `on`, and a method `with` that puts another in the place of the
/// latter. It works where the adapter calls these methods as all of ours do.
#[macro_export]
macro_rules! terms_by_their_names {
    ($backend:ty) => {
        type Backend = $backend;

        fn cluster(&self) -> &dbrouter::Cluster<$backend> {
            self.on.cluster()
        }

        fn session(&self) -> Self {
            self.with((*self.pool.session()).clone())
        }

        fn session_from(&self, token: &dbrouter::Token) -> Self {
            self.with((*self.pool.session_from(token)).clone())
        }

        fn observe(&self, token: &dbrouter::Token) {
            self.on.observe(token);
        }

        fn observe_now(&self) {
            self.on.observe_now();
        }

        async fn token(&self) -> Option<dbrouter::Token> {
            self.on.token().await
        }

        async fn token_with_reads(&self) -> Option<dbrouter::Token> {
            self.on.token_with_reads().await
        }

        fn eventual(&self) -> Self {
            self.with(self.on.eventual())
        }

        fn wait_for_fresh(&self, most: std::time::Duration) -> Self {
            self.with(self.on.wait_for_fresh(most))
        }

        fn max_staleness(
            &self,
            bound: std::time::Duration,
        ) -> std::result::Result<Self, dbrouter::ConfigError> {
            Ok(self.with(self.on.max_staleness(bound)?))
        }

        fn preference(&self, preference: dbrouter::Preference) -> Self {
            self.with(self.on.preference(preference))
        }

        fn tag(&self, key: &str, value: &str) -> Self {
            self.with(self.on.tag(key, value))
        }

        fn key(&self, key: &str) -> Self {
            self.with(self.on.key(key))
        }

        fn state(&self) -> dbrouter::SessionState {
            self.on.state()
        }

        fn last_decision(&self) -> Option<dbrouter::Decision> {
            self.on.last_decision()
        }
    };
}
