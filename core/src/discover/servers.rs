//! Those who can be asked, for sources that ask the cluster itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::{DiscoverError, DiscoverErrorKind};
use crate::cluster::Shared;
use crate::dialect::{Answer, Dialect, Question};
use crate::learning::informant;
use crate::router::{Backend, ask_once};
use crate::work::BoxFuture;

/// The servers that the router knows already, for sources that ask them. They are asked on connections of their own,
/// and given ten times as long as the monitor's [timeout](crate::MonitorSettings::timeout).
#[derive(Clone)]
pub struct Servers {
    dialect: Dialect,
    asked: Arc<dyn Ask>,
}

/// Whom a question is for.
#[derive(Clone, Copy)]
enum Whom {
    /// The primary, because only it knows.
    Primary,
    /// The primary, or if it does not answer any other node.
    Any,
}

trait Ask: Send + Sync {
    fn ask<'a>(
        &'a self,
        whom: Whom,
        question: &'a Question,
    ) -> BoxFuture<'a, Result<Answer, DiscoverError>>;
}

impl Servers {
    /// No servers: for those who try a source by hand.
    #[must_use]
    pub fn none(dialect: Dialect) -> Self {
        let asked = Arc::new(Nobody);
        Self { dialect, asked }
    }

    /// The primary of a router that is not there yet.
    pub(crate) fn primary_alone<B: Backend>(dialect: Dialect, primary: B, limit: Duration) -> Self {
        let asked = Arc::new(One { primary, limit });
        Self { dialect, asked }
    }

    /// All nodes of a router.
    pub(crate) fn of<B: Backend>(shared: Arc<Shared<B>>) -> Self {
        let dialect = shared.dialect;
        let asked = Arc::new(All(shared));
        Self { dialect, asked }
    }

    /// What kind of servers they are.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Asks the primary.
    ///
    /// # Errors
    ///
    /// If it does not answer.
    pub async fn ask_primary(&self, question: &Question) -> Result<Answer, DiscoverError> {
        self.asked.ask(Whom::Primary, question).await
    }

    /// Asks the primary, or while that does not answer the monitor any other node.
    ///
    /// # Errors
    ///
    /// If there is no answer.
    pub async fn ask_any(&self, question: &Question) -> Result<Answer, DiscoverError> {
        self.asked.ask(Whom::Any, question).await
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Servers")
            .field("dialect", &self.dialect)
            .finish_non_exhaustive()
    }
}

struct Nobody;

impl Ask for Nobody {
    fn ask<'a>(&'a self, _: Whom, _: &'a Question) -> BoxFuture<'a, Result<Answer, DiscoverError>> {
        let problem = "there is no server to ask yet; name the primary";
        Box::pin(async move { Err(unanswered(problem)) })
    }
}

struct One<B> {
    primary: B,
    limit: Duration,
}

impl<B: Backend> Ask for One<B> {
    fn ask<'a>(
        &'a self,
        _: Whom,
        question: &'a Question,
    ) -> BoxFuture<'a, Result<Answer, DiscoverError>> {
        Box::pin(answer_of(
            &self.primary,
            "the primary",
            question,
            self.limit,
        ))
    }
}

struct All<B: Backend>(Arc<Shared<B>>);

impl<B: Backend> Ask for All<B> {
    fn ask<'a>(
        &'a self,
        whom: Whom,
        question: &'a Question,
    ) -> BoxFuture<'a, Result<Answer, DiscoverError>> {
        let shared = &self.0;
        let limit = shared.settings.monitor.timeout;
        Box::pin(async move {
            let node = match whom {
                Whom::Primary => Some(Arc::clone(shared.topology.load().primary())),
                Whom::Any => informant(shared),
            };
            let node = node.ok_or_else(|| unanswered("no node answers"))?;
            answer_of(node.backend(), node.name(), question, limit).await
        })
    }
}

async fn answer_of<B: Backend>(
    backend: &B,
    name: &str,
    question: &Question,
    limit: Duration,
) -> Result<Answer, DiscoverError> {
    /// It is a longer question than the monitor's.
    const LENIENCE: u32 = 10;
    let limit = limit.saturating_mul(LENIENCE);
    match timeout(limit, ask_once(backend, question)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            Err(unanswered(format!("{name} could not be asked for the nodes")).with_source(error))
        }
        Err(_) => Err(unanswered(format!("{name}: no answer within {limit:?}"))),
    }
}

fn unanswered(problem: impl Into<String>) -> DiscoverError {
    DiscoverError::new(DiscoverErrorKind::Unanswered, problem)
}
