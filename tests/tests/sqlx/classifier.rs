//! Whether what is taken for a read is one: the corpus and generated statements, on real servers.

mod keywords;
mod mariadb;

use std::fmt;

use dbrouter_sqlx::RoutedPool;
use dbrouter_sqlx::dbrouter::{Cause, Classification, Classifier, Intent, Sql};
use dbrouter_tests::Result;
use dbrouter_tests::corpus::{self, Entry, Label};
use dbrouter_tests::harness::Case;
use dbrouter_tests::postgres::{Cluster, Node};
use futures_util::TryStreamExt;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Database, Executor, PgConnection, Postgres, Row,
    SqliteConnection, raw_sql,
};

use crate::statements;
use crate::support::{check, code, node, on_postgres};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        on_postgres("classifier::soundness", soundness),
        on_postgres("classifier::refusals", refusals),
        on_postgres("classifier::labels", labels),
        Case::new("classifier::labels_without_a_server", labels_without_server),
        on_postgres("classifier::catalog", catalog),
        on_postgres("classifier::built_in_functions", built_in_functions),
        on_postgres("classifier::generated", generated),
        Case::new("classifier::sqlite", sqlite),
    ];
    cases.extend(keywords::cases());
    cases.extend(mariadb::cases());
    cases
}

/// Statements of the corpus that must have run on a standby, or the test proves little.
const READS: usize = 280;
/// Statements of the corpus that a standby must have refused as writes.
const REFUSED: usize = 160;
/// Reads that may go to the primary, in percent.
const SPARED: usize = 3;

const READ_ONLY: &str = "25006";

/// A primary and a standby of the corpus' shop, and a router that knows its functions.
struct Shop {
    cluster: Cluster,
    db: RoutedPool<Postgres>,
}

impl Shop {
    async fn open() -> Result<Self> {
        let cluster = Cluster::start(1).await?;
        let mut app = cluster.primary().connect().await?;
        raw_sql(corpus::POSTGRES_SETUP).execute(&mut app).await?;
        cluster.wait_caught_up().await?;
        let db = RoutedPool::builder()
            .primary(cluster.primary().url())
            .replica(node(cluster.node(1)))
            .connect()
            .await?;
        Ok(Self { cluster, db })
    }

    fn classify(&self, sql: &str) -> Classification {
        self.db.cluster().classify(sql)
    }

    fn reads(&self, sql: &str) -> bool {
        self.classify(sql).intent == Intent::Read
    }
}

/// A connection on which statements are tried out, each in a transaction that is rolled back.
struct Bench<'a> {
    node: &'a Node,
    role: Role,
    connection: PgConnection,
}

#[derive(Clone, Copy, Debug)]
enum Role {
    App,
    /// Is refused less than an application is, and so shows more.
    Superuser,
}

/// What became of a statement.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    /// All that it returned, as text.
    Returns(Vec<String>),
    /// The SQLSTATE, or MariaDB's number.
    Fails(String),
    /// It succeeded and left something behind.
    Leaves(String),
}

impl Outcome {
    fn succeeds(&self) -> bool {
        matches!(self, Self::Returns(_))
    }

    /// Whether a statement may run in either place.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Returns(_), Self::Returns(_)) => true,
            (Self::Fails(one), Self::Fails(other)) => one == other,
            _ => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returns(rows) => {
                let first = rows.first().map_or("", String::as_str);
                write!(f, "{} rows, {first:.60}", rows.len())
            }
            Self::Fails(code) => f.write_str(code),
            Self::Leaves(what) => write!(f, "success that left {what}"),
        }
    }
}

/// What a read does not leave behind within its transaction.
const TRACES: &str = "
    SELECT CASE
        WHEN pg_current_xact_id_if_assigned() IS NOT NULL THEN 'a transaction id'
        WHEN EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())
            THEN 'an advisory lock'
        WHEN EXISTS (SELECT FROM pg_cursors) THEN 'a cursor'
        WHEN EXISTS (SELECT FROM pg_settings WHERE source = 'session') THEN 'a setting'
        ELSE ''
    END";

impl<'a> Bench<'a> {
    async fn new(node: &'a Node, role: Role) -> Result<Self> {
        let connection = connect(node, role).await?;
        Ok(Self {
            node,
            role,
            connection,
        })
    }

    async fn outcome(&mut self, sql: &str) -> Result<Outcome> {
        self.connection.execute(raw_sql("BEGIN")).await?;
        let outcome = match run(&mut self.connection, sql).await {
            Ok(rows) => match self.trace().await? {
                Some(trace) => Outcome::Leaves(trace),
                None => Outcome::Returns(rows),
            },
            Err(error) => {
                let code = code(&error);
                if code.is_none() || is_copy(sql) {
                    // A broken connection, or sqlx's that is out of step after a COPY that failed.
                    self.connection = connect(self.node, self.role).await?;
                    return Ok(Outcome::Fails(code.unwrap_or(error.to_string())));
                }
                Outcome::Fails(code.unwrap_or_default())
            }
        };
        let tidy = raw_sql("ROLLBACK; DEALLOCATE ALL");
        self.connection.execute(tidy).await?;
        Ok(outcome)
    }

