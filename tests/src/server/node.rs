use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use sqlx::{Connection as _, Database};
use tokio::time::timeout;

use super::{Installation, Served, StatementCount, account::Account, process::Server};
use crate::{Failure, Result, wait};

/// The password in every [`Node::url`]. PostgreSQL trusts anybody; it is there to be found where it
/// leaks.
pub const APP_PASSWORD: &str = "sup3r-secret";

const LOG_LINES_SHOWN: usize = 20;

type Connection<I> = <<I as Installation>::Database as Database>::Connection;

/// One server of a [`Cluster`](super::Cluster), running or not.
#[derive(Debug)]
pub struct Node<I: Installation> {
    name: String,
    port: u16,
    /// The cluster's folder, where `data` and `log` are.
    folder: PathBuf,
    data: PathBuf,
    log: PathBuf,
    binaries: I,
    account: Account,
    server: Mutex<Option<Server>>,
}

impl<I: Installation> Node<I> {
    /// A node whose data directory is there and that has not been started.
    pub(crate) fn new(
        name: String,
        port: u16,
        folder: PathBuf,
        binaries: I,
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
        let (scheme, port) = (I::SCHEME, self.port);
        format!("{scheme}://app:{APP_PASSWORD}@127.0.0.1:{port}/app")
    }

    /// For the fixture: the superuser, in the same database.
    pub fn admin_url(&self) -> String {
        let (scheme, admin, port) = (I::SCHEME, I::ADMIN, self.port);
        format!("{scheme}://{admin}@127.0.0.1:{port}/app")
    }

    /// Connects as the application.
    pub async fn connect(&self) -> Result<Connection<I>> {
        self.open(&self.url()).await
    }

    /// Connects as the superuser.
    pub async fn admin(&self) -> Result<Connection<I>> {
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
            server.ask_to_stop(I::STOP)?;
        }
        let ended = async {
            while self.is_running() {
                wait::pause().await;
            }
            Ok(())
        };
        self.in_time("be shut down", ended).await?;
        *self.server() = None;
        Ok(())
    }

    /// Shuts it down and starts it again.
    pub async fn restart(&self) -> Result<()> {
        self.stop().await?;
        self.start().await
    }

    /// Throws away what it has and takes what another has, under its own configuration. Neither may run.
    ///
    /// It is how a primary comes back that has what its successor lacks: as a copy of another standby, to
    /// [`rejoin`](crate::any::Node::rejoin) then. That standby should have caught up with the successor: a server of
    /// MariaDB's skips what arrives under its own server id, so what it has once written itself must be in the copy.
    pub async fn copy(&self, other: &Self) -> Result<()> {
        if other.is_running() {
            return Err(other.failure("runs, and its files change").into());
        }
        let configuration = self.data.join(I::CONFIGURATION);
        let own = fs::read_to_string(&configuration)?;
        self.replace(self.data.clone(), other.data.clone()).await?;
        Ok(self.account.write(&configuration, &own)?)
    }

    /// Copies its disk, as a snapshot of a volume does, for [`set_back`](Self::set_back). It may not run.
    pub async fn take_snapshot(&self) -> Result<()> {
        self.replace(self.snapshot(), self.data.clone()).await
    }

    /// Sets its disk back to the last [snapshot](Self::take_snapshot). It may not run.
    pub async fn set_back(&self) -> Result<()> {
        self.replace(self.data.clone(), self.snapshot()).await
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

    /// Waits until this standby shows every write that `primary` has acknowledged so far.
    pub async fn catch_up_with(&self, primary: &Self) -> Result<()> {
        self.wait_replayed(&primary.position().await?).await
    }

    /// What the application made this server do to `table`, since the start or since
    /// `forget_served`. The table's name must be a word of its own in the statement.
    pub async fn served(&self, table: &str) -> Result<Served> {
        Ok(Served::count(&self.statement_counts().await?, table))
    }

    /// All that this server has executed for the application, most frequent first.
    pub async fn statement_counts(&self) -> Result<Vec<StatementCount>> {
        I::statement_counts(self).await
    }

    /// The end of what the server has logged.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_else(|error| error.to_string());
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    fn snapshot(&self) -> PathBuf {
        self.data.with_extension("snapshot")
    }

    /// Puts a copy of one folder in the place of another, both of servers that do not run.
    async fn replace(&self, to: PathBuf, from: PathBuf) -> Result<()> {
        if self.is_running() {
            return Err(self.failure("runs, and its files change").into());
        }
        let account = self.account;
        let copy = move || {
            if to.exists() {
                fs::remove_dir_all(&to)?;
            }
            account.run(account.command("cp").arg("-a").arg(from).arg(to))?;
            Ok(())
        };
        // Not on a thread that others need.
        tokio::task::spawn_blocking(copy).await?
    }

    pub(crate) fn account(&self) -> Account {
        self.account
    }

    /// Its data directory.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// Starts its processes, if there are none, and does not wait for them.
    pub(crate) fn launch(&self) -> Result<()> {
        if !self.is_running() {
            let command = self.binaries.server(self)?;
            let (folder, data, log) = (&self.folder, &self.data, &self.log);
            let server = Server::spawn(&command, self.account, folder, data, log)?;
            *self.server() = Some(server);
        }
        Ok(())
    }

    /// Waits until it accepts connections, unless it ends before.
    pub(crate) async fn wait_ready(&self) -> Result<()> {
        let ready = async {
            while self.admin().await.is_err() {
                if !self.is_running() {
                    return Err(self.failure("ended at once").into());
                }
                wait::pause().await;
            }
            Ok(())
        };
        self.in_time("accept connections", ready).await
    }

    /// How far a standby must be to show all that this primary has acknowledged so far.
    pub(crate) async fn position(&self) -> Result<String> {
        I::position(&mut self.admin().await?).await
    }

    /// Waits until this standby is that far.
    pub(crate) async fn wait_replayed(&self, position: &str) -> Result<()> {
        let mut admin = self.admin().await?;
        let (what, question) = (format!("replay {position}"), I::has_replayed(position));
        self.wait_until(&what, &mut admin, &question).await
    }

    /// Waits until the server answers this question with yes. `what` completes "it did not …".
    pub(crate) async fn wait_until(
        &self,
        what: &str,
        connection: &mut Connection<I>,
        question: &str,
    ) -> Result<()> {
        let asking = async {
            while !I::holds(connection, question).await {
                wait::pause().await;
            }
            Ok(())
        };
        self.in_time(what, asking).await
    }

    /// Waits for this to end. `what` completes "it did not …".
    // Takes no closure that is asked again and again: of an async one that borrows a connection, the
    // compiler cannot see that its futures are `Send`.
    pub(crate) async fn in_time(
        &self,
        what: &str,
        end: impl Future<Output = Result<()>>,
    ) -> Result<()> {
        match timeout(wait::PATIENCE, end).await {
            Ok(ended) => ended,
            Err(_) => {
                let late = format!("did not {what} in {:?}", wait::PATIENCE);
                Err(self.failure(&late).into())
            }
        }
    }

    async fn open(&self, url: &str) -> Result<Connection<I>> {
        match timeout(wait::PATIENCE, Connection::<I>::connect(url)).await {
            Ok(opened) => Ok(opened?),
            Err(_) => Err(self.failure("did not answer").into()),
        }
    }

    pub(crate) fn failure(&self, what: &str) -> Failure {
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
