//! A handle with its mind made up: an intent, a preference, labels, a key.

use std::sync::Arc;
use std::time::Duration;

use dbrouter::{
    Cluster, ConfigError, Decision, Hold, Preference, RouteError, Router, SessionState, Status,
    Terms, Token, Work,
};
use sea_orm::{
    AccessMode, DatabaseConnection, DbBackend, DbErr, IsolationLevel, Schema, SchemaBuilder,
    TransactionOptions,
};

use crate::backend::SeaOrmBackend;
use crate::database;
use crate::transaction::Transaction;
use crate::unseen::Unseen;

/// A handle that says more about its statements than their text does.
/// [`RoutedConnection`](crate::RoutedConnection) and [`Session`](crate::Session) deref to one on which nothing
/// has been said; each of its methods returns another, used like them, by reference.
///
/// ```no_run
/// # use dbrouter_seaorm::RoutedConnection;
/// # use sea_orm::{ConnectionTrait, Statement};
/// # async fn example(db: RoutedConnection) -> Result<(), sea_orm::DbErr> {
/// # let backend = db.get_database_backend();
/// // A function that the classifier does not know, and we do:
/// let total = Statement::from_string(backend, "select total_of(7)");
/// let total = db.read().query_one_raw(total).await?;
/// // A report may be a little behind, and has a replica of its own:
/// let report = db.eventual().tag("for", "reports");
/// let rows = report.query_all_raw(Statement::from_string(backend, "select * from sales")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Routed {
    terms: Terms<SeaOrmBackend>,
    unseen: Arc<Unseen>,
}

impl Routed {
    /// The root handle's.
    pub(crate) fn new(cluster: &Cluster<SeaOrmBackend>) -> Self {
        Self::on(Terms::new(cluster))
    }

    /// A new session's.
    pub(crate) fn session(&self) -> Self {
        Self::on(self.terms.session())
    }

    /// A new session's that sees what another has written.
    pub(crate) fn session_from(&self, token: &Token) -> Self {
        Self::on(self.terms.session_from(token))
    }

    /// A session's that exists already.
    pub(crate) fn on(terms: Terms<SeaOrmBackend>) -> Self {
        let unseen = Arc::new(Unseen::default());
        Self { terms, unseen }
    }

    #[cfg(feature = "tower")]
    pub(crate) fn terms(&self) -> &Terms<SeaOrmBackend> {
        &self.terms
    }

    /// The same session on other terms.
    fn with(&self, terms: Terms<SeaOrmBackend>) -> Self {
        let unseen = Arc::clone(&self.unseen);
        Self { terms, unseen }
    }

    /// All statements are reads, and go to a replica without being looked at. A write is then refused by
    /// the server, and that error is the caller's: also by the primary, where a statement of this handle that no replica
    /// can serve runs in a read-only transaction of its own, which costs it a round trip. (In SQLite it runs on a
    /// connection that is read-only meanwhile. What SeaORM does not run on sqlx, such as a mock, refuses nothing. A transaction is what its access mode says.)
    #[must_use]
    pub fn read(&self) -> Self {
        self.with(self.terms.read())
    }

    /// All statements are writes, and go to the primary without being looked at.
    #[must_use]
    pub fn write(&self) -> Self {
        self.with(self.terms.write())
    }

    /// Reads need see nothing that was written before: any replica in service will do, and those lag by no more than the
    /// router's [bound](dbrouter::Settings::max_staleness), a minute by default.
    #[must_use]
    pub fn eventual(&self) -> Self {
        self.with(self.terms.eventual())
    }

    /// Reads wait so long for a replica that shows what they must see, rather than fall back to the primary or be
    /// refused: see [`Request::wait_for_fresh`](dbrouter::Request::wait_for_fresh). Defaults to no wait.
    #[must_use]
    pub fn wait_for_fresh(&self, most: Duration) -> Self {
        self.with(self.terms.wait_for_fresh(most))
    }

    /// Reads only go to replicas that are known to show all that was acknowledged so long ago, to whomever; it
    /// bounds reads that are [`eventual`](Self::eventual), and adds to what a session must see. Defaults to the router's
    /// own [bound](dbrouter::Settings::max_staleness), in the place of which it comes; `Duration::MAX` accepts any age.
    ///
    /// # Errors
    ///
    /// If nobody can know that: if the bound is below the monitor's
    /// [interval](dbrouter::MonitorSettings::interval).
    pub fn max_staleness(&self, bound: Duration) -> Result<Self, ConfigError> {
        Ok(self.with(self.terms.max_staleness(bound)?))
    }

    /// Where reads may go.
    #[must_use]
    pub fn preference(&self, preference: Preference) -> Self {
        self.with(self.terms.preference(preference))
    }

    /// Reads only go to replicas with this label, and with those demanded before.
    #[must_use]
    pub fn tag(&self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(self.terms.tag(key, value))
    }

    /// What the reads are about, for [`Rendezvous`](dbrouter::policy::Rendezvous) and the like.
    #[must_use]
    pub fn key(&self, key: impl AsRef<[u8]>) -> Self {
        self.with(self.terms.key(key))
    }

