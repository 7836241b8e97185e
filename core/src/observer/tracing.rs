//! Events through `tracing`.

use super::{Event, Observer, Peer};
use crate::health::Health;

/// Reports events through `tracing`, with the target `dbrouter`. Every router has it where the feature `tracing` is on.
///
/// Fields are called as OpenTelemetry's semantic conventions for databases have it: `db.system.name`, `server.address` and
/// `server.port` (where the node was given as a URL), what went wrong as `error`. What they have no name for begins
/// with `dbrouter.`: `dbrouter.node` is the node's name.
///
/// What is the database's or the network's fault is a warning, and two primaries an error; who is back is information,
/// and that a read was run again elsewhere is for debugging. There are no spans for statements: drivers and ORMs have those,
/// and here would only be how long a decision took, which is less than a span does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tracing;

/// One event with the fields of its server.
macro_rules! report {
    ($level:ident, $peer:expr, { $($field:tt)* }, $message:literal) => {{
        let peer: &Peer = $peer;
        tracing::$level!(
            target: "dbrouter",
            {
                db.system.name = peer.system().otel_name(),
                dbrouter.node = peer.node(),
                server.address = peer.address(),
                server.port = peer.port(),
                $($field)*
            },
            $message
        );
    }};
}

impl Observer for Tracing {
    fn happened(&self, event: &Event) {
        match event {
            Event::Suspected { peer, error } => {
                report!(warn, peer, { error = &**error }, "node lost");
            }
            Event::Ejected {
                peer,
                error,
                at_least,
            } => {
                report!(warn, peer, { error = &**error, dbrouter.at_least = ?at_least }, "node ejected");
            }
            Event::PoolFailed { peer, error } => {
                report!(
                    warn,
                    peer,
                    { error = &**error },
                    "node's pool gives no connection"
                );
            }
            Event::PoolRecovered { peer } => {
                report!(info, peer, {}, "node's pool gives connections again");
            }
            Event::Found {
                peer,
                role,
                before,
                after,
            } => match before {
                // It was never away for anybody.
                Health::Suspect => {
                    report!(debug, peer, { dbrouter.role = %role }, "node found again");
                }
                _ => {
                    report!(info, peer, { dbrouter.role = %role, dbrouter.health = %after }, "node found");
                }
            },
            Event::RoleChanged { peer, role } => {
                report!(warn, peer, { dbrouter.role = %role }, "node changed its role");
            }
            Event::PrimaryChanged { from, to } => {
                report!(
                    warn,
                    to,
                    { dbrouter.from = from.node() },
                    "another node is the primary"
                );
            }
            Event::Contested { primary, rival } => report!(
                error,
                primary,
                { dbrouter.rival = rival.node() },
                "two nodes claim to be the primary; no writes are taken"
            ),
            Event::Refused { peer, error } => {
                report!(error, peer, { error = &**error }, "node refused");
            }
            Event::SameServer { peer, other } => report!(
                warn,
                peer,
                { dbrouter.other = &**other },
                "two nodes lead to one server; they count as one"
            ),
            Event::SeveralServers { peer } => report!(
                warn,
                peer,
                {},
                "the address leads to several servers, of which the router uses one; give each an address of its own"
            ),
            Event::ClusterReplaced { peer, from, to } => report!(
                warn,
                peer,
                { dbrouter.from = &**from, dbrouter.to = &**to },
                "the primary belongs to another cluster now, and no node of the former one answers"
            ),
            Event::Retried { peer, fault } => {
                report!(debug, peer, { dbrouter.fault = ?fault }, "work goes on elsewhere");
            }
            Event::Misjudged { peer, statement } => report!(
                warn,
                peer,
                { statement = &**statement },
                "a replica refused as a write what was taken for a read; it goes to the primary now"
            ),
            Event::PolicyOutOfRange { index, candidates } => tracing::error!(
                target: "dbrouter",
                { index, candidates },
                "policy picked an index out of range; the first candidate is used"
            ),
            Event::NotLearnt { problem } => tracing::warn!(
                target: "dbrouter",
                { problem = &**problem },
                "the server's functions could not be read; calls of unknown ones go to the primary"
            ),
            Event::Discovered { node } => {
                tracing::info!(target: "dbrouter", { dbrouter.node = &**node }, "node discovered");
            }
            Event::LetGo { node } => tracing::info!(
                target: "dbrouter",
                { dbrouter.node = &**node },
                "node is no longer there, by its source; it was removed"
            ),
            Event::NotDiscovered { problem } => tracing::warn!(
                target: "dbrouter",
                { problem = &**problem },
                "discovery failed; the nodes stay as they are"
            ),
        }
    }

    fn is_prompt(&self) -> bool {
        true
    }
}
