//! One seed: a world, its routers, its clients, what befalls it, and what is to be said of all that.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dbrouter::observer::{Event, Observer};
use dbrouter::policy::{
    LeastInFlight, Nearest, PeakEwma, Policy, PowerOfTwo, Random, Rendezvous, RoundRobin, Sticky,
    WeightedRandom, WeightedRoundRobin,
};
use dbrouter::{
    Access, Candidates, Clock, Cluster, Instant, MonitorSettings, NodeSpec, Request, Role, Settings,
};
use dbrouter_tests::history::{Limits, Operation, Outcome, Role as Seen, Violation, Visibility};
use fastrand::Rng;
use tokio::{runtime, time};

use crate::clients::{Client, PATIENCE};
use crate::faults::{self, Schedule};
use crate::kinds::{Kind, Kinds};
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
    pub(crate) kinds: Kinds,
    pub(crate) shape: Shape,
    pub(crate) clients: usize,
    pub(crate) policy: &'static str,
    pub(crate) sticky: bool,
    /// Nanoseconds by which the routers' clocks tick at each look.
    pub(crate) tick: u64,
    pub(crate) wait_for_primary: u64,
    pub(crate) schedule: Schedule,
    /// The servers that have a second address.
    pub(crate) second_names: Vec<usize>,
    /// A stranger is among the replicas from the beginning.
    pub(crate) begins_with_stranger: bool,
}

impl Plan {
    /// What the seed decides. Which kinds there are changes nothing else.
    pub(crate) fn of(seed: u64, random: &mut Rng, kinds: Kinds) -> Self {
        let mut plan = Self::narrow(random);
        plan.kinds = kinds;
        plan.widen(seed);
        plan
    }

    fn widen(&mut self, seed: u64) {
        let Self { shape, kinds, .. } = self;
        let random = |kind: Kind| {
            let mut random = kind.random(!seed);
            kinds.has(kind).then(|| random.fork())
        };
        shape.mariadb = kinds.has(Kind::MariaDb);
        if let Some(mut random) = random(Kind::TwoNames) {
            let servers = shape.replicas + 1;
            let names = 0..random.usize(1..=2);
            self.second_names = names.map(|_| random.usize(..servers)).collect();
        }
        if let Some(mut random) = random(Kind::Stranger) {
            shape.strangers = 1;
            self.begins_with_stranger = random.bool();
        }
        if let Some(mut random) = random(Kind::Queues) {
            shape.connections = Some(random.usize(1..4));
        }
        if kinds.has(Kind::Stalls) {
            shape.flush = shape.flush.max(1);
        }
        faults::widen(&mut self.schedule, *kinds, seed, shape, &self.second_names);
    }

