//! The one task per router that watches the nodes: it asks the primary where its log stands and the
//! replicas how far they have replayed it, and moves their freshness.
//!
//! Each question is a task of its own, so that a node that does not answer delays no other. Rounds come
//! at an interval, and sooner when a session wants fresher replicas; a replica that makes no progress
//! is asked less and less often, down to the interval.

mod following;
mod line;
mod problem;
mod promotion;
mod servers;

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use tokio::task::{Id, JoinError, JoinSet};
use tokio::time;

use crate::clock::Instant;
use crate::cluster::Shared;
use crate::config::{ConfigError, ConfigErrorKind};
use crate::dialect::{Answer, LogStanding, Position, Question, Report, Timeline, Written};
use crate::freshness::Commits;
use crate::health::{Health, Sign};
use crate::keeper::{Lasting, Then};
use crate::learning::Lesson;
use crate::live::Alias;
use crate::node::{Node, NodeId};
use crate::observer::Event;
use crate::router::Backend;
use crate::settings::Start;
use crate::standstill::Standstill;
use crate::topology::Topology;
use crate::vocabulary::Role;
use crate::work::BoxFuture;

use self::following::Following;
pub(crate) use self::line::CONNECTING;
use self::line::{How, Line, Told};
use self::problem::Problem;
use self::promotion::{Claim, Verdict};
use self::servers::Leads;

/// How many questions the monitor has sent.
type Count = u64;

pub(crate) struct Monitor<B: Backend> {
    shared: Arc<Shared<B>>,
    identity: Identity,
    /// The database that the primary's connections lead to, once it has told.
    database: Option<String>,
    /// The last history that a primary was followed in, even if nothing is known of it any longer.
    followed: Option<Timeline>,
    /// The server that was the primary when it last answered.
    primary_server: Option<String>,
    watches: HashMap<NodeId, Watch>,
    /// The nodes that the watches are of.
    seen: Option<Arc<Topology<B>>>,
    questions: JoinSet<Reply<B>>,
    /// The ways to the nodes that are not being asked.
    lines: HashMap<NodeId, Line<B>>,
    /// How many questions have been sent.
    sent: Count,
    /// What the classifier was told of the server.
    lesson: Lesson,
    /// The router is connected.
    attached: bool,
}

/// What all nodes of the cluster have in common.
enum Identity {
    /// The primary has not told yet.
    Unknown,
    /// Nothing: the primary's database is its own, and cannot be shared.
    Private,
    Known(String),
}

/// What the monitor remembers of one node.
#[derive(Default)]
struct Watch {
    /// It has said who it is since it last failed.
    met: bool,
    /// The question under way.
    asking: Option<Id>,
    last_asked: Option<time::Instant>,
    /// The same on the router's clock: before the last question was sent.
    asked_at: Instant,
    /// Questions in a row that brought nothing new.
    fruitless: u32,
    /// How long after it was asked, and found gone, it is asked again at the earliest: the longer an attempt to reach it
    /// takes, the later.
    rest: Duration,
    waits: Waits,
    flush: Flush,
    /// The server that it led to when it last answered. A restarted server counts as another one where servers tell
    /// when they were started.
    server: Option<String>,
    /// It has answered since it was last lost, so that it leads to `server` now.
    answers: bool,
    following: Following,
    /// It has been refused, and observers have been told.
    refused: bool,
    standstill: Standstill,
    /// The history that it follows, as it has said itself, if it is a replica and has said so.
    follows: Option<Timeline>,
    /// It is not the primary and has said that it is: what is known of that.
    claim: Option<Claim>,
    /// It claims to be the primary like the one that is, and neither can be preferred.
    contests: bool,
}

/// Whether a replica can be told to wait until it has replayed what is wanted, rather than be asked again and again.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Waits {
    #[default]
    No,
    /// Its version can.
    Yes,
    /// It should have, and did not. That stands until it has been away.
    Refused,
}

/// Whether the primary is to be made to flush its log.
#[derive(Clone, Copy, Default)]
enum Flush {
    #[default]
    No,
    /// With the next question.
    Next,
    /// It was, at this instant.
    Asked(time::Instant),
    /// It cannot. That stands until it has been away.
    Refused,
}

/// Whether a node belongs to the cluster.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Membership {
    /// It does, and its positions compare with the primary's.
    Sure,
    /// The primary has not told yet what it would be compared with.
    Presumed,
    /// It does, but it is not known to follow the primary's timeline.
    Astray,
}

/// One node's answer to one question.
struct Reply<B: Backend> {
    node: NodeId,
    /// The way by which it was asked, unless that is lost.
    line: Option<Line<B>>,
    /// The number of the question.
    question: Count,
    /// The question was who it is, and not only where it stands.
    identified: bool,
    /// The connection that was kept had been closed, and this is the answer on a new one.
    was_closed: bool,
    /// Before the question was sent.
    asked: Instant,
    /// It was told to wait, and did not.
    refuses: bool,
    /// It was told to flush its log, and did not.
    flushes_not: bool,
    /// How long its answer took, connecting and waiting not included.
    took: Option<Duration>,
    answer: Result<Answer, Problem>,
}

