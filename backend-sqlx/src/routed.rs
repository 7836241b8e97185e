//! A handle with its mind made up: an intent, a preference, labels, a key.

use std::time::Duration;

use dbrouter::{
    Cluster, ConfigError, Decision, Hold, Preference, RouteError, Router, SessionState, Status,
    Terms, Token, Work,
};

use crate::backend::SqlxBackend;
use crate::connection::Connection;
use crate::database::RoutedDatabase;
use crate::transaction::{Open, Transaction};

/// A handle that says more about its statements than their text does. [`RoutedPool`](crate::RoutedPool) and
/// [`Session`](crate::Session) deref to one on which nothing has been said; each of its methods returns
/// another, used like them, by reference.
///
/// ```no_run
/// # use std::time::Duration;
/// # use dbrouter_sqlx::RoutedPool;
/// # async fn example(db: RoutedPool<sqlx::Postgres>) -> Result<(), sqlx::Error> {
/// // A function that the classifier does not know, and we do:
/// let total: i64 = sqlx::query_scalar("select total_of($1)")
///     .bind(7_i64)
///     .fetch_one(&db.read())
///     .await?;
/// // A report may be a little behind, and has a replica of its own:
/// let report = db.eventual().tag("for", "reports");
/// let rows = sqlx::query("select * from sales").fetch_all(&report).await?;
/// // What follows a write waits a little for a replica, rather than load the primary:
/// let after = db.wait_for_fresh(Duration::from_millis(20));
/// let rows = sqlx::query("select * from sales").fetch_all(&after).await?;
/// # Ok(())
/// # }
/// ```
pub struct Routed<DB: RoutedDatabase>(Terms<SqlxBackend<DB>>);

// Not derived: that would ask for `DB: Clone`.
impl<DB: RoutedDatabase> Clone for Routed<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<DB: RoutedDatabase> Routed<DB> {
    /// The root handle's.
    pub(crate) fn new(cluster: &Cluster<SqlxBackend<DB>>) -> Self {
        Self(Terms::new(cluster))
    }

    /// A new session's.
    pub(crate) fn session(&self) -> Self {
        Self(self.0.session())
    }

    /// A new session's that sees what another has written.
    pub(crate) fn session_from(&self, token: &Token) -> Self {
        Self(self.0.session_from(token))
    }

    /// A session's that exists already.
    #[cfg(feature = "axum")]
    pub(crate) fn on(terms: Terms<SqlxBackend<DB>>) -> Self {
        Self(terms)
    }

    #[cfg(feature = "tower")]
    pub(crate) fn terms(&self) -> &Terms<SqlxBackend<DB>> {
        &self.0
    }

    /// All statements are reads, and go to a replica without being looked at. A write is then refused by
    /// the server, and that error is the caller's: also by the primary, where a statement of this handle that no replica
    /// can serve runs in a read-only transaction of its own, which costs it a round trip. (In SQLite it runs on a
    /// connection that is read-only meanwhile.)
    #[must_use]
    pub fn read(&self) -> Self {
        Self(self.0.read())
    }

    /// All statements are writes, and go to the primary without being looked at.
    #[must_use]
    pub fn write(&self) -> Self {
        Self(self.0.write())
    }

    /// Reads need see nothing that was written before: any replica in service will do, and those lag by no more than the
    /// router's [bound](dbrouter::Settings::max_staleness), a minute by default.
    #[must_use]
    pub fn eventual(&self) -> Self {
        Self(self.0.eventual())
    }

    /// Reads wait so long for a replica that shows what they must see, rather than fall back to the primary or be
    /// refused: see [`Request::wait_for_fresh`](dbrouter::Request::wait_for_fresh). Defaults to no wait.
    #[must_use]
    pub fn wait_for_fresh(&self, most: Duration) -> Self {
        Self(self.0.wait_for_fresh(most))
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
        self.0.max_staleness(bound).map(Self)
    }

    /// Where reads may go.
    #[must_use]
    pub fn preference(&self, preference: Preference) -> Self {
        Self(self.0.preference(preference))
    }

    /// Reads only go to replicas with this label, and with those demanded before.
    #[must_use]
    pub fn tag(&self, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self(self.0.tag(key, value))
    }

    /// What the reads are about, for [`Rendezvous`](dbrouter::policy::Rendezvous) and the like.
    #[must_use]
    pub fn key(&self, key: impl AsRef<[u8]>) -> Self {
        Self(self.0.key(key))
    }

    /// For how long the session keeps the replica connection that it reads from after statements on this
    /// handle. Defaults to what was said of the session, and then of the router. On the root handle it is about
    /// the ambient session, if there is one.
    #[must_use]
    pub fn hold_connection(&self, hold: Hold) -> Self {
        Self(self.0.hold_connection(hold))
    }

