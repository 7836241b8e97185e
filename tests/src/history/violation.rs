//! A rule that was broken, by whom, and why.

use std::fmt;

use super::{Operation, Outcome, Role};

/// What a router promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An acknowledged write is there as long as its server's data is.
    LostWrite,
    /// No write is carried out on a replica.
    WriteOnReplica,
    /// No write is carried out twice, none that was refused, and each that was acknowledged.
    ExactlyOnce,
    /// What is seen has been written.
    Invented,
    /// A session sees what it has written, or been told of.
    ReadYourWrites,
    /// A session does not see less than it has seen, or been told of.
    MonotonicReads,
    /// No read fails while a server was able to serve it.
    FailedRead,
    /// No write fails while the primary was able to serve it.
    FailedWrite,
    /// When a server has been promoted, its predecessor gets no more writes.
    DeposedPrimary,
    /// Nothing takes longer than it may.
    Latency,
    /// A replica that follows is known to be fresh, as long as it and the primary answer.
    Unproved,
}

/// A rule that was broken.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The operations that contradict each other, with their numbers; the one that broke the rule is the last.
    pub operations: Vec<(usize, Operation)>,
    /// Why they do.
    pub explanation: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.rule, self.explanation)?;
        for (number, operation) in &self.operations {
            write!(f, "\n  #{number} {operation}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            session,
            key,
            begin,
            end,
            served,
            outcome,
        } = self;
        write!(f, "{begin:?} to {end:?}, session {}: ", session.0)?;
        match outcome {
            Outcome::Saw(version) => write!(f, "saw version {} of key {}", version.0, key.0)?,
            Outcome::ReadFailed => write!(f, "failed to read key {}", key.0)?,
            Outcome::Wrote(version) => write!(f, "wrote version {} of key {}", version.0, key.0)?,
            Outcome::WriteRefused => write!(f, "was refused to write key {}", key.0)?,
            Outcome::WriteUnknown => write!(f, "may have written key {}", key.0)?,
        }
        match served {
            None => Ok(()),
            Some(served) => {
                let role = match served.role {
                    Role::Primary => "primary",
                    Role::Replica => "replica",
                };
                write!(f, ", on {role} {}", served.server.0)
            }
        }
    }
}
