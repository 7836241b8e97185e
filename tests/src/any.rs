//! A cluster of whichever kind, for cases that are written once.
//!
//! ```no_run
//! # async fn example() -> dbrouter_tests::Result<()> {
//! use dbrouter_tests::any::Kind;
//!
//! for kind in Kind::ALL {
//!     let cluster = kind.start(1).await?;
//!     cluster.primary().execute("CREATE TABLE orders (id int)").await?;
//!     cluster.wait_caught_up().await?;
//!     assert_eq!(cluster.node(1).number("SELECT count(*) FROM orders").await?, 0);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What only one kind has, such as a setting, is found in the variant; what is said here in short
//! is said in full there.

use std::{path::Path, time::Duration};

use sqlx::{AssertSqlSafe, MySqlConnection, PgConnection, Row, raw_sql};

use crate::{
    Failure, Result,
    harness::Need,
    mariadb, postgres,
    server::{Served, StatementCount},
};

/// The kinds of servers that there are fixtures of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// PostgreSQL.
    Postgres,
    /// MariaDB.
    MariaDb,
}

/// A primary and its standbys. Dropped, it is gone, with its files.
#[derive(Debug)]
pub enum Cluster {
    /// Of PostgreSQL.
    Postgres(postgres::Cluster),
    /// Of MariaDB.
    MariaDb(mariadb::Cluster),
}

/// How a [`Cluster`] is to be started.
#[derive(Debug, Clone)]
#[must_use = "nothing is started before `start`"]
pub enum ClusterBuilder {
    /// Of PostgreSQL.
    Postgres(postgres::ClusterBuilder),
    /// Of MariaDB.
    MariaDb(mariadb::ClusterBuilder),
}

/// One server of a [`Cluster`], running or not.
#[derive(Debug, Clone, Copy)]
pub enum Node<'a> {
    /// Of PostgreSQL.
    Postgres(&'a postgres::Node),
    /// Of MariaDB.
    MariaDb(&'a mariadb::Node),
}

/// A connection to a [`Node`].
#[derive(Debug)]
pub enum Connection {
    /// To PostgreSQL.
    Postgres(PgConnection),
    /// To MariaDB.
    MariaDb(MySqlConnection),
}

/// One expression for both variants; with a `->`, its value in the like variant of another enum.
macro_rules! either {
    ($this:expr, $inner:ident => $value:expr) => {
        match $this {
            Self::Postgres($inner) => $value,
            Self::MariaDb($inner) => $value,
        }
    };
    ($this:expr, $inner:ident -> $other:ident($value:expr)) => {
        match $this {
            Self::Postgres($inner) => $other::Postgres($value),
            Self::MariaDb($inner) => $other::MariaDb($value),
        }
    };
}

/// Calls a method that two nodes of the same kind take part in.
macro_rules! both {
    ($this:ident, $other:ident, $inner:ident => $value:expr) => {
        match ($this, $other) {
            (Node::Postgres($inner), Node::Postgres($other)) => $value,
            (Node::MariaDb($inner), Node::MariaDb($other)) => $value,
            _ => Err(Failure::new("these two are servers of different kinds").into()),
        }
    };
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Postgres, Self::MariaDb];

    /// As in the names of cases: `postgres`, `mariadb`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MariaDb => "mariadb",
        }
    }

    /// What a case on it needs.
    pub fn need(self) -> Need {
        match self {
            Self::Postgres => Need::Postgres,
            Self::MariaDb => Need::MariaDb,
        }
    }

    /// Starts a primary and this many standbys.
    pub async fn start(self, standbys: usize) -> Result<Cluster> {
        self.builder().standbys(standbys).start().await
    }

    /// A lone primary, unless told otherwise.
    pub fn builder(self) -> ClusterBuilder {
        match self {
            Self::Postgres => ClusterBuilder::Postgres(postgres::Cluster::builder()),
            Self::MariaDb => ClusterBuilder::MariaDb(mariadb::Cluster::builder()),
        }
    }
}

impl ClusterBuilder {
    /// How many standbys follow the primary. Defaults to none.
    pub fn standbys(self, number: usize) -> Self {
        either!(self, builder -> Self(builder.standbys(number)))
    }

    /// Gives the cluster an identity that no other has. Defaults to what all others have.
    pub fn own_identity(self) -> Self {
        either!(self, builder -> Self(builder.own_identity()))
    }

    /// Sets a line of the configuration on all nodes.
    pub fn setting(self, name: &str, value: &str) -> Self {
        either!(self, builder -> Self(builder.setting(name, value)))
    }

