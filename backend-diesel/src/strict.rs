//! The strict form: a write through a read handle does not compile.
//!
//! It takes one import, of [`RunQueryDsl`] from this crate instead of diesel-async's:
//!
//! ```compile_fail
//! # use dbrouter_diesel::{diesel, diesel_async, Pool, RoutedPool};
//! # diesel::table! { orders (id) { id -> Integer, item -> Text } }
//! use diesel::prelude::*;
//! use dbrouter_diesel::RunQueryDsl; // and not diesel_async::RunQueryDsl
//!
//! # type Sqlite = diesel_async::sync_connection_wrapper::SyncConnectionWrapper<SqliteConnection>;
//! # async fn example<P: Pool<Connection = Sqlite>>(db: RoutedPool<P>) -> QueryResult<()> {
//! let mut conn = db.read().await?;
//! diesel::delete(orders::table).execute(&mut conn).await?; // error: this handle only reads
//! # Ok(())
//! # }
//! ```
//!
//! The trait has the methods of diesel-async's and runs the same queries on the same connections: plain ones,
//! those of pools, [`WriteGuard`] and what transactions hand out. Only handles to read from are asked more of:
//! they load what is known to be a read, and execute nothing.
//!
//! | on a handle to read from | |
//! | --- | --- |
//! | `select`, tables, boxed queries, joins, grouped and counted ones | run |
//! | `insert`, `update`, `delete`, with or without `returning` | do not compile |
//! | `for_update`, `for_share`, `skip_locked` and the like | do not compile |
//! | `sql_query`, `union`, `intersect`, `except` | need [`assume_read`], because the types do not tell |
//!
//! What types cannot tell either are functions that write (`nextval`), and SQL inside of a `select`
//! ([`diesel::dsl::sql`]). Those the server refuses, if the router opened the replica's pool.
//!
//! A [`ReadGuard`] derefs to the connection, so `&mut *guard` is a way around. [`Strict`] handles give guards that
//! do not: [`StrictRead`] can do nothing but run queries through this trait.

use std::fmt;

use dbrouter::{Decision, Intent, RouteError};
use diesel::backend::Backend;
use diesel::dsl::Limit;
use diesel::query_builder::{
    AsQuery, AstPass, BoxedSelectStatement, Query, QueryFragment, QueryId, SelectStatement,
};
use diesel::query_dsl::methods::LimitDsl;
use diesel::result::QueryResult;
use diesel_async::AsyncConnectionCore;
use diesel_async::methods::{ExecuteDsl, LoadQuery};
use diesel_async::return_futures::{GetResult, LoadFuture};

use crate::connection::{ReadGuard, WriteGuard};
use crate::error::Error;
use crate::pools::Pool;
use crate::routed::Routed;
use crate::transaction::{AsyncFunc, Reading};

/// A query that is known to change nothing and to lock nothing.
///
/// # Contract
///
/// * A replica runs it, and nothing but its result is left of it.
pub trait ReadQuery {}

// The type of the locking clause is left at its default, which is to lock nothing.
#[diagnostic::do_not_recommend]
impl<F, S, D, W, O, L, G, H> ReadQuery for SelectStatement<F, S, D, W, O, L, G, H> {}

#[diagnostic::do_not_recommend]
impl<ST, QS, DB, GB> ReadQuery for BoxedSelectStatement<'_, ST, QS, DB, GB> {}

#[diagnostic::do_not_recommend]
impl<Q: ReadQuery> ReadQuery for &Q {}

#[diagnostic::do_not_recommend]
impl<Q> ReadQuery for AssumeRead<Q> {}

/// A query that the caller says is a read. Made by [`assume_read`].
#[derive(Clone, Copy, Debug)]
#[must_use = "queries are only run by `load`, `get_result` or the like"]
pub struct AssumeRead<Q>(Q);

