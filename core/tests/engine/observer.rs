//! What observers are told, when, and that nobody waits for them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use dbrouter::observer::{Decided, Event, Observer};
use dbrouter::{Fault, Health, NodeSpec, Reason, Request, Router, Settings, Terms};

use crate::world::{Failure, Mood, World, pass, settings};

/// Keeps what it is told, in few words.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub(crate) fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    fn note(&self, words: String) {
        self.0.lock().unwrap().push(words);
    }

    fn taken_until(&self, wanted: &str) -> Option<Vec<String>> {
        let mut notes = self.0.lock().unwrap();
        let last = notes.iter().position(|note| note.starts_with(wanted))?;
        Some(notes.drain(..=last).collect())
    }

    /// Waits until something is noted that begins like that, and returns all until then. What is noted later stays.
    pub(crate) async fn until(&self, wanted: &str) -> Vec<String> {
        for _ in 0..5000 {
            if let Some(notes) = self.taken_until(wanted) {
                return notes;
            }
            // Observers are told on a thread of their own, in real time.
            std::thread::sleep(std::time::Duration::from_millis(1));
            pass(0).await;
        }
        panic!("no {wanted:?} in {:?}", self.taken());
    }
}

impl Observer for Notes {
    fn happened(&self, event: &Event) {
        self.note(match event {
            Event::Suspected { peer, error } => format!("suspected {} {error}", peer.node()),
            Event::Ejected { peer, error, .. } => format!("ejected {} {error}", peer.node()),
            Event::PoolFailed { peer, error } => format!("pool fails {} {error}", peer.node()),
            Event::PoolRecovered { peer } => format!("pool gives {}", peer.node()),
            Event::Found {
                peer,
                role,
                before,
                after,
            } => format!("found {} {role} {before} {after}", peer.node()),
            Event::RoleChanged { peer, role } => format!("role {} {role}", peer.node()),
            Event::PrimaryChanged { from, to } => format!("primary {} {}", from.node(), to.node()),
            Event::Contested { primary, rival } => {
                format!("contested {} {}", primary.node(), rival.node())
            }
            Event::Retried { peer, fault } => format!("retried {} {fault:?}", peer.node()),
            Event::Misjudged { peer, statement } => {
                format!("misjudged {} {}", peer.node(), statement.len())
            }
            Event::PolicyOutOfRange { index, candidates } => {
                format!("out of range {index} {candidates}")
            }
            Event::NotLearnt { problem } => format!("not learnt {problem}"),
            other => format!("{other:?}"),
        });
    }
}

/// Is told at once.
#[derive(Clone, Default)]
struct Prompt(Notes);

impl Observer for Prompt {
    fn decided(&self, decided: &Decided<'_>) {
        let session = match decided.session {
            Some(_) => "session",
            None => "root",
        };
        self.0.note(format!(
            "{} on {} of {session}: {}{}",
            decided.intent,
            decided.peer.node(),
            decided.reason,
            if decided.is_fallback() {
                ", fallback"
            } else {
                ""
            },
        ));
    }

    fn happened(&self, event: &Event) {
        self.0.happened(event);
    }

    fn is_prompt(&self) -> bool {
        true
    }
}

async fn world(settings: Settings) -> World {
    World::with(settings, vec![NodeSpec::new(); 2]).await
}

#[tokio::test(start_paused = true)]
async fn decisions_are_told_where_they_are_made() {
    let prompt = Prompt::default();
    let world = world(settings().observer(prompt.clone())).await;
    prompt.0.taken();
    let session = world.db.session();
    world.read(&session);
    for replica in &world.replicas {
        replica.pause();
    }
    world.write(&session);
    world.read(&session);
    drop(
        world
            .db
            .route(&Request::read(), &world.db.current_session())
            .unwrap(),
    );
    world.db.explain(&Request::read(), &session).unwrap();
    let told = [
        "read on replica-2 of session: chosen by the policy",
        "write on primary of session: a write",
        "read on primary of session: no replica is fresh enough yet, fallback",
        "read on primary of root: no replica is fresh enough yet, fallback",
    ];
    assert_eq!(prompt.0.taken(), told);
}

