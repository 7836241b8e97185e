//! The engine: one router's nodes, settings and sessions, and the monitor that watches the nodes.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::timeout;

use crate::classify::{Classification, Classifier};
use crate::config::{ConfigError, ConfigErrorKind};
use crate::context::Context;
use crate::decision::{Cause, Decision, RouteError};
use crate::dialect::Dialect;
use crate::fallback::Places;
use crate::history::History;
use crate::hold::Hold;
use crate::keeper::Keeper;
use crate::live::Admission;
use crate::misjudged::Misjudged;
use crate::monitor::{CONNECTING, Monitor};
use crate::node::{Access, Leads, Node, NodeId, NodeSpec};
use crate::observer::{Decided, Event};
use crate::pipeline::Pipeline;
use crate::request::Request;
use crate::route::Route;
use crate::router::{Backend, Router};
use crate::scope::Frame;
use crate::session::SessionState;
use crate::settings::Settings;
use crate::status::{DiscoveryStatus, Fallback, FallbackPlaces, NodeStatus, Status, staleness};
use crate::topology::Topology;
use crate::vocabulary::{Intent, Role};

/// The engine that an adapter's handles share. Clones are the same router; when the last one is
/// dropped, its monitor ends.
pub struct Cluster<B: Backend>(Arc<Handle<B>>);

struct Handle<B: Backend> {
    shared: Arc<Shared<B>>,
    root: SessionState,
    monitor: Keeper,
    /// The task that follows the source of the nodes.
    discovery: Keeper,
    /// Held by the work that has these tasks run, or run again; and why the last attempt to connect failed.
    resuming: tokio::sync::Mutex<Option<Arc<ConfigError>>>,
    /// The nodes have been met.
    connected: AtomicBool,
    /// How many attempts to connect have failed.
    failures: AtomicU64,
}

/// A router that is not kept alive by this.
#[cfg(feature = "builder")]
pub(crate) struct WeakCluster<B: Backend>(std::sync::Weak<Handle<B>>);

#[cfg(feature = "builder")]
impl<B: Backend> WeakCluster<B> {
    /// The router, while anybody else has a handle of it.
    pub(crate) fn upgrade(&self) -> Option<Cluster<B>> {
        self.0.upgrade().map(Cluster)
    }
}

#[cfg(feature = "builder")]
impl<B: Backend> Clone for WeakCluster<B> {
    fn clone(&self) -> Self {
        Self(std::sync::Weak::clone(&self.0))
    }
}

/// What the handles and the monitor share. The monitor does not keep the handles alive.
pub(crate) struct Shared<B: Backend> {
    pub(crate) topology: ArcSwap<Topology<B>>,
    pub(crate) context: Arc<Context>,
    pub(crate) settings: Settings,
    pub(crate) dialect: Dialect,
    pub(crate) classifier: Arc<dyn Classifier>,
    pub(crate) history: History,
    pub(crate) misjudged: Misjudged,
    /// The nodes' pools were opened where there was no runtime.
    homeless: AtomicBool,
    /// How the source of the nodes does, if there is one.
    pub(crate) discovery: Mutex<Option<DiscoveryStatus>>,
    /// Held while the topology is replaced by a changed copy. Routes never take it.
    changing: Mutex<()>,
}

impl<B: Backend> Shared<B> {
    /// Replaces the topology by a changed copy.
    fn change<T, E>(&self, change: impl FnOnce(&mut Topology<B>) -> Result<T, E>) -> Result<T, E> {
        let _one_at_a_time: MutexGuard<'_, ()> =
            self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut topology = Topology::clone(&self.topology.load());
        let changed = change(&mut topology)?;
        self.topology.store(Arc::new(topology));
        Ok(changed)
    }

