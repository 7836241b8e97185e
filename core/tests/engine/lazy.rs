//! Routers that meet their nodes with their first work.

use std::error::Error as _;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use dbrouter::{
    Cluster, ConfigErrorKind, Health, NodeSpec, Reason, Request, Role, RouteError, Router, Start,
};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

use crate::world::{Asked, Mood, Server, builder, millis, name, pass, settings};

/// A primary, a replica, and a router that has met neither.
fn servers() -> (Server, Server, Cluster<Server>) {
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    let db = builder(settings())
        .primary(NodeSpec::new(), primary.clone())
        .replica(NodeSpec::new(), replica.clone())
        .connect_lazy()
        .unwrap();
    (primary, replica, db)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

async fn goes(db: &Cluster<Server>, request: &Request) -> Result<(String, Reason), RouteError> {
    let route = db.route_patiently(request, &db.session()).await?;
    Ok((name(&route), route.reason()))
}

#[test]
fn it_is_made_before_there_is_a_runtime_and_knows_nothing_before_its_first_work() {
    let (primary, replica, db) = servers();
    assert_eq!(primary.asked() + replica.asked(), 0);
    let status = db.status();
    assert!(status.unwatched, "{status}");
    for node in &status.nodes {
        assert_eq!((node.role, node.health), (Role::Unknown, Health::New));
    }
    for request in [Request::read(), Request::write()] {
        let refused = db.route(&request, &db.session()).unwrap_err();
        assert!(
            refused.to_string().contains("its role is unknown"),
            "{refused}"
        );
    }
    runtime().block_on(async {
        let read = goes(&db, &Request::read()).await.unwrap();
        assert_eq!(read, ("replica-1".to_owned(), Reason::Policy));
        let written = goes(&db, &Request::write()).await.unwrap();
        assert_eq!(written.0, "primary");
        assert!(!db.status().unwatched);
    });
    // And in the next one, as any other router.
    runtime().block_on(async {
        assert_eq!(goes(&db, &Request::write()).await.unwrap().0, "primary");
    });
}

#[test]
fn work_that_no_runtime_drives_is_refused() {
    let (_, _, db) = servers();
    let read = Request::read();
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(refused) = pin!(goes(&db, &read)).poll(&mut context) else {
        panic!("it waits for nothing");
    };
    let refused = refused.unwrap_err();
    assert_eq!(
        refused.connect_error().unwrap().kind(),
        ConfigErrorKind::Runtime
    );
}

#[tokio::test(start_paused = true)]
async fn many_that_begin_at_once_connect_once() {
    for mood in [Mood::Answering, Mood::Refusing] {
        let (primary, _, db) = servers();
        primary.mood(mood);
        primary.latency(millis(100));
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move { goes(&db, &Request::write()).await.map(drop) })
            })
            .collect();
        for task in tasks {
            let done = task.await.unwrap();
            assert_eq!(done.is_ok(), mood == Mood::Answering, "{done:?}");
        }
        assert_eq!(primary.asked_about(Asked::WhoItIs), 1, "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_primary_the_work_has_the_error_of_connect_and_the_next_tries_again() {
    let (primary, _, db) = servers();
    primary.mood(Mood::Refusing);
    for _ in 0..2 {
        let refused = goes(&db, &Request::read()).await.unwrap_err();
        let error = refused.connect_error().unwrap();
        assert_eq!(
            (error.kind(), error.field()),
            (ConfigErrorKind::Unreachable, "primary.url")
        );
        let text = refused.to_string();
        assert!(
            text.starts_with(
                "cannot connect for this read: primary.url: the primary cannot be reached"
            ),
            "{text}"
        );
        assert!(text.ends_with("(cause: connection refused)"), "{text}");
        let cause = refused.source().unwrap().source().unwrap();
        assert_eq!(cause.to_string(), "connection refused");
        assert!(refused.is_temporary() && refused.is_without_primary());
        assert!(db.status().unwatched);
    }
    primary.mood(Mood::Answering);
    assert!(goes(&db, &Request::write()).await.is_ok());
    assert!(!db.status().unwatched);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_connect_would() {
    let wait = async |primary: &Server| {
        let begun = Instant::now();
        let lazy = builder(settings())
            .primary(NodeSpec::new(), primary.clone())
            .connect_lazy()
            .unwrap();
        goes(&lazy, &Request::write()).await.unwrap_err();
        let lazily = begun.elapsed();
        let begun = Instant::now();
        let connect = builder(settings()).primary(NodeSpec::new(), primary.clone());
        connect.connect().await.unwrap_err();
        (lazily, begun.elapsed())
    };
    let silent = Server::primary();
    silent.mood(Mood::Hanging);
    let unreachable = Server::primary();
    unreachable.opens_in(millis(3_600_000));
    for (server, limit) in [(silent, 1_100), (unreachable, 12_000)] {
        let (lazily, at_once) = wait(&server).await;
        assert!(lazily <= millis(limit), "{lazily:?}");
        assert!(
            lazily.abs_diff(at_once) < millis(10),
            "{lazily:?} {at_once:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_is_dropped_while_it_connects_takes_nothing_from_the_next() {
    let (primary, _, db) = servers();
    primary.latency(millis(100));
    let dropped = tokio::time::timeout(millis(50), goes(&db, &Request::write())).await;
    dropped.unwrap_err();
    assert!(goes(&db, &Request::write()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_single_healthy_node_is_not_watched() {
    let primary = Server::primary();
    let db = builder(settings())
        .primary(NodeSpec::new(), primary.clone())
        .connect_lazy()
        .unwrap();
    assert!(goes(&db, &Request::write()).await.is_ok());
    let asked = primary.asked();
    pass(1000).await;
    assert_eq!(primary.asked(), asked);
    assert!(!db.status().unwatched);
    // A replica that is added has it watched.
    let replica = Server::standby_of(&primary);
    db.add_replica(&NodeSpec::new(), replica).unwrap();
    pass(1000).await;
    assert_eq!(goes(&db, &Request::read()).await.unwrap().0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_is_added_before_is_met_with_the_others() {
    let (primary, _, db) = servers();
    db.add_replica(&NodeSpec::new(), Server::standby_of(&primary))
        .unwrap();
    pass(1000).await;
    assert_eq!(primary.asked(), 0);
    assert_eq!(goes(&db, &Request::read()).await.unwrap().0, "replica-2");
}

#[tokio::test(start_paused = true)]
async fn it_may_start_read_only_over_a_standby() {
    let standby = Server::standby_of(&Server::primary());
    let db = builder(settings().start(Start::ReadOnly))
        .primary(NodeSpec::new(), standby.clone())
        .connect_lazy()
        .unwrap();
    assert!(goes(&db, &Request::read()).await.is_ok());
    let refused = goes(&db, &Request::write()).await.unwrap_err();
    assert!(refused.connect_error().is_none() && refused.is_without_primary());
    standby.promote();
    pass(200).await;
    assert!(goes(&db, &Request::write()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_can_be_known_without_a_server_is_an_error_at_once() {
    let primary = Server::primary();
    let standby = Server::standby_of(&primary);
    let twice = || NodeSpec::new().name("twice");
    let named = builder(settings()).primary(twice(), primary.clone());
    let error = named.replica(twice(), standby.clone()).connect_lazy();
    assert_eq!(error.unwrap_err().kind(), ConfigErrorKind::Name);
    let error = builder(settings()).replica(twice(), standby).connect_lazy();
    assert_eq!(error.unwrap_err().kind(), ConfigErrorKind::Primary);
    let zero = settings().acquire_limit(std::time::Duration::ZERO);
    let error = builder(zero)
        .primary(twice(), primary.clone())
        .connect_lazy();
    assert_eq!(error.unwrap_err().kind(), ConfigErrorKind::OutOfRange);
    assert_eq!(primary.asked(), 0);
}
