//! Read your writes, monotonic reads, and what a session is (contracts: `SessionState`, `Router`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use dbrouter::policy::{RoundRobin, Sticky};
use dbrouter::{Intent, Reason, Router, with_session};

use super::{
    Handle, How, Mount, Need, READ, READS, Site, Subject, WRITES, body, check, error, expect, last,
    until, write,
};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::Servers;
    mount
        .case("reads_own_writes", &[], reads_own_writes)
        .case("the_root_reads_its_own_writes", &[], root_reads_own_writes)
        .case(
            "the_root_reads_what_any_session_wrote",
            &[],
            root_reads_every_write,
        )
        .case(
            "the_root_reads_what_a_session_wrote_unseen",
            &[Need::Holds],
            root_reads_unseen_writes,
        )
        .case(
            "the_root_reads_what_a_session_committed",
            &[],
            root_reads_commits,
        )
        .case(
            "that_are_told_of_outside_writes_see_them",
            &[Servers],
            outside_writes,
        )
        .case("text_reads_own_writes", &[], text_reads_own_writes)
        .case(
            "eventual_reads_do_go_stale",
            &[Servers],
            eventual_reads_do_go_stale,
        )
        .case(
            "others_writes_keep_nobody_off_the_replicas",
            &[Servers],
            independent,
        )
        .case("a_failed_write_counts_as_a_write", &[], failed_write_counts)
        .case(
            "a_cancelled_write_counts_as_a_write",
            &[],
            cancelled_write_counts,
        )
        .case(
            "go_back_to_the_replicas_when_those_have_caught_up",
            &[Servers],
            go_back,
        )
        .case_alone(
            "reads_without_pause_leave_the_primary",
            &[Servers],
            reads_without_pause,
        )
        .case("stay_on_one_replica", &[], stay_on_one_replica)
        .case(
            "first_reads_at_once_agree_on_a_replica",
            &[],
            first_reads_agree,
        )
        .case("never_go_back_in_time", &[Servers], never_go_back_in_time)
        .case(
            "a_lagging_replica_takes_over_nothing",
            &[Servers],
            lagging_takes_over_nothing,
        )
        .case(
            "many_tasks_on_one_session_see_their_writes",
            &[],
            many_tasks,
        )
        .case("the_root_uses_the_ambient_one", &[], ambient)
        .case("ambient_ones_nest_and_come_back", &[], ambient_nests)
        .case("an_explicit_one_wins_over_the_ambient", &[], explicit_wins)
        .case("a_spawned_task_is_outside", &[], spawned_is_outside)
        .case("say_where_they_went_and_why", &[], last_decisions);
}

async fn reads_own_writes<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    let session = db.session();
    for version in 1..=300 {
        session.set(1, version).await?;
        expect("version", session.get(1).await?, Some(version))?;
    }
    if Site::<S>::server().is_some() {
        expect(
            "fallbacks",
            db.cluster().status().fallbacks(Reason::NotFresh),
            300,
        )?;
    }
    Ok(())
}

async fn root_reads_own_writes<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    for version in 1..=300 {
        db.set(1, version).await?;
        expect("version", db.get(1).await?, Some(version))?;
    }
    Ok(())
}

/// Each write is that of another session; the tasks that read know of none.
async fn root_reads_every_write<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    for version in 1..=100 {
        let session = db.session();
        session.set(1, version).await?;
        expect("on the root", db.get(1).await?, Some(version))?;
        let root = db.clone();
        let read = async move { root.get(1).await.map_err(|error| error.to_string()) };
        let read = with_session(session.state(), async { tokio::spawn(read).await });
        expect("in a task", read.await??, Some(version))?;
        with_session(session.state(), db.set(2, version)).await?;
        expect("of an ambient one", db.get(2).await?, Some(version))?;
    }
    Ok(())
}

/// On a connection that a session holds a write is acknowledged without anybody telling the router.
async fn root_reads_unseen_writes<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    for version in (1..=40).step_by(2) {
        let session = db.session();
        let mut held = session.hold(Intent::Write).await?;
        held.execute(&write(version)).await?;
        expect("while it is held", db.get(1).await?, Some(version))?;
        held.execute(&write(version + 1)).await?;
        drop(held);
        expect("afterwards", db.get(1).await?, Some(version + 1))?;
    }
    Ok(())
}

