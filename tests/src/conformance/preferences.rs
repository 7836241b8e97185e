//! The five read preferences (contract: `Router`).

use dbrouter::policy::RoundRobin;
use dbrouter::{Preference, Reason, WhyNot};

use super::{
    Handle, Mount, Need, READ, READS, Site, Subject, check, error, expect, last, refusal, until,
};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    mount
        .case("primary", &[], primary)
        .case("primary_preferred", &[], primary_preferred)
        .case(
            "primary_preferred_without_a_primary",
            &[Need::Servers],
            without_a_primary,
        )
        .case("replica", &[], replica)
        .case("replica_preferred", &[], replica_preferred)
        .case("nearest", &[], nearest)
        .case(
            "a_handles_own_comes_before_the_builders",
            &[],
            own_comes_first,
        )
        .case(
            "none_weakens_consistency",
            &[Need::Servers],
            none_weakens_consistency,
        );
}

async fn primary<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session().preference(Preference::Primary);
    session.query(READS, READ).await?;
    let expected = ("primary".to_owned(), Reason::PreferenceIsPrimary);
    expect("decision", last(&session)?, expected)?;
    expect("reads on the primary", site.reads(&db, 0).await?, 1)
}

async fn primary_preferred<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session().preference(Preference::PrimaryPreferred);
    session.query(READS, READ).await?;
    expect("node", last(&session)?.0, "primary".to_owned())?;
    db.cluster().disable("primary")?;
    // The other one has seen the primary, and no replica is known to show as much yet.
    let session = db.session().preference(Preference::PrimaryPreferred);
    session.query(READS, READ).await?;
    let (node, reason) = last(&session)?;
    check(node != "primary", "read on the disabled primary")?;
    expect("reason", reason, Reason::NoPrimary)
}

async fn without_a_primary<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.kill(0).await?;
    until(&db, "found lost", |status| {
        status.node("primary").is_some_and(|node| !node.healthy)
    })
    .await?;
    let session = db.session().preference(Preference::PrimaryPreferred);
    expect("version", session.query(READS, READ).await?, 0)?;
    check(last(&session)?.0 != "primary", "read on the dead primary")
}

async fn replica<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session().preference(Preference::Replica);
    session.query(READS, READ).await?;
    check(last(&session)?.0 != "primary", "read on the primary")?;
    for replica in 1..=2 {
        db.cluster().disable(site.name(replica))?;
    }
    let refused = error(session.query(READS, READ).await, "no replica is left")?;
    let refused = refusal(&*refused)?;
    expect("refusals", refused.refusals().len(), 3)?;
    let primary = refused
        .refusals()
        .iter()
        .find(|refusal| &*refusal.node == "primary");
    expect(
        "why not",
        primary.map(|refusal| refusal.why),
        Some(WhyNot::Preference),
    )
}

async fn replica_preferred<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    for replica in 1..=2 {
        db.cluster().disable(site.name(replica))?;
    }
    let session = db.session();
    session.query(READS, READ).await?;
    expect(
        "decision",
        last(&session)?,
        ("primary".to_owned(), Reason::NoReplica),
    )
}

async fn nearest<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site.builder().policy(RoundRobin::new());
    let db = S::root(builder.preference(Preference::Nearest).connect().await?);
    for _ in 0..9 {
        db.query(READS, READ).await?;
    }
    for node in 0..=2 {
        expect("reads on each node", site.reads(&db, node).await?, 3)?;
    }
    Ok(())
}

async fn own_comes_first<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = S::root(
        site.builder()
            .preference(Preference::Primary)
            .connect()
            .await?,
    );
    let session = db.session();
    session.query(READS, READ).await?;
    expect("the builder's", last(&session)?.0, "primary".to_owned())?;
    let session = db.session().preference(Preference::Replica);
    session.query(READS, READ).await?;
    check(
        last(&session)?.0 != "primary",
        "the handle's own was not heeded",
    )
}

async fn none_weakens_consistency<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause_all().await?;
    let session = db.session();
    session.set(1, 5).await?;
    for preference in [Preference::ReplicaPreferred, Preference::Nearest] {
        let version = session.preference(preference).query(READS, READ).await?;
        expect(&preference.to_string(), version, 5)?;
    }
    // Rather no answer than a stale one.
    let only = session.preference(Preference::Replica);
    let refused = error(only.query(READS, READ).await, "no replica is fresh")?;
    let stale = |refusal: &dbrouter::Refusal| matches!(refusal.why, WhyNot::NotFresh(_));
    expect(
        "stale replicas",
        refusal(&*refused)?
            .refusals()
            .iter()
            .filter(|refusal| stale(refusal))
            .count(),
        2,
    )
}
