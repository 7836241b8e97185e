//! Which node takes the writes: the one that says that it is the primary, if its history is the latest.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbrouter::{
    Access, Cluster, Fault, Health, NodeSpec, Preference, Reason, Request, Role, RouteError,
    Router, SessionState, Settings, Start, Terms, WhyNot,
};
use tokio::time;

use crate::world::{Failure, Mood, Server, World, builder, millis, pass, rarely, settings};

/// Where a write goes now.
fn writer(db: &Cluster<Server>) -> Result<String, RouteError> {
    let route = db.route(&Request::write(), &db.session())?;
    Ok(route.node().name().to_string())
}

/// The server is promoted, in a history of its own.
fn promote(server: &Server) {
    let at = server.shows();
    server.promote();
    server.fork(2, at + 1);
}

/// When it answers again it may be a standby, or another server.
#[tokio::test(start_paused = true)]
async fn a_primary_that_does_not_answer_is_read_only_by_sessions_that_need_nothing() {
    let world = World::of(1).await;
    let session = world.db.session();
    world.replicas[0].pause();
    world.write(&session);
    world.primary.mood(Mood::Refusing);
    world.replicas[0].mood(Mood::Refusing);
    pass(300).await;
    for preference in [
        Preference::Primary,
        Preference::PrimaryPreferred,
        Preference::ReplicaPreferred,
        Preference::Nearest,
    ] {
        let request = Request::read().preference(preference);
        assert!(world.goes(&request, &session).is_err(), "{preference:?}");
        assert_eq!(world.went(&request, &world.db.session()).0, "primary");
    }
}

/// Virtual milliseconds until a write goes to that node.
async fn until_written(db: &Cluster<Server>, name: &str) -> u128 {
    let begun = time::Instant::now();
    while writer(db).ok().as_deref() != Some(name) {
        assert!(begun.elapsed() < Duration::from_secs(60), "never");
        time::sleep(millis(1)).await;
    }
    begun.elapsed().as_millis()
}

fn why(error: &RouteError, name: &str) -> WhyNot {
    let mut refusals = error.refusals().iter();
    refusals.find(|refusal| &*refusal.node == name).unwrap().why
}

