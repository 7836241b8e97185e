//! The task that follows a source of nodes: who is new is added, who is gone is drained and removed.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::{Arc, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{sleep, timeout};

use super::endpoint::Endpoint;
use super::opener::{Opened, Opener, Wanted};
use super::{Backoff, Servers, Sorted, Source, sort};
use crate::builder::Adapter;
use crate::cluster::{Cluster, Shared, WeakCluster};
use crate::config::{ConfigError, ConfigErrorKind};
use crate::dialect::Dialect;
use crate::events;
use crate::node::{Node, NodeId};
use crate::options::NodeOptions;
use crate::router::Backend;
use crate::settings::Start;
use crate::status::DiscoveryStatus;
use crate::url;

/// How long the first set may take. Sources limit their own time; this is for those that do not.
const FIRST: Duration = Duration::from_secs(30);

/// How long a node is left alone that has not said who it is.
const PATIENCE: Duration = Duration::from_secs(1);

/// A source that is not followed yet.
pub(crate) struct Follower<A: Adapter> {
    source: Box<dyn Source>,
    backoff: Backoff,
    opener: Opener<A>,
    /// Where the nodes are that the configuration itself names, which are there already.
    configured: Vec<String>,
    first: DiscoveryStatus,
    /// All nodes of the first set have been asked for their roles.
    sorted: bool,
    set: Vec<Endpoint>,
    /// The nodes of the first set, by name.
    members: Vec<(String, Endpoint)>,
}

impl<A: Adapter> Follower<A> {
    pub(crate) fn new(source: Box<dyn Source>, backoff: Backoff, opener: Opener<A>) -> Self {
        Self {
            source,
            backoff,
            opener,
            configured: Vec::new(),
            first: DiscoveryStatus::default(),
            sorted: false,
            set: Vec::new(),
            members: Vec::new(),
        }
    }

    /// Finds the primary in the first set, where nobody has named it.
    pub(crate) async fn sort(&mut self, start: Start) -> Result<Sorted<A>, ConfigError> {
        let dialect = A::dialects().first().copied();
        let servers = Servers::none(dialect.unwrap_or(Dialect::Postgres));
        let wanted = self.first(&servers).await?;
        self.sorted = true;
        for wanted in &wanted {
            self.members
                .push((wanted.name.clone(), wanted.endpoint.clone()));
        }
        let nodes = wanted.into_iter().map(|wanted| wanted.options).collect();
        let opener = &self.opener;
        let mut sorted = sort(&opener.adapter, nodes, opener.limit, start, "discover").await?;
        // One that says nothing may be a server that is there by another address. It comes when it has said more.
        let silent = sorted.silent.drain(..);
        self.first.unmet = silent
            .filter_map(|node| node.stated_name().map(str::to_owned))
            .collect();
        Ok(sorted)
    }