    async fn trace(&mut self) -> Result<Option<String>> {
        let trace = text(&self.connection.fetch_one(raw_sql(TRACES)).await?)?;
        Ok((!trace.is_empty()).then_some(trace))
    }
}

async fn connect(node: &Node, role: Role) -> Result<PgConnection> {
    match role {
        Role::App => node.connect().await,
        Role::Superuser => node.admin().await,
    }
}

/// Runs a statement with NULL for each of its parameters, and returns all that it returns.
async fn run(connection: &mut PgConnection, sql: &str) -> Result<Vec<String>, sqlx::Error> {
    if is_copy(sql) {
        let copied = connection.copy_out_raw(sql).await?;
        let chunks: Vec<_> = copied.try_collect().await?;
        let texts = chunks.iter().map(|chunk| String::from_utf8_lossy(chunk));
        return Ok(texts.map(String::from).collect());
    }
    let sql = if has_parameters(sql) {
        let prepare = AssertSqlSafe(format!("PREPARE corpus AS {sql}"));
        connection.execute(raw_sql(prepare)).await?;
        let count = "SELECT coalesce(nullif(repeat(', NULL', cardinality(parameter_types)), ''), '') \
                     FROM pg_prepared_statements WHERE name = 'corpus'";
        let nulls = text(&connection.fetch_one(raw_sql(count)).await?)?;
        match nulls.strip_prefix(", ") {
            Some(nulls) => format!("EXECUTE corpus({nulls})"),
            None => "EXECUTE corpus".to_owned(),
        }
    } else {
        sql.to_owned()
    };
    let rows = connection.fetch_all(raw_sql(AssertSqlSafe(sql))).await?;
    rows.iter().map(text).collect()
}

/// A row of the simple protocol, which sends text.
fn text(row: &<Postgres as Database>::Row) -> Result<String, sqlx::Error> {
    let mut columns = Vec::new();
    for index in 0..row.len() {
        let value = row.try_get_raw(index)?;
        let text = value.as_str().unwrap_or("NULL");
        columns.push(text.to_owned());
    }
    Ok(columns.join("|"))
}

/// Whether it begins with COPY, behind any comments that are not nested.
fn is_copy(sql: &str) -> bool {
    let mut rest = sql.trim_start();
    while let Some((_, behind)) = match rest.get(..2) {
        Some("--") => rest.split_once('\n'),
        Some("/*") => rest.split_once("*/"),
        _ => None,
    } {
        rest = behind.trim_start();
    }
    rest.get(..4)
        .is_some_and(|head| head.eq_ignore_ascii_case("copy"))
}

/// Whether it says how long it took, which two runs may agree on by chance.
fn is_timed(sql: &str) -> bool {
    sql.to_ascii_lowercase().contains("analyze")
}

fn has_parameters(sql: &str) -> bool {
    let dollars = sql.match_indices('$').map(|(index, _)| &sql[index + 1..]);
    dollars
        .into_iter()
        .any(|rest| rest.starts_with(|next: char| next.is_ascii_digit()))
}

/// Fails with all of the violations, if there are any.
fn none(violations: &[String]) -> Result<()> {
    let number = violations.len();
    check(
        number == 0,
        format!("{number} violations:\n{}", violations.join("\n")),
    )
}

/// Each statement that is taken for a read does on the standby what it does on the primary.
async fn soundness() -> Result<()> {
    let shop = Shop::open().await?;
    let mut violations = Vec::new();
    for role in [Role::App, Role::Superuser] {
        let mut primary = Bench::new(shop.cluster.primary(), role).await?;
        let mut standby = Bench::new(shop.cluster.node(1), role).await?;
        let mut ran = 0;
        for entry in corpus::postgres() {
            let sql = &entry.sql;
            if entry.label == Label::Hidden || !shop.reads(sql) {
                continue;
            }
            let (there, here) = (standby.outcome(sql).await?, primary.outcome(sql).await?);
            ran += usize::from(there.succeeds());
            if differ(sql, &there, &here, &mut primary).await? {
                let what = format!("as {role:?}: {there} on the standby, {here} on the primary");
                violations.push(format!("{entry}\n    {what}"));
            }
        }
        if ran < READS {
            violations.push(format!("as {role:?}, only {ran} statements ran"));
        }
    }
    none(&violations)
}

