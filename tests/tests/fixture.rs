//! The fixture does what it says: every other test rests on it.

use std::{
    borrow::Cow,
    env, fs,
    io::{BufRead, BufReader, ErrorKind},
    path::Path,
    pin::pin,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use dbrouter_tests::{
    Failure, Result,
    any::{Cluster, Connection, Kind, Node},
    harness::{self, Case, Need},
    server::Served,
    wait,
};
use sqlx::{AssertSqlSafe, Row, mysql::MySqlDatabaseError, query, raw_sql};
use tokio::{net::TcpStream, time::timeout};

/// Set for a copy of this binary that is there to be killed, to the kind of cluster that it holds.
const HOLD: &str = "DBROUTER_FIXTURE_HOLD";

const INSERT: &str = "INSERT INTO orders VALUES (1)";
const COUNT: &str = "SELECT count(*) FROM orders";
/// How long something that must not happen is given to happen.
const MOMENT: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    if let Ok(held) = env::var(HOLD) {
        let kinds = Kind::ALL.into_iter().filter(|kind| kind.name() == held);
        return harness::run(kinds.map(|kind| case(kind, "hold", hold)));
    }
    harness::run(
        Kind::ALL.into_iter().flat_map(cases).chain([
            Case::new("postgres::freezes_the_wal_writer", freezes_the_wal_writer)
                .needs(Need::Postgres),
            Case::new("postgres::awaits_async_commits", awaits_async_commits).needs(Need::Postgres),
            Case::new("mariadb::follows_paused", follows_paused).needs(Need::MariaDb),
            Case::new(
                "mariadb::says_why_it_cannot_rejoin",
                says_why_it_cannot_rejoin,
            )
            .needs(Need::MariaDb),
        ]),
    )
}

fn cases(kind: Kind) -> Vec<Case> {
    vec![
        case(kind, "starts_from_a_template", starts_from_a_template),
        case(kind, "replicates", replicates),
        case(kind, "pauses_replay", pauses_replay),
        case(kind, "delays_replay", delays_replay),
        case(kind, "kills_and_starts", kills_and_starts),
        case(kind, "stops_and_restarts", stops_and_restarts),
        case(kind, "freezes_and_thaws", freezes_and_thaws),
        case(kind, "sets_back_to_a_snapshot", sets_back_to_a_snapshot),
        case(kind, "promotes_and_follows", promotes_and_follows),
        case(kind, "promotes_what_is_paused", promotes_what_is_paused),
        case(kind, "promotes_what_is_delayed", promotes_what_is_delayed),
        case(kind, "rejoins", rejoins),
        case(kind, "comes_back_as_a_copy", comes_back_as_a_copy),
        case(kind, "awaits_each_commit", awaits_each_commit),
        case(kind, "identities", identities),
        case(kind, "settings", settings),
        case(kind, "app_is_no_superuser", app_is_no_superuser),
        case(kind, "accounts", accounts),
        case(kind, "counts_backends", counts_backends),
        case(
            kind,
            "says_why_a_server_does_not_start",
            says_why_a_server_does_not_start,
        ),
        case(
            kind,
            "leaves_nothing_when_dropped",
            leaves_nothing_when_dropped,
        ),
        case(
            kind,
            "leaves_nothing_when_killed",
            leaves_nothing_when_killed,
        ),
    ]
}

/// A case on servers of this kind, and named after it.
fn case<B>(kind: Kind, name: &str, body: B) -> Case
where
    B: AsyncFnOnce(Kind) -> Result<()> + Send + 'static,
{
    let name = format!("{}::{name}", kind.name());
    Case::new(name, async move || body(kind).await).needs(kind.need())
}

/// Nothing is made anew for a cluster: its files are copies of the same template as all others', down to the instant of their
/// last change. How long that takes is printed.
async fn starts_from_a_template(kind: Kind) -> Result<()> {
    let mut made = Vec::new();
    for _ in 0..2 {
        let started = Instant::now();
        let cluster = kind.start(2).await?;
        eprintln!("a primary and two standbys: {:?}", started.elapsed());
        assert_eq!(cluster.nodes().len(), 3);
        for node in cluster.nodes() {
            let file = match kind {
                Kind::Postgres => "PG_VERSION",
                Kind::MariaDb => "mysql/db.frm",
            };
            let file = cluster.folder().join(node.name()).join(file);
            made.push(file.metadata()?.modified()?);
        }
    }
    made.dedup();
    assert_eq!(made.len(), 1, "{made:?}");
    Ok(())
}

