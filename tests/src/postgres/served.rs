use sqlx::{PgConnection, Row, query};

use super::{Node, StatementCount};
use crate::{Failure, Result};

impl Node {
    /// Counts from zero again.
    pub async fn forget_served(&self) -> Result<()> {
        let mut admin = self.accounting().await?;
        query("SELECT pg_stat_statements_reset()")
            .execute(&mut admin)
            .await?;
        Ok(())
    }

    /// Waits until the application's user has connections, and all of them are called `name`. An error if that does not
    /// come.
    pub async fn wait_all_named(&self, name: &str) -> Result<()> {
        let mut admin = self.admin().await?;
        let all = format!(
            "SELECT coalesce(bool_and(application_name = '{name}'), false) FROM pg_stat_activity WHERE usename = 'app'"
        );
        self.wait_until("have only connections that are set up", &mut admin, &all)
            .await
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

pub(super) async fn statement_counts(node: &Node) -> Result<Vec<StatementCount>> {
    let mut admin = node.accounting().await?;
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
