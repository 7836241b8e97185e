//! One SQLite file, under each of the pools: what needs no server to be seen.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use dbrouter_diesel::dbrouter::{
    Candidates, ConfigErrorKind, Intent, Preference, Reason, Request, RouteError,
};
use dbrouter_diesel::{Error, ErrorKind, NodeOptions, Pool, PoolOptions, RoutedPool, refusal};
use diesel::prelude::*;
use diesel::result::Error as DieselError;
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
use diesel_async::{AsyncConnection, SimpleAsyncConnection};

type Sqlite = SyncConnectionWrapper<SqliteConnection>;
type Deadpool = diesel_async::pooled_connection::deadpool::Pool<Sqlite>;
type Bb8 = diesel_async::pooled_connection::bb8::Pool<Sqlite>;
type Mobc = diesel_async::pooled_connection::mobc::Pool<Sqlite>;

diesel::table! {
    /// What the cases are about.
    items (id) {
        /// Its number.
        id -> Integer,
        /// What it is called.
        name -> Text,
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A router over a file of its own, with a table in it.
struct Shop<P: Pool> {
    db: RoutedPool<P>,
    _folder: tempfile::TempDir,
}

impl<P: Pool<Connection = Sqlite>> Shop<P> {
    async fn open() -> Result<Self, Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let db = RoutedPool::<P>::embedded_with(folder.path().join("shop.db"), 2);
        let db = db.connect().await?;
        let create = "create table items (id integer primary key, name text not null)";
        db.write().await?.batch_execute(create).await?;
        let shop = Self {
            db,
            _folder: folder,
        };
        Ok(shop)
    }
}

mod permissive {
    use super::*;
    use diesel_async::RunQueryDsl;

    pub(crate) async fn insert(
        conn: &mut impl AsyncConnection<Backend = diesel::sqlite::Sqlite>,
        item: &'static str,
    ) -> QueryResult<usize> {
        let insert = diesel::insert_into(items::table).values(items::name.eq(item));
        insert.execute(conn).await
    }

    pub(crate) async fn count<P: Pool<Connection = Sqlite>>(
        db: &dbrouter_diesel::Routed<P>,
    ) -> QueryResult<i64> {
        items::table.count().get_result(&mut db.read().await?).await
    }

    pub(crate) async fn reads_see_writes<P: Pool<Connection = Sqlite>>() -> Outcome {
        let shop = Shop::<P>::open().await?;
        let db = &shop.db;
        insert(&mut db.write().await?, "tea").await?;
        assert_eq!(count(db).await?, 1, "the root handle sees its own write");
        assert_eq!(&*db.read().await?.decision().node, "readers");
        let session = db.session();
        insert(&mut session.write().await?, "milk").await?;
        assert_eq!(count(&session).await?, 2);
        let last = session.last_decision().ok_or("nothing was decided")?;
        assert_eq!((&*last.node, last.intent), ("readers", Intent::Read));
        assert!(db.last_decision().is_none(), "the root's last is nobody's");
        Ok(())
    }

    pub(crate) async fn readers_refuse_writes<P: Pool<Connection = Sqlite>>() -> Outcome {
        let shop = Shop::<P>::open().await?;
        let refused = insert(&mut shop.db.read().await?, "tea").await.unwrap_err();
        assert_eq!(refused.to_string(), "attempt to write a readonly database");
        assert_eq!(count(&shop.db).await?, 0);
        // And so does one that the pool has handed out before.
        let again = insert(&mut shop.db.read().await?, "tea").await;
        assert!(again.is_err());
        Ok(())
    }

    /// One file's readers see each commit, so not even a held writer sends reads to the writing connection,
    /// which they would wait for.
    pub(crate) async fn readers_are_fresh_beside_a_held_writer<P>() -> Outcome
    where
        P: Pool<Connection = Sqlite>,
    {
        let shop = Shop::<P>::open().await?;
        let session = shop.db.session();
        let mut held = session.write().await?;
        insert(&mut held, "tea").await?;
        assert_eq!(&*session.read().await?.decision().node, "readers");
        assert_eq!(count(&session).await?, 1);
        Ok(())
    }

    pub(crate) async fn preferences_and_labels_come_first<P>() -> Outcome
    where
        P: Pool<Connection = Sqlite>,
    {
        let shop = Shop::<P>::open().await?;
        let session = shop.db.session();
        let guard = session.read_prefer_primary().await?;
        let decision = guard.decision();
        assert_eq!(
            (&*decision.node, decision.intent, decision.reason),
            ("writer", Intent::Read, Reason::PreferenceIsPrimary)
        );
        drop(guard);
        let elsewhere = session.tag("zone", "nowhere");
        assert_eq!(elsewhere.explain(Intent::Read)?.reason, Reason::NoReplica);
        let eventual = shop.db.eventual().key("ada").read().await?;
        assert_eq!(&*eventual.decision().node, "readers");
        Ok(())
    }

    pub(crate) async fn transactions_end_as_the_callback_says<P>() -> Outcome
    where
        P: Pool<Connection = Sqlite>,
    {
        let shop = Shop::<P>::open().await?;
        let session = shop.db.session();
        let inserted = session
            .transaction(async |conn| insert(conn, "tea").await)
            .await?;
        assert_eq!((inserted, count(&session).await?), (1, 1));
        let rolled_back: QueryResult<()> = session
            .transaction(async |conn| {
                insert(conn, "milk").await?;
                Err(DieselError::RollbackTransaction)
            })
            .await;
        assert!(matches!(rolled_back, Err(DieselError::RollbackTransaction)));
        assert_eq!(count(&session).await?, 1);
        // The connection went back to its pool, in no transaction.
        insert(&mut session.write().await?, "sugar").await?;
        assert_eq!(count(&session).await?, 2);
        Ok(())
    }

    pub(crate) async fn a_dropped_transaction_is_rolled_back<P>() -> Outcome
    where
        P: Pool<Connection = Sqlite>,
    {
        let shop = Shop::<P>::open().await?;
        let db = &shop.db;
        let endless = db.transaction::<(), DieselError, _>(async |conn| {
            insert(conn, "tea").await?;
            std::future::pending().await
        });
        assert!(
            tokio::time::timeout(Duration::from_millis(50), endless)
                .await
                .is_err()
        );
        // The only writing connection was closed; its lock is gone, and the next one finds nothing.
        insert(&mut db.write().await?, "milk").await?;
        let names: Vec<String> =
            RunQueryDsl::load(items::table.select(items::name), &mut db.read().await?).await?;
        assert_eq!(names, ["milk"]);
        Ok(())
    }

    pub(crate) async fn a_guard_left_inside_a_transaction_is_closed<P>() -> Outcome
    where
        P: Pool<Connection = Sqlite>,
    {
        let shop = Shop::<P>::open().await?;
        let db = &shop.db;
        let mut conn = db.write().await?;
        let endless = conn.transaction::<(), DieselError, _>(async |conn| {
            insert(conn, "tea").await?;
            std::future::pending().await
        });
        assert!(
            tokio::time::timeout(Duration::from_millis(50), endless)
                .await
                .is_err()
        );
        drop(conn);
        // Another process would not have to wait for somebody to come to the pool.
        let file = shop._folder.path().join("shop.db");
        let file = file.to_str().ok_or("no Unicode")?;
        let mut outside = Sqlite::establish(file).await?;
        assert_eq!(insert(&mut outside, "milk").await?, 1);
        assert_eq!(count(db).await?, 1);
        Ok(())
    }

    pub(crate) async fn read_only_transactions_refuse_writes<P>() -> Outcome
    where
        P: Pool<Connection = Sqlite>,
    {
        let shop = Shop::<P>::open().await?;
        let session = shop.db.session();
        let refused = session
            .read_only_transaction(async |conn| insert(conn, "tea").await)
            .await;
        assert_eq!(
            refused.map_err(|error| error.to_string()),
            Err("attempt to write a readonly database".to_owned())
        );
        // Two reads of one moment.
        let writing = shop.db.session();
        let counts = session
            .read_only_transaction(async |conn| {
                assert_eq!(&*conn.decision().node, "readers");
                let before: i64 = items::table.count().get_result(conn).await?;
                insert(&mut writing.write().await?, "tea").await?;
                let after: i64 = items::table.count().get_result(conn).await?;
                QueryResult::Ok((before, after))
            })
            .await?;
        assert_eq!(counts, (0, 0));
        assert_eq!(count(&session).await?, 1);
        Ok(())
    }

    pub(crate) async fn futures_can_be_spawned<P: Pool<Connection = Sqlite>>() -> Outcome {
        let shop = Shop::<P>::open().await?;
        let db = shop.db.clone();
        let item = "tea".to_owned();
        let spawned = tokio::spawn(async move {
            let borrowed = &item;
            db.transaction(async |conn| {
                let insert = diesel::insert_into(items::table);
                insert.values(items::name.eq(borrowed)).execute(conn).await
            })
            .await?;
            let session = db.session();
            let read = session.read_only_transaction(async |conn| {
                items::table.select(items::name).first::<String>(conn).await
            });
            let name = read.await?;
            let guard = session.read().await?;
            QueryResult::Ok((name, guard))
        });
        let (name, guard) = spawned.await??;
        assert_eq!((name.as_str(), &*guard.decision().node), ("tea", "readers"));
        Ok(())
    }
}

mod strict {
    use super::permissive::{count, insert};
    use super::*;
    // In the place of diesel-async's.
    use dbrouter_diesel::{RunQueryDsl, assume_read};
    use futures_util::TryStreamExt;

    pub(crate) async fn reads_run_as_before<P: Pool<Connection = Sqlite>>() -> Outcome {
        let shop = Shop::<P>::open().await?;
        let session = shop.db.session();
        let strict = session.strict();
        let mut primary = strict.write().await?;
        for name in ["tea", "milk"] {
            let insert = diesel::insert_into(items::table).values(items::name.eq(name));
            assert_eq!(insert.execute(&mut primary).await?, 1);
        }
        drop(primary);

        let mut replica = strict.read().await?;
        assert_eq!(&*replica.decision().node, "readers");
        let query = items::table.select(items::name).order(items::id);
        assert_eq!(query.load::<String>(&mut replica).await?, ["tea", "milk"]);
        assert_eq!(
            query.get_results::<String>(&mut replica).await?,
            ["tea", "milk"]
        );
        assert_eq!(query.first::<String>(&mut replica).await?, "tea");
        assert_eq!(query.get_result::<String>(&mut replica).await?, "tea");
        let stream = query.load_stream::<String>(&mut replica).await?;
        assert_eq!(stream.try_collect::<Vec<_>>().await?, ["tea", "milk"]);
        let boxed = query.into_boxed().filter(items::name.like("t%"));
        assert_eq!(boxed.load::<String>(&mut replica).await?, ["tea"]);
        let all: Vec<(i32, String)> = items::table.load(&mut replica).await?;
        assert_eq!(all.len(), 2);
        let by_reference: Vec<String> = (&query).load(&mut replica).await?;
        assert_eq!(by_reference.len(), 2);
        let united = query.union(items::table.select(items::name));
        let united: Vec<String> = assume_read(united).load(&mut replica).await?;
        assert_eq!(united.len(), 2);
        Ok(())
    }

    pub(crate) async fn what_was_assumed_is_still_refused<P>() -> Outcome
    where
        P: Pool<Connection = Sqlite>,
    {
        let shop = Shop::<P>::open().await?;
        let mut replica = shop.db.strict().read().await?;
        let insert = diesel::insert_into(items::table)
            .values(items::name.eq("tea"))
            .returning(items::id);
        let refused = assume_read(insert).get_result::<i32>(&mut replica).await;
        let refused = refused.map_err(|error| error.to_string());
        assert_eq!(
            refused,
            Err("attempt to write a readonly database".to_owned())
        );
        Ok(())
    }

    pub(crate) async fn one_import_takes_every_connection<P>() -> Outcome
    where
        P: Pool<Connection = Sqlite>,
    {
        let shop = Shop::<P>::open().await?;
        let db = &shop.db;
        let insert = || diesel::insert_into(items::table).values(items::name.eq("tea"));
        insert().execute(&mut db.write().await?).await?;
        db.transaction(async |conn| insert().execute(conn).await)
            .await?;
        let mut guard = db.write().await?;
        guard
            .transaction(async |conn| insert().execute(conn).await)
            .await?;
        let plain: &mut Sqlite = &mut guard;
        insert().execute(plain).await?;
        let mut twice = plain;
        insert().execute(&mut twice).await?;
        drop(guard);
        assert_eq!(count(db).await?, 5);
        let strict = db.strict();
        let total: i64 = strict
            .read_only_transaction(async |conn| items::table.count().get_result(conn).await)
            .await?;
        assert_eq!(total, 5);
        Ok(())
    }

    pub(crate) async fn handles_say_as_much_as_permissive_ones<P>() -> Outcome
    where
        P: Pool<Connection = Sqlite>,
    {
        let shop = Shop::<P>::open().await?;
        let strict = shop.db.session().preference(Preference::Primary).strict();
        assert_eq!(&*strict.explain(Intent::Read)?.node, "writer");
        assert_eq!(&*strict.read().await?.decision().node, "writer");
        let first = strict.read_prefer_primary().await?;
        assert_eq!(&*first.decision().node, "writer");
        drop(first);
        let written = strict.transaction(async |conn| insert(conn, "tea").await);
        assert_eq!(written.await?, 1);
        Ok(())
    }
}

mod errors {
    use super::*;

    /// Walks from error to source.
    fn leads_to_a_refusal(error: &(dyn std::error::Error + 'static)) -> bool {
        let mut next = Some(error);
        while let Some(error) = next {
            if error.is::<RouteError>() {
                return true;
            }
            next = error.source();
        }
        false
    }

    pub(crate) async fn refusals_say_why<P: Pool<Connection = Sqlite>>() -> Outcome {
        let shop = Shop::<P>::open().await?;
        let only_replicas = shop
            .db
            .preference(Preference::Replica)
            .tag("zone", "nowhere");
        let error: Error = only_replicas.read().await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused);
        assert!(leads_to_a_refusal(&error));
        let reasons = refusal(&error).ok_or("no refusal")?.to_string();
        assert!(reasons.contains("readers"), "{reasons}");

        // As diesel's, through `?`.
        let read = async || -> QueryResult<()> {
            drop(only_replicas.read().await?);
            Ok(())
        };
        let error: DieselError = read().await.unwrap_err();
        assert!(leads_to_a_refusal(&error), "{error:?}");
        assert_eq!(
            refusal(&error).map(ToString::to_string),
            Some(reasons.clone())
        );
        assert!(
            !error.to_string().contains("readers"),
            "a source is not printed twice: {error}"
        );

        // And out of a transaction.
        let begun: QueryResult<()> = only_replicas.read_only_transaction(async |_| Ok(())).await;
        let error = begun.unwrap_err();
        assert_eq!(refusal(&error).map(ToString::to_string), Some(reasons));
        Ok(())
    }

    pub(crate) async fn a_full_pool_is_no_lost_node<P: Pool<Connection = Sqlite>>(
        options: impl Fn(P::Builder) -> P::Builder + Clone + Send + Sync + 'static,
    ) -> Outcome {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("shop.db").display().to_string();
        let limited = PoolOptions::new(move |builder| P::limit(options(builder), 1));
        let db = RoutedPool::<P>::builder()
            .primary(&*file)
            .replica(&*file)
            .replica(&*file)
            .pool_options(limited)
            .policy(|candidates: Candidates<'_>, _: &Request| (!candidates.is_empty()).then_some(0))
            .connect()
            .await?;
        let (first, second) = (db.read().await?, db.read().await?);
        assert_eq!(&*first.decision().node, "replica-1");
        assert_eq!(
            &*second.decision().node,
            "replica-2",
            "the next one has room"
        );
        let status = db.status();
        assert!(status.nodes.iter().all(|node| node.healthy), "{status}");
        let _writer = db.write().await?;
        let error = db.session().write().await.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Exhausted);
        assert!(db.status().nodes.iter().all(|node| node.healthy));
        Ok(())
    }
}

/// The same cases under each pool.
macro_rules! under {
    ($pool:ident, $type:ty: $($area:ident::$case:ident)*) => {
        mod $pool {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $case() -> Outcome {
                    super::$area::$case::<$type>().await
                }
            )*
        }
    };
    ($($pool:ident = $type:ty;)*) => {
        $(under!($pool, $type:
            permissive::reads_see_writes
            permissive::readers_refuse_writes
            permissive::readers_are_fresh_beside_a_held_writer
            permissive::preferences_and_labels_come_first
            permissive::transactions_end_as_the_callback_says
            permissive::a_dropped_transaction_is_rolled_back
            permissive::a_guard_left_inside_a_transaction_is_closed
            permissive::read_only_transactions_refuse_writes
            permissive::futures_can_be_spawned
            strict::reads_run_as_before
            strict::what_was_assumed_is_still_refused
            strict::one_import_takes_every_connection
            strict::handles_say_as_much_as_permissive_ones
            errors::refusals_say_why
        );)*
    };
}

