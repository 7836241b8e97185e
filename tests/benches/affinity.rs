//! What it is worth that a session keeps its replica connection between statements, and whom it harms.
//!
//! ```text
//! cargo bench -p dbrouter-tests --bench affinity
//! ```
//!
//! A primary and two replicas; clients with a session for each request, of six point selects, one right after
//! the other or with a pause between them, as handlers have, or of just one, where there is nothing to win.
//! Beside it the ORM's own pool on one replica, and a connection for each client, on one replica, too: the least
//! and the most that there is to be had. All ways take turns, several times over; what is printed is the median
//! of the runs.

use std::future::Future;
use std::time::{Duration, Instant};

use dbrouter_seaorm::sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};
use dbrouter_seaorm::{PoolOptions, RoutedConnection};
use dbrouter_sqlx::RoutedPool;
use dbrouter_sqlx::dbrouter::Hold;
use dbrouter_tests::Result;
use dbrouter_tests::postgres::Cluster;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection, PgConnection, PgPool, Postgres};

const RUNS: usize = 3;
const RUN: Duration = Duration::from_millis(250);
const WARMING: Duration = Duration::from_millis(50);
const READ: &str = "select version from kv where id = $1";

/// Statements in a request, and the time between them.
const REQUESTS: [(u32, Duration); 3] = [
    (6, Duration::ZERO),
    (6, Duration::from_millis(1)),
    (1, Duration::ZERO),
];

/// Clients, and connections of each node's pool.
const LOADS: [(i32, u32); 5] = [(1, 40), (8, 40), (32, 40), (8, 4), (32, 4)];

const HOLDS: [(&str, Hold); 3] = [
    ("Never", Hold::Never),
    ("closely", Hold::closely()),
    ("ForLife", Hold::ForLife),
];

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<()> {
    // Each way has pools of its own.
    let builder = Cluster::builder().standbys(2);
    let cluster = builder.setting("max_connections", "300").start().await?;
    let mut app = cluster.primary().connect().await?;
    let table = "create table kv (id int primary key, version bigint not null); \
                 insert into kv select id, 0 from generate_series(1, 64) id";
    sqlx::raw_sql(table).execute(&mut app).await?;
    cluster.wait_caught_up().await?;
    for (statements, pause) in REQUESTS {
        for (clients, connections) in LOADS {
            let load = format!(
                "{clients} clients × {statements}, {pause:?} apart, pools of {connections}"
            );
            println!("\n{load:48} {:>9} {:>8} {:>8}", "per s", "p50 µs", "p99 µs");
            let nodes = Nodes::open(&cluster, connections).await?;
            let request = Request { statements, pause };
            for (name, mut runs) in nodes.compare(clients, request).await? {
                println!("{name:48} {}", median(&mut runs));
            }
            nodes.close().await?;
        }
    }
    Ok(())
}

/// What a client does with one session.
#[derive(Clone, Copy)]
struct Request {
    statements: u32,
    pause: Duration,
}

/// All that is compared, under one load.
struct Nodes {
    replica: String,
    pool: PgPool,
    orm: DatabaseConnection,
    sqlx: RoutedPool<Postgres>,
    seaorm: RoutedConnection,
}

impl Nodes {
    async fn open(cluster: &Cluster, connections: u32) -> Result<Self> {
        let [primary, replica, other] = [
            cluster.primary().url(),
            cluster.standbys()[0].url(),
            cluster.standbys()[1].url(),
        ];
        let options = || PgPoolOptions::new().max_connections(connections);
        let sqlx = RoutedPool::builder()
            .primary(primary.as_str())
            .replica(replica.as_str())
            .replica(other.as_str())
            .pool_options(dbrouter_sqlx::PoolOptions::new().max_connections(connections));
        let seaorm = RoutedConnection::builder()
            .primary(primary.as_str())
            .replica(replica.as_str())
            .replica(other.as_str())
            .pool_options(PoolOptions::new(move |options| {
                options.max_connections(connections);
            }));
        Ok(Self {
            pool: options().connect(&replica).await?,
            orm: options().connect(&replica).await?.into(),
            sqlx: sqlx.connect().await?,
            seaorm: seaorm.connect().await?,
            replica,
        })
    }

    async fn close(self) -> Result<()> {
        self.pool.close().await;
        self.orm.close().await?;
        self.sqlx.close().await;
        Ok(self.seaorm.close().await?)
    }