/// Whether a statement must not run in either place: because one of the servers refuses it, or because
/// what it returns is the server's own and neither chance nor the time of the day.
async fn differ(
    sql: &str,
    there: &Outcome,
    here: &Outcome,
    primary: &mut Bench<'_>,
) -> Result<bool> {
    let own = there != here && !is_timed(sql) && *here == primary.outcome(sql).await?;
    Ok(own || !there.is_like(here))
}

/// What is said of the server's own functions and views holds for each of them, called with something
/// that it takes.
async fn catalog() -> Result<()> {
    let shop = Shop::open().await?;
    let mut primary = Bench::new(shop.cluster.primary(), Role::Superuser).await?;
    let mut standby = Bench::new(shop.cluster.node(1), Role::Superuser).await?;
    let calls = primary.connection.fetch_all(raw_sql(CALLS)).await?;
    let mut ran = 0;
    let mut violations = Vec::new();
    for call in &calls {
        let sql = &text(call)?;
        // They read everything, and so a view that writes.
        if !shop.reads(sql) || sql.contains("database_to_xml") {
            continue;
        }
        let (there, here) = (standby.outcome(sql).await?, primary.outcome(sql).await?);
        ran += usize::from(there.succeeds());
        if differ(sql, &there, &here, &mut primary).await? {
            violations.push(format!(
                "{sql}\n    {there} on the standby, {here} on the primary"
            ));
        }
    }
    if ran < CALLED {
        violations.push(format!("only {ran} of {} statements ran", calls.len()));
    }
    none(&violations)
}

/// A call of each function that can be called, and a query of each view.
const CALLS: &str = "
    SELECT format('SELECT pg_catalog.%I(%s)', proname, (
        SELECT string_agg(CASE
            WHEN NOT proisstrict THEN format('NULL::%s', type::regtype)
            WHEN type = 'text'::regtype THEN '''x''::text'
            WHEN type = 'bool'::regtype THEN 'true'
            WHEN type = 'regclass'::regtype THEN '''customer''::regclass'
            WHEN typcategory = 'N' THEN format('1::%s', type::regtype)
            ELSE format('NULL::%s', type::regtype)
        END, ', ')
        FROM unnest(proargtypes) type JOIN pg_type ON pg_type.oid = type))
    FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND proname <> 'pg_sleep'
        AND NOT EXISTS (SELECT FROM unnest(proargtypes || prorettype) type
            JOIN pg_type ON pg_type.oid = type WHERE typtype = 'p' AND typname NOT IN ('record', 'void'))
    UNION ALL
    SELECT format('SELECT * FROM %I.%I', nspname, relname)
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE relkind = 'v' AND nspname = 'pg_catalog'";

/// Calls and queries of which [`CALLS`] must have let a standby run.
const CALLED: usize = 1300;

/// The list of the functions that come with PostgreSQL says the same as the server's catalog.
async fn built_in_functions() -> Result<()> {
    let shop = Shop::open().await?;
    let mut app = shop.cluster.primary().connect().await?;
    let names = "SELECT DISTINCT proname FROM pg_proc \
                 WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind <> 'p' \
                 AND 'internal'::regtype <> ALL (proargtypes || prorettype)";
    let listed = Sql::postgres();
    let mut violations = Vec::new();
    let (mut reads, mut missing) = (0, 0);
    for name in app.fetch_all(raw_sql(names)).await? {
        let call = format!("SELECT pg_catalog.\"{}\"()", text(&name)?);
        match (listed.classify(&call).intent, shop.reads(&call)) {
            (Intent::Read, true) => reads += 1,
            (Intent::Write, false) => {}
            (Intent::Read, false) => violations.push(format!("{call} is no read")),
            // Those that no statement can call, and those that are newer than the list.
            (Intent::Write, true) => missing += 1,
        }
    }
    if reads < 1800 || missing > 100 {
        violations.push(format!(
            "{reads} are listed as reads, and {missing} are not"
        ));
    }
    none(&violations)
}

/// The corpus has teeth: most of its writes are refused by the standby, and so are those that are
/// hidden.
async fn refusals() -> Result<()> {
    let shop = Shop::open().await?;
    let mut refused = 0;
    let mut violations = Vec::new();
    for entry in corpus::postgres() {
        if entry.label.reads() {
            continue;
        }
        // A new one each time: some of them change the session.
        let mut standby = connect(shop.cluster.node(1), Role::App).await?;
        standby.execute(raw_sql("BEGIN")).await?;
        let outcome = run(&mut standby, &entry.sql).await;
        let read_only = outcome.is_err_and(|error| code(&error).as_deref() == Some(READ_ONLY));
        refused += usize::from(read_only);
        if entry.label == Label::Hidden && !read_only {
            violations.push(format!("{entry}\n    the standby lets it"));
        }
        standby.close().await?;
    }
    if refused < REFUSED {
        violations.push(format!("only {refused} statements were refused"));
    }
    none(&violations)
}

