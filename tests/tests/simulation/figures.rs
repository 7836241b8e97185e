//! How evenly each policy spreads reads, and how soon the router follows what happens: figures in virtual time, to be
//! read and not to be asserted.

use std::time::Duration;

use dbrouter::{Cluster, HealthSettings, Hold, Settings, Terms};
use dbrouter_tests::history::{Key, Predecessor};
use fastrand::Rng;
use tokio::{runtime, time};

use crate::pool::Pool;
use crate::run::{POLICIES, VirtualClock, policy, router};
use crate::world::{Shape, World};

const READERS: usize = 8;

/// Prints all figures.
pub(crate) fn print() {
    println!(
        "replicas  policy              least  most  (share of reads, 1 is the ideal)  left after  fair again after"
    );
    for replicas in [3, 20, 200] {
        for name in POLICIES {
            let [least, most] = shares(replicas, name);
            let [left, fair] = convergence(replicas, name);
            println!("{replicas:8}  {name:18}  {least:5.2}  {most:4.2}  {left:>41?}  {fair:>16?}");
        }
    }
    println!("replicas  a promotion to the first write: primary dead before, and not");
    for replicas in [3, 20, 200] {
        let [dead, alive] = [true, false].map(|dies| promotion(replicas, dies));
        println!("{replicas:8}  {dead:?} and {alive:?}");
    }
}

fn in_virtual_time<T>(scene: impl Future<Output = T>) -> T {
    fastrand::seed(7);
    let runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(scene)
}

async fn scene(replicas: usize, name: &str) -> (World, Cluster<Pool>) {
    let shape = Shape {
        replicas,
        keys: 1,
        flush: 0,
        waits: false,
        mariadb: false,
        strangers: 0,
        connections: None,
    };
    let world = World::new(shape, &[], Rng::with_seed(7));
    world.change(|_, state| {
        for server in &mut state.servers {
            server.latency = (1, 2);
            server.delay = (1, 3);
        }
    });
    let settings = Settings::new()
        .clock(VirtualClock::new(0))
        .policy(policy(name, false, 7))
        .health(HealthSettings::new())
        .hold_connection(Hold::Never);
    let db = router(&world, replicas + 1, 0, settings).await;
    (world, db)
}

async fn one_read(db: &Cluster<Pool>, key: u64) {
    let terms = Terms::new(db).session().read().key(key.to_le_bytes());
    let work = terms.work();
    let read = work.run("", |connection, _| Box::pin(connection.read(Key(0))));
    // A conflict with recovery on every node would be one that fails.
    read.await.ok();
}

/// Reads without a pause, each in a session and by a key of its own.
async fn read(db: &Cluster<Pool>, reads: u64) {
    let readers = (0..READERS as u64).map(|reader| {
        let db = db.clone();
        tokio::spawn(async move {
            for number in 0..reads / READERS as u64 {
                one_read(&db, reader << 32 | number).await;
            }
        })
    });
    for reader in readers.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
}

/// Each replica's part of a number of reads, as a multiple of the ideal one.
async fn spread(world: &World, db: &Cluster<Pool>, reads: u64) -> Vec<f64> {
    for server in &mut world.state().servers {
        server.wanted = 0;
    }
    read(db, reads).await;
    let state = world.state();
    let replicas = state.servers.iter().filter(|server| server.standby);
    let ideal = reads as f64 / (state.servers.len() - 1) as f64;
    replicas
        .map(|server| server.wanted as f64 / ideal)
        .collect()
}

/// The least and the greatest share.
fn shares(replicas: usize, name: &str) -> [f64; 2] {
    in_virtual_time(async {
        let (world, db) = scene(replicas, name).await;
        let shares = spread(&world, &db, 200 * replicas as u64).await;
        let least = shares.iter().copied().fold(f64::MAX, f64::min);
        [least, shares.iter().copied().fold(0.0, f64::max)]
    })
}

/// A replica freezes: when it was wanted last. It thaws: when it has nine tenths of the ideal share again, in stretches of
/// so many reads that each replica would get 60.
fn convergence(replicas: usize, name: &str) -> [Duration; 2] {
    in_virtual_time(async {
        let (world, db) = scene(replicas, name).await;
        let readers = (0..READERS as u64).map(|reader| {
            let db = db.clone();
            tokio::spawn(async move {
                for number in 0_u64.. {
                    one_read(&db, reader << 32 | number).await;
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        time::sleep(Duration::from_secs(1)).await;
        let fault = world.elapsed();
        world.change(|_, state| state.servers[1].frozen = true);
        time::sleep(Duration::from_secs(5)).await;
        let left = world.state().servers[1].wanted_last.saturating_sub(fault);
        let back = world.elapsed();
        world.change(|_, state| state.servers[1].frozen = false);
        let limit = back + Duration::from_secs(60);
        while world.elapsed() < limit {
            let counts = || {
                let state = world.state();
                let wanted = state.servers[1..].iter().map(|server| server.wanted);
                (state.servers[1].wanted, wanted.sum::<u64>())
            };
            let (own, all) = counts();
            while counts().1 < all + 60 * replicas as u64 {
                time::sleep(Duration::from_millis(1)).await;
            }
            let now = counts();
            if (now.0 - own) as f64 > 0.9 * (now.1 - all) as f64 / replicas as f64 {
                break;
            }
        }
        readers.iter().for_each(tokio::task::JoinHandle::abort);
        [left, world.elapsed() - back]
    })
}

/// From a promotion to the first write on the promoted server, with a client that tries all the time.
fn promotion(replicas: usize, dies: bool) -> Duration {
    in_virtual_time(async {
        let (world, db) = scene(replicas, "LeastInFlight").await;
        time::sleep(Duration::from_millis(537)).await;
        if dies {
            world.crash(0);
        }
        time::sleep(Duration::from_millis(300)).await;
        let promoted = world.elapsed();
        world.promote(1, Predecessor::Gone);
        loop {
            let terms = Terms::new(&db).session().write();
            let work = terms.work();
            let wrote = work.run("", |connection, _| Box::pin(connection.write(Key(0), 0)));
            if wrote
                .await
                .is_ok_and(|((_, served), _)| served.server.0 == 1)
            {
                return world.elapsed() - promoted;
            }
            time::sleep(Duration::from_millis(1)).await;
        }
    })
}
