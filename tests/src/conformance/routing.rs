//! What goes where (contracts: `Router`, `Work`, `Backend`).

use dbrouter::policy::RoundRobin;
use dbrouter::{Classification, Classifier, Intent, Reason, Router};

use super::{
    Handle, How, Mount, Need, READ, READS, Site, Subject, WRITES, check, error, expect, last, write,
};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{Classifies, Servers};
    mount
        .case(
            "writes_reach_the_primary_alone",
            &[],
            writes_reach_the_primary_alone,
        )
        .case("reads_reach_the_replicas", &[], reads_reach_the_replicas)
        .case("reads_are_spread", &[], reads_are_spread)
        .case("without_replicas_the_primary_serves", &[], without_replicas)
        .case(
            "what_is_stated_is_obeyed",
            &[Classifies],
            what_is_stated_is_obeyed,
        )
        .case(
            "statements_tell_their_intent",
            &[Classifies],
            statements_tell_their_intent,
        )
        .case("hints_are_obeyed", &[Classifies], hints_are_obeyed)
        .case("an_insert_is_read_back", &[], an_insert_is_read_back)
        .case(
            "a_write_through_a_read_is_refused_by_the_server",
            &[],
            write_through_a_read,
        )
        .case(
            "what_a_replica_refuses_runs_once_on_the_primary",
            &[Classifies],
            refused_runs_once,
        )
        .case(
            "what_was_refused_is_remembered",
            &[Classifies],
            refused_is_remembered,
        )
        .case(
            "what_is_not_replayed_yet_is_asked_of_the_primary",
            &[Servers, Classifies],
            not_replayed_yet,
        )
        .case(
            "explaining_runs_nothing",
            &[Classifies],
            explaining_runs_nothing,
        )
        .case(
            "replica_connections_are_read_only",
            &[],
            replica_connections_are_read_only,
        )
        .case(
            "a_statements_own_error_is_the_callers",
            &[],
            statements_own_error,
        );
}

async fn writes_reach_the_primary_alone<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    for version in 1..=10 {
        db.set(1, version).await?;
        session.set(2, version).await?;
        db.execute(How::AsIs, &write(version)).await?;
        session.execute(WRITES, &write(version)).await?;
    }
    expect("writes on the primary", site.writes(&db, 0).await?, 40)?;
    for replica in 1..=2 {
        expect("writes on a replica", site.writes(&db, replica).await?, 0)?;
    }
    Ok(())
}

async fn reads_reach_the_replicas<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    for _ in 0..10 {
        let session = db.session();
        expect("version", session.get(1).await?, Some(0))?;
        expect("version", session.query(How::AsIs, READ).await?, 0)?;
        expect("version", db.get(1).await?, Some(0))?;
        expect("no such key", db.get(999).await?, None)?;
    }
    let served = site.reads(&db, 1).await? + site.reads(&db, 2).await?;
    expect("reads on the replicas", served, 40)?;
    expect("reads on the primary", site.reads(&db, 0).await?, 0)
}

async fn reads_are_spread<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = S::root(site.builder().policy(RoundRobin::new()).connect().await?);
    for _ in 0..20 {
        db.get(1).await?;
    }
    for replica in 1..=2 {
        expect("reads on each replica", site.reads(&db, replica).await?, 10)?;
    }
    Ok(())
}

async fn without_replicas<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = S::root(S::builder().primary(site.node(0)).connect().await?);
    let session = db.session();
    session.set(1, 1).await?;
    expect("version", session.get(1).await?, Some(1))?;
    expect("reason", last(&session)?.1, Reason::NoReplica)?;
    expect("reads on the primary", site.reads(&db, 0).await?, 1)
}

async fn what_is_stated_is_obeyed<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    session.query(WRITES, READ).await?;
    let expected = ("primary".to_owned(), Reason::Write);
    expect("stated as a write", last(&session)?, expected)?;
    // Nothing tells that this is a read but the caller.
    let session = db.session();
    let unknown = "select no_such_function_is_known(1)";
    error(session.query(READS, unknown).await, "an unknown function")?;
    let (node, _) = last(&session)?;
    check(node != "primary", "stated as a read, and on the primary")
}

async fn statements_tell_their_intent<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let node = |sql: &str| -> Result<(String, Reason)> {
        let classified = db.cluster().classify(sql);
        let request = dbrouter::Request::read().with_intent(classified.intent, classified.reason);
        let decision = db.cluster().explain(&request, &db.session().state())?;
        Ok((decision.node.to_string(), decision.reason))
    };
    for read in [
        READ,
        "select count(*) from kv",
        "-- a comment\nselect 1",
        "select 'for update' from kv",
        "with latest as (select max(version) as v from kv) select v from latest",
    ] {
        expect(read, node(read)?.1, Reason::Policy)?;
    }
    for write in [
        "insert into kv values (99, 0)",
        "update kv set version = 1",
        "delete from kv",
        "select 1; delete from kv",
        "create table other (id int)",
        "select no_such_function_is_known(1)",
        "",
    ] {
        expect(write, node(write)?.0, "primary".to_owned())?;
    }
    if Site::<S>::server().is_some() {
        expect(
            "locks",
            node("select * from kv for update")?.0,
            "primary".to_owned(),
        )?;
    }
    // And what is run goes where that says.
    let session = db.session();
    session.query(How::AsIs, READ).await?;
    check(last(&session)?.0 != "primary", "a read ran on the primary")?;
    session.execute(How::AsIs, &write(1)).await?;
    expect(
        "a write",
        last(&session)?,
        ("primary".to_owned(), Reason::Write),
    )
}

