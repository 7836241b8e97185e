//! The nodes that a source has brought, and how they become those of another set.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use super::endpoint::Endpoint;
use super::opener::{Opener, Wanted};
use crate::builder::Adapter;
use crate::cluster::{Cluster, Shared, WeakCluster};
use crate::config::{ConfigError, ConfigErrorKind};
use crate::node::{Node, NodeId};
use crate::observer::Event;
use crate::router::Backend;
use crate::status::DiscoveryStatus;

/// How long a node is left alone that has not said who it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// The nodes that a source has brought.
pub(super) struct Nodes<A: Adapter> {
    cluster: WeakCluster<A::Backend>,
    opener: Opener<A>,
    configured: Vec<String>,
    members: BTreeMap<String, Member>,
    drains: JoinSet<Drained>,
    /// The set as it was last.
    last: Vec<Endpoint>,
    shared: Arc<Shared<A::Backend>>,
}

/// One of them.
struct Member {
    id: NodeId,
    endpoint: Endpoint,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    There,
    Leaving,
}

/// How a drain ended; `None` if the router is gone.
struct Drained {
    id: NodeId,
    name: Arc<str>,
    end: Option<Result<(), ConfigError>>,
}

pub(super) fn record<B: Backend>(shared: &Shared<B>, change: impl FnOnce(&mut DiscoveryStatus)) {
    let mut status = shared
        .discovery
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    change(status.get_or_insert_default());
}

/// Tells what is wrong with a set.
fn not_discovered<B: Backend>(shared: &Shared<B>, problem: &ConfigError) {
    shared.context.events.emit(|| Event::NotDiscovered {
        problem: problem.to_string().into(),
    });
}

/// The names of those that have not said who they are.
fn unmet<B: Backend>(shared: &Shared<B>) -> Vec<String> {
    let status = shared
        .discovery
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    status
        .as_ref()
        .map(|status| status.unmet.clone())
        .unwrap_or_default()
}

impl<A: Adapter> Nodes<A> {
    /// The nodes of the first set, which the router has already.
    pub(super) fn of(
        cluster: &Cluster<A::Backend>,
        opener: Opener<A>,
        configured: Vec<String>,
        set: Vec<Endpoint>,
        members: Vec<(String, Endpoint)>,
    ) -> Self {
        let mut nodes = Self {
            cluster: cluster.downgrade(),
            opener,
            configured,
            members: BTreeMap::new(),
            drains: JoinSet::new(),
            last: set,
            shared: Arc::clone(cluster.shared()),
        };
        for (name, endpoint) in members {
            nodes.joined(cluster, name, endpoint);
        }
        nodes
    }

    /// There is another set. Returns what is wrong with it.
    pub(super) async fn become_those_of(&mut self, set: Vec<Endpoint>) -> Option<String> {
        self.last = set;
        self.settle().await
    }

