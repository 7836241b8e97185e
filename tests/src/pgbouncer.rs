//! PgBouncer: a pooler in front of each node of a cluster of PostgreSQL.
//!
//! ```no_run
//! # async fn example() -> dbrouter_tests::Result<()> {
//! use dbrouter_tests::pgbouncer::{Lends, PgBouncer};
//! use dbrouter_tests::postgres::Cluster;
//!
//! let cluster = Cluster::start(1).await?;
//! let pooler = PgBouncer::builder(Lends::Transactions).start(cluster.primary().port()).await?;
//! println!("{}", pooler.url());
//! # Ok(())
//! # }
//! ```

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use sqlx::{Connection, PgConnection};

use crate::postgres::APP_PASSWORD;
use crate::server::binaries::{self, Search};
use crate::server::{Account, Home, Missing, Plot, Server};
use crate::{Failure, Result, wait};

/// For how long a client has a server's connection: `pool_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lends {
    /// Until the client leaves.
    Sessions,
    /// Until the transaction ends.
    Transactions,
}

/// A PgBouncer in front of one node. Dropped, it is gone, with its files.
#[derive(Debug)]
pub struct PgBouncer {
    /// Dropped before the ground that it stands on.
    _server: Server,
    plot: Plot,
}

/// How a [`PgBouncer`] is to be started.
#[derive(Clone, Debug)]
#[must_use = "nothing is started before `start`"]
pub struct Builder {
    settings: String,
}

/// Where PgBouncer is installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binary(PathBuf);

impl Binary {
    /// Looks in `PGBOUNCER_BIN` and nowhere else if that is set, which names the folder of `pgbouncer`; otherwise along
    /// `PATH`, then where distributions put it.
    pub fn find() -> Result<Self, Missing> {
        let search = Search {
            server: "PgBouncer",
            variable: "PGBOUNCER_BIN",
            programs: &["pgbouncer"],
            initialiser: None,
        };
        let installed = ["/usr/sbin", "/opt/homebrew/bin", "/usr/local/bin"];
        search.run(installed.into_iter().map(PathBuf::from), |folder: &Path| {
            let program = folder.join("pgbouncer");
            binaries::version(&program).map(|_| Self(program))
        })
    }
}

impl PgBouncer {
    /// One that lends connections for so long, and takes of startup parameters what it must to let sqlx in:
    /// `extra_float_digits`.
    pub fn builder(lends: Lends) -> Builder {
        let mode = match lends {
            Lends::Sessions => "session",
            Lends::Transactions => "transaction",
        };
        let settings = Builder {
            settings: String::new(),
        };
        settings
            .setting("pool_mode", mode)
            .setting("ignore_startup_parameters", "extra_float_digits")
    }

    /// For an application, as a node's own URL.
    pub fn url(&self) -> String {
        let port = self.plot.ports()[0];
        format!("postgres://app:{APP_PASSWORD}@127.0.0.1:{port}/app")
    }
}

impl Builder {
    /// Sets a line of its configuration. The last of the same name is what counts.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        // Writing to a string cannot fail.
        writeln!(self.settings, "{name} = {value}").ok();
        self
    }

    /// Starts it in front of the server at that port. Returns when it lets the application in.
    pub async fn start(self, target: u16) -> Result<PgBouncer> {
        let pooler = tokio::task::spawn_blocking(move || self.launch(target)).await??;
        let url = pooler.url();
        // It names what it does not take, if that is a parameter, and is there all the same.
        let is_there = wait::until(async || match PgConnection::connect(&url).await {
            Ok(_) => true,
            Err(error) => error.as_database_error().is_some(),
        });
        match is_there.await {
            true => Ok(pooler),
            false => Err(Failure::new("PgBouncer does not accept connections").into()),
        }
    }

    fn launch(self, target: u16) -> Result<PgBouncer> {
        let Binary(program) = Binary::find()?;
        let account = Account::find()?;
        let plot = Home::open(account)?.take_plot(1)?;
        let folder = plot.folder();
        let (configuration, users) = (folder.join("pgbouncer.ini"), folder.join("users.txt"));
        let lines = format!(
            "[databases]\n\
             app = host=127.0.0.1 port={target} dbname=app\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {}\n\
             unix_socket_dir =\n\
             auth_type = trust\n\
             auth_file = {}\n\
             server_login_retry = 0.1\n\
             {}",
            plot.ports()[0],
            users.display(),
            self.settings
        );
        account.write(&configuration, &lines)?;
        account.write(&users, &format!("\"app\" \"{APP_PASSWORD}\"\n"))?;
        let mut command = Command::new(program);
        command.arg(&configuration);
        let log = folder.join("pgbouncer.log");
        let server = Server::spawn(&command, account, folder, folder, &log)?;
        Ok(PgBouncer {
            _server: server,
            plot,
        })
    }
}
