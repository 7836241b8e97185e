//! What a caller has stated to be a read cannot write, also where the primary serves it (contracts: `Work`, `Backend`).

use dbrouter::{Intent, Preference};

use super::routing::Gullible;
use super::{
    Handle, How, Mount, Need, READ, READS, Site, Subject, WRITES, body, check, error, expect, last,
    next, refusal, until, write,
};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{Classifies, Holds, ReadOnlyTransactions, RefusesStatedWrites, Servers};
    mount
        .case(
            "that_fall_back_cannot_write",
            &[RefusesStatedWrites, Servers],
            fall_back,
        )
        .case(
            "on_a_preferred_primary_cannot_write",
            &[RefusesStatedWrites],
            preferred_primary,
        )
        .case(
            "without_replicas_cannot_write",
            &[RefusesStatedWrites],
            without_replicas,
        )
        .case(
            "by_a_hint_cannot_write",
            &[RefusesStatedWrites, Classifies],
            by_a_hint,
        )
        .case(
            "on_a_held_connection_cannot_write",
            &[RefusesStatedWrites, Holds],
            on_a_held_connection,
        )
        .case(
            "in_a_transaction_on_the_primary_cannot_write",
            &[RefusesStatedWrites, ReadOnlyTransactions],
            in_a_transaction,
        )
        .case(
            "and_all_others_where_writes_are_forbidden_cannot_write",
            &[RefusesStatedWrites, Classifies],
            where_writes_are_forbidden,
        )
        .case(
            "dropped_half_way_leave_a_connection_that_writes",
            &[RefusesStatedWrites],
            dropped_statements,
        )
        .case(
            "dropped_in_a_transaction_leave_a_connection_that_writes",
            &[RefusesStatedWrites, ReadOnlyTransactions],
            dropped_transactions,
        )
        .case(
            "dropped_after_a_row_leave_a_connection_that_writes",
            &[RefusesStatedWrites],
            dropped_streams,
        );
}

/// A router whose nodes have one connection each.
async fn connect<S: Subject>(site: &Site<S>) -> Result<S::Handle> {
    let builder = site.builder().pool_options(S::pool(1, super::PATIENCE));
    Ok(S::root(builder.connect().await?))
}

/// A write that was stated to be a read has failed: on the primary, by its server's word, and without effect. The
/// primary's connection, of which there is one, can be written on again.
async fn refused<S: Subject>(
    site: &Site<S>,
    session: &S::Handle,
    written: Result<()>,
) -> Result<()> {
    let refused = error(written, "a write that was stated to be a read")?;
    check(
        refusal(&*refused).is_err(),
        format!("the router has refused it: {refused}"),
    )?;
    expect("node", last(session)?.0, "primary".to_owned())?;
    expect("version", session.query(WRITES, READ).await?, 0)?;
    session.set(2, 5).await?;
    if Site::<S>::server().is_some() {
        expect("version", site.ask(0, READ).await?, 0)?;
    }
    Ok(())
}

async fn fall_back<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = connect(site).await?;
    site.pause_all().await?;
    let session = db.session();
    session.set(2, 1).await?;
    for sql in [
        write(7),
        "insert into kv values (77, 7)".to_owned(),
        "create table other (id int)".to_owned(),
        "delete from kv".to_owned(),
    ] {
        refused(site, &session, session.execute(READS, &sql).await).await?;
    }
    // And reads read.
    expect("version", session.query(READS, READ).await?, 0)?;
    expect(
        "keys",
        session.query(READS, "select count(*) from kv").await?,
        64,
    )
}

async fn preferred_primary<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = connect(site).await?;
    let session = db.session().preference(Preference::Primary);
    refused(site, &session, session.execute(READS, &write(7)).await).await?;
    expect("version", session.query(READS, READ).await?, 0)
}

