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
    /// Where it left another one.
    begin: Option<Place>,
    records: Vec<Record>,
}

/// All timelines.
#[derive(Debug)]
pub(crate) struct Log {
    timelines: Vec<Timeline>,
    versions: u64,
}

impl Log {
    const BEGIN: u64 = 8 * RECORD;

    pub(crate) fn new() -> Self {
        let first = Timeline {
            begin: None,
            records: Vec::new(),
        };
        Self {
            timelines: vec![first],
            versions: 0,
        }
    }

    fn begin(&self, timeline: usize) -> u64 {
        let begin = self.timelines[timeline].begin;
        begin.map_or(Self::BEGIN, |begin| begin.position)
    }

    /// Where the timeline ends.
    pub(crate) fn end(&self, timeline: usize) -> u64 {
        self.begin(timeline) + RECORD * self.timelines[timeline].records.len() as u64
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
        let records = &self.timelines[timeline].records;
        let count = records.partition_point(|record| record.flushed <= at);
        self.begin(timeline) + RECORD * count as u64
    }

    /// What is not flushed dies with the server. Says whether anything was lost.
    pub(crate) fn lose_unflushed(&mut self, timeline: usize, at: Duration) -> bool {
        let records = &mut self.timelines[timeline].records;
        let count = records.partition_point(|record| record.flushed <= at);
        let loses = count < records.len();
        records.truncate(count);
        loses
    }

    /// A new timeline that leaves another one at this place.
    pub(crate) fn fork(&mut self, place: Place) -> usize {
        self.timelines.push(Timeline {
            begin: Some(place),
            records: Vec::new(),
        });
        self.timelines.len() - 1
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
            match self.timelines[on.timeline].begin {
                Some(begin) => on = begin,
                None => return false,
            }
        }
    }

    /// What is to be seen of a key at a place.
    pub(crate) fn version(&self, place: Place, key: Key) -> Version {
        let mut on = Some(place);
        while let Some(place) = on {
            let timeline = &self.timelines[place.timeline];
            let length = place.position.saturating_sub(self.begin(place.timeline)) / RECORD;
            let length = timeline.records.len().min(length as usize);
            let mut records = timeline.records[..length].iter().rev();
            if let Some(record) = records.find(|record| record.key == key) {
                return record.version;
            }
            on = timeline.begin.map(|begin| Place {
                position: begin.position.min(place.position),
                ..begin
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