under! {
    deadpool = Deadpool;
    bb8 = Bb8;
    mobc = Mobc;
}

const SOON: Duration = Duration::from_millis(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_full_deadpool_is_no_lost_node() -> Outcome {
    errors::a_full_pool_is_no_lost_node::<Deadpool>(|it| it.wait_timeout(Some(SOON))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_bb8_is_no_lost_node() -> Outcome {
    errors::a_full_pool_is_no_lost_node::<Bb8>(|it| it.connection_timeout(SOON)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_mobc_is_no_lost_node() -> Outcome {
    errors::a_full_pool_is_no_lost_node::<Mobc>(|it| it.get_timeout(Some(SOON))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_pool_is_named() -> Outcome {
    let shop = Shop::<Deadpool>::open().await?;
    let primary = shop.db.primary();
    shop.db.close();
    let error = shop.db.write().await.map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(DieselError::from(error).to_string(), "the pool is closed");
    let adopted = RoutedPool::from_pools(primary, []).await.unwrap_err();
    assert_eq!(adopted.to_string(), "primary: its pool is closed");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_options_are_errors_and_no_panics() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("shop.db").display().to_string();
    let empty = PoolOptions::<Deadpool>::new(|it| it.max_size(0));
    let builder = RoutedPool::<Deadpool>::builder().primary(&*file);
    let error = builder.pool_options(empty).connect().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (ConfigErrorKind::OutOfRange, "primary.pool_options.max_size")
    );
    let idle = PoolOptions::<Bb8>::new(|it| it.max_size(1).min_idle(2));
    let builder = RoutedPool::<Bb8>::builder().primary(&*file);
    let error = builder.pool_options(idle).connect().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "primary.pool_options: min_idle must be no larger than max_size"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setup_comes_before_read_only() -> Outcome {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("shop.db").display().to_string();
    let options = PoolOptions::<Deadpool>::new(|it| it.max_size(3)).setup(|file| {
        Box::pin(async move {
            let mut connection = Sqlite::establish(file).await?;
            let created = connection
                .batch_execute("create table if not exists made (id)")
                .await;
            created.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
            Ok(connection)
        })
    });
    let replica = NodeOptions::<Deadpool>::new(format!("sqlite:{file}")).name("copy");
    let db = RoutedPool::builder().primary(&*file).replica(replica);
    let db = db.pool_options(options).connect().await?;
    let mut conn = db.read().await?;
    assert_eq!(&*conn.decision().node, "copy");
    assert!(
        conn.batch_execute("insert into made values (1)")
            .await
            .is_err()
    );
    let copy = db.cluster().node("copy").ok_or("no such node")?;
    assert_eq!(
        copy.backend().pool().status().max_size,
        3,
        "the pool's own status"
    );
    Ok(())
}

/// An embedded database keeps the pool options that the application states, except that it has one writer.
#[tokio::test(flavor = "multi_thread")]
async fn the_applications_options_hold_for_an_embedded_database() -> Outcome {
    let folder = tempfile::tempdir()?;
    let options = PoolOptions::<Deadpool>::new(|it| it.max_size(3)).setup(|file| {
        Box::pin(async move {
            let mut connection = Sqlite::establish(file).await?;
            let set = connection
                .batch_execute("pragma cache_size = -1234; pragma synchronous = full")
                .await;
            set.map_err(diesel::ConnectionError::CouldntSetupConfiguration)?;
            Ok(connection)
        })
    });
    let db = RoutedPool::<Deadpool>::embedded_with(folder.path().join("shop.db"), 5);
    let db = db.pool_options(options).connect().await?;
    for (node, most) in db.cluster().nodes().iter().zip([1, 3]) {
        let pool = node.backend().pool();
        assert_eq!(pool.status().max_size, most, "{}", node.name());
        let mut conn = pool.get().await?;
        for (pragma, expected) in [
            ("cache_size", "-1234"),
            ("synchronous", "2"),
            ("journal_mode", "wal"),
            ("busy_timeout", "5000"),
        ] {
            let column = match pragma {
                "busy_timeout" => "timeout",
                pragma => pragma,
            };
            let found = diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(&format!(
                "(select cast({column} as text) from pragma_{pragma})"
            )));
            let found: String = diesel_async::RunQueryDsl::get_result(found, &mut conn).await?;
            assert_eq!(found, expected, "{pragma} of {}", node.name());
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_can_be_added_and_pools_adopted() -> Outcome {
    use diesel_async::pooled_connection::AsyncDieselConnectionManager;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("shop.db").display().to_string();
    let pool = || {
        let manager = AsyncDieselConnectionManager::<Sqlite>::new(file.clone());
        Deadpool::builder(manager).max_size(2).build()
    };
    let db = RoutedPool::from_pools(pool()?, [pool()?]).await?;
    assert_eq!(&*db.read().await?.decision().node, "replica-1");
    db.add_replica(pool()?)?;
    assert_eq!(db.status().nodes.len(), 3);
    let single = RoutedPool::single(pool()?);
    let decision = single.read().await?.decision();
    assert_eq!(decision.reason, Reason::NoReplica);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn ambient_sessions_are_found() -> Outcome {
    let shop = Shop::<Deadpool>::open().await?;
    let session = shop.db.session();
    let inside = dbrouter_diesel::with_session(&session, async {
        shop.db.read().await.map(|guard| guard.decision())
    });
    let decision = inside.await?;
    assert_eq!(session.last_decision(), Some(decision));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn urls_of_other_databases_are_named() {
    let error = RoutedPool::<Deadpool>::builder()
        .primary("postgres://app:sup3r-secret@h/d")
        .connect()
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (ConfigErrorKind::WrongDatabase, "primary.url")
    );
    assert!(!format!("{error} {error:?}").contains("sup3r"));
}
