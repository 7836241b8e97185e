//! Cases on `libtest-mimic`: each with a runtime of its own, an end in sight, and an honest
//! outcome.
//!
//! A case whose server is not installed is reported as ignored, with the reason. Where
//! `DBROUTER_REQUIRE_SERVERS=1` is set, it fails: who says that the servers are there must not get
//! a suite that is green because it did nothing.
//!
//! ```no_run
//! use dbrouter_tests::{harness::{self, Case, Need}, postgres::Cluster};
//!
//! fn main() -> std::process::ExitCode {
//!     harness::run([Case::new("replication::arrives", async || {
//!         let cluster = Cluster::start(1).await?;
//!         // …
//!         Ok(())
//!     })
//!     .needs(Need::Postgres)])
//! }
//! ```

use std::{
    any::Any,
    cmp::Reverse,
    collections::HashMap,
    env, error, fmt,
    process::ExitCode,
    sync::{Mutex, PoisonError, RwLock, mpsc},
    thread,
    time::{Duration, Instant},
};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::{runtime, time};

use crate::{Failure, Result, mariadb, pgbouncer, postgres};

const REQUIRE_SERVERS: &str = "DBROUTER_REQUIRE_SERVERS";
/// Where it is set, it is printed in the end how long cases took: each chapter's in sum, and the longest ones.
const TIMES: &str = "DBROUTER_TIMES";
/// How long a case may take that does not say how long. It ends what hangs, and is met by nothing else, however busy the
/// machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);
/// What a case that no longer awaits anything gets on top, before it is left to itself.
const GRACE: Duration = Duration::from_secs(5);

/// Held for reading by cases that bear company, for writing by those that do not.
static MACHINE: RwLock<()> = RwLock::new(());

/// How long each case took, by its name.
static TOOK: Mutex<Vec<(String, Duration)>> = Mutex::new(Vec::new());

/// One named test, not yet run.
#[must_use = "a case is run by `run`"]
pub struct Case {
    name: String,
    body: Box<dyn FnOnce(Duration) -> Result<()> + Send>,
    needs: Vec<Need>,
    inapplicable: Option<&'static str>,
    limit: Duration,
    alone: bool,
}

/// What a case cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// An installation of PostgreSQL.
    Postgres,
    /// An installation of MariaDB.
    MariaDb,
    /// An installation of PgBouncer.
    PgBouncer,
}

/// Runs the cases that the command line asks for.
pub fn run(cases: impl IntoIterator<Item = Case>) -> ExitCode {
    let trials = cases.into_iter().map(Case::into_trial).collect();
    let code = libtest_mimic::run(&Arguments::from_args(), trials).exit_code();
    if env::var_os(TIMES).is_some() {
        print_times(&TOOK.lock().unwrap_or_else(PoisonError::into_inner));
    }
    code
}

fn print_times(took: &[(String, Duration)]) {
    const LONGEST: usize = 40;
    let mut chapters: HashMap<&str, (Duration, usize)> = HashMap::new();
    for (name, took) in took {
        let chapter = name.rsplit_once("::").map_or("", |(chapter, _)| chapter);
        let (sum, cases) = chapters.entry(chapter).or_default();
        *sum += *took;
        *cases += 1;
    }
    let mut chapters: Vec<_> = chapters.into_iter().collect();
    chapters.sort_by_key(|(_, (sum, _))| Reverse(*sum));
    for (chapter, (sum, cases)) in chapters {
        println!(
            "{:>7.1} s in {cases:>3} cases: {chapter}",
            sum.as_secs_f64()
        );
    }
    let mut longest: Vec<_> = took.iter().collect();
    longest.sort_by_key(|(_, took)| Reverse(*took));
    for (name, took) in longest.into_iter().take(LONGEST) {
        println!("{:>7.1} s: {name}", took.as_secs_f64());
    }
}

