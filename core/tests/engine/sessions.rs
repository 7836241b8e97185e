use dbrouter::policy::{RoundRobin, Sticky};
use dbrouter::scope::with_replica;
use dbrouter::{
    Decision, Intent, ManualClock, NodeSpec, Preference, Reason, Request, Router, Terms,
};

use crate::world::{World, pass, rarely, settings};

#[tokio::test(start_paused = true)]
async fn a_session_reads_its_own_writes() {
    let world = World::of(1).await;
    let session = world.db.session();
    world.replicas[0].pause();
    world.write(&session);
    for _ in 0..3 {
        assert_eq!(
            world.read(&session),
            ("primary".to_owned(), Reason::NotFresh)
        );
        pass(150).await;
    }
    world.replicas[0].resume();
    pass(150).await;
    assert_eq!(world.read(&session).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn other_sessions_writes_do_not_move_a_session() {
    let world = World::of(1).await;
    let (writer, reader) = (world.db.session(), world.db.session());
    world.replicas[0].pause();
    world.write(&writer);
    assert_eq!(world.read(&reader).0, "replica-1");
    assert_eq!(world.read(&writer).0, "primary");
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_session_are_that_session() {
    let world = World::of(1).await;
    let session = world.db.session();
    world.write(&session.clone());
    assert_eq!(world.read(&session).1, Reason::NotFresh);
}

#[tokio::test(start_paused = true)]
async fn the_root_reads_its_own_writes() {
    let world = World::of(1).await;
    let root = world.db.current_session();
    assert!(root.is_root());
    assert_eq!(world.read(&root).0, "replica-1");
    world.write(&root);
    assert_eq!(world.read(&world.db.current_session()).1, Reason::NotFresh);
}

#[tokio::test(start_paused = true)]
async fn the_root_reads_what_any_session_wrote_and_sessions_do_not() {
    let world = World::of(1).await;
    let root = world.db.current_session();
    world.replicas[0].pause();
    world.write(&world.db.session());
    assert_eq!(world.read(&root).1, Reason::NotFresh);
    assert_eq!(world.read(&world.db.session()).0, "replica-1");
    // So does a scope that binds the root's reads to a replica: it is the root handle still.
    let bound = with_replica(async { world.db.current_session() }).await;
    assert_eq!(world.read(&bound).1, Reason::NotFresh);
    // And only until a replica shows it.
    world.replicas[0].resume();
    pass(150).await;
    assert_eq!(world.read(&root).0, "replica-1");
    assert_eq!(world.read(&bound).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn the_root_reads_a_sessions_write_of_unknown_outcome() {
    let world = World::of(1).await;
    let cancelled = world.db.route(&Request::write(), &world.db.session());
    drop(cancelled.unwrap());
    assert_eq!(world.read(&world.db.current_session()).1, Reason::NotFresh);
}

/// A transaction whose commit the router sees: nothing of it is acknowledged before.
#[tokio::test(start_paused = true)]
async fn the_root_reads_a_sessions_transaction_from_its_commit_on() {
    let world = World::of(1).await;
    let root = world.db.current_session();
    let transaction = world.db.route(&Request::write(), &world.db.session());
    assert_eq!(world.read(&root).0, "replica-1");
    world.primary.commit();
    drop(transaction.unwrap());
    assert_eq!(world.read(&root).1, Reason::NotFresh);
}

/// A connection that a session holds may have a write acknowledged at any time, and nobody tells the router.
#[tokio::test(start_paused = true)]
async fn while_a_session_holds_a_writer_the_root_reads_from_the_primary() {
    let world = World::of(1).await;
    let (root, session) = (world.db.current_session(), world.db.session());
    let held = world.db.route(&Request::write(), &session).unwrap();
    let held = held.hold_open();
    for _ in 0..3 {
        assert_eq!(world.read(&root).1, Reason::OpenWriter);
        // A session that has nothing to do with it goes on as before.
        assert_eq!(world.read(&world.db.session()).0, "replica-1");
        pass(150).await;
    }
    world.replicas[0].pause();
    world.primary.commit();
    drop(held);
    // It is back: what it may have written is needed, and no more than that.
    assert_eq!(world.read(&root).1, Reason::NotFresh);
    world.replicas[0].resume();
    pass(150).await;
    assert_eq!(world.read(&root).0, "replica-1");
    // One that is known to have written nothing leaves nothing behind.
    let held = world.db.route(&Request::write(), &session).unwrap();
    held.hold_open().without_effect();
    assert_eq!(world.read(&root).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_told_of_outside_writes_needs_the_freshness_of_now() {
    let world = World::of(1).await;
    let (told, other) = (world.db.session(), world.db.session());
    world.replicas[0].pause();
    // Somebody else's commit, of which this router knows nothing.
    world.primary.commit();
    assert_eq!(world.read(&told).0, "replica-1", "the past");
    world.db.observe_now(&told);
    assert_eq!(world.read(&told).1, Reason::NotFresh);
    assert_eq!(world.read(&other).0, "replica-1");
    assert_eq!(world.read(&world.db.current_session()).0, "replica-1");
    // The monitor is asked at once, so a replica that shows it serves the session a moment later.
    world.replicas[0].resume();
    pass(10).await;
    assert_eq!(world.read(&told).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn the_root_that_is_told_of_outside_writes_needs_the_freshness_of_now_everywhere() {
    let world = World::of(1).await;
    let root = Terms::new(&world.db);
    world.replicas[0].pause();
    world.primary.commit();
    with_replica(async { root.observe_now() }).await;
    for _ in 0..2 {
        assert_eq!(world.read(&world.db.current_session()).1, Reason::NotFresh);
        assert_eq!(world.read(&world.db.session()).0, "replica-1");
    }
    // Nothing was written, so there is nothing to hand on.
    assert_eq!(root.token().await, None);
}

#[tokio::test(start_paused = true)]
async fn the_root_spreads_its_reads_and_remembers_none() {
    let world = World::under(Sticky::new(RoundRobin::new()), 2).await;
    let root = world.db.current_session();
    let nodes: Vec<_> = (0..4).map(|_| world.read(&root).0).collect();
    assert_eq!(nodes, ["replica-1", "replica-2", "replica-1", "replica-2"]);
    assert_eq!(world.db.last_decision(&root), None);
}

#[tokio::test(start_paused = true)]
async fn who_changes_nodes_never_sees_time_go_back() {
    let world = World::under(RoundRobin::new(), 2).await;
    let session = world.db.session();
    assert_eq!(world.read(&session).0, "replica-1");
    pass(10).await;
    // The other replica was proved fresh before that read ended, and so may show an older state.
    assert_eq!(
        world.read(&session),
        ("replica-1".to_owned(), Reason::Policy)
    );
    pass(200).await;
    assert_eq!(world.read(&session).0, "replica-1");
    world.db.disable("replica-1").unwrap();
    assert_eq!(
        world.read(&session),
        ("primary".to_owned(), Reason::NotFresh)
    );
    pass(10).await;
    assert_eq!(
        world.read(&session),
        ("replica-2".to_owned(), Reason::Policy)
    );
}

#[tokio::test(start_paused = true)]
async fn what_the_primary_has_shown_must_be_on_the_replica() {
    let world = World::with(settings().monitor(rarely()), vec![NodeSpec::new()]).await;
    let session = world.db.session();
    let primary = Request::read().preference(Preference::Primary);
    world.replicas[0].pause();
    world.primary.commit();
    world.went(&primary, &session);
    assert_eq!(world.read(&session).1, Reason::NotFresh);
    pass(50).await;
    assert_eq!(world.read(&session).1, Reason::NotFresh);
    world.replicas[0].resume();
    pass(50_000).await;
    world.read(&session);
    pass(4_000_000).await;
    assert_eq!(world.read(&session).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_write_of_unknown_outcome_counts_as_one() {
    let world = World::of(1).await;
    let session = world.db.session();
    let cancelled = world.db.route(&Request::write(), &session).unwrap();
    drop(cancelled);
    assert_eq!(world.read(&session).1, Reason::NotFresh);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_not_sent_counts_as_none() {
    let world = World::of(1).await;
    let session = world.db.session();
    let write = world.db.route(&Request::write(), &session).unwrap();
    write.without_effect();
    assert_eq!(world.read(&session).0, "replica-1");
}

/// A coarse clock gives one instant to a write and to a question that came before it.
#[tokio::test(start_paused = true)]
async fn an_instant_that_two_events_share_proves_nothing() {
    let clock = ManualClock::new();
    let world = World::with(settings().clock(clock.clone()), vec![NodeSpec::new()]).await;
    let session = world.db.session();
    pass(500).await;
    world.replicas[0].pause();
    world.write(&session);
    assert_eq!(world.read(&session).1, Reason::NotFresh);
    world.replicas[0].resume();
    clock.advance(crate::world::millis(1));
    pass(500).await;
    assert_eq!(world.read(&session).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_session_knows_its_last_decision() {
    let world = World::of(1).await;
    let session = world.db.session();
    assert_eq!(world.db.last_decision(&session), None);
    world.read(&session);
    let read = Decision {
        node: "replica-1".into(),
        intent: Intent::Read,
        reason: Reason::Policy,
    };
    assert_eq!(world.db.last_decision(&session), Some(read));
    world.write(&session);
    let write = world.db.last_decision(&session).unwrap();
    assert_eq!(write.to_string(), "write on primary: a write");
    assert_eq!(world.db.last_decision(&world.db.session()), None);
}

#[tokio::test(start_paused = true)]
async fn the_decision_for_a_node_that_is_gone_is_gone() {
    let world = World::of(2).await;
    let session = world.db.session();
    assert_eq!(world.read(&session).0, "replica-2");
    world.db.remove("replica-2").unwrap();
    assert_eq!(world.db.last_decision(&session), None);
}

#[tokio::test(start_paused = true)]
async fn a_route_explains_itself() {
    let world = World::of(1).await;
    let route = world
        .db
        .route(&Request::read(), &world.db.session())
        .unwrap();
    assert_eq!(route.intent(), Intent::Read);
    assert_eq!(
        route.decision().to_string(),
        "read on replica-1: chosen by the policy"
    );
    assert!(format!("{route:?}").contains("replica-1"));
}
