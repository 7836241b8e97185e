//! Transactions: what the session sees of them, however they end (contracts: `Router`, `Work`).

use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use dbrouter::{Dialect, Preference, Reason};
use tokio::sync::oneshot;

use super::site::ACQUIRE_LIMIT;
use super::{
    Body, Handle, Mount, Need, READ, READS, Site, Subject, WRITES, body, check, error, expect,
    last, refusal, until, write,
};
use crate::{Failure, Result, wait};

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{ReadOnlyTransactions, Servers, Snapshots};
    mount
        .case("see_their_commit", &[], see_their_commit)
        .case("the_root_sees_its_commit", &[], root_sees_its_commit)
        .case(
            "show_nothing_before_their_commit",
            &[Servers],
            nothing_before_commit,
        )
        .case("run_on_the_primary", &[], run_on_the_primary)
        .case("of_two_routers_wait_for_each_other", &[], of_two_routers)
        .case("an_error_rolls_back", &[], error_rolls_back)
        .case(
            "a_rollback_keeps_nobody_off_the_replicas",
            &[Servers],
            rollback_is_no_write,
        )
        .case(
            "what_a_rolled_back_one_read_stays_read",
            &[Servers],
            rolled_back_reads_stay,
        )
        .case("dropped_ones_roll_back", &[], dropped_roll_back)
        .case(
            "cancelled_at_any_point_they_leave_nothing_behind",
            &[],
            cancelled_leave_nothing,
        )
        .case(
            "the_first_to_begin_gets_the_first_connection",
            &[],
            first_to_begin,
        )
        .case(
            "read_only_ones_run_on_a_replica",
            &[ReadOnlyTransactions],
            read_only_on_a_replica,
        )
        .case(
            "read_only_ones_refuse_writes",
            &[ReadOnlyTransactions],
            read_only_refuse_writes,
        )
        .case(
            "read_only_ones_see_the_sessions_writes",
            &[ReadOnlyTransactions],
            read_only_see_writes,
        )
        .case(
            "read_only_ones_count_as_reads",
            &[ReadOnlyTransactions, Servers],
            read_only_count_as_reads,
        )
        .case(
            "read_only_ones_run_on_the_sessions_replica",
            &[ReadOnlyTransactions],
            read_only_on_the_sessions_replica,
        )
        .case(
            "read_only_ones_see_what_is_committed_meanwhile",
            &[ReadOnlyTransactions, Servers],
            read_only_see_others_commits,
        )
        .case(
            "snapshots_see_one_moment",
            &[Snapshots],
            snapshots_see_one_moment,
        )
        .case(
            "snapshots_see_the_sessions_writes",
            &[Snapshots],
            snapshots_see_writes,
        )
        .case(
            "snapshots_refuse_writes",
            &[Snapshots],
            snapshots_refuse_writes,
        )
        .case(
            "snapshots_leave_their_connection_as_it_was",
            &[Snapshots, Servers],
            snapshots_leave_no_trace,
        );
    if S::DATABASE == Dialect::Sqlite {
        mount.case(TWO_PROCESSES, &[], of_two_processes);
    }
}

/// A transaction that writes a version.
fn writes(version: i64) -> Body {
    body(move |tx| Box::pin(async move { tx.execute(&write(version)).await }))
}

/// A transaction that writes a version and then fails.
fn fails(version: i64) -> Body {
    body(move |tx| {
        Box::pin(async move {
            tx.execute(&write(version)).await?;
            Err("on purpose".into())
        })
    })
}

async fn see_their_commit<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    for version in 1..=30 {
        let session = db.session();
        session.transact(writes(version)).await?;
        expect("after the commit", session.get(1).await?, Some(version))?;
    }
    Ok(())
}

async fn root_sees_its_commit<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    for version in 1..=30 {
        db.transact(writes(version)).await?;
        expect("after the commit", db.get(1).await?, Some(version))?;
    }
    Ok(())
}

