//! What runs on a connection: SeaORM's statements, with its results and its errors, on sqlx's connections.

use dbrouter::{Backend, BoxFuture, BoxStream};
use dbrouter_sqlx::{Lease, RoutedDatabase, SqlxBackend};
use futures_util::{TryFutureExt, TryStreamExt};
use sea_orm::sea_query::Values;
use sea_orm::{ConnectionTrait, DbErr, ExecResult, QueryResult, Statement, StreamTrait};
use sea_query_sqlx::SqlxValues;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Database, Executor, IntoArguments};

use crate::database::{Connection, by_driver};
use crate::error;

fn query<DB: Database>(statement: Statement) -> Query<'static, DB, SqlxValues>
where
    SqlxValues: IntoArguments<DB>,
{
    let values = statement.values.unwrap_or_else(|| Values(Vec::new()));
    sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values))
}

async fn forget_prepared<DB: RoutedDatabase>(lease: &mut Lease<DB>) -> bool {
    SqlxBackend::forget_prepared(lease).await
}

impl Connection {
    pub(crate) fn execute(
        &mut self,
        statement: Statement,
    ) -> BoxFuture<'_, Result<ExecResult, DbErr>> {
        by_driver!(self, Self,
            connection => Box::pin(async move {
                let executed = connection.execute(query(statement)).await;
                executed.map(Into::into).map_err(error::of_execute)
            }),
            Self::Other(connection) => connection.execute_raw(statement),
        )
    }

    pub(crate) fn execute_unprepared(
        &mut self,
        sql: String,
    ) -> BoxFuture<'_, Result<ExecResult, DbErr>> {
        by_driver!(self, Self,
            connection => Box::pin(async move {
                let executed = connection.execute(AssertSqlSafe(sql)).await;
                executed.map(Into::into).map_err(error::of_execute)
            }),
            Self::Other(connection) => {
                Box::pin(async move { connection.execute_unprepared(&sql).await })
            }
        )
    }

    pub(crate) fn query_one(
        &mut self,
        statement: Statement,
    ) -> BoxFuture<'_, Result<Option<QueryResult>, DbErr>> {
        by_driver!(self, Self,
            connection => Box::pin(async move {
                let row = connection.fetch_optional(query(statement)).await;
                Ok(row.map_err(error::of_query)?.map(Into::into))
            }),
            Self::Other(connection) => connection.query_one_raw(statement),
        )
    }

    pub(crate) fn query_all(
        &mut self,
        statement: Statement,
    ) -> BoxFuture<'_, Result<Vec<QueryResult>, DbErr>> {
        by_driver!(self, Self,
            connection => Box::pin(async move {
                let rows = connection.fetch_all(query(statement)).await;
                Ok(rows.map_err(error::of_query)?.into_iter().map(Into::into).collect())
            }),
            Self::Other(connection) => connection.query_all_raw(statement),
        )
    }

    /// See [`Backend::forget_prepared`].
    pub(crate) async fn forget_prepared(&mut self) -> bool {
        by_driver!(self, Self,
            connection => forget_prepared(connection).await,
            Self::Other(_) => false,
        )
    }

    pub(crate) fn stream(
        &mut self,
        statement: Statement,
    ) -> BoxStream<'_, Result<QueryResult, DbErr>> {
        by_driver!(self, Self,
            connection => {
                let rows = connection.fetch(query(statement));
                Box::pin(rows.map_ok(Into::into).map_err(error::of_query))
            },
            Self::Other(connection) => {
                Box::pin(connection.stream_raw(statement).try_flatten_stream())
            },
        )
    }
}
