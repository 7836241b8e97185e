//! What it costs that sessions see their writes, here and elsewhere: for how long their reads stay on the primary, how
//! long a token takes, and how many questions the servers are asked for that; and how many reads of the root handle, which
//! sees the writes of all sessions, are left for the replicas.
//!
//! ```text
//! cargo bench -p dbrouter-tests --bench tokens
//! ```
//!
//! A primary and two replicas that keep up, on one machine.

use std::time::{Duration, Instant};

use dbrouter_sqlx::{Routed, RoutedDatabase, RoutedPool, Session};
use dbrouter_tests::Result;
use dbrouter_tests::any::{Cluster, Kind};
use sqlx::{MySql, Postgres};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

const ROUNDS: usize = 500;
const READ: &str = "select version from kv where id = 1";

/// Rows, so that sessions that write at once do not wait for each other's locks.
const ROWS: u32 = 64;

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    for kind in [Kind::Postgres, Kind::MariaDb] {
        let cluster = kind.start(2).await?;
        let rows: Vec<_> = (1..=ROWS).map(|id| format!("({id}, 0)")).collect();
        let table =
            "create table kv (id int primary key, version bigint not null); insert into kv values";
        let table = format!("{table} {}", rows.join(", "));
        cluster.primary().execute(&table).await?;
        cluster.wait_caught_up().await?;
        println!("\n{}", kind.name());
        match kind {
            Kind::Postgres => all::<Postgres>(&cluster).await?,
            Kind::MariaDb => all::<MySql>(&cluster).await?,
        }
    }
    Ok(())
}

async fn all<DB: Driver>(cluster: &Cluster) -> Result<()> {
    let mut builder = RoutedPool::<DB>::builder().primary(cluster.primary().url());
    for standby in cluster.standbys() {
        builder = builder.replica(standby.url());
    }
    let db = builder.connect().await?;
    println!(
        "{:54} {:>9} {:>9}",
        "after a write, on a quiet cluster", "p50 ms", "p99 ms"
    );
    for pause in [Duration::ZERO, Duration::from_millis(1)] {
        let (times, reads) = back_on_a_replica(&db, pause).await?;
        row(
            &format!("until a replica serves, {pause:?} between reads"),
            times,
        );
        println!(
            "{:54} {:>9.1}",
            "  reads that the primary served till then, on average", reads
        );
    }
    row("until there is a token", token(&db).await?);
    let (times, questions) = late(cluster, &db).await?;
    row("until a read that waits is served, replay resumed", times);
    println!(
        "{:54} {questions:>9.1}",
        "  questions to the replica meanwhile, on average"
    );

    println!(
        "\n{:54} {:>9} {:>9} {:>9}",
        "questions a second, to; reads of the root on replicas", "primary", "replica", "%"
    );
    let nothing = async {
        sleep(Duration::from_secs(5)).await;
        Ok(())
    };
    probes(cluster, &db, "while nothing happens", nothing).await?;
    for (rate, tokens) in [(50, false), (500, false), (500, true), (2000, true)] {
        let what = match tokens {
            false => format!("{rate} writing sessions a second"),
            true => format!("{rate}, each of which asks for a token"),
        };
        probes(cluster, &db, &what, load(&db, rate, tokens)).await?;
    }
    Ok(())
}

/// How long after a write's acknowledgement the first read begins that a replica serves, for each of many sessions; and
/// how many reads of each the primary served before that.
async fn back_on_a_replica<DB: Driver>(
    db: &RoutedPool<DB>,
    pause: Duration,
) -> Result<(Vec<Duration>, f64)> {
    let mut times = Vec::new();
    let mut on_primary = 0_u32;
    for _ in 0..ROUNDS {
        let session = db.session();
        DB::write(&session, 1).await?;
        let acknowledged = Instant::now();
        loop {
            sleep_for(pause).await;
            let begun = acknowledged.elapsed();
            DB::read(&session).await?;
            if session
                .last_decision()
                .is_some_and(|decision| &*decision.node != "primary")
            {
                times.push(begun);
                break;
            }
            on_primary += 1;
        }
        sleep(Duration::from_millis(5)).await;
    }
    Ok((times, f64::from(on_primary) / ROUNDS as f64))
}

/// How long it takes to get a token after a write's acknowledgement.
async fn token<DB: Driver>(db: &RoutedPool<DB>) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let session = db.session();
        DB::write(&session, 1).await?;
        let acknowledged = Instant::now();
        session.token().await.ok_or("who wrote has a token")?;
        times.push(acknowledged.elapsed());
        sleep(Duration::from_millis(5)).await;
    }
    Ok(times)
}

