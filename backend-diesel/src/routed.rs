//! A handle, with what is said of its work beforehand.

use std::fmt;
use std::time::Duration;

use dbrouter::{
    Cluster, ConfigError, Decision, Intent, Preference, RouteError, SessionState, Terms, Token,
};

use crate::backend::DieselBackend;
use crate::connection::{ReadGuard, WriteGuard};
use crate::error::Error;
use crate::pools::Pool;
use crate::strict::Strict;

/// What [`RoutedPool`](crate::RoutedPool) and [`Session`](crate::Session) have in common: they deref to it.
/// Options first, then the guard:
///
/// ```no_run
/// # use dbrouter_diesel::{Error, Pool, RoutedPool};
/// # async fn example<P: Pool>(db: RoutedPool<P>) -> Result<(), Error> {
/// let session = db.session();
/// let mut here = session.tag("zone", "a").read().await?;
/// // A report may be a little behind, and has a replica of its own:
/// let mut reports = db.eventual().tag("for", "reports").read().await?;
/// # Ok(())
/// # }
/// ```
pub struct Routed<P: Pool> {
    terms: Terms<DieselBackend<P>>,
}

impl<P: Pool> Routed<P> {
    pub(crate) fn new(terms: Terms<DieselBackend<P>>) -> Self {
        Self { terms }
    }

    /// A connection to read from: a replica's, if one shows what the session must see, otherwise the
    /// primary's. If a node cannot be reached or has no room, the next one gives it.
    ///
    /// # Errors
    ///
    /// If no node will do, or none gives a connection.
    pub async fn read(&self) -> Result<ReadGuard<P>, Error> {
        self.terms.read().work().acquire().await.map(ReadGuard::new)
    }

    /// A connection to write to: the primary's. While it is out, the session's reads go to the primary; on
    /// the root handle those are everybody's.
    ///
    /// # Errors
    ///
    /// If there is no primary, or it gives no connection.
    pub async fn write(&self) -> Result<WriteGuard<P>, Error> {
        let acquired = self.terms.write().work().acquire().await;
        acquired.map(WriteGuard::new)
    }

    /// A connection to read from: the primary's while it is healthy, otherwise a replica's that shows what the
    /// session must see.
    ///
    /// # Errors
    ///
    /// If no node will do, or none gives a connection.
    pub async fn read_prefer_primary(&self) -> Result<ReadGuard<P>, Error> {
        self.preference(Preference::PrimaryPreferred).read().await
    }

    /// The same handle, whose guard to read from takes nothing that is not known to be a read: see
    /// [`strict`](crate::strict).
    #[must_use]
    pub fn strict(&self) -> Strict<P> {
        Strict::new(self.clone())
    }

    /// Reads need see nothing that was written before: any replica in service will do, and those lag by no more than the
    /// router's [bound](dbrouter::Settings::max_staleness), a minute by default.
    #[must_use]
    pub fn eventual(&self) -> Self {
        Self::new(self.terms.eventual())
    }

    /// Reads wait so long for a replica that shows what they must see, rather than fall back to the primary or be
    /// refused: see [`Request::wait_for_fresh`](dbrouter::Request::wait_for_fresh). Defaults to no wait.
    #[must_use]
    pub fn wait_for_fresh(&self, most: Duration) -> Self {
        Self::new(self.terms.wait_for_fresh(most))
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
        self.terms.max_staleness(bound).map(Self::new)
    }

    /// Where reads may go.
    #[must_use]
    pub fn preference(&self, preference: Preference) -> Self {
        Self::new(self.terms.preference(preference))
    }

    /// Reads only go to replicas with this label, and with those demanded before.
    #[must_use]
    pub fn tag(&self, key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::new(self.terms.tag(key, value))
    }

    /// What the reads are about, for [`Rendezvous`](dbrouter::policy::Rendezvous) and the like.
    #[must_use]
    pub fn key(&self, key: impl AsRef<[u8]>) -> Self {
        Self::new(self.terms.key(key))
    }

    /// Where work would go now, and why. Nothing is run.
    ///
    /// # Errors
    ///
    /// If it could go nowhere now.
    pub fn explain(&self, intent: Intent) -> Result<Decision, RouteError> {
        let terms = match intent {
            Intent::Read => self.terms.read(),
            Intent::Write => self.terms.write(),
        };
        terms.work().explain()
    }

    /// Where the session's last work went, and why; `None` on the root handle, whose work is everybody's.
    #[must_use]
    pub fn last_decision(&self) -> Option<Decision> {
        self.terms.last_decision()
    }

    /// What others must see who are to see what the session has written, for
    /// [`session_from`](crate::RoutedPool::session_from); `None` if it has written nothing, which costs no query.
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

    /// The router's own view of the session that work would be part of now.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.terms.state()
    }

    /// The engine: nodes by name, with their pools, to drain, disable, or weigh them anew.
    #[must_use]
    pub fn cluster(&self) -> &Cluster<DieselBackend<P>> {
        self.terms.cluster()
    }

    pub(crate) fn terms(&self) -> &Terms<DieselBackend<P>> {
        &self.terms
    }
}

// Not derived: that would ask for more of `P` than is needed.
impl<P: Pool> Clone for Routed<P> {
    fn clone(&self) -> Self {
        Self::new(self.terms.clone())
    }
}

impl<P: Pool> fmt::Debug for Routed<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Routed").field(&self.terms).finish()
    }
}
