//! Users of a shop that consists of two processes, with a router each, over one cluster: what they post to the one,
//! they see in the other.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, COOKIE, SET_COOKIE};
use axum::response::Redirect;
use axum::routing::{get, post};
use axum::{Router, serve};
use dbrouter_sqlx::dbrouter::{MonitorSettings, TokenKeys};
use dbrouter_sqlx::web::{SessionLayer, TokenCookie, on_primary, on_replica};
use dbrouter_sqlx::{RoutedPool, Session, SqlxBackend};
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Result, wait};
use reqwest::{Client, Response, redirect};
use sqlx::Postgres;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::{check, cluster, on_postgres, router};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres(
            "web::a_redirected_user_sees_what_he_has_posted",
            a_redirected_user_sees_what_he_has_posted,
        ),
        on_postgres(
            "web::without_tokens_users_see_the_past",
            without_tokens_users_see_the_past,
        ),
        on_postgres("web::headers_are_as_documented", headers_are_as_documented),
        on_postgres(
            "web::signed_tokens_travel_from_service_to_service",
            signed_tokens_travel_from_service_to_service,
        ),
        on_postgres("web::reads_go_by_the_method", reads_go_by_the_method),
        on_postgres(
            "web::a_streamed_page_is_of_one_session",
            a_streamed_page_is_of_one_session,
        ),
        on_postgres("web::a_missing_layer_is_named", a_missing_layer_is_named),
    ]
}

type Db = RoutedPool<Postgres>;
type Layer = SessionLayer<SqlxBackend<Postgres>>;

