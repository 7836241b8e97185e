//! Words that are syntax before a parenthesis in one place, and the names of functions in another: by the servers' own
//! lists of keywords, and by what the servers do.

use std::collections::BTreeSet;

use dbrouter_sqlx::dbrouter::{Classifier, Intent, Sql};
use dbrouter_tests::Result;
use dbrouter_tests::harness::Case;
use dbrouter_tests::{mariadb, postgres};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Executor, PgConnection, Row, raw_sql};

use super::none;
use crate::support::{check, code, on_mariadb, on_postgres, router};

pub(super) fn cases() -> Vec<Case> {
    vec![
        on_postgres(
            "classifier::functions_named_like_keywords_are_calls",
            on_postgresql,
        ),
        on_postgres(
            "classifier::attributes_named_like_functions_are_calls",
            attributes,
        ),
        on_mariadb(
            "classifier::mariadb_functions_named_like_keywords_are_calls",
            on_the_other,
        ),
        Case::new(
            "classifier::sqlite_functions_named_like_keywords_are_calls",
            on_sqlite,
        ),
    ]
}

/// Where a function may be called, in all three. `{}` is its name.
const PLACES: &[&str] = &[
    "select {}(1)",
    "select 1, {}(1)",
    "select ({}(1))",
    "select 1 + {}(1)",
    "select - {}(1)",
    "select all {}(1)",
    "select distinct {}(1)",
    "select case when 1 = 1 then {}(1) end",
    "select case {}(1) when 1 then 2 end",
    "select 1 in ({}(1))",
    "select 1 between {}(1) and 2",
    "select cast({}(1) as char)",
    "select 'a' like {}(1)",
    "select max(1) over (order by {}(1))",
    "values ({}(1))",
    "select a from (select 1 as a) t where {}(1) = 1",
    "select a from (select 1 as a) t where not {}(1) = 1",
    "select a from (select 1 as a) t where a = 1 and {}(1) = 1",
    "select a from (select 1 as a) t group by a, {}(1)",
    "select a from (select 1 as a) t group by {}(1)",
    "select a from (select 1 as a union all select 2) t order by a, {}(1)",
    "select a from (select 1 as a) t join (select 1 as b) u on {}(1) = 1",
    "with t as (select {}(1) as a) select a from t",
];

/// The words that the classifier knows as syntax and that are no keywords of the server.
const FURTHER: &[&str] = &["escape", "filter", "materialized", "over", "xor"];

/// A name, and a place where the server calls the function of that name.
struct Calls {
    called: usize,
    violations: Vec<String>,
}

impl Calls {
    fn new() -> Self {
        Self {
            called: 0,
            violations: Vec::new(),
        }
    }

    /// Takes in that the server calls the user's function there.
    fn call(&mut self, sql: &str, classifiers: &[&dyn Classifier]) {
        self.called += 1;
        let reads = |classifier: &&dyn Classifier| classifier.classify(sql).intent == Intent::Read;
        if classifiers.iter().any(reads) {
            self.violations.push(sql.to_owned());
        }
    }

    fn finish(self, enough: usize) -> Result<()> {
        none(&self.violations)?;
        let called = self.called;
        check(called >= enough, format!("only {called} calls"))
    }
}

async fn words(connection: &mut PgConnection) -> Result<BTreeSet<String>> {
    let words = "select word from pg_get_keywords()";
    let words = connection.fetch_all(raw_sql(words)).await?;
    let words = words.iter().map(|row| row.try_get(0));
    let mut words = words.collect::<Result<BTreeSet<String>, _>>()?;
    words.extend(FURTHER.iter().copied().map(str::to_owned));
    Ok(words)
}

/// Says that it was called.
const CALLED: &str = "DB001";

async fn on_postgresql() -> Result<()> {
    const FURTHER: &[&str] = &[
        "select distinct on (1) {}(1)",
        "select * from {}(1)",
        "select * from (values (1)) v, {}(1)",
        "select 'a' similar to {}(1)::text",
        "select array[{}(1)]",
        "select 1 limit {}(1)",
        "select 1 offset {}(1)",
        "select 1 fetch first {}(1) rows only",
        "select a from (select 1 as a) t group by ({}(1))",
        "select 1 operator(pg_catalog.+) {}(1)",
        "select now() at time zone {}(1)::text",
        "explain analyze select {}(1)",
    ];
    let cluster = postgres::Cluster::start(1).await?;
    let mut app = cluster.primary().connect().await?;
    let words = words(&mut app).await?;
    for word in &words {
        let create = format!(
            "create function public.\"{word}\"(int) returns int volatile language plpgsql \
             as $$ begin raise exception using errcode = '{CALLED}'; end $$"
        );
        app.execute(raw_sql(AssertSqlSafe(create))).await?;
    }
    cluster.wait_caught_up().await?;
    let db = router(&cluster).connect().await?;
    let (untaught, taught) = (Sql::postgres(), db.cluster());
    // Of a name that comes with the server, only the catalog can say that the user has such a function as well.
    let system = "select proname::text from pg_proc where pronamespace = 'pg_catalog'::regnamespace \
                  union select typname from pg_type where typnamespace = 'pg_catalog'::regnamespace";
    let system = app.fetch_all(raw_sql(system)).await?;
    let system = system.iter().map(|row| row.try_get(0));
    let system = system.collect::<Result<BTreeSet<String>, _>>()?;
    let mut calls = Calls::new();
    for word in &words {
        for place in PLACES.iter().chain(FURTHER) {
            let sql = place.replace("{}", word);
            let outcome = app.execute(raw_sql(AssertSqlSafe(sql.as_str()))).await;
            if outcome.is_err_and(|error| code(&error).as_deref() == Some(CALLED)) {
                let untaught: &[&dyn Classifier] = match system.contains(word) {
                    true => &[],
                    false => &[&untaught],
                };
                calls.call(&sql, untaught);
                if taught.classify(&sql).intent == Intent::Read {
                    calls.violations.push(format!("with a catalog: {sql}"));
                }
            }
        }
    }
    calls.finish(8_000)
}