/// Two routers, as of two processes, and transactions that read before they write. In SQLite they lock one file, and one
/// that had read before the other wrote would fail at once. (vjt/grappa-irc#524, Effect-TS/effect PR 7162)
async fn of_two_routers<S: Subject>(site: &Site<S>) -> Result<()> {
    const TASKS: i64 = 4;
    const TRANSACTIONS: i64 = 25;
    let routers = [site.connect().await?, site.connect().await?];
    let mut tasks = Vec::new();
    for _ in 0..TASKS {
        for db in &routers {
            let db = db.clone();
            tasks.push(tokio::spawn(async move {
                for _ in 0..TRANSACTIONS {
                    let counted = read_and_count::<S>(&db).await;
                    counted.map_err(|error| error.to_string())?;
                }
                std::result::Result::<(), String>::Ok(())
            }));
        }
    }
    for task in tasks {
        task.await??;
    }
    let counted = routers[0].get(1).await?;
    expect("transactions", counted, Some(2 * TASKS * TRANSACTIONS))
}

/// A transaction that reads before it writes.
async fn read_and_count<S: Subject>(db: &S::Handle) -> Result<()> {
    let counts = body(|tx| {
        Box::pin(async move {
            tx.query(READ).await?;
            tx.execute("update kv set version = version + 1 where id = 1")
                .await
        })
    });
    db.session().transact(counts).await
}

const TWO_PROCESSES: &str = "of_two_processes_wait_for_each_other";

/// Set in a process that this binary has started: the file that the other one writes to.
const FILE: &str = "DBROUTER_TESTS_FILE";

/// The same of two processes. The other one is this binary again, which is told to run this case alone, and on this file.
async fn of_two_processes<S: Subject>(site: &Site<S>) -> Result<()> {
    const TRANSACTIONS: i64 = 500;
    let shared = std::env::var(FILE).ok();
    let url = shared.clone().unwrap_or_else(|| site.url(0));
    let db = S::root(S::builder().primary(&*url).connect().await?);
    let mut other = None;
    if shared.is_none() {
        let case = format!("{}::transactions::{TWO_PROCESSES}", S::NAME);
        let mut process = Command::new(std::env::current_exe()?);
        let process = process.args(["--exact", &case]).env(FILE, &url);
        let process = process.stdout(Stdio::piped()).spawn()?;
        other = Some(tokio::task::spawn_blocking(|| process.wait_with_output()));
        let wrote = async || matches!(db.query(WRITES, READ).await, Ok(version) if version > 0);
        check(wait::until(wrote).await, "the other process does not write")?;
    }
    for number in 1..=TRANSACTIONS {
        let counted = read_and_count::<S>(&db).await;
        counted.map_err(|error| Failure::new(format!("transaction {number}: {error}")))?;
    }
    if let Some(other) = other {
        let other = other.await??;
        let said = String::from_utf8_lossy(&other.stdout);
        check(other.status.success(), format!("the other process: {said}"))?;
        let counted = db.query(WRITES, READ).await?;
        expect("transactions", counted, 2 * TRANSACTIONS)?;
    }
    Ok(())
}

async fn nothing_before_commit<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    let outside = session.clone();
    session
        .transact(body(move |tx| {
            Box::pin(async move {
                tx.execute(&write(5)).await?;
                expect("inside", tx.query(READ).await?, 5)?;
                expect("outside", outside.get(1).await?, Some(0))
            })
        }))
        .await?;
    expect("after the commit", session.get(1).await?, Some(5))
}

async fn run_on_the_primary<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    let reads = body(|tx| Box::pin(async move { expect("version", tx.query(READ).await?, 0) }));
    session.transact(reads).await?;
    expect(
        "decision",
        last(&session)?,
        ("primary".to_owned(), Reason::Write),
    )?;
    if Site::<S>::server().is_some() {
        expect("reads on the primary", site.reads(&db, 0).await?, 1)?;
    }
    Ok(())
}

async fn error_rolls_back<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let failed = error(db.transact(fails(9)).await, "the body failed")?;
    check(
        failed.to_string().contains("on purpose"),
        failed.to_string(),
    )?;
    expect("version", db.query(WRITES, READ).await?, 0)
}

async fn rollback_is_no_write<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    error(db.transact(fails(9)).await, "the body failed")?;
    expect("version", db.get(1).await?, Some(0))?;
    let served = site.reads(&db, 1).await? + site.reads(&db, 2).await?;
    expect("reads on the replicas", served, 1)
}

async fn rolled_back_reads_stay<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    db.session().set(1, 7).await?;
    let session = db.session();
    let looks = body(|tx| {
        Box::pin(async move {
            expect("inside", tx.query(READ).await?, 7)?;
            Err("on purpose".into())
        })
    });
    let failed = error(session.transact(looks).await, "the body failed")?;
    check(
        failed.to_string().contains("on purpose"),
        failed.to_string(),
    )?;
    expect("afterwards", session.get(1).await?, Some(7))
}

