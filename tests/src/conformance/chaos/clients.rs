//! What clients do meanwhile, and what they record.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{Begun, Record};
use crate::Result;
use crate::conformance::{Handle, Site, Subject, Support, body};
use crate::history::{Handover, Key, Operation, Outcome, Role, Served, SessionId, Told, Version};

const CLIENTS: usize = 8;
/// How many keys each client writes at a time, and nobody else, so that a version says which write it was.
const OWN: usize = 8;
/// How many of the keys that it has last touched a client comes back to.
const RECENT: usize = 4;
/// How many keys there are.
const KEYS: u64 = 16_384;

/// Which keys are in use. Who does not know what became of a write leaves its key alone, for it may be carried out yet,
/// and takes another, for as long as there are any.
pub(super) struct Keys {
    used: [AtomicU64; CLIENTS * OWN],
    fresh: AtomicU64,
}

impl Keys {
    pub(super) fn new() -> Self {
        let mut keys = 1..;
        let used = [(); CLIENTS * OWN].map(|()| AtomicU64::new(keys.next().unwrap_or_default()));
        let fresh = AtomicU64::new(keys.start);
        Self { used, fresh }
    }

    /// Adds those keys that other cases do without.
    pub(super) async fn fill<S: Subject>(site: &Site<S>) -> Result<()> {
        let rows: Vec<_> = (65..=KEYS).map(|id| format!("({id}, 0)")).collect();
        let insert = format!("insert into kv values {}", rows.join(", "));
        site.execute(0, &insert).await
    }

    fn any(&self, random: &mut Rng) -> u64 {
        self.used[random.usize(..self.used.len())].load(Ordering::Relaxed)
    }

    fn renew(&self, place: usize) -> Option<u64> {
        let fresh = self.fresh.fetch_add(1, Ordering::Relaxed);
        let key = (fresh <= KEYS).then_some(fresh)?;
        self.used[place].store(key, Ordering::Relaxed);
        Some(key)
    }
}

/// A key that a client writes.
struct Own {
    place: usize,
    key: u64,
    next: u64,
}

struct Client<S: Subject> {
    db: S::Handle,
    record: Arc<Record>,
    random: Rng,
    own: Vec<Own>,
    recent: [u64; RECENT],
    id: SessionId,
    session: S::Handle,
}

