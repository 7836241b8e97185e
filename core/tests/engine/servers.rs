//! A node is an address. Which server it leads to is what the server says, and that may change.

use std::sync::{Arc, Mutex};

use dbrouter::policy::{RoundRobin, Sticky};
use dbrouter::{
    Access, Cluster, ConfigErrorKind, Instant, NodeSpec, Preference, Reason, Request, Role, Router,
    Settings,
};

use crate::world::{Mood, Server, World, builder, millis, pass, settings};

/// A router over a primary and replicas at these addresses.
async fn router(settings: Settings, primary: &Server, replicas: &[&Server]) -> Cluster<Server> {
    let mut builder = builder(settings).primary(NodeSpec::new(), primary.clone());
    for replica in replicas {
        builder = builder.replica(NodeSpec::new(), (*replica).clone());
    }
    builder.connect().await.unwrap()
}

fn went(db: &Cluster<Server>, request: &Request) -> String {
    let route = db.route(request, &db.session()).unwrap();
    route.node().name().to_string()
}

fn only_replicas() -> Request {
    Request::read().preference(Preference::Replica)
}

#[tokio::test(start_paused = true)]
async fn one_server_given_as_primary_and_as_replica_is_one_server() {
    let primary = Server::primary();
    let db = router(settings(), &primary, &[&primary]).await;
    for _ in 0..2 {
        let status = db.status();
        assert!(!status.contested);
        let replica = status.node("replica-1").unwrap();
        assert_eq!(replica.same_server_as.as_deref(), Some("primary"));
        assert_eq!((replica.role, replica.healthy), (Role::Replica, true));
        assert_eq!(went(&db, &Request::write()), "primary");
        assert_eq!(went(&db, &Request::read()), "primary");
        // Code that asks for a replica runs as well, and sees what it has written.
        let session = db.session();
        drop(db.route(&Request::write(), &session).unwrap());
        let route = db.route(&only_replicas(), &session).unwrap();
        assert_eq!(&**route.node().name(), "replica-1");
        drop(route);
        pass(1000).await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_names_of_one_replica_have_one_share_of_the_reads() {
    let primary = Server::primary();
    let replicas = [Server::standby_of(&primary), Server::standby_of(&primary)];
    let second_name = Server::address_of(&replicas[0]);
    let policy = Sticky::new(RoundRobin::new());
    let all = [&replicas[0], &replicas[1], &second_name];
    let db = router(settings().policy(policy), &primary, &all).await;
    let mut reads = [0; 3];
    for _ in 0..100 {
        let name = went(&db, &Request::read());
        let number: usize = name.strip_prefix("replica-").unwrap().parse().unwrap();
        reads[number - 1] += 1;
    }
    assert_eq!(reads, [50, 50, 0]);
    // The first name leads nowhere any longer; the server is still there.
    replicas[0].mood(Mood::Answering);
    db.disable("replica-1").unwrap();
    db.disable("replica-2").unwrap();
    assert_eq!(went(&db, &Request::read()), "replica-3");
}

/// A reader endpoint that falls back to the writer, and back again.
#[tokio::test(start_paused = true)]
async fn an_address_that_moves_from_a_replica_to_the_primary_and_back_keeps_writes_and_reads_going()
{
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    let reader = Server::address_of(&replica);
    let db = router(settings(), &primary, &[&reader]).await;
    assert_eq!(went(&db, &Request::read()), "replica-1");
    for _ in 0..3 {
        reader.leads_to(&primary);
        pass(300).await;
        assert_eq!(went(&db, &Request::write()), "primary");
        assert_eq!(went(&db, &Request::read()), "primary");
        let status = db.status();
        assert!(!status.contested);
        assert!(status.node("replica-1").unwrap().same_server_as.is_some());
        // The replica lags. What the address showed while it led to the primary, it need not show now.
        replica.pause();
        let session = db.session();
        primary.commit();
        drop(db.route(&Request::write(), &session).unwrap());
        reader.leads_to(&replica);
        pass(300).await;
        assert_eq!(went(&db, &Request::write()), "primary");
        let route = db.route(&Request::read(), &session).unwrap();
        assert_eq!(
            (&**route.node().name(), route.reason()),
            ("primary", Reason::NotFresh)
        );
        drop(route);
        assert!(
            db.status()
                .node("replica-1")
                .unwrap()
                .same_server_as
                .is_none()
        );
        replica.resume();
        pass(300).await;
        let route = db.route(&Request::read(), &session).unwrap();
        assert_eq!(&**route.node().name(), "replica-1");
    }
}

/// As an address does while a service is pointed elsewhere.
#[tokio::test(start_paused = true)]
async fn replicas_keep_what_they_have_shown_while_the_primarys_address_leads_to_another_server() {
    let primary = Server::primary();
    let replicas = [Server::standby_of(&primary), Server::standby_of(&primary)];
    let address = Server::address_of(&primary);
    let settings = settings().wait_for_primary(millis(0));
    let db = router(settings, &address, &[&replicas[0], &replicas[1]]).await;
    let wrote = db.session();
    primary.commit();
    drop(db.route(&Request::write(), &wrote).unwrap());
    pass(300).await;
    let read = db.session();
    let reads_on = |session| {
        let route = db.route(&Request::read(), session);
        let route = route.map(|route| route.node().name().to_string());
        route.as_deref() == Ok("replica-2")
    };
    assert!(reads_on(&wrote) && reads_on(&read));
    let proved = db.node("replica-2").unwrap().fresh_as_of();
    for server in [&replicas[0], &primary] {
        address.leads_to(server);
        for _ in 0..300 {
            pass(1).await;
            assert!(reads_on(&wrote) && reads_on(&read));
            assert!(db.node("replica-2").unwrap().fresh_as_of() >= proved);
        }
        let writes = db.route(&Request::write(), &db.session()).is_ok();
        assert_eq!(writes, server.is(&primary));
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_moves_to_another_server_has_proved_nothing_there() {
    let primary = Server::primary();
    let replicas = [Server::standby_of(&primary), Server::standby_of(&primary)];
    let address = Server::address_of(&replicas[0]);
    let db = router(settings(), &primary, &[&address]).await;
    let session = db.session();
    primary.commit();
    pass(300).await;
    let before = db.route(&Request::read(), &session).unwrap();
    assert_eq!(&**before.node().name(), "replica-1");
    drop(before);
    replicas[1].stand_at(Some(900));
    address.leads_to(&replicas[1]);
    pass(300).await;
    let route = db.route(&Request::read(), &session).unwrap();
    assert_eq!(
        (&**route.node().name(), route.reason()),
        ("primary", Reason::NotFresh)
    );
    drop(route);
    replicas[1].resume();
    pass(300).await;
    let route = db.route(&Request::read(), &session).unwrap();
    assert_eq!(&**route.node().name(), "replica-1");
}

#[tokio::test(start_paused = true)]
async fn the_pool_of_an_address_that_moves_to_another_server_is_opened_anew() {
    let primary = Server::primary();
    let replicas = [Server::standby_of(&primary), Server::standby_of(&primary)];
    let address = Server::address_of(&replicas[0]);
    let opened = Arc::new(Mutex::new(Vec::new()));
    let access = {
        let (again, opened) = (address.clone(), Arc::clone(&opened));
        Access::reopened_by(address.clone(), move |role| {
            opened.lock().unwrap().push(role);
            Some(again.clone())
        })
    };
    let builder = builder(settings()).primary(NodeSpec::new(), primary.clone());
    let db = builder
        .replica(NodeSpec::new(), access)
        .connect()
        .await
        .unwrap();
    let before = db.node("replica-1").unwrap();
    pass(1000).await;
    assert!(opened.lock().unwrap().is_empty());
    address.leads_to(&replicas[1]);
    pass(300).await;
    assert_eq!(*opened.lock().unwrap(), [Role::Replica]);
    assert!(!Arc::ptr_eq(&before, &db.node("replica-1").unwrap()));
    assert_eq!(went(&db, &Request::read()), "replica-1");
}

#[tokio::test(start_paused = true)]
async fn the_primary_is_written_to_under_its_second_name_when_the_first_leads_nowhere() {
    let server = Server::primary();
    let names = [Server::address_of(&server), Server::address_of(&server)];
    let db = router(settings(), &names[0], &[&names[1]]).await;
    assert_eq!(went(&db, &Request::write()), "primary");
    names[0].mood(Mood::Refusing);
    pass(500).await;
    assert_eq!(went(&db, &Request::write()), "replica-1");
    names[0].mood(Mood::Answering);
    pass(500).await;
    assert_eq!(went(&db, &Request::write()), "replica-1");
    let status = db.status();
    assert!(!status.contested);
    assert_eq!(
        status.node("primary").unwrap().same_server_as.as_deref(),
        Some("replica-1")
    );
}

#[tokio::test(start_paused = true)]
async fn replicas_keep_their_proofs_when_the_primary_is_followed_under_its_second_name() {
    let server = Server::primary();
    let names = [Server::address_of(&server), Server::address_of(&server)];
    let replica = Server::standby_of(&server);
    let db = router(settings(), &names[0], &[&names[1], &replica]).await;
    let session = db.session();
    server.commit();
    drop(db.route(&Request::write(), &session).unwrap());
    pass(300).await;
    // It can prove nothing more.
    replica.pause();
    server.commit();
    names[0].mood(Mood::Refusing);
    pass(500).await;
    assert_eq!(&**db.primary().name(), "replica-1");
    let route = db.route(&only_replicas(), &session).unwrap();
    assert_eq!(&**route.node().name(), "replica-2");
}

#[tokio::test(start_paused = true)]
async fn replicas_lose_their_proofs_when_the_primary_has_a_shorter_log_under_its_second_name() {
    let server = Server::primary();
    let names = [Server::address_of(&server), Server::address_of(&server)];
    let replica = Server::standby_of(&server);
    let db = router(settings(), &names[0], &[&names[1], &replica]).await;
    let session = db.session();
    server.commit();
    drop(db.route(&Request::write(), &session).unwrap());
    pass(300).await;
    replica.pause();
    assert_eq!(
        &**db.route(&only_replicas(), &session).unwrap().node().name(),
        "replica-2"
    );
    names[0].mood(Mood::Refusing);
    server.fork(1, server.shows() - 1);
    pass(500).await;
    assert_eq!(&**db.primary().name(), "replica-1");
    assert!(db.route(&only_replicas(), &session).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_promoted_server_with_two_names_is_no_rival_of_itself() {
    let world = World::of(1).await;
    let second_name = Server::address_of(&world.replicas[0]);
    world.db.add_replica(&NodeSpec::new(), second_name).unwrap();
    pass(500).await;
    world.primary.mood(Mood::Refusing);
    pass(200).await;
    let at = world.replicas[0].shows();
    world.replicas[0].promote();
    world.replicas[0].fork(2, at + 1);
    for _ in 0..20 {
        pass(50).await;
        assert!(!world.db.status().contested);
    }
    let writer = world.db.primary().name().to_string();
    assert!(writer.starts_with("replica-"), "{writer}");
    assert_eq!(went(&world.db, &Request::write()), writer);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leads_to_another_database_is_refused_by_name() {
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    replica.database("staging");
    let connecting = builder(settings())
        .primary(NodeSpec::new(), primary.clone())
        .replica(NodeSpec::new(), replica.clone())
        .connect();
    let error = connecting.await.unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::OtherDatabase);
    let text = error.to_string();
    assert!(text.contains("replica-1.url"), "{text}");
    assert!(
        text.contains("\"staging\"") && text.contains("\"shop\""),
        "{text}"
    );
    // One that is added later is never read from.
    let world = World::of(0).await;
    let replica = Server::standby_of(&world.primary);
    replica.database("staging");
    world.db.add_replica(&NodeSpec::new(), replica).unwrap();
    pass(500).await;
    let node = world.node("replica-1");
    assert_eq!((node.role(), node.is_healthy()), (Role::Unknown, false));
    let error = node.last_error().unwrap();
    assert!(
        error.contains("leads to the database \"staging\""),
        "{error}"
    );
    assert!(world.goes(&only_replicas(), &world.db.session()).is_err());
}

/// A major upgrade behind the same names: another cluster with the same schema.
#[tokio::test(start_paused = true)]
async fn the_router_goes_on_with_another_cluster_once_nobody_of_the_former_one_answers() {
    let world = World::of(1).await;
    let session = world.db.session();
    world.write(&session);
    let token = world.db.token(&session).await.unwrap();
    for server in [&world.primary, &world.replicas[0]] {
        server.mood(Mood::Refusing);
    }
    pass(300).await;
    for server in [&world.primary, &world.replicas[0]] {
        server.identity(Some("9999"));
        server.mood(Mood::Answering);
    }
    world.primary.fork(1, 100);
    world.replicas[0].pause();
    pass(1000).await;
    world.write(&world.db.session());
    // A token of the former cluster needs the new one's state as of now.
    let from_token = world.db.session();
    world.db.observe(&from_token, &token);
    assert_eq!(world.read(&from_token).0, "primary");
    world.replicas[0].resume();
    pass(1000).await;
    for session in [&session, &from_token] {
        assert_eq!(world.read(session).0, "replica-1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_belongs_to_another_cluster_is_refused_while_a_node_of_the_former_one_answers()
 {
    let world = World::of(1).await;
    world.primary.mood(Mood::Refusing);
    pass(300).await;
    world.primary.identity(Some("9999"));
    world.primary.mood(Mood::Answering);
    pass(1000).await;
    assert!(world.goes(&Request::write(), &world.db.session()).is_err());
    let error = world.node("primary").last_error().unwrap();
    assert!(
        error.contains("replica-1 still answers as a node of the former cluster"),
        "{error}"
    );
    world.replicas[0].mood(Mood::Refusing);
    pass(1000).await;
    assert!(world.goes(&Request::write(), &world.db.session()).is_ok());
}

/// It says what the members of the former cluster said, and never was one.
#[tokio::test(start_paused = true)]
async fn a_copy_that_was_refused_does_not_keep_the_router_from_another_cluster() {
    let world = World::of(0).await;
    let copy = Server::primary();
    copy.fork(3, 900);
    world.db.add_replica(&NodeSpec::new(), copy).unwrap();
    pass(1000).await;
    assert_eq!(world.node("replica-1").role(), Role::Unknown);
    world.primary.mood(Mood::Refusing);
    pass(1000).await;
    world.primary.identity(Some("9999"));
    world.primary.mood(Mood::Answering);
    pass(1000).await;
    let route = world.db.route(&Request::write(), &world.db.session());
    assert_eq!(&**route.unwrap().node().name(), "primary");
}

/// With failures faster than the monitor's round trip, a node stayed suspect for ever.
#[tokio::test(start_paused = true)]
async fn a_node_on_which_work_keeps_failing_still_proves_where_it_stands() {
    let world = World::of(1).await;
    for server in [&world.primary, &world.replicas[0]] {
        server.latency(millis(30));
    }
    let session = world.db.session();
    let mut suspect_for = 0;
    for _ in 0..500 {
        world.lose("primary");
        pass(10).await;
        let suspect = !world.node("primary").is_healthy();
        suspect_for = if suspect { suspect_for + 1 } else { 0 };
        assert!(suspect_for < 20, "it has answered since");
        if suspect_for == 0 {
            world.write(&session);
        }
    }
    pass(500).await;
    assert_eq!(world.read(&session).0, "replica-1");
}

/// While work fails, all nodes are asked all the time, and the replica answers many times before the primary does.
#[tokio::test(start_paused = true)]
async fn a_replica_proves_where_it_stands_beside_a_primary_that_answers_slowly() {
    let world = World::of(0).await;
    world.primary.latency(millis(60));
    let replica = Server::standby_of(&world.primary);
    world.db.add_replica(&NodeSpec::new(), replica).unwrap();
    for _ in 0..100 {
        world.lose("primary");
        pass(10).await;
    }
    assert!(world.node("replica-1").fresh_as_of() > Instant::ORIGIN);
}
