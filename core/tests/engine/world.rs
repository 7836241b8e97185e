//! A primary and its replicas, scripted: what they answer to the monitor, and when.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use dbrouter::policy::Policy;
use dbrouter::{
    Answer, Backend, Candidates, Clock, Cluster, ClusterBuilder, Dialect, Fault, HealthSettings,
    Instant, MonitorSettings, Node, NodeSpec, Pressure, Question, Reason, Request, Route,
    RouteError, Router, SessionState, Settings, Tags,
};
use tokio::time;

/// How a server behaves towards the monitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Answering,
    Refusing,
    /// It has no room for the monitor's connection.
    Full,
    Hanging,
    Panicking,
    Garbling,
}

/// One scripted server, which is its own backend. Clones are the same server.
#[derive(Clone, Debug)]
pub(crate) struct Server(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    mood: Mood,
    /// The monitor's connections up to this one have been closed.
    closed: u32,
    latency: Duration,
    standby: bool,
    waiting: Waiting,
    identity: Option<String>,
    /// The server that this address leads to, if it is not one itself.
    leads_to: Option<Server>,
    database: String,
    timeline: u32,
    /// How far the log is written.
    written: u64,
    /// How much of that is not flushed.
    unflushed: u64,
    flushes: Flushing,
    /// Where replay stands still; `None` if it follows the primary.
    replayed: Option<Option<u64>>,
    primary: Option<Server>,
    /// The timeline of a standby that does not follow its primary.
    astray: Option<u32>,
    asked: Vec<(time::Instant, Asked)>,
    /// When it was asked at leisure, and what it answers then.
    consulted: Vec<time::Instant>,
    knows: Option<&'static str>,
    /// What it answers to [`SIGN`].
    sign: &'static str,
    /// Its pool has no connection to give.
    full: bool,
    /// Its pool waits for a connection that does not come.
    stuck: bool,
    /// Its pool cannot connect.
    refuses: bool,
    /// How often that was tried.
    refused: usize,
    /// Its pool's logins are refused, with this error.
    login: Option<&'static str>,
    /// How long a connection takes to open.
    opening: Duration,
    /// How many connections it takes from the pool, and what the pool does when there are so many.
    room: Option<(u32, NoRoom)>,
    /// Its pool closes each connection that comes back.
    closes: bool,
    /// The monitor's connections so far, and those of them that carry nothing any longer.
    probes: u32,
    forgotten: u32,
    pool: Pool,
}

/// What a pool does whose server has no room for another connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// It says so.
    IsAnError,
    /// It tries again and again, and takes no connection that has come back meanwhile.
    IsTriedAgain,
}

/// A connection of the monitor's.
#[derive(Debug)]
pub(crate) struct Probe {
    server: Server,
    number: u32,
}

/// A server's pool: its connections are numbers.
#[derive(Debug, Default)]
struct Pool {
    /// How many there may be at most, if that is limited.
    most: Option<u32>,
    /// The one that came back first is lent first.
    idle: VecDeque<u32>,
    opened: u32,
    returned: Arc<tokio::sync::Notify>,
    /// The last one came back where a pool can spawn a task.
    inside: bool,
}

/// A connection to a server, back in its pool when it is dropped.
#[derive(Debug)]
pub(crate) struct Lent {
    server: Server,
    pub(crate) number: u32,
    pub(crate) access: Access,
}

/// What a connection was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Unrestricted,
    ReadOnly,
    /// For a single statement.
    ReadOnlyOnce,
}

impl Deref for Lent {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Lent {
    fn with(mut self, access: Access) -> Self {
        self.access = access;
        self
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut state = self.server.state();
        match state.closes {
            true => state.pool.opened -= 1,
            false => state.pool.idle.push_back(self.number),
        }
        state.pool.inside = tokio::runtime::Handle::try_current().is_ok();
        state.pool.returned.notify_one();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    WhoItIs,
    WhereItStands,
    ToWait,
    ToFlush,
}

/// What a server does that is told to flush its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushing {
    Flushes,
    /// Its version does not know how to.
    Unknown,
}

/// What a server does that is told to wait until it has replayed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Its version does not know how to.
    Unknown,
    Waits,
    /// It says that it knows, and that is an error all the same.
    Fails,
}

/// Asks a server whether what it knows has changed.
pub(crate) const SIGN: Question = Question::new("has anything changed", 1);

