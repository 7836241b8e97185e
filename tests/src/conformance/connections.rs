//! Connections as the world has them: forgotten by a firewall, ended by the server, few, far away, refused (contracts:
//! `Work`, `Backend`). Each is a situation that somebody has reported of another router, or of a pool.

use std::net::Ipv4Addr;
use std::time::Duration;

use dbrouter::{Dialect, Health, Intent, NodeOptions, Router};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Handle, How, Mount, Need, Site, Subject, check, expect, until};
use crate::proxy::{Mode, Proxy};
use crate::{Result, wait};

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{Postgres, Retries, Servers};
    mount
        .case(
            "to_the_primary_that_a_firewall_has_forgotten",
            &[Servers],
            forgotten_primary,
        )
        .case(
            "to_a_replica_that_a_firewall_has_forgotten",
            &[Servers],
            forgotten_replica,
        )
        .case(
            "that_the_server_has_ended_while_they_were_idle",
            &[Servers],
            ended,
        )
        .case("fewer_than_the_pool_would_have", &[Postgres], few)
        .case("to_a_replica_far_away", &[Servers], far_replica)
        .case("to_a_primary_far_away", &[Servers], far_primary)
        .case(
            "that_a_replica_refuses_while_the_monitor_has_one",
            &[Servers, Retries],
            refused,
        );
}

/// How long one statement may take at most: longer than all limits of the router's together on a busy machine, and shorter
/// than the 30 s that pools wait.
const MOST: Duration = Duration::from_secs(20);

async fn within<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    match timeout(MOST, work).await {
        Ok(done) => done,
        Err(_) => Err(crate::Failure::new(format!("{what}: not done within {MOST:?}")).into()),
    }
}

/// So many pieces of work at once, so that the pools open as many connections.
async fn at_once<S: Subject>(
    db: &S::Handle,
    how: How,
    sql: &'static str,
    count: usize,
) -> Result<()> {
    let work = (0..count).map(|_| {
        let session = db.session();
        tokio::spawn(async move {
            let done = session.query(how, sql).await;
            done.map(drop).map_err(|error| error.to_string())
        })
    });
    for work in work.collect::<Vec<_>>() {
        work.await??;
    }
    Ok(())
}

fn slow_question<S: Subject>() -> &'static str {
    match S::DATABASE {
        Dialect::MariaDb => "select cast(sleep(0.05) as signed)",
        _ => "select 1::bigint from pg_sleep(0.05)",
    }
}

/// Five connections to the primary are idle and forgotten; then all are, the monitor's as well.
async fn forgotten_primary<S: Subject>(site: &Site<S>) -> Result<()> {
    let proxy = Proxy::in_front_of(site.port(0)?).await?;
    let primary = NodeOptions::new(proxy.url(&site.url(0))).name(site.name(0));
    let db = S::root(
        S::builder()
            .primary(primary)
            .replica(site.node(1))
            .connect()
            .await?,
    );
    let on_primary = How::Stated(Intent::Write);
    let forget_some = || proxy.forget_idle(IDLE);
    let forget_all = || proxy.forget();
    let forgets: [&dyn Fn(); 2] = [&forget_some, &forget_all];
    for (round, forget) in forgets.into_iter().enumerate() {
        at_once::<S>(&db, on_primary, slow_question::<S>(), 5).await?;
        tokio::time::sleep(IDLE + IDLE / 5).await;
        forget();
        for write in 1..=5 {
            let version = 10 * i64::try_from(round)? + write;
            let session = db.session();
            let written = within("a write", session.set(7, version)).await;
            written.map_err(|error| {
                let status = db.cluster().status();
                let pool = status.node(site.name(0)).map(|node| node.pressure);
                let place = format!("round {round}, write {write}");
                crate::Failure::new(format!("{place}: {error}\n{status}{pool:?}"))
            })?;
            let read = within("a read", session.get(7)).await?;
            expect("what was written", read, Some(version))?;
        }
    }
    let status = db.cluster().status();
    let node = status.node(site.name(0));
    check(node.is_some_and(|node| node.healthy), status.to_string())
}

