//! PostgreSQL: a primary and its streaming standbys, on loopback ports, in memory where there is
//! some.
//!
//! ```no_run
//! # async fn example() -> dbrouter_tests::Result<()> {
//! use dbrouter_tests::postgres::Cluster;
//!
//! let cluster = Cluster::start(2).await?;
//! let mut app = cluster.primary().connect().await?;
//! sqlx::query("CREATE TABLE orders (id int)").execute(&mut app).await?;
//! cluster.wait_caught_up().await?;
//!
//! cluster.node(1).pause_replay().await?; // stale from here on
//! cluster.node(2).kill()?; // refuses connections from here on
//! # Ok(())
//! # }
//! ```
//!
//! | file | subject |
//! | --- | --- |
//! | `binaries` | where PostgreSQL is installed |
//! | `template` | the data directory that every node starts from |
//! | `settings` | what can be changed and asked while a node runs |
//! | `replication` | what can be done to it as a standby, and to make a primary of it |
//! | `served` | what a server says that it did |
//!
//! All else is common to all kinds of servers: [`server`].

mod binaries;
mod replication;
mod served;
mod settings;
mod template;

use std::process::Command;

use nix::sys::signal::Signal;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, query_scalar};

pub use crate::server::{APP_PASSWORD, Missing, Served, StatementCount};
pub use binaries::Binaries;

use crate::{
    Result,
    server::{self, Installation, Layout},
};

/// One server of a [`Cluster`], running or not.
pub type Node = server::Node<Binaries>;

/// A primary and its streaming standbys. Dropped, it is gone, with its files.
pub type Cluster = server::Cluster<Binaries>;

/// How a [`Cluster`] is to be started.
pub type ClusterBuilder = server::ClusterBuilder<Binaries>;

impl Installation for Binaries {
    type Database = Postgres;

    const SCHEME: &'static str = "postgres";
    const ADMIN: &'static str = "postgres";
    const CONFIGURATION: &'static str = "postgresql.conf";
    const STOP: Signal = Signal::SIGINT;

    fn find() -> Result<Self, Missing> {
        Self::find()
    }

    fn server(&self, node: &Node) -> Result<Command> {
        let mut command = Command::new(self.postgres());
        command.arg("-D").arg(node.data());
        Ok(command)
    }

    fn setting(name: &str, value: &str) -> String {
        format!("{name} = '{}'", value.replace('\'', "''"))
    }

    fn lay_out(&self, layout: &Layout<'_, Self>) -> Result<()> {
        template::lay_out(self, layout)
    }

    async fn holds(connection: &mut PgConnection, question: &str) -> bool {
        query_scalar(AssertSqlSafe(question))
            .fetch_one(connection)
            .await
            .unwrap_or(false)
    }

    async fn replicate(cluster: &Cluster) -> Result<()> {
        replication::wait_streaming(cluster).await
    }

    async fn position(primary: &mut PgConnection) -> Result<String> {
        replication::position(primary).await
    }

    fn has_replayed(position: &str) -> String {
        format!("SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn")
    }

    async fn statement_counts(node: &Node) -> Result<Vec<StatementCount>> {
        served::statement_counts(node).await
    }
}
