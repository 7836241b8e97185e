//! Events and status as metrics.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use super::{Event, Observer, Peer};
use crate::status::Status;
use crate::vocabulary::Fault;

/// Counts events, and records a [status](crate::Status), through the facade `metrics`.
///
/// ```
/// use dbrouter::observer::Metrics;
/// use dbrouter::{Router, Settings};
///
/// let settings = Settings::new().observer(Metrics::new());
/// // … and whenever somebody looks, as in the handler that is scraped:
/// fn scraped(db: &impl Router) {
///     Metrics::record(&db.status());
/// }
/// # let _ = settings;
/// ```
///
/// All have the label `dbrouter.node`, but for those of the whole router. Counted when they happen:
///
/// | metric | kind | more labels | what it counts |
/// | --- | --- | --- | --- |
/// | `dbrouter.suspicions` | counter | `db.system.name` | how often work has found the node unavailable |
/// | `dbrouter.ejections` | counter | `db.system.name` | how often the node was ejected |
/// | `dbrouter.recoveries` | counter | `db.system.name` | how often it was found, for the first time or again |
/// | `dbrouter.role.changes` | counter | `db.system.name`, `dbrouter.role` | how often it said that it is something else |
/// | `dbrouter.primary.changes` | counter | `db.system.name` | how often it became the primary |
/// | `dbrouter.primary.contests` | counter | `db.system.name` | how often it claimed the primary's place beside it |
/// | `dbrouter.retries` | counter | `db.system.name`, `dbrouter.fault` | work that went on elsewhere because the node failed it |
/// | `dbrouter.discovery.failures` | counter | none, nor a node | how often nodes could not be found out |
///
/// Recorded from a status. Here the counts are the router's own since it began, so nothing is done for them on the way of
/// a statement:
///
/// | metric | kind, unit | more labels | what it is |
/// | --- | --- | --- | --- |
/// | `dbrouter.reads` | counter | | reads routed to the node |
/// | `dbrouter.writes` | counter | | writes routed to it |
/// | `dbrouter.failures` | counter | | how often it failed, by traffic or by probe |
/// | `dbrouter.healthy` | gauge | | 1 if it is fit for work, otherwise 0 |
/// | `dbrouter.is_primary` | gauge | | 1 if it says that it is the primary, otherwise 0 |
/// | `dbrouter.in_flight` | gauge | | work under way on it |
/// | `dbrouter.staleness` | gauge, seconds | | at most how far it lags, once that is known |
/// | `dbrouter.latency` | gauge, seconds | | how long its reads take to their first row, once that is known |
/// | `dbrouter.round_trip` | gauge, seconds | | how long its answers to the monitor take, once that is known |
/// | `db.client.connection.count` | gauge | `db.client.connection.state` (`idle`, `used`), `db.client.connection.pool.name` instead of the node's | connections of its pool |
/// | `db.client.connection.max` | gauge | `db.client.connection.pool.name` instead of the node's | the most connections of its pool |
/// | `dbrouter.fallbacks` | counter | `dbrouter.reason`, and no node | reads that the primary has because no replica would do |
/// | `dbrouter.failovers` | counter | no node | work that was run again on another node |
/// | `dbrouter.misjudged` | counter | no node | statements that replicas refused as writes |
/// | `dbrouter.monitor.rounds` | counter | no node | questions to the primary about its log |
/// | `dbrouter.events.dropped` | counter | no node | events that observers had no time for |
/// | `dbrouter.contested` | gauge | no node | 1 while two nodes claim to be the primary, otherwise 0 |
///
/// Those of OpenTelemetry's semantic conventions (`db.client.…`, `db.system.name`) are called as there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Metrics {
    _private: (),
}

impl Metrics {
    /// Describes the metrics to the recorder that is installed.
    #[must_use]
    pub fn new() -> Self {
        describe_counter!("dbrouter.ejections", "How often the node was ejected");
        describe_counter!(
            "dbrouter.retries",
            "Work that went on elsewhere because the node failed it"
        );
        describe_counter!(
            "dbrouter.fallbacks",
            "Reads that the primary has because no replica would do"
        );
        describe_gauge!(
            "dbrouter.staleness",
            Unit::Seconds,
            "At most how far the node lags"
        );
        describe_gauge!(
            "dbrouter.latency",
            Unit::Seconds,
            "How long reads take to their first row"
        );
        describe_gauge!(
            "dbrouter.round_trip",
            Unit::Seconds,
            "How long answers to the monitor take"
        );
        Self::default()
    }

