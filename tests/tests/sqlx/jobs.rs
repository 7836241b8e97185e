//! Jobs that follow from what requests wrote: by a message that carries tokens, and by a queue in the database, which
//! needs none. All replay is paused, so whoever does not know what to see sees the past.

use dbrouter_sqlx::dbrouter::Token;
use dbrouter_sqlx::{RoutedPool, Session};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::Cluster;
use sqlx::Postgres;
use tokio::sync::mpsc;

use crate::support::{check, cluster, on_postgres, router};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres("jobs::see_what_their_message_carries", messages),
        on_postgres("jobs::see_what_was_queued_with_them", queued),
    ]
}

type Db = RoutedPool<Postgres>;

/// Two services, and a cluster whose standbys show nothing new.
async fn services() -> Result<(Cluster, Db, Db)> {
    let cluster = cluster().await?;
    let mut app = cluster.primary().connect().await?;
    sqlx::raw_sql("create table jobs (id serial primary key, key int not null, taken bool not null default false)")
        .execute(&mut app)
        .await?;
    cluster.wait_caught_up().await?;
    let (shop, worker) = (
        router(&cluster).connect().await?,
        router(&cluster).connect().await?,
    );
    for standby in cluster.standbys() {
        standby.pause_replay().await?;
    }
    Ok((cluster, shop, worker))
}

async fn set(session: &Session<Postgres>, key: i32) -> Result<()> {
    sqlx::query("update kv set version = 1 where id = $1")
        .bind(key)
        .execute(session)
        .await?;
    Ok(())
}

async fn versions(session: &Session<Postgres>, keys: [i32; 2]) -> Result<[i64; 2]> {
    let mut versions = [0; 2];
    for (key, version) in keys.into_iter().zip(&mut versions) {
        *version = sqlx::query_scalar("select version from kv where id = $1")
            .bind(key)
            .fetch_one(session)
            .await?;
    }
    Ok(versions)
}

/// A job that follows from two requests: what it is about, and what it must see, as text.
struct Message {
    keys: [i32; 2],
    tokens: Vec<String>,
}

async fn messages() -> Result<()> {
    let (_cluster, shop, worker) = services().await?;
    let (queue, mut messages) = mpsc::unbounded_channel();
    for job in 0..10 {
        let keys = [2 * job + 1, 2 * job + 2];
        let mut tokens = Vec::new();
        for key in keys {
            // A request: it has committed, so its token covers that.
            let session = shop.session();
            set(&session, key).await?;
            tokens.extend(session.token().await.map(|token| token.to_string()));
        }
        queue.send(Message { keys, tokens })?;
    }
    drop(queue);
    while let Some(message) = messages.recv().await {
        let session = worker.session();
        let stale = versions(&session, message.keys).await?;
        check(stale == [0, 0], format!("without tokens: {stale:?}"))?;
        for token in &message.tokens {
            session.observe(&token.parse().unwrap_or(Token::UNPLACED));
        }
        let seen = versions(&session, message.keys).await?;
        check(seen == [1, 1], format!("with the tokens: {seen:?}"))?;
    }
    Ok(())
}

/// The job is a row that is committed with what it is about. Whoever takes it writes, and so sees all that was
/// committed before.
async fn queued() -> Result<()> {
    let (_cluster, shop, worker) = services().await?;
    for key in 1..=10 {
        let mut request = shop.session().begin().await?;
        sqlx::query("update kv set version = 1 where id = $1")
            .bind(key)
            .execute(&mut *request)
            .await?;
        sqlx::query("insert into jobs (key) values ($1)")
            .bind(key)
            .execute(&mut *request)
            .await?;
        request.commit().await?;
    }
    let take = "update jobs set taken = true where id = \
                (select id from jobs where not taken order by id for update skip locked limit 1) returning key";
    for _ in 1..=10 {
        let session = worker.session();
        let stale = versions(&session, [1, 2]).await?;
        check(stale == [0, 0], format!("before a job is taken: {stale:?}"))?;
        let key: i32 = sqlx::query_scalar(take).fetch_one(&session).await?;
        let seen = versions(&session, [key, key]).await?;
        check(seen == [1, 1], format!("afterwards: {seen:?}"))?;
    }
    Ok(())
}
