//! The conformance suite on an adapter that is none of ours: `adapter.rs` is what a stranger writes, and this
//! file is how it is mounted.

mod adapter;

use std::process::ExitCode;
use std::time::Duration;

use dbrouter::{
    BoxFuture, BoxStream, Cluster, ConfigError, Decision, Dialect, Hold, Intent, NodeOptions,
    Preference, Route, SessionState, Terms, Token, add_replica,
};
use dbrouter_tests::Result;
use dbrouter_tests::conformance::{
    Body, Capabilities, Handle, How, Statements, Subject, Support, cases,
};
use deadpool_postgres::Object;
use futures_util::{StreamExt, TryStreamExt};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use adapter::{Error, Node, TokioPostgres};

fn main() -> ExitCode {
    dbrouter_tests::conformance::run(cases::<OnPostgres>())
}

struct OnPostgres;

impl Subject for OnPostgres {
    const NAME: &'static str = "tokio_postgres";
    const DATABASE: Dialect = Dialect::Postgres;
    type Adapter = TokioPostgres;
    type Handle = Db;

    fn capabilities() -> Capabilities {
        let reason = "this adapter hands out the primary's connections as they are";
        Capabilities {
            credentials: Support::No("its pools take the password that they are opened with"),
            takes_pools: Support::No("it makes its pools itself"),
            refuses_stated_writes: Support::No(reason),
            poolers: Support::No(
                "it makes a replica's connections read-only by a startup parameter",
            ),
            ..Capabilities::default()
        }
    }

    fn adapter() -> TokioPostgres {
        TokioPostgres(10, Duration::from_secs(30))
    }

    fn root(root: Terms<Node>) -> Db {
        Db(root)
    }

    fn add_replica(db: &Db, replica: NodeOptions<TokioPostgres>) -> Result<(), ConfigError> {
        add_replica(&Self::adapter(), db.0.cluster(), replica)
    }

    fn pool(most: u32, patience: Duration) -> TokioPostgres {
        TokioPostgres(most as usize, patience)
    }
}

#[derive(Clone)]
struct Db(Terms<Node>);

impl Db {
    fn how(&self, how: How) -> Terms<Node> {
        match how {
            How::AsIs => self.0.clone(),
            How::Stated(Intent::Read) => self.0.read(),
            How::Stated(Intent::Write) => self.0.write(),
        }
    }

    async fn rows(&self, how: How, sql: &str, parameters: Vec<i64>) -> Result<Vec<Row>> {
        let run = self.how(how).work().run(sql, |client, _| {
            let (sql, parameters) = (sql.to_owned(), parameters.clone());
            Box::pin(async move {
                let parameters: Vec<&(dyn ToSql + Sync)> =
                    parameters.iter().map(|parameter| parameter as _).collect();
                client.query(&sql, &parameters).await.map_err(Error::from)
            })
        });
        Ok(run.await?.0)
    }
}

fn number(rows: &[Row]) -> Result<Option<i64>> {
    Ok(rows.first().map(|row| row.try_get(0)).transpose()?)
}

impl Handle for Db {
    type Backend = Node;

    fn cluster(&self) -> &Cluster<Node> {
        self.0.cluster()
    }

    fn session(&self) -> Self {
        Self(self.0.session())
    }

    fn session_from(&self, token: &Token) -> Self {
        Self(self.0.session_from(token))
    }

    fn observe(&self, token: &Token) {
        self.0.observe(token);
    }

    fn observe_now(&self) {
        self.0.observe_now();
    }

    async fn token(&self) -> Option<Token> {
        self.0.token().await
    }

    async fn token_with_reads(&self) -> Option<Token> {
        self.0.token_with_reads().await
    }

    fn eventual(&self) -> Self {
        Self(self.0.eventual())
    }

    fn wait_for_fresh(&self, most: Duration) -> Self {
        Self(self.0.wait_for_fresh(most))
    }

    fn max_staleness(&self, bound: Duration) -> Result<Self, ConfigError> {
        self.0.max_staleness(bound).map(Self)
    }

    fn preference(&self, preference: Preference) -> Self {
        Self(self.0.preference(preference))
    }

    fn tag(&self, key: &str, value: &str) -> Self {
        Self(self.0.tag(key, value))
    }

    fn key(&self, key: &str) -> Self {
        Self(self.0.key(key))
    }

    fn hold_connection(&self, hold: Hold) -> Self {
        Self(self.0.hold_connection(hold))
    }

    fn state(&self) -> SessionState {
        self.0.state()
    }

    fn last_decision(&self) -> Option<Decision> {
        self.0.last_decision()
    }

    async fn query(&self, how: How, sql: &str) -> Result<i64> {
        let rows = self.rows(how, sql, vec![]).await?;
        Ok(number(&rows)?.ok_or("no row")?)
    }

