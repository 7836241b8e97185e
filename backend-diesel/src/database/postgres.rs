use std::error::Error;

use dbrouter::{Answer, Dialect, Fault, Login, Question};
use diesel::QueryResult;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use super::{Ask, Columns, RoutedConnection};
use crate::error::querying;

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

    fn with_login(url: &str, login: &Login) -> Option<String> {
        if url.contains("://") {
            return login.within(url);
        }
        // Of two values of a key, the last one holds.
        let quoted = |text: &str| text.replace('\\', r"\\").replace('\'', r"\'");
        let user = login.user().map(|user| format!(" user='{}'", quoted(user)));
        let user = user.unwrap_or_default();
        Some(format!(
            "{url}{user} password='{}'",
            quoted(login.password())
        ))
    }

    async fn ask(&mut self, question: &Question) -> QueryResult<Answer> {
        let asked: QueryResult<Columns> = Ask(question).get_result(self).await;
        let row = match asked {
            // A hot standby refuses whatever is asked at the isolation level that is the default. Replicas' connections
            // are opened with another one, but this may be a pool that somebody else has opened.
            Err(error) if querying(&error) == Fault::Conflict => {
                self.batch_execute(Self::DIALECT.replica_session()).await?;
                Ask(question).get_result(self).await?
            }
            row => row?,
        };
        Ok(row.into())
    }

    async fn begin_read_only(&mut self) -> QueryResult<()> {
        AnsiTransactionManager::begin_transaction_sql(self, Self::DIALECT.begin_read_only()).await
    }

    async fn begin_snapshot(&mut self) -> QueryResult<()> {
        AnsiTransactionManager::begin_transaction_sql(self, Self::DIALECT.begin_snapshot()).await
    }
}
