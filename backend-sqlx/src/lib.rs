//! Reads to replicas, writes to the primary: a drop-in for sqlx's [`Pool`](sqlx::Pool).
//!
//! ```no_run
//! use dbrouter_sqlx::RoutedPool;
//! use sqlx::Postgres;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let db = RoutedPool::<Postgres>::builder()
//!     .primary("postgres://app@primary/shop")
//!     .replica("postgres://app@replica-1/shop")
//!     .replica("postgres://app@replica-2/shop")
//!     .connect()
//!     .await?;
//!
//! // Whatever runs on `&Pool` runs on `&RoutedPool`.
//! sqlx::query("insert into orders (item) values ('tea')").execute(&db).await?;
//! let orders: i64 = sqlx::query_scalar("select count(*) from orders").fetch_one(&db).await?;
//!
//! // One session per request: its reads stay on one replica and see its writes.
//! let session = db.session();
//! let mut tx = session.begin().await?;
//! sqlx::query("insert into orders (item) values ('milk')").execute(&mut *tx).await?;
//! tx.commit().await?;
//! let more: i64 = sqlx::query_scalar("select count(*) from orders").fetch_one(&session).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What goes where
//!
//! | work | goes to |
//! | --- | --- |
//! | a statement on `&db`, `&session` | a replica if it is surely a read, otherwise the primary |
//! | a statement on `&db.read()` | a replica, without looking at it |
//! | a statement on `&db.write()` | the primary, without looking at it |
//! | `db.begin()`, `db.acquire_write()`, migrations | the primary |
//! | `db.acquire_read()`, `db.begin_read_only()`, `db.begin_snapshot()` | a replica |
//!
//! A replica is only used if it is known to show what the session must see; otherwise the primary
//! serves the read. See [`dbrouter`] for how that is known without asking on every request.
//!
//! # Scopes
//!
//! Code that is handed `&db` need not know where it is called from: what holds for it is said around it, by a
//! function or by an attribute. See [`scope`](dbrouter::scope) for how they nest, and for tasks.
//!
//! | inside | is |
//! | --- | --- |
//! | [`with_session`] | all work on `&db` part of one session |
//! | [`with_replica`], [`#[on_replica]`](macro@on_replica) | every read on one and the same replica |
//! | [`with_primary`], [`#[on_primary]`](macro@on_primary) | every read on the primary |
//! | [`without_writes`](fn@without_writes), [`#[without_writes]`](macro@without_writes) | every write an error, which no server sees |
//! | [`spawn`] | a task that stays inside; one of `tokio::spawn` is outside |
//!
//! ```no_run
//! use dbrouter_sqlx::RoutedPool;
//! use sqlx::Postgres;
//!
//! #[dbrouter_sqlx::on_replica]
//! async fn balance(db: &RoutedPool<Postgres>) -> Result<i64, sqlx::Error> {
//!     let paid: i64 = sqlx::query_scalar("select sum(amount)::bigint from payments").fetch_one(db).await?;
//!     let sold: i64 = sqlx::query_scalar("select sum(amount)::bigint from sales").fetch_one(db).await?;
//!     Ok(paid - sold)
//! }
//! ```
//!
//! # What a held connection means
//!
//! What happens on a connection from [`acquire_write`](Routed::acquire_write), or in a transaction
//! begun through sqlx's own [`Acquire`](sqlx::Acquire) trait, cannot be seen. Until it is back in its
//! pool the session's reads go to the primary. [`begin`](RoutedPool::begin) returns a
//! [`Transaction`] that sees its own commit, and needs no such caution.
//!
//! # Where nodes come from
//!
//! | the builder is given | and |
//! | --- | --- |
//! | [`primary`](dbrouter::Builder::primary), [`replica`](dbrouter::Builder::replica) | takes them for what they are called |
//! | [`nodes`](dbrouter::Builder::nodes) | asks them for their roles |
//! | [`discover`](dbrouter::Builder::discover) | follows a source: a [name](dbrouter::discover::Dns), the primary's own view of its [standbys](dbrouter::discover::Standbys), … |
//!
//! ```no_run
//! # use dbrouter_sqlx::RoutedPool;
//! # use sqlx::Postgres;
//! use dbrouter_sqlx::dbrouter::discover::Dns;
//! # async fn example() -> Result<(), dbrouter_sqlx::dbrouter::ConfigError> {
//! let db = RoutedPool::<Postgres>::builder()
//!     .primary("postgres://app@primary.internal/shop")
//!     .discover(Dns::new("replicas.internal", 5432))
//!     .connect()
//!     .await?;
//! # drop(db);
//! # Ok(())
//! # }
//! ```
//!
//! # A web application
//!
//! With the feature `axum`. A user who posts an order and is redirected sees it, although the next request may land in
//! another process and on another replica: `web` says how, and what it costs.
//!
//! ```no_run
//! # #[cfg(all(feature = "axum", feature = "postgres"))] mod example {
//! use axum::extract::State;
//! use axum::http::StatusCode;
//! use axum::response::Redirect;
//! use axum::routing::{get, post};
//! use axum::{Router, serve};
//! use dbrouter_sqlx::{RoutedPool, Session, web};
//! use sqlx::Postgres;
//! use tokio::net::TcpListener;
//!
//! type Db = RoutedPool<Postgres>;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let db = Db::builder()
//!         .primary("postgres://app@primary/shop")
//!         .replica("postgres://app@replica-1/shop")
//!         .replica("postgres://app@replica-2/shop")
//!         .connect()
//!         .await?;
//!     let app = Router::new()
//!         .route("/orders", get(orders).post(order))
//!         .route("/search", post(search).layer(web::on_replica())) // it posts, and only reads
//!         .layer(db.session_layer()) // one session per request
//!         .with_state(db);
//!     serve(TcpListener::bind("127.0.0.1:3000").await?, app).await?;
//!     Ok(())
//! }
//!
//! /// The request's session is an extractor. It wrote, so the response has a token, in a cookie.
//! async fn order(session: Session<Postgres>) -> Result<Redirect, StatusCode> {
//!     let insert = sqlx::query("insert into orders (item) values ('tea')");
//!     insert.execute(&session).await.map_err(broken)?;
//!     Ok(Redirect::to("/orders"))
//! }
//!
//! /// Who knows nothing of sessions is part of it as well. With the cookie's token, only a replica that shows the
//! /// order will do, or else the primary.
//! async fn orders(State(db): State<Db>) -> Result<String, StatusCode> {
//!     let count = sqlx::query_scalar("select count(*) from orders");
//!     let count: i64 = count.fetch_one(&db).await.map_err(broken)?;
//!     Ok(format!("{count} orders"))
//! }
//!
//! async fn search(State(db): State<Db>, item: String) -> Result<String, StatusCode> {
//!     let found = sqlx::query_scalar("select count(*) from orders where item = $1");
//!     let found: i64 = found.bind(item).fetch_one(&db).await.map_err(broken)?;
//!     Ok(format!("{found} found"))
//! }
//!
//! fn broken(_: sqlx::Error) -> StatusCode {
//!     StatusCode::INTERNAL_SERVER_ERROR
//! }
//! # }
//! ```
//!
//! # An application's own tests
//!
//! | tests that | use |
//! | --- | --- |
//! | have a database each, by [`sqlx::test`] | [`RoutedPool::single`] over the pool that they are given. A test that is given options builds a router from [`with_options`](dbrouter::NodeOptions::with_options); it must [close](RoutedPool::close) that at its end, or the database cannot be dropped |
//! | share one router, in a static | it, as it is: see below |
//! | are to see what replicas are like | the same URL as primary and as replica, which count as one server. Real lag needs real replicas |
//!
//! A router may be used in one Tokio runtime after the other, as in a binary of `#[tokio::test]`s, which have a runtime each.
//! When the one has ended that watched the nodes, the next piece of work has them watched in its own, and waits until they have
//! been asked again; [`Status::unwatched`](dbrouter::Status::unwatched) says that nobody watches meanwhile. Connections are dead
//! when the runtime has ended in which they were opened. The router takes none of those from a pool. A connection, a transaction or a stream
//! must end in the runtime in which it began, and so must a session that keeps its connection for life.
//!
//! ```no_run
//! # #[cfg(feature = "postgres")] mod example {
//! use dbrouter_sqlx::RoutedPool;
//! use sqlx::{PgPool, Postgres};
//! use tokio::sync::OnceCell;
//!
//! #[sqlx::test]
//! async fn in_a_database_of_its_own(pool: PgPool) -> sqlx::Result<()> {
//!     let db = RoutedPool::single(pool);
//!     sqlx::query("create table orders (item text)").execute(&db).await?;
//!     Ok(())
//! }
//!
//! static DB: OnceCell<RoutedPool<Postgres>> = OnceCell::const_new();
//!
//! /// The router of all other tests.
//! async fn db() -> &'static RoutedPool<Postgres> {
//!     let connect = || async { RoutedPool::from_env().connect().await.expect("there are servers") };
//!     DB.get_or_init(connect).await
//! }
//! # }
//! ```
//!
//! # Before there is a runtime
//!
//! [`connect_lazy`](dbrouter::Builder::connect_lazy) makes a router without connecting and without a runtime. The first statement
//! meets the nodes.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use dbrouter_sqlx::RoutedPool;
//! # use sqlx::Sqlite;
//! # let path = std::env::temp_dir().join(format!("dbrouter-lazy-{}.db", std::process::id()));
//! let db = RoutedPool::<Sqlite>::embedded(&path).connect_lazy()?;
//! assert!(!path.exists() && db.cluster().nodes().iter().all(|node| !node.is_healthy()));
//!
//! let runtime = tokio::runtime::Runtime::new()?;
//! runtime.block_on(async {
//!     sqlx::query("create table notes (text)").execute(&db).await?;
//!     sqlx::query("insert into notes values ('hello')").execute(&db).await?;
//!     let text: String = sqlx::query_scalar("select text from notes").fetch_one(&db).await?;
//!     assert_eq!(text, "hello");
//! #   db.close().await;
//!     Ok::<_, sqlx::Error>(())
//! })?;
//! # std::fs::remove_file(&path)?;
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "sqlite"))]
//! # fn main() {}
//! ```
//!
//! # Features
//!
//! `postgres`, `mysql` and `sqlite` turn on sqlx's drivers and make them routable; `axum` gives each request of a web
//! application a session (`tower` is the same without axum's extractors), and `signed` signs the tokens that it
//! sends; `serde` makes the [`Status`](dbrouter::Status) serialisable. TLS and other drivers' features are sqlx's own.

