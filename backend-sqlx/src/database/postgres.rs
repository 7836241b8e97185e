use dbrouter::{Answer, Dialect, Fault, Question};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError, PgPoolOptions};
use sqlx::{Executor, Postgres};

use super::{RoutedDatabase, ask};

impl RoutedDatabase for Postgres {
    const DIALECT: Dialect = Dialect::Postgres;

    fn read_only(
        options: PgConnectOptions,
        pool_options: PgPoolOptions,
    ) -> (PgConnectOptions, PgPoolOptions) {
        let options = options.options([("default_transaction_read_only", "on")]);
        (options, pool_options)
    }

    fn fault(error: &dyn DatabaseError) -> Fault {
        match is_stale_plan(error) {
            true => Fault::Other,
            false => Self::DIALECT.fault(&error.code().unwrap_or_default(), error.message()),
        }
    }

    async fn execute(connection: &mut PgConnection, sql: &'static str) -> Result<(), sqlx::Error> {
        Executor::execute(connection, sql).await.map(drop)
    }

    async fn ask(
        connection: &mut PgConnection,
        question: &Question,
    ) -> Result<Answer, sqlx::Error> {
        ask::<Self>(connection, question).await
    }
}

/// A prepared statement whose result has changed bears a code that recovery uses as well.
fn is_stale_plan(error: &dyn DatabaseError) -> bool {
    let error = error.try_downcast_ref::<PgDatabaseError>();
    error.and_then(PgDatabaseError::routine) == Some("RevalidateCachedQuery")
}
