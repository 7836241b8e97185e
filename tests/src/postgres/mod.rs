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
//! | `account` | the user of the system that servers run as |
//! | `home` | where their files live, and who holds which ports |
//! | `template` | the data directory that every node starts from |
//! | `server` | one server's processes: started, signalled, and never left behind |
//! | `node` | one server, as a case sees it |
//! | `replication` | what can be done to it as a standby, and to make a primary of it |
//! | `served` | what a server says that it did |
//! | `cluster` | several of them |

mod account;
mod binaries;
mod cluster;
mod home;
mod node;
mod replication;
mod served;
mod server;
mod template;

pub use binaries::{Binaries, Missing};
pub use cluster::{Cluster, ClusterBuilder};
pub use node::{APP_PASSWORD, Node};
pub use served::{Served, StatementCount};