    /// Starts it.
    pub async fn start(self) -> Result<Cluster> {
        Ok(either!(self, builder -> Cluster(builder.start().await?)))
    }
}

impl Cluster {
    /// Which kind it is of.
    pub fn kind(&self) -> Kind {
        self.primary().kind()
    }

    /// The node that was started as the primary, whatever became of it.
    pub fn primary(&self) -> Node<'_> {
        self.node(0)
    }

    /// The nodes that were started as standbys.
    pub fn standbys(&self) -> Vec<Node<'_>> {
        self.nodes().split_off(1)
    }

    /// All nodes, the primary first.
    pub fn nodes(&self) -> Vec<Node<'_>> {
        match self {
            Self::Postgres(cluster) => cluster.nodes().iter().map(Node::Postgres).collect(),
            Self::MariaDb(cluster) => cluster.nodes().iter().map(Node::MariaDb).collect(),
        }
    }

    /// The primary is 0; standbys count from 1, as in their names.
    ///
    /// # Panics
    ///
    /// There must be such a node.
    pub fn node(&self, number: usize) -> Node<'_> {
        either!(self, cluster -> Node(cluster.node(number)))
    }

    /// Where its files are, for as long as it lives.
    pub fn folder(&self) -> &Path {
        either!(self, cluster => cluster.folder())
    }

    /// Waits until every standby that runs shows what the primary has acknowledged so far.
    pub async fn wait_caught_up(&self) -> Result<()> {
        either!(self, cluster => cluster.wait_caught_up().await)
    }
}

impl<'a> Node<'a> {
    /// Which kind it is of.
    pub fn kind(self) -> Kind {
        match self {
            Self::Postgres(_) => Kind::Postgres,
            Self::MariaDb(_) => Kind::MariaDb,
        }
    }

    /// `primary`, `standby-1`, `standby-2` …, after what the node was started as.
    pub fn name(self) -> &'a str {
        either!(self, node => node.name())
    }

    /// Its port on 127.0.0.1.
    pub fn port(self) -> u16 {
        either!(self, node => node.port())
    }

    /// For an application.
    pub fn url(self) -> String {
        either!(self, node => node.url())
    }

    /// For the fixture.
    pub fn admin_url(self) -> String {
        either!(self, node => node.admin_url())
    }

    /// Connects as the application.
    pub async fn connect(self) -> Result<Connection> {
        Ok(either!(self, node -> Connection(node.connect().await?)))
    }

    /// Connects as the superuser.
    pub async fn admin(self) -> Result<Connection> {
        Ok(either!(self, node -> Connection(node.admin().await?)))
    }

    /// Executes statements as the application.
    pub async fn execute(self, statements: &str) -> Result<()> {
        self.connect().await?.execute(statements).await
    }

    /// Asks for a number as the superuser.
    pub async fn number(self, question: &str) -> Result<i64> {
        self.admin().await?.number(question).await
    }

    /// Whether it runs, frozen or not, as far as the system is concerned.
    pub fn is_running(self) -> bool {
        either!(self, node => node.is_running())
    }

    /// The ids of its processes; none when it does not run.
    pub fn processes(self) -> Vec<i32> {
        either!(self, node => node.processes())
    }

    /// Starts it unless it runs. Returns when it accepts connections.
    pub async fn start(self) -> Result<()> {
        either!(self, node => node.start().await)
    }

    /// Kills all its processes, as a crash of the machine would.
    pub fn kill(self) -> Result<()> {
        either!(self, node => node.kill())
    }

    /// Shuts it down as an operator would.
    pub async fn stop(self) -> Result<()> {
        either!(self, node => node.stop().await)
    }

    /// Shuts it down and starts it again.
    pub async fn restart(self) -> Result<()> {
        either!(self, node => node.restart().await)
    }

    /// Stops all its processes where they are.
    pub fn freeze(self) -> Result<()> {
        either!(self, node => node.freeze())
    }

    /// Undoes [`freeze`](Self::freeze).
    pub fn thaw(self) -> Result<()> {
        either!(self, node => node.thaw())
    }

    /// Changes a setting while it runs. Returns when new connections see it.
    pub async fn set(self, name: &str, value: &str) -> Result<()> {
        either!(self, node => node.set(name, value).await)
    }

    /// The number of client connections that this user has open here.
    pub async fn backends(self, user: &str) -> Result<i64> {
        either!(self, node => node.backends(user).await)
    }

    /// The end of what the server has logged.
    pub fn log_tail(self) -> String {
        either!(self, node => node.log_tail())
    }

    /// Makes a standby stale: it receives, but shows nothing new.
    pub async fn pause_replay(self) -> Result<()> {
        either!(self, node => node.pause_replay().await)
    }

    /// Undoes [`pause_replay`](Self::pause_replay).
    pub async fn resume_replay(self) -> Result<()> {
        either!(self, node => node.resume_replay().await)
    }

    /// Makes a standby show each commit this much later than it was made.
    pub async fn set_apply_delay(self, delay: Duration) -> Result<()> {
        either!(self, node => node.set_apply_delay(delay).await)
    }

    /// Makes a primary of a standby. Returns when it accepts writes.
    pub async fn promote(self) -> Result<()> {
        either!(self, node => node.promote().await)
    }

    /// Makes a standby follow another primary of the same cluster.
    pub async fn follow(self, primary: Node<'_>) -> Result<()> {
        both!(self, primary, node => node.follow(primary).await)
    }

    /// Makes a primary that was stopped come back as a standby of the one that was promoted since.
    pub async fn rejoin(self, primary: Node<'_>) -> Result<()> {
        both!(self, primary, node => node.rejoin(primary).await)
    }

    /// Throws away what it has and takes what another has. Neither may run.
    pub async fn copy(self, other: Node<'_>) -> Result<()> {
        both!(self, other, node => node.copy(other).await)
    }

    /// Copies its disk, for [`set_back`](Self::set_back). It may not run.
    pub async fn take_snapshot(self) -> Result<()> {
        either!(self, node => node.take_snapshot().await)
    }

    /// Sets its disk back to the last [snapshot](Self::take_snapshot). It may not run.
    pub async fn set_back(self) -> Result<()> {
        either!(self, node => node.set_back().await)
    }

    /// Waits until this standby shows every write that `primary` has acknowledged so far.
    pub async fn catch_up_with(self, primary: Node<'_>) -> Result<()> {
        both!(self, primary, node => node.catch_up_with(primary).await)
    }

    /// What the application made this server do to `table`.
    pub async fn served(self, table: &str) -> Result<Served> {
        either!(self, node => node.served(table).await)
    }

    /// All that this server has executed for the application, most frequent first.
    pub async fn statement_counts(self) -> Result<Vec<StatementCount>> {
        either!(self, node => node.statement_counts().await)
    }

    /// Counts from zero again.
    pub async fn forget_served(self) -> Result<()> {
        either!(self, node => node.forget_served().await)
    }
}

