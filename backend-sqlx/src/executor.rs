//! sqlx's `Executor` and `Acquire` on references to the handles, as on `&Pool`.

use std::fmt;

use dbrouter::{Intent, Work};
use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use sqlx::error::BoxDynError;
use sqlx::{Acquire, Database, Describe, Either, Error, Execute, Executor, SqlStr, Transaction};

use crate::backend::SqlxBackend;
use crate::connection::Connection;
use crate::database::RoutedDatabase;
use crate::pool::RoutedPool;
use crate::routed::Routed;
use crate::session::Session;

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

fn fetch_many<'e, DB: RoutedDatabase>(
    work: Work<SqlxBackend<DB>>,
    mut statement: Statement<DB>,
) -> Results<'e, DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let sql = statement.sql.clone();
    work.stream(SqlText(sql), move |connection, intent| {
        connection.fetch_many(statement.next_run(intent))
    })
}

async fn fetch_optional<DB: RoutedDatabase>(
    work: Work<SqlxBackend<DB>>,
    mut statement: Statement<DB>,
) -> Result<Option<DB::Row>, Error>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let sql = statement.sql.clone();
    let run = work.run(sql.as_str(), move |connection, intent| {
        connection.fetch_optional(statement.next_run(intent))
    });
    Ok(run.await?.0)
}

async fn prepare<DB: RoutedDatabase>(
    work: Work<SqlxBackend<DB>>,
    sql: SqlStr,
    types: &[DB::TypeInfo],
) -> Result<DB::Statement, Error>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let text = sql.clone();
    let types = types.to_vec();
    let run = work.run(text.as_str(), move |connection, _| {
        let (sql, types) = (sql.clone(), types.clone());
        Box::pin(async move { connection.prepare_with(sql, &types).await })
    });
    let (statement, route) = run.await?;
    // Nothing was executed.
    route.without_effect();
    Ok(statement)
}

async fn describe<DB: RoutedDatabase>(
    work: Work<SqlxBackend<DB>>,
    sql: SqlStr,
) -> Result<Describe<DB>, Error>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let text = sql.clone();
    let run = work.run(text.as_str(), move |connection, _| {
        connection.describe(sql.clone())
    });
    let (description, route) = run.await?;
    route.without_effect();
    Ok(description)
}

/// A transaction of sqlx's own type, whose end cannot be seen.
async fn unseen_transaction<'a, DB: RoutedDatabase>(
    work: Work<SqlxBackend<DB>>,
) -> Result<Transaction<'a, DB>, Error> {
    let begin = |backend: &SqlxBackend<DB>| {
        let backend = backend.clone();
        async move {
            backend.sweep();
            let (pool, connecting) = (backend.pool(), backend.connecting());
            backend.lanes().begin(pool, connecting).await
        }
    };
    let (begun, route) = work.of_connection().begin(begin).await?;
    Ok(begun.on(route))
}

/// sqlx's text of a statement as everybody else's.
struct SqlText(SqlStr);

impl AsRef<str> for SqlText {
    fn as_ref(&self) -> &str {
        self.0.as_str()
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
                fetch_many(self.work(), Statement::of(query))
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<Option<DB::Row>, Error>>
            where
                'p: 'e,
                E: 'q + Execute<'q, DB>,
            {
                Box::pin(fetch_optional(self.work(), Statement::of(query)))
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                types: &'e [DB::TypeInfo],
            ) -> BoxFuture<'e, Result<DB::Statement, Error>>
            where
                'p: 'e,
            {
                Box::pin(prepare(self.work(), sql, types))
            }

            fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<DB>, Error>>
            where
                'p: 'e,
            {
                Box::pin(describe(self.work(), sql))
            }
        }

        impl<'a, DB: RoutedDatabase> Acquire<'a> for &'_ $handle<DB> {
            type Database = DB;
            type Connection = Connection<DB>;

            fn acquire(self) -> BoxFuture<'a, Result<Connection<DB>, Error>> {
                Box::pin(Connection::acquire(self.work()))
            }

            fn begin(self) -> BoxFuture<'a, Result<Transaction<'a, DB>, Error>> {
                Box::pin(unseen_transaction(self.work()))
            }
        }

        impl<DB: RoutedDatabase> fmt::Debug for $handle<DB> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($handle))
                    .field("cluster", self.cluster())
                    .field("session", &self.state())
                    .finish_non_exhaustive()
            }
        }
    };
}

like_a_pool!(RoutedPool);
like_a_pool!(Session);
like_a_pool!(Routed);
