//! Transactions whose end the session sees.

use dbrouter::{Backend, Dialect, Route};
use diesel::QueryResult;
use diesel::result::Error as DieselError;
use diesel_async::{AsyncConnection, TransactionManager};

use crate::backend::DieselBackend;
use crate::connection::{Lease, ReadGuard};
use crate::database::RoutedConnection;
use crate::error::Error;
use crate::pools::Pool;
use crate::routed::Routed;
use crate::strict::Handle;

/// An asynchronous closure whose future can be sent to another thread. Implemented for all that are, and only
/// here because the bound cannot be written in stable Rust otherwise; diesel-async's own is private.
pub trait AsyncFunc<T, R>:
    AsyncFnOnce(T) -> R + FnOnce(T) -> <Self as AsyncFunc<T, R>>::Fut
{
    /// What it returns.
    type Fut: Future<Output = R>;
}

impl<F, T, Fut, R> AsyncFunc<T, R> for F
where
    F: AsyncFnOnce(T) -> R + FnOnce(T) -> Fut,
    Fut: Future<Output = R>,
{
    type Fut = Fut;
}

/// A transaction that only reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reading {
    /// Each statement sees what its isolation level shows it.
    ReadOnly,
    /// All statements see one moment.
    Snapshot,
}

pub(crate) type Manager<P> = <<P as Pool>::Connection as AsyncConnection>::TransactionManager;