impl Server {
    pub(crate) fn primary() -> Self {
        Self(Arc::new(Mutex::new(State {
            mood: Mood::Answering,
            closed: 0,
            latency: Duration::ZERO,
            standby: false,
            waiting: Waiting::Unknown,
            identity: Some("7301".to_owned()),
            leads_to: None,
            database: "shop".to_owned(),
            timeline: 1,
            written: 1000,
            unflushed: 0,
            flushes: Flushing::Flushes,
            replayed: None,
            primary: None,
            astray: None,
            asked: Vec::new(),
            consulted: Vec::new(),
            knows: None,
            sign: "as it was",
            full: false,
            stuck: false,
            refuses: false,
            refused: 0,
            login: None,
            opening: Duration::ZERO,
            room: None,
            closes: false,
            probes: 0,
            forgotten: 0,
            pool: Pool::default(),
        })))
    }

    /// A standby that follows `primary`.
    pub(crate) fn standby_of(primary: &Self) -> Self {
        let standby = Self::primary();
        standby.state().standby = true;
        standby.state().primary = Some(primary.clone());
        standby
    }

    /// An address that leads to `server`. Its mood is the network's.
    pub(crate) fn address_of(server: &Self) -> Self {
        let address = Self::primary();
        address.leads_to(server);
        address
    }

    /// The address leads to another server from now on. Connections to the former one are those of a pooler: they stay,
    /// and lead to the new one as well.
    pub(crate) fn leads_to(&self, server: &Self) {
        self.state().leads_to = Some(server.clone());
    }

    /// The server that answers here.
    fn server(&self) -> Self {
        let leads_to = self.state().leads_to.clone();
        leads_to.unwrap_or_else(|| self.clone())
    }

    /// Whether both are the same server.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// What it does when it is told to wait.
    pub(crate) fn waiting(&self, waiting: Waiting) {
        self.state().waiting = waiting;
    }

    /// How often it was told to wait, or asked where it stands.
    pub(crate) fn asked_about(&self, what: Asked) -> usize {
        let state = self.state();
        state
            .asked
            .iter()
            .filter(|(_, asked)| *asked == what)
            .count()
    }

    /// Whether its pool has no connection to give.
    pub(crate) fn full(&self, full: bool) {
        self.state().full = full;
    }

    /// Whether its pool waits for a connection that does not come, though it is not full.
    pub(crate) fn stuck(&self, stuck: bool) {
        self.state().stuck = stuck;
    }

    /// Whether its pool cannot connect, and says so.
    pub(crate) fn refuses_connections(&self, refuses: bool) {
        self.state().refuses = refuses;
    }

    /// Whether its pool's logins are refused, and with which error.
    pub(crate) fn refuses_logins(&self, error: Option<&'static str>) {
        self.state().login = error;
    }

    /// How long a connection takes to open from now on, the monitor's and the pool's.
    pub(crate) fn opens_in(&self, time: Duration) {
        self.state().opening = time;
    }

    /// It has room for so many of the pool's connections.
    pub(crate) fn has_room_for(&self, connections: u32, what: NoRoom) {
        self.state().room = Some((connections, what));
    }

    /// Its pool closes each connection that comes back, so that none is ever idle.
    pub(crate) fn closes_what_comes_back(&self) {
        self.state().closes = true;
    }

    /// The monitor's connections that are open carry nothing any longer, and are not closed.
    pub(crate) fn forget(&self) {
        let mut state = self.state();
        state.forgotten = state.probes;
    }

    /// How often its pool could not connect.
    pub(crate) fn refused_connections(&self) -> usize {
        self.state().refused
    }

    /// Its pool has so many connections at most.
    pub(crate) fn at_most(&self, most: u32) {
        self.state().pool.most = Some(most);
    }

    /// How many connections are out of its pool.
    pub(crate) fn lent(&self) -> u32 {
        let state = self.state();
        state.pool.opened - u32::try_from(state.pool.idle.len()).unwrap()
    }

    /// Whether the connection that came back last did so where a pool can spawn a task.
    pub(crate) fn was_returned_inside_a_runtime(&self) -> bool {
        self.state().pool.inside
    }

    pub(crate) fn is_standby(&self) -> bool {
        self.state().standby
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.state().mood = mood;
    }