impl Case {
    /// A case that passes if `body` returns `Ok` and does not panic.
    pub fn new<B>(name: impl Into<String>, body: B) -> Self
    where
        B: AsyncFnOnce() -> Result<()> + Send + 'static,
    {
        Self {
            name: name.into(),
            body: Box::new(move |limit| block_on(limit, body)),
            needs: Vec::new(),
            inapplicable: None,
            limit: LIMIT,
            alone: false,
        }
    }

    /// Its name, as on the command line.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Says what must be installed. Defaults to nothing.
    pub fn needs(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// Lets no other case of this binary run meanwhile, for what is measured or timed. Defaults to
    /// company.
    pub fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Fails the case when it takes longer. Defaults to five minutes.
    pub fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// A case that says nothing about what it is mounted on, and why. It is reported as ignored wherever it
    /// runs: no server would make it apply.
    pub fn inapplicable(name: impl Into<String>, reason: &'static str) -> Self {
        let mut case = Self::new(name, async || Ok(()));
        case.inapplicable = Some(reason);
        case
    }

    fn into_trial(self) -> Trial {
        Trial::ignorable_test(self.name.clone(), move || {
            if let Some(reason) = self.inapplicable {
                return Ok(Completion::ignored_with(format!("inapplicable: {reason}")));
            }
            for need in &self.needs {
                if let Err(reason) = need.check() {
                    return lacking(&reason);
                }
            }
            self.run().map(|()| Completion::Completed)
        })
    }

    fn run(self) -> Result<(), Failed> {
        let alone = self
            .alone
            .then(|| MACHINE.write().unwrap_or_else(PoisonError::into_inner));
        let among = (!self.alone).then(|| MACHINE.read().unwrap_or_else(PoisonError::into_inner));
        let begun = Instant::now();
        let outcome = run_apart(self.name.clone(), self.limit, self.body);
        let took = (self.name, begun.elapsed());
        drop((alone, among));
        TOOK.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(took);
        outcome
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            needs,
            inapplicable,
            limit,
            alone,
            body: _,
        } = self;
        f.debug_struct("Case")
            .field("name", name)
            .field("needs", needs)
            .field("inapplicable", inapplicable)
            .field("limit", limit)
            .field("alone", alone)
            .finish_non_exhaustive()
    }
}

impl Need {
    fn check(self) -> Result<(), String> {
        let found = match self {
            Self::Postgres => postgres::Binaries::find().map(drop),
            Self::MariaDb => mariadb::Binaries::find().map(drop),
            Self::PgBouncer => pgbouncer::Binary::find().map(drop),
        };
        found.map_err(|missing| missing.to_string())
    }
}

fn lacking(reason: &str) -> Result<Completion, Failed> {
    if env::var_os(REQUIRE_SERVERS).is_some_and(|value| value == "1") {
        Err(Failed::from(format!("{REQUIRE_SERVERS}=1, but {reason}")))
    } else {
        Ok(Completion::ignored_with(reason))
    }
}

/// Runs the body on a thread that can be left behind, should it block instead of awaiting.
fn run_apart(
    name: String,
    limit: Duration,
    body: Box<dyn FnOnce(Duration) -> Result<()> + Send>,
) -> Result<(), Failed> {
    let (done, outcome) = mpsc::sync_channel(1);
    // The name is in the message of a panic.
    let thread = thread::Builder::new().name(name).spawn(move || {
        let result = body(limit);
        // Nobody listens any more if this came too late.
        done.send(result).ok();
    })?;
    match outcome.recv_timeout(limit + GRACE) {
        Ok(result) => result.map_err(|error| Failed::from(chain(&*error))),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(Failed::from(format!("blocked for {limit:?}"))),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(Failed::from(match thread.join() {
            Err(panic) => panic_message(&*panic),
            Ok(()) => "ended without an outcome".to_owned(),
        })),
    }
}

fn block_on(limit: Duration, body: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(async { time::timeout(limit, body()).await });
    // Tasks that the case has left behind are not waited for.
    runtime.shutdown_background();
    outcome.map_err(|_| Failure::new(format!("not done after {limit:?}")))?
}

fn chain(error: &dyn error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("panicked")
        .to_owned()
}
