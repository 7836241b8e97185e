//! One database server as the router sees it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::sync::futures::Notified;

use crate::clock::Instant;
use crate::context::Context;
use crate::health::{Health, Sign};
use crate::holders::Holders;
use crate::live::{Admission, Alias, Live, Replay};
use crate::observer::Peer;
use crate::request::stable_hash;
use crate::server_check::ServerCheck;
use crate::tags::Tags;
use crate::vitals::Vitals;
use crate::vocabulary::{Intent, Role};

/// Identifies a node within its router. Never used twice, even for a node that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

/// What the operator says of a node: its name, its weight, its labels.
///
/// ```
/// use dbrouter::NodeSpec;
///
/// let spec = NodeSpec::new().name("replica-eu").weight(3).tag("zone", "eu");
/// # let _ = spec;
/// ```
#[derive(Clone, Debug)]
pub struct NodeSpec {
    pub(crate) name: Option<String>,
    pub(crate) weight: u32,
    pub(crate) tags: Tags,
    /// The server's host and port, where they are known.
    pub(crate) address: Option<Address>,
}

/// A server's host and port.
pub(crate) type Address = (Arc<str>, Option<u16>);

impl NodeSpec {
    /// A node with the default name, weight and labels.
    #[must_use]
    pub fn new() -> Self {
        Self {
            name: None,
            weight: 1,
            tags: Tags::new(),
            address: None,
        }
    }

    /// The node's name in decisions, status and errors; unique within the router. Defaults to
    /// `primary`, and to `replica-1`, `replica-2`, … in the order in which replicas are given.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The name that was given, if one was.
    #[must_use]
    pub fn stated_name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The node's share of reads relative to the others', for policies that weigh. Zero means never:
    /// it is then no candidate under any policy. Defaults to 1.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Adds a label. Defaults to none.
    #[must_use]
    pub fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags = self.tags.with(key, value);
        self
    }
}

impl Default for NodeSpec {
    fn default() -> Self {
        Self::new()
    }
}

/// A node as policies see it: all that does not depend on the ORM.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) id: NodeId,
    pub(crate) name: Arc<str>,
    pub(crate) name_hash: u64,
    pub(crate) weight: u32,
    pub(crate) tags: Tags,
    pub(crate) address: Option<Address>,
    pub(crate) live: Arc<Live>,
}

impl Member {
    pub(crate) fn new(id: NodeId, name: &str, spec: &NodeSpec, live: Live) -> Self {
        Self {
            id,
            name: name.into(),
            name_hash: stable_hash(name.as_bytes()),
            weight: spec.weight,
            tags: spec.tags.clone(),
            address: spec.address.clone(),
            live: Arc::new(live),
        }
    }
}

/// Opens another pool to the same server, as is right for a role.
type Reopen<B> = Arc<dyn Fn(Role, &ServerCheck) -> Option<B> + Send + Sync>;

/// A way to one server: a backend, and how another one is opened if its role changes.
///
/// A backend alone is one, too. It is then used whatever the server's role is.
#[derive(Clone)]
pub struct Access<B> {
    backend: B,
    reopen: Option<Reopen<B>>,
    /// Which server the backend's connections lead to, if the backend asks.
    check: ServerCheck,
}

impl<B> Access<B> {
    /// Opened again by `reopen` when the server's role changes: a promoted replica's connections must no longer be
    /// read-only, a demoted primary's must be. If it returns `None`, the backend stays. It connects to nothing yet.
    pub fn reopened_by(
        backend: B,
        reopen: impl Fn(Role) -> Option<B> + Send + Sync + 'static,
    ) -> Self {
        Self::checked(backend, ServerCheck::new(), move |role, _| reopen(role))
    }

    /// As [`reopened_by`](Self::reopened_by), where the backend was opened with `check`, and each is opened with a check of
    /// its own.
    pub(crate) fn checked(
        backend: B,
        check: ServerCheck,
        reopen: impl Fn(Role, &ServerCheck) -> Option<B> + Send + Sync + 'static,
    ) -> Self {
        Self {
            backend,
            reopen: Some(Arc::new(reopen)),
            check,
        }
    }

