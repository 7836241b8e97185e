//! MariaDB: a primary and its replicas by GTID, on loopback ports, in memory where there is some.
//!
//! The same as for [PostgreSQL](crate::postgres), under the same names, so a replica is a `standby`
//! here, too. What differs is said where it does.
//!
//! ```no_run
//! # async fn example() -> dbrouter_tests::Result<()> {
//! use dbrouter_tests::mariadb::Cluster;
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
//! | `binaries` | where MariaDB is installed |
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
use sqlx::{AssertSqlSafe, MySql, MySqlConnection, Row, query_scalar, raw_sql};

pub use crate::server::{APP_PASSWORD, Missing, Served, StatementCount};
pub use binaries::Binaries;

use crate::{
    Result,
    server::{self, Installation, Layout},
};

/// One server of a [`Cluster`], running or not.
pub type Node = server::Node<Binaries>;

/// A primary and its replicas. Dropped, it is gone, with its files.
pub type Cluster = server::Cluster<Binaries>;

/// How a [`Cluster`] is to be started.
pub type ClusterBuilder = server::ClusterBuilder<Binaries>;

impl Installation for Binaries {
    type Database = MySql;

    const SCHEME: &'static str = "mysql";
    const ADMIN: &'static str = "admin";
    const CONFIGURATION: &'static str = "my.cnf";
    const STOP: Signal = Signal::SIGTERM;

    fn find() -> Result<Self, Missing> {
        Self::find()
    }

    fn server(&self, node: &Node) -> Result<Command> {
        // As in PostgreSQL, a server that starts has served nothing.
        served::forget(node)?;
        Ok(template::command(self.mariadbd(), node.data()))
    }

    fn setting(name: &str, value: &str) -> String {
        let value = value.replace('\\', r"\\").replace('"', "\\\"");
        format!("{name} = \"{value}\"")
    }

    fn lay_out(&self, layout: &Layout<'_, Self>) -> Result<()> {
        template::lay_out(self, layout)
    }

    async fn holds(connection: &mut MySqlConnection, question: &str) -> bool {
        number(connection, question)
            .await
            .is_ok_and(|answer| answer == 1)
    }

    async fn replicate(cluster: &Cluster) -> Result<()> {
        for standby in cluster.standbys() {
            standby.follow(cluster.primary()).await?;
        }
        Ok(())
    }

    async fn position(primary: &mut MySqlConnection) -> Result<String> {
        // A write is in the binary log before it is acknowledged.
        Ok(query_scalar("SELECT @@gtid_binlog_pos")
            .fetch_one(primary)
            .await?)
    }

    fn has_replayed(position: &str) -> String {
        // Asked again and again, as no server stops to wait when nobody waits for its answer.
        format!("SELECT MASTER_GTID_WAIT('{position}', 0) = 0")
    }

    async fn statement_counts(node: &Node) -> Result<Vec<StatementCount>> {
        served::statement_counts(node).await
    }
}

/// The one number that answers a question, whatever type of integer the server gives it.
async fn number(connection: &mut MySqlConnection, question: &str) -> Result<i64, sqlx::Error> {
    let row = raw_sql(AssertSqlSafe(question))
        .fetch_one(connection)
        .await?;
    row.try_get_unchecked(0)
}