async fn labels() -> Result<()> {
    let shop = Shop::open().await?;
    none(&mislabelled("PostgreSQL", corpus::postgres(), |sql| {
        shop.classify(sql)
    }))
}

async fn labels_without_server() -> Result<()> {
    let (mysql, sqlite) = (Sql::mysql(), Sql::sqlite());
    let mut violations = mislabelled("MySQL", corpus::mysql(), |sql| mysql.classify(sql));
    violations.extend(mislabelled("SQLite", corpus::sqlite(), |sql| {
        sqlite.classify(sql)
    }));
    none(&violations)
}

/// What the classifier says of each statement is what the label says.
fn mislabelled(
    name: &str,
    entries: Vec<Entry>,
    classify: impl Fn(&str) -> Classification,
) -> Vec<String> {
    let mut violations = Vec::new();
    let (mut reads, mut spared) = (0, 0);
    for entry in entries {
        let Classification { intent, reason, .. } = classify(&entry.sql);
        let read = intent == Intent::Read;
        reads += usize::from(entry.label.reads());
        spared += usize::from(entry.label.reads() && !read);
        let right = match entry.label {
            Label::Read | Label::Hidden => read,
            Label::ReadOnPrimary | Label::Write => !read,
            Label::State => !read && reason == Cause::SessionState,
        };
        if !right {
            violations.push(format!("{name}: {reason:?}: {entry}"));
        }
    }
    if spared * 100 > reads * SPARED {
        let share = format!("{spared} of {reads} reads go to the primary");
        violations.push(format!("{name}: {share}: more than {SPARED} %"));
    }
    violations
}

/// Statements put together at random keep the same promise.
async fn generated() -> Result<()> {
    let shop = Shop::open().await?;
    let mut primary = Bench::new(shop.cluster.primary(), Role::App).await?;
    let mut standby = Bench::new(shop.cluster.node(1), Role::App).await?;
    let (mut ran, mut refused, mut harmless) = (0, 0, 0);
    let mut violations = Vec::new();
    for statement in statements::sample(STATEMENTS)? {
        let sql = &statement.text;
        harmless += usize::from(!statement.acts);
        if !shop.reads(sql) {
            if statement.acts {
                let outcome = standby.outcome(sql).await?;
                refused += usize::from(outcome == Outcome::Fails(READ_ONLY.to_owned()));
            }
            continue;
        }
        if statement.acts {
            violations.push(format!("taken for a read: {sql}"));
            continue;
        }
        let there = standby.outcome(sql).await?;
        let here = primary.outcome(sql).await?;
        ran += usize::from(there.succeeds());
        if there != here {
            violations.push(format!(
                "{sql}\n    {there} on the standby, {here} on the primary"
            ));
        }
    }
    if ran * 100 < harmless * 95 {
        violations.push(format!("only {ran} of {harmless} reads ran on the standby"));
    }
    if refused < STATEMENTS / 4 {
        violations.push(format!("only {refused} statements were refused"));
    }
    none(&violations)
}

const STATEMENTS: usize = 600;

/// What is taken for a read of a SQLite file needs no right to write it.
async fn sqlite() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = SqliteConnectOptions::new()
        .filename(folder.path().join("shop.db"))
        .create_if_missing(true);
    let mut writer = file.connect().await?;
    raw_sql(corpus::SQLITE_SETUP).execute(&mut writer).await?;
    let mut reader = file.clone().pragma("query_only", "on").connect().await?;
    let classifier = Sql::sqlite();
    let mut ran = 0;
    let mut violations = Vec::new();
    for entry in corpus::sqlite() {
        let sql = &entry.sql;
        if classifier.classify(sql).intent != Intent::Read {
            continue;
        }
        let there = run_sqlite(&mut reader, sql).await;
        let before = total_changes(&mut writer).await?;
        let here = run_sqlite(&mut writer, sql).await;
        ran += usize::from(there.is_ok());
        if there != here {
            violations.push(format!("{entry}\n    {there:?} without, {here:?} with"));
        }
        if total_changes(&mut writer).await? != before {
            violations.push(format!("{entry}\n    changed something"));
        }
    }
    if ran < 100 {
        violations.push(format!("only {ran} statements ran"));
    }
    none(&violations)
}

/// The number of rows, or the complaint. Parameters that are not bound are NULL.
async fn run_sqlite(connection: &mut SqliteConnection, sql: &str) -> Result<usize, String> {
    let rows = connection.fetch_all(raw_sql(AssertSqlSafe(sql))).await;
    rows.map(|rows| rows.len())
        .map_err(|error| error.to_string())
}

async fn total_changes(connection: &mut SqliteConnection) -> Result<i64> {
    let changes = sqlx::query_scalar("SELECT total_changes()");
    Ok(changes.fetch_one(connection).await?)
}
