//! What nodes are, found out by asking them.

use std::fmt::Write;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::error::in_full;
use crate::builder::Adapter;
use crate::config::{ConfigError, ConfigErrorKind};
use crate::dialect::{Dialect, LogStanding, Report, Timeline};
use crate::monitor::{CONNECTING, later};
use crate::options::NodeOptions;
use crate::router::{Backend, ask_once};
use crate::settings::Start;
use crate::vocabulary::Role;

/// Nodes without roles, sorted by what they said.
pub(crate) struct Sorted<A: Adapter> {
    pub(crate) primary: NodeOptions<A>,
    pub(crate) replicas: Vec<NodeOptions<A>>,
    /// Those that have said nothing.
    pub(crate) silent: Vec<NodeOptions<A>>,
}

impl<A: Adapter> Sorted<A> {
    /// The primary that was named.
    pub(crate) fn of(primary: NodeOptions<A>) -> Self {
        Self {
            primary,
            replicas: Vec::new(),
            silent: Vec::new(),
        }
    }
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
    let mut candidates = Vec::new();
    let mut backends = Vec::new();
    for (index, node) in nodes.into_iter().enumerate() {
        let position = format!("{field}-{}", index + 1);
        // Read-only, until it has said that it is something else.
        let (spec, access) = node.clone().open(adapter, Role::Replica, &position)?;
        let name = spec.stated_name().unwrap_or(&position).to_owned();
        candidates.push((name, node));
        backends.push((A::dialect(access.backend()), access.backend().clone()));
    }
    // A server that is given twice is one node.
    let mut met = Vec::new();
    let is_primary = |said: &Said| said.role() == Some(Role::Primary);
    let enough = |said: &[Said]| said.iter().any(is_primary);
    let said = ask_all(backends, limit, limit.max(CONNECTING), enough).await;
    let all = candidates.into_iter().zip(said);
    let (candidates, said): (Vec<_>, Vec<_>) =
        all.filter(|(_, said)| !said.is_one_of(&mut met)).unzip();
    let primary = chosen(&said, start).map_err(|problem| {
        let mut text = problem.to_owned();
        for ((name, _), said) in candidates.iter().zip(&said) {
            // Writing to a string cannot fail.
            write!(text, "; {name}: {}", described(said)).ok();
        }
        ConfigError::new(ConfigErrorKind::Primary, field, text)
    })?;
    let mut others: Vec<_> = candidates.into_iter().zip(said).collect();
    let ((_, primary), _) = others.remove(primary);
    let (silent, replicas): (Vec<_>, Vec<_>) = others
        .into_iter()
        .partition(|(_, said)| said.report.is_err());
    let nodes = |others: Vec<((String, _), Said)>| others.into_iter().map(|((_, node), _)| node);
    Ok(Sorted {
        primary,
        replicas: nodes(replicas).collect(),
        silent: nodes(silent).collect(),
    })
}

/// What a node said.
pub(super) struct Said {
    /// Who it is, or why it did not say.
    report: Result<Report, String>,
}

impl Said {
    fn nothing(why: impl Into<String>) -> Self {
        Self {
            report: Err(why.into()),
        }
    }

    /// Its role, if it said anything. Where servers have no role of their own, it is what it was asked as: a replica.
    pub(super) fn role(&self) -> Option<Role> {
        let report = self.report.as_ref().ok()?;
        Some(report.role.unwrap_or(Role::Replica))
    }

    /// Whether it is one of the servers that have been met. It has been, from now on.
    pub(super) fn is_one_of(&self, met: &mut Vec<String>) -> bool {
        let report = self.report.as_ref().ok();
        let Some(server) = report.and_then(|report| report.server.as_ref()) else {
            return false;
        };
        let known = met.contains(server);
        if !known {
            met.push(server.clone());
        }
        known
    }
}

/// Asks all of them at once. Those far away get as much as `most`, unless `limit` has passed and what the others have said
/// is `enough`.
pub(super) async fn ask_all<B: Backend>(
    backends: Vec<(Dialect, B)>,
    limit: Duration,
    most: Duration,
    enough: impl Fn(&[Said]) -> bool,
) -> Vec<Said> {
    let late = |limit: Duration| Said::nothing(format!("no answer within {limit:?}"));
    let mut said: Vec<_> = backends.iter().map(|_| late(limit)).collect();
    let mut questions = JoinSet::new();
    for (index, (dialect, backend)) in backends.into_iter().enumerate() {
        questions.spawn(async move { (index, ask(backend, dialect).await) });
    }
    let begun = Instant::now();
    let mut end = later(begun, limit);
    while !questions.is_empty() {
        match timeout_at(end, questions.join_next()).await {
            Ok(Some(Ok((index, answer)))) => said[index] = answer,
            // The adapter panicked.
            Ok(_) => {}
            Err(_) if most > limit && begun.elapsed() < most && !enough(&said) => {
                end = later(begun, most);
            }
            Err(_) => break,
        }
        if begun.elapsed() > limit && enough(&said) {
            break;
        }
    }
    said
}

async fn ask<B: Backend>(backend: B, dialect: Dialect) -> Said {
    match ask_once(&backend, &dialect.identify()).await {
        Ok(answer) => Said {
            report: dialect.read(&answer).map_err(|error| error.to_string()),
        },
        Err(error) => Said::nothing(in_full(&error)),
    }
}

/// The index of the primary.
fn chosen(said: &[Said], start: Start) -> Result<usize, &'static str> {
    let mut best: Option<(usize, Option<Timeline>)> = None;
    let mut tied = false;
    for (index, said) in said.iter().enumerate() {
        let Ok(report) = &said.report else { continue };
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
        // One that does not answer may be it. If all have answered, the first has the primary's place until one of them
        // is promoted. Until one has said that it is the primary, nothing is written.
        None if start == Start::ReadOnly && !said.is_empty() => {
            let silent = said.iter().position(|said| said.report.is_err());
            Ok(silent.unwrap_or(0))
        }
        None => Err("no node says that it is the primary; add it, or start read-only"),
    }
}

fn described(said: &Said) -> String {
    match &said.report {
        Ok(report) => match report.role {
            Some(role) => format!("is a {role}"),
            None => "has no role".to_owned(),
        },
        Err(problem) => problem.clone(),
    }
}