    /// Another one, for the role and with the check.
    fn reopened(&self, role: Role, check: ServerCheck) -> Option<Self> {
        let reopen = self.reopen.clone()?;
        Some(Self {
            backend: reopen(role, &check)?,
            reopen: Some(reopen),
            check,
        })
    }

    /// The backend.
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.backend
    }
}

impl<B> From<B> for Access<B> {
    fn from(backend: B) -> Self {
        Self {
            backend,
            reopen: None,
            check: ServerCheck::new(),
        }
    }
}

impl<B: fmt::Debug> fmt::Debug for Access<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

/// Where a pool that is opened anew is to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leads {
    /// To the same server as the one before.
    Here,
    /// To whichever server the address leads to now.
    Elsewhere,
}

/// One database server as the router sees it: its name, its live state, and the ORM's way to it.
///
/// When the server's role changes the router opens another pool for it: that is another `Node` of the same
/// [identity](Self::id), with the same state. Work that is under way keeps the one that it began on.
pub struct Node<B> {
    id: NodeId,
    peer: Arc<Peer>,
    access: Access<B>,
    /// The role that its pool was opened for.
    opened_as: Role,
    pub(crate) context: Arc<Context>,
    pub(crate) live: Arc<Live>,
    /// The sessions that keep a connection of this pool between their statements.
    pub(crate) holders: Arc<Holders>,
    pub(crate) vitals: Arc<Vitals>,
    /// A connection of this pool is being opened that nobody waits for.
    pub(crate) opening: AtomicBool,
}

impl<B> Node<B> {
    /// A node whose pool was opened for a role.
    pub(crate) fn new(
        member: &Member,
        context: &Arc<Context>,
        access: Access<B>,
        opened_as: Role,
    ) -> Self {
        let peer = Arc::new(Peer {
            node: Arc::clone(&member.name),
            system: context.dialect,
            address: member.address.as_ref().map(|(host, _)| Arc::clone(host)),
            port: member.address.as_ref().and_then(|(_, port)| *port),
        });
        access.check.belongs_to(context, &peer);
        Self {
            id: member.id,
            peer,
            access,
            opened_as,
            context: Arc::clone(context),
            live: Arc::clone(&member.live),
            holders: Arc::new(Holders::new(&member.live)),
            vitals: Arc::default(),
            opening: AtomicBool::new(false),
        }
    }

    /// The same node with a pool for another role, if another one can be opened.
    pub(crate) fn reopened(&self, role: Role, leads: Leads) -> Option<Self> {
        let check = match leads {
            Leads::Here => self.access.check.again(),
            Leads::Elsewhere => ServerCheck::new(),
        };
        check.belongs_to(&self.context, &self.peer);
        Some(Self {
            id: self.id,
            peer: Arc::clone(&self.peer),
            access: self.access.reopened(role, check)?,
            opened_as: role,
            context: Arc::clone(&self.context),
            live: Arc::clone(&self.live),
            holders: Arc::new(Holders::new(&self.live)),
            vitals: Arc::clone(&self.vitals),
            opening: AtomicBool::new(false),
        })
    }

    /// Which server its pool's connections are to lead to.
    pub(crate) fn check(&self) -> &ServerCheck {
        &self.access.check
    }

    /// The role that its pool was opened for.
    pub(crate) fn opened_as(&self) -> Role {
        self.opened_as
    }

