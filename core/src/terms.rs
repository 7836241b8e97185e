//! On what terms a handle's work is routed: on whose behalf, and what is said of it beforehand.

use std::fmt;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::config::ConfigError;
use crate::decision::{Cause, Decision, RouteError};
use crate::hold::Hold;
use crate::request::Request;
use crate::router::Backend;
use crate::scope::Frame;
use crate::session::SessionState;
use crate::token::Token;
use crate::vocabulary::{Consistency, Intent, Preference};
use crate::work::{IntentFrom, Work};

/// What an adapter's handle consists of: the cluster, the session if it has one of its own, and what is
/// said of its work before the work is known.
///
/// Adapters wrap it in a type of their own, on which their ORM's traits can be implemented, and give that
/// type the methods that this one has.
pub struct Terms<B: Backend> {
    cluster: Cluster<B>,
    /// The session, or whichever is current when work begins.
    session: Option<SessionState>,
    request: Request,
    intent: IntentFrom,
    /// For how long sessions keep their connection after statements on these terms, if that was said.
    hold: Option<Hold>,
}

// Not derived: that would ask for `B: Clone` twice over.
impl<B: Backend> Clone for Terms<B> {
    fn clone(&self) -> Self {
        Self {
            cluster: self.cluster.clone(),
            session: self.session.clone(),
            request: self.request.clone(),
            intent: self.intent,
            hold: self.hold,
        }
    }
}

impl<B: Backend> Terms<B> {
    /// The root handle's: nothing is said, and the session is the ambient one or everybody's.
    #[must_use]
    pub fn new(cluster: &Cluster<B>) -> Self {
        Self {
            cluster: cluster.clone(),
            session: None,
            request: Request::read(),
            intent: IntentFrom::Statement,
            hold: None,
        }
    }

    /// A new session's.
    #[must_use]
    pub fn session(&self) -> Self {
        let session = Some(self.cluster.session());
        let mut terms = Self::new(&self.cluster);
        terms.session = session;
        terms
    }

    /// A new session that must see what `token` stands for.
    #[must_use]
    pub fn session_from(&self, token: &Token) -> Self {
        let terms = self.session();
        terms.observe(token);
        terms
    }

    /// From now on the session must also see what `token` stands for. On the root handle that is everybody's
    /// session.
    pub fn observe(&self, token: &Token) {
        self.cluster.observe(&self.state(), token);
    }

    /// From now on the session must also see all that was committed before this call, by whomever: call it when
    /// something was written around the router, and no [`Token`] tells of it. See [`Cluster::observe_now`]. On the root
    /// handle that is everybody's session.
    pub fn observe_now(&self) {
        self.cluster.observe_now(&self.state());
    }

    /// What others must see who are to see what the session has written; `None` if it has written nothing. (On the root
    /// handle: what any session of the router has written.) It never fails: see [`Token`].
    pub async fn token(&self) -> Option<Token> {
        self.cluster.token(&self.state()).await
    }

    /// What others must see who are to see all that the session has written, has read, and had to see; `None` if
    /// that is nothing. With it reads never go back in time, from one session to the next.
    pub async fn token_with_reads(&self) -> Option<Token> {
        self.cluster.token_with_reads(&self.state()).await
    }

    /// All work is a read.
    #[must_use]
    pub fn read(&self) -> Self {
        self.stated(Intent::Read)
    }

    /// All work is a write.
    #[must_use]
    pub fn write(&self) -> Self {
        self.stated(Intent::Write)
    }

    fn stated(&self, intent: Intent) -> Self {
        let mut terms = self.clone();
        terms.intent = IntentFrom::Request;
        terms.request = terms.request.with_intent(intent, Cause::Asked);
        terms
    }

    /// Reads need see nothing that was written before: any replica in service will do, and those lag by no more than the
    /// router's [bound](crate::Settings::max_staleness), a minute by default.
    #[must_use]
    pub fn eventual(&self) -> Self {
        self.with(|request| request.consistency(Consistency::Eventual))
    }

