//! What each policy promises of its picks, over candidates of any number, name and weight.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use dbrouter::policy::{
    LeastInFlight, Nearest, PeakEwma, Policy, PowerOfTwo, Random, Rendezvous, RoundRobin, Sticky,
    WeightedRandom, WeightedRoundRobin,
};
use dbrouter::{
    Candidate, Candidates, ManualClock, NodeSpec, Reason, Request, Router, SessionState, Settings,
};
use proptest::prelude::*;

use crate::world::World;

/// A router whose nodes are replicas of these weights.
fn world(policy: impl Policy, weights: &[u32]) -> World {
    let specs = weights.iter().map(|weight| NodeSpec::new().weight(*weight));
    let settings = Settings::new().clock(ManualClock::new()).policy(policy);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(World::with(settings, specs.collect()))
}

#[test]
fn idle_candidates_get_their_weights_of_those_that_draw_two() {
    let weights = [1, 2, 3, 2];
    let policies: [Arc<dyn Policy>; 3] = [
        Arc::new(PowerOfTwo::seeded(3)),
        Arc::new(PeakEwma::seeded(4)),
        Arc::new(Nearest::new().seeded(5)),
    ];
    for policy in policies {
        let counts = counts(&picks(policy, &weights, 10_000, read), weights.len());
        let statistic = chi_squared(&counts, &weights);
        assert!(statistic <= CRITICAL[weights.len() - 1], "{counts:?}");
    }
}

/// What `policy` picks, so many times in a row, for requests `about` something.
fn picks(
    policy: impl Policy,
    weights: &[u32],
    times: usize,
    about: impl Fn(usize) -> Request + Send + Sync + 'static,
) -> Vec<usize> {
    let picked = Arc::new(Mutex::new(Vec::new()));
    let all = Arc::clone(&picked);
    let world = world(
        move |candidates: Candidates<'_>, _: &Request| {
            let pick = |time| policy.pick(candidates, &about(time)).unwrap();
            all.lock().unwrap().extend((0..times).map(pick));
            Some(0)
        },
        weights,
    );
    let root = world.db.current_session();
    drop(world.db.route(&Request::read(), &root).unwrap());
    picked.lock().unwrap().clone()
}

fn read(_: usize) -> Request {
    Request::read()
}

fn keyed(key: usize) -> Request {
    Request::read().key(key.to_le_bytes())
}

fn counts(picks: &[usize], candidates: usize) -> Vec<usize> {
    let count = |candidate| picks.iter().filter(|pick| **pick == candidate).count();
    (0..candidates).map(count).collect()
}

/// Pearson's statistic of `counts` against shares in proportion to `weights`.
fn chi_squared(counts: &[usize], weights: &[u32]) -> f64 {
    let all = counts.iter().sum::<usize>() as f64;
    let total = f64::from(weights.iter().sum::<u32>());
    let terms = counts.iter().zip(weights).map(|(count, weight)| {
        let expected = all * f64::from(*weight) / total;
        (*count as f64 - expected).powi(2) / expected
    });
    terms.sum()
}

/// What the statistic exceeds with probability 0.001 if the shares are right, by degrees of freedom.
const CRITICAL: [f64; 8] = [0.0, 10.83, 13.82, 16.27, 18.47, 20.52, 22.46, 24.32];

fn weights() -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::vec(1_u32..=9, 1..=7)
}

#[test]
fn random_gives_all_candidates_equal_chances() {
    for count in 1..=8 {
        let weights: Vec<u32> = (1..=count).collect();
        let picks = picks(Random::seeded(7), &weights, 10_000, read);
        let counts = counts(&picks, weights.len());
        let statistic = chi_squared(&counts, &vec![1; weights.len()]);
        assert!(statistic <= CRITICAL[weights.len() - 1], "{counts:?}");
    }
}

#[test]
fn weighted_random_gives_chances_in_proportion_to_the_weights() {
    for weights in [vec![1], vec![1, 9], vec![3, 1, 2], vec![5, 5, 1, 1, 8]] {
        let picks = picks(WeightedRandom::seeded(7), &weights, 10_000, read);
        let counts = counts(&picks, weights.len());
        let statistic = chi_squared(&counts, &weights);
        assert!(
            statistic <= CRITICAL[weights.len() - 1],
            "{weights:?} {counts:?}"
        );
    }
}

