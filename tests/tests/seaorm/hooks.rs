//! What SeaORM's options do to each connection is done to those of every node, and the router's own comes after it.

use dbrouter_seaorm::{PoolOptions, RoutedConnection};
use dbrouter_tests::any::Kind;
use dbrouter_tests::harness::{Case, Need};
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Failure, Result};
use sea_orm::{ConnectionTrait, Statement};
use sqlx::Executor;

pub(crate) fn cases() -> Vec<Case> {
    let on = |kind: Kind| {
        let name = format!(
            "hooks::prepare_connections_of_every_node_on_{}",
            kind.name()
        );
        Case::new(name, async move || on_every_node(kind).await).needs(kind.need())
    };
    let of_the_monitor = Case::new(
        "hooks::prepare_the_monitors_connections_as_well",
        of_the_monitor,
    );
    let on_every_node = Kind::ALL.into_iter().map(on);
    on_every_node
        .chain([of_the_monitor.needs(Need::Postgres)])
        .collect()
}

async fn of_the_monitor() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let options = PoolOptions::new(|options| {
        options.map_sqlx_postgres_pool_opts(|pool| {
            pool.after_connect(|connection, _| {
                let name = "set application_name = 'set up'";
                Box::pin(async move { connection.execute(name).await.map(drop) })
            })
        });
    });
    let builder = RoutedConnection::builder().primary(cluster.primary().url());
    let builder = builder.replica(cluster.standbys()[0].url());
    let _db = builder.pool_options(options).connect().await?;
    for node in cluster.nodes() {
        node.wait_all_named("set up").await?;
    }
    Ok(())
}

fn options() -> PoolOptions {
    PoolOptions::new(|options| {
        options
            .map_sqlx_mysql_pool_opts(|pool| {
                pool.after_connect(|connection, _| {
                    let prepare = "set time_zone = '+05:00'";
                    Box::pin(async move { connection.execute(prepare).await.map(drop) })
                })
            })
            .map_sqlx_postgres_pool_opts(|pool| {
                pool.after_connect(|connection, _| {
                    let prepare = "set time zone interval '+05:00' hour to minute";
                    Box::pin(async move { connection.execute(prepare).await.map(drop) })
                })
            });
    })
}

async fn on_every_node(kind: Kind) -> Result<()> {
    let cluster = kind.start(2).await?;
    let builder = RoutedConnection::builder().primary(cluster.primary().url());
    let standbys = cluster.standbys().into_iter();
    let builder = standbys.fold(builder, |builder, standby| builder.replica(standby.url()));
    let db = builder.pool_options(options()).connect().await?;
    let ask = match kind {
        Kind::MariaDb => "select concat_ws(' ', @@session.time_zone, @@session.tx_read_only)",
        Kind::Postgres => {
            "select concat_ws(' ', extract(timezone_hour from now()), \
             current_setting('default_transaction_read_only'))"
        }
    };
    let expected = match kind {
        Kind::MariaDb => ["+05:00 OFF", "+05:00 ON", "+05:00 ON"],
        Kind::Postgres => ["5 off", "5 on", "5 on"],
    };
    for (node, expected) in db.cluster().nodes().iter().zip(expected) {
        let connection = node.backend().connection();
        let ask = Statement::from_string(connection.get_database_backend(), ask);
        let row = connection.query_one_raw(ask).await?.ok_or("no row")?;
        let prepared: String = row.try_get_by_index(0)?;
        if prepared != expected {
            return Err(Failure::new(format!("{}: {prepared}", node.name())).into());
        }
    }
    Ok(())
}
