//! Where a router's nodes come from, when nobody lists them: sources of node sets, and the task that follows one.
//!
//! | source | what it knows |
//! | --- | --- |
//! | [`Static`] | a list that stays as it is |
//! | [`Dns`] | the addresses of a name, each a node |
//! | [`Standbys`] | PostgreSQL's own view of the standbys that stream from the primary |
//! | [`Aurora`] | Aurora's table of the cluster's instances |
//!
//! A [source](Discover) is given to [`Builder::discover`](crate::Builder::discover). Its first set is there when the
//! router is; after that one task follows it. Who is new takes work once the monitor has met it. Who is no longer
//! there gets no more work, finishes what it has, and is removed. An error changes nothing, and neither does a set
//! without nodes, which is one: the most frequent way to lose all replicas at once is to believe an empty answer.
//! After an error the source is asked again, later and later: see [`Backoff`].
//!
//! The primary is not the source's to remove or to replace. What a source holds for the primary is not added as a
//! replica. Each new node is asked itself, every second until it answers: what is no replica is not added, and neither
//! is a server that is there already, by another address.
//!
//! A node is known by its name. One that an operator [removes](crate::Cluster::remove) comes back with the next set;
//! to keep it out, [disable](crate::Cluster::disable) it.
//!
//! # TLS
//!
//! Sources that find addresses rather than names lead to URLs with addresses in place of names, and a certificate is
//! then verified against the address, which most do not contain. Either the certificates list them, or the chain
//! alone is verified (`sslmode=verify-ca`), or the source is told to name what certificates name:
//! [`Dns::endpoints`], [`Standbys::endpoints`]. tokio-postgres, and so diesel-async, can keep the name for the
//! certificate and take the address from the parameter `hostaddr`. sqlx, and with it SeaORM, cannot: there
//! `hostaddr` takes the name's place.

mod aurora;
mod backoff;
mod dns;
mod endpoint;
mod error;
mod fixed;
mod follow;
mod nodes;
mod opener;
mod pace;
mod roles;
mod servers;
mod standbys;

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll};

use crate::work::BoxFuture;

pub use aurora::{Aurora, Instance};
pub use backoff::Backoff;
pub use dns::{Dns, Resolve, Resolved, SystemResolver};
pub use endpoint::Endpoint;
pub use error::{DiscoverError, DiscoverErrorKind};
pub use fixed::Static;
pub use pace::Pace;
pub use servers::Servers;
pub use standbys::{Standby, Standbys};

pub(crate) use follow::Follower;
pub(crate) use opener::{Opened, Opener};
pub(crate) use roles::{Sorted, sort};

/// Knows which nodes there are, now and from now on: a stream of node sets.
///
/// # Contract
///
/// * The first call completes as soon as the set is known. Each later one completes when there may be another: the
///   source sets its own [pace](Pace), and may return what it returned before.
/// * A set is complete. Who is not in it is let go.
/// * What cannot be found out is an error and never a smaller set. (A set without nodes is taken for one.)
/// * After an error the next call tries again at once: it is the router who waits between two attempts.
/// * The future may be dropped at any time; the next call then starts afresh.
///
/// ```
/// use dbrouter::discover::{Discover, DiscoverError, DiscoverErrorKind, Endpoint, Pace, Servers};
///
/// /// A file with a host in each line.
/// struct Hosts {
///     path: &'static str,
///     pace: Pace,
/// }
///
/// impl Discover for Hosts {
///     async fn next(&mut self, _: &Servers) -> Result<Vec<Endpoint>, DiscoverError> {
///         self.pace.due().await;
///         let text = std::fs::read_to_string(self.path).map_err(|error| {
///             DiscoverError::new(DiscoverErrorKind::Unanswered, self.path).with_source(error)
///         })?;
///         self.pace.rest();
///         Ok(text.lines().map(|host| Endpoint::host(host, None)).collect())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no source of nodes",
    note = "give one of `dbrouter::discover`, or implement `Discover` for it"
)]
pub trait Discover: Send + 'static {
    /// The nodes that there are. `servers` are those that the router knows already, for sources that ask them.
    ///
    /// # Errors
    ///
    /// If the set cannot be found out.
    fn next(
        &mut self,
        servers: &Servers,
    ) -> impl Future<Output = Result<Vec<Endpoint>, DiscoverError>> + Send;
}

/// A source whose type does not matter any more.
pub(crate) trait Source: Send {
    fn next<'a>(
        &'a mut self,
        servers: &'a Servers,
    ) -> BoxFuture<'a, Result<Vec<Endpoint>, DiscoverError>>;
}

impl<D: Discover> Source for D {
    fn next<'a>(
        &'a mut self,
        servers: &'a Servers,
    ) -> BoxFuture<'a, Result<Vec<Endpoint>, DiscoverError>> {
        Box::pin(async move {
            let mut next = pin!(Discover::next(self, servers));
            // A source that panics has failed; the nodes are followed all the same.
            let poll = |cx: &mut Context<'_>| {
                let poll = catch_unwind(AssertUnwindSafe(|| next.as_mut().poll(cx)));
                poll.unwrap_or_else(|_| Poll::Ready(Err(panicked())))
            };
            let set = poll_fn(poll).await?;
            match set.is_empty() {
                true => Err(DiscoverError::empty("there is no node in the set")),
                false => Ok(set),
            }
        })
    }
}

fn panicked() -> DiscoverError {
    DiscoverError::new(DiscoverErrorKind::Unanswered, "the source panicked")
}
