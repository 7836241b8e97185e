//! Sessions that keep their replica connection between statements (contracts: `Work`, `Hold`).

use std::collections::BTreeSet;

use dbrouter::{Hold, Preference, Router};

use super::{
    Handle, Mount, Need, PATIENCE, READ, READS, Site, Subject, check, expect, last, next, until,
};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{HoldsBetween, Retries, Servers};
    mount
        // Who has to wait for long, for a connection or for a turn, holds none.
        .case_alone(
            "hold_their_connection",
            &[HoldsBetween, Servers],
            hold_their_connection,
        )
        .case_alone("give_their_connection_back", &[HoldsBetween], give_it_back)
        .case(
            "hold_no_connection_whose_statement_was_dropped",
            &[HoldsBetween],
            dropped_statements,
        )
        .case(
            "that_hold_share_a_connection_when_there_is_but_one",
            &[HoldsBetween],
            one_for_all,
        )
        .case(
            "see_no_error_when_the_connection_they_hold_breaks",
            &[HoldsBetween, Retries, Servers],
            broken,
        );
}

/// By the servers' own numbers: several sessions at once, so that a pool would hand their connections around.
async fn hold_their_connection<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site.builder().hold_connection(Hold::ForLife);
    let db = S::root(builder.connect().await?);
    // While a connection takes long to be opened, as on a busy machine, the pool may count as short, and then none is held.
    let mut failure = None;
    let held = crate::wait::until(async || {
        failure = each_has_one::<S>(&db).await.err();
        failure.is_none()
    });
    let held = held.await;
    check(held, failure.map_or(String::new(), |why| why.to_string()))
}

/// Four sessions have one connection each, and no two of them the same.
async fn each_has_one<S: Subject>(db: &S::Handle) -> Result<()> {
    let sessions: Vec<_> = (0..4).map(|_| db.session()).collect();
    for session in &sessions {
        // While connections are opened, none is held.
        session.get(1).await?;
    }
    let sessions = sessions.into_iter().map(|session| {
        tokio::spawn(async move {
            let mut connections = BTreeSet::new();
            for _ in 0..25 {
                let number = session.query(READS, Site::<S>::connection_number()).await;
                connections.insert(number.map_err(|error| error.to_string())?);
                let version = session.get(1).await.map_err(|error| error.to_string())?;
                if version != Some(0) {
                    return Err(format!("{version:?} was read"));
                }
            }
            Ok((session, connections))
        })
    });
    let sessions: Vec<_> = sessions.collect();
    let mut ended = Vec::new();
    for session in sessions {
        let (session, connections) = session.await??;
        expect("connections of a session", connections.len(), 1)?;
        ended.push((session, connections));
    }
    let nodes = ended.iter().map(|(session, connections)| {
        let node = last(session)?.0;
        Ok((node, connections.clone()))
    });
    let all = nodes.collect::<Result<BTreeSet<_>>>()?;
    expect("connections of all", all.len(), 4)
}

/// How many connections are out of a node's pool.
fn in_use<S: Subject>(db: &S::Handle, number: usize) -> u32 {
    db.cluster().status().nodes[number].pressure.in_use
}

async fn all_back<S: Subject>(db: &S::Handle, why: &str) -> Result<()> {
    let all = |status: &dbrouter::Status| {
        let mut nodes = status.nodes.iter();
        nodes.all(|node| node.pressure.in_use == 0)
    };
    until(db, &format!("all given back: {why}"), all).await
}

