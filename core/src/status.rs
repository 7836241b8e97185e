//! A snapshot of a router, to print, serialise, or alert on.

use std::fmt;
use std::time::Duration;

use crate::clock::Instant;
use crate::decision::Reason;
use crate::health::Health;
use crate::live::Admission;
use crate::tags::Tags;
use crate::vocabulary::{Pressure, Role};

/// A snapshot of a router and its nodes. `Display` shows a table.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// The nodes, in the order in which they were configured.
    pub nodes: Vec<NodeStatus>,
    /// Whether two nodes claim to be the primary, and nobody can tell which of them is. No writes are taken then.
    pub contested: bool,
    /// Reads that went to the primary because no candidate would do, by reason.
    pub fallbacks: Vec<Fallback>,
    /// The places for reads that fall back, if they are [limited](crate::FallbackLimit).
    pub fallback_places: Option<FallbackPlaces>,
    /// How often a read was run again on another node because one had failed it.
    pub failovers: u64,
    /// How often a replica refused as a write what the classifier took for a read.
    pub misjudged: u64,
    /// Picks of the policy that were no candidate's index.
    pub policy_out_of_range: u64,
    /// Questions about its log position that the monitor has asked the primary.
    pub monitor_rounds: u64,
    /// Whether nobody watches the nodes, because the Tokio runtime has ended in which the router was connected, or it
    /// connects [with its first work](crate::ClusterBuilder::connect_lazy). The next piece of work has all nodes asked before
    /// it goes on, and watched from then on, in its own runtime.
    pub unwatched: bool,
    /// Events that [observers](crate::observer::Observer) had no time for.
    pub dropped_events: u64,
    /// How the source of the nodes does, if there is one.
    pub discovery: Option<DiscoveryStatus>,
}

/// How the source of a router's nodes does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct DiscoveryStatus {
    /// How many sets it has given so far.
    pub sets: u64,
    /// How often it failed so far.
    pub failures: u64,
    /// What is wrong with it, or with a node that it named, as of the last attempt.
    pub last_error: Option<String>,
    /// The nodes of the last set that are not there because they have not said yet who they are.
    pub unmet: Vec<String>,
}

/// How often reads fell back to the primary for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Fallback {
    /// The reason.
    pub reason: Reason,
    /// How often.
    pub count: u64,
}

/// The places on the primary for reads that no replica would serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FallbackPlaces {
    /// How many are taken.
    pub taken: u32,
    /// How many there are.
    pub most: u32,
}

/// A snapshot of one node.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its role, as last found.
    pub role: Role,
    /// Whether it is fit for work, as last found.
    pub healthy: bool,
    /// Its health in full.
    pub health: Health,
    /// Whether the operator lets work onto it.
    pub admission: Admission,
    /// Its weight.
    pub weight: u32,
    /// Its labels.
    pub tags: Tags,
    /// How long ago the node was last proved to show every acknowledged write: at most how far it
    /// lags. `None` if it has proved nothing yet.
    pub staleness: Option<Duration>,
    /// How long its reads take to their first row, as
    /// [policies](crate::Candidate::latency) see it.
    pub latency: Option<Duration>,
    /// How long it takes to answer the monitor.
    pub round_trip: Option<Duration>,
    /// Work that is under way on it.
    pub in_flight: u32,
    /// Reads routed to it so far.
    pub reads: u64,
    /// Writes routed to it so far.
    pub writes: u64,
    /// How often it failed, by traffic or by probe.
    pub failures: u64,
    /// How occupied its pool is.
    pub pressure: Pressure,
    /// What went wrong with it last, if it is not healthy.
    pub last_error: Option<String>,
    /// Why its pool gave no connection, if the server answers the monitor all the same.
    pub pool_error: Option<String>,
    /// The name of another node that leads to the same server, if this node is only a second name of it.
    pub same_server_as: Option<String>,
}

#[cfg(feature = "builder")]
impl DiscoveryStatus {
    /// There is a set.
    pub(crate) fn succeeded(&mut self) {
        self.sets += 1;
        self.last_error = None;
    }

    /// There is none.
    pub(crate) fn failed(&mut self, problem: &str) {
        self.failures += 1;
        self.last_error = Some(problem.to_owned());
    }
}

impl Status {
    /// The status of the node of that name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeStatus> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// How often reads fell back to the primary for this reason.
    #[must_use]
    pub fn fallbacks(&self, reason: Reason) -> u64 {
        let of_reason = self
            .fallbacks
            .iter()
            .filter(|fallback| fallback.reason == reason);
        of_reason.map(|fallback| fallback.count).sum()
    }
}

/// How far behind a node that is fresh as of `fresh_as_of` may be at `now`.
pub(crate) fn staleness(role: Role, fresh_as_of: Instant, now: Instant) -> Option<Duration> {
    match role {
        Role::Primary => Some(Duration::ZERO),
        Role::Replica | Role::Unknown if fresh_as_of <= Instant::ORIGIN => None,
        Role::Replica | Role::Unknown => Some(now.since(fresh_as_of)),
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self
            .nodes
            .iter()
            .map(|node| node.name.chars().count())
            .max()
            .unwrap_or(0)
            .max(4);
        writeln!(
            f,
            "{:width$}  {:7}  {:10}  {:>9}  {:>9}  {:>9}  {:>9}",
            "node", "role", "health", "staleness", "in flight", "reads", "writes"
        )?;
        for node in &self.nodes {
            let health = match node.admission {
                Admission::Disabled => "disabled".to_owned(),
                Admission::Draining => "draining".to_owned(),
                Admission::Enabled => node.health.to_string(),
            };
            let staleness = match node.staleness {
                Some(staleness) => format!("{:.1} ms", staleness.as_secs_f64() * 1e3),
                None => "unknown".to_owned(),
            };
            writeln!(
                f,
                "{:width$}  {:7}  {health:10}  {staleness:>9}  {:>9}  {:>9}  {:>9}",
                node.name, node.role, node.in_flight, node.reads, node.writes
            )?;
        }
        for node in &self.nodes {
            if let Some(error) = &node.pool_error {
                writeln!(
                    f,
                    "{} answers, but its pool gives no connection: {error}",
                    node.name
                )?;
            }
            if let Some(other) = &node.same_server_as {
                writeln!(f, "{} leads to the same server as {other}", node.name)?;
            }
        }
        if self.unwatched {
            writeln!(
                f,
                "nobody watches the nodes: the runtime in which they were watched has ended, or nothing was done yet; the next \
                 piece of work has them watched in its own"
            )?;
        }
        let discovery = self.discovery.as_ref();
        if let Some(error) = discovery.and_then(|discovery| discovery.last_error.as_ref()) {
            writeln!(f, "discovery failed: {error}")?;
        }
        let unmet = discovery.map_or(&[][..], |discovery| &discovery.unmet);
        if !unmet.is_empty() {
            writeln!(f, "discovered, but silent: {}", unmet.join(", "))?;
        }
        Ok(())
    }
}
