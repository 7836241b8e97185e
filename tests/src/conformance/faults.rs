//! A replica that fails under load, in each of the ways in which one can; a primary that does (contracts: `Work`,
//! `Router`).
//!
//! What each cost in time is printed, and asserted nowhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dbrouter::{Health, MonitorSettings, NodeOptions, Router};
use tokio::task::JoinHandle;

use super::{Handle, Mount, Need, Site, Subject, Support, check, expect, until};
use crate::Result;
use crate::proxy::{Mode, Proxy};

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{Postgres, Retries, Servers};
    mount
        .case("a_killed_replica", &[Servers], killed)
        .case("a_frozen_replica", &[Servers, Retries], frozen)
        .case("a_replica_that_resets_and_refuses", &[Servers], refusing)
        .case(
            "a_replica_behind_a_dead_network",
            &[Servers, Retries],
            swallowed,
        )
        .case("a_saturated_pool_ejects_nobody", &[Servers], saturated)
        .case(
            "a_conflict_with_recovery_is_read_elsewhere",
            &[Servers, Retries],
            conflict,
        )
        .case(
            "a_lost_primary_is_replaced_under_load",
            &[Servers, Retries],
            replaced,
        )
        .case(
            "a_log_writer_that_stands_still_hides_no_asynchronous_commit",
            &[Postgres],
            log_writer_stands_still,
        );
}

/// Sixteen readers, half of them in sessions of some reads and half on the root handle.
struct Readers {
    reads: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    /// From now on no read may fail that begins.
    known: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    /// In microseconds.
    longest: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<std::result::Result<(), String>>>,
}

impl Readers {
    fn start<S: Subject>(db: &S::Handle) -> Self {
        let retries = matches!(S::capabilities().retries, Support::Yes);
        let mut readers = Self {
            reads: Arc::default(),
            failed: Arc::default(),
            // Where a statement can be replayed, none may ever fail.
            known: Arc::new(AtomicBool::new(retries)),
            stop: Arc::default(),
            longest: Arc::default(),
            tasks: Vec::new(),
        };
        for reader in 0..16 {
            let (reads, known) = (Arc::clone(&readers.reads), Arc::clone(&readers.known));
            let (stop, longest) = (Arc::clone(&readers.stop), Arc::clone(&readers.longest));
            let (db, failed) = (db.clone(), Arc::clone(&readers.failed));
            readers.tasks.push(tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let handle = match reader % 2 {
                        0 => db.session(),
                        _ => db.clone(),
                    };
                    for _ in 0..10 {
                        let (begun, was_known) = (Instant::now(), known.load(Ordering::SeqCst));
                        let read = handle.get(1).await;
                        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                        longest.fetch_max(took, Ordering::Relaxed);
                        match read {
                            Err(error) if was_known => return Err(error.to_string()),
                            Ok(_) => reads.fetch_add(1, Ordering::Relaxed),
                            Err(_) => failed.fetch_add(1, Ordering::Relaxed),
                        };
                    }
                }
                Ok(())
            }));
        }
        readers
    }

    /// Waits for so many more reads.
    async fn more<S: Subject>(&self, db: &S::Handle, reads: u64) -> Result<()> {
        let goal = self.reads.load(Ordering::Relaxed) + reads;
        let count = || self.reads.load(Ordering::Relaxed);
        let has_failed = || self.tasks.iter().any(JoinHandle::is_finished);
        let reached = crate::wait::until_count(goal, count, has_failed).await;
        // How a reader has failed is said when it is stopped.
        let status = || db.cluster().status();
        check(
            reached || has_failed(),
            format!("the readers stand still:\n{}", status()),
        )
    }

    /// The longest read so far, in milliseconds; the next one begins anew.
    fn longest(&self) -> u64 {
        self.longest.swap(0, Ordering::Relaxed) / 1000
    }

    /// Ends, and says how many reads there were, and how many of them failed before it was known.
    async fn stop(self) -> Result<String> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await??;
        }
        let (reads, failed) = (
            self.reads.load(Ordering::Relaxed),
            self.failed.load(Ordering::Relaxed),
        );
        Ok(format!("{reads} reads, {failed} failed"))
    }
}

