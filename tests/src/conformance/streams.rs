//! What is held: streams and connections (contracts: `Router`, `Work`).

use dbrouter::policy::RoundRobin;
use dbrouter::{Intent, Reason, Router};

use super::{
    Handle, How, Mount, Need, PATIENCE, READ, READS, Site, Subject, body, check, expect, last,
    next, until, write,
};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{Holds, Servers};
    mount
        .case("hand_out_all_rows", &[], all_rows)
        .case(
            "hold_their_place_until_they_are_dropped",
            &[],
            hold_their_place,
        )
        .case("see_the_sessions_writes", &[], see_writes)
        .case("half_read_ones_give_back_their_connection", &[], half_read)
        .case("an_error_ends_them", &[], error_ends_them)
        .case("a_held_reader_stays_on_one_replica", &[Holds], held_reader)
        .case(
            "a_held_writer_keeps_reads_on_the_primary",
            &[Holds, Servers],
            held_writer,
        )
        .case("what_was_written_unseen_is_seen", &[Holds], written_unseen)
        .case("a_held_writer_gives_back_its_place", &[Holds], gives_back)
        .case(
            "dropped_at_any_point_all_work_leaves_nothing_behind",
            &[],
            all_work_dropped,
        );
}

const ALL: &str = "select version from kv order by id";

async fn all_rows<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    for handle in [db.session(), db] {
        let mut rows = handle.stream(How::AsIs, ALL);
        let mut count = 0;
        while let Some(row) = next(&mut rows).await {
            row?;
            count += 1;
        }
        expect("rows", count, 64)?;
    }
    Ok(())
}

async fn hold_their_place<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    let mut rows = session.stream(READS, ALL);
    next(&mut rows).await.ok_or("no row")??;
    let node = site.number(&last(&session)?.0)?;
    let in_flight = || db.cluster().status().nodes[node].in_flight;
    expect("in flight", in_flight(), 1)?;
    drop(rows);
    until(&db, "given back", |status| {
        status.nodes[node].in_flight == 0
    })
    .await
}

async fn see_writes<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    let session = db.session();
    session.set(1, 8).await?;
    let mut rows = session.stream(READS, ALL);
    expect("the first row", next(&mut rows).await.ok_or("no row")??, 8)
}

async fn half_read<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site.builder().pool_options(S::pool(1, PATIENCE));
    let db = S::root(builder.connect().await?);
    for _ in 0..10 {
        let mut rows = db.session().stream(READS, ALL);
        next(&mut rows).await.ok_or("no row")??;
        drop(rows);
        expect("version", db.session().query(READS, READ).await?, 0)?;
    }
    expect("nobody fell back", site.reads(&db, 0).await?, 0)
}

async fn error_ends_them<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let mut rows = db.session().stream(READS, "select no_such_column from kv");
    let first = next(&mut rows).await.ok_or("no error")?;
    check(first.is_err(), "no error")?;
    check(next(&mut rows).await.is_none(), "it goes on after an error")?;
    drop(rows);
    until(&db, "empty", |status| {
        status.nodes.iter().all(|node| node.in_flight == 0)
    })
    .await
}

async fn held_reader<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = S::root(site.builder().policy(RoundRobin::new()).connect().await?);
    let mut held = db.session().hold(Intent::Read).await?;
    for _ in 0..6 {
        expect("version", held.query(READ).await?, 0)?;
    }
    if Site::<S>::server().is_some() {
        let shares = [site.reads(&db, 1).await?, site.reads(&db, 2).await?];
        check(
            shares == [6, 0] || shares == [0, 6],
            format!("{shares:?} on the replicas"),
        )?;
    }
    Ok(())
}

async fn held_writer<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    let mut held = session.hold(Intent::Write).await?;
    held.execute(&write(1)).await?;
    expect("version", session.get(1).await?, Some(1))?;
    expect(
        "decision",
        last(&session)?,
        ("primary".to_owned(), Reason::OpenWriter),
    )?;
    // Another session is not concerned.
    let other = db.session();
    other.get(1).await?;
    check(
        last(&other)?.0 != "primary",
        "the other session is on the primary",
    )?;
    drop(held);
    let back = async || {
        session.get(1).await.is_ok() && last(&session).is_ok_and(|(node, _)| node != "primary")
    };
    check(
        crate::wait::until(back).await,
        "the session stays on the primary",
    )
}

async fn written_unseen<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    for version in 1..=20 {
        let session = db.session();
        let mut held = session.hold(Intent::Write).await?;
        held.execute(&write(version)).await?;
        drop(held);
        expect("after it is back", session.get(1).await?, Some(version))?;
    }
    Ok(())
}

async fn gives_back<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site.builder().pool_options(S::pool(1, PATIENCE));
    let db = S::root(builder.connect().await?);
    for version in 1..=10 {
        let mut held = db.hold(Intent::Write).await?;
        expect("in flight", db.cluster().status().nodes[0].in_flight, 1)?;
        held.execute(&write(version)).await?;
        drop(held);
        until(&db, "given back", |status| status.nodes[0].in_flight == 0).await?;
    }
    expect("version", db.get(1).await?, Some(10))
}

/// One of all kinds of work.
async fn some_work<S: Subject>(kind: u32, db: &S::Handle, session: &S::Handle) -> Result<()> {
    match kind {
        0 => db.get(3).await.map(drop),
        1 => session.get(3).await.map(drop),
        2 => db.set(3, 1).await,
        3 => {
            session
                .execute(How::AsIs, "update kv set version = 2 where id = 3")
                .await
        }
        4 => {
            let mut rows = session.stream(READS, ALL);
            while let Some(row) = next(&mut rows).await {
                row?;
            }
            Ok(())
        }
        5 => {
            let write = "update kv set version = 3 where id = 3";
            let write = body(move |tx| Box::pin(async move { tx.execute(write).await }));
            session.transact(write).await
        }
        _ => session.query(READS, READ).await.map(drop),
    }
}

async fn all_work_dropped<S: Subject>(site: &Site<S>) -> Result<()> {
    let most = site.writers();
    let builder = site.builder().pool_options(S::pool(most, PATIENCE));
    let db = S::root(builder.connect().await?);
    let tasks: Vec<_> = (0..4_u64)
        .map(|task| {
            let db = db.clone();
            tokio::spawn(async move {
                // Seeded, so that the same points are hit again, as far as the servers' pace allows.
                let mut random = fastrand::Rng::with_seed(task);
                for _ in 0..150 {
                    let session = db.session();
                    let (polls, kind) = (random.u32(0..12), random.u32(0..7));
                    super::abandoned_after(polls, some_work::<S>(kind, &db, &session)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    until(&db, "empty", |status| {
        status.nodes.iter().all(|node| node.in_flight == 0)
    })
    .await?;
    // Each pool still gives out as many connections as it has.
    for id in 10..30 {
        db.set(id, 5).await?;
        expect("version", db.session().get(id).await?.is_some(), true)?;
    }
    let mut streams = Vec::new();
    for _ in 0..most {
        let session = db.session();
        let mut rows = session.stream(READS, ALL);
        next(&mut rows).await.ok_or("no row")??;
        check(
            last(&session)?.0 != "primary",
            "a replica's pool is short of connections",
        )?;
        streams.push(rows);
    }
    Ok(())
}
