//! Wrong configurations: each a clear error that names the field and shows no password (contract: `Adapter`).

use dbrouter::{Builder, ConfigError, ConfigErrorKind, Dialect, MonitorSettings, NodeOptions};

use super::{Mount, Need, Site, Subject, check, expect};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{OpensEarly, Servers};
    mount
        .case("no_primary", &[], no_primary)
        .case("two_primaries", &[], two_primaries)
        .case("two_nodes_of_one_name", &[], two_nodes_of_one_name)
        .case("an_empty_name", &[], empty_name)
        .case("another_kind_of_database", &[], another_kind)
        .case("weights_all_zero", &[], weights_all_zero)
        .case("an_interval_of_zero", &[], interval_of_zero)
        .case("an_unreachable_primary", &[], unreachable_primary)
        .case(
            "an_unreachable_replica_is_no_error",
            &[OpensEarly],
            unreachable_replica,
        )
        .case("the_primary_is_a_replica", &[Servers], primary_is_a_replica)
        .case(
            "a_replica_of_another_cluster",
            &[],
            replica_of_another_cluster,
        )
        .case(
            "the_wrong_user_is_named_and_no_password_shown",
            &[Servers],
            wrong_user,
        )
        .case("from_variables", &[], from_variables);
}

/// The error that connecting ends with. Its texts hide all passwords.
async fn error<S: Subject>(builder: Builder<S::Adapter>) -> Result<ConfigError> {
    let error = builder
        .connect()
        .await
        .map(drop)
        .err()
        .ok_or("it connected")?;
    let mut shown = format!("{error} {error:?}");
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        shown = format!("{shown} {error} {error:?}");
        source = error.source();
    }
    check(!shown.contains("sup3r-secret"), shown)?;
    Ok(error)
}

fn is(error: &ConfigError, kind: ConfigErrorKind, field: &str, text: &str) -> Result<()> {
    let shown = error.to_string();
    expect(&shown, error.kind(), kind)?;
    expect(&shown, error.field(), field)?;
    check(shown.contains(text), format!("no {text:?} in {shown:?}"))
}

async fn no_primary<S: Subject>(site: &Site<S>) -> Result<()> {
    let error = error::<S>(S::builder().replica(site.node(1))).await?;
    is(
        &error,
        ConfigErrorKind::Primary,
        "primary",
        "no primary was given",
    )
}

async fn two_primaries<S: Subject>(site: &Site<S>) -> Result<()> {
    let error = error::<S>(S::builder().primary(site.node(0)).primary(site.node(1))).await?;
    is(&error, ConfigErrorKind::Primary, "primary", "given twice")
}

async fn two_nodes_of_one_name<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = S::builder().primary(site.node(0));
    let builder = builder
        .replica(site.node(1).name("twin"))
        .replica(site.node(2).name("twin"));
    is(
        &error::<S>(builder).await?,
        ConfigErrorKind::Name,
        "node.name",
        "\"twin\"",
    )
}

async fn empty_name<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = S::builder()
        .primary(site.node(0))
        .replica(site.node(1).name(""));
    is(
        &error::<S>(builder).await?,
        ConfigErrorKind::Name,
        "node.name",
        "is empty",
    )
}

async fn another_kind<S: Subject>(site: &Site<S>) -> Result<()> {
    let (url, kinds) = match S::DATABASE {
        Dialect::Postgres => (
            "mysql://app:sup3r-secret@127.0.0.1/app",
            ["mysql", "MariaDB"],
        ),
        _ => (
            "postgres://app:sup3r-secret@127.0.0.1/app",
            ["postgres", "PostgreSQL"],
        ),
    };
    let error = error::<S>(S::builder().primary(site.node(0)).replica(url)).await?;
    expect("kind", error.kind(), ConfigErrorKind::WrongDatabase)?;
    let shown = error.to_string();
    let named = kinds.iter().any(|kind| shown.contains(kind));
    check(named && shown.starts_with("replica-1"), shown)
}

