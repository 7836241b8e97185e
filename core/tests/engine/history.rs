//! A replica on another history than the primary's proves nothing, wherever it stands, and takes nothing over.

use dbrouter::{
    Fault, NodeSpec, Preference, Promotion, Reason, Request, Role, Router, SessionState,
};

use crate::world::{Mood, Server, World, builder, millis, pass, settings};

fn primary() -> (String, Reason) {
    ("primary".to_owned(), Reason::NotFresh)
}

/// The primary's disk was set back to a snapshot: the log is shorter, and the standbys are ahead of it.
async fn set_back(world: &World, session: &SessionState) {
    world.replicas.iter().for_each(Server::pause);
    world.primary.fork(1, 500);
    pass(150).await;
    world.write(session);
    pass(150).await;
}

fn writer(world: &World) -> String {
    world.went(&Request::write(), &world.db.session()).0
}

#[tokio::test(start_paused = true)]
async fn a_replica_ahead_of_its_primary_serves_no_session_that_wrote() {
    let world = World::of(2).await;
    let session = world.db.session();
    set_back(&world, &session).await;
    for _ in 0..10 {
        assert_eq!(world.read(&session).0, "primary");
        pass(100).await;
    }
    for name in ["replica-1", "replica-2"] {
        let error = world.node(name).last_error().unwrap();
        assert!(
            error.contains("replayed the log up to 0/3E8") && error.contains("up to 0/"),
            "{error}"
        );
    }
    // The primary's log grows beyond the place where they stand: they are still on the other history.
    world.primary.fork(1, 990);
    for _ in 0..20 {
        world.write(&session);
        pass(100).await;
        assert_eq!(world.read(&session).0, "primary");
    }
    // They are rebuilt.
    for replica in &world.replicas {
        replica.restart();
        replica.resume();
    }
    pass(1500).await;
    assert_ne!(world.read(&session).0, "primary");
    assert_eq!(world.node("replica-1").last_error(), None);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_connects_afterwards_reads_nothing_stale_either() {
    for ahead in [1_000, 400] {
        let primary = Server::primary();
        let replica = Server::standby_of(&primary);
        replica.stand_at(Some(ahead));
        primary.fork(1, 500);
        let world = World {
            db: builder(settings())
                .primary(NodeSpec::new(), primary.clone())
                .replica(NodeSpec::new(), replica.clone())
                .connect()
                .await
                .unwrap(),
            primary,
            replicas: vec![replica],
        };
        let session = world.db.session();
        for _ in 0..20 {
            world.write(&session);
            assert_eq!(world.read(&session).0, "primary");
            pass(20).await;
            assert_eq!(world.read(&session).0, "primary", "{ahead}");
        }
    }
}

/// While nobody could ask it, the primary's log was set back and grew beyond its former place.
#[tokio::test(start_paused = true)]
async fn a_primary_that_was_away_may_write_another_history_at_higher_positions() {
    let world = World::of(1).await;
    let session = world.db.session();
    pass(300).await;
    world.primary.mood(Mood::Refusing);
    pass(300).await;
    world.replicas[0].pause();
    world.replicas[0].stand_at(Some(5000));
    world.primary.fork(1, 4990);
    world.primary.mood(Mood::Answering);
    pass(50).await;
    for _ in 0..10 {
        world.write(&session);
        pass(100).await;
        assert_eq!(world.read(&session).0, "primary");
    }
}

/// The router asked the replica last before that had replayed all that it has, and asks the primary first afterwards.
#[tokio::test(start_paused = true)]
async fn a_replica_that_replays_on_while_its_primary_is_away_must_show_anew_that_it_follows() {
    let world = World::of(1).await;
    world.primary.fork(1, 5000);
    world.replicas[0].stand_at(Some(4800));
    pass(300).await;
    let primary = world.node("primary");
    world.primary.mood(Mood::Refusing);
    pass(300).await;
    assert!(!primary.is_healthy());
    world.primary.fork(1, 4890);
    world.primary.mood(Mood::Answering);
    while !primary.is_healthy() {
        pass(1).await;
    }
    world.replicas[0].stand_at(Some(5000));
    let session = world.db.session();
    for _ in 0..300 {
        world.primary.fork(1, 4990);
        drop(world.db.route(&Request::write(), &session).unwrap());
        pass(1).await;
        assert_eq!(world.read(&session).0, "primary");
    }
}

/// What the primary wrote before it was away is at the same places as what it wrote since.
#[tokio::test(start_paused = true)]
async fn a_place_in_the_log_is_not_looked_for_in_what_the_primary_wrote_before_it_was_away() {
    let world = World::of(1).await;
    world.primary.fork(1, 5000);
    pass(300).await;
    world.primary.mood(Mood::Refusing);
    pass(300).await;
    world.replicas[0].pause();
    // It is set back to 4400. Another process writes, and then it grows.
    let token = {
        let primary = Server::primary();
        primary.fork(1, 4400);
        let other = World {
            db: builder(settings())
                .primary(NodeSpec::new(), primary.clone())
                .connect()
                .await
                .unwrap(),
            primary,
            replicas: Vec::new(),
        };
        let session = other.db.session();
        other.write(&session);
        other.db.token(&session).await.unwrap()
    };
    world.primary.fork(1, 5010);
    world.primary.mood(Mood::Answering);
    pass(300).await;
    for _ in 0..10 {
        let session = world.db.session();
        world.db.observe(&session, &token);
        assert_eq!(world.read(&session).0, "primary");
        pass(50).await;
    }
}

/// It stands between two places at which the primary has stood since the session wrote.
#[tokio::test(start_paused = true)]
async fn a_replica_met_late_on_another_history_proves_nothing_of_the_past_either() {
    let world = World::of(1).await;
    world.replicas[0].mood(Mood::Refusing);
    pass(300).await;
    let session = world.db.session();
    world.write(&session);
    pass(300).await;
    let written = world.primary.shows();
    world.primary.fork(1, written + 500);
    pass(300).await;
    world.replicas[0].stand_at(Some(written + 50));
    world.replicas[0].mood(Mood::Answering);
    for _ in 0..20 {
        pass(100).await;
        assert_eq!(world.read(&session).0, "primary");
    }
    world.replicas[0].resume();
    pass(1000).await;
    assert_eq!(world.read(&session).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_follows_is_fresh_as_soon_as_the_router_has_connected() {
    let world = World::of(2).await;
    for name in ["replica-1", "replica-2"] {
        assert!(world.node(name).fresh_as_of() > dbrouter::Instant::ORIGIN);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restored_copy_takes_nothing_and_is_refused() {
    for promotion in [
        Promotion::WhenSeenToFollow,
        Promotion::WhenPrimaryIsGone,
        Promotion::Never,
    ] {
        let settings = settings().promotion(promotion);
        let world = World::with(settings, vec![NodeSpec::new()]).await;
        let copy = Server::primary();
        copy.fork(3, 900);
        let spec = NodeSpec::new().name("copy");
        world.db.add_replica(&spec, copy).unwrap();
        pass(1000).await;
        assert_eq!(writer(&world), "primary");
        assert!(!world.db.status().contested);
        let node = world.node("copy");
        assert_eq!((node.role(), node.is_healthy()), (Role::Unknown, false));
        let error = node.last_error().unwrap();
        assert!(error.contains("it may be a restored copy"), "{error}");
        let only = Request::read().preference(Preference::Replica);
        assert_eq!(world.went(&only, &world.db.session()).0, "replica-1");
        // Nor when the primary is gone.
        world.primary.mood(Mood::Refusing);
        pass(1000).await;
        assert!(world.goes(&Request::write(), &world.db.session()).is_err());
    }
}

/// The promoted server is gone before it has answered beside the copy.
#[tokio::test(start_paused = true)]
async fn a_refused_copy_takes_nothing_after_a_promotion_either() {
    let world = World::of(1).await;
    let copy = Server::primary();
    copy.fork(3, 900);
    let spec = NodeSpec::new().name("copy");
    world.db.add_replica(&spec, copy).unwrap();
    pass(1000).await;
    world.primary.mood(Mood::Refusing);
    pass(300).await;
    world.replicas[0].promote();
    world.replicas[0].fork(2, 1001);
    while &**world.db.primary().name() == "primary" {
        pass(1).await;
    }
    world.replicas[0].mood(Mood::Refusing);
    pass(1000).await;
    assert_eq!(&**world.db.primary().name(), "replica-1");
    assert!(world.goes(&Request::write(), &world.db.session()).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_later_history_wins_as_the_router_was_told() {
    for (promotion, beside, alone) in [
        (Promotion::WhenSeenToFollow, "replica-1", Some("replica-1")),
        (Promotion::WhenPrimaryIsGone, "primary", Some("replica-1")),
        (Promotion::Never, "primary", None),
    ] {
        let settings = settings().promotion(promotion);
        let world = World::with(settings, vec![NodeSpec::new(); 2]).await;
        world.replicas[0].promote();
        world.replicas[0].fork(2, 1001);
        pass(1000).await;
        assert_eq!(writer(&world), beside, "{promotion:?}");
        // One connection to the primary is cut; it is still there.
        world.lose(beside);
        assert_eq!(writer(&world), beside, "{promotion:?}");
        pass(300).await;
        assert_eq!(writer(&world), beside, "{promotion:?}");
        world.primary.mood(Mood::Refusing);
        pass(1000).await;
        let went = world.goes(&Request::write(), &world.db.session());
        assert_eq!(
            went.ok().map(|went| went.0).as_deref(),
            alone,
            "{promotion:?}"
        );
    }
}

/// A promoted node answers before it is known that the former primary has given way.
#[tokio::test(start_paused = true)]
async fn a_switchover_right_after_a_node_was_added_is_followed() {
    let world = World::of(0).await;
    let replica = Server::standby_of(&world.primary);
    world.primary.latency(millis(40));
    world
        .db
        .add_replica(&NodeSpec::new(), replica.clone())
        .unwrap();
    replica.promote();
    replica.fork(2, 1001);
    world.primary.demote();
    pass(1000).await;
    assert_eq!(writer(&world), "replica-1");
}

/// What the primary answered before that was asked before the node claimed.
#[tokio::test(start_paused = true)]
async fn a_claim_is_contradicted_only_by_what_the_primary_is_asked_afterwards() {
    let world = World::of(0).await;
    let replica = Server::standby_of(&world.primary);
    replica.stand_at(Some(900));
    world.primary.latency(millis(40));
    let spec = NodeSpec::new();
    world.db.add_replica(&spec, replica.clone()).unwrap();
    pass(300).await;
    let asked = world.primary.asked();
    while world.primary.asked() == asked {
        pass(1).await;
    }
    // The answer is on its way.
    pass(25).await;
    world.primary.mood(Mood::Refusing);
    replica.promote();
    replica.fork(2, 1001);
    let asked = replica.asked();
    world.node("replica-1").doubt();
    pass(1).await;
    assert!(replica.asked() > asked);
    pass(1000).await;
    assert_eq!(writer(&world), "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_the_former_primary_follows_is_no_stranger() {
    // One that has replayed more than the server has written follows another of that number.
    for (follows, replayed) in [(2, 1000), (2, 1002), (1, 1000)] {
        let world = World::of(0).await;
        let replica = Server::standby_of(&world.primary);
        replica.stand_at(Some(900));
        let spec = NodeSpec::new();
        world.db.add_replica(&spec, replica.clone()).unwrap();
        pass(300).await;
        replica.promote();
        replica.fork(2, 1001);
        pass(500).await;
        assert_eq!(world.node("replica-1").role(), Role::Unknown);
        world.primary.demote();
        world.primary.stand_at(Some(replayed));
        world.primary.astray(Some(follows));
        world.primary.restart();
        pass(2000).await;
        let writer = world.goes(&Request::write(), &world.db.session());
        let writer = writer.ok().map(|went| went.0);
        let expected = (follows == 2 && replayed == 1000).then_some("replica-1");
        assert_eq!(writer.as_deref(), expected, "{follows}, {replayed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspect_primary_is_still_the_primary() {
    let settings = settings().promotion(Promotion::WhenPrimaryIsGone);
    let world = World::with(settings, vec![NodeSpec::new()]).await;
    world.primary.latency(millis(20));
    pass(300).await;
    world.replicas[0].promote();
    world.replicas[0].fork(2, 1001);
    let session = world.db.session();
    let route = world.db.route(&Request::write(), &session).unwrap();
    route.report(Fault::Unavailable, &"connection reset");
    drop(route);
    for _ in 0..300 {
        pass(1).await;
        assert_eq!(writer(&world), "primary");
    }
    assert_eq!(
        world.read(&world.db.session()),
        ("primary".to_owned(), Reason::NoReplica)
    );
}

#[tokio::test(start_paused = true)]
async fn a_stale_read_is_refused_where_only_replicas_are_wanted() {
    let world = World::of(1).await;
    let session = world.db.session();
    set_back(&world, &session).await;
    let only = Request::read().preference(Preference::Replica);
    assert!(world.goes(&only, &session).is_err());
    assert_eq!(world.read(&world.db.session()).0, primary().0);
}