async fn root_reads_commits<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    for version in 1..=20 {
        let transaction =
            body(move |tx| Box::pin(async move { tx.execute(&write(version)).await }));
        db.session().transact(transaction).await?;
        expect("afterwards", db.get(1).await?, Some(version))?;
    }
    Ok(())
}

/// The other router stands for whatever writes to the database and tells this one nothing.
async fn outside_writes<S: Subject>(site: &Site<S>) -> Result<()> {
    let (db, outside) = (site.connect().await?, site.connect().await?);
    site.pause_all().await?;
    for version in 1..=20 {
        outside.set(1, version).await?;
        let (session, other) = (db.session(), db.session());
        expect("without a word", session.get(1).await?, Some(0))?;
        session.observe_now();
        expect("once told", session.get(1).await?, Some(version))?;
        expect("another session", other.get(1).await?, Some(0))?;
        expect("the root", db.get(1).await?, Some(0))?;
    }
    db.observe_now();
    expect("the root, once told", db.get(1).await?, Some(20))
}

async fn text_reads_own_writes<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    let session = db.session();
    for version in 1..=50 {
        session.execute(How::AsIs, &write(version)).await?;
        expect(
            "on a session",
            session.query(How::AsIs, READ).await?,
            version,
        )?;
        db.execute(WRITES, &write(version + 1000)).await?;
        expect("on the root", db.query(READS, READ).await?, version + 1000)?;
    }
    Ok(())
}

/// The cases above can fail: this one is they, with the guarantee switched off.
async fn eventual_reads_do_go_stale<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    for handle in [db.session(), db] {
        for version in 1..=20 {
            handle.set(1, version).await?;
            expect("a stale version", handle.eventual().get(1).await?, Some(0))?;
        }
    }
    Ok(())
}

async fn independent<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    let (writer, reader) = (db.session(), db.session());
    for version in 1..=20 {
        writer.set(1, version).await?;
        reader.get(1).await?;
    }
    let served = site.reads(&db, 1).await? + site.reads(&db, 2).await?;
    expect("reads that the replicas served", served, 20)
}

async fn failed_write_counts<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    let session = db.session();
    let before = session.state().needs();
    error(
        session
            .execute(WRITES, "insert into kv values (1, 1)")
            .await,
        "a duplicate key",
    )?;
    check(
        session.state().needs() > before,
        "the failed write is not remembered",
    )
}

async fn cancelled_write_counts<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    for polls in 1..=20 {
        let session = db.session();
        let before = session.state().needs();
        super::abandoned_after(polls, session.set(1, i64::from(polls))).await;
        let after = session.state().needs();
        check(after > before, "the dropped write is not remembered")?;
        // Whether it took effect is not known; what is seen once stays seen.
        let first = session.get(1).await?;
        let later = session.get(1).await?;
        check(later >= first, format!("from {first:?} back to {later:?}"))?;
    }
    Ok(())
}

async fn go_back<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    site.pause_all().await?;
    session.set(1, 1).await?;
    session.get(1).await?;
    expect(
        "while replay stands still",
        last(&session)?,
        ("primary".to_owned(), Reason::NotFresh),
    )?;
    site.resume_all().await?;
    let served = async || {
        session.get(1).await.is_ok() && last(&session).is_ok_and(|(node, _)| node != "primary")
    };
    check(
        crate::wait::until(served).await,
        "the session stays on the primary",
    )?;
    expect("version", session.get(1).await?, Some(1))
}

/// After each of its writes the session comes back to a replica, though it reads without a pause.
async fn reads_without_pause<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    for version in 1..=20 {
        session.set(1, version).await?;
        let left = leaves_the_primary::<S>(&session, version);
        tokio::time::timeout(crate::wait::PATIENCE, left).await??;
    }
    Ok(())
}

async fn leaves_the_primary<S: Subject>(session: &S::Handle, version: i64) -> Result<()> {
    loop {
        expect("version", session.get(1).await?, Some(version))?;
        if last(session)?.0 != "primary" {
            return Ok(());
        }
    }
}