    /// Reads wait so long for a replica that shows what they must see, rather than fall back to the primary or be
    /// refused: see [`Request::wait_for_fresh`]. Defaults to no wait.
    #[must_use]
    pub fn wait_for_fresh(&self, most: Duration) -> Self {
        self.with(|request| request.wait_for_fresh(most))
    }

    /// Reads only go to replicas that are known to show all that was acknowledged so long ago, to whomever: see
    /// [`Request::max_staleness`]. Defaults to the router's own [bound](crate::Settings::max_staleness); `Duration::MAX`
    /// accepts any age.
    ///
    /// # Errors
    ///
    /// If nobody can know that: if the bound is below the monitor's
    /// [interval](crate::MonitorSettings::interval).
    pub fn max_staleness(&self, bound: Duration) -> Result<Self, ConfigError> {
        self.cluster.check_max_staleness(bound)?;
        Ok(self.with(|request| request.max_staleness(bound)))
    }

    /// Where reads may go.
    #[must_use]
    pub fn preference(&self, preference: Preference) -> Self {
        self.with(|request| request.preference(preference))
    }

    /// Reads only go to replicas with this label, and with those demanded before.
    #[must_use]
    pub fn tag(&self, key: impl Into<String>, value: impl Into<String>) -> Self {
        let tags = self.request.tags().clone().with(key, value);
        self.with(|request| request.tagged(tags))
    }

    /// What the reads are about, for [`Rendezvous`](crate::policy::Rendezvous) and the like.
    #[must_use]
    pub fn key(&self, key: impl AsRef<[u8]>) -> Self {
        self.with(|request| request.key(key))
    }

    /// For how long the session keeps the replica connection that it reads from after statements on these
    /// terms. Defaults to what was said of the session itself, and then to the router's settings. The root
    /// session keeps none.
    #[must_use]
    pub fn hold_connection(&self, hold: Hold) -> Self {
        let mut terms = self.clone();
        terms.hold = Some(hold);
        terms
    }

    fn with(&self, change: impl FnOnce(Request) -> Request) -> Self {
        let mut terms = self.clone();
        terms.request = change(terms.request);
        terms
    }

    /// Where the statement would go now, and why. Nothing is run.
    ///
    /// # Errors
    ///
    /// If it could go nowhere now.
    pub fn explain(&self, sql: &str) -> Result<Decision, RouteError> {
        self.work().of_statement(sql).explain()
    }

    /// Where the session's last piece of work went, and why; `None` on the root handle, whose work is
    /// everybody's.
    #[must_use]
    pub fn last_decision(&self) -> Option<Decision> {
        self.cluster.last_decision(&self.state())
    }

    /// The session that work would be part of now.
    #[must_use]
    pub fn state(&self) -> SessionState {
        let session = self.session.clone();
        session.unwrap_or_else(|| self.cluster.current_session())
    }

    /// The engine.
    #[must_use]
    pub fn cluster(&self) -> &Cluster<B> {
        &self.cluster
    }

    /// A piece of work on these terms, and on those of the [scopes](crate::scope) that it begins in.
    #[must_use]
    pub fn work(&self) -> Work<B> {
        let mut request = self.request.clone();
        let session = match &self.session {
            Some(session) => {
                Frame::enter_with_session(&mut request);
                session.clone()
            }
            None => self.cluster.enter(&mut request),
        };
        let hold = match session.is_root() {
            true => Hold::Never,
            false => self
                .hold
                .or_else(|| session.stated_hold())
                .unwrap_or_else(|| self.cluster.hold()),
        };
        Work::new(&self.cluster, session, request, self.intent, hold)
    }
}

impl<B: Backend> fmt::Debug for Terms<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms")
            .field("cluster", &self.cluster)
            .field("session", &self.session)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