async fn dropped_roll_back<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    let (told, written) = oneshot::channel();
    let hangs = body(move |tx| {
        Box::pin(async move {
            tx.execute(&write(9)).await?;
            told.send(()).ok();
            std::future::pending().await
        })
    });
    tokio::select! {
        ended = session.transact(hangs) => ended?,
        written = written => written?,
    }
    until(&db, "empty", |status| {
        status.nodes.iter().all(|node| node.in_flight == 0)
    })
    .await?;
    expect("version", session.query(WRITES, READ).await?, 0)
}

/// No connection stays inside a transaction, and none is lost.
async fn cancelled_leave_nothing<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site.builder().pool_options(S::pool(1, super::PATIENCE));
    let db = S::root(builder.connect().await?);
    for polls in 0..40 {
        let session = db.session();
        super::abandoned_after(polls, session.transact(writes(i64::from(polls)))).await;
    }
    // The pool has one connection: if it were lost, or inside a transaction that nobody commits, this would
    // wait, or its write would not be seen from elsewhere.
    db.set(1, 1000).await?;
    let elsewhere = S::root(S::builder().primary(site.node(0)).connect().await?);
    expect("seen from elsewhere", elsewhere.get(1).await?, Some(1000))?;
    until(&db, "empty", |status| {
        status.nodes.iter().all(|node| node.in_flight == 0)
    })
    .await
}

/// As in the ORM's own pool: in a pool of one, two that begin one after the other.
async fn first_to_begin<S: Subject>(site: &Site<S>) -> Result<()> {
    const PAIRS: usize = 500;
    let builder = site.builder().pool_options(S::pool(1, super::PATIENCE));
    let db = S::root(builder.connect().await?);
    let mut overtaken = 0;
    for _ in 0..PAIRS {
        let order = Arc::new(Mutex::new(Vec::new()));
        let begins = |number: usize| {
            let order = Arc::clone(&order);
            let noted = body(move |_| {
                let mut order = order.lock().unwrap_or_else(PoisonError::into_inner);
                order.push(number);
                Box::pin(async { Ok(()) })
            });
            let session = db.session();
            async move { session.transact(noted).await }
        };
        // The first is polled before the second is.
        tokio::try_join!(begins(1), begins(2))?;
        let order = order.lock().unwrap_or_else(PoisonError::into_inner);
        overtaken += usize::from(*order != [1, 2]);
    }
    let said = format!("in {overtaken} of {PAIRS} pairs the second began first");
    check(overtaken == 0, said)
}

async fn read_only_on_a_replica<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    let reads = body(|tx| {
        Box::pin(async move {
            for _ in 0..5 {
                expect("version", tx.query(READ).await?, 0)?;
            }
            Ok(())
        })
    });
    session.read_only(reads).await?;
    let (node, _) = last(&session)?;
    check(node != "primary", "it ran on the primary")?;
    if Site::<S>::server().is_some() {
        let served = site.reads(&db, site.number(&node)?).await?;
        expect("reads on one replica", served, 5)?;
    }
    Ok(())
}

async fn read_only_refuse_writes<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let refused = error(
        db.session().read_only(writes(9)).await,
        "a write in a read-only transaction",
    )?;
    refused_by_the_database(site, &db, &*refused).await
}

/// A write in a transaction that only reads is the database's error, and has an effect nowhere.
async fn refused_by_the_database<S: Subject>(
    site: &Site<S>,
    db: &S::Handle,
    refused: &(dyn std::error::Error + 'static),
) -> Result<()> {
    check(
        refusal(refused).is_err(),
        format!("the router has refused it: {refused}"),
    )?;
    expect("writes on the primary", site.writes(db, 0).await?, 0)?;
    expect("version", db.query(WRITES, READ).await?, 0)
}

async fn read_only_see_writes<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    let session = db.session();
    session.set(1, 3).await?;
    let reads = body(|tx| Box::pin(async move { expect("version", tx.query(READ).await?, 3) }));
    session.read_only(reads).await
}

