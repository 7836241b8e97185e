//! The embedded default: one SQLite file, one writer, many readers. The functions are for other adapters
//! that are built on sqlx; applications use [`RoutedPool::embedded`].

use std::path::Path;
use std::time::Duration;

use dbrouter::{Builder, MonitorSettings, NodeOptions};
use sqlx::Sqlite;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};

use crate::adapter::Sqlx;
use crate::pool::RoutedPool;
use crate::pool_options::{Embedded, PoolOptions};

impl RoutedPool<Sqlite> {
    /// Begins to configure a router over one SQLite file, which is created if it is missing: a node
    /// called `writer` with the one connection that writes, and a node called `readers` with as many
    /// read-only connections as there are processors, from 2 to 8.
    ///
    /// SQLite lets one connection write at a time. A pool whose connections all may write makes them
    /// stumble over each other: most deferred transactions end with `SQLITE_BUSY`, whatever the timeout.
    /// With one writer they queue in the pool instead, and in write-ahead mode readers neither wait for
    /// the writer nor the writer for them. A reader that begins after a commit sees it, so the readers are
    /// always fresh.
    ///
    /// Because there is one writing connection, whoever holds it in a transaction must write through that
    /// transaction: a write through the handle would wait for it.
    ///
    /// [`Builder::pool_options`] are both pools', hooks included. There is one writer in any case; `max_connections` is how many
    /// readers there are. Connections have no `max_lifetime` and no `idle_timeout` unless they are given others than sqlx's
    /// defaults.
    ///
    /// ```
    /// use dbrouter_sqlx::RoutedPool;
    /// use sqlx::Sqlite;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("dbrouter-doc-{}.db", std::process::id()));
    /// let db = RoutedPool::<Sqlite>::embedded(&path).connect().await?;
    /// sqlx::query("create table notes (text)").execute(&db).await?;
    /// sqlx::query("insert into notes values ('hello')").execute(&db).await?;
    /// let text: String = sqlx::query_scalar("select text from notes").fetch_one(&db).await?;
    /// assert_eq!(text, "hello");
    /// # db.close().await;
    /// # std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn embedded(path: impl AsRef<Path>) -> Builder<Sqlx<Sqlite>> {
        Self::embedded_with(path, readers())
    }

    /// As [`embedded`](Self::embedded), with so many reading connections, at least one, if the pool options do not say.
    pub fn embedded_with(path: impl AsRef<Path>, readers: u32) -> Builder<Sqlx<Sqlite>> {
        let options = options(path);
        let writer = NodeOptions::with_options(options.clone())
            .name("writer")
            .pool_options(PoolOptions::embedded(Embedded::Writer));
        let readers = NodeOptions::with_options(options)
            .name("readers")
            .pool_options(PoolOptions::embedded(Embedded::Readers(readers)));
        Self::builder()
            .primary(writer)
            .replica(readers)
            .monitor(monitor())
    }
}

/// As many readers as there are processors, from 2 to 8.
#[must_use]
pub fn readers() -> u32 {
    let processors =
        std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8));
    u32::try_from(processors).unwrap_or(8)
}

/// One file for one writer and many readers, who do not block each other.
#[must_use]
pub fn options(path: impl AsRef<Path>) -> SqliteConnectOptions {
    on(SqliteConnectOptions::new(), path)
}

/// As [`options`], with what is said already of other things, such as logging.
#[must_use]
pub fn on(options: SqliteConnectOptions, path: impl AsRef<Path>) -> SqliteConnectOptions {
    options
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        // In write-ahead mode a crash of the machine may lose the last commits, and nothing else.
        .synchronous(SqliteSynchronous::Normal)
        // Other processes may write to the file too.
        .busy_timeout(Duration::from_secs(5))
}

/// There is nothing to be learnt from asking a file often.
#[must_use]
pub fn monitor() -> MonitorSettings {
    MonitorSettings::new().interval(Duration::from_secs(10))
}
