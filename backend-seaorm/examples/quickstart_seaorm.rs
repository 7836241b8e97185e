//! One SQLite file, nothing to install: what goes where, and why.
//!
//! ```text
//! cargo run --example quickstart_seaorm
//! ```

use dbrouter_seaorm::dbrouter::{Candidates, Decision, Request};
use dbrouter_seaorm::{NodeOptions, RoutedConnection, Session, with_session};
use sea_orm::{
    ActiveModelTrait, ConnectOptions, DbBackend, DbErr, EntityTrait, PaginatorTrait, QueryTrait,
    Set, TransactionTrait,
};
use sea_orm_migration::MigratorTrait;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("shop.db");

    // One writer and many readers of one file; and a second set of readers, for reports.
    let reports = ConnectOptions::new(format!("sqlite://{}", file.display()));
    let db = RoutedConnection::embedded(&file)
        .replica(
            NodeOptions::with_options(reports)
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

    // Migrations are SeaORM's own, and run on the writer.
    migrations::Migrator::up(&db, None).await?;
    story.tell(
        "Migrator::up(&db, None)",
        "root",
        db.explain("create table orders (id)")?,
    );

    // The root handle is used like a connection.
    let insert = order::Entity::insert(order::of("ada", "milk"));
    story.tell(
        "order.insert(&db)",
        "root",
        db.explain(&insert.build(DbBackend::Sqlite).sql)?,
    );
    order::of("ada", "milk").insert(&db).await?;
    let list = order::Entity::find().build(DbBackend::Sqlite).sql;
    let count = "order::Entity::find().count(&db)";
    story.tell(count, "root", db.explain(&list)?);
    let orders = order::Entity::find().count(&db).await?;
    assert_eq!(orders, 3, "the root handle reads its own writes");

    // A session is one unit of work: it reads its own writes and never goes back in time.
    let session = db.session();
    order::Entity::find().all(&session).await?;
    story.tell(
        "order::Entity::find().all(&session)",
        "session",
        last(&session)?,
    );
    let tx = session.begin().await?;
    order::of("grace", "sugar").insert(&tx).await?;
    tx.commit().await?;
    story.tell("begin … insert … commit", "session", last(&session)?);
    let orders = order::Entity::find().count(&session).await?;
    story.tell(
        "order::Entity::find().count(&session)",
        "session",
        last(&session)?,
    );
    assert_eq!(orders, 4, "the session sees its commit");

    // What is not surely a read goes to the writer, unless we say that it is one.
    let unknown = "select my_total(item) from orders";
    story.tell(unknown, "root", db.explain(unknown)?);
    story.tell(unknown, "root, .read()", db.read().explain(unknown)?);

    // A transaction that only reads sees one replica.
    let snapshot = session.begin_read_only().await?;
    order::Entity::find().all(&snapshot).await?;
    snapshot.commit().await?;
    story.tell(
        "begin_read_only … find … commit",
        "session",
        last(&session)?,
    );

    // Reports have readers of their own.
    let reports = session.tag("for", "reports");
    order::Entity::find().all(&reports).await?;
    story.tell(
        "order::Entity::find().all(&reports)",
        "session, for=reports",
        last(&session)?,
    );

    // Code that knows nothing of sessions uses the one that it runs in.
    let request = db.session();
    with_session(&request, handler(&db)).await?;
    story.tell(count, "ambient session", last(&request)?);

    println!("\nWhat goes where, and why\n\n{story}");
    println!("What the nodes did\n\n{}", db.status());
    db.close().await?;
    Ok(())
}

/// A request handler that was written for a connection.
async fn handler(db: &impl sea_orm::ConnectionTrait) -> std::result::Result<u64, DbErr> {
    order::Entity::find().count(db).await
}

fn last(session: &Session) -> Result<Decision> {
    session
        .last_decision()
        .ok_or_else(|| "the session has done nothing".into())
}

#[allow(unreachable_pub, reason = "the model's macro wants `pub`")]
mod order {
    use super::Set;
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "orders")]
    pub struct Model {
        #[sea_orm(primary_key)]
        pub id: i64,
        pub customer: String,
        pub item: String,
    }

    impl ActiveModelBehavior for ActiveModel {}

    pub fn of(customer: &str, item: &str) -> ActiveModel {
        ActiveModel {
            customer: Set(customer.to_owned()),
            item: Set(item.to_owned()),
            ..Default::default()
        }
    }
}

mod migrations {
    use super::order;
    use sea_orm_migration::prelude::*;
    use sea_orm_migration::sea_orm::{ActiveModelTrait, Schema};

    pub(super) struct Migrator;

    #[async_trait::async_trait]
    impl MigratorTrait for Migrator {
        fn migrations() -> Vec<Box<dyn MigrationTrait>> {
            vec![Box::new(Shop)]
        }
    }

    #[derive(DeriveMigrationName)]
    struct Shop;

    #[async_trait::async_trait]
    impl MigrationTrait for Shop {
        async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
            let schema = Schema::new(manager.get_database_backend());
            let orders = schema.create_table_from_entity(order::Entity);
            manager.create_table(orders).await?;
            order::of("ada", "tea")
                .insert(manager.get_connection())
                .await?;
            order::of("grace", "coffee")
                .insert(manager.get_connection())
                .await?;
            Ok(())
        }
    }
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
