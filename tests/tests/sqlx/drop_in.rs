//! Whatever runs on `&Pool` runs on the handles.

use dbrouter_sqlx::{NodeOptions, RoutedPool};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use futures_util::TryStreamExt;
use sqlx::migrate::Migrator;
use sqlx::{Acquire, Either, Executor, Row, Sqlite, SqliteConnection, Statement};
use tempfile::TempDir;

use crate::support::check;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new("drop_in::queries", queries),
        Case::new("drop_in::checked_queries", checked_queries),
        Case::new("drop_in::streams", streams),
        Case::new("drop_in::raw_sql", raw_sql),
        Case::new("drop_in::prepared_statements", prepared_statements),
        Case::new("drop_in::migrations", migrations),
        Case::new("drop_in::generic_functions", generic_functions),
        Case::new("drop_in::spawned_futures", spawned_futures),
        Case::new(
            "drop_in::transactions_and_savepoints",
            transactions_and_savepoints,
        ),
        Case::new(
            "drop_in::handles_are_send_sync_and_static",
            handles_are_send_sync_and_static,
        ),
    ]
}

struct Database {
    db: RoutedPool<Sqlite>,
    _folder: TempDir,
}

async fn database() -> Result<Database> {
    let folder = tempfile::tempdir()?;
    let db = RoutedPool::<Sqlite>::embedded(folder.path().join("app.db"))
        .connect()
        .await?;
    sqlx::query("create table users (id integer primary key, name text not null)")
        .execute(&db)
        .await?;
    sqlx::query("insert into users (id, name) values (1, 'ada'), (2, 'grace')")
        .execute(&db)
        .await?;
    Ok(Database {
        db,
        _folder: folder,
    })
}

#[derive(sqlx::FromRow, Debug, PartialEq)]
struct User {
    id: i64,
    name: String,
}

async fn queries() -> Result<()> {
    let Database { db, _folder } = database().await?;
    let session = db.session();
    let ada = User {
        id: 1,
        name: "ada".to_owned(),
    };
    let found: User = sqlx::query_as("select id, name from users where id = ?")
        .bind(1)
        .fetch_one(&db)
        .await?;
    check(found == ada, format!("{found:?}"))?;
    let names: Vec<String> = sqlx::query_scalar("select name from users order by id")
        .fetch_all(&session)
        .await?;
    check(names == ["ada", "grace"], format!("{names:?}"))?;
    let nobody = sqlx::query("select id from users where id = 9")
        .fetch_optional(&db.read())
        .await?;
    check(nobody.is_none(), "somebody")?;
    let done = sqlx::query("update users set name = upper(name)")
        .execute(&session.write())
        .await?;
    check(done.rows_affected() == 2, format!("{done:?}"))?;
    // A row that an insert returns comes from the writer.
    let id: i64 = sqlx::query_scalar("insert into users (name) values ('joan') returning id")
        .fetch_one(&db)
        .await?;
    check(id == 3, id.to_string())
}

/// `query!` and its kin are checked when this file is compiled, against what is kept in `tests/.sqlx`.
async fn checked_queries() -> Result<()> {
    let Database { db, _folder } = database().await?;
    let row = sqlx::query!("select id, name from users where id = ?", 1)
        .fetch_one(&db)
        .await?;
    check(row.name == "ada", row.name)?;
    let session = db.session();
    let user = sqlx::query_as!(User, "select id, name from users where id = ?", 2)
        .fetch_one(&session)
        .await?;
    check(user.name == "grace", user.name)?;
    let count = sqlx::query_scalar!("select count(*) from users")
        .fetch_one(&db.read())
        .await?;
    check(count == 2, count.to_string())
}

async fn streams() -> Result<()> {
    let Database { db, _folder } = database().await?;
    let session = db.session();
    let mut rows = sqlx::query("select id from users order by id").fetch(&session);
    let first = rows.try_next().await?.ok_or("no row")?;
    check(first.try_get::<i64, _>(0)? == 1, "not the first")?;
    // The place on the node is kept as long as the stream.
    let busy = |name: &str| db.cluster().node(name).map_or(0, |node| node.in_flight());
    check(busy("readers") == 1, "not in flight")?;
    // Another statement of the session runs meanwhile.
    sqlx::query("select 1").fetch_one(&session).await?;
    drop(rows);
    check(busy("readers") == 0, "still in flight")?;
    let names: Vec<String> = sqlx::query_scalar("select name from users")
        .fetch(&db)
        .try_collect()
        .await?;
    check(names.len() == 2, format!("{names:?}"))
}

async fn raw_sql() -> Result<()> {
    let Database { db, _folder } = database().await?;
    // Several statements in one text: the primary's.
    sqlx::raw_sql(
        "insert into users (name) values ('joan'); insert into users (name) values ('mary')",
    )
    .execute(&db)
    .await?;
    let mut results = sqlx::raw_sql("select id from users; select name from users").fetch_many(&db);
    let mut rows = 0;
    while let Some(result) = results.try_next().await? {
        rows += usize::from(matches!(result, Either::Right(_)));
    }
    check(rows == 8, rows.to_string())
}

