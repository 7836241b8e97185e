//! The statements that were taken for reads and turned out to be writes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::request::stable_hash;

/// The texts of statements that a replica refused as writes, by their hash; and how often that happened.
///
/// The classifier cannot see what a view or a type calls. This memory is what makes such a statement cost
/// one detour, and not one each time.
#[derive(Debug, Default)]
pub(crate) struct Misjudged {
    hashes: ArcSwap<HashSet<u64>>,
    count: AtomicU64,
}

impl Misjudged {
    /// Programs have far fewer such statements. One that sends them with ever new values in their texts
    /// makes the memory begin anew.
    const CAPACITY: usize = 1024;

    /// Whether the statement is one of them.
    #[inline]
    pub(crate) fn contains(&self, sql: &str) -> bool {
        let hashes = self.hashes.load();
        !hashes.is_empty() && hashes.contains(&stable_hash(sql.as_bytes()))
    }

    /// Remembers a statement. Whether it was not known yet.
    pub(crate) fn remember(&self, sql: &str) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed);
        let hash = stable_hash(sql.as_bytes());
        let before = self.hashes.rcu(|known| {
            let mut hashes = match known.len() < Self::CAPACITY {
                true => HashSet::clone(known),
                false => HashSet::new(),
            };
            hashes.insert(hash);
            Arc::new(hashes)
        });
        !before.contains(&hash)
    }

    /// How often a replica refused a statement that was taken for a read.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn remembers_texts_and_counts_refusals() {
        let misjudged = Misjudged::default();
        assert!(!misjudged.contains("select f()"));
        assert!(misjudged.remember("select f()"));
        assert!(!misjudged.remember("select f()"));
        assert!(misjudged.contains("select f()") && !misjudged.contains("select g()"));
        assert_eq!(misjudged.count(), 2);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let misjudged = Misjudged::default();
        for number in 0..3 * Misjudged::CAPACITY {
            misjudged.remember(&number.to_string());
            assert!(misjudged.contains(&number.to_string()));
            assert!(misjudged.hashes.load().len() <= Misjudged::CAPACITY);
        }
    }
}
