//! Nodes that come, go and rest while the router is in use (contract: `Router`).

use dbrouter::discover::{Endpoint, Static};
use dbrouter::{Admission, ConfigErrorKind, Router};

use super::site::ACQUIRE_LIMIT;
use super::{Handle, Mount, Need, READ, READS, Site, Subject, check, expect, last, next, until};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::Servers;
    mount
        .case("discovered_replicas_serve", &[], discovered_replicas)
        .case("nodes_are_asked_for_their_roles", &[Servers], nodes_asked)
        .case("an_added_replica_serves", &[], added_replica_serves)
        .case("a_removed_replica_serves_no_more", &[], removed_replica)
        .case("a_drain_waits_for_what_is_in_flight", &[], drain_waits)
        .case("a_disabled_replica_rests", &[], disabled_replica)
        .case("a_disabled_primary_takes_no_writes", &[], disabled_primary)
        .case("a_name_that_is_taken_is_an_error", &[], taken_name)
        .case("an_unknown_name_is_an_error", &[], unknown_name)
        .case("the_primary_cannot_be_removed", &[], primary_stays);
}

async fn discovered_replicas<S: Subject>(site: &Site<S>) -> Result<()> {
    let endpoint = |number| Endpoint::url(site.url(number)).name(site.name(number));
    let builder = S::builder().primary(site.node(0));
    let builder = builder.acquire_limit(ACQUIRE_LIMIT);
    let source = Static::new([endpoint(1), endpoint(2)]);
    let db = S::root(builder.discover(source).connect().await?);
    // Who did not answer at once, such as a file that another connection is just opening, is asked again.
    until(&db, "all there", |status| {
        status.nodes.len() == 3 && status.nodes.iter().all(|node| node.healthy)
    })
    .await?;
    for number in [1, 2] {
        let other = site.name(3 - number);
        db.cluster().disable(other)?;
        let session = db.session();
        session.query(READS, READ).await?;
        expect("node", site.number(&last(&session)?.0)?, number)?;
        // The connections of those who were discovered are read-only as well.
        let setting = session.query(READS, Site::<S>::read_only_setting()).await?;
        expect("read-only", setting, 1)?;
        db.cluster().enable(other)?;
    }
    Ok(())
}

async fn nodes_asked<S: Subject>(site: &Site<S>) -> Result<()> {
    let nodes = [2, 0, 1].map(|number| site.node(number));
    let db = S::root(S::builder().nodes(nodes).connect().await?);
    let primary = db.cluster().primary();
    expect("primary", site.number(primary.name())?, 0)?;
    db.set(1, 1).await?;
    expect("version", db.get(1).await?, Some(1))?;
    expect("nodes", db.cluster().status().nodes.len(), 3)
}

async fn added_replica_serves<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = S::builder().primary(site.node(0));
    let db = S::root(builder.acquire_limit(ACQUIRE_LIMIT).connect().await?);
    S::add_replica(&db, site.node(1))?;
    until(&db, "met", |status| {
        status.node(site.name(1)).is_some_and(|node| node.healthy)
    })
    .await?;
    let fresh = |status: &dbrouter::Status| {
        status.nodes[1].staleness.is_some() || Site::<S>::server().is_none()
    };
    until(&db, "proved fresh", fresh).await?;
    let session = db.session();
    session.query(READS, READ).await?;
    expect("node", site.number(&last(&session)?.0)?, 1)?;
    expect("reads on it", site.reads(&db, 1).await?, 1)
}

async fn removed_replica<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    db.cluster().remove(site.name(1))?;
    for _ in 0..10 {
        let session = db.session();
        session.query(READS, READ).await?;
        expect("node", site.number(&last(&session)?.0)?, 2)?;
    }
    expect("nodes", db.cluster().status().nodes.len(), 2)
}

async fn drain_waits<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let session = db.session();
    let mut rows = session.stream(READS, "select version from kv order by id");
    next(&mut rows).await.ok_or("no row")??;
    let (name, _) = last(&session)?;
    let drain = tokio::spawn({
        let (cluster, name) = (db.cluster().clone(), name.clone());
        async move { cluster.drain(&name).await }
    });
    until(&db, "draining", |status| {
        status
            .node(&name)
            .is_some_and(|node| node.admission == Admission::Draining)
    })
    .await?;
    for _ in 0..5 {
        let other = db.session();
        other.query(READS, READ).await?;
        check(last(&other)?.0 != name, "a draining replica took work")?;
    }
    // What is in flight goes on to its end.
    let mut count = 1;
    while let Some(row) = next(&mut rows).await {
        row?;
        count += 1;
    }
    expect("rows", count, 64)?;
    check(
        !drain.is_finished() || db.cluster().node(&name).is_none(),
        "it did not wait",
    )?;
    drop(rows);
    drain.await??;
    check(db.cluster().node(&name).is_none(), "it is still there")
}

async fn disabled_replica<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    db.cluster().disable(site.name(1))?;
    for _ in 0..10 {
        db.query(READS, READ).await?;
    }
    expect("reads while disabled", site.reads(&db, 1).await?, 0)?;
    db.cluster().enable(site.name(1))?;
    db.cluster().disable(site.name(2))?;
    for _ in 0..10 {
        db.query(READS, READ).await?;
    }
    expect("reads when enabled", site.reads(&db, 1).await?, 10)
}

async fn disabled_primary<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    db.cluster().disable("primary")?;
    let refused = super::error(db.set(1, 1).await, "the primary is disabled")?;
    let refused = super::refusal(&*refused)?.to_string();
    check(refused.contains("primary: it is disabled"), refused)?;
    expect("version", db.session().get(1).await?, Some(0))?;
    db.cluster().enable("primary")?;
    db.set(1, 1).await
}

async fn taken_name<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let failed = S::add_replica(&db, site.node(1)).err().ok_or("no error")?;
    expect("kind", failed.kind(), ConfigErrorKind::Name)?;
    check(
        failed.to_string().contains(site.name(1)),
        failed.to_string(),
    )
}

async fn unknown_name<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let failed = db.cluster().disable("nobody").err().ok_or("no error")?;
    expect("kind", failed.kind(), ConfigErrorKind::UnknownNode)?;
    let names = ["nobody", "primary", site.name(1), site.name(2)];
    let shown = failed.to_string();
    check(names.iter().all(|name| shown.contains(name)), shown)
}

async fn primary_stays<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let failed = db.cluster().remove("primary").err().ok_or("no error")?;
    expect("kind", failed.kind(), ConfigErrorKind::Primary)?;
    expect("nodes", db.cluster().status().nodes.len(), 3)
}
