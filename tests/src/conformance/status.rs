//! What the router says of itself (contracts: `Router`, `Backend`).

use std::time::Duration;

use dbrouter::{Reason, Role, Router};

use super::{Handle, Mount, Need, READ, READS, Site, Subject, check, expect, next, until};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::Servers;
    mount
        .case("counts_what_the_servers_count", &[Servers], counts)
        .case("shows_roles_health_and_work", &[], roles_and_health)
        .case("shows_how_stale_a_replica_is", &[Servers], staleness)
        .case("counts_fallbacks_by_reason", &[], fallbacks)
        .case("shows_how_occupied_the_pools_are", &[], pressure)
        .case("the_monitor_asks_the_primary_at_its_interval", &[], rounds)
        .case("nothing_shows_a_password", &[], no_password);
}

async fn counts<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    for version in 1..=15 {
        let session = db.session();
        session.get(1).await?;
        session.set(1, version).await?;
        db.get(2).await?;
    }
    let status = db.cluster().status();
    for (number, node) in status.nodes.iter().enumerate() {
        let reads = site.reads(&db, number).await?;
        expect(
            &format!("reads on {}", node.name),
            i64::try_from(node.reads)?,
            reads,
        )?;
        let writes = site.writes(&db, number).await?;
        expect(
            &format!("writes on {}", node.name),
            i64::try_from(node.writes)?,
            writes,
        )?;
    }
    let all: u64 = status
        .nodes
        .iter()
        .map(|node| node.reads + node.writes)
        .sum();
    expect("all work", all, 45)
}

async fn roles_and_health<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    let status = db.cluster().status();
    let roles: Vec<_> = status.nodes.iter().map(|node| node.role).collect();
    expect(
        "roles",
        roles,
        vec![Role::Primary, Role::Replica, Role::Replica],
    )?;
    let names: Vec<_> = status.nodes.iter().map(|node| &*node.name).collect();
    expect("names", names, vec!["primary", site.name(1), site.name(2)])?;
    check(
        status
            .nodes
            .iter()
            .all(|node| node.healthy && node.in_flight == 0),
        status.to_string(),
    )?;
    if Site::<S>::server().is_some() {
        let node = db.cluster().node(site.name(1)).ok_or("no such node")?;
        expect("port", node.peer().port(), Some(site.port(1)?))?;
        expect("address", node.peer().address(), Some("127.0.0.1"))?;
    }
    let table = status.to_string();
    check(
        table.contains("healthy") && table.contains(site.name(2)),
        table,
    )
}

async fn staleness<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    site.pause(1).await?;
    db.set(1, 1).await?;
    let of = |status: &dbrouter::Status, node: usize| {
        status.nodes[node].staleness.unwrap_or(Duration::MAX)
    };
    until(&db, "far apart", |status| {
        of(status, 1) > Duration::from_millis(400) && of(status, 2) < Duration::from_millis(300)
    })
    .await?;
    expect(
        "the primary's",
        of(&db.cluster().status(), 0),
        Duration::ZERO,
    )?;
    site.resume(1).await?;
    until(&db, "caught up", |status| {
        of(status, 1) < Duration::from_millis(300)
    })
    .await
}

async fn fallbacks<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = site.connect().await?;
    for replica in 1..=2 {
        db.cluster().disable(site.name(replica))?;
    }
    for _ in 0..7 {
        db.query(READS, READ).await?;
    }
    let status = db.cluster().status();
    expect("fallbacks", status.fallbacks(Reason::NoReplica), 7)?;
    expect("of another kind", status.fallbacks(Reason::NotFresh), 0)
}

async fn pressure<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site.builder().pool_options(S::pool(3, super::PATIENCE));
    let db = S::root(builder.connect().await?);
    let session = db.session();
    let mut rows = session.stream(READS, "select version from kv");
    next(&mut rows).await.ok_or("no row")??;
    let node = site.number(&super::last(&session)?.0)?;
    let pressure = db.cluster().status().nodes[node].pressure;
    expect("in use", pressure.in_use, 1)?;
    check(
        pressure.max == 3 || pressure.max == 0,
        format!("{pressure:?}"),
    )?;
    drop(rows);
    until(&db, "idle again", |status| {
        status.nodes[node].pressure.in_use == 0
    })
    .await
}

async fn rounds<S: Subject>(site: &Site<S>) -> Result<()> {
    let settings = dbrouter::MonitorSettings::new().interval(Duration::from_millis(20));
    let db = S::root(site.builder().monitor(settings).connect().await?);
    let before = db.cluster().status().monitor_rounds;
    until(&db, "asked again", |status| {
        status.monitor_rounds >= before + 3
    })
    .await
}

async fn no_password<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = site.builder();
    check(
        !format!("{builder:?}").contains("sup3r-secret"),
        "the builder shows it",
    )?;
    let db = S::root(builder.connect().await?);
    let shown = format!("{:?} {:?}", db.cluster(), db.cluster().status());
    check(!shown.contains("sup3r-secret"), "the router shows it")
}
