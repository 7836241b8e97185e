//! One piece of work on its way: to a node, and to the next one if the first fails it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use async_stream::try_stream;
use futures_core::Stream;
use tokio::time::{self, sleep, timeout};

use crate::causes::Causes;
use crate::checkout::{Pings, polled_for};
use crate::clock::Instant;
use crate::cluster::Cluster;
use crate::decision::{Cause, Decision, RouteError};
use crate::dialect::Dialect;
use crate::fallback::Places;
use crate::health::Health;
use crate::hold::Hold;
use crate::holders::Waiting;
use crate::live::Alias;
use crate::node::Node;
use crate::observer::Event;
use crate::request::Request;
use crate::route::Route;
use crate::router::Backend;
use crate::session::SessionState;
use crate::vocabulary::{Fault, Intent, Role};

/// A future on the heap, as ORMs' traits have it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A stream on the heap, as ORMs' traits have it.
pub type BoxStream<'a, T> = Pin<Box<dyn Stream<Item = T> + Send + 'a>>;

/// One piece of work: on whose behalf, how its nodes are chosen, and where it has failed so far.
///
/// # Contract
///
/// * No node gets the same work twice, but for a read that is prepared anew there.
/// * Only a read is run again, and only if its node is at fault: unreachable, without room, or in a
///   conflict with replication. A write is never sent again where it may have had an effect.
/// * A statement that was *taken* for a read and that a replica refuses as a write runs once, on the
///   primary. What a caller has stated is a read is not second-guessed: the replica's error is the caller's.
/// * Nobody waits for a lost node: a read that waits for a connection goes on as soon as its node is found lost, or
///   when the [limit](crate::Settings::acquire_limit) for that has passed and another node would serve it. One whose
///   statement has been sent and has shown nothing yet goes on when the monitor finds that its node does not answer,
///   if another node would serve it. So does one on a replica whose replay stands still while the primary writes, after
///   the [limit](crate::Settings::standstill_limit) for that. A write is told as soon as the primary is known to be
///   gone, and waits for another as long as the router [says](crate::Settings::wait_for_primary), if nothing has been sent.
/// * A read is tried on as many more nodes as the router [says](crate::Settings::retries).
/// * A read whose node gives no connection goes to another node, whatever the error is: nothing was sent, so the read
///   is not at fault. (A replica may not know a role yet that the primary knows.)
/// * A read that a replica could not run for want of something that it may not have replayed yet
///   ([`Fault::Missing`]) is asked of the primary, once. It is never remembered as a write, and the primary's own
///   error is the caller's.
/// * A read that fails because of what its connection has [prepared](Fault::Prepared) is run once more on the same
///   connection, which has [forgotten](Backend::forget_prepared) that, and then on another node. A write is not: what has
///   been sent may be more than one statement, or a procedure, and part of it may have had its effect. Its connection
///   forgets as well.
/// * A statement that breaks its connection on one node and fails on another, while neither is found gone, is at fault
///   itself, and costs neither node its place.
/// * Work that had to wait for a connection is checked against the topology again before anything is sent on it: a
///   write whose node no longer takes the writes, and a read whose node has begun a new epoch or is no longer there,
///   gives the connection back and is routed anew.
/// * A read that is [to wait](Request::wait_for_fresh) for a fresh replica does so for that long in all, whatever fails it
///   meanwhile, and holds nothing. One that falls back to the primary has one of the
///   [places](crate::FallbackLimit) for that until its work ends, where they are limited; if there is none, that is its
///   error.
/// * What a caller has stated to be a read, or runs where [writes are forbidden](crate::scope::without_writes), gets a
///   connection on which the server [refuses writes](Backend::acquire_read_only), on the primary as well.
/// * Where [writes are forbidden](crate::scope::without_writes) a write gets no connection, whether it was known
///   to be one or a replica had to say so.
/// * It may be dropped at any time.
/// * If the runtime has ended in which the nodes were watched, it has them watched in its own, and is routed when they have
///   been asked again.
/// * A connection that the session keeps ([`Hold`]) is used only where the work has been routed to, and was left
///   by a statement that succeeded, to its end: a connection on which `operation` has returned a result, or its
///   stream has ended, is ready for the next statement. If it turns out broken, that is a failure of its node
///   like any other.
pub struct Work<B: Backend> {
    cluster: Cluster<B>,
    session: SessionState,
    request: Request,
    intent: IntentFrom,
    /// Why the work is being run again, if it is.
    failure: Option<B::Error>,
    /// The replica that has refused the work, maybe only because it is one.
    suspicion: Option<Arc<Node<B>>>,
    /// The node on which the statement has broken its connection.
    accused: Option<Accused<B>>,
    /// For how long the session keeps the connection afterwards.
    hold: Hold,
    /// How often the work was routed anew because its node had changed while it waited.
    moves: u32,
}

