use dbrouter::{Answer, Dialect, Fault, Login, LoginTarget, Question};
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

    fn with_login(options: MySqlConnectOptions, login: &Login) -> MySqlConnectOptions {
        let options = options.password(login.password());
        match login.user() {
            Some(user) => options.username(user),
            None => options,
        }
    }

    fn target(options: &MySqlConnectOptions, node: LoginTarget) -> LoginTarget {
        match options.get_socket() {
            Some(_) => node,
            None => node.at(options.get_host(), options.get_port()),
        }
    }

    fn fault(error: &dyn DatabaseError) -> Fault {
        Self::DIALECT.fault(&number(error), error.message())
    }

    fn refuses_login(error: &dyn DatabaseError) -> bool {
        Self::DIALECT.refuses_login(&number(error))
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

/// The server's own number for an error.
fn number(error: &dyn DatabaseError) -> String {
    let error = error.try_downcast_ref::<MySqlDatabaseError>();
    error.map_or(0, MySqlDatabaseError::number).to_string()
}