    /// A node has been promoted: it takes the writes from now on. Nothing if it has been removed.
    pub(crate) fn follow(&self, promoted: NodeId) {
        let former = Arc::clone(self.topology.load().primary());
        let replaced = self.change(|topology| {
            let mut nodes = topology.nodes.iter();
            match nodes.any(|node| node.id() == promoted) {
                true => Ok(topology.follow(promoted)),
                false => Err(()),
            }
        });
        let has_changed = replaced.is_ok() && former.id() != promoted;
        // Not before others are in their places: who waits for their connections goes on there.
        for node in replaced.into_iter().flatten() {
            node.replace();
        }
        // Its pool may have stayed: one that the application has opened is not opened again.
        if has_changed {
            former.unseat();
        }
        // One that was to be removed can no longer be, so it must not go on refusing work.
        let topology = self.topology.load();
        let node = topology.nodes.iter().find(|node| node.id() == promoted);
        if let Some(node) = node.filter(|node| node.admission() == Admission::Draining) {
            node.admit(Admission::Enabled);
        }
    }

    /// The node's address leads to another server: its pool is opened anew, so that no connection to the former one is
    /// used any longer. Work that is under way keeps its connection.
    pub(crate) fn reopen(&self, id: NodeId) {
        self.replace_pool(id, |node| (node.opened_as(), Leads::Elsewhere));
    }

    /// The node has another role than its pool was opened for: the pool is opened anew. Work that is under way keeps its
    /// connection.
    pub(crate) fn reopen_as(&self, id: NodeId, role: Role) {
        self.replace_pool(id, |_| (role, Leads::Here));
    }

    fn replace_pool(&self, id: NodeId, how: impl FnOnce(&Node<B>) -> (Role, Leads)) {
        let replaced = self.change(|topology| {
            let mut nodes = topology.nodes.iter();
            let node = nodes.find(|node| node.id() == id).ok_or(())?;
            let (role, leads) = how(node);
            topology.reopen(id, role, leads).ok_or(())
        });
        // Not before the new pool is in its place: work that waits for the old one goes on there.
        if let Ok(node) = replaced {
            node.replace();
        }
    }

    /// Opens all pools anew that were opened where there was no runtime: some of what pools do by themselves is done by
    /// tasks of the runtime that they were opened in. Only inside a Tokio runtime.
    pub(crate) fn bring_pools_home(&self) {
        if self.homeless.swap(false, Ordering::AcqRel) {
            for node in &self.topology.load().nodes {
                self.reopen_as(node.id(), node.opened_as());
            }
        }
    }

    /// Whether another node than the primary claims to be it, and neither can be preferred.
    pub(crate) fn contest(&self, contested: bool) {
        if self.topology.load().contested != contested {
            let changed: Result<(), std::convert::Infallible> = self.change(|topology| {
                topology.contested = contested;
                Ok(())
            });
            let Ok(()) = changed;
            self.context.wake.proved();
        }
    }
}

impl<B: Backend> Drop for Handle<B> {
    fn drop(&mut self) {
        self.monitor.end();
        self.discovery.end();
    }
}

impl<B: Backend> Clone for Cluster<B> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<B: Backend> Cluster<B> {
    /// Begins to configure a router for servers of one kind.
    pub fn builder(dialect: Dialect, settings: Settings) -> ClusterBuilder<B> {
        ClusterBuilder {
            dialect,
            settings,
            primary: None,
            replicas: Vec::new(),
        }
    }

    /// A router over one database that takes reads and writes alike, for development and tests. It
    /// is taken for a primary without being asked, so nothing here can fail.
    #[must_use]
    pub fn single(dialect: Dialect, settings: Settings, backend: B) -> Self {
        let context = Arc::new(settings.context(dialect, || backend.pressure()));
        let topology = Topology::single(&context, backend.into());
        Self::new(dialect, settings, context, topology)
    }