async fn stay_on_one_replica<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    for _ in 0..5 {
        let session = db.session();
        let mut nodes = BTreeSet::new();
        for _ in 0..6 {
            session.get(1).await?;
            session.query(READS, READ).await?;
            nodes.insert(last(&session)?.0);
        }
        expect("nodes of a session", nodes.len(), 1)?;
    }
    let shares = (site.reads(&db, 1).await?, site.reads(&db, 2).await?);
    expect("reads of all", shares.0 + shares.1, 60)
}

async fn first_reads_agree<S: Subject>(site: &Site<S>) -> Result<()> {
    let policy = Sticky::new(RoundRobin::new());
    let db = S::root(site.builder().policy(policy).connect().await?);
    for _ in 0..10 {
        let before = [site.reads(&db, 1).await?, site.reads(&db, 2).await?];
        let session = db.session();
        let reads: Vec<_> = (0..8)
            .map(|_| {
                let session = session.clone();
                tokio::spawn(async move {
                    session
                        .get(1)
                        .await
                        .map(drop)
                        .map_err(|error| error.to_string())
                })
            })
            .collect();
        for read in reads {
            read.await??;
        }
        let after = [site.reads(&db, 1).await?, site.reads(&db, 2).await?];
        let served = [after[0] - before[0], after[1] - before[1]];
        check(
            served == [8, 0] || served == [0, 8],
            format!("{served:?} on the replicas"),
        )?;
    }
    Ok(())
}

/// While somebody writes, sessions are chased from node to node, between replicas of unequal lag.
///
/// A replica may show a commit a moment before the primary does: the log has travelled, and the committing
/// connection has not been told yet. Nothing that a router can ask of the primary shows that moment. So on the
/// primary what *nobody has been told of yet* may be missing, and nothing else.
async fn never_go_back_in_time<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicI64::new(0));
    let writer = tokio::spawn({
        let (stop, acknowledged) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let writer = db.session();
        async move {
            let mut version = 0_i64;
            while !stop.load(Ordering::Relaxed) {
                version += 1;
                let written = writer.set(1, version).await;
                written.map_err(|error| error.to_string())?;
                acknowledged.store(version, Ordering::SeqCst);
            }
            Ok::<_, String>(())
        }
    });
    let mut hops = 0;
    // Until there were as many writes and changes of node as show something, whatever the machine's speed.
    for round in 0.. {
        if hops > 5 && acknowledged.load(Ordering::SeqCst) > 50 {
            break;
        }
        let lagging = 1 + round % 2;
        site.pause(lagging).await?;
        let session = db.session();
        let mut newest = 0;
        for _ in 0..4 {
            let mut node = 0;
            for _ in 0..25 {
                let told = acknowledged.load(Ordering::SeqCst);
                let version = session.get(1).await?.ok_or("the key is gone")?;
                node = site.number(&last(&session)?.0)?;
                let bound = if node == 0 { newest.min(told) } else { newest };
                check(
                    version >= bound,
                    format!("from {newest} back to {version} on node {node}, {told} acknowledged"),
                )?;
                newest = newest.max(version);
            }
            // Away from there, but for the primary.
            if node > 0 {
                hops += 1;
                db.cluster().disable(site.name(node))?;
                db.cluster().enable(site.name(3 - node))?;
            }
        }
        site.resume(lagging).await?;
        for replica in 1..=2 {
            db.cluster().enable(site.name(replica))?;
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.await??;
    Ok(())
}

/// With the other replica's replay paused, the session whose replica dies has nowhere to go but the primary.
async fn lagging_takes_over_nothing<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    session.get(1).await?;
    let home = site.number(&last(&session)?.0)?;
    let lagging = 3 - home;
    site.pause(lagging).await?;
    let writer = db.session();
    for version in 1..=20 {
        writer.set(1, version).await?;
    }
    site.catch_up(home).await?;
    expect("version at home", session.get(1).await?, Some(20))?;
    expect("home", site.number(&last(&session)?.0)?, home)?;
    site.kill(home).await?;
    until(&db, "found lost", |status| !status.nodes[home].healthy).await?;
    for _ in 0..50 {
        expect("version", session.get(1).await?, Some(20))?;
        expect("node", last(&session)?.0, "primary".to_owned())?;
    }
    // A session that has seen nothing may read from the lagging one.
    let fresh = db.session();
    expect("version", fresh.get(1).await?, Some(0))?;
    expect("node", site.number(&last(&fresh)?.0)?, lagging)
}

