//! Aurora's table of instances: a function and a table of its names and columns, on servers that are not Aurora.

use std::collections::HashMap;
use std::time::Duration;

use dbrouter_sqlx::RoutedPool;
use dbrouter_sqlx::dbrouter::Dialect;
use dbrouter_sqlx::dbrouter::discover::{Aurora, Endpoint};
use dbrouter_tests::harness::Case;
use dbrouter_tests::{Result, mariadb};
use sqlx::{AssertSqlSafe, Postgres};

use super::{names, until_nodes};
use crate::support::{check, cluster, on_mariadb, on_postgres, until};

pub(super) fn cases() -> Vec<Case> {
    vec![
        on_postgres("discovery::auroras_function_is_read", function),
        on_mariadb("discovery::auroras_table_is_read", table),
    ]
}

async fn function() -> Result<()> {
    let cluster = cluster().await?;
    let mut app = cluster.primary().connect().await?;
    sqlx::raw_sql(
        "create table instances (server_id text, session_id text, last_update_timestamp timestamptz); \
         create function aurora_replica_status() returns setof instances language sql stable \
         as 'select * from instances'; \
         insert into instances values \
         ('primary', 'MASTER_SESSION_ID', now() - interval '1 hour'), \
         ('standby-1', '3e3c5044-02e2-11e7-b70d-95172646d6ca', now()), \
         ('standby-2', '1efdd188-02e4-11e7-becd-f12d7c88a28a', now() - interval '301 s')",
    )
    .execute(&mut app)
    .await?;
    let ports: HashMap<_, _> = cluster
        .nodes()
        .iter()
        .map(|node| (node.name().to_owned(), node.port()))
        .collect();
    let source = Aurora::new("unused")
        .every(Duration::from_millis(100))
        .endpoints(move |instance| {
            let name = &instance.server_id;
            Some(Endpoint::host("127.0.0.1", Some(*ports.get(name)?)).name(name))
        });
    let db = RoutedPool::<Postgres>::builder()
        .primary(cluster.primary().url())
        .discover(source)
        .connect()
        .await?;
    check(
        names(&db) == ["primary", "standby-1"],
        format!("{:?}", names(&db)),
    )?;
    sqlx::raw_sql(
        "update instances set last_update_timestamp = null where server_id = 'standby-2'; \
         delete from instances where server_id = 'standby-1'",
    )
    .execute(&mut app)
    .await?;
    until_nodes(&db, &["primary", "standby-2"]).await?;
    // What the table never is, is not believed.
    sqlx::query("delete from instances")
        .execute(&mut app)
        .await?;
    until(&db, "told that there is nobody", |status| {
        let discovery = status.discovery.as_ref();
        let error = discovery.and_then(|discovery| discovery.last_error.as_deref());
        error == Some("the table has no instance")
    })
    .await?;
    until_nodes(&db, &["primary", "standby-2"]).await
}

/// A schema that is the server's own takes no table, so that word of the question is replaced.
async fn table() -> Result<()> {
    let cluster = mariadb::Cluster::start(0).await?;
    let mut app = cluster.primary().connect().await?;
    sqlx::raw_sql(
        "create table replica_host_status (server_id varchar(100), session_id varchar(100), \
         last_update_timestamp datetime(6)); \
         insert into replica_host_status values \
         ('b', 'a-session', now() - interval 400 second), \
         ('a', 'MASTER_SESSION_ID', now() - interval 30 second), \
         ('c', 'another', null)",
    )
    .execute(&mut app)
    .await?;
    let question = Aurora::question(Dialect::MariaDb)?;
    let sql = question.sql().replace("information_schema.", "app.");
    let row = sqlx::query_as::<_, (String, String)>(AssertSqlSafe(sql));
    let (count, list) = row.fetch_one(&mut app).await?;
    check(count == "3", count)?;
    // Between filling the table and reading it, seconds may have passed.
    let [a, b, c] = list.split(',').collect::<Vec<_>>()[..] else {
        return check(false, list);
    };
    let age = |entry: &str, of: &str| -> Option<u64> { entry.strip_prefix(of)?.parse().ok() };
    check(age(a, "a w ").is_some_and(|age| (30..60).contains(&age)), a)?;
    check(
        age(b, "b r ").is_some_and(|age| (400..430).contains(&age)),
        b,
    )?;
    check(c == "c r ", c)
}