    fn new(
        dialect: Dialect,
        settings: Settings,
        context: Arc<Context>,
        topology: Topology<B>,
    ) -> Self {
        let root = SessionState::root(&context);
        let topology = ArcSwap::from_pointee(topology);
        let classifier = settings.classifier_for(dialect);
        let history = History::new(settings.max_lag());
        let shared = Shared {
            topology,
            context,
            settings,
            dialect,
            classifier,
            history,
            misjudged: Misjudged::new(dialect),
            homeless: AtomicBool::new(false),
            discovery: Mutex::new(None),
            changing: Mutex::new(()),
        };
        Self(Arc::new(Handle {
            root,
            monitor: Keeper::new(&shared.context),
            discovery: Keeper::new(&shared.context),
            resuming: tokio::sync::Mutex::new(None),
            connected: AtomicBool::new(true),
            failures: AtomicU64::new(0),
            shared: Arc::new(shared),
        }))
    }

    /// Begins a new session, independent of all others.
    #[must_use]
    pub fn session(&self) -> SessionState {
        SessionState::unit(&self.shared().context)
    }

    /// The session that a handle without one of its own uses: the ambient one inside
    /// [`with_session`](crate::with_session) or [`with_replica`](crate::scope::with_replica), otherwise the root
    /// session, which is shared by everybody.
    #[must_use]
    pub fn current_session(&self) -> SessionState {
        Frame::current(&self.shared().context, &self.0.root)
    }

    /// The session of work that begins here on a handle without one of its own. What its scopes say of it is added
    /// to the request.
    pub(crate) fn enter(&self, request: &mut Request) -> SessionState {
        Frame::enter(&self.shared().context, &self.0.root, request)
    }

    /// What the router's classifier says of a statement, unless it took the statement for a read and is known to
    /// have [misjudged](Self::misjudged) it.
    #[must_use]
    pub fn classify(&self, sql: &str) -> Classification {
        let shared = self.shared();
        let classification = shared.classifier.classify(sql);
        match classification.reason {
            Cause::Query if shared.misjudged.contains(sql) => {
                Classification::because(Cause::Refused)
            }
            _ => classification,
        }
    }

    /// A replica has refused a statement as a write that the classifier took for a read: nothing happened
    /// there, and the adapter runs it again on the primary. This is counted; the first time it is reported;
    /// and for at most [`refresh`](crate::MonitorSettings::refresh) that statement is a write, whatever its comments
    /// and literals are: then what it calls may have been mended.
    pub fn misjudged(&self, sql: &str, node: &Node<B>) {
        if self.shared().misjudged.remember(sql) {
            // Enough to find the statement by; the rest may be values.
            let statement = || sql.chars().take(200).collect::<String>().into();
            self.shared().context.events.emit(|| Event::Misjudged {
                peer: Arc::clone(node.peer()),
                statement: statement(),
            });
        }
    }

    /// The last decision made for a session; `None` for the root session, which is everybody's.
    #[must_use]
    pub fn last_decision(&self, session: &SessionState) -> Option<Decision> {
        let (id, intent, reason) = session.last_decision()?;
        let topology = self.shared().topology.load();
        let node = topology.nodes.iter().find(|node| node.id() == id)?;
        Some(Decision {
            node: Arc::clone(node.name()),
            intent,
            reason,
        })
    }