    pub(crate) fn latency(&self, latency: Duration) {
        self.state().latency = latency;
    }

    /// A commit, and the position that shows it.
    pub(crate) fn commit(&self) -> u64 {
        let mut state = self.state();
        state.written += 100;
        state.written
    }

    pub(crate) fn unflushed(&self, bytes: u64) {
        self.state().unflushed = bytes;
    }

    /// What it does when it is told to flush its log.
    pub(crate) fn flushing(&self, flushing: Flushing) {
        self.state().flushes = flushing;
    }

    /// The log is another one from now on.
    pub(crate) fn fork(&self, timeline: u32, written: u64) {
        let mut state = self.state();
        state.timeline = timeline;
        state.written = written;
    }

    /// A standby says that it follows this timeline, whatever its primary's is; `None`: its primary's.
    pub(crate) fn astray(&self, timeline: Option<u32>) {
        self.state().astray = timeline;
    }

    pub(crate) fn identity(&self, identity: Option<&str>) {
        self.state().identity = identity.map(str::to_owned);
    }

    /// Its connections lead to this database.
    pub(crate) fn database(&self, database: &str) {
        database.clone_into(&mut self.state().database);
    }

    pub(crate) fn promote(&self) {
        let at = self.shows();
        let mut state = self.state();
        state.standby = false;
        state.written = at;
    }

    pub(crate) fn demote(&self) {
        let mut state = self.state();
        state.standby = true;
        state.replayed = Some(Some(state.written));
    }

    /// Replay stands still.
    pub(crate) fn pause(&self) {
        let at = self.shows();
        self.state().replayed = Some(Some(at));
    }

    /// Replay stands still at a position; `None` is a standby that has replayed nothing.
    pub(crate) fn stand_at(&self, position: Option<u64>) {
        self.state().replayed = Some(position);
    }

    pub(crate) fn resume(&self) {
        self.state().replayed = None;
    }

    /// The server has been restarted: connections to it are broken.
    pub(crate) fn restart(&self) {
        let mut state = self.state();
        state.closed = state.probes;
    }

    /// The position up to which a read sees the log.
    pub(crate) fn shows(&self) -> u64 {
        let state = self.state();
        match (&state.primary, state.replayed) {
            (_, Some(position)) => position.unwrap_or(0),
            (Some(primary), None) if state.standby => primary.state().written,
            _ => state.written,
        }
    }

    pub(crate) fn asked(&self) -> usize {
        self.state().asked.len()
    }

    pub(crate) fn last_asked(&self) -> Asked {
        self.state().asked.last().unwrap().1
    }

    /// When it was asked.
    pub(crate) fn times(&self) -> Vec<time::Instant> {
        self.state().asked.iter().map(|(time, _)| *time).collect()
    }

    /// What it answers when it is asked at leisure; at first that fails.
    pub(crate) fn knows(&self, what: &'static str) {
        self.state().knows = Some(what);
    }

    /// What it answers to [`SIGN`] from now on.
    pub(crate) fn sign(&self, sign: &'static str) {
        self.state().sign = sign;
    }

    /// When it was asked at leisure, [`SIGN`] not counted.
    pub(crate) fn consulted(&self) -> Vec<time::Instant> {
        self.state().consulted.clone()
    }

    fn answer(&self, about: Asked) -> Answer {
        let shown = self.shows();
        let state = self.state();
        let standby = state.standby;
        let timeline = match (&state.primary, state.astray) {
            (Some(primary), None) if standby => primary.state().timeline,
            (_, astray) => astray.unwrap_or(state.timeline),
        };
        let location = |position: u64| Some(format!("{:X}/{:X}", position >> 32, position as u32));
        let of = |role: bool, value: Option<String>| value.filter(|_| role == standby);
        let replayed = (state.replayed != Some(None)).then_some(shown);
        let columns = [
            Some(standby.to_string()),
            of(true, replayed.and_then(location)),
            of(false, location(state.written)),
            of(false, location(state.written - state.unflushed)),
            of(false, Some(format!("{:08X}", state.timeline))),
            Some("16MB".to_owned()),
            Some("200ms".to_owned()),
            state.identity.clone().filter(|_| about == Asked::WhoItIs),
            of(true, Some(timeline.to_string())).filter(|_| about == Asked::WhoItIs),
            Some(match state.waiting {
                Waiting::Unknown => "180004".to_owned(),
                Waiting::Waits | Waiting::Fails => "190000".to_owned(),
            })
            .filter(|_| about == Asked::WhoItIs),
            Some(format!("{:p}", Arc::as_ptr(&self.0))),
            Some(state.database.clone()).filter(|_| about == Asked::WhoItIs),
        ];
        columns.into_iter().collect()
    }
}

