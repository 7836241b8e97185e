//! sqlx's `Executor` and `Acquire` on references to the handles, as on `&Pool`.

use std::fmt;
use std::sync::Arc;

use async_stream::try_stream;
use dbrouter::{Backend, Intent};
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use futures_util::TryStreamExt;
use sqlx::error::BoxDynError;
use sqlx::{Acquire, Database, Describe, Either, Error, Execute, Executor, SqlStr, Transaction};

use crate::backend::SqlxBackend;
use crate::connection::Connection;
use crate::database::RoutedDatabase;
use crate::pool::RoutedPool;
use crate::routed::Routed;
use crate::session::Session;
use crate::work::{Acquired, Work, begin};

/// A query taken apart: reading its text consumes it, and it may have to be run more than once.
struct Statement<DB: Database> {
    sql: SqlStr,
    arguments: Result<Option<DB::Arguments>, BoxDynError>,
    persistent: bool,
    prepared: Option<DB::Statement>,
}

impl<DB: RoutedDatabase> Statement<DB> {
    fn of<'q>(mut query: impl Execute<'q, DB>) -> Self {
        let arguments = query.take_arguments();
        let persistent = query.persistent();
        let prepared = query.statement().cloned();
        Self {
            sql: query.sql(),
            arguments,
            persistent,
            prepared,
        }
    }

    /// The statement to run now. A read may have to be run again, so a copy of it stays here.
    fn next_run(&mut self, intent: Intent) -> Self {
        let arguments = match (&mut self.arguments, intent) {
            (Ok(arguments), Intent::Read) => Ok(arguments.clone()),
            (arguments, _) => std::mem::replace(arguments, Ok(None)),
        };
        let (sql, prepared) = (self.sql.clone(), self.prepared.clone());
        Self {
            sql,
            arguments,
            persistent: self.persistent,
            prepared,
        }
    }
}

impl<'q, DB: RoutedDatabase> Execute<'q, DB> for Statement<DB> {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.prepared.as_ref()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxDynError> {
        std::mem::replace(&mut self.arguments, Ok(None))
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

impl<DB: RoutedDatabase> Work<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    /// Runs a statement and hands out its results as they come. As long as none has been handed out, a
    /// read whose node fails is run elsewhere.
    fn fetch_many<'e>(self, mut statement: Statement<DB>) -> Results<'e, DB> {
        let mut work = self.of_statement(statement.sql.as_str());
        Box::pin(try_stream! {
            loop {
                let Acquired { mut connection, route } = work.acquire().await?;
                let mut results = connection.fetch_many(statement.next_run(route.intent()));
                let mut handed_out = false;
                let failure = loop {
                    match results.try_next().await {
                        Ok(Some(result)) => {
                            handed_out = true;
                            work.done(statement.sql.as_str());
                            yield result;
                        }
                        Ok(None) => break None,
                        Err(error) => break Some(error),
                    }
                };
                drop(results);
                match failure {
                    None => {
                        work.done(statement.sql.as_str());
                        break;
                    }
                    Some(error) if handed_out => {
                        route.report(SqlxBackend::<DB>::fault(&error), &error);
                        Err(error)?;
                    }
                    Some(error) => work.statement_failed(statement.sql.as_str(), &route, error)?,
                }
            }
        })
    }

    async fn fetch_optional(self, mut statement: Statement<DB>) -> Result<Option<DB::Row>, Error> {
        let mut work = self.of_statement(statement.sql.as_str());
        loop {
            let Acquired {
                mut connection,
                route,
            } = work.acquire().await?;
            match connection
                .fetch_optional(statement.next_run(route.intent()))
                .await
            {
                Err(error) => work.statement_failed(statement.sql.as_str(), &route, error)?,
                result => {
                    work.done(statement.sql.as_str());
                    return result;
                }
            }
        }
    }

