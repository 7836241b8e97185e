//! What holds for all work that begins inside: a session, where reads go, and that nothing is written.
//!
//! | inside | is |
//! | --- | --- |
//! | [`with_session`] | every statement of the root handle part of one session |
//! | [`with_replica`] | every read on one and the same replica, whatever the policy |
//! | [`with_primary`] | every read on the primary |
//! | [`without_writes`] | every write an error, which no server sees |
//!
//! So code that is handed `&db` need not know where it is called from. (Adapters re-export these functions, with
//! a `with_session` that takes their own kind of session, and attributes for functions that are scopes as a
//! whole: `#[on_replica]`, `#[on_primary]` and `#[without_writes]`, here under the feature `macros`.)
//!
//! # How scopes nest
//!
//! What a scope does not say holds as in the scope around it; that is the one in which it is first polled. What it
//! says ends with it: when its future has returned, by `?` or otherwise, has panicked or has been dropped, all is
//! as it was before.
//!
//! * Of a preference the innermost scope is heard: [`with_primary`] inside [`with_replica`] reads from the primary,
//!   and after it the replica is there again. A handle that states a preference of its own
//!   (`db.preference(…)`) keeps it.
//! * Of two sessions of one router the innermost one is used. A handle that has a session of its own keeps it; all
//!   else that a scope says holds for its work, too. Sessions of two routers do not hide each other.
//! * A prohibition stays: nothing inside of [`without_writes`] lifts it.
//!
//! A scope concerns work that *begins* inside, on `&db`, a session, or any other handle. A connection, transaction
//! or stream keeps to what held when it was begun, wherever it is used.
//!
//! # Tasks
//!
//! A scope is its future's, and what that awaits. A task of its own is outside: [`spawn`] takes a scope along, and
//! the `spawn` of Tokio does not.
//!
//! ```
//! use dbrouter::scope::{self, with_replica};
//!
//! # async fn report() {}
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tokio::task::JoinError> {
//! with_replica(async {
//!     scope::spawn(report()).await?; // inside: on the same replica
//!     tokio::spawn(report()).await // outside: as if there were no scope
//! })
//! .await
//! # }
//! ```
//!
//! | | is |
//! | --- | --- |
//! | `join!`, `select!`, streams of futures | inside: they are polled where they stand. Each branch may have scopes of its own |
//! | [`spawn`] | inside, and stays so when the scope around it has ended |
//! | [`carry`], then `JoinSet::spawn`, `Handle::block_on` and the like | inside |
//! | `tokio::spawn`, `JoinSet::spawn` | outside |
//! | `tokio::task::spawn_blocking`, threads | outside |
//! | a stream of rows that is made inside, polled outside | inside if its work has begun (see its adapter), otherwise outside |
//! | a future that is made inside, polled outside | outside |

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context as Polling, Poll};

use pin_project_lite::pin_project;
use tokio::task::JoinHandle;

use crate::context::Context;
use crate::request::Request;
use crate::session::SessionState;
use crate::vocabulary::Preference;

tokio::task_local! {
    static HERE: Arc<Frame>;
}

/// All that holds at one place in the code: what its scope says, and what that has inherited. So nobody has to
/// look further.
#[derive(Clone, Default)]
pub(crate) struct Frame {
    /// Routers are told apart, so that an application with two databases may be inside a session of each.
    sessions: Option<Arc<Sessions>>,
    /// What reads are bound by that have no session, if they are bound to a replica.
    bound: Option<Arc<Branches>>,
    preference: Option<Preference>,
    writes: Writes,
}

/// A session, and those of the scopes around it.
struct Sessions {
    innermost: SessionState,
    outer: Option<Arc<Sessions>>,
}

/// One router's branch of its root session, and those of other routers: made when they are first needed, and
/// as many as there are routers in use, which are few.
#[derive(Default)]
struct Branches(OnceLock<(SessionState, Box<Branches>)>);

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Writes {
    #[default]
    Allowed,
    Forbidden,
}

/// Runs `future` inside `session`: the root handle of the session's router then uses this session
/// instead of its own. See the [module](self) for how scopes nest. A task that `future` spawns is outside,
/// unless it does so by [`spawn`].
///
/// Adapters offer this with their own session type.
pub fn with_session<F: Future>(
    session: SessionState,
    future: F,
) -> impl Future<Output = F::Output> {
    Scope::new(Says::Session(session), future)
}

/// Runs `future` with all its reads on one replica, whatever the policy: its session's, or where there is no
/// session one of the scope's own. A handle that states a preference keeps it.
///
/// Nothing is weakened by that. While the replica does not show what must be seen the read goes to another that
/// does, or to the primary, as with [`Preference::ReplicaPreferred`]. Without a session, what must be seen is what
/// the root handle has written, in this process and until that moment, and what the scope has read; and what is
/// written inside the root handle sees afterwards.
///
/// ```
/// use dbrouter::scope::with_replica;
///
/// # async fn total(_: &str) -> Result<i64, std::io::Error> { Ok(0) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), std::io::Error> {
/// // All on one replica, so that the sums are about one state of the database, or nearly so.
/// let sales = with_replica(async {
///     let (orders, returns) = (total("orders").await?, total("returns").await?);
///     Ok::<_, std::io::Error>(orders - returns)
/// });
/// assert_eq!(sales.await?, 0);
/// # Ok(())
/// # }
/// ```
pub fn with_replica<F: Future>(future: F) -> impl Future<Output = F::Output> {
    Scope::new(Says::Replica, future)
}

