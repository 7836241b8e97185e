//! The same on MariaDB, whose application may not write to a replica, and whose router asks it not to.

use std::collections::{BTreeSet, HashSet};

use dbrouter_sqlx::dbrouter::{Classifier, Intent, Sql};
use dbrouter_sqlx::{NodeOptions, RoutedPool};
use dbrouter_tests::corpus::{self, Entry, Label};
use dbrouter_tests::harness::Case;
use dbrouter_tests::mariadb::{Cluster, Node};
use dbrouter_tests::{Result, wait};
use sqlx::mysql::{MySqlDatabaseError, MySqlRow};
use sqlx::{AssertSqlSafe, Either, Executor, MySql, MySqlConnection, Row, SqlSafeStr, raw_sql};
use tokio::time::timeout;

use super::{Outcome, mislabelled, none};
use crate::support::{check, on_mariadb};

pub(super) fn cases() -> Vec<Case> {
    vec![
        on_mariadb("classifier::mariadb_soundness", soundness),
        on_mariadb("classifier::mariadb_refusals", refusals),
        on_mariadb("classifier::mariadb_labels", labels),
        on_mariadb("classifier::mariadb_routing", routing),
        on_mariadb("classifier::mariadb_modes", modes),
        on_mariadb("classifier::mariadb_functions", functions),
        on_mariadb("classifier::mariadb_catalog", catalog),
        on_mariadb("classifier::mariadb_variables", variables),
    ]
}

/// Statements of the corpus that must have run on a replica, or the test proves little.
const READS: usize = 150;
/// Statements of the corpus that a replica must have refused as writes.
const REFUSED: usize = 115;
/// Functions that come with the server and that must have run on a replica.
const CALLED: usize = 400;

/// The server only reads, and its transaction only reads.
const READ_ONLY: [&str; 2] = ["1290", "1792"];

/// A primary and a replica of the corpus' shop.
struct Shop {
    cluster: Cluster,
}

impl Shop {
    async fn open() -> Result<Self> {
        let cluster = Cluster::builder()
            .standbys(1)
            .setting("log_bin_trust_function_creators", "ON")
            // What comes from the application is written down, whatever becomes of it.
            .setting("general_log", "ON")
            .setting("log_output", "TABLE")
            // What users and tables are up to is counted.
            .setting("userstat", "ON")
            // No statement is to wait for long for what one before it has locked.
            .setting("lock_wait_timeout", "1")
            .setting("innodb_lock_wait_timeout", "1")
            .start()
            .await?;
        let mut admin = cluster.primary().admin().await?;
        admin.execute(raw_sql(corpus::MYSQL_SETUP)).await?;
        cluster.wait_caught_up().await?;
        Ok(Self { cluster })
    }

    fn replica(&self) -> &Node {
        self.cluster.node(1)
    }

    async fn router(&self) -> Result<RoutedPool<MySql>> {
        let replica = self.replica();
        Ok(RoutedPool::builder()
            .primary(of_the_shop(&self.cluster.primary().url()))
            .replica(NodeOptions::new(of_the_shop(&replica.url())).name(replica.name()))
            .connect()
            .await?)
    }
}

/// The URL, with the shop for its database.
fn of_the_shop(url: &str) -> String {
    let (server, _) = url.rsplit_once('/').unwrap_or((url, ""));
    format!("{server}/shop")
}

/// Who runs a statement, and what keeps it from writing to the replica.
#[derive(Clone, Copy, Debug)]
enum Role {
    /// The application, and the server, which is read-only.
    App,
    /// The application on a connection that the router has opened: the transaction, too.
    Routed,
    /// The superuser on such a connection: the transaction alone.
    Admin,
}

/// A connection on which statements are tried out.
struct Bench<'a> {
    node: &'a Node,
    role: Role,
    begin: &'static str,
    connection: MySqlConnection,
    /// What the server had logged before.
    logged: String,
}

/// What a read does not leave behind in its session: locks of the user's, variables, settings.
const TRACES: &str = "
    SELECT RELEASE_ALL_LOCKS(), @@last_insert_id,
        (SELECT COUNT(*) FROM information_schema.user_variables),
        (SELECT MD5(GROUP_CONCAT(variable_name, variable_value ORDER BY variable_name))
            FROM information_schema.session_variables
            WHERE variable_name NOT IN
                ('ERROR_COUNT', 'RAND_SEED1', 'RAND_SEED2', 'TIMESTAMP', 'WARNING_COUNT'))";

