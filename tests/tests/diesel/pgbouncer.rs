//! A PgBouncer before each node, which lends connections for one transaction at a time, and statements outside of any. The
//! conformance suite has the rest.

use dbrouter_diesel::{NodeOptions, RoutedPool};
use dbrouter_tests::harness::{Case, Need};
use dbrouter_tests::pgbouncer::{Lends, PgBouncer};
use dbrouter_tests::postgres::{Cluster, Node};
use dbrouter_tests::{Failure, Result, wait};
use diesel::prelude::*;
use diesel::result::DatabaseErrorKind::ReadOnlyTransaction;
use diesel::result::Error::DatabaseError;
use diesel_async::pooled_connection::deadpool;
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

type Pool = deadpool::Pool<AsyncPgConnection>;

diesel::table! {
    kv (id) {
        id -> Integer,
        version -> BigInt,
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let case = |(ignored, options): (&'static str, &str)| {
        let name = format!(
            "pgbouncer::in_transaction_mode_that_{options}_options_statements_find_what_was_prepared"
        );
        let case = Case::new(name, async move || seen_through(ignored).await);
        case.needs(Need::Postgres).needs(Need::PgBouncer)
    };
    [("options", "takes"), ("extra_float_digits", "refuses")]
        .map(case)
        .into()
}

fn check(holds: bool, message: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(Failure::new(message).into()),
    }
}

async fn seen_through(ignored: &str) -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let mut app = cluster.primary().connect().await?;
    sqlx::raw_sql("create table kv (id int primary key, version bigint not null); insert into kv values (1, 0)")
        .execute(&mut app)
        .await?;
    cluster.wait_caught_up().await?;
    let [primary, standby] = cluster.nodes() else {
        return check(false, "not two nodes");
    };
    let pooler = |node: &Node| {
        let builder = PgBouncer::builder(Lends::Transactions);
        let builder = builder.setting("ignore_startup_parameters", ignored);
        // A statement that diesel has prepared must be known to the connection that is lent next, and this PgBouncer does not
        // see to it. So there is but one.
        let builder = builder.setting("default_pool_size", "1");
        builder.start(node.port())
    };
    let (before, behind) = (pooler(primary).await?, pooler(standby).await?);
    let db = RoutedPool::<Pool>::builder()
        .primary(NodeOptions::new(before.url()).name("primary"))
        .replica(NodeOptions::new(behind.url()).name("standby"))
        .wait_for_primary(wait::PATIENCE)
        .connect()
        .await?;
    // Of the replica, so that no reader's connection to the primary need be set read-only.
    let session = db.session();
    let patient = session.wait_for_fresh(wait::PATIENCE);
    for version in 1..=20_i64 {
        let set = diesel::update(kv::table).set(kv::version.eq(version));
        set.execute(&mut session.write().await?).await?;
        let mut reader = patient.read().await?;
        let found: i64 = kv::table.select(kv::version).first(&mut reader).await?;
        check(found == version, "a session misses its own write")?;
        check(
            *reader.decision().node == *"standby",
            "the primary served it",
        )?;
    }
    let write = "update kv set version = -1";
    let refused = patient.read().await?.batch_execute(write).await;
    let refused = matches!(refused, Err(DatabaseError(ReadOnlyTransaction, _)));
    check(refused, "a replica took a write")?;

    // The pooler's connection to the node that is promoted has been a replica's.
    cluster.wait_caught_up().await?;
    primary.stop().await?;
    standby.promote().await?;
    let promoted = wait::until(async || **db.cluster().primary().name() == *"standby");
    check(promoted.await, "the promotion was not seen")?;
    for version in 21..=70_i64 {
        let set = diesel::update(kv::table).set(kv::version.eq(version));
        set.execute(&mut session.write().await?).await?;
    }
    let mut writer = session.write().await?;
    let found: i64 = kv::table.select(kv::version).first(&mut writer).await?;
    check(found == 70, "the last write is not there")
}
