//! Futures dropped at any point leave nothing behind.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use dbrouter_sqlx::{PoolOptions, RoutedPool, Session};
use dbrouter_tests::harness::Case;
use dbrouter_tests::{Result, wait};
use futures_util::TryStreamExt;
use sqlx::{Acquire, Postgres};

use crate::support::{check, cluster, on_postgres, router, until};

pub(crate) fn cases() -> Vec<Case> {
    vec![on_postgres(
        "cancellation::ten_thousand_dropped_futures_leave_nothing_behind",
        ten_thousand_dropped_futures,
    )]
}

const MOST: u32 = 4;
const KINDS: usize = 9;

/// What has become of each kind of work at least once.
#[derive(Default)]
struct Fates {
    done: [AtomicBool; KINDS],
    dropped: [AtomicBool; KINDS],
}

impl Fates {
    fn all(&self) -> bool {
        let mut fates = self.done.iter().chain(&self.dropped);
        fates.all(|fate| fate.load(Ordering::Relaxed))
    }
}

/// Polls a future so many times, and drops it. Its output, if it was done before.
async fn abandoned_after<T>(polls: u32, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut polled = 0;
    poll_fn(|cx| {
        polled += 1;
        if polled > polls {
            return Poll::Ready(None);
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// One of all kinds of work.
async fn some_work(
    kind: usize,
    db: &RoutedPool<Postgres>,
    session: &Session<Postgres>,
) -> Result<()> {
    let read = || sqlx::query("select version from kv where id = 3");
    let write = || sqlx::query("update kv set version = version + 1 where id = 3");
    match kind {
        0 => read().fetch_all(db).await.map(drop)?,
        1 => read().fetch_one(session).await.map(drop)?,
        2 => write().execute(db).await.map(drop)?,
        3 => write().execute(session).await.map(drop)?,
        4 => {
            let mut rows = sqlx::query("select id from kv").fetch(session);
            while rows.try_next().await?.is_some() {}
        }
        5 => {
            let mut tx = session.begin().await?;
            write().execute(&mut *tx).await?;
            tx.commit().await?;
        }
        6 => {
            let mut tx = Acquire::begin(session).await?;
            write().execute(&mut *tx).await?;
            tx.commit().await?;
        }
        7 => read()
            .fetch_one(&mut *db.acquire_read().await?)
            .await
            .map(drop)?,
        _ => write()
            .execute(&mut *session.acquire_write().await?)
            .await
            .map(drop)?,
    }
    Ok(())
}

async fn ten_thousand_dropped_futures() -> Result<()> {
    let cluster = cluster().await?;
    let options = PoolOptions::new().max_connections(MOST);
    let db = router(&cluster).pool_options(options).connect().await?;
    let fates = Arc::<Fates>::default();
    let tasks: Vec<_> = (0..8_u64)
        .map(|task| {
            let (db, fates) = (db.clone(), Arc::clone(&fates));
            tokio::spawn(async move {
                // Seeded, so that the same points are hit again, as far as the servers' pace allows.
                let mut random = fastrand::Rng::with_seed(task);
                let mut dropped = 0;
                while dropped < 1250 || !fates.all() {
                    let session = db.session();
                    let (polls, kind) = (random.u32(0..12), random.usize(0..KINDS));
                    let done = abandoned_after(polls, some_work(kind, &db, &session)).await;
                    dropped += 1;
                    match done {
                        Some(Ok(())) => fates.done[kind].store(true, Ordering::Relaxed),
                        Some(Err(_)) => {}
                        None => fates.dropped[kind].store(true, Ordering::Relaxed),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await?;
    }
    // What was begun through sqlx's own trait ends when sqlx has rolled it back.
    until(&db, "empty", |status| {
        status.nodes.iter().all(|node| node.in_flight == 0)
    })
    .await?;

    // No connection was lost: each pool still gives out as many as it has.
    for node in db.cluster().nodes() {
        let mut all = Vec::new();
        for _ in 0..MOST {
            all.push(node.backend().pool().acquire().await?);
        }
        check(
            node.backend().pool().size() == MOST,
            format!("{}: {:?}", node.name(), db.status()),
        )?;
    }
    // The primary's pool, as many lanes at most, and the monitor's connection. A server takes its time to notice that a
    // connection is gone.
    let most = |standby: bool| i64::from(if standby { MOST + 1 } else { 2 * MOST + 1 });
    for (number, node) in cluster.nodes().iter().enumerate() {
        let most = most(number > 0);
        let mut backends = 0;
        let few = wait::until(async || {
            backends = node.backends("app").await.unwrap_or(i64::MAX);
            backends <= most
        });
        let name = node.name();
        check(
            few.await,
            format!("{backends} connections to {name}, not {most}"),
        )?;
    }
    // And it was real work: of each kind some was done, by the servers' own account.
    let written = cluster.primary().served("kv").await?.writes;
    let status = db.status();
    check(written > 0, format!("{written} writes"))?;
    check(
        status.nodes[1].reads + status.nodes[2].reads > 0,
        status.to_string(),
    )
}
