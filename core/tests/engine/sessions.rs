use dbrouter::policy::{RoundRobin, Sticky};
use dbrouter::{Decision, Intent, ManualClock, NodeSpec, Preference, Reason, Request, Router};

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
async fn the_root_reads_its_own_writes_and_not_the_sessions() {
    let world = World::of(1).await;
    let root = world.db.current_session();
    assert!(root.is_root());
    world.write(&world.db.session());
    assert_eq!(world.read(&root).0, "replica-1");
    world.write(&root);
    assert_eq!(world.read(&world.db.current_session()).1, Reason::NotFresh);
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
