//! What the classifier must know of the server, and asks again from time to time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::cluster::Shared;
use crate::dialect::{Answer, Question};
use crate::node::{Node, NodeId};
use crate::observer::Event;
use crate::router::{Backend, ask_once};

/// What the classifier was last told.
#[derive(Default)]
pub(crate) struct Lesson {
    /// All that was asked for was answered, when it was last asked for.
    learnt: bool,
    /// The node that told it, and its answer to the classifier's [sign](crate::Classifier::sign) from before.
    sign: Option<(NodeId, Answer)>,
    /// The question that this node failed to answer after that.
    rest: Option<Question>,
}

impl Lesson {
    /// Asks the classifier's question once, if it has one and its sign has changed.
    pub(crate) async fn learn<B: Backend>(&mut self, shared: &Shared<B>) {
        let asked = match shared.classifier.question() {
            Some(question) => self.ask(shared, question).await,
            None => Ok(()),
        };
        self.learnt = asked.is_ok();
        if let Err(problem) = asked {
            shared.context.events.emit(|| Event::NotLearnt {
                problem: problem.into(),
            });
        }
    }

    /// Asks it again and again. A question that failed is repeated sooner. As often, answered or not, what replicas
    /// refused is forgotten: it may be out of date as well.
    pub(crate) async fn keep_learning<B: Backend>(mut self, shared: Arc<Shared<B>>) {
        const SOON: Duration = Duration::from_secs(1);
        let refresh = shared.settings.monitor.refresh;
        let mut forgotten = Instant::now();
        loop {
            sleep(match self.learnt {
                true => refresh,
                false => refresh.min(SOON),
            })
            .await;
            self.learn(&shared).await;
            if forgotten.elapsed() >= refresh {
                shared.misjudged.forget();
                forgotten = Instant::now();
            }
        }
    }

    async fn ask<B: Backend>(
        &mut self,
        shared: &Shared<B>,
        question: Question,
    ) -> Result<(), String> {
        let node = informant(shared).ok_or("no node answers")?;
        // It is asked first: what changes while the classifier is told changes the next sign.
        let sign = match shared.classifier.sign() {
            Some(sign) => Some((node.id(), answer_of(shared, &node, &sign).await?)),
            None => None,
        };
        let rest = self.rest.take();
        let mut next = match sign.is_some() && self.sign == sign {
            true => rest,
            false => Some(question),
        };
        self.sign = sign;
        while let Some(question) = next {
            match answer_of(shared, &node, &question).await {
                Ok(answer) => next = shared.classifier.learn(&answer),
                Err(problem) => {
                    // What was answered so far is not asked again.
                    self.rest = Some(question);
                    return Err(problem);
                }
            }
        }
        Ok(())
    }
}

async fn answer_of<B: Backend>(
    shared: &Shared<B>,
    node: &Node<B>,
    question: &Question,
) -> Result<Answer, String> {
    /// It is a longer question than the monitor's.
    const LENIENCE: u32 = 10;
    let limit = shared.settings.monitor.timeout.saturating_mul(LENIENCE);
    match timeout(limit, ask_once(node.backend(), question)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("{}: {error}", node.name())),
        Err(_) => Err(format!("{}: no answer within {limit:?}", node.name())),
    }
}

/// The primary, or while that does not answer any other node.
pub(crate) fn informant<B: Backend>(shared: &Shared<B>) -> Option<Arc<Node<B>>> {
    let topology = shared.topology.load();
    let primary = topology.primary();
    let mut nodes = std::iter::once(primary).chain(topology.replicas());
    nodes.find(|node| node.is_healthy()).cloned()
}
