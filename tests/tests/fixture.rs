//! The fixture does what it says: every other test rests on it.

use std::{
    env, fs,
    io::{BufRead, BufReader, ErrorKind},
    path::Path,
    pin::pin,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use dbrouter_tests::{
    Failure, Result,
    harness::{self, Case, Need},
    postgres::{Cluster, Node, Served},
};
use sqlx::{PgConnection, query, query_scalar};
use tokio::{net::TcpStream, time::timeout};

/// Set for a copy of this binary that is there to be killed.
const HOLD: &str = "DBROUTER_FIXTURE_HOLD";

const SOON: Duration = Duration::from_secs(10);
/// How long something that must not happen is given to happen.
const MOMENT: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    let postgres = |case: Case| case.needs(Need::Postgres);
    if env::var_os(HOLD).is_some() {
        return harness::run([postgres(Case::new("hold", hold))]);
    }
    harness::run(
        [
            Case::new("starts_soon", starts_soon).alone(),
            Case::new("replicates", replicates),
            Case::new("pauses_replay", pauses_replay),
            Case::new("delays_replay", delays_replay),
            Case::new("kills_and_starts", kills_and_starts),
            Case::new("stops_and_restarts", stops_and_restarts),
            Case::new("freezes_and_thaws", freezes_and_thaws),
            Case::new("promotes_and_follows", promotes_and_follows),
            Case::new("awaits_async_commits", awaits_async_commits),
            Case::new("identities", identities),
            Case::new("settings", settings),
            Case::new("app_is_no_superuser", app_is_no_superuser),
            Case::new("accounts", accounts),
            Case::new("counts_backends", counts_backends),
            Case::new(
                "says_why_a_server_does_not_start",
                says_why_a_server_does_not_start,
            ),
            Case::new("leaves_nothing_when_dropped", leaves_nothing_when_dropped),
            Case::new("leaves_nothing_when_killed", leaves_nothing_when_killed),
        ]
        .map(postgres),
    )
}

async fn starts_soon() -> Result<()> {
    drop(Cluster::start(2).await?); // makes the template, if there was none
    let started = Instant::now();
    let cluster = Cluster::start(2).await?;
    let took = started.elapsed();
    eprintln!("a primary and two standbys: {took:?}");
    assert!(took < Duration::from_secs(3), "took {took:?}");
    assert_eq!(cluster.nodes().len(), 3);
    Ok(())
}

async fn replicates() -> Result<()> {
    let cluster = orders(2).await?;
    insert(cluster.primary()).await?;
    cluster.wait_caught_up().await?;
    for standby in cluster.standbys() {
        assert_eq!(count(standby).await?, 1, "{}", standby.name());
    }
    Ok(())
}

async fn pauses_replay() -> Result<()> {
    let cluster = orders(2).await?;
    let [paused, other] = cluster.standbys() else {
        unreachable!("two were asked for");
    };
    paused.pause_replay().await?;
    insert(cluster.primary()).await?;
    other.catch_up_with(cluster.primary()).await?;
    assert_eq!([count(paused).await?, count(other).await?], [0, 1]);

    paused.resume_replay().await?;
    paused.catch_up_with(cluster.primary()).await?;
    assert_eq!(count(paused).await?, 1);
    Ok(())
}

