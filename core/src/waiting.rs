//! How a read waits, before it falls back to the primary: for a replica that shows what it must see, and for one
//! of the places that there are for such reads.
//!
//! Nothing is held meanwhile, no place on a node and none of these, and nothing polls: whoever waits is woken by
//! what it waits for, and looks again.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::clock::Instant as Needed;
use crate::cluster::Cluster;
use crate::decision::{Reason, RouteError};
use crate::fallback::Places;
use crate::health::Health;
use crate::node::NodeId;
use crate::request::Request;
use crate::route::Route;
use crate::router::Backend;
use crate::session::SessionState;
use crate::vocabulary::{Consistency, Intent, Role};

impl<B: Backend> Cluster<B> {
    /// Finds the node for a piece of work as [`route`](crate::Router::route) does, and waits where that is better:
    ///
    /// * As long as the request [states](Request::wait_for_fresh), for a replica that shows what the read must see.
    ///   Only then the read falls back to the primary, or is refused.
    /// * If it states nothing, a session waits that would otherwise never leave the primary, 5 ms at most. What the
    ///   primary has just shown a session is on no replica yet, as far as can be known; who reads without a pause
    ///   after a write would so read from the primary for ever. At the fourth such read in a row the session
    ///   therefore waits for the next proof that will do; and if that does not come in time, again at the eighth,
    ///   the sixteenth, and so on: while replication stands still, that costs next to nothing.
    /// * As long as the router's [limit](crate::FallbackLimit::or_wait) says, for a place on the primary, or for a
    ///   replica that will do.
    ///
    /// # Errors
    ///
    /// If no node may run the work now.
    pub async fn route_patiently(
        &self,
        request: &Request,
        session: &SessionState,
    ) -> Result<Route<B>, RouteError> {
        self.route_within(&mut request.clone(), session).await
    }

    /// As [`route_patiently`](Self::route_patiently). What the request has waited it does not wait again.
    pub(crate) async fn route_within(
        &self,
        request: &mut Request,
        session: &SessionState,
    ) -> Result<Route<B>, RouteError> {
        self.be_watched_again(request).await?;
        let found = self.find(request, session);
        if !self.may_wait(&found, request, session) {
            return self.take(found, request, session);
        }
        found.map(Route::unsent).ok();
        // On the heap, so that the futures of work that does not wait are no larger for it.
        Box::pin(self.route_later(request, session)).await
    }

    async fn route_later(
        &self,
        request: &mut Request,
        session: &SessionState,
    ) -> Result<Route<B>, RouteError> {
        let mut found = self.find(request, session);
        if let Some(wait) = self.freshness_to_wait_for(&found, request, session) {
            // Nothing is held meanwhile.
            found.map(Route::unsent).ok();
            let begun = Instant::now();
            let fresh = timeout(wait, self.when_fresh(request, session)).await;
            request.waited(begun.elapsed());
            // Whether it came in time is seen when the read is routed again.
            found = fresh.unwrap_or_else(|_| self.find(request, session));
        }
        if self.waits_for_primary(request) && Self::lacks_primary(&found) {
            found.map(Route::unsent).ok();
            found = self.when_primary(request, session).await;
        }
        let refusal = match self.take(found, request, session) {
            Err(refusal) if refusal.is_fallback_limit() => refusal,
            taken => return taken,
        };
        let Some(places) = self.shared().context.places.as_ref() else {
            return Err(refusal);
        };
        let placed = timeout(
            places.patience(),
            self.when_placed(places, request, session),
        );
        placed.await.unwrap_or(Err(refusal))
    }

    /// The pause before work that a primary's pool has failed is tried there again.
    const AGAIN: Duration = Duration::from_millis(10);

    /// A place for work that was to be sent to a primary which is gone: on another one, or on the same when it is
    /// back. It waits as long as is left of what the router says.
    pub(crate) async fn route_to_another_primary(
        &self,
        request: &mut Request,
        session: &SessionState,
    ) -> Result<Route<B>, RouteError> {
        let found = match self.waits_for_primary(request) {
            true => {
                // One that answers the monitor and refuses the application's connections would be tried again and
                // again without a pause.
                sleep(Self::AGAIN).await;
                request.waited_for_primary(Self::AGAIN);
                self.when_primary(request, session).await
            }
            false => self.find(request, session),
        };
        self.take(found, request, session)
    }

