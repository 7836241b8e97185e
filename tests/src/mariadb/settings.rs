use sqlx::{AssertSqlSafe, query_scalar, raw_sql};

use super::Node;
use crate::Result;

impl Node {
    /// Changes a setting that can be changed while it runs. New connections see it, and it outlives
    /// a restart.
    pub async fn set(&self, name: &str, value: &str) -> Result<()> {
        // A number in quotes is none.
        let literal = if value.parse::<f64>().is_ok() {
            value.to_owned()
        } else {
            format!("'{}'", value.replace('\\', r"\\").replace('\'', "''"))
        };
        self.run(&format!("SET GLOBAL {name} = {literal}")).await?;
        self.keep(name, value)
    }

    /// The number of client connections that this user has open here.
    pub async fn backends(&self, user: &str) -> Result<i64> {
        let mut admin = self.admin().await?;
        let count = "SELECT count(*) FROM information_schema.processlist
                     WHERE user = ? AND id <> connection_id()";
        Ok(query_scalar(count).bind(user).fetch_one(&mut admin).await?)
    }

    /// Refuses new connections of the application's from now on, or takes them again. Its replicas are not told.
    pub async fn refuse_logins(&self, refuses: bool) -> Result<()> {
        let state = if refuses { "LOCK" } else { "UNLOCK" };
        let alter = format!("ALTER USER app@'127.0.0.1' ACCOUNT {state}");
        self.run(&format!("SET SESSION sql_log_bin = 0; {alter}"))
            .await
    }

    /// Has the superuser do something.
    pub(super) async fn run(&self, statements: &str) -> Result<()> {
        let mut admin = self.admin().await?;
        // Not prepared: that goes for one statement alone, and not for all.
        raw_sql(AssertSqlSafe(statements))
            .execute(&mut admin)
            .await?;
        Ok(())
    }
}