    /// Waits for the next set. Meanwhile drains go on and are taken note of, and those are asked again who have not said
    /// who they are.
    pub(super) async fn work_until<T>(&mut self, mut next: Pin<&mut impl Future<Output = T>>) -> T {
        enum Step<T> {
            Next(T),
            Drained(Result<Drained, JoinError>),
            AskAgain,
        }
        loop {
            let silent = !unmet(&self.shared).is_empty();
            let mut patience = pin!(sleep(PATIENCE));
            let step = poll_fn(|cx| {
                if let Poll::Ready(Some(drained)) = self.drains.poll_join_next(cx) {
                    return Poll::Ready(Step::Drained(drained));
                }
                if silent && patience.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Step::AskAgain);
                }
                next.as_mut().poll(cx).map(Step::Next)
            });
            match step.await {
                Step::Next(found) => return found,
                Step::AskAgain => {
                    self.settle().await;
                }
                Step::Drained(Ok(drained)) => {
                    if self.left(drained) {
                        self.settle().await;
                    }
                }
                // It was aborted with this task, or panicked on the way; the next set tries again.
                Step::Drained(Err(_)) => {}
            }
        }
    }

    /// Makes the router's nodes those of the last set. Returns what is wrong with it.
    async fn settle(&mut self) -> Option<String> {
        let (wanted, faults) = sorted(&self.opener, &self.configured, &self.last);
        let mut fault = None;
        let shared = Arc::clone(&self.shared);
        let mut failed = |problem: &ConfigError| {
            not_discovered(&shared, problem);
            fault.get_or_insert_with(|| problem.to_string());
        };
        faults.iter().for_each(&mut failed);
        let (new, present, dialect) = {
            let cluster = self.cluster.upgrade()?;
            let new = self.new_ones(&cluster, &wanted, &mut failed);
            // Of a set that is not understood in full it is not known who is missing.
            if faults.is_empty() {
                self.let_go(&cluster, |name| wanted.contains_key(name), &mut failed);
            }
            let present = cluster
                .nodes()
                .iter()
                .map(|node| node.backend().clone())
                .collect();
            (new, present, cluster.dialect())
        };
        let new = wanted
            .into_iter()
            .filter_map(|(name, wanted)| new.contains(&name).then_some(wanted));
        let openings = self.opener.open(new.collect(), present, dialect).await;
        openings.failed.iter().for_each(&mut failed);
        let cluster = self.cluster.upgrade()?;
        for opened in openings.opened {
            match cluster.add_replica(&opened.spec, opened.access) {
                Ok(()) => {
                    let node = || Arc::from(&*opened.name);
                    let events = &self.shared.context.events;
                    events.emit(|| Event::Discovered { node: node() });
                    self.joined(&cluster, opened.name, opened.endpoint);
                }
                Err(problem) => failed(&problem),
            }
        }
        record(&self.shared, |status| status.unmet = openings.silent);
        fault
    }

    /// Brings those up to date that are there already, and returns the names of the others.
    fn new_ones(
        &mut self,
        cluster: &Cluster<A::Backend>,
        wanted: &BTreeMap<String, Wanted<A>>,
        failed: &mut impl FnMut(&ConfigError),
    ) -> Vec<String> {
        let mut new = Vec::new();
        for (name, wanted) in wanted {
            let node = cluster.node(name);
            let Some(member) = self.members.get_mut(name) else {
                new.push(name.clone());
                continue;
            };
            if node.is_none_or(|node| node.id() != member.id) {
                // Removed, but not by us.
                self.members.remove(name);
                new.push(name.clone());
                continue;
            }
            if !member.endpoint.is_still(&wanted.endpoint) {
                // When it is gone, it comes as another.
                self.drain(cluster, name, failed);
                continue;
            }
            if member.state == State::Leaving {
                member.state = State::There;
                cluster.enable(name).unwrap_or_else(|error| failed(&error));
            }
            let (before, now) = (&member.endpoint, &wanted.endpoint);
            if before.weight != now.weight {
                let weight = self.opener.weight(now);
                let changed = cluster.set_weight(name, weight);
                changed.unwrap_or_else(|error| failed(&error));
            }
            member.endpoint = wanted.endpoint.clone();
        }
        new
    }

    /// Drains those who are wanted no longer.
    fn let_go(
        &mut self,
        cluster: &Cluster<A::Backend>,
        is_wanted: impl Fn(&str) -> bool,
        failed: &mut impl FnMut(&ConfigError),
    ) {
        let gone: Vec<_> = self
            .members
            .keys()
            .filter(|name| !is_wanted(name))
            .cloned()
            .collect();
        for name in gone {
            self.drain(cluster, &name, failed);
        }
    }

    /// Drains a node, unless that goes on already, or it is the primary.
    fn drain(
        &mut self,
        cluster: &Cluster<A::Backend>,
        name: &str,
        failed: &mut impl FnMut(&ConfigError),
    ) {
        let Some(member) = self.members.get_mut(name) else {
            return;
        };
        let is_primary = cluster.primary().id() == member.id;
        if member.state == State::Leaving || is_primary {
            return;
        }
        match cluster.begin_drain(name) {
            Ok(node) => {
                member.state = State::Leaving;
                self.drains.spawn(drained(self.cluster.clone(), node));
            }
            Err(error) if error.kind() == ConfigErrorKind::UnknownNode => {
                self.members.remove(name);
            }
            Err(error) => failed(&error),
        }
    }

    /// Waits again for what was draining when the task ended that waited for it.
    pub(super) fn go_on_draining(&mut self) {
        self.drains = JoinSet::new();
        let Some(cluster) = self.cluster.upgrade() else {
            return;
        };
        for (name, member) in &self.members {
            if member.state == State::Leaving
                && let Some(node) = cluster.node(name)
            {
                self.drains.spawn(drained(self.cluster.clone(), node));
            }
        }
    }

    /// A drain has ended. Returns whether the node is to come back as another.
    fn left(&mut self, drained: Drained) -> bool {
        let Drained { id, name, end } = drained;
        let (Some(end), Some(cluster)) = (end, self.cluster.upgrade()) else {
            return false;
        };
        let Some(member) = self.members.get_mut(&*name) else {
            return false;
        };
        if member.id != id {
            return false;
        }
        match end {
            Ok(()) => {
                self.members.remove(&*name);
                let events = &self.shared.context.events;
                events.emit(|| Event::LetGo {
                    node: Arc::clone(&name),
                });
                let names = self
                    .last
                    .iter()
                    .map(|endpoint| self.opener.wanted(endpoint));
                names.flatten().any(|wanted| *wanted.name == *name)
            }
            Err(error) => {
                // It was opened again meanwhile, which is right; or it cannot go, because it is the primary by now,
                // or the last with a weight. Then it must work.
                member.state = State::There;
                if error.kind() != ConfigErrorKind::NotDrained {
                    let enabled = cluster.enable(&name);
                    enabled.unwrap_or_else(|error| not_discovered(&self.shared, &error));
                }
                false
            }
        }
    }

    /// The router has this node.
    fn joined(&mut self, cluster: &Cluster<A::Backend>, name: String, endpoint: Endpoint) {
        // If it is gone again by now, it is new in the next set.
        if let Some(node) = cluster.node(&name) {
            let member = Member {
                id: node.id(),
                endpoint,
                state: State::There,
            };
            self.members.insert(name, member);
        }
    }
}

