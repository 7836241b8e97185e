//! Replicas whose replay stands still while the primary writes: a read may hang there behind a lock that is to be
//! replayed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbrouter::observer::{Event, Observer};
use dbrouter::policy::{RoundRobin, Sticky};
use dbrouter::{
    Classification, Classifier, Consistency, FallbackLimit, Fault, NodeSpec, Preference, Request,
    Router, Settings, Terms,
};
use tokio::task::JoinHandle;
use tokio::time;

use crate::world::{Server, World, millis, pass, settings};

/// Takes everything for a read.
struct Trusting;

impl Classifier for Trusting {
    fn classify(&self, _: &str) -> Classification {
        Classification::READ
    }
}

async fn world(settings: Settings, replicas: usize) -> World {
    let specs = vec![NodeSpec::new(); replicas];
    let world = World::with(settings.classifier(Trusting), specs).await;
    pass(500).await;
    world
}

/// Replay stands still on the servers, and the primary writes.
fn stand_still(world: &World, servers: &[&Server]) {
    servers.iter().for_each(|server| server.pause());
    world.primary.commit();
}

/// A read of a new session that hangs on these servers. It ends with whether it ran on a standby, and with how many
/// milliseconds it took.
fn hanging(world: &World, on: &[&Server]) -> JoinHandle<(bool, u128)> {
    hanging_on(Terms::new(&world.db).session(), on)
}

fn hanging_on(terms: Terms<Server>, on: &[&Server]) -> JoinHandle<(bool, u128)> {
    let on: Vec<Server> = on.iter().map(|server| (*server).clone()).collect();
    tokio::spawn(async move {
        let begun = time::Instant::now();
        let run = terms.work().run("select 1", |server, _| {
            let standby = server.is_standby();
            let hangs = on.iter().any(|hangs| hangs.is(server));
            Box::pin(async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Ok(standby)
            })
        });
        let hour = Duration::from_secs(3600);
        let (standby, route) = time::timeout(hour, run).await.unwrap().unwrap();
        drop(route);
        (standby, begun.elapsed().as_millis())
    })
}

/// Hears of a read that goes on elsewhere because of a conflict with replication.
#[derive(Clone, Default)]
struct Conflicts(Arc<AtomicBool>);