/// Says of a query that it is a read, where its type does not tell: raw SQL, `union` and the like. If it
/// writes all the same, the replica refuses it.
///
/// ```
/// use dbrouter_diesel::{RunQueryDsl, StrictRead, assume_read};
/// use dbrouter_diesel::diesel::{self, QueryResult, QueryableByName, sql_types::BigInt};
///
/// #[derive(QueryableByName)]
/// struct Orders {
///     #[diesel(sql_type = BigInt)]
///     total: i64,
/// }
///
/// # use dbrouter_diesel::{Pool, diesel_async::sync_connection_wrapper::SyncConnectionWrapper};
/// # type Sqlite = SyncConnectionWrapper<diesel::SqliteConnection>;
/// async fn total<P: Pool<Connection = Sqlite>>(conn: &mut StrictRead<P>) -> QueryResult<i64> {
///     let query = diesel::sql_query("select count(*) as total from orders");
///     let orders: Orders = assume_read(query).get_result(conn).await?;
///     Ok(orders.total)
/// }
/// ```
pub fn assume_read<Q: AsQuery>(query: Q) -> AssumeRead<Q::Query> {
    AssumeRead(query.as_query())
}

impl<Q: Query> Query for AssumeRead<Q> {
    type SqlType = Q::SqlType;
}

impl<Q: QueryId> QueryId for AssumeRead<Q> {
    type QueryId = AssumeRead<Q::QueryId>;
    const HAS_STATIC_QUERY_ID: bool = Q::HAS_STATIC_QUERY_ID;
}

impl<DB: Backend, Q: QueryFragment<DB>> QueryFragment<DB> for AssumeRead<Q> {
    fn walk_ast<'b>(&'b self, pass: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(pass)
    }
}

impl<Q: LimitDsl> LimitDsl for AssumeRead<Q> {
    type Output = AssumeRead<Limit<Q>>;

    fn limit(self, limit: i64) -> Self::Output {
        AssumeRead(self.0.limit(limit))
    }
}

/// What queries run on: a connection, or a guard that leads to one. For a connection type of your own,
/// implement it; with [`ReadWrite`] everything runs on it.
#[diagnostic::on_unimplemented(
    message = "no query runs on `{Self}`",
    note = "take a connection first: `let mut conn = db.read().await?` or `db.write().await?`, \
            and hand over `&mut conn`",
    note = "for a connection type of your own, hand over `&mut *conn`, or implement `dbrouter_diesel::strict::Handle`"
)]
pub trait Handle {
    /// The connection.
    type Connection: AsyncConnectionCore;

    /// [`ReadOnly`] or [`ReadWrite`].
    type Mode;

    /// The connection, on which everything runs.
    fn connection(&mut self) -> &mut Self::Connection;
}

/// The mode of handles to read from.
#[derive(Clone, Copy, Debug)]
pub enum ReadOnly {}

/// The mode of handles to write to, and of plain connections.
#[derive(Clone, Copy, Debug)]
pub enum ReadWrite {}

/// Which queries handles of a mode load.
#[diagnostic::on_unimplemented(
    message = "a handle to read from does not run this query: it writes or locks, or its type does not tell",
    label = "not known to be a read",
    note = "to write or to lock rows, take a connection to the primary: `db.write().await?`",
    note = "raw SQL or a combination of queries that surely only reads is said to: `assume_read(query)`"
)]
pub trait Loads<Q> {}

#[diagnostic::do_not_recommend]
impl<Q: AsQuery<Query: ReadQuery>> Loads<Q> for ReadOnly {}

impl<Q> Loads<Q> for ReadWrite {}

/// Whether handles of a mode execute statements.
#[diagnostic::on_unimplemented(
    message = "this handle only reads: it executes nothing",
    label = "a handle to read from",
    note = "to write, take a connection to the primary: `db.write().await?`",
    note = "to read, use `load`, `get_result`, `get_results`, `first` or `load_stream`"
)]
pub trait Executes {}

impl Executes for ReadWrite {}

impl<H: Handle> Handle for &mut H {
    type Connection = H::Connection;
    type Mode = H::Mode;

    fn connection(&mut self) -> &mut H::Connection {
        H::connection(self)
    }
}

