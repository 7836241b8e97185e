use std::error::Error as _;
use std::time::Duration;

use dbrouter::{
    Cluster, ConfigError, ConfigErrorKind, FallbackLimit, MonitorSettings, NodeSpec, Role,
    Settings, Start,
};

use crate::world::{Mood, Server, builder, settings};

/// What a configuration of one primary and one replica ends in.
async fn connect(
    settings: Settings,
    primary: &Server,
    spec: NodeSpec,
    replica: &Server,
) -> Result<Cluster<Server>, ConfigError> {
    let builder = builder(settings).primary(NodeSpec::new(), primary.clone());
    builder.replica(spec, replica.clone()).connect().await
}

fn servers() -> (Server, Server) {
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    (primary, replica)
}

fn says(error: &ConfigError, kind: ConfigErrorKind, field: &str, parts: &[&str]) {
    assert_eq!((error.kind(), error.field()), (kind, field), "{error}");
    let text = error.to_string();
    assert!(text.starts_with(&format!("{field}: ")), "{text}");
    for part in parts {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_router_without_a_primary_is_refused() {
    let (_, replica) = servers();
    let error = builder(settings())
        .replica(NodeSpec::new(), replica)
        .connect();
    let error = error.await.unwrap_err();
    says(
        &error,
        ConfigErrorKind::Primary,
        "primary",
        &["name the server that takes the writes"],
    );
}

#[tokio::test(start_paused = true)]
async fn names_are_not_empty_and_not_shared() {
    let (primary, replica) = servers();
    let empty = NodeSpec::new().name("");
    let error = connect(settings(), &primary, empty, &replica)
        .await
        .unwrap_err();
    says(
        &error,
        ConfigErrorKind::Name,
        "node.name",
        &["is empty", "give the node a name"],
    );
    let twice = NodeSpec::new().name("primary");
    let error = connect(settings(), &primary, twice, &replica)
        .await
        .unwrap_err();
    says(
        &error,
        ConfigErrorKind::Name,
        "node.name",
        &["\"primary\"", "its node's own"],
    );
}

#[tokio::test(start_paused = true)]
async fn replicas_that_would_never_be_read_from_are_refused() {
    let (primary, replica) = servers();
    let never = NodeSpec::new().weight(0);
    let error = connect(settings(), &primary, never, &replica)
        .await
        .unwrap_err();
    says(
        &error,
        ConfigErrorKind::Weights,
        "replicas.weight",
        &["all replicas are 0", "above 0"],
    );
}

#[tokio::test(start_paused = true)]
async fn an_unknown_node_is_answered_with_the_known_ones() {
    let (primary, replica) = servers();
    let db = connect(settings(), &primary, NodeSpec::new(), &replica)
        .await
        .unwrap();
    for error in [
        db.remove("eu").unwrap_err(),
        db.enable("eu").unwrap_err(),
        db.disable("eu").unwrap_err(),
        db.set_weight("eu", 1).unwrap_err(),
        db.drain("eu").await.unwrap_err(),
    ] {
        says(
            &error,
            ConfigErrorKind::UnknownNode,
            "node",
            &["\"eu\"", "primary, replica-1"],
        );
    }
}

#[tokio::test(start_paused = true)]
async fn times_out_of_range_are_refused_with_what_would_be_right() {
    let (primary, replica) = servers();
    let monitor = MonitorSettings::new();
    for (monitor, field, right) in [
        (
            monitor.interval(Duration::ZERO),
            "monitor.interval",
            "above zero",
        ),
        (
            monitor.timeout(Duration::ZERO),
            "monitor.timeout",
            "above zero",
        ),
        (
            monitor.gap(Duration::from_secs(1)),
            "monitor.gap",
            "the interval, 100ms",
        ),
    ] {
        let settings = settings().monitor(monitor);
        let error = connect(settings, &primary, NodeSpec::new(), &replica)
            .await
            .unwrap_err();
        says(&error, ConfigErrorKind::OutOfRange, field, &[right]);
    }
}

#[tokio::test(start_paused = true)]
async fn limits_that_are_none_are_refused_with_what_would_be_right() {
    let (primary, replica) = servers();
    for (limit, parts) in [
        (FallbackLimit::reads(0), ["is 0 reads", "above zero"]),
        (FallbackLimit::share(0.0), ["is a share of 0;", "above 0"]),
        (
            FallbackLimit::share(-0.5),
            ["is a share of -0.5", "above 0"],
        ),
        (FallbackLimit::share(1.01), ["share of 1.01", "at most 1"]),
        (FallbackLimit::share(f64::NAN), ["of NaN", "at most 1"]),
        (FallbackLimit::share(f64::INFINITY), ["of inf", "at most 1"]),
    ] {
        let settings = settings().fallback_limit(limit);
        let error = connect(settings, &primary, NodeSpec::new(), &replica)
            .await
            .unwrap_err();
        says(
            &error,
            ConfigErrorKind::OutOfRange,
            "fallback_limit",
            &parts,
        );
    }
    // A pool without a limit has no shares.
    primary.at_most(0);
    let settings = settings().fallback_limit(FallbackLimit::share(0.5));
    let error = connect(settings, &primary, NodeSpec::new(), &replica).await;
    let parts = ["a share of 0.5 of a pool without a limit", "how many reads"];
    says(
        &error.unwrap_err(),
        ConfigErrorKind::OutOfRange,
        "fallback_limit",
        &parts,
    );
}

#[tokio::test(start_paused = true)]
async fn a_standby_given_as_the_primary_is_refused_unless_that_was_allowed() {
    let (primary, replica) = servers();
    let another = Server::standby_of(&primary);
    let error = connect(settings(), &replica, NodeSpec::new(), &another)
        .await
        .unwrap_err();
    let parts = [
        "is a replica",
        "no other node says",
        "give the server that accepts writes, or start read-only",
    ];
    says(
        &error,
        ConfigErrorKind::NotThePrimary,
        "primary.url",
        &parts,
    );
    let allowed = settings().start(Start::ReadOnly);
    let connected = connect(allowed, &replica, NodeSpec::new(), &another).await;
    assert_eq!(
        connected.unwrap().node("primary").unwrap().role(),
        Role::Replica
    );
}

#[tokio::test(start_paused = true)]
async fn a_replica_of_another_cluster_is_refused() {
    let (primary, replica) = servers();
    replica.identity(Some("9999"));
    let error = connect(settings(), &primary, NodeSpec::new(), &replica)
        .await
        .unwrap_err();
    let parts = ["its identity is 9999, not 7301"];
    says(
        &error,
        ConfigErrorKind::OtherCluster,
        "replica-1.url",
        &parts,
    );
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_cannot_be_reached_is_an_error_unless_that_was_allowed() {
    for mood in [
        Mood::Refusing,
        Mood::Hanging,
        Mood::Panicking,
        Mood::Garbling,
    ] {
        let (primary, replica) = servers();
        primary.mood(mood);
        let connected = connect(settings(), &primary, NodeSpec::new(), &replica).await;
        let error = connected.unwrap_err();
        let parts = ["cannot be reached", "start read-only"];
        says(&error, ConfigErrorKind::Unreachable, "primary.url", &parts);
        if mood == Mood::Refusing {
            assert_eq!(error.source().unwrap().to_string(), "connection refused");
            let text = error.to_string();
            assert!(text.ends_with("(cause: connection refused)"), "{text}");
        }
        let allowed = settings().start(Start::ReadOnly);
        let db = connect(allowed, &primary, NodeSpec::new(), &replica)
            .await
            .unwrap();
        assert!(!db.node("primary").unwrap().is_healthy(), "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_cannot_be_reached_is_no_error() {
    for mood in [
        Mood::Refusing,
        Mood::Hanging,
        Mood::Panicking,
        Mood::Garbling,
    ] {
        let (primary, replica) = servers();
        replica.mood(mood);
        let db = connect(settings(), &primary, NodeSpec::new(), &replica)
            .await
            .unwrap();
        assert!(!db.node("replica-1").unwrap().is_healthy(), "{mood:?}");
        replica.mood(Mood::Answering);
        crate::world::pass(1500).await;
        assert!(db.node("replica-1").unwrap().is_healthy(), "{mood:?}");
    }
}