async fn hints_are_obeyed<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    let hinted = format!("/*dbrouter:primary*/ {READ}");
    session.query(How::AsIs, &hinted).await?;
    let expected = ("primary".to_owned(), Reason::Write);
    expect("a hint", last(&session)?, expected)?;
    let session = db.session();
    let hinted = "/*dbrouter:replica*/ select no_such_function_is_known(1)";
    error(
        session.query(How::AsIs, hinted).await,
        "an unknown function",
    )?;
    let (node, _) = last(&session)?;
    check(node != "primary", "the other hint was not obeyed")
}

/// Where the ORM inserts and then selects, both must see the same.
async fn an_insert_is_read_back<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    let session = db.session();
    for id in 0..20 {
        let version = i64::from(id);
        expect(
            "on the root handle",
            db.insert(1000 + id, version).await?,
            version,
        )?;
        expect(
            "on a session",
            session.insert(2000 + id, version).await?,
            version,
        )?;
    }
    expect("read again", db.get(1019).await?, Some(19))?;
    expect("read again", session.get(2019).await?, Some(19))
}

async fn write_through_a_read<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    error(
        session.execute(READS, &write(7)).await,
        "a write through a read handle",
    )?;
    check(last(&session)?.0 != "primary", "it ran on the primary")?;
    expect("version", session.query(WRITES, READ).await?, 0)?;
    expect("misjudged", db.cluster().status().misjudged, 0)
}

/// Takes everything for a read.
pub(super) struct Gullible;

impl Classifier for Gullible {
    fn classify(&self, _: &str) -> Classification {
        Classification::READ
    }
}

async fn refused_runs_once<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = S::root(site.builder().classifier(Gullible).connect().await?);
    let session = db.session();
    let add = "update kv set version = version + 1 where id = 1";
    session.execute(How::AsIs, add).await?;
    expect(
        "decision",
        last(&session)?,
        ("primary".to_owned(), Reason::Misrouted),
    )?;
    expect("one effect", session.query(WRITES, READ).await?, 1)?;
    // The session sees it, since it was a write after all.
    expect("its own write", session.query(How::AsIs, READ).await?, 1)?;
    expect("misjudged", db.cluster().status().misjudged, 1)
}

async fn refused_is_remembered<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = S::root(site.builder().classifier(Gullible).connect().await?);
    let add = "update kv set version = version + 1 where id = 1";
    for _ in 0..10 {
        db.execute(How::AsIs, add).await?;
    }
    expect("effects", db.query(WRITES, READ).await?, 10)?;
    expect("refused once", db.cluster().status().misjudged, 1)?;
    expect(
        "known as a write",
        db.cluster().classify(add).intent,
        Intent::Write,
    )
}

async fn not_replayed_yet<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    // Somebody else migrates: the session need not see it.
    site.execute(0, "create table late (id bigint primary key)")
        .await?;
    site.execute(0, "insert into late values (7)").await?;
    let session = db.session();
    expect(
        "read",
        session.query(How::AsIs, "select id from late").await?,
        7,
    )?;
    expect(
        "decision",
        last(&session)?,
        ("primary".to_owned(), Reason::NotReplayed),
    )
}

async fn explaining_runs_nothing<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    let before = session.state().needs();
    let request = dbrouter::Request::write();
    let decision = db.cluster().explain(&request, &session.state())?;
    expect("node", &*decision.node, "primary")?;
    expect("needs", session.state().needs(), before)?;
    check(
        session.last_decision().is_none(),
        "explaining counts as a decision",
    )?;
    let status = db.cluster().status();
    let counted: u64 = status
        .nodes
        .iter()
        .map(|node| node.reads + node.writes)
        .sum();
    expect("work counted", counted, 0)
}

async fn replica_connections_are_read_only<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let setting = Site::<S>::read_only_setting();
    expect("on a replica", db.query(READS, setting).await?, 1)?;
    expect("on the primary", db.query(WRITES, setting).await?, 0)
}

async fn statements_own_error<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let failed = error(
        db.execute(WRITES, "insert into kv values (1, 1)").await,
        "a duplicate key",
    )?;
    check(
        super::refusal(&*failed).is_err(),
        "it is taken for a refusal",
    )?;
    let failed = error(
        db.query(READS, "select version from kv where").await,
        "no syntax",
    )?;
    check(
        super::refusal(&*failed).is_err(),
        "it is taken for a refusal",
    )?;
    // Nobody is taken for sick because of it.
    let status = db.cluster().status();
    check(
        status.nodes.iter().all(|node| node.healthy),
        status.to_string(),
    )?;
    expect("failovers", status.failovers, 0)
}
