//! One seed: a world, its routers, its clients, what befalls it, and what is to be said of all that.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dbrouter::policy::{
    LeastInFlight, Nearest, PeakEwma, Policy, PowerOfTwo, Random, Rendezvous, RoundRobin, Sticky,
    WeightedRandom, WeightedRoundRobin,
};
use dbrouter::{
    Access, Candidates, Clock, Cluster, Dialect, Instant, MonitorSettings, NodeSpec, Request, Role,
    Settings,
};
use dbrouter_tests::history::{Limits, Operation, Outcome, Role as Seen, Violation, Visibility};
use fastrand::Rng;
use tokio::{runtime, time};

use crate::clients::{Client, PATIENCE};
use crate::faults::{self, Schedule};
use crate::pool::Pool;
use crate::world::{SETTLE, Shape, World};

/// Shows Tokio's virtual time. It may stand still between two looks, as coarse clocks do, or tick at each.
#[derive(Debug)]
pub(crate) struct VirtualClock {
    begun: time::Instant,
    ticks: AtomicU64,
    tick: u64,
}

impl VirtualClock {
    pub(crate) fn new(tick: u64) -> Self {
        Self {
            begun: time::Instant::now(),
            ticks: AtomicU64::new(0),
            tick,
        }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        let ticks = self.ticks.fetch_add(self.tick, Ordering::Relaxed);
        Instant::ORIGIN
            + Duration::from_secs(1)
            + self.begun.elapsed()
            + Duration::from_nanos(ticks)
    }
}

/// A policy on the heap.
pub(crate) struct Boxed(Box<dyn Policy>);

impl Policy for Boxed {
    fn pick(&self, candidates: Candidates<'_>, request: &Request) -> Option<usize> {
        self.0.pick(candidates, request)
    }
}

/// All policies, by their names.
pub(crate) const POLICIES: [&str; 9] = [
    "LeastInFlight",
    "Random",
    "RoundRobin",
    "PowerOfTwo",
    "PeakEwma",
    "Nearest",
    "Rendezvous",
    "WeightedRandom",
    "WeightedRoundRobin",
];

/// A policy of that name, alone or under `Sticky`.
pub(crate) fn policy(name: &str, sticky: bool, seed: u64) -> Boxed {
    fn boxed<P: Policy>(policy: P, sticky: bool) -> Boxed {
        match sticky {
            true => Boxed(Box::new(Sticky::new(policy))),
            false => Boxed(Box::new(policy)),
        }
    }
    match name {
        "LeastInFlight" => boxed(LeastInFlight::new(), sticky),
        "Random" => boxed(Random::seeded(seed), sticky),
        "RoundRobin" => boxed(RoundRobin::new(), sticky),
        "PowerOfTwo" => boxed(PowerOfTwo::seeded(seed), sticky),
        "PeakEwma" => boxed(PeakEwma::seeded(seed), sticky),
        "Nearest" => boxed(Nearest::new().seeded(seed), sticky),
        "Rendezvous" => boxed(Rendezvous::new(), sticky),
        "WeightedRandom" => boxed(WeightedRandom::seeded(seed), sticky),
        _ => boxed(WeightedRoundRobin::new(), sticky),
    }
}

/// What a seed decides before anything happens.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) shape: Shape,
    pub(crate) clients: usize,
    pub(crate) policy: &'static str,
    pub(crate) sticky: bool,
    /// Nanoseconds by which the routers' clocks tick at each look.
    pub(crate) tick: u64,
    pub(crate) wait_for_primary: u64,
    pub(crate) schedule: Schedule,
}

impl Plan {
    pub(crate) fn of(random: &mut Rng) -> Self {
        let replicas = match random.u16(..1000) {
            0..4 => random.usize(100..200),
            4..40 => random.usize(10..30),
            _ => random.usize(1..6),
        };
        let shape = Shape {
            replicas,
            keys: random.u64(1..4),
            flush: if random.bool() { 0 } else { random.u64(1..200) },
            waits: random.u8(..4) == 0,
        };
        let faults = random.usize(1..12);
        Self {
            shape,
            clients: random.usize(2..8),
            policy: POLICIES[random.usize(..POLICIES.len())],
            sticky: random.bool(),
            tick: if random.bool() { 0 } else { 300 },
            wait_for_primary: if random.bool() { 0 } else { 400 },
            schedule: faults::schedule(random, replicas + 1, faults),
        }
    }
}

/// What came of a seed.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    pub(crate) operations: u64,
    pub(crate) on_replicas: u64,
    pub(crate) failed_reads: u64,
    pub(crate) failed_writes: u64,
    pub(crate) slowest_read: Duration,
    pub(crate) slowest_write: Duration,
    /// Of all that was recorded: two runs of one seed have the same.
    pub(crate) digest: u64,
}

