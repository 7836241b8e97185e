//! SeaORM's traits on the handles, as on `DatabaseConnection`.

use async_trait::async_trait;
use dbrouter::{BoxStream, Intent, Work};
use sea_orm::sea_query::{DeleteStatement, InsertStatement, UpdateStatement};
use sea_orm::{
    ConnectionTrait, DatabaseExecutor, DbBackend, DbErr, ExecResult, IntoDatabaseExecutor,
    QueryResult, Statement, StatementBuilder, StreamTrait,
};

use crate::backend::SeaOrmBackend;
use crate::pool::RoutedConnection;
use crate::routed::Routed;
use crate::session::Session;
use crate::transaction::{Transaction, begins};

/// The statement to run now. A read may have to be run again, so a copy of it stays here.
fn next_run(statement: &mut Statement, intent: Intent) -> Statement {
    match intent {
        Intent::Read => statement.clone(),
        Intent::Write => {
            let db_backend = statement.db_backend;
            std::mem::replace(statement, Statement::from_string(db_backend, ""))
        }
    }
}

type Run<T> = Result<T, DbErr>;

async fn execute(work: Work<SeaOrmBackend>, mut statement: Statement) -> Run<ExecResult> {
    let sql = statement.sql.clone();
    let run = work.run(&sql, move |connection, intent| {
        connection.execute(next_run(&mut statement, intent))
    });
    Ok(run.await?.0)
}

async fn execute_unprepared(work: Work<SeaOrmBackend>, sql: &str) -> Run<ExecResult> {
    let text = sql.to_owned();
    let run = work.run(sql, move |connection, _| {
        connection.execute_unprepared(text.clone())
    });
    Ok(run.await?.0)
}

async fn query_one(
    work: Work<SeaOrmBackend>,
    mut statement: Statement,
) -> Run<Option<QueryResult>> {
    let sql = statement.sql.clone();
    let run = work.run(&sql, move |connection, intent| {
        connection.query_one(next_run(&mut statement, intent))
    });
    Ok(run.await?.0)
}

async fn query_all(work: Work<SeaOrmBackend>, mut statement: Statement) -> Run<Vec<QueryResult>> {
    let sql = statement.sql.clone();
    let run = work.run(&sql, move |connection, intent| {
        connection.query_all(next_run(&mut statement, intent))
    });
    Ok(run.await?.0)
}

fn stream<'e>(work: Work<SeaOrmBackend>, mut statement: Statement) -> Rows<'e> {
    let sql = statement.sql.clone();
    work.stream(sql, move |connection, intent| {
        connection.stream(next_run(&mut statement, intent))
    })
}

/// What a handle streams. It is routed when it is first polled.
type Rows<'e> = BoxStream<'e, Result<QueryResult, DbErr>>;

/// SeaORM's future of a stream.
type Opening<'a, S> = dbrouter::BoxFuture<'a, Result<S, DbErr>>;

/// What a typed statement tells of its work. What surely writes need not be looked at. All the rest is, by its
/// text: a query may lock, or call a function that writes, and its type does not show that.
fn of_type<S>(work: Work<SeaOrmBackend>) -> Work<SeaOrmBackend> {
    // `S` need not be `'static`, so it has no `TypeId`. A name that misleads costs the primary a read.
    let name = std::any::type_name::<S>();
    let writes = [
        std::any::type_name::<InsertStatement>(),
        std::any::type_name::<UpdateStatement>(),
        std::any::type_name::<DeleteStatement>(),
    ];
    match writes.contains(&name) {
        true => work.of_connection(),
        false => work,
    }
}

/// SeaORM's traits as it implements them for its own connection, and what else is used like a part of them.
macro_rules! like_a_connection {
    ($handle:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl ConnectionTrait for $handle {
            fn get_database_backend(&self) -> DbBackend {
                self.backend()
            }

            async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
                execute(self.work(), statement).await
            }

            async fn execute<S: StatementBuilder>(
                &self,
                statement: &S,
            ) -> Result<ExecResult, DbErr> {
                execute(of_type::<S>(self.work()), self.backend().build(statement)).await
            }

            async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
                execute_unprepared(self.work(), sql).await
            }

            async fn query_one_raw(
                &self,
                statement: Statement,
            ) -> Result<Option<QueryResult>, DbErr> {
                query_one(self.work(), statement).await
            }

            async fn query_one<S: StatementBuilder>(
                &self,
                statement: &S,
            ) -> Result<Option<QueryResult>, DbErr> {
                query_one(of_type::<S>(self.work()), self.backend().build(statement)).await
            }

            async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
                query_all(self.work(), statement).await
            }

            async fn query_all<S: StatementBuilder>(
                &self,
                statement: &S,
            ) -> Result<Vec<QueryResult>, DbErr> {
                query_all(of_type::<S>(self.work()), self.backend().build(statement)).await
            }

            fn support_returning(&self) -> bool {
                self.backend().support_returning()
            }

            fn is_mock_connection(&self) -> bool {
                let primary = self.cluster().primary();
                primary.backend().connection().is_mock_connection()
            }
        }

        #[deny(clippy::missing_trait_methods)]
        impl StreamTrait for $handle {
            type Stream<'a> = Rows<'a>;

            fn get_database_backend(&self) -> DbBackend {
                self.backend()
            }

            fn stream_raw<'a>(&'a self, statement: Statement) -> Opening<'a, Rows<'a>> {
                let rows = stream(self.work(), statement);
                Box::pin(std::future::ready(Ok(rows)))
            }

            fn stream<'a, S: StatementBuilder + Sync>(
                &'a self,
                statement: &S,
            ) -> Opening<'a, Rows<'a>> {
                let work = of_type::<S>(self.work());
                let rows = stream(work, self.backend().build(statement));
                Box::pin(std::future::ready(Ok(rows)))
            }
        }

        begins!($handle => Transaction);

        impl $handle {
            /// The kind of database. (Without this, where two of SeaORM's traits are imported, it would not be
            /// clear which one's method of that name is meant.)
            #[must_use]
            pub fn get_database_backend(&self) -> DbBackend {
                self.backend()
            }
        }

        impl<'c> From<&'c $handle> for DatabaseExecutor<'c> {
            /// As [`IntoDatabaseExecutor`], which migrations use.
            fn from(handle: &'c $handle) -> Self {
                Self::Connection(handle.unseen())
            }
        }

        impl<'c> IntoDatabaseExecutor<'c> for &'c $handle {
            fn into_database_executor(self) -> DatabaseExecutor<'c> {
                self.into()
            }
        }

        #[cfg(feature = "schema-sync")]
        crate::schema::discovers!($handle: handle => &handle.primary());

        impl std::fmt::Debug for $handle {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($handle))
                    .field("cluster", self.cluster())
                    .field("session", &self.state())
                    .finish_non_exhaustive()
            }
        }
    };
}

like_a_connection!(RoutedConnection);
like_a_connection!(Session);
like_a_connection!(Routed);
