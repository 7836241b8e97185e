//! Whose fault an error is: what an application's mistakes cost others, and what a connection remembers that is no longer so.

use std::time::Duration;

use dbrouter_sqlx::dbrouter::{Health, Reason, Status};
use dbrouter_sqlx::{NodeOptions, PoolOptions, RoutedPool};
use dbrouter_tests::harness::Case;
use dbrouter_tests::mariadb;
use dbrouter_tests::{Failure, Result};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Database, MySql, PgPool, Postgres};

use crate::support::{builder, check, cluster, code, node, on_mariadb, on_postgres, router, until};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres(
            "errors::a_parameter_without_a_value_costs_no_node_its_place",
            parameter_without_a_value,
        ),
        on_mariadb(
            "errors::mariadb_a_statement_that_is_too_large_costs_no_node_its_place",
            too_large_a_statement,
        ),
        on_postgres(
            "errors::a_type_that_is_bound_by_name_and_not_replayed_is_asked_of_the_primary",
            type_by_name,
        ),
        on_postgres(
            "errors::a_type_that_was_made_again_is_never_remembered_as_a_write",
            type_made_again,
        ),
        on_postgres(
            "errors::a_pool_of_the_callers_that_standbys_refuse_to_serve_leaves_its_reads_to_the_primary",
            pool_at_a_refused_level,
        ),
        on_postgres(
            "errors::what_was_prepared_before_a_migration_fails_one_write_for_each_connection",
            prepared_before_a_migration,
        ),
    ]
}

const READ: &str = "select version from kv where id = 1";

/// Reads of others while `mistake` is made again and again; all of them are to be the replicas'.
async fn others_stay_on_replicas<DB: dbrouter_sqlx::RoutedDatabase>(
    db: &RoutedPool<DB>,
    mistakes: usize,
    mistake: impl AsyncFn(&RoutedPool<DB>) -> Result<()>,
    read: impl AsyncFn(&RoutedPool<DB>) -> Result<()>,
) -> Result<()> {
    for number in 0..mistakes {
        let (made, served) = futures_util::join!(mistake(db), async {
            for _ in 0..4 {
                read(db).await?;
            }
            Result::<()>::Ok(())
        });
        made.map_err(|error| Failure::new(format!("mistake {number}: {error}")))?;
        served.map_err(|error| Failure::new(format!("beside mistake {number}: {error}")))?;
    }
    Ok(())
}

/// Reads for others, and fails if it is not a replica that serves.
async fn read<DB: dbrouter_sqlx::RoutedDatabase>(db: &RoutedPool<DB>) -> Result<()>
where
    for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
    <DB as Database>::Arguments: sqlx::IntoArguments<DB>,
{
    let session = db.session();
    sqlx::query(READ).fetch_one(&session).await?;
    let decision = session.last_decision().ok_or("no decision")?;
    check(
        decision.node.starts_with("standby"),
        format!("others read on {decision}"),
    )
}

/// A busy machine is not to look like a node that is slow to connect.
const PATIENCE: Duration = Duration::from_secs(20);

async fn parameter_without_a_value() -> Result<()> {
    let cluster = cluster().await?;
    let db = router(&cluster).acquire_limit(PATIENCE).connect().await?;
    let mistake = async |db: &RoutedPool<Postgres>| {
        let error = sqlx::query("select $1::int").fetch_one(db).await.err();
        let code = error.as_ref().and_then(code);
        check(code.as_deref() == Some("08P01"), format!("{error:?}"))
    };
    others_stay_on_replicas(&db, 500, mistake, read).await?;
    let status = db.status();
    let failures: u64 = status.nodes.iter().map(|node| node.failures).sum();
    check(
        failures == 0 && status.failovers == 0 && status.misjudged == 0,
        status.to_string(),
    )?;
    let mut nodes = status.nodes.iter();
    check(
        nodes.all(|node| node.health == Health::Healthy),
        status.to_string(),
    )
}

/// The server closes the connection of a statement that is larger than it accepts: nothing but the statement tells this
/// from a server that is gone.
async fn too_large_a_statement() -> Result<()> {
    let cluster = mariadb::Cluster::start(2).await?;
    let mut app = cluster.primary().connect().await?;
    sqlx::raw_sql(
        "create table kv (id int primary key, version bigint not null); \
         insert into kv values (1, 0)",
    )
    .execute(&mut app)
    .await?;
    cluster.wait_caught_up().await?;
    for server in cluster.nodes() {
        server.set("max_allowed_packet", "65536").await?;
    }
    let db: RoutedPool<MySql> = {
        let builder = builder().primary(cluster.primary().url());
        let replicas = cluster.standbys().iter();
        replicas
            .fold(builder, |builder, replica| {
                builder.replica(NodeOptions::new(replica.url()).name(replica.name()))
            })
            .acquire_limit(PATIENCE)
            .connect()
            .await?
    };
    let large = format!("select length('{}')", "x".repeat(1 << 20));
    let mistake = async |db: &RoutedPool<MySql>| {
        let failed = sqlx::query(AssertSqlSafe(large.clone()))
            .fetch_one(db)
            .await;
        check(failed.is_err(), "it was accepted")
    };
    others_stay_on_replicas(&db, 100, mistake, read).await?;
    // Some get the server's error (1153) before the connection breaks, and the others do not. The first of those cannot
    // be told from a node's loss.
    let failures = |status: &Status| -> u64 { status.nodes.iter().map(|node| node.failures).sum() };
    check(
        failures(&db.status()) <= 1,
        format!("{} failures: {}", failures(&db.status()), db.status()),
    )?;
    let well = |status: &Status| {
        let mut nodes = status.nodes.iter();
        nodes.all(|node| node.health == Health::Healthy)
    };
    let in_time = dbrouter_tests::wait::until(async || well(&db.status())).await;
    check(in_time, db.status().to_string())
}

