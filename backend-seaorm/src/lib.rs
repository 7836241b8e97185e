//! Reads to replicas, writes to the primary: a drop-in for SeaORM's
//! [`DatabaseConnection`](sea_orm::DatabaseConnection).
//!
//! ```no_run
//! use dbrouter_seaorm::RoutedConnection;
//! use sea_orm::{ConnectionTrait, TransactionTrait};
//!
//! # #[cfg(feature = "macros")]
//! # mod order {
//! #     use sea_orm::entity::prelude::*;
//! #     #[sea_orm::model]
//! #     #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
//! #     #[sea_orm(table_name = "orders")]
//! #     pub struct Model {
//! #         #[sea_orm(primary_key)]
//! #         pub id: i64,
//! #         pub item: String,
//! #     }
//! #     impl ActiveModelBehavior for ActiveModel {}
//! # }
//! # #[cfg(feature = "macros")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use sea_orm::{ActiveModelTrait, EntityTrait, PaginatorTrait, Set};
//!
//! let db = RoutedConnection::builder()
//!     .primary("postgres://app@primary/shop")
//!     .replica("postgres://app@replica-1/shop")
//!     .replica("postgres://app@replica-2/shop")
//!     .connect()
//!     .await?;
//!
//! // Whatever runs on `&DatabaseConnection` runs on `&RoutedConnection`.
//! let tea = order::ActiveModel { item: Set("tea".to_owned()), ..Default::default() };
//! tea.insert(&db).await?;
//! let orders = order::Entity::find().count(&db).await?;
//!
//! // One session per request: its reads stay on one replica and see its writes.
//! let session = db.session();
//! let tx = session.begin().await?;
//! let milk = order::ActiveModel { item: Set("milk".to_owned()), ..Default::default() };
//! milk.insert(&tx).await?;
//! tx.commit().await?;
//! let more = order::Entity::find().count(&session).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What goes where
//!
//! | work | goes to |
//! | --- | --- |
//! | `insert`, `update`, `save`, `delete` and the like on `&db`, `&session` | the primary |
//! | any other statement, typed or raw | a replica if its text is surely a read, otherwise the primary |
//! | a statement on `&db.read()` | a replica, without looking at it |
//! | a statement on `&db.write()` | the primary, without looking at it |
//! | `db.begin()`, `db.transaction(..)`, migrations, schema sync | the primary |
//! | `db.begin_with_config(_, Some(AccessMode::ReadOnly))`, `db.begin_read_only()`, `db.begin_snapshot()` | a replica |
//!
//! A replica is only used if it is known to show what the session must see; otherwise the primary
//! serves the read. See [`dbrouter`] for how that is known without asking on every request. So an insert into
//! a database without `RETURNING`, which is an `INSERT` and then a `SELECT`, finds what it inserted.
//!
//! A stream is routed when it is first polled. A paginator's count and pages may come from different
//! replicas; on a session they come from one.
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
//! use dbrouter_seaorm::RoutedConnection;
//! use sea_orm::{ConnectionTrait, DbErr, Statement};
//!
//! #[dbrouter_seaorm::on_replica]
//! async fn rows(db: &RoutedConnection, table: &str) -> Result<usize, DbErr> {
//!     let all = Statement::from_string(db.get_database_backend(), format!("select * from {table}"));
//!     Ok(db.query_all_raw(all).await?.len())
//! }
//! ```
//!
//! What cannot be seen is not refused either: an executor that is handed to a migration writes wherever it is.
//!
//! # What cannot be seen
//!
//! A [`Transaction`] sees its own commit. What SeaORM does on a connection of its own cannot be seen: migrations,
//! and all else that takes an [`IntoDatabaseExecutor`](sea_orm::IntoDatabaseExecutor), to which a handle gives
//! the primary. On PostgreSQL and MariaDB that connection has a small pool beside the primary's own: from the
//! moment when it is handed out or has run a statement, until none of its connections is out, the session's
//! reads go to the primary. What that misses is work on an executor that was kept unused for several
//! milliseconds, as long as it consists of nothing but `execute_unprepared`. On SQLite nothing need be seen.
//!
//! SeaORM's `set_metric_callback` and its `tracing-spans` concern its own connections; statements here run on
//! sqlx's. Its panicking `get_…_connection_pool` are on [`primary`](Routed::primary).
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
//! # use dbrouter_seaorm::RoutedConnection;
//! use dbrouter_seaorm::dbrouter::discover::Dns;
//! # async fn example() -> Result<(), dbrouter_seaorm::dbrouter::ConfigError> {
//! let db = RoutedConnection::builder()
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
//! # #[cfg(feature = "axum")] mod example {
//! use axum::Router;
//! use axum::extract::State;
//! use axum::http::StatusCode;
//! use axum::response::Redirect;
//! use axum::routing::get;
//! use dbrouter_seaorm::{RoutedConnection, Session};
//! # use dbrouter_seaorm::sea_orm;
//! use sea_orm::{ConnectionTrait, DbErr, Statement};
//!
//! fn app(db: RoutedConnection) -> Router {
//!     Router::new()
//!         .route("/orders", get(orders).post(order))
//!         .layer(db.session_layer()) // one session per request
//!         .with_state(db)
//! }
//!
//! /// The request's session is an extractor. It wrote, so the response has a token, in a cookie.
//! async fn order(session: Session) -> Result<Redirect, StatusCode> {
//!     let insert = "insert into orders (item) values ('tea')";
//!     session.execute_unprepared(insert).await.map_err(broken)?;
//!     Ok(Redirect::to("/orders"))
//! }
//!
//! /// Who knows nothing of sessions is part of it as well. With the cookie's token, only a replica that shows the
//! /// order will do, or else the primary.
//! async fn orders(State(db): State<RoutedConnection>) -> Result<String, StatusCode> {
//!     let orders = Statement::from_string(db.get_database_backend(), "select * from orders");
//!     let orders = db.query_all_raw(orders).await.map_err(broken)?;
//!     Ok(format!("{} orders", orders.len()))
//! }
//!
//! fn broken(_: DbErr) -> StatusCode {
//!     StatusCode::INTERNAL_SERVER_ERROR
//! }
//! # }
//! ```
//!
//! # Notifications
//!
//! PostgreSQL's `LISTEN` works on a primary alone, and sqlx's `PgListener` stays with the server that it was opened on. This
//! one follows the primary: [`ready_primary`](dbrouter::Cluster::ready_primary) waits for one, and
//! [`while_primary`](dbrouter::Cluster::while_primary) ends what listens to one that no longer is. What is notified in between
//! is lost, so the tables are read whenever it begins to listen.
//!
//! ```no_run
//! # #[cfg(feature = "postgres")] mod example {
//! use std::time::Duration;
//! use dbrouter_seaorm::RoutedConnection;
//! use sqlx::postgres::PgListener;
//!
//! async fn work_off(db: RoutedConnection) {
//!     loop {
//!         let primary = db.cluster().ready_primary().await;
//!         // Beside the pool, of whose connections it takes none.
//!         let pool = primary.backend().connection().get_postgres_connection_pool();
//!         let options = pool.options().clone().min_connections(0).max_connections(1);
//!         let pool = options.connect_lazy_with((*pool.connect_options()).clone());
//!         let messages = async {
//!             let mut listener = PgListener::connect_with(&pool).await?;
//!             listener.eager_reconnect(false); // the next connection may be another node's
//!             listener.listen("orders").await?;
//!             println!("read the tables: something may have been missed");
//!             while let Some(message) = listener.try_recv().await? {
//!                 println!("order {} is new", message.payload());
//!             }
//!             Ok::<_, sqlx::Error>(())
//!         };
//!         if let Some(ended) = db.cluster().while_primary(&primary, messages).await {
//!             println!("the connection broke, or was refused: {ended:?}");
//!             primary.doubt(); // is the server still there?
//!             tokio::time::sleep(Duration::from_millis(50)).await;
//!         }
//!     }
//! }
//! # }
//! ```
//!
//! Read in a session that has been told to [`observe_now`](Routed::observe_now): a replica may not show yet what a message tells
//! of. With [`Credentials`](dbrouter::Credentials) the connection logs in with what was given last.
//!
//! # An application's own tests
//!
//! A router may be used in one Tokio runtime after the other, as in a binary of `#[tokio::test]`s, which have a runtime each: so
//! one router in a static serves them all. When the runtime has ended that watched the nodes, the next piece of work has them
//! watched in its own, and waits until they have been asked again;
//! [`Status::unwatched`](dbrouter::Status::unwatched) says that nobody watches meanwhile. Connections are dead when the runtime
//! has ended in which they were opened. The router takes none of those from a pool. A transaction or a stream must end in the runtime in
//! which it began, and so must a session that keeps its connection for life.
//!
//! For a database of one test, and for SeaORM's mocks, there is [`RoutedConnection::single`]; the pool of `#[sqlx::test]`
//! becomes a `DatabaseConnection` by `into()`. To see what replicas are like, give the same URL as primary and as replica: they
//! count as one server.
//!
//! # Before there is a runtime
//!
//! [`connect_lazy`](dbrouter::Builder::connect_lazy) makes a router without connecting to a server and without a runtime. (SQLite's
//! files are opened: SeaORM asks them for their version.) The first statement meets the nodes.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use dbrouter_seaorm::RoutedConnection;
//! # use sea_orm::ConnectionTrait;
//! # let path = std::env::temp_dir().join(format!("dbrouter-seaorm-lazy-{}.db", std::process::id()));
//! let db = RoutedConnection::embedded(&path).connect_lazy()?;
//! assert!(db.cluster().nodes().iter().all(|node| !node.is_healthy()));
//!
//! let runtime = tokio::runtime::Runtime::new()?;
//! runtime.block_on(async {
//!     db.execute_unprepared("create table notes (text)").await?;
//! #   db.close_by_ref().await?;
//!     Ok::<_, sea_orm::DbErr>(())
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
//! `postgres`, `mysql` and `sqlite` turn on SeaORM's drivers and make them routable. `entity-registry`,
//! `macros`, `rbac` and `schema-sync` are SeaORM's, and what they add to its connection they add here.
//! `axum` gives each request of a web application a session (`tower` is the same without axum's extractors), and
//! `signed` signs the tokens that it sends. `serde` makes the [`Status`](dbrouter::Status) serialisable. TLS and all
//! else are features of SeaORM.

