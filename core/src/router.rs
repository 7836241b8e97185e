//! The traits that hold the project together: what an adapter writes, and what it then offers.

use std::future::{Future, ready};

use crate::decision::RouteError;
use crate::dialect::{Answer, Question};
use crate::request::Request;
use crate::route::Route;
use crate::session::SessionState;
use crate::status::Status;
use crate::vocabulary::{Fault, Pressure};

/// What every adapter's handle offers, whatever the ORM.
///
/// # Contract
///
/// * `route` neither blocks nor waits, and takes a place on the node that it returns; the place is
///   given back when the [`Route`] is dropped.
/// * A write is only ever routed to the primary.
/// * A causal read is only ever routed to a node that is known to show what `session` must see.
/// * `route` refuses only if no node will do, or as many reads as [may](crate::FallbackLimit) have fallen back to the
///   primary; and then says of every node why not.
pub trait Router: Send + Sync + 'static {
    /// The ORM's way to one node.
    type Backend: Backend;

    /// Finds the node for a piece of work.
    ///
    /// # Errors
    ///
    /// If no node may run it now.
    fn route(
        &self,
        request: &Request,
        session: &SessionState,
    ) -> Result<Route<Self::Backend>, RouteError>;

    /// A snapshot of the router and its nodes, to print, serialise, or alert on.
    fn status(&self) -> Status;
}

/// One node's pool, as its ORM knows it. What an adapter writes.
///
/// # Contract
///
/// * Clones are the same pool.
/// * `pressure` neither blocks nor waits.
/// * `acquire` gives a connection of the pool, or fails when the pool's own limit says so. It may be
///   dropped at any time, and then keeps no place in the pool.
/// * `fault` says [`Fault::Unavailable`] only of errors that mean the *node* is unreachable or its
///   connection broken, and never of a full pool: an exhausted pool is no sick node.
/// * `open_probe` and `ask` may be dropped at any time. A probe on which a question failed, or was dropped, is asked
///   no other. An `ask` that meets a broken connection fails, and is never quietly repeated on another: that is how the
///   monitor learns that a server may have been restarted.
/// * Of a question that is not [repeated](Question::is_repeated) no prepared statement is kept. A replica may take as
///   long for its answer as the monitor's [interval](crate::MonitorSettings::interval) is.
/// * The backend of a replica opens its connections read-only and at an isolation level that replicas take, where it is
///   the one who opens them: see [`Dialect::replica_session`](crate::Dialect::replica_session).
/// * After `forget_prepared` has returned `true`, the connection is one on which statements run again, and still one on
///   which the server refuses writes, if it was.
/// * On a connection from `acquire_read_only` or `acquire_read_only_once` the server refuses writes, whatever it does on
///   others of the same pool. However it is given back, in the midst of a statement or of its own opening, the next
///   who gets it from `acquire` may write. An adapter that leaves these to their defaults promises none of that.
/// * The source of the error that `refused` returns leads to the [`RouteError`].
pub trait Backend: Clone + Send + Sync + 'static {
    /// The ORM's error.
    type Error: std::error::Error + Send + Sync + 'static;

    /// What the pool hands out. Dropped, it is back in the pool.
    type Connection: Send + 'static;

    /// A connection of the monitor's own. Dropped, it is closed.
    type Probe: Send + 'static;

    /// How occupied the pool is.
    fn pressure(&self) -> Pressure;

    /// What an error says of the node that it came from.
    fn fault(error: &Self::Error) -> Fault;

    /// The router's refusal as an error of the ORM's.
    fn refused(refusal: RouteError) -> Self::Error;

    /// Takes a connection from the pool.
    fn acquire(&self) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send;

    /// Takes a connection from the pool on which the server refuses writes for as long as it is held: for work that the
    /// caller has stated to be a read, where that cannot go to a replica. Its cost may be a round trip or two. Defaults
    /// to [`acquire`](Self::acquire), which is right if the pool's own connections are read-only; where they are not,
    /// a stated read that falls back to the primary may then write.
    fn acquire_read_only(
        &self,
    ) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send {
        self.acquire()
    }

    /// As [`acquire_read_only`](Self::acquire_read_only), for a single statement: so the connection may, for instance, be
    /// inside a read-only transaction. Defaults to the same.
    fn acquire_read_only_once(
        &self,
    ) -> impl Future<Output = Result<Self::Connection, Self::Error>> + Send {
        self.acquire_read_only()
    }

    /// Has the connection forget what it has prepared, after a statement failed on it with [`Fault::Prepared`]. Returns
    /// whether the same statement would be prepared anew there; it is then run once more, if it is a read. Defaults to
    /// `false`, which is right for connections that prepare nothing by themselves.
    fn forget_prepared(connection: &mut Self::Connection) -> impl Future<Output = bool> + Send {
        let _ = connection;
        ready(false)
    }

    /// Opens a connection of the monitor's own: none of the pool's, and it waits for none of those.
    fn open_probe(&self) -> impl Future<Output = Result<Self::Probe, Self::Error>> + Send;

    /// Asks a question that has one row of text columns for an answer.
    fn ask(
        probe: &mut Self::Probe,
        question: &Question,
    ) -> impl Future<Output = Result<Answer, Self::Error>> + Send;

    /// Closes a connection that is no longer needed, as the server wants to be told. Defaults to dropping it.
    fn close_probe(probe: Self::Probe) -> impl Future<Output = ()> + Send {
        async { drop(probe) }
    }
}

/// Asks one question on a connection that is opened for it.
pub(crate) async fn ask_once<B: Backend>(
    backend: &B,
    question: &Question,
) -> Result<Answer, B::Error> {
    let mut probe = backend.open_probe().await?;
    let answer = B::ask(&mut probe, question).await?;
    B::close_probe(probe).await;
    Ok(answer)
}
