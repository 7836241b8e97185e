//! A transaction that sees its own commit.

use std::fmt;
use std::ops::Deref;

use async_trait::async_trait;
use dbrouter::{Answer, BoxFuture, Decision, Route};
use sea_orm::{
    ConnectionTrait, DatabaseExecutor, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    IntoDatabaseExecutor, QueryResult, Statement, StatementBuilder, StreamTrait, TransactionError,
    TransactionOptions, TransactionSession, TransactionStream, TransactionTrait,
};
use tokio::runtime::Handle;

use crate::backend::SeaOrmBackend;
use crate::database;

/// A transaction on one node, or a savepoint within one. It is used like SeaORM's own, to which it derefs for
/// functions that want `&DatabaseTransaction`.
///
/// Its session sees what it wrote as soon as [`commit`](Self::commit) returns. Dropped without commit it is
/// rolled back.
pub struct Transaction {
    transaction: Open,
    /// A savepoint has none: it ends nothing.
    route: Option<Route<SeaOrmBackend>>,
}

/// SeaORM's own transaction, and whether its connection refuses writes until it has ended.
pub(crate) struct Open {
    transaction: Option<DatabaseTransaction>,
    refuses_writes: bool,
}

impl Open {
    /// Why there is always a transaction.
    const OPEN: &str = "a transaction is only taken out when it ends";

    pub(crate) fn new(transaction: DatabaseTransaction) -> Self {
        Self {
            transaction: Some(transaction),
            refuses_writes: false,
        }
    }

    /// Has SQLite refuse writes until the transaction ends. Elsewhere the transaction was begun so.
    pub(crate) async fn refuse_writes(&mut self) -> Result<(), DbErr> {
        let dialect = database::dialect(ConnectionTrait::get_database_backend(&**self));
        let Some(question) = dialect.refuses_writes() else {
            return Ok(());
        };
        let question = Statement::from_string(database::backend(dialect), question.sql());
        let row = self.query_one_raw(question).await?;
        let answer = row.map(|row| row.try_get_by_index(0)).transpose()?;
        if Answer::from_iter([answer]).is_yes() {
            return Ok(());
        }
        self.refuses_writes = true;
        self.execute_unprepared(dialect.refuse_writes()).await?;
        Ok(())
    }

    /// Makes the connection what it was, and hands out the transaction for its end.
    async fn end(mut self) -> Result<DatabaseTransaction, DbErr> {
        if self.refuses_writes {
            allow_writes(&self).await?;
            self.refuses_writes = false;
        }
        Ok(self.transaction.take().expect(Self::OPEN))
    }
}

async fn allow_writes(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    let dialect = database::dialect(ConnectionTrait::get_database_backend(transaction));
    let allow = dialect.allow_writes_again();
    transaction.execute_unprepared(allow).await.map(drop)
}

impl Deref for Open {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        self.transaction.as_ref().expect(Self::OPEN)
    }
}

/// A connection that refuses writes goes back to its pool only after a task has had it take them again. (Without a runtime
/// sqlx cannot give back any connection.)
impl Drop for Open {
    fn drop(&mut self) {
        if self.refuses_writes
            && let Some(transaction) = self.transaction.take()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { allow_writes(&transaction).await });
        }
    }
}

impl Transaction {
    pub(crate) fn new(transaction: Open, route: Route<SeaOrmBackend>) -> Self {
        let route = Some(route);
        Self { transaction, route }
    }

    /// Commits. From then on the session's reads see what was written.
    ///
    /// # Errors
    ///
    /// The database's. The transaction may have taken effect all the same, if the connection broke; the
    /// session's reads are routed as if it had.
    pub async fn commit(self) -> Result<(), DbErr> {
        let Self { transaction, route } = self;
        let committed = async { transaction.end().await?.commit().await }.await;
        // The session learns of the write before the caller does. A dropped future comes to the same.
        drop(route);
        committed
    }

    /// Rolls back. The session's reads need not see what was written, only what the transaction may have read.
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn rollback(self) -> Result<(), DbErr> {
        let Self { transaction, route } = self;
        transaction.end().await?.rollback().await?;
        if let Some(route) = route {
            route.rolled_back();
        }
        Ok(())
    }

    /// The node that it runs on, and why; `None` for a savepoint, which is where its transaction is.
    #[must_use]
    pub fn decision(&self) -> Option<Decision> {
        self.route.as_ref().map(Route::decision)
    }

    /// The kind of database.
    #[must_use]
    pub fn get_database_backend(&self) -> DbBackend {
        ConnectionTrait::get_database_backend(&**self)
    }

    /// Sets a savepoint.
    async fn start(&self, options: TransactionOptions) -> Result<Self, DbErr> {
        let transaction = Open::new(self.transaction.begin_with_options(options).await?);
        let route = None;
        Ok(Self { transaction, route })
    }
}

/// Commits what went well, and rolls back what did not.
pub(crate) async fn finish<T, E>(
    transaction: impl TransactionSession,
    result: Result<T, E>,
) -> Result<T, TransactionError<E>> {
    let ended = match result {
        Ok(_) => transaction.commit(),
        Err(_) => transaction.rollback(),
    };
    ended.await.map_err(TransactionError::Connection)?;
    result.map_err(TransactionError::Transaction)
}

