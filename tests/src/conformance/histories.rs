//! One history: what a node has proved, it has proved of the log that the primary writes now (contracts: `Router`,
//! `Token`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbrouter::{NodeOptions, Router, Token};
use tokio::task::JoinHandle;

use super::{
    Handle, Mount, Need, READ, Site, Subject, Told, check, error, expect, expect_version, last,
    serves, until,
};
use crate::Result;
use crate::any::Connection;
use crate::proxy::Proxy;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{MariaDb, Postgres, Servers};
    mount
        .case(
            "replicas_ahead_of_a_primary_that_was_set_back_show_no_session_the_past",
            &[Servers],
            set_back,
        )
        .case(
            "replicas_ahead_of_a_primary_whose_log_was_reset_show_no_session_the_past",
            &[MariaDb],
            log_reset,
        )
        .case(
            "a_restored_copy_that_is_added_takes_nothing",
            &[Postgres],
            copy_added,
        )
        .case(
            "a_restored_copy_that_is_configured_takes_nothing",
            &[Postgres],
            copy_configured,
        )
        .case(
            "a_standby_of_a_twin_that_was_promoted_apart_shows_no_session_the_past",
            &[Postgres],
            promoted_apart,
        )
        .case(
            "a_new_cluster_behind_the_same_addresses_is_gone_on_with",
            &[Servers],
            new_cluster,
        )
        .case(
            "a_new_cluster_behind_the_primarys_address_gets_no_write_while_a_replica_of_the_old_one_answers",
            &[Servers],
            new_primary_alone,
        )
        .case(
            "two_servers_that_replicate_from_each_other_show_no_session_the_past",
            &[MariaDb],
            circular,
        );
}

/// A session writes and reads, and so does one that has its token, until the monitor has asked often enough for
/// whatever it may believe of the replicas.
async fn sees_its_write<S: Subject>(db: &S::Handle, version: i64) -> Result<(S::Handle, Token)> {
    let session = db.session();
    let written = crate::wait::until(async || session.set(1, version).await.is_ok());
    check(written.await, "no write is taken")?;
    let token = session.token().await.ok_or("no token")?;
    goes_on_seeing::<S>(db, &session, &token, version).await?;
    Ok((session, token))
}

async fn goes_on_seeing<S: Subject>(
    db: &S::Handle,
    session: &S::Handle,
    token: &Token,
    version: i64,
) -> Result<()> {
    const ROUNDS: u64 = 20;
    const READS: i64 = 200;
    let begun = db.cluster().status().monitor_rounds;
    let mut reads = 0;
    while reads < READS || db.cluster().status().monitor_rounds < begun + ROUNDS {
        expect_version::<S>(session, version).await?;
        expect_version::<S>(&db.session_from(token), version).await?;
        reads += 1;
    }
    Ok(())
}

// -- a log that goes back ----------------------------------------------------------------------------

/// Changes all rows so many times, which makes the log longer by much more than a case writes otherwise.
async fn write_much<S: Subject>(site: &Site<S>, number: usize, times: usize) -> Result<()> {
    let update = "update kv set version = version + 1;";
    site.execute(number, &update.repeat(times)).await
}

/// The same, of the rows that no session of these cases reads.
async fn write_elsewhere<S: Subject>(site: &Site<S>, number: usize, times: usize) -> Result<()> {
    let update = "update kv set version = version + 1 where id > 1;";
    site.execute(number, &update.repeat(times)).await
}

/// The disk of the primary is set back to a snapshot: same cluster, same history, an earlier position.
/// (patroni/patroni#2717)
async fn set_back<S: Subject>(site: &Site<S>) -> Result<()> {
    site.stop(0).await?;
    site.take_snapshot(0).await?;
    site.start(0).await?;
    write_much(site, 0, 400).await?;
    site.catch_up(1).await?;
    site.catch_up(2).await?;
    let told = Told::default();
    let builder = site.builder().observer(told.clone());
    let before = S::root(builder.connect().await?);
    serves::<S>(&before, site.name(1), 400).await?;
    site.kill(0).await?;
    site.set_back(0).await?;
    site.start(0).await?;
    ahead(site, &before, &told).await?;
    // The replicas are rebuilt, and serve again.
    site.stop(0).await?;
    site.stop(1).await?;
    site.copy(1, 0).await?;
    site.start(0).await?;
    site.rejoin(1, 0).await?;
    let session = before.session();
    let written = crate::wait::until(async || session.set(1, 900).await.is_ok());
    check(written.await, "no write is taken")?;
    site.catch_up(1).await?;
    serves::<S>(&before, site.name(1), 900).await
}