/// Waits until a draining node is empty, and removes it.
async fn drained<B: Backend>(cluster: WeakCluster<B>, node: Arc<Node<B>>) -> Drained {
    node.emptied().await;
    let end = cluster.upgrade().map(|cluster| cluster.end_drain(&node));
    Drained {
        id: node.id(),
        name: Arc::clone(node.name()),
        end,
    }
}

/// The nodes of a set by name, without those that the configuration names, and what is wrong with the others.
pub(super) fn sorted<A: Adapter>(
    opener: &Opener<A>,
    configured: &[String],
    set: &[Endpoint],
) -> (BTreeMap<String, Wanted<A>>, Vec<ConfigError>) {
    let mut wanted: BTreeMap<String, Wanted<A>> = BTreeMap::new();
    let mut faults = Vec::new();
    for endpoint in set {
        match opener.wanted(endpoint) {
            Ok(new) if new.is_at_one_of(configured) => {}
            Ok(new) => match wanted.get(&new.name) {
                Some(same) if same.endpoint != new.endpoint => {
                    let problem = format!("the set has two nodes that are called {:?}", new.name);
                    let kind = ConfigErrorKind::Name;
                    faults.push(ConfigError::new(kind, "discover", problem));
                }
                Some(_) => {}
                None => {
                    wanted.insert(new.name.clone(), new);
                }
            },
            Err(fault) => faults.push(fault),
        }
    }
    (wanted, faults)
}