/// A node, and what is wrong with it.
type Learnt<B> = (Arc<Node<B>>, Result<(), Problem>);

impl<B: Backend> Monitor<B> {
    /// A lagging replica is asked again at once so many times before it is asked at a gap: natural lag
    /// within one data centre is mostly shorter than that takes.
    const EAGER: u32 = 5;

    /// The first pause after that, if the gap is shorter.
    const PAUSE: Duration = Duration::from_millis(1);

    /// The least time between two questions for a node's role: however many writes find no primary, a hundred
    /// questions a second are no load, and the promoted one is found before anybody notices.
    const ROLE_PAUSE: Duration = Duration::from_millis(10);

    /// For how many times as long as an attempt to reach a lost node took it is left alone: what an attempt does (a
    /// connection's set-up may make a TLS connector) takes a tenth of a processor at most.
    const IDLE_FOR_ONE: u32 = 9;

    /// The longest that it is left alone for that. A node that is back is seen so long after it at most.
    const LONGEST_REST: Duration = Duration::from_secs(1);

    pub(crate) fn new(shared: Arc<Shared<B>>) -> Self {
        Self {
            shared,
            identity: Identity::Unknown,
            database: None,
            followed: None,
            primary_server: None,
            watches: HashMap::new(),
            seen: None,
            questions: JoinSet::new(),
            lines: HashMap::new(),
            sent: 0,
            lesson: Lesson::default(),
            attached: false,
        }
    }

    /// The monitor of a router that is in use, and had none so far.
    pub(crate) fn of_connected(shared: Arc<Shared<B>>) -> Self {
        Self {
            attached: true,
            ..Self::new(shared)
        }
    }

    /// Meets all nodes for the first time. A replica that does not answer is one that is not healthy
    /// yet; a replica of another cluster is an error. The primary may have become a replica, or be gone, if one of
    /// the replicas has been promoted since the configuration was written; if none was, either is an error.
    pub(crate) async fn attach(&mut self) -> Result<(), ConfigError> {
        let topology = self.shared.topology.load_full();
        let configured = topology.primary();
        self.ask(configured);
        let mut missing = None;
        while let Some(reply) = self.questions.join_next().await {
            missing = self.attach_primary(configured, reply);
        }
        topology.replicas().for_each(|replica| self.ask(replica));
        while let Some(reply) = self.questions.join_next().await {
            let Some((node, Err(problem))) = self.learn_from(reply) else {
                continue;
            };
            match problem.of_configuration() {
                Some(kind) => {
                    let field = format!("{}.url", node.name());
                    return Err(ConfigError::new(kind, field, problem.to_string()));
                }
                None => self.lose(&node, &problem),
            }
        }
        self.see_who_follows().await;
        if missing.is_some() && self.shared.topology.load().primary == configured.id() {
            missing = self.await_primary(configured, missing).await;
        }
        match missing {
            Some(error) if self.shared.topology.load().primary == configured.id() => {
                return Err(error);
            }
            _ => {}
        }
        self.lesson.learn(&self.shared).await;
        self.attached = true;
        Ok(())
    }

    /// Meets all nodes for the first time, in a router that was made before. An attempt before this one may have failed, or
    /// have been dropped.
    async fn attach_late(&mut self) -> Result<Then, ConfigError> {
        self.questions = JoinSet::new();
        self.lines.clear();
        self.shared.bring_pools_home();
        self.attach().await?;
        if !self.has_work() {
            return Ok(Then::Rest);
        }
        self.shared.context.wake.watch();
        Ok(Then::Run)
    }

    /// Whether there is anything to watch: not if one healthy primary is all there is.
    pub(crate) fn has_work(&self) -> bool {
        let topology = self.shared.topology.load();
        let primary = topology.primary();
        topology.replicas().next().is_some()
            || !primary.is_healthy()
            || primary.role() != Role::Primary
    }

    /// Goes on waiting for a primary that no connection could be opened to yet: it may be far away.
    async fn await_primary(
        &mut self,
        configured: &Arc<Node<B>>,
        mut missing: Option<ConfigError>,
    ) -> Option<ConfigError> {
        let begun = time::Instant::now();
        while missing.is_some()
            && self
                .lines
                .get(&configured.id())
                .is_some_and(Line::is_connecting)
            && begun.elapsed() < CONNECTING
        {
            self.ask(configured);
            while let Some(reply) = self.questions.join_next().await {
                missing = self.attach_primary(configured, reply);
            }
            if missing.is_none() {
                self.see_who_follows().await;
            }
        }
        missing
    }

    /// Asks the primary and then the replicas once more, so that those that follow it are known to when the router is
    /// first used.
    async fn see_who_follows(&mut self) {
        let topology = self.shared.topology.load_full();
        let (primaries, replicas): (Vec<_>, Vec<_>) = topology
            .nodes
            .iter()
            .filter(|node| node.is_healthy())
            .partition(|node| node.id() == topology.primary);
        if primaries.is_empty() || replicas.is_empty() || self.shared.history.timeline().is_none() {
            return;
        }
        self.ask_all(primaries).await;
        self.ask_all(replicas).await;
    }

