//! What holds for all work that begins inside of a scope, whatever its handle (contracts: `scope`, `Work`).

use std::collections::BTreeSet;

use dbrouter::policy::RoundRobin;
use dbrouter::scope::{spawn, with_primary, with_replica, without_writes};
use dbrouter::{Intent, Reason, Router, WhyNot, with_session};

use super::routing::Gullible;
use super::{
    Handle, How, Mount, Need, READ, READS, Site, Subject, WRITES, body, check, error, expect, last,
    refusal, write,
};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{Classifies, Holds, ReadOnlyTransactions, Servers};
    mount
        .case("on_a_replica_all_reads_are_on_one", &[], bound_to_one)
        .case(
            "on_a_replica_it_is_the_sessions",
            &[],
            bound_to_the_sessions,
        )
        .case(
            "on_a_replica_so_are_read_only_transactions",
            &[ReadOnlyTransactions],
            bound_transactions,
        )
        .case("on_a_replica_nothing_is_stale", &[Servers], bound_and_fresh)
        .case(
            "on_a_replica_the_roots_writes_are_seen",
            &[Servers],
            roots_writes_are_seen,
        )
        .case(
            "on_a_replica_what_is_written_is_the_roots",
            &[],
            writes_are_the_roots,
        )
        .case("on_the_primary", &[], on_the_primary)
        .case("nest_and_come_back", &[], nest_and_come_back)
        .case(
            "a_handle_that_states_a_preference_keeps_it",
            &[],
            stated_wins,
        )
        .case("without_writes_none_is_seen", &[], forbidden_writes)
        .case(
            "without_writes_no_connection_is_held_for_them",
            &[Holds],
            forbidden_connections,
        )
        .case(
            "without_writes_what_a_replica_refuses_stays_refused",
            &[Classifies],
            forbidden_misjudged,
        )
        .case("nothing_lifts_a_prohibition", &[], nothing_lifts)
        .case("a_task_spawned_by_them_is_inside", &[], spawned_is_inside)
        .case("a_task_spawned_otherwise_is_outside", &[], bare_is_outside);
}

/// Under a policy that leaves nothing on one replica of itself.
async fn in_turn<S: Subject>(site: &Site<S>) -> Result<S::Handle> {
    let builder = site.builder().policy(RoundRobin::new());
    Ok(S::root(builder.connect().await?))
}

/// Reads six times, in two ways.
async fn six_reads<H: Handle>(db: &H) -> Result<()> {
    for _ in 0..3 {
        db.get(1).await?;
        db.query(READS, READ).await?;
    }
    Ok(())
}

/// The reads that the replicas have served since they were asked last.
async fn served<S: Subject>(
    site: &Site<S>,
    db: &S::Handle,
    before: &mut [i64; 2],
) -> Result<BTreeSet<i64>> {
    let now = [site.reads(db, 1).await?, site.reads(db, 2).await?];
    let since = [now[0] - before[0], now[1] - before[1]];
    *before = now;
    Ok(since.into())
}

async fn bound_to_one<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = in_turn(site).await?;
    let mut before = [0, 0];
    six_reads(&db).await?;
    let both = served(site, &db, &mut before).await?;
    check(!both.contains(&0), format!("without a scope: {both:?}"))?;
    for _ in 0..4 {
        with_replica(six_reads(&db)).await?;
        expect(
            "in a scope",
            served(site, &db, &mut before).await?,
            [0, 6].into(),
        )?;
    }
    six_reads(&db).await?;
    let both = served(site, &db, &mut before).await?;
    check(!both.contains(&0), format!("after a scope: {both:?}"))
}

async fn bound_to_the_sessions<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = in_turn(site).await?;
    let mut before = [0, 0];
    for _ in 0..4 {
        let session = db.session();
        with_session(session.state(), with_replica(six_reads(&db))).await?;
        let home = last(&session)?;
        expect("why", home.1, Reason::Sticky)?;
        with_replica(with_session(session.state(), six_reads(&db))).await?;
        with_replica(six_reads(&session)).await?;
        expect("where", last(&session)?, home)?;
        expect(
            "by all",
            served(site, &db, &mut before).await?,
            [0, 18].into(),
        )?;
    }
    Ok(())
}

