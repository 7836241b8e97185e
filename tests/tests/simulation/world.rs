//! Servers, what is done to them, and what they make of it. One random sequence decides everything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dbrouter_tests::history::{
    Ability, Execution, History, Key, Operation, Outage, Predecessor, Promotion, Role, Rule,
    Served, ServerId, Version, Violation,
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

/// What the servers call their cluster at first.
const FIRST_IDENTITY: u64 = 7301;

/// What a world is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) replicas: usize,
    pub(crate) keys: u64,
    /// How long a commit may be unflushed, in milliseconds.
    pub(crate) flush: u64,
    /// Replicas can be told to wait for a position.
    pub(crate) waits: bool,
    /// The servers are MariaDB's, not PostgreSQL's.
    pub(crate) mariadb: bool,
    /// Servers that are not of the cluster, though they say that they are.
    pub(crate) strangers: usize,
    /// How many connections each pool has at most; `None` if there are enough.
    pub(crate) connections: Option<usize>,
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
    pub(crate) addresses: Vec<Address>,
    pub(crate) log: Log,
    /// What all servers of the cluster call it. It changes when the cluster is replaced by another one.
    pub(crate) identity: u64,
    /// The server that was promoted last.
    pub(crate) primary: usize,
    pub(crate) operations: Vec<Operation>,
    executions: Vec<Execution>,
    history: History,
    unable: HashMap<(usize, Ability), Duration>,
    /// Since when the primary can be met, and whether it was for long enough to be known.
    met: Option<Duration>,
    is_known: bool,
    /// Since when monitors can ask the primary, and tell that it is the primary, whatever happens to statements there.
    asked: Option<Duration>,
    /// The primary's predecessor, if that answers and routers may never have seen the present primary follow it. Then they
    /// cannot tell the promoted server from a copy of the cluster, until the predecessor follows it.
    contradicted_by: Option<usize>,
    /// The primary's log is not the one that it was, and servers say that it is.
    is_other_log: bool,
    /// The addresses that have led to the primary, and those that did when it was started last.
    names: Vec<usize>,
    names_at_start: Vec<usize>,
    ticks: u64,
    /// Until then nothing is done to the servers.
    quiet_until: Duration,
    /// What the routers did wrong, beyond what a history shows.
    pub(crate) faults: Vec<(Rule, Option<usize>, String)>,
}

/// What a router knows a node by. It leads to one server at a time.
#[derive(Debug)]
pub(crate) struct Address {
    pub(crate) server: usize,
    /// It leads nowhere.
    pub(crate) closed: bool,
    /// It is on its way to another server, or back.
    pub(crate) travels: bool,
    /// When it was last pointed to another server, or to none.
    moved_at: Duration,
    /// Connections by way of it that were made before it moved are broken.
    pub(crate) moves: u64,
    /// The connections in each process's pool.
    pub(crate) idle: [Vec<Link>; PROCESSES],
}

/// Where a connection leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) server: usize,
    incarnation: u64,
    moves: u64,
}

/// A replica that takes writes, though nobody has made it the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opened {
    /// The primary was there all the time.
    BesideThePrimary,
    /// There was no primary at some time since. Whoever takes the replica for the new one is right.
    WithoutPrimary,
}

#[derive(Debug)]
pub(crate) struct Server {
    /// It is no member of the cluster.
    pub(crate) stranger: bool,
    /// How often it was started.
    pub(crate) starts: u64,
    pub(crate) opened: Option<Opened>,
    /// It has taken writes of its own meanwhile, and so has left the primary's history.
    pub(crate) forked: bool,
    /// Of 256 statements so many lose their connection.
    pub(crate) breaks: u8,
    /// How much longer than a statement's half round trip the monitor's takes, in milliseconds.
    pub(crate) slow_answers: u64,
    /// Until then nothing is flushed.
    pub(crate) stalled_until: Duration,
    /// Routers could see for long enough that it follows the primary, since it was started and since that is the
    /// primary; and since when they can.
    seen: bool,
    seen_since: Option<Duration>,
    /// Whether it does what is expected of it, on which timeline and in which incarnation; and since when.
    steady: ((bool, usize, u64), Duration),
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
    /// How often a connection to it was wanted, and when last.
    pub(crate) wanted: u64,
    pub(crate) wanted_last: Duration,
}

impl Server {
    fn reaches_monitors(&self) -> bool {
        self.up && !self.frozen && !self.cut && !self.refuses
    }