    /// Whether some time is left for the work to wait for a primary.
    pub(crate) fn waits_for_primary(&self, request: &Request) -> bool {
        request.wait_for_primary() < self.shared().settings.wait_for_primary
    }

    /// Whether the work is for a primary, and there is none that answers.
    fn lacks_primary(found: &Result<Route<B>, RouteError>) -> bool {
        match found {
            Ok(route) => {
                let node = route.node();
                node.health() == Health::Ejected && node.role() == Role::Primary
            }
            Err(refusal) => refusal.is_without_primary(),
        }
    }

    /// What is found once there is a primary that answers, or another node for a read; or when no time is left.
    async fn when_primary(
        &self,
        request: &mut Request,
        session: &SessionState,
    ) -> Result<Route<B>, RouteError> {
        let begun = Instant::now();
        let limit = self.shared().settings.wait_for_primary;
        let left = limit.saturating_sub(request.wait_for_primary());
        let _asked_for_meanwhile = self.shared().context.wake.await_primary();
        let found = loop {
            self.be_watched_again(request).await?;
            let mut proof = pin!(self.shared().context.wake.next_proof());
            proof.as_mut().enable();
            let found = self.find(request, session);
            let waited = begun.elapsed();
            if waited >= left || found.as_ref().is_ok_and(|route| route.node().is_healthy()) {
                break found;
            }
            found.map(Route::unsent).ok();
            timeout(left.saturating_sub(waited), proof).await.ok();
        };
        request.waited_for_primary(begun.elapsed());
        found
    }

    /// Waits until the node that has taken the place of the `former` primary is known as the primary. The monitor puts it
    /// there first, and takes in its role right afterwards.
    pub(crate) async fn when_seated(&self, former: NodeId) {
        loop {
            let mut proof = pin!(self.shared().context.wake.next_proof());
            proof.as_mut().enable();
            let primary = Arc::clone(self.shared().topology.load().primary());
            if primary.id() == former || primary.role() == Role::Primary {
                return;
            }
            proof.await;
        }
    }

    /// Has all nodes asked which of them is the primary.
    fn ask_for_primary(&self) {
        let context = &self.shared().context;
        context.wake.ask_roles(context.after_now());
    }

    /// Whether the work may wait rather than make do with what was found.
    #[inline]
    fn may_wait(
        &self,
        found: &Result<Route<B>, RouteError>,
        request: &Request,
        session: &SessionState,
    ) -> bool {
        if self.waits_for_primary(request) && Self::lacks_primary(found) {
            return true;
        }
        match found {
            Ok(route) if !route.reason().is_fallback() => false,
            found => {
                let places = found.as_ref().ok().and_then(|route| self.places_for(route));
                places.is_some_and(|places| !places.patience().is_zero())
                    || self
                        .freshness_to_wait_for(found, request, session)
                        .is_some()
            }
        }
    }

    /// Takes what was found, and notice of it, if it needs no place among the reads that fall back, or there is
    /// one. If a replica would do that is not fresh enough, the monitor is asked to make it so.
    #[inline]
    pub(crate) fn take(
        &self,
        found: Result<Route<B>, RouteError>,
        request: &Request,
        session: &SessionState,
    ) -> Result<Route<B>, RouteError> {
        match found {
            Ok(route) if !route.reason().is_fallback() => {
                self.settle(&route, session);
                Ok(route)
            }
            found => self.fall_back(found, request, session),
        }
    }

    fn fall_back(
        &self,
        found: Result<Route<B>, RouteError>,
        request: &Request,
        session: &SessionState,
    ) -> Result<Route<B>, RouteError> {
        if Self::lacks_freshness(&found, request, session) {
            self.ask_for_freshness(request, session);
        }
        if found.as_ref().is_err_and(RouteError::is_without_primary) {
            self.ask_for_primary();
        }
        let mut route = found?;
        if let Some(places) = self.places_for(&route) {
            match places.take() {
                Some(place) => route = route.taking(place),
                None => {
                    route.unsent();
                    return Err(self.fallback_refused(request, session));
                }
            }
        }
        self.settle(&route, session);
        Ok(route)
    }