#[test]
fn a_seed_is_a_sequence() {
    let sequence = |seed| picks(Random::seeded(seed), &[1, 1, 1], 50, read);
    assert_eq!(sequence(1), sequence(1));
    assert_ne!(sequence(1), sequence(2));
}

/// The longest wait of each candidate, in picks, from one of its turns to the next.
fn longest_waits(picks: &[usize], candidates: usize) -> Vec<usize> {
    let turns = |candidate| {
        let at = picks.iter().enumerate();
        at.filter(move |(_, pick)| **pick == candidate)
            .map(|(at, _)| at)
            .collect::<Vec<_>>()
    };
    let waits = |turns: Vec<usize>| turns.windows(2).map(|two| two[1] - two[0]).max();
    (0..candidates)
        .map(|candidate| waits(turns(candidate)).unwrap_or(1))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn round_robin_is_fair_to_one_pick(weights in weights(), times in 1_usize..100) {
        let counts = counts(&picks(RoundRobin::new(), &weights, times, read), weights.len());
        let (least, most) = (counts.iter().min(), counts.iter().max());
        prop_assert!(most.unwrap() - least.unwrap() <= 1, "{counts:?}");
    }

    #[test]
    fn weighted_round_robin_gives_each_its_weight_in_any_window(weights in weights()) {
        let total: usize = weights.iter().sum::<u32>() as usize;
        let picks = picks(WeightedRoundRobin::new(), &weights, 3 * total, read);
        let exact: Vec<_> = weights.iter().map(|weight| *weight as usize).collect();
        for window in picks.windows(total) {
            prop_assert_eq!(counts(window, weights.len()), exact.clone());
        }
    }

    /// With an even spread a candidate of weight `w` would wait `W / w` picks.
    #[test]
    fn weighted_round_robin_interleaves(weights in weights()) {
        let total = weights.iter().sum::<u32>() as usize;
        let picks = picks(WeightedRoundRobin::new(), &weights, 3 * total, read);
        let waits = longest_waits(&picks, weights.len());
        for (weight, wait) in weights.iter().zip(waits) {
            let even = total as f64 / f64::from(*weight);
            prop_assert!(wait as f64 <= 3.0 * even, "{weights:?}: {wait} instead of {even}");
        }
    }

    #[test]
    fn every_policy_stays_in_range_and_picks_no_weight_of_zero(
        weights in proptest::collection::vec(prop_oneof![Just(0), 1..4_u32, Just(u32::MAX)], 0..12),
        keys in proptest::collection::vec(any::<u64>(), 20),
    ) {
        let mut weights = weights;
        weights.push(1);
        let policies: [Arc<dyn Policy>; 10] = [
            Arc::new(Random::new()),
            Arc::new(WeightedRandom::new()),
            Arc::new(RoundRobin::new()),
            Arc::new(WeightedRoundRobin::new()),
            Arc::new(LeastInFlight::new()),
            Arc::new(PowerOfTwo::new()),
            Arc::new(PeakEwma::new()),
            Arc::new(Nearest::new()),
            Arc::new(Rendezvous::new()),
            Arc::new(Sticky::new(LeastInFlight::new())),
        ];
        for policy in policies {
            let world = world(policy, &weights);
            let sessions = [world.db.current_session(), world.db.session()];
            for key in &keys {
                for request in [Request::read(), Request::read().key(key.to_le_bytes())] {
                    for session in &sessions {
                        let route = world.db.route(&request, session).unwrap();
                        let name = route.node().name();
                        let index = name.strip_prefix("replica-").unwrap();
                        let weight = weights[index.parse::<usize>().unwrap() - 1];
                        prop_assert!(weight > 0, "{name}");
                    }
                }
            }
            prop_assert_eq!(world.db.status().policy_out_of_range, 0);
        }
    }

    #[test]
    fn least_in_flight_picks_a_least_loaded_one(
        weights in weights(),
        work in proptest::collection::vec(0_usize..7, 0..40),
    ) {
        fn load(candidate: &Candidate<'_>) -> (u64, u64) {
            (candidate.in_flight().into(), candidate.weight().into())
        }
        let policy = LeastInFlight::new();
        let ok = Arc::new(AtomicBool::new(true));
        let all_ok = Arc::clone(&ok);
        let world = world(
            move |candidates: Candidates<'_>, request: &Request| {
                let picked = policy.pick(candidates, request)?;
                let (mine, weight) = load(&candidates.at(picked)?);
                let least = candidates.iter().all(|candidate| {
                    let (theirs, their_weight) = load(&candidate);
                    mine * their_weight <= theirs * weight
                });
                all_ok.fetch_and(least, Ordering::Relaxed);
                Some(picked)
            },
            &weights,
        );
        let root = world.db.current_session();
        let mut under_way = Vec::new();
        for ends in work {
            under_way.push(world.db.route(&Request::read(), &root).unwrap());
            if ends < under_way.len() {
                drop(under_way.swap_remove(ends));
            }
        }
        prop_assert!(ok.load(Ordering::Relaxed));
    }

    /// Of two there is nothing to draw.
    #[test]
    fn power_of_two_picks_the_less_loaded_of_two(
        weights in (1_u32..=9, 1_u32..=9),
        work in proptest::collection::vec(0_usize..2, 0..40),
        seed in any::<u64>(),
    ) {
        let policy = PowerOfTwo::seeded(seed);
        let ok = Arc::new(AtomicBool::new(true));
        let all_ok = Arc::clone(&ok);
        let weights = [weights.0, weights.1];
        let world = world(
            move |candidates: Candidates<'_>, request: &Request| {
                let load = |index| {
                    let candidate: Candidate<'_> = candidates.at(index).unwrap();
                    f64::from(candidate.in_flight()) / f64::from(candidate.weight())
                };
                let picked = policy.pick(candidates, request)?;
                all_ok.fetch_and(load(picked) <= load(1 - picked), Ordering::Relaxed);
                Some(picked)
            },
            &weights,
        );
        let root = world.db.current_session();
        let mut under_way = Vec::new();
        for ends in work {
            under_way.push(world.db.route(&Request::read(), &root).unwrap());
            if ends < under_way.len() {
                drop(under_way.swap_remove(ends));
            }
        }
        prop_assert!(ok.load(Ordering::Relaxed));
    }

    #[test]
    fn idle_candidates_take_turns_by_weight(weights in weights()) {
        let total = weights.iter().sum::<u32>() as usize;
        let picks = picks(LeastInFlight::new(), &weights, 2 * total, read);
        let exact: Vec<_> = weights.iter().map(|weight| 2 * *weight as usize).collect();
        prop_assert_eq!(counts(&picks, weights.len()), exact);
    }

    #[test]
    fn rendezvous_moves_only_the_keys_of_a_node_that_leaves_or_to_one_that_joins(weights in weights()) {
        let mut more = weights.clone();
        more.push(3);
        let before = picks(Rendezvous::new(), &weights, 300, keyed);
        let after = picks(Rendezvous::new(), &more, 300, keyed);
        for (before, after) in before.iter().zip(&after) {
            prop_assert!(after == before || *after == weights.len());
        }
    }
}

