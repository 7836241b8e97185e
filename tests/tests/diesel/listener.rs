//! diesel-async's stream of notifications, from whichever node is the primary, as the crate's documentation builds it.

use std::error::Error;
use std::time::Duration;

use dbrouter_diesel::RoutedPool;
use dbrouter_diesel::dbrouter::Backend;
use dbrouter_tests::harness::{Case, Need};
use dbrouter_tests::listening::{Heard, through_switchovers};
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Result, wait};
use diesel_async::pooled_connection::deadpool;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::{StreamExt, pin_mut};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::sleep;

type Pool = deadpool::Pool<AsyncPgConnection>;

pub(crate) fn cases() -> Vec<Case> {
    let name = "listener::follows_the_primary_through_switchovers";
    vec![Case::new(name, switchovers).needs(Need::Postgres)]
}

/// Hears for ever.
async fn listen(db: &RoutedPool<Pool>, heard: &UnboundedSender<Heard>) {
    loop {
        let primary = db.cluster().ready_primary().await;
        let messages = async {
            // Beside the pool, of whose connections it takes none.
            let mut connection = primary.backend().open_probe().await?;
            connection.batch_execute("listen orders").await?;
            heard.send(None).ok();
            let messages = connection.notifications_stream();
            pin_mut!(messages);
            while let Some(Ok(message)) = messages.next().await {
                heard.send(Some(message.payload)).ok();
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(())
        };
        if db
            .cluster()
            .while_primary(&primary, messages)
            .await
            .is_some()
        {
            // The connection broke, or was refused. Is the server still there?
            primary.doubt();
            sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn switchovers() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let db = RoutedPool::<Pool>::builder()
        .primary(cluster.node(0).url())
        .replica(cluster.node(1).url())
        .wait_for_primary(wait::PATIENCE)
        .connect()
        .await?;
    let (tell, heard) = unbounded_channel();
    let listener = tokio::spawn({
        let db = db.clone();
        async move { listen(&db, &tell).await }
    });
    let notify = async |payload: &str| {
        let notify = format!("select pg_notify('orders', '{payload}')");
        db.write().await?.batch_execute(&notify).await?;
        Ok(())
    };
    through_switchovers(&cluster, heard, notify).await?;
    listener.abort();
    Ok(())
}
