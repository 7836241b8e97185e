//! The addresses of a name, each a node.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use super::{Discover, DiscoverError, DiscoverErrorKind, Endpoint, Pace, Servers};

/// The addresses of a name, each a node: a headless service of Kubernetes, a name with several address records.
///
/// A name that has no address, or does not exist, is an error, and the nodes stay.
///
/// # Time to live
///
/// The operating system's resolver, which is asked by default, does not say how long its answers are good for. So they
/// are asked for at a [fixed interval](Self::every), and if the system has a cache of its own a change is seen up to
/// its time to live later. A [resolver of your own](Resolve) may say how long an answer is good for, and that is then
/// kept to. (None is built in: those that exist bring some fifty crates along.)
///
/// # Two addresses of one server
///
/// A server that has both an IPv4 and an IPv6 address is one node, at the address that answers first in the order of
/// addresses. To choose:
///
/// ```
/// use dbrouter::discover::{Dns, Endpoint};
///
/// let source = Dns::new("replicas.db.svc.cluster.local", 5432).endpoints(|address| {
///     address.is_ipv4().then(|| Endpoint::host(address.ip().to_string(), Some(address.port())))
/// });
/// # let _ = source;
/// ```
#[must_use]
pub struct Dns<R = SystemResolver> {
    host: String,
    port: u16,
    resolver: R,
    pace: Pace,
    endpoints: Arc<Endpoints>,
}

type Endpoints = dyn Fn(SocketAddr) -> Option<Endpoint> + Send + Sync;

impl Dns {
    /// The addresses of `host`, on each of which a server listens at `port`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            resolver: SystemResolver,
            pace: Pace::every(Duration::from_secs(30)),
            endpoints: Arc::new(|address: SocketAddr| {
                Some(Endpoint::host(
                    address.ip().to_string(),
                    Some(address.port()),
                ))
            }),
        }
    }
}

impl<R: Resolve> Dns<R> {
    /// Who is asked for the addresses. Defaults to the operating system, which also knows `/etc/hosts`.
    pub fn resolver<S: Resolve>(self, resolver: S) -> Dns<S> {
        Dns {
            host: self.host,
            port: self.port,
            resolver,
            pace: self.pace,
            endpoints: self.endpoints,
        }
    }

    /// How often the addresses are asked for, if the resolver does not say how long they are good for. Defaults to
    /// every 30 s, which is how long Kubernetes' answers are good for by default.
    pub fn every(mut self, interval: Duration) -> Self {
        self.pace.set_interval(interval);
        self
    }

    /// By which share of itself an interval is stretched at most, at random. Defaults to 0.1.
    pub fn jitter(mut self, share: f64) -> Self {
        self.pace = self.pace.jitter(share);
        self
    }

    /// The seed of its random numbers, for tests. Defaults to one that differs each time.
    pub fn seed(mut self, seed: u64) -> Self {
        self.pace = self.pace.seed(seed);
        self
    }

    /// What node an address is; `None` if it is none. Defaults to the address and port in the router's
    /// [template](crate::Builder::discover_template).
    ///
    /// With diesel-async this keeps the name that certificates contain:
    ///
    /// ```
    /// use dbrouter::discover::{Dns, Endpoint};
    ///
    /// let source = Dns::new("replicas.internal", 5432).endpoints(|address| {
    ///     let ip = address.ip();
    ///     let url = format!("postgres://app@replicas.internal/shop?sslmode=require&hostaddr={ip}");
    ///     Some(Endpoint::url(url).name(address.to_string()))
    /// });
    /// # let _ = source;
    /// ```
    pub fn endpoints(
        mut self,
        endpoints: impl Fn(SocketAddr) -> Option<Endpoint> + Send + Sync + 'static,
    ) -> Self {
        self.endpoints = Arc::new(endpoints);
        self
    }
}

impl<R: Resolve> Discover for Dns<R> {
    async fn next(&mut self, _: &Servers) -> Result<Vec<Endpoint>, DiscoverError> {
        self.pace.due().await;
        let resolved = self.resolver.resolve(&self.host, self.port).await?;
        // In an order of their own, because answers come in any.
        let addresses: BTreeSet<_> = resolved.addresses.into_iter().collect();
        let set: Vec<_> = addresses
            .into_iter()
            .filter_map(|address| (self.endpoints)(address))
            .collect();
        if set.is_empty() {
            let problem = format!("{:?} has no address of a node", self.host);
            return Err(DiscoverError::empty(problem));
        }
        match resolved.ttl {
            // Zero means that it may have changed by now. That is not asked all the time either.
            Some(ttl) => self.pace.rest_for(ttl.max(Duration::from_secs(1))),
            None => self.pace.rest(),
        }
        Ok(set)
    }
}

impl<R> fmt::Debug for Dns<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}

/// Knows the addresses of names.
///
/// # Contract
///
/// * All addresses of the name are in the answer, in any order.
/// * A name that has none, or is not known, is an error or an answer without addresses; both change nothing.
/// * It limits its own time.
pub trait Resolve: Send + Sync + 'static {
    /// The addresses of `host`, with `port` for those whose own is not known.
    ///
    /// # Errors
    ///
    /// If they cannot be found out.
    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = Result<Resolved, DiscoverError>> + Send;
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its addresses, with the port that each one's server listens at.
    pub addresses: Vec<SocketAddr>,
    /// How long that is good for, if it is known.
    pub ttl: Option<Duration>,
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> Result<Resolved, DiscoverError> {
        let name = host.to_owned();
        let failed = |problem: String| DiscoverError::new(DiscoverErrorKind::Unanswered, problem);
        // The system's own call blocks.
        let asked = tokio::task::spawn_blocking(move || {
            let addresses = (name.as_str(), port).to_socket_addrs()?;
            Ok::<_, std::io::Error>(addresses.collect())
        });
        match asked.await {
            Ok(Ok(addresses)) => Ok(Resolved {
                addresses,
                ttl: None,
            }),
            Ok(Err(error)) => {
                Err(failed(format!("{host:?} cannot be resolved")).with_source(error))
            }
            Err(error) => Err(failed(format!("{host:?} was not resolved")).with_source(error)),
        }
    }
}