    /// The nodes that the configuration lists are known, the primary first.
    pub(crate) fn begin<'a>(&mut self, listed: impl Iterator<Item = &'a NodeOptions<A>>) {
        let mut listed = listed.peekable();
        if self.opener.template.is_none() {
            let primary = listed.peek().map(|primary| (*primary).clone());
            self.opener.template = primary.map(NodeOptions::into_template);
        }
        if !self.sorted {
            let addresses = listed.filter_map(|node| url::address(node.url()?));
            self.configured = addresses.collect();
        }
    }

    /// The replicas of the first set, opened. None if they were sorted already.
    pub(crate) async fn nodes(
        &mut self,
        servers: &Servers,
        present: Vec<A::Backend>,
        start: Start,
    ) -> Result<Vec<Opened<A>>, ConfigError> {
        let dialect = servers.dialect();
        if self.sorted {
            return Ok(Vec::new());
        }
        let wanted = match self.first(servers).await {
            Ok(wanted) => wanted,
            // The source may need the primary, without which the router starts all the same.
            Err(error)
                if start == Start::ReadOnly && error.kind() == ConfigErrorKind::Discovery =>
            {
                events::not_discovered(&error);
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let openings = self.opener.open(wanted, present, dialect).await;
        if let Some(error) = openings.failed.into_iter().next() {
            return Err(error);
        }
        self.first.unmet = openings.silent;
        let members = openings.opened.iter();
        self.members = members
            .map(|opened| (opened.name.clone(), opened.endpoint.clone()))
            .collect();
        Ok(openings.opened)
    }

    /// The first set.
    async fn first(&mut self, servers: &Servers) -> Result<Vec<Wanted<A>>, ConfigError> {
        let wrong = |problem| ConfigError::new(ConfigErrorKind::Discovery, "discover", problem);
        let error = match timeout(FIRST, self.source.next(servers)).await {
            Ok(Ok(set)) => {
                self.first.succeeded();
                self.set = set;
                let (wanted, faults) = sorted(&self.opener, &self.configured, &self.set);
                return match faults.into_iter().next() {
                    Some(fault) => Err(fault),
                    None => Ok(wanted.into_values().collect()),
                };
            }
            Ok(Err(error)) => {
                self.first.failed(&error.in_full());
                wrong(error.to_string()).with_optional_source(error.into_source())
            }
            Err(_) => {
                let problem = format!("the source has named no nodes within {FIRST:?}");
                self.first.failed(&problem);
                wrong(problem)
            }
        };
        Err(error)
    }

    /// Follows the source for as long as the router is there.
    pub(crate) fn follow(self, cluster: &Cluster<A::Backend>) {
        let shared = Arc::clone(cluster.shared());
        let failed = self.first.failures > 0;
        record(&shared, |status| *status = self.first);
        let mut nodes = Nodes {
            cluster: cluster.downgrade(),
            opener: self.opener,
            configured: self.configured,
            members: BTreeMap::new(),
            drains: JoinSet::new(),
            last: self.set,
            shared: Arc::clone(&shared),
        };
        for (name, endpoint) in self.members {
            nodes.joined(cluster, name, endpoint);
        }
        let mut backoff = self.backoff;
        let pause = match failed {
            true => backoff.failed(),
            false => Duration::ZERO,
        };
        cluster.follow(run(self.source, backoff, pause, nodes, shared));
    }
}

/// The nodes that a source has brought.
struct Nodes<A: Adapter> {
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

async fn run<A: Adapter>(
    mut source: Box<dyn Source>,
    mut backoff: Backoff,
    mut pause: Duration,
    mut nodes: Nodes<A>,
    shared: Arc<Shared<A::Backend>>,
) {
    let servers = Servers::of(Arc::clone(&shared));
    loop {
        let found = {
            let next = pin!(async {
                sleep(pause).await;
                source.next(&servers).await
            });
            nodes.work_until(next).await
        };
        match found {
            Ok(set) => {
                backoff.succeeded();
                pause = Duration::ZERO;
                nodes.last = set;
                match nodes.settle().await {
                    None => record(&shared, DiscoveryStatus::succeeded),
                    Some(fault) => record(&shared, |status| {
                        status.succeeded();
                        status.last_error = Some(fault);
                    }),
                }
            }
            Err(error) => {
                events::not_discovered(&error);
                record(&shared, |status| status.failed(&error.in_full()));
                pause = backoff.failed();
            }
        }
    }
}

fn record<B: Backend>(shared: &Shared<B>, change: impl FnOnce(&mut DiscoveryStatus)) {
    let mut status = shared
        .discovery
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    change(status.get_or_insert_default());
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
    /// Waits for the next set. Meanwhile drains go on and are taken note of, and those are asked again who have not said
    /// who they are.
    async fn work_until<T>(&mut self, mut next: Pin<&mut impl Future<Output = T>>) -> T {
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
        let mut failed = |problem: &ConfigError| {
            events::not_discovered(problem);
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
                    events::discovered(&opened.name);
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
                events::let_go(&name);
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
                    enabled.unwrap_or_else(|error| events::not_discovered(&error));
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
fn sorted<A: Adapter>(
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
