//! Faults by chance, one after the other and sometimes two at once, on real servers under load; and whether the history of
//! it keeps every promise.
//!
//! ```text
//! ./tests/run --test sqlx chaos:: -- --nocapture                                     # each fault once, always in the same way
//! DBROUTER_CHAOS_SECONDS=600 ./tests/run --test sqlx chaos:: -- --nocapture          # so long on each database, by a new seed
//! DBROUTER_CHAOS_SEED=7 ./tests/run --test sqlx chaos:: -- --nocapture               # that schedule again
//! ```
//!
//! The seed decides what is done to whom and for how long, and what clients want; when it happens the servers' pace decides
//! as well. Each case prints its seed and its schedule.
//!
//! | file | subject |
//! | --- | --- |
//! | `faults` | what is done to servers and networks, and when they are well again |
//! | `clients` | what clients do meanwhile, and what they record |
//! | `log` | what the servers say that they have written |
//! | `names` | which server the router's nodes lead to |

mod clients;
mod faults;
mod log;
mod names;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use dbrouter::{MonitorSettings, NodeOptions};

use super::{Mount, Need, Site, Subject, Support, check};
use crate::history::{History, Limits, ServerId, SessionId, Violation, Visibility};
use crate::proxy::Proxy;
use crate::{Failure, Result, wait};
use clients::Keys;
use faults::{Chaos, Schedule};
use names::Names;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    let lasts = Duration::from_secs(setting(SECONDS).unwrap_or_default());
    let name = "no_promise_is_broken";
    mount.case_within(
        2 * crate::harness::LIMIT + lasts,
        name,
        &[Need::Servers],
        no_promise_is_broken,
    );
}

/// How long it goes on, on each database. By default until each fault has struck once.
const SECONDS: &str = "DBROUTER_CHAOS_SECONDS";
/// By default a new one each time if the length is given, and otherwise [`USUAL_SEED`].
const SEED: &str = "DBROUTER_CHAOS_SEED";

/// What is run with all other cases fails because of what was changed, not because of chance.
const USUAL_SEED: u64 = 1;

/// What is demanded of servers of which one after the other fails. The monitor's limit is a second, and what a machine
/// does that has other work comes on top.
const LIMITS: Limits = Limits {
    read: Duration::from_secs(4),
    write: Duration::from_secs(4),
    patience: Duration::from_secs(40),
    settle: Duration::from_secs(3),
    visibility: Visibility::Logged,
};