/// Whether a transaction has a row changed or locked. What is no part of it, such as a sequence, is in the
/// log at once.
const HELD: &str = "
    SELECT trx_rows_modified + trx_rows_locked + trx_tables_locked, @@gtid_binlog_pos
    FROM information_schema.innodb_trx WHERE trx_mysql_thread_id = ";

impl<'a> Bench<'a> {
    /// One transaction for all of them, in which everything is allowed.
    async fn on_primary(shop: &'a Shop, role: Role) -> Result<Self> {
        Self::new(shop.cluster.primary(), role, "START TRANSACTION").await
    }

    async fn on_replica(shop: &'a Shop, role: Role) -> Result<Self> {
        Self::new(shop.replica(), role, role.opens()).await
    }

    async fn new(node: &'a Node, role: Role, begin: &'static str) -> Result<Self> {
        let mut connection = connect(node, role, begin).await?;
        let logged = ask(&mut connection, "SELECT @@gtid_binlog_pos").await?;
        Ok(Self {
            node,
            role,
            begin,
            connection,
            logged,
        })
    }

    /// What becomes of a statement, which may leave nothing behind.
    async fn outcome(&mut self, sql: &str) -> Result<Outcome> {
        let before = ask(&mut self.connection, TRACES).await?;
        let outcome = self.quick_outcome(sql).await?;
        let after = ask(&mut self.connection, TRACES).await?;
        Ok(match before == after {
            true => outcome,
            false => Outcome::Leaves(format!("{after}, where {before} was")),
        })
    }

    /// The same, whatever it leaves behind.
    async fn quick_outcome(&mut self, sql: &str) -> Result<Outcome> {
        Ok(match run(&mut self.connection, sql).await {
            Ok(rows) => Outcome::Returns(rows),
            Err(error) => {
                let number = number(&error);
                if number.is_none() {
                    self.connection = connect(self.node, self.role, self.begin).await?;
                }
                Outcome::Fails(number.unwrap_or(error.to_string()))
            }
        })
    }

    /// What the transaction that all statements have run in has changed or locked; `None` if nothing.
    async fn held(&mut self) -> Result<Option<String>> {
        let begun = "SELECT CONNECTION_ID(), @@in_transaction";
        let begun = ask(&mut self.connection, begun).await?;
        let id = begun.strip_suffix("|1").unwrap_or("none");
        let held = ask(&mut self.node.admin().await?, &format!("{HELD}{id}")).await?;
        let logged = &self.logged;
        Ok((held != format!("0|{logged}")).then(|| {
            format!("held rows, and the log's position: {held}, where 0|{logged} is right")
        }))
    }
}

/// The one row that answers a question.
async fn ask(connection: &mut MySqlConnection, question: &str) -> Result<String> {
    let row = connection.fetch_one(raw_sql(AssertSqlSafe(question)));
    Ok(text(&row.await?)?)
}

impl Role {
    /// What is said on a new connection to a replica.
    fn opens(self) -> &'static str {
        match self {
            Self::App => "DO 0",
            Self::Routed | Self::Admin => "SET SESSION TRANSACTION READ ONLY",
        }
    }
}

async fn connect(node: &Node, role: Role, begin: &str) -> Result<MySqlConnection> {
    let mut connection = match role {
        Role::Admin => node.admin().await?,
        Role::App | Role::Routed => node.connect().await?,
    };
    connection.execute(raw_sql("USE shop")).await?;
    connection.execute(raw_sql(AssertSqlSafe(begin))).await?;
    Ok(connection)
}

