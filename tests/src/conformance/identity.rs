//! A node is the server and the database that answer behind its address, not the address (contracts: `Router`,
//! `Backend`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dbrouter::discover::{Endpoint, Static};
use dbrouter::policy::RoundRobin;
use dbrouter::{Builder, NodeOptions, Router, Status, Token};
use tokio::task::JoinHandle;

use super::{
    Handle, Mount, Need, READS, Site, Statements, Subject, Told, WRITES, body, check, expect,
    expect_version, last, serves, until,
};
use crate::Result;
use crate::proxy::Proxy;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{MariaDb, OpensEarly, Servers, TakesPools};
    mount
        .case(
            "one_url_as_primary_and_as_replica_works_as_one_node",
            &[Servers],
            one_url_twice,
        )
        .case(
            "one_url_in_both_variables_works_as_one_node",
            &[Servers],
            one_url_in_variables,
        )
        .case(
            "one_pool_as_primary_and_as_replica_works_as_one_node",
            &[Servers, TakesPools],
            one_pool_twice,
        )
        .case(
            "two_names_of_one_host_work_as_one_node",
            &[Servers],
            two_names_of_a_host,
        )
        .case(
            "a_replica_under_two_addresses_gets_one_share_of_the_reads",
            &[Servers],
            one_share,
        )
        .case(
            "the_primarys_address_added_as_a_replica_stops_no_write",
            &[Servers],
            primary_added,
        )
        .case(
            "a_replica_under_two_addresses_that_is_promoted_takes_the_writes",
            &[Servers],
            two_addresses_promoted,
        )
        .case(
            "a_primarys_address_that_moves_to_a_promoted_replica_takes_the_writes",
            &[Servers],
            address_of_the_primary,
        )
        .case(
            "a_source_that_names_a_server_twice_stops_no_write",
            &[Servers],
            discovered_twice,
        )
        .case(
            "a_reader_endpoint_over_several_replicas_shows_no_session_the_past",
            &[Servers],
            balanced_endpoint,
        )
        .case(
            "a_reader_endpoint_that_falls_back_to_the_writer_stops_no_write",
            &[Servers],
            reader_endpoint,
        )
        .case(
            "an_address_that_moves_to_a_stale_replica_shows_no_session_the_past",
            &[Servers],
            async |site| address_moves(site, site.two_nodes()).await,
        )
        .case(
            "a_pool_that_reconnects_unseen_to_a_stale_replica_shows_no_session_the_past",
            &[Servers],
            async |site| {
                // A ping finds that a connection is dead, and the pool opens another: no work ever fails.
                let builder = site.two_nodes().ping_after(Duration::ZERO);
                address_moves(site, builder).await
            },
        )
        .case(
            "an_address_that_moves_behind_open_connections_shows_no_session_the_past",
            &[Servers],
            moves_behind_connections,
        )
        .case(
            "a_replica_on_another_database_is_refused_by_name",
            &[Servers],
            another_database,
        )
        .case(
            "a_replica_on_another_database_that_comes_later_is_never_read",
            &[Servers, OpensEarly],
            another_database_later,
        )
        .case(
            "a_replica_without_a_database_is_refused_by_name",
            &[MariaDb],
            no_database,
        )
        .case(
            "nodes_without_a_database_belong_together",
            &[MariaDb],
            no_database_anywhere,
        );
}

/// Whether the router says that a node leads to the same server as another.
fn is_one(status: &Status, node: &str, other: &str) -> bool {
    let node = status.node(node);
    node.and_then(|node| node.same_server_as.as_deref()) == Some(other)
}

// -- one server under two names ----------------------------------------------------------------------

