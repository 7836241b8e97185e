use dbrouter::{Admission, Fault, NodeSpec, Request, Role, Router, Status};

use crate::world::{Mood, World, pass, settings};

async fn world() -> World {
    let specs = vec![
        NodeSpec::new().weight(3).tag("zone", "a"),
        NodeSpec::new().name("öst"),
    ];
    World::with(settings(), specs).await
}

#[tokio::test(start_paused = true)]
async fn a_status_says_all_there_is_to_say_of_a_node() {
    let world = world().await;
    let session = world.db.session();
    world.write(&session);
    let held = world.db.route(&Request::read(), &session).unwrap();
    world.db.disable("replica-1").unwrap();
    world.replicas[1].mood(Mood::Refusing);
    pass(250).await;
    world.db.count_failover();
    let status = world.db.status();
    let primary = status.node("primary").unwrap();
    assert_eq!((primary.role, primary.healthy), (Role::Primary, true));
    assert_eq!(
        (primary.reads, primary.writes, primary.in_flight),
        (1, 1, 1)
    );
    assert_eq!(primary.staleness, Some(std::time::Duration::ZERO));
    assert_eq!((primary.pressure.in_use, primary.pressure.max), (2, 10));
    let replica = status.node("replica-1").unwrap();
    assert_eq!(
        (replica.role, replica.admission),
        (Role::Replica, Admission::Disabled)
    );
    assert_eq!(
        (replica.weight, replica.tags.to_string()),
        (3, "zone=a".to_owned())
    );
    assert!(replica.staleness.is_some() && replica.last_error.is_none());
    let lost = status.node("öst").unwrap();
    assert!(!lost.healthy && lost.failures > 0 && lost.staleness.is_none());
    assert_eq!(lost.last_error.as_deref(), Some("connection refused"));
    assert_eq!(status.fallbacks.len(), 1);
    assert_eq!((status.failovers, status.policy_out_of_range), (1, 0));
    assert_eq!(status.monitor_rounds, world.primary.asked() as u64);
    assert!(status.node("nobody").is_none());
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn failures_of_traffic_and_of_probes_are_counted() {
    let world = world().await;
    let route = world
        .db
        .route(&Request::read(), &world.db.session())
        .unwrap();
    route.report(Fault::Unavailable, &"reset");
    route.report(Fault::Unavailable, &"reset");
    route.report(Fault::Other, &"syntax error");
    assert_eq!(world.db.status().node("öst").unwrap().failures, 2);
}

#[tokio::test(start_paused = true)]
async fn a_status_prints_as_a_table() {
    let world = world().await;
    world.replicas[1].mood(Mood::Refusing);
    pass(130).await;
    world.db.disable("replica-1").unwrap();
    assert_eq!(
        world.db.status().to_string(),
        "\
node       role     health      staleness  in flight      reads     writes
primary    primary  healthy        0.0 ms          0          0          0
replica-1  replica  disabled      30.1 ms          0          0          0
öst        replica  ejected       unknown          0          0          0
"
    );
}

#[cfg(feature = "serde")]
#[tokio::test(start_paused = true)]
async fn a_status_and_a_decision_serialise() {
    let world = world().await;
    let session = world.db.session();
    world.read(&session);
    let status: Status = world.db.status();
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["nodes"][0]["role"], "primary");
    assert_eq!(json["nodes"][1]["tags"]["zone"], "a");
    assert_eq!(json["nodes"][1]["admission"], "enabled");
    assert_eq!(json["nodes"][2]["reads"], 1);
    assert_eq!(json["failovers"], 0);
    let decision = world.db.last_decision(&session).unwrap();
    let json = serde_json::to_string(&decision).unwrap();
    assert_eq!(json, r#"{"node":"öst","intent":"read","reason":"policy"}"#);
}

#[cfg(not(feature = "serde"))]
#[tokio::test(start_paused = true)]
async fn a_status_can_be_kept() {
    let kept: Status = world().await.db.status().clone();
    assert_eq!(kept.nodes.len(), 3);
}
