//! What the classifier says of a statement, and which token decided it.
//!
//! ```text
//! echo 'select * from jobs for update' | cargo run --example classify
//! cargo run --example classify -- --dialect sqlite < statement.sql
//! cargo run --example classify -- --json --database-url postgres://app@localhost/shop < statements.jsonl
//! ```
//!
//! The whole of the standard input is one statement. With `--json` each line is an object, `{"sql": "…"}`,
//! and the answer to it is one line: `read` or `write`. The functions are those that come with the server,
//! or with `--database-url` those of a PostgreSQL server's catalog.

use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

use dbrouter_sqlx::dbrouter::{Classifier, Intent, Sql};
use lexopt::prelude::{Long, ValueExt};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Row};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
Usage: classify [--dialect postgres|mysql|mariadb|sqlite] [--database-url URL] [--without-hints] [--json]

Reads one statement from the standard input and says what it needs.

  --dialect         whose SQL it is (default: postgres)
  --database-url    a PostgreSQL server whose functions are to be known
  --without-hints   take /*dbrouter:primary*/ and /*dbrouter:replica*/ for comments
  --json            read one object a line, {\"sql\": \"…\"}, and print `read` or `write` for each";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("classify: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let Some(options) = Options::parse()? else {
        println!("{USAGE}");
        return Ok(());
    };
    let sql = options.classifier().await?;
    match options.json {
        true => each_line(&sql),
        false => the_statement(&sql),
    }
}

struct Options {
    dialect: String,
    database_url: Option<String>,
    hints: bool,
    json: bool,
}

impl Options {
    /// The options of the command line; `None` if help is wanted.
    fn parse() -> Result<Option<Self>> {
        let mut options = Self {
            dialect: "postgres".to_owned(),
            database_url: None,
            hints: true,
            json: false,
        };
        let mut arguments = lexopt::Parser::from_env();
        while let Some(argument) = arguments.next()? {
            match argument {
                Long("dialect") => options.dialect = arguments.value()?.string()?,
                Long("database-url") => options.database_url = Some(arguments.value()?.string()?),
                Long("without-hints") => options.hints = false,
                Long("json") => options.json = true,
                Long("help") | lexopt::Arg::Short('h') => return Ok(None),
                _ => return Err(argument.unexpected().into()),
            }
        }
        Ok(Some(options))
    }

    async fn classifier(&self) -> Result<Sql> {
        let sql = match &*self.dialect {
            "postgres" | "postgresql" => Sql::postgres(),
            "mysql" | "mariadb" => Sql::mysql(),
            "sqlite" => Sql::sqlite(),
            other => {
                let right = "postgres, mysql, mariadb or sqlite";
                return Err(
                    format!("--dialect {other}: there is no such dialect; give {right}").into(),
                );
            }
        };
        let sql = if self.hints { sql } else { sql.without_hints() };
        match (&self.database_url, sql.question()) {
            (None, _) => {}
            (Some(url), mut next @ Some(_)) if self.dialect.starts_with("postgres") => {
                let connecting = PgConnection::connect(url).await;
                let mut connection =
                    connecting.map_err(|error| format!("--database-url: {error}"))?;
                while let Some(question) = next {
                    let row = sqlx::query(AssertSqlSafe(question.sql()))
                        .fetch_one(&mut connection)
                        .await?;
                    let columns = (0..question.columns()).map(|column| row.try_get(column));
                    next = sql.learn(&columns.collect::<sqlx::Result<_>>()?);
                }
            }
            (Some(_), _) => {
                let dialect = &self.dialect;
                return Err(
                    format!("--database-url: {dialect} has no catalog of its functions").into(),
                );
            }
        }
        Ok(sql)
    }
}

fn the_statement(sql: &Sql) -> Result<()> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    let verdict = sql.inspect(&text);
    let (intent, reason) = (verdict.classification.intent, verdict.classification.reason);
    match verdict.token {
        "" => println!("{intent}: {reason}"),
        token => println!("{intent}: {reason}, by {token:?}"),
    }
    Ok(())
}

/// Answers each line with one. What cannot be read is no read; it is complained of, and makes the program
/// fail in the end.
fn each_line(sql: &Sql) -> Result<()> {
    let mut answers = io::stdout().lock();
    let mut wrong = 0;
    for (number, line) in (1..).zip(io::stdin().lock().lines()) {
        let line = line?;
        let object = serde_json::from_str::<serde_json::Value>(&line);
        let statement = object
            .as_ref()
            .ok()
            .and_then(|object| object["sql"].as_str());
        let answer = match statement.map(|statement| sql.classify(statement).intent) {
            Some(Intent::Read) => "read",
            Some(Intent::Write) => "write",
            None => {
                eprintln!("line {number} is no object with a text under \"sql\": {line:.100}");
                wrong += 1;
                "write"
            }
        };
        writeln!(answers, "{answer}")?;
    }
    match wrong {
        0 => Ok(()),
        wrong => Err(format!("{wrong} lines could not be read").into()),
    }
}
