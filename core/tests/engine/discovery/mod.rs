//! Sources of nodes, scripted and in virtual time, under the builder that all adapters share.

mod dns;
mod following;
mod lazy;
mod roles;

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbrouter::discover::{Discover, DiscoverError, DiscoverErrorKind, Endpoint, Servers};
use dbrouter::{Adapter, Builder, Cluster, ConfigError, Dialect, Role, ServerCheck};
use tokio::sync::mpsc;
use tokio::time;

use crate::world::{Server, clock, health, last};

/// An adapter whose servers are scripted, by host and port.
#[derive(Clone, Default)]
pub(crate) struct Net {
    servers: Arc<Mutex<HashMap<String, Server>>>,
    opened: Arc<Mutex<Vec<(String, Role)>>>,
}

impl Net {
    /// A primary at `primary:5432`, and standbys of it at these addresses.
    pub(crate) fn of(standbys: &[&str]) -> Self {
        let net = Self::default();
        net.put("primary:5432", Server::primary());
        for address in standbys {
            net.put(address, Server::standby_of(&net.at("primary:5432")));
        }
        net
    }

    pub(crate) fn put(&self, address: &str, server: Server) {
        let mut servers = self.servers.lock().unwrap();
        servers.insert(address.to_owned(), server);
    }

    pub(crate) fn at(&self, address: &str) -> Server {
        self.servers.lock().unwrap()[address].clone()
    }

    /// The URLs that were opened, and as what.
    pub(crate) fn opened(&self) -> Vec<(String, Role)> {
        self.opened.lock().unwrap().clone()
    }

    /// A builder without nodes, in virtual time.
    pub(crate) fn builder(&self) -> Builder<Self> {
        Builder::new(self.clone())
            .clock(clock())
            .policy(last)
            .health(health())
    }
}

impl Adapter for Net {
    type Backend = Server;
    type Handle = Cluster<Server>;
    type ConnectOptions = String;
    type Pool = Server;
    type PoolOptions = ();

    fn dialects() -> &'static [Dialect] {
        &[Dialect::Postgres]
    }

    fn parse(url: &str) -> Result<String, Box<dyn Error + Send + Sync>> {
        Ok(url.to_owned())
    }

    fn pool_options(&mut self, _: ()) {}

    fn ping_after(&mut self, _: Option<Duration>) {}

    fn open(
        &self,
        url: String,
        _: Option<&()>,
        role: Role,
        _: &ServerCheck,
        _: &str,
    ) -> Result<Server, ConfigError> {
        let (_, place) = url.split_once("://").unwrap();
        let (authority, _) = place.split_once('/').unwrap();
        let address = authority.rsplit('@').next().unwrap();
        let address = match address.contains(':') && !address.ends_with(']') {
            true => address.to_owned(),
            false => format!("{address}:5432"),
        };
        self.opened.lock().unwrap().push((url, role));
        Ok(self.at(&address))
    }

    fn adopt(&self, pool: Server, _: &str) -> Result<Server, ConfigError> {
        Ok(pool)
    }

    fn dialect(_: &Server) -> Dialect {
        Dialect::Postgres
    }

    fn handle(self, cluster: Cluster<Server>) -> Cluster<Server> {
        cluster
    }
}

/// What a source answers next.
type Told = Result<Vec<Endpoint>, DiscoverError>;

/// A source that answers what it is told to.
pub(crate) struct Script {
    answers: mpsc::UnboundedReceiver<Told>,
    asked: Arc<Mutex<Vec<time::Instant>>>,
    /// Dropped with it.
    _alive: Arc<()>,
}

/// Its other end.
pub(crate) struct Teller {
    answers: mpsc::UnboundedSender<Told>,
    asked: Arc<Mutex<Vec<time::Instant>>>,
    alive: std::sync::Weak<()>,
}

pub(crate) fn script() -> (Teller, Script) {
    let (sender, answers) = mpsc::unbounded_channel();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let alive = Arc::new(());
    let teller = Teller {
        answers: sender,
        asked: Arc::clone(&asked),
        alive: Arc::downgrade(&alive),
    };
    let script = Script {
        answers,
        asked,
        _alive: alive,
    };
    (teller, script)
}

impl Discover for Script {
    async fn next(&mut self, _: &Servers) -> Told {
        self.asked.lock().unwrap().push(time::Instant::now());
        match self.answers.recv().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

impl Teller {
    pub(crate) fn tell(&self, set: impl IntoIterator<Item = Endpoint>) {
        self.answers.send(Ok(set.into_iter().collect())).unwrap();
    }

    pub(crate) fn fail(&self) {
        let error = DiscoverError::new(DiscoverErrorKind::Unanswered, "the oracle is silent");
        self.answers.send(Err(error)).unwrap();
    }

    /// When the source was asked.
    pub(crate) fn asked(&self) -> Vec<time::Instant> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn is_followed(&self) -> bool {
        self.alive.strong_count() > 0
    }
}

/// A replica on a host.
pub(crate) fn replica(host: &str) -> Endpoint {
    Endpoint::host(host, None).role(Role::Replica)
}

pub(crate) fn names(db: &Cluster<Server>) -> Vec<String> {
    let nodes = db.nodes();
    nodes.iter().map(|node| node.name().to_string()).collect()
}
