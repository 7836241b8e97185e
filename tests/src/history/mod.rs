//! What clients did and saw, recorded, and whether that keeps the promises that the router makes.
//!
//! Nothing here knows of an adapter, a server or a router. Whoever runs clients records their [`Operation`]s, and
//! what the world did meanwhile: which server took whose place, and with which data ([`Promotion`]); which could
//! not serve, and when ([`Outage`]); what one session handed on to another ([`Handover`]); and, where it
//! can be known, what the servers carried out ([`Execution`]). [`History::check`] then names each [`Violation`].
//!
//! # Versions
//!
//! Each write gives its key a version that is used once in the whole history, and is above all that the key has
//! had on that server. So a version says which write was seen, and two of them which came later: a number that
//! the server counts, or one that the key's only writer counts. What nobody has written has the version zero.
//!
//! # Instants
//!
//! Durations since the history's beginning, by one monotonic clock of whoever records. An operation of a session
//! comes after another of its if it begins when that one has ended, or later. Of two sessions, only later counts.
//!
//! # Data that dies with its server
//!
//! A promotion says, key by key, which version the promoted server had. What its predecessor had beyond that, or
//! took afterwards, is lost: from then on nobody can be asked to see it, and who does see it sees an old state.

mod check;
mod fate;
mod knowledge;
#[cfg(test)]
mod tests;
mod violation;

use std::collections::HashMap;
use std::time::Duration;

pub use violation::{Rule, Violation};

/// One session of a client, whichever process it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// One server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub u32);

/// What is written and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

/// What a write has made of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

/// What a server is, by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It follows another.
    Replica,
}

/// Which server served an operation, and what it was by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Served {
    /// The server.
    pub server: ServerId,
    /// Its role.
    pub role: Role,
}

/// One statement of one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Whose it is.
    pub session: SessionId,
    /// What it is about.
    pub key: Key,
    /// Before it was handed to the router.
    pub begin: Duration,
    /// When its outcome was there.
    pub end: Duration,
    /// By whom it was served, if that is known.
    pub served: Option<Served>,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A read, and what it saw.
    Saw(Version),
    /// A read that failed.
    ReadFailed,
    /// A write that was acknowledged.
    Wrote(Version),
    /// A write that certainly had no effect.
    WriteRefused,
    /// A write that may have had an effect, or may still have one.
    WriteUnknown,
}

/// What a server carried out, by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The operation, as [`History::push`] has numbered it.
    pub operation: usize,
    /// The key's version since.
    pub version: Version,
    /// Where, and as what.
    pub served: Served,
    /// When.
    pub at: Duration,
}

/// A server becomes the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion {
    /// From when on it takes writes.
    pub at: Duration,
    /// The server.
    pub server: ServerId,
    /// The versions that it had then. What it does not name it had nothing of.
    pub survived: HashMap<Key, Version>,
    /// What became of the primary before it.
    pub predecessor: Predecessor,
}

/// What becomes of a primary whose place is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Predecessor {
    /// It does not answer, or not as a primary, until the promoted one has been known for long.
    Gone,
    /// It goes on as if nothing had happened, or comes back as what it was. Who has not met the promoted one may believe
    /// that what this one has is all there is: until then, that what the promoted one has written is not seen breaks no
    /// rule. Only a server that must ask others before it answers would do better.
    Answers,
}

/// For how long a server could not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outage {
    /// The server.
    pub server: ServerId,
    /// The last instant at which it could.
    pub from: Duration,
    /// The first at which it can again.
    pub to: Duration,
    /// What it could not do.
    pub of: Ability,
}

/// What a server can or cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ability {
    /// To serve anything: it was down, frozen, or not to be reached.
    Service,
    /// To show that it shows what somebody must see: its replay stood still, or the primary could not be asked. Who
    /// has done nothing yet can be served all the same.
    Proof,
}

/// A session goes on from where another was, in this process or another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Whose needs they are.
    pub from: SessionId,
    /// When they were written down.
    pub taken: Duration,
    /// Who has them since.
    pub to: SessionId,
    /// Since when.
    pub given: Duration,
    /// What it tells.
    pub tells: Told,
}

/// What is handed from session to session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Told {
    /// What was written.
    Writes,
    /// What was written, and what was read.
    WritesAndReads,
}

/// What the caller demands, beside correctness.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How long a read may take, whatever its outcome, while some server is able to serve it.
    pub read: Duration,
    /// How long a write may take while the primary is able to serve it.
    pub write: Duration,
    /// How long anything may take, whatever the servers do.
    pub patience: Duration,
    /// How long a server must have been able to serve before it is demanded that it does, and how long after a
    /// promotion the predecessor may still be taken for the primary.
    pub settle: Duration,
    /// Whether a replica may show a commit before the primary does.
    pub visibility: Visibility,
}

/// When a commit is seen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Visibility {
    /// On the primary, before any replica has it.
    PrimaryFirst,
    /// As on PostgreSQL and MariaDB: between being logged and being acknowledged, a replica may show what the primary
    /// does not yet. So who goes from a replica to the primary may miss what nobody has been told of.
    Logged,
}

/// What clients did, and what the world did meanwhile.
#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
    promotions: Vec<Promotion>,
    outages: Vec<Outage>,
    handovers: Vec<Handover>,
    executions: Option<Vec<Execution>>,
    remained: Option<HashMap<Key, Version>>,
}

impl History {
    /// Nothing has happened yet, and `primary` is the primary.
    #[must_use]
    pub fn new(primary: ServerId) -> Self {
        let mut history = Self::default();
        history.promotions.push(Promotion {
            at: Duration::ZERO,
            server: primary,
            survived: HashMap::new(),
            predecessor: Predecessor::Gone,
        });
        history
    }

    /// Records an operation, in any order, and returns its number.
    pub fn push(&mut self, operation: Operation) -> usize {
        self.operations.push(operation);
        self.operations.len() - 1
    }

    /// All operations, by their numbers.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// A server becomes the primary; later than all that did before.
    pub fn promoted(&mut self, promotion: Promotion) {
        self.promotions.push(promotion);
        self.promotions.sort_by_key(|promotion| promotion.at);
    }

    /// A server could not serve, or not prove.
    pub fn unable(&mut self, outage: Outage) {
        self.outages.push(outage);
    }

    /// A session was told of another's needs.
    pub fn handed_over(&mut self, handover: Handover) {
        self.handovers.push(handover);
    }

    /// All that the servers carried out, lost or not. Where it is said, no write may be carried out that is not there.
    pub fn executed(&mut self, executions: Vec<Execution>) {
        self.executions = Some(executions);
    }

    /// What the primary showed in the end. Where it is said, all must be there that was acknowledged and not lost.
    pub fn remained(&mut self, versions: HashMap<Key, Version>) {
        self.remained = Some(versions);
    }

    /// All that breaks a rule, in the order of the operations' begins.
    #[must_use]
    pub fn check(&self, limits: &Limits) -> Vec<Violation> {
        check::check(self, limits)
    }
}
