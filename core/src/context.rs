//! What the sessions, routes and monitor of one router share and none of them owns.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::causality::RootNeeds;
use crate::clock::{Clock, Instant};
use crate::decision::Reason;
use crate::dialect::Dialect;
use crate::events::Events;
use crate::fallback::Places;
use crate::health::HealthSettings;
use crate::live::Epoch;
use crate::node::NodeId;
use crate::offenders::Offenders;
use crate::sync::AtomicU32;
use crate::wake::Wake;

/// One router's clock, bell and counters.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wake: Wake,
    /// What the root session must see.
    pub(crate) root: RootNeeds,
    pub(crate) counters: Counters,
    /// Those for reads that fall back, if they are limited.
    pub(crate) places: Option<Places>,
    pub(crate) health: HealthSettings,
    pub(crate) events: Events,
    /// Statements that break their connection wherever they run.
    pub(crate) offenders: Offenders,
    /// The kind of server that the nodes are.
    pub(crate) dialect: Dialect,
    epochs: AtomicU32,
    nodes: AtomicU32,
    sessions: AtomicU64,
}

impl Context {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        places: Option<Places>,
        health: HealthSettings,
        events: Events,
        dialect: Dialect,
    ) -> Self {
        Self {
            clock,
            wake: Wake::new(),
            root: RootNeeds::new(),
            counters: Counters::default(),
            places,
            health,
            events,
            offenders: Offenders::default(),
            dialect,
            epochs: AtomicU32::new(0),
            nodes: AtomicU32::new(0),
            sessions: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The instant after now. What ends now is only shown by what was asked later: on a coarse clock
    /// a question may bear the same instant and yet have come before.
    #[inline]
    pub(crate) fn after_now(&self) -> Instant {
        self.now() + Duration::from_nanos(1)
    }

    /// An epoch that no node has had within the last 65,534 outages of the cluster.
    pub(crate) fn next_epoch(&self) -> Epoch {
        loop {
            // Truncated on purpose: epochs wrap around, leaving out zero.
            let epoch = self.epochs.fetch_add(1, Ordering::Relaxed).wrapping_add(1) as Epoch;
            if epoch != 0 {
                return epoch;
            }
        }
    }

    pub(crate) fn next_node(&self) -> NodeId {
        NodeId(self.nodes.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }
}

/// What happened rarely enough to be counted for the whole router.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) failovers: AtomicU64,
    pub(crate) policy_out_of_range: AtomicU64,
    pub(crate) rounds: AtomicU64,
    fallbacks: [AtomicU64; Reason::ALL.len()],
}

impl Counters {
    /// A read that fell back to the primary.
    pub(crate) fn fell_back(&self, reason: Reason) {
        self.fallbacks[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn fallbacks(&self) -> impl Iterator<Item = (Reason, u64)> {
        let counts = self
            .fallbacks
            .iter()
            .map(|count| count.load(Ordering::Relaxed));
        Reason::ALL
            .into_iter()
            .zip(counts)
            .filter(|(_, count)| *count > 0)
    }
}
