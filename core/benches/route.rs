//! What routing costs: `cargo bench -p dbrouter`.
//!
//! Each figure is one whole decision: the route is taken and dropped, so it includes the place on the
//! node, the counters, and what the session learns at the end. Allocations are counted as well; there
//! should be none but those of a new session.

#![expect(
    clippy::unwrap_used,
    reason = "a benchmark that cannot go on has failed"
)]

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use dbrouter::observer::{Decided, Observer};
use dbrouter::policy::{
    LeastInFlight, Nearest, PeakEwma, Policy, PowerOfTwo, Random, Rendezvous, RoundRobin, Sticky,
    WeightedRandom, WeightedRoundRobin,
};
use dbrouter::{
    Answer, Backend, Cluster, Dialect, Fault, NodeSpec, Pressure, Question, Request, RouteError,
    Router, SessionState, Settings, Terms, scope::with_replica, with_session,
};
use divan::{AllocProfiler, Bencher, black_box};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// A server that shares its storage with all others, and so is always fresh.
#[derive(Clone)]
struct File;

impl Backend for File {
    type Error = RouteError;
    type Connection = ();
    type Probe = ();

    fn refused(refusal: RouteError) -> RouteError {
        refusal
    }

    async fn acquire(&self) -> Result<(), RouteError> {
        Ok(())
    }

    fn pressure(&self) -> Pressure {
        Pressure::default()
    }

    fn fault(_: &RouteError) -> Fault {
        Fault::Other
    }

    async fn open_probe(&self) -> Result<(), RouteError> {
        Ok(())
    }

    async fn ask(_: &mut (), _: &Question) -> Result<Answer, RouteError> {
        Ok([Some("/a/file".to_owned())].into_iter().collect())
    }
}

/// A router over a primary and so many replicas. Its monitor has met them and rests.
fn router(policy: impl Policy, replicas: u32) -> Cluster<File> {
    router_with(Settings::new().policy(policy), replicas)
}

fn router_with(settings: Settings, replicas: u32) -> Cluster<File> {
    let mut builder = Cluster::builder(Dialect::Sqlite, settings).primary(NodeSpec::new(), File);
    for number in 0..replicas {
        builder = builder.replica(NodeSpec::new().weight(1 + number % 3), File);
    }
    runtime().block_on(builder.connect()).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
}

fn measure(bencher: Bencher<'_, '_>, db: &Cluster<File>, session: &SessionState) {
    let request = Request::read();
    bencher.bench(|| drop(black_box(db.route(black_box(&request), session))));
}

macro_rules! policies {
    ($($name:ident: $policy:expr;)*) => {
        /// A read of the root handle over three nodes.
        mod root {
            use super::*;
            $(
                #[divan::bench]
                fn $name(bencher: Bencher<'_, '_>) {
                    let db = router($policy, 2);
                    measure(bencher, &db, &db.current_session());
                }
            )*
        }

        /// A read of a session over three nodes; it includes a look at the clock, at its end.
        mod session {
            use super::*;
            $(
                #[divan::bench]
                fn $name(bencher: Bencher<'_, '_>) {
                    let db = router($policy, 2);
                    measure(bencher, &db, &db.session());
                }
            )*
        }

        /// A read of the root handle over a thousand nodes.
        mod root_of_1000 {
            use super::*;
            $(
                #[divan::bench]
                fn $name(bencher: Bencher<'_, '_>) {
                    let db = router($policy, 999);
                    measure(bencher, &db, &db.current_session());
                }
            )*
        }

        /// Reads of the root handle over three nodes, on two threads at once.
        mod contended {
            use super::*;
            $(
                #[divan::bench(threads = 2)]
                fn $name(bencher: Bencher<'_, '_>) {
                    let db = router($policy, 2);
                    measure(bencher, &db, &db.current_session());
                }
            )*
        }
    };
}

policies! {
    random: Random::new();
    weighted_random: WeightedRandom::new();
    round_robin: RoundRobin::new();
    weighted_round_robin: WeightedRoundRobin::new();
    least_in_flight: LeastInFlight::new();
    power_of_two: PowerOfTwo::new();
    peak_ewma: PeakEwma::new();
    nearest: Nearest::new();
    rendezvous: Rendezvous::new();
    sticky: Sticky::new(PeakEwma::new());
}

/// Somebody is told of each decision.
struct Count(AtomicU64);

impl Observer for Count {
    fn decided(&self, _: &Decided<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// As `root::random`, with an observer that counts.
#[divan::bench]
fn observed(bencher: Bencher<'_, '_>) {
    let settings = Settings::new().policy(Random::new());
    let db = router_with(settings.observer(Count(AtomicU64::new(0))), 2);
    measure(bencher, &db, &db.current_session());
}

/// A read of a session that has just written.
#[divan::bench]
fn read_after_write(bencher: Bencher<'_, '_>) {
    let db = router(RoundRobin::new(), 2);
    let session = db.session();
    drop(db.route(&Request::write(), &session).unwrap());
    measure(bencher, &db, &session);
}

/// A write, from its route to what the session needs afterwards.
#[divan::bench]
fn write(bencher: Bencher<'_, '_>) {
    let db = router(RoundRobin::new(), 2);
    let session = db.session();
    let request = Request::write();
    bencher.bench(|| drop(black_box(db.route(black_box(&request), &session))));
}

#[divan::bench]
fn new_session(bencher: Bencher<'_, '_>) {
    let db = router(RoundRobin::new(), 2);
    bencher.bench(|| db.session());
}

/// What scopes add: first to a piece of work as it begins, then to a whole decision, which has a look at the clock
/// at its end if there is a session.
macro_rules! handles {
    ($($name:ident: $scope:expr, $handle:expr;)*) => {
        mod begins {
            use super::*;
            $(
                #[divan::bench]
                fn $name(bencher: Bencher<'_, '_>) {
                    let root = Terms::new(&router(RoundRobin::new(), 2)).read();
                    let (handle, session) = ($handle(&root), root.session().state());
                    let inside = async { bencher.bench(|| drop(black_box(handle.work()))) };
                    runtime().block_on($scope(session, inside));
                }
            )*
        }

        mod decides {
            use super::*;
            $(
                #[divan::bench]
                fn $name(bencher: Bencher<'_, '_>) {
                    let db = router(RoundRobin::new(), 2);
                    let root = Terms::new(&db).read();
                    let (handle, session) = ($handle(&root), root.session().state());
                    let inside = async {
                        bencher.bench(|| drop(black_box(at_once(handle.work().acquire()))));
                    };
                    runtime().block_on($scope(session, inside));
                }
            )*
        }
    };
}

handles! {
    root_outside: |_, inside| inside, Terms::clone;
    session_outside: |_, inside| inside, |root: &Terms<File>| root.session().read();
    root_in_session: with_session, Terms::clone;
    root_in_replica: |_, inside| with_replica(inside), Terms::clone;
    root_in_replica_in_session:
        |session, inside| with_session(session, with_replica(inside)), Terms::clone;
    session_in_replica: |_, inside| with_replica(inside), |root: &Terms<File>| root.session().read();
}

/// What a future returns that waits for nothing.
fn at_once<F: Future>(future: F) -> F::Output {
    let mut context = Context::from_waker(Waker::noop());
    match pin!(future).poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("there is nothing to wait for"),
    }
}
