//! Notifications of PostgreSQL's, from whichever node is the primary.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dbrouter::{Cluster, Fault, Node};
use sqlx::Error;
use sqlx::postgres::{PgListener, PgNotification, Postgres};
use tokio::time::{Instant, sleep, timeout};

use crate::backend::SqlxBackend;
use crate::connecting::PLAIN;
use crate::error;
use crate::pool::RoutedPool;

impl RoutedPool<Postgres> {
    /// A listener for PostgreSQL's notifications that follows the primary: sqlx's [`PgListener`], with its methods, which a
    /// failover leaves on the former primary.
    ///
    /// # Errors
    ///
    /// That of the primary which refuses the connection; [`Error::PoolTimedOut`] if there is no primary within the pool's
    /// [`acquire_timeout`](crate::PoolOptions::acquire_timeout); [`Error::PoolClosed`] after [`close`](Self::close).
    pub async fn listener(&self) -> Result<Listener, Error> {
        let mut listener = Listener {
            cluster: self.cluster().clone(),
            channels: Vec::new(),
            line: None,
            missed: false,
        };
        listener.connect_in_time().await?;
        Ok(listener)
    }
}

/// Receives PostgreSQL's notifications from the primary, whichever node that is: from [`RoutedPool::listener`].
///
/// When another node becomes the primary, when its pool is replaced, when it does not answer or when the connection breaks, the
/// listener opens another connection to the primary of then, and listens to the same channels there. What was notified in
/// between is lost, as PostgreSQL keeps no notifications for those who do not listen. [`try_recv`](Self::try_recv) says so by
/// `None`, once the new connection listens: read your tables then, in a session that sees all that was
/// [committed before](crate::Routed::observe_now).
///
/// It does so while one of its methods is awaited. [`recv`](Self::recv) and [`try_recv`](Self::try_recv) may be dropped before they
/// are ready, and nothing is lost by it. A [`listen`](Self::listen) that was dropped must be said again.
///
/// The connection is one beside the primary's pool, so a listener takes none of that pool's connections; it logs in and is
/// prepared as those are, `after_connect` included. PostgreSQL's `max_connections` must have room for it. It lives for as long as
/// the listener, which keeps the router alive, too. Behind a PgBouncer with `pool_mode = transaction` nobody can listen: give the
/// listener a router that leads to the servers themselves. A firewall that forgets idle connections leaves it deaf: let the
/// servers send keepalives (`tcp_keepalives_idle`).
///
/// ```no_run
/// use dbrouter_sqlx::RoutedPool;
/// use sqlx::Postgres;
///
/// async fn work_off(db: RoutedPool<Postgres>) -> sqlx::Result<()> {
///     let mut listener = db.listener().await?;
///     listener.listen("orders").await?;
///     loop {
///         let session = db.session();
///         session.observe_now(); // what others have committed until now
///         // What is not done yet: at first, after each message, and after a gap.
///         let done = "update orders set done = true where not done returning id";
///         let orders: Vec<i64> = sqlx::query_scalar(done).fetch_all(&session).await?;
///         println!("{} orders", orders.len());
///         match listener.try_recv().await? {
///             Some(message) => println!("{} is new", message.payload()),
///             None => println!("something may have been missed"),
///         }
///     }
/// }
/// ```
pub struct Listener {
    cluster: Cluster<SqlxBackend<Postgres>>,
    channels: Vec<String>,
    /// The connection, unless it was lost.
    line: Option<Line>,
    /// A connection was lost, and the caller has not been told.
    missed: bool,
}

/// A connection to the primary that listens to the channels.
struct Line {
    node: Arc<Node<SqlxBackend<Postgres>>>,
    listener: PgListener,
}

impl Listener {
    /// The pause before a primary is tried again that answers the monitor and takes no connection.
    const AGAIN: Duration = Duration::from_millis(50);

    /// Listens to a channel. Its name is quoted, so its case matters.
    ///
    /// # Errors
    ///
    /// As [`RoutedPool::listener`], and the server's. The listener then does not listen to the channel.
    pub async fn listen(&mut self, channel: &str) -> Result<(), Error> {
        self.listen_all([channel]).await
    }

    /// Listens to some channels.
    ///
    /// # Errors
    ///
    /// As [`listen`](Self::listen).
    pub async fn listen_all(
        &mut self,
        channels: impl IntoIterator<Item = &str>,
    ) -> Result<(), Error> {
        let mut new: Vec<String> = Vec::new();
        for channel in channels {
            let mut known = self.channels.iter().chain(&new);
            if !known.any(|known| known == channel) {
                new.push(channel.to_owned());
            }
        }
        loop {
            self.connect_in_time().await?;
            let Some(line) = &mut self.line else {
                continue;
            };
            let listens = line.listener.listen_all(new.iter().map(String::as_str));
            let node = Arc::clone(&line.node);
            match self.cluster.while_primary(&node, listens).await {
                Some(Ok(())) => {
                    self.channels.append(&mut new);
                    return Ok(());
                }
                Some(Err(error)) if !is_lost(&error) => return Err(error),
                Some(Err(_)) => {
                    node.doubt();
                    self.hang_up();
                }
                None => self.hang_up(),
            }
        }
    }