impl Observer for Conflicts {
    fn happened(&self, event: &Event) {
        if let Event::Retried { fault, .. } = event {
            assert_eq!(*fault, Fault::Conflict);
            self.0.store(true, Ordering::SeqCst);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_without_a_row_goes_on_at_another_replica_after_the_limit() {
    let conflicts = Conflicts::default();
    let world = world(settings().observer(conflicts.clone()), 2).await;
    let stuck = &world.replicas[1];
    stand_still(&world, &[stuck]);
    let (on_standby, took) = hanging(&world, &[stuck]).await.unwrap();
    assert!(on_standby, "the other replica");
    // The limit, and the two rounds in which the standstill becomes known.
    assert!((1000..=1210).contains(&took), "{took}");
    assert_eq!(world.node("replica-2").in_flight(), 0);
    assert!(world.node("replica-2").is_healthy(), "it is not ill");
    let heard = async {
        while !conflicts.0.load(Ordering::SeqCst) {
            pass(1).await;
        }
    };
    time::timeout(Duration::from_secs(60), heard).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_new_read_is_sent_there_while_another_replica_would_serve_it() {
    let world = world(settings(), 2).await;
    let eventual = Request::read().consistency(Consistency::Eventual);
    stand_still(&world, &[&world.replicas[1]]);
    pass(900).await;
    assert_eq!(world.read(&world.db.session()).0, "replica-2");
    pass(300).await;
    for session in [world.db.session(), world.db.current_session()] {
        assert_eq!(world.read(&session).0, "replica-1");
        assert_eq!(world.went(&eventual, &session).0, "replica-1");
    }
    // It goes on until replay does, and no longer.
    pass(20_000).await;
    assert_eq!(world.read(&world.db.session()).0, "replica-1");
    world.replicas[1].resume();
    pass(150).await;
    assert_eq!(world.read(&world.db.session()).0, "replica-2");
}

#[tokio::test(start_paused = true)]
async fn a_session_leaves_its_replica_when_replay_stands_still_there() {
    let settings = settings().policy(Sticky::new(RoundRobin::new()));
    let world = world(settings, 2).await;
    let session = world.db.session();
    let home = world.read(&session).0;
    assert_eq!(home, "replica-1");
    stand_still(&world, &[&world.replicas[0]]);
    pass(1500).await;
    assert_eq!(world.read(&session).0, "replica-2");
}

#[tokio::test(start_paused = true)]
async fn without_another_replica_new_reads_stay_and_hang_no_longer_than_the_limit() {
    let world = world(settings(), 1).await;
    let stuck = &world.replicas[0];
    stand_still(&world, &[stuck]);
    pass(2000).await;
    assert_eq!(world.read(&world.db.session()).0, "replica-1");
    let (on_standby, took) = hanging(&world, &[stuck]).await.unwrap();
    assert!(!on_standby, "the primary");
    assert!((1000..=1010).contains(&took), "{took}");
}

/// It would hang on the other one as well.
#[tokio::test(start_paused = true)]
async fn where_all_replicas_stand_still_a_read_goes_on_at_the_primary() {
    let world = world(settings(), 2).await;
    let both = [&world.replicas[0], &world.replicas[1]];
    stand_still(&world, &both);
    pass(2000).await;
    let (on_standby, took) = hanging(&world, &both).await.unwrap();
    assert!(!on_standby, "the primary");
    assert!((1000..=1010).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_read_on_a_replica_that_lags_and_moves_is_left_alone() {
    let world = world(settings(), 2).await;
    let slow = &world.replicas[1];
    let reading = hanging(&world, &[slow]);
    let mut at = slow.shows();
    for _ in 0..100_000 {
        world.primary.commit();
    }
    for _ in 0..100 {
        at += 10;
        slow.stand_at(Some(at));
        pass(100).await;
    }
    assert!(!reading.is_finished());
    assert_eq!(world.read(&world.db.session()).0, "replica-2");
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn a_read_that_no_other_node_would_serve_stays_until_one_does() {
    let world = world(settings(), 1).await;
    let stuck = &world.replicas[0];
    world.db.disable("primary").unwrap();
    stand_still(&world, &[stuck]);
    let reading = hanging(&world, &[stuck]);
    pass(30_000).await;
    assert!(!reading.is_finished());
    world.db.enable("primary").unwrap();
    let (on_standby, took) = reading.await.unwrap();
    assert!(!on_standby, "the primary");
    assert!(took <= 31_000, "{took}");
}

/// A read that hangs is better off than one that fails.
#[tokio::test(start_paused = true)]
async fn a_read_that_would_find_no_place_on_the_primary_stays_until_there_is_one() {
    let settings = settings().fallback_limit(FallbackLimit::reads(1));
    let world = world(settings, 1).await;
    let stuck = &world.replicas[0];
    let writer = world.db.session();
    stuck.pause();
    world.write(&writer);
    let place = world.db.route(&Request::read(), &writer).unwrap();
    assert_eq!(&**place.node().name(), "primary");
    let reading = hanging(&world, &[stuck]);
    pass(10_000).await;
    assert!(!reading.is_finished());
    drop(place);
    let (on_standby, took) = reading.await.unwrap();
    assert!(!on_standby && took <= 11_000, "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_read_for_replicas_only_stays_where_it_is() {
    let world = world(settings(), 1).await;
    let stuck = &world.replicas[0];
    stand_still(&world, &[stuck]);
    let only = Terms::new(&world.db).preference(Preference::Replica);
    let reading = hanging_on(only.session().preference(Preference::Replica), &[stuck]);
    pass(30_000).await;
    assert!(!reading.is_finished());
    reading.abort();
}

#[tokio::test(start_paused = true)]
async fn the_limit_can_be_switched_off_and_not_be_nothing() {
    let world = world(settings().standstill_limit(Duration::MAX), 2).await;
    let stuck = &world.replicas[1];
    stand_still(&world, &[stuck]);
    let reading = hanging(&world, &[stuck]);
    pass(30_000).await;
    assert!(!reading.is_finished());
    assert_eq!(world.read(&world.db.session()).0, "replica-2");
    reading.abort();
    let connecting = crate::world::builder(settings().standstill_limit(Duration::ZERO))
        .primary(NodeSpec::new(), Server::primary())
        .connect();
    let error = connecting.await.unwrap_err();
    assert_eq!(error.field(), "standstill_limit");
    assert!(error.to_string().contains("above zero"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_shorter_limit_is_kept() {
    let world = world(settings().standstill_limit(millis(300)), 2).await;
    let stuck = &world.replicas[1];
    stand_still(&world, &[stuck]);
    let (_, took) = hanging(&world, &[stuck]).await.unwrap();
    assert!((300..=510).contains(&took), "{took}");
}
