//! What must be seen of a key, as far as it is not lost.

use std::collections::HashMap;
use std::time::Duration;

use super::fate::Loss;
use super::{Key, Version};

/// A version that must be seen, and because of which operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    pub(super) version: Version,
    pub(super) because: usize,
    /// When it is lost, and nobody need see it any longer.
    pub(super) until: Option<Duration>,
}

impl Need {
    pub(super) fn new(version: Version, because: usize, loss: Option<Loss>) -> Self {
        let until = loss.map(|loss| loss.at);
        Self {
            version,
            because,
            until,
        }
    }

    /// Whether who sees this sees the other as well, for as long as that is to be seen.
    fn implies(&self, other: &Self) -> bool {
        let lasts = match (self.until, other.until) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(others)) => own >= others,
        };
        lasts && self.version >= other.version
    }
}

/// The needs that none of the others implies: at most one more than there are promotions.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs(Vec<Need>);

impl Needs {
    pub(super) fn add(&mut self, need: Need) {
        if self.0.iter().any(|other| other.implies(&need)) {
            return;
        }
        self.0.retain(|other| !need.implies(other));
        self.0.push(need);
    }

    fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|need| self.add(*need));
    }

    /// The latest version that a read must see which ends at `end`.
    pub(super) fn at(&self, end: Duration) -> Option<&Need> {
        let lasting = self
            .0
            .iter()
            .filter(|need| need.until.is_none_or(|until| until > end));
        lasting.max_by_key(|need| need.version)
    }
}

/// What one session knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    pub(super) written: HashMap<Key, Needs>,
    pub(super) seen: HashMap<Key, Needs>,
}

impl Knowledge {
    /// Takes in what another session told.
    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, others) in [
            (&mut self.written, &other.written),
            (&mut self.seen, &other.seen),
        ] {
            for (key, needs) in others {
                mine.entry(*key).or_default().merge(needs);
            }
        }
    }
}
