//! Sessions as axum's extractors: a write in one process, and who sees it in that request, and in the next one in
//! another process.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::routing::{get, post};
use axum::{Router, serve};
use dbrouter_diesel::{Routed, RoutedPool, Session};
use dbrouter_tests::harness::{Case, Need};
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Failure, Result};
use diesel::prelude::*;
use diesel_async::pooled_connection::deadpool;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use reqwest::Client;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

type Pool = deadpool::Pool<AsyncPgConnection>;
type Db = RoutedPool<Pool>;

diesel::table! {
    kv (id) {
        id -> Integer,
        version -> BigInt,
    }
}

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("web::sessions_are_extractors", sessions_are_extractors).needs(Need::Postgres)]
}

async fn set(session: Session<Pool>, Path(version): Path<i64>) -> Answer {
    write(&session, version).await.map_err(broken)?;
    read(&session).await.map_err(broken)
}

/// What is on the root handle is part of the same session.
async fn set_unknowing(State(db): State<Db>, Path(version): Path<i64>) -> Answer {
    write(&db, version).await.map_err(broken)?;
    read(&db).await.map_err(broken)
}

async fn show(session: Session<Pool>, State(db): State<Db>) -> Answer {
    let seen = read(&session).await.map_err(broken)?;
    let also = read(&db).await.map_err(broken)?;
    Ok(format!("{seen} {also}"))
}

type Answer = Result<String, (StatusCode, String)>;

async fn write(db: &Routed<Pool>, version: i64) -> Result<()> {
    let mut primary = db.write().await?;
    let set = diesel::update(kv::table).set(kv::version.eq(version));
    set.execute(&mut primary).await?;
    Ok(())
}

async fn read(db: &Routed<Pool>) -> Result<String> {
    let mut reader = db.read().await?;
    let version: i64 = kv::table.select(kv::version).first(&mut reader).await?;
    Ok(version.to_string())
}

fn broken(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// A process of its own: it has its own router.
async fn process(cluster: &Cluster) -> Result<(String, JoinHandle<std::io::Result<()>>)> {
    let builder = Db::builder().primary(cluster.primary().url());
    let standbys = cluster.standbys().iter();
    let builder = standbys.fold(builder, |builder, standby| builder.replica(standby.url()));
    let db = builder.connect().await?;
    let app = Router::new()
        .route("/", get(show))
        .route("/{version}", post(set))
        .route("/unknowing/{version}", post(set_unknowing))
        .layer(db.session_layer())
        .with_state(db);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((url, tokio::spawn(async move { serve(listener, app).await })))
}

async fn sessions_are_extractors() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let mut app = cluster.primary().connect().await?;
    let table = "create table kv (id int primary key, version bigint not null); insert into kv values (1, 0)";
    sqlx::raw_sql(table).execute(&mut app).await?;
    cluster.wait_caught_up().await?;
    let (here, one) = process(&cluster).await?;
    let (there, other) = process(&cluster).await?;
    cluster.standbys()[0].pause_replay().await?;
    let client = Client::new();
    for (path, version) in [("", "1"), ("/unknowing", "2")] {
        let set = client
            .post(format!("{here}{path}/{version}"))
            .send()
            .await?;
        let cookie = set.headers().get(SET_COOKIE).cloned();
        check(&set.text().await?, version)?;
        // Without a token the other process shows what its standby does.
        let past = client.get(&there).send().await?.text().await?;
        check(&past, "0 0")?;
        let cookie = cookie.ok_or("no token was set")?;
        let cookie = cookie
            .to_str()?
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned();
        let page = client.get(&there).header(COOKIE, cookie).send().await?;
        check(&page.text().await?, &format!("{version} {version}"))?;
    }
    one.abort();
    other.abort();
    Ok(())
}

fn check(found: &str, expected: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Failure::new(format!("{found:?} was seen, not {expected:?}")).into())
}