    async fn prepare(self, sql: SqlStr, types: &[DB::TypeInfo]) -> Result<DB::Statement, Error> {
        let mut work = self.of_statement(sql.as_str());
        loop {
            let Acquired {
                mut connection,
                route,
            } = work.acquire().await?;
            let prepared = connection.prepare_with(sql.clone(), types).await;
            match prepared {
                Err(error) => work.statement_failed(sql.as_str(), &route, error)?,
                result => {
                    // Nothing was executed.
                    route.without_effect();
                    return result;
                }
            }
        }
    }

    async fn describe(self, sql: SqlStr) -> Result<Describe<DB>, Error> {
        let mut work = self.of_statement(sql.as_str());
        loop {
            let Acquired {
                mut connection,
                route,
            } = work.acquire().await?;
            match connection.describe(sql.clone()).await {
                Err(error) => work.statement_failed(sql.as_str(), &route, error)?,
                result => {
                    route.without_effect();
                    return result;
                }
            }
        }
    }
}

impl<DB: RoutedDatabase> Work<DB> {
    /// A connection to keep.
    pub(crate) async fn connection(self) -> Result<Connection<DB>, Error> {
        let mut work = self.of_connection();
        let Acquired { connection, route } = work.acquire().await?;
        Ok(Connection::new(connection, route.hold_open()))
    }

    /// A transaction on the primary that sees its own end.
    pub(crate) async fn transaction(self) -> Result<crate::Transaction<DB>, Error> {
        let mut work = self.of_connection();
        let route = work.route()?;
        match begin(route.node().backend().pool()).await {
            Ok(transaction) => Ok(crate::Transaction::new(transaction, route)),
            Err(error) => {
                route.report(SqlxBackend::<DB>::fault(&error), &error);
                route.unsent();
                Err(error)
            }
        }
    }

    /// A transaction of sqlx's own type, whose end cannot be seen.
    async fn unseen_transaction<'a>(self) -> Result<Transaction<'a, DB>, Error> {
        let mut work = self.of_connection();
        let Acquired { connection, route } = work.acquire().await?;
        let node = Arc::clone(route.node());
        node.backend().lanes().begin(connection, route).await
    }
}

/// What `fetch_many` returns.
type Results<'e, DB> =
    BoxStream<'e, Result<Either<<DB as Database>::QueryResult, <DB as Database>::Row>, Error>>;

/// The same methods as sqlx implements for `&Pool`, with the same ones left to their defaults.
macro_rules! like_a_pool {
    ($handle:ident) => {
        impl<'p, DB: RoutedDatabase> Executor<'p> for &'_ $handle<DB>
        where
            for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
        {
            type Database = DB;

            fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Results<'e, DB>
            where
                'p: 'e,
                E: 'q + Execute<'q, DB>,
            {
                self.work().fetch_many(Statement::of(query))
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<Option<DB::Row>, Error>>
            where
                'p: 'e,
                E: 'q + Execute<'q, DB>,
            {
                Box::pin(self.work().fetch_optional(Statement::of(query)))
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                types: &'e [DB::TypeInfo],
            ) -> BoxFuture<'e, Result<DB::Statement, Error>>
            where
                'p: 'e,
            {
                Box::pin(self.work().prepare(sql, types))
            }

            fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<DB>, Error>>
            where
                'p: 'e,
            {
                Box::pin(self.work().describe(sql))
            }
        }

        impl<'a, DB: RoutedDatabase> Acquire<'a> for &'_ $handle<DB> {
            type Database = DB;
            type Connection = Connection<DB>;

            fn acquire(self) -> BoxFuture<'a, Result<Connection<DB>, Error>> {
                Box::pin(self.work().connection())
            }

            fn begin(self) -> BoxFuture<'a, Result<Transaction<'a, DB>, Error>> {
                Box::pin(self.work().unseen_transaction())
            }
        }

        impl<DB: RoutedDatabase> fmt::Debug for $handle<DB> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let work = self.work();
                f.debug_struct(stringify!($handle))
                    .field("cluster", &work.cluster)
                    .field("session", &work.session)
                    .finish_non_exhaustive()
            }
        }
    };
}

like_a_pool!(RoutedPool);
like_a_pool!(Session);
like_a_pool!(Routed);