async fn many_tasks<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site
        .builder()
        .pool_options(S::pool(site.writers(), super::PATIENCE));
    let db = S::root(builder.connect().await?);
    let session = db.session();
    let tasks: Vec<_> = (1..=8)
        .map(|id| {
            let session = session.clone();
            tokio::spawn(async move {
                for version in 1..=25 {
                    session
                        .set(id, version)
                        .await
                        .map_err(|error| error.to_string())?;
                    let read = session.get(id).await.map_err(|error| error.to_string())?;
                    if read != Some(version) {
                        return Err(format!("{read:?} after {version} was written"));
                    }
                }
                Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    until(&db, "empty", |status| {
        status.nodes.iter().all(|node| node.in_flight == 0)
    })
    .await
}

/// Code that knows nothing of sessions.
async fn handler<H: Handle>(db: &H) -> Result<Option<i64>> {
    db.set(1, 7).await?;
    db.get(1).await
}

async fn ambient<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    let session = db.session();
    let before = db.state().needs();
    let read = with_session(session.state(), handler(&db)).await?;
    expect("its own write", read, Some(7))?;
    check(
        session.last_decision().is_some(),
        "the ambient session was not used",
    )?;
    check(
        session.state().needs() > before,
        "the ambient session has not learnt of the write",
    )?;
    check(
        db.state().needs() > before,
        "the root has not learnt of the write",
    )?;
    expect("on the root", db.get(1).await?, Some(7))
}

async fn ambient_nests<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let (outer, inner) = (db.session(), db.session());
    let is = |session: &S::Handle| format!("{:?}", session.state());
    let current = || format!("{:?}", db.state());
    let root = current();
    with_session(outer.state(), async {
        expect("outside", current(), is(&outer))?;
        with_session(inner.state(), async {
            expect("inside", current(), is(&inner))
        })
        .await?;
        expect("after a return", current(), is(&outer))?;
        let failed: Result<()> =
            with_session(inner.state(), async { Err("on purpose".into()) }).await;
        error(failed, "on purpose")?;
        expect("after an error", current(), is(&outer))?;
        super::polled_once(with_session(inner.state(), std::future::pending::<()>())).await;
        expect("after a cancellation", current(), is(&outer))
    })
    .await?;
    expect("after all", current(), root)
}

async fn explicit_wins<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let (ambient, explicit) = (db.session(), db.session());
    with_session(ambient.state(), async {
        explicit.set(1, 1).await?;
        explicit.get(1).await
    })
    .await?;
    check(
        explicit.last_decision().is_some(),
        "the explicit session was not used",
    )?;
    check(
        ambient.last_decision().is_none(),
        "the ambient session was used",
    )
}

async fn spawned_is_outside<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    with_session(session.state(), async {
        let db = db.clone();
        let read = async move { db.get(1).await.map_err(|error| error.to_string()) };
        tokio::spawn(read).await
    })
    .await??;
    check(
        session.last_decision().is_none(),
        "the task was inside the session",
    )
}

async fn last_decisions<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    check(
        db.last_decision().is_none(),
        "the root handle has a last decision",
    )?;
    let session = db.session();
    check(
        session.last_decision().is_none(),
        "a new session has a last decision",
    )?;
    session.get(1).await?;
    let (home, reason) = last(&session)?;
    expect("a read", reason, Reason::Policy)?;
    session.get(1).await?;
    expect("another", last(&session)?, (home, Reason::Sticky))?;
    session.set(1, 1).await?;
    expect(
        "a write",
        last(&session)?,
        ("primary".to_owned(), Reason::Write),
    )?;
    let shown = session.last_decision().map(|decision| decision.to_string());
    expect("shown", shown.as_deref(), Some("write on primary: a write"))
}
