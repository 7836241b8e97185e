//! An adapter for plain tokio-postgres on deadpool: all that it takes to get what the others have.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use dbrouter::{
    Adapter, Answer, Backend, Cluster, ConfigError, ConfigErrorKind, Dialect, Fault, Pings,
    Pressure, Question, Role, RouteError, ServerCheck, Terms,
};
use deadpool_postgres::{Hook, HookError, Manager, Object, Pool, PoolError, Runtime};
use tokio_postgres::{Client, Config, NoTls};

/// One node's pool.
#[derive(Clone)]
pub(crate) struct Node {
    pool: Pool,
    config: Config,
}

/// tokio-postgres' errors, the pool's, and the router's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("PostgreSQL")]
    Postgres(#[from] tokio_postgres::Error),
    #[error("the pool gave no connection")]
    Pool(#[from] PoolError),
    #[error("the router found no node")]
    Refused(#[from] RouteError),
}

impl Backend for Node {
    type Error = Error;
    type Connection = Object;
    type Probe = Client;

    fn pressure(&self) -> Pressure {
        let status = self.pool.status();
        Pressure {
            in_use: status.size.saturating_sub(status.available) as u32,
            idle: status.available as u32,
            waiting: Some(status.waiting as u32),
            max: status.max_size as u32,
        }
    }

    fn fault(error: &Error) -> Fault {
        let (Error::Postgres(error) | Error::Pool(PoolError::Backend(error))) = error else {
            return Fault::Busy;
        };
        match error.as_db_error() {
            Some(error) => Dialect::Postgres.fault(error.code().code(), error.message()),
            None if error.is_closed() || is_of_the_network(error) => Fault::Unavailable,
            None => Fault::Other,
        }
    }

    fn refused(refusal: RouteError) -> Error {
        Error::Refused(refusal)
    }

    async fn acquire(&self) -> Result<Object, Error> {
        Ok(self.pool.get().await?)
    }

    async fn open_probe(&self) -> Result<Client, Error> {
        let (client, connection) = self.config.connect(NoTls).await?;
        tokio::spawn(async move { connection.await.ok() });
        Ok(client)
    }

    async fn ask(client: &mut Client, question: &Question) -> Result<Answer, Error> {
        let row = client.query_one(question.sql(), &[]).await?;
        let columns = (0..question.columns()).map(|column| row.try_get(column));
        Ok(columns.collect::<Result<_, _>>()?)
    }
}

fn is_of_the_network(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
}

/// Closes a connection that leads elsewhere.
fn leads_to_the_server(check: ServerCheck) -> Hook {
    Hook::async_fn(move |client, _| {
        let check = check.clone();
        Box::pin(async move {
            let Some(question) = check.question(Dialect::Postgres) else {
                return Ok(());
            };
            let row = client.query_one(question.sql(), &[]).await;
            let server = row
                .and_then(|row| row.try_get(0))
                .map_err(HookError::Backend)?;
            let admitted = check.admit(&Answer::from_iter([server])).await;
            admitted.map_err(|other| HookError::message(other.to_string()))
        })
    })
}

/// Pings a connection that may be dead.
fn is_alive(after: Duration) -> Hook {
    let pings = Arc::new(Pings::new(Some(after)));
    Hook::async_fn(move |client, metrics| {
        let (pings, idle) = (Arc::clone(&pings), metrics.last_used());
        Box::pin(async move {
            let ping = client.simple_query("");
            let checked = pings.check(idle, async { ping.await.map(drop) }).await;
            checked.map_err(|_| HookError::message("the server does not answer"))
        })
    })
}

/// How pools are opened: how many connections, and how long one is waited for.
#[derive(Clone, Copy)]
pub(crate) struct TokioPostgres(pub(crate) usize, pub(crate) Duration);

impl Adapter for TokioPostgres {
    type Backend = Node;
    type Handle = Terms<Node>;
    type ConnectOptions = Config;
    type Pool = Infallible;
    type PoolOptions = Self;

    fn dialects() -> &'static [Dialect] {
        &[Dialect::Postgres]
    }

    fn parse(url: &str) -> Result<Config, Box<dyn std::error::Error + Send + Sync>> {
        Ok(url.parse()?)
    }

    fn pool_options(&mut self, options: Self) {
        *self = options;
    }

    fn ping_after(&mut self, _: Option<Duration>) {}

    fn open(
        &self,
        mut config: Config,
        options: Option<&Self>,
        role: Role,
        check: &ServerCheck,
        _: &str,
    ) -> Result<Node, ConfigError> {
        if role == Role::Replica {
            config.options(
                "-c default_transaction_read_only=on -c default_transaction_isolation=repeatable\\ read",
            );
        }
        let Self(most, patience) = *options.unwrap_or(self);
        let manager = Manager::new(config.clone(), NoTls);
        let builder = Pool::builder(manager)
            .max_size(most)
            .runtime(Runtime::Tokio1)
            .post_create(leads_to_the_server(check.clone()))
            .pre_recycle(is_alive(Duration::from_millis(500)));
        let built = builder.wait_timeout(Some(patience)).build();
        let pool = built.map_err(|error| {
            ConfigError::new(ConfigErrorKind::Runtime, "pool", "has no runtime").with_source(error)
        })?;
        Ok(Node { pool, config })
    }

    fn adopt(&self, pool: Infallible, _: &str) -> Result<Node, ConfigError> {
        match pool {}
    }

    fn dialect(_: &Node) -> Dialect {
        Dialect::Postgres
    }

    fn handle(self, cluster: Cluster<Node>) -> Terms<Node> {
        Terms::new(&cluster)
    }
}