/// diesel-async's connections are handles to write to.
macro_rules! connections {
    ($($(#[$cfg:meta])* $connection:ty),*) => {$(
        $(#[$cfg])*
        impl Handle for $connection {
            type Connection = Self;
            type Mode = ReadWrite;

            fn connection(&mut self) -> &mut Self {
                self
            }
        }
    )*};
}

connections!(
    #[cfg(feature = "postgres")]
    diesel_async::AsyncPgConnection,
    // For pipelining.
    #[cfg(feature = "postgres")]
    &diesel_async::AsyncPgConnection,
    #[cfg(feature = "mysql")]
    diesel_async::AsyncMysqlConnection,
    #[cfg(feature = "sqlite")]
    diesel_async::sync_connection_wrapper::SyncConnectionWrapper<diesel::SqliteConnection>
);

/// diesel-async's `RunQueryDsl`, which knows handles to read from. Import it *instead*: see
/// [`strict`](crate::strict).
pub trait RunQueryDsl<H>: Sized {
    /// Executes a statement and returns how many rows it affected.
    fn execute<'conn, 'query>(
        self,
        conn: &'conn mut H,
    ) -> <H::Connection as AsyncConnectionCore>::ExecuteFuture<'conn, 'query>
    where
        H: Handle<Mode: Executes>,
        H::Connection: 'conn,
        Self: ExecuteDsl<H::Connection> + 'query,
    {
        diesel_async::RunQueryDsl::execute(self, conn.connection())
    }

    /// Runs a query and returns its rows.
    fn load<'query, 'conn, U>(
        self,
        conn: &'conn mut H,
    ) -> LoadFuture<'conn, 'query, Self, H::Connection, U>
    where
        U: Send,
        H: Handle<Mode: Loads<Self>>,
        H::Connection: 'conn,
        Self: LoadQuery<'query, H::Connection, U> + 'query,
    {
        diesel_async::RunQueryDsl::load(self, conn.connection())
    }

    /// Runs a query and returns a stream of its rows.
    fn load_stream<'conn, 'query, U>(self, conn: &'conn mut H) -> Self::LoadFuture<'conn>
    where
        U: 'conn,
        H: Handle<Mode: Loads<Self>>,
        H::Connection: 'conn,
        Self: LoadQuery<'query, H::Connection, U> + 'query,
    {
        diesel_async::RunQueryDsl::load_stream(self, conn.connection())
    }

    /// Runs a query and returns its first row, or that there is none.
    fn get_result<'query, 'conn, U>(
        self,
        conn: &'conn mut H,
    ) -> GetResult<'conn, 'query, Self, H::Connection, U>
    where
        U: Send + 'conn,
        H: Handle<Mode: Loads<Self>>,
        H::Connection: 'conn,
        Self: LoadQuery<'query, H::Connection, U> + 'query,
    {
        diesel_async::RunQueryDsl::get_result(self, conn.connection())
    }

    /// Runs a query and returns its rows: another name for [`load`](Self::load).
    fn get_results<'query, 'conn, U>(
        self,
        conn: &'conn mut H,
    ) -> LoadFuture<'conn, 'query, Self, H::Connection, U>
    where
        U: Send,
        H: Handle<Mode: Loads<Self>>,
        H::Connection: 'conn,
        Self: LoadQuery<'query, H::Connection, U> + 'query,
    {
        diesel_async::RunQueryDsl::get_results(self, conn.connection())
    }

    /// Runs a query, limited to one row, and returns that row, or that there is none.
    fn first<'query, 'conn, U>(
        self,
        conn: &'conn mut H,
    ) -> GetResult<'conn, 'query, Limit<Self>, H::Connection, U>
    where
        U: Send + 'conn,
        H: Handle<Mode: Loads<Limit<Self>>>,
        H::Connection: 'conn,
        Self: LimitDsl,
        Limit<Self>: LoadQuery<'query, H::Connection, U> + Send + 'query,
    {
        diesel_async::RunQueryDsl::first(self, conn.connection())
    }
}

impl<Q, H> RunQueryDsl<H> for Q {}

/// A handle that gives strict guards: [`Routed::strict`].
pub struct Strict<P: Pool> {
    routed: Routed<P>,
}

impl<P: Pool> Strict<P> {
    pub(crate) fn new(routed: Routed<P>) -> Self {
        Self { routed }
    }

    /// As [`Routed::read`].
    ///
    /// # Errors
    ///
    /// If no node will do, or none gives a connection.
    pub async fn read(&self) -> Result<StrictRead<P>, Error> {
        self.routed.read().await.map(StrictRead::from)
    }

    /// As [`Routed::read_prefer_primary`].
    ///
    /// # Errors
    ///
    /// If no node will do, or none gives a connection.
    pub async fn read_prefer_primary(&self) -> Result<StrictRead<P>, Error> {
        self.routed
            .read_prefer_primary()
            .await
            .map(StrictRead::from)
    }

    /// As [`Routed::write`]: there is nothing to be strict about.
    ///
    /// # Errors
    ///
    /// If there is no primary, or it gives no connection.
    pub async fn write(&self) -> Result<WriteGuard<P>, Error> {
        self.routed.write().await
    }

    /// As [`Routed::transaction`].
    ///
    /// # Errors
    ///
    /// The callback's, the database's, and the router's.
    pub fn transaction<'a, 'conn, R, E, F>(
        &'conn self,
        callback: F,
    ) -> impl Future<Output = Result<R, E>> + Send + 'conn
    where
        for<'r> F: AsyncFnOnce(&'r mut P::Connection) -> Result<R, E>
            + AsyncFunc<&'r mut P::Connection, Result<R, E>, Fut: Send>
            + Send
            + 'a,
        E: From<diesel::result::Error> + Send + 'a,
        R: Send + 'a,
        'a: 'conn,
    {
        self.routed.transaction(callback)
    }

    /// As [`Routed::read_only_transaction`], with a strict guard.
    ///
    /// # Errors
    ///
    /// The callback's, the database's, and the router's.
    pub fn read_only_transaction<'a, 'conn, R, E, F>(
        &'conn self,
        callback: F,
    ) -> impl Future<Output = Result<R, E>> + Send + 'conn
    where
        for<'r> F: AsyncFnOnce(&'r mut StrictRead<P>) -> Result<R, E>
            + AsyncFunc<&'r mut StrictRead<P>, Result<R, E>, Fut: Send>
            + Send
            + 'a,
        E: From<diesel::result::Error> + Send + 'a,
        R: Send + 'a,
        'a: 'conn,
    {
        self.routed
            .reading_transaction_on(Reading::ReadOnly, callback)
    }

    /// As [`Routed::snapshot_transaction`], with a strict guard.
    ///
    /// # Errors
    ///
    /// The callback's, the database's, and the router's.
    pub fn snapshot_transaction<'a, 'conn, R, E, F>(
        &'conn self,
        callback: F,
    ) -> impl Future<Output = Result<R, E>> + Send + 'conn
    where
        for<'r> F: AsyncFnOnce(&'r mut StrictRead<P>) -> Result<R, E>
            + AsyncFunc<&'r mut StrictRead<P>, Result<R, E>, Fut: Send>
            + Send
            + 'a,
        E: From<diesel::result::Error> + Send + 'a,
        R: Send + 'a,
        'a: 'conn,
    {
        self.routed
            .reading_transaction_on(Reading::Snapshot, callback)
    }

    /// As [`Routed::explain`].
    ///
    /// # Errors
    ///
    /// If the work could go nowhere now.
    pub fn explain(&self, intent: Intent) -> Result<Decision, RouteError> {
        self.routed.explain(intent)
    }
}

impl<P: Pool> Clone for Strict<P> {
    fn clone(&self) -> Self {
        Self::new(self.routed.clone())
    }
}

impl<P: Pool> fmt::Debug for Strict<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Strict").field(&self.routed).finish()
    }
}

/// A connection to read from that does not show itself: only queries run on it, through
/// [`RunQueryDsl`] of this crate, and only such as are known to be reads.
#[must_use = "the connection goes back to its pool when the guard is dropped"]
pub struct StrictRead<P: Pool>(ReadGuard<P>);

impl<P: Pool> StrictRead<P> {
    /// The node that it leads to, and why.
    #[must_use]
    pub fn decision(&self) -> Decision {
        self.0.decision()
    }
}

impl<P: Pool> From<ReadGuard<P>> for StrictRead<P> {
    fn from(guard: ReadGuard<P>) -> Self {
        Self(guard)
    }
}

impl<P: Pool> Handle for StrictRead<P> {
    type Connection = P::Connection;
    type Mode = ReadOnly;

    fn connection(&mut self) -> &mut P::Connection {
        &mut self.0
    }
}

impl<P: Pool> fmt::Debug for StrictRead<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StrictRead").field(&self.0).finish()
    }
}