/// The primary's log begins anew.
async fn log_reset<S: Subject>(site: &Site<S>) -> Result<()> {
    write_much(site, 0, 400).await?;
    site.catch_up(1).await?;
    site.catch_up(2).await?;
    let told = Told::default();
    let builder = site.builder().observer(told.clone());
    let before = S::root(builder.connect().await?);
    serves::<S>(&before, site.name(1), 400).await?;
    site.administer(0, "reset master; update app.kv set version = 0")
        .await?;
    ahead(site, &before, &told).await
}

/// Both replicas are ahead of the primary, on a history that has ended: a router that has lived through it and one
/// that has not let no session see that, also when the primary has written more than the replicas ever had.
async fn ahead<S: Subject>(site: &Site<S>, before: &S::Handle, told: &Told) -> Result<()> {
    expect("on the primary", site.ask(0, READ).await?, 0)?;
    expect("on a replica", site.ask(1, READ).await?, 400)?;
    let (session, token) = sees_its_write::<S>(before, 777).await?;
    let after = site.connect().await?;
    let (later, later_token) = sees_its_write::<S>(&after, 778).await?;
    goes_on_seeing::<S>(before, &session, &token, 778).await?;
    for db in [before, &after] {
        until(db, "known to be on another history", |status| {
            let replicas = status.nodes.iter().skip(1);
            replicas.into_iter().all(|node| node.last_error.is_some())
        })
        .await?;
    }
    for replica in [site.name(1), site.name(2)] {
        check(
            !told.about(&[replica]).is_empty(),
            format!("no event is about {replica}"),
        )?;
    }
    // The log has grown past the place at which the replicas stand.
    write_elsewhere(site, 0, 600).await?;
    goes_on_seeing::<S>(before, &session, &token, 778).await?;
    goes_on_seeing::<S>(&after, &later, &later_token, 778).await
}

// -- strangers ---------------------------------------------------------------------------------------

/// Writes go to the primary alone, and sessions read what they wrote.
async fn only_the_primary<S: Subject>(site: &Site<S>, db: &S::Handle) -> Result<()> {
    let before = site.writes(db, 0).await?;
    for version in 1..=50 {
        let session = db.session();
        session.set(1, version).await?;
        expect("version", session.get(1).await?, Some(version))?;
    }
    expect(
        "writes on the primary",
        site.writes(db, 0).await?,
        before + 50,
    )?;
    expect("primary", &**db.cluster().primary().name(), "primary")
}

async fn refuses_copy<S: Subject>(
    site: &Site<S>,
    db: &S::Handle,
    copy: &Site<S>,
    told: &Told,
) -> Result<()> {
    only_the_primary(site, db).await?;
    until(db, "refused", |status| {
        let node = status.node("copy");
        node.is_some_and(|node| node.last_error.is_some())
    })
    .await?;
    let begun = db.cluster().status().monitor_rounds;
    until(db, "asked again", |status| {
        status.monitor_rounds >= begun + 5
    })
    .await?;
    only_the_primary(site, db).await?;
    for _ in 0..50 {
        let version = db.eventual().get(1).await?;
        check(version != Some(666), "a read was served by the copy")?;
    }
    expect("writes on the copy", copy.writes(db, 1).await?, 0)?;
    expect("reads on the copy", copy.reads(db, 1).await?, 0)?;
    check(!told.about(&["copy"]).is_empty(), "no event is about it")?;
    let status = db.cluster().status();
    check(!status.contested, status.to_string())
}

/// A copy that was promoted and has written on its own, and how a router reaches it.
async fn open_copy<S: Subject>() -> Result<(Site<S>, NodeOptions<S::Adapter>)> {
    let copy = Site::<S>::open_copy().await?;
    copy.administer(1, "update kv set version = 666").await?;
    let node = NodeOptions::new(copy.url(1)).name("copy");
    Ok((copy, node))
}

