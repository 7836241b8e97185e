//! Connections that do not come: the monitor's, and the pool's of a server that answers the monitor.

use std::time::Duration;

use dbrouter::{Health, NodeSpec, Reason, Router, Terms};
use tokio::time;

use crate::observer::Notes;
use crate::world::{Mood, NoRoom, Server, World, millis, pass, settings};

/// Reads by as many readers at once, each of which holds its connection for 5 ms. Returns the longest wait.
async fn reads(world: &World, readers: u32, each: u32) -> u128 {
    let readers = (0..readers).map(|_| {
        let terms = Terms::new(&world.db).session().read();
        tokio::spawn(async move {
            let mut longest = 0;
            for _ in 0..each {
                let began = time::Instant::now();
                let held = terms.work().acquire().await.unwrap();
                longest = longest.max(began.elapsed().as_millis());
                pass(5).await;
                drop(held);
            }
            longest
        })
    });
    let mut longest = 0;
    for reader in readers.collect::<Vec<_>>() {
        longest = longest.max(reader.await.unwrap());
    }
    longest
}

/// A router over a primary and one replica that has room for six connections of a pool of ten.
async fn crowded(what: NoRoom) -> World {
    let world = World::of(1).await;
    world.replicas[0].at_most(10);
    world.replicas[0].has_room_for(6, what);
    world
}