    /// The node of that name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<Arc<Node<B>>> {
        let topology = self.shared().topology.load();
        topology
            .nodes
            .iter()
            .find(|node| &**node.name() == name)
            .cloned()
    }

    /// The node that takes the writes: the one that was configured as the primary, or has been promoted since.
    #[must_use]
    pub fn primary(&self) -> Arc<Node<B>> {
        Arc::clone(self.shared().topology.load().primary())
    }

    /// All nodes, the primary first.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<Node<B>>> {
        self.shared().topology.load().nodes.clone()
    }

    /// Where a piece of work would go now, and why, if it waited for nothing. Neither the session nor the status
    /// takes notice; the policy is asked, so one that takes turns loses one.
    ///
    /// # Errors
    ///
    /// If it could go nowhere now.
    pub fn explain(
        &self,
        request: &Request,
        session: &SessionState,
    ) -> Result<Decision, RouteError> {
        let route = self.find(request, &session.copy())?;
        let decision = route.decision();
        let refused = self.places_for(&route).is_some_and(Places::are_taken);
        route.unsent();
        match refused {
            true => Err(self.fallback_refused(request, session)),
            false => Ok(decision),
        }
    }

    /// The place for a piece of work, of which nobody takes notice yet.
    #[inline]
    pub(crate) fn find(
        &self,
        request: &Request,
        session: &SessionState,
    ) -> Result<Route<B>, RouteError> {
        let topology = self.shared().topology.load();
        self.pipeline(&topology, request, session)
            .run()
            .or_else(|refusal| self.find_again(&topology, request, session, refusal))
    }

    /// Looks again where the nodes have changed since the work was refused by those of `before`. Another primary may have
    /// taken over meanwhile, of which those knew nothing, while what was proved of the replicas was void already.
    #[cold]
    fn find_again(
        &self,
        before: &Arc<Topology<B>>,
        request: &Request,
        session: &SessionState,
        mut refusal: RouteError,
    ) -> Result<Route<B>, RouteError> {
        let mut known = Arc::clone(before);
        loop {
            let now = self.shared().topology.load_full();
            if Arc::ptr_eq(&known, &now) {
                return Err(refusal);
            }
            match self.pipeline(&now, request, session).run() {
                Ok(route) => return Ok(route),
                Err(again) => refusal = again,
            }
            known = now;
        }
    }

    /// Whether work that has waited for a connection since it was routed would still be routed to this node: the node
    /// has the same pool, and takes the writes if the work is a write; if it is a read, its epoch is the same, so that
    /// what was proved when the read was routed still holds.
    pub(crate) fn leads(&self, route: &Route<B>) -> bool {
        let node = route.node();
        let topology = self.shared().topology.load();
        if !topology.nodes.iter().any(|known| Arc::ptr_eq(known, node)) {
            return false;
        }
        let is_primary = topology.primary == node.id();
        match (route.intent(), node.role()) {
            (Intent::Write, role) => is_primary && role == Role::Primary && !topology.contested,
            (Intent::Read, Role::Unknown) => false,
            (Intent::Read, role) => {
                (role == Role::Replica || is_primary) && route.epoch() == node.live.epoch()
            }
        }
    }

    #[inline]
    fn pipeline<'a>(
        &'a self,
        topology: &'a Topology<B>,
        request: &'a Request,
        session: &'a SessionState,
    ) -> Pipeline<'a, B> {
        let shared = self.shared();
        Pipeline {
            topology,
            context: &shared.context,
            settings: &shared.settings,
            history: &shared.history,
            request,
            session,
        }
    }

    /// Why no node serves the read, given that it may not fall back.
    pub(crate) fn fallback_refused(&self, request: &Request, session: &SessionState) -> RouteError {
        self.pipeline(&self.shared().topology.load(), request, session)
            .fallback_refused()
    }

    /// Takes notice of where the work goes.
    #[inline]
    pub(crate) fn settle(&self, route: &Route<B>, session: &SessionState) {
        session.decided(route.node().id(), route.intent(), route.reason());
        let reason = route.reason();
        if !session.is_root() && route.intent() == Intent::Read {
            session.count_fallback(reason);
        }
        if reason.is_fallback() {
            self.shared().context.counters.fell_back(reason);
        }
        self.shared().context.events.decided(|| Decided {
            peer: route.node().peer(),
            intent: route.intent(),
            reason,
            session: (!session.is_root()).then(|| session.id()),
        });
    }

    /// Whether reads can be held to a staleness of `bound` at most.
    pub(crate) fn check_max_staleness(&self, bound: Duration) -> Result<(), ConfigError> {
        let shared = self.shared();
        shared.settings.check_max_staleness(bound, shared.dialect)
    }

    /// A piece of work is run again on another node.
    pub fn count_failover(&self) {
        let counter = &self.shared().context.counters.failovers;
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// Adds a replica. It takes work as soon as it has said who it is; until then it is not healthy.
    ///
    /// # Errors
    ///
    /// If the name is taken, if there is no room for another node, or outside a Tokio runtime, where
    /// nothing could watch it.
    pub fn add_replica(
        &self,
        spec: &NodeSpec,
        access: impl Into<Access<B>>,
    ) -> Result<(), ConfigError> {
        inside_a_runtime()?;
        let access = access.into();
        self.change(|topology| topology.add_replica(spec, &self.shared().context, access))?;
        self.be_watched();
        self.shared().context.wake.ring();
        Ok(())
    }

    /// Removes a replica at once. Work in flight on it finishes; to wait for that, [`drain`](Self::drain)
    /// it instead.
    ///
    /// # Errors
    ///
    /// If there is no such node, if it is the primary, or if only replicas of weight zero would remain.
    pub fn remove(&self, name: &str) -> Result<(), ConfigError> {
        let node = self.change(|topology| topology.remove(name))?;
        node.admit(Admission::Draining);
        Ok(())
    }

    /// Lets no more work onto a replica, waits until what is in flight has finished, and removes it. If
    /// the future is dropped before that, the replica stays, draining.
    ///
    /// # Errors
    ///
    /// As for [`remove`](Self::remove); and if somebody enables or disables the replica meanwhile, which
    /// then stays.
    pub async fn drain(&self, name: &str) -> Result<(), ConfigError> {
        let node = self.begin_drain(name)?;
        node.emptied().await;
        self.end_drain(&node)
    }

    /// Lets no more work onto a replica that is to be removed when it is empty.
    pub(crate) fn begin_drain(&self, name: &str) -> Result<Arc<Node<B>>, ConfigError> {
        // What would be refused in the end is refused before the node is closed.
        let mut without = Topology::clone(&self.shared().topology.load());
        without.remove(name)?;
        without.check_weights()?;
        self.admit(name, Admission::Draining)
    }

    /// Removes a replica that is empty, unless it has been opened again.
    pub(crate) fn end_drain(&self, node: &Node<B>) -> Result<(), ConfigError> {
        let name = node.name();
        if node.admission() != Admission::Draining {
            let problem =
                format!("{name:?} is no longer drained: its admission was changed meanwhile");
            return Err(ConfigError::new(
                ConfigErrorKind::NotDrained,
                "node",
                problem,
            ));
        }
        self.change(|topology| {
            // Another may bear its name by now.
            match topology.nodes.iter().any(|other| other.id() == node.id()) {
                true => topology.remove(name).map(drop),
                false => Ok(()),
            }
        })
    }

    /// A handle that does not keep the router alive.
    #[cfg(feature = "builder")]
    pub(crate) fn downgrade(&self) -> WeakCluster<B> {
        WeakCluster(Arc::downgrade(&self.0))
    }

    /// Runs what follows the source of the nodes, until the last handle is dropped.
    #[cfg(feature = "builder")]
    pub(crate) fn follow(&self, source: impl crate::keeper::Lasting + 'static) {
        self.0.discovery.start(|| Box::new(source));
    }

    /// The same, from the first work on.
    #[cfg(feature = "builder")]
    pub(crate) fn follow_later(&self, source: impl crate::keeper::Lasting + 'static) {
        self.0.discovery.begin_later(Box::new(source));
    }

    /// The nodes' pools were opened where there was no runtime.
    #[cfg(feature = "builder")]
    pub(crate) fn note_homeless_pools(&self) {
        self.shared().homeless.store(true, Ordering::Release);
    }

    /// Lets no more work onto a node until it is [enabled](Self::enable) again. Work in flight on it
    /// finishes. Disabling the primary stops all writes.
    ///
    /// # Errors
    ///
    /// If there is no such node.
    pub fn disable(&self, name: &str) -> Result<(), ConfigError> {
        self.admit(name, Admission::Disabled).map(drop)
    }

    /// Lets work onto a node again that was disabled or draining.
    ///
    /// # Errors
    ///
    /// If there is no such node.
    pub fn enable(&self, name: &str) -> Result<(), ConfigError> {
        self.admit(name, Admission::Enabled).map(drop)
    }

    /// Changes a node's weight.
    ///
    /// # Errors
    ///
    /// If there is no such node, or no replica would be left with a weight above zero.
    pub fn set_weight(&self, name: &str, weight: u32) -> Result<(), ConfigError> {
        self.change(|topology| topology.set_weight(name, weight))
    }

    fn admit(&self, name: &str, admission: Admission) -> Result<Arc<Node<B>>, ConfigError> {
        let topology = self.shared().topology.load();
        let node = &topology.nodes[topology.known(name)?];
        node.admit(admission);
        Ok(Arc::clone(node))
    }

    fn change<T>(
        &self,
        change: impl FnOnce(&mut Topology<B>) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        self.shared().change(|topology| {
            let changed = change(topology)?;
            topology.check_weights()?;
            Ok(changed)
        })
    }

    /// Starts the monitor, if there is none yet. Only inside a Tokio runtime. One that is to begin with the first work does
    /// so then.
    pub(crate) fn be_watched(&self) {
        if self.0.monitor.is_left() {
            return;
        }
        self.watch(|| Monitor::of_connected(Arc::clone(self.shared())));
    }

    fn watch(&self, monitor: impl FnOnce() -> Monitor<B>) {
        self.shared().context.wake.watch();
        self.0.monitor.start(|| Box::new(monitor()));
    }

    /// If the runtime has ended in which the nodes were watched, or they have not been met yet, they are watched in this
    /// one from now on, and have all been asked before this returns.
    ///
    /// It is an error for this work if they are to be met for the first time, and that fails as
    /// [`connect`](ClusterBuilder::connect) would.
    #[inline]
    pub(crate) async fn be_watched_again(&self, request: &Request) -> Result<(), RouteError> {
        if self.shared().context.wake.is_left() {
            // On the heap, as what is seldom done.
            let resumed = Box::pin(self.resume()).await;
            return resumed.map_err(|error| RouteError::not_connected(request.intent(), error));
        }
        Ok(())
    }

    async fn resume(&self) -> Result<(), Arc<ConfigError>> {
        /// More questions one after the other than that takes.
        const QUESTIONS: u32 = 6;
        let connected = || self.0.connected.load(Ordering::Acquire);
        if let Err(error) = inside_a_runtime() {
            return match connected() {
                true => Ok(()),
                false => Err(Arc::new(error)),
            };
        }
        let failures = || self.0.failures.load(Ordering::Acquire);
        let before = failures();
        let patience = self.shared().settings.monitor.timeout;
        let mut limit = patience.saturating_mul(QUESTIONS);
        if !connected() {
            limit = limit.saturating_add(CONNECTING);
        }
        let turn = timeout(limit, self.0.resuming.lock());
        let Ok(mut last_failure) = turn.await else {
            if connected() {
                return Ok(());
            }
            let problem = format!("other work has been connecting to it for {limit:?}");
            let field = format!("{}.url", self.primary().name());
            let error = ConfigError::new(ConfigErrorKind::Unreachable, field, problem);
            return Err(Arc::new(error));
        };
        if let Some(error) = &*last_failure
            && failures() != before
        {
            // It was tried while this work waited. The next work tries again.
            return Err(Arc::clone(error));
        }
        if let Err(error) = self.0.monitor.resume().await {
            let error = Arc::new(error);
            *last_failure = Some(Arc::clone(&error));
            self.0.failures.fetch_add(1, Ordering::AcqRel);
            return Err(error);
        }
        self.0.discovery.resume().await?;
        self.0.connected.store(true, Ordering::Release);
        *last_failure = None;
        let wake = &self.shared().context.wake;
        wake.end_leave();
        if self.0.monitor.is_left() || self.0.discovery.is_left() {
            // This runtime ends, too.
            wake.leave();
        }
        Ok(())
    }

    /// The kind of server that the nodes are.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.shared().dialect
    }

    /// For how long sessions keep their connection that do not say so themselves.
    pub(crate) fn hold(&self) -> Hold {
        self.shared().settings.hold
    }

    /// How long a read waits for a connection of one of several nodes.
    pub(crate) fn acquire_limit(&self) -> Duration {
        self.shared().settings.acquire_limit
    }

    /// How long a read without a row stays on a replica whose replay stands still.
    pub(crate) fn standstill_limit(&self) -> Duration {
        self.shared().settings.standstill_limit
    }

    /// On how many nodes a read may have failed to be tried on another.
    pub(crate) fn retries(&self) -> usize {
        // No router has so many nodes that this could matter.
        usize::try_from(self.shared().settings.retries).unwrap_or(usize::MAX)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared<B>> {
        &self.0.shared
    }
}