/// A router whose first replica is behind a proxy.
async fn proxied<S: Subject>(site: &Site<S>) -> Result<(S::Handle, Proxy)> {
    let proxy = Proxy::in_front_of(site.port(1)?).await?;
    let replica = NodeOptions::new(proxy.url(&site.url(1))).name(site.name(1));
    let builder = S::builder().primary(site.node(0));
    let builder = builder.replica(replica).replica(site.node(2));
    Ok((S::root(builder.connect().await?), proxy))
}

/// The first replica fails under load, and comes back. No read fails, and it serves again.
async fn under_load<S: Subject>(
    site: &Site<S>,
    db: &S::Handle,
    what: &str,
    fails: impl AsyncFnOnce() -> Result<()>,
    mends: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let readers = Readers::start::<S>(db);
    readers.more::<S>(db, 300).await?;
    let usual = readers.longest();
    fails().await?;
    until(db, "known to be lost", |status| {
        let node = status.node(site.name(1));
        // Where the monitor's connection has come through, it is the pool that gives none.
        node.is_some_and(|node| node.health == Health::Ejected || node.pool_error.is_some())
            || readers.tasks.iter().any(JoinHandle::is_finished)
    })
    .await?;
    readers.known.store(true, Ordering::SeqCst);
    readers.more::<S>(db, 1000).await?;
    let longest = readers.longest();
    mends().await?;
    let began = Instant::now();
    until(db, "back", |status| {
        let node = status.node(site.name(1));
        node.is_some_and(|node| node.healthy) || readers.tasks.iter().any(JoinHandle::is_finished)
    })
    .await?;
    let before = site.reads(db, 1).await?;
    let serves = crate::wait::until(async || {
        let reads = site.reads(db, 1).await;
        reads.is_ok_and(|reads| reads > before) || readers.tasks.iter().any(JoinHandle::is_finished)
    });
    check(serves.await, "it does not serve again")?;
    let back = began.elapsed().as_millis();
    let reads = readers.stop().await?;
    println!(
        "{}: {what}: {reads}; the longest {usual} ms before, {longest} ms then; \
         it served again {back} ms after it was back",
        S::NAME
    );
    Ok(())
}

async fn killed<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    under_load(
        site,
        &db,
        "killed",
        async || site.kill(1).await,
        async || site.start(1).await,
    )
    .await
}

async fn frozen<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site.builder().monitor(MonitorSettings::new());
    let db = S::root(builder.connect().await?);
    under_load(
        site,
        &db,
        "frozen",
        async || site.freeze(1),
        async || site.thaw(1),
    )
    .await
}

async fn refusing<S: Subject>(site: &Site<S>) -> Result<()> {
    let (db, proxy) = proxied(site).await?;
    let fails = async || {
        proxy.set(Mode::Reset);
        until(&db, "noticed", |status| {
            let node = status.node(site.name(1));
            node.is_some_and(|node| !node.healthy || node.pool_error.is_some())
        })
        .await?;
        proxy.set(Mode::Refuse);
        Ok(())
    };
    let mends = async || {
        proxy.set(Mode::Pass);
        Ok(())
    };
    under_load(site, &db, "connections reset, then refused", fails, mends).await
}

async fn swallowed<S: Subject>(site: &Site<S>) -> Result<()> {
    let (db, proxy) = proxied(site).await?;
    let set = |mode| {
        proxy.set(mode);
        Ok(())
    };
    under_load(
        site,
        &db,
        "packets swallowed",
        async || set(Mode::Swallow),
        async || set(Mode::Pass),
    )
    .await
}

/// Far more readers than connections.
async fn saturated<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site
        .builder()
        .pool_options(S::pool(1, crate::wait::PATIENCE));
    let db = S::root(builder.connect().await?);
    let readers = Readers::start::<S>(&db);
    readers.known.store(true, Ordering::SeqCst);
    readers.more::<S>(&db, 500).await?;
    let status = db.cluster().status();
    readers.stop().await?;
    let failures: u64 = status.nodes.iter().map(|node| node.failures).sum();
    check(failures == 0, status.to_string())?;
    check(
        status
            .nodes
            .iter()
            .all(|node| node.health == Health::Healthy),
        status.to_string(),
    )
}