    /// No longer listens to a channel.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn unlisten(&mut self, channel: &str) -> Result<(), Error> {
        self.channels.retain(|known| known != channel);
        let Some(line) = &mut self.line else {
            return Ok(());
        };
        let done = line.listener.unlisten(channel);
        let done = self.cluster.while_primary(&line.node, done).await;
        self.unlistened(done)
    }

    /// No longer listens to any channel.
    ///
    /// # Errors
    ///
    /// The server's.
    pub async fn unlisten_all(&mut self) -> Result<(), Error> {
        self.channels.clear();
        let Some(line) = &mut self.line else {
            return Ok(());
        };
        let done = line.listener.unlisten_all();
        let done = self.cluster.while_primary(&line.node, done).await;
        self.unlistened(done)
    }

    fn unlistened(&mut self, done: Option<Result<(), Error>>) -> Result<(), Error> {
        match done {
            Some(Err(error)) if !is_lost(&error) => Err(error),
            Some(Ok(())) => Ok(()),
            // The next connection does not listen to it.
            Some(Err(_)) | None => {
                self.hang_up();
                Ok(())
            }
        }
    }

    /// The next notification. What was missed meanwhile it does not tell: prefer [`try_recv`](Self::try_recv), unless a
    /// notification may be lost.
    ///
    /// # Errors
    ///
    /// As [`try_recv`](Self::try_recv).
    pub async fn recv(&mut self) -> Result<PgNotification, Error> {
        loop {
            if let Some(notification) = self.try_recv().await? {
                return Ok(notification);
            }
        }
    }

    /// The next notification; or `None` if the connection was lost, and there is a new one by now that listens to the same
    /// channels: what was notified in between is lost.
    ///
    /// While there is no primary it waits for one, without a limit.
    ///
    /// # Errors
    ///
    /// That of a primary which refuses the connection, or takes none within the pool's
    /// [`acquire_timeout`](crate::PoolOptions::acquire_timeout) although it answers the router's monitor;
    /// [`Error::PoolClosed`] after [`RoutedPool::close`]. The next call tries again.
    pub async fn try_recv(&mut self) -> Result<Option<PgNotification>, Error> {
        loop {
            self.connect().await?;
            if std::mem::take(&mut self.missed) {
                return Ok(None);
            }
            let Some(line) = &mut self.line else {
                continue;
            };
            let mut closed = line.node.backend().pool().close_event();
            let received = line.listener.try_recv();
            let received = self.cluster.while_primary(&line.node, received);
            match closed.do_until(received).await? {
                Some(Ok(Some(notification))) => return Ok(Some(notification)),
                Some(Err(error)) if !is_lost(&error) => return Err(error),
                Some(Ok(None) | Err(_)) => {
                    // It may have been the server's connection alone that broke, or the server.
                    line.node.doubt();
                    self.hang_up();
                }
                None => self.hang_up(),
            }
        }
    }

    /// The next notification that has been received already, if there is one: some may be while
    /// [`listen`](Self::listen) waits for its answer.
    pub fn next_buffered(&mut self) -> Option<PgNotification> {
        self.line.as_mut()?.listener.next_buffered()
    }

    /// The connection is of no use any longer.
    fn hang_up(&mut self) {
        self.line = None;
        self.missed = true;
    }

    /// As [`connect`](Self::connect), within the time that the primary's pool has for that.
    async fn connect_in_time(&mut self) -> Result<(), Error> {
        let primary = self.cluster.primary();
        let limit = primary.backend().pool().options().get_acquire_timeout();
        let connected = timeout(limit, self.connect()).await;
        connected.unwrap_or(Err(Error::PoolTimedOut))
    }

    /// Opens a connection to the primary if there is none, as soon as there is a primary.
    async fn connect(&mut self) -> Result<(), Error> {
        let mut first_failure: Option<Instant> = None;
        while self.line.is_none() {
            let node = self.cluster.ready_primary().await;
            let pool = node.backend().pool();
            let opened = self
                .cluster
                .while_primary(&node, open(node.backend(), &self.channels));
            let Some(opened) = pool.close_event().do_until(opened).await? else {
                continue;
            };
            match opened {
                Ok(listener) => self.line = Some(Line { node, listener }),
                Err(error) if is_lost(&error) => {
                    // The monitor may not have noticed yet. Or it has an answer, and it is the connections that fail.
                    let since = first_failure.get_or_insert_with(Instant::now);
                    if since.elapsed() > pool.options().get_acquire_timeout() {
                        return Err(error);
                    }
                    node.doubt();
                    self.cluster.while_primary(&node, sleep(Self::AGAIN)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Whether the error says that the connection is gone, or that its server is not the primary.
fn is_lost(error: &Error) -> bool {
    let fault = error::fault::<Postgres>(error);
    matches!(fault, Fault::Unavailable | Fault::ReadOnly)
}

/// A connection beside the node's pool that listens to the channels.
async fn open(backend: &SqlxBackend<Postgres>, channels: &[String]) -> Result<PgListener, Error> {
    let (pool, connecting) = backend.beside();
    let connect = || PgListener::connect_with(&pool);
    let mut listener = connecting.take(&pool, PLAIN, connect).await?;
    // A lost connection is lost: the next one may be another node's.
    listener.eager_reconnect(false);
    if !channels.is_empty() {
        let channels = channels.iter().map(String::as_str);
        listener.listen_all(channels).await?;
    }
    Ok(listener)
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.line.as_ref().map(|line| line.node.name());
        f.debug_struct("Listener")
            .field("channels", &self.channels)
            .field("node", &node)
            .finish_non_exhaustive()
    }
}
