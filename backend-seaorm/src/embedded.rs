//! The embedded default: one SQLite file, one writer, many readers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dbrouter::{Builder, NodeOptions};
use dbrouter_sqlx::embedded;
use sea_orm::ConnectOptions;

use crate::adapter::{Embedded, PoolOptions, SeaOrm};
use crate::pool::RoutedConnection;

impl RoutedConnection {
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
    /// readers there are. `map_sqlx_sqlite_opts` cannot be kept, as it takes the place of what names the file:
    /// [`connect`](Builder::connect) says so.
    ///
    /// ```
    /// use dbrouter_seaorm::RoutedConnection;
    /// use sea_orm::{ConnectionTrait, Statement};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let path = std::env::temp_dir().join(format!("dbrouter-seaorm-doc-{}.db", std::process::id()));
    /// let db = RoutedConnection::embedded(&path).connect().await?;
    /// db.execute_unprepared("create table notes (text)").await?;
    /// db.execute_unprepared("insert into notes values ('hello')").await?;
    /// let notes = Statement::from_string(db.get_database_backend(), "select text from notes");
    /// let note = db.query_one_raw(notes).await?.ok_or("there is one")?;
    /// assert_eq!(note.try_get::<String>("", "text")?, "hello");
    /// # db.close().await?;
    /// # std::fs::remove_file(&path)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn embedded(path: impl AsRef<Path>) -> Builder<SeaOrm> {
        Self::embedded_with(path, embedded::readers())
    }

    /// As [`embedded`](Self::embedded), with so many reading connections, at least one, if the pool options do not say.
    pub fn embedded_with(path: impl AsRef<Path>, readers: u32) -> Builder<SeaOrm> {
        let node = |name, connections, most| {
            let is_named = Arc::new(AtomicBool::new(false));
            let options = options(path.as_ref(), connections, &is_named);
            NodeOptions::with_options(options)
                .pool_options(PoolOptions::embedded(Embedded { most, is_named }))
                .name(name)
        };
        Self::builder()
            .primary(node("writer", 1, Some(1)))
            .replica(node("readers", readers, None))
            .monitor(embedded::monitor())
    }
}

/// What is the same for every adapter, in SeaORM's options. Their URL is not looked at. They note that they were asked for
/// the file: another function of the same kind would take the place of this one.
fn options(path: &Path, connections: u32, is_named: &Arc<AtomicBool>) -> ConnectOptions {
    let (path, is_named) = (path.to_owned(), Arc::clone(is_named));
    let mut options = ConnectOptions::new("sqlite:");
    options
        .map_sqlx_sqlite_opts(move |given| {
            is_named.store(true, Ordering::Relaxed);
            embedded::on(given, &path)
        })
        .max_connections(connections.max(1))
        // Connections to a file do not age, and cannot be broken while nobody looks.
        .max_lifetime(None)
        .idle_timeout(None);
    options
}