/// Runs a statement with 1 for each of its parameters, and returns all that it returns.
async fn run(connection: &mut MySqlConnection, sql: &str) -> Result<Vec<String>, sqlx::Error> {
    let text_only = AssertSqlSafe(sql);
    let running = async {
        let rows = match parameters(connection, sql).await? {
            0 => connection.fetch_all(raw_sql(text_only)).await?,
            number => {
                let query = (0..number).fold(sqlx::query(text_only), |query, _| query.bind(1));
                connection.fetch_all(query).await?
            }
        };
        rows.iter().map(text).collect()
    };
    match timeout(wait::PATIENCE, running).await {
        Ok(ended) => ended,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}

/// How many parameters there are, as the server counts them.
async fn parameters(connection: &mut MySqlConnection, sql: &str) -> Result<usize, sqlx::Error> {
    if !sql.contains('?') {
        return Ok(0);
    }
    let sql = AssertSqlSafe(sql).into_sql_str();
    let statement = connection.prepare(sql).await?;
    Ok(match sqlx::Statement::parameters(&statement) {
        Some(Either::Right(number)) => number,
        _ => 0,
    })
}

/// A row, whatever is in it.
fn text(row: &MySqlRow) -> Result<String, sqlx::Error> {
    let columns = (0..row.len()).map(|index| {
        let bytes: Option<Vec<u8>> = row.try_get_unchecked(index)?;
        Ok(match bytes {
            Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            None => "NULL".to_owned(),
        })
    });
    Ok(columns.collect::<Result<Vec<_>, sqlx::Error>>()?.join("|"))
}

/// The number of a server's error.
fn number(error: &sqlx::Error) -> Option<String> {
    let error = error.as_database_error()?;
    let error = error.try_downcast_ref::<MySqlDatabaseError>()?;
    Some(error.number().to_string())
}

/// Whether what it returns tells of how it was run.
fn is_measured(sql: &str) -> bool {
    sql.to_ascii_lowercase().starts_with("analyze")
}

/// Each statement that is taken for a read does on the replica what it does on the primary.
async fn soundness() -> Result<()> {
    let shop = Shop::open().await?;
    let classifier = Sql::mysql();
    let mut violations = Vec::new();
    for role in [Role::App, Role::Routed, Role::Admin] {
        let mut primary = Bench::on_primary(&shop, role).await?;
        let mut replica = Bench::on_replica(&shop, role).await?;
        let mut ran = 0;
        for entry in corpus::mysql() {
            let sql = &entry.sql;
            if entry.label == Label::Hidden || classifier.classify(sql).intent != Intent::Read {
                continue;
            }
            let (there, here) = (replica.outcome(sql).await?, primary.outcome(sql).await?);
            ran += usize::from(there.succeeds());
            if differ(sql, (&there, &here), (&mut replica, &mut primary)).await? {
                let what = format!("as {role:?}: {there} on the replica, {here} on the primary");
                violations.push(format!("{entry}\n    {what}"));
            }
        }
        violations.extend(primary.held().await?);
        if ran < READS {
            violations.push(format!("as {role:?}, only {ran} statements ran"));
        }
    }
    none(&violations)
}

/// Whether a statement must not run in either place: because one of the servers refuses it, or because
/// what it returned is the server's own and neither chance nor the time of the day.
async fn differ(
    sql: &str,
    (there, here): (&Outcome, &Outcome),
    (replica, primary): (&mut Bench<'_>, &mut Bench<'_>),
) -> Result<bool> {
    if is_refused(there) || !there.is_like(here) {
        return Ok(true);
    }
    if there == here || is_measured(sql) {
        return Ok(false);
    }
    for _ in 0..CHANCES {
        let again = primary.quick_outcome(sql).await?;
        if again != *here || again == replica.quick_outcome(sql).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// How often a server must say the same, and another than the other's, to mean it: some statements draw one
/// of 20 rows, and the second may have changed from one server to the next.
const CHANCES: usize = 8;

fn is_refused(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Fails(number) if READ_ONLY.contains(&number.as_str()))
}

/// The corpus has teeth: most of its writes are refused by the replica, and so are those that are hidden.
async fn refusals() -> Result<()> {
    let shop = Shop::open().await?;
    let mut refused = 0;
    let mut violations = Vec::new();
    for entry in corpus::mysql() {
        if entry.label.reads() {
            continue;
        }
        for role in [Role::App, Role::Routed] {
            // A new one each time: some of them change the session.
            let mut replica = connect(shop.replica(), role, role.opens()).await?;
            let outcome = run(&mut replica, &entry.sql).await;
            let read_only = outcome
                .is_err_and(|error| number(&error).is_some_and(|it| READ_ONLY.contains(&&*it)));
            refused += usize::from(read_only && matches!(role, Role::Routed));
            if entry.label == Label::Hidden && !read_only {
                violations.push(format!("{entry}\n    the replica lets it, as {role:?}"));
            }
        }
    }
    if refused < REFUSED {
        violations.push(format!("only {refused} statements were refused"));
    }
    none(&violations)
}

/// A router that has asked the server says of each statement what its label says.
async fn labels() -> Result<()> {
    let shop = Shop::open().await?;
    let db = shop.router().await?;
    none(&mislabelled("MariaDB", corpus::mysql(), |sql| {
        db.cluster().classify(sql)
    }))
}

/// Run as they are, most reads and no writes of the corpus get to the replica.
async fn routing() -> Result<()> {
    let shop = Shop::open().await?;
    let db = shop.router().await?;
    let (reads, writes): (Vec<Entry>, Vec<Entry>) = corpus::mysql()
        .into_iter()
        .filter(|entry| entry.label != Label::Hidden && !entry.sql.contains('?'))
        .partition(|entry| entry.label.reads());
    // What they do to the primary is as may be; the reads come before them.
    for entry in reads.iter().chain(&writes) {
        let text = AssertSqlSafe(entry.sql.as_str());
        let running = db.session();
        let running = running.fetch_all(raw_sql(text));
        // Many of them fail, as they are meant to.
        check(
            timeout(wait::PATIENCE, running).await.is_ok(),
            format!("{entry} did not end"),
        )?;
    }
    let came = "SELECT argument FROM mysql.general_log WHERE user_host LIKE 'app%'";
    let mut admin = shop.replica().admin().await?;
    let came = admin.fetch_all(raw_sql(came)).await?;
    let came: HashSet<_> = came.iter().map(text).collect::<Result<_, _>>()?;
    let there = |entry: &&Entry| came.contains(entry.sql.trim());
    let violations: Vec<_> = writes.iter().filter(there).map(Entry::to_string).collect();
    none(&violations)?;
    let number = reads.iter().filter(there).count();
    check(
        number >= READS,
        format!("only {number} of {} reads got to the replica", reads.len()),
    )
}

/// What the server takes for a string is one to the router.
async fn modes() -> Result<()> {
    let mode = "NO_BACKSLASH_ESCAPES,ANSI_QUOTES";
    let builder = Cluster::builder().standbys(1);
    let cluster = builder.setting("sql_mode", mode).start().await?;
    let db = RoutedPool::<MySql>::builder()
        .primary(cluster.primary().url())
        .replica(cluster.node(1).url())
        .connect()
        .await?;
    // By the server's default, both are one string.
    for sql in [
        r"SELECT 'a\', GET_LOCK('b', 1) -- '",
        r#"SELECT 1 AS "a\", GET_LOCK('b', 1) -- ""#,
    ] {
        check(
            Sql::mysql().classify(sql).intent == Intent::Read,
            format!("a read elsewhere: {sql}"),
        )?;
        let mut held = db.acquire_write().await?;
        let row = held.fetch_one(raw_sql(AssertSqlSafe(sql))).await?;
        check(row.len() == 2, format!("a call: {sql}"))?;
        check(
            db.cluster().classify(sql).intent == Intent::Write,
            format!("for the primary: {sql}"),
        )?;
    }
    Ok(())
}

/// What is said of the functions that come with the server holds for each of them, called with something
/// that it takes. Those that it lacks are other versions', or MySQL's.
async fn functions() -> Result<()> {
    let shop = Shop::open().await?;
    let classifier = Sql::mysql();
    let mut primary = Bench::on_primary(&shop, Role::Routed).await?;
    let mut replica = Bench::on_replica(&shop, Role::Routed).await?;
    let known = "SELECT LOWER(function) FROM information_schema.sql_functions";
    let known = primary.connection.fetch_all(raw_sql(known)).await?;
    let mut names: BTreeSet<_> = known.iter().map(text).collect::<Result<_, _>>()?;
    let listed = LISTED.lines().filter(|line| !line.starts_with('#'));
    names.extend(listed.map(str::to_owned));
    let before = ask(&mut replica.connection, TRACES).await?;
    let mut called = 0;
    let mut violations = Vec::new();
    for name in &names {
        let mut runs = false;
        for sql in calls(name) {
            if classifier.classify(&sql).intent != Intent::Read {
                break;
            }
            let there = replica.quick_outcome(&sql).await?;
            if matches!(&there, Outcome::Fails(number) if UNCALLABLE.contains(&&**number)) {
                continue;
            }
            let here = primary.quick_outcome(&sql).await?;
            runs |= there.succeeds();
            if differ(&sql, (&there, &here), (&mut replica, &mut primary)).await? {
                violations.push(format!(
                    "{sql}\n    {there} on the replica, {here} on the primary"
                ));
            }
        }
        called += usize::from(runs);
    }
    violations.extend(primary.held().await?);
    let after = ask(&mut replica.connection, TRACES).await?;
    if before != after {
        violations.push(format!("they left {after}, where {before} was"));
    }
    if called < CALLED {
        let number = names.len();
        violations.push(format!("only {called} of {number} functions ran"));
    }
    none(&violations)
}

/// What the classifier takes for reads.
const LISTED: &str = include_str!("../../../../core/src/classify/functions/mysql.txt");

/// Not a call, or with a wrong number of arguments, or of nothing that there is.
const UNCALLABLE: [&str; 6] = ["1064", "1305", "1582", "1583", "1630", "4161"];

/// Calls of a function, one of which it may take: with up to five arguments of several types, and of a
/// window.
fn calls(name: &str) -> impl Iterator<Item = String> {
    const ARGUMENTS: [&str; 5] = ["0", "'a'", "'{}'", "NOW()", "POINT(0, 1)"];
    let with =
        (1..6).flat_map(|number| ARGUMENTS.map(|argument| vec![argument; number].join(", ")));
    std::iter::once(String::new())
        .chain(with)
        .flat_map(move |arguments| {
            let call = format!("SELECT {name}({arguments})");
            let windowed = format!("{call} OVER (ORDER BY id) FROM t");
            [call, windowed]
        })
}

/// The tables and views that come with the server are the same on all of them, if they are taken for it.
async fn catalog() -> Result<()> {
    let shop = Shop::open().await?;
    let mut admin = shop.cluster.primary().admin().await?;
    // A read-only server says of views that write no more than that it may not.
    let hidden = "DROP VIEW shop.visit, shop.innocent_visit, shop.next_ticket";
    admin.execute(raw_sql(hidden)).await?;
    shop.cluster.wait_caught_up().await?;
    let classifier = Sql::mysql();
    let mut primary = Bench::on_primary(&shop, Role::Admin).await?;
    let mut replica = Bench::on_replica(&shop, Role::Admin).await?;
    // The transaction begins with the first table that takes part in it.
    primary.quick_outcome("SELECT id FROM t").await?;
    let mut ran = 0;
    let mut violations = Vec::new();
    for table in admin.fetch_all(raw_sql(TABLES)).await? {
        let table = text(&table)?;
        let sql = format!("SELECT * FROM {table}");
        if classifier.classify(&sql).intent != Intent::Read {
            continue;
        }
        let (there, here) = (replica.outcome(&sql).await?, primary.outcome(&sql).await?);
        ran += usize::from(there.succeeds());
        let differ = match ESTIMATES.contains(&table.as_str()) {
            true => !there.is_like(&here),
            false => differ(&sql, (&there, &here), (&mut replica, &mut primary)).await?,
        };
        if differ {
            violations.push(format!(
                "{sql}\n    {there} on the replica, {here} on the primary"
            ));
        }
    }
    violations.extend(primary.held().await?);
    if ran < TABLES_READ {
        violations.push(format!("only {ran} tables were read"));
    }
    none(&violations)
}

/// What is said of a variable is the same on both servers and on each connection, if it is taken for it: by the
/// server's own list. Those that an application sets for its connection are its own affair.
async fn variables() -> Result<()> {
    let shop = Shop::open().await?;
    let classifier = Sql::mysql();
    let mut admin = shop.cluster.primary().admin().await?;
    let names = "SELECT LOWER(variable_name) FROM information_schema.system_variables";
    let names = admin.fetch_all(raw_sql(names)).await?;
    let mut primary = Bench::on_primary(&shop, Role::Routed).await?;
    let mut replica = Bench::on_replica(&shop, Role::Routed).await?;
    // Something for the variables of a connection to tell of.
    let written = "INSERT INTO audit (what) VALUES ('variables')";
    primary.connection.execute(raw_sql(written)).await?;
    let mut read = 0;
    let mut violations = Vec::new();
    for name in &names {
        let name = text(name)?;
        for sql in [
            format!("SHOW VARIABLES LIKE '{name}'"),
            format!("SHOW GLOBAL VARIABLES WHERE variable_name = '{name}'"),
            format!("SELECT @@{name}"),
        ] {
            if classifier.classify(&sql).intent != Intent::Read {
                continue;
            }
            read += 1;
            let there = replica.quick_outcome(&sql).await?;
            let here = primary.quick_outcome(&sql).await?;
            if there != here {
                violations.push(format!(
                    "{sql}\n    {there} on the replica, {here} on the primary"
                ));
            }
        }
    }
    for own in [
        "last_insert_id",
        "timestamp",
        "read_only",
        "hostname",
        "server_id",
    ] {
        let sql = format!("SHOW VARIABLES LIKE '{own}'");
        if classifier.classify(&sql).intent == Intent::Read {
            violations.push(sql);
        }
    }
    none(&violations)?;
    check(read > 60, format!("only {read} of them were read"))
}

const TABLES: &str = "
    SELECT CONCAT(table_schema, '.', table_name) FROM information_schema.tables
    WHERE table_schema IN ('information_schema', 'mysql', 'performance_schema', 'sys')";

/// They have sizes and times as each server counts them, beside what all agree on.
const ESTIMATES: [&str; 3] = [
    "information_schema.PARTITIONS",
    "information_schema.STATISTICS",
    "information_schema.TABLES",
];

/// How many of [`TABLES`] must have been read on a replica.
const TABLES_READ: usize = 50;
