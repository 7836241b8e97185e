//! Listeners that follow the primary.

use dbrouter_sqlx::dbrouter::Router;
use dbrouter_sqlx::{Listener, PoolOptions, RoutedPool};
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::{Cluster, Node};
use dbrouter_tests::{Result, wait};
use sqlx::Postgres;
use sqlx::postgres::PgListener;
use tokio::time::timeout;

use crate::support::{builder, check, node, on_postgres, until};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres(
            "listener::hears_the_next_primary_after_each_of_several_switchovers",
            switchovers,
        ),
        on_postgres(
            "listener::leaves_a_primary_that_is_frozen_and_closes_no_connection",
            frozen,
        ),
        on_postgres(
            "listener::tells_of_a_connection_that_broke_and_of_the_channels_it_left",
            broken,
        ),
        on_postgres(
            "listener::takes_no_connection_of_the_pool_and_ends_with_it",
            beside_the_pool,
        ),
    ]
}

type Db = RoutedPool<Postgres>;

/// A router over the nodes, of which the first is the primary.
async fn connect(nodes: &[Node]) -> Result<Db> {
    let mut builder = builder().wait_for_primary(wait::PATIENCE);
    for (number, each) in nodes.iter().enumerate() {
        builder = match number {
            0 => builder.primary(node(each)),
            _ => builder.replica(node(each)),
        };
    }
    Ok(builder.connect().await?)
}

async fn notify(db: &Db, channel: &str, payload: &str) -> Result<()> {
    sqlx::query("select pg_notify($1, $2)")
        .bind(channel)
        .bind(payload)
        .execute(&db.write())
        .await?;
    Ok(())
}

/// The listener hears what is sent now. Should it tell of a gap meanwhile, that is sent again.
async fn hears(db: &Db, listener: &mut Listener, channel: &str, payload: &str) -> Result<()> {
    notify(db, channel, payload).await?;
    loop {
        match timeout(wait::PATIENCE, listener.try_recv()).await?? {
            Some(message) if (message.channel(), message.payload()) == (channel, payload) => {
                return Ok(());
            }
            Some(message) if message.payload() == NOT_HEARD => {
                return check(false, format!("heard {message:?}"));
            }
            // It was sent twice.
            Some(_) => {}
            None => notify(db, channel, payload).await?,
        }
    }
}

/// What is sent where nobody listens.
const NOT_HEARD: &str = "lost";

/// The listener tells that something may have been missed.
async fn tells_of_a_gap(listener: &mut Listener) -> Result<()> {
    let told = timeout(wait::PATIENCE, listener.try_recv()).await??;
    check(told.is_none(), format!("heard {told:?}, not of the gap"))
}

/// Waits until the router takes the node for the primary.
async fn leads(db: &Db, node: &Node) -> Result<()> {
    until(db, "following", |_| {
        **db.cluster().primary().name() == *node.name()
    })
    .await
}

async fn switchovers() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let db = connect(cluster.nodes()).await?;
    let mut plain = PgListener::connect_with(&db.primary()).await?;
    plain.listen("orders").await?;
    let mut listener = db.listener().await?;
    listener.listen_all(["orders", "Other \"channel\""]).await?;
    hears(&db, &mut listener, "orders", "1").await?;
    check(
        plain.recv().await?.payload() == "1",
        "sqlx's own hears another",
    )?;
    let mut plain = Some(plain);

    for round in 0..4 {
        let (former, next) = (cluster.node(round % 2), cluster.node((round + 1) % 2));
        former.stop().await?;
        next.promote().await?;
        former.rejoin(next).await?;
        leads(&db, next).await?;
        // sqlx's own goes back to where it was, which is a standby.
        let alone = plain.take();
        let alone = alone.map(|mut plain| tokio::spawn(async move { plain.recv().await }));
        // Nobody hears of this one.
        notify(&db, "orders", NOT_HEARD).await?;
        tells_of_a_gap(&mut listener).await?;
        for channel in ["orders", "Other \"channel\""] {
            let payload = format!("{channel} of {round}");
            hears(&db, &mut listener, channel, &payload).await?;
        }
        if let Some(plain) = alone {
            plain.abort();
            let heard = plain.await;
            check(
                !matches!(heard, Ok(Ok(_))),
                format!("sqlx's own: {heard:?}"),
            )?;
        }
    }
    Ok(())
}

async fn frozen() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let [former, next] = cluster.nodes() else {
        return check(false, "not two nodes");
    };
    let db = connect(cluster.nodes()).await?;
    let mut listener = db.listener().await?;
    listener.listen("orders").await?;
    former.freeze()?;
    next.promote().await?;
    tells_of_a_gap(&mut listener).await?;
    hears(&db, &mut listener, "orders", "1").await
}

async fn broken() -> Result<()> {
    let cluster = Cluster::start(0).await?;
    let db = connect(cluster.nodes()).await?;
    let mut listener = db.listener().await?;
    listener.listen_all(["kept", "left", "kept"]).await?;
    listener.unlisten("left").await?;
    let mut admin = cluster.primary().admin().await?;
    for round in 0..3 {
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where query like 'UNLISTEN%' \
                   or query like 'LISTEN%'";
        sqlx::query(end).execute(&mut admin).await?;
        tells_of_a_gap(&mut listener).await?;
        let payload = round.to_string();
        notify(&db, "left", NOT_HEARD).await?;
        hears(&db, &mut listener, "kept", &payload).await?;
    }
    // Nobody waits for a message meanwhile, and yet the next method goes on elsewhere.
    cluster.primary().restart().await?;
    listener.listen("more").await?;
    tells_of_a_gap(&mut listener).await?;
    hears(&db, &mut listener, "more", "1").await
}

async fn beside_the_pool() -> Result<()> {
    let cluster = Cluster::start(0).await?;
    let one = PoolOptions::new()
        .max_connections(1)
        .after_connect(|connection, _| {
            Box::pin(async move {
                sqlx::query("set application_name = 'hooked'")
                    .execute(connection)
                    .await?;
                Ok(())
            })
        });
    let builder = builder().primary(cluster.primary().url());
    let db: Db = builder.pool_options(one).connect().await?;
    let mut listener = db.listener().await?;
    listener.listen("orders").await?;
    let held = timeout(wait::PATIENCE, db.primary().acquire()).await??;
    drop(held);
    hears(&db, &mut listener, "orders", "1").await?;
    let mut admin = cluster.primary().admin().await?;
    let hooked = "select count(*) from pg_stat_activity where application_name = 'hooked'";
    // The pool's one, the listener's and the monitor's.
    let is_hooked = async || {
        let count = sqlx::query_scalar::<_, i64>(hooked).fetch_one(&mut admin);
        count.await.is_ok_and(|count| count == 3)
    };
    check(
        wait::until(is_hooked).await,
        "not all connections are as the pool's",
    )?;
    let is_idle = async || db.status().nodes[0].pressure.in_use == 0;
    check(
        wait::until(is_idle).await,
        "the listener takes one of the pool",
    )?;
    db.close().await;
    let ended = timeout(wait::PATIENCE, listener.recv()).await?;
    check(
        matches!(ended, Err(sqlx::Error::PoolClosed)),
        format!("{ended:?}"),
    )
}
