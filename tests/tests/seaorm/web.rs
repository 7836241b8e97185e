//! Sessions as axum's extractors: a write in one process, and who sees it in that request, and in the next one in
//! another process.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::routing::{get, post};
use axum::{Router, serve};
use dbrouter_seaorm::{RoutedConnection, Session};
use dbrouter_tests::harness::{Case, Need};
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Failure, Result};
use reqwest::Client;
use sea_orm::{ConnectionTrait, DbErr, Statement};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(crate) fn cases() -> Vec<Case> {
    vec![Case::new("web::sessions_are_extractors", sessions_are_extractors).needs(Need::Postgres)]
}

async fn set(session: Session, Path(version): Path<i64>) -> Answer {
    let set = format!("update kv set version = {version}");
    session.execute_unprepared(&set).await.map_err(broken)?;
    version_of(&session).await
}

/// What is on the root handle is part of the same session.
async fn set_unknowing(State(db): State<RoutedConnection>, Path(version): Path<i64>) -> Answer {
    let set = format!("update kv set version = {version}");
    db.execute_unprepared(&set).await.map_err(broken)?;
    version_of(&db).await
}

async fn show(session: Session, State(db): State<RoutedConnection>) -> Answer {
    let seen = version_of(&session).await?;
    let also = version_of(&db).await?;
    Ok(format!("{seen} {also}"))
}

type Answer = Result<String, (StatusCode, String)>;

async fn version_of(db: &impl ConnectionTrait) -> Answer {
    let read = "select version from kv";
    let read = Statement::from_string(db.get_database_backend(), read);
    let row = db.query_one_raw(read).await.map_err(broken)?;
    let row = row.ok_or_else(|| broken(DbErr::RecordNotFound(String::new())))?;
    let version: i64 = row.try_get_by_index(0).map_err(broken)?;
    Ok(version.to_string())
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` passes")]
fn broken(error: DbErr) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

/// A process of its own: it has its own router.
async fn process(cluster: &Cluster) -> Result<(String, JoinHandle<std::io::Result<()>>)> {
    let builder = RoutedConnection::builder().primary(cluster.primary().url());
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
    let table = "create table kv (version bigint not null); insert into kv values (0)";
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