impl<P: Pool> Routed<P> {
    /// Runs `callback` inside a transaction on the primary, as diesel-async's
    /// [`transaction`](AsyncConnection::transaction) does: committed if it returns `Ok`, otherwise rolled
    /// back. From the commit on the session's reads see what was written; after a rollback they need not.
    ///
    /// If the future is dropped, the transaction is rolled back.
    ///
    /// # Errors
    ///
    /// The callback's; the database's; and the router's [`Error`] inside of diesel's, if there is no
    /// connection. After a commit that failed, the session's reads are routed as if it had taken effect.
    ///
    /// ```no_run
    /// # use dbrouter_diesel::{Pool, RoutedPool};
    /// # async fn example<P: Pool>(db: RoutedPool<P>) -> diesel::QueryResult<()> {
    /// use diesel_async::SimpleAsyncConnection;
    ///
    /// db.transaction(async |conn| {
    ///     conn.batch_execute("insert into orders (item) values ('tea')").await?;
    ///     conn.batch_execute("update stock set tea = tea - 1").await
    /// })
    /// .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[expect(
        clippy::manual_async_fn,
        reason = "the signature promises that the future can be sent"
    )]
    pub fn transaction<'a, 'conn, R, E, F>(
        &'conn self,
        callback: F,
    ) -> impl Future<Output = Result<R, E>> + Send + 'conn
    where
        for<'r> F: AsyncFnOnce(&'r mut P::Connection) -> Result<R, E>
            + AsyncFunc<&'r mut P::Connection, Result<R, E>, Fut: Send>
            + Send
            + 'a,
        E: From<DieselError> + Send + 'a,
        R: Send + 'a,
        'a: 'conn,
    {
        async move {
            let begun = self.begin_writing().await.map_err(DieselError::from);
            let (mut connection, route) = begun?;
            match callback(&mut connection).await {
                Ok(value) => {
                    Manager::<P>::commit_transaction(&mut *connection).await?;
                    // The session learns of the write before the caller does.
                    drop(connection);
                    drop(route);
                    Ok(value)
                }
                Err(error) => {
                    roll_back(&mut *connection).await?;
                    drop(connection);
                    route.rolled_back();
                    Err(error)
                }
            }
        }
    }

    /// Runs `callback` inside a read-only transaction on one node that shows what the session must see. A write
    /// inside is refused by the database. If the node cannot be reached, the transaction begins on another. Whether
    /// its statements see one moment is up to the isolation level of the connection, which is the database's, or on a
    /// replica of PostgreSQL *repeatable read*: see [`snapshot_transaction`](Self::snapshot_transaction).
    ///
    /// PostgreSQL is told `BEGIN READ ONLY`, MariaDB `START TRANSACTION READ ONLY`. SQLite has no such
    /// transactions: there the connection is read-only for as long as it lasts.
    ///
    /// # Errors
    ///
    /// As those of [`transaction`](Self::transaction).
    ///
    /// ```no_run
    /// # use dbrouter_diesel::{Pool, RoutedPool, assume_read};
    /// # #[cfg(all(feature = "deadpool", feature = "postgres"))]
    /// # async fn example(
    /// #     db: RoutedPool<diesel_async::pooled_connection::deadpool::Pool<diesel_async::AsyncPgConnection>>,
    /// # ) -> diesel::QueryResult<()> {
    /// use std::time::SystemTime;
    /// use diesel::dsl::now;
    /// use diesel_async::RunQueryDsl;
    ///
    /// let (first, second) = db
    ///     .read_only_transaction(async |conn| {
    ///         let first: SystemTime = diesel::select(now).get_result(conn).await?;
    ///         let second: SystemTime = diesel::select(now).get_result(conn).await?;
    ///         diesel::QueryResult::Ok((first, second))
    ///     })
    ///     .await?;
    /// assert_eq!(first, second);
    /// # Ok(())
    /// # }
    /// ```
    pub fn read_only_transaction<'a, 'conn, R, E, F>(
        &'conn self,
        callback: F,
    ) -> impl Future<Output = Result<R, E>> + Send + 'conn
    where
        for<'r> F: AsyncFnOnce(&'r mut ReadGuard<P>) -> Result<R, E>
            + AsyncFunc<&'r mut ReadGuard<P>, Result<R, E>, Fut: Send>
            + Send
            + 'a,
        E: From<DieselError> + Send + 'a,
        R: Send + 'a,
        'a: 'conn,
    {
        self.reading_transaction_on(Reading::ReadOnly, callback)
    }

    /// As [`read_only_transaction`](Self::read_only_transaction), and all statements see one moment, however long
    /// it takes and whatever is written meanwhile: for a report whose sums must agree. It is PostgreSQL's and
    /// MariaDB's isolation level `REPEATABLE READ`, whatever the default is there; in SQLite every transaction is
    /// one.
    ///
    /// The moment is that of the first statement (in MariaDB, of the beginning), and not before what the session
    /// must see.
    ///
    /// # Errors
    ///
    /// As those of [`transaction`](Self::transaction).
    pub fn snapshot_transaction<'a, 'conn, R, E, F>(
        &'conn self,
        callback: F,
    ) -> impl Future<Output = Result<R, E>> + Send + 'conn
    where
        for<'r> F: AsyncFnOnce(&'r mut ReadGuard<P>) -> Result<R, E>
            + AsyncFunc<&'r mut ReadGuard<P>, Result<R, E>, Fut: Send>
            + Send
            + 'a,
        E: From<DieselError> + Send + 'a,
        R: Send + 'a,
        'a: 'conn,
    {
        self.reading_transaction_on(Reading::Snapshot, callback)
    }

    /// The same with a guard of any kind.
    #[expect(
        clippy::manual_async_fn,
        reason = "the signature promises that the future can be sent"
    )]
    pub(crate) fn reading_transaction_on<'a, 'conn, G, R, E, F>(
        &'conn self,
        how: Reading,
        callback: F,
    ) -> impl Future<Output = Result<R, E>> + Send + 'conn
    where
        G: From<ReadGuard<P>> + Handle<Connection = P::Connection> + Send + 'a,
        for<'r> F: AsyncFnOnce(&'r mut G) -> Result<R, E>
            + AsyncFunc<&'r mut G, Result<R, E>, Fut: Send>
            + Send
            + 'a,
        E: From<DieselError> + Send + 'a,
        R: Send + 'a,
        'a: 'conn,
    {
        async move {
            let begun = self.begin_reading(how).await.map_err(DieselError::from);
            let mut guard = G::from(ReadGuard::new(begun?));
            match callback(&mut guard).await {
                Ok(value) => {
                    Manager::<P>::commit_transaction(guard.connection()).await?;
                    Ok(value)
                }
                Err(error) => {
                    roll_back(guard.connection()).await?;
                    Err(error)
                }
            }
        }
    }

    async fn begin_writing(&self) -> Result<(Lease<P>, Route<DieselBackend<P>>), Error> {
        let begin = |backend: &DieselBackend<P>| {
            let backend = backend.clone();
            async move {
                let mut connection = backend.acquire().await?;
                let begun = connection.begin_writing().await;
                begun.map_err(Error::query).map(|()| connection)
            }
        };
        self.terms().write().work().begin(begin).await
    }

    async fn begin_reading(
        &self,
        how: Reading,
    ) -> Result<(Lease<P>, Route<DieselBackend<P>>), Error> {
        let begin = |backend: &DieselBackend<P>| {
            let backend = backend.clone();
            async move {
                let mut connection = match P::Connection::DIALECT {
                    // It has no transactions that only read.
                    Dialect::Sqlite => backend.acquire_read_only().await?,
                    _ => backend.acquire().await?,
                };
                let begun = match how {
                    Reading::ReadOnly => connection.begin_read_only().await,
                    Reading::Snapshot => connection.begin_snapshot().await,
                };
                let begun = match begun {
                    // A test's, which is never committed: diesel's pools keep no others.
                    Err(DieselError::AlreadyInTransaction) => {
                        Manager::<P>::begin_transaction(&mut *connection).await
                    }
                    begun => begun,
                };
                begun.map_err(Error::query).map(|()| connection)
            }
        };
        self.terms().read().work().begin(begin).await
    }
}

/// Rolls back because of an error, which is more interesting than that the connection is broken as well.
async fn roll_back<C: AsyncConnection>(connection: &mut C) -> QueryResult<()> {
    match C::TransactionManager::rollback_transaction(connection).await {
        Err(DieselError::BrokenTransactionManager) => Ok(()),
        result => result,
    }
}