    /// Asks nodes, and takes in what they reply.
    async fn ask_all(&mut self, nodes: impl IntoIterator<Item = &Arc<Node<B>>>) {
        nodes.into_iter().for_each(|node| self.ask(node));
        while let Some(reply) = self.questions.join_next().await {
            if let Some((node, Err(problem))) = self.learn_from(reply) {
                self.lose(&node, &problem);
            }
        }
    }

    /// Meets all nodes again, after nobody has watched them for a while: what was known of them may hold no longer.
    async fn meet_again(&mut self) {
        // Those of the former runtime will not be replied to.
        self.questions = JoinSet::new();
        let topology = self.shared.topology.load_full();
        // Their connections have ended with the runtime. That is no sign of the nodes'.
        self.lines.clear();
        for node in &topology.nodes {
            let watch = self.watches.entry(node.id()).or_default();
            watch.following.begin_again();
            self.unmeet(node);
            node.forget_pool_error();
        }
        self.ask_all([topology.primary()]).await;
        self.ask_all(topology.replicas()).await;
        self.see_who_follows().await;
    }

    /// What is wrong with the node that is configured as the primary, if it must be one.
    fn attach_primary(
        &mut self,
        primary: &Arc<Node<B>>,
        reply: Result<Reply<B>, JoinError>,
    ) -> Option<ConfigError> {
        let field = format!("{}.url", primary.name());
        match self.learn_from(reply) {
            Some((_, Err(problem))) => {
                self.lose(primary, &problem);
                if self.shared.settings.start == Start::ReadOnly {
                    return None;
                }
                let kind = ConfigErrorKind::Unreachable;
                let text = "the primary cannot be reached, and no replica has been promoted; check that it \
                            runs and accepts this user, or start read-only";
                Some(match problem {
                    Problem::Failed(source) | Problem::Busy(source) => {
                        ConfigError::new(kind, field, text).with_source(source)
                    }
                    other => ConfigError::new(kind, field, format!("{text} ({other})")),
                })
            }
            Some((node, Ok(()))) if node.role() != Role::Primary => {
                if self.shared.settings.start == Start::ReadOnly {
                    return None;
                }
                let problem = "the node given as the primary is a replica, by its own account, and no other \
                               node says that it is the primary; give the server that accepts writes, or start read-only";
                let kind = ConfigErrorKind::NotThePrimary;
                Some(ConfigError::new(kind, field, problem))
            }
            Some((_, Ok(()))) | None => None,
        }
    }

    /// Watches the nodes, and teaches the classifier, for ever.
    async fn work(&mut self) {
        let lesson = std::mem::take(&mut self.lesson);
        let mut learning = pin!(lesson.keep_learning(Arc::clone(&self.shared)));
        let mut watching = pin!(self.watch());
        poll_fn(|cx| match learning.as_mut().poll(cx) {
            Poll::Pending => watching.as_mut().poll(cx),
            ready @ Poll::Ready(()) => ready,
        })
        .await;
    }

    async fn watch(&mut self) {
        loop {
            let next = self.ask_what_is_due();
            if let Some(reply) = self.reply_before(next).await
                && let Some((node, Err(problem))) = self.learn_from(reply)
            {
                self.lose(&node, &problem);
            }
        }
    }

    /// The next reply; `None` if somebody rings or the time comes before there is one.
    async fn reply_before(&mut self, time: time::Instant) -> Option<Result<Reply<B>, JoinError>> {
        let mut rung = pin!(self.shared.context.wake.rung());
        let mut sleep = pin!(time::sleep_until(time));
        poll_fn(|cx| {
            if let Poll::Ready(Some(reply)) = self.questions.poll_join_next(cx) {
                return Poll::Ready(Some(reply));
            }
            match rung.as_mut().poll(cx).is_ready() || sleep.as_mut().poll(cx).is_ready() {
                true => Poll::Ready(None),
                false => Poll::Pending,
            }
        })
        .await
    }

    /// Asks every node whose time has come, and returns when the next one's comes.
    fn ask_what_is_due(&mut self) -> time::Instant {
        let now = time::Instant::now();
        let topology = self.shared.topology.load_full();
        let seen = self.seen.as_ref();
        if !seen.is_some_and(|seen| Arc::ptr_eq(seen, &topology)) {
            let is_there = |id: &NodeId| topology.nodes.iter().any(|node| node.id() == *id);
            self.watches.retain(|id, _| is_there(id));
            self.lines.retain(|id, _| is_there(id));
            // A rival that was removed contests nothing, and a removed node is no second name of a server.
            self.find_out_if_contested();
            self.find_aliases(&topology);
            self.seen = Some(Arc::clone(&topology));
        }
        self.leave_addresses_that_moved(&topology);
        let mut next = later(now, self.shared.settings.monitor.interval);
        for node in &self.shared.topology.load_full().nodes {
            let due = self.due(node, node.id() == topology.primary, now);
            match due {
                None => {}
                Some(due) if due <= now => self.ask(node),
                Some(due) => next = next.min(due),
            }
        }
        next
    }

