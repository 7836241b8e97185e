//! How the monitor learns the instant up to which a replica shows every acknowledged write.
//!
//! At instant `s` it asks the primary where its log stands, and only counts the instant *before* it
//! asked. A replica that later reports having replayed that position is fresh as of `s`. Nothing is
//! estimated, no wall clock is compared, and an idle primary keeps its replicas fresh.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Instant;
use crate::dialect::{Position, Written};

/// Where the primary's log stood.
#[derive(Clone, Debug)]
struct Mark {
    /// Before it was first asked and answered this.
    since: Instant,
    /// Before it was last asked and answered this.
    asked: Instant,
    written: Written,
}

/// The primary's log positions, by the instants at which they were asked for.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    marks: VecDeque<Mark>,
}

impl Marks {
    /// Enough for a minute of lag at a thousand rounds a minute; beyond it the past gets coarser.
    const MOST: usize = 1024;

    /// At `asked`, before the question was sent, the primary stood at `written` or before it.
    pub(crate) fn record(&mut self, asked: Instant, written: Written) {
        if let Some(last) = self.marks.back_mut()
            && last.written == written
        {
            // An idle primary: the same position is as good a proof of a later instant.
            last.asked = last.asked.max(asked);
            return;
        }
        if self.marks.len() == Self::MOST {
            self.thin_out();
        }
        self.marks.push_back(Mark {
            since: asked,
            asked,
            written,
        });
    }

    /// Drops every other mark of the older half. A mark that is gone proves nothing wrong: it only
    /// leaves a replica that lags so far looking a little older than it is.
    fn thin_out(&mut self) {
        let half = self.marks.len() / 2;
        let mut index = 0;
        self.marks.retain(|_| {
            index += 1;
            index > half || index % 2 == 0
        });
    }

    /// Forgets everything: another primary, another timeline, a log that went back.
    pub(crate) fn clear(&mut self) {
        self.marks.clear();
    }

    /// The last position taken, if any.
    pub(crate) fn last(&self) -> Option<&Written> {
        self.marks.back().map(|mark| &mark.written)
    }

    /// The latest instant at which the primary was asked, if it was.
    pub(crate) fn asked(&self) -> Option<Instant> {
        self.marks.back().map(|mark| mark.asked)
    }

    /// The latest instant as of which a node that has replayed `replayed` is fresh, if the marks
    /// reach back that far.
    pub(crate) fn fresh_as_of(&self, replayed: &Position, commits: Commits) -> Option<Instant> {
        let inserted = self.latest(|written| replayed.covers(&written.inserted));
        let flushed = self.latest(|written| replayed.covers(&written.flushed));
        let by_insert = inserted.map(|mark| mark.asked);
        let by_flush = flushed.and_then(|mark| match commits {
            Commits::MayBeAsynchronous => None,
            Commits::FlushedInTime => Some(mark.asked.back(mark.written.flush_delay)),
            Commits::Synchronous => Some(mark.asked),
        });
        by_insert.max(by_flush)
    }

    /// The earliest instant such that a node which is fresh as of then has replayed `position`, if the primary is
    /// known to have flushed it.
    ///
    /// To have inserted it would not do. A commit is in the log before it is acknowledged, and of a replica that has
    /// replayed what was flushed only what was *acknowledged* by then is said. With what was flushed, whichever
    /// way a node was proved fresh as of this mark or a later one, it has replayed the position itself.
    pub(crate) fn reached(&self, position: &Position) -> Option<Instant> {
        let before = |mark: &Mark| !mark.written.flushed.covers(position);
        let index = self.marks.partition_point(before);
        let mark = self.marks.get(index)?;
        let previous = index.checked_sub(1).and_then(|index| self.marks.get(index));
        // On a coarse clock both may bear the same instant.
        let after = previous.map(|mark| mark.asked + Duration::from_nanos(1));
        Some(after.map_or(mark.since, |after| after.max(mark.since)))
    }

    /// The latest mark that satisfies `covered`, which holds for all marks up to some point.
    fn latest(&self, covered: impl Fn(&Written) -> bool) -> Option<&Mark> {
        let count = self.marks.partition_point(|mark| covered(&mark.written));
        self.marks.get(count.checked_sub(1)?)
    }
}

/// What the router may trust of commits that PostgreSQL acknowledges before they are flushed. Only what is flushed
/// travels to the standbys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Commits {
    /// Nothing. Any session may have set `synchronous_commit = off`, and however long a commit stays unflushed, a
    /// replica that lacks it never counts as fresh. The default, because a `SET LOCAL` cannot be seen from outside.
    ///
    /// Only the position of what was *inserted* into the log proves freshness then. Records that nobody flushes, such as
    /// those of a transaction that is still open, would keep replicas from proving it. So if a read wants a fresh
    /// replica and the primary has not flushed what it had inserted a round ago, the monitor has it flush: it commits a
    /// message to the log (`pg_logical_emit_message`, with the prefix `dbrouter`), at most once in an
    /// [interval](crate::MonitorSettings::interval). That needs no privilege, writes some 60 bytes, and costs the
    /// primary one flush. Consumers of logical decoding that ask for messages see it.
    #[default]
    MayBeAsynchronous,
    /// The server's documented bound: the WAL writer flushes an asynchronous commit within three times
    /// `wal_writer_delay`. The position of what was *flushed* proves freshness as of so long before, and the monitor
    /// writes nothing. A WAL writer that stands still (a stalled disk, a suspended process) breaks the bound, and a
    /// session may then miss its own asynchronous commit.
    FlushedInTime,
    /// No session ever turns synchronous commit off: what is acknowledged is flushed. The position of what was flushed
    /// proves freshness at once, and the monitor writes nothing.
    Synchronous,
}

