//! Nodes that nobody lists, found on real servers.

mod aurora;
mod dns;
mod standbys;

use dbrouter_sqlx::RoutedPool;
use dbrouter_sqlx::dbrouter::{ConfigError, ConfigErrorKind};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::{Cluster, Node};
use sqlx::Postgres;

use crate::support::{check, cluster, on_postgres, until};

pub(crate) fn cases() -> Vec<Case> {
    let roles = [
        on_postgres(
            "discovery::nodes_without_roles_are_sorted_by_asking",
            nodes_without_roles,
        ),
        on_postgres(
            "discovery::of_two_primaries_it_is_the_promoted_one",
            of_two_primaries,
        ),
        on_postgres(
            "discovery::without_a_primary_all_say_what_they_are",
            without_a_primary,
        ),
    ];
    let all = [standbys::cases(), aurora::cases(), dns::cases()];
    roles.into_iter().chain(all.into_iter().flatten()).collect()
}

/// A node's default name.
fn address(node: &Node) -> String {
    format!("127.0.0.1:{}", node.port())
}

fn names(db: &RoutedPool<Postgres>) -> Vec<String> {
    let nodes = db.status().nodes;
    nodes.into_iter().map(|node| node.name).collect()
}

/// Waits until the router has these nodes, in whichever order, and all are fit for work.
async fn until_nodes(db: &RoutedPool<Postgres>, wanted: &[&str]) -> Result<()> {
    until(db, &format!("a router over {wanted:?}"), |status| {
        let healthy = status.nodes.iter().filter(|node| node.healthy);
        let mut names: Vec<_> = healthy.map(|node| node.name.as_str()).collect();
        let mut wanted = wanted.to_vec();
        names.sort_unstable();
        wanted.sort_unstable();
        names == wanted && status.nodes.len() == wanted.len()
    })
    .await
}

/// What connecting to them ends with, if that is an error.
async fn error_of(cluster: &Cluster) -> Result<ConfigError> {
    let urls = cluster.nodes().iter().map(Node::url);
    let connected = RoutedPool::<Postgres>::builder()
        .nodes(urls)
        .connect()
        .await;
    Ok(connected.map(drop).err().ok_or("it connected")?)
}

/// Each server by two names, the primary in the middle.
async fn nodes_without_roles() -> Result<()> {
    let cluster = cluster().await?;
    let order = [cluster.node(2), cluster.primary(), cluster.node(1)];
    let urls = order.map(Node::url);
    let again = order.map(|node| node.url().replace("127.0.0.1", "localhost"));
    let db = RoutedPool::<Postgres>::builder()
        .nodes(urls.into_iter().chain(again))
        .connect()
        .await?;
    let wanted = [cluster.primary(), cluster.node(2), cluster.node(1)].map(address);
    check(names(&db) == wanted, format!("{:?}", names(&db)))?;
    sqlx::query("update kv set version = 1")
        .execute(&db)
        .await?;
    cluster.wait_caught_up().await?;
    until(&db, "fresh", |_| {
        db.explain("select version from kv")
            .is_ok_and(|decision| *decision.node != wanted[0])
    })
    .await
}

async fn of_two_primaries() -> Result<()> {
    let cluster = cluster().await?;
    let [promoted, follower] = cluster.standbys() else {
        return check(false, "not two standbys");
    };
    promoted.promote().await?;
    let urls = cluster.nodes().iter().map(Node::url);
    let db = RoutedPool::<Postgres>::builder()
        .nodes(urls)
        .connect()
        .await?;
    check(
        names(&db)[0] == address(promoted),
        format!("{:?}", names(&db)),
    )?;
    let row = sqlx::query_scalar::<_, i32>("select inet_server_port()");
    let port = row.fetch_one(&db.write()).await?;
    check(
        port == i32::from(promoted.port()),
        format!("wrote to {port}"),
    )?;
    drop((db, follower));
    Ok(())
}

async fn without_a_primary() -> Result<()> {
    let cluster = cluster().await?;
    cluster.primary().stop().await?;
    cluster.standbys()[1].stop().await?;
    let error = error_of(&cluster).await?;
    check(
        error.kind() == ConfigErrorKind::Primary,
        format!("{error:?}"),
    )?;
    let text = error.to_string();
    let replica = format!("{}: is a replica", address(cluster.node(1)));
    check(text.contains(&replica), &*text)?;
    check(text.matches("refused").count() == 2, &*text)?;
    check(!text.contains("sup3r-secret"), text)
}
