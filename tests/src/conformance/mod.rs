//! The conformance suite: what every adapter promises, whatever its ORM and its database.
//!
//! Each case cites the contract that it is about: those of [`Router`](dbrouter::Router),
//! [`Backend`](dbrouter::Backend), [`Work`](dbrouter::Work), [`Adapter`](dbrouter::Adapter),
//! [`SessionState`](dbrouter::SessionState) and [`Token`](dbrouter::Token). It runs on real servers with real replication, and says what the
//! *servers* saw: after each case every replica is asked whether anything was written on it.
//!
//! # Mounting it on an adapter of your own
//!
//! Say what your handles can do ([`Handle`], [`Statements`]) and how a router is made ([`Subject`]); then a
//! test binary with `harness = false` is one line per database:
//!
//! ```
//! use std::process::ExitCode;
//!
//! use dbrouter_tests::conformance::{self, Subject, cases};
//!
//! // In `main`, with your two mounts in the place of the type parameters.
//! fn run<MyOrmOnPostgres: Subject, MyOrmOnMariaDb: Subject>() -> ExitCode {
//!     let mounts = [cases::<MyOrmOnPostgres>(), cases::<MyOrmOnMariaDb>()];
//!     conformance::run(mounts.into_iter().flatten())
//! }
//! ```
//!
//! `tests/tests/tokio_postgres` in the repository is such an adapter and its mount, in one file each. What an
//! adapter cannot do it says in its [`Capabilities`], with the reason; cases that need it are then reported as
//! ignored with that reason. `cargo test --test NAME -- sessions::` runs a chapter.

mod account;
mod affinity;
mod chaos;
mod config;
mod connections;
mod credentials;
mod defaults;
mod failover;
mod faults;
mod histories;
mod identity;
mod lazy;
mod not_replayed;
mod pgbouncer;
mod policies;
mod preferences;
mod prepared;
mod routing;
mod runtimes;
mod scopes;
mod sessions;
mod site;
mod spare;
mod stated_reads;
mod status;
mod streams;
mod subject;
mod tokens;
mod topology;
mod transactions;
mod waiting;

use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dbrouter::observer::{Event, Observer};
use dbrouter::{BoxFuture, BoxStream, Reason, Status};

pub use account::Account;
pub use site::Site;
pub use subject::{Body, Capabilities, Handle, How, Statements, Subject, Support};

use crate::harness::Case;
use crate::{Failure, Result, wait};

/// Runs cases as [`harness::run`](crate::harness::run) does, and then prints what the servers say.
pub fn run(cases: impl IntoIterator<Item = Case>) -> ExitCode {
    let code = crate::harness::run(cases);
    spare::clear();
    for (mount, account) in Account::all() {
        println!("by the servers' own account, {mount}: {account}");
    }
    code
}

/// All cases, mounted on one adapter and database.
pub fn cases<S: Subject>() -> Vec<Case> {
    let mut mount = Mount::<S>::new();
    routing::mount(mount.chapter("routing"));
    stated_reads::mount(mount.chapter("stated_reads"));
    preferences::mount(mount.chapter("preferences"));
    policies::mount(mount.chapter("policies"));
    sessions::mount(mount.chapter("sessions"));
    affinity::mount(mount.chapter("sessions"));
    tokens::mount(mount.chapter("tokens"));
    scopes::mount(mount.chapter("scopes"));
    transactions::mount(mount.chapter("transactions"));
    streams::mount(mount.chapter("streams"));
    failover::mount(mount.chapter("failover"));
    identity::mount(mount.chapter("identity"));
    histories::mount(mount.chapter("histories"));
    faults::mount(mount.chapter("faults"));
    connections::mount(mount.chapter("connections"));
    chaos::mount(mount.chapter("chaos"));
    waiting::mount(mount.chapter("waiting"));
    credentials::mount(mount.chapter("credentials"));
    pgbouncer::mount(mount.chapter("pgbouncer"));
    topology::mount(mount.chapter("topology"));
    status::mount(mount.chapter("status"));
    config::mount(mount.chapter("config"));
    defaults::mount(mount.chapter("defaults"));
    not_replayed::mount(mount.chapter("not_replayed"));
    prepared::mount(mount.chapter("prepared"));
    runtimes::mount(mount.chapter("runtimes"));
    lazy::mount(mount.chapter("lazy"));
    mount.cases
}

/// The cases of some chapters, for what differs from a mount of all of them in one respect only, such as its pool.
pub fn chapters<S: Subject>(names: &[&str]) -> Vec<Case> {
    let mut cases = cases::<S>();
    cases.retain(|case| {
        let mut parts = case.name().split("::");
        parts.nth(1).is_some_and(|chapter| names.contains(&chapter))
    });
    cases
}

