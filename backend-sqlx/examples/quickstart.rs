//! One SQLite file, nothing to install: what goes where, and why.
//!
//! ```text
//! cargo run --example quickstart
//! ```

use dbrouter_sqlx::dbrouter::{Candidates, Decision, Request};
use dbrouter_sqlx::{NodeOptions, RoutedPool, Session, with_session};
use sqlx::Sqlite;
use sqlx::sqlite::SqliteConnectOptions;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const COUNT: &str = "select count(*) from orders";
const LIST: &str = "select customer, item from orders order by id";
const INSERT: &str = "insert into orders (customer, item) values ($1, $2)";

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("shop.db");

    // One writer and many readers of one file; and a second set of readers, for reports.
    let db = RoutedPool::<Sqlite>::embedded(&file)
        .replica(
            NodeOptions::with_options(SqliteConnectOptions::new().filename(&file))
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

    // Migrations are sqlx's own, and run on the writer.
    sqlx::migrate!("examples/migrations").run(&db).await?;
    story.tell(
        "migrate!().run(&db)",
        "root",
        db.explain("create table orders (id)")?,
    );

    // The root handle is used like a pool.
    story.tell(INSERT, "root", db.explain(INSERT)?);
    sqlx::query(INSERT)
        .bind("ada")
        .bind("milk")
        .execute(&db)
        .await?;
    story.tell(COUNT, "root", db.explain(COUNT)?);
    let orders: i64 = sqlx::query_scalar(COUNT).fetch_one(&db).await?;
    assert_eq!(orders, 3, "the root handle reads its own writes");

    // A session is one unit of work: it reads its own writes and never goes back in time.
    let session = db.session();
    sqlx::query(LIST).fetch_all(&session).await?;
    story.tell(LIST, "session", last(&session)?);
    let mut tx = session.begin().await?;
    sqlx::query(INSERT)
        .bind("grace")
        .bind("sugar")
        .execute(&mut *tx)
        .await?;
    tx.commit().await?;
    story.tell("begin … insert … commit", "session", last(&session)?);
    let orders: i64 = sqlx::query_scalar(COUNT).fetch_one(&session).await?;
    story.tell(COUNT, "session", last(&session)?);
    assert_eq!(orders, 4, "the session sees its commit");

    // What is not surely a read goes to the writer, unless we say that it is one.
    let unknown = "select my_total(item) from orders";
    story.tell(unknown, "root", db.explain(unknown)?);
    story.tell(unknown, "root, .read()", db.read().explain(unknown)?);

    // Reports have readers of their own.
    let reports = session.tag("for", "reports");
    sqlx::query(LIST).fetch_all(&reports).await?;
    story.tell(LIST, "session, for=reports", last(&session)?);

    // Code that knows nothing of sessions uses the one that it runs in.
    let request = db.session();
    with_session(&request, handler(&db)).await?;
    story.tell(COUNT, "ambient session", last(&request)?);

    println!("\nWhat goes where, and why\n\n{story}");
    println!("What the nodes did\n\n{}", db.status());
    db.close().await;
    Ok(())
}

/// A request handler that was written for a pool.
async fn handler(db: &RoutedPool<Sqlite>) -> sqlx::Result<i64> {
    sqlx::query_scalar(COUNT).fetch_one(db).await
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