/// The position and the time of `WAIT FOR LSN '0/A0' WITH (MODE 'standby_replay', TIMEOUT '100ms', NO_THROW)`.
fn told(sql: &str) -> (u64, Duration) {
    let mut quoted = sql.split('\'').skip(1).step_by(2);
    let (high, low) = quoted.next().unwrap().split_once('/').unwrap();
    let [high, low] = [high, low].map(|half| u64::from_str_radix(half, 16).unwrap());
    let limit = quoted.nth(1).unwrap().strip_suffix("ms").unwrap();
    (high << 32 | low, millis(limit.parse().unwrap()))
}

/// What a classifier of the tests asks.
pub(crate) const TO_LEARN: &str = "select everything";

#[derive(Debug)]
pub(crate) struct Failure(pub(crate) &'static str);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Failure {}

impl Backend for Server {
    type Error = Failure;
    type Connection = Lent;
    type Probe = Probe;

    fn refused(_: RouteError) -> Failure {
        Failure("refused by the router")
    }

    async fn acquire(&self) -> Result<Lent, Failure> {
        let server = self.server();
        server.lend().await
    }

    async fn acquire_read_only(&self) -> Result<Lent, Failure> {
        let lent = self.acquire().await?;
        Ok(lent.with(Access::ReadOnly))
    }

    async fn acquire_read_only_once(&self) -> Result<Lent, Failure> {
        let lent = self.acquire().await?;
        Ok(lent.with(Access::ReadOnlyOnce))
    }

    fn pressure(&self) -> Pressure {
        let (full, most, idle) = {
            let state = self.state();
            (state.full, state.pool.most, state.pool.idle.len() as u32)
        };
        let max = most.unwrap_or(10);
        let in_use = match (full, most) {
            (true, _) => max,
            (false, Some(_)) => self.lent(),
            (false, None) => 2,
        };
        Pressure {
            in_use,
            idle,
            waiting: None,
            max,
        }
    }

    fn fault(failure: &Failure) -> Fault {
        match failure.0 {
            "no room" => Fault::Busy,
            "read-only" => Fault::ReadOnly,
            "not in recovery" => Fault::Unsupported,
            "no such table" | "no such role" => Fault::Missing,
            "conflict with recovery" => Fault::Conflict,
            "syntax error" => Fault::Other,
            _ => Fault::Unavailable,
        }
    }

    async fn open_probe(&self) -> Result<Probe, Failure> {
        let opening = self.state().opening;
        if !opening.is_zero() {
            time::sleep(opening).await;
        }
        let mut state = self.state();
        state.probes += 1;
        let number = state.probes;
        let server = self.clone();
        Ok(Probe { server, number })
    }

    async fn ask(probe: &mut Probe, question: &Question) -> Result<Answer, Failure> {
        if probe.number <= probe.server.state().forgotten {
            std::future::pending::<()>().await;
        }
        probe.server.answer_to(probe.number, question).await
    }
}

impl Server {
    async fn answer_to(&self, number: u32, question: &Question) -> Result<Answer, Failure> {
        // What a classifier asks, and not the monitor.
        if *question == SIGN {
            let sign = self.state().sign;
            return Ok([Some(sign.to_owned())].into_iter().collect());
        }
        if question.sql() == TO_LEARN || question.sql().contains("pg_proc") {
            let mut state = self.state();
            state.consulted.push(time::Instant::now());
            let knows = state.knows.ok_or(Failure("no such relation"))?;
            return Ok([Some(knows.to_owned())].into_iter().collect());
        }
        let about = match question.sql() {
            sql if sql.contains("system_identifier") => Asked::WhoItIs,
            sql if sql.starts_with("WAIT FOR") => Asked::ToWait,
            sql if sql.contains("pg_logical_emit_message") => Asked::ToFlush,
            _ => Asked::WhereItStands,
        };
        let latency = {
            let mut state = self.state();
            state.asked.push((time::Instant::now(), about));
            state.latency
        };
        time::sleep(latency / 2).await;
        let (mood, broken) = {
            let state = self.state();
            (state.mood, number <= state.closed)
        };
        let server = self.server();
        let mood = match mood {
            Mood::Answering => server.state().mood,
            mood => mood,
        };
        let answer = match about {
            Asked::ToWait if mood == Mood::Answering && !broken => server.waited(question).await?,
            Asked::ToFlush if server.state().flushes == Flushing::Unknown => {
                return Err(Failure("syntax error"));
            }
            Asked::ToFlush => {
                server.state().unflushed = 0;
                [None, Some("0/1".to_owned())].into_iter().collect()
            }
            about => server.answer(about),
        };
        time::sleep(latency / 2).await;
        match mood {
            _ if broken => Err(Failure("connection closed")),
            Mood::Answering => Ok(answer),
            Mood::Refusing => Err(Failure("connection refused")),
            Mood::Full => Err(Failure("no room")),
            Mood::Hanging => std::future::pending().await,
            Mood::Panicking => panic!("the adapter has a bug"),
            Mood::Garbling => Ok([Some("maybe".to_owned())].into_iter().collect()),
        }
    }
}

impl Server {
    async fn lend(&self) -> Result<Lent, Failure> {
        while self.state().stuck {
            time::sleep(Duration::from_millis(1)).await;
        }
        loop {
            let returned = {
                let mut state = self.state();
                if state.full {
                    return Err(Failure("no room"));
                }
                if let Some(error) = state.login {
                    return Err(Failure(error));
                }
                if state.refuses {
                    state.refused += 1;
                    return Err(Failure("connection refused"));
                }
                let (room, opening) = (state.room, state.opening);
                let pool = &mut state.pool;
                if let Some(number) = pool.idle.pop_front() {
                    return Ok(self.hands_out(number));
                }
                match pool.most {
                    Some(most) if pool.opened >= most => Err(Arc::clone(&pool.returned)),
                    _ => Ok((room, opening)),
                }
            };
            let (room, opening) = match returned {
                Ok(opens) => opens,
                Err(returned) => {
                    returned.notified().await;
                    continue;
                }
            };
            if !opening.is_zero() {
                time::sleep(opening).await;
            }
            loop {
                let opened = {
                    let mut state = self.state();
                    let has_room = room.is_none_or(|(room, _)| state.pool.opened < room);
                    state.pool.opened += u32::from(has_room);
                    has_room.then_some(state.pool.opened)
                };
                match (opened, room) {
                    (Some(number), _) => return Ok(self.hands_out(number)),
                    (None, Some((_, NoRoom::IsAnError))) => return Err(Failure("no room")),
                    (None, _) => time::sleep(Duration::from_millis(10)).await,
                }
            }
        }
    }

    fn hands_out(&self, number: u32) -> Lent {
        let (server, access) = (self.clone(), Access::Unrestricted);
        Lent {
            server,
            number,
            access,
        }
    }

    /// Waits as it was told, and says how that ended.
    async fn waited(&self, question: &Question) -> Result<Answer, Failure> {
        let (position, limit) = told(question.sql());
        let end = time::Instant::now() + limit;
        let status = loop {
            let (waiting, standby) = {
                let state = self.state();
                (state.waiting, state.standby)
            };
            match waiting {
                Waiting::Waits => {}
                Waiting::Unknown | Waiting::Fails => return Err(Failure("syntax error")),
            }
            if !standby {
                break "not in recovery";
            } else if self.shows() >= position {
                break "success";
            } else if time::Instant::now() >= end {
                break "timeout";
            }
            time::sleep(Duration::from_micros(100)).await;
        };
        Ok([Some(status.to_owned())].into_iter().collect())
    }
}

/// Shows Tokio's time, which a test may pause, and ticks at each look, as real time does.
#[derive(Debug)]
struct TokioClock {
    begun: time::Instant,
    ticks: AtomicU64,
}

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        let tick = Duration::from_micros(2 * self.ticks.fetch_add(1, Ordering::SeqCst));
        Instant::ORIGIN + Duration::from_secs(1) + self.begun.elapsed() + tick
    }
}