#[tokio::test(start_paused = true)]
async fn events_are_told_once_and_in_their_order() {
    let notes = Notes::default();
    let prompt = Prompt::default();
    let settings = settings().observer(notes.clone()).observer(prompt.clone());
    let world = world(settings).await;
    let begun = [
        "found primary primary new healthy",
        "found replica-1 replica new healthy",
        "found replica-2 replica new healthy",
    ];
    assert_eq!(notes.until("found replica-2").await, begun);
    prompt.0.taken();
    // A connection breaks: suspected, asked, found.
    world.lose("replica-1");
    world.lose("replica-1");
    pass(20).await;
    // A server dies, and comes back.
    world.replicas[0].mood(Mood::Refusing);
    pass(300).await;
    world.replicas[0].mood(Mood::Answering);
    pass(300).await;
    // A failover; the old primary comes back as it was.
    world.primary.mood(Mood::Refusing);
    pass(300).await;
    world.replicas[1].promote();
    world.replicas[1].fork(2, 9000);
    pass(300).await;
    world.primary.mood(Mood::Answering);
    pass(300).await;
    let expected = [
        "suspected replica-1 connection reset",
        "found replica-1 replica suspect healthy",
        "ejected replica-1 connection refused",
        "found replica-1 replica ejected healthy",
        "ejected primary connection refused",
        "primary primary replica-2",
        "found primary primary ejected healthy",
    ];
    let told = prompt.0.taken();
    let without_role = |notes: &[String]| {
        let mut notes = notes.to_vec();
        let other = ["role", "read on", "not learnt"];
        notes.retain(|note| !other.iter().any(|other| note.starts_with(other)));
        notes
    };
    assert_eq!(without_role(&told), expected, "{told:?}");
    assert_eq!(
        without_role(&notes.until("found primary primary").await),
        expected
    );
}

