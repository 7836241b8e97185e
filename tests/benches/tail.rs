//! What one bad replica of three does to the others' work, under each policy.
//!
//! ```text
//! cargo bench -p dbrouter-tests --bench tail              # all policies
//! cargo bench -p dbrouter-tests --bench tail -- PeakEwma  # one
//! ```
//!
//! A primary and three standbys behind proxies, on one machine. Requests come at a steady rate, whatever becomes of
//! those before them, and each is a session of a few reads or a single read of the root handle's. The time of a read
//! counts from when it was due, so that waiting counts as well.

use std::sync::Arc;
use std::time::Duration;

use dbrouter_sqlx::dbrouter::Policy;
use dbrouter_sqlx::dbrouter::policy::{
    LeastInFlight, Nearest, PeakEwma, PowerOfTwo, Random, RoundRobin, Sticky,
};
use dbrouter_sqlx::{NodeOptions, PoolOptions, RoutedPool};
use dbrouter_tests::Result;
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::proxy::{Mode, Proxy};
use sqlx::{Executor, Postgres};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

const READS: usize = 10_000;
const A_SECOND: u32 = 2000;
const SLOWED_BY: Duration = Duration::from_millis(50);
const READ: &str = "select version from kv where id = 1";

/// What a request does.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// One read on the root handle.
    Root,
    /// A session of so many reads, one after the other.
    Session(usize),
}

/// How a policy is made, and what it is called.
type Named = (&'static str, fn() -> Arc<dyn Policy>);

const POLICIES: [Named; 6] = [
    ("RoundRobin", || Arc::new(RoundRobin::new())),
    ("Random", || Arc::new(Random::seeded(1))),
    ("LeastInFlight", || Arc::new(LeastInFlight::new())),
    ("PowerOfTwo", || Arc::new(PowerOfTwo::seeded(1))),
    ("PeakEwma", || Arc::new(PeakEwma::seeded(1))),
    ("Nearest", || Arc::new(Nearest::new().seeded(1))),
];

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let cluster = Cluster::start(3).await?;
    let mut app = cluster.primary().connect().await?;
    let table = "create table kv (id int primary key, version bigint not null); \
                 insert into kv values (1, 0)";
    app.execute(sqlx::raw_sql(table)).await?;
    cluster.wait_caught_up().await?;
    let mut proxies = Vec::new();
    for standby in cluster.standbys() {
        proxies.push(Proxy::in_front_of(standby.port()).await?);
    }
    let last = &proxies[2];
    // Cargo adds `--bench`.
    let wanted: Vec<_> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    for shape in [Shape::Root, Shape::Session(4)] {
        let what = match shape {
            Shape::Root => "single reads of the root handle".to_owned(),
            Shape::Session(reads) => format!("sessions of {reads} reads, Sticky over the policy"),
        };
        println!("\n{READS} reads at {A_SECOND} a second, {what}");
        println!(
            "{:14} {:28} {:>7} {:>7} {:>7} {:>7}  {:24} {:>6}",
            "policy", "replica-3", "p50 ms", "p99", "p99.9", "most", "reads on each", "failed"
        );
        for (name, policy) in POLICIES {
            if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
                continue;
            }
            for (fault, mode) in [
                ("well", Mode::Pass),
                ("50 ms slower", Mode::Delay(SLOWED_BY)),
                ("resets its connections", Mode::Reset),
            ] {
                last.set(Mode::Pass);
                let db = connect(&cluster, &proxies, shape, policy()).await?;
                load(&db, shape, 2000).await;
                last.set(mode);
                // Nobody is told; but the first that notice are not counted, but for a fault that is new each time.
                let before = db.status();
                let run = load(&db, shape, READS).await;
                let status = db.status();
                let reads = |name: &str| {
                    let of = |status: &dbrouter_sqlx::dbrouter::Status| {
                        status.node(name).map_or(0, |node| node.reads)
                    };
                    of(&status) - of(&before)
                };
                let shares = ["replica-1", "replica-2", "replica-3", "primary"].map(reads);
                run.print(name, fault, shares);
            }
        }
    }
    Ok(())
}

async fn connect(
    cluster: &Cluster,
    proxies: &[Proxy],
    shape: Shape,
    policy: Arc<dyn Policy>,
) -> Result<RoutedPool<Postgres>> {
    let mut builder = RoutedPool::<Postgres>::builder()
        .primary(cluster.primary().url())
        .pool_options(PoolOptions::new().max_connections(40).min_connections(8));
    for (standby, proxy) in cluster.standbys().iter().zip(proxies) {
        builder = builder.replica(NodeOptions::new(proxy.url(&standby.url())));
    }
    let builder = match shape {
        Shape::Root => builder.policy(policy),
        Shape::Session(_) => builder.policy(Sticky::new(policy)),
    };
    let db = builder.connect().await?;
    sleep(Duration::from_millis(300)).await;
    Ok(db)
}

struct Run {
    times: Vec<Duration>,
    failed: usize,
}

/// So many reads, begun at a steady rate.
async fn load(db: &RoutedPool<Postgres>, shape: Shape, reads: usize) -> Run {
    let each = match shape {
        Shape::Root => 1,
        Shape::Session(reads) => reads,
    };
    let mut due = interval(Duration::from_secs(1) * u32::try_from(each).unwrap_or(1) / A_SECOND);
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests = JoinSet::new();
    for _ in 0..reads / each {
        let due = due.tick().await;
        let db = db.clone();
        requests.spawn(async move {
            match shape {
                Shape::Root => vec![read(&db, due).await],
                Shape::Session(reads) => {
                    let session = db.session();
                    let mut times = Vec::with_capacity(reads);
                    let mut due = due;
                    for _ in 0..reads {
                        times.push(read(&session, due).await);
                        due = Instant::now();
                    }
                    times
                }
            }
        });
    }
    let all: Vec<_> = requests.join_all().await.into_iter().flatten().collect();
    let mut times: Vec<Duration> = all.iter().copied().flatten().collect();
    times.sort();
    Run {
        failed: all.len() - times.len(),
        times,
    }
}

/// How long after it was due a read was done; `None` if it failed.
async fn read<'e>(on: impl Executor<'e, Database = Postgres>, due: Instant) -> Option<Duration> {
    let read = sqlx::query_scalar::<_, i64>(READ).fetch_one(on).await;
    read.ok().map(|_| due.elapsed())
}

impl Run {
    fn print(&self, policy: &str, fault: &str, shares: [u64; 4]) {
        let at = |share: f64| {
            let index = (self.times.len() as f64 * share) as usize;
            let time = self.times.get(index).or(self.times.last());
            time.map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        println!(
            "{policy:14} {fault:28} {:>7.2} {:>7.2} {:>7.2} {:>7.1}  {:24} {:>6}",
            at(0.5),
            at(0.99),
            at(0.999),
            at(1.0),
            format!("{shares:?}"),
            self.failed
        );
    }
}
