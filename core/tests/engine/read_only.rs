//! Routers that start read-only over standbys alone, as at a disaster-recovery site: no node is a primary until one of
//! them is promoted.

use std::sync::{Arc, Mutex};

use dbrouter::{
    Access, Cluster, Intent, NodeSpec, Preference, Promotion, Reason, Request, Role, RouteError,
    Router, Settings, Start,
};

use crate::world::{Asked, Mood, Server, World, builder, millis, name, pass, settings};

/// More than the bound on staleness that routers have by default.
const LONG: u64 = 120_000;

/// Standbys of a primary that no router knows, and a router over them. The first is given as the primary.
async fn alone(settings: Settings, standbys: usize) -> World {
    let elsewhere = Server::primary();
    let servers: Vec<_> = (0..standbys)
        .map(|_| Server::standby_of(&elsewhere))
        .collect();
    let mut builder =
        builder(settings.start(Start::ReadOnly)).primary(NodeSpec::new(), servers[0].clone());
    for server in &servers[1..] {
        builder = builder.replica(NodeSpec::new(), server.clone());
    }
    World {
        db: builder.connect().await.unwrap(),
        primary: elsewhere,
        replicas: servers,
    }
}

/// The server is promoted, in a history of its own.
fn promote(server: &Server) {
    let at = server.shows();
    server.promote();
    server.fork(2, at + 1);
}

fn written(db: &Cluster<Server>) -> Result<String, RouteError> {
    let route = db.route(&Request::write(), &db.session())?;
    Ok(name(&route))
}

#[tokio::test(start_paused = true)]
async fn a_standby_alone_serves_reads_and_takes_the_writes_once_it_is_promoted() {
    let world = alone(settings(), 1).await;
    let session = world.db.session();
    // However long that lasts: nobody knows of anything that the standby lacks.
    for _ in 0..3 {
        for session in [&session, &world.db.session(), &world.db.current_session()] {
            let (node, reason) = world.read(session);
            assert_eq!(node, "primary");
            assert!(
                matches!(reason, Reason::Policy | Reason::Sticky),
                "{reason:?}"
            );
        }
        let refused = written(&world.db).unwrap_err();
        assert!(refused.is_without_primary());
        assert_eq!(
            refused.to_string(),
            "no primary for this write: primary: it is a replica"
        );
        pass(LONG).await;
    }
    let status = world.db.status();
    let node = status.node("primary").unwrap();
    assert!(node.role == Role::Replica && node.healthy, "{status}");
    promote(&world.replicas[0]);
    pass(150).await;
    assert_eq!(written(&world.db).unwrap(), "primary");
    assert_eq!(world.read(&session).0, "primary");
    assert_eq!(world.node("primary").role(), Role::Primary);
}

