//! What happens when a statement was taken for a read and is none, or names what a replica has not heard of
//! yet.

mod mariadb;

use std::time::Duration;

use dbrouter_sqlx::dbrouter::{Classification, Classifier, MonitorSettings, Reason, Sql};
use dbrouter_sqlx::{RoutedDatabase, RoutedPool};
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Result, wait};
use futures_util::TryStreamExt;
use sqlx::{Executor, Sqlite};

use crate::support::{check, cluster, code, on_postgres, router};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        on_postgres(
            "safety_net::a_view_over_a_volatile_function_has_one_effect",
            a_view_over_a_volatile_function,
        ),
        on_postgres(
            "safety_net::every_refusal_is_caught",
            every_refusal_is_caught,
        ),
        on_postgres(
            "safety_net::an_explicit_read_is_refused",
            an_explicit_read_is_refused,
        ),
        on_postgres(
            "safety_net::not_once_rows_were_handed_out",
            not_once_rows_were_handed_out,
        ),
        on_postgres(
            "safety_net::what_is_not_replayed_yet_is_asked_of_the_primary",
            what_is_not_replayed_yet,
        ),
        on_postgres(
            "safety_net::what_nobody_knows_is_an_error",
            what_nobody_knows,
        ),
        on_postgres(
            "safety_net::a_refused_text_is_known_whatever_its_comments_and_literals",
            refused_texts_of_their_own,
        ),
        on_postgres(
            "safety_net::a_refused_text_is_a_read_again_after_the_refresh",
            refused_texts_expire,
        ),
        on_postgres(
            "safety_net::views_functions_and_policies_are_learnt",
            what_they_reach_is_learnt,
        ),
        on_postgres("safety_net::functions_are_learnt", functions_are_learnt),
        on_postgres("safety_net::hints_are_obeyed_unless_forbidden", hints),
        Case::new(
            "safety_net::a_reader_that_refuses_is_no_dead_end",
            sqlite_readers_refuse,
        ),
        Case::new(
            "safety_net::a_temporary_table_is_found",
            sqlite_temporary_tables,
        ),
    ];
    cases.extend(mariadb::cases());
    cases
}

const VISITS: &str = "select id from visits";

/// A cluster whose view `visits` leaves a row behind each time it is read.
async fn counting_cluster() -> Result<Cluster> {
    let cluster = cluster().await?;
    let mut app = cluster.primary().connect().await?;
    sqlx::raw_sql(
        "create table effects (id int generated always as identity); \
         create function visit() returns int language sql volatile \
             as 'insert into effects default values returning id'; \
         create view visits as select visit() as id; \
         create sequence tickets; \
         create view ticket as select nextval('tickets') as id; \
         create view late_ticket as select number, \
             case when number = 20000 then nextval('tickets') end as id \
             from generate_series(1, 20000) number; \
         create view log_file as select pg_walfile_name('0/100'::pg_lsn) as name; \
         create unlogged table scratch (id int); \
         create view notes as select id from scratch; \
         create view blob as select lo_create(0) as id",
    )
    .execute(&mut app)
    .await?;
    cluster.wait_caught_up().await?;
    Ok(cluster)
}

async fn effects(cluster: &Cluster) -> Result<i64> {
    let mut app = cluster.primary().connect().await?;
    Ok(sqlx::query_scalar("select count(*) from effects")
        .fetch_one(&mut app)
        .await?)
}

/// How often a standby has said that it cannot do something.
fn refusals(cluster: &Cluster) -> usize {
    let logs = cluster
        .standbys()
        .iter()
        .map(dbrouter_tests::postgres::Node::log_tail);
    logs.map(|log| log.matches("ERROR:  cannot").count()).sum()
}

/// Where a session that has done nothing yet would have it.
fn reason<DB: RoutedDatabase>(db: &RoutedPool<DB>, sql: &str) -> Result<Reason> {
    Ok(db.session().explain(sql)?.reason)
}

async fn a_view_over_a_volatile_function() -> Result<()> {
    let cluster = counting_cluster().await?;
    let db = router(&cluster)
        .classifier(Untaught(Sql::postgres()))
        .connect()
        .await?;
    let session = db.session();
    check(
        reason(&db, VISITS)? == Reason::Policy,
        "the text cannot tell",
    )?;
    for (run, misjudged) in [(1, 1), (2, 1), (3, 1)] {
        let id: i32 = sqlx::query_scalar(VISITS).fetch_one(&session).await?;
        check(id == run, format!("run {run} left row {id}"))?;
        let effects = effects(&cluster).await?;
        check(
            effects == i64::from(run),
            format!("run {run}: {effects} effects"),
        )?;
        let counted = db.status().misjudged;
        check(
            counted == misjudged,
            format!("run {run}: {counted} misjudged"),
        )?;
        let decision = session.last_decision().map(|decision| decision.reason);
        check(
            decision == Some(Reason::Misrouted),
            format!("run {run}: {decision:?}"),
        )?;
    }
    let refused = refusals(&cluster);
    check(
        refused == 1,
        format!("the standbys refused it {refused} times"),
    )?;
    // It is a write now: what it changed is seen.
    let seen: i64 = sqlx::query_scalar("select count(*) from effects")
        .fetch_one(&session)
        .await?;
    check(
        seen == 3,
        format!("the session sees {seen} of its 3 effects"),
    )
}

