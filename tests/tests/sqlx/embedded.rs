//! One SQLite file, one writer, many readers.

use std::time::Duration;

use dbrouter_sqlx::dbrouter::Reason;
use dbrouter_sqlx::{PoolOptions, RoutedPool};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

use crate::support::check;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "embedded::writers_never_find_the_file_busy",
            writers_never_find_the_file_busy,
        ),
        Case::new("embedded::one_mixed_pool_does", one_mixed_pool_does),
        Case::new(
            "embedded::the_applications_pool_options_hold_for_both_pools",
            pool_options_hold,
        ),
        Case::new("embedded::readers_are_read_only", readers_are_read_only),
        Case::new(
            "embedded::readers_are_always_fresh",
            readers_are_always_fresh,
        ),
        Case::new(
            "embedded::sessions_of_two_databases_do_not_mix",
            two_databases,
        ),
        Case::new(
            "embedded::a_stated_read_cannot_write_in_memory_either",
            stated_reads_in_memory,
        ),
        Case::new(
            "embedded::a_pool_that_is_read_only_stays_so",
            read_only_pool_stays_so,
        ),
    ]
}

const TASKS: usize = 16;
const EACH: usize = 25;

const ACCOUNTS: &str = "create table accounts (id integer primary key, balance integer not null); \
                        insert into accounts values (1, 0)";

/// Transfers, all at once. Returns how many failed, and of what.
async fn transfers<F>(transfer: impl Fn() -> F + Clone + Send + 'static) -> Result<Vec<String>>
where
    F: Future<Output = Result<(), sqlx::Error>> + Send,
{
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let transfer = transfer.clone();
            tokio::spawn(async move {
                let mut failures = Vec::new();
                for _ in 0..EACH {
                    failures.extend(transfer().await.err().map(|error| error.to_string()));
                }
                failures
            })
        })
        .collect();
    let mut failures = Vec::new();
    for task in tasks {
        failures.extend(task.await?);
    }
    Ok(failures)
}

/// What a transaction does that reads and then writes.
async fn add_one(tx: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    let balance: i64 = sqlx::query_scalar("select balance from accounts")
        .fetch_one(&mut *tx)
        .await?;
    let update = sqlx::query("update accounts set balance = ?").bind(balance + 1);
    update.execute(tx).await.map(drop)
}

async fn transfer(db: RoutedPool<Sqlite>) -> Result<(), sqlx::Error> {
    let mut tx = db.begin().await?;
    add_one(&mut tx).await?;
    tx.commit().await?;
    sqlx::query("select balance from accounts")
        .fetch_one(&db)
        .await
        .map(drop)
}

async fn writers_never_find_the_file_busy() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = RoutedPool::<Sqlite>::embedded(folder.path().join("app.db"))
        .connect()
        .await?;
    sqlx::raw_sql(ACCOUNTS).execute(&db).await?;
    let failures = transfers({
        let db = db.clone();
        move || transfer(db.clone())
    })
    .await?;
    check(
        failures.is_empty(),
        format!("{} failed: {:?}", failures.len(), failures.first()),
    )?;
    let balance: i64 = sqlx::query_scalar("select balance from accounts")
        .fetch_one(&db)
        .await?;
    check(
        balance == i64::try_from(TASKS * EACH)?,
        format!("balance {balance}"),
    )?;
    let status = db.status();
    let served = |name: &str| {
        status
            .node(name)
            .map_or((0, 0), |node| (node.reads, node.writes))
    };
    check(
        served("writer").0 == 0 && served("readers").1 == 0,
        status.to_string(),
    )?;
    check(
        served("readers").0 == (TASKS * EACH + 1) as u64,
        status.to_string(),
    )
}

/// The case above can fail: this is what it saves one from.
async fn one_mixed_pool_does() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = SqliteConnectOptions::new()
        .filename(folder.path().join("app.db"))
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let pool = SqlitePool::connect_with(file).await?;
    sqlx::raw_sql(ACCOUNTS).execute(&pool).await?;
    let failures = transfers(move || {
        let pool = pool.clone();
        async move {
            let mut tx = pool.begin().await?;
            add_one(&mut tx).await?;
            tx.commit().await
        }
    })
    .await?;
    check(
        failures.iter().any(|failure| failure.contains("locked")),
        format!("{failures:?}"),
    )
}

async fn readers_are_read_only() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = RoutedPool::<Sqlite>::embedded(folder.path().join("app.db"))
        .connect()
        .await?;
    let refused = sqlx::query("create table t (a)")
        .execute(&db.read())
        .await
        .map(drop);
    let refused = refused.expect_err("a write through a reader").to_string();
    check(refused.contains("readonly"), refused)
}