/// They go on until they are stopped.
pub(super) fn start<S: Subject>(
    db: &S::Handle,
    record: &Arc<Record>,
    random: &mut Rng,
) -> Vec<JoinHandle<()>> {
    let own = |place: usize| Own {
        place,
        key: record.keys.used[place].load(Ordering::Relaxed),
        next: 1,
    };
    let client = |number: usize| Client::<S> {
        db: db.clone(),
        record: Arc::clone(record),
        random: Rng::with_seed(random.u64(..)),
        own: (number * OWN..(number + 1) * OWN).map(own).collect(),
        recent: [1; RECENT],
        id: record.session(),
        session: db.session(),
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    let start = |client: Client<S>| tokio::spawn(client.run());
    clients.into_iter().map(start).collect()
}

impl<S: Subject> Client<S> {
    async fn run(mut self) {
        while !self.record.stop.load(Ordering::Relaxed) {
            match self.random.u8(..100) {
                0..20 if !self.own.is_empty() => self.write().await,
                20..25 => self.begin_anew(),
                25..28 => self.hand_over().await,
                28..33 => self.read_whatever().await,
                _ => self.read().await,
            }
            sleep(Duration::from_millis(self.random.u64(..8))).await;
        }
    }

    fn begin_anew(&mut self) {
        (self.id, self.session) = (self.record.session(), self.db.session());
    }

    /// Goes on as another session, which is told what this one must see.
    async fn hand_over(&mut self) {
        let (from, taken) = (self.id, self.record.now());
        let (tells, token) = match self.random.bool() {
            true => (Told::Writes, self.session.token().await),
            false => (Told::WritesAndReads, self.session.token_with_reads().await),
        };
        let to = self.record.session();
        self.id = to;
        let Some(token) = token else {
            self.session = self.db.session();
            return;
        };
        self.session = self.db.session_from(&token);
        let given = self.record.now();
        self.record.history(|history| {
            history.handed_over(Handover {
                from,
                taken,
                to,
                given,
                tells,
            });
        });
    }

    async fn write(&mut self) {
        let index = self.random.usize(..self.own.len());
        let own = &mut self.own[index];
        let (id, version) = (own.key, own.next);
        own.next += 1;
        touch(&mut self.recent, id);
        let begun = self.record.begin();
        let written = match self.random.u8(..4) {
            0 => {
                let sql = format!("update kv set version = {version} where id = {id}");
                let body =
                    body(move |connection| Box::pin(async move { connection.execute(&sql).await }));
                self.session.transact(body).await
            }
            _ => {
                let version = i64::try_from(version).unwrap_or_default();
                self.session.set(row(id), version).await
            }
        };
        let failure = written.as_ref().err().map(ToString::to_string);
        let outcome = match written {
            Ok(()) => Outcome::Wrote(Version(version)),
            Err(_) => {
                match self.record.keys.renew(own.place) {
                    Some(key) => (own.key, own.next) = (key, 1),
                    None => drop(self.own.swap_remove(index)),
                }
                Outcome::WriteUnknown
            }
        };
        self.push(self.id, id, begun, outcome, failure, &self.session);
    }

    async fn read(&mut self) {
        let session = self.session.clone();
        self.read_with(self.id, &session).await;
    }

    /// Reads on nobody's behalf: nothing need be seen.
    async fn read_whatever(&mut self) {
        let session = self.db.session().eventual();
        self.read_with(self.record.session(), &session).await;
    }

    async fn read_with(&mut self, id: SessionId, session: &S::Handle) {
        // What is read but once in a session shows nothing of its order.
        let key = match self.random.bool() {
            true => self.recent[self.random.usize(..RECENT)],
            false => self.record.keys.any(&mut self.random),
        };
        touch(&mut self.recent, key);
        let begun = self.record.begin();
        let mut seen = session.get(row(key)).await;
        if !matches!(S::capabilities().retries, Support::Yes) {
            // Who uses guards must take another one himself.
            for _ in 0..3 {
                if seen.is_err() {
                    seen = session.get(row(key)).await;
                }
            }
        }
        let failure = seen.as_ref().err().map(ToString::to_string);
        let outcome = match seen {
            Ok(version) => {
                let version = version.unwrap_or_default();
                Outcome::Saw(Version(u64::try_from(version).unwrap_or_default()))
            }
            Err(_) => Outcome::ReadFailed,
        };
        self.push(id, key, begun, outcome, failure, session);
    }

    fn push(
        &self,
        id: SessionId,
        key: u64,
        begun: Begun,
        outcome: Outcome,
        failure: Option<String>,
        on: &S::Handle,
    ) {
        let done = matches!(outcome, Outcome::Saw(_) | Outcome::Wrote(_));
        let operation = Operation {
            session: id,
            key: Key(key),
            begin: begun.at,
            end: self.record.now(),
            served: if done { self.served(begun, on) } else { None },
            outcome,
        };
        let number = self.record.history(|history| history.push(operation));
        if done {
            self.record.done();
        }
        if let Some(failure) = failure {
            self.record.failed(number, failure);
        }
    }

    /// Where the session's last work went, by the router's account. What the servers say of writes is compared in the end.
    fn served(&self, begun: Begun, session: &S::Handle) -> Option<Served> {
        let decision = session.last_decision()?;
        let server = self.record.names.leads(&decision.node, begun.at)?;
        let is_primary = self.record.was_primary(begun, server);
        let role = match decision.intent {
            dbrouter::Intent::Write => Role::Primary,
            dbrouter::Intent::Read if is_primary => Role::Primary,
            dbrouter::Intent::Read => Role::Replica,
        };
        Some(Served { server, role })
    }
}

/// The key was touched last.
fn touch(recent: &mut [u64; RECENT], key: u64) {
    if !recent.contains(&key) {
        recent.rotate_right(1);
        recent[0] = key;
    }
}

fn row(key: u64) -> i32 {
    i32::try_from(key).unwrap_or_default()
}
