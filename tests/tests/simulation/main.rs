//! The engine in virtual time: worlds of chance, one per seed, in which servers lag, freeze, crash and are replaced, and
//! clients record what they see of that. The checker says whether the router kept its promises.
//!
//! `DBROUTER_SIM_SEEDS` says how many seeds are run (80 if it does not), `DBROUTER_SIM_FIRST` which is the
//! first, and `DBROUTER_SIM_SEED` replays one. `DBROUTER_SIM_KINDS` says which [kinds](kinds::Kind) of worlds a seed may
//! draw beside what all worlds have: names with commas, `none` or `all`. `DBROUTER_SIM_TRACE=1`
//! prints what the routers tell meanwhile. `DBROUTER_SIM_FIGURES=1` prints how evenly the policies spread reads,
//! and how soon the router follows what happens, instead.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod answers;
mod clients;
mod faults;
mod figures;
mod kinds;
mod log;
mod pool;
mod run;
mod world;

use std::env;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use dbrouter_tests::Failure;
use dbrouter_tests::harness::{self, Case};

use crate::kinds::Kinds;
use crate::run::{Broken, Outcomes, run};

/// How many seeds are enough for every day.
const SEEDS: u64 = 80;

fn main() -> ExitCode {
    if setting("DBROUTER_SIM_FIGURES").is_some() {
        figures::print();
        return ExitCode::SUCCESS;
    }
    let hour = Duration::from_secs(3600);
    harness::run([
        Case::new(
            "simulation::no_seed_breaks_a_promise",
            no_seed_breaks_a_promise,
        )
        .within(hour),
        Case::new(
            "simulation::a_seed_decides_everything",
            a_seed_decides_everything,
        ),
    ])
}

fn setting(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

/// Whatever happens to the servers, no promise is broken.
async fn no_seed_breaks_a_promise() -> dbrouter_tests::Result<()> {
    let only = setting("DBROUTER_SIM_SEED");
    let first = only.or_else(|| setting("DBROUTER_SIM_FIRST")).unwrap_or(0);
    let count = match only {
        Some(_) => 1,
        None => setting("DBROUTER_SIM_SEEDS").unwrap_or(SEEDS),
    };
    let (total, broken) = seeds(first, count, Kinds::switched_on()?);
    println!(
        "{count} seeds: {} operations, {} reads on replicas, {} reads and {} writes failed, the slowest took {:?} and {:?}",
        total.operations,
        total.on_replicas,
        total.failed_reads,
        total.failed_writes,
        total.slowest_read,
        total.slowest_write,
    );
    for broken in broken.iter().take(5) {
        println!("{broken}");
    }
    for broken in &broken {
        println!("{}", broken.summary());
    }
    if !broken.is_empty() {
        let seeds: Vec<_> = broken.iter().map(|broken| broken.seed).collect();
        return Err(
            Failure::new(format!("{} seeds break a promise: {seeds:?}", seeds.len())).into(),
        );
    }
    // A world in which nothing goes wrong would prove nothing.
    if only.is_none() && count >= SEEDS {
        assert!(total.on_replicas > 100 * count && total.failed_writes > 0);
    }
    Ok(())
}

/// Runs seeds on all processors.
fn seeds(first: u64, count: u64, kinds: Kinds) -> (Outcomes, Vec<Broken>) {
    let next = AtomicU64::new(first);
    let all = Mutex::new((Outcomes::default(), Vec::new()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        break;
                    }
                    let outcome = run(seed, kinds);
                    let mut all = all.lock().unwrap();
                    match outcome {
                        Ok(outcomes) => all.0.add(&outcomes),
                        Err(broken) => all.1.push(*broken),
                    }
                }
            });
        }
    });
    let (total, mut broken) = all.into_inner().unwrap();
    broken.sort_by_key(|broken| broken.seed);
    (total, broken)
}

impl Outcomes {
    fn add(&mut self, other: &Self) {
        self.operations += other.operations;
        self.on_replicas += other.on_replicas;
        self.failed_reads += other.failed_reads;
        self.failed_writes += other.failed_writes;
        self.slowest_read = self.slowest_read.max(other.slowest_read);
        self.slowest_write = self.slowest_write.max(other.slowest_write);
    }
}

/// A seed that is replayed does again what it did.
async fn a_seed_decides_everything() -> dbrouter_tests::Result<()> {
    let kinds = Kinds::switched_on()?;
    // Not on this thread, which has a runtime already.
    let digests = || {
        let digest = move |seed| run(seed, kinds).map(|outcomes| outcomes.digest).ok();
        thread::spawn(move || (0..20).map(digest).collect::<Vec<_>>()).join()
    };
    let [once, again] = [digests(), digests()].map(Result::unwrap);
    assert_eq!(once, again);
    assert_ne!(once[0], once[1]);
    Ok(())
}
