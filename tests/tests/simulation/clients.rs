//! Clients of two processes: each reads and writes in one session after the other, and records what it saw.

use std::time::Duration;

use dbrouter::{Cluster, Intent, Preference, Terms};
use dbrouter_tests::history::{
    Handover, Key, Operation, Outcome, Served, SessionId, Told, Version,
};
use fastrand::Rng;
use tokio::time;

use crate::pool::{Failure, Pool};
use crate::run::is_traced;
use crate::world::{PROCESSES, World};

/// When a client gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

pub(crate) struct Client {
    world: World,
    processes: [Cluster<Pool>; PROCESSES],
    random: Rng,
    process: usize,
    terms: Terms<Pool>,
    session: SessionId,
    /// Numbers that no other client uses.
    next: u64,
}

/// What has been handed over from session to session.
pub(crate) type Handovers = Vec<Handover>;

impl Client {
    pub(crate) fn new(
        world: &World,
        processes: &[Cluster<Pool>; PROCESSES],
        number: u64,
        seed: u64,
    ) -> Self {
        let random = Rng::with_seed(seed);
        let process = number as usize % PROCESSES;
        let first = number << 32;
        Self {
            world: world.clone(),
            processes: processes.clone(),
            random,
            process,
            terms: Terms::new(&processes[process]).session(),
            session: SessionId(first),
            next: first + 1,
        }
    }

    /// Works until it is told to stop.
    pub(crate) async fn run(mut self, until: time::Instant) -> Handovers {
        let mut handovers = Vec::new();
        let pause = self.random.u64(2..30);
        while time::Instant::now() < until {
            match self.random.u8(..100) {
                0..25 => self.write().await,
                25..90 => self.read().await,
                90..93 => self.begin(),
                _ => handovers.extend(self.hand_over().await),
            }
            let pause = self.random.u64(0..pause);
            if pause > 0 {
                time::sleep(Duration::from_millis(pause)).await;
            }
        }
        handovers
    }

    /// A session that knows nothing.
    fn begin(&mut self) {
        self.session = SessionId(self.next);
        self.next += 1;
        self.terms = Terms::new(&self.processes[self.process]).session();
    }

    /// A session, maybe in the other process, that goes on where this one is.
    async fn hand_over(&mut self) -> Option<Handover> {
        let (from, taken) = (self.session, self.world.now());
        let (token, tells) = match self.random.bool() {
            true => (self.terms.token().await, Told::Writes),
            false => (self.terms.token_with_reads().await, Told::WritesAndReads),
        };
        let process = self.random.usize(..PROCESSES);
        if self.world.tokens_travel() {
            self.process = process;
        }
        self.begin();
        self.terms.observe(&token?.to_string().parse().unwrap());
        Some(Handover {
            from,
            taken,
            to: self.session,
            given: self.world.now(),
            tells,
        })
    }

    fn key(&mut self) -> Key {
        Key(self.random.u64(..self.world.shape().keys))
    }

    async fn read(&mut self) {
        let key = self.key();
        let preference = match self.random.u8(..10) {
            0 => Preference::Nearest,
            1 => Preference::PrimaryPreferred,
            _ => Preference::ReplicaPreferred,
        };
        let mut terms = self
            .terms
            .read()
            .preference(preference)
            .key(key.0.to_le_bytes());
        if self.random.u8(..10) == 0 {
            terms = terms.wait_for_fresh(Duration::from_millis(self.random.u64(1..100)));
        }
        let begin = self.world.now();
        let running = terms
            .work()
            .run("", |connection, _| Box::pin(connection.read(key)));
        let outcome = time::timeout(PATIENCE, running).await;
        let outcome = outcome.ok().and_then(Result::ok);
        if let Some((_, route)) = outcome.as_ref().filter(|_| is_traced()) {
            println!("process {}: {:?}", self.process, route.decision());
        }
        let outcome = outcome.map(|(seen, _route)| seen);
        let served = outcome.map(|(_, served)| served);
        let outcome = outcome.map_or(Outcome::ReadFailed, |(version, _)| Outcome::Saw(version));
        self.record(None, key, begin, served, outcome);
    }

    async fn write(&mut self) {
        let key = self.key();
        let begin = self.world.now();
        let number = self.reserve(key, begin);
        let router = &self.processes[self.process];
        let world = &self.world;
        let running = self.terms.write().work().run("", |connection, intent| {
            debug_assert_eq!(intent, Intent::Write);
            world.sends_write(number, connection.server(), router.primary().name());
            Box::pin(connection.write(key, number))
        });
        let outcome: Result<(Version, Served), Failure> =
            match time::timeout(PATIENCE, running).await {
                Ok(Ok((written, _route))) => Ok(written),
                Ok(Err(failure)) => Err(failure),
                Err(_) => Err(Failure::Broken),
            };
        let served = outcome.ok().map(|(_, served)| served);
        let outcome = match outcome {
            Ok((version, _)) => Outcome::Wrote(version),
            Err(Failure::Broken) => Outcome::WriteUnknown,
            Err(_) => Outcome::WriteRefused,
        };
        self.record(Some(number), key, begin, served, outcome);
    }

    /// A write's number must be known before it is carried out.
    fn reserve(&self, key: Key, begin: Duration) -> usize {
        let mut state = self.world.state();
        state.operations.push(Operation {
            session: self.session,
            key,
            begin,
            end: begin,
            served: None,
            outcome: Outcome::WriteUnknown,
        });
        state.operations.len() - 1
    }

    fn record(
        &self,
        number: Option<usize>,
        key: Key,
        begin: Duration,
        served: Option<Served>,
        outcome: Outcome,
    ) {
        let operation = Operation {
            session: self.session,
            key,
            begin,
            end: self.world.now(),
            served,
            outcome,
        };
        if is_traced() {
            println!(
                "{:?}, process {}: {operation:?}",
                operation.end, self.process
            );
        }
        let mut state = self.world.state();
        match number {
            Some(number) => state.operations[number] = operation,
            None => state.operations.push(operation),
        }
    }
}
