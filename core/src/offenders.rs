//! The statements that broke their connection on one node and failed on another, while neither was found gone.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::request::stable_hash;

/// The texts of such statements, by their hash.
///
/// A broken connection makes a node suspect, and a suspect node gets no reads. If a statement breaks a connection
/// wherever it runs, such as one that is larger than what servers or what lies before them accept, each run would keep
/// everybody's reads from one node after the other. So a statement that is known for it makes no node suspect: the
/// monitor is told to ask the node, and that decides.
#[derive(Debug, Default)]
pub(crate) struct Offenders(Mutex<VecDeque<u64>>);

impl Offenders {
    /// The oldest ones are forgotten when there are more. Programs have few such statements.
    const CAPACITY: usize = 256;

    /// Whether the statement is one of them.
    pub(crate) fn contains(&self, sql: &str) -> bool {
        self.hashes().contains(&stable_hash(sql.as_bytes()))
    }

    /// Remembers a statement.
    pub(crate) fn remember(&self, sql: &str) {
        let hash = stable_hash(sql.as_bytes());
        let mut hashes = self.hashes();
        if hashes.contains(&hash) {
            return;
        }
        if hashes.len() == Self::CAPACITY {
            hashes.pop_front();
        }
        hashes.push_back(hash);
    }

    /// A node is gone: what broke connections of late may have done so because of that.
    pub(crate) fn forget(&self) {
        self.hashes().clear();
    }

    fn hashes(&self) -> MutexGuard<'_, VecDeque<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_latest_are_remembered_until_a_node_is_gone() {
        let offenders = Offenders::default();
        for number in 0..Offenders::CAPACITY + 10 {
            offenders.remember(&number.to_string());
            offenders.remember(&number.to_string());
        }
        assert!(!offenders.contains("9") && offenders.contains("10"));
        assert_eq!(offenders.hashes().len(), Offenders::CAPACITY);
        offenders.forget();
        assert!(!offenders.contains("10"));
    }
}