async fn read_only_count_as_reads<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    let before = db.session().state().needs();
    let reads = body(|tx| Box::pin(async move { tx.query(READ).await.map(drop) }));
    session.read_only(reads).await?;
    check(
        session.state().needs() > before,
        "what it read is not remembered",
    )?;
    // And so the session does not go back in time when it changes its replica.
    let home = site.number(&last(&session)?.0)?;
    site.pause(3 - home).await?;
    db.set(1, 4).await?;
    site.catch_up(home).await?;
    let reads = body(|tx| Box::pin(async move { expect("version", tx.query(READ).await?, 4) }));
    session.read_only(reads).await?;
    db.cluster().disable(site.name(home))?;
    expect("elsewhere", session.query(READS, READ).await?, 4)
}

async fn read_only_on_the_sessions_replica<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    for _ in 0..5 {
        let session = db.session();
        session.get(1).await?;
        let home = last(&session)?.0;
        let reads = || body(|tx| Box::pin(async move { tx.query(READ).await.map(drop) }));
        session.read_only(reads()).await?;
        let stayed = (home.clone(), Reason::Sticky);
        expect("read-only", last(&session)?, stayed.clone())?;
        session.get(1).await?;
        expect("afterwards", last(&session)?.0, home)?;
    }
    Ok(())
}

/// A router with one replica, on which transactions see one moment only if they say so.
async fn on_one_replica<S: Subject>(site: &Site<S>) -> Result<S::Handle> {
    site.weaken_isolation(1).await?;
    let builder = S::builder().primary(site.node(0)).replica(site.node(1));
    let builder = builder.acquire_limit(ACQUIRE_LIMIT);
    let pool = S::pool(2, super::PATIENCE);
    Ok(S::root(builder.pool_options(pool).connect().await?))
}

/// Reads, has somebody else write, waits until the replica shows that, and reads again.
fn looks_twice<H: Handle>(db: &H, second: i64) -> Body {
    let db = db.clone();
    body(move |tx| {
        Box::pin(async move {
            expect("first", tx.query(READ).await?, 0)?;
            for version in 1..=5 {
                db.session().set(1, version).await?;
            }
            let elsewhere = db.session().eventual();
            let shown = until_shown(&elsewhere, 5);
            tokio::time::timeout(wait::PATIENCE, shown).await??;
            check(last(&elsewhere)?.0 != "primary", "the primary was asked")?;
            expect("second", tx.query(READ).await?, second)
        })
    })
}

async fn until_shown<H: Handle>(elsewhere: &H, version: i64) -> Result<()> {
    while elsewhere.query(READS, READ).await? != version {
        wait::pause().await;
    }
    Ok(())
}

async fn snapshots_see_one_moment<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = on_one_replica(site).await?;
    let session = db.session();
    session.snapshot(looks_twice(&db, 0)).await?;
    check(last(&session)?.0 != "primary", "it ran on the primary")?;
    // It is over.
    db.set(1, 6).await?;
    expect("afterwards", db.get(1).await?, Some(6))
}

/// The case above can fail: this one is it, with the guarantee switched off.
async fn read_only_see_others_commits<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = on_one_replica(site).await?;
    let session = at_the_databases_level::<S>(&db);
    session.read_only(looks_twice(&db, 5)).await
}

/// A session whose transactions see what is committed meanwhile, unless they say otherwise. On PostgreSQL these are the
/// primary's: replicas' connections are opened at the isolation level *repeatable read*.
fn at_the_databases_level<S: Subject>(db: &S::Handle) -> S::Handle {
    match S::DATABASE {
        Dialect::Postgres => db.session().preference(Preference::Primary),
        _ => db.session(),
    }
}

async fn snapshots_see_writes<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    for handle in [db.session(), db] {
        handle.set(1, 3).await?;
        let reads = body(|tx| Box::pin(async move { expect("version", tx.query(READ).await?, 3) }));
        handle.snapshot(reads).await?;
    }
    Ok(())
}

async fn snapshots_refuse_writes<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let refused = error(
        db.session().snapshot(writes(9)).await,
        "a write in a snapshot",
    )?;
    refused_by_the_database(site, &db, &*refused).await
}

/// What was said for one transaction does not hold for the next on the same connection.
async fn snapshots_leave_no_trace<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = on_one_replica(site).await?;
    for _ in 0..4 {
        let reads = body(|tx| Box::pin(async move { tx.query(READ).await.map(drop) }));
        at_the_databases_level::<S>(&db).snapshot(reads).await?;
    }
    let session = at_the_databases_level::<S>(&db);
    session.read_only(looks_twice(&db, 5)).await
}
