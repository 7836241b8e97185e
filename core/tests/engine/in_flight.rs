use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use dbrouter::policy::RoundRobin;
use dbrouter::{Candidates, Cluster, Fault, ManualClock, NodeSpec, Request, Router};

use crate::world::{Server, World, pass, settings};

fn in_flight(db: &Cluster<Server>) -> Vec<u32> {
    db.nodes().iter().map(|node| node.in_flight()).collect()
}

#[tokio::test(start_paused = true)]
async fn work_is_counted_from_its_route_to_its_drop() {
    let world = World::of(1).await;
    let session = world.db.session();
    let read = world.db.route(&Request::read(), &session).unwrap();
    let write = world.db.route(&Request::write(), &session).unwrap();
    assert_eq!(in_flight(&world.db), [1, 1]);
    let held = world
        .db
        .route(&Request::write(), &session)
        .unwrap()
        .hold_open();
    assert_eq!(in_flight(&world.db), [2, 1]);
    read.report(Fault::Busy, &"full");
    drop(read);
    assert_eq!(in_flight(&world.db), [2, 0]);
    write.without_effect();
    assert_eq!(in_flight(&world.db), [1, 0]);
    held.without_effect();
    assert_eq!(in_flight(&world.db), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn cancelled_and_panicking_work_gives_its_place_back() {
    let world = World::of(1).await;
    let db = world.db.clone();
    let working = async move {
        let _route = db.route(&Request::read(), &db.session()).unwrap();
        std::future::pending::<()>().await;
    };
    let task = tokio::spawn(working);
    pass(1).await;
    assert_eq!(in_flight(&world.db), [0, 1]);
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert_eq!(in_flight(&world.db), [0, 0]);

    let panicking = catch_unwind(AssertUnwindSafe(|| {
        let _route = world.db.route(&Request::read(), &world.db.session());
        panic!("in the middle of the work");
    }));
    assert!(panicking.is_err());
    assert_eq!(in_flight(&world.db), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn refused_work_and_a_panicking_policy_take_no_place() {
    let panics = |_: Candidates<'_>, _: &Request| -> Option<usize> { panic!("a bad policy") };
    let world = World::under(panics, 1).await;
    let session = world.db.session();
    let read = || drop(world.db.route(&Request::read(), &session));
    assert!(catch_unwind(AssertUnwindSafe(read)).is_err());
    world.db.disable("primary").unwrap();
    assert!(world.db.route(&Request::write(), &session).is_err());
    assert_eq!(in_flight(&world.db), [0, 0]);
    // Nothing but the read that asked the policy has failed.
    world.db.enable("primary").unwrap();
    world.write(&session);
}

/// Routes of all kinds on several threads while nodes open and close: in the end nobody is left.
#[tokio::test]
async fn no_place_is_lost_among_threads() {
    let world = World::with(
        settings()
            .clock(ManualClock::new())
            .policy(RoundRobin::new()),
        vec![NodeSpec::new(); 3],
    )
    .await;
    let db = Arc::new(world.db);
    let workers: Vec<_> = (0..4)
        .map(|seed| {
            let db = Arc::clone(&db);
            thread::spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let session = db.session();
                for _ in 0..20_000 {
                    let request = match random.bool() {
                        true => Request::read(),
                        false => Request::write(),
                    };
                    match (random.u8(..8), db.route(&request, &session)) {
                        (0, Ok(route)) => route.without_effect(),
                        (1, Ok(route)) => drop(route.hold_open()),
                        (2, Ok(route)) => route.hold_open().without_effect(),
                        (3, _) => db.disable("replica-2").unwrap(),
                        (4, _) => db.enable("replica-2").unwrap(),
                        (_, route) => drop(route),
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(in_flight(&db), [0, 0, 0, 0]);
    assert!(db.route(&Request::read(), &db.session()).is_ok());
}
