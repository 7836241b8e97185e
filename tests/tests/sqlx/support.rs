//! What the cases share: a cluster with one table, and a router over it.

use std::time::Duration;

use dbrouter_sqlx::dbrouter::{MonitorSettings, Status};
use dbrouter_sqlx::{Builder, NodeOptions, RoutedDatabase, RoutedPool};
use dbrouter_tests::harness::{Case, Need};
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Failure, Result, wait};
use sqlx::Postgres;

/// A case that needs PostgreSQL.
pub(crate) fn on_postgres<B>(name: &str, body: B) -> Case
where
    B: AsyncFnOnce() -> Result<()> + Send + 'static,
{
    Case::new(name, body).needs(Need::Postgres)
}

/// A case that needs MariaDB.
pub(crate) fn on_mariadb<B>(name: &str, body: B) -> Case
where
    B: AsyncFnOnce() -> Result<()> + Send + 'static,
{
    Case::new(name, body).needs(Need::MariaDb)
}

/// A primary and two standbys with the table `kv`: the keys 1 to 64, and a version each.
pub(crate) async fn cluster() -> Result<Cluster> {
    let cluster = Cluster::start(2).await?;
    let mut app = cluster.primary().connect().await?;
    sqlx::raw_sql(
        "create table kv (id int primary key, version bigint not null); \
         insert into kv select id, 0 from generate_series(1, 64) id",
    )
    .execute(&mut app)
    .await?;
    cluster.wait_caught_up().await?;
    for node in cluster.nodes() {
        node.forget_served().await?;
    }
    Ok(cluster)
}

/// When a read leaves a standby whose connections take long to be opened, where a case says which node serves it: as in the
/// conformance suite later than by default.
pub(crate) const ACQUIRE_LIMIT: Duration = Duration::from_secs(2);

/// A builder by whose limits a server may be as slow as on a busy machine.
pub(crate) fn builder<DB: RoutedDatabase>() -> Builder<DB> {
    let monitor = MonitorSettings::new().timeout(Duration::from_secs(5));
    let builder = RoutedPool::builder();
    builder.acquire_limit(ACQUIRE_LIMIT).monitor(monitor)
}

/// A router over all nodes of the cluster, not yet connected.
pub(crate) fn router(cluster: &Cluster) -> Builder<Postgres> {
    cluster.standbys().iter().fold(
        builder().primary(cluster.primary().url()),
        |builder, standby| builder.replica(node(standby)),
    )
}

/// A standby under its own name.
pub(crate) fn node(standby: &dbrouter_tests::postgres::Node) -> NodeOptions<Postgres> {
    NodeOptions::new(standby.url()).name(standby.name())
}

/// Waits until the router's status is as wanted.
pub(crate) async fn until(
    db: &RoutedPool<Postgres>,
    what: &str,
    wanted: impl Fn(&Status) -> bool,
) -> Result<()> {
    let in_time = wait::until(async || wanted(&db.status())).await;
    check(in_time, format!("not {what} in time:\n{}", db.status()))
}

/// Fails the case with a message if `holds` is false.
pub(crate) fn check(holds: bool, message: impl Into<String>) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(Failure::new(message.into()).into())
    }
}

/// The SQLSTATE of a server's error.
pub(crate) fn code(error: &sqlx::Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}