async fn bound_transactions<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = in_turn(site).await?;
    let mut before = [0, 0];
    let reads = || body(|tx| Box::pin(async move { tx.query(READ).await.map(drop) }));
    for _ in 0..4 {
        with_replica(async {
            for _ in 0..2 {
                db.get(1).await?;
                db.read_only(reads()).await?;
            }
            db.get(1).await
        })
        .await?;
        let served = served(site, &db, &mut before).await?;
        check(served.contains(&0), format!("in a scope: {served:?}"))?;
    }
    Ok(())
}

async fn bound_and_fresh<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = in_turn(site).await?;
    let session = db.session();
    with_replica(async {
        six_reads(&session).await?;
        site.pause_all().await?;
        session.set(1, 7).await?;
        expect("on a session", session.get(1).await?, Some(7))?;
        expect(
            "decision",
            last(&session)?,
            ("primary".to_owned(), Reason::NotFresh),
        )?;
        expect("elsewhere", db.session().get(1).await?, Some(0))?;
        expect("on the root", db.get(1).await?, Some(7))?;
        db.set(1, 8).await?;
        expect("on the root", db.get(1).await?, Some(8))
    })
    .await?;
    let primary = site.reads(&db, 0).await?;
    expect("reads on the primary", primary, 3)
}

/// Whether the scope began before or afterwards.
async fn roots_writes_are_seen<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = in_turn(site).await?;
    site.pause_all().await?;
    db.set(1, 1).await?;
    expect("before", with_replica(db.get(1)).await?, Some(1))?;
    let task = db.clone();
    with_replica(async {
        db.get(1).await?;
        let task = async move { task.set(1, 2).await.map_err(|error| error.to_string()) };
        tokio::spawn(task).await??;
        expect("meanwhile", db.get(1).await?, Some(2))
    })
    .await
}

async fn writes_are_the_roots<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = in_turn(site).await?;
    site.pause_all().await?;
    for version in 1..=20 {
        let inside = with_replica(async {
            db.set(1, version).await?;
            db.get(1).await
        });
        expect("inside", inside.await?, Some(version))?;
        expect("afterwards", db.get(1).await?, Some(version))?;
    }
    Ok(())
}

async fn on_the_primary<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = in_turn(site).await?;
    let session = db.session();
    with_primary(async {
        six_reads(&db).await?;
        six_reads(&session).await?;
        with_session(session.state(), six_reads(&db)).await
    })
    .await?;
    expect(
        "decision",
        last(&session)?,
        ("primary".to_owned(), Reason::PreferenceIsPrimary),
    )?;
    expect("on the primary", site.reads(&db, 0).await?, 18)
}

async fn nest_and_come_back<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = in_turn(site).await?;
    with_replica(async {
        // Inside, the root handle has a session, and so a last decision.
        db.get(1).await?;
        let home = last(&db)?.0;
        let comes_back = async |after: &str| {
            // What the primary has shown must be on a replica first, whichever that is.
            let back = async || {
                db.get(1).await.is_ok() && last(&db).is_ok_and(|(node, _)| node != "primary")
            };
            check(
                crate::wait::until(back).await,
                format!("no replica after {after}"),
            )
        };
        with_primary(async {
            with_replica(db.get(1)).await?;
            expect("innermost", last(&db)?.0, home.clone())?;
            db.get(1).await?;
            expect("in between", last(&db)?.0, "primary".to_owned())
        })
        .await?;
        comes_back("a return").await?;
        let failed: Result<()> = with_primary(async {
            db.get(1).await?;
            Err("on purpose".into())
        })
        .await;
        error(failed, "on purpose")?;
        comes_back("an error").await?;
        super::polled_once(with_primary(std::future::pending::<()>())).await;
        comes_back("a cancellation").await
    })
    .await?;
    check(db.last_decision().is_none(), "the root has a session still")
}

async fn stated_wins<S: Subject>(site: &Site<S>) -> Result<()> {
    use dbrouter::Preference::{Primary, Replica};
    let db = in_turn(site).await?;
    with_replica(six_reads(&db.preference(Primary))).await?;
    expect("on the primary", site.reads(&db, 0).await?, 6)?;
    with_primary(six_reads(&db.preference(Replica))).await?;
    expect("still", site.reads(&db, 0).await?, 6)
}

/// The error is the router's, and says why.
fn forbidden<T>(result: Result<T>, what: &str) -> Result<()> {
    let refused = error(result, what)?;
    let refusal = refusal(&*refused)?;
    expect(what, refusal.intent(), Intent::Write)?;
    let why: BTreeSet<_> = refusal
        .refusals()
        .iter()
        .map(|no| no.why.to_string())
        .collect();
    expect(what, why, [WhyNot::WritesForbidden.to_string()].into())
}