async fn without_replicas<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = S::builder().primary(site.node(0));
    let pool = S::pool(1, super::PATIENCE);
    let db = S::root(builder.pool_options(pool).connect().await?);
    let session = db.session();
    let create = "create table other (id int)";
    refused(site, &session, session.execute(READS, create).await).await?;
    expect("version", session.query(READS, READ).await?, 0)
}

async fn by_a_hint<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = connect(site).await?;
    let session = db.session().preference(Preference::Primary);
    let hinted = format!("/*dbrouter:replica*/ {}", write(7));
    refused(site, &session, session.execute(How::AsIs, &hinted).await).await
}

async fn on_a_held_connection<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = connect(site).await?;
    let session = db.session().preference(Preference::Primary);
    let mut held = session.hold(Intent::Read).await?;
    let written = held.execute(&write(7)).await;
    // Whether or not a statement has failed on it.
    expect("version", held.query(READ).await?, 0)?;
    error(held.execute(&write(8)).await, "another write")?;
    drop(held);
    refused(site, &session, written).await
}

async fn in_a_transaction<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = connect(site).await?;
    let session = db.session().preference(Preference::Primary);
    let writes = || {
        body(|tx| {
            Box::pin(async move {
                expect("version", tx.query(READ).await?, 0)?;
                tx.execute(&write(7)).await
            })
        })
    };
    refused(site, &session, session.read_only(writes()).await).await?;
    refused(site, &session, session.snapshot(writes()).await).await?;
    let reads = body(|tx| Box::pin(async move { tx.query(READ).await.map(drop) }));
    session.read_only(reads).await?;
    session.set(2, 6).await
}

async fn where_writes_are_forbidden<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site.builder().classifier(Gullible);
    let pool = S::pool(1, super::PATIENCE);
    let db = S::root(builder.pool_options(pool).connect().await?);
    let session = db.session().preference(Preference::Primary);
    let sql = write(7);
    let inside = dbrouter::scope::without_writes(session.execute(How::AsIs, &sql)).await;
    let failed = error(inside, "a write where none is allowed")?;
    check(refusal(&*failed).is_err(), "the router knew it for a write")?;
    expect("version", session.query(WRITES, READ).await?, 0)
}

async fn dropped_statements<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = connect(site).await?;
    let session = db.session().preference(Preference::Primary);
    for polls in 0..30 {
        super::abandoned_after(polls, session.query(READS, READ)).await;
        session.set(1, i64::from(polls)).await?;
    }
    is_whole(site, &db, 29).await
}

async fn dropped_transactions<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = connect(site).await?;
    let session = db.session().preference(Preference::Primary);
    for polls in 0..30 {
        // Nothing runs in it: sqlx 0.9 never gives back a connection to MariaDB whose transaction was dropped in the midst
        // of a statement.
        let hangs = body(|_| {
            Box::pin(async {
                loop {
                    tokio::task::yield_now().await;
                }
            })
        });
        super::abandoned_after(polls, session.read_only(hangs)).await;
        session.set(1, i64::from(polls)).await?;
    }
    is_whole(site, &db, 29).await
}

async fn dropped_streams<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = connect(site).await?;
    let session = db.session().preference(Preference::Primary);
    for version in 0..10 {
        let mut rows = session.stream(READS, "select version from kv order by id");
        next(&mut rows).await.ok_or("no row")??;
        drop(rows);
        session.set(1, version).await?;
    }
    is_whole(site, &db, 9).await
}

/// What was written on the primary's only connection was committed, and nothing is under way.
async fn is_whole<S: Subject>(site: &Site<S>, db: &S::Handle, version: i64) -> Result<()> {
    let elsewhere = S::root(S::builder().primary(site.node(0)).connect().await?);
    expect(
        "seen from elsewhere",
        elsewhere.get(1).await?,
        Some(version),
    )?;
    until(db, "empty", |status| {
        status.nodes.iter().all(|node| node.in_flight == 0)
    })
    .await
}