/// Runs `future` with all its reads on the primary, but for those of a handle that states a preference of its own.
///
/// For code that checks before it writes, and for what must see what *others* have just written.
pub fn with_primary<F: Future>(future: F) -> impl Future<Output = F::Output> {
    Scope::new(Says::Primary, future)
}

/// Runs `future`, in which nothing may be written: a write is refused before any server sees it, with a
/// [`RouteError`](crate::RouteError) whose reason is [`WritesForbidden`](crate::WhyNot::WritesForbidden).
///
/// A write is whatever would go to the primary as one: a statement that is not surely a read, a transaction that
/// is not read-only, a connection to write to. If a replica refuses what was taken for a read, it does not go to
/// the primary. What is stated to be a read, and what is taken for one, runs on connections on which the server refuses
/// writes, on the primary as well: see [`Backend::acquire_read_only`](crate::Backend::acquire_read_only).
///
/// For handlers that must not change anything, and for tests that say so.
pub fn without_writes<F: Future>(future: F) -> impl Future<Output = F::Output> {
    Scope::new(Says::NoWrites, future)
}

/// Spawns a task that is inside the scopes of this place: its session, its replica, its prohibition. They stay
/// the task's also when they have ended here. (What `tokio::spawn` spawns is outside.)
///
/// # Panics
///
/// As `tokio::spawn`, outside of a Tokio runtime.
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(carry(future))
}

/// The same future inside the scopes of this place, wherever it is polled: for a `JoinSet`, for `block_on` in a
/// thread that may block, and for whatever else [`spawn`] does not do.
///
/// Where it is polled inside of [`without_writes`], that holds as well.
pub fn carry<F: Future>(future: F) -> impl Future<Output = F::Output> {
    Scope::new(Says::All(Frame::here()), future)
}

pin_project! {
    /// A future in a scope. (An `async fn` would hold its future twice, and scopes in scopes many times.)
    struct Scope<F> {
        #[pin]
        future: F,
        says: Says,
        // Found out when it is first polled: then it is known what is around it.
        frame: Option<Arc<Frame>>,
    }
}

/// What a scope says.
enum Says {
    Session(SessionState),
    Replica,
    Primary,
    NoWrites,
    /// All that held somewhere else.
    All(Arc<Frame>),
}

impl<F> Scope<F> {
    fn new(says: Says, future: F) -> Self {
        Self {
            future,
            says,
            frame: None,
        }
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Polling<'_>) -> Poll<F::Output> {
        let this = self.project();
        let says = this.says;
        let frame = this.frame.get_or_insert_with(|| Frame::here().and(says));
        HERE.sync_scope(Arc::clone(frame), || this.future.poll(cx))
    }
}

impl Frame {
    /// What holds here.
    fn here() -> Arc<Self> {
        HERE.try_with(Arc::clone).unwrap_or_default()
    }

    /// What holds in a scope that says this.
    fn and(&self, says: &Says) -> Arc<Self> {
        let mut frame = self.clone();
        match says {
            Says::Session(session) => {
                frame.sessions = Some(Arc::new(Sessions {
                    innermost: session.clone(),
                    outer: frame.sessions,
                }));
            }
            Says::Replica => {
                frame.preference = Some(Preference::ReplicaPreferred);
                frame.bound.get_or_insert_default();
            }
            Says::Primary => frame.preference = Some(Preference::Primary),
            Says::NoWrites => frame.writes = Writes::Forbidden,
            Says::All(carried) => {
                frame = Self::clone(carried);
                if self.writes == Writes::Forbidden {
                    frame.writes = Writes::Forbidden;
                }
            }
        }
        Arc::new(frame)
    }

    /// The session of work that begins here on a handle without one, and what its request is here. `root` is the
    /// router's root session.
    pub(crate) fn enter(
        context: &Arc<Context>,
        root: &SessionState,
        request: &mut Request,
    ) -> SessionState {
        let entered = HERE.try_with(|frame| {
            frame.amend(request);
            frame.session(context, root).clone()
        });
        entered.unwrap_or_else(|_| root.clone())
    }

    /// What the request of a handle with a session of its own is here.
    pub(crate) fn enter_with_session(request: &mut Request) {
        // Outside of all scopes nothing is amended.
        HERE.try_with(|frame| frame.amend(request)).ok();
    }

    /// The session that is used here without one of one's own.
    pub(crate) fn current(context: &Arc<Context>, root: &SessionState) -> SessionState {
        let current = HERE.try_with(|frame| frame.session(context, root).clone());
        current.unwrap_or_else(|_| root.clone())
    }

    #[inline]
    fn amend(&self, request: &mut Request) {
        if let Some(preference) = self.preference {
            request.prefer(preference);
        }
        if self.bound.is_some() {
            request.bind();
        }
        if self.writes == Writes::Forbidden {
            request.forbid_writes();
        }
    }

    #[inline]
    fn session<'a>(&'a self, context: &Arc<Context>, root: &'a SessionState) -> &'a SessionState {
        let mut next = self.sessions.as_deref();
        while let Some(sessions) = next {
            if sessions.innermost.belongs_to(context) {
                return &sessions.innermost;
            }
            next = sessions.outer.as_deref();
        }
        match &self.bound {
            Some(branches) => branches.of(context, root),
            None => root,
        }
    }
}

impl Branches {
    /// The branch of this router's root session.
    fn of(&self, context: &Arc<Context>, root: &SessionState) -> &SessionState {
        let mut branches = self;
        loop {
            let branch = || (root.branch(), Box::default());
            let (session, others) = branches.0.get_or_init(branch);
            if session.belongs_to(context) {
                return session;
            }
            branches = others;
        }
    }
}
