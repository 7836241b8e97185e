//! The embedded default: one SQLite file, one writer, many readers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dbrouter::{MonitorSettings, Question};
use diesel::{ConnectionError, ConnectionResult, QueryResult, SqliteConnection};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};

use crate::adapter::{Builder, Limit, NodeOptions, PoolOptions, Setup};
use crate::database::RoutedConnection;
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
    /// [`Builder::pool_options`](dbrouter::Builder::pool_options) are both pools'. There is one writer in any case; how many
    /// connections they say, so many readers there are. Connections that their [`setup`](PoolOptions::setup) opens are put into
    /// write-ahead mode, and told to wait for other processes if they do not; all other pragmas are that function's to set.
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
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("notes.db");
    /// type Db = RoutedPool<Pool<SyncConnectionWrapper<SqliteConnection>>>;
    ///
    /// let db = Db::embedded(&path).connect().await?;
    /// db.write().await?.batch_execute("create table notes (text)").await?;
    /// assert_eq!(&*db.read().await?.decision().node, "readers");
    /// # db.close();
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

    /// As [`embedded`](Self::embedded), with so many reading connections, at least one, if the pool options do not say.
    pub fn embedded_with(path: impl AsRef<Path>, readers: u32) -> Builder<P> {
        // A name that is not Unicode is none for diesel either; then opening it fails.
        let file = path.as_ref().to_string_lossy().into_owned();
        let node = |connections: u32, limit: Limit| {
            let options = PoolOptions::on_top(move |general: PoolOptions<P>| {
                let stated = general.stated_setup();
                let limited = general.limited(connections, limit);
                limited.setup(move |file| Box::pin(open(file, stated.clone())))
            });
            NodeOptions::with_options(file.clone()).pool_options(options)
        };
        Self::builder()
            .primary(node(1, Limit::InAnyCase).name("writer"))
            .replica(node(readers.max(1), Limit::UnlessStated).name("readers"))
            // There is nothing to be learnt from asking a file often.
            .monitor(MonitorSettings::new().interval(Duration::from_secs(10)))
    }
}

/// One file for one writer and many readers, who do not block each other; by the application's own function, if there is one.
async fn open(file: &str, stated: Option<Arc<Setup<Sqlite>>>) -> ConnectionResult<Sqlite> {
    let mut connection = match &stated {
        Some(setup) => setup(file).await?,
        None => Sqlite::establish(file).await?,
    };
    let set_up = set_up(&mut connection, stated.is_some()).await;
    set_up.map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

async fn set_up(connection: &mut Sqlite, is_stated: bool) -> QueryResult<()> {
    // Other processes may write to the file too. And in write-ahead mode a crash of the machine may lose the
    // last commits, and nothing else.
    const WAITS: &str = "PRAGMA busy_timeout = 5000";
    const WAL: &str = "PRAGMA journal_mode = WAL";
    const REST: &str = "PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON";
    const DOES_NOT_WAIT: &str = "SELECT CAST(timeout = 0 AS TEXT) FROM pragma_busy_timeout";
    if !is_stated
        || connection
            .ask(&Question::new(DOES_NOT_WAIT, 1))
            .await?
            .is_yes()
    {
        connection.batch_execute(WAITS).await?;
    }
    connection.batch_execute(WAL).await?;
    match is_stated {
        true => Ok(()),
        false => connection.batch_execute(REST).await,
    }
}
