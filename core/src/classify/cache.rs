//! Verdicts by text, so that a statement that was read before costs a look-up.
//!
//! In front of the cache is a small table by *address*: most programs run the same string constants again
//! and again, and comparing a text with the one that was last seen at its address is cheaper than hashing
//! it. It is only ever a short cut: the text itself is compared.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use foldhash::fast::RandomState;
use quick_cache::sync::DefaultLifecycle;

use super::Classification;

/// What the cache may weigh, in bytes of text and of overhead.
const CAPACITY: u64 = 4 << 20;

/// How many statements to make room for at first.
const STATEMENTS: usize = 1024;

/// Longer texts are not kept: they are lists of values that are never seen again.
const LONGEST: usize = 16 << 10;

/// The slots of the table by address. A power of two.
const SLOTS: usize = 512;

/// Of the texts that were not found at their address, one in so many is put there: texts that are built
/// anew each time would otherwise be written there each time.
const RELUCTANCE: u8 = 8;

pub(super) struct Cache {
    recent: Box<[ArcSwapOption<Recent>]>,
    verdicts: quick_cache::sync::Cache<Box<str>, Cached, Weight, RandomState>,
}

/// A verdict, and the generation of the functions that it rests on.
#[derive(Clone, Copy)]
struct Cached {
    classification: Classification,
    generation: u64,
}

/// The text that was seen at an address.
struct Recent {
    address: usize,
    text: Box<str>,
    cached: Cached,
}

#[derive(Clone)]
struct Weight;

impl quick_cache::Weighter<Box<str>, Cached> for Weight {
    fn weight(&self, text: &Box<str>, _: &Cached) -> u64 {
        const OVERHEAD: u64 = 64;
        text.len() as u64 + OVERHEAD
    }
}

impl Cache {
    pub(super) fn new() -> Self {
        let hasher = RandomState::default();
        let lifecycle = DefaultLifecycle::default();
        Self {
            recent: (0..SLOTS).map(|_| ArcSwapOption::empty()).collect(),
            verdicts: quick_cache::sync::Cache::with(
                STATEMENTS, CAPACITY, Weight, hasher, lifecycle,
            ),
        }
    }

    /// The verdict on a text, if it is of this generation; otherwise a new one.
    pub(super) fn get_or_insert(
        &self,
        text: &str,
        generation: u64,
        classify: impl FnOnce() -> Classification,
    ) -> Classification {
        if text.len() > LONGEST {
            return classify();
        }
        let address = text.as_ptr().addr();
        let slot = &self.recent[slot(address, text.len())];
        if let Some(recent) = &*slot.load()
            && recent.address == address
            && recent.cached.generation == generation
            && *recent.text == *text
        {
            return recent.cached.classification;
        }
        match self.verdicts.get(text) {
            Some(cached) if cached.generation == generation => {
                if fastrand::u8(..RELUCTANCE) == 0 {
                    let text = text.into();
                    slot.store(Some(Arc::new(Recent {
                        address,
                        text,
                        cached,
                    })));
                }
                cached.classification
            }
            _ => {
                let classification = classify();
                let cached = Cached {
                    classification,
                    generation,
                };
                self.verdicts.insert(text.into(), cached);
                classification
            }
        }
    }
}

/// The slot of a text at an address. (Fibonacci hashing: Knuth, The Art of Computer Programming, 6.4.)
fn slot(address: usize, length: usize) -> usize {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    let mixed = (address as u64 ^ (length as u64) << 48).wrapping_mul(GOLDEN);
    (mixed >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Cause;

    const READ: Classification = Classification::because(Cause::Query);
    const WRITE: Classification = Classification::because(Cause::Writes);

    #[test]
    fn a_text_is_classified_once_per_generation() {
        let cache = Cache::new();
        let text = "select 1";
        assert_eq!(cache.get_or_insert(text, 0, || READ), READ);
        for _ in 0..100 {
            assert_eq!(cache.get_or_insert(text, 0, || unreachable!()), READ);
        }
        assert_eq!(cache.get_or_insert(text, 1, || WRITE), WRITE);
        for _ in 0..100 {
            assert_eq!(cache.get_or_insert(text, 1, || unreachable!()), WRITE);
        }
    }

    #[test]
    fn an_address_may_hold_another_text() {
        let cache = Cache::new();
        let mut text = String::from("select a");
        for _ in 0..100 {
            assert_eq!(cache.get_or_insert(&text, 0, || READ), READ);
        }
        text.replace_range(.., "delete a");
        assert_eq!(cache.get_or_insert(&text, 0, || WRITE), WRITE);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let cache = Cache::new();
        for number in 0..200_000 {
            let text = format!("select {number} from a_table_with_a_rather_long_name");
            cache.get_or_insert(&text, 0, || READ);
        }
        assert!(cache.verdicts.weight() <= CAPACITY);
        let long = " ".repeat(LONGEST + 1);
        for verdict in [READ, WRITE] {
            assert_eq!(cache.get_or_insert(&long, 0, || verdict), verdict);
        }
    }
}
