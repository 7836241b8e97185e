//! What is known of one node at this moment: a handful of atomics that routes read and monitors
//! write. Nothing here locks, and nothing here waits.

use std::time::Duration;

use crate::clock::Instant;
use crate::health::Health;
use crate::latency::{Latency, RoundTrip};
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::vocabulary::{Intent, Role};

/// Whether the operator lets work onto a node. It is a wish; health is a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Admission {
    /// It takes work.
    Enabled,
    /// It takes no new work until it is enabled again.
    Disabled,
    /// It takes no new work and is on its way out; work in flight finishes.
    Draining,
}

/// Whether a node is a second name of a server that another node leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alias {
    /// It is the only node that leads to its server, or the first.
    No,
    /// The node that takes the writes leads to the same server.
    OfPrimary,
    /// Another node leads to the same server, and that node has the server's share of reads.
    OfReplica,
}

/// Whether a replica's replay goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replay {
    /// As far as is known.
    GoesOn,
    /// The primary has written, and the replica has replayed nothing of it for some time: see
    /// [`standstill`](crate::standstill).
    StandsStill,
}

/// Whether a node's pool gives connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supply {
    /// As far as is known.
    Gives,
    /// It gave none although the server answers the monitor: see [`supply`](crate::supply).
    Fails,
}

/// A node's standing in one word, so that a route reads all of it as of the same moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) role: Role,
    pub(crate) health: Health,
    pub(crate) admission: Admission,
    pub(crate) alias: Alias,
    pub(crate) replay: Replay,
    pub(crate) supply: Supply,
}

impl Standing {
    /// Whether it is a replica whose replay stands still.
    #[inline]
    pub(crate) fn stands_still(self) -> bool {
        self.replay == Replay::StandsStill && self.role == Role::Replica
    }

    /// A replica that nothing is the matter with.
    const ORDINARY_REPLICA: Self = Self {
        role: Role::Replica,
        health: Health::Healthy,
        admission: Admission::Enabled,
        alias: Alias::No,
        replay: Replay::GoesOn,
        supply: Supply::Gives,
    };

    #[inline]
    const fn pack(self) -> u32 {
        let role = match self.role {
            Role::Unknown => 0,
            Role::Primary => 1,
            Role::Replica => 2,
        };
        let admission = match self.admission {
            Admission::Enabled => 0,
            Admission::Disabled => 1,
            Admission::Draining => 2,
        };
        let alias = match self.alias {
            Alias::No => 0,
            Alias::OfPrimary => 1,
            Alias::OfReplica => 2,
        };
        let replay = match self.replay {
            Replay::GoesOn => 0,
            Replay::StandsStill => 1,
        };
        let supply = match self.supply {
            Supply::Gives => 0,
            Supply::Fails => 1,
        };
        role | admission << 2 | alias << 4 | replay << 6 | supply << 7 | (self.health as u32) << 8
    }

    #[inline]
    fn unpack(word: u32) -> Self {
        Self {
            role: match word & 0b11 {
                1 => Role::Primary,
                2 => Role::Replica,
                _ => Role::Unknown,
            },
            health: match word >> 8 {
                1 => Health::Healthy,
                2 => Health::Suspect,
                3 => Health::Ejected,
                4 => Health::Recovering,
                _ => Health::New,
            },
            replay: match word >> 6 & 1 {
                0 => Replay::GoesOn,
                _ => Replay::StandsStill,
            },
            supply: match word >> 7 & 1 {
                0 => Supply::Gives,
                _ => Supply::Fails,
            },
            admission: match (word >> 2) & 0b11 {
                0 => Admission::Enabled,
                1 => Admission::Disabled,
                _ => Admission::Draining,
            },
            alias: match (word >> 4) & 0b11 {
                0 => Alias::No,
                1 => Alias::OfPrimary,
                _ => Alias::OfReplica,
            },
        }
    }
}

