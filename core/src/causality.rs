//! What a session must see: its own writes, and nothing older than what it has already seen. The root session's
//! own writes are those of the whole router.
//!
//! Both reduce to the earliest instant as of which a node must be fresh. [`Writes`] holds it for writes. Two words of
//! [`Causality`] hold it for the rest, and the order in which they are written and read is what makes them agree
//! (model-checked below): `needs` is raised before `last` moves on, and `last` is read before `needs`.

use crate::clock::Instant;
use crate::live::Epoch;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// What was written by a session; or by all sessions of a router, which is what its root session must see.
#[derive(Debug)]
pub(crate) struct Writes {
    /// When the last write ended; `VOID` if there was none.
    ended: AtomicU64,
    /// Connections that are out and may be writing.
    open: AtomicU32,
}

impl Writes {
    pub(crate) fn new() -> Self {
        Self {
            ended: AtomicU64::new(Instant::VOID.as_nanos()),
            open: AtomicU32::new(0),
        }
    }

    /// The same writes as another session's so far.
    pub(crate) fn assume(&self, other: &Self) {
        self.open
            .store(other.open.load(Ordering::Acquire), Ordering::Release);
        self.ended
            .store(other.ended.load(Ordering::Acquire), Ordering::Release);
    }

    /// A write was acknowledged at `instant`, or its outcome is not known as of then.
    #[inline]
    pub(crate) fn end(&self, instant: Instant) {
        self.ended.fetch_max(instant.as_nanos(), Ordering::AcqRel);
    }

    /// The end of the last write; `VOID` if there was none.
    #[inline]
    pub(crate) fn ended(&self) -> Instant {
        Instant::from_nanos(self.ended.load(Ordering::Acquire))
    }

    /// A connection that may be writing is out from now on.
    pub(crate) fn open(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
    }

    /// Such a connection is back. What it wrote has ended before: see [`end`](Self::end).
    pub(crate) fn close(&self) {
        self.open.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether such a connection is out. Ask this before [`ended`](Self::ended): a reader that no longer sees the
    /// connection then sees what it wrote.
    #[inline]
    pub(crate) fn has_open(&self) -> bool {
        self.open.load(Ordering::Acquire) > 0
    }
}

/// What the root session of a router must see. Each session adds its writes to it.
#[derive(Debug)]
pub(crate) struct RootNeeds {
    /// Everybody's writes.
    pub(crate) writes: Writes,
    /// What the root was told to see beside them.
    observed: AtomicU64,
}

impl RootNeeds {
    pub(crate) fn new() -> Self {
        Self {
            writes: Writes::new(),
            observed: AtomicU64::new(Instant::ORIGIN.as_nanos()),
        }
    }

    pub(crate) fn observe(&self, instant: Instant) {
        self.observed
            .fetch_max(instant.as_nanos(), Ordering::AcqRel);
    }

    /// The instant as of which a node must be fresh to serve the root session.
    #[inline]
    pub(crate) fn instant(&self) -> Instant {
        let observed = Instant::from_nanos(self.observed.load(Ordering::Acquire));
        observed.max(self.writes.ended())
    }
}

/// What a session must see beside what was written.
#[derive(Debug)]
pub(crate) struct Causality {
    /// Raised by every change of node, and by what the session was told to see.
    needs: AtomicU64,
    /// The node that the session read from last, and when that read ended.
    last: AtomicU64,
}

/// A session's needs at one moment, to be compared with any number of nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    always: Instant,
    elsewhere: Instant,
    home: Epoch,
}

impl Needs {
    /// The needs of a read that accepts whatever a node shows.
    pub(crate) const NONE: Self = Self {
        always: Instant::VOID,
        elsewhere: Instant::VOID,
        home: 0,
    };

    /// The needs of a read that must see what may be committed at any moment.
    pub(crate) const EVERYTHING: Self = Self {
        always: Instant::ALWAYS,
        elsewhere: Instant::ALWAYS,
        home: 0,
    };

    /// The instant as of which the node in this epoch must be fresh. On the node that it read from
    /// last, a session needs nothing more than its writes: there, time does not go back.
    #[inline]
    pub(crate) fn of(&self, epoch: Epoch) -> Instant {
        if epoch == self.home {
            self.always
        } else {
            self.elsewhere
        }
    }

    /// These needs, and all that was acknowledged before `instant`, whichever node shows it.
    #[inline]
    pub(crate) fn as_of(self, instant: Instant) -> Self {
        Self {
            always: self.always.max(instant),
            elsewhere: self.elsewhere.max(instant),
            home: self.home,
        }
    }

    /// Whether no replica that lags at all can meet these needs.
    #[inline]
    pub(crate) fn are_everything(&self) -> bool {
        self.always == Instant::ALWAYS
    }

    /// The instant as of which any node must be fresh, whatever it is.
    pub(crate) fn anywhere(&self) -> Instant {
        self.elsewhere
    }
}

impl Causality {
    pub(crate) fn new() -> Self {
        Self {
            needs: AtomicU64::new(Instant::ORIGIN.as_nanos()),
            last: AtomicU64::new(0),
        }
    }

    /// Needs what another session needs now.
    pub(crate) fn assume(&self, other: &Self) {
        self.last
            .store(other.last.load(Ordering::Acquire), Ordering::Release);
        self.needs
            .store(other.needs.load(Ordering::Acquire), Ordering::Release);
    }

