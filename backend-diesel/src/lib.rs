//! Reads to replicas, writes to the primary: diesel-async's pools, with reads that cannot write.
//!
//! ```no_run
//! # #[cfg(all(feature = "deadpool", feature = "postgres"))] mod example {
//! use dbrouter_diesel::RoutedPool;
//! # use dbrouter_diesel::{diesel, diesel_async};
//! use diesel::prelude::*;
//! use diesel_async::pooled_connection::deadpool::Pool;
//! use diesel_async::{AsyncPgConnection, RunQueryDsl};
//!
//! diesel::table! { orders (id) { id -> Integer, item -> Text } }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let db = RoutedPool::<Pool<AsyncPgConnection>>::builder()
//!     .primary("postgres://app@primary/shop")
//!     .replica("postgres://app@replica-1/shop")
//!     .replica("postgres://app@replica-2/shop")
//!     .connect()
//!     .await?;
//!
//! // A guard is diesel-async's connection: whatever runs on that runs on it.
//! let mut primary = db.write().await?;
//! diesel::insert_into(orders::table).values(orders::item.eq("tea")).execute(&mut primary).await?;
//! drop(primary);
//! let mut replica = db.read().await?;
//! let total: i64 = orders::table.count().get_result(&mut replica).await?;
//!
//! // One session per request: its reads stay on one replica and see its writes.
//! let session = db.session();
//! session
//!     .transaction(async |conn| {
//!         diesel::insert_into(orders::table).values(orders::item.eq("milk")).execute(conn).await
//!     })
//!     .await?;
//! let more: i64 = orders::table.count().get_result(&mut session.read().await?).await?;
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! # What goes where
//!
//! | work | goes to |
//! | --- | --- |
//! | `db.read()`, `session.read()` | a replica |
//! | `db.read_prefer_primary()` | the primary while it is healthy, otherwise a replica |
//! | `db.write()`, `db.transaction(…)` | the primary |
//! | `db.read_only_transaction(…)`, `db.snapshot_transaction(…)` | a replica |
//! | `db.primary()` | the primary's own pool, which the router does not watch: migrations |
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
//! use dbrouter_diesel::{Error, Pool, RoutedPool};
//!
//! #[dbrouter_diesel::on_replica]
//! async fn report<P: Pool>(db: &RoutedPool<P>) -> Result<(), Error> {
//!     let mut sales = db.read().await?;
//!     let mut stock = db.read().await?; // of the same replica
//!     # drop((sales, stock));
//!     Ok(())
//! }
//! ```
//!
//! # What a held guard means
//!
//! What happens on a [`WriteGuard`] cannot be seen. Until it is dropped, the session's reads go to the primary; then
//! all that may have been written counts as written. [`transaction`](Routed::transaction) sees its own commit, and
//! needs no such caution.
//!
//! A read goes to another node when one gives no connection. A statement that fails on a guard is not run again,
//! because the router does not see it. Take a guard, read what belongs together, and drop it.
//!
//! # Reads that cannot write
//!
//! Replicas' connections are made read-only when they are opened, so the server refuses a write. And with
//! `use dbrouter_diesel::RunQueryDsl` in the place of diesel-async's, a write, a `for_update` or raw SQL on a
//! handle to read from does not compile: see [`strict`].
//!
//! # The pools
//!
//! | | deadpool | bb8 | mobc |
//! | --- | --- | --- | --- |
//! | a full pool and a lost server | are told apart | look alike | look alike |
//! | a connection is pinged when it is taken | after 500 ms of idleness; on MariaDB every time | every time | every time |
//! | a connection left inside a transaction is closed | when its guard is dropped | the same | the same |
//! | waits for a connection | 30 s (deadpool's own default: for ever) | 30 s | 30 s |
//! | can be closed | yes | no | no |
//! | hooks for new connections run on the monitor's as well | `post_create`, unless the pool existed already | no: use [`setup`](PoolOptions::setup) | has none |
//!
//! On MariaDB a statement that is dropped half-way leaves its connection closed, which only a ping shows.
//!
//! Where the two look alike, a read loses no time all the same: after 10 ms the monitor looks whether the node
//! is there. A write waits for the pool's own timeout. Prefer deadpool; and know that diesel-async 0.9.2 makes mobc
//! close every healthy connection that it is given back.
//!
//! Options are the pool's own, said to its own builder: [`PoolOptions`].
//!
//! # SQLite
//!
//! diesel-async runs SQLite's work on threads that may block, and waits for them when a future is dropped: it needs
//! Tokio's multi-threaded runtime for that.
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
//! # #[cfg(all(feature = "deadpool", feature = "postgres"))] mod example {
//! # use dbrouter_diesel::{RoutedPool, diesel_async};
//! # use diesel_async::{AsyncPgConnection, pooled_connection::deadpool::Pool};
//! use dbrouter_diesel::dbrouter::discover::Dns;
//! # async fn example() -> Result<(), dbrouter_diesel::dbrouter::ConfigError> {
//! let db = RoutedPool::<Pool<AsyncPgConnection>>::builder()
//!     .primary("postgres://app@primary.internal/shop")
//!     .discover(Dns::new("replicas.internal", 5432))
//!     .connect()
//!     .await?;
//! # drop(db);
//! # Ok(())
//! # }
//! # }
//! ```
//!
//! # A web application
//!
//! With the feature `axum`. A user who posts an order and is redirected sees it, although the next request may land in
//! another process and on another replica: `web` says how, and what it costs.
//!
//! ```no_run
//! # #[cfg(all(feature = "axum", feature = "deadpool", feature = "postgres"))] mod example {
//! use axum::Router;
//! use axum::extract::State;
//! use axum::http::StatusCode;
//! use axum::response::Redirect;
//! use axum::routing::get;
//! use dbrouter_diesel::{RoutedPool, Session};
//! # use dbrouter_diesel::{diesel, diesel_async};
//! use diesel::prelude::*;
//! use diesel_async::pooled_connection::deadpool::Pool;
//! use diesel_async::{AsyncPgConnection, RunQueryDsl};
//!
//! diesel::table! { orders (id) { id -> Integer, item -> Text } }
//!
//! type Pg = Pool<AsyncPgConnection>;
//!
//! fn app(db: RoutedPool<Pg>) -> Router {
//!     Router::new()
//!         .route("/orders", get(count).post(order))
//!         .layer(db.session_layer()) // one session per request
//!         .with_state(db)
//! }
//!
//! /// The request's session is an extractor. It wrote, so the response has a token, in a cookie.
//! async fn order(session: Session<Pg>) -> Result<Redirect, StatusCode> {
//!     let mut primary = session.write().await.map_err(broken)?;
//!     let tea = diesel::insert_into(orders::table).values(orders::item.eq("tea"));
//!     tea.execute(&mut primary).await.map_err(broken)?;
//!     Ok(Redirect::to("/orders"))
//! }
//!
//! /// Who knows nothing of sessions is part of it as well. With the cookie's token, only a replica that shows the
//! /// order will do, or else the primary.
//! async fn count(State(db): State<RoutedPool<Pg>>) -> Result<String, StatusCode> {
//!     let mut replica = db.read().await.map_err(broken)?;
//!     let count: i64 = orders::table.count().get_result(&mut replica).await.map_err(broken)?;
//!     Ok(format!("{count} orders"))
//! }
//!
//! fn broken(_: impl std::error::Error) -> StatusCode {
//!     StatusCode::INTERNAL_SERVER_ERROR
//! }
//! # }
//! ```
//!
//! # Notifications
//!
//! PostgreSQL's `LISTEN` works on a primary alone, and a connection stays with its server. This follows the primary:
//! [`ready_primary`](dbrouter::Cluster::ready_primary) waits for one, and
//! [`while_primary`](dbrouter::Cluster::while_primary) ends what listens to one that no longer is. What is notified in between
//! is lost, so the tables are read whenever it begins to listen.
//!
//! ```no_run
//! # #[cfg(all(feature = "deadpool", feature = "postgres"))] mod example {
//! use std::time::Duration;
//! use dbrouter_diesel::{RoutedPool, dbrouter::Backend};
//! # use dbrouter_diesel::diesel_async;
//! use diesel_async::pooled_connection::deadpool::Pool;
//! use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
//! use futures_util::{StreamExt, pin_mut};
//!
//! async fn work_off(db: RoutedPool<Pool<AsyncPgConnection>>) {
//!     loop {
//!         let primary = db.cluster().ready_primary().await;
//!         let messages = async {
//!             // Beside the pool, of whose connections it takes none.
//!             let mut connection = primary.backend().open_probe().await?;
//!             connection.batch_execute("listen orders").await?;
//!             println!("read the tables: something may have been missed");
//!             let messages = connection.notifications_stream();
//!             pin_mut!(messages);
//!             while let Some(Ok(message)) = messages.next().await {
//!                 println!("order {} is new", message.payload);
//!             }
//!             Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
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
//! With tokio-postgres itself it is the same loop, over a `Client` whose `Connection` is polled for its messages. Read in a
//! session that has been told to [`observe_now`](Routed::observe_now): a replica may not show yet what a message tells of.
//!
//! # An application's own tests
//!
//! In diesel's test transaction nothing is ever committed. Give its pool a single connection, and the router the pool: then all
//! handles and sessions see what the test has written, and when the pool is dropped it is gone.
//!
//! ```no_run
//! # #[cfg(all(feature = "deadpool", feature = "postgres"))] mod example {
//! # use dbrouter_diesel::{RoutedPool, diesel_async};
//! use diesel_async::pooled_connection::{AsyncDieselConnectionManager, deadpool::Pool};
//! use diesel_async::{AsyncConnection, AsyncPgConnection};
//!
//! async fn of_a_test() -> Result<RoutedPool<Pool<AsyncPgConnection>>, Box<dyn std::error::Error>> {
//!     let url = "postgres://app@localhost/shop";
//!     let manager = AsyncDieselConnectionManager::<AsyncPgConnection>::new(url);
//!     let pool = Pool::builder(manager).max_size(1).build()?;
//!     pool.get().await?.begin_test_transaction().await?;
//!     Ok(RoutedPool::single(pool))
//! }
//! # }
//! ```
//!
//! The router's transactions are savepoints there. Those that only read do not refuse writes: the test's own transaction may
//! write. Whoever waits for a second guard while he holds the first waits for ever, or for as long as the pool says.
//!
//! A router may be used in one Tokio runtime after the other, as in a binary of `#[tokio::test]`s, which have a runtime each: so
//! one router in a static serves them all. When the runtime has ended that watched the nodes, the next piece of work has them
//! watched in its own, and waits until they have been asked again;
//! [`Status::unwatched`](dbrouter::Status::unwatched) says that nobody watches meanwhile. Connections are dead when the runtime
//! has ended in which they were opened; the pools see that. A guard must end in the runtime in which it was taken.
//!
//! # Before there is a runtime
//!
//! [`connect_lazy`](dbrouter::Builder::connect_lazy) makes a router without connecting and without a runtime. The first guard
//! meets the nodes.
//!
//! ```
//! # #[cfg(all(feature = "deadpool", feature = "sqlite"))]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use dbrouter_diesel::RoutedPool;
//! # use dbrouter_diesel::diesel::SqliteConnection;
//! # use dbrouter_diesel::diesel_async::SimpleAsyncConnection;
//! # use dbrouter_diesel::diesel_async::pooled_connection::deadpool::Pool;
//! # use dbrouter_diesel::diesel_async::sync_connection_wrapper::SyncConnectionWrapper;
//! # let path = std::env::temp_dir().join(format!("dbrouter-diesel-lazy-{}.db", std::process::id()));
//! type Db = RoutedPool<Pool<SyncConnectionWrapper<SqliteConnection>>>;
//!
//! let db = Db::embedded(&path).connect_lazy()?;
//! assert!(!path.exists() && db.cluster().nodes().iter().all(|node| !node.is_healthy()));
//!
//! let runtime = tokio::runtime::Runtime::new()?;
//! runtime.block_on(async {
//!     db.write().await?.batch_execute("create table notes (text)").await?;
//!     assert_eq!(&*db.read().await?.decision().node, "readers");
//! #   db.close();
//!     Ok::<_, Box<dyn std::error::Error>>(())
//! })?;
//! # std::fs::remove_file(&path)?;
//! # Ok(())
//! # }
//! # #[cfg(not(all(feature = "deadpool", feature = "sqlite")))]
//! # fn main() {}
//! ```
//!
//! # Features
//!
//! `deadpool` (on by default), `bb8` and `mobc` turn on the pools; `postgres`, `mysql` (for MariaDB) and `sqlite`
//! turn on diesel-async's drivers and make them routable; `axum` gives each request of a web application a session
//! (`tower` is the same without axum's extractors), and `signed` signs the tokens that it sends; `serde` makes the
//! [`Status`](dbrouter::Status) serialisable. Diesel's own features, for types and the like, are turned on by depending on it.

mod adapter;
mod backend;
mod connection;
mod database;
#[cfg(feature = "sqlite")]
mod embedded;
mod error;
mod pool;
mod pools;
mod routed;
mod session;
pub mod strict;
mod transaction;
#[cfg(feature = "tower")]
pub mod web;

pub use adapter::{Builder, DieselAdapter, NodeOptions, PoolOptions};
pub use backend::DieselBackend;
pub use connection::{Lease, ReadGuard, WriteGuard};
pub use database::RoutedConnection;
pub use error::{Error, ErrorKind, refusal};
pub use pool::RoutedPool;
pub use pools::Pool;
pub use routed::Routed;
pub use session::{Session, with_session};
pub use strict::{AssumeRead, RunQueryDsl, Strict, StrictRead, assume_read};
pub use transaction::AsyncFunc;

pub use dbrouter;
#[doc(inline)]
pub use dbrouter::macros::{
    diesel_on_primary as on_primary, diesel_on_replica as on_replica,
    diesel_without_writes as without_writes,
};
pub use dbrouter::scope::{carry, spawn, with_primary, with_replica, without_writes};
pub use diesel;
pub use diesel_async;
