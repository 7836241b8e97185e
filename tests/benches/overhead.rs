//! What routing adds to a query: the same point select on a standby, by sqlx's pool and by the router.
//!
//! ```text
//! cargo bench -p dbrouter-tests --bench overhead
//! ```
//!
//! Each way is run for a while, in turn, several times over, by as many clients as there are connections;
//! what is printed is the median of the runs.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dbrouter_sqlx::{RoutedPool, dbrouter::Sql};
use dbrouter_tests::Result;
use dbrouter_tests::postgres::Cluster;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres};

const CLIENTS: u32 = 8;
const RUNS: usize = 5;
const RUN: Duration = Duration::from_secs(2);
const READ: &str = "select version from kv where id = $1";

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let mut app = cluster.primary().connect().await?;
    let table = "create table kv (id int primary key, version bigint not null); \
                 insert into kv select id, 0 from generate_series(1, 64) id";
    sqlx::raw_sql(table).execute(&mut app).await?;
    cluster.wait_caught_up().await?;

    let options = || PgPoolOptions::new().max_connections(CLIENTS);
    let standby = cluster.standbys()[0].url();
    let plain = options().connect(&standby).await?;
    let tuned = options()
        .test_before_acquire(false)
        .connect(&standby)
        .await?;
    let routed = RoutedPool::<Postgres>::builder()
        .primary(cluster.primary().url())
        .replica(standby)
        .pool_options(dbrouter_sqlx::PoolOptions::new().max_connections(CLIENTS))
        .connect()
        .await?;

    let mut results = [const { Vec::new() }; 4];
    for _ in 0..RUNS {
        results[0].push(throughput(async |id| with_pool(&plain, id).await).await?);
        results[1].push(throughput(async |id| with_pool(&tuned, id).await).await?);
        results[2].push(throughput(async |id| on_root(&routed, id).await).await?);
        results[3].push(throughput(async |id| on_session(&routed, id).await).await?);
    }
    let names = [
        "sqlx::Pool, defaults",
        "sqlx::Pool, no ping at checkout",
        "RoutedPool, root handle",
        "RoutedPool, one session per statement",
    ];
    let [_, baseline, ..] = results.each_mut().map(|runs| median(runs));
    println!(
        "\n{:40} {:>12} {:>10}",
        "a point select on a standby", "per second", "relative"
    );
    for (name, runs) in names.iter().zip(&mut results) {
        let median = median(runs);
        println!("{name:40} {median:12.0} {:10.2}", median / baseline);
    }
    classification(&routed).await
}

/// What it costs to find out that the statement is a read, and what share that is of its whole time when
/// nothing else goes on.
async fn classification(db: &RoutedPool<Postgres>) -> Result<()> {
    const TIMES: u32 = 20_000;
    let begun = Instant::now();
    for _ in 0..TIMES {
        on_root(db, 1).await?;
    }
    let statement = begun.elapsed() / TIMES;
    let known = each(TIMES, || db.cluster().classify(black_box(READ)));
    let sql = Sql::postgres();
    let unknown = each(TIMES, || sql.inspect(black_box(READ)).classification);
    println!("\na point select, one client: {statement:?}; of that, the classification of");
    for (what, time) in [
        ("a text that is known", known),
        ("one that is not", unknown),
    ] {
        let share = 100.0 * time.as_secs_f64() / statement.as_secs_f64();
        println!("{what:40} {time:>12?} {share:9.3} %");
    }
    Ok(())
}

fn each<T>(times: u32, work: impl Fn() -> T) -> Duration {
    let begun = Instant::now();
    for _ in 0..times {
        black_box(work());
    }
    begun.elapsed() / times
}

fn median(runs: &mut [f64]) -> f64 {
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}

async fn with_pool(pool: &PgPool, id: i32) -> sqlx::Result<i64> {
    sqlx::query_scalar(READ).bind(id).fetch_one(pool).await
}

async fn on_root(db: &RoutedPool<Postgres>, id: i32) -> sqlx::Result<i64> {
    sqlx::query_scalar(READ).bind(id).fetch_one(db).await
}

async fn on_session(db: &RoutedPool<Postgres>, id: i32) -> sqlx::Result<i64> {
    sqlx::query_scalar(READ)
        .bind(id)
        .fetch_one(&db.session())
        .await
}

/// Statements a second, by all clients together.
async fn throughput(statement: impl AsyncFn(i32) -> sqlx::Result<i64>) -> Result<f64> {
    let stop = Arc::new(AtomicBool::new(false));
    let done = AtomicU64::new(0);
    let begun = Instant::now();
    let client = async |id: i32| {
        while !stop.load(Ordering::Relaxed) {
            statement(id).await?;
            done.fetch_add(1, Ordering::Relaxed);
        }
        Ok::<_, sqlx::Error>(())
    };
    let clients = (1..=i32::try_from(CLIENTS)?).map(client);
    let timer = async {
        tokio::time::sleep(RUN).await;
        stop.store(true, Ordering::Relaxed);
        Ok::<_, sqlx::Error>(())
    };
    let clients = futures_util::future::try_join_all(clients);
    futures_util::future::try_join(clients, timer).await?;
    Ok(done.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64())
}
