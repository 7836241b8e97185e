//! What the classifier must know of the server, and asks again from time to time.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::cluster::Shared;
use crate::dialect::Question;
use crate::node::Node;
use crate::observer::Event;
use crate::router::{Backend, ask_once};

/// Asks the classifier's question once, if it has one. Whether it was answered.
pub(crate) async fn learn<B: Backend>(shared: &Shared<B>) -> bool {
    let Some(question) = shared.classifier.question() else {
        return true;
    };
    match ask(shared, &question).await {
        Ok(()) => true,
        Err(problem) => {
            shared.context.events.emit(|| Event::NotLearnt {
                problem: problem.into(),
            });
            false
        }
    }
}

/// Asks the classifier's question again and again. A question that failed is repeated sooner. As often, answered or
/// not, what replicas refused is forgotten: it may be out of date as well.
pub(crate) async fn keep_learning<B: Backend>(shared: Arc<Shared<B>>, mut learnt: bool) {
    const SOON: Duration = Duration::from_secs(1);
    let refresh = shared.settings.monitor.refresh;
    let mut forgotten = Instant::now();
    loop {
        sleep(if learnt { refresh } else { refresh.min(SOON) }).await;
        learnt = learn(&shared).await;
        if forgotten.elapsed() >= refresh {
            shared.misjudged.forget();
            forgotten = Instant::now();
        }
    }
}

async fn ask<B: Backend>(shared: &Shared<B>, question: &Question) -> Result<(), String> {
    /// It is a longer question than the monitor's.
    const LENIENCE: u32 = 10;
    let limit = shared.settings.monitor.timeout.saturating_mul(LENIENCE);
    let node = informant(shared).ok_or("no node answers")?;
    match timeout(limit, ask_once(node.backend(), question)).await {
        Ok(Ok(answer)) => {
            shared.classifier.learn(&answer);
            Ok(())
        }
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