    /// When a node is to be asked; `None` while it is being asked.
    fn due(&self, node: &Node<B>, is_primary: bool, now: time::Instant) -> Option<time::Instant> {
        let settings = &self.shared.settings.monitor;
        let Some(watch) = self.watches.get(&node.id()) else {
            return Some(now);
        };
        if watch.asking.is_some() {
            return None;
        }
        let Some(last) = watch.last_asked else {
            return Some(now);
        };
        let wanted = self.shared.context.wake.wanted();
        let asked = self.shared.history.asked();
        let pause = if !node.is_healthy() {
            self.patience(watch.fruitless).max(watch.rest)
        } else if watch.asked_at < self.shared.context.wake.roles_wanted()
            || self.shared.context.wake.is_primary_awaited()
        {
            settings.gap.max(Self::ROLE_PAUSE).min(settings.interval)
        } else if node.is_doubted()
            || is_primary && asked.is_some_and(|asked| asked < wanted)
            || matches!(watch.flush, Flush::Next)
            || is_primary && self.is_to_be_compared()
        {
            settings.gap
        } else if !is_primary
            && (watch.following.is_expected()
                || node.fresh_as_of() < wanted.min(asked.unwrap_or(Instant::VOID)))
        {
            self.patience(watch.fruitless)
        } else {
            settings.interval
        };
        Some(later(last, pause))
    }

    /// Whether a replica has told where it stands and waits to be compared with the primary: until it is known to follow,
    /// it serves next to nothing.
    fn is_to_be_compared(&self) -> bool {
        let topology = self.shared.topology.load();
        let mut watches = self.watches.iter();
        // A standby in the primary's place says nothing that the others could be compared with.
        topology.primary().role() == Role::Primary
            && watches.any(|(id, watch)| {
                *id != topology.primary && watch.met && watch.following.awaits_the_primary()
            })
    }

    /// How long to leave a node alone after so many questions in vain.
    fn patience(&self, fruitless: u32) -> Duration {
        let settings = &self.shared.settings.monitor;
        match fruitless.checked_sub(Self::EAGER) {
            None => Duration::ZERO,
            Some(more) => settings
                .gap
                .max(Self::PAUSE)
                .saturating_mul(1 << more.min(20))
                .min(settings.interval),
        }
    }

    fn ask(&mut self, node: &Arc<Node<B>>) {
        let wait = self.to_wait_for(node);
        if node.id() == self.shared.topology.load().primary {
            let watches = self.watches.values_mut();
            watches.for_each(|watch| watch.following.primary_is_asked());
        }
        let shared = &self.shared;
        let watch = self.watches.entry(node.id()).or_default();
        let identified = !watch.met;
        let flush = match watch.flush {
            Flush::Next => {
                watch.flush = Flush::Asked(time::Instant::now());
                shared.dialect.flush()
            }
            _ => None,
        };
        if node.id() == shared.topology.load().primary {
            shared
                .context
                .counters
                .rounds
                .fetch_add(1, Ordering::Relaxed);
        }
        node.end_doubt();
        self.sent += 1;
        let number = self.sent;
        let limit = shared.settings.monitor.timeout;
        let dialect = shared.dialect;
        let asked = shared.context.now();
        let known = self.lines.remove(&node.id());
        let mut line = known
            .filter(|line| line.leads_to(node))
            .unwrap_or_else(|| Line::new(node));
        let node = Arc::clone(node);
        let question = async move {
            // Who refuses, or is asked on another connection, may be another now.
            let mut identified = identified;
            let mut refuses = false;
            let mut failed = None;
            if let Some((wait, most)) = wait {
                match line.tell(&wait, (limit / 2).saturating_add(most)).await {
                    Told::Done(answer) => refuses = !dialect.has_waited(&answer),
                    Told::Refused => refuses = true,
                    Told::Silent => identified = true,
                    Told::Failed(problem) => failed = Some(problem),
                }
            }
            identified |= refuses;
            let mut flushes_not = false;
            if let Some(flush) = flush.filter(|_| failed.is_none()) {
                match line.tell(&flush, limit / 2).await {
                    Told::Done(_) => {}
                    Told::Refused => flushes_not = true,
                    Told::Silent => identified = true,
                    Told::Failed(problem) => failed = Some(problem),
                }
            }
            let question = match identified {
                true => dialect.identify(),
                false => dialect.locate(),
            };
            let began = node.context.now();
            let answered = match failed {
                None => line.ask(&question, &dialect.identify(), limit).await,
                Some(problem) => Err(problem),
            };
            let how = answered.as_ref().map(|answered| answered.how);
            identified |= how.is_ok_and(|how| how != How::AsAsked);
            let was_closed = how.is_ok_and(|how| how == How::AfterItWasClosed);
            let answer = answered.map(|answered| answered.answer);
            // Who is asked who it is may have been connected to for that.
            let alone = !identified && answer.is_ok();
            let took = alone.then(|| node.context.now().since(began));
            Reply {
                node: node.id(),
                line: Some(line),
                question: number,
                identified,
                was_closed,
                asked,
                refuses,
                flushes_not,
                took,
                answer,
            }
        };
        watch.last_asked = Some(time::Instant::now());
        watch.asked_at = asked;
        watch.asking = Some(self.questions.spawn(question).id());
    }

