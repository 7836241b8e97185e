//! Faults by chance, one after the other, on real servers under load; and whether the history of it keeps every promise.
//!
//! ```text
//! DBROUTER_CHAOS_SECONDS=60 ./tests/run --test sqlx chaos:: -- --nocapture
//! DBROUTER_CHAOS_SEED=7 DBROUTER_CHAOS_SECONDS=60 ./tests/run --test sqlx chaos:: -- --nocapture   # the same schedule again
//! ```
//!
//! The seed decides what is done to whom and for how long, and what clients want; when it happens the servers' pace decides
//! as well. Each case prints its seed and its schedule.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dbrouter::NodeOptions;
use tokio::time::sleep;

use super::{Handle, Mount, Need, Site, Subject, Support, check, until};
use crate::history::{
    Ability, Handover, History, Key, Limits, Operation, Outage, Outcome, Predecessor, Promotion,
    Role, Served, ServerId, SessionId, Told, Version, Visibility,
};
use crate::proxy::{Mode, Proxy};
use crate::{Failure, Result};

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    let name = "no_promise_is_broken";
    match setting(SECONDS) {
        Some(_) => mount.case_alone(name, &[Need::Servers], no_promise_is_broken),
        None => mount.by_hand(
            name,
            "it takes as long as DBROUTER_CHAOS_SECONDS says, which is not set",
        ),
    };
}

/// How long a case takes. Without it there is none.
const SECONDS: &str = "DBROUTER_CHAOS_SECONDS";

const CLIENTS: u64 = 8;
/// Of 64 keys each client writes some, so that a version says which write it was.
const KEYS: u64 = 8;

/// What is demanded of servers of which one after the other fails. The monitor's limit is a second, and what a machine
/// does that has other work comes on top.
const LIMITS: Limits = Limits {
    read: Duration::from_secs(4),
    write: Duration::from_secs(4),
    patience: Duration::from_secs(40),
    settle: Duration::from_secs(3),
    visibility: Visibility::Logged,
};

/// What is done to a replica, for how long.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    Freeze,
    PauseReplay,
    Reset,
    Swallow,
    Slow,
    /// To the primary: a replica takes its place.
    Promote,
    /// To the primary: it is shut down and started again.
    Restart,
}

const FAULTS: [Fault; 8] = [
    Fault::Kill,
    Fault::Freeze,
    Fault::PauseReplay,
    Fault::Reset,
    Fault::Swallow,
    Fault::Slow,
    Fault::Promote,
    Fault::Restart,
];

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What is recorded, by one clock.
struct Record {
    begun: Instant,
    history: Mutex<History>,
    sessions: AtomicU64,
    stop: AtomicBool,
}

impl Record {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn history(&self, record: impl FnOnce(&mut History)) {
        record(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed))
    }
}

async fn no_promise_is_broken<S: Subject>(site: &Site<S>) -> Result<()> {
    let seed = setting("DBROUTER_CHAOS_SEED").unwrap_or_else(|| fastrand::u64(..1_000_000));
    let seconds = setting(SECONDS).unwrap_or(60);
    println!("{}: seed {seed}, {seconds} s", S::NAME);
    site.show_timelines().await?;
    site.catch_up(1).await?;
    site.catch_up(2).await?;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut proxies = Vec::new();
    for number in 0..3 {
        proxies.push(Proxy::in_front_of(site.port(number)?).await?);
    }
    let node = |number: usize| {
        let url = proxies[number].url(&site.url(number));
        NodeOptions::new(url).name(site.name(number))
    };
    let builder = S::builder()
        .primary(node(0))
        .replica(node(1))
        .replica(node(2));
    let builder = builder.pool_options(S::pool(16, Duration::from_secs(10)));
    let db = S::root(builder.connect().await?);
    let record = Arc::new(Record {
        begun: Instant::now(),
        history: Mutex::new(History::new(ServerId(0))),
        sessions: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let random = fastrand::Rng::with_seed(random.u64(..));
            let names = [0, 1, 2].map(|number| site.name(number).to_owned());
            tokio::spawn(client::<S>(
                db.clone(),
                Arc::clone(&record),
                number,
                names,
                random,
            ))
        })
        .collect();
    let mut chaos = Chaos {
        site,
        db: &db,
        proxies: &proxies,
        record: &record,
        primary: 0,
    };
    let until = record.begun + Duration::from_secs(seconds);
    let mut done = Ok(());
    while done.is_ok() && Instant::now() < until {
        let fault = FAULTS[random.usize(..FAULTS.len())];
        let (replica, lasts) = (1 + random.usize(..2), random.u64(200..1500));
        sleep(Duration::from_millis(random.u64(100..800))).await;
        done = chaos
            .strike(fault, replica, Duration::from_millis(lasts))
            .await;
    }
    record.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await?;
    }
    done?;
    let primary = chaos.primary;
    let remained = versions(site, primary).await?;
    let (violations, operations) = {
        let mut history = record
            .history
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        history.remained(remained);
        (history.check(&LIMITS), history.operations().len())
    };
    println!(
        "{}: {operations} operations, {} violations",
        S::NAME,
        violations.len()
    );
    match violations.first() {
        None => check(operations > 500, "next to nothing was done"),
        Some(first) => {
            let message = format!(
                "seed {seed}: {} violations, first {first}",
                violations.len()
            );
            Err(Failure::new(message).into())
        }
    }
}