    /// For how long the session keeps the replica connection that it reads from after statements on this
    /// handle. Defaults to what was said of the session, and then of the router. On the root handle it is about
    /// the ambient session, if there is one.
    #[must_use]
    pub fn hold_connection(&self, hold: Hold) -> Self {
        self.with(self.terms.hold_connection(hold))
    }

    /// Begins a transaction in which the server refuses writes, on a fresh replica: all its reads see that
    /// one node. So does `begin_with_config` with [`AccessMode::ReadOnly`].
    ///
    /// # Errors
    ///
    /// If no node will do, or none gives a connection.
    pub async fn begin_read_only(&self) -> Result<Transaction, DbErr> {
        let options = TransactionOptions {
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        };
        self.start(options).await
    }

    /// As [`begin_read_only`](Self::begin_read_only), and all statements see one moment, however long it takes and
    /// whatever is written meanwhile: for a report whose sums must agree. So does `begin_with_config` with
    /// [`IsolationLevel::RepeatableRead`] and [`AccessMode::ReadOnly`]. In SQLite every transaction is one.
    ///
    /// The moment is that of the first statement that reads a table, and not before what the session must see.
    ///
    /// # Errors
    ///
    /// If no node will do, or none gives a connection.
    pub async fn begin_snapshot(&self) -> Result<Transaction, DbErr> {
        let options = TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        };
        self.start(options).await
    }

    pub(crate) async fn start(&self, options: TransactionOptions) -> Result<Transaction, DbErr> {
        let terms = match options.access_mode {
            Some(AccessMode::ReadOnly) => self.terms.read(),
            Some(AccessMode::ReadWrite) | None => self.terms.write(),
        };
        let begun = terms.work().begin(|backend| backend.begin(options));
        let (transaction, route) = begun.await?;
        Ok(Transaction::new(transaction, route))
    }

    /// Where the statement would go now, and why. Nothing is run.
    ///
    /// # Errors
    ///
    /// If it could go nowhere now.
    pub fn explain(&self, sql: &str) -> Result<Decision, RouteError> {
        self.terms.explain(sql)
    }

    /// Where the session's last piece of work went, and why; `None` on the root handle, whose work is
    /// everybody's.
    #[must_use]
    pub fn last_decision(&self) -> Option<Decision> {
        self.terms.last_decision()
    }

    /// What others must see who are to see what the session has written, for
    /// [`session_from`](crate::RoutedConnection::session_from); `None` if it has written nothing, which costs no query.
    ///
    /// It never fails. While the primary does not answer, the token says of no place, and who gets it needs the
    /// freshness of the moment when he does.
    pub async fn token(&self) -> Option<Token> {
        self.terms.token().await
    }

    /// As [`token`](Self::token), for all that the session has written, has read, and had to see: with it reads do
    /// not go back in time from one session to the next. `None` if that is nothing.
    pub async fn token_with_reads(&self) -> Option<Token> {
        self.terms.token_with_reads().await
    }

    /// From now on the session must also see what `token` stands for: for work that follows from more than one
    /// other. On the root handle that is everybody's session.
    pub fn observe(&self, token: &Token) {
        self.terms.observe(token);
    }

    /// From now on the session must also see all that was committed before this call, by whomever: call it when
    /// something was written around the router, and no token tells of it. On the root handle that is everybody's
    /// session.
    pub fn observe_now(&self) {
        self.terms.observe_now();
    }

    /// The router's own view of the session that a statement would be part of now.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.terms.state()
    }

    /// A snapshot of the router and its nodes, to print, serialise, or alert on.
    #[must_use]
    pub fn status(&self) -> Status {
        self.cluster().status()
    }

    /// The engine: nodes by name, to add, drain, disable, or weigh them anew.
    #[must_use]
    pub fn cluster(&self) -> &Cluster<SeaOrmBackend> {
        self.terms.cluster()
    }

    /// The primary's own connection: the way around the router, for what it is in the way of. The router does
    /// not learn of writes made here.
    #[must_use]
    pub fn primary(&self) -> DatabaseConnection {
        self.cluster().primary().backend().connection().clone()
    }

    /// Whether the primary answers.
    ///
    /// # Errors
    ///
    /// If it does not.
    pub async fn ping(&self) -> Result<(), DbErr> {
        self.primary().ping().await
    }

    /// A builder of schemas for this kind of database.
    #[must_use]
    pub fn get_schema_builder(&self) -> SchemaBuilder {
        Schema::new(self.backend()).builder()
    }

    /// The schema of all entities in the modules whose path begins with `prefix`.
    #[cfg(feature = "entity-registry")]
    #[must_use]
    pub fn get_schema_registry(&self, prefix: &str) -> SchemaBuilder {
        sea_orm::EntityRegistry::build_schema(Schema::new(self.backend()), prefix)
    }

    /// The kind of database.
    pub(crate) fn backend(&self) -> DbBackend {
        database::backend(self.cluster().dialect())
    }

    pub(crate) fn work(&self) -> Work<SeaOrmBackend> {
        self.terms.work()
    }

    /// The primary's connection, for what SeaORM takes no other. See [`Unseen`].
    pub(crate) fn unseen(&self) -> &DatabaseConnection {
        self.unseen.connection(&self.terms)
    }

    /// Closes what was opened for work that cannot be seen.
    pub(crate) async fn close_unseen(&self) -> Result<(), DbErr> {
        self.unseen.close().await
    }
}
