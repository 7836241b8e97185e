//! What is done to the servers, and when: a schedule, made before the world begins.

use std::time::Duration;

use dbrouter::{Cluster, Role, Router};
use dbrouter_tests::history::{Predecessor, Rule};
use fastrand::Rng;
use tokio::time;

use crate::kinds::{Kind, Kinds};
use crate::pool::Pool;
use crate::run::{is_traced, node};
use crate::world::{Begin, Opened, PROCESSES, SETTLE, Shape, World};

/// What is done, to which server; times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// It dies, and comes back after that long. Not sooner than the monitor looks: a restart that nobody notices is a
    /// known limit.
    Crash(usize, u64),
    Freeze(usize, u64),
    /// Whoever is not a server gets no answer from it.
    Cut(usize, u64),
    /// It takes no new connections.
    Refuse(usize, u64),
    /// All connections to it break.
    Reset(usize),
    /// Replay stands still.
    Pause(usize, u64),
    /// Replay lags, by so much at most.
    Lag(usize, u64),
    /// Round trips take twice that long at most.
    Slow(usize, u64),
    /// The server, or the next one that can, is promoted. The old primary dies before, or does not. The others
    /// follow after that long at most.
    Promote(usize, OldPrimary, u64),
    /// The server, or the next one that can, is promoted after the primary's death, and the primary's address moves
    /// there. The others follow after that long at most.
    PromoteBehindAddress(usize, u64),
    /// The address leads nowhere for the first time, then to the server for the second, then nowhere again, and back.
    Move(usize, usize, u64, u64),
    /// The primary dies, and after the first time comes back with a log that lacks so many records, or begins anew. What
    /// does not follow it is rebuilt after the second time.
    Replace(Begin, u64, u64, u64),
    /// The stranger becomes one of the routers' replicas.
    Admit(usize),
    /// The replica takes writes.
    Open(usize, u64),
    /// Of 256 statements on the server so many lose their connections, and its answers to the monitor take that long.
    Storm(usize, u8, u64, u64),
    /// What is committed on the primary is not flushed.
    Stall(u64),
}

/// What becomes of a primary whose place is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldPrimary {
    Dies,
    /// Nobody outside reaches it, and then everybody does again.
    IsCut,
    /// It goes on as if nothing had happened.
    GoesOn,
    /// It is made read-only before.
    IsDemoted,
}

/// Faults, and when they begin.
pub(crate) type Schedule = Vec<(u64, Fault)>;

/// A schedule of chance.
pub(crate) fn schedule(random: &mut Rng, servers: usize, faults: usize) -> Schedule {
    let mut schedule = Vec::new();
    let mut at = 0;
    for _ in 0..faults {
        let server = match random.u8(..4) {
            0 => 0,
            _ => random.usize(..servers),
        };
        let long = random.u64(150..900);
        let fault = match random.u8(..100) {
            0..20 => Fault::Crash(server, long),
            20..32 => Fault::Freeze(server, random.u64(1..2500)),
            32..44 => Fault::Cut(server, random.u64(1..2500)),
            44..50 => Fault::Refuse(server, long),
            50..56 => Fault::Reset(server),
            56..66 => Fault::Pause(server, random.u64(1..900)),
            66..78 => Fault::Lag(server, random.u64(1..80)),
            78..86 => Fault::Slow(server, random.u64(0..20)),
            _ => {
                let old = match random.u8(..4) {
                    0 => OldPrimary::GoesOn,
                    1 => OldPrimary::IsCut,
                    _ => OldPrimary::Dies,
                };
                Fault::Promote(server, old, random.u64(20..500))
            }
        };
        at += random.u64(1..900);
        schedule.push((at, fault));
    }
    schedule
}