/// A seed that breaks a rule.
#[derive(Debug)]
pub(crate) struct Broken {
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    pub(crate) violations: Vec<Violation>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            plan,
            violations,
        } = self;
        writeln!(f, "seed {seed} (replay it with DBROUTER_SIM_SEED={seed})")?;
        writeln!(
            f,
            "{:?}, {} clients, {}{}, tick {}, wait for primary {} ms",
            plan.shape,
            plan.clients,
            if plan.sticky { "sticky " } else { "" },
            plan.policy,
            plan.tick,
            plan.wait_for_primary,
        )?;
        let mut at = 0;
        for (pause, fault) in &plan.schedule {
            at += pause;
            writeln!(f, "  {at} ms: {fault:?}")?;
        }
        writeln!(f, "{} violations, the first of them:", violations.len())?;
        for violation in violations.iter().take(3) {
            writeln!(f, "{violation}")?;
        }
        Ok(())
    }
}

/// Runs a seed in a world of its own, in virtual time.
pub(crate) fn run(seed: u64) -> Result<Outcomes, Box<Broken>> {
    let mut random = Rng::with_seed(seed);
    // The engine leaves recovering nodes out by the thread's generator.
    fastrand::seed(seed);
    let plan = Plan::of(&mut random);
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (violations, outcomes) = runtime.block_on(live(&plan, random));
    match violations.is_empty() {
        true => Ok(outcomes),
        false => Err(Box::new(Broken {
            seed,
            plan,
            violations,
        })),
    }
}

async fn live(plan: &Plan, mut random: Rng) -> (Vec<Violation>, Outcomes) {
    let world = World::new(plan.shape, random.fork());
    let settings = |seed| {
        let monitor = MonitorSettings::new().timeout(Duration::from_millis(500));
        Settings::new()
            .clock(VirtualClock::new(plan.tick))
            .policy(policy(plan.policy, plan.sticky, seed))
            .monitor(monitor)
            .wait_for_primary(Duration::from_millis(plan.wait_for_primary))
    };
    let seeds = [random.u64(..), random.u64(..)];
    let processes = [
        router(&world, 0, settings(seeds[0])).await,
        router(&world, 1, settings(seeds[1])).await,
    ];
    let lasts: u64 = plan.schedule.iter().map(|(pause, _)| pause).sum();
    let until = time::Instant::now() + Duration::from_millis(lasts + 1500);
    let clients: Vec<_> = (0..plan.clients)
        .map(|number| {
            let client = Client::new(&world, &processes, number as u64, random.u64(..));
            tokio::spawn(client.run(until))
        })
        .collect();
    faults::run(&world, &plan.schedule).await;
    let mut handovers = Vec::new();
    for client in clients {
        handovers.extend(client.await.unwrap());
    }
    // Whatever has been sent has been carried out by then.
    time::sleep(SETTLE).await;
    let mut history = world.history();
    for handover in handovers {
        history.handed_over(handover);
    }
    let limits = Limits {
        // Two servers in a row that do not answer, each until the monitor's question is over.
        read: Duration::from_millis(1300),
        write: Duration::from_millis(100),
        patience: PATIENCE + Duration::from_millis(1),
        settle: SETTLE,
        visibility: Visibility::PrimaryFirst,
    };
    let outcomes = outcomes(history.operations());
    (history.check(&limits), outcomes)
}

/// A process's router.
pub(crate) async fn router(world: &World, process: usize, settings: Settings) -> Cluster<Pool> {
    let access = |server: usize, role: Role| {
        let pool = Pool::new(world, server, process, role);
        Access::reopened_by(pool.clone(), move |role| Some(pool.reopened(role)))
    };
    let mut builder = Cluster::builder(Dialect::Postgres, settings)
        .primary(NodeSpec::new().name("0"), access(0, Role::Primary));
    for replica in 1..=world.shape().replicas {
        let spec = NodeSpec::new().name(replica.to_string());
        builder = builder.replica(spec, access(replica, Role::Replica));
    }
    builder.connect().await.unwrap()
}

fn outcomes(operations: &[Operation]) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for operation in operations {
        let took = operation.end - operation.begin;
        outcomes.operations += 1;
        match operation.outcome {
            Outcome::Saw(_) => {
                let served = operation.served.map(|served| served.role);
                outcomes.on_replicas += u64::from(served == Some(Seen::Replica));
                outcomes.slowest_read = outcomes.slowest_read.max(took);
            }
            Outcome::ReadFailed => outcomes.failed_reads += 1,
            Outcome::Wrote(_) => outcomes.slowest_write = outcomes.slowest_write.max(took),
            Outcome::WriteRefused | Outcome::WriteUnknown => outcomes.failed_writes += 1,
        }
        let text = format!("{operation:?}");
        for byte in text.bytes() {
            // FNV-1a.
            outcomes.digest = (outcomes.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
    outcomes
}
