//! The same on MariaDB.

use dbrouter_sqlx::dbrouter::{Dialect, Fault, Reason, Sql};
use dbrouter_sqlx::{Builder, NodeOptions};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use dbrouter_tests::mariadb::{Cluster, Node};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{AssertSqlSafe, Executor, MySql, Row, raw_sql};

use super::{VISITS, reason};
use crate::support::{builder, check, on_mariadb};

pub(super) fn cases() -> Vec<Case> {
    vec![
        on_mariadb(
            "safety_net::mariadb_a_view_over_a_function_that_writes_has_one_effect",
            a_view_over_a_function_that_writes,
        ),
        on_mariadb(
            "safety_net::mariadb_an_explicit_read_is_refused",
            an_explicit_read_is_refused,
        ),
        on_mariadb(
            "safety_net::mariadb_what_is_not_replayed_yet_is_asked_of_the_primary",
            what_is_not_replayed_yet,
        ),
        on_mariadb(
            "safety_net::mariadb_only_one_option_makes_a_server_read_only",
            only_one_option_makes_it_read_only,
        ),
    ]
}

/// A cluster whose view `visits` leaves a row behind each time it is read, and that writes down what comes
/// from its application.
async fn counting_cluster() -> Result<Cluster> {
    let cluster = Cluster::builder()
        .standbys(2)
        .setting("log_bin_trust_function_creators", "ON")
        .setting("general_log", "ON")
        .setting("log_output", "TABLE")
        .setting("secure_file_priv", "/tmp")
        .start()
        .await?;
    let mut app = cluster.primary().connect().await?;
    app.execute(raw_sql(
        "create table effects (id int auto_increment primary key); \
         create function visit() returns int deterministic no sql \
             begin insert into effects values (); return last_insert_id(); end; \
         create view visits as select visit() as id; \
         create sequence tickets; \
         create view ticket as select nextval(tickets) as id; \
         create table notes (id int primary key); \
         insert into notes values (1)",
    ))
    .await?;
    cluster.wait_caught_up().await?;
    Ok(cluster)
}

fn router(cluster: &Cluster) -> Builder<MySql> {
    let nodes = cluster.standbys().iter();
    let builder = builder();
    nodes.fold(builder.primary(cluster.primary().url()), |builder, node| {
        builder.replica(NodeOptions::new(node.url()).name(node.name()))
    })
}

async fn effects(cluster: &Cluster) -> Result<i64> {
    let mut app = cluster.primary().connect().await?;
    let effects = sqlx::query_scalar("select count(*) from effects");
    Ok(effects.fetch_one(&mut app).await?)
}

/// How often the application has asked these nodes for a statement that is not prepared, with or without
/// success. (Of one that they refuse to prepare they write nothing down.)
async fn asked(nodes: &[Node], sql: &str) -> Result<i64> {
    let mut sum = 0;
    for node in nodes {
        let mut admin = node.admin().await?;
        let count = "select count(*) from mysql.general_log \
                     where user_host like 'app%' and command_type = 'Query' and argument = ?";
        let count = sqlx::query_scalar::<_, i64>(count).bind(sql);
        sum += count.fetch_one(&mut admin).await?;
    }
    Ok(sum)
}

/// The number of a server's error, and what it means.
fn fault(error: &sqlx::Error) -> Option<(u16, Fault)> {
    let error = error.as_database_error()?;
    let number = error.try_downcast_ref::<MySqlDatabaseError>()?.number();
    let fault = Dialect::MariaDb.fault(&number.to_string(), error.message());
    Some((number, fault))
}