async fn replicates(kind: Kind) -> Result<()> {
    let cluster = orders(kind, 2).await?;
    insert(cluster.primary()).await?;
    cluster.wait_caught_up().await?;
    for standby in cluster.standbys() {
        assert_eq!(count(standby).await?, 1, "{}", standby.name());
    }
    Ok(())
}

async fn pauses_replay(kind: Kind) -> Result<()> {
    let cluster = orders(kind, 2).await?;
    let [paused, other] = [1, 2].map(|number| cluster.node(number));
    paused.pause_replay().await?;
    insert(cluster.primary()).await?;
    other.catch_up_with(cluster.primary()).await?;
    assert_eq!([count(paused).await?, count(other).await?], [0, 1]);

    paused.resume_replay().await?;
    paused.catch_up_with(cluster.primary()).await?;
    assert_eq!(count(paused).await?, 1);
    Ok(())
}

async fn delays_replay(kind: Kind) -> Result<()> {
    let cluster = orders(kind, 1).await?;
    let standby = cluster.node(1);
    standby.set_apply_delay(Duration::from_secs(3600)).await?;
    insert(cluster.primary()).await?;
    assert!(
        timeout(MOMENT, standby.catch_up_with(cluster.primary()))
            .await
            .is_err()
    );
    assert_eq!(count(standby).await?, 0);

    standby.set_apply_delay(Duration::ZERO).await?;
    cluster.wait_caught_up().await?;
    assert_eq!(count(standby).await?, 1);
    Ok(())
}

async fn kills_and_starts(kind: Kind) -> Result<()> {
    let cluster = orders(kind, 2).await?;
    for node in [cluster.node(1), cluster.primary()] {
        let mut held = node.connect().await?;
        let processes = node.processes();
        assert!(processes.len() >= least_processes(kind), "{processes:?}");

        node.kill()?;
        assert!(processes.iter().all(|pid| !is_alive(*pid)));
        let refused = TcpStream::connect(("127.0.0.1", node.port())).await;
        assert_eq!(
            refused.map_err(|error| error.kind()).err(),
            Some(ErrorKind::ConnectionRefused)
        );
        let lost = timeout(wait::PATIENCE, held.execute("SELECT 1")).await?;
        let lost = lost.err().ok_or_else(|| Failure::new("not lost"))?;
        let lost = lost.downcast_ref();
        assert!(matches!(lost, Some(sqlx::Error::Io(_))), "{lost:?}");

        node.start().await?;
    }
    insert(cluster.primary()).await?;
    cluster.wait_caught_up().await?;
    assert_eq!(count(cluster.node(1)).await?, 1);
    Ok(())
}

async fn stops_and_restarts(kind: Kind) -> Result<()> {
    let cluster = orders(kind, 1).await?;
    cluster.node(1).stop().await?;
    assert!(!cluster.node(1).is_running());
    insert(cluster.primary()).await?;
    cluster.wait_caught_up().await?; // of those that run
    cluster.node(1).start().await?;
    cluster.primary().restart().await?;
    cluster.wait_caught_up().await?;
    assert_eq!(count(cluster.node(1)).await?, 1);
    Ok(())
}

async fn freezes_and_thaws(kind: Kind) -> Result<()> {
    let cluster = orders(kind, 1).await?;
    let node = cluster.node(1);
    let mut held = node.connect().await?;
    node.freeze()?;
    assert!(node.is_running());
    assert!(
        timeout(MOMENT, node.connect()).await.is_err(),
        "connected to a frozen server"
    );
    let mut asked = pin!(held.execute("SELECT 1"));
    assert!(
        timeout(MOMENT, &mut asked).await.is_err(),
        "a frozen server answered"
    );

    node.thaw()?;
    timeout(wait::PATIENCE, asked).await??;
    assert_eq!(count(node).await?, 0);
    Ok(())
}

async fn sets_back_to_a_snapshot(kind: Kind) -> Result<()> {
    let cluster = orders(kind, 0).await?;
    let primary = cluster.primary();
    insert(primary).await?;
    let refused = primary.take_snapshot().await;
    assert!(refused.is_err_and(|error| error.to_string().contains("runs")));
    primary.stop().await?;
    primary.take_snapshot().await?;
    primary.start().await?;
    insert(primary).await?;
    primary.kill()?;
    for _ in 0..2 {
        primary.set_back().await?;
        primary.start().await?;
        assert_eq!(count(primary).await?, 1);
        insert(primary).await?;
        primary.stop().await?;
    }
    Ok(())
}

