//! What primaries have written: one log per timeline, each grown out of another.

use std::collections::HashMap;
use std::time::Duration;

use dbrouter_tests::history::{Key, Version};

/// How long a record is. With positions that are its multiples, no record ends behind a page's header.
const RECORD: u64 = 128;

/// A place in one of the timelines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) timeline: usize,
    pub(crate) position: u64,
}

#[derive(Debug)]
struct Record {
    key: Key,
    version: Version,
    /// From when on it travels and outlives its server.
    flushed: Duration,
}

#[derive(Debug)]
struct Timeline {
    /// What servers call it. A log that went back keeps its number, so two timelines may have the same one.
    number: u64,
    /// The server that writes it.
    writer: usize,
    /// The place whose data it began with.
    begin: Option<Place>,
    /// Its first position: that of the place where it began, or the beginning of all logs if it began anew.
    start: u64,
    /// How much longer its first record is than others.
    shift: u64,
    records: Vec<Record>,
}

impl Timeline {
    /// The position behind so many of its records.
    fn position(&self, count: usize) -> u64 {
        match count {
            0 => self.start,
            count => self.start + self.shift + RECORD * count as u64,
        }
    }

    /// How many of its records lie before a position.
    fn count(&self, position: u64) -> usize {
        let length = position.saturating_sub(self.start + self.shift) / RECORD;
        self.records.len().min(length as usize)
    }
}

/// All timelines.
#[derive(Debug)]
pub(crate) struct Log {
    timelines: Vec<Timeline>,
    versions: u64,
}

impl Log {
    const BEGIN: u64 = 8 * RECORD;
    /// No record ends where it would without.
    const SHIFT: u64 = RECORD / 2;

    pub(crate) fn new() -> Self {
        let first = Timeline {
            number: 1,
            writer: 0,
            begin: None,
            start: Self::BEGIN,
            shift: 0,
            records: Vec::new(),
        };
        Self {
            timelines: vec![first],
            versions: 0,
        }
    }

    /// The timeline's first position.
    pub(crate) fn begin(&self, timeline: usize) -> u64 {
        self.timelines[timeline].start
    }

    /// What servers call the timeline.
    pub(crate) fn number(&self, timeline: usize) -> u64 {
        self.timelines[timeline].number
    }

    /// The number of the last record before a position, and the server that wrote it. There are some from the very
    /// beginning: those that have made the schema. Numbers grow by two, so that a log that began anew, or went back, has
    /// others than the log before it.
    pub(crate) fn gtid(&self, place: Place) -> (usize, u64) {
        let mut on = place.timeline;
        loop {
            let timeline = &self.timelines[on];
            match timeline.begin {
                Some(begin) if place.position <= timeline.start && !Self::is_anew(timeline) => {
                    on = begin.timeline;
                }
                _ => return (timeline.writer, place.position / Self::SHIFT),
            }
        }
    }

    /// The position behind the record of that number.
    pub(crate) fn position(number: u64) -> u64 {
        Self::SHIFT * number
    }

    /// Where the timeline ends.
    pub(crate) fn end(&self, timeline: usize) -> u64 {
        let timeline = &self.timelines[timeline];
        timeline.position(timeline.records.len())
    }

    /// Writes a record, which is flushed at `flushed`, or later if others before it are.
    pub(crate) fn write(&mut self, timeline: usize, key: Key, flushed: Duration) -> Version {
        self.versions += 1;
        let version = Version(self.versions);
        let records = &mut self.timelines[timeline].records;
        let before = records.last().map_or(Duration::ZERO, |last| last.flushed);
        records.push(Record {
            key,
            version,
            flushed: flushed.max(before),
        });
        version
    }

    /// How far the timeline was flushed.
    pub(crate) fn flushed(&self, timeline: usize, at: Duration) -> u64 {
        let timeline = &self.timelines[timeline];
        let records = &timeline.records;
        timeline.position(records.partition_point(|record| record.flushed <= at))
    }

