//! Which server the router's nodes lead to.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::history::ServerId;

/// The nodes of a router, by their names.
#[derive(Default)]
pub(super) struct Names(Mutex<HashMap<String, Led>>);

/// Where a node leads.
#[derive(Clone, Copy)]
struct Led {
    to: ServerId,
    since: Duration,
}

impl Names {
    /// From that instant on, and unless it is known already, the node leads to that server.
    pub(super) fn add(&self, name: &str, to: ServerId, since: Duration) {
        let mut names = self.lock();
        names.entry(name.to_owned()).or_insert(Led { to, since });
    }

    /// The node leads somewhere else, and it cannot be told since when its connections do.
    pub(super) fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Where the node leads, if it has led there since that instant.
    pub(super) fn leads(&self, name: &str, since: Duration) -> Option<ServerId> {
        let led = self.lock().get(name).copied()?;
        (led.since <= since).then_some(led.to)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Led>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "replica";
    const HERE: ServerId = ServerId(1);
    const THERE: ServerId = ServerId(2);

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn an_operation_that_overlaps_a_move_was_served_nobody_knows_where() {
        let names = Names::default();
        names.add(NAME, HERE, at(0));
        assert_eq!(names.leads(NAME, at(1)), Some(HERE));
        names.forget(NAME);
        assert_eq!(names.leads(NAME, at(1)), None);
        names.add(NAME, THERE, at(5));
        assert_eq!(names.leads(NAME, at(4)), None);
        assert_eq!(names.leads(NAME, at(5)), Some(THERE));
    }

    #[test]
    fn a_node_that_is_known_has_not_moved() {
        let names = Names::default();
        names.add(NAME, HERE, at(0));
        names.add(NAME, HERE, at(5));
        assert_eq!(names.leads(NAME, at(1)), Some(HERE));
        assert_eq!(names.leads("another", at(1)), None);
    }
}