/// Where a statement is the ORM's own once it has a connection, the router cannot take it from a server that says nothing.
/// Then a read may take as long as that lasts.
///
/// How long anything may take is only asked of runs of a given length, in which servers are silent for longer than that. A
/// machine that has other work, as beside all other cases, may take long for everything.
fn limits<S: Subject>(seconds: Option<u64>) -> Limits {
    let Limits { read, patience, .. } = LIMITS;
    match (seconds, S::capabilities().retries) {
        (None, _) => Limits {
            read: patience,
            write: patience,
            ..LIMITS
        },
        (Some(_), Support::Yes) => LIMITS,
        (Some(_), Support::No(_)) => Limits {
            read: 3 * read,
            ..LIMITS
        },
    }
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// What is recorded, by one clock.
struct Record {
    begun: Instant,
    history: Mutex<History>,
    /// Why operations failed, by their numbers.
    errors: Mutex<HashMap<usize, String>>,
    sessions: AtomicU64,
    keys: Keys,
    names: Names,
    /// Who is the primary.
    primary: AtomicU32,
    /// How many operations have succeeded so far.
    done: AtomicU64,
    stop: AtomicBool,
}

/// When an operation began, and who was the primary then.
#[derive(Clone, Copy)]
struct Begun {
    at: Duration,
    primary: ServerId,
}

impl Record {
    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn begin(&self) -> Begun {
        Begun {
            at: self.now(),
            primary: ServerId(self.primary.load(Ordering::SeqCst)),
        }
    }

    /// Whether the server has been the primary since the operation began.
    fn was_primary(&self, begun: Begun, server: ServerId) -> bool {
        let now = ServerId(self.primary.load(Ordering::SeqCst));
        begun.primary == server && now == server
    }

    fn promoted(&self, number: usize) {
        self.primary.store(server(number).0, Ordering::SeqCst);
    }

    fn done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until clients have done something more.
    async fn wait_for_work(&self) -> Result<()> {
        /// A few for each client. One of five is a write.
        const MORE: u64 = 50;
        let goal = self.done.load(Ordering::Relaxed) + MORE;
        let count = || self.done.load(Ordering::Relaxed);
        let reached = wait::until_count(goal, count, || false);
        check(reached.await, "clients do nothing")
    }

    fn history<T>(&self, record: impl FnOnce(&mut History) -> T) -> T {
        record(&mut self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn failed(&self, operation: usize, why: String) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        errors.insert(operation, why);
    }

    /// The violation, with the errors of the operations that it is about.
    fn explain(&self, violation: &Violation) -> String {
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |(number, _): &(usize, _)| Some(format!("\n  #{number}: {}", errors.get(number)?));
        let why: String = violation.operations.iter().filter_map(of).collect();
        format!("{violation}{why}")
    }

    fn session(&self) -> SessionId {
        SessionId(self.sessions.fetch_add(1, Ordering::Relaxed))
    }
}

/// A node's number as the history has it.
fn server(number: usize) -> ServerId {
    ServerId(u32::try_from(number).unwrap_or(u32::MAX))
}

async fn no_promise_is_broken<S: Subject>(site: &Site<S>) -> Result<()> {
    let seconds = setting(SECONDS);
    let seed = setting(SEED).unwrap_or_else(|| match seconds {
        Some(_) => fastrand::u64(..1_000_000),
        None => USUAL_SEED,
    });
    println!("{}: seed {seed}", S::NAME);
    site.show_timelines().await?;
    Keys::fill(site).await?;
    log::keep(site).await?;
    for replica in [1, 2] {
        site.catch_up(replica).await?;
    }
    let mut proxies = Vec::new();
    for number in 0..3 {
        proxies.push(Proxy::in_front_of(site.port(number)?).await?);
    }
    let db = router(site, &proxies, seconds).await?;
    let record = Arc::new(Record {
        begun: Instant::now(),
        history: Mutex::new(History::new(server(0))),
        errors: Mutex::default(),
        sessions: AtomicU64::new(0),
        keys: Keys::new(),
        names: Names::default(),
        primary: AtomicU32::new(0),
        done: AtomicU64::new(0),
        stop: AtomicBool::new(false),
    });
    for number in 0..3 {
        record
            .names
            .add(site.name(number), server(number), Duration::ZERO);
    }
    let mut random = fastrand::Rng::with_seed(seed);
    let clients = clients::start::<S>(&db, &record, &mut random);
    let mut chaos = Chaos::new(site, &db, &proxies, &record);
    let until = seconds.map(|seconds| record.begun + Duration::from_secs(seconds));
    let mut done = Ok(());
    let silence = seconds.map_or(Duration::ZERO, |_| LIMITS.read.mul_f64(1.25));
    let mut schedule = Schedule::new(random, faults::faults_of(S::DATABASE), silence);
    while done.is_ok() && until.map_or(!schedule.is_through(), |until| Instant::now() < until) {
        done = chaos.strike(&schedule.next()).await;
    }
    record.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await?;
    }
    done.map_err(|error| Failure::new(format!("seed {seed}: {error}")))?;
    let primary = chaos.primary();
    let remained = log::versions(site, primary).await?;
    let written = log::read(site, primary).await?;
    let (operations, writes, violations) = record.history(|history| {
        history.remained(remained);
        let operations = history.operations();
        let mut violations = log::contradictions(operations, &written, chaos.losses());
        let by_rules = history.check(&limits::<S>(seconds));
        violations.extend(by_rules.iter().map(|violation| record.explain(violation)));
        (history.operations().len(), written.len(), violations)
    });
    println!(
        "{}: seed {seed}: {} faults, {operations} operations, {writes} writes by the last primary's log, \
         {} violations",
        S::NAME,
        chaos.strikes(),
        violations.len()
    );
    // The first is in the failure's message.
    for violation in violations.iter().take(20).skip(1) {
        println!("  {violation}");
    }
    match violations.first() {
        // Between two faults clients have done something; some of it was writes.
        None => check(writes > 0, "nothing was written"),
        Some(first) => {
            let number = violations.len();
            let message = format!("seed {seed}: {number} violations, first {first}");
            Err(Failure::new(message).into())
        }
    }
}

/// A router that reaches each node through its proxy. Beside other cases no server is taken for silent because the machine is
/// busy: then the router would be right not to use it, and nobody could tell that from a promise that was broken.
async fn router<S: Subject>(
    site: &Site<S>,
    proxies: &[Proxy],
    seconds: Option<u64>,
) -> Result<S::Handle> {
    let node = |number: usize| {
        let url = proxies[number].url(&site.url(number));
        NodeOptions::new(url).name(site.name(number))
    };
    let builder = S::builder().primary(node(0));
    let builder = builder.replica(node(1)).replica(node(2));
    let builder = match seconds {
        Some(_) => builder,
        None => builder
            .monitor(MonitorSettings::new().timeout(LIMITS.read))
            .acquire_limit(LIMITS.read),
    };
    let builder = builder
        .pool_options(S::pool(16, Duration::from_secs(10)))
        .ping_after(faults::PING_AFTER);
    Ok(S::root(builder.connect().await?))
}