async fn weights_all_zero<S: Subject>(site: &Site<S>) -> Result<()> {
    let builder = S::builder()
        .primary(site.node(0))
        .replica(site.node(1).weight(0));
    is(
        &error::<S>(builder).await?,
        ConfigErrorKind::Weights,
        "replicas.weight",
        "above 0",
    )
}

async fn interval_of_zero<S: Subject>(site: &Site<S>) -> Result<()> {
    let never = MonitorSettings::new().interval(std::time::Duration::ZERO);
    let error = error::<S>(site.builder().monitor(never)).await?;
    is(
        &error,
        ConfigErrorKind::OutOfRange,
        "monitor.interval",
        "above zero",
    )
}

async fn unreachable_primary<S: Subject>(_: &Site<S>) -> Result<()> {
    let error = error::<S>(S::builder().primary(Site::<S>::nowhere())).await?;
    is(
        &error,
        ConfigErrorKind::Unreachable,
        "primary.url",
        "cannot be ",
    )?;
    check(
        std::error::Error::source(&error).is_some(),
        "the error has no source",
    )
}

async fn unreachable_replica<S: Subject>(site: &Site<S>) -> Result<()> {
    let nowhere = NodeOptions::new(Site::<S>::nowhere()).name("nowhere");
    let db = S::root(
        S::builder()
            .primary(site.node(0))
            .replica(nowhere)
            .connect()
            .await?,
    );
    expect("version", super::Handle::get(&db, 1).await?, Some(0))?;
    let status = dbrouter::Router::status(super::Handle::cluster(&db));
    check(
        status.node("nowhere").is_some_and(|node| !node.healthy),
        status.to_string(),
    )
}

async fn primary_is_a_replica<S: Subject>(site: &Site<S>) -> Result<()> {
    let error = error::<S>(S::builder().primary(site.url(1))).await?;
    is(
        &error,
        ConfigErrorKind::NotThePrimary,
        "primary.url",
        "is a replica, by its own account",
    )
}

async fn replica_of_another_cluster<S: Subject>(site: &Site<S>) -> Result<()> {
    let stranger = Site::<S>::open_stranger().await?;
    let builder = S::builder().primary(site.node(0)).replica(stranger.url(1));
    let error = error::<S>(builder).await?;
    is(
        &error,
        ConfigErrorKind::OtherCluster,
        "replica-1.url",
        "belongs to another cluster",
    )
}

async fn wrong_user<S: Subject>(site: &Site<S>) -> Result<()> {
    let url = site.url(0).replace("//app:", "//nobody:");
    let error = error::<S>(S::builder().primary(url)).await?;
    is(
        &error,
        ConfigErrorKind::Unreachable,
        "primary.url",
        "accepts this user",
    )?;
    let mut sources = String::new();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        sources = format!("{sources}{error}: ");
        source = error.source();
    }
    check(sources.contains("nobody"), sources)
}

async fn from_variables<S: Subject>(site: &Site<S>) -> Result<()> {
    let replicas = format!("{}, {}", site.url(1), site.url(2));
    let variables = |name: &str| match name {
        "DATABASE_URL" => Some(site.url(0).into()),
        "DATABASE_REPLICA_URLS" => Some(replicas.clone().into()),
        _ => None,
    };
    let db = S::root(
        Builder::from_variables(S::adapter(), variables)
            .connect()
            .await?,
    );
    let nodes = super::Handle::cluster(&db).nodes();
    let names: Vec<_> = nodes.iter().map(|node| node.name().to_string()).collect();
    expect(
        "nodes",
        names,
        ["primary", "replica-1", "replica-2"]
            .map(str::to_owned)
            .to_vec(),
    )?;
    let unset = error::<S>(Builder::from_variables(S::adapter(), |_| None)).await?;
    is(
        &unset,
        ConfigErrorKind::Primary,
        "DATABASE_URL",
        "is not set",
    )
}