/// Everything works as with one node, and the router says that it has found one.
async fn works_as_one<S: Subject>(
    site: &Site<S>,
    builder: Builder<S::Adapter>,
    replica: &str,
) -> Result<()> {
    let told = Told::default();
    let db = S::root(builder.observer(told.clone()).connect().await?);
    let session = db.session();
    session
        .execute(WRITES, "create table made (id int primary key)")
        .await?;
    session
        .execute(WRITES, "insert into made values (7)")
        .await?;
    let made = session.query(READS, "select count(*) from made").await?;
    expect("rows of the new table", made, 1)?;
    expect("an inserted row", session.insert(100, 5).await?, 5)?;
    for version in 1..=30 {
        session.set(1, version).await?;
        expect("version", session.get(1).await?, Some(version))?;
    }
    let transaction = body(|tx: &mut dyn Statements| {
        Box::pin(async move {
            tx.execute(&super::write(31)).await?;
            expect("inside", tx.query(super::READ).await?, 31)
        })
    });
    session.transact(transaction).await?;
    expect("after the commit", session.get(1).await?, Some(31))?;
    until(&db, "known to be one server", |status| {
        is_one(status, replica, "primary")
    })
    .await?;
    for version in 32..=60 {
        db.set(1, version).await?;
        expect("on the root handle", db.get(1).await?, Some(version))?;
    }
    session.execute(WRITES, "drop table made").await?;
    let status = db.cluster().status();
    check(!status.contested, status.to_string())?;
    check(
        status.nodes.iter().all(|node| node.healthy),
        status.to_string(),
    )?;
    // As the primary is.
    let fresh = status.node(replica).and_then(|node| node.staleness);
    check(fresh.is_some(), status.to_string())?;
    let writes = site.writes(&db, 0).await?;
    check(writes >= 61, format!("the server saw {writes} writes"))?;
    expect(
        "events about both",
        told.about(&["primary", replica]).len(),
        1,
    )
}

async fn one_url_twice<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = S::builder().primary(site.url(0)).replica(site.url(0));
    works_as_one(site, builder, "replica-1").await
}

async fn one_url_in_variables<S: Subject>(site: &Site<S>) -> Result<()> {
    let variables = |name: &str| match name {
        "DATABASE_URL" | "DATABASE_REPLICA_URLS" => Some(site.url(0).into()),
        _ => None,
    };
    let builder = Builder::from_variables(S::adapter(), variables);
    works_as_one(site, builder, "replica-1").await
}

async fn one_pool_twice<S: Subject>(site: &Site<S>) -> Result<()> {
    let pool = S::open_pool(&site.url(0)).await?;
    let node = || NodeOptions::with_pool(pool.clone());
    let builder = S::builder().primary(node()).replica(node());
    works_as_one(site, builder, "replica-1").await
}

async fn two_names_of_a_host<S: Subject>(site: &Site<S>) -> Result<()> {
    let other = site.url(0).replace("127.0.0.1", "localhost");
    let builder = S::builder().primary(site.url(0)).replica(other);
    works_as_one(site, builder, "replica-1").await
}

/// The policy takes turns, so that each server gets half of the reads and not each address a third.
async fn one_share<S: Subject>(site: &Site<S>) -> Result<()> {
    const READS: usize = 60;
    let proxy = Proxy::in_front_of(site.port(1)?).await?;
    let again = NodeOptions::new(proxy.url(&site.url(1))).name("again");
    let builder = site.builder().replica(again).policy(RoundRobin::default());
    let db = S::root(builder.connect().await?);
    until(&db, "known to be one server", |status| {
        is_one(status, "again", site.name(1)) || is_one(status, site.name(1), "again")
    })
    .await?;
    until(&db, "fresh", |status| {
        let known = status.nodes.iter();
        known
            .filter(|node| node.name != "again")
            .all(|node| node.healthy && node.staleness.is_some())
    })
    .await?;
    for _ in 0..READS {
        db.session().get(1).await?;
    }
    let shares = [site.reads(&db, 1).await?, site.reads(&db, 2).await?];
    check(
        shares.iter().all(|share| (25..=35).contains(share)),
        format!("of {READS} reads the two replicas served {shares:?}"),
    )
}

