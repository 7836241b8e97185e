//! An application's own tests, each in a database of its own: sqlx's attribute `test`.
//!
//! The attribute is for the compiler's own test harness, and finds the server by `DATABASE_URL`. So this binary starts itself
//! again with that set, and calls what the attribute calls.

use std::env;
use std::process::{Command, ExitCode};
use std::thread;

use dbrouter_sqlx::{NodeOptions, RoutedPool};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::Cluster;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::testing::{TestArgs, TestFn};
use sqlx::{Acquire, Executor, PgPool, Postgres};

use tokio::runtime::Builder;

use crate::support::{check, on_postgres};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres(
            "testing::routers_in_sqlxs_own_tests_leave_no_database_behind",
            sqlxs_own_tests,
        ),
        on_postgres(
            "testing::a_pool_of_the_applications_own_is_used_in_one_runtime_after_the_other",
            one_pool_in_several_runtimes,
        ),
    ]
}

/// Where it is set, this binary is the process in which the tests run.
const TESTS: &str = "DBROUTER_TESTS_SQLX_TEST";

async fn sqlxs_own_tests() -> Result<()> {
    let cluster = Cluster::start(0).await?;
    let process = Command::new(env::current_exe()?)
        .env(TESTS, "1")
        .env("DATABASE_URL", cluster.primary().admin_url())
        .output()?;
    let said = String::from_utf8_lossy(&process.stderr).into_owned();
    check(process.status.success(), &*said)?;
    let left = "select count(*) from pg_database where datname like '\\_sqlx\\_test%'";
    let mut admin = cluster.primary().admin().await?;
    let left: i64 = sqlx::query_scalar(left).fetch_one(&mut admin).await?;
    check(left == 0, format!("{left} databases are left: {said}"))
}

/// By sqlx itself, such a pool hands out connections that are dead.
async fn one_pool_in_several_runtimes() -> Result<()> {
    let cluster = Cluster::start(0).await?;
    let options: PgConnectOptions = cluster.primary().url().parse()?;
    let all = || -> Result<()> {
        let open = async || Ok(PgPoolOptions::new().connect_with(options).await?);
        let db = RoutedPool::single(in_a_runtime(open())?);
        for _ in 0..10 {
            in_a_runtime(async {
                let read = || sqlx::query("select 1").fetch_one(&db);
                tokio::try_join!(read(), read(), read())?;
                let mut tx = db.begin().await?;
                tx.execute("select 1").await?;
                tx.commit().await?;
                let mut tx = Acquire::begin(&db).await?;
                tx.execute("select 1").await?;
                Ok(tx.commit().await?)
            })?;
        }
        Ok(())
    };
    // There is no runtime within another.
    let done = thread::scope(|scope| scope.spawn(all).join());
    done.unwrap_or_else(|_| Err("the thread panicked".into()))
}

fn in_a_runtime<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(future)
}

// -- in the process in which the tests run -------------------------------------------------------

/// The tests, if this is that process.
pub(crate) fn run() -> Option<ExitCode> {
    env::var_os(TESTS)?;
    let outcomes: [Result<()>; 2] = [
        (over_its_pool as fn(_) -> _).run_test(TestArgs::new("testing::over_its_pool")),
        (over_its_options as fn(_, _) -> _).run_test(TestArgs::new("testing::over_its_options")),
    ];
    let failures = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    Some(match failures.map(|error| eprintln!("{error}")).count() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Of `#[sqlx::test] async fn over_its_pool(pool: PgPool)`.
async fn over_its_pool(pool: PgPool) -> Result<()> {
    works(&RoutedPool::single(pool)).await
}

/// Of `#[sqlx::test] async fn over_its_options(pool: PgPoolOptions, options: PgConnectOptions)`. The database has two names.
async fn over_its_options(pool: PgPoolOptions, options: PgConnectOptions) -> Result<()> {
    let db = RoutedPool::<Postgres>::builder()
        .primary(NodeOptions::with_options(options.clone()))
        .replica(NodeOptions::with_options(options))
        .pool_options(dbrouter_sqlx::PoolOptions::from_sqlx(pool))
        .connect()
        .await?;
    let worked = works(&db).await;
    db.close().await;
    worked
}

async fn works(db: &RoutedPool<Postgres>) -> Result<()> {
    db.execute("create table menu (id int)").await?;
    let session = db.session();
    let mut tx = session.begin().await?;
    tx.execute("insert into menu values (7)").await?;
    tx.commit().await?;
    let found: i32 = sqlx::query_scalar("select id from menu")
        .fetch_one(&session)
        .await?;
    check(found == 7, format!("{found}"))
}