/// What the system calls volatile, or what tells of one server, is called by its name behind a dot as well: of an
/// expression, and of what a function in `FROM` returns.
async fn attributes() -> Result<()> {
    const NAMES: &str = "
        SELECT DISTINCT proname::text FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f'
        AND pronargs > 0 AND pronargs - pronargdefaults <= 1
        AND 'internal'::regtype <> ALL (proargtypes) AND provolatile = 'v'";
    let cluster = postgres::Cluster::start(1).await?;
    let mut app = cluster.primary().connect().await?;
    let names = app.fetch_all(raw_sql(NAMES)).await?;
    let db = router(&cluster).connect().await?;
    let untaught = Sql::postgres();
    let mut violations = Vec::new();
    let mut number = 0;
    for name in &names {
        let name: String = name.try_get(0)?;
        let call = format!("SELECT pg_catalog.{name}(1)");
        if db.cluster().classify(&call).intent == Intent::Read {
            continue;
        }
        // No statement can call these.
        if name.starts_with("binary_upgrade_") {
            continue;
        }
        number += 1;
        for sql in [
            format!("SELECT (1).{name}"),
            format!("SELECT g.{name} FROM generate_series(1, 2) g"),
        ] {
            for (whose, intent) in [
                ("untaught", untaught.classify(&sql).intent),
                ("taught", db.cluster().classify(&sql).intent),
            ] {
                if intent == Intent::Read {
                    violations.push(format!("{whose}: {sql}"));
                }
            }
        }
    }
    none(&violations)?;
    check(number > 40, format!("only {number} functions"))
}

async fn on_the_other() -> Result<()> {
    const FURTHER: &[&str] = &[
        "select {} (1)",
        "select sql_no_cache {}(1)",
        "select straight_join {}(1)",
        "select if(1, {}(1), 2)",
        "select date_add(now(), interval {}(1) day)",
        "select extract(year from {}(1))",
        "select trim(both 'x' from {}(1))",
        "select 1 xor {}(1)",
        "select 1 div {}(1)",
        "select 'a' like 'b' escape {}(1)",
        "analyze select {}(1)",
    ];
    const CALLED: u16 = 31_001;
    let cluster = mariadb::Cluster::builder()
        .setting("log_bin_trust_function_creators", "ON")
        .start()
        .await?;
    let mut app = cluster.primary().connect().await?;
    let keywords =
        "select lower(word) from information_schema.keywords where word regexp '^[a-z_]+$'";
    let keywords = app.fetch_all(raw_sql(keywords)).await?;
    let mut words = BTreeSet::new();
    for word in &keywords {
        words.insert(word.try_get::<String, _>(0)?);
    }
    words.extend(super::keywords::FURTHER.iter().copied().map(str::to_owned));
    for word in &words {
        let create = format!(
            "create function `{word}`(n int) returns int \
             begin signal sqlstate '45000' set mysql_errno = {CALLED}; return 1; end"
        );
        app.execute(raw_sql(AssertSqlSafe(create))).await?;
    }
    let classifier = Sql::mysql();
    let mut calls = Calls::new();
    for word in &words {
        for place in PLACES.iter().chain(FURTHER) {
            let sql = place.replace("{}", word);
            let outcome = app.fetch_all(raw_sql(AssertSqlSafe(sql.as_str()))).await;
            let error = outcome
                .as_ref()
                .err()
                .and_then(sqlx::Error::as_database_error);
            let error = error.and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
            if error.is_some_and(|error| error.number() == CALLED) {
                calls.call(&sql, &[&classifier]);
            }
        }
    }
    calls.finish(8_000)
}

/// It says the name of a function that it does not know, wherever it takes a name for one.
async fn on_sqlite() -> Result<()> {
    const FURTHER: &[&str] = &[
        "select 1 glob {}(1)",
        "select 1 is distinct from {}(1)",
        "select 1 limit {}(1)",
        "select 1 limit 1 offset {}(1)",
        "select 1 collate nocase = {}(1)",
        "select 'a' like 'b' escape {}(1)",
        "select count(*) filter (where {}(1)) from (select 1)",
    ];
    let mut connection = SqliteConnectOptions::new()
        .filename(":memory:")
        .connect()
        .await?;
    let classifier = Sql::sqlite();
    let mut calls = Calls::new();
    // sqlite3_keyword_name()
    let words = include_str!("sqlite_keywords.txt").split_whitespace();
    for word in words.chain(super::keywords::FURTHER.iter().copied()) {
        for place in PLACES.iter().chain(FURTHER) {
            let sql = place.replace("{}", word);
            let outcome = connection
                .execute(raw_sql(AssertSqlSafe(sql.as_str())))
                .await;
            let unknown = format!("no such function: {word}");
            if outcome.is_err_and(|error| error.to_string().contains(&unknown)) {
                calls.call(&sql, &[&classifier]);
            }
        }
    }
    calls.finish(1_500)
}
