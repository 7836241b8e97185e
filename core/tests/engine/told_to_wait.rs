//! Replicas that can be told to wait until they have replayed what is wanted, as PostgreSQL's from version 19 on.

use std::time::Duration;

use dbrouter::{NodeSpec, Reason, Request, Terms};
use tokio::time::{Instant, timeout};

use crate::world::{Asked, Mood, Waiting, World, millis, pass, rarely, settings};

/// A replica that replays nothing, of a server that can be told to wait or not, and somebody who wrote.
async fn lagging(waiting: Waiting) -> (World, Terms<crate::world::Server>) {
    let settings = settings().monitor(rarely().interval(millis(100)));
    let world = World::with(settings, vec![NodeSpec::new()]).await;
    let replica = &world.replicas[0];
    replica.waiting(waiting);
    // It is met anew, with this version.
    replica.restart();
    pass(500).await;
    replica.pause();
    let terms = Terms::new(&world.db).session();
    world.write(&terms.state());
    (world, terms)
}

/// How long after its replay has gone on the replica serves the read that waits for that, and how often it was asked
/// meanwhile.
async fn served_after(waiting: Waiting, paused: Duration) -> (Duration, usize) {
    let (world, terms) = lagging(waiting).await;
    let asked = world.replicas[0].asked();
    let read = tokio::spawn({
        let work = terms.read().wait_for_fresh(millis(60_000)).work();
        async move {
            let run = work.run("select", |_, _| Box::pin(async { Ok(()) }));
            run.await.map(|_| Instant::now()).unwrap()
        }
    });
    tokio::time::sleep(paused).await;
    let resumed = Instant::now();
    world.replicas[0].resume();
    let served = read.await.unwrap();
    assert_eq!(&*terms.last_decision().unwrap().node, "replica-1");
    (served - resumed, world.replicas[0].asked() - asked)
}

#[tokio::test(start_paused = true)]
async fn a_read_is_served_as_soon_as_its_replica_has_what_it_needs() {
    // For different times, so that none is met by chance.
    for paused in [30, 77, 150, 333, 1250] {
        let (after, asked) = served_after(Waiting::Waits, millis(paused)).await;
        assert!(after < millis(1), "{after:?} after {paused} ms");
        // One question, and then a wait and a question each interval.
        let most = 3 + 2 * usize::try_from(paused).unwrap().div_ceil(100);
        assert!(asked <= most, "asked {asked} times within {paused} ms");
    }
    // This is what it is worth.
    let (after, _) = served_after(Waiting::Unknown, millis(1250)).await;
    assert!(after > millis(5), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn who_can_not_is_not_told() {
    let (world, _terms) = lagging(Waiting::Unknown).await;
    pass(500).await;
    assert_eq!(world.replicas[0].asked_about(Asked::ToWait), 0);
}

#[tokio::test(start_paused = true)]
async fn who_keeps_up_is_not_told() {
    let (world, terms) = lagging(Waiting::Waits).await;
    world.replicas[0].resume();
    pass(500).await;
    let told = world.replicas[0].asked_about(Asked::ToWait);
    for _ in 0..20 {
        world.write(&terms.state());
        pass(20).await;
        assert_eq!(world.read(&terms.state()).0, "replica-1");
    }
    assert_eq!(world.replicas[0].asked_about(Asked::ToWait), told);
}

/// It is told once, and that is the end of it; its freshness is proved as anybody's.
#[tokio::test(start_paused = true)]
async fn who_does_not_know_how_after_all_is_asked_as_before() {
    let (world, terms) = lagging(Waiting::Fails).await;
    pass(1000).await;
    assert_eq!(world.replicas[0].asked_about(Asked::ToWait), 1);
    assert!(world.node("replica-1").is_healthy());
    assert_eq!(world.read(&terms.state()).1, Reason::NotFresh);
    world.replicas[0].resume();
    pass(150).await;
    assert_eq!(world.read(&terms.state()).0, "replica-1");
    // Where it has been away, it may be another by now.
    world.replicas[0].waiting(Waiting::Waits);
    world.replicas[0].restart();
    pass(500).await;
    world.replicas[0].pause();
    world.write(&terms.state());
    pass(500).await;
    assert!(world.replicas[0].asked_about(Asked::ToWait) > 1);
}

#[tokio::test(start_paused = true)]
async fn a_promotion_ends_the_wait() {
    let (world, terms) = lagging(Waiting::Waits).await;
    pass(50).await;
    world.replicas[0].promote();
    pass(500).await;
    let told = world.replicas[0].asked_about(Asked::ToWait);
    assert_eq!(world.node("replica-1").role(), dbrouter::Role::Primary);
    pass(5000).await;
    assert_eq!(world.replicas[0].asked_about(Asked::ToWait), told);
    assert_eq!(world.read(&terms.state()).0, "primary");
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_not_lost_and_who_dies_is() {
    let (world, _terms) = lagging(Waiting::Waits).await;
    pass(5000).await;
    assert!(world.node("replica-1").is_healthy(), "it waits as told");
    world.replicas[0].mood(Mood::Refusing);
    pass(250).await;
    assert!(!world.node("replica-1").is_healthy());
    world.replicas[0].mood(Mood::Answering);
    pass(500).await;
    assert!(world.node("replica-1").is_healthy());
    world.replicas[0].mood(Mood::Hanging);
    pass(1500).await;
    assert!(!world.node("replica-1").is_healthy());
}

/// Others are asked meanwhile, and so is the primary.
#[tokio::test(start_paused = true)]
async fn nobody_else_waits_for_who_waits() {
    let settings = settings().monitor(rarely().interval(millis(1000)));
    let world = World::with(settings, vec![NodeSpec::new(); 2]).await;
    for replica in &world.replicas {
        replica.waiting(Waiting::Waits);
        replica.restart();
    }
    pass(5000).await;
    world.replicas[0].pause();
    let session = world.db.session();
    for _ in 0..10 {
        world.write(&session);
        let patient = Request::read().wait_for_fresh(millis(500));
        let route = timeout(millis(20), world.db.route_patiently(&patient, &session));
        let route = route
            .await
            .expect("the other one is fresh at once")
            .unwrap();
        assert_eq!(&**route.node().name(), "replica-2");
    }
}
