//! Work that follows the primary: it waits for one that answers, and ends when that is no longer the primary.

use std::future::pending;
use std::time::Duration;

use dbrouter::{Access, Cluster, NodeSpec};
use tokio::time;

use crate::world::{Mood, Server, World, builder, millis, pass, settings};

/// The primary once it is ready; `None` if it is not within that time.
async fn ready(db: &Cluster<Server>, within: u64) -> Option<String> {
    let ready = time::timeout(millis(within), db.ready_primary()).await;
    ready.ok().map(|node| node.name().to_string())
}

/// The server is promoted, in a history of its own.
fn promote(server: &Server) {
    let at = server.shows();
    server.promote();
    server.fork(2, at + 1);
}

#[tokio::test(start_paused = true)]
async fn work_ends_when_another_node_is_promoted_and_goes_on_there() {
    let world = World::of(2).await;
    let first = world.db.ready_primary().await;
    assert_eq!(&**first.name(), "primary");
    assert_eq!(world.db.while_primary(&first, async { 7 }).await, Some(7));

    let (db, node) = (world.db.clone(), first.clone());
    let held = tokio::spawn(async move { db.while_primary(&node, pending::<()>()).await });
    pass(5000).await;
    assert!(!held.is_finished(), "nothing has happened");
    // Nobody's work fails: the former primary gives way, and closes nothing.
    world.primary.demote();
    promote(&world.replicas[1]);
    assert_eq!(held.await.unwrap(), None);
    assert_eq!(ready(&world.db, 1000).await.as_deref(), Some("replica-2"));
    assert_eq!(world.db.while_primary(&first, pending::<()>()).await, None);
}

#[tokio::test(start_paused = true)]
async fn work_ends_when_the_primary_falls_silent_and_a_primary_is_waited_for() {
    let world = World::of(1).await;
    let first = world.db.ready_primary().await;
    world.primary.mood(Mood::Hanging);
    let begun = time::Instant::now();
    assert_eq!(world.db.while_primary(&first, pending::<()>()).await, None);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(ready(&world.db, 60_000).await, None, "there is no primary");
    let db = world.db.clone();
    let waits = tokio::spawn(async move { db.ready_primary().await.name().to_string() });
    pass(1000).await;
    world.primary.mood(Mood::Answering);
    assert_eq!(waits.await.unwrap(), "primary");
}

#[tokio::test(start_paused = true)]
async fn work_ends_when_the_primarys_pool_is_opened_anew() {
    let (primary, other) = (Server::primary(), Server::primary());
    let address = Server::address_of(&primary);
    let again = address.clone();
    let access = Access::reopened_by(address.clone(), move |_| Some(again.clone()));
    let db = builder(settings()).primary(NodeSpec::new(), access);
    let db = db.connect().await.unwrap();
    // A router without replicas watches nothing before.
    let first = db.ready_primary().await;
    let (cluster, node) = (db.clone(), first.clone());
    let held = tokio::spawn(async move { cluster.while_primary(&node, pending::<()>()).await });
    pass(1000).await;
    assert!(!held.is_finished());
    address.leads_to(&other);
    assert_eq!(held.await.unwrap(), None);
    let next = db.ready_primary().await;
    assert!(next.id() == first.id() && !std::sync::Arc::ptr_eq(&next, &first));
}