#[tokio::test(start_paused = true)]
async fn two_primaries_are_told_of() {
    let prompt = Prompt::default();
    let world = world(settings().observer(prompt.clone())).await;
    world.replicas[1].promote();
    pass(500).await;
    let told = prompt.0.taken();
    let contested = told
        .iter()
        .filter(|note| **note == "contested primary replica-2");
    assert_eq!(contested.count(), 1, "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_run_again_is_told_with_its_fault() {
    for (failure, fault) in [
        ("conflict with recovery", Fault::Conflict),
        ("connection reset", Fault::Unavailable),
        ("no room", Fault::Busy),
    ] {
        let prompt = Prompt::default();
        let world = world(settings().observer(prompt.clone())).await;
        prompt.0.taken();
        let terms = Terms::new(&world.db).session().read();
        let run = terms.work().run("select 1", |server, _| {
            let fails = server.is(&world.replicas[1]);
            Box::pin(async move {
                match fails {
                    true => Err(Failure(failure)),
                    false => Ok(()),
                }
            })
        });
        drop(run.await.unwrap());
        let mut told = prompt.0.taken();
        told.retain(|note| note.starts_with("retried") || note.starts_with("read"));
        let expected = [
            "read on replica-2 of session: chosen by the policy".to_owned(),
            format!("retried replica-2 {fault:?}"),
            "read on replica-1 of session: chosen by the policy".to_owned(),
        ];
        assert_eq!(told, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_misjudged_statement_and_a_policy_out_of_bounds_are_told_of_once() {
    let prompt = Prompt::default();
    let policy = |_: dbrouter::Candidates<'_>, _: &Request| Some(7);
    let world = world(settings().policy(policy).observer(prompt.clone())).await;
    prompt.0.taken();
    let session = world.db.session();
    for _ in 0..3 {
        world.read(&session);
        let long = "x".repeat(1000);
        world.db.misjudged(&long, &world.node("replica-1"));
    }
    let mut told = prompt.0.taken();
    told.retain(|note| !note.starts_with("read"));
    assert_eq!(told, ["out of range 7 2", "misjudged replica-1 200"]);
}

/// Blocks until it is let go.
#[derive(Clone, Default)]
struct Blocking {
    gate: Arc<(Mutex<bool>, Condvar)>,
    told: Arc<AtomicUsize>,
}

/// Lets it go, however the test ends: the runtime waits for it.
struct OpenAtTheEnd(Blocking);

impl Drop for OpenAtTheEnd {
    fn drop(&mut self) {
        self.0.open();
    }
}

impl Blocking {
    fn open(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }
}

impl Observer for Blocking {
    fn happened(&self, _: &Event) {
        let open = self.gate.0.lock().unwrap();
        drop(self.gate.1.wait_while(open, |open| !*open).unwrap());
        self.told.fetch_add(1, Ordering::SeqCst);
    }
}

/// Counts events where they happen.
#[derive(Clone, Default)]
struct Counting(Arc<AtomicUsize>);

impl Observer for Counting {
    fn happened(&self, _: &Event) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn is_prompt(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn nobody_waits_for_an_observer_and_what_it_has_no_time_for_is_counted() {
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
    async fn until(what: &str, holds: impl Fn() -> bool) {
        let polling = async {
            while !holds() {
                tokio::time::sleep(crate::world::millis(1)).await;
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, polling).await.is_ok(),
            "{what}"
        );
    }
    let blocking = Blocking::default();
    let _open = OpenAtTheEnd(blocking.clone());
    let counting = Counting::default();
    let observed = settings()
        .observer(blocking.clone())
        .observer(counting.clone());
    let world = world(observed).await;
    // It stands still in the first event; the monitor and the routes do not.
    let before = world.primary.asked();
    until("the monitor stands still", || {
        world.primary.asked() > before
    })
    .await;
    for number in 0..2000 {
        let sql = format!("select f{number}()");
        world.db.misjudged(&sql, &world.node("replica-1"));
    }
    let session = world.db.session();
    assert_eq!(world.went(&Request::write(), &session).1, Reason::Write);
    // The queue holds 1,024, and one more is being told.
    let dropped = world.db.status().dropped_events;
    assert!(dropped >= 2000 - 1025, "only {dropped} were dropped");
    blocking.open();
    until("what was not dropped is not told", || {
        let dropped = usize::try_from(world.db.status().dropped_events).unwrap();
        blocking.told.load(Ordering::SeqCst) + dropped == counting.0.load(Ordering::SeqCst)
    })
    .await;
    assert!(blocking.told.load(Ordering::SeqCst) >= 1024);
}

/// Panics at whatever it is told.
struct Panicking;

impl Observer for Panicking {
    fn decided(&self, _: &Decided<'_>) {
        panic!("an observer has a bug");
    }

    fn happened(&self, _: &Event) {
        panic!("an observer has a bug");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_panics_disturbs_nobody() {
    let notes = Notes::default();
    let settings = settings().observer(Panicking).observer(notes.clone());
    let world = world(settings).await;
    let session = world.db.session();
    world.read(&session);
    world.write(&session);
    notes.until("found replica-2").await;
    world.lose("replica-1");
    notes.until("suspected replica-1").await;
    assert_eq!(world.node("primary").health(), Health::Healthy);
}

#[test]
fn outside_of_a_runtime_events_are_dropped_and_counted() {
    let notes = Notes::default();
    let db = dbrouter::Cluster::single(
        dbrouter::Dialect::Postgres,
        settings().observer(notes.clone()),
        crate::world::Server::primary(),
    );
    db.misjudged("select f()", &db.primary());
    assert_eq!(db.status().dropped_events, 1);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        db.misjudged("select g()", &db.primary());
        notes.until("misjudged").await;
    });
    // The runtime of the task is gone; another takes its place.
    drop(runtime);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        db.misjudged("select h()", &db.primary());
        notes.until("misjudged").await;
    });
}

#[tokio::test(start_paused = true)]
async fn the_peer_says_what_is_known_of_the_server() {
    let world = World::of(1).await;
    let node = world.node("replica-1");
    let peer = node.peer();
    assert_eq!(peer.node(), "replica-1");
    assert_eq!(peer.system(), dbrouter::Dialect::Postgres);
    assert_eq!((peer.address(), peer.port()), (None, None));
}