    /// The places of which the work needs one, as a read that falls back. Without replicas the primary is where
    /// reads go.
    pub(crate) fn places_for(&self, route: &Route<B>) -> Option<&Places> {
        let shared = self.shared();
        let places = shared.context.places.as_ref()?;
        let has_replicas = || shared.topology.load().replicas().next().is_some();
        (route.reason().is_fallback() && has_replicas()).then_some(places)
    }

    /// How long the read waits for a replica to become fresh, rather than make do with what was found.
    fn freshness_to_wait_for(
        &self,
        found: &Result<Route<B>, RouteError>,
        request: &Request,
        session: &SessionState,
    ) -> Option<Duration> {
        /// More than a round and the usual lag within one region take.
        const MOMENT: Duration = Duration::from_millis(5);
        // Where it is so there are replicas, and so a monitor, which makes them fresher.
        if !Self::lacks_freshness(found, request, session) {
            return None;
        }
        if let Some(wait) = request.stated_wait() {
            return Some(wait).filter(|wait| !wait.is_zero());
        }
        // This one included.
        let fallbacks = session.fallbacks().saturating_add(1);
        let patient = !session.is_root() && fallbacks >= 4 && fallbacks.is_power_of_two();
        (patient && found.is_ok()).then_some(MOMENT)
    }

    /// Whether there would be another node for the read if only a replica were fresher.
    fn lacks_freshness(
        found: &Result<Route<B>, RouteError>,
        request: &Request,
        session: &SessionState,
    ) -> bool {
        match found {
            Ok(route) => route.reason() == Reason::NotFresh,
            // While the session may be writing, no replica is ever fresh enough.
            Err(refusal) => {
                request.intent() == Intent::Read
                    && refusal.is_for_freshness()
                    && !(request.stated_consistency() == Consistency::Causal
                        && session.has_open_writer())
            }
        }
    }

    /// Asks the monitor for replicas that show what the read must see.
    fn ask_for_freshness(&self, request: &Request, session: &SessionState) {
        let shared = self.shared();
        let mut wanted = match request.stated_consistency() {
            Consistency::Causal => session.needs(),
            Consistency::Eventual => Needed::VOID,
        };
        if let Some(bound) = request.promised_staleness() {
            wanted = wanted.max(shared.context.now().back(bound));
        }
        if request.stated_max_staleness().is_none() {
            wanted = wanted.max(shared.history.oldest());
        }
        shared.context.wake.ask(wanted);
    }

    /// What is found once no replica need become fresher for it.
    async fn when_fresh(
        &self,
        request: &Request,
        session: &SessionState,
    ) -> Result<Route<B>, RouteError> {
        loop {
            self.be_watched_again(request).await?;
            let mut proof = pin!(self.shared().context.wake.next_proof());
            // From here on none is missed, so the look may come now.
            proof.as_mut().enable();
            let found = self.find(request, session);
            if !Self::lacks_freshness(&found, request, session) {
                return found;
            }
            found.map(Route::unsent).ok();
            self.ask_for_freshness(request, session);
            proof.await;
        }
    }

    /// Takes what is found once it needs no place among the reads that fall back, or there is one for it.
    async fn when_placed(
        &self,
        places: &Places,
        request: &Request,
        session: &SessionState,
    ) -> Result<Route<B>, RouteError> {
        let mut place = pin!(places.wait_for_one());
        loop {
            let mut proof = pin!(self.shared().context.wake.next_proof());
            proof.as_mut().enable();
            let route = self.find(request, session)?;
            if self.places_for(&route).is_none() {
                self.settle(&route, session);
                return Ok(route);
            }
            if route.reason() == Reason::NotFresh {
                self.ask_for_freshness(request, session);
            }
            // Not held while waiting.
            route.unsent();
            let first = poll_fn(|cx| match place.as_mut().poll(cx) {
                Poll::Ready(place) => Poll::Ready(Some(place)),
                Poll::Pending => proof.as_mut().poll(cx).map(|()| None),
            });
            if let Some(place) = first.await {
                let mut route = self.find(request, session)?;
                if self.places_for(&route).is_some() {
                    route = route.taking(place);
                }
                self.settle(&route, session);
                return Ok(route);
            }
        }
    }
}