async fn prepared_statements() -> Result<()> {
    let Database { db, _folder } = database().await?;
    let prepared = (&db)
        .prepare(sqlx::SqlSafeStr::into_sql_str(
            "select name from users where id = ?",
        ))
        .await?;
    let name: String = prepared.query_scalar().bind(2).fetch_one(&db).await?;
    check(name == "grace", name)?;
    check(prepared.columns().len() == 1, "columns")?;
    let select = sqlx::SqlSafeStr::into_sql_str("select id, name from users");
    let described = (&db).describe(select).await?;
    check(described.columns().len() == 2, format!("{described:?}"))
}

static MIGRATOR: Migrator = sqlx::migrate!("./migrations");

async fn migrations() -> Result<()> {
    let Database { db, _folder } = database().await?;
    MIGRATOR.run(&db).await?;
    MIGRATOR.run(&db.session()).await?;
    let applied: i64 = sqlx::query_scalar("select count(*) from items")
        .fetch_one(&db)
        .await?;
    check(applied == 1, applied.to_string())
}

async fn count<'e>(db: impl Executor<'e, Database = Sqlite>) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from users")
        .fetch_one(db)
        .await?)
}

async fn insert_twice<'a>(db: impl Acquire<'a, Database = Sqlite>) -> Result<()> {
    let mut connection = db.acquire().await?;
    for name in ["joan", "mary"] {
        let insert = sqlx::query("insert into users (name) values (?)");
        insert.bind(name).execute(&mut *connection).await?;
    }
    Ok(())
}

async fn in_one_transaction<'a>(db: impl Acquire<'a, Database = Sqlite>) -> Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query("delete from users").execute(&mut *tx).await?;
    Ok(tx.commit().await?)
}

async fn on_a_connection(connection: &mut SqliteConnection) -> Result<i64> {
    count(connection).await
}

async fn generic_functions() -> Result<()> {
    let Database { db, _folder } = database().await?;
    let session = db.session();
    insert_twice(&db).await?;
    check(count(&db).await? == 4, "after two inserts")?;
    insert_twice(&session).await?;
    check(count(&session).await? == 6, "after four inserts")?;
    in_one_transaction(&session).await?;
    check(count(&session).await? == 0, "after the deletion")?;

    let mut tx = db.begin().await?;
    insert_twice(&mut tx).await?;
    in_one_transaction(&mut tx).await?;
    insert_twice(tx.as_sqlx()).await?;
    check(
        on_a_connection(&mut tx).await? == 2,
        "inside the transaction",
    )?;
    tx.commit().await?;
    let mut held = db.acquire_read().await?;
    check(
        on_a_connection(&mut held).await? == 2,
        "after the transaction",
    )
}

async fn spawned_futures() -> Result<()> {
    let Database { db, _folder } = database().await?;
    let tasks: Vec<_> = (0..20)
        .map(|task| {
            let (db, session) = (db.clone(), db.session());
            tokio::spawn(async move {
                let name = format!("user {task}");
                let insert = sqlx::query("insert into users (name) values (?)");
                insert.bind(&name).execute(&session).await?;
                let mine = sqlx::query_scalar("select count(*) from users where name = ?");
                let mine: i64 = mine.bind(&name).fetch_one(&session).await?;
                count(&db).await.map(|all| (mine, all))
            })
        })
        .collect();
    for task in tasks {
        let (mine, _) = task.await??;
        check(mine == 1, "a session does not see its own user")?;
    }
    check(count(&db).await? == 22, "not all users are there")
}

async fn transactions_and_savepoints() -> Result<()> {
    let Database { db, _folder } = database().await?;
    let mut tx = db.begin().await?;
    sqlx::query("delete from users where id = 1")
        .execute(&mut *tx)
        .await?;
    let mut savepoint = tx.begin().await?;
    sqlx::query("delete from users")
        .execute(&mut *savepoint)
        .await?;
    savepoint.rollback().await?;
    check(
        count(&mut *tx).await? == 1,
        "the savepoint was not rolled back",
    )?;
    drop(tx);
    check(
        count(&db).await? == 2,
        "a dropped transaction was not rolled back",
    )
}

async fn handles_are_send_sync_and_static() -> Result<()> {
    fn is<T: Clone + Send + Sync + std::fmt::Debug + 'static>(_: &T) {}
    let Database { db, _folder } = database().await?;
    is(&db);
    is(&db.session());
    is(&db.read());
    let node = NodeOptions::<Sqlite>::new("sqlite::memory:");
    check(format!("{node:?}").contains("sqlite:"), format!("{node:?}"))
}