#[tokio::test(start_paused = true)]
async fn a_promoted_replica_takes_the_writes() {
    let world = World::of(2).await;
    world.primary.mood(Mood::Refusing);
    pass(150).await;
    let refused = writer(&world.db).unwrap_err();
    assert!(refused.is_without_primary(), "{refused}");
    assert!(refused.is_temporary());
    assert_eq!(
        refused.to_string(),
        "no primary for this write: primary: it does not answer, or failed too often; \
         replica-1: it does not take the writes; replica-2: it does not take the writes"
    );
    promote(&world.replicas[1]);
    until_written(&world.db, "replica-2").await;
    assert_eq!(&**world.db.primary().name(), "replica-2");
    // The old one comes back as it was.
    world.primary.mood(Mood::Answering);
    pass(500).await;
    assert_eq!(writer(&world.db).unwrap(), "replica-2");
    let old = world.node("primary");
    assert_eq!((old.role(), old.is_healthy()), (Role::Primary, true));
    let session = world.db.session();
    for _ in 0..10 {
        assert_ne!(
            world.read(&session).0,
            "primary",
            "it shows another history"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_has_to_write_for_a_promotion_to_be_seen() {
    let world = World::of(1).await;
    world.primary.mood(Mood::Refusing);
    pass(300).await;
    promote(&world.replicas[0]);
    // At most a round later.
    pass(110).await;
    assert_eq!(&**world.db.primary().name(), "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_has_all_nodes_asked() {
    // Nobody would ask for an hour.
    let calm = settings().monitor(rarely());
    let world = World::with(calm, vec![NodeSpec::new(); 2]).await;
    promote(&world.replicas[0]);
    world.primary.mood(Mood::Refusing);
    pass(1000).await;
    assert_eq!(
        writer(&world.db).unwrap(),
        "primary",
        "nobody has noticed yet"
    );
    let route = world
        .db
        .route(&Request::write(), &world.db.session())
        .unwrap();
    route.report(Fault::Unavailable, &"connection reset");
    route.unsent();
    assert!(until_written(&world.db, "replica-1").await <= 30);
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_refuses_a_write_has_all_nodes_asked() {
    let calm = settings().monitor(rarely());
    let world = World::with(calm, vec![NodeSpec::new(); 2]).await;
    world.primary.demote();
    // And it tells the monitor nothing.
    world.primary.mood(Mood::Hanging);
    promote(&world.replicas[0]);
    pass(1000).await;
    let mut ran = Vec::new();
    let write = Terms::new(&world.db).write();
    let ended = write.work().run("insert", |server, _| {
        let standby = server.is_standby();
        ran.push(standby);
        Box::pin(async move {
            match standby {
                true => Err(Failure("read-only")),
                false => Ok(()),
            }
        })
    });
    assert_eq!(ended.await.map(drop).unwrap_err().0, "read-only");
    assert_eq!(ran, [true], "it is not sent again");
    assert!(until_written(&world.db, "replica-1").await <= 30);
}

#[tokio::test(start_paused = true)]
async fn a_switchover_is_followed_and_the_demoted_becomes_a_replica() {
    let world = World::of(1).await;
    world.primary.demote();
    promote(&world.replicas[0]);
    until_written(&world.db, "replica-1").await;
    // It follows the promoted one's history once it says so.
    world.primary.astray(Some(2));
    world.primary.stand_at(Some(world.replicas[0].shows()));
    pass(300).await;
    let session = world.db.session();
    assert_eq!(world.read(&session).0, "primary", "the only replica");
}

#[tokio::test(start_paused = true)]
async fn what_was_proved_in_the_old_history_is_void() {
    let world = World::of(2).await;
    let session = world.db.session();
    world.write(&session);
    pass(50).await;
    assert_ne!(world.read(&session).0, "primary");
    // The second goes on following the old primary, and has replayed more than the promoted one has written.
    world.primary.commit();
    world.primary.commit();
    promote(&world.replicas[0]);
    world.replicas[1].astray(Some(1));
    until_written(&world.db, "replica-1").await;
    for _ in 0..100 {
        pass(5).await;
        assert_ne!(world.read(&session).0, "replica-2");
        assert_ne!(world.read(&world.db.session()).0, "replica-2");
    }
    world.replicas[1].astray(Some(2));
    world.replicas[1].stand_at(Some(world.replicas[0].shows()));
    pass(300).await;
    assert_eq!(world.read(&session).0, "replica-2", "it has followed");
}

/// Reads of sessions that need no more than replicas show are served all the time, whichever role is in between.
#[tokio::test(start_paused = true)]
async fn no_read_is_refused_while_a_primary_is_followed() {
    for seed in 0..50 {
        let world = World::of(1).await;
        let mut random = fastrand::Rng::with_seed(seed);
        let dies = random.u64(0..200);
        let promoted = dies + random.u64(0..400);
        for now in 0..1000 {
            if now == dies {
                world.primary.mood(Mood::Refusing);
            }
            if now == promoted {
                promote(&world.replicas[0]);
            }
            time::sleep(millis(1)).await;
            let session = world.db.session();
            let went = world.goes(&Request::read(), &session);
            assert!(went.is_ok(), "{seed} {now}: {}", went.unwrap_err());
        }
        assert_eq!(&**world.db.primary().name(), "replica-1");
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_primaries_the_later_history_wins() {
    let world = World::of(2).await;
    world.replicas[0].promote();
    world.replicas[0].fork(3, 2000);
    until_written(&world.db, "replica-1").await;
    // An earlier one that turns up later changes nothing.
    world.replicas[1].promote();
    world.replicas[1].fork(2, 9000);
    pass(500).await;
    assert_eq!(writer(&world.db).unwrap(), "replica-1");
}

#[tokio::test(start_paused = true)]
async fn of_two_primaries_in_one_history_neither_is_written_to() {
    let world = World::of(2).await;
    world.replicas[1].promote();
    pass(200).await;
    let refused = writer(&world.db).unwrap_err();
    assert!(refused.is_without_primary() && refused.is_temporary());
    assert_eq!(why(&refused, "primary"), WhyNot::Contested);
    assert_eq!(why(&refused, "replica-2"), WhyNot::Contested);
    assert_eq!(why(&refused, "replica-1"), WhyNot::NotThePrimary);
    assert!(world.db.status().contested);
    let session = world.db.session();
    assert_eq!(world.read(&session).0, "replica-1", "reads go on");
    // One of them gives way; or is gone.
    for gives_way in [
        (|server: &Server| server.demote()) as fn(&Server),
        |server| server.mood(Mood::Refusing),
    ] {
        gives_way(&world.replicas[1]);
        pass(200).await;
        assert_eq!(writer(&world.db).unwrap(), "primary");
        world.replicas[1].mood(Mood::Answering);
        world.replicas[1].promote();
        pass(200).await;
        assert!(writer(&world.db).is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_rival_that_is_removed_contests_nothing() {
    let world = World::of(2).await;
    world.replicas[1].promote();
    pass(200).await;
    assert!(writer(&world.db).is_err());
    world.db.remove("replica-2").unwrap();
    // Another takes its place in the count of nodes.
    let another = Server::standby_of(&world.primary);
    world.db.add_replica(&NodeSpec::new(), another).unwrap();
    pass(200).await;
    assert_eq!(writer(&world.db).unwrap(), "primary");
    assert!(!world.db.status().contested);
}

#[tokio::test(start_paused = true)]
async fn a_server_of_the_same_or_an_earlier_history_takes_no_lost_primarys_place() {
    for timeline in [0, 1] {
        let world = World::of(2).await;
        world.primary.mood(Mood::Refusing);
        pass(150).await;
        world.replicas[1].promote();
        world.replicas[1].fork(timeline, 9000);
        pass(1000).await;
        assert!(writer(&world.db).unwrap_err().is_without_primary());
        world.primary.mood(Mood::Answering);
        world.replicas[1].demote();
        pass(1000).await;
        assert_eq!(writer(&world.db).unwrap(), "primary");
    }
}

#[tokio::test(start_paused = true)]
async fn a_configuration_from_before_a_failover_is_understood() {
    for old in [Mood::Refusing, Mood::Answering] {
        for start in [Start::WithPrimary, Start::ReadOnly] {
            let primary = Server::primary();
            let replica = Server::standby_of(&primary);
            promote(&replica);
            primary.demote();
            primary.mood(old);
            let db = builder(settings().start(start))
                .primary(NodeSpec::new(), primary)
                .replica(NodeSpec::new(), replica)
                .connect()
                .await
                .unwrap();
            assert_eq!(writer(&db).unwrap(), "replica-1", "{old:?} {start:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn pools_are_opened_anew_as_is_right_for_their_roles() {
    let opened = Arc::new(Mutex::new(Vec::new()));
    let access = |server: &Server, name: &'static str| {
        let (again, opened) = (server.clone(), Arc::clone(&opened));
        Access::reopened_by(server.clone(), move |role| {
            opened.lock().unwrap().push((name, role));
            Some(again.clone())
        })
    };
    let primary = Server::primary();
    let replicas = [Server::standby_of(&primary), Server::standby_of(&primary)];
    let db = builder(settings())
        .primary(NodeSpec::new(), access(&primary, "primary"))
        .replica(NodeSpec::new(), access(&replicas[0], "replica-1"))
        .replica(NodeSpec::new(), access(&replicas[1], "replica-2"))
        .connect()
        .await
        .unwrap();
    let (before, session) = (db.nodes(), db.session());
    let route = db.route(&Request::read(), &session).unwrap();
    assert_eq!(opened.lock().unwrap().len(), 0);
    primary.mood(Mood::Refusing);
    promote(&replicas[1]);
    until_written(&db, "replica-2").await;
    let expected = [("primary", Role::Replica), ("replica-2", Role::Primary)];
    assert_eq!(*opened.lock().unwrap(), expected);
    let after = db.nodes();
    let replaced: Vec<bool> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| !Arc::ptr_eq(before, after))
        .collect();
    assert_eq!(replaced, [true, false, true]);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((before.id(), before.name()), (after.id(), after.name()));
    }
    // Work that began on the old pool still counts for its server, until it ends.
    assert_eq!(&**route.node().name(), "replica-2");
    assert_eq!(after[2].in_flight(), 1);
    drop(route);
    assert_eq!(after[2].in_flight(), 0);
}

/// A router that waits so long for a primary.
async fn patient(wait: u64) -> World {
    World::with(
        settings().wait_for_primary(millis(wait)),
        vec![NodeSpec::new(); 2],
    )
    .await
}

/// Runs a write; says where it ran and how it ended, and after how many virtual milliseconds.
async fn write(db: &Cluster<Server>) -> (Result<bool, &'static str>, u128) {
    let begun = time::Instant::now();
    let write = Terms::new(db).write();
    let run = write.work().run("insert", |server, _| {
        let standby = server.is_standby();
        Box::pin(async move { Ok(standby) })
    });
    let ended = run.await.map(|(standby, _)| standby);
    (
        ended.map_err(|failure| failure.0),
        begun.elapsed().as_millis(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_write_waits_for_a_primary_as_long_as_it_is_told_to() {
    let world = patient(1000).await;
    world.primary.mood(Mood::Refusing);
    pass(150).await;
    let db = world.db.clone();
    let waiting = tokio::spawn(async move { write(&db).await });
    pass(400).await;
    promote(&world.replicas[0]);
    let (ended, waited) = waiting.await.unwrap();
    assert_eq!(ended, Ok(false), "it ran on the promoted node");
    assert!((400..=430).contains(&waited), "{waited}");
    // Nobody is promoted this time.
    world.replicas[0].mood(Mood::Refusing);
    pass(150).await;
    let (ended, waited) = write(&world.db).await;
    assert_eq!(ended, Err("refused by the router"));
    assert!((1000..=1010).contains(&waited), "{waited}");
}

#[tokio::test(start_paused = true)]
async fn a_write_fails_at_once_if_it_is_not_told_to_wait() {
    let world = World::of(2).await;
    world.primary.mood(Mood::Refusing);
    pass(150).await;
    assert_eq!(write(&world.db).await, (Err("refused by the router"), 0));
}

#[tokio::test(start_paused = true)]
async fn a_write_does_not_wait_in_the_pool_of_a_primary_that_is_gone() {
    for wait in [0, 1000] {
        let world = patient(wait).await;
        world.primary.stuck(true);
        let db = world.db.clone();
        let waiting = tokio::spawn(async move { write(&db).await });
        pass(50).await;
        world.primary.mood(Mood::Refusing);
        pass(200).await;
        promote(&world.replicas[0]);
        let (ended, waited) = waiting.await.unwrap();
        match wait {
            0 => assert_eq!(ended, Err("refused by the router")),
            _ => assert_eq!(ended, Ok(false), "on the promoted node"),
        }
        assert!(waited <= 300, "{wait} {waited}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_only_the_primary_can_serve_waits_for_one_as_well() {
    let world = patient(1000).await;
    let session = world.db.session();
    for replica in &world.replicas {
        replica.pause();
    }
    world.write(&session);
    world.primary.mood(Mood::Refusing);
    pass(150).await;
    let (db, needs) = (world.db.clone(), session.clone());
    let waiting = tokio::spawn(async move {
        let route = db.route_patiently(&Request::read(), &needs).await;
        route.map(|route| (route.node().name().to_string(), route.reason()))
    });
    pass(300).await;
    promote(&world.replicas[1]);
    let (node, reason) = waiting.await.unwrap().unwrap();
    assert_eq!((&*node, reason), ("replica-2", Reason::NotFresh));
}

#[tokio::test(start_paused = true)]
async fn a_write_is_never_sent_twice() {
    let world = patient(1000).await;
    let mut sent = 0;
    let write = Terms::new(&world.db).write();
    let run = write.work().run("insert", |_, _| {
        sent += 1;
        Box::pin(async { Err::<(), _>(Failure("connection reset")) })
    });
    promote(&world.replicas[0]);
    assert_eq!(run.await.map(drop).unwrap_err().0, "connection reset");
    assert_eq!(sent, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_server_is_no_lost_one() {
    let world = World::of(1).await;
    world.replicas[0].mood(Mood::Full);
    world.primary.mood(Mood::Full);
    pass(2000).await;
    assert_eq!(world.node("primary").health(), Health::Healthy);
    assert_eq!(world.node("replica-1").health(), Health::Healthy);
    assert_eq!(writer(&world.db).unwrap(), "primary");
    // But nothing is known of how fresh it is.
    let session: SessionState = world.db.session();
    assert_eq!(
        world.read(&session),
        ("primary".to_owned(), Reason::NotFresh)
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_back_gets_its_share_little_by_little() {
    fastrand::seed(7);
    let health = dbrouter::HealthSettings::new().slow_start(Duration::from_secs(10));
    let policy = dbrouter::policy::Random::seeded(3);
    let settings: Settings = settings().health(health).policy(policy);
    let world = World::with(settings, vec![NodeSpec::new(); 2]).await;
    world.replicas[0].mood(Mood::Refusing);
    pass(150).await;
    world.replicas[0].mood(Mood::Answering);
    pass(150).await;
    let share = async || {
        let session = || world.db.session();
        let reads = (0..2000).filter(|_| world.read(&session()).0 == "replica-1");
        reads.count()
    };
    // Of half of the reads: a tenth, a half, all.
    let at_first = share().await;
    assert!((50..200).contains(&at_first), "{at_first}");
    assert_eq!(world.node("replica-1").health(), Health::Recovering);
    pass(5000).await;
    let then = share().await;
    assert!((450..700).contains(&then), "{then}");
    pass(5000).await;
    let in_the_end = share().await;
    assert!((900..1100).contains(&in_the_end), "{in_the_end}");
    assert_eq!(world.node("replica-1").health(), Health::Healthy);
}

/// The same where the promoted server does not show that its history is another one.
#[tokio::test(start_paused = true)]
async fn what_was_proved_by_another_primary_is_void() {
    let world = World::of(2).await;
    pass(50).await;
    world.replicas[1].mood(Mood::Hanging);
    world.primary.demote();
    world.replicas[0].promote();
    until_written(&world.db, "replica-1").await;
    let unheard = world.node("replica-2");
    assert!(unheard.is_healthy(), "it has not been missed yet");
    assert_eq!(unheard.fresh_as_of(), dbrouter::Instant::VOID);
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_pool_cannot_connect_goes_to_the_next_primary_if_it_may_wait() {
    for wait in [0, 1000] {
        let world = patient(wait).await;
        world.primary.refuses_connections(true);
        world.primary.mood(Mood::Refusing);
        let db = world.db.clone();
        let waiting = tokio::spawn(async move { write(&db).await });
        pass(200).await;
        promote(&world.replicas[0]);
        let (ended, waited) = waiting.await.unwrap();
        match wait {
            0 => assert_eq!((ended, waited), (Err("connection refused"), 0)),
            _ => assert_eq!(ended, Ok(false), "on the promoted node"),
        }
        assert!(waited <= 250, "{wait} {waited}");
    }
}

/// A read that waits for a connection of the promoted node's former pool is served by its new one, if there is no other
/// node that could.
#[tokio::test(start_paused = true)]
async fn who_waits_for_the_former_pool_goes_on_to_the_new_one() {
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    let again = replica.clone();
    let access = Access::reopened_by(replica.clone(), move |_| {
        again.stuck(false);
        Some(again.clone())
    });
    let db = builder(settings())
        .primary(NodeSpec::new(), primary.clone())
        .replica(NodeSpec::new(), access)
        .connect()
        .await
        .unwrap();
    primary.mood(Mood::Refusing);
    pass(200).await;
    replica.stuck(true);
    let waiting = {
        let terms = Terms::new(&db).session().read();
        tokio::spawn(async move { terms.work().acquire().await.map(drop) })
    };
    pass(100).await;
    assert!(!waiting.is_finished());
    promote(&replica);
    assert!(waiting.await.unwrap().is_ok());
    assert_eq!(&**db.primary().name(), "replica-1");
}

/// The simulation found it: the monitor's word that it is there and the pool's that it is not were each other's turn.
#[tokio::test(start_paused = true)]
async fn a_primary_that_answers_and_refuses_connections_is_not_tried_without_a_pause() {
    let world = patient(1000).await;
    world.primary.refuses_connections(true);
    let (ended, waited) = write(&world.db).await;
    assert!(ended.is_err());
    assert!((1000..=1020).contains(&waited), "{waited}");
    let tried = world.primary.refused_connections();
    // A hundred times for the write, and some times for the pool.
    assert!((10..=110).contains(&tried), "{tried}");
}

/// Waits until a write is taken.
async fn until_taken(db: &Cluster<Server>) {
    while writer(db).is_err() {
        pass(1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_followed_before_the_primary_was_away_may_be_promoted_as_soon_as_it_is_back()
{
    let world = World::of(1).await;
    let session = world.db.session();
    world.write(&session);
    pass(500).await;
    assert_eq!(world.read(&session).0, "replica-1", "it follows");
    world.primary.mood(Mood::Refusing);
    pass(150).await;
    world.primary.mood(Mood::Answering);
    until_taken(&world.db).await;
    promote(&world.replicas[0]);
    assert!(until_written(&world.db, "replica-1").await <= 200);
}

/// What only one replica shows is shown by it until the new primary shows it. Routes are found by another thread meanwhile, so
/// that they are found at every moment of the change.
#[tokio::test(start_paused = true)]
async fn while_the_primary_is_replaced_there_is_a_node_for_every_read() {
    for _ in 0..20 {
        let world = World::of(2).await;
        let session = world.db.session();
        world.replicas[0].pause();
        world.write(&session);
        pass(300).await;
        world.primary.mood(Mood::Refusing);
        pass(300).await;
        assert_eq!(world.read(&session).0, "replica-2");
        let (db, needs) = (world.db.clone(), session.clone());
        let done = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&done);
        let reader = std::thread::spawn(move || {
            let mut refused = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let route = db.route(&Request::read(), &needs);
                refused.extend(route.err().map(|refusal| refusal.to_string()));
            }
            refused
        });
        world.replicas[0].resume();
        promote(&world.replicas[0]);
        until_written(&world.db, "replica-1").await;
        pass(300).await;
        done.store(true, Ordering::Relaxed);
        assert_eq!(reader.join().unwrap(), Vec::<String>::new());
    }
}