/// A node that may be gone, because a statement's connection to it broke.
struct Accused<B> {
    node: Arc<Node<B>>,
    /// It is suspect because of that, and not for another reason.
    suspected: bool,
}

/// Where the intent of a piece of work comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntentFrom {
    /// The request states it.
    Request,
    /// The statement's text tells it.
    Statement,
}

/// A connection for one statement.
enum Leased<C> {
    /// The pool has just given it.
    Fresh(C),
    /// A session has kept it.
    Kept(Box<C>),
}

impl<C> Leased<C> {
    fn get(&mut self) -> &mut C {
        match self {
            Self::Fresh(connection) => connection,
            Self::Kept(connection) => connection,
        }
    }

    fn boxed(self) -> Box<C> {
        match self {
            Self::Fresh(connection) => Box::new(connection),
            Self::Kept(connection) => connection,
        }
    }
}

/// For how long a connection is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lasting {
    /// For one statement, which `Work` runs itself.
    OneStatement,
    /// As long as the caller wants.
    Held,
}

/// What work lacks that is not being given a connection.
enum Lacks<E> {
    /// Nothing: the pool opens or checks one, or has it wait in its queue.
    Nothing,
    /// The server had no room for another connection, and this is what the pool said.
    Room(E),
    /// Others wait for a connection that comes back, and it is behind them.
    Turn,
}

impl<E> Lacks<E> {
    fn something(&self) -> bool {
        !matches!(self, Self::Nothing)
    }
}

/// Why there is no connection.
enum Missed<E> {
    /// The pool says so.
    Failed(E),
    /// The node was found lost meanwhile, by somebody who has reported it.
    Lost,
    /// The node is no longer where the work was routed to: it takes no writes any more, its epoch ended, or another
    /// pool has taken the place of this one.
    Moved,
    /// It takes too long, and another node would serve the read.
    Late,
}

impl<B: Backend> Work<B> {
    /// How long a read waits for a connection before the monitor is asked whether the node is there at all:
    /// longer than a connection within one region takes to open, and shorter than anybody notices.
    const PATIENCE: Duration = Duration::from_millis(10);

    /// How long a connection may take to open or to check before one that comes back is taken in its place, on a node
    /// nearby: longer than a busy server takes to answer.
    const SLOW: Duration = Duration::from_millis(50);

    /// How often that is looked at.
    const LOOK: Duration = Duration::from_millis(5);

    /// How long work waits for a connection that exists if the server has no room for another one: longer than most
    /// statements take.
    const ROOM: Duration = Duration::from_secs(5);

    /// How often work is routed anew because its node has changed while it waited. After that, the node counts as one
    /// that has failed the work, so that this ends even if the topology changes all the time.
    const MOVES: u32 = 8;

    pub(crate) fn new(
        cluster: &Cluster<B>,
        session: SessionState,
        request: Request,
        intent: IntentFrom,
        hold: Hold,
    ) -> Self {
        Self {
            cluster: cluster.clone(),
            session,
            request,
            intent,
            failure: None,
            suspicion: None,
            accused: None,
            hold,
            moves: 0,
        }
    }

    /// The same work, with the intent of a statement, unless one was stated.
    #[must_use]
    pub fn of_statement(mut self, sql: &str) -> Self {
        if self.intent == IntentFrom::Statement {
            let classification = self.cluster.classify(sql);
            self.request = self
                .request
                .with_intent(classification.intent, classification.reason);
        }
        self
    }

    /// The same work, which is a write unless its intent was stated: a connection to keep, a transaction, a
    /// statement that is known to write. Its text is then not looked at.
    #[must_use]
    pub fn of_connection(mut self) -> Self {
        if self.intent == IntentFrom::Statement {
            self.request = self.request.with_intent(Intent::Write, Cause::Asked);
            self.intent = IntentFrom::Request;
        }
        self
    }

    /// What the work needs.
    #[must_use]
    pub fn intent(&self) -> Intent {
        self.request.intent()
    }

    /// Where the work would go now, and why. Nothing is run.
    ///
    /// # Errors
    ///
    /// If it could go nowhere now.
    pub fn explain(&self) -> Result<Decision, RouteError> {
        self.cluster.explain(&self.request, &self.session)
    }

