//! Writes that the router does not see, and how it is told of them: notifications, libraries with a pool of their own,
//! loaders that work for several requests. All replay is paused, so a read that is not told what to see shows the past.

use std::time::Duration;

use dbrouter_sqlx::dbrouter::Token;
use dbrouter_sqlx::{RoutedPool, spawn, with_session};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::Cluster;
use sqlx::postgres::PgListener;
use sqlx::{Executor, Postgres};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::support::{check, cluster, on_postgres, router};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres(
            "outside::a_worker_notified_from_within_a_transaction_sees_it_once_told",
            notified,
        ),
        on_postgres(
            "outside::a_session_store_with_a_pool_of_its_own_is_read_once_told",
            session_store,
        ),
        on_postgres(
            "outside::a_loader_in_a_task_of_its_own_sees_what_a_mutation_wrote",
            loader_outside,
        ),
        on_postgres(
            "outside::a_loader_in_the_requests_session_sees_what_the_request_wrote",
            loader_inside,
        ),
        on_postgres(
            "outside::a_loader_of_several_requests_sees_what_each_of_them_wrote",
            loader_of_two,
        ),
    ]
}

type Db = RoutedPool<Postgres>;

/// Two processes, and a cluster whose standbys replay nothing from now on.
async fn processes() -> Result<(Cluster, Db, Db)> {
    let cluster = cluster().await?;
    let here = router(&cluster).connect().await?;
    let elsewhere = router(&cluster).connect().await?;
    for standby in cluster.standbys() {
        standby.pause_replay().await?;
    }
    Ok((cluster, here, elsewhere))
}

async fn exists<'e>(db: impl Executor<'e, Database = Postgres>, id: i32) -> Result<bool> {
    let exists = sqlx::query_scalar("select exists (select from kv where id = $1)");
    Ok(exists.bind(id).fetch_one(db).await?)
}

/// trigger.dev's: the message is made inside the transaction that it tells of, so it cannot carry that one's token.
async fn notified() -> Result<()> {
    let (_cluster, shop, worker) = processes().await?;
    let mut listener = PgListener::connect_with(&worker.primary()).await?;
    listener.listen("orders").await?;
    for id in 101..=120 {
        let mut order = shop.session().begin().await?;
        sqlx::query("insert into kv values ($1, 0)")
            .bind(id)
            .execute(&mut *order)
            .await?;
        sqlx::query("select pg_notify('orders', $1)")
            .bind(id.to_string())
            .execute(&mut *order)
            .await?;
        order.commit().await?;
        let message = timeout(Duration::from_secs(20), listener.recv()).await??;
        let id: i32 = message.payload().parse()?;
        let session = worker.session();
        let untold = exists(&session, id).await?;
        check(!untold, "the standbys show what they have not replayed")?;
        session.observe_now();
        check(
            exists(&session, id).await?,
            "the session misses it once told",
        )?;
        let unplaced = worker.session_from(&Token::UNPLACED);
        check(exists(&unplaced, id).await?, "a token without a place")?;
    }
    worker.observe_now();
    check(exists(&worker, 120).await?, "the root misses it once told")
}

/// connect-session-sequelize's: a library that takes a pool, and writes to it on its own.
async fn session_store() -> Result<()> {
    let (_cluster, db, _) = processes().await?;
    let store = db.primary();
    for id in 101..=120 {
        sqlx::query("insert into kv values ($1, 0)")
            .bind(id)
            .execute(&store)
            .await?;
        let session = db.session();
        let untold = exists(&session, id).await? || id == 101 && exists(&db, id).await?;
        check(!untold, "nobody has told the router, and yet it knows")?;
        session.observe_now();
        check(exists(&session, id).await?, "a session misses it once told")?;
        db.observe_now();
        check(exists(&db, id).await?, "the root misses it once told")?;
        // Inside of a request the root handle is the request's session.
        let request = db.session();
        let seen = with_session(&request, async {
            db.observe_now();
            exists(&db, id).await
        });
        check(seen.await?, "a request misses it once told")?;
    }
    Ok(())
}

/// What async-graphql's `DataLoader` does: a task of its own loads the keys that have been asked for in the meantime,
/// whoever asked.
struct Loader(UnboundedSender<(i32, oneshot::Sender<i64>)>);

type Asked = UnboundedReceiver<(i32, oneshot::Sender<i64>)>;

impl Loader {
    fn new() -> (Self, Asked) {
        let (ask, asked) = mpsc::unbounded_channel();
        (Self(ask), asked)
    }

    async fn load(&self, key: i32) -> Result<i64> {
        let (answer, answered) = oneshot::channel();
        self.0.send((key, answer))?;
        Ok(timeout(Duration::from_secs(20), answered).await??)
    }
}

/// One batch: as many keys as are wanted, in a single statement. It fails by answering nobody.
async fn batch(db: Db, mut asked: Asked, size: usize) {
    let mut batch = Vec::new();
    while batch.len() < size
        && let Some(next) = asked.recv().await
    {
        batch.push(next);
    }
    let keys: Vec<i32> = batch.iter().map(|(key, _)| *key).collect();
    let loaded: Vec<(i32, i64)> = sqlx::query_as("select id, version from kv where id = any($1)")
        .bind(keys)
        .fetch_all(&db)
        .await
        .unwrap_or_default();
    for (key, answer) in batch {
        if let Some((_, version)) = loaded.iter().find(|(id, _)| *id == key) {
            answer.send(*version).ok();
        }
    }
}

/// A mutation in the ambient session.
async fn mutate(db: &Db, key: i32, version: i64) -> Result<()> {
    sqlx::query("update kv set version = $2 where id = $1")
        .bind(key)
        .bind(version)
        .execute(db)
        .await?;
    Ok(())
}

fn is(loaded: i64, version: i64) -> Result<()> {
    check(
        loaded == version,
        format!("loaded {loaded}, where {version} was written"),
    )
}

/// The loader's task is outside of all sessions, so it reads on the root handle.
async fn loader_outside() -> Result<()> {
    let (_cluster, db, _) = processes().await?;
    for version in 1..=20 {
        with_session(&db.session(), async {
            mutate(&db, 1, version).await?;
            let (loader, asked) = Loader::new();
            tokio::spawn(batch(db.clone(), asked, 1));
            is(loader.load(1).await?, version)
        })
        .await?;
    }
    Ok(())
}

/// A loader for each request, in the request's session.
async fn loader_inside() -> Result<()> {
    let (_cluster, db, _) = processes().await?;
    for version in 1..=20 {
        with_session(&db.session(), async {
            mutate(&db, 1, version).await?;
            let (loader, asked) = Loader::new();
            spawn(batch(db.clone(), asked, 1));
            is(loader.load(1).await?, version)
        })
        .await?;
    }
    Ok(())
}

/// Two requests at once whose keys land in one batch. The first one's only reads; what the second one wrote must be
/// there all the same.
async fn loader_of_two() -> Result<()> {
    let (_cluster, db, _) = processes().await?;
    for version in 1..=20 {
        let (loader, asked) = Loader::new();
        let first = with_session(&db.session(), async {
            tokio::spawn(batch(db.clone(), asked, 2));
            loader.load(1).await
        });
        let second = with_session(&db.session(), async {
            mutate(&db, 2, version).await?;
            loader.load(2).await
        });
        let (first, second) = tokio::try_join!(first, second)?;
        is(first, 0)?;
        is(second, version)?;
    }
    Ok(())
}