/// All ways to begin a transaction, on a type that has one: `start`.
macro_rules! begins {
    ($handle:ident => $transaction:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl sea_orm::TransactionTrait for $handle {
            type Transaction = $transaction;

            async fn begin(&self) -> Result<$transaction, DbErr> {
                self.start(sea_orm::TransactionOptions::default()).await
            }

            async fn begin_with_config(
                &self,
                isolation_level: Option<sea_orm::IsolationLevel>,
                access_mode: Option<sea_orm::AccessMode>,
            ) -> Result<$transaction, DbErr> {
                let options = sea_orm::TransactionOptions {
                    isolation_level,
                    access_mode,
                    ..Default::default()
                };
                self.start(options).await
            }

            async fn begin_with_options(
                &self,
                options: sea_orm::TransactionOptions,
            ) -> Result<$transaction, DbErr> {
                self.start(options).await
            }

            async fn transaction<F, T, E>(
                &self,
                callback: F,
            ) -> Result<T, sea_orm::TransactionError<E>>
            where
                F: for<'c> FnOnce(&'c $transaction) -> dbrouter::BoxFuture<'c, Result<T, E>> + Send,
                T: Send,
                E: std::fmt::Display + std::fmt::Debug + Send,
            {
                self.transaction_with_config(callback, None, None).await
            }

            async fn transaction_with_config<F, T, E>(
                &self,
                callback: F,
                isolation_level: Option<sea_orm::IsolationLevel>,
                access_mode: Option<sea_orm::AccessMode>,
            ) -> Result<T, sea_orm::TransactionError<E>>
            where
                F: for<'c> FnOnce(&'c $transaction) -> dbrouter::BoxFuture<'c, Result<T, E>> + Send,
                T: Send,
                E: std::fmt::Display + std::fmt::Debug + Send,
            {
                let begun = self.begin_with_config(isolation_level, access_mode).await;
                let transaction = begun.map_err(sea_orm::TransactionError::Connection)?;
                let result = callback(&transaction).await;
                $crate::transaction::finish(transaction, result).await
            }
        }

        impl $handle {
            /// Runs `callback` inside a transaction, which is committed if it returns `Ok`, and rolled back
            /// otherwise.
            ///
            /// # Errors
            ///
            /// The callback's, or that the transaction could not be begun or ended.
            pub async fn transaction_async<F, T, E>(
                &self,
                callback: F,
            ) -> Result<T, sea_orm::TransactionError<E>>
            where
                F: for<'c> AsyncFnOnce(&'c $transaction) -> Result<T, E> + Send,
                T: Send,
                E: std::fmt::Display + std::fmt::Debug + Send,
            {
                self.transaction_with_config_async(callback, None, None)
                    .await
            }

            /// As [`transaction_async`](Self::transaction_async), with an isolation level and an access mode.
            ///
            /// # Errors
            ///
            /// The callback's, or that the transaction could not be begun or ended.
            pub async fn transaction_with_config_async<F, T, E>(
                &self,
                callback: F,
                isolation_level: Option<sea_orm::IsolationLevel>,
                access_mode: Option<sea_orm::AccessMode>,
            ) -> Result<T, sea_orm::TransactionError<E>>
            where
                F: for<'c> AsyncFnOnce(&'c $transaction) -> Result<T, E> + Send,
                T: Send,
                E: std::fmt::Display + std::fmt::Debug + Send,
            {
                use sea_orm::TransactionTrait;
                let begun = self.begin_with_config(isolation_level, access_mode).await;
                let transaction = begun.map_err(sea_orm::TransactionError::Connection)?;
                let result = callback(&transaction).await;
                $crate::transaction::finish(transaction, result).await
            }
        }
    };
}

pub(crate) use begins;

begins!(Transaction => Transaction);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.transaction.execute_raw(statement).await
    }

    async fn execute<S: StatementBuilder>(&self, statement: &S) -> Result<ExecResult, DbErr> {
        self.transaction.execute(statement).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.transaction.execute_unprepared(sql).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.transaction.query_one_raw(statement).await
    }

    async fn query_one<S: StatementBuilder>(
        &self,
        statement: &S,
    ) -> Result<Option<QueryResult>, DbErr> {
        self.transaction.query_one(statement).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.transaction.query_all_raw(statement).await
    }

    async fn query_all<S: StatementBuilder>(
        &self,
        statement: &S,
    ) -> Result<Vec<QueryResult>, DbErr> {
        self.transaction.query_all(statement).await
    }

    fn support_returning(&self) -> bool {
        self.transaction.support_returning()
    }

    fn is_mock_connection(&self) -> bool {
        self.transaction.is_mock_connection()
    }
}

#[deny(clippy::missing_trait_methods)]
impl StreamTrait for Transaction {
    type Stream<'a> = TransactionStream<'a>;

    fn get_database_backend(&self) -> DbBackend {
        self.get_database_backend()
    }

    fn stream_raw<'a>(
        &'a self,
        statement: Statement,
    ) -> BoxFuture<'a, Result<TransactionStream<'a>, DbErr>> {
        self.transaction.stream_raw(statement)
    }

    fn stream<'a, S: StatementBuilder + Sync>(
        &'a self,
        statement: &S,
    ) -> BoxFuture<'a, Result<TransactionStream<'a>, DbErr>> {
        self.transaction.stream(statement)
    }
}

#[async_trait]
impl TransactionSession for Transaction {
    async fn commit(self) -> Result<(), DbErr> {
        self.commit().await
    }

    async fn rollback(self) -> Result<(), DbErr> {
        self.rollback().await
    }
}

impl Deref for Transaction {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.transaction
    }
}

impl<'c> From<&'c Transaction> for DatabaseExecutor<'c> {
    fn from(transaction: &'c Transaction) -> Self {
        Self::Transaction(transaction)
    }
}

impl<'c> IntoDatabaseExecutor<'c> for &'c Transaction {
    fn into_database_executor(self) -> DatabaseExecutor<'c> {
        self.into()
    }
}

#[cfg(feature = "schema-sync")]
crate::schema::discovers!(Transaction: transaction => &**transaction);

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("decision", &self.decision())
            .finish_non_exhaustive()
    }
}
