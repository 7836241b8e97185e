use std::time::Duration;

use sqlx::{MySqlConnection, Row, mysql::MySqlRow, raw_sql};

use super::{Binaries, Installation, Node};
use crate::{Result, wait};

/// What a standby says of itself.
struct Status {
    /// Whether it is connected: `Yes` or `No`, and `Connecting` or the like on the way.
    connected: String,
    /// The file of the primary's that it receives: empty while it has yet to be told, which is
    /// after the primary has agreed to where it wants to begin.
    file: String,
    /// Why it does not receive, or has to try again.
    trouble: String,
    /// Whether it applies what it received: `Yes` or `No`.
    applies: String,
    /// By how many seconds it delays that.
    delay: u32,
    /// The position up to which it received everything.
    received: String,
}

impl Node {
    /// Makes a standby stale: it receives, but shows nothing new. Returns when it has really
    /// paused.
    pub async fn pause_replay(&self) -> Result<()> {
        // The server answers when the thread has come to its end.
        self.run("STOP SLAVE SQL_THREAD").await
    }

    /// Undoes [`pause_replay`](Self::pause_replay).
    pub async fn resume_replay(&self) -> Result<()> {
        self.run("START SLAVE SQL_THREAD").await
    }

    /// Makes a standby show each commit this much later than it was made. MariaDB knows only whole
    /// seconds, so what is between them is rounded up.
    pub async fn set_apply_delay(&self, delay: Duration) -> Result<()> {
        let seconds = delay.as_millis().div_ceil(1000);
        self.change_master(&format!("MASTER_DELAY = {seconds}"))
            .await
    }

    /// Makes a primary of a standby. Returns when it accepts writes.
    ///
    /// As in PostgreSQL, what the standby has received is applied first, even if its replay was
    /// paused. What an apply delay still holds back, however, is lost.
    pub async fn promote(&self) -> Result<()> {
        let mut admin = self.admin().await?;
        if self.status(&mut admin).await?.delay == 0 {
            // In this order: started when neither runs, they would throw away what was received.
            self.run("START SLAVE SQL_THREAD; STOP SLAVE IO_THREAD")
                .await?;
            let received = self.status(&mut admin).await?.received;
            self.wait_replayed(&received).await?;
        }
        self.run("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = OFF")
            .await?;
        self.keep("read-only", "OFF")
    }

    /// Makes a standby follow another primary of the same cluster. Returns when it receives from
    /// there. One that is paused stays so.
    pub async fn follow(&self, primary: &Node) -> Result<()> {
        let (user, port) = (Binaries::ADMIN, primary.port());
        self.change_master(&format!(
            "MASTER_HOST = '127.0.0.1', MASTER_PORT = {port}, MASTER_USER = '{user}', \
             MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1"
        ))
        .await?;
        let mut admin = self.admin().await?;
        let receiving = async {
            loop {
                let status = self.status(&mut admin).await?;
                match status.connected.as_str() {
                    "Yes" if !status.file.is_empty() => return Ok(()),
                    "No" if !status.trouble.is_empty() => {
                        let why = format!("does not receive: {}", status.trouble);
                        return Err(self.failure(&why).into());
                    }
                    _ => wait::pause().await,
                }
            }
        };
        self.in_time("receive from its new primary", receiving)
            .await
    }

    /// Makes a primary that was stopped come back as a standby of the one that was promoted since.
    /// Returns when it receives from there. An error if it has writes that the new one lacks.
    pub async fn rejoin(&self, primary: &Node) -> Result<()> {
        self.keep("read-only", "ON")?;
        self.start().await?;
        // Where a standby begins is recorded only of what it received, not of what was written here. Whom it followed
        // before, if it did, is of no interest, and neither is whether it was paused.
        self.run("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL gtid_slave_pos = @@gtid_binlog_pos")
            .await?;
        self.follow(primary).await
    }

    /// Changes how it replicates, for which it must stop to.
    async fn change_master(&self, to: &str) -> Result<()> {
        let paused = self
            .status(&mut self.admin().await?)
            .await
            .is_ok_and(|status| status.applies == "No");
        let start = if paused {
            "START SLAVE IO_THREAD"
        } else {
            "START SLAVE"
        };
        self.run(&format!("STOP SLAVE; CHANGE MASTER TO {to}; {start}"))
            .await
    }

    /// An error if it is no standby.
    async fn status(&self, admin: &mut MySqlConnection) -> Result<Status> {
        let shown = raw_sql("SHOW SLAVE STATUS").fetch_optional(admin).await?;
        let status = shown.ok_or_else(|| self.failure("is no standby"))?;
        Ok(Status::read(&status)?)
    }
}

impl Status {
    fn read(row: &MySqlRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            connected: row.try_get("Slave_IO_Running")?,
            file: row.try_get("Master_Log_File")?,
            trouble: row.try_get("Last_IO_Error")?,
            applies: row.try_get("Slave_SQL_Running")?,
            delay: row.try_get_unchecked("SQL_Delay")?,
            received: row.try_get("Gtid_IO_Pos")?,
        })
    }
}