async fn freezes_the_wal_writer() -> Result<()> {
    let cluster = orders(Kind::Postgres, 1).await?;
    let Cluster::Postgres(servers) = &cluster else {
        return Err("not of PostgreSQL".into());
    };
    servers.primary().freeze_wal_writer().await?;
    let mut app = cluster.primary().connect().await?;
    app.execute("SET synchronous_commit = off").await?;
    app.execute(INSERT).await?;
    assert_eq!(count(cluster.primary()).await?, 1);
    tokio::time::sleep(3 * MOMENT).await;
    assert_eq!(count(cluster.node(1)).await?, 0);
    servers.primary().thaw_wal_writer().await?;
    cluster.wait_caught_up().await?;
    assert_eq!(count(cluster.node(1)).await?, 1);
    Ok(())
}

async fn promotes_and_follows(kind: Kind) -> Result<()> {
    let cluster = orders(kind, 2).await?;
    let [heir, other] = [1, 2].map(|number| cluster.node(number));
    cluster.primary().kill()?;
    heir.promote().await?;
    insert(heir).await?;
    other.follow(heir).await?;
    other.catch_up_with(heir).await?;
    assert_eq!(count(other).await?, 1);

    // Nobody has told the old primary: that is what makes it dangerous.
    cluster.primary().start().await?;
    insert(cluster.primary()).await?;
    Ok(())
}

async fn rejoins(kind: Kind) -> Result<()> {
    let cluster = orders(kind, 2).await?;
    let [old, heir, other] = [0, 1, 2].map(|number| cluster.node(number));
    insert(old).await?;
    heir.catch_up_with(old).await?;
    old.stop().await?;
    heir.promote().await?;
    other.follow(heir).await?;
    insert(heir).await?;

    old.rejoin(heir).await?;
    insert(heir).await?;
    for standby in [old, other] {
        standby.catch_up_with(heir).await?;
        assert_eq!(count(standby).await?, 3, "{}", standby.name());
    }
    assert!(insert(old).await.is_err(), "it still accepts writes");
    // It is a standby for good.
    old.restart().await?;
    insert(heir).await?;
    old.catch_up_with(heir).await?;
    assert_eq!(count(old).await?, 4);
    assert!(insert(old).await.is_err(), "it accepts writes again");

    // And it may lead again.
    heir.stop().await?;
    old.promote().await?;
    insert(old).await?;
    heir.rejoin(old).await?;
    heir.catch_up_with(old).await?;
    assert_eq!(count(heir).await?, 5);
    Ok(())
}

/// A primary that has what its successor lacks.
async fn comes_back_as_a_copy(kind: Kind) -> Result<()> {
    let cluster = orders(kind, 2).await?;
    let [old, heir, other] = [0, 1, 2].map(|number| cluster.node(number));
    insert(old).await?;
    cluster.wait_caught_up().await?;
    for standby in [other, heir] {
        standby.stop().await?;
    }
    insert(old).await?;
    old.kill()?;
    heir.start().await?;
    heir.promote().await?;
    insert(heir).await?;
    insert(heir).await?;
    let refused = heir.copy(other).await.map_err(|error| error.to_string());
    assert!(refused.is_err_and(|error| error.contains("runs")));

    other.rejoin(heir).await?;
    other.catch_up_with(heir).await?;
    other.stop().await?;
    old.copy(other).await?;
    for standby in [old, other] {
        standby.rejoin(heir).await?;
        standby.catch_up_with(heir).await?;
        assert_eq!(count(standby).await?, 3, "{}", standby.name());
        assert!(insert(standby).await.is_err(), "it accepts writes");
    }
    // It is a standby as any other.
    heir.stop().await?;
    old.promote().await?;
    insert(old).await?;
    other.follow(old).await?;
    other.catch_up_with(old).await?;
    assert_eq!(count(other).await?, 4);
    Ok(())
}

async fn awaits_each_commit(kind: Kind) -> Result<()> {
    counted_commits(&orders(kind, 1).await?, "").await
}

async fn awaits_async_commits() -> Result<()> {
    let cluster = orders(Kind::Postgres, 1).await?;
    counted_commits(&cluster, "SET synchronous_commit = off").await
}

