//! Access control: SeaORM's engine decides, the router routes.

use std::fmt;
use std::ops::Deref;

use async_trait::async_trait;
use sea_orm::rbac::{RbacEngine, RbacUserId};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult,
    RestrictedConnection, Statement, StatementBuilder, TransactionOptions, TransactionSession,
};

use crate::routed::Routed;
use crate::transaction::{Transaction, begins};

impl Routed {
    /// Loads the rules from the primary. If there were some already, these take their place. They are the
    /// router's: all of its handles have them.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub async fn load_rbac(&self) -> Result<(), DbErr> {
        self.primary().load_rbac().await
    }

    /// Loads the rules from another database.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub async fn load_rbac_from(&self, database: &DatabaseConnection) -> Result<(), DbErr> {
        self.primary().load_rbac_from(database).await
    }

    /// Takes these rules.
    pub fn replace_rbac(&self, engine: RbacEngine) {
        self.primary().replace_rbac(engine);
    }

    /// The same handle for what this user may do.
    ///
    /// # Errors
    ///
    /// If no rules have been loaded.
    pub fn restricted_for(&self, user: RbacUserId) -> Result<Restricted, DbErr> {
        let rules = self.primary().restricted_for(user)?;
        let routed = self.clone();
        Ok(Restricted { rules, routed })
    }
}

/// A handle on which a statement only runs if its user may run it. SeaORM's own decides that, to which this
/// one derefs for its questions; raw statements are refused, as there.
#[derive(Clone)]
pub struct Restricted {
    rules: RestrictedConnection,
    routed: Routed,
}

/// A transaction in which a statement only runs if its user may run it.
pub struct RestrictedTransaction {
    rules: RestrictedConnection,
    transaction: Transaction,
}

impl Restricted {
    async fn start(&self, options: TransactionOptions) -> Result<RestrictedTransaction, DbErr> {
        let transaction = self.routed.start(options).await?;
        let rules = self.rules.clone();
        Ok(RestrictedTransaction { rules, transaction })
    }
}

impl RestrictedTransaction {
    /// As [`Transaction::commit`].
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn commit(self) -> Result<(), DbErr> {
        self.transaction.commit().await
    }

    /// As [`Transaction::rollback`].
    ///
    /// # Errors
    ///
    /// The database's.
    pub async fn rollback(self) -> Result<(), DbErr> {
        self.transaction.rollback().await
    }

    /// Sets a savepoint.
    async fn start(&self, options: TransactionOptions) -> Result<Self, DbErr> {
        use sea_orm::TransactionTrait;
        let transaction = self.transaction.begin_with_options(options).await?;
        let rules = self.rules.clone();
        Ok(Self { rules, transaction })
    }
}

fn raw<T>(statement: impl fmt::Display) -> Result<T, DbErr> {
    let problem = format!("Raw query is not supported: {statement}");
    Err(DbErr::RbacError(problem))
}

/// Typed statements are run on `$inner` if the rules allow them.
macro_rules! restricted {
    ($handle:ident, $inner:ident => $transaction:ident) => {
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl ConnectionTrait for $handle {
            fn get_database_backend(&self) -> DbBackend {
                self.$inner.get_database_backend()
            }

            async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
                raw(statement)
            }

            async fn execute<S: StatementBuilder>(
                &self,
                statement: &S,
            ) -> Result<ExecResult, DbErr> {
                self.rules.user_can_run(statement)?;
                self.$inner.execute(statement).await
            }

            async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
                raw(sql)
            }

            async fn query_one_raw(
                &self,
                statement: Statement,
            ) -> Result<Option<QueryResult>, DbErr> {
                raw(statement)
            }

            async fn query_one<S: StatementBuilder>(
                &self,
                statement: &S,
            ) -> Result<Option<QueryResult>, DbErr> {
                self.rules.user_can_run(statement)?;
                self.$inner.query_one(statement).await
            }

            async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
                raw(statement)
            }

            async fn query_all<S: StatementBuilder>(
                &self,
                statement: &S,
            ) -> Result<Vec<QueryResult>, DbErr> {
                self.rules.user_can_run(statement)?;
                self.$inner.query_all(statement).await
            }

            fn support_returning(&self) -> bool {
                self.$inner.support_returning()
            }

            fn is_mock_connection(&self) -> bool {
                self.$inner.is_mock_connection()
            }
        }

        begins!($handle => $transaction);

        impl Deref for $handle {
            type Target = RestrictedConnection;

            fn deref(&self) -> &RestrictedConnection {
                &self.rules
            }
        }

        impl fmt::Debug for $handle {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($handle))
                    .field("user", &self.rules.user_id())
                    .field(stringify!($inner), &self.$inner)
                    .finish()
            }
        }
    };
}

restricted!(Restricted, routed => RestrictedTransaction);
restricted!(RestrictedTransaction, transaction => RestrictedTransaction);

#[async_trait]
impl TransactionSession for RestrictedTransaction {
    async fn commit(self) -> Result<(), DbErr> {
        self.commit().await
    }

    async fn rollback(self) -> Result<(), DbErr> {
        self.rollback().await
    }
}