/// What handlers fail with.
fn broken(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

type Answer<T> = Result<T, (StatusCode, String)>;

/// Takes the request's session.
async fn place(
    session: Session<Postgres>,
    Path((id, version, next)): Path<(i32, i64, u16)>,
) -> Answer<Redirect> {
    sqlx::query("update kv set version = $2 where id = $1")
        .bind(id)
        .bind(version)
        .execute(&session)
        .await
        .map_err(broken)?;
    let next = format!("http://127.0.0.1:{next}/orders/{id}");
    Ok(Redirect::to(&next))
}

/// Knows of no session.
async fn show(State(db): State<Db>, Path(id): Path<i32>) -> Answer<String> {
    let version = version(&db, id).await.map_err(broken)?;
    let decision = db.last_decision();
    let node = decision.ok_or_else(|| broken("not within a session"))?.node;
    Ok(format!("{version} {node}"))
}

async fn version(db: &Db, id: i32) -> Result<i64, sqlx::Error> {
    let read = sqlx::query_scalar("select version from kv where id = $1");
    read.bind(id).fetch_one(db).await
}

/// Streams a page in parts, each of which is read when it is wanted.
async fn stream(State(db): State<Db>) -> Body {
    Body::from_stream(async_stream::stream! {
        for id in 1..=3 {
            let version = version(&db, id).await;
            let node = db.last_decision().map(|decision| decision.node);
            yield version.map(|_| format!("{}\n", node.as_deref().unwrap_or("no session")));
        }
    })
}

/// One process of the shop. It ends when it is dropped.
struct Process {
    port: u16,
    db: Db,
    task: JoinHandle<std::io::Result<()>>,
}

impl Process {
    async fn start(cluster: &Cluster, layer: impl Fn(Layer) -> Result<Layer>) -> Result<Self> {
        // With the monitor's defaults, from which the cookie's age follows.
        let builder = router(cluster).monitor(MonitorSettings::new());
        let db = builder.connect().await?;
        let layer = layer(db.session_layer())?;
        let app = Router::new()
            .route("/orders/{id}/{version}/{next}", post(place))
            .route("/orders/{id}", get(show).post(show))
            .route("/checked/{id}", get(show).layer(on_primary()))
            .route("/searched/{id}", post(show).layer(on_replica()))
            .route("/stream", get(stream))
            .layer(layer)
            .route("/bare", get(async |_: Session<Postgres>| {}))
            .with_state(db.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let task = tokio::spawn(async move { serve(listener, app).await });
        Ok(Self { port, db, task })
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One standby replays nothing from now on, the other one 300 ms late.
async fn lagging(cluster: &Cluster) -> Result<()> {
    let [paused, late] = cluster.standbys() else {
        return Err("a cluster has two standbys".into());
    };
    paused.pause_replay().await?;
    late.set_apply_delay(Duration::from_millis(300)).await
}

/// The journeys of some users, each with a browser: how many saw the past, and how often a standby served.
async fn journeys(processes: &[Process; 2]) -> Result<(usize, usize)> {
    const USERS: i32 = 4;
    let (mut stale, mut on_standbys) = (0, 0);
    for user in 1..=USERS {
        let browser = Client::builder().cookie_store(true).build()?;
        for version in 1..=10_i64 {
            let here = usize::try_from(version)? % 2;
            let (here, there) = (&processes[here], &processes[1 - here]);
            let order = here.url(&format!("/orders/{user}/{version}/{}", there.port));
            // The browser follows the redirect.
            let page = browser.post(order).send().await?.error_for_status()?;
            stale += usize::from(seen(page).await?.0 < version);
            if version % 5 == 0 {
                // He looks again, until a standby shows it.
                let page = there.url(&format!("/orders/{user}"));
                let in_time = wait::until(async || {
                    let Ok(page) = browser.get(&page).send().await else {
                        return false;
                    };
                    let Ok((seen, node)) = seen(page).await else {
                        return false;
                    };
                    stale += usize::from(seen < version);
                    node != "primary"
                });
                on_standbys += usize::from(in_time.await);
            }
        }
    }
    Ok((stale, on_standbys))
}

/// What a page shows, and which node has served it.
async fn seen(page: Response) -> Result<(i64, String)> {
    let page = page.error_for_status()?.text().await?;
    let (version, node) = page.split_once(' ').ok_or("a page of another kind")?;
    Ok((version.parse()?, node.to_owned()))
}

async fn a_redirected_user_sees_what_he_has_posted() -> Result<()> {
    let cluster = cluster().await?;
    // The browser is not on an encrypted connection.
    let insecure = |layer: Layer| Ok(layer.cookie(TokenCookie::new().insecure())?);
    let processes = [
        Process::start(&cluster, insecure).await?,
        Process::start(&cluster, insecure).await?,
    ];
    lagging(&cluster).await?;
    let (stale, on_standbys) = journeys(&processes).await?;
    check(stale == 0, format!("{stale} pages showed the past"))?;
    check(on_standbys == 8, "a standby that shows all is not used")
}

/// The same users, without cookies: this is what the other case rests upon.
async fn without_tokens_users_see_the_past() -> Result<()> {
    let cluster = cluster().await?;
    let without = |layer: Layer| Ok(layer.without_cookie());
    let processes = [
        Process::start(&cluster, without).await?,
        Process::start(&cluster, without).await?,
    ];
    lagging(&cluster).await?;
    let (stale, _) = journeys(&processes).await?;
    check(stale > 0, "no page showed the past")
}

async fn headers_are_as_documented() -> Result<()> {
    let cluster = cluster().await?;
    let process = Process::start(&cluster, Ok).await?;
    let browser = Client::builder()
        .redirect(redirect::Policy::none())
        .build()?;
    let order = process.url(&format!("/orders/1/1/{}", process.port));
    let placed = browser.post(order).send().await?;
    check(placed.status() == StatusCode::SEE_OTHER, "no redirect")?;
    let headers = placed.headers();
    let cookie = headers[SET_COOKIE].to_str()?;
    let (pair, attributes) = cookie.split_once("; ").ok_or("no attributes")?;
    check(
        attributes == "HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=62",
        format!("attributes {attributes}"),
    )?;
    let token = pair.strip_prefix("dbrouter=").ok_or("another name")?;
    check(token.len() < 80, format!("{token} is long"))?;
    check(headers[CACHE_CONTROL] == "private", "caches may keep it")?;

    let page = process.url("/orders/1");
    for request in [
        browser.get(&page),
        browser.get(&page).header(COOKIE, pair),
        browser.get(&page).header(COOKIE, "dbrouter=garbage"),
        browser.head(&page).header(COOKIE, pair),
        // It writes nothing, whatever its method.
        browser.post(&page).header(COOKIE, pair),
    ] {
        let page = request.send().await?.error_for_status()?;
        let quiet = [SET_COOKIE, CACHE_CONTROL].map(|name| page.headers().get(name).is_none());
        check(quiet == [true; 2], "a page that wrote nothing says so")?;
    }
    Ok(())
}

async fn signed_tokens_travel_from_service_to_service() -> Result<()> {
    const HEADER: &str = "x-dbrouter-token";
    let cluster = cluster().await?;
    let signed = |layer: Layer| {
        let keys = TokenKeys::new("a key that nobody guesses")?;
        Ok(layer.without_cookie().header(HEADER)?.keys(keys))
    };
    let here = Process::start(&cluster, signed).await?;
    let there = Process::start(&cluster, signed).await?;
    lagging(&cluster).await?;
    let client = Client::builder()
        .redirect(redirect::Policy::none())
        .build()?;
    for version in 1..=10 {
        let order = here.url(&format!("/orders/1/{version}/{}", there.port));
        let placed = client.post(order).send().await?;
        check(placed.headers().get(SET_COOKIE).is_none(), "a cookie")?;
        let token = placed.headers()[HEADER].clone();
        check(token.len() < 80, format!("{token:?} is long"))?;
        let page = client.get(there.url("/orders/1")).header(HEADER, token);
        let (seen, _) = seen(page.send().await?).await?;
        check(seen == version, format!("{seen} was seen, not {version}"))?;
    }
    Ok(())
}

async fn reads_go_by_the_method() -> Result<()> {
    let cluster = cluster().await?;
    let process = Process::start(&cluster, Ok).await?;
    let client = Client::new();
    for (request, primary) in [
        (client.get(process.url("/orders/1")), false),
        (client.post(process.url("/orders/1")), true),
        (client.get(process.url("/checked/1")), true),
        (client.post(process.url("/searched/1")), false),
    ] {
        let (_, node) = seen(request.send().await?).await?;
        check((node == "primary") == primary, format!("read from {node}"))?;
    }
    Ok(())
}

async fn a_streamed_page_is_of_one_session() -> Result<()> {
    let cluster = cluster().await?;
    let process = Process::start(&cluster, Ok).await?;
    let page = reqwest::get(process.url("/stream")).await?.text().await?;
    let nodes: Vec<_> = page.lines().collect();
    check(
        nodes.len() == 3 && nodes[0] != "no session" && nodes.iter().all(|node| *node == nodes[0]),
        page,
    )?;
    check(process.db.state().is_root(), "a session is left behind")
}

async fn a_missing_layer_is_named() -> Result<()> {
    let cluster = cluster().await?;
    let process = Process::start(&cluster, Ok).await?;
    let page = reqwest::get(process.url("/bare")).await?;
    check(page.status() == StatusCode::INTERNAL_SERVER_ERROR, "no 500")?;
    let page = page.text().await?;
    check(page.contains(".layer(db.session_layer())"), page)
}
