use std::error::Error;

use dbrouter::{Answer, Dialect, Question};
use diesel::{QueryResult, SqliteConnection};
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, RunQueryDsl, TransactionManager};

use super::{Ask, Columns, RoutedConnection};

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

    /// SQLite has no such transactions; replicas' connections are read-only as a whole.
    async fn begin_read_only(&mut self) -> QueryResult<()> {
        <Self as AsyncConnection>::TransactionManager::begin_transaction(self).await
    }

    /// Every transaction is one, from its first read on.
    async fn begin_snapshot(&mut self) -> QueryResult<()> {
        self.begin_read_only().await
    }
}
