//! The statements that were taken for reads and turned out to be writes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::classify::shape;
use crate::dialect::Dialect;
use crate::request::stable_hash;

/// The statements that a replica refused as writes, by the hash of their [`shape`]; and how often that happened.
///
/// The classifier cannot see what a view or a type calls. This memory is what makes such a statement cost
/// one detour, and not one each time. It is for a while only: a function that is mended must not keep its statements
/// on the primary for ever.
#[derive(Debug)]
pub(crate) struct Misjudged {
    dialect: Dialect,
    known: ArcSwap<Known>,
    /// Grows after `known` has changed, so that no answer from before the change is taken for one from after it.
    generation: AtomicU64,
    recent: Recent,
    count: AtomicU64,
}

type Known = HashMap<u64, Arc<AtomicU8>>;

/// What is known of a shape. One that is forgotten is kept, so that it is reported once.
const FORGOTTEN: u8 = 0;
const REMEMBERED: u8 = 1;
/// It was asked for after it had been remembered.
const USED: u8 = 2;

impl Misjudged {
    /// Programs have far fewer such statements.
    const CAPACITY: usize = 1024;

    pub(crate) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            known: ArcSwap::default(),
            generation: AtomicU64::new(0),
            recent: Recent::default(),
            count: AtomicU64::new(0),
        }
    }

    /// Whether the statement is one of them.
    #[inline]
    pub(crate) fn contains(&self, sql: &str) -> bool {
        !self.known.load().is_empty() && self.recall(sql)
    }

    fn recall(&self, sql: &str) -> bool {
        let generation = self.generation.load(Ordering::Acquire);
        let hash = stable_hash(sql.as_bytes());
        if let Some(answer) = self.recent.answer(hash, generation) {
            return answer;
        }
        let known = self.known.load();
        let state = known.get(&shape(sql, self.dialect));
        let contained = state.is_some_and(|state| {
            let used =
                state.compare_exchange(REMEMBERED, USED, Ordering::Relaxed, Ordering::Relaxed);
            used.map_or_else(|state| state == USED, |_| true)
        });
        self.recent.note(hash, generation, contained);
        contained
    }

    /// Remembers a statement until [`forget`](Self::forget). Whether it was never known before.
    pub(crate) fn remember(&self, sql: &str) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed);
        let shape = shape(sql, self.dialect);
        let before = self.known.rcu(|known| {
            let mut known = Known::clone(known);
            if known.len() >= Self::CAPACITY && !known.contains_key(&shape) {
                // What was asked for again stays. Texts that are never seen again do not push it out.
                known.retain(|_, state| state.load(Ordering::Relaxed) == USED);
                if known.len() >= Self::CAPACITY {
                    known.clear();
                }
            }
            let state = known.entry(shape).or_default();
            state.fetch_max(REMEMBERED, Ordering::Relaxed);
            known
        });
        self.generation.fetch_add(1, Ordering::Release);
        !before.contains_key(&shape)
    }

    /// Forgets all of them: what they call may have changed.
    pub(crate) fn forget(&self) {
        for state in self.known.load().values() {
            state.store(FORGOTTEN, Ordering::Relaxed);
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// How often a replica refused a statement that was taken for a read.
    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// The last answers, by the hash of the whole text: finding the shape of a text takes longer than to hash it.
///
/// A slot holds 40 bits of the hash (ten more are the slot's own number), 23 of the generation, and the answer. A
/// text whose hash is another's in these 50 bits gets the other's answer, as it would in a table of hashes.
#[derive(Debug)]
struct Recent(Box<[AtomicU64]>);

impl Default for Recent {
    fn default() -> Self {
        // No generation is so late.
        Self((0..Self::SLOTS).map(|_| AtomicU64::new(u64::MAX)).collect())
    }
}

impl Recent {
    const SLOTS: u64 = 1 << 10;
    const GENERATIONS: u64 = 1 << 23;

    fn answer(&self, hash: u64, generation: u64) -> Option<bool> {
        let found = self.slot(hash).load(Ordering::Relaxed);
        (found >> 1 == Self::key(hash, generation)).then_some(found & 1 == 1)
    }

    fn note(&self, hash: u64, generation: u64, answer: bool) {
        let noted = Self::key(hash, generation) << 1 | u64::from(answer);
        self.slot(hash).store(noted, Ordering::Relaxed);
    }

    fn slot(&self, hash: u64) -> &AtomicU64 {
        // The mask keeps it below the length.
        &self.0[(hash & (Self::SLOTS - 1)) as usize]
    }

    fn key(hash: u64, generation: u64) -> u64 {
        (hash >> 24) * Self::GENERATIONS + generation % (Self::GENERATIONS - 1)
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    fn memory() -> Misjudged {
        Misjudged::new(Dialect::Postgres)
    }

    #[test]
    fn remembers_texts_and_counts_refusals() {
        let misjudged = memory();
        assert!(!misjudged.contains("select f()"));
        assert!(misjudged.remember("select f()"));
        assert!(!misjudged.remember("select f()"));
        for _ in 0..3 {
            assert!(misjudged.contains("select f()") && !misjudged.contains("select g()"));
        }
        assert_eq!(misjudged.count(), 2);
    }

    #[test]
    #[cfg(feature = "sql")]
    fn comments_and_literals_do_not_count() {
        let misjudged = memory();
        misjudged.remember("select f(1, 'a') from v /*traceparent='00-1'*/");
        for text in [
            "select f(2, 'b') from v /*traceparent='00-2'*/",
            "select f($1, $2) from v",
            "-- why\nselect  f ( 3.5,\n$$c$$ ) from v",
        ] {
            assert!(misjudged.contains(text), "{text}");
        }
        for text in [
            "select g(1, 'a') from v",
            "select f(1, 'a') from w",
            "select f(1, 'a') from \"v\"",
            "select f(1, a) from v",
        ] {
            assert!(!misjudged.contains(text), "{text}");
        }
    }

    #[test]
    #[cfg(feature = "sql")]
    fn the_length_of_a_list_of_literals_does_not_count() {
        let misjudged = memory();
        misjudged.remember("select * from v where id in (1, 2, 3)");
        assert!(misjudged.contains("select * from v where id in (4)"));
        assert!(!misjudged.contains("select * from v where id in (4, a)"));
    }

    #[test]
    fn what_is_forgotten_is_a_read_again_and_not_reported_again() {
        let misjudged = memory();
        assert!(misjudged.remember("select f()"));
        assert!(misjudged.contains("select f()"));
        misjudged.forget();
        assert!(!misjudged.contains("select f()"));
        assert!(!misjudged.remember("select f()"));
        assert!(misjudged.contains("select f()"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let misjudged = memory();
        for number in 0..3 * Misjudged::CAPACITY {
            let text = format!("select f{number}()");
            misjudged.remember(&text);
            assert!(misjudged.contains(&text));
            assert!(misjudged.known.load().len() <= Misjudged::CAPACITY);
        }
    }

    #[test]
    fn a_constant_text_is_not_pushed_out_by_ever_new_ones() {
        let misjudged = memory();
        misjudged.remember("select f()");
        for number in 0..3 * Misjudged::CAPACITY {
            assert!(misjudged.contains("select f()"), "after {number} others");
            misjudged.remember(&format!("select f{number}()"));
        }
    }

    #[test]
    fn an_answer_is_for_its_text_and_generation_only() {
        let recent = Recent::default();
        for hash in [0, 1, u64::MAX] {
            assert_eq!(recent.answer(hash, 0), None);
            recent.note(hash, 0, true);
            assert_eq!(recent.answer(hash, 0), Some(true));
            assert_eq!(recent.answer(hash, 1), None);
            assert_eq!(recent.answer(hash ^ 1 << 60, 0), None);
        }
    }
}