impl Connection {
    /// Executes statements, several of them if they are parted by `;`.
    pub async fn execute(&mut self, statements: &str) -> Result<()> {
        either!(self, connection => {
            raw_sql(AssertSqlSafe(statements)).execute(connection).await?;
        });
        Ok(())
    }

    /// The one integer that answers a question, whatever its type in the server's language.
    pub async fn number(&mut self, question: &str) -> Result<i64> {
        either!(self, connection => {
            let row = raw_sql(AssertSqlSafe(question)).fetch_one(connection).await?;
            Ok(row.try_get_unchecked(0)?)
        })
    }

    /// Rows of integers.
    pub async fn numbers<const N: usize>(&mut self, question: &str) -> Result<Vec<[i64; N]>> {
        either!(self, connection => {
            let rows = raw_sql(AssertSqlSafe(question)).fetch_all(connection).await?;
            let numbers = rows.iter().map(|row| {
                let mut numbers = [0; N];
                for (column, number) in numbers.iter_mut().enumerate() {
                    *number = row.try_get_unchecked(column)?;
                }
                Ok(numbers)
            });
            numbers.collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cases spawn these. Compiling it is the test.
    #[test]
    fn futures_are_send() {
        fn sends(_: impl Send) {}
        fn all(cluster: &Cluster, node: Node<'_>, mut connection: Connection) {
            sends(node.kind().start(1));
            sends(cluster.wait_caught_up());
            sends(node.connect());
            sends(node.execute(""));
            sends(node.number(""));
            sends(node.start());
            sends(node.restart());
            sends(node.set("", ""));
            sends(node.backends(""));
            sends(node.pause_replay());
            sends(node.resume_replay());
            sends(node.set_apply_delay(Duration::ZERO));
            sends(node.promote());
            sends(node.follow(node));
            sends(node.rejoin(node));
            sends(node.copy(node));
            sends(node.take_snapshot());
            sends(node.set_back());
            sends(node.catch_up_with(node));
            sends(node.served(""));
            sends(node.statement_counts());
            sends(node.forget_served());
            sends(connection.execute(""));
            sends(connection.number(""));
        }
        let _compiled: fn(&Cluster, Node<'_>, Connection) = all;
    }
}