async fn readers_are_always_fresh() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = RoutedPool::<Sqlite>::embedded(folder.path().join("app.db"))
        .connect()
        .await?;
    sqlx::query("create table t (a integer)")
        .execute(&db)
        .await?;
    sqlx::query("insert into t values (0)").execute(&db).await?;
    let session = db.session();
    for version in 1..=500_i64 {
        sqlx::query("update t set a = ?")
            .bind(version)
            .execute(&session)
            .await?;
        let read: i64 = sqlx::query_scalar("select a from t")
            .fetch_one(&session)
            .await?;
        check(read == version, format!("{read} after {version}"))?;
        let decision = session.last_decision().ok_or("no decision")?;
        check(&*decision.node == "readers", decision.to_string())?;
    }
    check(
        db.status().fallbacks(Reason::NotFresh) == 0,
        db.status().to_string(),
    )
}

async fn two_databases() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let one = RoutedPool::<Sqlite>::embedded(folder.path().join("one.db"))
        .connect()
        .await?;
    let two = RoutedPool::<Sqlite>::embedded(folder.path().join("two.db"))
        .connect()
        .await?;
    let (first, second) = (one.session(), two.session());
    dbrouter_sqlx::with_session(&first, async {
        dbrouter_sqlx::with_session(&second, async {
            sqlx::query("select 1").fetch_one(&one).await?;
            sqlx::query("create table t (a)").execute(&two).await
        })
        .await
    })
    .await?;
    let reasons = [&first, &second].map(|session| session.last_decision().map(|last| last.reason));
    check(
        reasons == [Some(Reason::Policy), Some(Reason::Write)],
        format!("{reasons:?}"),
    )
}

/// A database in memory has but one connection, so no other could be opened for reads.
async fn stated_reads_in_memory() -> Result<()> {
    let pool = SqlitePoolOptions::new().max_connections(1);
    let db = RoutedPool::single(pool.connect("sqlite::memory:").await?);
    sqlx::query("create table notes (id integer)")
        .execute(&db)
        .await?;
    let insert = "insert into notes values (1)";
    let count = "select count(*) from notes";
    let written = sqlx::query(insert).execute(&db.read()).await;
    check(written.is_err(), "written by a statement")?;
    let mut held = db.acquire_read().await?;
    let written = sqlx::query(insert).execute(&mut *held).await;
    check(written.is_err(), "written on a connection")?;
    drop(held);
    let mut reading = db.begin_read_only().await?;
    let written = sqlx::query(insert).execute(&mut *reading).await;
    check(written.is_err(), "written in a transaction")?;
    drop(reading);
    let notes: i64 = sqlx::query_scalar(count).fetch_one(&db.read()).await?;
    check(notes == 0, "something was written")?;
    sqlx::query(insert).execute(&db).await?;
    let notes: i64 = sqlx::query_scalar(count).fetch_one(&db.read()).await?;
    check(notes == 1, "what may write could not")
}

/// The application has opened it so, and nobody undoes that.
async fn read_only_pool_stays_so() -> Result<()> {
    let options = SqliteConnectOptions::new().in_memory(true);
    let pool = SqlitePoolOptions::new().max_connections(1);
    let pool = pool
        .connect_with(options.pragma("query_only", "ON"))
        .await?;
    let db = RoutedPool::single(pool);
    sqlx::query("select 1").execute(&db.read()).await?;
    drop(db.acquire_read().await?);
    db.begin_read_only().await?.commit().await?;
    let created = sqlx::query("create table notes (id integer)").execute(&db);
    check(created.await.is_err(), "it takes writes now")
}

async fn pool_options_hold() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let stated = PoolOptions::new()
        .max_connections(3)
        .min_connections(2)
        .acquire_timeout(Duration::from_secs(7))
        .idle_timeout(Duration::from_secs(60))
        .after_connect(|connection, _| {
            let set = sqlx::query("pragma cache_size = -1234");
            Box::pin(async move { set.execute(connection).await.map(drop) })
        });
    for (stated, most) in [(Some(stated), [1, 3]), (None, [1, 5])] {
        let path = folder.path().join(format!("{}.db", most[1]));
        let builder = RoutedPool::<Sqlite>::embedded_with(path, 5);
        let is_stated = stated.is_some();
        let builder = match stated {
            Some(stated) => builder.pool_options(stated),
            None => builder,
        };
        let db = builder.connect().await?;
        for (node, most) in db.cluster().nodes().iter().zip(most) {
            let pool = node.backend().pool();
            let options = pool.options();
            let expected = match is_stated {
                true => (most, 2.min(most), 7, Some(Duration::from_secs(60)), None),
                false => (most, 0, 30, None, None),
            };
            let found = (
                options.get_max_connections(),
                options.get_min_connections(),
                options.get_acquire_timeout().as_secs(),
                options.get_idle_timeout(),
                options.get_max_lifetime(),
            );
            let message = format!("{}: {found:?}, not {expected:?}", node.name());
            check(found == expected, message)?;
            // What the hook has set is on the connection.
            let mut connection = pool.acquire().await?;
            let cache: i64 = sqlx::query_scalar("pragma cache_size")
                .fetch_one(&mut *connection)
                .await?;
            check((cache == -1234) == is_stated, "the hook")?;
        }
        db.close().await;
    }
    Ok(())
}
