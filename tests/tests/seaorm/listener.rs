//! A listener of sqlx's on SeaORM's pools that follows the primary, as the crate's documentation builds it.

use std::time::Duration;

use dbrouter_seaorm::RoutedConnection;
use dbrouter_tests::harness::{Case, Need};
use dbrouter_tests::listening::{Heard, through_switchovers};
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Result, wait};
use sea_orm::{ConnectionTrait, Statement};
use sqlx::postgres::PgListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::sleep;

pub(crate) fn cases() -> Vec<Case> {
    let name = "listener::follows_the_primary_through_switchovers";
    vec![Case::new(name, switchovers).needs(Need::Postgres)]
}

/// Hears for ever.
async fn listen(db: &RoutedConnection, heard: &UnboundedSender<Heard>) {
    loop {
        let primary = db.cluster().ready_primary().await;
        let pool = primary
            .backend()
            .connection()
            .get_postgres_connection_pool();
        // Beside the pool, of whose connections it takes none.
        let options = pool.options().clone().min_connections(0).max_connections(1);
        let pool = options.connect_lazy_with((*pool.connect_options()).clone());
        let messages = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen("orders").await?;
            heard.send(None).ok();
            while let Some(message) = listener.try_recv().await? {
                heard.send(Some(message.payload().to_owned())).ok();
            }
            Ok::<_, sqlx::Error>(())
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
    let db = RoutedConnection::builder()
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
        let notify = Statement::from_string(db.get_database_backend(), notify);
        db.write().execute_raw(notify).await?;
        Ok(())
    };
    through_switchovers(&cluster, heard, notify).await?;
    listener.abort();
    Ok(())
}
