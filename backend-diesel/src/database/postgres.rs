use std::error::Error;

use dbrouter::{Answer, Dialect, Fault, Login, Question};
use diesel::QueryResult;
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use super::{Ask, Columns, RoutedConnection};
use crate::error::querying;

impl RoutedConnection for AsyncPgConnection {
    const DIALECT: Dialect = Dialect::Postgres;

    fn parse(url: &str) -> Result<String, Box<dyn Error + Send + Sync>> {
        // The driver's own error could show what it stumbled over.
        match url.parse::<tokio_postgres::Config>() {
            Ok(_) => Ok(url.to_owned()),
            Err(_) => Err("expected postgres://user:password@host:port/database, \
                           or key=value pairs as libpq takes them"
                .into()),
        }
    }

    fn with_login(url: &str, login: &Login) -> Option<String> {
        if url.contains("://") {
            return login.within(url);
        }
        // Of two values of a key, the last one holds.
        let quoted = |text: &str| text.replace('\\', r"\\").replace('\'', r"\'");
        let user = login.user().map(|user| format!(" user='{}'", quoted(user)));
        let user = user.unwrap_or_default();
        Some(format!(
            "{url}{user} password='{}'",
            quoted(login.password())
        ))
    }

    fn read_only(url: &str) -> Option<String> {
        // As sqlx's adapter has it. The last value of the key holds, so it has those before it as well.
        const READ_ONLY: &str = r"-c default_transaction_read_only=on -c default_transaction_isolation=repeatable\ read";
        let config = url.parse::<tokio_postgres::Config>().ok()?;
        let stated = config.get_options().map(|stated| format!("{stated} "));
        let options = format!("{}{READ_ONLY}", stated.unwrap_or_default());
        if !url.contains("://") {
            return Some(format!("{url} options={}", quoted(&options)));
        }
        let separator = if url.contains('?') { '&' } else { '?' };
        Some(format!(
            "{url}{separator}options={}",
            percent_encoded(&options)
        ))
    }

    async fn was_opened_read_only(&mut self) -> QueryResult<bool> {
        let question =
            "SELECT (current_setting('default_transaction_read_only') = 'on')::int::text";
        let answer = self.ask(&Question::new(question, 1)).await?;
        Ok(answer.is_yes())
    }

    async fn ask(&mut self, question: &Question) -> QueryResult<Answer> {
        let asked: QueryResult<Columns> = Ask(question).get_result(self).await;
        let row = match asked {
            // A hot standby refuses whatever is asked at the isolation level that is the default. Replicas' connections
            // are opened with another one, but this may be a pool that somebody else has opened.
            Err(error) if querying(&error) == Fault::Conflict => {
                self.batch_execute(Self::DIALECT.replica_session()).await?;
                Ask(question).get_result(self).await?
            }
            row => row?,
        };
        Ok(row.into())
    }

    async fn begin_read_only(&mut self) -> QueryResult<()> {
        AnsiTransactionManager::begin_transaction_sql(self, Self::DIALECT.begin_read_only()).await
    }

    async fn begin_snapshot(&mut self) -> QueryResult<()> {
        AnsiTransactionManager::begin_transaction_sql(self, Self::DIALECT.begin_snapshot()).await
    }
}

/// As a value among libpq's key=value pairs.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

/// As a value among a URL's parameters.
fn percent_encoded(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_pairs_take_options_and_logins() {
        let login = Login::new(r"a'\ %&").with_user("b");
        for url in [
            "postgres://app:old@h/shop",
            "postgres://app@h/shop?sslmode=prefer&options=-c%20geqo%3Doff",
            "host=h user=app dbname=shop options='-c geqo=off'",
            "host=h user=app dbname=shop",
        ] {
            let config = |url: &str| url.parse::<tokio_postgres::Config>().unwrap();
            let stated = config(url).get_options().map(str::to_owned);
            let stated = stated.map(|stated| stated + " ").unwrap_or_default();
            let with = AsyncPgConnection::with_login(url, &login).unwrap();
            let with = config(&AsyncPgConnection::read_only(&with).unwrap());
            let read_only = r"-c default_transaction_read_only=on -c default_transaction_isolation=repeatable\ read";
            assert_eq!(with.get_options(), Some(&*(stated + read_only)), "{url}");
            assert_eq!(with.get_password(), Some(login.password().as_bytes()));
            assert_eq!(
                (with.get_user(), with.get_dbname()),
                (Some("b"), Some("shop"))
            );
        }
    }
}