impl<B: Backend> Router for Cluster<B> {
    type Backend = B;

    fn route(&self, request: &Request, session: &SessionState) -> Result<Route<B>, RouteError> {
        let found = self.find(request, session);
        self.take(found, request, session)
    }

    fn status(&self) -> Status {
        let shared = self.shared();
        let now = shared.context.now();
        let topology = shared.topology.load();
        let nodes = topology
            .members
            .iter()
            .zip(&topology.nodes)
            .map(|(member, node)| {
                let standing = node.live.standing();
                let (reads, writes, failures) = node.live.counts();
                NodeStatus {
                    name: node.name().as_ref().to_owned(),
                    role: standing.role,
                    healthy: standing.health.is_fit(),
                    health: standing.health,
                    admission: standing.admission,
                    weight: member.weight,
                    tags: member.tags.clone(),
                    staleness: staleness(standing.role, node.fresh_as_of(), now),
                    latency: node.live.expected_latency(now),
                    round_trip: node.live.round_trip.estimate(),
                    in_flight: node.in_flight(),
                    reads,
                    writes,
                    failures,
                    pressure: node.backend().pressure(),
                    last_error: node.last_error().map(|error| error.as_ref().to_owned()),
                    pool_error: node.pool_error().map(|error| error.as_ref().to_owned()),
                    same_server_as: node.same_server_as().map(|name| name.as_ref().to_owned()),
                }
            });
        let counters = &shared.context.counters;
        let count = |counter: &std::sync::atomic::AtomicU64| {
            counter.load(std::sync::atomic::Ordering::Relaxed)
        };
        Status {
            nodes: nodes.collect(),
            contested: topology.contested,
            fallbacks: counters
                .fallbacks()
                .map(|(reason, count)| Fallback { reason, count })
                .collect(),
            fallback_places: shared.context.places.as_ref().map(|places| FallbackPlaces {
                taken: places.taken(),
                most: places.most(),
            }),
            failovers: count(&counters.failovers),
            misjudged: shared.misjudged.count(),
            policy_out_of_range: count(&counters.policy_out_of_range),
            monitor_rounds: count(&counters.rounds),
            unwatched: shared.context.wake.is_left(),
            dropped_events: shared.context.events.dropped(),
            discovery: shared
                .discovery
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }
}

impl<B: Backend> fmt::Debug for Cluster<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("dialect", &self.shared().dialect)
            .field("settings", &self.shared().settings)
            .field("nodes", &self.nodes())
            .finish()
    }
}

