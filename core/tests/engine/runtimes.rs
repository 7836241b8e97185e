//! A router whose runtime has ended, and that is used in another one.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use dbrouter::{Cluster, Request, Router, SessionState, Terms};
use tokio::runtime::{Builder, Runtime};

use crate::world::{Mood, Server, World, name};

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A router that has just lost the runtime in which it was connected.
fn left(replicas: usize) -> World {
    let runtime = runtime();
    let world = runtime.block_on(World::of(replicas));
    assert!(!world.db.status().unwatched);
    drop(runtime);
    world
}

/// Where work goes that begins now and ends at once.
async fn goes(db: &Cluster<Server>, request: &Request, session: &SessionState) -> String {
    name(&db.route_patiently(request, session).await.unwrap())
}

#[test]
fn the_status_says_that_nobody_watches_until_somebody_does() {
    let world = left(2);
    let status = world.db.status();
    assert!(status.unwatched);
    assert!(
        status.to_string().contains("nobody watches the nodes"),
        "{status}"
    );
    runtime().block_on(async {
        goes(&world.db, &Request::read(), &world.db.session()).await;
        assert!(!world.db.status().unwatched);
    });
    assert!(world.db.status().unwatched);
}

/// The monitor's connections break with their runtime, which is nobody's fault.
#[test]
fn the_first_read_in_the_next_runtime_goes_to_a_replica_that_shows_what_was_written() {
    let world = left(2);
    for server in world.replicas.iter().chain([&world.primary]) {
        server.restart();
    }
    let session = world.db.session();
    world.write(&session);
    runtime().block_on(async {
        let node = goes(&world.db, &Request::read(), &session).await;
        assert_eq!(node, "replica-2");
    });
    let status = world.db.status();
    assert!(
        status
            .nodes
            .iter()
            .all(|node| node.healthy && node.failures == 0),
        "{status}"
    );
}

/// Its monitor has not connected the router, and must not be asked to.
#[test]
fn a_router_that_got_its_monitor_later_reads_in_the_next_runtime_without_its_primary() {
    let first = runtime();
    let (world, replica) = first.block_on(async {
        let world = World::of(0).await;
        let replica = Server::standby_of(&world.primary);
        world
            .db
            .add_replica(&dbrouter::NodeSpec::new(), replica.clone())
            .unwrap();
        while goes(&world.db, &Request::read(), &world.db.session()).await != "replica-1" {
            tokio::task::yield_now().await;
        }
        (world, replica)
    });
    drop(first);
    assert!(world.db.status().unwatched && replica.asked() > 0);
    world.primary.mood(Mood::Refusing);
    runtime().block_on(async {
        let node = goes(&world.db, &Request::read(), &world.db.session()).await;
        assert_eq!(node, "replica-1");
    });
}

/// What tried to open a connection for it has ended with the first runtime.
#[test]
fn a_pool_that_failed_is_tried_again_in_the_next_runtime() {
    let runtime = runtime();
    let world = runtime.block_on(async {
        let world = World::of(2).await;
        world.replicas[1].refuses_logins(Some("no such role"));
        drop(
            Terms::new(&world.db)
                .session()
                .read()
                .work()
                .acquire()
                .await,
        );
        world
    });
    assert!(world.node("replica-2").pool_error().is_some());
    drop(runtime);
    world.replicas[1].refuses_logins(None);
    self::runtime().block_on(async {
        let node = goes(&world.db, &Request::read(), &world.db.session()).await;
        assert_eq!(node, "replica-2");
    });
}

#[test]
fn what_has_changed_since_is_known_to_the_first_work() {
    let world = left(2);
    world.primary.mood(Mood::Refusing);
    let at = world.replicas[0].shows();
    world.replicas[0].promote();
    world.replicas[0].fork(2, at + 1);
    runtime().block_on(async {
        let node = goes(&world.db, &Request::write(), &world.db.session()).await;
        assert_eq!(node, "replica-1");
    });
}

#[test]
fn all_work_waits_for_the_one_that_has_the_nodes_asked() {
    let world = left(1);
    runtime().block_on(async {
        let before = world.primary.asked();
        let session = world.db.session();
        let request = Request::read();
        // The first to begin is given up.
        let mut cx = Context::from_waker(Waker::noop());
        assert!(
            pin!(goes(&world.db, &request, &session))
                .poll(&mut cx)
                .is_pending()
        );
        let all = async || goes(&world.db, &request, &session).await;
        let (one, other, third) = tokio::join!(all(), all(), all());
        assert_eq!([one, other, third], ["replica-1"; 3]);
        // Each time on the former connection, who it is, and whether the replica follows it.
        let asked = world.primary.asked() - before;
        assert!(asked <= 6, "{asked}");
    });
}

#[cfg(feature = "builder")]
#[test]
fn a_source_of_nodes_is_followed_in_the_next_runtime() {
    use crate::discovery::{Net, replica, script};

    let net = Net::of(&["one:5432", "two:5432"]);
    let (teller, source) = script();
    let db = runtime().block_on(async {
        teller.tell([replica("one")]);
        let builder = net.builder().primary("postgres://primary/shop");
        builder.discover(source).connect().await.unwrap()
    });
    assert!(db.status().unwatched);
    teller.tell([replica("one"), replica("two")]);
    runtime().block_on(async {
        goes(&db, &Request::read(), &db.session()).await;
        while db.nodes().len() < 3 {
            tokio::task::yield_now().await;
        }
    });
}
