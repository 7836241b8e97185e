//! The documented metrics are those that there are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dbrouter::observer::{Event, Metrics, Observer};
use dbrouter::{Fault, Health, NodeSpec, Request, Role, Router};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshot};

use crate::world::{Mood, World, pass, settings};

/// The first column of the tables in the documentation.
fn documented() -> BTreeSet<String> {
    let source = include_str!("../../src/observer/metrics.rs");
    let rows = source
        .lines()
        .filter_map(|line| line.strip_prefix("/// | `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned())
        .collect()
}

/// What was recorded, by names and labels, as in `reads{node=a}`.
fn recorded(snapshot: Snapshot) -> BTreeMap<String, f64> {
    let all = snapshot.into_vec().into_iter();
    let all = all.map(|(key, _, _, value)| {
        let key = key.key();
        let labels = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()));
        let labels: BTreeSet<_> = labels.collect();
        let labels: Vec<_> = labels.into_iter().collect();
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(_) => f64::NAN,
        };
        (format!("{}{{{}}}", key.name(), labels.join(",")), value)
    });
    all.collect()
}

#[tokio::test(start_paused = true)]
async fn all_that_is_documented_is_recorded_and_nothing_else() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let observer = Metrics::new();
    let world = World::with(settings().observer(observer), vec![NodeSpec::new(); 2]).await;
    let session = world.db.session();
    world.read(&session);
    world.write(&session);
    for replica in &world.replicas {
        replica.pause();
    }
    world.write(&session);
    world.read(&session);
    // What did not happen to this router.
    let peer = Arc::clone(world.node("replica-1").peer());
    for event in [
        Event::Suspected {
            peer: Arc::clone(&peer),
            error: "reset".into(),
        },
        Event::RoleChanged {
            peer: Arc::clone(&peer),
            role: Role::Primary,
        },
        Event::PrimaryChanged {
            from: Arc::clone(&peer),
            to: Arc::clone(&peer),
        },
        Event::Contested {
            primary: Arc::clone(&peer),
            rival: Arc::clone(&peer),
        },
        Event::Retried {
            peer: Arc::clone(&peer),
            fault: Fault::Conflict,
        },
        Event::NotDiscovered {
            problem: "no such host".into(),
        },
        Event::Ejected {
            peer: Arc::clone(&peer),
            error: "refused".into(),
            at_least: crate::world::millis(0),
        },
        Event::Found {
            peer,
            role: Role::Replica,
            before: Health::Ejected,
            after: Health::Recovering,
        },
    ] {
        observer.happened(&event);
    }
    pass(200).await;
    Metrics::record(&world.db.status());
    let recorded = recorded(snapshotter.snapshot());
    let names = recorded
        .keys()
        .map(|key| key.split('{').next().unwrap().to_owned());
    let names: BTreeSet<_> = names.collect();
    assert_eq!(names, documented());
}

#[tokio::test(start_paused = true)]
async fn they_are_the_routers_own_figures() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = ::metrics::set_default_local_recorder(&recorder);
    let settings = settings().observer(Metrics::new());
    let world = World::with(settings, vec![NodeSpec::new(); 2]).await;
    let session = world.db.session();
    for _ in 0..3 {
        world.read(&session);
    }
    let route = world.db.route(&Request::read(), &session).unwrap();
    world.replicas[0].mood(Mood::Refusing);
    pass(150).await;
    Metrics::record(&world.db.status());
    let recorded = recorded(snapshotter.snapshot());
    let value = |key: &str| recorded.get(key).copied().map(|value| value as u64);
    for (key, expected) in [
        ("dbrouter.reads{dbrouter.node=replica-2}", 4),
        ("dbrouter.in_flight{dbrouter.node=replica-2}", 1),
        ("dbrouter.healthy{dbrouter.node=replica-1}", 0),
        ("dbrouter.healthy{dbrouter.node=replica-2}", 1),
        ("dbrouter.is_primary{dbrouter.node=primary}", 1),
        (
            "dbrouter.ejections{db.system.name=postgresql,dbrouter.node=replica-1}",
            1,
        ),
        (
            "db.client.connection.count{db.client.connection.pool.name=replica-2,\
             db.client.connection.state=used}",
            2,
        ),
    ] {
        assert_eq!(value(key), Some(expected), "{key} in {recorded:?}");
    }
    drop(route);
}