    /// Records what a status says.
    pub fn record(status: &Status) {
        for node in &status.nodes {
            let name = || node.name.clone();
            let flag = |flag| f64::from(u8::from(flag));
            counter!("dbrouter.reads", NODE => name()).absolute(node.reads);
            counter!("dbrouter.writes", NODE => name()).absolute(node.writes);
            counter!("dbrouter.failures", NODE => name()).absolute(node.failures);
            gauge!("dbrouter.healthy", NODE => name()).set(flag(node.healthy));
            let is_primary = node.role == crate::Role::Primary;
            gauge!("dbrouter.is_primary", NODE => name()).set(flag(is_primary));
            gauge!("dbrouter.in_flight", NODE => name()).set(node.in_flight);
            let times = [
                ("dbrouter.staleness", node.staleness),
                ("dbrouter.latency", node.latency),
                ("dbrouter.round_trip", node.round_trip),
            ];
            for (metric, time) in times {
                if let Some(time) = time {
                    gauge!(metric, NODE => name()).set(time.as_secs_f64());
                }
            }
            for (state, count) in [("idle", node.pressure.idle), ("used", node.pressure.in_use)] {
                gauge!("db.client.connection.count", POOL => name(), STATE => state).set(count);
            }
            gauge!("db.client.connection.max", POOL => name()).set(node.pressure.max);
        }
        for fallback in &status.fallbacks {
            let reason = fallback.reason.to_string();
            counter!("dbrouter.fallbacks", "dbrouter.reason" => reason).absolute(fallback.count);
        }
        counter!("dbrouter.failovers").absolute(status.failovers);
        counter!("dbrouter.misjudged").absolute(status.misjudged);
        counter!("dbrouter.monitor.rounds").absolute(status.monitor_rounds);
        counter!("dbrouter.events.dropped").absolute(status.dropped_events);
        gauge!("dbrouter.contested").set(f64::from(u8::from(status.contested)));
    }
}

const NODE: &str = "dbrouter.node";
const POOL: &str = "db.client.connection.pool.name";
const STATE: &str = "db.client.connection.state";
const SYSTEM: &str = "db.system.name";

impl Observer for Metrics {
    fn happened(&self, event: &Event) {
        let count = |metric: &'static str, peer: &Peer| {
            counter!(metric, NODE => peer.node().to_owned(), SYSTEM => system(peer)).increment(1);
        };
        match event {
            Event::Suspected { peer, .. } => count("dbrouter.suspicions", peer),
            Event::Ejected { peer, .. } => count("dbrouter.ejections", peer),
            Event::PoolFailed { peer, .. } => count("dbrouter.pool.failures", peer),
            Event::Found { peer, .. } => count("dbrouter.recoveries", peer),
            Event::RoleChanged { peer, role } => counter!(
                "dbrouter.role.changes",
                NODE => peer.node().to_owned(),
                SYSTEM => system(peer),
                "dbrouter.role" => role.to_string(),
            )
            .increment(1),
            Event::PrimaryChanged { to, .. } => count("dbrouter.primary.changes", to),
            Event::Contested { rival, .. } => count("dbrouter.primary.contests", rival),
            Event::Retried { peer, fault } => counter!(
                "dbrouter.retries",
                NODE => peer.node().to_owned(),
                SYSTEM => system(peer),
                "dbrouter.fault" => name(*fault),
            )
            .increment(1),
            Event::NotDiscovered { .. } => counter!("dbrouter.discovery.failures").increment(1),
            // The status counts these, or they are for people.
            Event::Misjudged { .. }
            | Event::PoolRecovered { .. }
            | Event::Refused { .. }
            | Event::SameServer { .. }
            | Event::SeveralServers { .. }
            | Event::ClusterReplaced { .. }
            | Event::PolicyOutOfRange { .. }
            | Event::NotLearnt { .. }
            | Event::Discovered { .. }
            | Event::LetGo { .. } => {}
        }
    }

    fn is_prompt(&self) -> bool {
        true
    }
}

fn name(fault: Fault) -> &'static str {
    match fault {
        Fault::Unavailable => "unavailable",
        Fault::Busy => "busy",
        Fault::ReadOnly => "read-only",
        Fault::Unsupported => "unsupported",
        Fault::Missing => "missing",
        Fault::Prepared => "prepared",
        Fault::Conflict => "conflict",
        Fault::Other => "other",
    }
}

fn system(peer: &Peer) -> &'static str {
    peer.system().otel_name()
}
