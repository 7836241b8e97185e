use dbrouter::{Answer, Dialect, Fault, Question};
use sqlx::Sqlite;
use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePoolOptions};

use super::{RoutedDatabase, ask};

impl RoutedDatabase for Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;

    fn read_only(
        options: SqliteConnectOptions,
        pool_options: SqlitePoolOptions,
    ) -> (SqliteConnectOptions, SqlitePoolOptions) {
        (options.pragma("query_only", "ON"), pool_options)
    }

    fn fault(error: &dyn DatabaseError) -> Fault {
        Self::DIALECT.fault(&error.code().unwrap_or_default(), error.message())
    }

    async fn ask(
        connection: &mut SqliteConnection,
        question: &Question,
    ) -> Result<Answer, sqlx::Error> {
        ask::<Self>(connection, question).await
    }
}