async fn copy_added<S: Subject>(site: &Site<S>) -> Result<()> {
    let (copy, node) = open_copy::<S>().await?;
    let told = Told::default();
    let builder = site.builder().observer(told.clone());
    let db = S::root(builder.connect().await?);
    only_the_primary(site, &db).await?;
    S::add_replica(&db, node)?;
    refuses_copy(site, &db, &copy, &told).await
}

/// A router that was never without it knows as little of it.
async fn copy_configured<S: Subject>(site: &Site<S>) -> Result<()> {
    let (copy, node) = open_copy::<S>().await?;
    let told = Told::default();
    let builder = site.builder().replica(node).observer(told.clone());
    match builder.connect().await {
        // It may be found out at once, and then it is said whose URL it is.
        Err(error) => check(error.to_string().contains("copy"), error.to_string()),
        Ok(router) => refuses_copy(site, &S::root(router), &copy, &told).await,
    }
}

async fn promote_apart<S: Subject>(site: &Site<S>) -> Result<()> {
    site.show_timelines().await?;
    site.catch_up(1).await?;
    site.catch_up(2).await?;
    site.stop(0).await?;
    site.promote(1).await?;
    site.promote(2).await?;
    site.rejoin(0, 2).await
}

/// Two standbys of a primary that was shut down are both promoted, so their histories have the same number. The old
/// primary follows one, the router writes to the other.
async fn promoted_apart<S: Subject>(site: &Site<S>) -> Result<()> {
    promote_apart(site).await?;
    write_much(site, 2, 100).await?;
    site.catch_up_with(0, 2).await?;
    expect("on the standby", site.ask(0, READ).await?, 100)?;
    let builder = S::builder().primary(site.node(1)).replica(site.node(0));
    let db = S::root(builder.connect().await?);
    let (session, token) = sees_its_write::<S>(&db, 777).await?;
    // Behind the primary the standby is no less on another history than it was ahead of it.
    write_elsewhere(site, 1, 200).await?;
    goes_on_seeing::<S>(&db, &session, &token, 777).await?;
    // Nor is one that is met only then.
    let later = S::builder().primary(site.node(1)).replica(site.node(0));
    let later = S::root(later.connect().await?);
    sees_its_write::<S>(&later, 778).await?;
    Ok(())
}

/// A router whose nodes are the first two of a site, by addresses that may move.
async fn by_addresses<S: Subject>(site: &Site<S>, told: &Told) -> Result<(S::Handle, [Proxy; 2])> {
    let addresses = [
        Proxy::in_front_of(site.port(0)?).await?,
        Proxy::in_front_of(site.port(1)?).await?,
    ];
    let [primary, replica] = &addresses;
    let builder = S::builder()
        .primary(primary.url(&site.url(0)))
        .replica(replica.url(&site.url(1)))
        .observer(told.clone());
    Ok((S::root(builder.connect().await?), addresses))
}

/// The cluster is replaced by another, as by an upgrade that switches over; the application goes on.
async fn new_cluster<S: Subject>(site: &Site<S>) -> Result<()> {
    let stranger = Site::<S>::open_stranger().await?;
    let told = Told::default();
    let (db, [primary, replica]) = by_addresses(site, &told).await?;
    let old = db.session();
    old.set(1, 5).await?;
    expect("version", old.get(1).await?, Some(5))?;
    let token = old.token().await.ok_or("no token")?;
    for number in 0..3 {
        site.stop(number).await?;
    }
    let events = told.about(&["primary"]).len();
    primary.lead_to(stranger.port(0)?);
    replica.lead_to(stranger.port(1)?);
    let written = crate::wait::until(async || db.session().set(1, 7).await.is_ok());
    check(
        written.await,
        format!("no write is taken:\n{}", db.cluster().status()),
    )?;
    expect("at the new one", stranger.ask(0, READ).await?, 7)?;
    stranger.pause(1).await?;
    for version in 8..40 {
        let session = db.session();
        session.set(1, version).await?;
        expect("in a new session", session.get(1).await?, Some(version))?;
        // The token says nothing of this log, so its bearer needs all of now.
        let bearer = db.session_from(&token);
        expect("with an old token", bearer.get(1).await?, Some(version))?;
    }
    old.set(1, 100).await?;
    expect("in the old session", old.get(1).await?, Some(100))?;
    let next = old.token().await.ok_or("no token")?;
    let bearer = db.session_from(&next);
    expect("with its new token", bearer.get(1).await?, Some(100))?;
    stranger.resume(1).await?;
    stranger.catch_up(1).await?;
    serves::<S>(&db, "replica-1", 100).await?;
    let reads = stranger.reads(&db, 1).await?;
    check(reads > 0, "the new replica serves no read")?;
    check(
        told.about(&["primary"]).len() > events,
        "no event says that it is another cluster",
    )
}