    /// Runs a statement: gets a connection, and hands it to `operation`. A read whose node fails it is run
    /// again elsewhere, so `operation` is told whether it may be called again. Returns the place on the node
    /// as well, which ends the work when it is dropped.
    ///
    /// # Errors
    ///
    /// The statement's, or that no node will do.
    pub async fn run<T>(
        self,
        sql: &str,
        mut operation: impl for<'c> FnMut(
            &'c mut B::Connection,
            Intent,
        ) -> BoxFuture<'c, Result<T, B::Error>>
        + Send,
    ) -> Result<(T, Route<B>), B::Error> {
        let mut work = self.of_statement(sql);
        loop {
            let (mut connection, route) = work.lease().await?;
            let began = work.session.now();
            let running = operation(connection.get(), route.intent());
            let mut ran = work.while_there(&route, began, running).await;
            if is_of_prepared::<B>(ran.as_ref().and_then(|ran| ran.as_ref().err()))
                && work.prepares_anew(connection.get(), &route, began).await
            {
                let running = operation(connection.get(), route.intent());
                ran = work.while_there(&route, began, running).await;
            }
            match ran {
                Some(Ok(result)) => {
                    route.took(began);
                    work.done(sql);
                    work.keep(connection, &route);
                    return Ok((result, route));
                }
                Some(Err(error)) => work.failed(sql, route, began, error)?,
                None => work.abandon(route, began),
            }
        }
    }

    /// As [`run`](Self::run), for a statement whose results are handed out as they come. As long as none has
    /// been, a read whose node fails it is run again elsewhere. The work ends with the stream.
    pub fn stream<'e, T: Send + 'e>(
        self,
        sql: impl AsRef<str> + Send + 'e,
        mut operation: impl for<'c> FnMut(
            &'c mut B::Connection,
            Intent,
        ) -> BoxStream<'c, Result<T, B::Error>>
        + Send
        + 'e,
    ) -> BoxStream<'e, Result<T, B::Error>> {
        let mut work = self.of_statement(sql.as_ref());
        Box::pin(try_stream! {
            loop {
                let (mut connection, route) = work.lease().await?;
                let began = work.session.now();
                let mut results = operation(connection.get(), route.intent());
                let mut first = work.while_there(&route, began, next(&mut results)).await;
                if is_of_prepared::<B>(first.as_ref().and_then(|item| item.as_ref()?.as_ref().err())) {
                    drop(results);
                    if !work.prepares_anew(connection.get(), &route, began).await {
                        if let Some(Some(Err(error))) = first {
                            work.failed(sql.as_ref(), route, began, error)?;
                        }
                        continue;
                    }
                    results = operation(connection.get(), route.intent());
                    first = work.while_there(&route, began, next(&mut results)).await;
                }
                let Some(mut item) = first else {
                    drop(results);
                    work.abandon(route, began);
                    continue;
                };
                if !matches!(item, Some(Err(_))) {
                    route.took(began);
                }
                let mut handed_out = false;
                let failure = loop {
                    match item {
                        Some(Ok(result)) => {
                            handed_out = true;
                            work.done(sql.as_ref());
                            yield result;
                        }
                        Some(Err(error)) => break Some(error),
                        None => break None,
                    }
                    item = next(&mut results).await;
                };
                drop(results);
                match failure {
                    None => {
                        work.done(sql.as_ref());
                        work.keep(connection, &route);
                        break;
                    }
                    Some(error) if handed_out => {
                        route.report(B::fault(&error), &Causes(&error));
                        Err(error)?;
                    }
                    Some(error) => work.failed(sql.as_ref(), route, began, error)?,
                }
            }
        })
    }

    /// Gets a connection to a node that will do. A read goes on to the next node when one cannot be reached
    /// or has no room; a write has nowhere to go.
    ///
    /// # Errors
    ///
    /// The pool's, or that no node will do.
    pub async fn acquire(&mut self) -> Result<(B::Connection, Route<B>), B::Error> {
        let route = self.first_route().await?;
        self.acquire_on(route, Lasting::Held).await
    }

    /// Whether the server must refuse writes of this work on the node: what a caller has stated to be a read must not
    /// write, also where it falls back to the primary, under whichever name. Replicas refuse writes anyhow; but SQLite's
    /// are connections like any other, if it was the application that has opened them.
    fn must_only_read(&self, node: &Node<B>) -> bool {
        let is_stated = matches!(self.request.cause(), Cause::Asked | Cause::Hint);
        self.request.intent() == Intent::Read
            && (is_stated || self.request.forbids_writes())
            && (node.role() == Role::Primary
                || node.live.standing().alias == Alias::OfPrimary
                || self.cluster.dialect() == Dialect::Sqlite)
    }

    /// Gets a connection for one statement: the session's own, if that leads where the work goes.
    async fn lease(&mut self) -> Result<(Leased<B::Connection>, Route<B>), B::Error> {
        let route = self.first_route().await?;
        if let Some(slot) = self.session.slot()
            && !self.must_only_read(route.node())
            && let Some(kept) = slot.take(&route.node().holders, route.epoch())
            // It was kept on this very node, so it is of this type.
            && let Ok(connection) = kept.downcast()
        {
            return Ok((Leased::Kept(connection), route));
        }
        let (connection, route) = self.acquire_on(route, Lasting::OneStatement).await?;
        Ok((Leased::Fresh(connection), route))
    }

    async fn acquire_on(
        &mut self,
        mut route: Route<B>,
        lasting: Lasting,
    ) -> Result<(B::Connection, Route<B>), B::Error> {
        loop {
            let backend = route.node().backend();
            let read_only = self.must_only_read(route.node()).then_some(lasting);
            // What is seldom done is on the heap, so that the futures of all other work are no larger for it.
            let acquire = || async move {
                match read_only {
                    None => backend.acquire().await,
                    Some(Lasting::OneStatement) => Box::pin(backend.acquire_read_only_once()).await,
                    Some(Lasting::Held) => Box::pin(backend.acquire_read_only()).await,
                }
            };
            // A statement that only reads is run again elsewhere. What is done on a connection that is held is not.
            let careful = route.intent() == Intent::Write || lasting == Lasting::Held;
            match self.reach(&route, careful, acquire).await {
                Ok(connection) => return Ok((connection, route)),
                Err(missed) => route = self.next_route(route, missed).await?,
            }
        }
    }

    /// The session keeps the connection of a statement that has succeeded, if it is to.
    fn keep(&self, connection: Leased<B::Connection>, route: &Route<B>) {
        let limit = match self.hold {
            Hold::Never | Hold::WhileBusy(Duration::ZERO) => return,
            Hold::WhileBusy(limit) => Some(limit),
            Hold::ForLife => None,
        };
        let holders = &route.node().holders;
        if route.intent() == Intent::Read
            && !self.must_only_read(route.node())
            && holders.may_keep(route.epoch())
            && let Some(slot) = self.session.slot_to_fill()
        {
            slot.park(holders, route.epoch(), limit, connection.boxed());
        }
    }

    /// Whether all connections of the node's pool are out.
    fn is_full(node: &Node<B>) -> bool {
        let pressure = node.backend().pressure();
        pressure.in_use >= pressure.max
    }

    /// Whether the node's pool has a connection, idle or with somebody else than who waits for one, and the one who asks.
    fn has_some(node: &Node<B>, waiting: Option<&Waiting<'_>>) -> bool {
        let waiting = node.holders.waiting() + u32::from(waiting.is_none());
        node.in_flight() > waiting || node.backend().pressure().idle > 0
    }

    /// Whether more work is under way on the node, the one that waits among it, than its pool has connections.
    fn is_overloaded(node: &Node<B>) -> bool {
        node.in_flight() > node.backend().pressure().max
    }

    /// As [`acquire`](Self::acquire), for what is begun on a node's pool in another way, such as a
    /// transaction.
    ///
    /// # Errors
    ///
    /// What `begin` fails with, or that no node will do.
    pub async fn begin<T, F>(
        mut self,
        mut begin: impl FnMut(&B) -> F + Send,
    ) -> Result<(T, Route<B>), B::Error>
    where
        F: Future<Output = Result<T, B::Error>> + Send,
    {
        let mut route = self.first_route().await?;
        loop {
            let backend = route.node().backend();
            match self.reach(&route, true, || begin(backend)).await {
                Ok(begun) => return Ok((begun, route)),
                Err(missed) => route = self.next_route(route, missed).await?,
            }
        }
    }

    async fn first_route(&mut self) -> Result<Route<B>, B::Error> {
        let cluster = &self.cluster;
        let route = cluster.route_within(&mut self.request, &self.session);
        let route = route.await.map_err(|refusal| self.refused(refusal))?;
        if self.request.is_retry() {
            self.cluster.count_failover();
        }
        if route.intent() == Intent::Write {
            self.session.give_connection_back();
        }
        Ok(route)
    }

    async fn next_route(
        &mut self,
        route: Route<B>,
        missed: Missed<B::Error>,
    ) -> Result<Route<B>, B::Error> {
        let going_on = match missed {
            Missed::Failed(error) => self.unreached(&route, error),
            Missed::Lost if route.intent() == Intent::Write => Ok(()),
            // The server is not at fault.
            Missed::Moved => return self.routed_anew(route).await,
            Missed::Lost | Missed::Late => {
                self.goes_on(&route, Fault::Unavailable);
                self.request.exclude(route.node().id());
                Ok(())
            }
        };
        // It was not sent, so even a write may go elsewhere.
        let awaits_primary = route.intent() == Intent::Write
            && match &going_on {
                Ok(()) => true,
                Err(error) => {
                    B::fault(error) == Fault::Unavailable
                        && self.cluster.waits_for_primary(&self.request)
                }
            };
        route.unsent();
        let cluster = &self.cluster;
        let route = if awaits_primary {
            self.failure = going_on.err();
            let route = cluster.route_to_another_primary(&mut self.request, &self.session);
            route.await
        } else {
            going_on?;
            let route = cluster.route_within(&mut self.request, &self.session);
            route.await
        };
        let route = route.map_err(|refusal| self.refused(refusal))?;
        self.cluster.count_failover();
        Ok(route)
    }

    /// Routes work again whose node has changed while it waited for a connection. Nothing has been sent.
    async fn routed_anew(&mut self, route: Route<B>) -> Result<Route<B>, B::Error> {
        self.moves += 1;
        if self.moves > Self::MOVES {
            self.request.exclude(route.node().id());
        }
        let (intent, former) = (route.intent(), route.node().id());
        route.unsent();
        let cluster = &self.cluster;
        cluster.count_failover();
        if intent == Intent::Write {
            let seated = cluster.when_seated(former);
            timeout(cluster.acquire_limit(), seated).await.ok();
        }
        let route = cluster.route_within(&mut self.request, &self.session);
        route.await.map_err(|refusal| self.refused(refusal))
    }

    /// Runs a statement that was sent at `sent`. `None` if it is a read that has shown nothing, and another node would
    /// serve it: its own was found not to answer, or is a replica whose replay stands still, and the read has waited
    /// there as long as the router says.
    async fn while_there<T>(
        &self,
        route: &Route<B>,
        sent: Instant,
        running: impl Future<Output = T> + Send,
    ) -> Option<T> {
        if route.intent() == Intent::Write {
            return Some(running.await);
        }
        let mut running = pin!(running);
        if let Poll::Ready(result) = polled_once(false, &mut running).await {
            return Some(result);
        }
        let limit = self.cluster.standstill_limit();
        loop {
            let mut given_up = pin!(route.node().given_up(sent, limit));
            let first = poll_fn(|cx| match running.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(Some(result)),
                Poll::Pending => given_up.as_mut().poll(cx).map(|()| None),
            });
            match first.await {
                Some(result) => return Some(result),
                None if self.has_alternative(route) => return None,
                // There may be one later.
                None => {}
            }
            if let Ok(result) = timeout(limit, running.as_mut()).await {
                return Some(result);
            }
        }
    }

    /// Whether a statement that has failed because of what its connection had prepared is to be run once more there.
    async fn prepares_anew(
        &self,
        connection: &mut B::Connection,
        route: &Route<B>,
        sent: Instant,
    ) -> bool {
        // On the heap, as what is seldom done.
        let forgetting = Box::pin(B::forget_prepared(connection));
        let forgotten = Box::pin(self.while_there(route, sent, forgetting)).await;
        forgotten == Some(true) && route.intent() == Intent::Read
    }

    /// Leaves the node out from now on. If it stands still, so are the others that do: the work would hang there, too.
    fn leave(cluster: &Cluster<B>, request: &mut Request, node: &Node<B>) {
        request.exclude(node.id());
        if node.stands_still() {
            let topology = cluster.shared().topology.load();
            let others = topology.replicas().filter(|other| other.id() != node.id());
            others
                .filter(|other| other.stands_still())
                .for_each(|other| request.exclude(other.id()));
        }
    }

    /// Whether another node that is fit would serve the work now.
    fn has_alternative(&self, route: &Route<B>) -> bool {
        let mut request = self.request.clone();
        Self::leave(&self.cluster, &mut request, route.node());
        match self.cluster.find(&request, &self.session) {
            Ok(other) => {
                let (node, places) = (other.node(), self.cluster.places_for(&other));
                let serves = node.is_healthy()
                    && node.pool_error().is_none()
                    && !places.is_some_and(Places::are_taken);
                other.unsent();
                serves
            }
            Err(_) => false,
        }
    }

    /// Tells that the work goes on elsewhere.
    fn goes_on(&self, route: &Route<B>, fault: Fault) {
        let node = route.node();
        node.context.events.emit(|| Event::Retried {
            peer: Arc::clone(node.peer()),
            fault,
        });
    }

    /// Takes in that a statement was given up on a node that does not answer, or does not replay. It may still run
    /// there, and shows nobody anything.
    fn abandon(&mut self, route: Route<B>, began: Instant) {
        route.failed(began);
        let fault = match route.node().stands_still() {
            true => Fault::Conflict,
            false => Fault::Unavailable,
        };
        self.goes_on(&route, fault);
        Self::leave(&self.cluster, &mut self.request, route.node());
        route.showed_nothing();
    }

    /// Waits for something from the node's pool. Pools try to reach a server that refuses connections until their own limit,
    /// 30 s by default for many, and one that does not answer at all. Nobody need wait for that: when the node is doubted,
    /// or takes longer than the limit, a read goes elsewhere, if another node would serve it. If none would, it waits for
    /// what the monitor finds, as a write does. A write is told when the primary is known to be gone, or that another node
    /// is the primary now. While somebody waits, no idle connection of that node is kept from its pool.
    ///
    /// What the pool gave after a wait is only handed on if the work would still be routed to this node. If it is to be
    /// `careful`, pools that know how [check](crate::Pings) a connection that might have been closed.
    async fn reach<T, F>(
        &self,
        route: &Route<B>,
        careful: bool,
        mut wanted: impl FnMut() -> F + Send,
    ) -> Result<T, Missed<B::Error>>
    where
        F: Future<Output = Result<T, B::Error>> + Send,
    {
        let node = route.node();
        let crowded = node.holders.is_crowded();
        let mut attempt = pin!(wanted());
        let first = match crowded {
            true => Poll::Pending,
            false => polled_once(careful, &mut attempt).await,
        };
        let lacks = match first {
            Poll::Ready(Ok(got)) => {
                node.pool_gave();
                return Ok(got);
            }
            Poll::Ready(Err(error)) => Lacks::Room(error),
            Poll::Pending if crowded => Lacks::Turn,
            Poll::Pending => Lacks::Nothing,
        };
        let got = match lacks {
            Lacks::Room(error) if !Self::lacks_room(node, &error, None) => {
                Err(Missed::Failed(error))
            }
            lacks => self.wait_for(route, careful, attempt, lacks, wanted).await,
        };
        match got {
            Ok(_) | Err(Missed::Lost) if !self.cluster.leads(route) => Err(Missed::Moved),
            Ok(got) => {
                node.pool_gave();
                Ok(got)
            }
            got => got,
        }
    }

    /// Whether the error says that the server takes no more connections, while the pool has some that will come back.
    fn lacks_room(node: &Node<B>, error: &B::Error, waiting: Option<&Waiting<'_>>) -> bool {
        // What is being opened for others counts as in use.
        let has_some = || Self::has_some(node, waiting) || node.backend().pressure().in_use > 0;
        B::fault(error) == Fault::Busy && !Self::is_full(node) && has_some()
    }

    /// Waits for `attempt`, or for a connection that comes back.
    ///
    /// A pool that is not full opens a connection, or checks one; if that takes long, because the server has no room for
    /// another one or the connection is dead, one that has come back meanwhile is taken in its place.
    async fn wait_for<T, F>(
        &self,
        route: &Route<B>,
        careful: bool,
        mut attempt: Pin<&mut F>,
        mut lacks: Lacks<B::Error>,
        mut wanted: impl FnMut() -> F + Send,
    ) -> Result<T, Missed<B::Error>>
    where
        F: Future<Output = Result<T, B::Error>> + Send,
    {
        let node = route.node();
        let begun = self.session.now();
        // A connection takes several round trips to open.
        let distance = node.distance();
        let limit = self.cluster.acquire_limit().saturating_add(distance);
        let slow = Self::SLOW.saturating_add(distance);
        let dead = Pings::LIMIT.saturating_add(distance);
        // A pool that is not full needs nobody else's connection.
        let mut waiting = Self::is_full(node).then(|| node.holders.wait(Self::is_overloaded(node)));
        let mut in_crowd = None;
        let was_fit = node.is_healthy();
        let may_go_elsewhere = route.intent() == Intent::Read && was_fit;
        let mut gone = pin!(async {
            match route.intent() {
                // It is tried because nothing else is left.
                Intent::Read if node.health() == Health::Ejected => sleep(limit).await,
                Intent::Read => self.had_better_leave(route, limit).await,
                Intent::Write => {
                    let is_gone = || node.health() == Health::Ejected;
                    let unseated = || is_gone() || !self.cluster.leads(route);
                    node.until(unseated).await;
                }
            }
        });
        let start = time::Instant::now();
        let (mut attempted, mut checked) = (start, start);
        let mut is_trial = false;
        let mut pause = Self::PATIENCE.min(limit);
        loop {
            let is_slow = lacks.something() || attempted.elapsed() >= slow;
            if is_slow && in_crowd.is_none() {
                in_crowd = Some(node.holders.join_crowd());
                pause = Self::LOOK;
            }
            let mut returned = pin!(node.holders.returned());
            let first = poll_fn(|cx| {
                if !lacks.something()
                    && let Poll::Ready(result) = polled_for(careful, || attempt.as_mut().poll(cx))
                {
                    return Poll::Ready(Some(result.map_err(Missed::Failed)));
                }
                if gone.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Err(Missed::Lost)));
                }
                match in_crowd {
                    Some(_) => returned.as_mut().poll(cx).map(|()| None),
                    None => Poll::Pending,
                }
            });
            match timeout(pause, first).await {
                Ok(Some(Err(Missed::Failed(error))))
                    if start.elapsed() < Self::ROOM
                        && Self::lacks_room(node, &error, waiting.as_ref()) =>
                {
                    lacks = Lacks::Room(error);
                    continue;
                }
                Ok(Some(first)) => {
                    if is_trial && first.is_ok() {
                        node.holders.trial_succeeded();
                    }
                    return first;
                }
                Err(_) if waiting.is_none() => {
                    if was_fit {
                        node.doubt();
                    }
                    waiting = Some(node.holders.wait(Self::is_overloaded(node)));
                }
                // Somebody's work has ended, or it is time to look.
                Ok(None) | Err(_) => {}
            }
            pause = Self::LOOK;
            if Self::is_full(node) {
                // Who waits in the pool's queue must not lose its place there.
                attempted = time::Instant::now();
            }
            // A connection that is checked for that long is dead, and one that is being opened may be.
            let may_be_dead =
                !lacks.something() && attempted.elapsed() >= dead && start.elapsed() < Self::ROOM;
            let came_back = is_slow && node.backend().pressure().idle > 0;
            let tries = || {
                let nothing_came = lacks.something() && attempted.elapsed() >= slow;
                nothing_came && node.holders.may_try(slow)
            };
            if may_be_dead || came_back || tries() {
                is_trial = lacks.something() && !came_back;
                if !lacks.something() {
                    // The one that was being opened is for others.
                    node.open_in_background();
                }
                lacks = Lacks::Nothing;
                in_crowd = None;
                attempt.set(wanted());
                attempted = time::Instant::now();
                continue;
            }
            if may_go_elsewhere && checked.elapsed() >= limit {
                checked = time::Instant::now();
                // A full pool is no sick node; and to go elsewhere because of one would only fill the next. (One that
                // many wait for may have a connection that is not out at this very moment.)
                let full = Self::is_full(node) || Self::is_overloaded(node);
                if !(full && Self::has_some(node, waiting.as_ref())) && self.has_alternative(route)
                {
                    let fails = !Self::has_some(node, waiting.as_ref());
                    self.is_late(route, begun, limit, fails);
                    return Err(Missed::Late);
                }
            }
            if start.elapsed() >= Self::ROOM {
                match std::mem::replace(&mut lacks, Lacks::Nothing) {
                    Lacks::Room(error) => return Err(Missed::Failed(error)),
                    Lacks::Turn | Lacks::Nothing => {}
                }
            }
        }
    }

    /// Waits until a read that has no connection yet had better go elsewhere: its node is found not to answer, or is
    /// doubted while another one would serve the read. That is looked at again after `pause` at most.
    async fn had_better_leave(&self, route: &Route<B>, pause: Duration) {
        let node = route.node();
        loop {
            node.lost().await;
            if node.health() == Health::Ejected || self.has_alternative(route) {
                return;
            }
            timeout(pause, node.changes()).await.ok();
        }
    }

    /// Takes in that no connection came within the limit. If the server has answered the monitor meanwhile, it is the pool
    /// that gives none; and it fails if nobody has one.
    fn is_late(&self, route: &Route<B>, begun: Instant, limit: Duration, fails: bool) {
        let limit = Duration::from_millis(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX));
        let error = format!("no connection within {limit:?}");
        match route.node().live.answered_since(begun) {
            true if fails => route.node().pool_failed(&error),
            true => route.node().open_in_background(),
            false => drop(route.suspect(&error)),
        }
    }

    /// No node is left. If there was one and the work failed there, that is the error. (But that writes are
    /// forbidden says more than a replica's error that it takes none; and that no more reads may fall back, more
    /// than that one had to.)
    fn refused(&mut self, refusal: RouteError) -> B::Error {
        let forbidden = self.request.forbids_writes();
        let says_more = |failure: &B::Error| {
            refusal.is_fallback_limit()
                || refusal.is_without_primary() && refusal.intent() == Intent::Write
                || forbidden && B::fault(failure) == Fault::ReadOnly
        };
        match self.failure.take() {
            Some(failure) if !says_more(&failure) => failure,
            _ => B::refused(refusal),
        }
    }

    /// Takes in that a statement failed on a node. One that a replica refused, and that was only taken for a
    /// read, is for the primary; nothing happened on the replica.
    fn failed(
        &mut self,
        sql: &str,
        route: Route<B>,
        began: Instant,
        error: B::Error,
    ) -> Result<(), B::Error> {
        let presumed = self.request.cause() == Cause::Query && route.node().role() != Role::Primary;
        match B::fault(&error) {
            Fault::ReadOnly if presumed => {
                self.cluster.misjudged(sql, route.node());
                self.request.refused_as_write();
            }
            Fault::Unsupported if presumed => {
                self.suspicion = Some(Arc::clone(route.node()));
                self.request.refused_as_write();
            }
            Fault::Missing if presumed => self.request.not_replayed(),
            fault => {
                match fault {
                    Fault::Unavailable if route.intent() == Intent::Read => {
                        self.broke(sql, &route, began, &error);
                    }
                    Fault::Other => {
                        self.is_at_fault(sql, &route);
                    }
                    _ => {
                        if let Fault::Busy | Fault::Conflict = fault {
                            route.failed(began);
                        }
                        route.report(fault, &Causes(&error));
                    }
                }
                self.go_on(&route, fault, error)?;
                route.showed_nothing();
                return Ok(());
            }
        }
        self.failure = Some(error);
        route.showed_nothing();
        Ok(())
    }

    /// Takes in that a statement's connection broke. Mostly it is the node that is gone. But a statement that breaks
    /// its connection on one node and fails on another, neither of which is found gone, is at fault itself: neither is
    /// suspect for it, and none will be if the statement is sent again.
    fn broke(&mut self, sql: &str, route: &Route<B>, began: Instant, error: &B::Error) {
        let node = route.node();
        if node.context.offenders.contains(sql) || self.is_at_fault(sql, route) {
            node.doubt();
            return;
        }
        route.failed(began);
        let suspected = route.accuse(Fault::Unavailable, &Causes(error));
        let node = Arc::clone(node);
        self.accused = Some(Accused { node, suspected });
    }

    /// Whether a statement that has failed on a node is at fault for having broken its connection to another one: that
    /// is so unless one of the two is found gone.
    fn is_at_fault(&mut self, sql: &str, route: &Route<B>) -> bool {
        let Some(accused) = self.accused.take() else {
            return false;
        };
        let node = route.node();
        if accused.node.health() == Health::Ejected || node.health() == Health::Ejected {
            return false;
        }
        node.context.offenders.remember(sql);
        if accused.suspected {
            accused.node.acquit();
        }
        true
    }

    /// Takes in that a node's pool gave no connection, or that a transaction could not be begun. Nothing of the work
    /// itself has been sent, so it is not at fault, whatever the error is: a read goes to another node. A replica that
    /// refuses the login may not have replayed the role, its password or the database; it is kept from reads like one
    /// that cannot be reached.
    fn unreached(&mut self, route: &Route<B>, error: B::Error) -> Result<(), B::Error> {
        let fault = match (route.intent(), B::fault(&error)) {
            (Intent::Read, Fault::Missing) => Fault::Unavailable,
            (_, fault) => fault,
        };
        route.report(fault, &Causes(&error));
        if !(fault == Fault::Busy && Self::is_full(route.node())) {
            route.node().pool_failed(&Causes(&error));
        }
        match route.intent() {
            Intent::Read => self.pass_on(route, fault, error),
            Intent::Write => Err(error),
        }
    }

    /// Takes in that the work failed on a node, which has been told of. It may be run on another only if it is a read
    /// and the node is at fault; otherwise the error is given back. No node gets the same work twice.
    fn go_on(&mut self, route: &Route<B>, fault: Fault, error: B::Error) -> Result<(), B::Error> {
        // A primary is in no conflict with recovery; what it calls one is between its clients.
        let elsewhere = match fault {
            Fault::Unavailable | Fault::Busy | Fault::Prepared => true,
            Fault::Conflict => route.node().role() != Role::Primary,
            Fault::ReadOnly | Fault::Unsupported | Fault::Missing | Fault::Other => false,
        };
        match route.intent() {
            Intent::Read if elsewhere => self.pass_on(route, fault, error),
            _ => Err(error),
        }
    }

    /// The read goes on to another node, unless it has been tried on as many as it may be.
    fn pass_on(&mut self, route: &Route<B>, fault: Fault, error: B::Error) -> Result<(), B::Error> {
        if self.request.failures() >= self.cluster.retries() {
            return Err(error);
        }
        self.goes_on(route, fault);
        self.request.exclude(route.node().id());
        self.failure = Some(error);
        Ok(())
    }

    /// Takes in that the work has been done. If a replica had refused it for a reason that was not clear,
    /// now it is.
    fn done(&mut self, sql: &str) {
        if let Some(node) = self.suspicion.take() {
            self.cluster.misjudged(sql, &node);
        }
    }
}

/// Polls a future once.
async fn polled_once<F: Future>(careful: bool, future: &mut Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(polled_for(careful, || future.as_mut().poll(cx)))).await
}

/// Whether an error is about what the connection had prepared.
fn is_of_prepared<B: Backend>(error: Option<&B::Error>) -> bool {
    error.is_some_and(|error| B::fault(error) == Fault::Prepared)
}

async fn next<T>(stream: &mut BoxStream<'_, T>) -> Option<T> {
    poll_fn(|cx| stream.as_mut().poll_next(cx)).await
}

impl<B: Backend> fmt::Debug for Work<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work")
            .field("session", &self.session)
            .field("request", &self.request)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}