/// For how long connections are idle before they are forgotten: longer than a pooled connection is handed out without being
/// asked whether it is still there.
const IDLE: Duration = Duration::from_millis(600);

/// The same with a replica: it stays a healthy one, and serves again.
async fn forgotten_replica<S: Subject>(site: &Site<S>) -> Result<()> {
    let proxy = Proxy::in_front_of(site.port(1)?).await?;
    let replica = NodeOptions::new(proxy.url(&site.url(1))).name(site.name(1));
    let db = S::root(
        S::builder()
            .primary(site.node(0))
            .replica(replica)
            .connect()
            .await?,
    );
    let reads = How::Stated(Intent::Read);
    super::serves::<S>(&db, site.name(1), 0).await?;
    for forget_all in [false, true] {
        at_once::<S>(&db, reads, slow_question::<S>(), 5).await?;
        tokio::time::sleep(IDLE + IDLE / 5).await;
        match forget_all {
            false => proxy.forget_idle(IDLE),
            true => proxy.forget(),
        }
        for _ in 0..10 {
            expect(
                "version",
                within("a read", db.session().get(7)).await?,
                Some(0),
            )?;
        }
        until(&db, "served by the replica again", |status| {
            let node = status.node(site.name(1));
            node.is_some_and(|node| node.healthy && node.pool_error.is_none())
        })
        .await?;
        super::serves::<S>(&db, site.name(1), 0).await?;
    }
    let status = db.cluster().status();
    let node = status.node(site.name(1));
    check(
        node.is_some_and(|node| node.health == Health::Healthy),
        status.to_string(),
    )
}

/// An administrator ends all connections, none of which is in use, the monitors' as well. Ten writes follow, and ten reads.
async fn ended<S: Subject>(site: &Site<S>) -> Result<()> {
    let db = S::root(
        S::builder()
            .primary(site.node(0))
            .replica(site.node(1))
            .connect()
            .await?,
    );
    for round in 0..3 {
        at_once::<S>(&db, How::Stated(Intent::Write), slow_question::<S>(), 5).await?;
        at_once::<S>(&db, How::Stated(Intent::Read), slow_question::<S>(), 5).await?;
        for number in [0, 1] {
            site.cut_connections(number).await?;
        }
        for write in 1..=10 {
            let (session, version) = (db.session(), 10 * round + write);
            let written = within("a write", session.set(7, version)).await;
            written.map_err(|error| crate::Failure::new(format!("write {write}: {error}")))?;
        }
        for _ in 0..10 {
            within("a read", db.session().get(7)).await?;
        }
    }
    Ok(())
}

/// The role has six connections for a pool of ten, the monitor's among them.
async fn few<S: Subject>(site: &Site<S>) -> Result<()> {
    site.administer(0, "alter role app connection limit 6")
        .await?;
    site.catch_up(1).await?;
    let builder = S::builder().primary(site.node(0)).replica(site.node(1));
    let db = S::root(
        builder
            .pool_options(S::pool(10, wait::PATIENCE))
            .connect()
            .await?,
    );
    super::serves::<S>(&db, site.name(1), 0).await?;
    for (how, name) in [
        (How::Stated(Intent::Read), site.name(1)),
        (How::Stated(Intent::Write), site.name(0)),
    ] {
        // Who begins with an empty pool and no room has nothing to wait for.
        db.session().query(how, "select 1::bigint").await?;
        let before = Router::status(db.cluster());
        let workers = (0..8).map(|_| {
            let db = db.clone();
            tokio::spawn(async move {
                for _ in 0..100 {
                    let sql = "select 1::bigint from pg_sleep(0.005)";
                    let done = within("a statement", db.session().query(how, sql)).await;
                    done.map_err(|error| format!("{error}\n{}", Router::status(db.cluster())))?;
                }
                Ok::<_, String>(())
            })
        });
        for worker in workers.collect::<Vec<_>>() {
            worker.await??;
        }
        let status = Router::status(db.cluster());
        let count = |status: &dbrouter::Status| status.node(name).map(|node| node.failures);
        check(count(&before) == count(&status), status.to_string())?;
        let healthy = status
            .nodes
            .iter()
            .all(|node| node.health == Health::Healthy);
        check(healthy, status.to_string())?;
    }
    site.administer(0, "alter role app connection limit -1")
        .await?;
    site.catch_up(1).await
}