#[tokio::test(start_paused = true)]
async fn whichever_standby_is_promoted_takes_the_writes() {
    for promoted in ["primary", "replica-1"] {
        let world = alone(settings(), 2).await;
        let read = world.read(&world.db.session());
        assert_eq!(read, ("replica-1".to_owned(), Reason::Policy));
        assert!(written(&world.db).unwrap_err().is_without_primary());
        pass(LONG).await;
        promote(&world.replicas[usize::from(promoted == "replica-1")]);
        pass(150).await;
        assert_eq!(written(&world.db).unwrap(), promoted);
        // The other one follows another history now.
        for standby in &world.replicas {
            standby.astray(Some(1));
        }
        pass(150).await;
        assert_eq!(world.read(&world.db.session()).0, promoted);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_may_wait_for_the_promotion() {
    let world = alone(settings().wait_for_primary(millis(60_000)), 2).await;
    let waiting = {
        let db = world.db.clone();
        tokio::spawn(async move {
            let route = db.route_patiently(&Request::write(), &db.session()).await;
            name(&route.unwrap())
        })
    };
    pass(10_000).await;
    assert!(!waiting.is_finished());
    promote(&world.replicas[1]);
    assert_eq!(waiting.await.unwrap(), "replica-1");
}

#[tokio::test(start_paused = true)]
async fn where_no_node_may_take_over_only_the_one_given_as_the_primary_takes_the_writes() {
    let world = alone(settings().promotion(Promotion::Never), 2).await;
    promote(&world.replicas[1]);
    pass(1000).await;
    assert!(written(&world.db).is_err());
    promote(&world.replicas[0]);
    pass(1000).await;
    assert_eq!(written(&world.db).unwrap(), "primary");
}

/// What a session must see can only be compared with what a primary says.
#[tokio::test(start_paused = true)]
async fn a_session_reads_from_one_standby_and_from_no_other_that_may_be_behind() {
    let world = alone(settings(), 2).await;
    let session = world.db.session();
    assert_eq!(world.read(&session).0, "replica-1");
    world.replicas[1].mood(Mood::Refusing);
    pass(1000).await;
    let refused = world.goes(&Request::read(), &session).unwrap_err();
    assert_eq!(refused.intent(), Intent::Read);
    // A session that has seen nothing, and reads that need see nothing.
    assert_eq!(world.read(&world.db.session()).0, "primary");
    let eventual = Request::read().consistency(dbrouter::Consistency::Eventual);
    assert_eq!(world.went(&eventual, &session).0, "primary");
    promote(&world.replicas[0]);
    pass(1000).await;
    assert_eq!(world.read(&session).0, "primary");
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_know_without_a_primary_is_not_claimed() {
    let world = alone(settings(), 2).await;
    let main = World::of(1).await;
    let writer = main.db.session();
    main.write(&writer);
    let token = main.db.token(&writer).await.unwrap();
    let session = world.db.session();
    world.db.observe(&session, &token);
    let told = world.db.session();
    world.db.observe_now(&told);
    let bounded = Request::read().max_staleness(millis(60_000));
    let of_the_primary = Request::read().preference(Preference::Primary);
    let cases = [
        (&Request::read(), &session),
        (&Request::read(), &told),
        (&bounded, &world.db.session()),
        (&of_the_primary, &world.db.session()),
    ];
    for (request, session) in cases {
        world.goes(request, session).unwrap_err();
    }
    let unbounded = Request::read().max_staleness(std::time::Duration::MAX);
    assert!(world.goes(&unbounded, &world.db.session()).is_ok());
    pass(LONG).await;
    for (request, session) in cases {
        world.goes(request, session).unwrap_err();
    }
    promote(&world.replicas[0]);
    pass(1000).await;
    for (request, session) in [cases[0], cases[1], cases[3]] {
        assert_eq!(world.went(request, session).0, "primary");
    }
}

#[tokio::test(start_paused = true)]
async fn standbys_that_wait_for_a_primary_are_asked_at_the_interval() {
    let world = alone(settings(), 3).await;
    pass(1000).await;
    let before: Vec<_> = world.replicas.iter().map(Server::asked).collect();
    pass(10_000).await;
    for (server, before) in world.replicas.iter().zip(before) {
        let asked = server.asked() - before;
        assert!((90..=110).contains(&asked), "{asked}");
        assert_eq!(server.last_asked(), Asked::WhereItStands);
    }
}

/// Read-only, at an isolation level that standbys take; until the node may write.
#[tokio::test(start_paused = true)]
async fn the_pool_of_a_standby_in_the_primarys_place_is_a_replicas_until_it_is_promoted() {
    let opened = Arc::new(Mutex::new(Vec::new()));
    let standby = Server::standby_of(&Server::primary());
    let (again, noted) = (standby.clone(), Arc::clone(&opened));
    let access = Access::reopened_by(standby.clone(), move |role| {
        noted.lock().unwrap().push(role);
        Some(again.clone())
    });
    let db = builder(settings().start(Start::ReadOnly))
        .primary(NodeSpec::new(), access)
        .connect()
        .await
        .unwrap();
    pass(1000).await;
    assert_eq!(*opened.lock().unwrap(), [Role::Replica]);
    promote(&standby);
    pass(1000).await;
    assert_eq!(*opened.lock().unwrap(), [Role::Replica, Role::Primary]);
    // A primary that is demoted later keeps its pool: mostly another node takes its place.
    standby.demote();
    pass(1000).await;
    assert_eq!(opened.lock().unwrap().len(), 2);
    assert!(written(&db).is_err());
}
