//! The monitor's own connection to one node: opened, kept from question to question, and opened again.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::dialect::{Answer, Question};
use crate::node::Node;
use crate::router::Backend;
use crate::vocabulary::Fault;

use super::later;
use super::problem::Problem;

/// How long one attempt to connect may take. That is much longer than a question: a server far away, or one whose
/// connections are set up slowly, is met all the same.
pub(crate) const CONNECTING: Duration = Duration::from_secs(10);

/// The way to one node. An attempt to connect outlives the question that it was begun for.
pub(super) struct Line<B: Backend> {
    node: Arc<Node<B>>,
    open: Option<Open<B>>,
    attempts: JoinSet<Result<Open<B>, Problem>>,
    /// When the last attempt was begun.
    youngest: Option<Instant>,
}

/// An open connection.
struct Open<B: Backend> {
    probe: B::Probe,
    /// How long it took to open: several round trips.
    opened_in: Duration,
}

/// What came of telling a node to do something.
pub(super) enum Told {
    Done(Answer),
    /// It does not know how to.
    Refused,
    /// The connection carries no answer.
    Silent,
    Failed(Problem),
}

/// Which of two connections has brought an answer.
enum First<A> {
    OnTheKept(A),
    OnANewOne(Answer),
}

/// An answer, and to which question on which connection.
pub(super) struct Answered {
    pub(super) answer: Answer,
    pub(super) how: How,
}

/// How a question was answered.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// As it was asked.
    AsAsked,
    /// The connection that was kept was silent, so it is the question who the node is that was answered, on a new one.
    Anew,
    /// The same, because the connection was closed: the server may have been restarted.
    AfterItWasClosed,
}

impl<B: Backend> Line<B> {
    /// At most so many attempts are under way at once: who could not be reached when the first was begun may be by now.
    const ATTEMPTS: usize = 2;

    pub(super) fn new(node: &Arc<Node<B>>) -> Self {
        Self {
            node: Arc::clone(node),
            open: None,
            attempts: JoinSet::new(),
            youngest: None,
        }
    }

    /// Whether it leads to the node by way of its present pool.
    pub(super) fn leads_to(&self, node: &Arc<Node<B>>) -> bool {
        Arc::ptr_eq(&self.node, node)
    }

    /// Whether a connection is being opened.
    pub(super) fn is_connecting(&self) -> bool {
        !self.attempts.is_empty()
    }

    /// Asks a question. If the connection that was kept gives no answer within half of the limit, it may be the
    /// connection alone that is dead, forgotten by a firewall. So the node is then also asked who it is, on a new one,
    /// and the first answer counts. If the connection was closed, an administrator may have ended it: then, too, the node
    /// is asked who it is on a new one.
    ///
    /// `limit` is for the answer of a node nearby: one that is far away gets longer.
    pub(super) async fn ask(
        &mut self,
        question: &Question,
        identify: &Question,
        limit: Duration,
    ) -> Result<Answered, Problem> {
        let Some(mut kept) = self.open.take() else {
            let answer = self.ask_anew(question, limit).await?;
            let how = How::AsAsked;
            return Ok(Answered { answer, how });
        };
        let limit = limit.saturating_add(self.extra(&kept));
        let end = later(Instant::now(), limit);
        let answer = {
            let mut asking = pin!(B::ask(&mut kept.probe, question));
            match timeout(limit / 2, asking.as_mut()).await {
                Ok(answer) => answer,
                Err(_) => {
                    let mut anew = pin!(self.ask_anew(identify, limit));
                    let mut refused = None;
                    let first = poll_fn(|cx| {
                        if let Poll::Ready(answer) = asking.as_mut().poll(cx) {
                            return Poll::Ready(First::OnTheKept(answer));
                        }
                        // The question may still be answered if the other one is not.
                        if refused.is_none()
                            && let Poll::Ready(answer) = anew.as_mut().poll(cx)
                        {
                            match answer {
                                Ok(answer) => return Poll::Ready(First::OnANewOne(answer)),
                                Err(problem) => refused = Some(problem),
                            }
                        }
                        Poll::Pending
                    });
                    match timeout_at(end, first).await {
                        Ok(First::OnTheKept(answer)) => answer,
                        Ok(First::OnANewOne(answer)) => {
                            let how = How::Anew;
                            return Ok(Answered { answer, how });
                        }
                        Err(_) => return Err(refused.unwrap_or(Problem::TimedOut(limit))),
                    }
                }
            }
        };
        match answer {
            Err(error) if B::fault(&error) == Fault::Unavailable => {
                let anew = self.ask_anew(identify, limit).await;
                let how = How::AfterItWasClosed;
                // Why it cannot be reached now says more than that the connection was closed.
                anew.map(|answer| Answered { answer, how })
            }
            answer => {
                let answer = self.answered(kept, answer)?;
                let how = How::AsAsked;
                Ok(Answered { answer, how })
            }
        }
    }

