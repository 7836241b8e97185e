use std::time::Duration;

use sqlx::{PgConnection, query, query_scalar};

use super::{Cluster, Node, template::configure_node};
use crate::{Result, wait};

impl Node {
    /// Makes a standby stale: it receives, but shows nothing new. Returns when it has really
    /// paused.
    pub async fn pause_replay(&self) -> Result<()> {
        let mut admin = self.admin().await?;
        query("SELECT pg_wal_replay_pause()")
            .execute(&mut admin)
            .await?;
        let state = "SELECT pg_get_wal_replay_pause_state() = 'paused'";
        self.wait_until("pause its replay", &mut admin, state).await
    }

    /// Undoes [`pause_replay`](Self::pause_replay).
    pub async fn resume_replay(&self) -> Result<()> {
        let mut admin = self.admin().await?;
        query("SELECT pg_wal_replay_resume()")
            .execute(&mut admin)
            .await?;
        Ok(())
    }

    /// Makes a standby show each commit this much later than it was made.
    pub async fn set_apply_delay(&self, delay: Duration) -> Result<()> {
        self.set(
            "recovery_min_apply_delay",
            &format!("{}ms", delay.as_millis()),
        )
        .await
    }

    /// Makes a primary of a standby. Returns when it accepts writes.
    pub async fn promote(&self) -> Result<()> {
        let mut admin = self.admin().await?;
        let seconds = i32::try_from(wait::PATIENCE.as_secs())?;
        let promoted: bool = query_scalar("SELECT pg_promote(true, $1)")
            .bind(seconds)
            .fetch_one(&mut admin)
            .await?;
        if promoted {
            Ok(())
        } else {
            Err(self.failure("did not become a primary").into())
        }
    }

    /// Makes a standby follow another primary of the same cluster. Returns when it streams from
    /// there.
    pub async fn follow(&self, primary: &Node) -> Result<()> {
        self.set("primary_conninfo", &conninfo(primary, self.name()))
            .await?;
        let mut admin = self.admin().await?;
        let streams = format!(
            "SELECT EXISTS (SELECT FROM pg_stat_wal_receiver
             WHERE status = 'streaming' AND sender_port = {})",
            primary.port()
        );
        self.wait_until("stream from its new primary", &mut admin, &streams)
            .await
    }

    /// Makes a primary that was stopped, not killed, come back as a standby of the one that was promoted
    /// since. Returns when it streams from there.
    pub async fn rejoin(&self, primary: &Node) -> Result<()> {
        configure_node(self, Some(primary))?;
        self.start().await?;
        self.follow(primary).await
    }
}

/// Waits until all standbys stream: they do so by their configuration.
pub(super) async fn wait_streaming(cluster: &Cluster) -> Result<()> {
    let mut primary = cluster.primary().admin().await?;
    let all_stream = format!(
        "SELECT count(*) = {} FROM pg_stat_replication WHERE state = 'streaming'",
        cluster.standbys().len()
    );
    cluster
        .primary()
        .wait_until("stream to all its standbys", &mut primary, &all_stream)
        .await
}

/// Adds a commit of nothing to the primary's log. It takes along what waits to be flushed, such as
/// asynchronous commits, and its position is the end of a record, which every standby reaches. The
/// flush position often is in the middle of one, and the insert position in the header of a page that
/// has nothing else yet.
pub(super) async fn position(primary: &mut PgConnection) -> Result<String> {
    let mark = "SELECT pg_logical_emit_message(true, 'caught up', '')::text";
    Ok(query_scalar(mark).fetch_one(primary).await?)
}

/// How a standby of this name reaches its primary.
pub(super) fn conninfo(primary: &Node, standby: &str) -> String {
    let port = primary.port();
    format!("host=127.0.0.1 port={port} user=postgres application_name={standby}")
}
