use dbrouter::{Answer, Dialect, Fault, Question};
use sqlx::error::DatabaseError;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlDatabaseError};
use sqlx::{Executor, MySql};

use super::{RoutedDatabase, ask};

impl RoutedDatabase for MySql {
    const DIALECT: Dialect = Dialect::MariaDb;

    fn read_only(options: MySqlConnectOptions) -> MySqlConnectOptions {
        options
    }

    fn replica_session() -> Option<&'static str> {
        Some(Self::DIALECT.replica_session())
    }

    fn fault(error: &dyn DatabaseError) -> Fault {
        let number = error
            .try_downcast_ref::<MySqlDatabaseError>()
            .map_or(0, MySqlDatabaseError::number);
        Self::DIALECT.fault(&number.to_string(), error.message())
    }

    async fn execute(
        connection: &mut MySqlConnection,
        sql: &'static str,
    ) -> Result<(), sqlx::Error> {
        Executor::execute(connection, sql).await.map(drop)
    }

    async fn ask(
        connection: &mut MySqlConnection,
        question: &Question,
    ) -> Result<Answer, sqlx::Error> {
        ask::<Self>(connection, question).await
    }
}
