//! What a case stands on: a primary and two replicas with the table `kv`, of whichever kind.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dbrouter::{Builder, Dialect, MonitorSettings, NodeOptions, Router};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _, raw_sql};
use tempfile::TempDir;

use super::{Account, Handle, Subject, check, spare};
use crate::any::{Cluster, Connection, Kind, Node};
use crate::harness::Need;
use crate::{Failure, Result, wait};

/// A primary, which is node 0, and two replicas, which are 1 and 2. The table `kv` has the keys 1 to 64, all
/// at version 0. Dropped, it is gone.
#[derive(Debug)]
pub struct Site<S> {
    ground: Ground,
    /// Something was done to the servers that no other case should find.
    harmed: AtomicBool,
    subject: PhantomData<S>,
}

#[derive(Debug)]
enum Ground {
    /// One file; its nodes are connections to it.
    File(TempDir),
    Servers(Cluster),
}

/// When a read leaves a replica whose connections take long to be opened, where a case says which node serves it. On a busy
/// machine all connections take long, and by default it would be sooner.
pub(super) const ACQUIRE_LIMIT: Duration = Duration::from_secs(2);

/// How long a server may take to answer the monitor where a case is not about servers that are silent: on a busy machine one
/// that is well may take longer than by default.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

pub(super) const TABLE: &str = "create table kv (id int primary key, version bigint not null)";

/// What fills the table.
pub(super) fn rows() -> String {
    let rows: Vec<_> = (1..=64).map(|id| format!("({id}, 0)")).collect();
    format!("insert into kv values {}", rows.join(", "))
}

impl<S: Subject> Site<S> {
    pub(super) async fn open() -> Result<Self> {
        let ground = match Self::kind() {
            None => Ground::File(file().await?),
            Some(kind) => Ground::Servers(spare::take(kind).await?),
        };
        Ok(Self::on(ground))
    }

    /// Leaves the servers to another case, unless something was done to them that a new table does not undo.
    pub(super) fn close(self) {
        if let Ground::Servers(cluster) = self.ground
            && !self.harmed.into_inner()
        {
            spare::leave(cluster);
        }
    }

    /// Another cluster of the same kind.
    pub(super) async fn open_stranger() -> Result<Self> {
        let ground = match Self::kind() {
            None => Ground::File(file().await?),
            Some(kind) => Ground::Servers(spare::start(kind.builder().own_identity()).await?),
        };
        Ok(Self::on(ground))
    }

    /// A restored copy of the cluster, promoted: it has the same identity, but for its server ids in MariaDB, and a
    /// later history, which began before this cluster's present. Its primary is node 1.
    pub(super) async fn open_copy() -> Result<Self> {
        let ground = match Self::kind() {
            None => Ground::File(file().await?),
            Some(kind) => Ground::Servers(spare::start(kind.builder()).await?),
        };
        let copy = Self::on(ground);
        copy.stop(0).await?;
        copy.promote(1).await?;
        Ok(copy)
    }

    fn on(ground: Ground) -> Self {
        Self {
            ground,
            harmed: AtomicBool::new(false),
            subject: PhantomData,
        }
    }

    fn kind() -> Option<Kind> {
        match S::DATABASE {
            Dialect::Postgres => Some(Kind::Postgres),
            Dialect::MariaDb => Some(Kind::MariaDb),
            _ => None,
        }
    }

    /// The server that must be installed.
    pub(super) fn server() -> Option<Need> {
        Self::kind().map(Kind::need)
    }

