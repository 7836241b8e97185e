//! Sessions that are chased from replica to replica, of unequal lag, while others write: none sees time go back.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use dbrouter_sqlx::dbrouter::policy::Random;
use dbrouter_sqlx::{PoolOptions, Routed, RoutedPool};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use dbrouter_tests::wait::PATIENCE;
use sqlx::Postgres;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::support::{check, cluster, on_postgres, router};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres("monotonic::reads_of_a_session", async || {
            hop(Kind::Session).await
        }),
        on_postgres("monotonic::reads_of_a_user", async || hop(Kind::User).await),
        on_postgres("monotonic::not_if_they_are_eventual", async || {
            hop(Kind::Eventual).await
        }),
    ]
}

/// What the reads of one reader have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One session.
    Session,
    /// A session for every twenty, each of which begins with its predecessor's token.
    User,
    /// Nothing that counts.
    Eventual,
}

const READERS: u64 = 16;
/// What each reader reads at least.
const READS: usize = 1000;
const KEYS: usize = 8;
/// The changes of node, and the writes of a key, without which the case would show nothing. Readers read on until there
/// are so many: how many there are after a number of reads depends on the machine's speed.
const HOPS: usize = 500;
const WRITES: i64 = 20;
/// How many reads of all readers come between two changes of the standby that they may read from.
const STAY: usize = 8 * READERS as usize;

/// What some readers have seen.
#[derive(Default)]
struct Seen {
    reads: usize,
    on_primary: usize,
    /// Reads on another node than the one before.
    hops: usize,
    /// Reads of an older version than before.
    back: usize,
    /// The same on the primary, of what nobody had been told of when the replica showed it.
    ahead: usize,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.on_primary += other.on_primary;
        self.hops += other.hops;
        self.back += other.back;
        self.ahead += other.ahead;
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} reads, {} of them on the primary, {} changes of node, {} steps back, and {} more behind a commit that \
             was not yet acknowledged",
            self.reads, self.on_primary, self.hops, self.back, self.ahead
        )
    }
}

async fn hop(kind: Kind) -> Result<()> {
    let cluster = cluster().await?;
    let late = &cluster.standbys()[1];
    late.set_apply_delay(Duration::from_millis(20)).await?;
    let pool = || PoolOptions::new().max_connections(8);
    let builder = router(&cluster).pool_options(pool());
    let db = builder.policy(Random::seeded(7)).connect().await?;
    let progress = Arc::new(Progress::default());
    let writing = Background::start(write(
        router(&cluster).connect().await?,
        Arc::clone(&progress),
    ));
    let chasing = Background::start(chase(db.clone(), Arc::clone(&progress)));
    let readers: Vec<_> = (0..READERS)
        .map(|seed| tokio::spawn(read(db.clone(), kind, seed, Arc::clone(&progress))))
        .collect();
    let mut all = Seen::default();
    for reader in readers {
        all.add(&reader.await??);
    }
    drop((writing, chasing));
    let written = progress.newest(0);
    println!("{kind:?}: {all}; {written} writes of each key meanwhile");
    match kind {
        Kind::Eventual => check(all.back > 0, format!("the test cannot fail: {all}")),
        Kind::Session | Kind::User => check(all.back == 0, format!("{all}")),
    }
}

async fn read(
    db: RoutedPool<Postgres>,
    kind: Kind,
    seed: u64,
    progress: Arc<Progress>,
) -> Result<Seen> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut newest = HashMap::new();
    let mut last = None;
    let mut seen = Seen::default();
    let mut session: Routed<Postgres> = (*db.session()).clone();
    for number in 1.. {
        if number > READS && progress.suffices(kind) {
            break;
        }
        let key = random.usize(..KEYS);
        let told = progress.newest(key);
        let handle = match kind {
            Kind::Eventual => session.eventual(),
            // A session that reads without a pause, and is driven away from each replica, would mostly stay on the primary.
            Kind::Session | Kind::User if number % 4 == 0 => session.wait_for_fresh(PATIENCE),
            Kind::Session | Kind::User => session.clone(),
        };
        let version: i64 = sqlx::query_scalar("select version from kv where id = $1")
            .bind(id(key)?)
            .fetch_one(&handle)
            .await?;
        let decision = session.last_decision().ok_or("it was decided where")?;
        let on_primary = &*decision.node == "primary";
        seen.reads += 1;
        seen.on_primary += usize::from(on_primary);
        let before = last.replace(decision.node.clone());
        let hops = before.is_some_and(|before| before != decision.node);
        seen.hops += usize::from(hops);
        let known = newest.entry(key).or_insert(version);
        if version < *known {
            // A replica may show a commit a moment before its primary does.
            match on_primary && version >= told {
                true => seen.ahead += 1,
                false => seen.back += 1,
            }
        }
        progress.count(hops, version < *known);
        *known = version.max(*known);
        if kind == Kind::User && number % 20 == 0 {
            let token = session.token_with_reads().await;
            let token = token.ok_or("who read has a token")?.to_string().parse()?;
            session = (*db.session_from(&token)).clone();
        }
    }
    Ok(seen)
}

/// How far all readers and the writer have come.
#[derive(Default)]
struct Progress {
    /// The newest version of each key that its writer has been told of.
    versions: [AtomicI64; KEYS],
    reads: AtomicUsize,
    hops: AtomicUsize,
    back: AtomicUsize,
    /// A reader has read so many times more.
    read: Notify,
}

impl Progress {
    fn newest(&self, key: usize) -> i64 {
        self.versions[key].load(Ordering::SeqCst)
    }

    fn count(&self, hops: bool, back: bool) {
        self.hops.fetch_add(usize::from(hops), Ordering::Relaxed);
        self.back.fetch_add(usize::from(back), Ordering::Relaxed);
        if (self.reads.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(STAY) {
            self.read.notify_one();
        }
    }

    /// Whether enough has happened for the case to show something.
    fn suffices(&self, kind: Kind) -> bool {
        let went_back = kind != Kind::Eventual || self.back.load(Ordering::Relaxed) > 0;
        went_back && self.hops.load(Ordering::Relaxed) > HOPS && self.newest(0) > WRITES
    }
}

fn id(key: usize) -> Result<i32> {
    Ok(i32::try_from(key)? + 1)
}

/// Writes to one key after the other.
async fn write(db: RoutedPool<Postgres>, progress: Arc<Progress>) -> Result<()> {
    for version in 1.. {
        for (key, newest) in progress.versions.iter().enumerate() {
            sqlx::query("update kv set version = $2 where id = $1")
                .bind(id(key)?)
                .bind(version)
                .execute(&db)
                .await?;
            newest.store(version, Ordering::SeqCst);
        }
    }
    Ok(())
}

/// Drives everybody away from one standby, and then from the other.
async fn chase(db: RoutedPool<Postgres>, progress: Arc<Progress>) -> Result<()> {
    let cluster = db.cluster();
    loop {
        for (closed, open) in [("standby-1", "standby-2"), ("standby-2", "standby-1")] {
            cluster.enable(open)?;
            cluster.disable(closed)?;
            progress.read.notified().await;
        }
    }
}

/// What goes on until it is dropped.
struct Background(AbortHandle);

impl Background {
    fn start(work: impl Future<Output = Result<()>> + Send + 'static) -> Self {
        Self(tokio::spawn(work).abort_handle())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.abort();
    }
}