/// Replay cancels what stands in its way, on both replicas or on one: the read is another node's then.
async fn conflict<S: Subject>(site: &Site<S>) -> Result<()> {
    if !site.conflict_at_once().await? {
        return Ok(());
    }
    let db = site.connect().await?;
    let session = db.session();
    db.cluster().disable(site.name(2))?;
    let reading = {
        let session = session.clone();
        tokio::spawn(async move {
            // Its snapshot is in the way of what the primary cleans up; it runs until it is cancelled.
            let sql = "select count(*) from kv a, kv b, kv c, kv d, (select pg_sleep(0.2)) s";
            let read = session.query(super::READS, sql).await;
            read.map_err(|error| error.to_string())
        })
    };
    until(&db, "begun", |status| {
        let node = status.node(site.name(1));
        node.is_some_and(|node| node.in_flight == 1)
    })
    .await?;
    db.cluster().enable(site.name(2))?;
    let mut version = 0;
    while !reading.is_finished() {
        version += 1;
        site.execute(0, &super::write(version)).await?;
        site.execute(0, "vacuum kv").await?;
    }
    expect("rows", reading.await??, 64_i64.pow(4))?;
    let status = db.cluster().status();
    check(status.failovers >= 1, status.to_string())?;
    check(
        status
            .nodes
            .iter()
            .all(|node| node.health == Health::Healthy),
        status.to_string(),
    )
}

/// The primary is killed under load, and a replica promoted. What was acknowledged before is there, reads go on, and
/// the old primary gets nothing when it is back.
async fn replaced<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let writer = db.session();
    for version in 1..=50 {
        writer.set(7, version).await?;
    }
    site.catch_up(1).await?;
    let readers = Readers::start::<S>(&db.eventual());
    readers.more::<S>(&db, 300).await?;
    site.kill(0).await?;
    site.promote(1).await?;
    let promoted = Instant::now();
    let mut refused = 0_u32;
    let written = crate::wait::until(async || {
        let write = db.session().set(8, 1).await;
        refused += u32::from(write.is_err());
        write.is_ok()
    });
    check(written.await, "no write is taken after the promotion")?;
    let took = promoted.elapsed().as_millis();
    let session = db.session();
    expect("what was acknowledged", session.get(7).await?, Some(50))?;
    expect("the writer's own", writer.get(7).await?, Some(50))?;
    site.start(0).await?;
    for version in 51..=100 {
        writer.set(7, version).await?;
        expect("version", writer.get(7).await?, Some(version))?;
    }
    readers.more::<S>(&db, 300).await?;
    let longest = readers.longest();
    let reads = readers.stop().await?;
    expect("writes on the old primary", site.writes(&db, 0).await?, 0)?;
    println!(
        "{}: primary replaced: the first write {took} ms after the promotion had returned, {refused} refused \
         before; {reads}, the longest {longest} ms",
        S::NAME
    );
    Ok(())
}

/// Commits are acknowledged before they are flushed, and the process that flushes them hangs, as on a disk that does: no
/// replica gets them, however much time passes.
async fn log_writer_stands_still<S: Subject>(site: &Site<S>) -> Result<()> {
    // The last is far beyond three times the server's `wal_writer_delay`, which is the longest that a commit takes to
    // be flushed otherwise.
    const THINKS: [u64; 6] = [0, 100, 300, 700, 1200, 2000];
    site.set(0, "synchronous_commit", "off").await?;
    let db = site.connect().await?;
    site.freeze_wal_writer(0).await?;
    let session = db.session();
    // Another row than the sessions' below: to the token's reader, what they write later may be missing.
    session.set(2, 1).await?;
    let token = session.token().await;
    // One session for each time: a read moves on what its session has seen, and thereby what it needs.
    let sessions = THINKS.map(|_| db.session());
    for session in &sessions {
        session.set(1, 2).await?;
    }
    let written = Instant::now();
    for (think, session) in THINKS.into_iter().zip(&sessions) {
        let think = Duration::from_millis(think);
        tokio::time::sleep(think.saturating_sub(written.elapsed())).await;
        super::expect_version::<S>(session, 2).await?;
        if let Some(token) = &token {
            super::expect_row::<S>(&db.session_from(token), 2, 1).await?;
        }
    }
    site.thaw_wal_writer(0).await?;
    site.catch_up(1).await?;
    super::serves::<S>(&db, site.name(1), 2).await
}
