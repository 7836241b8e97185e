//! What was stated to be a read gets a connection on which the server refuses writes, wherever it goes.

use dbrouter::scope::without_writes;
use dbrouter::{Dialect, NodeSpec, Preference, Settings, Terms};

use crate::world::{Access, Server, World, settings};

/// What connection a statement got.
async fn access(terms: &Terms<Server>, sql: &str) -> Access {
    let run = terms.work().run(sql, |lent, _| {
        let access = lent.access;
        Box::pin(async move { Ok(access) })
    });
    run.await.unwrap().0
}

/// What connection a caller gets who keeps it.
async fn access_to_keep(terms: &Terms<Server>) -> Access {
    let acquired = terms.work().of_connection().acquire().await;
    acquired.unwrap().0.access
}

/// A router whose replicas show nothing new, and a session on it that has written, so that it reads from the primary.
async fn behind(settings: Settings) -> (World, Terms<Server>) {
    let world = World::with(settings, vec![NodeSpec::new(); 2]).await;
    for replica in &world.replicas {
        replica.pause();
    }
    let session = Terms::new(&world.db).session();
    world.write(&session.state());
    (world, session)
}

#[tokio::test(start_paused = true)]
async fn a_stated_read_that_falls_back_gets_a_connection_that_refuses_writes() {
    let (_world, session) = behind(settings()).await;
    let read = session.read();
    assert_eq!(access(&read, "select f()").await, Access::ReadOnlyOnce);
    assert_eq!(access_to_keep(&read).await, Access::ReadOnly);
    let to_the_primary = session.preference(Preference::Primary).read();
    assert_eq!(
        access(&to_the_primary, "select f()").await,
        Access::ReadOnlyOnce
    );
}

#[tokio::test(start_paused = true)]
async fn a_stated_read_on_a_replica_gets_a_connection_as_it_is() {
    let world = World::of(1).await;
    let read = Terms::new(&world.db).session().read();
    assert_eq!(access(&read, "select f()").await, Access::Unrestricted);
    assert_eq!(access_to_keep(&read).await, Access::Unrestricted);
}

#[cfg(feature = "sql")]
#[tokio::test(start_paused = true)]
async fn a_read_told_by_its_text_falls_back_to_a_connection_as_it_is() {
    let (_world, session) = behind(settings()).await;
    assert_eq!(access(&session, "select 1").await, Access::Unrestricted);
    assert_eq!(
        access(&session, "update t set a = 1").await,
        Access::Unrestricted
    );
}

#[cfg(feature = "sql")]
#[tokio::test(start_paused = true)]
async fn a_hint_states_a_read() {
    let (_world, session) = behind(settings()).await;
    let hinted = "/*dbrouter:replica*/ select f()";
    assert_eq!(access(&session, hinted).await, Access::ReadOnlyOnce);
    let hinted = "/*dbrouter:primary*/ select f()";
    assert_eq!(access(&session, hinted).await, Access::Unrestricted);
}

#[cfg(feature = "sql")]
#[tokio::test(start_paused = true)]
async fn where_writes_are_forbidden_all_reads_on_the_primary_refuse_writes() {
    let (_world, session) = behind(settings()).await;
    let inside = without_writes(access(&session, "select 1"));
    assert_eq!(inside.await, Access::ReadOnlyOnce);
    assert_eq!(access(&session, "select 1").await, Access::Unrestricted);
}

#[tokio::test(start_paused = true)]
async fn a_stated_read_on_a_router_over_one_node_refuses_writes() {
    let server = Server::primary();
    let db = dbrouter::Cluster::single(Dialect::Postgres, Settings::new(), server);
    let terms = Terms::new(&db);
    assert_eq!(
        access(&terms.read(), "select f()").await,
        Access::ReadOnlyOnce
    );
    assert_eq!(
        access(&terms.write(), "select f()").await,
        Access::Unrestricted
    );
}