    /// What a replica is told to wait for before it is asked again where it stands, and how long at most, if it can
    /// be told. It is when it has just had nothing new to say; mostly that is not necessary.
    fn to_wait_for(&self, node: &Node<B>) -> Option<(Question, Duration)> {
        let watch = self.watches.get(&node.id())?;
        let wanted = self.shared.context.wake.wanted();
        let lags = node.fresh_as_of() < wanted.min(self.shared.history.asked()?);
        if watch.waits != Waits::Yes || !watch.met || watch.fruitless == 0 || !lags {
            return None;
        }
        // Not longer than it would be left alone anyway, so that nothing else is asked later for it.
        let most = self.shared.settings.monitor.interval;
        let position = self.shared.history.newest()?;
        let replayed = watch.following.position();
        if replayed.is_some_and(|replayed| replayed.covers(&position)) {
            // It only has to say so again.
            return None;
        }
        let question = self.shared.dialect.wait(&position, most)?;
        Some((question, most))
    }

    /// Takes in what a node replied. `None` if the node is no longer there.
    fn learn_from(&mut self, reply: Result<Reply<B>, JoinError>) -> Option<Learnt<B>> {
        let reply = match reply {
            Ok(reply) => reply,
            // The adapter panicked while it asked. That is its node's problem.
            Err(error) => {
                let mut watches = self.watches.iter();
                let (id, _) = watches.find(|(_, watch)| watch.asking == Some(error.id()))?;
                Reply {
                    node: *id,
                    line: None,
                    question: Count::MAX,
                    identified: true,
                    was_closed: false,
                    asked: Instant::VOID,
                    refuses: false,
                    flushes_not: false,
                    took: None,
                    answer: Err(Problem::Failed(error.into())),
                }
            }
        };
        let Reply {
            node: id,
            line,
            question,
            identified,
            was_closed,
            asked,
            refuses,
            flushes_not,
            took,
            answer,
        } = reply;
        let topology = self.shared.topology.load_full();
        let node = topology.nodes.iter().find(|node| node.id() == id)?;
        self.lines.extend(line.map(|line| (id, line)));
        if let Some(took) = took {
            node.live.round_trip.took(took);
        }
        if answer.is_ok() {
            node.live.answered(asked);
        }
        let watch = self.watches.entry(id).or_default();
        watch.asking = None;
        if flushes_not {
            watch.flush = Flush::Refused;
        }
        if refuses {
            watch.waits = Waits::Refused;
            watch.met = false;
            self.disprove(node);
        }
        if was_closed {
            self.unmeet(node);
            self.watches.entry(id).or_default().following.begin_again();
        }
        let watch = self.watches.entry(id).or_default();
        let met = watch.met;
        if answer.is_ok() && !((met || identified) && node.answers_since(asked)) {
            // While it was asked, it was lost, or it became unclear who it is. It will be asked again.
            return Some((Arc::clone(node), Ok(())));
        }
        let is_primary = id == topology.primary;
        let read = |answer: Answer| self.shared.dialect.read(&answer).map_err(Problem::Answer);
        let learnt = match answer.and_then(read) {
            Ok(report) => self.learn(node, is_primary, (asked, question), report),
            Err(problem) => Err(problem),
        };
        Some((Arc::clone(node), learnt))
    }

    /// Takes in what a node has told. The question was sent just after the instant, and has the number.
    fn learn(
        &mut self,
        node: &Arc<Node<B>>,
        was_primary: bool,
        (asked, question): (Instant, Count),
        report: Report,
    ) -> Result<(), Problem> {
        if self.leads_elsewhere(node, &report) == Leads::UntoldYet {
            return Ok(());
        }
        let mut returns = !self.watches.entry(node.id()).or_default().met;
        let mut membership = self.meet(node, was_primary, &report)?;
        self.met_server(node, &report);
        let watch = self.watches.entry(node.id()).or_default();
        match &report.standing {
            LogStanding::Replayed { timeline: None, .. } => {}
            LogStanding::Replayed { timeline, .. } => watch.follows = *timeline,
            LogStanding::Shared | LogStanding::Written { .. } => watch.follows = None,
        }
        let alias = node.live.standing().alias;
        let mut is_primary = was_primary;
        match &report.standing {
            LogStanding::Written { .. } if alias == Alias::OfPrimary => {
                // The primary under a second name. It serves as a replica that is always fresh.
                self.contests(node, false);
                self.take_role(node, Role::Replica, Role::Replica);
                self.progress(node, Instant::ALWAYS);
                return Ok(());
            }
            LogStanding::Written { timeline, written } if !was_primary => {
                match self.judge(node, *timeline, written) {
                    Verdict::Promoted => {
                        self.follow(node, *timeline);
                        is_primary = true;
                        membership = self.meet(node, true, &report)?;
                    }
                    Verdict::Renamed => {
                        self.rename(node);
                        is_primary = true;
                        // It may have been started again since it last answered under its former name.
                        returns = true;
                    }
                    Verdict::Ignored => {}
                    Verdict::Refused(problem) => return Err(problem),
                }
            }
            _ => {
                self.watches.entry(node.id()).or_default().claim = None;
                self.contests(node, false);
            }
        }
        match &report.standing {
            LogStanding::Replayed { position, .. } if membership != Membership::Astray => {
                self.told(node, asked, position.clone())?;
            }
            _ => {}
        }
        let configured = match is_primary {
            true => Role::Primary,
            false => Role::Replica,
        };
        let role = report.role.unwrap_or(configured);
        if is_primary {
            self.suit_the_pool(node, role);
        }
        self.take_role(node, role, configured);
        let watch = self.watches.entry(node.id()).or_default();
        match report.waits {
            Some(waits) if watch.waits != Waits::Refused => {
                watch.waits = if waits { Waits::Yes } else { Waits::No };
            }
            _ => {}
        }
        match report.standing {
            LogStanding::Shared => {
                self.progress(node, Instant::ALWAYS);
            }
            LogStanding::Written { timeline, written } if is_primary => {
                self.primary_server = report.server;
                self.record((asked, question), timeline, written, returns);
                self.watches.entry(node.id()).or_default().fruitless = 0;
            }
            // A server that calls itself primary, but is not ours. Its role keeps work away from it.
            LogStanding::Written { .. } => self.progress(node, Instant::VOID),
            LogStanding::Replayed { .. } if membership == Membership::Astray => {
                self.disprove(node);
                self.progress(node, Instant::VOID);
            }
            LogStanding::Replayed { .. } => {
                if is_primary && self.shared.history.timeline().is_some() {
                    self.step_down();
                }
                self.prove(node);
            }
        }
        Ok(())
    }

