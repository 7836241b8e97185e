//! How long a router takes to follow a promotion.
//!
//! ```text
//! cargo bench -p dbrouter-tests --bench failover
//! ```
//!
//! The primary of three servers is killed, and a standby promoted. Time counts from when the promoted server takes a
//! write on a connection of the application's, until the first write through the router is acknowledged.

use std::time::{Duration, Instant};

use dbrouter_sqlx::{RoutedDatabase, RoutedPool};
use dbrouter_tests::Result;
use dbrouter_tests::any::{Cluster, Kind};
use sqlx::{MySql, Postgres};
use tokio::time::sleep;

/// What [`Result`] has.
type Error = Box<dyn std::error::Error + Send + Sync>;

const ROUNDS: usize = 20;
const WRITE: &str = "update kv set version = version + 1 where id = 1";
/// The same on another row, so that nobody waits for the other's lock.
const DIRECT: &str = "update kv set version = version + 1 where id = 2";

/// Whether somebody writes all the time.
#[derive(Clone, Copy, PartialEq)]
enum Writes {
    /// Nobody tries until the router knows of the promoted one by itself.
    Later,
    /// A write fails, and the next one is tried a millisecond later.
    AllTheTime,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    println!(
        "{:10} {:24} {:>8} {:>8}",
        "", "milliseconds", "median", "most"
    );
    for kind in Kind::ALL {
        for (what, writes) in [
            ("nobody writes", Writes::Later),
            ("writes are tried", Writes::AllTheTime),
        ] {
            let mut times = Vec::new();
            for _ in 0..ROUNDS {
                times.push(match kind {
                    Kind::Postgres => round::<Postgres>(kind, writes).await?,
                    Kind::MariaDb => round::<MySql>(kind, writes).await?,
                });
            }
            times.sort();
            let ms = |time: &Duration| time.as_secs_f64() * 1e3;
            let (median, most) = (ms(&times[ROUNDS / 2]), ms(&times[ROUNDS - 1]));
            println!("{:10} {what:24} {median:>8.1} {most:>8.1}", kind.name());
        }
    }
    Ok(())
}

async fn round<DB: Writing>(kind: Kind, writes: Writes) -> Result<Duration> {
    let cluster = kind.start(2).await?;
    let table = "create table kv (id int primary key, version bigint not null); \
                 insert into kv values (1, 0), (2, 0)";
    cluster.primary().execute(table).await?;
    cluster.wait_caught_up().await?;
    let db = router::<DB>(&cluster).await?;
    DB::write(&db).await?;
    cluster.wait_caught_up().await?;
    cluster.primary().kill()?;
    if writes == Writes::Later {
        // Its tools take their time as well; the router knows by then that the primary is gone.
        sleep(Duration::from_millis(500)).await;
    }
    let promoted = cluster.node(1);
    let direct = async {
        promoted.promote().await?;
        while promoted.execute(DIRECT).await.is_err() {
            sleep(Duration::from_millis(1)).await;
        }
        Ok::<_, Error>(Instant::now())
    };
    let through = async {
        loop {
            let tries =
                writes == Writes::AllTheTime || &**db.cluster().primary().name() == "replica-1";
            if tries && DB::write(&db).await.is_ok() {
                return Ok::<_, Error>(Instant::now());
            }
            sleep(Duration::from_millis(1)).await;
        }
    };
    let (direct, through) = tokio::try_join!(direct, through)?;
    Ok(through.saturating_duration_since(direct))
}

async fn router<DB: RoutedDatabase>(cluster: &Cluster) -> Result<RoutedPool<DB>> {
    let mut builder = RoutedPool::<DB>::builder().primary(cluster.primary().url());
    for standby in cluster.standbys() {
        builder = builder.replica(standby.url());
    }
    Ok(builder.connect().await?)
}

/// What sqlx needs to be told for each driver.
trait Writing: RoutedDatabase {
    async fn write(db: &RoutedPool<Self>) -> sqlx::Result<()>;
}

impl Writing for Postgres {
    async fn write(db: &RoutedPool<Self>) -> sqlx::Result<()> {
        sqlx::query(WRITE).execute(db).await.map(drop)
    }
}

impl Writing for MySql {
    async fn write(db: &RoutedPool<Self>) -> sqlx::Result<()> {
        sqlx::query(WRITE).execute(db).await.map(drop)
    }
}
