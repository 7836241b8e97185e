use dbrouter::{Answer, Dialect, Fault, Question};
use sqlx::Postgres;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError};

use super::{RoutedDatabase, answer};

impl RoutedDatabase for Postgres {
    const DIALECT: Dialect = Dialect::Postgres;

    fn read_only(options: PgConnectOptions) -> PgConnectOptions {
        options.options([("default_transaction_read_only", "on")])
    }

    fn fault(error: &dyn DatabaseError) -> Fault {
        match error.code().as_deref().unwrap_or_default() {
            // Shut down, crashed, starting up, idle for too long.
            "57P01" | "57P02" | "57P03" | "57P05" => Fault::Unavailable,
            // Too many connections.
            "53300" => Fault::Busy,
            "25006" => Fault::ReadOnly,
            // What recovery does not allow, not every time as a read-only transaction. A prepared statement
            // whose result has changed bears such a code as well.
            "0A000" | "55000" | "XX000" if !is_stale_plan(error) => Fault::Unsupported,
            // An unknown schema, column, type, function or table.
            "3F000" | "42703" | "42704" | "42883" | "42P01" => Fault::Missing,
            // On a standby: a conflict with recovery, as an error or as a deadlock.
            "40001" | "40P01" => Fault::Conflict,
            // The class of connection exceptions.
            code if code.starts_with("08") => Fault::Unavailable,
            _ => Fault::Other,
        }
    }

    async fn ask(
        connection: &mut PgConnection,
        question: &Question,
    ) -> Result<Answer, sqlx::Error> {
        let row = sqlx::query(question.sql()).fetch_one(connection).await?;
        answer(&row, question)
    }
}

fn is_stale_plan(error: &dyn DatabaseError) -> bool {
    let error = error.try_downcast_ref::<PgDatabaseError>();
    error.and_then(PgDatabaseError::routine) == Some("RevalidateCachedQuery")
}