/// Nobody can tell that the old cluster is gone, since one of its nodes answers.
async fn new_primary_alone<S: Subject>(site: &Site<S>) -> Result<()> {
    let stranger = Site::<S>::open_stranger().await?;
    let told = Told::default();
    let (db, [primary, _replica]) = by_addresses(site, &told).await?;
    let session = db.session();
    session.set(1, 5).await?;
    site.catch_up(1).await?;
    site.stop(0).await?;
    primary.lead_to(stranger.port(0)?);
    let says = "another cluster";
    until(&db, "refused", |status| {
        let node = status.node("primary");
        let error = node.and_then(|node| node.last_error.as_deref());
        error.is_some_and(|error| error.contains(says))
    })
    .await?;
    for _ in 0..20 {
        error(db.session().set(1, 9).await, "a write on another cluster")?;
        expect("version", db.session().get(1).await?, Some(5))?;
    }
    expect("writes there", stranger.writes(&db, 0).await?, 0)?;
    expect("reads there", stranger.reads(&db, 0).await?, 0)?;
    // It comes back behind its address, and all is as it was.
    site.start(0).await?;
    primary.lead_to(site.port(0)?);
    let written = crate::wait::until(async || session.set(1, 6).await.is_ok());
    check(written.await, "no write is taken by the old primary")?;
    expect("version", session.get(1).await?, Some(6))
}

// -- two that write ----------------------------------------------------------------------------------

/// Writes a heartbeat until it is told to stop.
fn beat(
    mut server: Connection,
    number: usize,
    stop: &Arc<AtomicBool>,
) -> JoinHandle<std::result::Result<(), String>> {
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        let beat = format!("update app.heartbeat set beat = beat + 1 where server = {number}");
        while !stop.load(Ordering::Relaxed) {
            let beaten = server.execute(&beat).await;
            beaten.map_err(|error| error.to_string())?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    })
}

/// The primary and a replica of its replicate from each other, and a tool writes a heartbeat on both: whose event is
/// the last in the log says nothing. (sysown/proxysql PR 3514, signal18/replication-manager#46)
async fn circular<S: Subject>(site: &Site<S>) -> Result<()> {
    let table = "create table heartbeat (server int primary key, beat bigint); \
                 insert into heartbeat values (0, 0), (1, 0)";
    site.execute(0, table).await?;
    for number in 0..3 {
        // Two writers of one domain take the same numbers.
        site.set(number, "gtid_strict_mode", "OFF").await?;
    }
    site.catch_up(1).await?;
    site.administer(0, "set global gtid_slave_pos = @@gtid_binlog_pos")
        .await?;
    site.follow(0, 1).await?;
    let db = site.connect().await?;
    let stop = Arc::new(AtomicBool::new(false));
    let beats = [
        beat(site.admin(0).await?, 0, &stop),
        beat(site.admin(1).await?, 1, &stop),
    ];
    let mut served = 0;
    for version in 1..=30 {
        let session = db.session();
        session.set(1, version).await?;
        let mut stale = None;
        let on_a_replica = crate::wait::until(async || {
            let found = session.get(1).await.ok().flatten();
            if found != Some(version) {
                stale = Some((found, session.last_decision()));
            }
            stale.is_some() || last(&session).is_ok_and(|(from, _)| from != "primary")
        });
        let on_a_replica = on_a_replica.await;
        check(stale.is_none(), format!("{stale:?}, not {version}"))?;
        served += i64::from(on_a_replica);
        check(
            on_a_replica,
            format!("{served} sessions were read to by a replica, and then none was"),
        )?;
    }
    stop.store(true, Ordering::Relaxed);
    for beat in beats {
        beat.await??;
    }
    let status = db.cluster().status();
    check(!status.contested, status.to_string())?;
    expect("primary", &**db.cluster().primary().name(), "primary")
}