/// Configures a [`Cluster`]. Adapters have builders of their own over this one.
#[must_use = "a builder does nothing until `connect` is called"]
pub struct ClusterBuilder<B> {
    dialect: Dialect,
    settings: Settings,
    primary: Option<(NodeSpec, Access<B>)>,
    replicas: Vec<(NodeSpec, Access<B>)>,
}

impl<B: Backend> ClusterBuilder<B> {
    /// The node that takes the writes.
    pub fn primary(mut self, spec: NodeSpec, access: impl Into<Access<B>>) -> Self {
        self.primary = Some((spec, access.into()));
        self
    }

    /// A node that takes reads.
    pub fn replica(mut self, spec: NodeSpec, access: impl Into<Access<B>>) -> Self {
        self.replicas.push((spec, access.into()));
        self
    }

    /// Meets all nodes, and begins to watch them if there is a replica.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the configuration, by its kind: see [`ConfigErrorKind`]. A replica that
    /// cannot be reached is no error: it is not healthy yet.
    pub async fn connect(self) -> Result<Cluster<B>, ConfigError> {
        inside_a_runtime()?;
        let cluster = self.prepare()?;
        let mut monitor = Monitor::new(Arc::clone(cluster.shared()));
        monitor.attach().await?;
        if monitor.has_work() {
            cluster.watch(|| monitor);
        }
        Ok(cluster)
    }

