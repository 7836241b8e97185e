//! Servers, what is done to them, and what they make of it. One random sequence decides everything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dbrouter_tests::history::{
    Ability, Execution, History, Key, Operation, Outage, Predecessor, Promotion, Role, Served,
    ServerId, Version,
};
use fastrand::Rng;
use tokio::sync::Notify;
use tokio::time::{self, Instant};

use crate::log::{Log, Place};

/// How many processes have a router over the servers.
pub(crate) const PROCESSES: usize = 2;

/// How long whoever routes has to find out what has happened: some intervals, the limit of a question, and the
/// first ejections.
pub(crate) const SETTLE: Duration = Duration::from_millis(1500);

/// What a world is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) replicas: usize,
    pub(crate) keys: u64,
    /// How long a commit may be unflushed, in milliseconds.
    pub(crate) flush: u64,
    /// Replicas can be told to wait for a position.
    pub(crate) waits: bool,
}

/// All servers, and what is recorded of them. Clones are the same world.
#[derive(Clone, Debug)]
pub(crate) struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shape: Shape,
    begun: Instant,
    state: Mutex<State>,
    /// Something was done to a server.
    changed: Notify,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) random: Rng,
    pub(crate) servers: Vec<Server>,
    pub(crate) log: Log,
    /// The server that was promoted last.
    pub(crate) primary: usize,
    pub(crate) operations: Vec<Operation>,
    executions: Vec<Execution>,
    history: History,
    unable: HashMap<(usize, Ability), Duration>,
    /// Since when the primary can be met, and whether it was for long enough to be known.
    met: Option<Duration>,
    is_known: bool,
    ticks: u64,
}

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) up: bool,
    /// It does nothing, and breaks nothing off.
    pub(crate) frozen: bool,
    /// The same for whoever is not a server.
    pub(crate) cut: bool,
    pub(crate) refuses: bool,
    pub(crate) standby: bool,
    /// Connections to another one are broken.
    pub(crate) incarnation: u64,
    pub(crate) timeline: usize,
    /// How far a standby has replayed.
    pub(crate) replayed: u64,
    pub(crate) streams: bool,
    pub(crate) paused: bool,
    /// Where it is replaying its own log after a crash, until then.
    pub(crate) recovers_until: Duration,
    /// How long a commit takes to a standby, at least and at most, in milliseconds.
    pub(crate) delay: (u64, u64),
    /// How long half of a round trip takes.
    pub(crate) latency: (u64, u64),
    /// The incarnations that connections lead to: the monitors', and those in pools.
    pub(crate) monitors: [u64; PROCESSES],
    pub(crate) idle: [Vec<u64>; PROCESSES],
    /// How often a connection to it was wanted, and when last.
    pub(crate) wanted: u64,
    pub(crate) wanted_last: Duration,
}

impl Server {
    fn reaches_routers(&self) -> bool {
        self.up && !self.frozen && !self.cut && !self.refuses
    }

    pub(crate) fn role(&self) -> Role {
        match self.standby {
            true => Role::Replica,
            false => Role::Primary,
        }
    }
}

impl World {
    /// A primary and its replicas, all well.
    pub(crate) fn new(shape: Shape, mut random: Rng) -> Self {
        let servers = (0..=shape.replicas).map(|index| {
            let delay = random.u64(0..8);
            let latency = random.u64(0..3);
            Server {
                up: true,
                frozen: false,
                cut: false,
                refuses: false,
                standby: index > 0,
                incarnation: 1,
                timeline: 0,
                replayed: 0,
                streams: true,
                paused: false,
                recovers_until: Duration::ZERO,
                delay: (0, delay),
                latency: (0, latency),
                monitors: [1; PROCESSES],
                idle: Default::default(),
                wanted: 0,
                wanted_last: Duration::ZERO,
            }
        });
        let servers = servers.collect();
        let state = State {
            random,
            servers,
            log: Log::new(),
            primary: 0,
            operations: Vec::new(),
            executions: Vec::new(),
            history: History::new(ServerId(0)),
            unable: HashMap::new(),
            met: Some(Duration::ZERO),
            is_known: true,
            ticks: 0,
        };
        Self(Arc::new(Inner {
            shape,
            begun: Instant::now(),
            state: Mutex::new(state),
            changed: Notify::new(),
        }))
    }