/// Names a stretch of a node's life in which it cannot have gone back in time. A node gets a new
/// epoch whenever that can no longer be said of it: it was away, it was restarted, its log forked.
/// Zero is nobody's.
pub(crate) type Epoch = u16;

/// One piece of work under way. 22 bits are enough for four million, and leave 42 for those begun: a year
/// of a hundred thousand a second.
const UNDER_WAY: u64 = 1;
const BEGUN: u64 = 1 << 22;

/// The live state of one node.
#[derive(Debug)]
pub(crate) struct Live {
    standing: AtomicU32,
    epoch: AtomicU32,
    fresh_as_of: AtomicU64,
    /// Since when it is back, which counts while it is recovering.
    back_since: AtomicU64,
    /// Work under way in the lower bits, work begun so far in the upper ones: one step for both.
    work: AtomicU64,
    writes: AtomicU64,
    failures: AtomicU64,
    /// How long its statements take, and its answers to the monitor.
    pub(crate) latency: Latency,
    pub(crate) round_trip: RoundTrip,
    /// The last instant that it has answered a question of, or a later one.
    answered: AtomicU64,
}

impl Live {
    pub(crate) fn new(role: Role, epoch: Epoch) -> Self {
        let standing = Standing {
            role,
            health: Health::New,
            admission: Admission::Enabled,
            alias: Alias::No,
            replay: Replay::GoesOn,
            supply: Supply::Gives,
        };
        Self {
            standing: AtomicU32::new(standing.pack()),
            epoch: AtomicU32::new(epoch.into()),
            fresh_as_of: AtomicU64::new(Instant::VOID.as_nanos()),
            back_since: AtomicU64::new(Instant::VOID.as_nanos()),
            work: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            latency: Latency::new(),
            round_trip: RoundTrip::new(),
            answered: AtomicU64::new(Instant::VOID.as_nanos()),
        }
    }

    #[inline]
    pub(crate) fn standing(&self) -> Standing {
        Standing::unpack(self.standing.load(Ordering::Acquire))
    }

    /// Whether it is a replica in service as most are: healthy, enabled, no second name, its replay goes on, and its pool
    /// gives connections.
    #[inline]
    pub(crate) fn is_ordinary_replica(&self) -> bool {
        const WORD: u32 = Standing::ORDINARY_REPLICA.pack();
        self.standing.load(Ordering::Acquire) == WORD
    }

    /// A question that was sent after `asked` was answered.
    pub(crate) fn answered(&self, asked: Instant) {
        self.answered.fetch_max(asked.as_nanos(), Ordering::AcqRel);
    }

    /// Whether a question that was sent after `instant` has been answered.
    pub(crate) fn answered_since(&self, instant: Instant) -> bool {
        self.answered.load(Ordering::Acquire) > instant.as_nanos()
    }

