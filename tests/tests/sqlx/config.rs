//! Wrong configurations: each a clear error that names the field, and never shows a password.

use dbrouter_sqlx::dbrouter::{ConfigError, ConfigErrorKind};
use dbrouter_sqlx::{Builder, RoutedPool};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use sqlx::{Postgres, Sqlite};

use crate::support::check;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("config::an_unparsable_url", unparsable_url),
        Case::new(
            "config::a_private_database_has_no_replicas",
            private_database,
        ),
    ]
}

/// The error that connecting ends with. Its texts hide all passwords.
async fn error<DB: dbrouter_sqlx::RoutedDatabase>(builder: Builder<DB>) -> Result<ConfigError> {
    let error = builder
        .connect()
        .await
        .map(drop)
        .err()
        .ok_or("it connected")?;
    let shown = format!("{error} {error:?}");
    check(!shown.contains("sup3r-secret"), shown)?;
    Ok(error)
}

/// Checks an error's kind and field, and that its text contains what it should.
fn expect(error: &ConfigError, kind: ConfigErrorKind, field: &str, text: &str) -> Result<()> {
    let shown = error.to_string();
    check(error.kind() == kind, format!("{:?}: {shown}", error.kind()))?;
    check(
        error.field() == field,
        format!("{}: {shown}", error.field()),
    )?;
    check(shown.contains(text), shown)
}

async fn unparsable_url() -> Result<()> {
    let builder = RoutedPool::<Postgres>::builder().primary("postgres://app:sup3r-secret@h:port/d");
    expect(
        &error(builder).await?,
        ConfigErrorKind::Url,
        "primary.url",
        "`postgres:…`",
    )
}

async fn private_database() -> Result<()> {
    let memory = "sqlite::memory:";
    let builder = RoutedPool::<Sqlite>::builder()
        .primary(memory)
        .replica(memory);
    let text = "in-memory database";
    expect(
        &error(builder).await?,
        ConfigErrorKind::OtherCluster,
        "replica-1.url",
        text,
    )
}
