//! When PostgreSQL's catalog is read, and that it is however large.

use std::time::Duration;

use dbrouter_sqlx::dbrouter::{Classifier, MonitorSettings, Reason, Sql};
use dbrouter_sqlx::{NodeOptions, RoutedPool};
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::Cluster;
use dbrouter_tests::{Failure, Result, wait};
use sqlx::{AssertSqlSafe, Postgres};

use crate::support::{check, cluster, on_postgres, router};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        on_postgres("catalog::is_read_again_when_it_has_changed", is_read_again),
        // It keeps a processor busy for seconds.
        on_postgres(
            "catalog::of_50_000_functions_is_read_within_a_statement_timeout",
            is_read_within_a_timeout,
        )
        .alone(),
    ]
}

/// How often the primary was asked whether its catalog has changed, and for the catalog.
async fn asked(cluster: &Cluster) -> Result<(i64, i64)> {
    let counts = cluster.primary().statement_counts().await?;
    let calls = |wanted: &str, unwanted: &str| {
        let counts = counts.iter();
        let asked =
            counts.filter(|count| count.text.contains(wanted) && !count.text.contains(unwanted));
        asked.map(|count| count.calls).sum()
    };
    Ok((
        calls("pg_catalog.pg_language", "pg_get_keywords"),
        calls("pg_get_keywords", "nothing"),
    ))
}

/// Waits until a question that began after this call was answered, and returns how often the catalog was read.
async fn readings(cluster: &Cluster) -> Result<i64> {
    let (before, _) = asked(cluster).await?;
    // The first of them may have begun before.
    let asked_since = wait::until(async || {
        asked(cluster)
            .await
            .is_ok_and(|(signs, _)| signs >= before + 3)
    });
    check(
        asked_since.await,
        "nobody asks whether the catalog has changed",
    )?;
    Ok(asked(cluster).await?.1)
}

async fn is_read_again() -> Result<()> {
    let cluster = cluster().await?;
    let mut app = cluster.primary().connect().await?;
    let monitor = MonitorSettings::new()
        .timeout(Duration::from_secs(5))
        .refresh(Duration::from_millis(20));
    let db = router(&cluster).monitor(monitor).connect().await?;
    check(readings(&cluster).await? == 1, "not read once at first")?;

    for what_does_not_matter in [
        "update kv set version = version + 1",
        "create table plain (id int primary key, name text)",
        "create temporary table passing (id serial)",
        "analyze",
        "begin; create function never() returns int language sql as 'select 1'; rollback",
    ] {
        sqlx::raw_sql(what_does_not_matter)
            .execute(&mut app)
            .await?;
        let readings = readings(&cluster).await?;
        check(
            readings == 1,
            format!("read {readings} times, after {what_does_not_matter}"),
        )?;
    }

    let changes = [
        "create function price(int) returns int stable language sql as 'select 1'",
        "alter function price(int) volatile",
        "create or replace function price(int) returns int stable language sql as 'select 2'",
        "create sequence numbers",
        "create view prices as select price(id) from kv",
        "create or replace view prices as select 1 as price",
        "create policy even on kv using (price(id) = 1)",
        "create domain positive as int check (price(value) = 1)",
        "create operator %% (leftarg = int, rightarg = int, function = int4mul)",
        "alter function price(int) rename to cost",
        "drop sequence numbers",
        "alter role app set standard_conforming_strings = off",
    ];
    for (change, wanted) in changes.into_iter().zip(2..) {
        sqlx::raw_sql(change).execute(&mut app).await?;
        let readings = readings(&cluster).await?;
        check(
            readings == wanted,
            format!("read {readings} times, not {wanted}, after {change}"),
        )?;
    }
    let reason = db.session().explain("select cost(1)")?.reason;
    check(reason == Reason::Policy, format!("{reason:?}"))
}

/// As where each customer has a schema of its own: public report rocicorp/mono#6292.
const CUSTOMERS: &str = "do $$ begin
    set local check_function_bodies = off;
    for customer in 1..500 loop
        execute format('create schema customer_%s', customer);
        for number in 1..100 loop
            execute format(
                'create function customer_%s.f%s(int) returns int language sql %s as ''select f%s($1)''',
                customer, number, (array['immutable', 'stable', 'volatile', 'stable'])[1 + number % 4],
                number - number % 2
            );
        end loop;
    end loop;
end $$";

async fn is_read_within_a_timeout() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let mut admin = cluster.primary().admin().await?;
    for sql in [
        CUSTOMERS,
        "analyze",
        "alter role app set statement_timeout = '500ms'",
    ] {
        sqlx::raw_sql(sql).execute(&mut admin).await?;
    }
    cluster.wait_caught_up().await?;
    cluster.primary().forget_served().await?;

    let standby = &cluster.standbys()[0];
    let db = RoutedPool::<Postgres>::builder()
        .primary(cluster.primary().url())
        .replica(NodeOptions::new(standby.url()).name(standby.name()))
        .monitor(MonitorSettings::new().timeout(Duration::from_secs(5)))
        .connect()
        .await?;
    // On a busy machine even a part may take too long, and is asked for again.
    let learnt = wait::until(async || {
        let last = db.session().explain("select customer_500.f100(1)");
        last.is_ok_and(|decision| decision.reason == Reason::Policy)
    });
    check(learnt.await, "the catalog is not learnt")?;
    for (function, reason) in [
        ("f100", Reason::Policy),
        // It calls the former one, and then one that is volatile.
        ("f97", Reason::Policy),
        ("f98", Reason::Unclassified),
        ("f99", Reason::Unclassified),
    ] {
        for customer in [1, 250, 500] {
            let sql = format!("select customer_{customer}.{function}(1)");
            let found = db.session().explain(&sql)?.reason;
            check(found == reason, format!("{sql}: {found:?}"))?;
        }
    }
    let (_, parts) = asked(&cluster).await?;
    check(parts >= 25, format!("it was read in {parts} parts"))?;

    // What the planner takes for expensive is compiled first, which takes longer than all else.
    let jit: String = sqlx::query_scalar("show jit").fetch_one(&mut admin).await?;
    check(jit == "on", "the server has not its vendor's defaults")?;
    let question = Sql::postgres()
        .question()
        .ok_or(Failure::new("no question"))?;
    let explain = format!("explain {}", question.sql());
    let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
        .fetch_all(&mut admin)
        .await?;
    check(
        !plan.iter().any(|line| line.contains("JIT")),
        format!("it is compiled: {plan:#?}"),
    )
}
