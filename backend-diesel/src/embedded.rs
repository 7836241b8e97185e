//! The embedded default: one SQLite file, one writer, many readers.

use std::path::Path;
use std::time::Duration;

use dbrouter::{BoxFuture, MonitorSettings};
use diesel::{ConnectionError, ConnectionResult, SqliteConnection};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};

use crate::adapter::{Builder, NodeOptions, PoolOptions};
use crate::pool::RoutedPool;
use crate::pools::Pool;

type Sqlite = SyncConnectionWrapper<SqliteConnection>;

impl<P: Pool<Connection = Sqlite>> RoutedPool<P> {
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
    /// Because there is one writing connection, who holds it must not wait for another: drop a guard to write
    /// with before the next is taken.
    ///
    /// ```
    /// # #[cfg(feature = "deadpool")] {
    /// use dbrouter_diesel::RoutedPool;
    /// use dbrouter_diesel::diesel::SqliteConnection;
    /// use dbrouter_diesel::diesel_async::SimpleAsyncConnection;
    /// use dbrouter_diesel::diesel_async::pooled_connection::deadpool::Pool;
    /// use dbrouter_diesel::diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("dbrouter-diesel-{}.db", std::process::id()));
    /// type Db = RoutedPool<Pool<SyncConnectionWrapper<SqliteConnection>>>;
    ///
    /// let db = Db::embedded(&path).connect().await?;
    /// db.write().await?.batch_execute("create table notes (text)").await?;
    /// assert_eq!(&*db.read().await?.decision().node, "readers");
    /// # db.close();
    /// # std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// # main().unwrap();
    /// # }
    /// ```
    pub fn embedded(path: impl AsRef<Path>) -> Builder<P> {
        let readers =
            std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 8));
        Self::embedded_with(path, u32::try_from(readers).unwrap_or(8))
    }

    /// As [`embedded`](Self::embedded), with so many reading connections; at least one.
    pub fn embedded_with(path: impl AsRef<Path>, readers: u32) -> Builder<P> {
        // A name that is not Unicode is none for diesel either; then opening it fails.
        let file = path.as_ref().to_string_lossy().into_owned();
        let node = |connections: u32| {
            let limited = PoolOptions::new(move |builder| P::limit(builder, connections));
            NodeOptions::with_options(file.clone()).pool_options(limited.setup(set_up))
        };
        Self::builder()
            .primary(node(1).name("writer"))
            .replica(node(readers.max(1)).name("readers"))
            // There is nothing to be learnt from asking a file often.
            .monitor(MonitorSettings::new().interval(Duration::from_secs(10)))
    }
}

/// One file for one writer and many readers, who do not block each other.
fn set_up(file: &str) -> BoxFuture<'_, ConnectionResult<Sqlite>> {
    // Other processes may write to the file too. And in write-ahead mode a crash of the machine may lose the
    // last commits, and nothing else.
    const PRAGMAS: &str = "PRAGMA busy_timeout = 5000; \
                           PRAGMA journal_mode = WAL; \
                           PRAGMA synchronous = NORMAL; \
                           PRAGMA foreign_keys = ON";
    Box::pin(async move {
        let mut connection = Sqlite::establish(file).await?;
        let set_up = connection.batch_execute(PRAGMAS).await;
        set_up.map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(connection)
    })
}
