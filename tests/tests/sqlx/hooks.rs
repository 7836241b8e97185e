//! The hooks of an application's pools run on the connections of every node, and the router's own run after them.
//! (frappe/frappe PR 40909: a session's time zone that replicas did not get.)

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dbrouter_sqlx::{PoolOptions, RoutedPool};
use dbrouter_tests::Result;
use dbrouter_tests::any::Kind;
use dbrouter_tests::harness::Case;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Acquire, Executor, MySql, Postgres};

use crate::support::{builder, check, cluster, on_mariadb, on_postgres, router};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_mariadb(
            "hooks::prepare_connections_of_every_node_on_mariadb",
            async || {
                on_every_node(PoolOptions::<MySql>::new().after_connect(|connection, _| {
                    Box::pin(async move { connection.execute(PREPARE).await.map(drop) })
                }))
                .await
            },
        ),
        on_mariadb(
            "hooks::in_sqlxs_own_options_run_as_well_on_mariadb",
            async || {
                let options = MySqlPoolOptions::new().after_connect(|connection, _| {
                    Box::pin(async move { connection.execute(PREPARE).await.map(drop) })
                });
                on_every_node(PoolOptions::from_sqlx(options)).await
            },
        ),
        on_postgres(
            "hooks::in_sqlxs_own_options_run_as_well_on_postgres",
            own_options,
        ),
        on_postgres(
            "hooks::prepare_the_monitors_connections_as_well",
            of_the_monitor,
        ),
        on_postgres(
            "hooks::run_when_connections_are_taken_and_given_back",
            taken_and_given_back,
        ),
    ]
}

const NAME: &str = "set application_name = 'set up'";

const PREPARE: &str = "set time_zone = '+05:00', sql_mode = 'ANSI_QUOTES'";

async fn on_every_node(options: PoolOptions<MySql>) -> Result<()> {
    let cluster = Kind::MariaDb.start(2).await?;
    let builder = RoutedPool::<MySql>::builder().primary(cluster.primary().url());
    let standbys = cluster.standbys().into_iter();
    let builder = standbys.fold(builder, |builder, standby| builder.replica(standby.url()));
    let db = builder.pool_options(options).connect().await?;
    for (number, node) in db.cluster().nodes().iter().enumerate() {
        let prepared: String = sqlx::query_scalar(
            "select concat_ws(' ', @@session.time_zone, @@session.sql_mode, @@session.tx_read_only)",
        )
        .fetch_one(node.backend().pool())
        .await?;
        let read_only = if number == 0 { "OFF" } else { "ON" };
        let expected = format!("+05:00 ANSI_QUOTES {read_only}");
        check(prepared == expected, format!("{}: {prepared}", node.name()))?;
    }
    Ok(())
}

async fn own_options() -> Result<()> {
    let cluster = cluster().await?;
    let options = PgPoolOptions::new()
        .max_connections(2)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection
                    .execute("set app.tenant = 'none'")
                    .await
                    .map(drop)
            })
        });
    let builder = router(&cluster).pool_options(PoolOptions::from_sqlx(options));
    let db = builder.connect().await?;
    for (number, node) in db.cluster().nodes().iter().enumerate() {
        let pool = node.backend().pool();
        // As many as the pool may have, so that none is in the way of another.
        let mut both = [pool.acquire().await?, pool.acquire().await?];
        for connection in &mut both {
            let prepared: String = sqlx::query_scalar(
                "select concat_ws(' ', current_setting('app.tenant'), \
                 current_setting('default_transaction_read_only'))",
            )
            .fetch_one(&mut **connection)
            .await?;
            let expected = if number == 0 { "none off" } else { "none on" };
            check(prepared == expected, format!("{}: {prepared}", node.name()))?;
        }
    }
    Ok(())
}

/// What sets a connection up (a role, a search path, a time-out) may be what the server lets it work by.
async fn of_the_monitor() -> Result<()> {
    let cluster = cluster().await?;
    let own = PoolOptions::<Postgres>::new().after_connect(|connection, _| {
        Box::pin(async move { connection.execute(NAME).await.map(drop) })
    });
    let sqlxs = PgPoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move { connection.execute(NAME).await.map(drop) })
    });
    let pool = |url: String| sqlxs.clone().connect_lazy(&url);
    let pools = builder::<Postgres>().primary(pool(cluster.primary().url())?);
    let pools = cluster.standbys().iter().try_fold(pools, |builder, node| {
        Ok::<_, sqlx::Error>(builder.replica(pool(node.url())?))
    })?;
    let builders = [
        router(&cluster).pool_options(own),
        router(&cluster).pool_options(PoolOptions::from_sqlx(sqlxs.clone())),
        pools,
    ];
    for builder in builders {
        let db = builder.connect().await?;
        for node in cluster.nodes() {
            node.wait_all_named("set up").await?;
        }
        drop(db);
    }
    Ok(())
}

/// A tenant that one user of a connection has set is never the next one's.
async fn taken_and_given_back() -> Result<()> {
    let cluster = cluster().await?;
    let released = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&released);
    let options = PoolOptions::<Postgres>::new()
        .max_connections(1)
        .before_acquire(|connection, _| {
            Box::pin(async move {
                connection.execute("set app.tenant = 'none'").await?;
                Ok(true)
            })
        })
        .after_release(move |_, _| {
            count.fetch_add(1, Ordering::SeqCst);
            Box::pin(async { Ok(true) })
        });
    let db = router(&cluster).pool_options(options).connect().await?;
    for node in &db.cluster().nodes() {
        let mut connection = node.backend().pool().acquire().await?;
        connection.execute("set app.tenant = 'acme'").await?;
        drop(connection);
        let tenant: String = sqlx::query_scalar("select current_setting('app.tenant')")
            .fetch_one(node.backend().pool())
            .await?;
        check(tenant == "none", format!("{}: {tenant}", node.name()))?;
    }
    let before = released.load(Ordering::SeqCst);
    check(before > 0, "no connection was seen to be given back")?;
    // Its connection is none of the node's pool, and that hook is the router's there.
    let mut tx = Acquire::begin(&db).await?;
    let write = "update kv set version = 1 where id = 1";
    sqlx::query(write).execute(&mut *tx).await?;
    tx.commit().await?;
    let lane = dbrouter_tests::wait::until(async || {
        // The transaction's own, and the one of the pool that was held for it.
        released.load(Ordering::SeqCst) >= before + 2
    });
    check(
        lane.await,
        "a transaction's connection was given back unseen",
    )
}