/// Sessions write to one server, and read what they wrote.
async fn only_writes_to<S: Subject>(site: &Site<S>, db: &S::Handle, number: usize) -> Result<()> {
    let before = site.writes(db, number).await?;
    for version in 101..=130 {
        let session = db.session();
        session.set(1, version).await?;
        expect_version::<S>(&session, version).await?;
    }
    let written = site.writes(db, number).await? - before;
    expect("writes of the server", written, 30)?;
    let status = db.cluster().status();
    check(!status.contested, status.to_string())
}

async fn primary_added<S: Subject>(site: &Site<S>) -> Result<()> {
    let (db, client) = Client::connect::<S>(site.builder()).await?;
    client.more(10).await?;
    S::add_replica(&db, NodeOptions::new(site.url(0)).name("again"))?;
    until(&db, "known to be one server", |status| {
        client.task.is_finished() || is_one(status, "again", "primary")
    })
    .await?;
    client.more(20).await?;
    client.stop().await?;
    only_writes_to(site, &db, 0).await
}

async fn two_addresses_promoted<S: Subject>(site: &Site<S>) -> Result<()> {
    let proxy = Proxy::in_front_of(site.port(1)?).await?;
    let again = NodeOptions::new(proxy.url(&site.url(1))).name("again");
    let builder = S::builder().primary(site.node(0));
    let builder = builder.replica(site.node(1)).replica(again);
    let db = S::root(builder.connect().await?);
    db.session().set(1, 1).await?;
    site.catch_up(1).await?;
    serves::<S>(&db, site.name(1), 1).await?;
    site.retire(0, 1).await?;
    site.promote(1).await?;
    let written = crate::wait::until(async || db.session().set(1, 100).await.is_ok());
    check(written.await, "no write is taken after the promotion")?;
    until(&db, "one server again", |status| {
        is_one(status, "again", site.name(1)) || is_one(status, site.name(1), "again")
    })
    .await?;
    only_writes_to(site, &db, 1).await
}

/// The primary's address is a virtual one, which follows the primary to a replica that has an address of its own.
async fn address_of_the_primary<S: Subject>(site: &Site<S>) -> Result<()> {
    let address = Proxy::in_front_of(site.port(0)?).await?;
    let builder = S::builder().primary(address.url(&site.url(0)));
    let db = S::root(builder.replica(site.node(1)).connect().await?);
    let session = db.session();
    session.set(1, 1).await?;
    site.catch_up(1).await?;
    serves::<S>(&db, site.name(1), 1).await?;
    site.retire(0, 1).await?;
    site.promote(1).await?;
    address.lead_to(site.port(1)?);
    let written = crate::wait::until(async || session.set(1, 100).await.is_ok());
    check(written.await, "no write is taken after the promotion")?;
    expect_version::<S>(&session, 100).await?;
    until(&db, "one server", |status| {
        is_one(status, "primary", site.name(1)) || is_one(status, site.name(1), "primary")
    })
    .await?;
    only_writes_to(site, &db, 1).await
}

/// One of a source's addresses leads to the primary, and two lead to one replica.
async fn discovered_twice<S: Subject>(site: &Site<S>) -> Result<()> {
    let proxies = [
        Proxy::in_front_of(site.port(0)?).await?,
        Proxy::in_front_of(site.port(1)?).await?,
    ];
    let urls = [
        proxies[0].url(&site.url(0)),
        proxies[1].url(&site.url(1)),
        site.url(1),
        site.url(2),
    ];
    let source = Static::new(urls.map(Endpoint::url));
    let builder = S::builder().primary(site.node(0)).discover(source);
    let (db, client) = Client::connect::<S>(builder).await?;
    client.more(50).await?;
    client.stop().await?;
    only_writes_to(site, &db, 0).await
}