    /// Changes the standing in one step and returns the one before.
    pub(crate) fn change(&self, change: impl Fn(&mut Standing)) -> Standing {
        let mut word = self.standing.load(Ordering::Acquire);
        loop {
            let before = Standing::unpack(word);
            let mut after = before;
            change(&mut after);
            match self.standing.compare_exchange(
                word,
                after.pack(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return before,
                Err(now) => word = now,
            }
        }
    }

    /// The node is back since `instant`. Said before its standing says that it is recovering.
    pub(crate) fn set_back_since(&self, instant: Instant) {
        self.back_since.store(instant.as_nanos(), Ordering::Release);
    }

    /// Since when the recovering node is back.
    pub(crate) fn back_since(&self) -> Instant {
        Instant::from_nanos(self.back_since.load(Ordering::Acquire))
    }

    #[inline]
    pub(crate) fn epoch(&self) -> Epoch {
        // Only ever stored from an `Epoch`.
        self.epoch.load(Ordering::Acquire) as Epoch
    }

    #[inline]
    pub(crate) fn fresh_as_of(&self) -> Instant {
        Instant::from_nanos(self.fresh_as_of.load(Ordering::Acquire))
    }

    /// The epoch, and the instant as of which the node is fresh in it. What was proved between two
    /// epochs counts for neither.
    #[inline]
    pub(crate) fn proof(&self) -> (Epoch, Instant) {
        let epoch = self.epoch();
        let fresh_as_of = self.fresh_as_of();
        if self.epoch() == epoch {
            (epoch, fresh_as_of)
        } else {
            (epoch, Instant::VOID)
        }
    }

    /// Every write acknowledged before `instant` is visible here.
    pub(crate) fn prove_fresh(&self, instant: Instant) {
        self.fresh_as_of
            .fetch_max(instant.as_nanos(), Ordering::AcqRel);
    }

    /// What was proved about this node holds no longer. Freshness goes first: who still sees the old
    /// epoch sees a node that is fresh for nothing.
    pub(crate) fn void(&self, next: Epoch) {
        self.fresh_as_of
            .store(Instant::VOID.as_nanos(), Ordering::Release);
        self.epoch.store(next.into(), Ordering::Release);
    }

    /// Takes a place on the node, and tells whether the operator lets work onto it. If not, the place
    /// is to be given back at once: a drain that saw it taken waits for [`Live::leave`].
    #[inline]
    pub(crate) fn enter(&self) -> bool {
        self.work.fetch_add(BEGUN + UNDER_WAY, Ordering::AcqRel);
        self.standing().admission == Admission::Enabled
    }

    /// Gives a place back, and tells whether somebody waits for the last one.
    #[inline]
    pub(crate) fn leave(&self) -> bool {
        Self::under_way(self.work.fetch_sub(UNDER_WAY, Ordering::AcqRel)) == 1
            && self.standing().admission == Admission::Draining
    }

    /// Whether no place is taken, asked after the node was closed. It has to be an addition: then a
    /// place that is taken or given back later is after the closing, too, and sees it.
    pub(crate) fn is_empty(&self) -> bool {
        Self::under_way(self.work.fetch_add(0, Ordering::AcqRel)) == 0
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        Self::under_way(self.work.load(Ordering::Relaxed))
    }

    fn under_way(work: u64) -> u32 {
        // The remainder has 22 bits.
        (work % BEGUN) as u32
    }

    /// The work that has entered is a write.
    pub(crate) fn count_write(&self) {
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// The work that has entered was not sent after all.
    pub(crate) fn uncount(&self, intent: Intent) {
        self.work.fetch_sub(BEGUN, Ordering::Relaxed);
        if intent == Intent::Write {
            self.writes.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How long a statement would take to its first row.
    pub(crate) fn expected_latency(&self, now: Instant) -> Option<Duration> {
        self.latency.estimate(now, self.round_trip.estimate())
    }

    /// A statement that began at `began` has its first row.
    pub(crate) fn took(&self, began: Instant, now: Instant) {
        let rest = self.round_trip.estimate();
        self.latency.took(now.since(began), now, rest);
    }

    /// A statement that began at `began` failed, and the node is at fault.
    pub(crate) fn failed(&self, began: Instant, now: Instant) {
        let rest = self.round_trip.estimate();
        self.latency.failed(now.since(began), now, rest);
    }

    pub(crate) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads, writes and failures so far.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let begun = self.work.load(Ordering::Relaxed) / BEGUN;
        let writes = self.writes.load(Ordering::Relaxed);
        let failures = self.failures.load(Ordering::Relaxed);
        (begun.saturating_sub(writes), writes, failures)
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn standing_packs_and_unpacks() {
        let admissions = [Admission::Enabled, Admission::Disabled, Admission::Draining];
        let healths = [
            Health::New,
            Health::Healthy,
            Health::Suspect,
            Health::Ejected,
            Health::Recovering,
        ];
        for role in [Role::Unknown, Role::Primary, Role::Replica] {
            for health in healths {
                for admission in admissions {
                    for alias in [Alias::No, Alias::OfPrimary, Alias::OfReplica] {
                        for replay in [Replay::GoesOn, Replay::StandsStill] {
                            for supply in [Supply::Gives, Supply::Fails] {
                                let standing = Standing {
                                    role,
                                    health,
                                    admission,
                                    alias,
                                    replay,
                                    supply,
                                };
                                assert_eq!(Standing::unpack(standing.pack()), standing);
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn freshness_only_grows_until_it_is_void() {
        let live = Live::new(Role::Replica, 1);
        live.prove_fresh(Instant::from_nanos(9));
        live.prove_fresh(Instant::from_nanos(5));
        assert_eq!(live.fresh_as_of(), Instant::from_nanos(9));
        live.void(2);
        assert_eq!((live.fresh_as_of(), live.epoch()), (Instant::VOID, 2));
    }

    #[test]
    fn a_closed_node_takes_no_place() {
        let live = Live::new(Role::Replica, 1);
        assert!(live.enter());
        live.change(|standing| standing.admission = Admission::Draining);
        assert!(!live.enter());
        assert!(!live.leave(), "the place that was refused");
        assert!(live.leave(), "the last place");
        assert!(live.is_empty());
    }
}

#[cfg(all(test, dbrouter_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    /// A drain that saw nobody in flight is never followed by work on the node.
    #[test]
    fn a_drained_node_stays_empty() {
        loom::model(|| {
            let live = Arc::new(Live::new(Role::Replica, 1));
            let worker = {
                let live = Arc::clone(&live);
                thread::spawn(move || live.enter())
            };
            live.change(|standing| standing.admission = Admission::Draining);
            let empty = live.is_empty();
            let entered = worker.join().unwrap();
            assert!(!(empty && entered), "drained, and yet work came in");
        });
    }

    /// A drain that saw somebody in flight is told when the last one leaves, even if that one was
    /// refused and never worked.
    #[test]
    fn a_drain_that_waits_is_told() {
        loom::model(|| {
            let live = Arc::new(Live::new(Role::Replica, 1));
            let workers: Vec<_> = (0..2)
                .map(|_| {
                    let live = Arc::clone(&live);
                    thread::spawn(move || {
                        live.enter();
                        live.leave()
                    })
                })
                .collect();
            live.change(|standing| standing.admission = Admission::Draining);
            let waits = !live.is_empty();
            let told: Vec<bool> = workers.into_iter().map(|w| w.join().unwrap()).collect();
            assert!(!waits || told.contains(&true), "the drain waits for ever");
            assert!(live.is_empty(), "places are neither lost nor counted twice");
        });
    }

    /// Role, health and admission change independently and none of the changes is lost.
    #[test]
    fn standing_loses_no_change() {
        loom::model(|| {
            let live = Arc::new(Live::new(Role::Unknown, 1));
            let monitor = {
                let live = Arc::clone(&live);
                thread::spawn(move || {
                    live.change(|standing| standing.health = Health::Healthy);
                })
            };
            live.change(|standing| standing.admission = Admission::Disabled);
            monitor.join().unwrap();
            let standing = live.standing();
            assert!(standing.health.is_fit() && standing.admission == Admission::Disabled);
        });
    }

    /// A node whose past became void is never taken for fresh by what it proved in another epoch,
    /// neither before nor after.
    #[test]
    fn a_proof_counts_in_its_own_epoch_only() {
        const BEFORE: Instant = Instant::from_nanos(100);
        loom::model(|| {
            let live = Arc::new(Live::new(Role::Replica, 1));
            live.prove_fresh(BEFORE);
            let monitor = {
                let live = Arc::clone(&live);
                thread::spawn(move || {
                    live.void(2);
                    live.prove_fresh(Instant::ORIGIN);
                })
            };
            let proof = live.proof();
            monitor.join().unwrap();
            let sound = [
                (1, BEFORE),
                (1, Instant::VOID),
                (2, Instant::VOID),
                (2, Instant::ORIGIN),
            ];
            assert!(sound.contains(&proof), "{proof:?}");
        });
    }
}