    fn server_of(&self, number: usize) -> Result<Node<'_>> {
        match &self.ground {
            Ground::Servers(cluster) => Ok(cluster.node(number)),
            Ground::File(_) => Err(Failure::new("SQLite has no servers").into()),
        }
    }

    /// A server to which something is done.
    fn harm(&self, number: usize) -> Result<Node<'_>> {
        self.harmed.store(true, Ordering::Relaxed);
        self.server_of(number)
    }

    // -- routers ---------------------------------------------------------------------------------

    /// The adapter's builder, with all three nodes under their own names, and with time for a busy machine.
    pub fn builder(&self) -> Builder<S::Adapter> {
        let builder = S::builder().primary(self.node(0));
        Self::with_time(builder.replica(self.node(1)).replica(self.node(2)))
    }

    /// The same builder, with time for a busy machine.
    pub fn with_time(builder: Builder<S::Adapter>) -> Builder<S::Adapter> {
        let monitor = MonitorSettings::new().timeout(ANSWER_LIMIT);
        builder.acquire_limit(ACQUIRE_LIMIT).monitor(monitor)
    }

    /// A router by [`builder`](Self::builder).
    pub async fn connect(&self) -> Result<S::Handle> {
        Ok(S::root(self.builder().connect().await?))
    }

    /// A node's options.
    pub fn node(&self, number: usize) -> NodeOptions<S::Adapter> {
        NodeOptions::new(self.url(number)).name(self.name(number))
    }

    /// A node's URL.
    pub fn url(&self, number: usize) -> String {
        match &self.ground {
            Ground::File(folder) => format!("sqlite://{}", database(folder.path()).display()),
            Ground::Servers(cluster) => cluster.node(number).url(),
        }
    }

    /// The same node's URL, of another database of the same server.
    pub fn url_of_database(&self, number: usize, database: &str) -> String {
        let url = self.url(number);
        let base = url.strip_suffix("app").unwrap_or(&url);
        format!("{base}{database}")
    }

    /// A number that a server tells.
    pub async fn ask(&self, number: usize, question: &str) -> Result<i64> {
        self.server_of(number)?
            .connect()
            .await?
            .number(question)
            .await
    }

    /// Rows of numbers that a server tells.
    pub async fn numbers<const N: usize>(
        &self,
        number: usize,
        question: &str,
    ) -> Result<Vec<[i64; N]>> {
        let mut connection = self.server_of(number)?.connect().await?;
        connection.numbers(question).await
    }

    /// Lets the application see at once which timeline a server follows, and not only after its next restartpoint.
    pub async fn show_timelines(&self) -> Result<()> {
        if S::DATABASE != Dialect::Postgres {
            return Ok(());
        }
        let mut admin = self.server_of(0)?.admin().await?;
        admin.execute("grant pg_read_all_stats to app").await
    }

    /// The port of a node's server.
    pub fn port(&self, number: usize) -> Result<u16> {
        Ok(self.server_of(number)?.port())
    }

    /// Lets replay cancel what stands in its way at once, if the servers can be told to.
    pub async fn conflict_at_once(&self) -> Result<bool> {
        if S::DATABASE != Dialect::Postgres {
            return Ok(false);
        }
        for replica in 1..=2 {
            let server = self.harm(replica)?;
            server.set("max_standby_streaming_delay", "0").await?;
        }
        Ok(true)
    }

    /// A node's name in routers of [`builder`](Self::builder).
    pub fn name(&self, number: usize) -> &str {
        match (&self.ground, number) {
            (Ground::Servers(cluster), _) => cluster.node(number).name(),
            (Ground::File(_), 0) => "primary",
            (Ground::File(_), 1) => "standby-1",
            (Ground::File(_), _) => "standby-2",
        }
    }

    /// The number of the node of that name.
    pub fn number(&self, name: &str) -> Result<usize> {
        let number = (0..3).find(|number| self.name(*number) == name);
        Ok(number.ok_or_else(|| Failure::new(format!("no node is called {name}")))?)
    }

    /// How many connections may write at once without failing each other.
    pub fn writers(&self) -> u32 {
        match &self.ground {
            Ground::File(_) => 1,
            Ground::Servers(_) => 4,
        }
    }

    /// A URL at which there is no server.
    pub fn nowhere() -> String {
        // The discard port, on which nobody listens.
        match S::DATABASE {
            Dialect::Postgres => "postgres://app:sup3r-secret@127.0.0.1:9/app".to_owned(),
            Dialect::MariaDb => "mysql://app:sup3r-secret@127.0.0.1:9/app".to_owned(),
            _ => "sqlite:///nowhere/at/all.db".to_owned(),
        }
    }

    /// A question whose answer is 1 on a connection that refuses writes.
    pub fn read_only_setting() -> &'static str {
        match S::DATABASE {
            Dialect::Postgres => {
                "select (current_setting('default_transaction_read_only') = 'on')::int::bigint"
            }
            Dialect::MariaDb => "select cast(@@session.tx_read_only as signed)",
            _ => "select query_only from pragma_query_only",
        }
    }

    /// A question whose answer is the number of the server's connection that it is asked on.
    pub fn connection_number() -> &'static str {
        match S::DATABASE {
            Dialect::MariaDb => "select cast(connection_id() as signed)",
            _ => "select pg_backend_pid()::bigint",
        }
    }

    /// A number that takes a server some milliseconds to say.
    pub fn taking_its_time() -> &'static str {
        match S::DATABASE {
            Dialect::Postgres => "(select 1::bigint from pg_sleep(0.005))",
            Dialect::MariaDb => "cast(sleep(0.005) as signed)",
            _ => {
                "(with recursive c (n) as (select 1 union all select n + 1 from c where n < 20000) \
                 select max(n) from c)"
            }
        }
    }

    // -- what the servers say --------------------------------------------------------------------

    /// How often a node has read the table: by its server's own account, or where there is none by the
    /// router's.
    pub async fn reads(&self, db: &S::Handle, number: usize) -> Result<i64> {
        match &self.ground {
            Ground::Servers(cluster) => Ok(cluster.node(number).served("kv").await?.reads),
            Ground::File(_) => Ok(i64::try_from(db.cluster().status().nodes[number].reads)?),
        }
    }

    /// How often a node has changed the table.
    pub async fn writes(&self, db: &S::Handle, number: usize) -> Result<i64> {
        match &self.ground {
            Ground::Servers(cluster) => Ok(cluster.node(number).served("kv").await?.writes),
            Ground::File(_) => Ok(i64::try_from(db.cluster().status().nodes[number].writes)?),
        }
    }

    /// Asks all replicas that still are some whether they have executed any write for the application, and
    /// adds what all nodes have executed to the mount's [`Account`].
    pub(super) async fn check_that_no_replica_wrote(&self) -> Result<()> {
        let Ground::Servers(cluster) = &self.ground else {
            return Ok(());
        };
        let mut account = Account::default();
        for node in cluster.nodes() {
            if !node.is_running() {
                continue;
            }
            let served = node.served("kv").await?;
            let of_its_role = match Self::is_replica(node).await? {
                true => &mut account.replicas,
                false => &mut account.primaries,
            };
            of_its_role.reads += served.reads;
            of_its_role.writes += served.writes;
        }
        account.cases = 1;
        Account::add(S::NAME, &account);
        let writes = account.replicas.writes;
        check(
            writes == 0,
            format!("the replicas say that they have executed {writes} writes"),
        )
    }

    async fn is_replica(node: Node<'_>) -> Result<bool> {
        let question = match node.kind() {
            Kind::Postgres => "select pg_is_in_recovery()::int::bigint",
            Kind::MariaDb => "select cast(@@global.read_only as signed)",
        };
        Ok(node.number(question).await? == 1)
    }

    /// Whether replicas can be told to wait until they have replayed what is wanted.
    pub(super) fn can_be_told_to_wait() -> bool {
        match Self::kind() {
            Some(Kind::MariaDb) => true,
            Some(Kind::Postgres) => {
                let binaries = crate::postgres::Binaries::find().ok();
                binaries.and_then(|found| found.major()) >= Some(19)
            }
            None => false,
        }
    }

    /// How often a replica was told to wait, and how often it was asked where it stands.
    pub async fn questions(&self, number: usize) -> Result<(i64, i64)> {
        let statements = self.server_of(number)?.statement_counts().await?;
        let calls = |names: [&str; 2]| {
            let about = statements.iter().filter(|statement| {
                let text = statement.text.to_lowercase();
                names.iter().any(|name| text.contains(name))
            });
            about.map(|statement| statement.calls).sum()
        };
        let waits = calls(["wait for lsn", "master_gtid_wait"]);
        Ok((waits, calls(["pg_last_wal_replay_lsn", "gtid_slave_pos"])))
    }

    // -- what is done to the servers -------------------------------------------------------------

    /// Executes a statement as somebody else, around the router.
    pub async fn execute(&self, number: usize, sql: &str) -> Result<()> {
        self.harm(number)?.execute(sql).await
    }

    /// Adds a database with the same table, all of whose versions are as given, which the application may use.
    pub async fn add_database(&self, name: &str, version: i64) -> Result<()> {
        let values = format!("values (1, {version})");
        match self.harm(0)? {
            Node::Postgres(_) => {
                let create = format!("create database {name} owner app");
                self.administer(0, &create).await?;
                let url = self.url_of_database(0, name);
                let mut app = sqlx::PgConnection::connect(&url).await?;
                let fill = format!("{TABLE}; insert into kv {values}");
                raw_sql(AssertSqlSafe(fill)).execute(&mut app).await?;
            }
            Node::MariaDb(_) => {
                let table = TABLE.replace("kv", &format!("{name}.kv"));
                let fill = format!(
                    "create database {name}; grant all on {name}.* to app@'127.0.0.1'; \
                     {table}; insert into {name}.kv {values}"
                );
                self.administer(0, &fill).await?;
            }
        }
        self.catch_up(1).await?;
        self.catch_up(2).await
    }

    /// A connection of the servers' administrator.
    pub(super) async fn admin(&self, number: usize) -> Result<Connection> {
        self.harm(number)?.admin().await
    }

    /// Executes a statement as the servers' administrator.
    pub async fn administer(&self, number: usize, sql: &str) -> Result<()> {
        self.admin(number).await?.execute(sql).await
    }

    /// Ends a connection to a server, by its number.
    pub async fn end_connection(&self, number: usize, connection: i64) -> Result<()> {
        let sql = match S::DATABASE {
            Dialect::MariaDb => format!("kill {connection}"),
            _ => format!("select pg_terminate_backend({connection})"),
        };
        self.execute(number, &sql).await
    }

    /// Has the servers ask the application for its password, where they do not anyway.
    pub async fn require_passwords(&self) -> Result<()> {
        for number in 0..=2 {
            if let Node::Postgres(node) = self.harm(number)? {
                node.require_passwords().await?;
            }
        }
        Ok(())
    }

    /// Ends all of the application's connections to a server. Returns how many.
    pub async fn cut_connections(&self, number: usize) -> Result<usize> {
        let mut admin = self.admin(number).await?;
        let connections = match S::DATABASE {
            Dialect::MariaDb => {
                "select cast(id as signed) from information_schema.processlist where user = 'app'"
            }
            _ => "select pid::bigint from pg_stat_activity where usename = 'app'",
        };
        let connections = admin.numbers::<1>(connections).await?;
        for [connection] in &connections {
            // One that has ended by itself is an error in MariaDB.
            let end = match S::DATABASE {
                Dialect::MariaDb => format!(
                    "begin not atomic declare continue handler for 1094 begin end; kill {connection}; end"
                ),
                _ => format!("select pg_terminate_backend({connection})"),
            };
            admin.execute(&end).await?;
        }
        Ok(connections.len())
    }

    /// A replica shows nothing new from now on. SQLite's always do.
    pub async fn pause(&self, number: usize) -> Result<()> {
        match &self.ground {
            Ground::Servers(cluster) => cluster.node(number).pause_replay().await,
            Ground::File(_) => Ok(()),
        }
    }

    /// Undoes [`pause`](Self::pause).
    pub async fn resume(&self, number: usize) -> Result<()> {
        self.server_of(number)?.resume_replay().await
    }

    /// Pauses both replicas.
    pub async fn pause_all(&self) -> Result<()> {
        self.pause(1).await?;
        self.pause(2).await
    }

    /// Undoes [`pause_all`](Self::pause_all).
    pub async fn resume_all(&self) -> Result<()> {
        self.resume(1).await?;
        self.resume(2).await
    }

    /// A replica shows each commit so much later than it was made, at least; what counts in whole seconds rounds up.
    pub async fn delay(&self, number: usize, by: Duration) -> Result<()> {
        self.harm(number)?.set_apply_delay(by).await
    }

    /// Waits until a replica shows what the first primary has acknowledged.
    pub async fn catch_up(&self, number: usize) -> Result<()> {
        self.catch_up_with(number, 0).await
    }

    /// Waits until a replica shows what a primary has acknowledged.
    pub async fn catch_up_with(&self, number: usize, primary: usize) -> Result<()> {
        let primary = self.server_of(primary)?;
        self.server_of(number)?.catch_up_with(primary).await
    }

    /// Statements of a transaction see what is committed meanwhile, if it does not say that they must not. (They
    /// never do in SQLite.)
    pub async fn weaken_isolation(&self, number: usize) -> Result<()> {
        match Self::kind() {
            Some(Kind::MariaDb) => {
                let node = self.harm(number)?;
                node.set("tx_isolation", "READ-COMMITTED").await
            }
            // It is PostgreSQL's default.
            Some(Kind::Postgres) | None => Ok(()),
        }
    }

    /// Kills a server as a loss of power would.
    pub async fn kill(&self, number: usize) -> Result<()> {
        self.harm(number)?.kill()
    }

    /// Shuts a server down.
    pub async fn stop(&self, number: usize) -> Result<()> {
        self.harm(number)?.stop().await
    }

    /// Starts a server again.
    pub async fn start(&self, number: usize) -> Result<()> {
        self.harm(number)?.start().await
    }

    /// Stops a server's processes where they are.
    pub fn freeze(&self, number: usize) -> Result<()> {
        self.harm(number)?.freeze()
    }

    /// Undoes [`freeze`](Self::freeze).
    pub fn thaw(&self, number: usize) -> Result<()> {
        self.harm(number)?.thaw()
    }

    /// Has a primary that goes on answering give way to one that was promoted beside it. MariaDB's has to be told that it
    /// takes no more writes, since nothing else would show whose history is the later one.
    pub async fn depose(&self, number: usize) -> Result<()> {
        match S::DATABASE {
            Dialect::MariaDb => self.harm(number)?.set("read_only", "ON").await,
            _ => Ok(()),
        }
    }

    /// Makes a primary of a replica.
    pub async fn promote(&self, number: usize) -> Result<()> {
        self.harm(number)?.promote().await
    }

    /// Shuts a primary down that is to lose nothing: its heir has all that it has.
    pub async fn retire(&self, number: usize, heir: usize) -> Result<()> {
        if S::DATABASE == Dialect::MariaDb {
            // Unlike PostgreSQL, it does not wait until its standbys have received everything.
            self.harm(number)?.set("read_only", "ON").await?;
            self.catch_up_with(heir, number).await?;
        }
        self.stop(number).await
    }

    /// Throws away what a server has for what another has, both of them shut down.
    pub async fn copy(&self, number: usize, other: usize) -> Result<()> {
        let other = self.server_of(other)?;
        self.harm(number)?.copy(other).await
    }

    /// Copies the disk of a server that is shut down, for [`set_back`](Self::set_back).
    pub async fn take_snapshot(&self, number: usize) -> Result<()> {
        self.harm(number)?.take_snapshot().await
    }

    /// Sets the disk of a server that does not run back to the last snapshot.
    pub async fn set_back(&self, number: usize) -> Result<()> {
        self.harm(number)?.set_back().await
    }

    /// Makes a replica follow another primary.
    pub async fn follow(&self, number: usize, primary: usize) -> Result<()> {
        let primary = self.server_of(primary)?;
        self.harm(number)?.follow(primary).await
    }

    /// Changes a setting of a server while it runs.
    pub async fn set(&self, number: usize, name: &str, value: &str) -> Result<()> {
        self.harm(number)?.set(name, value).await
    }

    /// A server refuses new connections of the application's, or takes them again. Those that are open work.
    pub async fn refuse_logins(&self, number: usize, refuses: bool) -> Result<()> {
        match self.harm(number)? {
            Node::Postgres(node) => node.refuse_logins(refuses).await,
            Node::MariaDb(node) => node.refuse_logins(refuses).await,
        }
    }

    /// The application may have so many connections to the primary, and to its replicas as far as they are told; as many
    /// as it likes, if that is `None`. The administrator's connection must have been opened before they were few.
    pub async fn limit_connections(admin: &mut Connection, most: Option<u32>) -> Result<()> {
        let limit = match (S::DATABASE, most) {
            // Fewer cannot be set.
            (Dialect::MariaDb, most) => {
                let most = most.map_or(151, |most| most.max(10));
                format!("set global max_connections = {most}")
            }
            (_, most) => {
                let most = most.map_or(-1, i64::from);
                format!("alter role app connection limit {most}")
            }
        };
        admin.execute(&limit).await
    }

    /// Stops the process of PostgreSQL's that flushes the log of asynchronous commits.
    pub async fn freeze_wal_writer(&self, number: usize) -> Result<()> {
        match self.harm(number)? {
            Node::Postgres(node) => node.freeze_wal_writer().await,
            Node::MariaDb(_) => Err(Failure::new("MariaDB has no such process").into()),
        }
    }

    /// Undoes [`freeze_wal_writer`](Self::freeze_wal_writer).
    pub async fn thaw_wal_writer(&self, number: usize) -> Result<()> {
        match self.harm(number)? {
            Node::Postgres(node) => node.thaw_wal_writer().await,
            Node::MariaDb(_) => Err(Failure::new("MariaDB has no such process").into()),
        }
    }

    /// Has PostgreSQL acknowledge no commit before it is flushed. Returns when all that it has acknowledged is.
    pub async fn commit_synchronously(&self, number: usize) -> Result<()> {
        self.set(number, "synchronous_commit", "on").await?;
        let mut admin = self.admin(number).await?;
        let now = "select (extract(epoch from clock_timestamp()) * 1e6)::bigint";
        let now = admin.number(now).await?;
        // A transaction keeps to the setting that it has begun with.
        let earlier = format!(
            "select count(*) from pg_stat_activity where backend_type = 'client backend' \
             and pid <> pg_backend_pid() and xact_start <= to_timestamp({now} / 1e6)"
        );
        let over = wait::until(async || admin.number(&earlier).await.is_ok_and(|open| open == 0));
        check(over.await, "a transaction does not end")?;
        admin
            .execute("select pg_logical_emit_message(true, 'flushed', '')")
            .await
    }

    /// Brings a primary that was stopped back as a replica of the one that was promoted since.
    pub async fn rejoin(&self, number: usize, primary: usize) -> Result<()> {
        let primary = self.server_of(primary)?;
        self.harm(number)?.rejoin(primary).await
    }
}

fn database(folder: &Path) -> std::path::PathBuf {
    folder.join("shop.db")
}

async fn file() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let options = SqliteConnectOptions::new()
        .filename(database(folder.path()))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    let mut connection = options.connect().await?;
    raw_sql(AssertSqlSafe(format!("{TABLE}; {}", rows())))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    Ok(folder)
}