impl Written {
    /// How long after its acknowledgement an asynchronous commit may still be unflushed, by
    /// PostgreSQL's manual ("Asynchronous Commit"): three times `wal_writer_delay`.
    pub(crate) fn flush_bound(wal_writer_delay: Duration) -> Duration {
        wal_writer_delay * 3
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn written(inserted: u64, flushed: u64) -> Written {
        Written {
            inserted: Position::Log(inserted),
            flushed: Position::Log(flushed),
            flush_delay: Duration::from_millis(600),
        }
    }

    fn fresh(marks: &Marks, replayed: u64) -> Option<Instant> {
        marks.fresh_as_of(&Position::Log(replayed), Commits::MayBeAsynchronous)
    }

    const ALL: [Commits; 3] = [
        Commits::MayBeAsynchronous,
        Commits::FlushedInTime,
        Commits::Synchronous,
    ];

    #[test]
    fn nothing_is_known_before_the_first_mark() {
        assert_eq!(fresh(&Marks::default(), 100), None);
    }

    #[test]
    fn a_replica_is_fresh_as_of_the_latest_position_it_covers() {
        let mut marks = Marks::default();
        marks.record(at(1000), written(10, 10));
        marks.record(at(2000), written(20, 20));
        marks.record(at(3000), written(30, 30));
        assert_eq!(fresh(&marks, 9), None);
        assert_eq!(fresh(&marks, 10), Some(at(1000)));
        assert_eq!(fresh(&marks, 29), Some(at(2000)));
        assert_eq!(fresh(&marks, 31), Some(at(3000)));
    }

    #[test]
    fn an_idle_primary_keeps_its_replicas_fresh() {
        let mut marks = Marks::default();
        marks.record(at(1000), written(10, 10));
        marks.record(at(9000), written(10, 10));
        assert_eq!(fresh(&marks, 10), Some(at(9000)));
    }

    #[test]
    fn flushed_proves_as_much_as_is_trusted() {
        let mut marks = Marks::default();
        marks.record(at(5000), written(40, 30));
        let flushed = ALL.map(|commits| marks.fresh_as_of(&Position::Log(30), commits));
        assert_eq!(flushed, [None, Some(at(4400)), Some(at(5000))]);
        let inserted = ALL.map(|commits| marks.fresh_as_of(&Position::Log(40), commits));
        assert_eq!(inserted, [Some(at(5000)); 3]);
    }

    #[test]
    fn a_position_counts_once_it_was_flushed() {
        let mut marks = Marks::default();
        marks.record(at(1000), written(10, 10));
        marks.record(at(2000), written(20, 10));
        marks.record(at(3000), written(20, 20));
        marks.record(at(4000), written(20, 20));
        let reached = |position| marks.reached(&Position::Log(position));
        assert_eq!(reached(9), Some(at(1000)));
        assert_eq!(reached(10), Some(at(1000)));
        assert_eq!(reached(11), Some(at(3000)));
        assert_eq!(reached(20), Some(at(3000)));
        assert_eq!(reached(21), None);
        assert_eq!(marks.reached(&Position::Domains(vec![(0, 1)])), None);
    }

    /// Whatever is proved, and however: who is fresh as of the instant at which a position was reached has it.
    #[test]
    fn who_is_fresh_as_of_a_position_has_replayed_it() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..1000 {
            let mut marks = Marks::default();
            let (mut now, mut inserted, mut flushed) = (1000, 10, 10);
            for _ in 0..20 {
                now += random.u64(0..3) * 300;
                inserted += random.u64(0..4);
                flushed = random.u64(flushed..=inserted);
                marks.record(at(now), written(inserted, flushed));
            }
            for position in 0..=inserted + 1 {
                let reached = marks.reached(&Position::Log(position));
                assert_eq!(reached.is_some(), position <= flushed);
                let Some(reached) = reached else { continue };
                for replayed in 0..position {
                    for commits in ALL {
                        let fresh = marks.fresh_as_of(&Position::Log(replayed), commits);
                        assert!(fresh < Some(reached), "{position} {replayed} {marks:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_long_past_gets_coarse_and_never_wrong() {
        let mut marks = Marks::default();
        for step in 1..=10_000 {
            marks.record(at(step), written(step, step));
            assert!(marks.marks.len() <= Marks::MOST);
        }
        for replayed in 1..=10_000 {
            let proved = fresh(&marks, replayed);
            assert!(proved.is_none_or(|instant| instant <= at(replayed)));
        }
        assert_eq!(fresh(&marks, 10_000), Some(at(10_000)));
    }
}
