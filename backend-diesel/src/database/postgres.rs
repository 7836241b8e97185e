use std::error::Error;

use dbrouter::{Answer, Dialect, Question};
use diesel::QueryResult;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl};

use super::{Ask, Columns, RoutedConnection};

impl RoutedConnection for AsyncPgConnection {
    const DIALECT: Dialect = Dialect::Postgres;

    fn parse(url: &str) -> Result<String, Box<dyn Error + Send + Sync>> {
        // The driver's own error could show what it stumbled over.
        match url.parse::<tokio_postgres::Config>() {
            Ok(_) => Ok(url.to_owned()),
            Err(_) => Err("expected postgres://user:password@host:port/database, \
                           or key=value pairs as libpq takes them"
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
