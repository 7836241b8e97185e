use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sqlx::{AssertSqlSafe, Connection, PgConnection, query, query_scalar};

use super::{APP_PASSWORD, Node};
use crate::{Result, wait};

impl Node {
    /// Changes a setting that a reload is enough for. Returns when new connections see it.
    pub async fn set(&self, name: &str, value: &str) -> Result<()> {
        let value = value.replace('\'', "''");
        let mut admin = self.admin().await?;
        let before = load_time(&mut admin).await?;
        // A name has no placeholder of its own; both come from the case.
        let change = format!("ALTER SYSTEM SET {name} = '{value}'");
        query(AssertSqlSafe(change)).execute(&mut admin).await?;
        query("SELECT pg_reload_conf()").execute(&mut admin).await?;
        let reloaded = async {
            // Asked on a new connection each time: it has what the postmaster has loaded.
            while load_time(&mut self.admin().await?).await? == before {
                wait::pause().await;
            }
            Ok(())
        };
        self.in_time("reload its configuration", reloaded).await
    }

    /// Asks the application for its password from now on, which it trusts by default. Returns when it does.
    pub async fn require_passwords(&self) -> Result<()> {
        let file = self.data().join("pg_hba.conf");
        let trusting = fs::read_to_string(&file)?;
        let asking = format!("host all app 127.0.0.1/32 scram-sha-256\n{trusting}");
        self.account().write(&file, &asking)?;
        query("SELECT pg_reload_conf()")
            .execute(&mut self.admin().await?)
            .await?;
        let wrong = self.url().replace(APP_PASSWORD, "wrong");
        let asks = async {
            while PgConnection::connect(&wrong).await.is_ok() {
                wait::pause().await;
            }
            Ok(())
        };
        self.in_time("ask for a password", asks).await
    }

    /// The number of client connections that this role has open here.
    pub async fn backends(&self, role: &str) -> Result<i64> {
        let mut admin = self.admin().await?;
        let count = "SELECT count(*) FROM pg_stat_activity
                     WHERE usename = $1 AND backend_type = 'client backend'
                       AND pid <> pg_backend_pid()";
        Ok(query_scalar(count).bind(role).fetch_one(&mut admin).await?)
    }

    /// Refuses new connections of the application's from now on, and the others not; or takes them again.
    pub async fn refuse_logins(&self, refuses: bool) -> Result<()> {
        const REJECT: &str = "host all app all reject";
        let mut admin = self.admin().await?;
        let file: String = query_scalar("SHOW hba_file").fetch_one(&mut admin).await?;
        let rules: String = query_scalar("SELECT pg_read_file($1)")
            .bind(&file)
            .fetch_one(&mut admin)
            .await?;
        let kept = rules.lines().filter(|line| *line != REJECT);
        let rules: Vec<_> = refuses.then_some(REJECT).into_iter().chain(kept).collect();
        let rules = rules.join("\n").replace('\'', "''");
        // A row for each line. None has a character that COPY would escape.
        let lines = format!("SELECT unnest(string_to_array('{rules}', chr(10)))");
        let write = format!("COPY ({lines}) TO '{file}'");
        query(AssertSqlSafe(write)).execute(&mut admin).await?;
        query("SELECT pg_reload_conf()").execute(&mut admin).await?;
        let reloaded = async {
            let rejects = "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'reject'";
            let expected = i64::from(refuses);
            while query_scalar::<_, i64>(rejects)
                .fetch_one(&mut admin)
                .await?
                != expected
            {
                wait::pause().await;
            }
            Ok(())
        };
        self.in_time("reload its rules for logins", reloaded).await
    }

    /// Stops the process that flushes the log of asynchronous commits, as a disk that hangs does. All others go on.
    pub async fn freeze_wal_writer(&self) -> Result<()> {
        self.signal_wal_writer(Signal::SIGSTOP).await
    }

    /// Undoes [`freeze_wal_writer`](Self::freeze_wal_writer).
    pub async fn thaw_wal_writer(&self) -> Result<()> {
        self.signal_wal_writer(Signal::SIGCONT).await
    }

    async fn signal_wal_writer(&self, signal: Signal) -> Result<()> {
        let pid = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'";
        let pid = query_scalar(pid)
            .fetch_one(&mut self.admin().await?)
            .await?;
        Ok(kill(Pid::from_raw(pid), signal)?)
    }
}

async fn load_time(connection: &mut PgConnection) -> Result<String> {
    let loaded = "SELECT pg_conf_load_time()::text";
    Ok(query_scalar(loaded).fetch_one(connection).await?)
}
