//! Schema sync: how SeaORM looks at the schema that is there. It does so on the primary, which it then changes.

/// `sea_schema`'s trait on a handle or a transaction, by the one of SeaORM's that is in it.
macro_rules! discovers {
    ($handle:ident: $this:ident => $connection:expr) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl sea_schema::Connection for $handle {
            async fn query_all(
                &self,
                select: sea_orm::sea_query::SelectStatement,
            ) -> Result<Vec<sea_schema::sqlx_types::SqlxRow>, sqlx::Error> {
                let $this = self;
                sea_schema::Connection::query_all($connection, select).await
            }

            async fn query_all_raw(
                &self,
                sql: String,
            ) -> Result<Vec<sea_schema::sqlx_types::SqlxRow>, sqlx::Error> {
                let $this = self;
                sea_schema::Connection::query_all_raw($connection, sql).await
            }
        }
    };
}

pub(crate) use discovers;