async fn every_refusal_is_caught() -> Result<()> {
    let cluster = counting_cluster().await?;
    let db = router(&cluster)
        .classifier(Untaught(Sql::postgres()))
        .connect()
        .await?;
    // 25006, 55000, 0A000, and up to PostgreSQL 15 XX000.
    let statements = [
        "select id::text from ticket",
        "select name from log_file",
        "select coalesce(max(id), 0)::text from notes",
        "select id::text from blob",
    ];
    for (count, sql) in (1..).zip(statements) {
        check(
            reason(&db, sql)? == Reason::Policy,
            format!("{sql} looks like a read"),
        )?;
        for _ in 0..2 {
            let session = db.session();
            let _: Option<String> = sqlx::query_scalar(sql).fetch_one(&session).await?;
            check(
                reason(&db, sql)? == Reason::Misrouted,
                format!("{sql} is remembered"),
            )?;
        }
        let misjudged = db.status().misjudged;
        check(misjudged == count, format!("{sql}: {misjudged} misjudged"))?;
    }
    // What no server can do bears the same code, and is no refusal.
    let sql = "select extract(timezone from current_date)";
    let error = sqlx::query(sql).fetch_all(&db.session()).await.err();
    let code = error.as_ref().and_then(code);
    check(code.as_deref() == Some("0A000"), format!("{error:?}"))?;
    check(
        reason(&db, sql)? == Reason::Policy,
        "an error is not remembered as a write",
    )?;
    let failovers = db.status().failovers;
    check(
        failovers == 0,
        format!("{failovers} failovers: no node failed"),
    )
}

async fn an_explicit_read_is_refused() -> Result<()> {
    let cluster = counting_cluster().await?;
    let db = router(&cluster)
        .classifier(Untaught(Sql::postgres()))
        .connect()
        .await?;
    let refused = sqlx::query(VISITS).fetch_one(&db.read()).await;
    let code = refused.as_ref().err().and_then(code);
    check(code.as_deref() == Some("25006"), format!("{code:?}"))?;
    check(
        effects(&cluster).await? == 0 && db.status().misjudged == 0,
        "nothing happened",
    )
}