    /// Begins a transaction on the primary.
    ///
    /// # Errors
    ///
    /// If there is no primary, or it gives no connection.
    pub async fn begin(&self) -> Result<Transaction<DB>, sqlx::Error> {
        let work = self.write().work();
        let (transaction, route) = work.begin(SqlxBackend::begin_writing).await?;
        Ok(Transaction::new(Open::new(transaction), route))
    }

    /// Begins a transaction in which the server refuses writes, on a fresh replica: all its reads see that
    /// one node.
    ///
    /// # Errors
    ///
    /// If no node will do, or none gives a connection.
    pub async fn begin_read_only(&self) -> Result<Transaction<DB>, sqlx::Error> {
        self.begin_reading(DB::DIALECT.begin_read_only()).await
    }

    /// As [`begin_read_only`](Self::begin_read_only), and all statements see one moment, however long it takes and
    /// whatever is written meanwhile: for a report whose sums must agree. It is PostgreSQL's and MariaDB's
    /// isolation level `REPEATABLE READ`, whatever the default is there; in SQLite every transaction is one.
    ///
    /// The moment is that of the first statement (in MariaDB, of the beginning), and not before what the session
    /// must see.
    ///
    /// ```no_run
    /// # use dbrouter_sqlx::RoutedPool;
    /// # async fn example(db: RoutedPool<sqlx::Postgres>) -> Result<(), sqlx::Error> {
    /// let mut report = db.begin_snapshot().await?;
    /// let sold: i64 = sqlx::query_scalar("select sum(amount)::bigint from sales").fetch_one(&mut *report).await?;
    /// let paid: i64 = sqlx::query_scalar("select sum(amount)::bigint from payments").fetch_one(&mut *report).await?;
    /// report.commit().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If no node will do, or none gives a connection.
    pub async fn begin_snapshot(&self) -> Result<Transaction<DB>, sqlx::Error> {
        self.begin_reading(DB::DIALECT.begin_snapshot()).await
    }

    async fn begin_reading(&self, how: &'static str) -> Result<Transaction<DB>, sqlx::Error> {
        let work = self.read().work();
        let (transaction, route) = work.begin(|backend| backend.begin_reading(how)).await?;
        Ok(Transaction::new(transaction, route))
    }

    /// A connection to keep: to the primary, or to a replica if the intent is to read.
    ///
    /// # Errors
    ///
    /// If no node will do, or none gives a connection.
    pub async fn acquire(&self) -> Result<Connection<DB>, sqlx::Error> {
        Connection::acquire(self.work()).await
    }

    /// A connection to a replica, to keep for several reads. The server refuses writes on it, also if it is the primary
    /// that serves it; that costs a round trip when it is taken, and another after it was dropped.
    ///
    /// # Errors
    ///
    /// If no node will do, or none gives a connection.
    pub async fn acquire_read(&self) -> Result<Connection<DB>, sqlx::Error> {
        self.read().acquire().await
    }

    /// A connection to the primary, to keep. While it is out, the session's reads go to the primary, and so do those of
    /// the root handle, which must see what is written on it. (For one that is kept long and writes nothing, as an
    /// advisory lock is held, use the pool that `RoutedPool::primary` gives.)
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
        self.0.explain(sql)
    }

    /// Where the session's last piece of work went, and why; `None` on the root handle, whose work is
    /// everybody's.
    #[must_use]
    pub fn last_decision(&self) -> Option<Decision> {
        self.0.last_decision()
    }

    /// What others must see who are to see what the session has written, for
    /// [`session_from`](crate::RoutedPool::session_from); `None` if it has written nothing, which costs no query.
    ///
    /// It never fails. While the primary does not answer, the token says of no place, and who gets it needs the
    /// freshness of the moment when he does.
    pub async fn token(&self) -> Option<Token> {
        self.0.token().await
    }

    /// As [`token`](Self::token), for all that the session has written, has read, and had to see: with it reads do
    /// not go back in time from one session to the next. `None` if that is nothing.
    pub async fn token_with_reads(&self) -> Option<Token> {
        self.0.token_with_reads().await
    }

    /// From now on the session must also see what `token` stands for: for work that follows from more than one
    /// other. On the root handle that is everybody's session.
    pub fn observe(&self, token: &Token) {
        self.0.observe(token);
    }

    /// From now on the session must also see all that was committed before this call, by whomever: call it when
    /// something was written around the router, and no token tells of it. On the root handle that is everybody's
    /// session.
    pub fn observe_now(&self) {
        self.0.observe_now();
    }

    /// The router's own view of the session that a statement would be part of now.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.0.state()
    }

    /// A snapshot of the router and its nodes, to print, serialise, or alert on.
    #[must_use]
    pub fn status(&self) -> Status {
        self.cluster().status()
    }

    /// The engine: nodes by name, to add, drain, disable, or weigh them anew.
    #[must_use]
    pub fn cluster(&self) -> &Cluster<SqlxBackend<DB>> {
        self.0.cluster()
    }

    pub(crate) fn work(&self) -> Work<SqlxBackend<DB>> {
        self.0.work()
    }
}
