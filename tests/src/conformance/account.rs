//! What the servers say that they have executed for all cases of a mount.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::server::Served;

/// The servers' own counts, of the table `kv`, as far as they were still running when their case ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// Cases that have passed so far as to be counted.
    pub cases: u64,
    /// What was executed on nodes that were replicas in the end.
    pub replicas: Served,
    /// What was executed on nodes that were primaries in the end.
    pub primaries: Served,
}

static ACCOUNTS: Mutex<BTreeMap<&'static str, Account>> = Mutex::new(BTreeMap::new());

impl Account {
    pub(super) fn add(mount: &'static str, account: &Self) {
        let mut accounts = ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = accounts.entry(mount).or_default();
        sum.cases += account.cases;
        for (sum, more) in [
            (&mut sum.replicas, &account.replicas),
            (&mut sum.primaries, &account.primaries),
        ] {
            sum.reads += more.reads;
            sum.writes += more.writes;
        }
    }

    /// The accounts of all mounts on servers that have run in this process.
    pub fn all() -> BTreeMap<&'static str, Self> {
        let accounts = ACCOUNTS.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.clone()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cases,
            replicas,
            primaries,
        } = self;
        write!(
            f,
            "{cases} cases: replicas {} reads and {} writes, primaries {} reads and {} writes",
            replicas.reads, replicas.writes, primaries.reads, primaries.writes
        )
    }
}