    #[inline]
    pub(crate) fn needs(&self) -> Needs {
        let last = Last::unpack(self.last.load(Ordering::Acquire));
        let always = Instant::from_nanos(self.needs.load(Ordering::Acquire));
        Needs {
            always,
            elsewhere: always.max(last.end),
            home: last.epoch,
        }
    }

    /// It was said that a node must be fresh as of `instant`.
    pub(crate) fn require(&self, instant: Instant) {
        self.needs.fetch_max(instant.as_nanos(), Ordering::AcqRel);
    }

    /// A read on the node in `epoch` ended at `end`. If the one before ran elsewhere, what it saw is
    /// needed from now on.
    pub(crate) fn read(&self, epoch: Epoch, end: Instant) {
        let mut word = self.last.load(Ordering::Acquire);
        loop {
            let before = Last::unpack(word);
            let mut after = Last { epoch, end };
            if before.epoch == epoch {
                after.end = after.end.max(before.end);
            } else {
                self.needs
                    .fetch_max(before.end.as_nanos(), Ordering::AcqRel);
            }
            match self.last.compare_exchange(
                word,
                after.pack(),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }
}

/// One read's node and end, in one word: 16 bits of epoch and 48 bits of time in units of 1,024 ns,
/// rounded up, which is to the safe side. That lasts nine years of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Last {
    epoch: Epoch,
    end: Instant,
}

impl Last {
    const TIME_BITS: u32 = 48;
    const UNIT_BITS: u32 = 10;

    #[inline]
    fn pack(self) -> u64 {
        let units = self.end.as_nanos().div_ceil(1 << Self::UNIT_BITS);
        u64::from(self.epoch) << Self::TIME_BITS | units.min((1 << Self::TIME_BITS) - 1)
    }

    #[inline]
    fn unpack(word: u64) -> Self {
        let units = word & ((1 << Self::TIME_BITS) - 1);
        Self {
            epoch: (word >> Self::TIME_BITS) as Epoch,
            end: Instant::from_nanos(units << Self::UNIT_BITS),
        }
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1024)
    }

    #[test]
    fn a_new_session_needs_what_any_member_of_the_cluster_has() {
        let needs = Causality::new().needs();
        assert_eq!(needs.of(3), Instant::ORIGIN);
    }

    #[test]
    fn what_was_required_is_needed_everywhere() {
        let session = Causality::new();
        session.read(1, at(5));
        session.require(at(9));
        assert_eq!(
            (session.needs().of(1), session.needs().of(2)),
            (at(9), at(9))
        );
        session.require(at(7));
        assert_eq!(session.needs().of(1), at(9));
    }

    #[test]
    fn a_read_is_needed_elsewhere_only() {
        let session = Causality::new();
        session.read(1, at(5));
        assert_eq!(session.needs().of(1), Instant::ORIGIN);
        assert_eq!(session.needs().of(2), at(5));
    }

    #[test]
    fn who_changes_nodes_keeps_what_the_first_one_showed() {
        let session = Causality::new();
        session.read(1, at(5));
        session.read(2, at(6));
        assert_eq!(session.needs().of(2), at(5));
        assert_eq!(session.needs().of(1), at(6));
    }

    #[test]
    fn ends_are_rounded_to_the_safe_side() {
        let end = Instant::from_nanos(1025);
        assert!(Last::unpack(Last { epoch: 7, end }.pack()).end >= end);
        let far = Instant::ALWAYS;
        assert_eq!(
            Last::unpack(
                Last {
                    epoch: u16::MAX,
                    end: far
                }
                .pack()
            )
            .epoch,
            u16::MAX
        );
    }
}

#[cfg(all(test, dbrouter_loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1024)
    }

    /// Whatever the interleaving of two reads on two nodes, a third read needs, on either node, what
    /// the other one showed.
    #[test]
    fn concurrent_reads_lose_nothing() {
        loom::model(|| {
            let session = Arc::new(Causality::new());
            let other = {
                let session = Arc::clone(&session);
                thread::spawn(move || session.read(1, at(5)))
            };
            session.read(2, at(6));
            other.join().unwrap();
            let needs = session.needs();
            assert!(needs.of(1) >= at(6), "{needs:?}");
            assert!(needs.of(2) >= at(5), "{needs:?}");
        });
    }

    /// A reader that sees a session half-way through a change of node needs no less than before or
    /// no less than after.
    #[test]
    fn a_change_of_node_has_no_gap() {
        loom::model(|| {
            let session = Arc::new(Causality::new());
            session.read(1, at(5));
            // Loom leaves out interleavings if it is the spawned thread that reads and then writes.
            let reader = {
                let session = Arc::clone(&session);
                thread::spawn(move || {
                    let needs = session.needs();
                    assert!(needs.of(2) >= at(5), "{needs:?}");
                    assert!(needs.of(3) >= at(5), "{needs:?}");
                })
            };
            session.read(2, at(6));
            reader.join().unwrap();
        });
    }

    /// What was required is needed by every read that begins afterwards.
    #[test]
    fn what_was_required_is_not_lost_among_reads() {
        loom::model(|| {
            let session = Arc::new(Causality::new());
            let other = {
                let session = Arc::clone(&session);
                thread::spawn(move || {
                    session.read(1, at(3));
                    session.read(2, at(4));
                })
            };
            session.require(at(9));
            let needs = session.needs();
            assert!(needs.of(1) >= at(9) && needs.of(2) >= at(9), "{needs:?}");
            other.join().unwrap();
            assert!(session.needs().of(2) >= at(9));
        });
    }
}
