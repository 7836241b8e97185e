//! How one piece of work finds its node and gets a connection to it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dbrouter::{
    Backend, Cause, Cluster, Fault, Intent, Node, Request, Role, Route, RouteError, Router,
    SessionState,
};
use futures_util::future::{Either, select};
use sqlx::pool::PoolConnection;
use sqlx::{Pool, Transaction};
use tokio::time::timeout;

use crate::backend::SqlxBackend;
use crate::database::RoutedDatabase;
use crate::error::{lost, refused};

/// One piece of work: on whose behalf, and how its nodes are chosen.
pub(crate) struct Work<DB: RoutedDatabase> {
    pub(crate) cluster: Cluster<SqlxBackend<DB>>,
    pub(crate) session: SessionState,
    pub(crate) request: Request,
    pub(crate) intent: IntentFrom,
    /// Why the work is being run again, if it is.
    pub(crate) failure: Option<sqlx::Error>,
    /// The replica that has refused the work, maybe only because it is one.
    pub(crate) suspicion: Option<Arc<Node<SqlxBackend<DB>>>>,
}

/// Where the intent of a statement comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IntentFrom {
    /// The request states it.
    Request,
    /// The statement's text tells it.
    Statement,
}

impl<DB: RoutedDatabase> Work<DB> {
    /// The same work, with the intent of a statement.
    pub(crate) fn of_statement(mut self, sql: &str) -> Self {
        if self.intent == IntentFrom::Statement {
            let classification = self.cluster.classify(sql);
            self.request = self
                .request
                .with_intent(classification.intent, classification.reason);
        }
        self
    }

    /// The same work, whose intent is a write unless the request states another.
    pub(crate) fn of_connection(mut self) -> Self {
        if self.intent == IntentFrom::Statement {
            self.request = self.request.with_intent(Intent::Write, Cause::Asked);
        }
        self
    }

    /// Gets a connection to a node that will do. A read goes on to the next node when one cannot be
    /// reached or has no room; a write has nowhere to go.
    pub(crate) async fn acquire(&mut self) -> Result<Acquired<DB>, sqlx::Error> {
        let first = self.cluster.route_patiently(&self.request, &self.session);
        let mut route = match first.await {
            Ok(route) => route,
            Err(refusal) => return Err(self.refused(refusal)),
        };
        if self.request.is_retry() {
            self.cluster.count_failover();
        }
        loop {
            let going_on = match connect(&route).await {
                Ok(connection) => return Ok(Acquired { connection, route }),
                Err(Missed::Failed(error)) => self.go_on(&route, error),
                Err(Missed::Lost(error)) => {
                    self.leave_out(&route, error);
                    Ok(())
                }
            };
            route.unsent();
            going_on?;
            route = self.route()?;
            self.cluster.count_failover();
        }
    }

    /// Takes a place on a node that will do.
    pub(crate) fn route(&mut self) -> Result<Route<SqlxBackend<DB>>, sqlx::Error> {
        let route = self.cluster.route(&self.request, &self.session);
        route.map_err(|refusal| self.refused(refusal))
    }

    /// No node is left. If there was one and the work failed there, that is the error.
    fn refused(&mut self, refusal: RouteError) -> sqlx::Error {
        self.failure.take().unwrap_or_else(|| refused(refusal))
    }

    /// Takes in that a statement failed on a node. One that a replica refused, and that was only taken for a
    /// read, is for the primary; nothing happened on the replica.
    pub(crate) fn statement_failed(
        &mut self,
        sql: &str,
        route: &Route<SqlxBackend<DB>>,
        error: sqlx::Error,
    ) -> Result<(), sqlx::Error> {
        let presumed = self.request.cause() == Cause::Query && route.node().role() != Role::Primary;
        match SqlxBackend::<DB>::fault(&error) {
            Fault::ReadOnly if presumed => {
                self.cluster.misjudged(sql, route.node());
                self.request.refused_as_write();
            }
            Fault::Unsupported if presumed => {
                self.suspicion = Some(Arc::clone(route.node()));
                self.request.refused_as_write();
            }
            Fault::Missing if presumed => self.request.not_replayed(),
            _ => return self.go_on(route, error),
        }
        self.failure = Some(error);
        Ok(())
    }

    /// Takes in that the work failed on a node. It may be run on another only if it is a read and the
    /// node is at fault; otherwise the error is given back. No node gets the same work twice.
    fn go_on(
        &mut self,
        route: &Route<SqlxBackend<DB>>,
        error: sqlx::Error,
    ) -> Result<(), sqlx::Error> {
        let fault = SqlxBackend::<DB>::fault(&error);
        route.report(fault, &error);
        match (route.intent(), fault) {
            (Intent::Read, Fault::Unavailable | Fault::Busy | Fault::Conflict) => {
                self.leave_out(route, error);
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// Takes in that the work has been done. If a replica had refused it for a reason that was not clear,
    /// now it is.
    pub(crate) fn done(&mut self, sql: &str) {
        if let Some(node) = self.suspicion.take() {
            self.cluster.misjudged(sql, &node);
        }
    }

    fn leave_out(&mut self, route: &Route<SqlxBackend<DB>>, error: sqlx::Error) {
        self.request.exclude(route.node().id());
        self.failure = Some(error);
    }
}

/// A connection, and the place on its node that goes with it.
pub(crate) struct Acquired<DB: RoutedDatabase> {
    pub(crate) connection: PoolConnection<DB>,
    pub(crate) route: Route<SqlxBackend<DB>>,
}

/// Why there is no connection.
enum Missed {
    /// The pool says so.
    Failed(sqlx::Error),
    /// The node was found lost meanwhile, by somebody who has reported it.
    Lost(sqlx::Error),
}

/// How long a read waits for a connection before the monitor is asked whether the node is there at all:
/// longer than a connection within one region takes to open, and shorter than anybody notices.
const PATIENCE: Duration = Duration::from_millis(10);

/// Takes a connection from the node's pool. sqlx's pool tries to reach a server that refuses connections
/// until its acquire timeout, 30 s by default. A read need not wait for that: when the node is found
/// lost, it goes elsewhere.
async fn connect<DB: RoutedDatabase>(
    route: &Route<SqlxBackend<DB>>,
) -> Result<PoolConnection<DB>, Missed> {
    let node = route.node();
    let acquire = node.backend().pool().acquire();
    if route.intent() == Intent::Write || !node.is_healthy() {
        return acquire.await.map_err(Missed::Failed);
    }
    let (acquire, lost_meanwhile) = (pin!(acquire), pin!(node.lost()));
    let mut either = select(acquire, lost_meanwhile);
    let first = match timeout(PATIENCE, &mut either).await {
        Ok(first) => first,
        Err(_) => {
            node.doubt();
            either.await
        }
    };
    match first {
        Either::Left((acquired, _)) => acquired.map_err(Missed::Failed),
        Either::Right(((), _)) => Err(Missed::Lost(lost(
            node.name(),
            node.last_error().as_deref(),
        ))),
    }
}

/// Begins a transaction in a task of its own, so that it is never left half-begun. In sqlx 0.9 a `begin`
/// that is dropped while it waits for the server's answer leaves its connection inside the transaction,
/// and hands it to the next caller, whose statements are then never committed.
pub(crate) async fn begin<DB: RoutedDatabase>(
    pool: &Pool<DB>,
) -> Result<Transaction<'static, DB>, sqlx::Error> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin().await }).await;
    begun.unwrap_or(Err(sqlx::Error::WorkerCrashed))
}