    /// What is not flushed dies with the server. Says whether anything was lost.
    pub(crate) fn lose_unflushed(&mut self, timeline: usize, at: Duration) -> bool {
        let records = &mut self.timelines[timeline].records;
        let count = records.partition_point(|record| record.flushed <= at);
        let loses = count < records.len();
        records.truncate(count);
        loses
    }

    /// What is not flushed at `from` is flushed at `until` or later.
    pub(crate) fn stall(&mut self, timeline: usize, from: Duration, until: Duration) {
        for record in &mut self.timelines[timeline].records {
            if record.flushed > from {
                record.flushed = record.flushed.max(until);
            }
        }
    }

    /// All that was written is flushed by now.
    pub(crate) fn flush(&mut self, timeline: usize, now: Duration) {
        for record in &mut self.timelines[timeline].records {
            record.flushed = record.flushed.min(now);
        }
    }

    /// A new timeline that leaves another one at this place, and is written by that server. Its number is the next
    /// one, or so many more.
    pub(crate) fn fork(&mut self, place: Place, writer: usize, more: u64) -> usize {
        let number = self.number(place.timeline) + 1 + more;
        self.begin_at(place, place.position, number, writer)
    }

    /// The log has gone back to this place: other records follow it, under the same number.
    ///
    /// They are not as long as those that were there. If a record of the one log ended at the very place where one of
    /// the other does, nobody could tell a standby that stands there from one that follows.
    pub(crate) fn set_back(&mut self, place: Place, writer: usize) -> usize {
        let number = self.number(place.timeline);
        let timeline = self.begin_at(place, place.position, number, writer);
        self.timelines[timeline].shift = Self::SHIFT;
        timeline
    }

    /// A log that begins anew, with the data of this place. Its records end elsewhere, as if it had been
    /// [set back](Self::set_back) and for the same reason.
    pub(crate) fn anew(&mut self, place: Place, writer: usize) -> usize {
        let timeline = self.begin_at(place, Self::BEGIN, 1, writer);
        self.timelines[timeline].shift = Self::SHIFT;
        timeline
    }

    fn begin_at(&mut self, place: Place, start: u64, number: u64, writer: usize) -> usize {
        self.timelines.push(Timeline {
            number,
            writer,
            begin: Some(place),
            start,
            shift: 0,
            records: Vec::new(),
        });
        self.timelines.len() - 1
    }

    /// Whether the timeline began anew, so that its positions do not compare with those of the one before.
    fn is_anew(timeline: &Timeline) -> bool {
        timeline
            .begin
            .is_some_and(|begin| begin.position != timeline.start)
    }

    /// Whether the timeline has grown out of the place.
    pub(crate) fn leads_to(&self, place: Place, timeline: usize) -> bool {
        let mut on = Place {
            timeline,
            position: u64::MAX,
        };
        loop {
            if on.timeline == place.timeline {
                return place.position <= on.position;
            }
            let timeline = &self.timelines[on.timeline];
            match timeline.begin {
                Some(begin) if !Self::is_anew(timeline) => on = begin,
                _ => return false,
            }
        }
    }

    /// What is to be seen of a key at a place.
    pub(crate) fn version(&self, place: Place, key: Key) -> Version {
        let mut on = Some(place);
        while let Some(place) = on {
            let timeline = &self.timelines[place.timeline];
            let mut records = timeline.records[..timeline.count(place.position)]
                .iter()
                .rev();
            if let Some(record) = records.find(|record| record.key == key) {
                return record.version;
            }
            on = timeline.begin.map(|begin| match Self::is_anew(timeline) {
                true => begin,
                false => Place {
                    position: begin.position.min(place.position),
                    ..begin
                },
            });
        }
        Version(0)
    }

    /// All that is to be seen at a place.
    pub(crate) fn versions(&self, place: Place, keys: u64) -> HashMap<Key, Version> {
        let keys = (0..keys).map(Key);
        keys.map(|key| (key, self.version(place, key))).collect()
    }

    /// A place so many records before this one.
    pub(crate) fn back(position: u64, records: u64) -> u64 {
        position.saturating_sub(RECORD * records).max(Self::BEGIN)
    }
}
