//! That all connections of a pool lead to one server.

use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::context::Context;
use crate::dialect::{Answer, Dialect, Question};
use crate::observer::{Event, Peer};

/// Tells, of each connection that a pool opens, whether it leads to the server that the node is.
///
/// An address may lead to several servers: a load balancer in front of replicas, or a name with several addresses. It
/// may also lead to another server from now on. What the monitor has learnt of one server says nothing of another, so a
/// pool keeps only connections to the server that the monitor's connection leads to. An adapter asks each connection that
/// it opens for a pool once, and closes those that lead elsewhere:
///
/// ```
/// # use dbrouter::{Answer, Dialect, OtherServer, Question, ServerCheck};
/// # struct Connection;
/// # impl Connection {
/// #     async fn open() -> Self { Self }
/// #     async fn ask(&mut self, question: &Question) -> Answer { Answer::from_iter([None]) }
/// # }
/// async fn connect(check: &ServerCheck) -> Result<Connection, OtherServer> {
///     loop {
///         let mut connection = Connection::open().await;
///         let Some(question) = check.question(Dialect::Postgres) else {
///             return Ok(connection);
///         };
///         match check.admit(&connection.ask(&question).await).await {
///             Ok(()) => return Ok(connection),
///             Err(other) if other.is_final() => return Err(other),
///             // The next one may lead to the right server.
///             Err(_) => drop(connection),
///         }
///     }
/// }
/// ```
///
/// Each pool has a check of its own, because the pool of a node whose address has moved is replaced. Clones are the same
/// check.
#[derive(Clone)]
pub struct ServerCheck(Arc<Check>);

struct Check {
    expected: watch::Sender<Expected>,
    /// How many connections in a row led elsewhere.
    elsewhere: AtomicU32,
    /// So many did that the address has probably moved.
    moved: AtomicBool,
    /// Observers have been told that the address leads to several servers.
    told: AtomicBool,
    /// Whom to tell.
    node: OnceLock<(Arc<Context>, Arc<Peer>)>,
}

/// Which server the connections must lead to.
#[derive(Clone, PartialEq, Eq)]
enum Expected {
    /// The node has not told yet.
    NotKnown,
    /// Any: such servers do not tell who they are.
    Any,
    Server(Arc<str>),
}

impl ServerCheck {
    /// After so many connections in a row to another server the monitor finds out whether the address has moved. Of five
    /// servers behind one address, chosen at random, none of so many connections leads to the right one three times in a
    /// hundred; the router then goes on with another of the five.
    const MOST: u32 = 16;

    /// How long a connection waits until the node has told which server it is. A node gets no work before it has, so
    /// only connections that a pool opens in advance wait.
    const PATIENCE: Duration = Duration::from_secs(1);

    pub(crate) fn new() -> Self {
        Self(Arc::new(Check {
            expected: watch::Sender::new(Expected::NotKnown),
            elsewhere: AtomicU32::new(0),
            moved: AtomicBool::new(false),
            told: AtomicBool::new(false),
            node: OnceLock::new(),
        }))
    }

    /// A check that asks no connection and admits all: for a pool that belongs to no router.
    #[must_use]
    pub fn none() -> Self {
        let none = Self::new();
        none.set_expected(None);
        none
    }

    /// A check of another pool that is to lead to the same server.
    pub(crate) fn again(&self) -> Self {
        let again = Self::new();
        again
            .0
            .expected
            .send_replace(self.0.expected.borrow().clone());
        again
    }

    /// The question that a pool asks a new connection; `None` where the connection need not be asked.
    #[must_use]
    pub fn question(&self, dialect: Dialect) -> Option<Question> {
        match *self.0.expected.borrow() {
            Expected::Any => None,
            Expected::NotKnown | Expected::Server(_) => dialect.server(),
        }
    }

