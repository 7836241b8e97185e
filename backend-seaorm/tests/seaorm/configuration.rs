//! What can be wrong with a configuration has a name, and shows no password.

use std::time::Duration;

use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, MockDatabase,
    Statement,
};

use crate::Result;
use dbrouter_seaorm::dbrouter::{ConfigError, ConfigErrorKind, Start};
use dbrouter_seaorm::{Builder, NodeOptions, PoolOptions, RoutedConnection};

async fn error(builder: Builder) -> ConfigError {
    let connected = builder.start(Start::ReadOnly).connect().await;
    connected.expect_err("a wrong configuration")
}

fn mock() -> DatabaseConnection {
    MockDatabase::new(DbBackend::Sqlite).into_connection()
}

#[tokio::test]
async fn pools_that_cannot_be_used() -> Result {
    let closed = Database::connect("sqlite::memory:").await?;
    closed.close_by_ref().await?;
    for pool in [DatabaseConnection::default(), closed.clone(), mock()] {
        let builder = RoutedConnection::builder().primary(pool.clone());
        let error = error(builder).await;
        assert_eq!(
            (error.kind(), error.field()),
            (ConfigErrorKind::Pool, "primary")
        );
    }
    let error = RoutedConnection::single(closed).unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Pool);
    let options = ConnectOptions::new("postgres://app@127.0.0.1:1/shop");
    let mut lazy = options;
    lazy.connect_lazy(true);
    let postgres = Database::connect(lazy).await?;
    let sqlite = Database::connect("sqlite::memory:").await?;
    let error = RoutedConnection::from_pools(sqlite, [postgres]).await;
    let error = error.unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (ConfigErrorKind::WrongDatabase, "replica-1")
    );
    Ok(())
}

#[tokio::test]
async fn options_that_wait_have_no_place() {
    let mut options = ConnectOptions::new("postgres://app:sup3r-secret@127.0.0.1:1/shop");
    options.after_connect(|db| Box::pin(async move { db.ping().await }));
    let error = error(RoutedConnection::builder().primary(options)).await;
    assert_eq!(error.kind(), ConfigErrorKind::Pool);
    assert!(!format!("{error:?}").contains("sup3r"));
}

#[tokio::test]
async fn no_error_shows_a_password() {
    for url in [
        "sup3r-secret",
        "postgres://app:sup3r-secret@host:port/shop",
        "mysql://app:sup3r-secret@host:port/shop",
        "oracle://app:sup3r-secret@host/shop",
        "app:sup3r-secret@host",
    ] {
        let builder = RoutedConnection::builder().primary(url);
        let shown = format!("{builder:?}");
        assert!(!shown.contains("sup3r"), "{shown}");
        let by_url = error(builder).await;
        let options = ConnectOptions::new(url);
        let by_options = error(RoutedConnection::builder().primary(options)).await;
        for error in [by_url, by_options] {
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("sup3r"), "{url}: {shown}");
            assert_eq!(error.field(), "primary.url", "{url}");
        }
    }
}

#[tokio::test]
async fn a_file_that_is_not_there_is_named() {
    let nowhere = NodeOptions::new("sqlite:///nowhere/at/all.db").name("archive");
    let error = error(RoutedConnection::builder().primary(nowhere)).await;
    assert_eq!(
        (error.kind(), error.field()),
        (ConfigErrorKind::Unreachable, "archive.url")
    );
    assert!(std::error::Error::source(&error).is_some());
}

