//! A PgBouncer before each node, which lends connections for a session or for one transaction at a time.

use dbrouter_sqlx::RoutedPool;
use dbrouter_tests::harness::{Case, Need};
use dbrouter_tests::pgbouncer::{Lends, PgBouncer};
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Result, wait};
use sqlx::{AssertSqlSafe, Postgres, Row, raw_sql};

use crate::support::{ACQUIRE_LIMIT, check, cluster, code, on_postgres, until};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![case(
        "that_refuses_a_parameter_of_sqlxs_own_is_an_error_that_names_it",
        refuses_a_parameter,
    )];
    for (lends, mode) in [
        (Lends::Sessions, "session"),
        (Lends::Transactions, "transaction"),
    ] {
        for (takes, options) in [(Takes::Options, "takes"), (Takes::NoOptions, "refuses")] {
            let name = format!("in_{mode}_mode_that_{options}_options_is_seen_through");
            cases.push(case(&name, async move || seen_through(lends, takes).await));
        }
    }
    cases
}

fn case<B>(name: &str, body: B) -> Case
where
    B: AsyncFnOnce() -> Result<()> + Send + 'static,
{
    on_postgres(&format!("pgbouncer::{name}"), body).needs(Need::PgBouncer)
}

/// Whether the pooler lets in a client that says by the startup parameter `options` that it is to be read-only. None heeds
/// it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Options,
    NoOptions,
}

/// A pooler in front of each node.
async fn poolers(cluster: &Cluster, lends: Lends, takes: Takes) -> Result<Vec<PgBouncer>> {
    let mut poolers = Vec::new();
    for node in cluster.nodes() {
        let mut builder = PgBouncer::builder(lends);
        if takes == Takes::Options {
            let ignored = "extra_float_digits, options";
            builder = builder.setting("ignore_startup_parameters", ignored);
        }
        poolers.push(builder.start(node.port()).await?);
    }
    Ok(poolers)
}

/// A router over all nodes through their poolers. No statement is prepared: a connection that is lent for one transaction
/// does not know it in the next one.
async fn connect(cluster: &Cluster, poolers: &[PgBouncer]) -> Result<RoutedPool<Postgres>> {
    let mut builder = RoutedPool::<Postgres>::builder()
        .acquire_limit(ACQUIRE_LIMIT)
        .wait_for_primary(wait::PATIENCE);
    for (node, pooler) in cluster.nodes().iter().zip(poolers) {
        let url = format!("{}?statement-cache-capacity=0", pooler.url());
        let options = dbrouter_sqlx::NodeOptions::new(url).name(node.name());
        builder = match node.name() {
            "primary" => builder.primary(options),
            _ => builder.replica(options),
        };
    }
    let db = builder.connect().await?;
    until(&db, "all there", |status| {
        let mut replicas = status.nodes.iter().filter(|node| node.name != "primary");
        replicas.all(|node| node.healthy && node.staleness.is_some())
    })
    .await?;
    Ok(db)
}

fn write(version: i64) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("update kv set version = {version} where id = 1"))
}

const READ: &str = "select version from kv where id = 1";

async fn seen_through(lends: Lends, takes: Takes) -> Result<()> {
    let cluster = cluster().await?;
    let poolers = poolers(&cluster, lends, takes).await?;
    let db = connect(&cluster, &poolers).await?;
    // Another process. Where connections are lent for a transaction, its monitor gets those of the first.
    let other = connect(&cluster, &poolers).await?;
    raw_sql(write(0)).execute(&other).await?;
    // A session reads its own writes, and goes on at a replica.
    let session = db.session();
    for version in 1..=20 {
        raw_sql(write(version)).execute(&session).await?;
        let row = raw_sql(READ).fetch_one(&session).await?;
        let found = row.try_get::<i64, _>(0)?;
        check(found == version, format!("{found}, not {version}"))?;
    }
    let patient = session.wait_for_fresh(wait::PATIENCE);
    for _ in 0..20 {
        raw_sql(READ).fetch_one(&patient).await?;
    }
    let mut reads = 0;
    for standby in cluster.standbys() {
        let served = standby.served("kv").await?;
        check(served.writes == 0, "a standby wrote")?;
        reads += served.reads;
    }
    check(reads >= 20, format!("standbys served {reads} reads"))?;

    // What is stated to be a read cannot write, wherever it runs.
    for nodes in [&["standby-1", "standby-2"][..], &[]] {
        for standby in cluster.standbys() {
            match nodes.contains(&standby.name()) {
                true => db.cluster().enable(standby.name())?,
                false => db.cluster().disable(standby.name())?,
            }
        }
        let refused = raw_sql(write(-1)).execute(&db.session().read()).await;
        let refused = refused.err().ok_or("a stated read has written")?;
        check(
            code(&refused).as_deref() == Some("25006"),
            refused.to_string(),
        )?;
    }
    for standby in cluster.standbys() {
        db.cluster().enable(standby.name())?;
    }

    // The pooler's connections to the node that is promoted have been a replica's.
    let promoted = &cluster.standbys()[0];
    cluster.wait_caught_up().await?;
    cluster.primary().stop().await?;
    promoted.promote().await?;
    until(&db, "promoted", |_| {
        **db.cluster().primary().name() == *promoted.name()
    })
    .await?;
    for version in 21..=70 {
        raw_sql(write(version)).execute(&session).await?;
    }
    let mut tx = db.begin().await?;
    raw_sql(write(71)).execute(&mut *tx).await?;
    tx.commit().await?;
    let row = raw_sql(READ).fetch_one(&db).await?;
    check(
        row.try_get::<i64, _>(0)? == 71,
        "the last write is not there",
    )
}

/// sqlx sends `extra_float_digits`, which PgBouncer does not know unless it is told to ignore it.
async fn refuses_a_parameter() -> Result<()> {
    let cluster = Cluster::start(0).await?;
    let strict = PgBouncer::builder(Lends::Sessions).setting("ignore_startup_parameters", "");
    let pooler = strict.start(cluster.primary().port()).await?;
    let builder = RoutedPool::<Postgres>::builder().primary(pooler.url());
    let error = builder
        .connect()
        .await
        .map(drop)
        .err()
        .ok_or("it connected")?;
    let text = error.to_string();
    check(text.contains("primary.url"), &*text)?;
    check(text.contains("startup parameter: extra_float_digits"), text)
}
