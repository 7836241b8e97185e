//! Routing allocates nothing, and neither does the end of the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dbrouter::observer::{Decided, Observer};
use dbrouter::policy::{
    LeastInFlight, Nearest, PeakEwma, Policy, PowerOfTwo, Random, Rendezvous, RoundRobin, Sticky,
    WeightedRandom, WeightedRoundRobin,
};
use dbrouter::{FallbackLimit, ManualClock, NodeSpec, Reason, Request, Router, Settings};

use crate::world::{World, settings};

async fn allocations(policy: impl Policy, replicas: usize) -> u64 {
    allocations_with(settings().policy(policy), replicas).await
}

async fn allocations_with(settings: Settings, replicas: usize) -> u64 {
    let settings = settings.clock(ManualClock::new());
    let world = World::with(settings, vec![NodeSpec::new(); replicas]).await;
    let (root, session) = (world.db.current_session(), world.db.session());
    let (read, write) = (Request::read().key("a key"), Request::write());
    let work = || {
        for _ in 0..3 {
            drop(world.db.route(&read, &root).unwrap());
            drop(world.db.route(&read, &session).unwrap());
            drop(world.db.route(&write, &session).unwrap().hold_open());
            drop(world.db.route(&read, &session).unwrap());
        }
    };
    // What a thread sets up once for all is not counted.
    work();
    allocation_counter::measure(work).count_total
}

#[tokio::test]
async fn a_bound_and_a_limit_allocate_nothing() {
    let settings = settings()
        .clock(ManualClock::new())
        .max_staleness(Duration::from_secs(1))
        .fallback_limit(FallbackLimit::reads(2));
    let world = World::with(settings, vec![NodeSpec::new()]).await;
    let (root, session) = (world.db.current_session(), world.db.session());
    let _writer = session.hold_open();
    let read = Request::read();
    let work = || {
        drop(world.db.route(&read, &root).unwrap());
        let fell_back = world.db.route(&read, &session).unwrap();
        assert_eq!(fell_back.reason(), Reason::OpenWriter);
    };
    work();
    assert_eq!(allocation_counter::measure(work).count_total, 0);
}

#[tokio::test]
async fn routing_allocates_nothing_under_any_policy() {
    assert_eq!(allocations(Random::new(), 3).await, 0);
    assert_eq!(allocations(WeightedRandom::new(), 3).await, 0);
    assert_eq!(allocations(RoundRobin::new(), 3).await, 0);
    assert_eq!(allocations(WeightedRoundRobin::new(), 3).await, 0);
    assert_eq!(allocations(LeastInFlight::new(), 3).await, 0);
    assert_eq!(allocations(PowerOfTwo::new(), 3).await, 0);
    assert_eq!(allocations(PeakEwma::new(), 3).await, 0);
    assert_eq!(allocations(Nearest::new(), 3).await, 0);
    assert_eq!(allocations(Rendezvous::new(), 3).await, 0);
    assert_eq!(allocations(Sticky::new(LeastInFlight::new()), 3).await, 0);
    assert_eq!(allocations(Sticky::new(Random::new()), 1000).await, 0);
}

#[tokio::test]
async fn to_be_observed_allocates_nothing() {
    /// Counts decisions.
    struct Count(Arc<AtomicU64>);

    impl Observer for Count {
        fn decided(&self, _: &Decided<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    let decisions = Arc::new(AtomicU64::new(0));
    let observed = settings().observer(Count(Arc::clone(&decisions)));
    assert_eq!(allocations_with(observed, 3).await, 0);
    assert_eq!(decisions.load(Ordering::Relaxed), 2 * 3 * 4);
}

#[cfg(feature = "sql")]
#[test]
fn classifying_allocates_nothing() {
    use dbrouter::{Classification, Classifier, Sql};
    let classifier = Sql::postgres();
    let sql = "select a, count(*) from t where b = $1 and c like 'x%' group by a";
    let inspected = || assert_eq!(classifier.inspect(sql).classification, Classification::READ);
    let classified = || assert_eq!(classifier.classify(sql), Classification::READ);
    // The word lists are read, and the text finds its place in the cache.
    inspected();
    (0..1000).for_each(|_| classified());
    assert_eq!(allocation_counter::measure(inspected).count_total, 0);
    assert_eq!(allocation_counter::measure(classified).count_total, 0);
}

#[test]
fn the_counter_counts() {
    let count = allocation_counter::measure(|| drop(Box::new(1)));
    assert_eq!(count.count_total, 1);
}