#[derive(sqlx::Type)]
#[sqlx(type_name = "mood", rename_all = "lowercase")]
enum Mood {
    Glad,
}

const MOOD: &str = "select $1::text as mood from kv where id = 1";

/// How a session that has done nothing yet reads with a value of that type, and why there.
async fn glad(db: &RoutedPool<Postgres>) -> Result<Option<Reason>> {
    let session = db.session();
    let glad = sqlx::query_scalar::<_, String>(MOOD).bind(Mood::Glad);
    let found = glad.fetch_one(&session).await?;
    check(found == "glad", found)?;
    Ok(session.last_decision().map(|decision| decision.reason))
}

async fn type_by_name() -> Result<()> {
    let cluster = cluster().await?;
    let db = router(&cluster).connect().await?;
    for standby in cluster.standbys() {
        standby.pause_replay().await?;
    }
    let mut app = cluster.primary().connect().await?;
    sqlx::raw_sql("create type mood as enum ('glad')")
        .execute(&mut app)
        .await?;
    for _ in 0..3 {
        let reason = glad(&db).await?;
        check(reason == Some(Reason::NotReplayed), format!("{reason:?}"))?;
    }
    check(db.status().misjudged == 0, "it is no write")
}

/// oxidecomputer/omicron#5561, npgsql/npgsql#2366: what a connection remembers of types is no longer so.
async fn type_made_again() -> Result<()> {
    let cluster = cluster().await?;
    let mut app = cluster.primary().connect().await?;
    let make = "create type mood as enum ('glad')";
    sqlx::raw_sql(make).execute(&mut app).await?;
    cluster.wait_caught_up().await?;
    let db = router(&cluster).connect().await?;
    for _ in 0..20 {
        let reason = glad(&db).await?;
        check(reason == Some(Reason::Policy), format!("{reason:?}"))?;
    }
    sqlx::raw_sql("drop type mood").execute(&mut app).await?;
    sqlx::raw_sql(make).execute(&mut app).await?;
    cluster.wait_caught_up().await?;
    for _ in 0..100 {
        // Not worse than without a router: where the connection remembers the old type, the primary has the read.
        glad(&db).await?;
    }
    let status = db.status();
    let mut nodes = status.nodes.iter();
    check(
        status.misjudged == 0 && nodes.all(|node| node.healthy),
        status.to_string(),
    )?;
    let decision = db.session().explain(MOOD)?.reason;
    check(decision == Reason::Policy, format!("{decision:?}"))
}

/// The router asks on connections of its own, and finds the standbys well; but the caller's pools it leaves as they are.
async fn pool_at_a_refused_level() -> Result<()> {
    let cluster = cluster().await?;
    let mut admin = cluster.primary().admin().await?;
    sqlx::raw_sql("alter role app set default_transaction_isolation = 'serializable'")
        .execute(&mut admin)
        .await?;
    cluster.wait_caught_up().await?;
    let pool = |url: String| PgPool::connect_lazy(&url);
    let db = RoutedPool::<Postgres>::builder()
        .primary(pool(cluster.primary().url())?)
        .replica(pool(cluster.node(1).url())?)
        .replica(node(&cluster.standbys()[1]))
        .connect()
        .await?;
    until(&db, "well", |status| {
        let mut nodes = status.nodes.iter();
        nodes.all(|node| node.health == Health::Healthy)
    })
    .await?;
    for _ in 0..20 {
        sqlx::query(READ).fetch_one(&db.session()).await?;
    }
    db.cluster().disable(cluster.node(2).name())?;
    for _ in 0..20 {
        sqlx::query(READ).fetch_one(&db.session()).await?;
    }
    let status = db.status();
    let failures: u64 = status.nodes.iter().map(|node| node.failures).sum();
    check(status.misjudged == 0 && failures == 0, status.to_string())
}

/// sqlx's own pool fails each time, reads and writes. (transact-rs/sqlx#1250)
async fn prepared_before_a_migration() -> Result<()> {
    const READS: &str = "select * from kv where id = 1";
    const WRITES: &str = "insert into kv values ($1, 0) returning *";
    let cluster = cluster().await?;
    let own = PgPoolOptions::new().max_connections(1);
    let own = own.connect(&cluster.primary().url()).await?;
    let options = PoolOptions::new().max_connections(1);
    let db = router(&cluster).pool_options(options).connect().await?;
    let write = async |id: i32| sqlx::query(WRITES).bind(id).fetch_one(&db).await;
    sqlx::query(READS).fetch_one(&own).await?;
    sqlx::query(READS).fetch_one(&db).await?;
    write(100).await?;
    let migrate = "alter table kv add column note text";
    sqlx::query(migrate).execute(&db).await?;
    cluster.wait_caught_up().await?;

    let (mut of_the_pool, mut of_the_router) = (0, 0);
    for _ in 0..100 {
        of_the_pool += u32::from(sqlx::query(READS).fetch_one(&own).await.is_err());
        of_the_router += u32::from(sqlx::query(READS).fetch_one(&db).await.is_err());
    }
    check(
        (of_the_pool, of_the_router) == (100, 0),
        format!("of 100 reads each: {of_the_pool} of sqlx's pool and {of_the_router} failed"),
    )?;
    let failed = write(101).await.err().as_ref().and_then(code);
    check(failed.as_deref() == Some("0A000"), format!("{failed:?}"))?;
    write(101).await?;
    let status = db.status();
    check(status.misjudged == 0, status.to_string())
}