    fn narrow(random: &mut Rng) -> Self {
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
            mariadb: false,
            strangers: 0,
            connections: None,
        };
        let faults = random.usize(1..12);
        Self {
            kinds: Kinds::default(),
            shape,
            second_names: Vec::new(),
            begins_with_stranger: false,
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

impl Broken {
    /// One line: which kinds of worlds the seed drew, and how often it breaks which rule.
    pub(crate) fn summary(&self) -> String {
        let mut rules = BTreeMap::new();
        for violation in &self.violations {
            *rules.entry(violation.rule).or_insert(0) += 1;
        }
        format!("seed {}, {:?}: {rules:?}", self.seed, self.plan.kinds)
    }
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
            "{:?}, {:?}, second names of {:?}, {} clients, {}{}, tick {}, wait for primary {} ms",
            plan.kinds,
            plan.shape,
            plan.second_names,
            plan.clients,
            if plan.sticky { "sticky " } else { "" },
            plan.policy,
            plan.tick,
            plan.wait_for_primary,
        )?;
        for (at, fault) in &plan.schedule {
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
pub(crate) fn run(seed: u64, switched_on: Kinds) -> Result<Outcomes, Box<Broken>> {
    let mut random = Rng::with_seed(seed);
    // The engine leaves recovering nodes out by the thread's generator.
    fastrand::seed(seed);
    let plan = Plan::of(seed, &mut random, switched_on.drawn(seed));
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

/// Prints what a router tells, as it happens.
struct Printer {
    world: World,
    process: usize,
}

impl Observer for Printer {
    fn happened(&self, event: &Event) {
        println!(
            "{:?}, process {}: {event:?}",
            self.world.elapsed(),
            self.process
        );
    }

    fn is_prompt(&self) -> bool {
        true
    }
}

async fn live(plan: &Plan, mut random: Rng) -> (Vec<Violation>, Outcomes) {
    let world = World::new(plan.shape, &plan.second_names, random.fork());
    let settings = |process, seed| {
        let monitor = MonitorSettings::new().timeout(Duration::from_millis(500));
        let settings = match is_traced() {
            true => Settings::new().observer(Printer {
                world: world.clone(),
                process,
            }),
            false => Settings::new(),
        };
        settings
            .clock(VirtualClock::new(plan.tick))
            .policy(policy(plan.policy, plan.sticky, seed))
            .monitor(monitor)
            .wait_for_primary(Duration::from_millis(plan.wait_for_primary))
    };
    let seeds = [random.u64(..), random.u64(..)];
    let mut nodes = plan.shape.replicas + 1 + plan.second_names.len();
    if plan.begins_with_stranger {
        nodes += plan.shape.strangers;
    }
    let processes = [
        router(&world, nodes, 0, settings(0, seeds[0])).await,
        router(&world, nodes, 1, settings(1, seeds[1])).await,
    ];
    let lasts = faults::length(&plan.schedule);
    let until = time::Instant::now() + Duration::from_millis(lasts + 1500);
    let clients: Vec<_> = (0..plan.clients)
        .map(|number| {
            let client = Client::new(&world, &processes, number as u64, random.u64(..));
            tokio::spawn(client.run(until))
        })
        .collect();
    faults::run(&world, &processes, &plan.schedule).await;
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
    // In a pool of one connection the statements of all other clients may come first.
    let queue = match plan.shape.connections {
        Some(_) => Duration::from_millis(100 * plan.clients as u64),
        None => Duration::ZERO,
    };
    let limits = Limits {
        // Two servers in a row that do not answer, each until the monitor's question is over.
        read: Duration::from_millis(1300) + queue,
        write: Duration::from_millis(100) + queue,
        patience: PATIENCE + Duration::from_millis(1),
        settle: SETTLE,
        visibility: Visibility::PrimaryFirst,
    };
    let outcomes = outcomes(history.operations());
    let mut violations = history.check(&limits);
    violations.extend(world.violations(&history));
    (violations, outcomes)
}

/// Whether what the routers tell is printed.
pub(crate) fn is_traced() -> bool {
    env::var_os("DBROUTER_SIM_TRACE").is_some()
}

/// A process's router over the first so many addresses.
pub(crate) async fn router(
    world: &World,
    addresses: usize,
    process: usize,
    settings: Settings,
) -> Cluster<Pool> {
    let (spec, access) = node(world, 0, process, Role::Primary);
    let mut builder = Cluster::builder(world.shape().dialect(), settings).primary(spec, access);
    for address in 1..addresses {
        let (spec, access) = node(world, address, process, Role::Replica);
        builder = builder.replica(spec, access);
    }
    builder.connect().await.unwrap()
}

/// The node of an address, which bears its number.
pub(crate) fn node(
    world: &World,
    address: usize,
    process: usize,
    role: Role,
) -> (NodeSpec, Access<Pool>) {
    let pool = Pool::new(world, address, process, role);
    let access = Access::reopened_by(pool.clone(), move |role| Some(pool.reopened(role)));
    (NodeSpec::new().name(address.to_string()), access)
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
