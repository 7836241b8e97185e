use sqlx::{PgConnection, Row, query};

use super::node::Node;
use crate::{Failure, Result};

/// What a server says that the application made it do to one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Served {
    /// Statements that read it.
    pub reads: i64,
    /// Statements that changed it.
    pub writes: i64,
}

/// How often the application has had one statement executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementCount {
    /// Its text, constants replaced by `$1`, `$2` …. Statements that differ in constants, comments
    /// or layout alone are counted together, under the text of the first: a comment is no mark to
    /// tell them apart by.
    pub text: String,
    /// The number of executions that came to their end without an error.
    pub calls: i64,
}

impl Node {
    /// What the application made this server do to `table`, since the start or since
    /// [`forget_served`](Self::forget_served). The table's name must be a word of its own in the
    /// statement.
    pub async fn served(&self, table: &str) -> Result<Served> {
        let mut served = Served::default();
        for statement in self.statement_counts().await? {
            let words = words(&statement.text);
            if !words.iter().any(|word| word == table) {
                continue;
            }
            match words.first().map(String::as_str) {
                Some("insert" | "update" | "delete" | "merge" | "truncate") => {
                    served.writes += statement.calls;
                }
                // A CTE may write.
                Some("with") if words.iter().any(|word| is_write(word)) => {
                    served.writes += statement.calls;
                }
                Some("select" | "with" | "table") => served.reads += statement.calls,
                // Such as CREATE TABLE.
                _ => {}
            }
        }
        Ok(served)
    }

    /// All that this server has executed for the application, most frequent first.
    pub async fn statement_counts(&self) -> Result<Vec<StatementCount>> {
        let mut admin = self.accounting().await?;
        let counts = query(
            "SELECT query, sum(calls)::bigint FROM pg_stat_statements
             JOIN pg_database ON pg_database.oid = dbid
             WHERE userid = 'app'::regrole AND datname = 'app'
             GROUP BY query ORDER BY 2 DESC, 1",
        )
        .fetch_all(&mut admin)
        .await?;
        let count = |row: &_| {
            let row: &sqlx::postgres::PgRow = row;
            Ok(StatementCount {
                text: row.try_get(0)?,
                calls: row.try_get(1)?,
            })
        };
        counts.iter().map(count).collect()
    }

    /// Counts from zero again.
    pub async fn forget_served(&self) -> Result<()> {
        let mut admin = self.accounting().await?;
        query("SELECT pg_stat_statements_reset()")
            .execute(&mut admin)
            .await?;
        Ok(())
    }

    async fn accounting(&self) -> Result<PgConnection> {
        let mut admin = self.admin().await?;
        let there = "SELECT FROM pg_extension WHERE extname = 'pg_stat_statements'";
        if query(there).fetch_optional(&mut admin).await?.is_none() {
            let missing =
                "PostgreSQL lacks pg_stat_statements (often packaged as postgresql-contrib)";
            return Err(Failure::new(missing).into());
        }
        Ok(admin)
    }
}

/// The words of a statement in lower case, without its comments.
fn words(statement: &str) -> Vec<String> {
    let mut code = String::new();
    let mut rest = statement;
    while let Some(start) = rest.find("/*") {
        code.push_str(&rest[..start]);
        code.push(' ');
        rest = rest[start..]
            .split_once("*/")
            .map_or("", |(_, after)| after);
    }
    code.push_str(rest);
    code.lines()
        .map(|line| line.split_once("--").map_or(line, |(before, _)| before))
        .flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

fn is_write(word: &str) -> bool {
    matches!(word, "insert" | "update" | "delete" | "merge")
}
