//! What is known of the primary's log: which history it belongs to, and where it stood when.
//!
//! The monitor writes it. Tokens are made from it and read by it, so many sessions that want one cost the
//! primary a single question, or none.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Instant;
use crate::dialect::{Position, Timeline, Written};
use crate::freshness::{Commits, Marks};
use crate::request::stable_hash;
use crate::sync::{AtomicU64, Ordering};
use crate::token::Place;

/// The primary's log, as far as it is known.
#[derive(Debug)]
pub(crate) struct History {
    known: Mutex<Known>,
    recorded: Notify,
    /// When the primary was last asked and answered, for routes, which take no lock; `VOID` if it never was.
    asked: AtomicU64,
}

impl Default for History {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            recorded: Notify::new(),
            asked: AtomicU64::new(Instant::VOID.as_nanos()),
        }
    }
}

#[derive(Debug, Default)]
struct Known {
    /// A hash of what all nodes of the cluster have in common.
    cluster: Option<u64>,
    timeline: Option<Timeline>,
    marks: Marks,
}

impl History {
    /// The primary has told what all nodes of its cluster have in common.
    pub(crate) fn identify(&self, identity: &str) {
        self.known().cluster = Some(stable_hash(identity.as_bytes()));
    }

    pub(crate) fn timeline(&self) -> Option<Timeline> {
        self.known().timeline
    }

    /// The latest instant at which the primary was asked, if it was.
    pub(crate) fn asked(&self) -> Option<Instant> {
        self.known().marks.asked()
    }

    /// The last place in the log that the primary has told.
    pub(crate) fn newest(&self) -> Option<Position> {
        let known = self.known();
        known.marks.last().map(|written| written.inserted.clone())
    }

    /// Whether the primary had inserted more when it was last asked than it says now that it has flushed.
    pub(crate) fn is_unflushed(&self, written: &Written) -> bool {
        let known = self.known();
        let mut last = known.marks.last().into_iter();
        last.any(|last| !written.flushed.covers(&last.inserted))
    }

    /// Whether the primary is now in another history than it was, or further back: then nothing that was
    /// proved before holds any longer.
    pub(crate) fn is_broken_by(&self, timeline: Timeline, written: &Written) -> bool {
        let known = self.known();
        let mut last = known.marks.last().into_iter();
        known.timeline != Some(timeline)
            || last.any(|last| !written.inserted.covers(&last.inserted))
    }

    /// Takes in where the primary's log stands: it was asked at `asked`.
    pub(crate) fn record(&self, asked: Instant, timeline: Timeline, written: Written) {
        let mut known = self.known();
        known.timeline = Some(timeline);
        known.marks.record(asked, written);
        self.note_asked(&known);
        drop(known);
        self.recorded.notify_waiters();
    }

    /// Forgets all but which cluster it is.
    pub(crate) fn forget(&self) {
        let mut known = self.known();
        known.timeline = None;
        known.marks.clear();
        self.note_asked(&known);
    }

    fn note_asked(&self, known: &Known) {
        let asked = known.marks.asked().unwrap_or(Instant::VOID);
        self.asked.store(asked.as_nanos(), Ordering::Release);
    }

    /// The instant as of which a replica must be fresh that lags by `bound` at most; `VOID` while nobody can know.
    ///
    /// How far it lags is what the primary had written when it last answered and the replica does not show yet. So no
    /// replica gets older while the primary does not answer: then nobody knows of anything that it lacks.
    #[inline]
    pub(crate) fn back(&self, bound: Duration) -> Instant {
        match Instant::from_nanos(self.asked.load(Ordering::Acquire)) {
            Instant::VOID => Instant::VOID,
            asked => asked.back(bound).max(Instant::PROVED),
        }
    }

    /// Forgets where the primary's log stood, in a history that may be the same.
    pub(crate) fn forget_marks(&self) {
        self.known().marks.clear();
    }

    /// The latest instant as of which a node that has replayed `replayed` is fresh.
    pub(crate) fn fresh_as_of(&self, replayed: &Position, commits: Commits) -> Option<Instant> {
        self.known().marks.fresh_as_of(replayed, commits)
    }

    /// The earliest known instant such that a node which is fresh as of then shows what stood in the log up to
    /// `place`; `None` if the place is not known to be of this history, or not to have been reached.
    pub(crate) fn reached(&self, place: &Place) -> Option<Instant> {
        let known = self.known();
        let here = known.cluster == Some(place.cluster) && known.timeline == Some(place.timeline);
        here.then(|| known.marks.reached(&place.position)).flatten()
    }

    /// A place that covers all that was acknowledged before `instant`, as soon as the primary has been asked
    /// for one after then. Somebody must have it asked.
    pub(crate) async fn place_after(&self, instant: Instant) -> Place {
        loop {
            let recorded = self.recorded.notified();
            tokio::pin!(recorded);
            // From here on no record is missed, so the look may come now.
            recorded.as_mut().enable();
            if let Some(place) = self.known().place_after(instant) {
                return place;
            }
            recorded.await;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn place_after(&self, instant: Instant) -> Option<Place> {
        let (cluster, timeline) = self.cluster.zip(self.timeline)?;
        self.marks.asked().filter(|asked| *asked >= instant)?;
        let position = self.marks.last()?.inserted.clone();
        Some(Place {
            cluster,
            timeline,
            position,
        })
    }
}
