use std::error::Error as StdError;
use std::sync::atomic::{AtomicI64, Ordering};

use dbrouter::{Answer, Dialect, Question};
use diesel::result::Error;
use diesel::sql_types::BigInt;
use diesel::{IntoSql, QueryResult};
use diesel_async::pooled_connection::RecyclingMethod;
use diesel_async::{AnsiTransactionManager, AsyncMysqlConnection, RunQueryDsl};

use super::{Ask, Columns, RoutedConnection, answered};

impl RoutedConnection for AsyncMysqlConnection {
    const DIALECT: Dialect = Dialect::MariaDb;
    // mysql_async closes it, mostly.
    const SURVIVES_A_DROP: bool = false;

    /// A question with an answer of its own. A statement that is dropped at the wrong moment leaves the connection
    /// open, with an answer in it that nobody has read, and everybody who has it afterwards reads the one before his
    /// own. To a question that is always the same such an answer may look right.
    fn recycling() -> RecyclingMethod<Self> {
        static NUMBER: AtomicI64 = AtomicI64::new(0);
        RecyclingMethod::CustomFunction(Box::new(|connection: &mut Self| {
            // Not one that an application's own answer is likely to be.
            let number = NUMBER.fetch_add(0x1_0000_0001, Ordering::Relaxed) ^ 0x2545_F491_4F6C_DD1D;
            let asked = diesel::select(number.into_sql::<BigInt>()).get_result::<i64>(connection);
            Box::pin(async move {
                match answered(asked).await? {
                    answer if answer == number => Ok(()),
                    // The pool closes it, and opens another.
                    _ => Err(Error::NotFound),
                }
            })
        }))
    }

    fn parse(url: &str) -> Result<String, Box<dyn StdError + Send + Sync>> {
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
