//! The nodes that may serve a read, as a policy sees them.

use std::fmt;
use std::time::Duration;

use crate::clock::Instant;
use crate::live::Epoch;
use crate::node::Member;
use crate::session::SessionState;
use crate::tags::Tags;
use crate::topology::MOST_NODES;
use crate::vocabulary::Role;

/// The nodes that may serve a read: never none, in the order in which they were configured.
#[derive(Clone, Copy)]
pub struct Candidates<'a> {
    members: &'a [Member],
    chosen: &'a IndexSet,
    session: &'a SessionState,
}

impl<'a> Candidates<'a> {
    #[inline]
    pub(crate) fn new(
        members: &'a [Member],
        chosen: &'a IndexSet,
        session: &'a SessionState,
    ) -> Self {
        Self {
            members,
            chosen,
            session,
        }
    }

    /// How many there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.chosen.len()
    }

    /// Whether there are none. A policy is never asked then.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The candidate at an index below [`len`](Self::len).
    #[must_use]
    #[inline]
    pub fn at(&self, index: usize) -> Option<Candidate<'a>> {
        let member = self.members.get(self.chosen.nth(index)?)?;
        Some(Candidate { member })
    }

    /// All candidates, by index.
    #[inline]
    pub fn iter(&self) -> impl Iterator<Item = Candidate<'a>> + use<'a> {
        let members = self.members;
        self.chosen.iter().map(|index| Candidate {
            member: &members[index],
        })
    }

    /// The index of the replica that the session has stayed with, if it is a candidate.
    /// Always `None` on the root handle, whose reads are everybody's.
    #[must_use]
    #[inline]
    pub fn session_replica(&self) -> Option<usize> {
        self.index_of(self.session.choice())
    }

    /// Makes the candidate at `index` the replica that the session stays with, and returns it; or
    /// returns the one that another statement of the session has chosen in the meantime.
    /// On the root handle it changes nothing.
    #[must_use]
    pub fn adopt(&self, index: usize) -> usize {
        let Some(candidate) = self.at(index).filter(|_| !self.session.is_root()) else {
            return index;
        };
        let current = self.session.choice();
        if let Some(earlier) = self.index_of(current) {
            return earlier;
        }
        match self.session.choose(current, candidate.member.live.epoch()) {
            Ok(()) => index,
            Err(other) => self.index_of(other).unwrap_or(index),
        }
    }

    /// The session's replica while it is a candidate; otherwise what `choose` says, which the session then
    /// adopts.
    pub(crate) fn stay(&self, choose: impl FnOnce() -> Option<usize>) -> Option<usize> {
        self.session_replica()
            .or_else(|| choose().map(|index| self.adopt(index)))
    }

    /// The present instant, for [`Candidate::latency`]. It is a look at the clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.session.now()
    }

    /// A number that is the session's own, for policies that tell sessions apart; `None` on the root
    /// handle.
    #[must_use]
    pub fn session_id(&self) -> Option<u64> {
        (!self.session.is_root()).then(|| self.session.id())
    }

    #[inline]
    fn index_of(&self, epoch: Epoch) -> Option<usize> {
        if epoch == 0 {
            return None;
        }
        self.iter()
            .position(|candidate| candidate.member.live.epoch() == epoch)
    }
}

impl fmt::Debug for Candidates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// One node that may serve a read.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    member: &'a Member,
}

impl<'a> Candidate<'a> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'a str {
        &self.member.name
    }

    /// Its weight, above zero.
    #[must_use]
    #[inline]
    pub fn weight(&self) -> u32 {
        self.member.weight
    }

    /// Its labels.
    #[must_use]
    pub fn tags(&self) -> &'a Tags {
        &self.member.tags
    }

    /// Its role: replicas, and under [`Nearest`](crate::Preference::Nearest) the primary too.
    #[must_use]
    pub fn role(&self) -> Role {
        self.member.live.standing().role
    }

    /// Work of this process that is under way on it.
    #[must_use]
    #[inline]
    pub fn in_flight(&self) -> u32 {
        self.member.live.in_flight()
    }

    /// How long a read would take on it to its first row, to all that has been seen until
    /// [`now`](Candidates::now): an average in which a long time counts at once and in full, and is forgotten within
    /// some seconds. A read that failed because of the node counts as twice as long as the average before it.
    /// Where nothing is known of its reads, because none has been sent to it lately or the adapter does not run them
    /// (guards of diesel), it is its [round trip](Self::round_trip). `None` while nothing is known at all.
    #[must_use]
    pub fn latency(&self, now: Instant) -> Option<Duration> {
        self.member.live.expected_latency(now)
    }

    /// How long it takes to answer the monitor's question, on average. `None` until it has.
    #[must_use]
    pub fn round_trip(&self) -> Option<Duration> {
        self.member.live.round_trip.estimate()
    }

    /// The instant as of which it shows every acknowledged write.
    #[must_use]
    pub fn fresh_as_of(&self) -> Instant {
        self.member.live.fresh_as_of()
    }

    /// A hash of its name, the same in every process.
    #[must_use]
    #[inline]
    pub fn name_hash(&self) -> u64 {
        self.member.name_hash
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("name", &self.name())
            .field("weight", &self.weight())
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

/// A set of node indexes, on the stack.
#[derive(Clone, Debug)]
pub(crate) struct IndexSet {
    words: [u64; MOST_NODES / 64],
    len: usize,
}

impl IndexSet {
    pub(crate) fn new() -> Self {
        Self {
            words: [0; MOST_NODES / 64],
            len: 0,
        }
    }

    /// Adds an index that is not in the set.
    #[inline]
    pub(crate) fn add(&mut self, index: usize) {
        self.words[index / 64] |= 1 << (index % 64);
        self.len += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The index at position `nth` in ascending order.
    #[inline]
    pub(crate) fn nth(&self, mut nth: usize) -> Option<usize> {
        for (number, word) in self.words.iter().enumerate() {
            let ones = word.count_ones() as usize;
            if nth < ones {
                let mut word = *word;
                for _ in 0..nth {
                    word &= word - 1;
                }
                return Some(number * 64 + word.trailing_zeros() as usize);
            }
            nth -= ones;
        }
        None
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.words
            .iter()
            .enumerate()
            .filter(|(_, word)| **word != 0)
            .flat_map(|(number, word)| {
                let after_lowest = |word: &u64| Some(word & (word - 1)).filter(|word| *word != 0);
                std::iter::successors(Some(*word), after_lowest)
                    .map(move |word| number * 64 + word.trailing_zeros() as usize)
            })
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_holds_what_was_added(
            indexes in proptest::collection::btree_set(0..MOST_NODES, 0..200)
        ) {
            let mut set = IndexSet::new();
            for index in &indexes {
                set.add(*index);
            }
            let sorted: Vec<usize> = indexes.into_iter().collect();
            prop_assert_eq!(set.len(), sorted.len());
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), sorted.clone());
            for (position, index) in sorted.iter().enumerate() {
                prop_assert_eq!(set.nth(position), Some(*index));
            }
            prop_assert_eq!(set.nth(sorted.len()), None);
        }
    }
}
