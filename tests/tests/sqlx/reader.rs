//! A process that reads what others ask it to: this binary, started again. It is asked line by line, answers line by
//! line, and ends with its input.

use std::collections::HashMap;
use std::env;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use dbrouter_sqlx::dbrouter::Token;
use dbrouter_sqlx::{NodeOptions, RoutedPool, Session};
use dbrouter_tests::Result;
use dbrouter_tests::postgres::Cluster;
use sqlx::Postgres;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Names the servers to the process; where it is set, this binary is that process.
const SERVERS: &str = "DBROUTER_TESTS_READER";

/// What is to be read: a key's version, after some time, by a session that sees what a token stands for.
pub(crate) struct Wish {
    pub(crate) key: i32,
    pub(crate) think: Duration,
    pub(crate) token: Option<Token>,
}

/// What was read, and on which node.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) version: i64,
    pub(crate) node: String,
}

// -- in the process that asks --------------------------------------------------------------------

/// The process, which ends with this.
pub(crate) struct Reader {
    process: Child,
    wishes: Mutex<ChildStdin>,
    asked: AtomicU64,
    waiting: Arc<Waiting>,
}

type Waiting = Mutex<HashMap<u64, oneshot::Sender<Result<Read>>>>;

impl Reader {
    /// Starts the process, with a router over the nodes of a cluster.
    pub(crate) fn start(cluster: &Cluster) -> Result<Self> {
        let nodes = cluster.nodes().iter();
        let servers: Vec<_> = nodes
            .map(|node| format!("{}={}", node.name(), node.url()))
            .collect();
        let mut process = Command::new(env::current_exe()?)
            .env(SERVERS, servers.join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let wishes = process.stdin.take().ok_or("it has an input")?;
        let answers = process.stdout.take().ok_or("it has an output")?;
        let waiting = Arc::default();
        thread::spawn({
            let waiting = Arc::clone(&waiting);
            move || hand_out(answers, &waiting)
        });
        Ok(Self {
            process,
            wishes: Mutex::new(wishes),
            asked: AtomicU64::new(0),
            waiting,
        })
    }

    /// Asks the process to read.
    pub(crate) async fn read(&self, wish: Wish) -> Result<Read> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        lock(&self.waiting).insert(number, answer);
        writeln!(lock(&self.wishes), "{number} {wish}")?;
        answered.await?
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Gives each answer to whom it is for, until the process has ended: then nobody gets one any more.
fn hand_out(answers: ChildStdout, waiting: &Waiting) {
    for line in BufReader::new(answers)
        .lines()
        .map_while(std::io::Result::ok)
    {
        let Some((number, answer)) = line.split_once(' ') else {
            continue;
        };
        let waits = number
            .parse()
            .ok()
            .and_then(|number| lock(waiting).remove(&number));
        if let Some(waits) = waits {
            waits.send(Read::parse(answer)).ok();
        }
    }
    lock(waiting).clear();
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// -- on the way ----------------------------------------------------------------------------------

/// A key, milliseconds, and the token's text if there is one.
impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.think.as_millis())?;
        match &self.token {
            Some(token) => write!(f, " {token}"),
            None => Ok(()),
        }
    }
}

impl Wish {
    fn parse(text: &str) -> Result<Self> {
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or("a wish is cut off");
        let (key, think) = (word()?.parse()?, word()?.parse()?);
        let think = Duration::from_millis(think);
        let token = words.next().map(str::parse).transpose()?;
        Ok(Self { key, think, token })
    }
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.version, self.node)
    }
}

impl Read {
    fn parse(text: &str) -> Result<Self> {
        let (version, node) = text.split_once(' ').ok_or(text)?;
        let version = version.parse().map_err(|_| text)?;
        let node = node.to_owned();
        Ok(Self { version, node })
    }
}

// -- in the process that is asked ----------------------------------------------------------------

/// If this is that process: does what it is there for, to the end.
pub(crate) fn run() -> Option<ExitCode> {
    let servers = env::var(SERVERS).ok()?;
    let runtime = tokio::runtime::Runtime::new();
    let done = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(serve(&servers)));
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the process that reads: {error}");
            ExitCode::FAILURE
        }
    })
}

async fn serve(servers: &str) -> Result<()> {
    let mut builder = RoutedPool::<Postgres>::builder();
    for (index, server) in servers.split(' ').enumerate() {
        let (name, url) = server
            .split_once('=')
            .ok_or("a server has a name and a URL")?;
        let node = NodeOptions::new(url).name(name);
        builder = match index {
            0 => builder.primary(node),
            _ => builder.replica(node),
        };
    }
    let db = builder.connect().await?;
    let (sender, mut lines) = mpsc::unbounded_channel();
    thread::spawn(move || {
        let lines = std::io::stdin().lines().map_while(std::io::Result::ok);
        lines.for_each(|line| drop(sender.send(line)));
    });
    let mut reads = JoinSet::new();
    while let Some(line) = lines.recv().await {
        reads.spawn(answer(db.clone(), line));
    }
    reads.join_all().await;
    Ok(())
}

async fn answer(db: RoutedPool<Postgres>, line: String) {
    let (number, wish) = line.split_once(' ').unwrap_or((&line, ""));
    let read = async {
        let wish = Wish::parse(wish)?;
        // The user's pause, not a wait for anything.
        tokio::time::sleep(wish.think).await;
        let session = match &wish.token {
            Some(token) => db.session_from(token),
            None => db.session(),
        };
        read(&session, wish.key).await
    };
    match read.await {
        Ok(read) => println!("{number} {read}"),
        Err(error) => println!("{number} {error}"),
    }
}

async fn read(session: &Session<Postgres>, key: i32) -> Result<Read> {
    let version = sqlx::query_scalar("select version from kv where id = $1")
        .bind(key)
        .fetch_one(session)
        .await?;
    let decision = session.last_decision().ok_or("it was decided where")?;
    let node = decision.node.to_string();
    Ok(Read { version, node })
}
