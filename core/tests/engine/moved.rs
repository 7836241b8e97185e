//! Work that waited for a connection while its node became another: nothing is sent there.

use std::sync::{Arc, Mutex};

use dbrouter::{Access, Backend, Cluster, NodeSpec, Preference, Router, Terms};
use tokio::task::JoinHandle;
use tokio::time;

use crate::world::{Failure, Lent, Server, World, builder, millis, pass, settings};

/// The server is promoted, in a history of its own.
fn promote(server: &Server, timeline: u32) {
    let at = server.shows();
    server.promote();
    server.fork(timeline, at + 1);
}

/// The only connection of a server's pool.
async fn only_connection(server: &Server) -> Lent {
    server.at_most(1);
    server.acquire().await.unwrap()
}

type Sent = Arc<Mutex<Vec<Server>>>;

/// Runs a statement in a task that notes the server it was sent to.
fn run(terms: Terms<Server>, sent: &Sent) -> JoinHandle<Result<(), &'static str>> {
    let sent = Arc::clone(sent);
    tokio::spawn(async move {
        let run = terms.work().run("statement", |lent, _| {
            sent.lock().unwrap().push((**lent).clone());
            Box::pin(async { Ok(()) })
        });
        run.await.map(drop).map_err(|failure| failure.0)
    })
}

fn sent_to(sent: &Sent) -> Vec<Server> {
    std::mem::take(&mut *sent.lock().unwrap())
}

async fn until_primary_is(db: &Cluster<Server>, name: &str) {
    let known = time::timeout(millis(5000), async {
        while &**db.primary().name() != name {
            pass(1).await;
        }
    });
    known.await.unwrap();
}

/// Its pool stays, as one does that the application has opened, and the old primary goes on answering.
#[tokio::test(start_paused = true)]
async fn a_write_leaves_the_pool_of_a_primary_that_was_deposed() {
    let world = World::of(2).await;
    let held = only_connection(&world.primary).await;
    let sent = Sent::default();
    let waiting = run(Terms::new(&world.db).write(), &sent);
    pass(50).await;
    promote(&world.replicas[0], 2);
    until_primary_is(&world.db, "replica-1").await;
    time::timeout(millis(1), waiting)
        .await
        .expect("the write does not wait for the old pool")
        .unwrap()
        .unwrap();
    drop(held);
    let sent = sent_to(&sent);
    assert!(sent.len() == 1 && sent[0].is(&world.replicas[0]));
    assert_eq!(world.node("primary").in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_is_refused_if_its_primary_became_a_replica_while_it_waited() {
    let world = World::of(1).await;
    let held = only_connection(&world.primary).await;
    let sent = Sent::default();
    let waiting = run(Terms::new(&world.db).write(), &sent);
    pass(50).await;
    world.primary.demote();
    pass(200).await;
    drop(held);
    assert_eq!(waiting.await.unwrap(), Err("refused by the router"));
    assert!(sent_to(&sent).is_empty());
    assert_eq!(world.primary.lent(), 0, "the connection is back");
}

#[tokio::test(start_paused = true)]
async fn a_write_is_refused_if_its_primary_became_contested_while_it_waited() {
    let world = World::of(2).await;
    let held = only_connection(&world.primary).await;
    let sent = Sent::default();
    let waiting = run(Terms::new(&world.db).write(), &sent);
    pass(50).await;
    world.replicas[1].promote();
    pass(200).await;
    assert!(world.db.status().contested);
    drop(held);
    assert_eq!(waiting.await.unwrap(), Err("refused by the router"));
    assert!(sent_to(&sent).is_empty());
}

/// The replica stays healthy all the time; only what it had proved is void.
#[tokio::test(start_paused = true)]
async fn a_read_leaves_a_replica_whose_proofs_became_void_while_it_waited() {
    let world = World::of(1).await;
    let replica = &world.replicas[0];
    let session = Terms::new(&world.db).session();
    world.write(&session.state());
    pass(200).await;
    let held = only_connection(replica).await;
    let sent = Sent::default();
    let waiting = run(session.read(), &sent);
    pass(20).await;
    // It has lost what it had replayed.
    replica.stand_at(Some(500));
    pass(200).await;
    assert!(world.node("replica-1").is_healthy());
    drop(held);
    waiting.await.unwrap().unwrap();
    let sent = sent_to(&sent);
    assert!(sent.len() == 1 && sent[0].is(&world.primary));
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fell_back_leaves_a_primary_that_was_deposed() {
    let world = World::of(1).await;
    let held = only_connection(&world.primary).await;
    let sent = Sent::default();
    let terms = Terms::new(&world.db).session().read();
    let waiting = run(terms.preference(Preference::Primary), &sent);
    pass(20).await;
    promote(&world.replicas[0], 2);
    until_primary_is(&world.db, "replica-1").await;
    drop(held);
    waiting.await.unwrap().unwrap();
    let sent = sent_to(&sent);
    assert!(sent.len() == 1 && sent[0].is(&world.replicas[0]));
}

/// The pool of the former primary is opened again for its new role.
#[tokio::test(start_paused = true)]
async fn a_transaction_begins_on_the_new_primary_if_the_pool_was_replaced_while_it_waited() {
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    let access = |server: &Server| {
        let again = server.clone();
        Access::reopened_by(server.clone(), move |_| Some(again.clone()))
    };
    let db = builder(settings())
        .primary(NodeSpec::new(), access(&primary))
        .replica(NodeSpec::new(), access(&replica))
        .connect()
        .await
        .unwrap();
    let held = only_connection(&primary).await;
    let waiting = {
        let terms = Terms::new(&db).write();
        tokio::spawn(async move {
            let begin = |server: &Server| {
                let server = server.clone();
                async move { server.acquire().await }
            };
            terms.work().begin(begin).await.map(|(lent, _)| lent)
        })
    };
    pass(50).await;
    promote(&replica, 2);
    until_primary_is(&db, "replica-1").await;
    let begun = time::timeout(millis(1), waiting)
        .await
        .expect("it does not wait for the old pool");
    assert!(begun.unwrap().unwrap().is(&replica));
    drop(held);
}

/// Each time the write has waited, another node has become the primary.
#[tokio::test(start_paused = true)]
async fn a_write_ends_even_if_the_primary_changes_each_time_it_has_waited() {
    let world = World::of(1).await;
    let nodes = [world.primary.clone(), world.replicas[0].clone()];
    let turn = Arc::new(Mutex::new(0));
    let db = world.db.clone();
    let begin = |_: &Server| {
        let (nodes, turn, db) = (nodes.clone(), Arc::clone(&turn), db.clone());
        async move {
            let count = {
                let mut turn = turn.lock().unwrap();
                *turn += 1;
                *turn
            };
            let (next, former) = (&nodes[count % 2], &nodes[(count + 1) % 2]);
            former.demote();
            promote(next, u32::try_from(count).unwrap() + 1);
            let name = ["primary", "replica-1"][count % 2];
            until_primary_is(&db, name).await;
            Ok::<_, Failure>(())
        }
    };
    let begun = Terms::new(&world.db).write().work().begin(begin).await;
    assert_eq!(begun.map(drop).unwrap_err().0, "refused by the router");
    let turns = *turn.lock().unwrap();
    assert!((5..=20).contains(&turns), "{turns}");
}
