use dbrouter::{Answer, Dialect, Fault, Question};
use sqlx::Sqlite;
use sqlx::error::DatabaseError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use super::{RoutedDatabase, answer};

impl RoutedDatabase for Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;

    fn read_only(options: SqliteConnectOptions) -> SqliteConnectOptions {
        options.pragma("query_only", "ON")
    }

    fn fault(error: &dyn DatabaseError) -> Fault {
        // The lower byte is the primary result code, the rest says more.
        let code = error
            .code()
            .and_then(|code| code.parse::<u32>().ok())
            .unwrap_or(0);
        match code & 0xFF {
            BUSY | LOCKED => Fault::Busy,
            READONLY => Fault::ReadOnly,
            IO_ERROR | CANNOT_OPEN => Fault::Unavailable,
            // A temporary table, an attached database, a function: the writer may have it.
            ERROR if error.message().starts_with("no such ") => Fault::Missing,
            _ => Fault::Other,
        }
    }

    async fn ask(
        connection: &mut SqliteConnection,
        question: &Question,
    ) -> Result<Answer, sqlx::Error> {
        let row = sqlx::query(question.sql()).fetch_one(connection).await?;
        answer(&row, question)
    }
}

// SQLite's primary result codes (sqlite.org/rescode.html).
const ERROR: u32 = 1;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const READONLY: u32 = 8;
const IO_ERROR: u32 = 10;
const CANNOT_OPEN: u32 = 14;