/// What a case cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Servers of their own, which lag, die and give account.
    Servers,
    Classifies,
    Credentials,
    Retries,
    Holds,
    HoldsBetween,
    OpensEarly,
    TakesPools,
    ReadOnlyTransactions,
    Snapshots,
    RefusesStatedWrites,
    Poolers,
    /// Replicas that can be told to wait.
    Waits,
    /// Servers of PostgreSQL: the case is about a property of its own.
    Postgres,
    /// Servers of MariaDB, likewise.
    MariaDb,
}

struct Mount<S> {
    cases: Vec<Case>,
    chapter: &'static str,
    subject: std::marker::PhantomData<S>,
}

impl<S: Subject> Mount<S> {
    fn new() -> Self {
        Self {
            cases: Vec::new(),
            chapter: "",
            subject: std::marker::PhantomData,
        }
    }

    fn chapter(&mut self, chapter: &'static str) -> &mut Self {
        self.chapter = chapter;
        self
    }

    /// Adds a case on a primary and two replicas.
    fn case<B>(&mut self, name: &str, needs: &[Need], body: B) -> &mut Self
    where
        B: AsyncFnOnce(&Site<S>) -> Result<()> + Send + 'static,
    {
        let case = self.make(name, needs, body);
        self.cases.push(case);
        self
    }

    /// Adds a case that bears no company: others' load would spoil it.
    fn case_alone<B>(&mut self, name: &str, needs: &[Need], body: B) -> &mut Self
    where
        B: AsyncFnOnce(&Site<S>) -> Result<()> + Send + 'static,
    {
        let case = self.make(name, needs, body).alone();
        self.cases.push(case);
        self
    }

    /// Adds a case that may take so long.
    fn case_within<B>(&mut self, limit: Duration, name: &str, needs: &[Need], body: B)
    where
        B: AsyncFnOnce(&Site<S>) -> Result<()> + Send + 'static,
    {
        let case = self.make(name, needs, body).within(limit);
        self.cases.push(case);
    }

    fn make<B>(&self, name: &str, needs: &[Need], body: B) -> Case
    where
        B: AsyncFnOnce(&Site<S>) -> Result<()> + Send + 'static,
    {
        let name = format!("{}::{}::{name}", S::NAME, self.chapter);
        for need in needs {
            if let Support::No(reason) = support::<S>(*need) {
                return Case::inapplicable(name, reason);
            }
        }
        let case = Case::new(name, async move || {
            let site = Site::<S>::open().await?;
            body(&site).await?;
            site.check_that_no_replica_wrote().await?;
            site.close();
            Ok(())
        });
        match Site::<S>::server() {
            Some(server) => case.needs(server),
            None => case,
        }
    }
}

fn support<S: Subject>(need: Need) -> Support {
    let capabilities = S::capabilities();
    match need {
        Need::Servers if Site::<S>::server().is_none() => {
            Support::No("SQLite's nodes share one file: none of them lags, dies or gives account")
        }
        Need::Waits if !Site::<S>::can_be_told_to_wait() => Support::No(
            "MariaDB's replicas can be told to wait, and PostgreSQL's from version 19 on",
        ),
        Need::Postgres if S::DATABASE != dbrouter::Dialect::Postgres => {
            Support::No("it is about a property of PostgreSQL's")
        }
        Need::MariaDb if S::DATABASE != dbrouter::Dialect::MariaDb => {
            Support::No("it is about a property of MariaDB's")
        }
        Need::Servers | Need::Waits | Need::Postgres | Need::MariaDb => Support::Yes,
        Need::Classifies => capabilities.classifies,
        Need::Credentials => capabilities.credentials,
        Need::Retries => capabilities.retries,
        Need::Holds => capabilities.holds,
        Need::HoldsBetween => capabilities.holds_between_statements,
        Need::OpensEarly => capabilities.opens_early,
        Need::TakesPools => capabilities.takes_pools,
        Need::ReadOnlyTransactions => capabilities.read_only_transactions,
        Need::Snapshots => capabilities.snapshots,
        Need::RefusesStatedWrites => capabilities.refuses_stated_writes,
        Need::Poolers => capabilities.poolers,
    }
}

const READ: &str = "select version from kv where id = 1";

fn write(version: i64) -> String {
    format!("update kv set version = {version} where id = 1")
}

const READS: How = How::Stated(dbrouter::Intent::Read);
const WRITES: How = How::Stated(dbrouter::Intent::Write);

