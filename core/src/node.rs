//! One database server as the router sees it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use crate::clock::Instant;
use crate::context::Context;
use crate::holders::Holders;
use crate::live::{Admission, Live};
use crate::request::stable_hash;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::tags::Tags;
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
}

impl NodeSpec {
    /// A node with the default name, weight and labels.
    #[must_use]
    pub fn new() -> Self {
        Self {
            name: None,
            weight: 1,
            tags: Tags::new(),
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
            live: Arc::new(live),
        }
    }
}

/// One database server as the router sees it: its name, its live state, and the ORM's way to it.
pub struct Node<B> {
    id: NodeId,
    name: Arc<str>,
    backend: B,
    pub(crate) context: Arc<Context>,
    pub(crate) live: Arc<Live>,
    /// The sessions that keep a connection of it between their statements.
    pub(crate) holders: Arc<Holders>,
    lost: Notify,
    /// When traffic last found it lost.
    lost_at: AtomicU64,
    doubted: AtomicU32,
    idle: Notify,
    last_error: Mutex<Option<Arc<str>>>,
}

impl<B> Node<B> {
    pub(crate) fn new(member: &Member, context: &Arc<Context>, backend: B) -> Self {
        Self {
            id: member.id,
            name: Arc::clone(&member.name),
            backend,
            context: Arc::clone(context),
            live: Arc::clone(&member.live),
            holders: Arc::new(Holders::new(&member.live)),
            lost: Notify::new(),
            lost_at: AtomicU64::new(0),
            doubted: AtomicU32::new(0),
            idle: Notify::new(),
            last_error: Mutex::new(None),
        }
    }

    /// Its identity within the router.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The ORM's way to it.
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.backend
    }

    /// Its role, as last found.
    #[must_use]
    pub fn role(&self) -> Role {
        self.live.standing().role
    }

    /// Whether it answers, as last found.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.live.standing().healthy
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
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until the node is found unhealthy; returns at once if it is. Race it against acquiring
    /// a connection, so that nobody waits for a server that is gone.
    pub async fn lost(&self) {
        let lost = self.lost.notified();
        tokio::pin!(lost);
        // From here on no loss is missed, so the check may come now.
        lost.as_mut().enable();
        if self.is_healthy() {
            // Not checked again: by then it may have been found, and its connections are broken.
            lost.await;
        }
    }

    /// Work has waited for the node longer than it should. The monitor, if there is one, asks it at once
    /// whether it is still there, whatever the interval.
    pub fn doubt(&self) {
        self.doubted.store(1, Ordering::Release);
        self.context.wake.ring();
    }

    /// From now on no session keeps a connection of this node between its statements, and those that are kept
    /// go back to their pool. For adapters, which close a pool after that: pools wait for their connections.
    pub fn stop_holding(&self) {
        self.holders.stop();
    }

    /// Whether work waits for the node; asked before the node is.
    pub(crate) fn is_doubted(&self) -> bool {
        self.doubted.load(Ordering::Acquire) == 1
    }

    /// The node is being asked.
    pub(crate) fn end_doubt(&self) {
        self.doubted.store(0, Ordering::Release);
    }

    /// Waits until no work is under way on the draining node, or the operator no longer drains it.
    pub(crate) async fn emptied(&self) {
        loop {
            let changed = self.idle.notified();
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
        self.idle.notify_waiters();
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
            self.idle.notify_waiters();
        }
    }

    /// Traffic has found the node lost: answers to what it was asked before say nothing of it now.
    pub(crate) fn forget_answers(&self) {
        let now = self.context.now().as_nanos();
        self.lost_at.fetch_max(now, Ordering::AcqRel);
    }

    /// Whether an answer to a question of that instant still says something of the node.
    pub(crate) fn answers_since(&self, asked: Instant) -> bool {
        asked.as_nanos() >= self.lost_at.load(Ordering::Acquire)
    }

    /// The node does not answer. Returns whether that is news.
    pub(crate) fn mark_lost(&self, error: &str) -> bool {
        self.live.count_failure();
        self.remember(Some(error));
        let before = self.live.change(|standing| standing.healthy = false);
        if before.healthy {
            self.lost.notify_waiters();
            // Who waits for it to become fresh waits for others now, or for none.
            self.context.wake.proved();
        }
        before.healthy
    }

    /// The node answers. Returns whether that is news.
    pub(crate) fn mark_found(&self, role: Role) -> bool {
        let before = self.live.change(|standing| {
            standing.healthy = true;
            standing.role = role;
        });
        if !before.healthy {
            self.remember(None);
        }
        !before.healthy
    }

    fn remember(&self, error: Option<&str>) {
        let mut last = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last = error.map(Into::into);
    }
}

impl<B> fmt::Debug for Node<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.name)
            .field("role", &self.role())
            .field("healthy", &self.is_healthy())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}