    async fn execute(&self, how: How, sql: &str) -> Result<()> {
        self.rows(how, sql, vec![]).await.map(drop)
    }

    async fn get(&self, id: i32) -> Result<Option<i64>> {
        let sql = "select version from kv where id = $1::bigint";
        number(&self.rows(How::AsIs, sql, vec![id.into()]).await?)
    }

    async fn set(&self, id: i32, version: i64) -> Result<()> {
        let sql = "update kv set version = $1 where id = $2::bigint";
        let parameters = vec![version, id.into()];
        self.rows(How::AsIs, sql, parameters).await.map(drop)
    }

    async fn insert(&self, id: i32, version: i64) -> Result<i64> {
        let sql = "insert into kv values ($1::bigint, $2) returning version";
        let rows = self.rows(How::AsIs, sql, vec![id.into(), version]).await?;
        Ok(number(&rows)?.ok_or("no row")?)
    }

    fn stream(&self, how: How, sql: &str) -> BoxStream<'static, Result<i64>> {
        let text = sql.to_owned();
        let rows = self
            .how(how)
            .work()
            .stream(sql.to_owned(), move |client, _| {
                let sql = text.clone();
                let rows = async move { client.query_raw(&sql, [0_i64; 0]).await };
                Box::pin(
                    futures_util::stream::once(rows)
                        .try_flatten()
                        .map_err(Error::from),
                )
            });
        rows.map(|row| Ok(row?.try_get(0)?)).boxed()
    }

    async fn transact(&self, body: Body) -> Result<()> {
        to_its_end(Transaction::begin(&self.0.write(), "BEGIN").await?, body).await
    }

    async fn read_only(&self, body: Body) -> Result<()> {
        to_its_end(
            Transaction::begin(&self.0.read(), "BEGIN READ ONLY").await?,
            body,
        )
        .await
    }

    async fn snapshot(&self, body: Body) -> Result<()> {
        let how = Dialect::Postgres.begin_snapshot();
        to_its_end(Transaction::begin(&self.0.read(), how).await?, body).await
    }

    async fn hold(&self, intent: Intent) -> Result<Box<dyn Statements>> {
        let work = self.how(How::Stated(intent)).work();
        let (client, route) = work.of_connection().acquire().await?;
        Ok(Box::new(Held(client, route.hold_open())))
    }
}

async fn to_its_end(mut tx: Transaction, body: Body) -> Result<()> {
    match body(&mut tx).await {
        Ok(()) => Ok(tx.commit().await?),
        Err(error) => {
            tx.rollback().await?;
            Err(error)
        }
    }
}

/// A transaction, and its place on the node. Dropped, its connection is closed: whether it was begun, and what
/// became of it, is not known.
struct Transaction(Option<(Object, Route<Node>)>);

impl Transaction {
    async fn begin(terms: &Terms<Node>, how: &str) -> Result<Self, Error> {
        let transaction = Self(Some(terms.work().of_connection().acquire().await?));
        transaction.client().batch_execute(how).await?;
        Ok(transaction)
    }

    fn client(&self) -> &Client {
        let (client, _) = self.0.as_ref().expect("a transaction that has not ended");
        client
    }

    async fn commit(mut self) -> Result<(), Error> {
        self.client().batch_execute("COMMIT").await?;
        self.0 = None;
        Ok(())
    }

    async fn rollback(mut self) -> Result<(), Error> {
        self.client().batch_execute("ROLLBACK").await?;
        if let Some((_, route)) = self.0.take() {
            route.rolled_back();
        }
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some((client, _)) = self.0.take() {
            drop(Object::take(client));
        }
    }
}

/// A connection that is kept, and its place on the node.
struct Held(
    Object,
    #[expect(dead_code, reason = "dropping it ends the work")] Route<Node>,
);

async fn one(client: &Client, sql: &str) -> Result<i64> {
    Ok(client.query_one(sql, &[]).await?.try_get(0)?)
}

impl Statements for Held {
    fn query<'s>(&'s mut self, sql: &'s str) -> BoxFuture<'s, Result<i64>> {
        Box::pin(one(&self.0, sql))
    }

    fn execute<'s>(&'s mut self, sql: &'s str) -> BoxFuture<'s, Result<()>> {
        Box::pin(async move { Ok(self.0.batch_execute(sql).await?) })
    }
}

impl Statements for Transaction {
    fn query<'s>(&'s mut self, sql: &'s str) -> BoxFuture<'s, Result<i64>> {
        Box::pin(one(self.client(), sql))
    }

    fn execute<'s>(&'s mut self, sql: &'s str) -> BoxFuture<'s, Result<()>> {
        Box::pin(async move { Ok(self.client().batch_execute(sql).await?) })
    }
}