/// What SeaORM's options say holds, hooks included; and a replica is read-only all the same.
#[tokio::test]
async fn seaorms_options_are_kept() -> Result {
    let folder = tempfile::tempdir()?;
    let url = format!("sqlite://{}?mode=rwc", folder.path().join("a.db").display());
    let mut options = ConnectOptions::new(&url);
    options
        .max_connections(3)
        .map_sqlx_sqlite_opts(|options| options.pragma("cache_size", "-1234"))
        .map_sqlx_sqlite_pool_opts(|options| options.acquire_timeout(Duration::from_secs(7)));
    let db = RoutedConnection::builder()
        .primary(options.clone())
        .replica(options)
        .replica(format!("sqlite://{}", folder.path().join("a.db").display()))
        .pool_options(PoolOptions::new(|options| {
            options.acquire_timeout(Duration::from_secs(9));
        }))
        .connect()
        .await?;
    for node in db.cluster().nodes() {
        let pool = node.backend().connection().get_sqlite_connection_pool();
        let given = &**node.name() != "replica-2";
        let (size, timeout) = if given { (3, 7) } else { (1, 9) };
        assert_eq!(pool.options().get_max_connections(), size);
        assert_eq!(
            pool.options().get_acquire_timeout(),
            Duration::from_secs(timeout)
        );
        let pragma = |name: &str| {
            let sql = format!("pragma {name}");
            node.backend()
                .connection()
                .query_one_raw(Statement::from_string(DbBackend::Sqlite, sql))
        };
        let cache = pragma("cache_size").await?.ok_or("a row")?;
        assert_eq!(cache.try_get_by_index::<i64>(0)? == -1234, given);
        let query_only = pragma("query_only").await?.ok_or("a row")?;
        let replica = &**node.name() != "primary";
        assert_eq!(query_only.try_get_by_index::<i64>(0)? == 1, replica);
    }
    Ok(())
}

#[tokio::test]
async fn a_replica_can_be_added() -> Result {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("a.db");
    let db = RoutedConnection::embedded(&file).connect().await?;
    db.add_replica(NodeOptions::new(format!("sqlite://{}", file.display())).name("more"))?;
    assert!(db.cluster().node("more").is_some());
    let error = db.add_replica(mock()).unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Pool);
    Ok(())
}

/// An embedded database keeps the pool options that the application states, except that it has one writer.
#[tokio::test]
async fn options_hold_for_an_embedded_database() -> Result {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("a.db");
    let limit = Duration::from_secs(7);
    let stated = PoolOptions::new(move |options| {
        options
            .max_connections(20)
            .sqlx_logging(false)
            .map_sqlx_sqlite_pool_opts(move |pool| {
                pool.acquire_timeout(limit)
                    .min_connections(3)
                    .after_connect(|connection, _| {
                        let set = sqlx::query("pragma cache_size = -1234");
                        Box::pin(async move { set.execute(connection).await.map(drop) })
                    })
            });
    });
    let builder = RoutedConnection::embedded(&file).pool_options(stated);
    let db = builder.connect().await?;
    for (node, most) in db.cluster().nodes().iter().zip([1, 20]) {
        let pool = node.backend().connection().get_sqlite_connection_pool();
        let options = pool.options();
        assert_eq!(options.get_max_connections(), most, "{}", node.name());
        assert_eq!(options.get_min_connections(), most.min(3));
        assert_eq!(options.get_acquire_timeout(), limit);
        let cache: i64 = sqlx::query_scalar("pragma cache_size")
            .fetch_one(pool)
            .await?;
        assert_eq!(cache, -1234, "{}", node.name());
        let mode: String = sqlx::query_scalar("pragma journal_mode")
            .fetch_one(pool)
            .await?;
        assert_eq!(mode, "wal");
    }
    assert!(file.is_file());
    db.close().await?;

    // Without options all is as documented.
    let db = RoutedConnection::embedded_with(&file, 5).connect().await?;
    for (node, most) in db.cluster().nodes().iter().zip([1, 5]) {
        let pool = node.backend().connection().get_sqlite_connection_pool();
        assert_eq!(pool.options().get_max_connections(), most);
    }
    Ok(())
}

#[tokio::test]
async fn options_that_an_embedded_database_cannot_keep_are_an_error() -> Result {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("a.db");
    let stated = PoolOptions::new(|options| {
        options.map_sqlx_sqlite_opts(|options| options.pragma("cache_size", "-1234"));
    });
    let error = error(RoutedConnection::embedded(&file).pool_options(stated)).await;
    assert_eq!(
        (error.kind(), error.field()),
        (
            ConfigErrorKind::Pool,
            "writer.pool_options.map_sqlx_sqlite_opts"
        )
    );
    Ok(())
}