/// Adds what only some kinds of worlds have to what happens anyway.
pub(crate) fn widen(
    schedule: &mut Schedule,
    kinds: Kinds,
    seed: u64,
    shape: &Shape,
    names: &[usize],
) {
    let last = schedule.last().map_or(0, |(at, _)| *at);
    let servers = shape.replicas + 1;
    let addresses = servers + names.len();
    let mut add = |kind: Kind, most: usize, fault: &dyn Fn(&mut Rng) -> Fault| {
        let mut random = kind.random(seed);
        if kinds.has(kind) {
            // The first is what decided that.
            random.u64(..);
            for _ in 0..random.usize(1..=most) {
                let at = random.u64(1..last + 400);
                schedule.push((at, fault(&mut random)));
            }
        }
    };
    add(Kind::Moves, 2, &|random| match random.u8(..4) {
        0 => Fault::PromoteBehindAddress(random.usize(..servers), random.u64(20..500)),
        _ => {
            let [gap, stays] = [random.u64(150..900), random.u64(300..2000)];
            let address = match random.bool() {
                true => 0,
                false => random.usize(..addresses),
            };
            let server = random.usize(..servers + shape.strangers);
            Fault::Move(address, server, gap, stays)
        }
    });
    add(Kind::GoesBack, 1, &|random| {
        let [records, down, heals] = [
            random.u64(1..40),
            random.u64(150..900),
            random.u64(200..2500),
        ];
        Fault::Replace(Begin::Earlier, records, down, heals)
    });
    add(Kind::Anew, 1, &|random| {
        let begin = match shape.mariadb && random.bool() {
            true => Begin::Anew,
            false => Begin::AnewElsewhere,
        };
        Fault::Replace(
            begin,
            random.u64(0..4),
            random.u64(150..900),
            random.u64(20..900),
        )
    });
    add(Kind::Stranger, 1, &|_| Fault::Admit(addresses));
    add(Kind::Opens, 2, &|random| {
        Fault::Open(random.usize(1..servers), random.u64(100..1500))
    });
    add(Kind::Queues, 2, &|random| {
        let old = match random.bool() {
            true => OldPrimary::Dies,
            false => OldPrimary::GoesOn,
        };
        Fault::Promote(random.usize(..servers), old, random.u64(100..500))
    });
    add(Kind::Storms, 1, &|random| {
        let server = match random.bool() {
            true => 0,
            false => random.usize(..servers),
        };
        Fault::Storm(
            server,
            random.u8(20..120),
            random.u64(20..50),
            random.u64(2500..3500),
        )
    });
    add(Kind::Stalls, 2, &|random| {
        Fault::Stall(random.u64(200..2500))
    });
    if kinds.has(Kind::MariaDb) {
        // Two servers that take writes, of which nothing says which is the primary, are the operator's fault.
        for (_, fault) in schedule.iter_mut() {
            match fault {
                Fault::Promote(_, old @ OldPrimary::GoesOn, _) => *old = OldPrimary::IsDemoted,
                // It does not come back as what it was.
                Fault::Promote(_, OldPrimary::Dies, others) => *others |= 1,
                _ => {}
            }
        }
    }
    schedule.sort_by_key(|(at, _)| *at);
}

/// How long it takes until all of a schedule is over, but for what is mended after it.
pub(crate) fn length(schedule: &Schedule) -> u64 {
    let ends = schedule.iter().map(|(at, fault)| {
        at + match fault {
            Fault::Move(_, _, gap, stays) => 2 * gap + stays,
            Fault::Replace(_, _, down, heals) => down + heals,
            Fault::Open(_, long) | Fault::Storm(_, _, _, long) | Fault::Stall(long) => *long,
            // As before there were others, so that what a seed does is what it did.
            _ => 0,
        }
    });
    ends.max().unwrap_or(0)
}

