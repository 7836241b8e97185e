use dbrouter::{Answer, Dialect, Fault, Login, LoginTarget, Question};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgDatabaseError};
use sqlx::{ConnectOptions, Executor, Postgres};

use super::{RoutedDatabase, ask};

impl RoutedDatabase for Postgres {
    const DIALECT: Dialect = Dialect::Postgres;

    fn read_only(options: PgConnectOptions) -> PgConnectOptions {
        // As `Dialect::replica_session` has it, in no statement of its own.
        options.options([
            ("default_transaction_read_only", "on"),
            ("default_transaction_isolation", "repeatable read"),
        ])
    }

    fn refuses_read_only(error: &dyn DatabaseError) -> bool {
        let code = error.code().unwrap_or_default();
        Self::DIALECT.refuses_options(&code, error.message())
    }

    /// Not where sqlx is told to keep no statements, as behind a PgBouncer that lends connections for one transaction at a
    /// time. Only the URL tells.
    fn prepares(options: &PgConnectOptions) -> bool {
        let url = options.to_url_lossy();
        let none = ("statement-cache-capacity".into(), "0".into());
        !url.query_pairs().any(|pair| pair == none)
    }

    fn with_login(options: PgConnectOptions, login: &Login) -> PgConnectOptions {
        let options = options.password(login.password());
        match login.user() {
            Some(user) => options.username(user),
            None => options,
        }
    }

    fn target(options: &PgConnectOptions, node: LoginTarget) -> LoginTarget {
        match options.get_socket() {
            Some(_) => node,
            None => node.at(options.get_host(), options.get_port()),
        }
    }

    fn fault(error: &dyn DatabaseError) -> Fault {
        match is_stale_plan(error) {
            true => Fault::Prepared,
            false => Self::DIALECT.fault(&error.code().unwrap_or_default(), error.message()),
        }
    }

    fn refuses_login(error: &dyn DatabaseError) -> bool {
        Self::DIALECT.refuses_login(&error.code().unwrap_or_default())
    }

    async fn execute(connection: &mut PgConnection, sql: &'static str) -> Result<(), sqlx::Error> {
        Executor::execute(connection, sql).await.map(drop)
    }

    async fn ask(
        connection: &mut PgConnection,
        question: &Question,
    ) -> Result<Answer, sqlx::Error> {
        match ask::<Self>(connection, question).await {
            // A hot standby refuses whatever is asked at the isolation level that is the default. Replicas' connections
            // are opened with another one, but this may be a pool that somebody else has opened.
            Err(error) if error.as_database_error().map(Self::fault) == Some(Fault::Conflict) => {
                connection.execute(Self::DIALECT.replica_session()).await?;
                ask::<Self>(connection, question).await
            }
            answer => answer,
        }
    }
}

/// A prepared statement whose result has changed bears a code that recovery uses as well, and words that depend on
/// the server's language.
fn is_stale_plan(error: &dyn DatabaseError) -> bool {
    let error = error.try_downcast_ref::<PgDatabaseError>();
    error.and_then(PgDatabaseError::routine) == Some("RevalidateCachedQuery")
}
