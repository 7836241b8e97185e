//! How a session hands on what it must see: as a token, to another session, maybe of another process.

use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::clock::Instant;
use crate::cluster::Cluster;
use crate::dialect::Dialect;
use crate::request::Request;
use crate::router::Backend;
use crate::session::SessionState;
use crate::token::{Place, Token};

impl<B: Backend> Cluster<B> {
    /// What others must see who are to see what the session has written; `None` if it has written nothing.
    ///
    /// Usually it is there at once, or after the round that the write has caused anyway. If the primary does not
    /// say in time where its log stands ([`MonitorSettings::timeout`](crate::MonitorSettings)), the token says of
    /// no place. A router without replicas, which watches nothing otherwise, watches its primary from the first
    /// token on.
    pub async fn token(&self, session: &SessionState) -> Option<Token> {
        Some(self.token_after(session.written()?).await)
    }

    /// What others must see who are to see all that the session has written, has read, and had to see; `None` if
    /// that is nothing.
    pub async fn token_with_reads(&self, session: &SessionState) -> Option<Token> {
        let needs = session.needs().max(session.written().unwrap_or_default());
        match needs > Instant::ORIGIN {
            true => Some(self.token_after(needs).await),
            false => None,
        }
    }

    /// From now on the session must also see what `token` stands for.
    pub fn observe(&self, session: &SessionState, token: &Token) {
        let shared = self.shared();
        let known = token.place.as_ref();
        let known = known.and_then(|place| shared.history.reached(place));
        session.require(known.unwrap_or_else(|| shared.context.after_now()));
    }

    /// From now on the session must also see all that was committed before this call, by whomever: another process, a
    /// job of the database's own, a library with a pool of its own. The primary serves its reads until a replica has
    /// been proved to show as much, which usually takes one round of questions, about a millisecond.
    ///
    /// It is [`observe`](Self::observe) where there is no token, because whoever wrote did not go through a router, or
    /// could not hand one on. On the root session it holds for everybody who uses that.
    pub fn observe_now(&self, session: &SessionState) {
        session.require(self.shared().context.after_now());
    }

    /// A token for all that was acknowledged before `instant`.
    async fn token_after(&self, instant: Instant) -> Token {
        let place = self.place_after(instant).await;
        Token {
            place,
            issued: seconds_since_1970(),
        }
    }

    async fn place_after(&self, instant: Instant) -> Option<Place> {
        let shared = self.shared();
        if shared.dialect == Dialect::Sqlite || !self.primary().is_healthy() {
            return None;
        }
        Handle::try_current().ok()?;
        // A router without replicas needs no monitor for itself.
        self.be_watched();
        self.be_watched_again(&Request::read()).await.ok()?;
        shared.context.wake.ask(instant);
        let place = shared.history.place_after(instant);
        timeout(shared.settings.monitor.timeout, place).await.ok()
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time of issue is for people, and nothing is decided by it"
)]
fn seconds_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |since| since.as_secs())
}
