//! What the fixtures of all kinds of servers have in common.
//!
//! A kind is what implements [`Installation`], and its module names the types of here after itself:
//! [`postgres::Node`](crate::postgres::Node) is a [`Node`] of PostgreSQL, with what only PostgreSQL
//! can do, or does in its own way, in further methods.
//!
//! | file | subject |
//! | --- | --- |
//! | `account` | the user of the system that servers run as |
//! | `binaries` | where servers are installed |
//! | `home` | where their files live, and who holds which ports |
//! | `template` | the data directory that every node starts from |
//! | `process` | one server's processes: started, signalled, and never left behind |
//! | `node` | one server, as a case sees it |
//! | `served` | what a server says that it did |
//! | `cluster` | several of them |

mod account;
pub(crate) mod binaries;
mod cluster;
mod home;
mod node;
mod process;
mod served;
pub(crate) mod template;

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use nix::sys::signal::Signal;
use sqlx::Database;

pub(crate) use account::Account;
pub use binaries::Missing;
pub use cluster::{Cluster, ClusterBuilder};
pub use home::Home;
pub(crate) use home::Plot;
pub use node::{APP_PASSWORD, Node};
pub(crate) use process::Server;
pub use served::{Served, StatementCount};

use crate::Result;

/// A kind of database server, by where it is installed: what it does in its own way, as far as
/// [`Node`] and [`Cluster`] depend on it.
pub trait Installation: fmt::Debug + Clone + Send + Sync + 'static {
    /// How sqlx speaks to it.
    type Database: Database;

    /// The scheme of its URLs.
    const SCHEME: &'static str;

    /// The superuser that the fixture works as, without a password.
    const ADMIN: &'static str;

    /// The file in the data directory that has the configuration.
    const CONFIGURATION: &'static str;

    /// What asks a server for a fast shutdown: clients are disconnected, the log is written to its
    /// end.
    const STOP: Signal;

    /// Looks for one on this machine.
    fn find() -> Result<Self, Missing>;

    /// The command that is the server of a node, about to be run.
    fn server(&self, node: &Node<Self>) -> Result<Command>;

    /// A line of the configuration.
    fn setting(name: &str, value: &str) -> String;

    /// Makes the data directories of a cluster.
    fn lay_out(&self, layout: &Layout<'_, Self>) -> Result<()>;

    /// Whether the server answers this question with yes; an error is a no.
    fn holds(
        connection: &mut <Self::Database as Database>::Connection,
        question: &str,
    ) -> impl Future<Output = bool> + Send;

    /// Has the standbys of a cluster replicate, where they do not by their configuration. All nodes
    /// accept connections. Returns when all receive what the primary sends.
    fn replicate(cluster: &Cluster<Self>) -> impl Future<Output = Result<()>> + Send;

    /// A position in the log of the primary that this connects to: a standby that has replayed it
    /// shows every write that was acknowledged so far.
    fn position(
        primary: &mut <Self::Database as Database>::Connection,
    ) -> impl Future<Output = Result<String>> + Send;

    /// The question whether a standby has replayed such a position.
    fn has_replayed(position: &str) -> String;

    /// All that the node has executed for the application, most frequent first.
    fn statement_counts(
        node: &Node<Self>,
    ) -> impl Future<Output = Result<Vec<StatementCount>>> + Send;
}

/// What the data directories of a cluster are to be.
#[derive(Debug)]
pub struct Layout<'a, I: Installation> {
    pub(crate) home: &'a Home,
    /// Whether it is to be told from all other clusters.
    pub(crate) own_identity: bool,
    /// Lines for the configuration of all nodes.
    pub(crate) settings: &'a str,
    /// The primary first. None has been started.
    pub(crate) nodes: &'a [Node<I>],
}

impl<I: Installation> Layout<'_, I> {
    /// The data directories, the primary's first.
    pub(crate) fn data(&self) -> Vec<PathBuf> {
        let data = self.nodes.iter().map(Node::data);
        data.map(Path::to_owned).collect()
    }
}