    /// Asks on a connection that is opened for it.
    async fn ask_anew(&mut self, question: &Question, limit: Duration) -> Result<Answer, Problem> {
        let mut opened = self.connect(limit).await?;
        let limit = limit.saturating_add(self.extra(&opened));
        match timeout(limit, B::ask(&mut opened.probe, question)).await {
            Ok(answer) => self.answered(opened, answer),
            Err(_) => Err(Problem::TimedOut(limit)),
        }
    }

    /// Tells the node to do something, which may take so long.
    pub(super) async fn tell(&mut self, what: &Question, limit: Duration) -> Told {
        let mut opened = match self.open.take() {
            Some(kept) => kept,
            None => match self.connect(limit).await {
                Ok(opened) => opened,
                Err(problem) => return Told::Failed(problem),
            },
        };
        let limit = limit.saturating_add(self.extra(&opened));
        match timeout(limit, B::ask(&mut opened.probe, what)).await {
            Ok(Err(error)) if B::fault(&error) != Fault::Unavailable => {
                // What a server refuses breaks no connection.
                self.open = Some(opened);
                Told::Refused
            }
            Ok(answer) => match self.answered(opened, answer) {
                Ok(answer) => Told::Done(answer),
                Err(problem) => Told::Failed(problem),
            },
            Err(_) => Told::Silent,
        }
    }

    /// How much longer a node gets for its answer because it is far away: several round trips. Before one has been seen,
    /// as long as it took to connect.
    fn extra(&self, open: &Open<B>) -> Duration {
        match self.node.live.round_trip.estimate() {
            Some(round_trip) => round_trip.saturating_mul(4),
            None => open.opened_in,
        }
    }

    /// Keeps a connection that has answered.
    fn answered(
        &mut self,
        open: Open<B>,
        answer: Result<Answer, B::Error>,
    ) -> Result<Answer, Problem> {
        let answer = answer.map_err(Problem::of::<B>)?;
        self.open = Some(open);
        Ok(answer)
    }

    /// Opens a connection, or goes on waiting for one that is being opened, for so long.
    async fn connect(&mut self, patience: Duration) -> Result<Open<B>, Problem> {
        let end = later(Instant::now(), patience);
        let is_old = |begun: Instant| begun.elapsed() >= patience;
        if self.attempts.len() < Self::ATTEMPTS && self.youngest.is_none_or(is_old) {
            let node = Arc::clone(&self.node);
            self.attempts.spawn(attempt(node));
            self.youngest = Some(Instant::now());
        }
        match timeout_at(end, self.attempts.join_next()).await {
            Ok(ended) => {
                self.attempts = JoinSet::new();
                self.youngest = None;
                match ended {
                    Some(Ok(opened)) => opened,
                    // The adapter panicked. That is its node's problem.
                    Some(Err(error)) => Err(Problem::Failed(error.into())),
                    None => Err(Problem::Unconnected(patience)),
                }
            }
            Err(_) => Err(Problem::Unconnected(patience)),
        }
    }
}

async fn attempt<B: Backend>(node: Arc<Node<B>>) -> Result<Open<B>, Problem> {
    let begun = Instant::now();
    match timeout(CONNECTING, node.backend().open_probe()).await {
        Ok(Ok(probe)) => Ok(Open {
            probe,
            opened_in: begun.elapsed(),
        }),
        Ok(Err(error)) => Err(Problem::of::<B>(error)),
        Err(_) => Err(Problem::Unconnected(CONNECTING)),
    }
}