async fn forbidden_writes<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = in_turn(site).await?;
    let nothing = || body(|_| Box::pin(async { Ok(()) }));
    without_writes(async {
        for handle in [db.clone(), db.session()] {
            forbidden(handle.set(1, 9).await, "as the ORM writes")?;
            forbidden(handle.insert(99, 9).await, "an insert")?;
            forbidden(handle.execute(How::AsIs, &write(9)).await, "as text")?;
            forbidden(handle.execute(WRITES, &write(9)).await, "stated")?;
            forbidden(handle.query(WRITES, READ).await, "stated, though it reads")?;
            forbidden(handle.transact(nothing()).await, "a transaction")?;
        }
        six_reads(&db).await?;
        six_reads(&db.session()).await
    })
    .await?;
    expect("writes", site.writes(&db, 0).await?, 0)?;
    expect("reads on the primary", site.reads(&db, 0).await?, 0)?;
    db.set(1, 1).await?;
    expect("afterwards", db.get(1).await?, Some(1))
}

async fn forbidden_connections<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = in_turn(site).await?;
    without_writes(async {
        for handle in [db.clone(), db.session()] {
            forbidden(handle.hold(Intent::Write).await, "a connection to write to")?;
            let mut held = handle.hold(Intent::Read).await?;
            expect("read", held.query(READ).await?, 0)?;
        }
        Ok(())
    })
    .await
}

async fn forbidden_misjudged<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site.builder().classifier(Gullible);
    let db = S::root(builder.connect().await?);
    let add = "update kv set version = version + 1 where id = 1";
    without_writes(async {
        forbidden(db.execute(How::AsIs, add).await, "found out by a replica")?;
        forbidden(db.execute(How::AsIs, add).await, "known from then on")
    })
    .await?;
    expect("misjudged", db.cluster().status().misjudged, 1)?;
    expect("writes", site.writes(&db, 0).await?, 0)?;
    // Nothing had happened.
    db.execute(How::AsIs, add).await?;
    expect("afterwards", db.query(WRITES, READ).await?, 1)
}

async fn nothing_lifts<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = in_turn(site).await?;
    let session = db.session();
    without_writes(async {
        forbidden(with_replica(db.set(1, 9)).await, "on a replica")?;
        forbidden(with_primary(db.set(1, 9)).await, "on the primary")?;
        let inside = with_session(session.state(), db.set(1, 9));
        forbidden(inside.await, "in a session")
    })
    .await?;
    let inside = with_replica(without_writes(with_primary(db.set(1, 9))));
    forbidden(inside.await, "in the middle")?;
    expect("writes", site.writes(&db, 0).await?, 0)
}

/// Reads six times and tries to write, as a task.
fn task<H: Handle>(db: &H) -> impl Future<Output = (Result<(), String>, bool)> + Send + 'static {
    let db = db.clone();
    async move {
        let read = six_reads(&db).await.map_err(|error| error.to_string());
        let refused = db.set(1, 9).await.is_err();
        (read, refused)
    }
}

async fn spawned_is_inside<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = in_turn(site).await?;
    let mut before = [0, 0];
    let session = db.session();
    let spawned = with_session(
        session.state(),
        with_replica(without_writes(async {
            let read = six_reads(&db).await;
            read.map(|()| spawn(task(&db)))
        })),
    );
    // The scopes have ended, and go on in the task.
    let spawned = spawned.await?;
    let (read, refused) = spawned.await?;
    read?;
    check(refused, "the task has written")?;
    let all = served(site, &db, &mut before).await?;
    expect("on one replica", all, [0, 12].into())?;
    expect("of the session", last(&session)?.1, Reason::Sticky)
}

async fn bare_is_outside<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = in_turn(site).await?;
    let mut before = [0, 0];
    let session = db.session();
    let spawned = with_session(
        session.state(),
        with_replica(without_writes(async { Some(tokio::spawn(task(&db))) })),
    );
    let spawned = spawned.await.ok_or("no task")?;
    let (read, refused) = spawned.await?;
    read?;
    check(!refused, "the task was not allowed to write")?;
    let all = served(site, &db, &mut before).await?;
    check(!all.contains(&0), format!("on one replica: {all:?}"))?;
    check(
        session.last_decision().is_none(),
        "the task was in the session",
    )
}