/// Of the connections to one address some lead to a replica that shows what was written, and some to one that stands
/// still: what the one has proved says nothing of the other.
async fn balanced_endpoint<S: Subject>(site: &Site<S>) -> Result<()> {
    let (fresh, stale) = (site.port(1)?, site.port(2)?);
    site.pause(2).await?;
    // Whichever of them the monitor's connection leads to.
    for (version, servers) in [(1, [fresh, stale]), (2, [stale, fresh])] {
        let endpoint = Proxy::in_front_of(fresh).await?;
        let reader = NodeOptions::new(endpoint.url(&site.url(1))).name("reader");
        endpoint.balance(servers);
        let builder = S::builder().primary(site.node(0)).replica(reader);
        let db = S::root(builder.connect().await?);
        let session = db.session();
        session.set(1, version).await?;
        let token = session.token().await.ok_or("no token")?;
        site.catch_up(1).await?;
        let begun = db.cluster().status().monitor_rounds;
        let mut reads = 0;
        while reads < 50 || db.cluster().status().monitor_rounds < begun + 10 {
            read_at_once::<S>(&db, &token, version).await?;
            expect_version::<S>(&session, version).await?;
            reads += 1;
        }
    }
    Ok(())
}

/// Several read at once, so that several connections are opened.
async fn read_at_once<S: Subject>(db: &S::Handle, token: &Token, version: i64) -> Result<()> {
    let bearers = [(); 6].map(|()| {
        let bearer = db.session_from(token);
        tokio::spawn(async move {
            let read = expect_version::<S>(&bearer, version).await;
            read.map_err(|error| error.to_string())
        })
    });
    for bearer in bearers {
        bearer.await??;
    }
    Ok(())
}

/// Writes a version and reads it, again and again, each time in a session of its own.
struct Client {
    rounds: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<std::result::Result<(), String>>,
}

impl Client {
    /// With a router whose writes [wait](Builder::wait_for_primary): on a machine that is busy the primary may be
    /// silent for a moment.
    async fn connect<S: Subject>(builder: Builder<S::Adapter>) -> Result<(S::Handle, Self)> {
        let builder = builder.wait_for_primary(crate::wait::PATIENCE);
        let db = S::root(builder.connect().await?);
        let client = Self::start::<S>(&db);
        Ok((db, client))
    }

    fn start<S: Subject>(db: &S::Handle) -> Self {
        let (rounds, stop) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let task = {
            let (db, rounds, stop) = (db.clone(), Arc::clone(&rounds), Arc::clone(&stop));
            tokio::spawn(async move {
                for version in 1.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let session = db.session();
                    let written = session.set(1, version).await;
                    written.map_err(|error| format!("write {version} failed: {error}"))?;
                    for _ in 0..5 {
                        let read = expect_version::<S>(&session, version).await;
                        read.map_err(|error| error.to_string())?;
                    }
                    rounds.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            })
        };
        Self { rounds, stop, task }
    }

    /// Waits for so many more rounds, or for its failure.
    async fn more(&self, rounds: u64) -> Result<()> {
        let goal = self.rounds.load(Ordering::Relaxed) + rounds;
        let done = crate::wait::until(async || {
            self.task.is_finished() || self.rounds.load(Ordering::Relaxed) >= goal
        });
        check(done.await, "the client stands still")
    }

    /// Ends. An error if it saw anything wrong.
    async fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.task.await??)
    }
}

/// The address of the replicas leads to the primary while there is no replica, and back.
async fn reader_endpoint<S: Subject>(site: &Site<S>) -> Result<()> {
    let endpoint = Proxy::in_front_of(site.port(1)?).await?;
    let reader = NodeOptions::new(endpoint.url(&site.url(1))).name("reader");
    let builder = S::builder().primary(site.node(0)).replica(reader);
    let (db, client) = Client::connect::<S>(builder).await?;
    client.more(20).await?;
    for _ in 0..2 {
        endpoint.lead_to(site.port(0)?);
        until(&db, "known to be one server", |status| {
            client.task.is_finished() || is_one(status, "reader", "primary")
        })
        .await?;
        client.more(50).await?;
        endpoint.lead_to(site.port(1)?);
        let before = site.reads(&db, 1).await?;
        until(&db, "two servers again", |status| {
            client.task.is_finished() || !is_one(status, "reader", "primary")
        })
        .await?;
        client.more(50).await?;
        let again = crate::wait::until(async || {
            db.session().get(1).await.ok();
            let reads = site.reads(&db, 1).await;
            client.task.is_finished() || reads.is_ok_and(|reads| reads > before + 10)
        });
        check(again.await, "the replica is not read again")?;
    }
    client.stop().await?;
    let status = db.cluster().status();
    check(!status.contested, status.to_string())?;
    expect("primary", &**db.cluster().primary().name(), "primary")
}