/// Fails the case with a message if `holds` is false.
fn check(holds: bool, message: impl Into<String>) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(Failure::new(message.into()).into())
    }
}

/// Fails the case if the two differ.
#[expect(
    clippy::needless_pass_by_value,
    reason = "so that cases need no references to literals"
)]
fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<()> {
    let holds = found == expected;
    check(holds, format!("{what}: {found:?}, not {expected:?}"))
}

/// Waits until the router's status is as wanted.
async fn until<H: Handle>(db: &H, what: &str, wanted: impl Fn(&Status) -> bool) -> Result<()> {
    let status = || dbrouter::Router::status(db.cluster());
    let in_time = wait::until(async || wanted(&status())).await;
    check(in_time, format!("not {what} in time:\n{}", status()))
}

/// The reason for the session's last decision, and its node.
fn last<H: Handle>(session: &H) -> Result<(String, Reason)> {
    let decision = session.last_decision().ok_or("there is no last decision")?;
    Ok((decision.node.to_string(), decision.reason))
}

/// The error that was to be.
fn error<T>(result: Result<T>, what: &str) -> Result<Box<dyn std::error::Error + Send + Sync>> {
    match result {
        Ok(_) => Err(Failure::new(format!("no error: {what}")).into()),
        Err(error) => Ok(error),
    }
}

/// The router's refusal among the sources of an error.
fn refusal<'a>(error: &'a (dyn std::error::Error + 'static)) -> Result<&'a dbrouter::RouteError> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(refusal) = error.downcast_ref() {
            return Ok(refusal);
        }
        next = error.source();
    }
    Err(Failure::new(format!("no refusal is the source of: {error}; {error:?}")).into())
}

/// Remembers the events of a router, as text.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    /// The events that name all of these nodes.
    fn about(&self, nodes: &[&str]) -> Vec<String> {
        let mut events = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        events.retain(|event| {
            let mut nodes = nodes.iter();
            nodes.all(|node| event.contains(&format!("{node:?}")))
        });
        events
    }
}

impl Observer for Told {
    fn happened(&self, event: &Event) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.push(format!("{event:?}"));
    }

    fn is_prompt(&self) -> bool {
        true
    }
}

/// Reads this version, however often. Where a read that fails is not run again elsewhere, it may fail.
async fn expect_version<S: Subject>(session: &S::Handle, expected: i64) -> Result<()> {
    expect_row::<S>(session, 1, expected).await
}

/// As [`expect_version`], of another row.
async fn expect_row<S: Subject>(session: &S::Handle, row: i32, expected: i64) -> Result<()> {
    match session.get(row).await {
        Ok(found) => {
            let node = session.last_decision();
            let what = format!("version of row {row} on {node:?}");
            expect(&what, found, Some(expected))
        }
        Err(error) if matches!(S::capabilities().retries, Support::Yes) => Err(error),
        Err(_) => Ok(()),
    }
}

/// Whether a session that needs no more than it saw reads from a node; what it reads is right.
async fn serves<S: Subject>(db: &S::Handle, node: &str, version: i64) -> Result<()> {
    let mut wrong = None;
    let served = wait::until(async || {
        let session = db.session();
        let Ok(found) = session.get(1).await else {
            return false;
        };
        let from = last(&session).is_ok_and(|(from, _)| from == node);
        if from && found != Some(version) {
            wrong = Some(found);
        }
        from
    });
    let status = || dbrouter::Router::status(db.cluster()).to_string();
    check(
        served.await,
        format!("{node} serves no read:\n{}", status()),
    )?;
    check(
        wrong.is_none(),
        format!("{node} shows {wrong:?}, not {version}"),
    )
}

/// What is done in a transaction.
fn body<F>(body: F) -> Body
where
    F: for<'t> FnOnce(&'t mut dyn Statements) -> BoxFuture<'t, Result<()>> + Send + 'static,
{
    Box::new(body)
}

async fn next<T>(stream: &mut BoxStream<'_, T>) -> Option<T> {
    std::future::poll_fn(|cx| stream.as_mut().poll_next(cx)).await
}

/// Polls a future that waits for nothing once, and drops it.
async fn polled_once(future: impl Future) {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
}

/// Polls a future so many times, and drops it.
async fn abandoned_after(polls: u32, future: impl Future) {
    let mut future = std::pin::pin!(future);
    let mut polled = 0;
    std::future::poll_fn(|cx| {
        polled += 1;
        if polled > polls || future.as_mut().poll(cx).is_ready() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
}

/// A pool's limits in cases that are not about them.
const PATIENCE: Duration = Duration::from_secs(20);