/// What a server shows of all keys.
async fn versions<S: Subject>(site: &Site<S>, number: usize) -> Result<HashMap<Key, Version>> {
    let mut versions = HashMap::new();
    for id in 1..=CLIENTS * KEYS {
        let sql = format!("select version from kv where id = {id}");
        let version = site.ask(number, &sql).await?;
        if version > 0 {
            versions.insert(Key(id), Version(u64::try_from(version)?));
        }
    }
    Ok(versions)
}

/// Who strikes.
struct Chaos<'a, S: Subject> {
    site: &'a Site<S>,
    db: &'a S::Handle,
    proxies: &'a [Proxy],
    record: &'a Record,
    primary: usize,
}

impl<S: Subject> Chaos<'_, S> {
    /// Does something, undoes it, and waits until all are well. `replica` counts from the primary on.
    async fn strike(&mut self, fault: Fault, replica: usize, lasts: Duration) -> Result<()> {
        let number = (self.primary + replica) % 3;
        println!(
            "  {:?}: {fault:?} {number}, primary {}, {lasts:?}",
            self.record.now(),
            self.primary
        );
        let from = self.record.now();
        let (site, proxy) = (self.site, &self.proxies[number]);
        match fault {
            Fault::Kill => {
                site.kill(number).await?;
                sleep(lasts).await;
                site.start(number).await?;
            }
            Fault::Freeze => {
                site.freeze(number)?;
                sleep(lasts).await;
                site.thaw(number)?;
            }
            Fault::PauseReplay => {
                site.pause(number).await?;
                sleep(lasts).await;
                site.resume(number).await?;
            }
            Fault::Reset | Fault::Swallow | Fault::Slow => {
                proxy.set(match fault {
                    Fault::Reset => Mode::Reset,
                    Fault::Swallow => Mode::Swallow,
                    _ => Mode::Delay(Duration::from_millis(50)),
                });
                sleep(lasts).await;
                proxy.set(Mode::Pass);
            }
            Fault::Restart => {
                site.stop(self.primary).await?;
                site.start(self.primary).await?;
            }
            Fault::Promote => self.promote(number).await?,
        }
        self.settle().await?;
        let to = self.record.now();
        let all = [0, 1, 2].map(|number| ServerId(u32::try_from(number).unwrap_or_default()));
        self.record.history(|history| match fault {
            Fault::Kill | Fault::Freeze | Fault::Reset | Fault::Swallow => {
                history.unable(Outage {
                    server: all[number],
                    from,
                    to,
                    of: Ability::Service,
                });
            }
            Fault::PauseReplay | Fault::Slow => history.unable(Outage {
                server: all[number],
                from,
                to,
                of: Ability::Proof,
            }),
            // Until the primary can be asked again nobody can prove anything, and the others follow anew.
            Fault::Promote | Fault::Restart => {
                for server in all {
                    for of in [Ability::Proof, Ability::Service] {
                        history.unable(Outage {
                            server,
                            from,
                            to,
                            of,
                        });
                    }
                }
            }
        });
        Ok(())
    }

    /// A planned failover: the primary is shut down, which sends all that it has to its standbys.
    async fn promote(&mut self, number: usize) -> Result<()> {
        let (site, other) = (self.site, 3 - self.primary - number);
        site.stop(self.primary).await?;
        let survived = versions(site, number).await?;
        site.promote(number).await?;
        let at = self.record.now();
        self.record.history(|history| {
            history.promoted(Promotion {
                at,
                server: ServerId(u32::try_from(number).unwrap_or_default()),
                survived,
                predecessor: Predecessor::Gone,
            });
        });
        site.stop(other).await?;
        site.rejoin(other, number).await?;
        site.rejoin(self.primary, number).await?;
        self.primary = number;
        Ok(())
    }

    /// Waits until the router finds all nodes well, and takes writes.
    async fn settle(&self) -> Result<()> {
        let primary = self.site.name(self.primary).to_owned();
        until(self.db, "well", |status| {
            let well = status.nodes.iter().all(|node| node.healthy);
            let fresh = status.nodes.iter().all(|node| node.staleness.is_some());
            well && fresh && &**self.db.cluster().primary().name() == primary.as_str()
        })
        .await
    }
}

