//! What is done to the servers, and when: a schedule, made before the world begins.

use std::time::Duration;

use dbrouter_tests::history::Predecessor;
use fastrand::Rng;
use tokio::time;

use crate::world::World;

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
}

/// What becomes of a primary whose place is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OldPrimary {
    Dies,
    /// Nobody outside reaches it, and then everybody does again.
    IsCut,
    /// It goes on as if nothing had happened.
    GoesOn,
}

/// A fault, and how long after the one before.
pub(crate) type Schedule = Vec<(u64, Fault)>;

/// A schedule of chance.
pub(crate) fn schedule(random: &mut Rng, servers: usize, faults: usize) -> Schedule {
    let mut schedule = Vec::new();
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
        schedule.push((random.u64(1..900), fault));
    }
    schedule
}

/// Does all that is in the schedule, and makes everything well again.
pub(crate) async fn run(world: &World, schedule: &Schedule) {
    let mut tasks = Vec::new();
    for (pause, fault) in schedule {
        time::sleep(Duration::from_millis(*pause)).await;
        tasks.push(tokio::spawn(inflict(world.clone(), *fault)));
    }
    for task in tasks {
        task.await.unwrap();
    }
    for server in world.strays() {
        rebuild(world, server).await;
    }
}

async fn inflict(world: World, fault: Fault) {
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
        Fault::Promote(server, old, others) => return promote(&world, server, old, others).await,
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

async fn promote(world: &World, wanted: usize, fate: OldPrimary, others: u64) {
    let (old, new) = {
        let state = world.state();
        let count = state.servers.len();
        let timeline = state.servers[state.primary].timeline;
        let can = |index: &usize| {
            let server = &state.servers[*index];
            server.up && !server.frozen && server.standby && server.timeline == timeline
        };
        let new = (0..count).map(|step| (wanted + step) % count).find(can);
        (state.primary, new)
    };
    let Some(new) = new else {
        return;
    };
    let mut crashed = 0;
    match fate {
        OldPrimary::Dies if world.state().servers[old].up => crashed = world.crash(old),
        OldPrimary::IsCut => world.change(|_, state| state.servers[old].cut = true),
        OldPrimary::Dies | OldPrimary::GoesOn => {}
    }
    let predecessor = match fate {
        OldPrimary::GoesOn | OldPrimary::IsCut => Predecessor::Answers,
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
        world.change(|_, state| state.servers[old].cut = false);
        pass(others).await;
    }
    if fate == OldPrimary::Dies && others.is_multiple_of(2) {
        // It comes back as what it was, before anybody prevents that.
        restart(world, old, crashed);
        pass(others).await;
    }
    rebuild(world, old).await;
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