    fn find_out_if_contested(&self) {
        let contested = self.watches.values().any(|watch| watch.contests);
        self.shared.contest(contested);
    }

    /// The node contests the primary's place, or no longer.
    fn contests(&mut self, node: &Node<B>, contests: bool) {
        let watch = self.watches.entry(node.id()).or_default();
        if std::mem::replace(&mut watch.contests, contests) == contests {
            return;
        }
        self.find_out_if_contested();
        if contests {
            let topology = self.shared.topology.load();
            self.shared.context.events.emit(|| Event::Contested {
                primary: Arc::clone(topology.primary().peer()),
                rival: Arc::clone(node.peer()),
            });
        }
    }

    /// Finds out whether the node belongs to the cluster, unless that is known already.
    fn meet(
        &mut self,
        node: &Node<B>,
        is_primary: bool,
        report: &Report,
    ) -> Result<Membership, Problem> {
        let timeline = self.shared.history.timeline();
        let watch = self.watches.entry(node.id()).or_default();
        let told = match &report.standing {
            LogStanding::Replayed { timeline, .. } if !is_primary => Some(*timeline),
            _ => None,
        };
        let compared = told.flatten().zip(timeline);
        if watch.met && compared.is_some_and(|(told, known)| told != known) {
            watch.met = false;
            return Ok(Membership::Astray);
        }
        if watch.met {
            return Ok(Membership::Sure);
        }
        match (&self.identity, &report.identity) {
            (Identity::Unknown, found) if is_primary => {
                if let Some(identity) = found {
                    self.shared.history.identify(identity);
                }
                self.identity = found.clone().map_or(Identity::Private, Identity::Known);
            }
            (Identity::Unknown, Some(_)) => return Ok(Membership::Presumed),
            (Identity::Known(expected), Some(found)) if found != expected => {
                let (found, expected) = (found.clone(), expected.clone());
                if !is_primary {
                    return Err(Problem::OtherCluster { found, expected });
                }
                if let Some(witness) = self.other_that_answers(node) {
                    let witness = Arc::clone(witness.name());
                    return Err(Problem::PrimaryOfOtherCluster {
                        found,
                        expected,
                        witness,
                    });
                }
                self.go_on_with(node, &expected, found);
                self.watches.entry(node.id()).or_default().met = true;
                self.database.clone_from(&report.database);
                return Ok(Membership::Sure);
            }
            (Identity::Known(_), Some(_)) => {}
            (Identity::Private, _) if is_primary => {}
            (Identity::Private, _) | (_, None) => return Err(Problem::Private),
        }
        match (&self.database, &report.database) {
            (_, found) if is_primary => self.database.clone_from(found),
            (Some(expected), Some(found)) if found != expected => {
                let (found, expected) = (found.clone(), expected.clone());
                return Err(Problem::OtherDatabase { found, expected });
            }
            _ => {}
        }
        let watch = self.watches.entry(node.id()).or_default();
        if timeline.is_some() && told.is_some_and(|told| told != timeline) {
            // It is asked again who it is until it has followed, or for ever.
            return Ok(Membership::Astray);
        }
        watch.met = true;
        Ok(Membership::Sure)
    }

    /// Has the pool of the node in the primary's place opened anew if that is for another role than the node is found in
    /// now. A primary that becomes a replica keeps its pool: mostly another node takes its place at once. But one that has
    /// been a replica from the start, in a router that [starts read-only](Start::ReadOnly), is read from as a replica.
    fn suit_the_pool(&self, node: &Node<B>, role: Role) {
        let is_news = node.role() != role;
        let was_primary = self.followed.is_some();
        if is_news && (role == Role::Primary || role == Role::Replica && !was_primary) {
            let opened_as = self.shared.topology.load().primary().opened_as();
            if opened_as != role {
                self.shared.reopen_as(node.id(), role);
            }
        }
    }

