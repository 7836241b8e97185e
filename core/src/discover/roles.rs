//! What nodes are, found out by asking them.

use std::fmt::Write;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::error::in_full;
use crate::builder::Adapter;
use crate::config::{ConfigError, ConfigErrorKind};
use crate::dialect::{Dialect, LogStanding, Report, Timeline};
use crate::options::NodeOptions;
use crate::router::Backend;
use crate::settings::Start;
use crate::vocabulary::Role;

/// Nodes without roles, sorted by what they said.
pub(crate) struct Sorted<A: Adapter> {
    pub(crate) primary: NodeOptions<A>,
    pub(crate) replicas: Vec<NodeOptions<A>>,
}

/// Asks all nodes who they are. The primary is the one that says so; of two, the one on the highest timeline. `field` is
/// what errors call the list.
pub(crate) async fn sort<A: Adapter>(
    adapter: &A,
    nodes: Vec<NodeOptions<A>>,
    limit: Duration,
    start: Start,
    field: &str,
) -> Result<Sorted<A>, ConfigError> {
    let mut backends = Vec::new();
    let mut names = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let position = format!("{field}-{}", index + 1);
        // Read-only, until it has said that it is something else.
        let (spec, access) = node.clone().open(adapter, Role::Replica, &position)?;
        names.push(spec.stated_name().unwrap_or(&position).to_owned());
        backends.push((A::dialect(access.backend()), access.backend().clone()));
    }
    let said = ask_all(backends, limit).await;
    let primary = chosen(&said, start).map_err(|problem| {
        let mut text = problem.to_owned();
        for (name, said) in names.iter().zip(&said) {
            // Writing to a string cannot fail.
            write!(text, "; {name}: {}", described(said)).ok();
        }
        ConfigError::new(ConfigErrorKind::Primary, field, text)
    })?;
    let mut replicas = nodes;
    let primary = replicas.remove(primary);
    Ok(Sorted { primary, replicas })
}

/// What each of these says that it is; `None` if it says nothing.
pub(super) async fn roles<B: Backend>(
    backends: Vec<B>,
    dialect: Dialect,
    limit: Duration,
) -> Vec<Option<Role>> {
    let backends = backends.into_iter().map(|backend| (dialect, backend));
    let said = ask_all(backends.collect(), limit).await;
    let role = |said: Said| said.ok().and_then(|report| report.role);
    said.into_iter().map(role).collect()
}

/// What a node said, or why it said nothing.
type Said = Result<Report, String>;

async fn ask_all<B: Backend>(backends: Vec<(Dialect, B)>, limit: Duration) -> Vec<Said> {
    let mut said: Vec<_> = backends
        .iter()
        .map(|_| Err("the adapter panicked".to_owned()))
        .collect();
    let mut questions = JoinSet::new();
    for (index, (dialect, backend)) in backends.into_iter().enumerate() {
        questions.spawn(async move { (index, ask(backend, dialect, limit).await) });
    }
    while let Some(answered) = questions.join_next().await {
        if let Ok((index, answer)) = answered {
            said[index] = answer;
        }
    }
    said
}

async fn ask<B: Backend>(backend: B, dialect: Dialect, limit: Duration) -> Said {
    match timeout(limit, backend.probe(&dialect.identify())).await {
        Ok(Ok(answer)) => dialect.read(&answer).map_err(|error| error.to_string()),
        Ok(Err(error)) => Err(in_full(&error)),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

/// The index of the primary.
fn chosen(said: &[Said], start: Start) -> Result<usize, &'static str> {
    let mut best: Option<(usize, Option<Timeline>)> = None;
    let mut tied = false;
    for (index, report) in said.iter().enumerate() {
        let Ok(report) = report else { continue };
        if report.role != Some(Role::Primary) {
            continue;
        }
        let timeline = match report.standing {
            LogStanding::Written { timeline, .. } => Some(timeline),
            LogStanding::Shared | LogStanding::Replayed { .. } => None,
        };
        let (newer, older) = match (best, timeline) {
            (None, _) => (true, false),
            (Some((_, Some(Timeline::Numbered(best)))), Some(Timeline::Numbered(this))) => {
                (this > best, this < best)
            }
            // Histories that are named after their writers have no order.
            (Some(_), _) => (false, false),
        };
        if newer {
            best = Some((index, timeline));
            tied = false;
        } else if !older {
            tied = true;
        }
    }
    match best {
        Some(_) if tied => {
            Err("more than one node says that it is the primary, and none is on a later timeline")
        }
        Some((index, _)) => Ok(index),
        // One that does not answer may be it. Until it has said so, nothing is written.
        None if start == Start::ReadOnly => said
            .iter()
            .position(Result::is_err)
            .ok_or("no node says that it is the primary, and all have answered"),
        None => Err("no node says that it is the primary; add it, or start read-only"),
    }
}

fn described(said: &Said) -> String {
    match said {
        Ok(report) => match report.role {
            Some(role) => format!("is a {role}"),
            None => "has no role".to_owned(),
        },
        Err(problem) => problem.clone(),
    }
}