async fn a_view_over_a_function_that_writes() -> Result<()> {
    let cluster = counting_cluster().await?;
    let db = router(&cluster).connect().await?;
    check(
        reason(&db, VISITS)? == Reason::Policy,
        "the text cannot tell",
    )?;
    for run in 1..=3 {
        let session = db.session();
        let row = session.fetch_one(raw_sql(VISITS)).await?;
        let id: i64 = row.try_get_unchecked(0)?;
        check(id == run, format!("run {run} left row {id}"))?;
        let effects = effects(&cluster).await?;
        check(effects == run, format!("run {run}: {effects} effects"))?;
        let misjudged = db.status().misjudged;
        check(misjudged == 1, format!("run {run}: {misjudged} misjudged"))?;
        let decision = session.last_decision().map(|decision| decision.reason);
        check(
            decision == Some(Reason::Misrouted),
            format!("run {run}: {decision:?}"),
        )?;
    }
    let asked = asked(cluster.standbys(), VISITS).await?;
    check(asked == 1, format!("the replicas refused it {asked} times"))?;
    // What is prepared is refused before it is executed.
    for run in 1..=2 {
        let ticket = sqlx::query_scalar("select id from ticket");
        let ticket: i64 = ticket.fetch_one(&db.session()).await?;
        let misjudged = db.status().misjudged;
        check(
            ticket == run && misjudged == 2,
            format!("run {run}: ticket {ticket}, {misjudged} misjudged"),
        )?;
    }
    let failovers = db.status().failovers;
    check(
        failovers == 0,
        format!("{failovers} failovers: no node failed"),
    )
}

async fn an_explicit_read_is_refused() -> Result<()> {
    let cluster = counting_cluster().await?;
    let db = router(&cluster).connect().await?;
    let refused = sqlx::query(VISITS).fetch_one(&db.read()).await;
    let fault = refused.as_ref().err().and_then(fault);
    check(fault == Some((1792, Fault::ReadOnly)), format!("{fault:?}"))?;
    check(
        effects(&cluster).await? == 0 && db.status().misjudged == 0,
        "nothing happened",
    )
}

async fn what_is_not_replayed_yet() -> Result<()> {
    let cluster = counting_cluster().await?;
    let db = router(&cluster)
        .classifier(Sql::mysql().reading(["price"]))
        .connect()
        .await?;
    for standby in cluster.standbys() {
        standby.pause_replay().await?;
    }
    // Somebody else migrates: the session need not see it, and its next read is a replica's.
    let mut app = cluster.primary().connect().await?;
    app.execute(raw_sql(
        "create table news (id int primary key); insert into news values (7); \
         alter table notes add column note text default 'new'; \
         create function price() returns int deterministic no sql return 2",
    ))
    .await?;
    // 1146, 1054, 1305.
    let statements = [
        ("select cast(id as char) from news", "7"),
        ("select note from notes where id = 1", "new"),
        ("select cast(price() as char)", "2"),
    ];
    for (sql, expected) in statements {
        for _ in 0..2 {
            let session = db.session();
            check(
                reason(&db, sql)? == Reason::Policy,
                format!("{sql} is a read"),
            )?;
            let found: String = sqlx::query_scalar(sql).fetch_one(&session).await?;
            check(found == expected, format!("{sql}: {found}"))?;
            let decision = session.last_decision().map(|decision| decision.reason);
            check(
                decision == Some(Reason::NotReplayed),
                format!("{sql}: {decision:?}"),
            )?;
        }
    }
    for standby in cluster.standbys() {
        standby.resume_replay().await?;
    }
    cluster.wait_caught_up().await?;
    for (sql, expected) in statements {
        let session = db.session();
        let found: String = sqlx::query_scalar(sql).fetch_one(&session).await?;
        let decision = session.last_decision().map(|decision| decision.reason);
        check(
            found == expected && decision == Some(Reason::Policy),
            format!("{sql}: {found} by {decision:?}"),
        )?;
    }
    check(db.status().misjudged == 0, "none of them is a write")
}

/// The same number is said by servers that are read-only and by those that keep from their files.
async fn only_one_option_makes_it_read_only() -> Result<()> {
    let cluster = counting_cluster().await?;
    let mut app = cluster.node(1).connect().await?;
    let mut guarded = cluster.node(1).connect().await?;
    let guard = AssertSqlSafe(Dialect::MariaDb.read_only());
    guarded.execute(raw_sql(guard)).await?;
    let mut admin = cluster.node(1).admin().await?;
    let outfile = "select 1 into outfile '/elsewhere/x'";
    let expected = [
        (&mut app, VISITS, (1290, Fault::ReadOnly)),
        (&mut guarded, VISITS, (1792, Fault::ReadOnly)),
        (&mut admin, outfile, (1290, Fault::Unsupported)),
    ];
    for (connection, sql, expected) in expected {
        let error = connection.execute(raw_sql(sql)).await.err();
        let found = error.as_ref().and_then(fault);
        check(found == Some(expected), format!("{sql}: {error:?}"))?;
    }
    Ok(())
}
