//! Passwords that change, where sqlx opens connections by itself or a pool's hooks open others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dbrouter_sqlx::dbrouter::{Credentials, Login};
use dbrouter_sqlx::{PoolOptions, RoutedPool};
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::{APP_PASSWORD, Cluster};
use dbrouter_tests::{Result, wait};
use sqlx::postgres::PgPoolOptions;
use sqlx::{Acquire, AssertSqlSafe, Postgres};

use crate::support::{check, cluster, on_postgres, router};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres(
            "credentials::transactions_of_sqlxs_own_type_log_in_with_the_present_password",
            unseen_transactions,
        ),
        on_postgres(
            "credentials::a_pool_whose_options_hide_hooks_logs_in_with_the_present_password",
            hidden_hooks,
        ),
        on_postgres(
            "credentials::connections_that_sqlx_opens_by_itself_log_in_after_a_refresh",
            by_itself,
        ),
    ]
}

type Password = Arc<Mutex<String>>;

fn credentials(password: &Password) -> Credentials {
    let password = Arc::clone(password);
    Credentials::new(move |_| {
        let password = password.lock().unwrap_or_else(PoisonError::into_inner);
        let login = Login::new(&**password);
        async { std::io::Result::Ok(login) }
    })
}

/// A cluster that asks for passwords, and the function's answer.
async fn asking() -> Result<(Cluster, Password)> {
    let cluster = cluster().await?;
    for node in cluster.nodes() {
        node.require_passwords().await?;
    }
    Ok((cluster, Arc::new(Mutex::new(APP_PASSWORD.to_owned()))))
}

/// Changes the password, and ends all connections that were opened with the former one.
async fn change(cluster: &Cluster, password: &Password, to: &str) -> Result<()> {
    let mut admin = cluster.primary().admin().await?;
    let change = format!("alter role app password '{to}'");
    sqlx::query(AssertSqlSafe(change))
        .execute(&mut admin)
        .await?;
    to.clone_into(&mut password.lock().unwrap_or_else(PoisonError::into_inner));
    cluster.wait_caught_up().await?;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'";
    for node in cluster.nodes() {
        let mut admin = node.admin().await?;
        sqlx::query(end).execute(&mut admin).await?;
    }
    Ok(())
}

/// All connections are pinged before they are used, so none is that has been ended.
const PING_AFTER: Duration = Duration::ZERO;

async fn unseen_transactions() -> Result<()> {
    let (cluster, password) = asking().await?;
    let builder = router(&cluster).credentials(credentials(&password));
    // The monitor's connection is cut as well, and a node that has just lost it takes nothing.
    let builder = builder.wait_for_primary(wait::PATIENCE);
    let db = builder.ping_after(PING_AFTER).connect().await?;
    for to in ["sup3r-secret-2", "sup3r-secret-3"] {
        let mut tx = Acquire::begin(&db).await?;
        sqlx::query("update kv set version = version + 1")
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        change(&cluster, &password, to).await?;
    }
    drop(Acquire::begin(&db).await?);
    Ok(())
}

async fn hidden_hooks() -> Result<()> {
    let (cluster, password) = asking().await?;
    let options = PgPoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move {
            sqlx::query("set application_name = 'hooked'")
                .execute(connection)
                .await?;
            Ok(())
        })
    });
    let builder = router(&cluster).credentials(credentials(&password));
    // The monitor's connection is cut as well, and a node that has just lost it takes nothing.
    let builder = builder.wait_for_primary(wait::PATIENCE);
    let builder = builder.pool_options(PoolOptions::from_sqlx(options));
    let db = builder.connect().await?;
    let name = "select current_setting('application_name')";
    for to in ["sup3r-secret-2", "sup3r-secret-3"] {
        let mut held = db.acquire_write().await?;
        let name: String = sqlx::query_scalar(name).fetch_one(&mut *held).await?;
        check(name == "hooked", name)?;
        change(&cluster, &password, to).await?;
        drop(held);
    }
    db.acquire_write().await.map(drop)?;
    Ok(())
}

async fn by_itself() -> Result<()> {
    let (cluster, password) = asking().await?;
    let often = credentials(&password).refresh(Duration::from_millis(20));
    let builder = RoutedPool::<Postgres>::builder().primary(cluster.primary().url());
    let db = builder
        .credentials(often)
        .ping_after(PING_AFTER)
        .connect()
        .await?;
    change(&cluster, &password, "sup3r-secret-2").await?;
    // Around the router.
    let pool = db.primary();
    let logs_in = wait::until(async || pool.acquire().await.is_ok());
    check(logs_in.await, "the pool still has the former password")
}
