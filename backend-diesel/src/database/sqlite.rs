use std::error::Error;

use dbrouter::{Answer, Dialect, Fault, Question};
use diesel::connection::AnsiTransactionManager;
use diesel::{ConnectionError, ConnectionResult, QueryResult, SqliteConnection};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, RunQueryDsl, SimpleAsyncConnection, TransactionManager};

use super::{Ask, Columns, RoutedConnection};
use crate::error::querying;

impl RoutedConnection for SyncConnectionWrapper<SqliteConnection> {
    const DIALECT: Dialect = Dialect::Sqlite;

    /// A file's name, an URI as SQLite knows it (`file:…`), or either behind `sqlite:`.
    fn parse(url: &str) -> Result<String, Box<dyn Error + Send + Sync>> {
        let place = match url.strip_prefix("sqlite:") {
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
            None => url,
        };
        if place.is_empty() || place.contains('\0') {
            return Err("expected a file's name, such as sqlite:data/app.db".into());
        }
        // Only a URI can have parameters, such as `?mode=ro`.
        let is_uri = place.starts_with("file:") || place == url || !place.contains('?');
        Ok(match is_uri {
            true => place.to_owned(),
            false => format!("file:{place}"),
        })
    }

    async fn ask(&mut self, question: &Question) -> QueryResult<Answer> {
        let row: Columns = Ask(question).get_result(self).await?;
        Ok(row.into())
    }

    /// Another process that writes to the file is waited for for five seconds, as sqlx does. diesel's default is not to wait.
    async fn open(url: &str) -> ConnectionResult<Self> {
        let mut connection = Self::establish(url).await?;
        let set = connection.batch_execute("PRAGMA busy_timeout = 5000").await;
        set.map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(connection)
    }

    async fn begin_writing(&mut self) -> QueryResult<()> {
        let sql = Self::DIALECT.begin_writing().unwrap_or("BEGIN");
        let begun = self.spawn_blocking(|connection| {
            AnsiTransactionManager::begin_transaction_sql(connection, sql)
        });
        match begun.await {
            // The application's own pool takes no writes. Its transactions may read.
            Err(error) if querying(&error) == Fault::ReadOnly => self.begin_read_only().await,
            begun => begun,
        }
    }

    /// SQLite has no such transactions; replicas' connections are read-only as a whole.
    async fn begin_read_only(&mut self) -> QueryResult<()> {
        <Self as AsyncConnection>::TransactionManager::begin_transaction(self).await
    }

    /// Every transaction is one, from its first read on.
    async fn begin_snapshot(&mut self) -> QueryResult<()> {
        self.begin_read_only().await
    }
}