// -- an address that moves ---------------------------------------------------------------------------

impl<S: Subject> Site<S> {
    /// A builder with the primary; the replica is to be added.
    fn two_nodes(&self) -> Builder<S::Adapter> {
        S::builder().primary(self.node(0))
    }
}

/// The replica's address moves to the other replica, which stands still. What the first had proved says nothing of
/// the second.
async fn address_moves<S: Subject>(site: &Site<S>, builder: Builder<S::Adapter>) -> Result<()> {
    // Who is faster, a read or the monitor, is a matter of luck each time.
    const MOVES: i64 = 5;
    let address = Proxy::in_front_of(site.port(1)?).await?;
    let moving = NodeOptions::new(address.url(&site.url(1))).name("moving");
    let db = S::root(builder.replica(moving).connect().await?);
    site.pause(2).await?;
    for version in 1..=MOVES {
        address.lead_to(site.port(1)?);
        let writer = db.session();
        writer.set(1, version).await?;
        let token = writer.token().await.ok_or("no token")?;
        site.catch_up(1).await?;
        // One that has written, one that has only read, and one that was handed a token.
        let (reader, bearer) = (db.session(), db.session_from(&token));
        let sessions = [&writer, &reader, &bearer];
        for session in sessions {
            let from = crate::wait::until(async || {
                let read = session.get(1).await;
                read.is_ok_and(|found| found == Some(version))
                    && last(session).is_ok_and(|(from, _)| from == "moving")
            });
            check(from.await, "a session does not read from the replica")?;
        }
        address.lead_to(site.port(2)?);
        let begun = db.cluster().status().monitor_rounds;
        let mut reads = 0;
        // What is read at once counts as well as what is read after the monitor has met the other server.
        while reads < 100 || db.cluster().status().monitor_rounds < begun + 3 {
            for session in sessions {
                expect_version::<S>(session, version).await?;
            }
            expect_version::<S>(&db.session_from(&token), version).await?;
            reads += 1;
        }
        expect("what it shows", site.ask(2, super::READ).await?, 0)?;
    }
    site.resume(2).await?;
    site.catch_up(2).await?;
    serves::<S>(&db, "moving", MOVES).await?;
    let reads = site.reads(&db, 2).await?;
    check(reads > 0, "the second replica serves no read")
}

/// The replica's address moves to the other replica, which stands still, and connections that are open go on leading to
/// the first, the monitor's among them. New ones lead to the second.
async fn moves_behind_connections<S: Subject>(site: &Site<S>) -> Result<()> {
    let address = Proxy::in_front_of(site.port(1)?).await?;
    let moving = NodeOptions::new(address.url(&site.url(1))).name("moving");
    let told = Told::default();
    let builder = site.two_nodes().replica(moving).observer(told.clone());
    let db = S::root(builder.connect().await?);
    site.pause(2).await?;
    let writer = db.session();
    writer.set(1, 1).await?;
    let token = writer.token().await.ok_or("no token")?;
    site.catch_up(1).await?;
    serves::<S>(&db, "moving", 1).await?;
    address.lead_new_ones_to(site.port(2)?);
    // It is noticed when connections are opened, and the router goes on with the other server after some of them.
    let mut reads = 0;
    let tells_of_several = || {
        let events = told.about(&["moving"]);
        events
            .iter()
            .any(|event| event.starts_with("SeveralServers"))
    };
    let met = crate::wait::until(async || {
        reads += 1;
        let read = read_at_once::<S>(&db, &token, 1).await;
        read.is_err() || reads >= 50 && tells_of_several()
    });
    check(met.await, "no connection led elsewhere")?;
    read_at_once::<S>(&db, &token, 1).await?;
    expect("what it shows", site.ask(2, super::READ).await?, 0)?;
    site.resume(2).await?;
    site.catch_up(2).await?;
    let goes_on = crate::wait::until(async || {
        let read = read_at_once::<S>(&db, &token, 1).await;
        read.is_err() || site.reads(&db, 2).await.is_ok_and(|reads| reads > 0)
    });
    check(goes_on.await, "the second replica serves no read")?;
    read_at_once::<S>(&db, &token, 1).await
}