mod adapter;
mod backend;
mod connecting;
mod connection;
mod database;
#[cfg(feature = "sqlite")]
pub mod embedded;
mod error;
mod executor;
mod lanes;
#[cfg(feature = "postgres")]
mod listener;
mod opening;
mod pool;
mod pool_options;
mod routed;
mod session;
mod transaction;
#[cfg(feature = "tower")]
pub mod web;

pub use adapter::Sqlx;
pub use backend::{Probe, SqlxBackend};
pub use connection::{Connection, Lease};
pub use database::RoutedDatabase;
pub use error::refusal;
#[cfg(feature = "postgres")]
pub use listener::Listener;
pub use pool::RoutedPool;
pub use pool_options::PoolOptions;
pub use routed::Routed;
pub use session::{Session, with_session};
pub use transaction::Transaction;

/// Configures a [`RoutedPool`].
pub type Builder<DB> = dbrouter::Builder<Sqlx<DB>>;

/// One node's options: where it is, and what the router should know of it.
///
/// ```
/// use dbrouter_sqlx::NodeOptions;
/// use sqlx::Postgres;
///
/// let replica = NodeOptions::<Postgres>::new("postgres://app@replica-eu/shop")
///     .name("replica-eu")
///     .weight(3)
///     .tag("zone", "eu");
/// # let _ = replica;
/// ```
pub type NodeOptions<DB> = dbrouter::NodeOptions<Sqlx<DB>>;

pub use dbrouter;
#[doc(inline)]
pub use dbrouter::macros::{
    sqlx_on_primary as on_primary, sqlx_on_replica as on_replica,
    sqlx_without_writes as without_writes,
};
pub use dbrouter::scope::{carry, spawn, with_primary, with_replica, without_writes};
pub use sqlx;
