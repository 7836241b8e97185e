//! What is measured of nodes, and what policies make of it, in virtual time.

use std::time::Duration;

use dbrouter::policy::{LeastInFlight, Nearest, PeakEwma, Policy, PowerOfTwo, RoundRobin};
use dbrouter::{NodeSpec, Router, Settings, Terms};
use tokio::time;

use crate::world::{Failure, World, millis, pass, settings};

async fn world(policy: impl Policy, replicas: usize) -> World {
    let settings: Settings = settings().policy(policy);
    World::with(settings, vec![NodeSpec::new(); replicas]).await
}

/// Reads of the root, one after the other, each of which takes on a replica as long as `takes` says, or fails there.
/// Returns how many began on each replica.
async fn reads(
    world: &World,
    times: usize,
    takes: impl Fn(usize) -> Result<Duration, &'static str> + Send + Sync,
) -> Vec<usize> {
    let mut began = vec![0; world.replicas.len()];
    for _ in 0..times {
        let run = Terms::new(&world.db).read();
        let run = run.work().run("select 1", |server, _| {
            let at = |replica: &crate::world::Server| server.is(replica);
            let index = world.replicas.iter().position(at);
            if let Some(index) = index {
                began[index] += 1;
            }
            let takes = index.map_or(Ok(millis(2)), &takes);
            Box::pin(async move {
                time::sleep(takes.map_err(Failure)?).await;
                Ok(())
            })
        });
        drop(run.await.unwrap());
    }
    began
}

/// Two milliseconds, and on the last of three so many.
fn last_takes(slow: u64) -> impl Fn(usize) -> Result<Duration, &'static str> + Send + Sync {
    move |index| Ok(millis(if index == 2 { slow } else { 2 }))
}

#[tokio::test(start_paused = true)]
async fn a_node_is_as_slow_as_its_reads_were() {
    let world = world(RoundRobin::new(), 3).await;
    reads(&world, 30, last_takes(50)).await;
    let status = world.db.status();
    let shown = |name| {
        let latency = status.node(name).unwrap().latency.unwrap();
        latency.as_secs_f64() * 1e3
    };
    assert!((1.9..2.2).contains(&shown("replica-1")), "{status:?}");
    assert!((49.0..51.0).contains(&shown("replica-3")), "{status:?}");
    // The primary has served none: all that is known of it is what the monitor found.
    let primary = status.node("primary").unwrap();
    assert_eq!(primary.latency, primary.round_trip);
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_taken_until_its_first_row() {
    let world = world(RoundRobin::new(), 1).await;
    let terms = Terms::new(&world.db).read();
    let mut rows = terms.work().stream("select 1", |_, _| {
        Box::pin(async_stream::stream! {
            time::sleep(millis(3)).await;
            yield Ok::<_, Failure>(1);
            time::sleep(Duration::from_secs(60)).await;
            yield Ok(2);
        })
    });
    for _ in 0..2 {
        std::future::poll_fn(|cx| rows.as_mut().poll_next(cx))
            .await
            .unwrap()
            .unwrap();
    }
    // Still under way, and not slow for it.
    let status = world.db.status();
    let node = status.node("replica-1").unwrap();
    assert_eq!(node.in_flight, 1);
    assert!(node.latency.unwrap() < millis(4), "{:?}", node.latency);
}

#[tokio::test(start_paused = true)]
async fn a_slow_node_is_left_and_tried_again_when_it_is_better() {
    let world = world(PeakEwma::seeded(1), 3).await;
    let slow = reads(&world, 1000, last_takes(50)).await;
    assert!(slow[2] <= 5, "{slow:?}");
    assert!(slow[0] > 100 && slow[1] > 100, "{slow:?}");
    // Half a minute later it is as good as the others; it was not tried all the time to find that out.
    pass(60_000).await;
    let better = reads(&world, 1000, last_takes(2)).await;
    assert!(better[2] > 100, "{better:?}");
}

/// One that fails at once has nothing under way and has never taken long: to all that do not count failures it is the
/// best of all. (That is why a node on which work fails is looked at by the monitor; this one's errors say nothing of
/// its health.)
#[tokio::test(start_paused = true)]
async fn a_node_that_fails_fast_attracts_nothing() {
    let takes = |index| match index {
        2 => Err("conflict with recovery"),
        _ => Ok(millis(2)),
    };
    let world = world(PeakEwma::seeded(1), 3).await;
    let began = reads(&world, 1000, takes).await;
    assert!(began[2] <= 20, "{began:?}");
}

/// Concurrent reads on two nodes of which one is slower: what is under way tells them apart.
#[tokio::test(start_paused = true)]
async fn work_under_way_keeps_reads_from_a_slow_node() {
    let shares = async |policy: Box<dyn Fn() -> std::sync::Arc<dyn Policy>>| {
        let world = std::sync::Arc::new(world(policy(), 3).await);
        let clients = (0..6).map(|_| {
            let world = std::sync::Arc::clone(&world);
            tokio::spawn(async move { reads(&world, 200, last_takes(50)).await })
        });
        let mut sum = 0;
        for client in clients.collect::<Vec<_>>() {
            sum += client.await.unwrap()[2];
        }
        sum
    };
    let in_turn = shares(Box::new(|| std::sync::Arc::new(RoundRobin::new()))).await;
    assert_eq!(in_turn, 400, "a third of them");
    let by_two = shares(Box::new(|| std::sync::Arc::new(PowerOfTwo::seeded(2)))).await;
    let by_least = shares(Box::new(|| std::sync::Arc::new(LeastInFlight::new()))).await;
    let by_latency = shares(Box::new(|| std::sync::Arc::new(PeakEwma::seeded(2)))).await;
    assert!(by_two < 100, "{by_two}");
    assert!(by_least < 100, "{by_least}");
    assert!(by_latency < 10, "{by_latency}");
}

#[tokio::test(start_paused = true)]
async fn the_near_ones_are_read_and_the_far_ones_are_not() {
    let world = world(Nearest::new().seeded(1), 3).await;
    for (replica, latency) in world.replicas.iter().zip([1, 15, 40]) {
        replica.latency(millis(latency));
    }
    // Enough answers for the averages to arrive.
    pass(5000).await;
    let began = reads(&world, 1000, |_| Ok(millis(2))).await;
    assert!(began[0] > 400 && began[1] > 400, "{began:?}");
    assert_eq!(began[2], 0);
    // The nearest is gone: those that are near the next one are near enough.
    world.db.disable("replica-1").unwrap();
    let began = reads(&world, 1000, |_| Ok(millis(2))).await;
    assert_eq!((began[0], began[1], began[2]), (0, 1000, 0));
    world.db.disable("replica-2").unwrap();
    let began = reads(&world, 10, |_| Ok(millis(2))).await;
    assert_eq!(began[2], 10);
}
