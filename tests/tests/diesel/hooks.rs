//! What the application's pool does to each connection that it opens is done to the monitor's as well.

use dbrouter_diesel::{PoolOptions, RoutedPool};
use dbrouter_tests::Result;
use dbrouter_tests::harness::{Case, Need};
use dbrouter_tests::postgres::Cluster;
use diesel::ConnectionError;
use diesel_async::pooled_connection::{PoolError, bb8, deadpool};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};

const NAME: &str = "set application_name = 'set up'";

pub(crate) fn cases() -> Vec<Case> {
    let case = |what: &str| format!("hooks::prepare_the_monitors_connections_as_well_{what}");
    vec![
        Case::new(case("deadpool"), post_create).needs(Need::Postgres),
        Case::new(case("setup"), setup).needs(Need::Postgres),
    ]
}

async fn post_create() -> Result<()> {
    let options = PoolOptions::<deadpool::Pool<AsyncPgConnection>>::new(|builder| {
        let hook = deadpool::Hook::async_fn(|connection: &mut AsyncPgConnection, _| {
            Box::pin(async move {
                let named = connection.batch_execute(NAME).await;
                named.map_err(|error| deadpool::HookError::Backend(PoolError::QueryError(error)))
            })
        });
        builder.post_create(hook)
    });
    on_every_node(options).await
}

async fn setup() -> Result<()> {
    let options = PoolOptions::<bb8::Pool<AsyncPgConnection>>::default().setup(|url| {
        Box::pin(async move {
            let mut connection = AsyncPgConnection::establish(url).await?;
            let named = connection.batch_execute(NAME).await;
            named.map_err(ConnectionError::CouldntSetupConfiguration)?;
            Ok(connection)
        })
    });
    on_every_node(options).await
}

async fn on_every_node<P>(options: PoolOptions<P>) -> Result<()>
where
    P: dbrouter_diesel::Pool<Connection = AsyncPgConnection>,
{
    let cluster = Cluster::start(1).await?;
    let builder = RoutedPool::<P>::builder().primary(cluster.primary().url());
    let builder = builder.replica(cluster.standbys()[0].url());
    let _db = builder.pool_options(options).connect().await?;
    for node in cluster.nodes() {
        node.wait_all_named("set up").await?;
    }
    Ok(())
}