    /// A router whose nodes are met when it is first used, by the first work in whichever runtime. Nothing is connected
    /// to, and no runtime need be there yet.
    ///
    /// * The first work meets all nodes as [`connect`](Self::connect) does, and is then routed. Other work that begins
    ///   meanwhile waits for that.
    /// * That takes as long as `connect` takes, and at most as long: the monitor's
    ///   [timeout](crate::MonitorSettings::timeout) for each of a few questions one after the other, and up to 10 s for a
    ///   connection that is being opened.
    /// * If `connect` would have failed, the work fails with a [`RouteError`] whose
    ///   [`connect_error`](RouteError::connect_error) is that error, and so does the work that has waited. The next work
    ///   tries again.
    /// * [`Router::route`], which cannot wait, refuses all work before.
    /// * Before the first work [`Status::unwatched`] is true, and of all nodes the role is unknown and the health new.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration and can be known without a server.
    pub fn connect_lazy(self) -> Result<Cluster<B>, ConfigError> {
        let cluster = self.prepare()?;
        cluster.0.connected.store(false, Ordering::Release);
        let monitor = Monitor::new(Arc::clone(cluster.shared()));
        cluster.0.monitor.begin_later(Box::new(monitor));
        Ok(cluster)
    }

    /// A router over the primary alone, which is taken for one without being asked: as [`Cluster::single`], with a name and
    /// labels. Needs no runtime.
    ///
    /// # Errors
    ///
    /// What is wrong with the configuration, and that there are replicas.
    pub fn single(self) -> Result<Cluster<B>, ConfigError> {
        if let Some((spec, _)) = self.replicas.first() {
            let field = spec.stated_name().unwrap_or("replica-1");
            let problem =
                "is a replica, and a single node has none; leave it out, or end with `connect`";
            return Err(ConfigError::new(ConfigErrorKind::Primary, field, problem));
        }
        let cluster = self.prepare()?;
        let topology = cluster.shared().topology.load();
        topology.primary().take_for_primary();
        drop(topology);
        Ok(cluster)
    }

