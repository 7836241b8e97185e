//! One SQLite file, nothing to install: what goes where, and why.
//!
//! ```text
//! cargo run --example quickstart_diesel
//! ```

use dbrouter_diesel::dbrouter::{Candidates, Decision, Intent, Request};
use dbrouter_diesel::{NodeOptions, RoutedPool, RunQueryDsl, Session, with_session};
use dbrouter_diesel::{diesel, diesel_async};
use diesel::prelude::*;
use diesel_async::SimpleAsyncConnection;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::sync_connection_wrapper::SyncConnectionWrapper;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
type Sqlite = Pool<SyncConnectionWrapper<diesel::SqliteConnection>>;

diesel::table! {
    /// What was ordered.
    orders (id) {
        /// Its number.
        id -> BigInt,
        /// Who ordered it.
        customer -> Text,
        /// What it is.
        item -> Text,
    }
}

const SCHEMA: &str = "
    create table orders (id integer primary key, customer text not null, item text not null);
    insert into orders (customer, item) values ('grace', 'tea'), ('alan', 'coffee');
";

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("shop.db");

    // One writer and many readers of one file; and a second set of readers, for reports.
    let db = RoutedPool::<Sqlite>::embedded(&file)
        .replica(
            NodeOptions::new(format!("sqlite://{}", file.display()))
                .name("reports")
                .tag("for", "reports"),
        )
        // A policy is a function. This one keeps everyday reads off the readers for reports.
        .policy(|candidates: Candidates<'_>, request: &Request| {
            let wants_reports = request.tags().value("for") == Some("reports");
            candidates
                .iter()
                .position(|node| (node.name() == "reports") == wants_reports)
        })
        .connect()
        .await?;

    let mut story = Story::default();

    // Whatever runs on the ORM's connection runs on a guard.
    db.write().await?.batch_execute(SCHEMA).await?;
    let create = "db.write() … create table orders …";
    story.tell(create, "root", db.explain(Intent::Write)?);
    diesel::insert_into(orders::table)
        .values((orders::customer.eq("ada"), orders::item.eq("milk")))
        .execute(&mut db.write().await?)
        .await?;
    let insert = "db.write() … insert_into(orders) …";
    story.tell(insert, "root", db.explain(Intent::Write)?);
    let count = "db.read() … orders.count()";
    story.tell(count, "root", db.explain(Intent::Read)?);
    let total = handler(&db).await?;
    assert_eq!(total, 3, "the root handle reads its own writes");

    // A session is one unit of work: it reads its own writes and never goes back in time.
    let session = db.session();
    let list = orders::table.select((orders::customer, orders::item));
    let _: Vec<(String, String)> = list.load(&mut session.read().await?).await?;
    let read = "session.read() … orders.load()";
    story.tell(read, "session", last(&session)?);
    session
        .transaction(async |conn| {
            let row = (orders::customer.eq("grace"), orders::item.eq("sugar"));
            let insert = diesel::insert_into(orders::table).values(row);
            insert.execute(conn).await
        })
        .await?;
    let commit = "session.transaction(… insert …)";
    story.tell(commit, "session", last(&session)?);
    let count = orders::table.count();
    let total: i64 = count.get_result(&mut session.read().await?).await?;
    let read = "session.read() … orders.count()";
    story.tell(read, "session", last(&session)?);
    assert_eq!(total, 4, "the session sees its commit");

    // On a guard to read from a write does not even compile, since this example imports `RunQueryDsl` from the
    // adapter: `diesel::delete(orders::table).execute(&mut session.read().await?)` is answered with
    // "this handle only reads: it executes nothing".

    // A transaction that only reads sees one node.
    let items: Vec<String> = session
        .read_only_transaction(async |conn| orders::table.select(orders::item).load(conn).await)
        .await?;
    let snapshot = "session.read_only_transaction(… load …)";
    story.tell(snapshot, "session", last(&session)?);
    assert_eq!(items.len(), 4);

    // Reports have readers of their own.
    let reports = session.tag("for", "reports");
    let _: Vec<(String, String)> = list.load(&mut reports.read().await?).await?;
    let report = "reports.read() … orders.load()";
    story.tell(report, "session, for=reports", last(&session)?);

    // Code that knows nothing of sessions uses the one that it runs in.
    let request = db.session();
    with_session(&request, handler(&db)).await?;
    let read = "db.read() … orders.count()";
    story.tell(read, "ambient session", last(&request)?);

    println!("\nWhat goes where, and why\n\n{story}");
    println!("What the nodes did\n\n{}", db.status());
    db.close();
    Ok(())
}

/// A request handler that knows nothing of sessions.
async fn handler(db: &RoutedPool<Sqlite>) -> QueryResult<i64> {
    let mut conn = db.read().await?;
    orders::table.count().get_result(&mut conn).await
}

fn last(session: &Session<Sqlite>) -> Result<Decision> {
    session
        .last_decision()
        .ok_or_else(|| "the session has done nothing".into())
}

/// What goes where, as a table.
#[derive(Default)]
struct Story(Vec<(String, String, Decision)>);

impl Story {
    fn tell(&mut self, what: &str, on: &str, decision: Decision) {
        self.0.push((what.to_owned(), on.to_owned(), decision));
    }
}

impl std::fmt::Display for Story {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rule = "─".repeat(100);
        writeln!(
            f,
            "{:51} {:21} {:8} because\n{rule}",
            "statement", "on", "node"
        )?;
        for (what, on, decision) in &self.0 {
            writeln!(
                f,
                "{what:51} {on:21} {:8} {}",
                decision.node, decision.reason
            )?;
        }
        writeln!(f, "{rule}")
    }
}