    fn reaches_routers(&self) -> bool {
        self.reaches_monitors() && self.breaks == 0
    }

    /// Whether it replays what the primary of its timeline writes.
    fn follows(&self) -> bool {
        self.reaches_monitors() && self.standby && self.streams && !self.paused && !self.forked
    }

    /// It is started. Routers cannot know that it is the server that they have seen follow.
    fn start(&mut self) {
        self.up = true;
        self.incarnation += 1;
        self.starts += 1;
        self.unsee();
    }

    fn unsee(&mut self) {
        self.seen = false;
        self.seen_since = None;
    }

    /// Whether routers have seen that it follows the primary.
    fn is_seen(&self, now: Duration) -> bool {
        self.seen
            || self
                .seen_since
                .is_some_and(|since| now.saturating_sub(since) >= SETTLE)
    }

    /// Whether it takes writes.
    pub(crate) fn is_writable(&self) -> bool {
        !self.standby || self.opened.is_some()
    }

    pub(crate) fn role(&self) -> Role {
        match self.standby {
            true => Role::Replica,
            false => Role::Primary,
        }
    }
}

impl World {
    /// A primary and its replicas, all well, each with an address of its own; more addresses for some of them; and the
    /// strangers, with an address each as well.
    pub(crate) fn new(shape: Shape, second_names: &[usize], mut random: Rng) -> Self {
        let members = shape.replicas + 1;
        let all = members + shape.strangers;
        let servers = (0..all).map(|index| {
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
                stranger: index >= members,
                starts: 1,
                opened: None,
                forked: false,
                breaks: 0,
                slow_answers: 0,
                stalled_until: Duration::ZERO,
                seen: true,
                seen_since: None,
                steady: ((true, 0, 1), Duration::ZERO),
                wanted: 0,
                wanted_last: Duration::ZERO,
            }
        });
        let servers = servers.collect();
        let names = (0..members).chain(second_names.iter().copied());
        let addresses = names.chain(members..all).map(|server| Address {
            server,
            closed: false,
            travels: false,
            moved_at: Duration::ZERO,
            moves: 1,
            idle: Default::default(),
        });
        let addresses = addresses.collect();
        let state = State {
            random,
            servers,
            addresses,
            log: Log::new(),
            identity: FIRST_IDENTITY,
            primary: 0,
            operations: Vec::new(),
            executions: Vec::new(),
            history: History::new(ServerId(0)),
            unable: HashMap::new(),
            met: Some(Duration::ZERO),
            is_known: true,
            asked: Some(Duration::ZERO),
            contradicted_by: None,
            is_other_log: false,
            names: Vec::new(),
            names_at_start: Vec::new(),
            ticks: 0,
            quiet_until: Duration::ZERO,
            faults: Vec::new(),
        };
        let world = Self(Arc::new(Inner {
            shape,
            begun: Instant::now(),
            state: Mutex::new(state),
            changed: Notify::new(),
        }));
        for stranger in members..all {
            world.make_stranger(stranger);
        }
        world
    }

    /// Makes a server a copy of what the primary was some records ago, which was promoted elsewhere and is written to
    /// by others.
    pub(crate) fn make_stranger(&self, index: usize) {
        self.change(|world, state| {
            let [back, more, own] = [
                state.random.u64(0..20),
                state.random.u64(0..3),
                state.random.u64(0..40),
            ];
            let primary = state.primary;
            let mut place = world.place(state, primary);
            place.position = Log::back(place.position, back);
            let timeline = state.log.fork(place, index, more);
            for _ in 0..own {
                let key = Key(state.random.u64(..world.0.shape.keys));
                state.log.write(timeline, key, Duration::ZERO);
            }
            let server = &mut state.servers[index];
            server.timeline = timeline;
            server.standby = false;
        });
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

    /// Waits until a server answers on this connection, or on a new one by way of the address. `Err` if it is broken,
    /// or there is none to be had.
    pub(crate) async fn reach(&self, address: usize, link: Option<Link>) -> Result<Link, ()> {
        loop {
            let changed = self.0.changed.notified();
            {
                let state = self.state();
                let address = &state.addresses[address];
                let index = link.map_or(address.server, |link| link.server);
                let server = &state.servers[index];
                let moved = link.map_or(address.closed, |link| link.moves != address.moves);
                let broken = link.is_some_and(|link| link.incarnation != server.incarnation);
                let refused = server.refuses && link.is_none();
                if moved || !server.cut && (!server.up || broken || refused) {
                    return Err(());
                }
                if !server.frozen && !server.cut {
                    return Ok(Link {
                        server: index,
                        incarnation: server.incarnation,
                        moves: address.moves,
                    });
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

    /// By how much longer the monitor's question takes.
    pub(crate) async fn answer_slowly(&self, server: usize) {
        let millis = self.state().servers[server].slow_answers;
        if millis > 0 {
            time::sleep(Duration::from_millis(millis)).await;
        }
    }

    /// The place up to which a read on the server sees the log.
    pub(crate) fn place(&self, state: &mut State, index: usize) -> Place {
        let now = self.elapsed();
        let server = &mut state.servers[index];
        let timeline = server.timeline;
        if !server.standby || server.forked {
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

    /// Carries out a write; `None` if the server takes none.
    pub(crate) fn write(&self, server: usize, key: Key, operation: usize) -> Option<Version> {
        let mut guard = self.state();
        let state = &mut *guard;
        if !state.servers[server].is_writable() {
            return None;
        }
        if state.servers[server].standby {
            self.fork_by_writing(state, server);
        }
        let flush = Duration::from_millis(state.random.u64(0..=self.0.shape.flush));
        let at = self.tick(state);
        let timeline = state.servers[server].timeline;
        let flushed = (self.elapsed() + flush).max(state.servers[server].stalled_until);
        let version = state.log.write(timeline, key, flushed);
        let role = state.servers[server].role();
        state.executions.push(Execution {
            operation,
            version,
            served: Served {
                server: ServerId(server as u32),
                role,
            },
            at,
        });
        Some(version)
    }

    /// A replica takes a write. Who sends it one while there is no primary has made it that; else it is still a replica,
    /// and no longer follows.
    fn fork_by_writing(&self, state: &mut State, index: usize) {
        if state.servers[index].opened == Some(Opened::WithoutPrimary) {
            return self.make_primary(state, index, Predecessor::Answers);
        }
        if !state.servers[index].forked {
            let place = self.place(state, index);
            let server = &mut state.servers[index];
            server.timeline = state.log.fork(place, index, 0);
            server.forked = true;
            server.streams = false;
        }
    }

    /// The server flushes what it has written, whatever its background process does.
    pub(crate) fn flush(&self, index: usize) {
        let state = &mut *self.state();
        let timeline = state.servers[index].timeline;
        state.log.flush(timeline, self.elapsed());
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
        state.note_who_follows(now);
        let timeline = state.servers[state.primary].timeline;
        let primary = &state.servers[state.primary];
        let is_met = state.is_met();
        let proves = is_met && now >= primary.stalled_until;
        let is_there = primary.reaches_monitors() && !primary.standby;
        for server in &mut state.servers {
            if server.opened.is_some() && !is_there {
                server.opened = Some(Opened::WithoutPrimary);
            }
            let is = (
                server.follows() || server.reaches_monitors() && !server.standby,
                server.timeline,
                server.incarnation,
            );
            if server.steady.0 != is {
                server.steady = (is, now);
            }
        }
        // A promoted server is only known if it could be met for long enough; then its standbys are, too.
        let was_met = state.met.is_some_and(|since| now - since >= SETTLE);
        state.is_known |= was_met;
        state.met = is_met.then(|| state.met.unwrap_or(now));
        let is_asked = state.is_asked();
        state.asked = is_asked.then(|| state.asked.unwrap_or(now));
        for index in 0..state.servers.len() {
            let server = &state.servers[index];
            let is_primary = index == state.primary;
            let belongs = match is_primary {
                true => is_met,
                false => server.standby && server.timeline == timeline && state.is_known,
            };
            let serves = state.is_reachable(index) && belongs && server.opened.is_none();
            for (ability, has) in [(Ability::Service, serves), (Ability::Proof, proves)] {
                let key = (index, ability);
                if !has {
                    state.unable.entry(key).or_insert(now);
                } else if let Some(from) = state.unable.remove(&key) {
                    state.history.unable(outage(index, ability, from, now));
                }
            }
        }
    }

    /// All connections to the server are broken. It has not been away, but nobody can tell. A server that is down has
    /// none.
    pub(crate) fn reset(&self, index: usize) {
        self.change(|world, state| {
            if !state.servers[index].up {
                return;
            }
            state.servers[index].incarnation += 1;
            world.interrupt(state, index);
        });
    }

    /// Whether a token may go to another process now. Not if the primary's log is another one that looks like the one
    /// before, until all have met it: who has not takes a place in the one for the same place in the other.
    pub(crate) fn tokens_travel(&self) -> bool {
        let now = self.elapsed();
        let state = self.state();
        !state.is_other_log || state.is_primary_known(now)
    }

    /// Whether the cluster may be replaced by another one now: while all routers follow its primary. A router that follows
    /// another server hears from that one alone which cluster it belongs to.
    pub(crate) fn may_be_replaced(&self) -> bool {
        let now = self.elapsed();
        self.state().is_primary_known(now)
    }

    /// Whether a stranger may come now: while a primary is known. Until both have been asked nothing else happens: a router
    /// that has no primary cannot tell a stranger from a server that has been promoted.
    pub(crate) fn introduces_stranger(&self) -> bool {
        let now = self.elapsed();
        let mut state = self.state();
        let may = state.has_known_primary(now);
        if may {
            state.quiet_until = now + Duration::from_millis(1500);
        }
        may
    }

    /// Waits until something may be done to the servers.
    pub(crate) async fn while_quiet(&self) {
        loop {
            let now = self.elapsed();
            let until = self.state().quiet_until;
            match until.checked_sub(now) {
                None | Some(Duration::ZERO) => break,
                Some(rest) => time::sleep(rest).await,
            }
        }
    }

    /// For a moment the server can do nothing for anybody.
    fn interrupt(&self, state: &mut State, index: usize) {
        let now = self.tick(state);
        let later = self.tick(state);
        let service = outage(index, Ability::Service, now, later);
        state.history.unable(service);
        // What runs on the primary at that moment cannot go elsewhere unless it has just been proved.
        let proofs = (0..state.servers.len()).filter(|_| index == state.primary);
        for server in proofs {
            let proof = outage(server, Ability::Proof, now, later);
            state.history.unable(proof);
        }
    }

    /// The address leads nowhere: it is on its way to another server.
    pub(crate) fn close(&self, address: usize) {
        self.change(|world, state| {
            let server = state.addresses[address].server;
            state.addresses[address].closed = true;
            state.addresses[address].moves += 1;
            state.addresses[address].moved_at = world.elapsed();
            state.servers[server].unsee();
            world.interrupt(state, server);
        });
    }

    /// The address leads to this server from now on.
    pub(crate) fn point(&self, address: usize, server: usize) {
        self.change(|world, state| {
            state.addresses[address].server = server;
            state.addresses[address].closed = false;
            state.addresses[address].moved_at = world.elapsed();
            state.servers[server].unsee();
            world.interrupt(state, server);
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
                    world.is_promoted(state, index, Predecessor::Gone);
                }
            }
            let server = &mut state.servers[index];
            server.up = false;
            server.frozen = false;
            server.incarnation += 1;
        });
        self.state().servers[index].incarnation
    }

    /// The standbys that are beyond the place to which the primary's log will go back are gone, like the primary.
    pub(crate) fn crash_beyond(&self, primary: usize, records: u64) {
        let beyond: Vec<_> = {
            let state = &mut *self.state();
            let end = self.place_after_going_back(state, primary, records);
            let is_beyond = |index: &usize| {
                let server = &state.servers[*index];
                server.timeline == end.timeline && server.replayed > end.position
            };
            let standbys = (0..state.servers.len()).filter(|index| *index != primary);
            standbys.filter(is_beyond).collect()
        };
        for standby in beyond {
            self.crash(standby);
        }
    }

    fn place_after_going_back(&self, state: &mut State, primary: usize, records: u64) -> Place {
        let mut place = self.place(state, primary);
        let own = state.log.begin(place.timeline);
        place.position = Log::back(place.position, records).max(own);
        place
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
            state.note_names(index);
            let server = &mut state.servers[index];
            server.start();
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
        self.change(|world, state| world.make_primary(state, index, predecessor));
    }

    fn make_primary(&self, state: &mut State, index: usize, predecessor: Predecessor) {
        let now = self.elapsed();
        let is_seen = state.servers[index].is_seen(now);
        let claims = predecessor == Predecessor::Answers && !state.servers[state.primary].standby;
        // In MariaDB histories have no order, so there it must have been seen in any case.
        let contradicts = (claims || self.0.shape.mariadb) && !is_seen;
        state.contradicted_by = contradicts.then_some(state.primary);
        let place = self.place(state, index);
        let timeline = state.log.fork(place, index, 0);
        let server = &mut state.servers[index];
        server.standby = false;
        server.paused = false;
        server.opened = None;
        server.forked = false;
        server.timeline = timeline;
        self.is_promoted(state, index, predecessor);
        if self.0.shape.mariadb {
            // While its predecessor may be there, nothing tells it from a replica that was opened for writing.
            let (now, later) = (self.tick(state), self.tick(state));
            let service = outage(index, Ability::Service, now, later);
            state.history.unable(service);
        }
    }

    /// The server is the primary from now on, with what it has. It need not be known at once, even if it was the primary
    /// before.
    fn is_promoted(&self, state: &mut State, index: usize, predecessor: Predecessor) {
        let at = self.tick(state);
        state.is_other_log = false;
        if state.primary != index {
            state.names.clear();
            state.names_at_start.clear();
            state.servers.iter_mut().for_each(Server::unsee);
        }
        state.primary = index;
        state.is_known = false;
        state.met = None;
        state.asked = None;
        let place = self.place(state, index);
        let survived = state.log.versions(place, self.0.shape.keys);
        state.history.promoted(Promotion {
            at,
            server: ServerId(index as u32),
            survived,
            predecessor,
        });
    }

    /// The primary, which is down, is started again with a log that has gone back by so many records, or that begins
    /// anew with the data of that place. Standbys that are not beyond that place go on following it if it went back.
    pub(crate) fn restart_with(&self, index: usize, records: u64, begin: Begin) {
        self.change(|world, state| {
            let place = world.place_after_going_back(state, index, records);
            let before = place.timeline;
            let timeline = match begin {
                Begin::Earlier => state.log.set_back(place, index),
                Begin::Anew | Begin::AnewElsewhere => state.log.anew(place, index),
            };
            if begin == Begin::AnewElsewhere {
                state.identity += 1;
            }
            for standby in &mut state.servers {
                let follows = begin == Begin::Earlier
                    && standby.standby
                    && standby.timeline == before
                    && standby.replayed <= place.position;
                if follows {
                    standby.timeline = timeline;
                    standby.streams = true;
                }
            }
            state.note_names(index);
            let server = &mut state.servers[index];
            server.timeline = timeline;
            server.start();
            world.is_promoted(state, index, Predecessor::Gone);
            state.is_other_log = begin != Begin::AnewElsewhere;
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
            server.opened = None;
            server.forked = false;
            server.timeline = target;
            server.replayed = Log::back(flushed, records);
            server.streams = has_source;
            server.start();
        });
    }

    /// The servers that are not on the present primary's timeline, though they belong to the cluster.
    pub(crate) fn strays(&self) -> Vec<usize> {
        let state = self.state();
        let timeline = state.servers[state.primary].timeline;
        let stray = |index: &usize| {
            let server = &state.servers[*index];
            server.timeline != timeline && !server.stranger
        };
        (0..state.servers.len()).filter(stray).collect()
    }

    /// The standbys that have followed a primary for so long, and could be asked all the time, like it. None if routers
    /// could not reach the primary, or could not tell that it is the primary.
    pub(crate) fn followers_for(&self, time: Duration) -> Vec<usize> {
        let now = self.elapsed();
        let state = self.state();
        let timeline = state.servers[state.primary].timeline;
        let is_well = |index: usize| {
            let server = &state.servers[index];
            server.steady.0.0 && server.steady.1 + time <= now && server.stalled_until + time <= now
        };
        let follows = |index: &usize| {
            let server = &state.servers[*index];
            server.timeline == timeline && server.follows() && is_well(*index)
        };
        let is_asked = state.asked.is_some_and(|since| since + time <= now);
        match is_asked && is_well(state.primary) {
            true => (0..state.servers.len()).filter(follows).collect(),
            false => Vec::new(),
        }
    }

    /// A write is about to be sent to a server, when its router takes the node of that name for the primary.
    pub(crate) fn sends_write(&self, operation: usize, to: usize, believed: &str) {
        let primary = self.server_named(believed);
        if primary.is_some_and(|primary| primary != to) {
            let text =
                format!("it was sent to server {to} when {believed} was the router's primary");
            let fault = (Rule::DeposedPrimary, Some(operation), text);
            self.state().faults.push(fault);
        }
    }

    /// What the routers did wrong, beyond what the history shows.
    pub(crate) fn violations(&self, history: &History) -> Vec<Violation> {
        let faults = std::mem::take(&mut self.state().faults);
        let violations = faults.into_iter().map(|(rule, operation, explanation)| {
            let operations = operation.into_iter();
            let operations = operations.map(|number| (number, history.operations()[number]));
            Violation {
                rule,
                operations: operations.collect(),
                explanation,
            }
        });
        violations.collect()
    }

    /// The server behind the address of a node of that name, if the address has led there for so long.
    pub(crate) fn server_named_for(&self, name: &str, time: Duration) -> Option<usize> {
        let now = self.elapsed();
        let address: usize = name.parse().ok()?;
        let state = self.state();
        let address = state.addresses.get(address)?;
        let stays = !address.closed && address.moved_at + time <= now;
        stays.then_some(address.server)
    }

    /// Begins to move an address. Not if it is being moved: then it must be left alone.
    pub(crate) fn begins_to_move(&self, address: usize) -> bool {
        let travels = &mut self.state().addresses[address].travels;
        !std::mem::replace(travels, true)
    }

    /// The server behind the address of a node of that name.
    pub(crate) fn server_named(&self, name: &str) -> Option<usize> {
        let address: usize = name.parse().ok()?;
        let state = self.state();
        state.addresses.get(address).map(|address| address.server)
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

    /// Whether the primary has been there for so long at any time since it was promoted.
    fn is_primary_known(&self, now: Duration) -> bool {
        self.is_known || self.has_known_primary(now)
    }

    /// What the server calls its cluster. A stranger says what the members have said when it was copied.
    pub(crate) fn identity_of(&self, index: usize) -> String {
        match self.servers[index].stranger {
            true => FIRST_IDENTITY.to_string(),
            false => self.identity.to_string(),
        }
    }

    /// Whether routers reach the server, by whatever address.
    pub(crate) fn is_reachable(&self, index: usize) -> bool {
        self.servers[index].reaches_routers() && self.has_address(index)
    }

    /// Whether an address leads to the server.
    fn has_address(&self, index: usize) -> bool {
        let mut addresses = self.addresses.iter();
        addresses.any(|address| address.server == index && !address.closed)
    }

    /// Whether routers reach the primary and can tell that it is the primary.
    fn is_met(&self) -> bool {
        self.is_reachable(self.primary) && self.is_asked()
    }

    /// Whether monitors reach the primary and can tell that it is the primary.
    fn is_asked(&self) -> bool {
        let is_primary = |name: &usize| {
            let address = &self.addresses[*name];
            address.server == self.primary && !address.closed
        };
        let primary = &self.servers[self.primary];
        primary.reaches_monitors()
            && self.has_address(self.primary)
            && !primary.standby
            && self.contradicted_by.is_none()
            // A server that was started again is known by its address alone. A router that knew it by another address
            // cannot tell it from one that was promoted apart, on a timeline of the same number.
            && self.names_at_start.iter().all(is_primary)
    }

    /// Notes which servers routers see follow the primary.
    fn note_who_follows(&mut self, now: Duration) {
        let timeline = self.servers[self.primary].timeline;
        let follows = |index: usize| {
            let server = &self.servers[index];
            self.is_reachable(index) && server.follows() && server.timeline == timeline
        };
        let follow: Vec<_> = (0..self.servers.len()).map(follows).collect();
        self.contradicted_by = self.contradicted_by.filter(|index| !follow[*index]);
        let is_met = self.is_met() && now >= self.servers[self.primary].stalled_until;
        for (server, follows) in self.servers.iter_mut().zip(follow) {
            let follows = follows && is_met;
            server.seen = server.is_seen(now);
            server.seen_since = follows.then(|| server.seen_since.unwrap_or(now));
        }
        for (name, address) in self.addresses.iter().enumerate() {
            let leads = address.server == self.primary && !address.closed;
            if leads && !self.names.contains(&name) {
                self.names.push(name);
            }
        }
    }

    /// The server is started again: if it is the primary, these were its names.
    fn note_names(&mut self, index: usize) {
        if index == self.primary {
            self.names_at_start.clone_from(&self.names);
        }
    }

    /// Whether a primary runs that writes this timeline.
    fn has_primary_on(&self, timeline: usize) -> bool {
        let mut servers = self.servers.iter();
        servers.any(|server| server.up && !server.standby && server.timeline == timeline)
    }
}

/// Where a log goes on whose server's disk was replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// At an earlier place of the same log.
    Earlier,
    /// At the beginning of a new log of the same cluster.
    Anew,
    /// At the beginning of a new cluster's log.
    AnewElsewhere,
}

fn outage(index: usize, of: Ability, from: Duration, to: Duration) -> Outage {
    Outage {
        server: ServerId(index as u32),
        from,
        to,
        of,
    }
}