pub(crate) fn clock() -> impl Clock {
    TokioClock {
        begun: time::Instant::now(),
        ticks: AtomicU64::new(0),
    }
}

pub(crate) fn settings() -> Settings {
    Settings::new().clock(clock()).policy(last).health(health())
}

/// Who is back has all of its share, so that the policy alone says what goes where.
pub(crate) fn health() -> HealthSettings {
    HealthSettings::new().slow_start(Duration::ZERO)
}

/// A policy that is easy to predict: with the primary among the candidates, it is the first.
pub(crate) fn last(candidates: Candidates<'_>, _: &Request) -> Option<usize> {
    candidates.len().checked_sub(1)
}

/// A router over scripted servers.
pub(crate) struct World {
    pub(crate) db: Cluster<Server>,
    pub(crate) primary: Server,
    pub(crate) replicas: Vec<Server>,
}

impl World {
    /// A primary and so many replicas, all well, a predictable policy, and virtual time.
    pub(crate) async fn of(replicas: usize) -> Self {
        Self::with(settings(), vec![NodeSpec::new(); replicas]).await
    }

    pub(crate) async fn under(policy: impl Policy, replicas: usize) -> Self {
        Self::with(settings().policy(policy), vec![NodeSpec::new(); replicas]).await
    }

    pub(crate) async fn with(settings: Settings, replicas: Vec<NodeSpec>) -> Self {
        let primary = Server::primary();
        let servers: Vec<_> = replicas
            .iter()
            .map(|_| Server::standby_of(&primary))
            .collect();
        let mut builder = builder(settings).primary(NodeSpec::new(), primary.clone());
        for (spec, server) in replicas.into_iter().zip(&servers) {
            builder = builder.replica(spec, server.clone());
        }
        Self {
            db: builder.connect().await.unwrap(),
            primary,
            replicas: servers,
        }
    }