async fn give_it_back<S: Subject>(site: &Site<S>) -> Result<()> {
    // With a pool of one, who opens that one has to wait for it, and so holds none for a while.
    let builder = site.builder().pool_options(S::pool(3, PATIENCE));
    let db = S::root(builder.connect().await?);
    // While a connection takes long to be opened, as on a busy machine, the pool may count as short, and then none is kept.
    let kept = async |session: &S::Handle| {
        let is_kept = async || -> Result<bool> {
            session.query(READS, READ).await?;
            let node = site.number(&last(session)?.0)?;
            let in_flight = db.cluster().status().nodes[node].in_flight;
            Ok(in_use::<S>(&db, node) == 1 && in_flight == 0)
        };
        let kept = crate::wait::until(async || is_kept().await.unwrap_or(false));
        check(kept.await, "no connection is kept")
    };
    let session = db.session().hold_connection(Hold::ForLife);
    kept(&session).await?;
    session.set(1, 1).await?;
    all_back::<S>(&db, "the session has written").await?;

    let session = db.session().hold_connection(Hold::ForLife);
    kept(&session).await?;
    let node = last(&session)?.0;
    db.cluster().disable(&node)?;
    all_back::<S>(&db, "the node is disabled").await?;
    db.cluster().enable(&node)?;

    let session = db.session().hold_connection(Hold::ForLife);
    kept(&session).await?;
    drop(session);
    all_back::<S>(&db, "the session has ended").await?;

    let session = db.session().hold_connection(Hold::closely());
    session.query(READS, READ).await?;
    all_back::<S>(&db, "it has been idle").await?;

    db.hold_connection(Hold::ForLife).query(READS, READ).await?;
    all_back::<S>(&db, "the root holds none").await
}

/// A statement whose answer is this number.
fn saying(number: i64) -> String {
    format!("select version + {number} from kv where id = 1")
}

async fn all_rows<H: Handle>(session: &H, text: &str) -> Result<()> {
    let mut rows = session.stream(READS, text);
    while let Some(row) = next(&mut rows).await {
        row?;
    }
    Ok(())
}

async fn dropped_statements<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site.builder().pool_options(S::pool(3, PATIENCE));
    let db = S::root(builder.connect().await?);
    let mut dropped = 0;
    for polls in (1..=20).chain(1..=5).chain(1..=5) {
        let session = db.session().hold_connection(Hold::ForLife);
        for stream in [false, true] {
            session.query(READS, &saying(7)).await?;
            // A text of its own and a server that takes its time, so that there is much to wait for.
            let text = format!("select {}, {dropped}", Site::<S>::taking_its_time());
            let mut completed = false;
            let statement = async {
                let ended = match stream {
                    false => session.query(READS, &text).await.map(drop),
                    true => all_rows(&session, &text).await,
                };
                completed = ended.is_ok();
            };
            super::abandoned_after(polls, statement).await;
            if !completed {
                dropped += 1;
                // The session goes on, and holds nothing.
                all_back::<S>(&db, &format!("dropped after {polls} polls")).await?;
            }
            // On all connections that there are, the session's among them.
            let [one, two, three] = [11, 12, 13].map(|number| {
                let session = session.clone();
                async move { session.query(READS, &saying(number)).await }
            });
            let (one, two, three) = tokio::join!(one, two, three);
            expect("answers", [one?, two?, three?], [11, 12, 13])?;
        }
    }
    check(dropped >= 5, format!("{dropped} statements were dropped"))
}

/// Whoever would have to wait for a connection gets one that a session holds and does not use.
async fn one_for_all<S: Subject>(site: &Site<S>) -> Result<()> {
    // Nobody gets a connection, or the next node, by waiting for so long.
    let builder = site.builder().pool_options(S::pool(1, PATIENCE));
    let db = S::root(builder.hold_connection(Hold::ForLife).connect().await?);
    db.cluster().disable(site.name(2))?;
    let session = || db.session().preference(Preference::Replica);
    let (one, other) = (session(), session());
    for number in 0..20 {
        expect("one", one.query(READS, &saying(number)).await?, number)?;
        expect("other", other.query(READS, &saying(number)).await?, number)?;
    }
    let tasks = [one, other, session(), session()].map(|session| {
        tokio::spawn(async move {
            for number in 0..20 {
                let answer = session.query(READS, &saying(number)).await;
                if answer.map_err(|error| error.to_string())? != number {
                    return Err("somebody else's answer".to_owned());
                }
            }
            Ok(())
        })
    });
    for task in tasks {
        task.await??;
    }
    if Site::<S>::server().is_some() {
        expect("reads of the only replica", site.reads(&db, 1).await?, 120)?;
    }
    Ok(())
}

async fn broken<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session().hold_connection(Hold::ForLife);
    let number = session.query(READS, Site::<S>::connection_number()).await?;
    let node = last(&session)?.0;
    site.end_connection(site.number(&node)?, number).await?;
    for _ in 0..10 {
        expect("version", session.get(1).await?, Some(0))?;
    }
    // It was no more than a connection.
    until(&db, "found again", |status| {
        status.nodes.iter().all(|node| node.healthy)
    })
    .await
}
