//! A handle with its mind made up: an intent, a preference, labels, a key.

use dbrouter::{
    Cause, Cluster, Consistency, Decision, Intent, Preference, Request, RouteError, SessionState,
    Tags,
};

use crate::backend::SqlxBackend;
use crate::connection::Connection;
use crate::database::RoutedDatabase;
use crate::work::{IntentFrom, Work};

/// A handle that says more about its statements than their text does. Made by the methods of
/// [`RoutedPool`](crate::RoutedPool) and [`Session`](crate::Session); used like them, by reference.
///
/// ```no_run
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
/// # Ok(())
/// # }
/// ```
pub struct Routed<DB: RoutedDatabase> {
    cluster: Cluster<SqlxBackend<DB>>,
    /// The session, or whichever is current when a statement is run.
    session: Option<SessionState>,
    request: Request,
    intent: IntentFrom,
}

// Not derived: that would ask for `DB: Clone`.
impl<DB: RoutedDatabase> Clone for Routed<DB> {
    fn clone(&self) -> Self {
        Self {
            cluster: self.cluster.clone(),
            session: self.session.clone(),
            request: self.request.clone(),
            intent: self.intent,
        }
    }
}

impl<DB: RoutedDatabase> Routed<DB> {
    pub(crate) fn new(cluster: &Cluster<SqlxBackend<DB>>, session: Option<&SessionState>) -> Self {
        Self {
            cluster: cluster.clone(),
            session: session.cloned(),
            request: Request::read(),
            intent: IntentFrom::Statement,
        }
    }

    /// All statements are reads. A write is then refused by the replica, and that error is the caller's.
    #[must_use]
    pub fn read(mut self) -> Self {
        self.intent = IntentFrom::Request;
        self.request = self.request.with_intent(Intent::Read, Cause::Asked);
        self
    }

    /// All statements are writes.
    #[must_use]
    pub fn write(mut self) -> Self {
        self.intent = IntentFrom::Request;
        self.request = self.request.with_intent(Intent::Write, Cause::Asked);
        self
    }

    /// Reads may show any state of a replica, however old.
    #[must_use]
    pub fn eventual(mut self) -> Self {
        self.request = self.request.consistency(Consistency::Eventual);
        self
    }

    /// Where reads may go.
    #[must_use]
    pub fn preference(mut self, preference: Preference) -> Self {
        self.request = self.request.preference(preference);
        self
    }

    /// Reads only go to replicas with this label, and with those demanded before.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let tags: Tags = self.request.tags().clone().with(key, value);
        self.request = self.request.tagged(tags);
        self
    }

    /// What the reads are about, for [`Rendezvous`](dbrouter::policy::Rendezvous) and the like.
    #[must_use]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.request = self.request.key(key);
        self
    }

    /// Where the statement would go now, and why. Nothing is run.
    ///
    /// # Errors
    ///
    /// If it could go nowhere now.
    pub fn explain(&self, sql: &str) -> Result<Decision, RouteError> {
        let work = self.work().of_statement(sql);
        work.cluster.explain(&work.request, &work.session)
    }

    /// A connection to keep: to the primary, or to a replica if the intent is to read.
    ///
    /// # Errors
    ///
    /// If no node will do, or none gives a connection.
    pub async fn acquire(&self) -> Result<Connection<DB>, sqlx::Error> {
        self.work().connection().await
    }

    pub(crate) fn work(&self) -> Work<DB> {
        Work {
            cluster: self.cluster.clone(),
            session: self
                .session
                .clone()
                .unwrap_or_else(|| self.cluster.current_session()),
            request: self.request.clone(),
            intent: self.intent,
            failure: None,
            suspicion: None,
        }
    }
}
