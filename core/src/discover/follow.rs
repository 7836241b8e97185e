//! A source of nodes: its first set, and the task that follows it.

use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::endpoint::Endpoint;
use super::nodes::{Nodes, record, sorted};
use super::opener::{Opened, Opener, Wanted};
use super::{Backoff, Servers, Sorted, Source, sort};
use crate::builder::Adapter;
use crate::cluster::{Cluster, Shared};
use crate::config::{ConfigError, ConfigErrorKind};
use crate::dialect::Dialect;
use crate::keeper::{Lasting, Then};
use crate::observer::Event;
use crate::options::NodeOptions;
use crate::settings::Start;
use crate::status::DiscoveryStatus;
use crate::url;
use crate::work::BoxFuture;

/// How long the first set may take. Sources limit their own time; this is for those that do not.
const FIRST: Duration = Duration::from_secs(30);

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
                // Told as soon as there is a router that somebody observes.
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
        cluster.follow(self.of(cluster));
    }

    /// The same, from when the router is first used. The first set comes then, too.
    pub(crate) fn follow_later(self, cluster: &Cluster<A::Backend>) {
        cluster.follow_later(self.of(cluster));
    }

    fn of(self, cluster: &Cluster<A::Backend>) -> Following<A> {
        let shared = Arc::clone(cluster.shared());
        let failed = self.first.failures > 0;
        if let Some(problem) = &self.first.last_error {
            let problem = || problem.as_str().into();
            let events = &shared.context.events;
            events.emit(|| Event::NotDiscovered { problem: problem() });
        }
        record(&shared, |status| *status = self.first);
        let (opener, configured) = (self.opener, self.configured);
        let nodes = Nodes::of(cluster, opener, configured, self.set, self.members);
        let mut backoff = self.backoff;
        let pause = match failed {
            true => backoff.failed(),
            false => Duration::ZERO,
        };
        Following {
            source: self.source,
            backoff,
            pause,
            nodes,
            shared,
        }
    }
}

/// A source that is followed.
struct Following<A: Adapter> {
    source: Box<dyn Source>,
    backoff: Backoff,
    /// Before the source is asked again.
    pause: Duration,
    nodes: Nodes<A>,
    shared: Arc<Shared<A::Backend>>,
}

impl<A: Adapter> Following<A> {
    async fn follow(&mut self) {
        let servers = Servers::of(Arc::clone(&self.shared));
        loop {
            let found = {
                let (source, pause) = (&mut self.source, self.pause);
                let next = pin!(async {
                    sleep(pause).await;
                    source.next(&servers).await
                });
                self.nodes.work_until(next).await
            };
            match found {
                Ok(set) => {
                    self.backoff.succeeded();
                    self.pause = Duration::ZERO;
                    match self.nodes.become_those_of(set).await {
                        None => record(&self.shared, DiscoveryStatus::succeeded),
                        Some(fault) => record(&self.shared, |status| {
                            status.succeeded();
                            status.last_error = Some(fault);
                        }),
                    }
                }
                Err(error) => {
                    let problem = error.in_full();
                    self.shared.context.events.emit(|| Event::NotDiscovered {
                        problem: problem.clone().into(),
                    });
                    record(&self.shared, |status| status.failed(&problem));
                    self.pause = self.backoff.failed();
                }
            }
        }
    }
}

impl<A: Adapter> Lasting for Following<A> {
    fn run(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.follow())
    }

    fn catch_up(&mut self) -> BoxFuture<'_, Result<Then, ConfigError>> {
        self.pause = Duration::ZERO;
        self.nodes.go_on_draining();
        Box::pin(ready(Ok(Then::Run)))
    }
}