async fn not_once_rows_were_handed_out() -> Result<()> {
    let cluster = counting_cluster().await?;
    let db = router(&cluster)
        .classifier(Untaught(Sql::postgres()))
        .connect()
        .await?;
    let sql = "select number, id from late_ticket";
    let mut rows = db.fetch(sql);
    let mut handed_out = 0;
    let error = loop {
        match rows.try_next().await {
            Ok(Some(_)) => handed_out += 1,
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    check(
        handed_out > 0 && error.is_some(),
        format!("{handed_out} rows, then {error:?}"),
    )?;
    let mut app = cluster.primary().connect().await?;
    let called: bool = sqlx::query_scalar("select is_called from tickets")
        .fetch_one(&mut app)
        .await?;
    check(!called, "the primary never ran it")
}

async fn what_is_not_replayed_yet() -> Result<()> {
    let cluster = cluster().await?;
    let mut app = cluster.primary().connect().await?;
    sqlx::raw_sql("create function price(int) returns int immutable language sql as 'select 1'")
        .execute(&mut app)
        .await?;
    cluster.wait_caught_up().await?;
    let db = router(&cluster).connect().await?;
    for standby in cluster.standbys() {
        standby.pause_replay().await?;
    }
    // Somebody else migrates: the session need not see it, and its next read is a standby's.
    sqlx::raw_sql(
        "create table news (id int); insert into news values (7); \
         alter table kv add column note text default 'new'; \
         create function price(text) returns int immutable language sql as 'select 2'",
    )
    .execute(&mut app)
    .await?;
    let statements = [
        ("select id::text from news", "7"),
        ("select note from kv where id = 1", "new"),
        ("select price('x'::text)::text", "2"),
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
    check(
        db.prepare(sqlx::SqlStr::from_static("select id from news"))
            .await
            .is_ok(),
        "it can be prepared",
    )?;
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

async fn what_nobody_knows() -> Result<()> {
    let cluster = cluster().await?;
    let db = router(&cluster).connect().await?;
    for run in 1..3 {
        let session = db.session();
        let error = sqlx::query("select * from nowhere")
            .fetch_all(&session)
            .await
            .err();
        let code = error.as_ref().and_then(code);
        check(
            code.as_deref() == Some("42P01"),
            format!("run {run}: {error:?}"),
        )?;
        let decision = session.last_decision().map(|decision| decision.reason);
        check(
            decision == Some(Reason::NotReplayed),
            format!("the primary said so: {decision:?}"),
        )?;
    }
    Ok(())
}

/// google/sqlcommenter#284, pgdogdev/pgdog#560: each statement has a comment of its own.
async fn refused_texts_of_their_own() -> Result<()> {
    let cluster = counting_cluster().await?;
    let db = router(&cluster)
        .classifier(Untaught(Sql::postgres()))
        .connect()
        .await?;
    let constant = "select id::text from ticket";
    let _: String = sqlx::query_scalar(constant).fetch_one(&db).await?;
    for number in 0..1_500 {
        let comment = format!("/*traceparent='00-{number:032x}-01'*/");
        let sql = format!("{VISITS} where id > -{number} {comment}");
        let _: i32 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .fetch_one(&db)
            .await?;
    }
    let (effects, misjudged) = (effects(&cluster).await?, db.status().misjudged);
    check(effects == 1_500, format!("{effects} effects"))?;
    check(misjudged == 2, format!("{misjudged} detours for two views"))?;
    check(
        reason(&db, constant)? == Reason::Misrouted,
        "the other view is not pushed out",
    )
}

/// npgsql/npgsql#2366: what was refused may be mended.
async fn refused_texts_expire() -> Result<()> {
    let cluster = counting_cluster().await?;
    let monitor = MonitorSettings::new().refresh(Duration::from_millis(50));
    let db = router(&cluster)
        .classifier(Untaught(Sql::postgres()))
        .monitor(monitor)
        .connect()
        .await?;
    let mut app = cluster.primary().connect().await?;
    for run in 1..=2 {
        let _: i32 = sqlx::query_scalar(VISITS).fetch_one(&db.session()).await?;
        let misjudged = db.status().misjudged;
        check(
            misjudged >= run,
            format!("run {run}: {misjudged} misjudged"),
        )?;
        let is_read = wait::until(async || {
            reason(&db, VISITS).is_ok_and(|reason| reason != Reason::Misrouted)
        })
        .await;
        check(is_read, format!("run {run}: it is tried again"))?;
    }
    sqlx::raw_sql("create or replace view visits as select 0 as id")
        .execute(&mut app)
        .await?;
    cluster.wait_caught_up().await?;
    let served = wait::until(async || {
        let session = db.session();
        let read = sqlx::query_scalar::<_, i32>(VISITS).fetch_one(&session);
        let decision = read.await.ok().and(session.last_decision());
        decision.is_some_and(|decision| decision.reason == Reason::Policy)
    })
    .await;
    check(served, "the mended view is read from a standby")
}

/// EnterpriseDB/repmgr#475: sequences are ahead on a standby, and a view hides that it reads one.
async fn what_they_reach_is_learnt() -> Result<()> {
    let cluster = cluster().await?;
    let mut app = cluster.primary().connect().await?;
    sqlx::raw_sql(
        "create sequence ticket; \
         create view next_no as select last_value + 1 as n from ticket; \
         create view act as select pid from pg_stat_activity; \
         create function mine() returns int stable language sql as 'select pg_backend_pid()'; \
         create table own (id int); alter table own enable row level security; \
         create policy own on own using (id = mine()); \
         create view plain as select id from kv",
    )
    .execute(&mut app)
    .await?;
    for _ in 0..3 {
        app.execute("select nextval('ticket')").await?;
    }
    cluster.wait_caught_up().await?;
    let monitor = MonitorSettings::new().refresh(Duration::from_millis(50));
    let db = router(&cluster).monitor(monitor).connect().await?;
    let next: i64 = sqlx::query_scalar("select n from next_no")
        .fetch_one(&db.session())
        .await?;
    check(next == 4, format!("a standby would say 34: {next}"))?;
    for sql in [
        "select n from next_no",
        "select pid from act",
        "select mine()",
        "table own",
    ] {
        check(
            reason(&db, sql)? == Reason::Unclassified,
            format!("{sql} is the primary's"),
        )?;
    }
    let sql = "select id from plain";
    check(reason(&db, sql)? == Reason::Policy, "a plain view is read")?;
    let change = "create or replace view plain as select last_value::int as id from ticket";
    app.execute(change).await?;
    let learnt =
        wait::until(async || reason(&db, sql).is_ok_and(|reason| reason == Reason::Unclassified));
    check(learnt.await, "a view that changes is learnt")
}

async fn functions_are_learnt() -> Result<()> {
    let cluster = cluster().await?;
    let mut app = cluster.primary().connect().await?;
    sqlx::raw_sql(
        "create schema shop; \
         create function shop.price(int) returns int immutable language sql as 'select 1'; \
         create function double(int) returns int immutable language sql as 'select 2'; \
         create function double(text) returns int volatile language sql as 'select 2'",
    )
    .execute(&mut app)
    .await?;
    cluster.wait_caught_up().await?;
    let monitor = MonitorSettings::new().refresh(Duration::from_millis(50));
    let db = router(&cluster).monitor(monitor).connect().await?;
    check(
        reason(&db, "select shop.price(1)")? == Reason::Policy,
        "an immutable function is a read, by its schema",
    )?;
    check(
        reason(&db, "select price(1)")? == Reason::Policy,
        "and by its name alone, whatever the search path",
    )?;
    check(
        reason(&db, "select double(1)")? == Reason::Unclassified,
        "one volatile overload taints the name",
    )?;
    check(
        reason(&db, "select later(1)")? == Reason::Unclassified,
        "nobody knows it yet",
    )?;
    let becomes = async |sql: &str, wanted: Reason| {
        wait::until(async || {
            db.explain(sql)
                .is_ok_and(|decision| decision.reason == wanted)
        })
        .await
    };
    let create = "create function later(int) returns int stable language sql as 'select 3'";
    sqlx::raw_sql(create).execute(&mut app).await?;
    check(
        becomes("select later(1)", Reason::Policy).await,
        "a new function is learnt",
    )?;
    sqlx::raw_sql("alter function later(int) volatile")
        .execute(&mut app)
        .await?;
    check(
        becomes("select later(1)", Reason::Unclassified).await,
        "and unlearnt",
    )
}

async fn hints() -> Result<()> {
    let cluster = counting_cluster().await?;
    let db = router(&cluster)
        .classifier(Untaught(Sql::postgres()))
        .connect()
        .await?;
    let to_replica = "/*dbrouter:replica*/ select visit()";
    check(
        reason(&db, "/*dbrouter:primary*/ select version from kv")? == Reason::Write,
        "to the primary",
    )?;
    check(reason(&db, to_replica)? == Reason::Policy, "to a replica")?;
    // Who says so gets what a replica says to that.
    let refused = sqlx::query(to_replica).fetch_one(&db).await.is_err();
    check(
        refused && effects(&cluster).await? == 0,
        "a standby refused it",
    )?;
    let deaf = router(&cluster)
        .classifier(Sql::postgres().without_hints())
        .connect()
        .await?;
    sqlx::query(to_replica).fetch_one(&deaf).await?;
    check(effects(&cluster).await? == 1, "a comment is a comment")
}

/// Asks no server what its views and functions reach.
struct Untaught(Sql);

impl Classifier for Untaught {
    fn classify(&self, sql: &str) -> Classification {
        self.0.classify(sql)
    }
}

/// Takes everything for a read.
struct Trusting;

impl Classifier for Trusting {
    fn classify(&self, _: &str) -> Classification {
        Classification::READ
    }
}

async fn sqlite_readers_refuse() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = RoutedPool::<Sqlite>::embedded(folder.path().join("shop.db"))
        .classifier(Trusting)
        .connect()
        .await?;
    sqlx::query("create table t (a int)").execute(&db).await?;
    for rows in 1..=2 {
        sqlx::query("insert into t values (1)").execute(&db).await?;
        let counted: i64 = sqlx::query_scalar("select count(*) from t")
            .fetch_one(&db)
            .await?;
        check(
            counted == rows,
            format!("{counted} rows after {rows} inserts"),
        )?;
    }
    let misjudged = db.status().misjudged;
    check(misjudged == 2, format!("two texts, {misjudged} refusals"))
}

async fn sqlite_temporary_tables() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let db = RoutedPool::<Sqlite>::embedded(folder.path().join("shop.db"))
        .connect()
        .await?;
    sqlx::query("create temporary table mine (a int)")
        .execute(&db)
        .await?;
    let rows: i64 = sqlx::query_scalar("select count(*) from mine")
        .fetch_one(&db)
        .await?;
    check(rows == 0, format!("{rows} rows"))?;
    let request = db.explain("select count(*) from mine")?;
    check(request.reason != Reason::Misrouted, "it is not remembered")
}