/// Work that begins and ends in a constant rhythm, as much of it under way all the time.
#[test]
fn least_in_flight_leaves_no_node_out_whatever_the_rhythm() {
    for under_way in [1, 7, 19, 20, 21, 40, 50] {
        let world = world(LeastInFlight::new(), &[1; 20]);
        let root = world.db.current_session();
        let mut routes = std::collections::VecDeque::new();
        let mut picked = std::collections::HashMap::new();
        for _ in 0..4000 {
            let route = world.db.route(&Request::read(), &root).unwrap();
            *picked.entry(route.node().id()).or_insert(0) += 1;
            routes.push_back(route);
            if routes.len() > under_way {
                routes.pop_front();
            }
        }
        let (least, most) = (picked.values().min(), picked.values().max());
        let shares = picked.len() == 20 && least >= Some(&100) && most <= Some(&300);
        assert!(shares, "{under_way} under way: {picked:?}");
    }
}

#[test]
fn weighted_round_robin_copes_with_the_largest_weights() {
    let weights = [u32::MAX; 7];
    let counts = counts(&picks(WeightedRoundRobin::new(), &weights, 7000, read), 7);
    assert!(
        counts.iter().all(|count| (990..=1010).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn equal_weights_alternate_whatever_they_are() {
    for weight in [1, 2, 3, 100] {
        let picks = picks(WeightedRoundRobin::new(), &[weight; 2], 400, read);
        let longest = longest_waits(&picks, 2);
        assert_eq!(longest, [2, 2], "{weight}");
    }
}

#[test]
fn rendezvous_gives_keys_in_proportion_to_the_weights() {
    for weights in [vec![1, 1, 1], vec![1, 2, 3, 4]] {
        let picks = picks(Rendezvous::new(), &weights, 10_000, keyed);
        let counts = counts(&picks, weights.len());
        let statistic = chi_squared(&counts, &weights);
        assert!(
            statistic <= CRITICAL[weights.len() - 1],
            "{weights:?} {counts:?}"
        );
    }
}

/// Keys are shared between processes, which may run different releases.
#[test]
fn rendezvous_sends_these_keys_there_for_ever() {
    let picks = picks(Rendezvous::new(), &[1, 2, 3], 20, keyed);
    assert_eq!(picks, PINNED);
    assert_eq!(
        Request::read().key("customer 42").key_hash(),
        Some(PINNED_KEY)
    );
}

const PINNED: [usize; 20] = [1, 1, 2, 1, 0, 1, 1, 2, 0, 2, 2, 0, 0, 2, 1, 1, 2, 2, 2, 1];
const PINNED_KEY: u64 = 17_530_727_361_560_800_482;

#[test]
fn rendezvous_without_a_key_keeps_a_sessions_replica_and_spreads_the_root() {
    let world = world(Rendezvous::new(), &[1; 5]);
    let nodes_of = |session: &SessionState| {
        let reads = (0..40).map(|_| world.read(session).0);
        reads.collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(nodes_of(&world.db.session()), 1);
    assert_eq!(nodes_of(&world.db.current_session()), 5);
}

#[test]
fn rendezvous_returns_a_key_to_a_node_that_comes_back() {
    let world = world(Rendezvous::new(), &[1; 4]);
    let key = Request::read().key("customer 42");
    let root = world.db.current_session();
    let (home, _) = world.went(&key, &root);
    world.db.disable(&home).unwrap();
    assert_ne!(world.went(&key, &root).0, home);
    world.db.enable(&home).unwrap();
    assert_eq!(world.went(&key, &root).0, home);
}

#[test]
fn sticky_stays_and_moves_on_for_good_when_its_replica_is_no_candidate() {
    let world = world(Sticky::new(RoundRobin::new()), &[1; 3]);
    let session = world.db.session();
    let (home, reason) = world.read(&session);
    assert_eq!(reason, Reason::Policy);
    for _ in 0..5 {
        assert_eq!(world.read(&session), (home.clone(), Reason::Sticky));
    }
    world.db.disable(&home).unwrap();
    // The other replicas must first show what this one has shown: an eventual read need not wait.
    let eventual = Request::read().consistency(dbrouter::Consistency::Eventual);
    let (other, reason) = world.went(&eventual, &session);
    assert!(other != home && reason == Reason::Policy);
    world.db.enable(&home).unwrap();
    for _ in 0..5 {
        assert_eq!(
            world.went(&eventual, &session),
            (other.clone(), Reason::Sticky)
        );
    }
}

#[test]
fn sticky_sessions_are_spread_over_the_replicas() {
    let world = world(Sticky::new(RoundRobin::new()), &[1; 3]);
    let homes: Vec<_> = (0..6).map(|_| world.read(&world.db.session()).0).collect();
    assert_eq!(homes[..3], homes[3..]);
    assert_ne!(homes[0], homes[1]);
}

#[test]
fn concurrent_first_reads_of_a_session_land_on_one_replica() {
    let world = world(Sticky::new(RoundRobin::new()), &[1; 8]);
    for _ in 0..200 {
        let session = world.db.session();
        let start = Barrier::new(4);
        let nodes: Vec<_> = thread::scope(|scope| {
            let readers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        let route = world.db.route(&Request::read(), &session).unwrap();
                        start.wait();
                        route.node().name().to_string()
                    })
                })
                .collect();
            readers
                .into_iter()
                .map(|reader| reader.join().unwrap())
                .collect()
        });
        assert!(nodes.iter().all(|node| *node == nodes[0]), "{nodes:?}");
    }
}

#[test]
fn a_policy_sees_what_it_needs_of_a_candidate() {
    let specs = vec![NodeSpec::new().name("eu").weight(3).tag("zone", "a")];
    let policy = |candidates: Candidates<'_>, _: &Request| {
        let only = candidates.at(0).unwrap();
        assert_eq!(
            (only.name(), only.weight(), only.tags().value("zone")),
            ("eu", 3, Some("a"))
        );
        assert!(candidates.at(1).is_none() && !candidates.is_empty());
        assert_eq!(candidates.adopt(7), 7, "an index that nobody has");
        Some(0)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let world = runtime.block_on(World::with(crate::world::settings().policy(policy), specs));
    assert_eq!(world.read(&world.db.session()).0, "eu");
}