    pub(crate) fn shape(&self) -> Shape {
        self.0.shape
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Now, which is later than it was the last time.
    pub(crate) fn now(&self) -> Duration {
        self.tick(&mut self.state())
    }

    /// Now, as the servers see it.
    pub(crate) fn elapsed(&self) -> Duration {
        self.0.begun.elapsed()
    }

    fn tick(&self, state: &mut State) -> Duration {
        state.ticks += 1;
        self.0.begun.elapsed() + Duration::from_nanos(state.ticks)
    }

    /// Waits until the server answers on a connection to this incarnation; `None` is a new connection. `Err` if it
    /// is broken, or there is none to be had.
    pub(crate) async fn reach(&self, server: usize, incarnation: Option<u64>) -> Result<u64, ()> {
        loop {
            let changed = self.0.changed.notified();
            {
                let state = self.state();
                let server = &state.servers[server];
                let broken = incarnation.is_some_and(|known| known != server.incarnation);
                if !server.cut && (!server.up || broken || server.refuses && incarnation.is_none())
                {
                    return Err(());
                }
                if !server.frozen && !server.cut {
                    return Ok(server.incarnation);
                }
            }
            changed.await;
        }
    }

    /// Half a round trip.
    pub(crate) async fn travel(&self, server: usize) {
        let millis = {
            let mut state = self.state();
            let (least, most) = state.servers[server].latency;
            state.random.u64(least..=most)
        };
        if millis > 0 {
            time::sleep(Duration::from_millis(millis)).await;
        }
    }

    /// The place up to which a read on the server sees the log.
    pub(crate) fn place(&self, state: &mut State, index: usize) -> Place {
        let now = self.elapsed();
        let server = &mut state.servers[index];
        let timeline = server.timeline;
        if !server.standby {
            let position = state.log.end(timeline);
            return Place { timeline, position };
        }
        let moves = server.up && !server.frozen && server.streams && !server.paused;
        if moves && now >= server.recovers_until {
            let (least, most) = server.delay;
            let delay = Duration::from_millis(state.random.u64(least..=most));
            if let Some(at) = now.checked_sub(delay) {
                let arrived = state.log.flushed(timeline, at);
                server.replayed = server.replayed.max(arrived);
            }
        }
        let position = server.replayed;
        Place { timeline, position }
    }

    /// Carries out a write; `None` if the server is a standby.
    pub(crate) fn write(&self, server: usize, key: Key, operation: usize) -> Option<Version> {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.servers[server].standby {
            return None;
        }
        let flush = Duration::from_millis(state.random.u64(0..=self.0.shape.flush));
        let at = self.tick(state);
        let timeline = state.servers[server].timeline;
        let flushed = self.elapsed() + flush;
        let version = state.log.write(timeline, key, flushed);
        state.executions.push(Execution {
            operation,
            version,
            served: Served {
                server: ServerId(server as u32),
                role: Role::Primary,
            },
            at,
        });
        Some(version)
    }

    /// Does something to a server, and records who is able to do what after that.
    pub(crate) fn change(&self, change: impl FnOnce(&Self, &mut State)) {
        {
            let mut guard = self.state();
            let state = &mut *guard;
            change(self, state);
            let now = self.tick(state);
            self.record(state, now);
        }
        self.0.changed.notify_waiters();
    }

    fn record(&self, state: &mut State, now: Duration) {
        let timeline = state.servers[state.primary].timeline;
        let primary = &state.servers[state.primary];
        let is_met = primary.reaches_routers() && !primary.standby;
        // A promoted server is only known if it could be met for long enough; then its standbys are, too.
        let was_met = state.met.is_some_and(|since| now - since >= SETTLE);
        state.is_known |= was_met;
        state.met = is_met.then(|| state.met.unwrap_or(now));
        for index in 0..state.servers.len() {
            let server = &state.servers[index];
            let is_primary = index == state.primary;
            let belongs =
                is_primary || server.standby && server.timeline == timeline && state.is_known;
            let serves = server.reaches_routers() && belongs;
            for (ability, has) in [(Ability::Service, serves), (Ability::Proof, is_met)] {
                let key = (index, ability);
                if !has {
                    state.unable.entry(key).or_insert(now);
                } else if let Some(from) = state.unable.remove(&key) {
                    state.history.unable(outage(index, ability, from, now));
                }
            }
        }
    }

    /// All connections to the server are broken. It has not been away, but nobody can tell.
    pub(crate) fn reset(&self, index: usize) {
        self.change(|world, state| {
            state.servers[index].incarnation += 1;
            let now = world.tick(state);
            let later = world.tick(state);
            let service = outage(index, Ability::Service, now, later);
            state.history.unable(service);
            // What runs on the primary at that moment cannot go elsewhere unless it has just been proved.
            let proofs = (0..state.servers.len()).filter(|_| index == state.primary);
            for server in proofs {
                let proof = outage(server, Ability::Proof, now, later);
                state.history.unable(proof);
            }
        });
    }

    /// Whether nothing has been done to the server since it crashed, or was found down.
    pub(crate) fn is_down_since(&self, index: usize, incarnation: u64) -> bool {
        let server = &self.state().servers[index];
        !server.up && server.incarnation == incarnation
    }

    /// The server is gone. Returns its incarnation, by which that crash is known.
    pub(crate) fn crash(&self, index: usize) -> u64 {
        self.change(|world, state| {
            let timeline = state.servers[index].timeline;
            if !state.servers[index].standby {
                // What is on its way to the standbys arrives or not.
                for standby in 0..state.servers.len() {
                    if state.servers[standby].timeline == timeline && standby != index {
                        world.place(state, standby);
                        state.servers[standby].streams = false;
                    }
                }
                let now = world.elapsed();
                if state.log.lose_unflushed(timeline, now) && state.primary == index {
                    // All that was proved is void, as if another one had been promoted.
                    state.is_known = false;
                    state.met = None;
                    let at = world.tick(state);
                    let place = world.place(state, index);
                    let survived = state.log.versions(place, world.0.shape.keys);
                    state.history.promoted(Promotion {
                        at,
                        server: ServerId(index as u32),
                        survived,
                        predecessor: Predecessor::Gone,
                    });
                }
            }
            let server = &mut state.servers[index];
            server.up = false;
            server.frozen = false;
            server.incarnation += 1;
        });
        self.state().servers[index].incarnation
    }

    /// The server is back as what it was. A standby that crashed has an older state than it had shown, for a while.
    pub(crate) fn restart(&self, index: usize) {
        self.change(|world, state| {
            let records = state.random.u64(0..6);
            let recovers = state.random.u64(0..200);
            let now = world.elapsed();
            let timeline = state.servers[index].timeline;
            let is_source = !state.servers[index].standby;
            let has_source = state.has_primary_on(timeline);
            let server = &mut state.servers[index];
            server.up = true;
            server.incarnation += 1;
            if server.standby {
                server.replayed = Log::back(server.replayed, records);
                server.recovers_until = now + Duration::from_millis(recovers);
                server.streams = has_source;
            }
            if is_source {
                for standby in &mut state.servers {
                    standby.streams |= standby.standby && standby.timeline == timeline;
                }
            }
        });
    }

    /// A standby becomes the primary, whatever the old one does.
    pub(crate) fn promote(&self, index: usize, predecessor: Predecessor) {
        self.change(|world, state| {
            let place = world.place(state, index);
            let timeline = state.log.fork(place);
            let at = world.tick(state);
            let server = &mut state.servers[index];
            server.standby = false;
            server.paused = false;
            server.timeline = timeline;
            state.primary = index;
            state.is_known = false;
            state.met = None;
            let survived = state.log.versions(place, world.0.shape.keys);
            state.history.promoted(Promotion {
                at,
                server: ServerId(index as u32),
                survived,
                predecessor,
            });
        });
    }

    /// A standby follows the present primary, if its past leads there; says whether it does.
    pub(crate) fn follow(&self, index: usize) -> bool {
        let mut follows = true;
        self.change(|world, state| {
            let place = world.place(state, index);
            let target = state.servers[state.primary].timeline;
            let server = &state.servers[index];
            follows = server.standby && state.log.leads_to(place, target);
            if follows && index != state.primary {
                let has_source = state.has_primary_on(target);
                let server = &mut state.servers[index];
                server.timeline = target;
                server.streams = has_source;
            }
        });
        follows
    }

    /// A server that is down becomes a standby of the present primary, with what that one began from.
    pub(crate) fn rebuild(&self, index: usize) {
        self.change(|world, state| {
            if index == state.primary {
                return;
            }
            let target = state.servers[state.primary].timeline;
            let flushed = state.log.flushed(target, world.elapsed());
            let records = state.random.u64(0..6);
            let has_source = state.has_primary_on(target);
            let server = &mut state.servers[index];
            server.standby = true;
            server.paused = false;
            server.timeline = target;
            server.replayed = Log::back(flushed, records);
            server.streams = has_source;
            server.up = true;
            server.incarnation += 1;
        });
    }

    /// The servers that are not on the present primary's timeline.
    pub(crate) fn strays(&self) -> Vec<usize> {
        let state = self.state();
        let timeline = state.servers[state.primary].timeline;
        let stray = |index: &usize| state.servers[*index].timeline != timeline;
        (0..state.servers.len()).filter(stray).collect()
    }

    /// What has been recorded.
    pub(crate) fn history(&self) -> History {
        let now = self.now();
        let mut guard = self.state();
        let state = &mut *guard;
        let mut history = std::mem::take(&mut state.history);
        for ((index, ability), from) in state.unable.drain() {
            history.unable(outage(index, ability, from, now));
        }
        for operation in state.operations.drain(..) {
            history.push(operation);
        }
        history.executed(std::mem::take(&mut state.executions));
        let primary = state.primary;
        let place = self.place(state, primary);
        history.remained(state.log.versions(place, self.0.shape.keys));
        history
    }
}

impl State {
    /// Whether the primary has been there for so long that everybody knows it.
    pub(crate) fn has_known_primary(&self, now: Duration) -> bool {
        self.met
            .is_some_and(|since| now.saturating_sub(since) >= SETTLE)
    }

    /// Whether a primary runs that writes this timeline.
    fn has_primary_on(&self, timeline: usize) -> bool {
        let mut servers = self.servers.iter();
        servers.any(|server| server.up && !server.standby && server.timeline == timeline)
    }
}

fn outage(index: usize, of: Ability, from: Duration, to: Duration) -> Outage {
    Outage {
        server: ServerId(index as u32),
        from,
        to,
        of,
    }
}