    /// The router, before its nodes have been met.
    fn prepare(self) -> Result<Cluster<B>, ConfigError> {
        self.settings.check(self.dialect)?;
        let (spec, access) = self.primary.ok_or_else(ConfigError::no_primary)?;
        if let Some(limit) = &self.settings.fallback_limit {
            limit.check(access.backend().pressure())?;
        }
        let pressure = || access.backend().pressure();
        let context = Arc::new(self.settings.context(self.dialect, pressure));
        let mut topology = Topology::new(&spec, &context, access)?;
        for (spec, access) in self.replicas {
            topology.add_replica(&spec, &context, access)?;
        }
        topology.check_weights()?;
        Ok(Cluster::new(self.dialect, self.settings, context, topology))
    }
}

/// An error outside of a Tokio runtime, where nothing could watch the nodes.
pub(crate) fn inside_a_runtime() -> Result<(), ConfigError> {
    match tokio::runtime::Handle::try_current() {
        Ok(_) => Ok(()),
        Err(_) => {
            let problem =
                "there is no Tokio runtime here, which would watch the nodes; call this inside one";
            let kind = ConfigErrorKind::Runtime;
            Err(ConfigError::new(kind, "runtime", problem))
        }
    }
}

impl<B> fmt::Debug for ClusterBuilder<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterBuilder")
            .field("dialect", &self.dialect)
            .field("settings", &self.settings)
            .field("primary", &self.primary.as_ref().map(|(spec, _)| spec))
            .field(
                "replicas",
                &self
                    .replicas
                    .iter()
                    .map(|(spec, _)| spec)
                    .collect::<Vec<_>>(),
            )
            .finish()
    }
}