    /// Whether a new connection, which has answered the [question](Self::question), leads to the right server. Waits for
    /// up to a second if that is not known yet.
    ///
    /// # Errors
    ///
    /// If it leads elsewhere, or it is not known where it should lead. It is then to be closed. Another one may be opened
    /// and asked at once, unless the error [is final](OtherServer::is_final).
    pub async fn admit(&self, answer: &Answer) -> Result<(), OtherServer> {
        let Some(found) = answer.column(0) else {
            return Ok(());
        };
        let mut expected = self.0.expected.subscribe();
        let known = expected.wait_for(|expected| *expected != Expected::NotKnown);
        let expected = match timeout(Self::PATIENCE, known).await {
            Ok(Ok(known)) => known.clone(),
            // The sender is in `self`.
            Ok(Err(_)) | Err(_) => return Err(OtherServer::new(None, found, true)),
        };
        match expected {
            Expected::Server(server) if *server != *found => Err(OtherServer::new(
                Some(server),
                found,
                self.count_elsewhere(),
            )),
            _ => {
                self.0.elsewhere.store(0, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// A connection led elsewhere. Whether it is of no use to open another one.
    fn count_elsewhere(&self) -> bool {
        let many = self.0.elsewhere.fetch_add(1, Ordering::Relaxed) + 1 >= Self::MOST;
        let news = many && !self.0.moved.swap(true, Ordering::Relaxed);
        let Some((context, peer)) = self.0.node.get() else {
            return many;
        };
        if !self.0.told.swap(true, Ordering::Relaxed) {
            context.events.emit(|| Event::SeveralServers {
                peer: Arc::clone(peer),
            });
        }
        if news {
            context.wake.ring();
        }
        many
    }

    /// The check is of a pool of that node.
    pub(crate) fn belongs_to(&self, context: &Arc<Context>, peer: &Arc<Peer>) {
        self.0
            .node
            .get_or_init(|| (Arc::clone(context), Arc::clone(peer)));
    }

    /// The node has told which server it is, or that it does not tell.
    pub(crate) fn set_expected(&self, server: Option<&str>) {
        let expected = match server {
            None => Expected::Any,
            Some(server) => Expected::Server(server.into()),
        };
        self.0.expected.send_if_modified(|known| {
            let news = *known != expected;
            if news {
                *known = expected;
            }
            news
        });
    }

    /// Whether so many connections have led elsewhere since this was last asked that the address has probably moved.
    pub(crate) fn take_moved(&self) -> bool {
        self.0.moved.swap(false, Ordering::Relaxed)
    }
}

impl fmt::Debug for ServerCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCheck").finish_non_exhaustive()
    }
}

/// A connection that was opened for a node's pool leads to another server than the node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherServer {
    expected: Option<Arc<str>>,
    found: Box<str>,
    is_final: bool,
}

impl OtherServer {
    fn new(expected: Option<Arc<str>>, found: &str, is_final: bool) -> Self {
        Self {
            expected,
            found: found.into(),
            is_final,
        }
    }

    /// Whether it is of no use to open another connection now: the node has not told which server it is, or its address
    /// has moved. Otherwise the address leads to several servers, and another connection may lead to the right one.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.is_final
    }
}

impl fmt::Display for OtherServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = &self.found;
        match &self.expected {
            None => write!(
                f,
                "the connection leads to the server {found:?}, and the node has not told yet which it is"
            ),
            Some(expected) => write!(
                f,
                "the connection leads to the server {found:?}, and the node is the server {expected:?}; if its address \
                 leads to several servers, give each of them an address of its own"
            ),
        }
    }
}

impl Error for OtherServer {}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    fn answer(server: &str) -> Answer {
        Answer::from_iter([Some(server.to_owned())])
    }

    #[tokio::test(start_paused = true)]
    async fn connections_wait_until_the_node_has_told_which_server_it_is() {
        let check = ServerCheck::new();
        let early = check.admit(&answer("a")).await.unwrap_err();
        assert!(early.is_final());
        assert!(early.to_string().contains("has not told"), "{early}");
        let waiting = {
            let check = check.clone();
            tokio::spawn(async move { check.admit(&answer("a")).await })
        };
        tokio::task::yield_now().await;
        check.set_expected(Some("a"));
        assert_eq!(waiting.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn one_of_several_servers_is_used_and_others_are_refused() {
        let check = ServerCheck::new();
        check.set_expected(Some("a"));
        for _ in 0..3 * ServerCheck::MOST {
            let other = check.admit(&answer("b")).await.unwrap_err();
            assert!(!other.is_final());
            assert!(other.to_string().contains("\"b\""), "{other}");
            check.admit(&answer("a")).await.unwrap();
        }
        assert!(!check.take_moved());
    }

    #[tokio::test]
    async fn an_address_that_leads_elsewhere_only_has_moved() {
        let check = ServerCheck::new();
        check.set_expected(Some("a"));
        for count in 1..=ServerCheck::MOST {
            assert!(!check.take_moved());
            let other = check.admit(&answer("b")).await.unwrap_err();
            assert_eq!(other.is_final(), count == ServerCheck::MOST);
        }
        assert!(check.take_moved() && !check.take_moved());
        // The pool that takes its place begins anew, and one for another role does not.
        let elsewhere = ServerCheck::new();
        elsewhere.set_expected(Some("b"));
        elsewhere.admit(&answer("b")).await.unwrap();
        assert!(check.again().admit(&answer("b")).await.is_err());
    }

    #[tokio::test]
    async fn servers_that_do_not_tell_are_not_asked() {
        let check = ServerCheck::none();
        assert!(check.question(Dialect::Postgres).is_none());
        assert!(ServerCheck::new().question(Dialect::Sqlite).is_none());
        assert_eq!(check.admit(&Answer::from_iter([None])).await, Ok(()));
    }
}