    async fn compare(&self, clients: i32, request: Request) -> Result<Vec<(String, Vec<Figures>)>> {
        let mut held = Vec::new();
        for _ in 0..clients {
            held.push(Held(PgConnection::connect(&self.replica).await?));
        }
        let mut all: Vec<(String, Vec<Figures>)> = Vec::new();
        let mut add = |name: String, figures: Option<Figures>| {
            let known = all.iter_mut().find(|(known, _)| *known == name);
            match known {
                Some((_, runs)) => runs.extend(figures),
                None => all.push((name, figures.into_iter().collect())),
            }
        };
        // The first run opens the connections.
        for run in 0..=RUNS {
            let time = if run == 0 { WARMING } else { RUN };
            let counted = |figures| (run > 0).then_some(figures);
            let figures = measure(&mut held, request, time).await?;
            add("a held PgConnection".to_owned(), counted(figures));

            let mut pools: Vec<_> = (0..clients).map(|_| OfPool(self.pool.clone())).collect();
            let figures = measure(&mut pools, request, time).await?;
            add("sqlx::Pool".to_owned(), counted(figures));
            for (name, hold) in HOLDS {
                let client = |_| OfSqlx(self.sqlx.clone(), hold, None);
                let mut sessions: Vec<_> = (0..clients).map(client).collect();
                let figures = measure(&mut sessions, request, time).await?;
                add(format!("sqlx, {name}"), counted(figures));
            }

            let mut orms: Vec<_> = (0..clients).map(|_| OfOrm(self.orm.clone())).collect();
            let figures = measure(&mut orms, request, time).await?;
            add("SeaORM's DatabaseConnection".to_owned(), counted(figures));
            for (name, hold) in HOLDS {
                let client = |_| OfSeaOrm(self.seaorm.clone(), hold, None);
                let mut sessions: Vec<_> = (0..clients).map(client).collect();
                let figures = measure(&mut sessions, request, time).await?;
                add(format!("SeaORM, {name}"), counted(figures));
            }
        }
        Ok(all)
    }
}

/// One client, which reads in requests.
trait Client: Send + 'static {
    fn begin(&mut self) {}

    fn read(&mut self, id: i32) -> impl Future<Output = Result<()>> + Send;

    fn end(&mut self) {}
}

struct Held(PgConnection);

impl Client for Held {
    async fn read(&mut self, id: i32) -> Result<()> {
        let query = sqlx::query_scalar::<_, i64>(READ).bind(id);
        query.fetch_one(&mut self.0).await?;
        Ok(())
    }
}

struct OfPool(PgPool);

impl Client for OfPool {
    async fn read(&mut self, id: i32) -> Result<()> {
        let query = sqlx::query_scalar::<_, i64>(READ).bind(id);
        query.fetch_one(&self.0).await?;
        Ok(())
    }
}

struct OfSqlx(
    RoutedPool<Postgres>,
    Hold,
    Option<dbrouter_sqlx::Session<Postgres>>,
);

impl Client for OfSqlx {
    fn begin(&mut self) {
        self.2 = Some(self.0.session().hold_connection(self.1));
    }

    async fn read(&mut self, id: i32) -> Result<()> {
        let session = self.2.as_ref().ok_or("no session")?;
        let query = sqlx::query_scalar::<_, i64>(READ).bind(id);
        query.fetch_one(session).await?;
        Ok(())
    }

    fn end(&mut self) {
        self.2 = None;
    }
}

struct OfOrm(DatabaseConnection);

impl Client for OfOrm {
    async fn read(&mut self, id: i32) -> Result<()> {
        with_orm(&self.0, id).await
    }
}

struct OfSeaOrm(RoutedConnection, Hold, Option<dbrouter_seaorm::Session>);

impl Client for OfSeaOrm {
    fn begin(&mut self) {
        self.2 = Some(self.0.session().hold_connection(self.1));
    }

    async fn read(&mut self, id: i32) -> Result<()> {
        with_orm(self.2.as_ref().ok_or("no session")?, id).await
    }

    fn end(&mut self) {
        self.2 = None;
    }
}

async fn with_orm(db: &impl ConnectionTrait, id: i32) -> Result<()> {
    let statement = Statement::from_sql_and_values(DbBackend::Postgres, READ, [id.into()]);
    db.query_one_raw(statement).await?.ok_or("no row")?;
    Ok(())
}

/// Statements a second, and how long one takes.
#[derive(Clone, Copy)]
struct Figures {
    throughput: f64,
    p50: Duration,
    p99: Duration,
}

/// Runs all clients at once for a while.
async fn measure<C: Client>(
    clients: &mut Vec<C>,
    request: Request,
    time: Duration,
) -> Result<Figures> {
    let begun = Instant::now();
    let tasks: Vec<_> = clients
        .drain(..)
        .zip(1..)
        .map(|(client, id)| tokio::spawn(requests(client, id, request, begun + time)))
        .collect();
    let mut times = Vec::new();
    for task in tasks {
        let (client, its) = task.await?.map_err(|error| error.to_string())?;
        clients.push(client);
        times.extend(its);
    }
    let throughput = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).copied();
    Ok(Figures {
        throughput,
        p50: at(50).unwrap_or_default(),
        p99: at(99).unwrap_or_default(),
    })
}

/// One client's requests until the end, and how long each statement took.
async fn requests<C: Client>(
    mut client: C,
    id: i32,
    request: Request,
    end: Instant,
) -> Result<(C, Vec<Duration>)> {
    let mut times = Vec::new();
    while Instant::now() < end {
        client.begin();
        for _ in 0..request.statements {
            if !request.pause.is_zero() {
                tokio::time::sleep(request.pause).await;
            }
            let begun = Instant::now();
            client.read(id).await?;
            times.push(begun.elapsed());
        }
        client.end();
    }
    Ok((client, times))
}

/// Of each figure its own.
fn median(runs: &mut [Figures]) -> String {
    let mut middle = |figure: fn(&Figures) -> f64| {
        runs.sort_by(|a, b| figure(a).total_cmp(&figure(b)));
        figure(&runs[runs.len() / 2])
    };
    let throughput = middle(|run| run.throughput);
    let p50 = middle(|run| run.p50.as_secs_f64() * 1e6);
    let p99 = middle(|run| run.p99.as_secs_f64() * 1e6);
    format!("{throughput:9.0} {p50:8.0} {p99:8.0}")
}
