use std::error::Error;

use dbrouter::{Answer, Dialect, Question};
use diesel::QueryResult;
use diesel_async::{AnsiTransactionManager, AsyncMysqlConnection, RunQueryDsl};

use super::{Ask, Columns, RoutedConnection};

impl RoutedConnection for AsyncMysqlConnection {
    const DIALECT: Dialect = Dialect::MariaDb;
    // mysql_async closes it.
    const SURVIVES_A_DROP: bool = false;

    fn parse(url: &str) -> Result<String, Box<dyn Error + Send + Sync>> {
        // The driver knows but one name for the protocol.
        let url = match url.strip_prefix("mariadb:") {
            Some(rest) => format!("mysql:{rest}"),
            None => url.to_owned(),
        };
        // The driver's own error could show what it stumbled over.
        match mysql_async::Opts::from_url(&url) {
            Ok(_) => Ok(url),
            Err(_) => Err("expected mysql://user:password@host:port/database, \
                           with parameters that the driver knows"
                .into()),
        }
    }

    async fn ask(&mut self, question: &Question) -> QueryResult<Answer> {
        let row: Columns = Ask(question).get_result(self).await?;
        Ok(row.into())
    }

    async fn begin_read_only(&mut self) -> QueryResult<()> {
        AnsiTransactionManager::begin_transaction_sql(self, Self::DIALECT.begin_read_only()).await
    }

    async fn begin_snapshot(&mut self) -> QueryResult<()> {
        AnsiTransactionManager::begin_transaction_sql(self, Self::DIALECT.begin_snapshot()).await
    }
}
