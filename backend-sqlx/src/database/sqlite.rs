use dbrouter::{Answer, Dialect, Fault, Login, LoginTarget, Question};
use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Executor, Sqlite};

use super::{RoutedDatabase, ask};

impl RoutedDatabase for Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;

    fn read_only(options: SqliteConnectOptions) -> SqliteConnectOptions {
        options.pragma("query_only", "ON")
    }

    /// It has none.
    fn with_login(options: SqliteConnectOptions, _: &Login) -> SqliteConnectOptions {
        options
    }

    fn target(_: &SqliteConnectOptions, node: LoginTarget) -> LoginTarget {
        node
    }

    fn fault(error: &dyn DatabaseError) -> Fault {
        Self::DIALECT.fault(&error.code().unwrap_or_default(), error.message())
    }

    fn refuses_login(_: &dyn DatabaseError) -> bool {
        false
    }

    async fn execute(
        connection: &mut SqliteConnection,
        sql: &'static str,
    ) -> Result<(), sqlx::Error> {
        Executor::execute(connection, sql).await.map(drop)
    }

    async fn ask(
        connection: &mut SqliteConnection,
        question: &Question,
    ) -> Result<Answer, sqlx::Error> {
        ask::<Self>(connection, question).await
    }
}