/// Does all that is in the schedule, and makes everything well again.
pub(crate) async fn run(world: &World, routers: &[Cluster<Pool>; PROCESSES], schedule: &Schedule) {
    let mut tasks = Vec::new();
    let mut passed = 0;
    for (at, fault) in schedule {
        pass(at - passed).await;
        passed = *at;
        tasks.push(tokio::spawn(inflict(
            world.clone(),
            routers.clone(),
            *fault,
        )));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for server in world.strays() {
        rebuild(world, server).await;
    }
}

async fn inflict(world: World, routers: [Cluster<Pool>; PROCESSES], fault: Fault) {
    world.while_quiet().await;
    if is_traced() {
        println!("{:?}: {fault:?}", world.elapsed());
    }
    let (set, server, long): (fn(&mut crate::world::Server, bool), _, _) = match fault {
        Fault::Crash(server, down) => {
            if !world.state().servers[server].up {
                return;
            }
            let crashed = world.crash(server);
            pass(down).await;
            return restart(&world, server, crashed);
        }
        Fault::Reset(server) => return world.reset(server),
        Fault::Lag(server, most) => {
            return world.change(|_, state| state.servers[server].delay.1 = most);
        }
        Fault::Slow(server, most) => {
            return world.change(|_, state| state.servers[server].latency.1 = most);
        }
        Fault::Promote(server, old, others) => {
            promote(&world, server, old, others).await;
            return;
        }
        Fault::PromoteBehindAddress(server, others) => {
            return promote_behind_address(&world, server, others).await;
        }
        Fault::Move(address, server, gap, stays) => {
            return to_and_fro(&world, address, server, gap, stays).await;
        }
        Fault::Replace(begin, records, down, heals) => {
            return replace(&world, begin, records, down, heals).await;
        }
        Fault::Admit(address) => {
            if world.introduces_stranger() {
                admit(&world, &routers, address);
            }
            return;
        }
        Fault::Open(server, long) => return open(&world, server, long).await,
        Fault::Storm(server, breaks, answers, long) => {
            return storm(&world, &routers, server, (breaks, answers), long).await;
        }
        Fault::Stall(long) => return stall(&world, long).await,
        Fault::Freeze(server, long) => (|server, is| server.frozen = is, server, long),
        Fault::Cut(server, long) => (|server, is| server.cut = is, server, long),
        Fault::Refuse(server, long) => (|server, is| server.refuses = is, server, long),
        Fault::Pause(server, long) => (|server, is| server.paused = is, server, long),
    };
    world.change(|world, state| {
        world.place(state, server);
        set(&mut state.servers[server], true);
    });
    pass(long).await;
    world.change(|_, state| set(&mut state.servers[server], false));
}

/// The server is started, unless somebody else has done something to it since.
fn restart(world: &World, server: usize, crashed: u64) {
    if world.is_down_since(server, crashed) {
        world.restart(server);
    }
}

/// Returns the server that was promoted, if one was, and the one that was the primary before.
async fn promote(
    world: &World,
    wanted: usize,
    fate: OldPrimary,
    others: u64,
) -> Option<(usize, usize)> {
    let (old, new) = {
        let state = world.state();
        let count = state.servers.len();
        let timeline = state.servers[state.primary].timeline;
        let can = |index: &usize| {
            let server = &state.servers[*index];
            let is_follower =
                server.standby && server.opened.is_none() && server.timeline == timeline;
            server.up && !server.frozen && is_follower
        };
        let new = (0..count).map(|step| (wanted + step) % count).find(can);
        (state.primary, new)
    };
    let new = new?;
    let mut crashed = 0;
    match fate {
        // In MariaDB nobody starts it again as what it was, whatever it died of.
        OldPrimary::Dies if world.state().servers[old].up || world.shape().mariadb => {
            crashed = world.crash(old);
        }
        OldPrimary::IsCut => world.change(|_, state| state.servers[old].cut = true),
        OldPrimary::IsDemoted => demote(world, old),
        OldPrimary::Dies | OldPrimary::GoesOn => {}
    }
    let predecessor = match fate {
        // That it was demoted breaks no connection to it: who has not asked it since takes it for what it was.
        OldPrimary::GoesOn | OldPrimary::IsCut | OldPrimary::IsDemoted => Predecessor::Answers,
        OldPrimary::Dies if others.is_multiple_of(2) => Predecessor::Answers,
        OldPrimary::Dies => Predecessor::Gone,
    };
    world.promote(new, predecessor);
    for server in world.strays() {
        let pause = world.state().random.u64(0..others);
        pass(pause / 4).await;
        if server != old && !world.follow(server) {
            rebuild(world, server).await;
        }
    }
    pass(others).await;
    if fate == OldPrimary::IsCut {
        if world.shape().mariadb {
            // Else there would be two that take writes.
            demote(world, old);
        }
        world.change(|_, state| state.servers[old].cut = false);
        pass(others).await;
    }
    if fate == OldPrimary::Dies && others.is_multiple_of(2) {
        // It comes back as what it was, before anybody prevents that.
        restart(world, old, crashed);
        pass(others).await;
    }
    rebuild(world, old).await;
    Some((old, new))
}

/// The primary takes no more writes.
fn demote(world: &World, server: usize) {
    world.change(|world, state| {
        let place = world.place(state, server);
        let server = &mut state.servers[server];
        server.standby = true;
        server.streams = false;
        server.replayed = place.position;
    });
}

/// The addresses of a primary that dies lead to the promoted server, and stay there.
async fn promote_behind_address(world: &World, wanted: usize, others: u64) {
    let before: Vec<usize> = {
        let state = world.state();
        let addresses = state.addresses.iter().enumerate();
        let own = addresses.filter(|(_, address)| address.server == state.primary);
        own.map(|(index, _)| index).collect()
    };
    let before: Vec<_> = before
        .into_iter()
        .filter(|address| world.begins_to_move(*address))
        .collect();
    for address in &before {
        world.close(*address);
    }
    pass(150).await;
    promote(world, wanted, OldPrimary::Dies, others | 1).await;
    let primary = world.state().primary;
    for address in before {
        world.point(address, primary);
        world.state().addresses[address].travels = false;
    }
}

async fn to_and_fro(world: &World, address: usize, server: usize, gap: u64, stays: u64) {
    let home = world.state().addresses[address].server;
    let is_stranger = world.state().servers[server].stranger;
    if is_stranger && (address == 0 || !world.introduces_stranger()) {
        return;
    }
    // Connections break before an address leads elsewhere, so each journey ends before the next one begins.
    if !world.begins_to_move(address) {
        return;
    }
    for (server, stays) in [(server, stays), (home, 0)] {
        world.close(address);
        pass(gap).await;
        world.point(address, server);
        pass(stays).await;
    }
    world.state().addresses[address].travels = false;
}

/// The primary's disk is replaced. Of a cluster that is replaced as a whole no old server answers meanwhile.
async fn replace(world: &World, begin: Begin, records: u64, down: u64, heals: u64) {
    let primary = world.state().primary;
    let may = match begin {
        Begin::AnewElsewhere => primary == 0 && world.may_be_replaced(),
        Begin::Earlier | Begin::Anew => true,
    };
    if !may || !world.state().servers[primary].up {
        return;
    }
    let others = (0..=world.shape().replicas).filter(|server| *server != primary);
    if begin == Begin::AnewElsewhere {
        for server in others.clone() {
            world.crash(server);
        }
    }
    let crashed = world.crash(primary);
    if begin == Begin::Earlier && world.shape().mariadb {
        // Other events will have their numbers. Not even MariaDB's own replication would notice.
        world.crash_beyond(primary, records);
    }
    pass(down).await;
    if world.is_down_since(primary, crashed) && world.state().primary == primary {
        if begin == Begin::AnewElsewhere {
            // Those that somebody has started meanwhile, with what the former cluster had.
            for server in others.filter(|server| world.state().servers[*server].up) {
                world.crash(server);
            }
        }
        world.restart_with(primary, records, begin);
    }
    pass(heals).await;
    let down: Vec<_> = {
        let state = world.state();
        let servers = state.servers.iter().enumerate();
        let down = servers.filter(|(_, server)| !server.up && !server.stranger);
        down.map(|(index, _)| index).collect()
    };
    for server in down.into_iter().chain(world.strays()) {
        rebuild(world, server).await;
    }
}

/// The stranger's address becomes one of the routers' nodes, unless it is one already.
fn admit(world: &World, routers: &[Cluster<Pool>; PROCESSES], address: usize) {
    for (process, router) in routers.iter().enumerate() {
        let (spec, access) = node(world, address, process, Role::Replica);
        // It may be there from the beginning.
        router.add_replica(&spec, access).ok();
    }
}

async fn open(world: &World, server: usize, long: u64) {
    {
        let state = world.state();
        let server = &state.servers[server];
        let follows = server.up && server.standby && server.streams && server.opened.is_none();
        // While there is none, who takes it for the new primary is right.
        if !state.has_known_primary(world.elapsed())
            || !follows
            || server.timeline != state.servers[state.primary].timeline
        {
            return;
        }
    }
    world.change(|_, state| state.servers[server].opened = Some(Opened::BesideThePrimary));
    pass(long).await;
    world.change(|_, state| state.servers[server].opened = None);
    for server in world.strays() {
        if !world.follow(server) {
            rebuild(world, server).await;
        }
    }
}

/// Statements lose their connections faster than the server answers the monitor. That does not keep the monitor from
/// learning what it answers.
async fn storm(
    world: &World,
    routers: &[Cluster<Pool>; PROCESSES],
    server: usize,
    (breaks, answers): (u8, u64),
    long: u64,
) {
    world.change(|_, state| {
        state.servers[server].breaks = breaks;
        state.servers[server].slow_answers = answers;
    });
    pass(long).await;
    let followers = world.followers_for(SETTLE + FLUSH);
    for (process, router) in routers.iter().enumerate() {
        for status in router.status().nodes {
            let Some(server) = world.server_named_for(&status.name, SETTLE + FLUSH) else {
                continue;
            };
            let lag = status.staleness;
            if followers.contains(&server) && lag.is_none_or(|lag| lag > SETTLE + FLUSH) {
                let text = format!(
                    "process {process} has not proved node {} fresh: {lag:?}",
                    status.name
                );
                world.state().faults.push((Rule::Unproved, None, text));
            }
        }
    }
    world.change(|_, state| {
        state.servers[server].breaks = 0;
        state.servers[server].slow_answers = 0;
    });
}

/// How long a commit may be unflushed when nothing is wrong: three times the `wal_writer_delay` that servers answer.
const FLUSH: Duration = Duration::from_millis(600);

async fn stall(world: &World, long: u64) {
    let primary = world.state().primary;
    world.change(|world, state| {
        let now = world.elapsed();
        let until = now + Duration::from_millis(long);
        let timeline = state.servers[primary].timeline;
        state.servers[primary].stalled_until = until;
        state.log.stall(timeline, now, until);
    });
    pass(long).await;
    world.change(|_, _| {});
}

/// The server is stopped, is given what the primary began from, and starts as its standby.
async fn rebuild(world: &World, server: usize) {
    if world.state().primary == server {
        return;
    }
    let is_up = world.state().servers[server].up;
    let crashed = match is_up {
        true => world.crash(server),
        false => world.state().servers[server].incarnation,
    };
    pass(200).await;
    if world.is_down_since(server, crashed) {
        world.rebuild(server);
    }
}

async fn pass(millis: u64) {
    time::sleep(Duration::from_millis(millis)).await;
}