/// One client, until it is stopped: sessions that read and write, and hand on what they know.
async fn client<S: Subject>(
    db: S::Handle,
    record: Arc<Record>,
    number: u64,
    names: [String; 3],
    mut random: fastrand::Rng,
) {
    // A key's next version. Who does not know whether it was written leaves the key alone: it may be yet.
    let mut keys: Vec<(u64, u64)> = (1..=KEYS).map(|key| (number * KEYS + key, 1)).collect();
    let (mut id, mut session) = (record.session(), db.session());
    while !record.stop.load(Ordering::Relaxed) {
        let begin = record.now();
        let (key, outcome) = match random.u8(..100) {
            0..20 if !keys.is_empty() => {
                let index = random.usize(..keys.len());
                let (key, version) = keys[index];
                let written = session
                    .set(to_id(key), i64::try_from(version).unwrap_or(0))
                    .await;
                keys[index].1 += 1;
                (
                    key,
                    match written {
                        Ok(()) => Outcome::Wrote(Version(version)),
                        Err(_) => {
                            keys.swap_remove(index);
                            Outcome::WriteUnknown
                        }
                    },
                )
            }
            20..25 => {
                (id, session) = (record.session(), db.session());
                continue;
            }
            25..28 => {
                let (from, taken) = (id, record.now());
                let token = session.token().await;
                (id, session) = (record.session(), db.session());
                if let Some(token) = token {
                    session.observe(&token);
                    let given = record.now();
                    record.history(|history| {
                        history.handed_over(Handover {
                            from,
                            taken,
                            to: id,
                            given,
                            tells: Told::Writes,
                        });
                    });
                }
                continue;
            }
            _ => {
                let key = random.u64(1..=CLIENTS * KEYS);
                let mut seen = session.get(to_id(key)).await;
                if !matches!(S::capabilities().retries, Support::Yes) {
                    // Who uses guards must take another one himself.
                    for _ in 0..3 {
                        if seen.is_err() {
                            seen = session.get(to_id(key)).await;
                        }
                    }
                }
                (
                    key,
                    match seen {
                        Ok(version) => {
                            let version = version.unwrap_or(0);
                            Outcome::Saw(Version(u64::try_from(version).unwrap_or(0)))
                        }
                        Err(_) => Outcome::ReadFailed,
                    },
                )
            }
        };
        let operation = Operation {
            session: id,
            key: Key(key),
            begin,
            end: record.now(),
            served: matches!(outcome, Outcome::Saw(_) | Outcome::Wrote(_))
                .then(|| served::<S>(&session, &names))
                .flatten(),
            outcome,
        };
        record.history(|history| {
            history.push(operation);
        });
        sleep(Duration::from_millis(random.u64(..8))).await;
    }
}

/// Where the session's last work went. (Which role the server has by its own account it is asked in the end, with what it has
/// executed.)
fn served<S: Subject>(session: &S::Handle, names: &[String; 3]) -> Option<Served> {
    let decision = session.last_decision()?;
    let number = names.iter().position(|name| **name == *decision.node)?;
    Some(Served {
        server: ServerId(u32::try_from(number).ok()?),
        role: match decision.intent {
            dbrouter::Intent::Write => Role::Primary,
            dbrouter::Intent::Read => Role::Replica,
        },
    })
}

fn to_id(key: u64) -> i32 {
    i32::try_from(key).unwrap_or_default()
}