/// Each is shown where it has been waited for.
async fn counted_commits(cluster: &Cluster, session: &str) -> Result<()> {
    let mut app = cluster.primary().connect().await?;
    let mut shown = cluster.node(1).connect().await?;
    if !session.is_empty() {
        app.execute(session).await?;
    }
    for expected in 1..=50 {
        app.execute(INSERT).await?;
        cluster.wait_caught_up().await?;
        assert_eq!(shown.number(COUNT).await?, expected);
    }
    Ok(())
}

async fn promotes_what_is_paused(kind: Kind) -> Result<()> {
    let shown = promoted(kind, async |heir| heir.pause_replay().await).await?;
    assert_eq!(shown, 1);
    Ok(())
}

/// One kind of server shows what it has received.
async fn promotes_what_is_delayed(kind: Kind) -> Result<()> {
    let hour = Duration::from_secs(3600);
    let shown = promoted(kind, async |heir| heir.set_apply_delay(hour).await).await?;
    assert_eq!(shown, i64::from(kind == Kind::Postgres));
    Ok(())
}

/// What a standby shows after its promotion of one write that it has received while it held it back.
async fn promoted(kind: Kind, hold_back: impl AsyncFnOnce(Node<'_>) -> Result<()>) -> Result<i64> {
    let cluster = orders(kind, 1).await?;
    let heir = cluster.node(1);
    hold_back(heir).await?;
    insert(cluster.primary()).await?;
    wait_received(heir, cluster.primary()).await?;
    assert_eq!(count(heir).await?, 0);
    cluster.primary().kill()?;
    heir.promote().await?;
    count(heir).await
}

async fn follows_paused() -> Result<()> {
    let cluster = orders(Kind::MariaDb, 2).await?;
    let [heir, paused] = [1, 2].map(|number| cluster.node(number));
    paused.pause_replay().await?;
    heir.promote().await?;
    paused.follow(heir).await?;
    paused.set_apply_delay(Duration::from_millis(1)).await?;
    insert(heir).await?;
    wait_received(paused, heir).await?;
    assert_eq!(count(paused).await?, 0);
    // The least that it knows.
    assert_eq!(slave_status(paused, "SQL_Delay").await?, "1");

    paused.resume_replay().await?;
    paused.catch_up_with(heir).await?;
    assert_eq!(count(paused).await?, 1);
    Ok(())
}

async fn says_why_it_cannot_rejoin() -> Result<()> {
    let cluster = orders(Kind::MariaDb, 1).await?;
    let (old, heir) = (cluster.primary(), cluster.node(1));
    heir.promote().await?;
    for node in [old, heir] {
        insert(node).await?;
    }
    old.stop().await?;
    let refused = old.rejoin(heir).await.map_err(|error| error.to_string());
    let message = refused.err().unwrap_or_default();
    assert!(message.contains("the slave has diverged"), "{message}");
    Ok(())
}

async fn identities(kind: Kind) -> Result<()> {
    let one = kind.start(1).await?;
    let foreign = kind.builder().own_identity().start().await?;
    let [primary, standby] = [identity(one.primary()).await?, identity(one.node(1)).await?];
    assert_eq!(primary, standby);
    assert_ne!(primary, identity(foreign.primary()).await?);
    Ok(())
}

async fn settings(kind: Kind) -> Result<()> {
    let cluster = kind
        .builder()
        .setting("max_connections", "12")
        .standbys(1)
        .start()
        .await?;
    for node in cluster.nodes() {
        assert_eq!(setting(node, "max_connections").await?, 12);
    }
    let primary = cluster.primary();
    let changes = match kind {
        Kind::Postgres => [
            ("work_mem", "5MB", 5120),
            ("statement_timeout", "5000", 5000),
        ],
        Kind::MariaDb => [("slow_query_log", "ON", 1), ("wait_timeout", "5000", 5000)],
    };
    for (name, value, number) in changes {
        primary.set(name, value).await?;
        assert_eq!(setting(primary, name).await?, number);
    }
    primary.restart().await?;
    for (name, _, number) in changes {
        assert_eq!(setting(primary, name).await?, number);
    }
    Ok(())
}

async fn app_is_no_superuser(kind: Kind) -> Result<()> {
    let cluster = orders(kind, 1).await?;
    let (privileged, denied, read_only) = match kind {
        Kind::Postgres => ("ALTER SYSTEM SET work_mem = '5MB'", "42501", "25006"),
        Kind::MariaDb => ("SET GLOBAL read_only = OFF", "1227", "1290"),
    };
    for node in cluster.nodes() {
        assert_eq!(refusal(node, privileged).await?, denied);
    }
    assert_eq!(refusal(cluster.node(1), INSERT).await?, read_only);
    // And so by what it may do, not by how it asks.
    cluster.primary().execute("DROP TABLE orders").await
}

async fn accounts(kind: Kind) -> Result<()> {
    let cluster = orders(kind, 1).await?;
    let (primary, standby) = (cluster.primary(), cluster.node(1));
    let mut app = primary.connect().await?;
    app.execute(INSERT).await?;
    app.execute(match kind {
        Kind::Postgres => "WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone",
        Kind::MariaDb => "/* don't */ REPLACE INTO orders SELECT 1",
    })
    .await?;
    app.execute("/* update */ SELECT * FROM orders FOR UPDATE; SELECT 1")
        .await?;
    for id in 0..3 {
        prepared(
            &mut app,
            "SELECT * FROM orders WHERE id = ? AND 'ship''s' <> ''",
            id,
        )
        .await?;
        prepared(&mut app, "INSERT INTO\n\torders VALUES (?)", id).await?;
    }
    let refused = app.execute("INSERT INTO orders VALUES (1, 1)").await;
    assert!(refused.is_err(), "there is one column");
    for _ in 0..3 {
        count(standby).await?;
    }
    assert_eq!(
        primary.served("orders").await?,
        Served {
            reads: 4,
            writes: 5
        }
    );
    assert_eq!(
        standby.served("orders").await?,
        Served {
            reads: 3,
            writes: 0
        }
    );
    assert_eq!(standby.served("order").await?, Served::default());
    let counts = primary.statement_counts().await?;
    let inserts = counts
        .iter()
        .filter(|count| count.text.starts_with("INSERT INTO"));
    assert_eq!(inserts.map(|count| count.calls).sum::<i64>(), 4);
    assert_eq!(standby.statement_counts().await?[0].calls, 3);

    for node in cluster.nodes() {
        node.forget_served().await?;
        assert_eq!(node.served("orders").await?, Served::default());
    }
    // What was answered is counted, however soon one asks.
    for writes in 1..=100 {
        app.execute(INSERT).await?;
        assert_eq!(primary.served("orders").await?, Served { reads: 0, writes });
    }
    Ok(())
}

async fn counts_backends(kind: Kind) -> Result<()> {
    let cluster = kind.start(0).await?;
    let node = cluster.primary();
    assert_eq!(node.backends("app").await?, 0);
    let _held = [node.connect().await?, node.connect().await?];
    assert_eq!(node.backends("app").await?, 2);
    Ok(())
}

async fn says_why_a_server_does_not_start(kind: Kind) -> Result<()> {
    let refused = kind.builder().setting("no_such_setting", "1").start().await;
    let message = refused
        .map(drop)
        .map_err(|error| error.to_string())
        .err()
        .unwrap_or_default();
    assert!(message.contains("no_such_setting"), "{message}");
    Ok(())
}

async fn leaves_nothing_when_dropped(kind: Kind) -> Result<()> {
    let cluster = kind.start(1).await?;
    let folder = cluster.folder().to_owned();
    let processes: Vec<_> = cluster
        .nodes()
        .into_iter()
        .flat_map(Node::processes)
        .collect();
    cluster.node(1).freeze()?;
    drop(cluster);
    assert!(!folder.exists());
    assert!(processes.iter().all(|pid| !is_alive(*pid)));
    Ok(())
}

async fn leaves_nothing_when_killed(kind: Kind) -> Result<()> {
    let mut holder = Command::new(env::current_exe()?)
        .env(HOLD, kind.name())
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = BufReader::new(
        holder
            .stdout
            .take()
            .ok_or_else(|| Failure::new("no output"))?,
    )
    .lines();
    let held = lines
        .map_while(std::result::Result::ok)
        .find_map(|line| line.strip_prefix("holds ").map(str::to_owned))
        .ok_or_else(|| Failure::new("the holder did not hold"))?;
    let mut held = held.split(' ');
    let folder = held
        .next()
        .map(Path::new)
        .ok_or_else(|| Failure::new("no folder"))?;
    let held: Vec<i32> = held.map(str::parse).collect::<Result<_, _>>()?;
    // Some served the holder's own connections and may have ended with them.
    let processes: Vec<_> = held.into_iter().filter(|pid| is_alive(*pid)).collect();
    let there = folder.exists();
    holder.kill()?; // SIGKILL: nothing of its own can clean up
    holder.wait()?;
    let least = 2 * least_processes(kind);
    assert!(there && processes.len() >= least, "{processes:?}");

    let gone = async {
        while folder.exists() || processes.iter().any(|pid| is_alive(*pid)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(wait::PATIENCE, gone).await?;
    Ok(())
}

/// What the copy that is to be killed does.
async fn hold(kind: Kind) -> Result<()> {
    let cluster = kind.start(1).await?;
    cluster.node(1).freeze()?;
    let processes: Vec<_> = cluster
        .nodes()
        .into_iter()
        .flat_map(Node::processes)
        .map(|pid| pid.to_string())
        .collect();
    println!(
        "\nholds {} {}",
        cluster.folder().display(),
        processes.join(" ")
    );
    std::future::pending().await
}

async fn orders(kind: Kind, standbys: usize) -> Result<Cluster> {
    let cluster = kind.start(standbys).await?;
    cluster
        .primary()
        .execute("CREATE TABLE orders (id int)")
        .await?;
    cluster.wait_caught_up().await?;
    Ok(cluster)
}

async fn insert(node: Node<'_>) -> Result<()> {
    node.execute(INSERT).await
}

async fn count(node: Node<'_>) -> Result<i64> {
    node.connect().await?.number(COUNT).await
}

/// Executes a prepared statement with a parameter for its `?`.
async fn prepared(app: &mut Connection, statement: &'static str, parameter: i32) -> Result<()> {
    match app {
        Connection::Postgres(app) => {
            let statement = AssertSqlSafe(statement.replace('?', "$1"));
            query(statement).bind(parameter).execute(app).await?;
        }
        Connection::MariaDb(app) => {
            query(statement).bind(parameter).execute(app).await?;
        }
    }
    Ok(())
}

/// The server's own code for what it says to a statement of the application: MariaDB has one
/// SQLSTATE for nearly all, and numbers.
async fn refusal(node: Node<'_>, statement: &str) -> Result<String> {
    let refused = node.execute(statement).await.err();
    let refused = refused.ok_or_else(|| Failure::new(format!("{statement}: not refused")))?;
    let code = refused.downcast_ref().and_then(|error: &sqlx::Error| {
        let error = error.as_database_error()?;
        match error.try_downcast_ref::<MySqlDatabaseError>() {
            Some(error) => Some(error.number().to_string()),
            None => error.code().map(Cow::into_owned),
        }
    });
    code.ok_or(refused)
}

/// Waits until a standby has received what the primary has, applied or not.
async fn wait_received(standby: Node<'_>, primary: Node<'_>) -> Result<()> {
    let all = async || -> Result<bool> {
        Ok(match primary.kind() {
            Kind::Postgres => {
                let flushed = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint";
                let received = "SELECT (pg_last_wal_receive_lsn() - '0/0')::bigint";
                standby.number(received).await? >= primary.number(flushed).await?
            }
            Kind::MariaDb => {
                let received = slave_status(standby, "Gtid_IO_Pos").await?;
                let all = format!("SELECT @@gtid_binlog_pos = '{received}'");
                primary.number(&all).await? == 1
            }
        })
    };
    if wait::until(async || matches!(all().await, Ok(true))).await {
        Ok(())
    } else {
        Err(Failure::new(format!("{} has not received all", standby.name())).into())
    }
}

/// A column of what a standby of MariaDB says of itself.
async fn slave_status(standby: Node<'_>, column: &str) -> Result<String> {
    let Connection::MariaDb(mut admin) = standby.admin().await? else {
        return Err(Failure::new("another kind has no such status").into());
    };
    let status = raw_sql("SHOW SLAVE STATUS").fetch_one(&mut admin).await?;
    Ok(status.try_get_unchecked(column)?)
}

async fn identity(node: Node<'_>) -> Result<i64> {
    node.number(match node.kind() {
        Kind::Postgres => "SELECT system_identifier FROM pg_control_system()",
        Kind::MariaDb => "SELECT @@gtid_domain_id",
    })
    .await
}

async fn setting(node: Node<'_>, name: &str) -> Result<i64> {
    node.number(&match node.kind() {
        Kind::Postgres => {
            format!("SELECT setting::int FROM pg_settings WHERE name = '{name}'")
        }
        Kind::MariaDb => format!("SELECT @@{name}"),
    })
    .await
}

/// PostgreSQL has one for each task, MariaDB threads.
fn least_processes(kind: Kind) -> usize {
    match kind {
        Kind::Postgres => 4,
        Kind::MariaDb => 1,
    }
}

/// Zombies are dead: where init does not reap, they stay.
fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