    /// Its identity within the router.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.peer.node
    }

    /// The server that it is.
    #[must_use]
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// The ORM's way to it.
    #[must_use]
    pub fn backend(&self) -> &B {
        self.access.backend()
    }

    /// Its role, as last found.
    #[must_use]
    pub fn role(&self) -> Role {
        self.live.standing().role
    }

    /// Whether it is fit for work, as last found: healthy, or on its way there.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.health().is_fit()
    }

    /// Its health, as last found.
    #[must_use]
    pub fn health(&self) -> Health {
        self.live.standing().health
    }

    /// The instant as of which it shows every acknowledged write, as last proved.
    #[must_use]
    pub fn fresh_as_of(&self) -> Instant {
        self.live.fresh_as_of()
    }

    /// Work that is under way on it.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.live.in_flight()
    }

    /// What went wrong with it last, if it is not healthy.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<str>> {
        self.vitals.last_error()
    }

    /// How much longer than nearby it takes to open a connection to it.
    pub(crate) fn distance(&self) -> Duration {
        // TCP, TLS, the login, and what is asked and set before the pool has the connection.
        const ROUND_TRIPS: u32 = 10;
        let round_trip = self.live.round_trip.estimate();
        round_trip.map_or(Duration::ZERO, |time| time.saturating_mul(ROUND_TRIPS))
    }

    /// Why its pool gave no connection, if the server answers the monitor all the same. It then gets reads only if no other
    /// node will do, until the pool has given a connection.
    #[must_use]
    pub fn pool_error(&self) -> Option<Arc<str>> {
        self.vitals.pool_error()
    }

    /// What the pool could not do says nothing any longer: another one has taken its place, or another runtime.
    pub(crate) fn forget_pool_error(&self) {
        self.vitals.set_pool_error(None, &self.live);
    }

    /// The name of another node that leads to the same server, if this one is only a second name of that server: an
    /// address given twice, or one that has moved. It is no second server then: reads go to it only where the other
    /// node may not serve them.
    #[must_use]
    pub fn same_server_as(&self) -> Option<Arc<str>> {
        self.vitals.same_as()
    }

    /// It is a second name of a server that `other` leads to, or no longer. Returns whether that is another one than
    /// before.
    pub(crate) fn set_alias(&self, alias: Alias, other: Option<&Arc<str>>) -> bool {
        let before = self.vitals.set_same_as(other.cloned());
        self.live.change(|standing| standing.alias = alias);
        before.as_ref() != other
    }

    /// Waits until the node is found unhealthy; returns at once if it is. Race it against acquiring
    /// a connection, so that nobody waits for a server that is gone.
    pub async fn lost(&self) {
        let lost = self.vitals.changes();
        tokio::pin!(lost);
        // From here on no loss is missed, so the check may come now.
        lost.as_mut().enable();
        if self.is_healthy() {
            // Not checked again: by then it may have been found, and its connections are broken.
            lost.await;
        }
    }

    /// Whether it is a replica whose replay stands still while the primary writes, as last found.
    #[inline]
    pub(crate) fn stands_still(&self) -> bool {
        self.live.standing().stands_still()
    }

    /// Replay stands still, or goes on: tells statements that wait for the node.
    pub(crate) fn set_replay(&self, replay: Replay) {
        let before = self.live.change(|standing| standing.replay = replay);
        if before.replay != replay {
            self.vitals.change();
        }
    }

    /// Waits until a read that was sent at `sent` had better go on elsewhere: the node was found not to answer, or its
    /// replay stands still and the read has waited for `limit`.
    pub(crate) async fn given_up(&self, sent: Instant, limit: Duration) {
        loop {
            let changed = self.vitals.changes();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.health() == Health::Ejected {
                return;
            }
            if !self.stands_still() {
                changed.await;
                continue;
            }
            let waited = self.context.now().since(sent);
            match limit.checked_sub(waited) {
                None | Some(Duration::ZERO) => return,
                Some(rest) => drop(tokio::time::timeout(rest, changed).await),
            }
        }
    }

    /// Waits until the monitor finds that the node does not answer; returns at once if it has. Race it against a
    /// statement that may be run again elsewhere: a server that is frozen, or that a network keeps away, closes no
    /// connection. That work has failed there is no reason, which may be one connection's.
    pub async fn ejected(&self) {
        self.until(|| self.health() == Health::Ejected).await;
    }

    /// Completes when the node is next found less fit, its pool is replaced, or it is no longer the primary.
    pub(crate) fn changes(&self) -> Notified<'_> {
        self.vitals.changes()
    }

    /// Waits until `holds` does, which is asked at first, and whenever the node is found less fit, its pool is replaced,
    /// or it is no longer the primary.
    pub(crate) async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let changed = self.vitals.changes();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if holds() {
                return;
            }
            changed.await;
        }
    }

    /// Work has waited for the node longer than it should. The monitor, if there is one, asks it at once
    /// whether it is still there, whatever the interval.
    pub fn doubt(&self) {
        self.vitals.doubt();
        self.context.wake.ring();
    }

    /// From now on no session keeps a connection of this node between its statements, and those that are kept
    /// go back to their pool. For adapters, which close a pool after that: pools wait for their connections.
    pub fn stop_holding(&self) {
        self.holders.stop();
    }

    /// Whether work waits for the node; asked before the node is.
    pub(crate) fn is_doubted(&self) -> bool {
        self.vitals.is_doubted()
    }

    /// The node is being asked.
    pub(crate) fn end_doubt(&self) {
        self.vitals.end_doubt();
    }

    /// Waits until no work is under way on the draining node, or the operator no longer drains it.
    pub(crate) async fn emptied(&self) {
        loop {
            let changed = self.vitals.emptied();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.live.is_empty() || self.admission() != Admission::Draining {
                return;
            }
            changed.await;
        }
    }

    pub(crate) fn admission(&self) -> Admission {
        self.live.standing().admission
    }

    /// Lets work onto the node, or no longer.
    pub(crate) fn admit(&self, admission: Admission) {
        self.live.change(|standing| standing.admission = admission);
        if admission != Admission::Enabled {
            self.holders.recall_all();
        }
        // And who waits for it to become fresh.
        self.context.wake.proved();
        self.vitals.empty();
    }

    /// Takes a place, unless the operator has closed the node.
    pub(crate) fn enter(&self) -> bool {
        let admitted = self.live.enter();
        if !admitted {
            self.live.uncount(Intent::Read);
            self.leave();
        }
        admitted
    }

    /// Gives a place back.
    pub(crate) fn leave(&self) {
        if self.live.leave() {
            self.vitals.empty();
        }
        self.holders.work_ended();
    }

    /// Traffic has found the node lost: answers to what it was asked before say nothing of it now.
    pub(crate) fn forget_answers(&self) {
        self.vitals.lost_at(self.context.now());
    }

    /// Whether an answer to a question of that instant still says something of the node.
    pub(crate) fn answers_since(&self, asked: Instant) -> bool {
        self.vitals.answers_since(asked)
    }

    /// Takes in what is learnt of the node, with the error if it is a bad sign. Returns its health before and after.
    pub(crate) fn take(&self, sign: Sign, error: Option<&str>) -> (Health, Health) {
        if sign != Sign::Answered {
            self.live.count_failure();
        }
        let (before, after) = self.vitals.take(sign, error, &self.live, &self.context);
        if after == Health::Ejected && before != after {
            self.context.offenders.forget();
        }
        if before.is_fit() != after.is_fit() {
            // Who waits for it to become fresh waits for others now, or for none; or may have it.
            self.context.wake.proved();
        }
        (before, after)
    }

    /// The last suspicion was not the node's fault, but a statement's.
    pub(crate) fn acquit(&self) {
        self.vitals.acquit();
    }

    /// The role that it has, by its own account.
    pub(crate) fn set_role(&self, role: Role) {
        let before = self.live.change(|standing| standing.role = role);
        if before.role != role {
            self.context.wake.proved();
        }
    }

    /// It is a healthy primary, without being asked.
    pub(crate) fn take_for_primary(&self) {
        self.set_role(Role::Primary);
        self.take(Sign::Answered, None);
    }

    /// For how long it stays ejected at least, if it is.
    pub(crate) fn ejected_for(&self) -> Option<Duration> {
        self.vitals.ejected_for(self.context.now())
    }

    /// Another pool has taken the place of this one: work that waits for this pool goes on to that one.
    pub(crate) fn replace(&self) {
        self.holders.stop();
        self.forget_pool_error();
        self.vitals.change();
    }

    /// The node is no longer the primary: work that waits for it is routed anew.
    pub(crate) fn unseat(&self) {
        self.vitals.change();
    }
}

impl<B> fmt::Debug for Node<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", self.name())
            .field("role", &self.role())
            .field("health", &self.health())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