    pub(crate) fn node(&self, name: &str) -> Arc<Node<Server>> {
        self.db.node(name).unwrap()
    }

    /// A read that ends at once: its node and the reason.
    pub(crate) fn read(&self, session: &SessionState) -> (String, Reason) {
        self.went(&Request::read(), session)
    }

    /// A write that ends at once.
    pub(crate) fn write(&self, session: &SessionState) {
        self.primary.commit();
        drop(self.db.route(&Request::write(), session).unwrap());
    }

    /// Where a request goes and why, if it ends at once.
    pub(crate) fn went(&self, request: &Request, session: &SessionState) -> (String, Reason) {
        self.goes(request, session).unwrap()
    }

    pub(crate) fn goes(
        &self,
        request: &Request,
        session: &SessionState,
    ) -> Result<(String, Reason), RouteError> {
        let route = self.db.route(request, session)?;
        Ok((name(&route), route.reason()))
    }

    /// Traffic finds that a node does not answer.
    pub(crate) fn lose(&self, name: &str) {
        let node = self.node(name);
        let session = self.db.session();
        let only = Request::read()
            .preference(dbrouter::Preference::Nearest)
            .consistency(dbrouter::Consistency::Eventual);
        let mut request = only;
        for other in self.db.nodes() {
            if other.id() != node.id() {
                request.exclude(other.id());
            }
        }
        let route = self.db.route(&request, &session).unwrap();
        assert_eq!(route.node().id(), node.id());
        route.report(Fault::Unavailable, &"connection reset");
        route.without_effect();
    }
}

/// A router of another process, over the same servers.
pub(crate) async fn router(settings: Settings, world: &World) -> Cluster<Server> {
    let mut builder = builder(settings).primary(NodeSpec::new(), world.primary.clone());
    for server in &world.replicas {
        builder = builder.replica(NodeSpec::new(), server.clone());
    }
    builder.connect().await.unwrap()
}

pub(crate) fn builder(settings: Settings) -> ClusterBuilder<Server> {
    Cluster::builder(Dialect::Postgres, settings)
}

pub(crate) fn name(route: &Route<Server>) -> String {
    route.node().name().to_string()
}

pub(crate) fn zone(zone: &str) -> Tags {
    Tags::new().with("zone", zone)
}

/// A monitor that nobody notices, for tests of what happens between two rounds.
pub(crate) fn rarely() -> MonitorSettings {
    MonitorSettings::new().interval(Duration::from_secs(3600))
}

/// Lets virtual time pass.
pub(crate) async fn pass(millis: u64) {
    time::sleep(Duration::from_millis(millis)).await;
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