async fn delays_replay() -> Result<()> {
    let cluster = orders(1).await?;
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

async fn kills_and_starts() -> Result<()> {
    let cluster = orders(2).await?;
    for node in [cluster.node(1), cluster.primary()] {
        let mut held = node.connect().await?;
        let processes = node.processes();
        assert!(processes.len() > 3, "{processes:?}");

        node.kill()?;
        assert!(processes.iter().all(|pid| !is_alive(*pid)));
        let refused = TcpStream::connect(("127.0.0.1", node.port())).await;
        assert_eq!(
            refused.map_err(|error| error.kind()).err(),
            Some(ErrorKind::ConnectionRefused)
        );
        let lost = timeout(SOON, query("SELECT 1").execute(&mut held)).await?;
        assert!(matches!(lost, Err(sqlx::Error::Io(_))), "{lost:?}");

        node.start().await?;
    }
    insert(cluster.primary()).await?;
    cluster.wait_caught_up().await?;
    assert_eq!(count(cluster.node(1)).await?, 1);
    Ok(())
}

async fn stops_and_restarts() -> Result<()> {
    let cluster = orders(1).await?;
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

async fn freezes_and_thaws() -> Result<()> {
    let cluster = orders(1).await?;
    let node = cluster.node(1);
    let mut held = node.connect().await?;
    node.freeze()?;
    assert!(node.is_running());
    assert!(
        timeout(MOMENT, node.connect()).await.is_err(),
        "connected to a frozen server"
    );
    let mut asked = pin!(query("SELECT 1").execute(&mut held));
    assert!(
        timeout(MOMENT, &mut asked).await.is_err(),
        "a frozen server answered"
    );

    node.thaw()?;
    timeout(SOON, asked).await??;
    assert_eq!(count(node).await?, 0);
    Ok(())
}

async fn promotes_and_follows() -> Result<()> {
    let cluster = orders(2).await?;
    let [heir, other] = cluster.standbys() else {
        unreachable!("two were asked for");
    };
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

async fn awaits_async_commits() -> Result<()> {
    let cluster = orders(1).await?;
    let mut app = cluster.primary().connect().await?;
    query("SET synchronous_commit = off")
        .execute(&mut app)
        .await?;
    for expected in 1..=50 {
        query("INSERT INTO orders VALUES (1)")
            .execute(&mut app)
            .await?;
        cluster.wait_caught_up().await?;
        assert_eq!(count(cluster.node(1)).await?, expected);
    }
    Ok(())
}

async fn identities() -> Result<()> {
    let one = Cluster::start(1).await?;
    let foreign = Cluster::builder().own_identity().start().await?;
    let [primary, standby] = [identity(one.primary()).await?, identity(one.node(1)).await?];
    assert_eq!(primary, standby);
    assert_ne!(primary, identity(foreign.primary()).await?);
    Ok(())
}

async fn settings() -> Result<()> {
    let cluster = Cluster::builder()
        .setting("max_connections", "12")
        .standbys(1)
        .start()
        .await?;
    for node in cluster.nodes() {
        assert_eq!(setting(node, "max_connections").await?, "12");
    }
    cluster.primary().set("work_mem", "5MB").await?;
    assert_eq!(setting(cluster.primary(), "work_mem").await?, "5MB");
    Ok(())
}

async fn app_is_no_superuser() -> Result<()> {
    let cluster = Cluster::start(0).await?;
    let mut app = cluster.primary().connect().await?;
    let who =
        "SELECT current_user = 'app' AND NOT usesuper FROM pg_user WHERE usename = current_user";
    assert!(query_scalar::<_, bool>(who).fetch_one(&mut app).await?);
    Ok(())
}

async fn accounts() -> Result<()> {
    let cluster = orders(1).await?;
    let (primary, standby) = (cluster.primary(), cluster.node(1));
    let mut app = primary.connect().await?;
    query("INSERT INTO orders VALUES (1)")
        .execute(&mut app)
        .await?;
    query("WITH gone AS (DELETE FROM orders RETURNING id) SELECT * FROM gone")
        .execute(&mut app)
        .await?;
    query("/* update */ SELECT * FROM orders FOR UPDATE")
        .execute(&mut app)
        .await?;
    for _ in 0..3 {
        count(standby).await?;
    }
    assert_eq!(
        primary.served("orders").await?,
        Served {
            reads: 1,
            writes: 2
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
    assert_eq!(standby.statement_counts().await?[0].calls, 3);

    standby.forget_served().await?;
    assert_eq!(standby.served("orders").await?, Served::default());
    Ok(())
}

async fn counts_backends() -> Result<()> {
    let cluster = Cluster::start(0).await?;
    let node = cluster.primary();
    assert_eq!(node.backends("app").await?, 0);
    let _held: [PgConnection; 2] = [node.connect().await?, node.connect().await?];
    assert_eq!(node.backends("app").await?, 2);
    Ok(())
}

async fn says_why_a_server_does_not_start() -> Result<()> {
    let refused = Cluster::builder()
        .setting("no_such_setting", "1")
        .start()
        .await;
    let message = refused
        .map(drop)
        .map_err(|error| error.to_string())
        .err()
        .unwrap_or_default();
    assert!(message.contains("no_such_setting"), "{message}");
    Ok(())
}

async fn leaves_nothing_when_dropped() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    let folder = cluster.folder().to_owned();
    let processes: Vec<_> = cluster.nodes().iter().flat_map(Node::processes).collect();
    cluster.node(1).freeze()?;
    drop(cluster);
    assert!(!folder.exists());
    assert!(processes.iter().all(|pid| !is_alive(*pid)));
    Ok(())
}

async fn leaves_nothing_when_killed() -> Result<()> {
    let mut holder = Command::new(env::current_exe()?)
        .env(HOLD, "1")
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
    assert!(there && processes.len() > 6, "{processes:?}");

    let gone = async {
        while folder.exists() || processes.iter().any(|pid| is_alive(*pid)) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, gone).await?;
    Ok(())
}

/// What the copy that is to be killed does.
async fn hold() -> Result<()> {
    let cluster = Cluster::start(1).await?;
    cluster.node(1).freeze()?;
    let processes: Vec<_> = cluster
        .nodes()
        .iter()
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

async fn orders(standbys: usize) -> Result<Cluster> {
    let cluster = Cluster::start(standbys).await?;
    let mut app = cluster.primary().connect().await?;
    query("CREATE TABLE orders (id int)")
        .execute(&mut app)
        .await?;
    cluster.wait_caught_up().await?;
    Ok(cluster)
}

async fn insert(node: &Node) -> Result<()> {
    query("INSERT INTO orders VALUES (1)")
        .execute(&mut node.connect().await?)
        .await?;
    Ok(())
}

async fn count(node: &Node) -> Result<i64> {
    Ok(query_scalar("SELECT count(*) FROM orders")
        .fetch_one(&mut node.connect().await?)
        .await?)
}

async fn identity(node: &Node) -> Result<i64> {
    let identity = "SELECT system_identifier FROM pg_control_system()";
    Ok(query_scalar(identity)
        .fetch_one(&mut node.admin().await?)
        .await?)
}

async fn setting(node: &Node, name: &str) -> Result<String> {
    let setting = "SELECT current_setting($1)";
    Ok(query_scalar(setting)
        .bind(name)
        .fetch_one(&mut node.admin().await?)
        .await?)
}

/// Zombies are dead: where init does not reap, they stay.
fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