    fn take_role(&mut self, node: &Arc<Node<B>>, role: Role, configured: Role) {
        let before = node.role();
        if before != role {
            if before != Role::Unknown {
                self.void(node);
            }
            if role != configured {
                self.shared.context.events.emit(|| Event::RoleChanged {
                    peer: Arc::clone(node.peer()),
                    role,
                });
            }
            node.set_role(role);
            if node.id() == self.shared.topology.load().primary {
                // A second name of the primary's server is one only while that is the primary.
                self.find_aliases(&self.shared.topology.load_full());
            }
        }
        self.watches.entry(node.id()).or_default().refused = false;
        let (before, after) = node.take(Sign::Answered, None);
        if before != after {
            self.tell(node, before, after);
        }
    }

    /// Takes in where the primary's log stands. On another timeline, or if the log went back, nothing that was proved
    /// before holds any longer. If the primary has been away, its log may be another one all the same: it may have been
    /// set back, and have grown again since. Then the replicas must show anew that they follow it; what they had proved
    /// of the past holds.
    fn record(
        &mut self,
        (asked, question): (Instant, Count),
        timeline: Timeline,
        written: Written,
        returns: bool,
    ) {
        let history = &self.shared.history;
        // It was a replica in between, and nobody is known to have taken its place.
        let resumes = history.timeline().is_none() && self.followed == Some(timeline);
        if !resumes && history.is_broken_by(timeline, &written) {
            self.forget();
        } else if returns || resumes {
            history.forget_marks();
            self.watches
                .values_mut()
                .for_each(|watch| watch.following.begin_again());
        }
        self.followed = Some(timeline);
        self.flush_if_it_is_time(&written);
        let inserted = written.inserted.clone();
        self.shared.history.record(asked, timeline, written);
        self.compare(&inserted, question);
    }

    /// Has the primary flush its log with the next question, if reads wait for replicas that cannot get on without: it
    /// has not flushed what it had inserted when it was asked before.
    fn flush_if_it_is_time(&mut self, written: &Written) {
        let settings = &self.shared.settings.monitor;
        let topology = self.shared.topology.load();
        let wanted = self.shared.context.wake.wanted();
        let waits = |node: &Arc<Node<B>>| node.is_healthy() && node.fresh_as_of() < wanted;
        if settings.commits != Commits::MayBeAsynchronous
            || !self.shared.history.is_unflushed(written)
            || !topology.replicas().any(waits)
        {
            return;
        }
        let watch = self.watches.entry(topology.primary).or_default();
        let is_time = match watch.flush {
            Flush::No => true,
            Flush::Asked(last) => last.elapsed() >= settings.interval,
            Flush::Next | Flush::Refused => false,
        };
        if is_time {
            watch.flush = Flush::Next;
        }
    }

    /// Compares what the replicas have told with where the primary stood when it was asked later.
    fn compare(&mut self, written: &Position, question: Count) {
        let topology = self.shared.topology.load_full();
        for node in topology.replicas() {
            let Some(watch) = self.watches.get_mut(&node.id()) else {
                continue;
            };
            if let Some(claim) = &mut watch.claim {
                // It calls itself the primary beside one that answers: it follows nobody.
                claim.contradict(question);
                watch.following = Following::default();
            }
            if let Some(beyond) = watch.following.compare(written) {
                self.lose(node, &Problem::Beyond(beyond));
            }
        }
    }

    /// The primary's log is another one, or no longer the primary's. What it said of the past proves
    /// nothing of the replicas, which may follow another history by now and must say which.
    fn forget(&mut self) {
        self.step_down();
        let topology = self.shared.topology.load_full();
        topology
            .replicas()
            .for_each(|replica| self.disprove(replica));
    }

    /// The primary has turned out to be a replica, and no other node is known to be the primary. Nothing can be proved of
    /// the replicas until one is, and they must say then which history they follow. What they have proved and shown so
    /// far stands: none of them has gone back because of that.
    fn step_down(&mut self) {
        self.shared.history.forget();
        let topology = self.shared.topology.load_full();
        for replica in topology.replicas() {
            let watch = self.watches.entry(replica.id()).or_default();
            watch.met = false;
            watch.following.begin_again();
        }
    }

    /// Takes in where a replica stands, which was asked at `asked`. It is an error if that is on another history than
    /// the primary's.
    fn told(
        &mut self,
        node: &Arc<Node<B>>,
        asked: Instant,
        position: Option<Position>,
    ) -> Result<(), Problem> {
        let limit = self.shared.settings.standstill_limit;
        let watch = self.watches.entry(node.id()).or_default();
        let positions = [watch.following.position(), position.as_ref()];
        let history = &self.shared.history;
        watch
            .standstill
            .learn(node, asked, positions, history, limit);
        let went_back = watch.following.told(position);
        let beyond = watch.following.beyond();
        if went_back || node.fresh_as_of() == Instant::ALWAYS {
            // Or it was the primary under a second name, and is a replica now.
            self.void(node);
        }
        beyond.map_or(Ok(()), |beyond| Err(Problem::Beyond(beyond)))
    }