// Without a driver there is nothing to route, but it builds.
#![cfg_attr(
    not(any(feature = "mysql", feature = "postgres", feature = "sqlite")),
    allow(unused, reason = "drivers use it")
)]

mod adapter;
mod backend;
mod connection;
mod database;
#[cfg(feature = "sqlite")]
mod embedded;
mod error;
mod executor;
mod pool;
#[cfg(feature = "rbac")]
mod rbac;
mod routed;
#[cfg(feature = "schema-sync")]
mod schema;
mod session;
mod transaction;
mod unseen;
#[cfg(feature = "tower")]
pub mod web;

pub use adapter::{PoolOptions, SeaOrm};
pub use backend::SeaOrmBackend;
pub use database::{Connection, Probe};
pub use error::refusal;
pub use pool::RoutedConnection;
#[cfg(feature = "rbac")]
pub use rbac::{Restricted, RestrictedTransaction};
pub use routed::Routed;
pub use session::{Session, with_session};
pub use transaction::Transaction;

/// Configures a [`RoutedConnection`].
pub type Builder = dbrouter::Builder<SeaOrm>;

/// One node's options: where it is, and what the router should know of it.
///
/// ```
/// use dbrouter_seaorm::NodeOptions;
///
/// let replica = NodeOptions::new("postgres://app@replica-eu/shop")
///     .name("replica-eu")
///     .weight(3)
///     .tag("zone", "eu");
/// # let _ = replica;
/// ```
pub type NodeOptions = dbrouter::NodeOptions<SeaOrm>;

pub use dbrouter;
#[doc(inline)]
pub use dbrouter::macros::{
    seaorm_on_primary as on_primary, seaorm_on_replica as on_replica,
    seaorm_without_writes as without_writes,
};
pub use dbrouter::scope::{carry, spawn, with_primary, with_replica, without_writes};
pub use sea_orm;