/// How long after a replica's replay has gone on a read is served that has waited for it; and how often that replica was
/// asked. Replay stands still for 50 to 150 ms.
async fn late<DB: Driver>(cluster: &Cluster, db: &RoutedPool<DB>) -> Result<(Vec<Duration>, f64)> {
    const ROUNDS: u32 = 50;
    let mut random = fastrand::Rng::with_seed(50);
    let mut times = Vec::new();
    let standbys = cluster.standbys();
    let before = asked(cluster, 1).await?;
    for _ in 0..ROUNDS {
        for standby in &standbys {
            standby.pause_replay().await?;
        }
        let session = db.session();
        DB::write(&session, 1).await?;
        let patient = session.wait_for_fresh(Duration::from_secs(10));
        let read = tokio::spawn(async move { DB::read(&patient).await.map(|()| Instant::now()) });
        sleep(Duration::from_millis(random.u64(50..150))).await;
        standbys[0].resume_replay().await?;
        let resumed = Instant::now();
        times.push(read.await??.saturating_duration_since(resumed));
        standbys[1].resume_replay().await?;
        cluster.wait_caught_up().await?;
    }
    let questions = asked(cluster, 1).await? - before;
    Ok((times, questions as f64 / f64::from(ROUNDS)))
}

/// So many sessions a second, for five seconds: each writes, and reads what it wrote.
async fn load<DB: Driver>(db: &RoutedPool<DB>, rate: u32, tokens: bool) -> Result<()> {
    let mut ticks = interval(Duration::from_secs(1) / rate);
    let mut sessions = JoinSet::new();
    for number in 0..5 * rate {
        ticks.tick().await;
        let db = db.clone();
        sessions.spawn(async move {
            let session = db.session();
            DB::write(&session, 1 + number % ROWS).await?;
            if tokens {
                session.token().await.ok_or("who wrote has a token")?;
            }
            DB::read(&session).await
        });
    }
    while let Some(ended) = sessions.join_next().await {
        ended??;
    }
    Ok(())
}

/// By the servers' own account: what the router asks of the primary and of each replica meanwhile. And how many of the
/// reads that might begin on the root handle at any moment would go to replicas.
async fn probes<DB: Driver>(
    cluster: &Cluster,
    db: &RoutedPool<DB>,
    what: &str,
    meanwhile: impl Future<Output = Result<()>>,
) -> Result<()> {
    let before = [asked(cluster, 0).await?, asked(cluster, 1).await?];
    let begun = Instant::now();
    let (mut looks, mut on_replicas) = (0_u32, 0_u32);
    let look = async {
        let mut ticks = interval(Duration::from_millis(1));
        loop {
            ticks.tick().await;
            looks += 1;
            let decision = db.explain(READ)?;
            on_replicas += u32::from(&*decision.node != "primary");
        }
    };
    let looked: Result<()> = tokio::select! {
        ended = meanwhile => ended,
        failed = look => failed,
    };
    looked?;
    let seconds = begun.elapsed().as_secs_f64();
    let after = [asked(cluster, 0).await?, asked(cluster, 1).await?];
    let [primary, replica] = [0, 1].map(|node| (after[node] - before[node]) as f64 / seconds);
    let share = f64::from(on_replicas) * 100.0 / f64::from(looks.max(1));
    println!("{what:54} {primary:9.0} {replica:9.0} {share:9.1}");
    Ok(())
}

/// How often a node has been asked where its log stands, or told to wait.
async fn asked(cluster: &Cluster, node: usize) -> Result<i64> {
    const PROBES: [&str; 4] = [
        "pg_last_wal_replay_lsn",
        "gtid_binlog_pos",
        "WAIT FOR",
        "MASTER_GTID_WAIT",
    ];
    let statements = cluster.node(node).statement_counts().await?;
    let probes = statements.iter().filter(|statement| {
        PROBES.iter().any(|probe| {
            statement
                .text
                .to_lowercase()
                .contains(&probe.to_lowercase())
        })
    });
    Ok(probes.map(|statement| statement.calls).sum())
}

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let [p50, p99] =
        [50, 99].map(|percent| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1000.0);
    println!("{what:54} {p50:9.2} {p99:9.2}");
}

async fn sleep_for(pause: Duration) {
    if !pause.is_zero() {
        sleep(pause).await;
    }
}

/// What the two drivers have in common beyond being routed.
trait Driver: RoutedDatabase {
    fn write(session: &Session<Self>, id: u32) -> impl Future<Output = Result<()>> + Send;

    fn read(session: &Routed<Self>) -> impl Future<Output = Result<()>> + Send;
}

macro_rules! drivers {
    ($($database:ty: $write:literal;)*) => {
        $(
            impl Driver for $database {
                async fn write(session: &Session<Self>, id: u32) -> Result<()> {
                    let id = i32::try_from(id)?;
                    sqlx::query($write).bind(id).execute(session).await?;
                    Ok(())
                }

                async fn read(session: &Routed<Self>) -> Result<()> {
                    sqlx::query(READ).fetch_one(session).await?;
                    Ok(())
                }
            }
        )*
    };
}

drivers! {
    Postgres: "update kv set version = version + 1 where id = $1";
    MySql: "update kv set version = version + 1 where id = ?";
}
