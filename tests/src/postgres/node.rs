use std::{
    fs, io,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, query, query_scalar};
use tokio::time::timeout;

use super::{
    account::Account, binaries::Binaries, replication::conninfo, server::Server, template,
};
use crate::{Failure, Result, wait};

/// The password in every [`Node::url`]. Servers trust anybody; it is there to be found where it
/// leaks.
pub const APP_PASSWORD: &str = "sup3r-secret";

const LOG_LINES_SHOWN: usize = 20;

/// One server of a [`Cluster`](super::Cluster), running or not.
#[derive(Debug)]
pub struct Node {
    name: String,
    port: u16,
    /// The cluster's folder, where `data` and `log` are.
    folder: PathBuf,
    data: PathBuf,
    log: PathBuf,
    binaries: Binaries,
    account: Account,
    server: Mutex<Option<Server>>,
}

impl Node {
    /// A node whose data directory is there and that has not been started.
    pub(super) fn new(
        name: String,
        port: u16,
        folder: PathBuf,
        binaries: Binaries,
        account: Account,
    ) -> Self {
        Self {
            data: folder.join(&name),
            log: folder.join(format!("{name}.log")),
            name,
            port,
            folder,
            binaries,
            account,
            server: Mutex::new(None),
        }
    }

    /// `primary`, `standby-1`, `standby-2` …, after what the node was started as.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its port on 127.0.0.1, the same for as long as the cluster lives.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// For an application: user `app`, no superuser, owner of the database `app`.
    pub fn url(&self) -> String {
        format!("postgres://app:{APP_PASSWORD}@127.0.0.1:{}/app", self.port)
    }

    /// For the fixture: the superuser `postgres`, in the same database.
    pub fn admin_url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/app", self.port)
    }

    /// Connects as the application.
    pub async fn connect(&self) -> Result<PgConnection> {
        self.open(&self.url()).await
    }

    /// Connects as the superuser.
    pub async fn admin(&self) -> Result<PgConnection> {
        self.open(&self.admin_url()).await
    }

    /// Whether it runs, frozen or not, as far as the system is concerned.
    pub fn is_running(&self) -> bool {
        self.server()
            .as_mut()
            .is_some_and(|server| matches!(server.has_ended(), Ok(false)))
    }

    /// The ids of its processes; none when it does not run.
    pub fn processes(&self) -> Vec<i32> {
        let server = self.server();
        server
            .iter()
            .flat_map(Server::processes)
            .map(nix::unistd::Pid::as_raw)
            .collect()
    }

    /// Starts it unless it runs. Returns when it accepts connections.
    pub async fn start(&self) -> Result<()> {
        self.launch()?;
        self.wait_ready().await
    }

    /// Kills all its processes, as a crash of the machine would. Its port refuses connections from
    /// here on.
    pub fn kill(&self) -> Result<()> {
        if let Some(mut server) = self.server().take() {
            server.kill()?;
        }
        Ok(())
    }

    /// Shuts it down as an operator would, fast: clients are disconnected.
    pub async fn stop(&self) -> Result<()> {
        if let Some(server) = self.server().as_ref() {
            server.ask_to_stop()?;
        }
        self.wait_for("be shut down", async || !self.is_running())
            .await?;
        *self.server() = None;
        Ok(())
    }

    /// Shuts it down and starts it again.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// Stops all its processes where they are: connections are accepted by the system, and nothing
    /// answers.
    pub fn freeze(&self) -> Result<()> {
        Ok(self.running(Server::freeze)?)
    }

    /// Undoes [`freeze`](Self::freeze).
    pub fn thaw(&self) -> Result<()> {
        Ok(self.running(Server::thaw)?)
    }

    /// Changes a setting that a reload is enough for. Returns when new connections see it.
    pub async fn set(&self, name: &str, value: &str) -> Result<()> {
        let value = value.replace('\'', "''");
        let mut admin = self.admin().await?;
        let loaded = "SELECT pg_conf_load_time()::text";
        let before: String = query_scalar(loaded).fetch_one(&mut admin).await?;
        // A name has no placeholder of its own; both come from the case.
        let change = format!("ALTER SYSTEM SET {name} = '{value}'");
        query(AssertSqlSafe(change)).execute(&mut admin).await?;
        query("SELECT pg_reload_conf()").execute(&mut admin).await?;
        self.wait_for("reload its configuration", async || {
            // Asked on a new connection each time: it has what the postmaster has loaded.
            let Ok(mut admin) = self.admin().await else {
                return false;
            };
            query_scalar(loaded)
                .fetch_one(&mut admin)
                .await
                .is_ok_and(|now: String| now != before)
        })
        .await
    }

    /// The number of client connections that this role has open here.
    pub async fn backends(&self, role: &str) -> Result<i64> {
        let mut admin = self.admin().await?;
        let count = "SELECT count(*) FROM pg_stat_activity
                     WHERE usename = $1 AND backend_type = 'client backend'
                       AND pid <> pg_backend_pid()";
        Ok(query_scalar(count).bind(role).fetch_one(&mut admin).await?)
    }

    /// The end of what the server has logged.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string());
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// Writes what is its own in its configuration, before its first start.
    pub(super) fn configure(&self, follows: Option<&Node>) -> Result<()> {
        let mut lines = format!("port = {}\n", self.port);
        if let Some(primary) = follows {
            lines.push_str(&format!(
                "primary_conninfo = '{}'\n",
                conninfo(primary, &self.name)
            ));
            self.account.write(&self.data.join("standby.signal"), "")?;
        }
        template::configure(self.account, &self.data, &lines)
    }

    /// Starts its processes, if there are none, and does not wait for them.
    pub(super) fn launch(&self) -> Result<()> {
        if !self.is_running() {
            let (folder, data, log) = (&self.folder, &self.data, &self.log);
            let server = Server::spawn(&self.binaries, self.account, folder, data, log)?;
            *self.server() = Some(server);
        }
        Ok(())
    }

    /// Waits until it accepts connections, unless it ends before.
    pub(super) async fn wait_ready(&self) -> Result<()> {
        let what = "accept connections";
        self.wait_for(what, async || {
            !self.is_running() || self.admin().await.is_ok()
        })
        .await?;
        if self.is_running() {
            Ok(())
        } else {
            Err(self.failure("ended at once").into())
        }
    }

    /// Waits until `question` is answered with yes. `what` completes "it did not …".
    pub(super) async fn wait_for(
        &self,
        what: &str,
        question: impl AsyncFnMut() -> bool,
    ) -> Result<()> {
        if wait::until(question).await {
            Ok(())
        } else {
            Err(self
                .failure(&format!("did not {what} in {:?}", wait::PATIENCE))
                .into())
        }
    }

    async fn open(&self, url: &str) -> Result<PgConnection> {
        match timeout(wait::PATIENCE, PgConnection::connect(url)).await {
            Ok(opened) => Ok(opened?),
            Err(_) => Err(self.failure("did not answer").into()),
        }
    }

    pub(super) fn failure(&self, what: &str) -> Failure {
        Failure::new(format!(
            "{} {what}. Its log ends in:\n{}",
            self.name,
            self.log_tail()
        ))
    }

    fn running(&self, action: impl FnOnce(&Server) -> io::Result<()>) -> io::Result<()> {
        self.server().as_ref().map_or(Ok(()), action)
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