    /// Proves the replica as fresh as the position that it has told shows.
    fn prove(&mut self, node: &Arc<Node<B>>) {
        let commits = self.shared.settings.monitor.commits;
        let watch = self.watches.entry(node.id()).or_default();
        let following = Some(&watch.following).filter(|following| following.is_shown());
        let proved = following
            .and_then(Following::position)
            .and_then(|position| self.shared.history.fresh_as_of(position, commits));
        self.progress(node, proved.unwrap_or(Instant::ORIGIN));
    }

    /// The node is proved fresh as of `instant`. Notes whether that is news.
    fn progress(&mut self, node: &Node<B>, instant: Instant) {
        let before = node.fresh_as_of();
        node.live.prove_fresh(instant);
        let now = node.fresh_as_of();
        if now > before {
            self.shared.context.wake.proved();
        }
        let satisfied = now >= self.shared.context.wake.wanted();
        let watch = self.watches.entry(node.id()).or_default();
        watch.fruitless = match now > before {
            true if satisfied => 0,
            // It moves, but has not arrived: it is asked again at the gap, not all the time.
            true => (watch.fruitless + 1).min(Self::EAGER),
            false => watch.fruitless.saturating_add(1),
        };
    }

    /// What was proved about the node, if anything was, holds no longer.
    fn disprove(&mut self, node: &Node<B>) {
        if node.fresh_as_of() != Instant::VOID {
            self.void(node);
        }
    }

    /// The node may have gone back in time, or another may stand in its place.
    fn void(&mut self, node: &Node<B>) {
        let epoch = self
            .shared
            .topology
            .load()
            .unused_epoch(&self.shared.context);
        node.live.void(epoch);
    }

    /// Tells that a node's health has changed.
    fn tell(&self, node: &Node<B>, before: Health, after: Health) {
        self.shared.context.events.emit(|| {
            let peer = Arc::clone(node.peer());
            match after {
                Health::Ejected => Event::Ejected {
                    peer,
                    error: node.last_error().unwrap_or_default(),
                    at_least: node.ejected_for().unwrap_or_default(),
                },
                _ => Event::Found {
                    peer,
                    role: node.role(),
                    before,
                    after,
                },
            }
        });
    }

    /// The next time that the node answers it must say who it is, and prove anew where it stands.
    fn unmeet(&mut self, node: &Arc<Node<B>>) {
        let watch = self.watches.entry(node.id()).or_default();
        watch.met = false;
        watch.waits = Waits::No;
        watch.flush = Flush::No;
        if std::mem::take(&mut watch.answers) {
            self.find_aliases(&self.shared.topology.load_full());
        }
        self.contests(node, false);
        // While the primary has not told who it is, a replica serves without having been met.
        self.disprove(node);
    }

    /// The node does not answer, or not as it should. When it is back it must say who it is, and prove
    /// anew where it stands: a standby that crashed comes back with an older state than it has shown.
    fn lose(&mut self, node: &Arc<Node<B>>, problem: &Problem) {
        let watch = self.watches.entry(node.id()).or_default();
        watch.fruitless = watch.fruitless.saturating_add(1);
        // A node that had been met may have been told to wait before it answers, and to wait for an answer that does not
        // come costs nothing.
        watch.rest = match (problem, watch.last_asked) {
            (Problem::Failed(_), Some(asked)) if !watch.met => {
                let took = asked.elapsed();
                let idle = took.saturating_mul(Self::IDLE_FOR_ONE);
                took.saturating_add(idle.min(Self::LONGEST_REST))
            }
            _ => Duration::ZERO,
        };
        if !matches!(problem, Problem::Beyond(_)) {
            // It may be another server, or have been rebuilt, when it answers again.
            watch.following.begin_again();
        }
        self.unmeet(node);
        let watch = self.watches.entry(node.id()).or_default();
        let is_refused = problem.is_of_a_stranger() || matches!(problem, Problem::Beyond(_));
        if is_refused && !std::mem::replace(&mut watch.refused, true) {
            self.shared.context.events.emit(|| Event::Refused {
                peer: Arc::clone(node.peer()),
                error: problem.to_string().into(),
            });
        }
        if problem.is_of_a_stranger() {
            node.set_role(Role::Unknown);
        }
        if matches!(problem, Problem::Busy(_)) {
            return;
        }
        let (before, after) = node.take(Sign::Silent, Some(&problem.to_string()));
        if before != after {
            self.tell(node, before, after);
        }
    }
}

impl<B: Backend> Lasting for Monitor<B> {
    fn run(&mut self) -> BoxFuture<'_, ()> {
        Box::pin(self.work())
    }

    fn catch_up(&mut self) -> BoxFuture<'_, Result<Then, ConfigError>> {
        Box::pin(async move {
            match self.attached {
                false => self.attach_late().await,
                true => {
                    self.meet_again().await;
                    Ok(Then::Run)
                }
            }
        })
    }
}

/// `pause` after `time`, or as late as a clock goes.
pub(crate) fn later(time: time::Instant, pause: Duration) -> time::Instant {
    const LONG: Duration = Duration::from_secs(60 * 60 * 24 * 365);
    time.checked_add(pause).unwrap_or(time + LONG)
}