fn assert_that_nobody_was_blamed(world: &World) {
    let status = world.db.status();
    let replica = status.node("replica-1").unwrap();
    assert_eq!((replica.health, replica.failures), (Health::Healthy, 0));
    assert_eq!(replica.pool_error, None);
    assert_eq!(status.node("primary").unwrap().reads, 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_without_room_is_read_by_the_connections_that_exist() {
    let world = crowded(NoRoom::IsAnError).await;
    let longest = reads(&world, 8, 50).await;
    assert!(longest <= 20, "{longest}");
    assert_that_nobody_was_blamed(&world);
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_keeps_trying_to_open_a_connection_is_not_waited_for_while_others_come_back() {
    let world = crowded(NoRoom::IsTriedAgain).await;
    let longest = reads(&world, 8, 50).await;
    assert!(longest <= 75, "{longest}");
    assert_that_nobody_was_blamed(&world);
}

#[tokio::test(start_paused = true)]
async fn writes_wait_for_the_connections_that_exist_as_well() {
    for what in [NoRoom::IsAnError, NoRoom::IsTriedAgain] {
        let world = World::of(1).await;
        world.primary.at_most(10);
        world.primary.has_room_for(1, what);
        let writers = (0..4).map(|_| {
            let terms = Terms::new(&world.db).session().write();
            tokio::spawn(async move {
                let held = terms.work().acquire().await.unwrap();
                pass(5).await;
                drop(held);
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            time::timeout(Duration::from_secs(1), writer)
                .await
                .unwrap()
                .unwrap();
        }
        assert_eq!(world.node("primary").health(), Health::Healthy);
    }
}

/// mobc does so with diesel-async's connections.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_what_a_pool_closes_when_it_comes_back() {
    let world = World::of(1).await;
    let replica = &world.replicas[0];
    replica.at_most(10);
    replica.closes_what_comes_back();
    // So slowly that who comes later waits for a connection that comes back.
    replica.opens_in(millis(60));
    let longest = reads(&world, 8, 50).await;
    assert!(longest <= 240, "{longest}");
    assert_that_nobody_was_blamed(&world);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_has_room_again_is_used_at_once_by_those_who_wait() {
    let world = World::of(0).await;
    world.primary.has_room_for(1, NoRoom::IsAnError);
    let terms = Terms::new(&world.db);
    let _held = terms.work().of_connection().acquire().await.unwrap();
    let waiting = tokio::spawn(async move {
        let began = time::Instant::now();
        drop(terms.work().of_connection().acquire().await.unwrap());
        began.elapsed().as_millis()
    });
    pass(1000).await;
    world.primary.has_room_for(2, NoRoom::IsAnError);
    let waited = waiting.await.unwrap();
    assert!((1000..1060).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_room_ends() {
    let world = World::of(0).await;
    world.primary.has_room_for(1, NoRoom::IsAnError);
    let terms = Terms::new(&world.db);
    let _held = terms.work().of_connection().acquire().await.unwrap();
    let began = time::Instant::now();
    let refused = terms
        .work()
        .of_connection()
        .acquire()
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(refused.0, "no room");
    assert!((5000..5100).contains(&began.elapsed().as_millis()));
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_refuses_the_login_is_left_out_until_its_pool_has_given_a_connection() {
    let notes = Notes::default();
    let world = World::with(settings().observer(notes.clone()), vec![NodeSpec::new(); 2]).await;
    world.replicas[1].refuses_logins(Some("no such role"));
    notes.taken();
    for _ in 0..20 {
        let terms = Terms::new(&world.db).session().read();
        let (_, route) = terms.work().acquire().await.unwrap();
        assert_eq!(&**route.node().name(), "replica-1");
        drop(route);
        pass(500).await;
    }
    let node = world.node("replica-2");
    assert_eq!(node.health(), Health::Healthy, "the monitor is let in");
    assert_eq!(node.pool_error().as_deref(), Some("no such role"));
    notes.until("pool fails replica-2 no such role").await;
    world.replicas[1].refuses_logins(None);
    pass(5100).await;
    assert_eq!(node.pool_error(), None);
    notes.until("pool gives replica-2").await;
    assert_eq!(world.read(&world.db.session()).0, "replica-2");
}

#[tokio::test(start_paused = true)]
async fn where_no_other_node_is_left_it_is_tried_all_the_same() {
    let world = World::of(1).await;
    world.db.disable("primary").unwrap();
    world.replicas[0].refuses_logins(Some("no such role"));
    let terms = Terms::new(&world.db).session().read();
    let refused = terms.work().acquire().await.map(drop).unwrap_err();
    assert_eq!(refused.0, "no such role");
    pass(50).await;
    let session = world.db.session();
    assert_eq!(
        world.read(&session),
        ("replica-1".to_owned(), Reason::Policy)
    );
    world.replicas[0].refuses_logins(None);
    drop(terms.work().acquire().await.unwrap());
    assert_eq!(
        world.node("replica-1").pool_error(),
        None,
        "the pool has given one"
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_leaves_no_pool_error_behind() {
    let world = World::of(2).await;
    let replica = &world.replicas[1];
    replica.refuses_connections(true);
    let terms = Terms::new(&world.db).session().read();
    drop(terms.work().acquire().await.unwrap());
    assert!(world.node("replica-2").pool_error().is_some());
    replica.mood(Mood::Refusing);
    pass(10_000).await;
    assert_eq!(world.node("replica-2").health(), Health::Ejected);
    replica.refuses_connections(false);
    replica.mood(Mood::Answering);
    pass(150).await;
    assert_eq!(world.node("replica-2").pool_error(), None);
    assert_eq!(
        world.read(&world.db.session()).0,
        "replica-2",
        "as soon as it answers"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_takes_longer_than_the_limit_is_there_for_the_next_reads() {
    let world = World::of(2).await;
    let replica = &world.replicas[1];
    replica.opens_in(millis(1200));
    let terms = Terms::new(&world.db).session().read();
    let (_, route) = terms.work().acquire().await.unwrap();
    assert_eq!(&**route.node().name(), "replica-1", "within 250 ms");
    drop(route);
    pass(2500).await;
    let (_, route) = terms.work().acquire().await.unwrap();
    let other = Terms::new(&world.db).session().read();
    let (_, another) = other.work().acquire().await.unwrap();
    let names = [route.node().name(), another.node().name()];
    assert!(
        names.iter().any(|name| &***name == "replica-2"),
        "{names:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_is_met_though_its_connection_takes_longer_to_open_than_an_answer_may_take() {
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    primary.opens_in(millis(2500));
    replica.opens_in(millis(2500));
    let db = crate::world::builder(settings())
        .primary(NodeSpec::new(), primary.clone())
        .replica(NodeSpec::new(), replica.clone())
        .connect()
        .await
        .unwrap();
    pass(3000).await;
    assert!(db.node("primary").unwrap().is_healthy());
    assert!(db.node("replica-1").unwrap().is_healthy());
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_is_never_reached_is_an_error_after_ten_seconds() {
    let primary = Server::primary();
    primary.opens_in(millis(60_000));
    let began = time::Instant::now();
    let replica = Server::standby_of(&primary);
    let connecting = crate::world::builder(settings()).primary(NodeSpec::new(), primary);
    let error = connecting.replica(NodeSpec::new(), replica).connect().await;
    let error = error.map(drop).unwrap_err();
    assert_eq!(error.field(), "primary.url");
    assert!(
        error.to_string().contains("no connection within 10s"),
        "{error}"
    );
    assert!((10_000..13_000).contains(&began.elapsed().as_millis()));
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_of_the_monitors_is_no_dead_node() {
    let notes = Notes::default();
    let world = World::with(settings().observer(notes.clone()), vec![NodeSpec::new()]).await;
    pass(200).await;
    notes.taken();
    world.primary.forget();
    world.replicas[0].forget();
    for _ in 0..30 {
        pass(100).await;
        world.write(&world.db.session());
        assert!(world.node("primary").is_healthy() && world.node("replica-1").is_healthy());
    }
    let session = world.db.session();
    world.write(&session);
    pass(150).await;
    assert_eq!(
        world.read(&session).0,
        "replica-1",
        "the primary's log is known again"
    );
    let mut notes = notes.taken();
    notes.retain(|note| !note.starts_with("not learnt"));
    assert_eq!(notes, Vec::<String>::new());
}