// -- databases ---------------------------------------------------------------------------------------

const OTHER: &str = "warehouse";

fn names_both(text: &str) -> Result<()> {
    check(
        text.contains("app") && text.contains(OTHER),
        format!("the two databases are not named in {text:?}"),
    )
}

async fn another_database<S: Subject>(site: &Site<S>) -> Result<()> {
    site.add_database(OTHER, 999).await?;
    let replica = NodeOptions::new(site.url_of_database(1, OTHER)).name("astray");
    let builder = S::builder().primary(site.node(0)).replica(replica);
    match builder.connect().await {
        Err(error) => {
            let shown = error.to_string();
            check(shown.contains("astray"), &*shown)?;
            names_both(&shown)
        }
        Ok(router) => {
            let db = S::root(router);
            let status = db.cluster().status();
            check(false, format!("it connected:\n{status}"))
        }
    }
}

/// It is not there at first, so it is no error of the configuration that could be seen.
async fn another_database_later<S: Subject>(site: &Site<S>) -> Result<()> {
    site.add_database(OTHER, 999).await?;
    site.stop(1).await?;
    let told = Told::default();
    let replica = NodeOptions::new(site.url_of_database(1, OTHER)).name("late");
    let builder = S::builder().primary(site.node(0)).replica(replica);
    let db = S::root(builder.observer(told.clone()).connect().await?);
    site.start(1).await?;
    let added = NodeOptions::new(site.url_of_database(2, OTHER)).name("added");
    S::add_replica(&db, added)?;
    for node in ["late", "added"] {
        let refused = |status: &Status| {
            let node = status.node(node);
            let error = node.and_then(|node| node.last_error.as_deref());
            error.is_some_and(|error| names_both(error).is_ok())
        };
        until(&db, "refused by name", refused).await?;
        let events = told.about(&[node]);
        let told = events.iter().any(|event| names_both(event).is_ok());
        check(told, format!("no event says so of {node}: {events:?}"))?;
    }
    for _ in 0..50 {
        expect("on the root handle", db.eventual().get(1).await?, Some(0))?;
        expect("in a session", db.session().get(1).await?, Some(0))?;
    }
    expect("reads of the first", site.reads(&db, 1).await?, 0)?;
    expect("reads of the second", site.reads(&db, 2).await?, 0)
}

async fn no_database<S: Subject>(site: &Site<S>) -> Result<()> {
    let replica = NodeOptions::new(site.url_of_database(1, "")).name("astray");
    let builder = S::builder().primary(site.node(0)).replica(replica);
    let error = builder.connect().await.map(drop).err();
    let shown = error.ok_or("it connected")?.to_string();
    let named = shown.contains("astray") && shown.contains("app");
    check(named, format!("the database is not named in {shown:?}"))
}

async fn no_database_anywhere<S: Subject>(site: &Site<S>) -> Result<()> {
    let node = |number| {
        NodeOptions::<S::Adapter>::new(site.url_of_database(number, "")).name(site.name(number))
    };
    let builder = S::builder().primary(node(0)).replica(node(1));
    let db = S::root(builder.connect().await?);
    let session = db.session();
    session
        .execute(WRITES, "update app.kv set version = 3 where id = 1")
        .await?;
    let read = async || {
        let version = session.query(READS, "select version from app.kv where id = 1");
        let version = version.await;
        version.is_ok_and(|version| version == 3)
            && last(&session).is_ok_and(|(from, _)| from == site.name(1))
    };
    check(crate::wait::until(read).await, "the replica serves no read")
}
