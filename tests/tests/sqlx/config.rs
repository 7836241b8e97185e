//! Wrong configurations: each a clear error that names the field, and never shows a password.

use dbrouter_sqlx::dbrouter::{ConfigError, ConfigErrorKind};
use dbrouter_sqlx::{Builder, NodeOptions, RoutedPool};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::Cluster;
use sqlx::{Postgres, Sqlite};

use crate::support::{check, cluster, on_postgres, router};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("config::no_primary", no_primary),
        Case::new("config::two_nodes_of_one_name", two_nodes_of_one_name),
        Case::new("config::another_kind_of_database", another_kind_of_database),
        Case::new("config::an_unparsable_url", unparsable_url),
        Case::new("config::weights_all_zero", weights_all_zero),
        Case::new("config::an_unreachable_primary", unreachable_primary),
        Case::new(
            "config::a_private_database_has_no_replicas",
            private_database,
        ),
        Case::new("config::another_file", another_file),
        on_postgres("config::the_primary_is_a_standby", primary_is_a_standby),
        on_postgres(
            "config::a_replica_of_another_cluster",
            replica_of_another_cluster,
        ),
        on_postgres(
            "config::the_wrong_password_is_not_shown",
            wrong_user_is_named,
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

const URL: &str = "postgres://app:sup3r-secret@127.0.0.1:9/app";

async fn no_primary() -> Result<()> {
    let error = error(RoutedPool::<Postgres>::builder().replica(URL)).await?;
    expect(
        &error,
        ConfigErrorKind::Primary,
        "primary",
        "no primary was given",
    )
}

async fn two_nodes_of_one_name() -> Result<()> {
    let twin = || NodeOptions::new(URL).name("twin");
    let builder = RoutedPool::<Postgres>::builder()
        .primary(URL)
        .replica(twin())
        .replica(twin());
    expect(
        &error(builder).await?,
        ConfigErrorKind::Name,
        "node.name",
        "\"twin\"",
    )
}

async fn another_kind_of_database() -> Result<()> {
    let mysql = "mysql://app:sup3r-secret@127.0.0.1/app";
    let builder = RoutedPool::<Postgres>::builder()
        .primary(URL)
        .replica(mysql);
    let text = "`mysql://app:***@127.0.0.1/app` is a mysql URL";
    expect(
        &error(builder).await?,
        ConfigErrorKind::WrongDatabase,
        "replica-1.url",
        text,
    )
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

async fn weights_all_zero() -> Result<()> {
    let never = || NodeOptions::new(URL).weight(0);
    let builder = RoutedPool::<Postgres>::builder()
        .primary(URL)
        .replica(never())
        .replica(never());
    expect(
        &error(builder).await?,
        ConfigErrorKind::Weights,
        "replicas.weight",
        "above 0",
    )
}

async fn unreachable_primary() -> Result<()> {
    // The discard port, on which nobody listens.
    let error = error(RoutedPool::<Postgres>::builder().primary(URL)).await?;
    expect(
        &error,
        ConfigErrorKind::Unreachable,
        "primary.url",
        "cannot be reached",
    )?;
    check(
        std::error::Error::source(&error).is_some(),
        "the error has no source",
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

async fn another_file() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| format!("sqlite://{}?mode=rwc", folder.path().join(name).display());
    let builder = RoutedPool::<Sqlite>::builder()
        .primary(file("a.db"))
        .replica(file("b.db"));
    let text = "belongs to another cluster";
    expect(
        &error(builder).await?,
        ConfigErrorKind::OtherCluster,
        "replica-1.url",
        text,
    )
}

async fn primary_is_a_standby() -> Result<()> {
    let cluster = cluster().await?;
    let builder = RoutedPool::<Postgres>::builder().primary(cluster.standbys()[0].url());
    let text = "is a replica, by its own account";
    expect(
        &error(builder).await?,
        ConfigErrorKind::NotThePrimary,
        "primary.url",
        text,
    )
}

async fn replica_of_another_cluster() -> Result<()> {
    let cluster = cluster().await?;
    let stranger = Cluster::builder()
        .standbys(1)
        .own_identity()
        .start()
        .await?;
    let builder = router(&cluster).replica(stranger.standbys()[0].url());
    let error = error(builder).await?;
    expect(
        &error,
        ConfigErrorKind::OtherCluster,
        "replica-1.url",
        "belongs to another cluster",
    )
}

async fn wrong_user_is_named() -> Result<()> {
    let cluster = cluster().await?;
    let url = format!(
        "postgres://nobody:sup3r-secret@127.0.0.1:{}/app",
        cluster.primary().port()
    );
    let error = error(RoutedPool::<Postgres>::builder().primary(url)).await?;
    expect(
        &error,
        ConfigErrorKind::Unreachable,
        "primary.url",
        "accepts this user",
    )?;
    let source = std::error::Error::source(&error)
        .ok_or("the error has no source")?
        .to_string();
    check(
        source.contains("nobody") && !source.contains("sup3r"),
        source,
    )
}