/// A replica serves whose round trip is 100 ms, and 300 ms.
async fn far_replica<S: Subject>(site: &Site<S>) -> Result<()> {
    for delay in [100, 300] {
        let proxy = Proxy::in_front_of(site.port(1)?).await?;
        proxy.set(Mode::Delay(Duration::from_millis(delay)));
        let replica = NodeOptions::new(proxy.url(&site.url(1))).name(site.name(1));
        let db = S::root(
            S::builder()
                .primary(site.node(0))
                .replica(replica)
                .connect()
                .await?,
        );
        until(&db, "met", |status| {
            status.node(site.name(1)).is_some_and(|node| node.healthy)
        })
        .await?;
        let served = wait::until(async || {
            let session = db.session();
            let read = session.get(7).await;
            let decision = session.last_decision();
            read.is_ok() && decision.is_some_and(|decision| &*decision.node == site.name(1))
        })
        .await;
        check(served, db.cluster().status().to_string())?;
        let before = site.reads(&db, 1).await?;
        for _ in 0..20 {
            expect(
                "version",
                within("a read", db.session().get(7)).await?,
                Some(0),
            )?;
        }
        let reads = site.reads(&db, 1).await? - before;
        let status = db.cluster().status();
        check(
            reads >= 15,
            format!("{delay} ms: {reads} of 20 reads\n{status}"),
        )?;
        let node = status.node(site.name(1));
        check(
            node.is_some_and(|node| node.health != Health::Ejected),
            status.to_string(),
        )?;
    }
    Ok(())
}

/// A router connects to a primary whose round trip is 300 ms, and writes there.
async fn far_primary<S: Subject>(site: &Site<S>) -> Result<()> {
    let proxy = Proxy::in_front_of(site.port(0)?).await?;
    proxy.set(Mode::Delay(Duration::from_millis(300)));
    let primary = NodeOptions::new(proxy.url(&site.url(0))).name(site.name(0));
    let db = S::root(
        S::builder()
            .primary(primary)
            .replica(site.node(1))
            .connect()
            .await?,
    );
    let session = db.session();
    within("a write", session.set(7, 1)).await?;
    expect(
        "what was written",
        within("a read", session.get(7)).await?,
        Some(1),
    )?;
    super::serves::<S>(&db, site.name(1), 0).await
}

/// The network refuses new connections to a replica while the monitor's goes on: the pool's reads go elsewhere at once, the
/// status says which of the two fails, and the replica is back when its pool can connect.
async fn refused<S: Subject>(site: &Site<S>) -> Result<()> {
    let proxy = Proxy::in_front_of(site.port(1)?).await?;
    let replica = NodeOptions::new(proxy.url(&site.url(1))).name(site.name(1));
    let builder = S::builder().primary(site.node(0)).replica(replica);
    let db = S::root(builder.connect().await?);
    until(&db, "met", |status| {
        status.node(site.name(1)).is_some_and(|node| node.healthy)
    })
    .await?;
    proxy.set(Mode::Refuse);
    let is_refused = async || {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()))
            .await
            .is_err()
    };
    check(wait::until(is_refused).await, "connections are not refused")?;
    for _ in 0..50 {
        let session = db.session();
        expect("version", within("a read", session.get(7)).await?, Some(0))?;
    }
    let status = db.cluster().status();
    let node = status.node(site.name(1));
    check(
        node.is_some_and(|node| node.healthy && node.pool_error.is_some()),
        status.to_string(),
    )?;
    proxy.set(Mode::Pass);
    until(&db, "back", |status| {
        status
            .node(site.name(1))
            .is_some_and(|node| node.pool_error.is_none())
    })
    .await?;
    super::serves::<S>(&db, site.name(1), 0).await
}
