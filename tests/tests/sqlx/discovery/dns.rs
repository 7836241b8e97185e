//! Names and their addresses: the machine's own, and those of a server of the case's.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dbrouter_sqlx::RoutedPool;
use dbrouter_sqlx::dbrouter::discover::{
    Backoff, DiscoverError, DiscoverErrorKind, Dns, Resolve, Resolved,
};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use sqlx::Postgres;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::{address, names, until_nodes};
use crate::support::{check, cluster, on_postgres, until};

pub(super) fn cases() -> Vec<Case> {
    vec![
        on_postgres("discovery::a_name_of_the_machines_own", localhost),
        on_postgres("discovery::the_addresses_of_a_name_are_followed", followed),
    ]
}

async fn localhost() -> Result<()> {
    let cluster = cluster().await?;
    let standby = cluster.node(1);
    let db = RoutedPool::<Postgres>::builder()
        .primary(cluster.primary().url())
        .discover(Dns::new("localhost", standby.port()))
        .connect()
        .await?;
    // Where the name has an IPv6 address too, nobody listens there.
    until_nodes(&db, &["primary", &address(standby)]).await?;
    until(&db, "read from", |_| {
        db.explain("select version from kv")
            .is_ok_and(|decision| *decision.node == *address(standby))
    })
    .await
}

async fn followed() -> Result<()> {
    let cluster = cluster().await?;
    let standby = cluster.node(1);
    let zone = Zone::serve(&[Ipv4Addr::LOCALHOST]).await?;
    let source = Dns::new("replicas.test.", standby.port())
        .resolver(Hickory::asking(zone.address)?)
        // Only the answers' own time to live can bring the next one in time.
        .every(Duration::from_secs(3600))
        .jitter(0.0);
    let db = RoutedPool::<Postgres>::builder()
        .primary(cluster.primary().url())
        .discover(source)
        .discover_backoff(Backoff::new().most(Duration::from_millis(100)))
        .connect()
        .await?;
    let found = address(standby);
    check(
        names(&db) == ["primary", &*found],
        format!("{:?}", names(&db)),
    )?;
    // The name is gone for a while.
    zone.set(&[]);
    until(&db, "refused an answer", |status| {
        let discovery = status.discovery.as_ref();
        discovery.is_some_and(|discovery| discovery.failures >= 2)
    })
    .await?;
    check(
        names(&db) == ["primary", &*found],
        format!("{:?}", names(&db)),
    )?;
    // A second address, at which nobody listens.
    let other = Ipv4Addr::new(127, 0, 0, 2);
    zone.set(&[other, Ipv4Addr::LOCALHOST]);
    until(&db, "told of another address", |status| {
        let discovery = status.discovery.as_ref();
        let unmet = discovery.map(|discovery| discovery.unmet.as_slice());
        unmet == Some(&[format!("{other}:{}", standby.port())])
    })
    .await?;
    until_nodes(&db, &["primary", &found]).await
}

/// A resolver that tells for how long its answers are good.
struct Hickory(TokioResolver);

impl Hickory {
    fn asking(server: SocketAddr) -> Result<Self> {
        let mut udp = ConnectionConfig::udp();
        udp.port = server.port();
        let server = NameServerConfig::new(server.ip(), true, vec![udp]);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
        let provider = TokioRuntimeProvider::default();
        let builder = TokioResolver::builder_with_config(config, provider);
        Ok(Self(builder.build()?))
    }
}

impl Resolve for Hickory {
    async fn resolve(&self, host: &str, port: u16) -> std::result::Result<Resolved, DiscoverError> {
        let found = self.0.lookup_ip(host).await.map_err(|error| {
            DiscoverError::new(DiscoverErrorKind::Unanswered, host).with_source(error)
        })?;
        let addresses = found.iter().map(|ip: IpAddr| SocketAddr::new(ip, port));
        Ok(Resolved {
            addresses: addresses.collect(),
            ttl: Some(
                found
                    .valid_until()
                    .saturating_duration_since(Instant::now()),
            ),
        })
    }
}

/// A name server that knows one name, whose addresses are good for a second.
struct Zone {
    address: SocketAddr,
    records: Arc<Mutex<Vec<Ipv4Addr>>>,
    server: JoinHandle<()>,
}

impl Zone {
    async fn serve(addresses: &[Ipv4Addr]) -> Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = socket.local_addr()?;
        let records = Arc::new(Mutex::new(addresses.to_vec()));
        let shared = Arc::clone(&records);
        let server = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let answer = answer(&query[..length], &lock(&shared).clone());
                if let Some(answer) = answer {
                    socket.send_to(&answer, from).await.ok();
                }
            }
        });
        Ok(Self {
            address,
            records,
            server,
        })
    }

    fn set(&self, addresses: &[Ipv4Addr]) {
        *lock(&self.records) = addresses.to_vec();
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The answer to a question with one name (RFC 1035, section 4): its addresses, or that there is no such name.
fn answer(query: &[u8], addresses: &[Ipv4Addr]) -> Option<Vec<u8>> {
    const HEADER: usize = 12;
    let name = query.get(HEADER..)?;
    let end = HEADER + name.iter().position(|byte| *byte == 0)? + 1;
    let question = query.get(HEADER..end + 4)?;
    let wants_ipv4 = question.ends_with(&[0, 1, 0, 1]);
    let addresses = if wants_ipv4 { addresses } else { &[] };
    let code = if addresses.is_empty() && wants_ipv4 {
        3
    } else {
        0
    };
    let count = u8::try_from(addresses.len()).ok()?;
    let mut answer = query[..2].to_vec();
    // An authoritative answer to one question.
    answer.extend([0x84, code, 0, 1, 0, count, 0, 0, 0, 0]);
    answer.extend(question);
    for address in addresses {
        // The question's name; an address; good for one second; four bytes long.
        answer.extend([0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
        answer.extend(address.octets());
    }
    Some(answer)
}
