//! A TCP proxy in front of one server, which does to its connections what networks do.
//!
//! ```no_run
//! # async fn example() -> dbrouter_tests::Result<()> {
//! use std::time::Duration;
//! use dbrouter_tests::{any::Kind, proxy::{Mode, Proxy}};
//!
//! let cluster = Kind::Postgres.start(1).await?;
//! let proxy = Proxy::in_front_of(cluster.node(1).port()).await?;
//! let url = proxy.url(&cluster.node(1).url());
//! proxy.set(Mode::Delay(Duration::from_millis(50)));
//! # Ok(())
//! # }
//! ```
//!
//! What is under way when a network stops is not lost: TCP sends it again. So bytes that do not pass are kept, and pass
//! as soon as the mode lets them.
//!
//! A proxy is also an address that moves: [`lead_to`](Proxy::lead_to) points it at another server; and one of a load
//! balancer, which [leads to several](Proxy::balance).

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::Result;

/// When what was sent on a forgotten connection is given up.
const GIVES_UP: Duration = Duration::from_secs(30);

/// What happens to connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They work.
    #[default]
    Pass,
    /// New ones are refused, as if nobody listened. Those that are open work.
    Refuse,
    /// Those that are open are reset, and new ones as soon as they are.
    Reset,
    /// Nothing comes through, in either direction. New ones are opened, and nobody answers.
    Swallow,
    /// The answers do not come through; what is sent to the server does.
    HalfOpen,
    /// A round trip takes so much longer.
    Delay(Duration),
    /// So many bytes a second come through, in each direction.
    Throttle(u32),
}

/// Where connections lead.
#[derive(Debug, Default)]
struct Servers {
    /// They lead to one after the other, in turns.
    ports: Vec<u16>,
    /// How often all that were open have been reset.
    moves: u64,
    /// How often those that were open have been forgotten, and since when they had to be idle for that.
    forgets: u64,
    idle_since: Option<Instant>,
}

/// A proxy on a port of its own. Dropped, it is gone, with all its connections.
#[derive(Debug)]
pub struct Proxy {
    servers: watch::Sender<Servers>,
    port: u16,
    mode: watch::Sender<Mode>,
    accepted: Arc<AtomicUsize>,
    acceptor: JoinHandle<()>,
}

impl Proxy {
    /// Takes a port, and hands on what comes there to the server at `port` of this machine.
    pub async fn in_front_of(port: u16) -> Result<Self> {
        // Keeps the port while nobody listens.
        let reservation = socket(0)?;
        let own = reservation.local_addr()?.port();
        let listener = listen(own)?;
        let (mode, modes) = watch::channel(Mode::Pass);
        let (sender, servers) = watch::channel(Servers {
            ports: vec![port],
            ..Servers::default()
        });
        let accepted = Arc::new(AtomicUsize::new(0));
        let acceptor = Acceptor {
            reservation,
            servers,
            modes,
            accepted: Arc::clone(&accepted),
            connections: JoinSet::new(),
        };
        Ok(Self {
            servers: sender,
            port: own,
            mode,
            accepted,
            acceptor: tokio::spawn(acceptor.run(listener)),
        })
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A URL of a server's that it leads to, by way of the proxy.
    pub fn url(&self, url: &str) -> String {
        let own = format!(":{}", self.port);
        let servers = self.servers.borrow();
        let by_way = |url: String, server| url.replacen(&format!(":{server}"), &own, 1);
        servers.ports.iter().fold(url.to_owned(), by_way)
    }

    /// New connections lead to the server at `port` of this machine from now on. Open ones are reset, as they are when
    /// an address moves.
    pub fn lead_to(&self, port: u16) {
        self.balance([port]);
    }

    /// The same with several servers: connections lead to one after the other, in turns.
    pub fn balance(&self, ports: impl IntoIterator<Item = u16>) {
        self.servers.send_modify(|servers| {
            servers.ports = ports.into_iter().collect();
            servers.moves += 1;
        });
    }

    /// New connections lead to the server at `port` of this machine from now on. Open ones go on leading where they do.
    pub fn lead_new_ones_to(&self, port: u16) {
        self.servers
            .send_modify(|servers| servers.ports = vec![port]);
    }

    /// Forgets all connections that are open, as a firewall does: they carry nothing more, and nobody is told. New ones
    /// work. Half a minute after something was sent on a forgotten one it is reset, as the client's own system gives up in
    /// the end what is never acknowledged.
    pub fn forget(&self) {
        self.forget_idle(Duration::ZERO);
    }

    /// The same for those that have carried nothing for that long.
    pub fn forget_idle(&self, idle: Duration) {
        self.servers.send_modify(|servers| {
            servers.idle_since = Instant::now().checked_sub(idle);
            servers.forgets += 1;
        });
    }

    /// Changes what happens to connections, to those that are open as well.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How many connections have been accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// A socket on that port, which several may have; on any, if it is zero.
fn socket(port: u16) -> Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

fn listen(port: u16) -> Result<TcpListener> {
    Ok(socket(port)?.listen(1024)?)
}

struct Acceptor {
    reservation: TcpSocket,
    servers: watch::Receiver<Servers>,
    modes: watch::Receiver<Mode>,
    accepted: Arc<AtomicUsize>,
    /// They end with it.
    connections: JoinSet<()>,
}

impl Acceptor {
    async fn run(mut self, listener: TcpListener) {
        let mut listener = Some(listener);
        loop {
            let refuses = *self.modes.borrow_and_update() == Mode::Refuse;
            if refuses {
                listener = None;
            } else if listener.is_none() {
                let port = self.reservation.local_addr().map(|address| address.port());
                listener = port.ok().and_then(|port| listen(port).ok());
            }
            let accepted = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                changed = self.modes.changed() => if changed.is_err() { return },
                accepted = accepted => if let Ok((client, _)) = accepted {
                    let turn = self.accepted.fetch_add(1, Ordering::Relaxed);
                    let (servers, modes) = (self.servers.clone(), self.modes.clone());
                    self.connections.spawn(serve(client, turn, servers, modes));
                },
                // Only so that they do not pile up.
                Some(_) = self.connections.join_next() => {}
            }
        }
    }
}

/// One connection, to its end.
async fn serve(
    mut client: TcpStream,
    turn: usize,
    mut servers: watch::Receiver<Servers>,
    mut modes: watch::Receiver<Mode>,
) {
    let opened = modes.wait_for(|mode| *mode != Mode::Swallow).await;
    if opened.map_or(true, |mode| *mode == Mode::Reset) {
        reset(&client);
        return;
    }
    let (server, moves, mut forgets) = {
        let servers = servers.borrow();
        let ports = &servers.ports;
        let server = ports.get(turn % ports.len().max(1)).copied();
        (server, servers.moves, servers.forgets)
    };
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server.unwrap_or(0))).await
    else {
        reset(&client);
        return;
    };
    // A server's answer is not to wait for more.
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let mut resets = modes.clone();
    let last = Last::new();
    let (moved, forgotten) = {
        let (client_in, client_out) = client.split();
        let (server_in, server_out) = server.split();
        let there = pump(
            client_in,
            server_out,
            modes.clone(),
            Direction::There,
            &last,
        );
        let back = pump(server_in, client_out, modes, Direction::Back, &last);
        let mut pumped = pin!(async { tokio::join!(there, back) });
        loop {
            let mut changes = servers.clone();
            tokio::select! {
                _ = &mut pumped => break (false, false),
                _ = resets.wait_for(|mode| *mode == Mode::Reset) => break (false, false),
                moved = servers.wait_for(|servers| servers.moves != moves) => {
                    break (moved.is_ok(), false);
                }
                changed = changes.wait_for(|servers| servers.forgets != forgets) => {
                    let Ok(servers) = changed else { break (false, false) };
                    forgets = servers.forgets;
                    if servers.idle_since.is_some_and(|since| last.is_before(since)) {
                        break (false, true);
                    }
                }
            }
        }
    };
    if forgotten {
        // What the client still sends is lost. When it has closed the connection nothing is left to be shown.
        let mut lost = vec![0; 1 << 16];
        if let Ok(1..) = client.read(&mut lost).await {
            let closed = async { while let Ok(1..) = client.read(&mut lost).await {} };
            if timeout(GIVES_UP, closed).await.is_err() {
                reset(&client);
            }
        }
        return;
    }
    if moved || *resets.borrow() == Mode::Reset {
        reset(&client);
        reset(&server);
    }
}

/// Whoever closes such a socket resets its connection.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().ok();
}

/// When a connection last carried something.
struct Last(Mutex<Instant>);

impl Last {
    fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    fn is_now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn is_before(&self, instant: Instant) -> bool {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) <= instant
    }
}

/// Which way bytes go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    There,
    Back,
}

impl Direction {
    /// Whether bytes come through this way.
    fn is_open(self, mode: Mode) -> bool {
        match mode {
            Mode::Swallow => false,
            Mode::HalfOpen => self == Self::There,
            _ => true,
        }
    }
}

/// Bytes, and when they arrived here.
type Chunk = (Instant, Vec<u8>);

/// Hands on what arrives, each chunk in its time, until there is no more.
async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    modes: watch::Receiver<Mode>,
    direction: Direction,
    last: &Last,
) {
    /// More than is ever under way in a test.
    const CHUNKS: usize = 1024;
    let (sender, receiver) = mpsc::channel(CHUNKS);
    tokio::join!(
        read(from, sender, last),
        write(to, receiver, modes, direction)
    );
}

async fn read(mut from: ReadHalf<'_>, chunks: mpsc::Sender<Chunk>, last: &Last) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        last.is_now();
        let chunk = (Instant::now(), buffer[..count].to_vec());
        if chunks.send(chunk).await.is_err() {
            return;
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut chunks: mpsc::Receiver<Chunk>,
    mut modes: watch::Receiver<Mode>,
    direction: Direction,
) {
    while let Some((arrived, bytes)) = chunks.recv().await {
        let Ok(mode) = modes
            .wait_for(|mode| direction.is_open(*mode))
            .await
            .map(|mode| *mode)
        else {
            return;
        };
        match mode {
            // Half of a round trip.
            Mode::Delay(delay) => sleep_until(arrived + delay / 2).await,
            Mode::Throttle(bytes_per_second) => {
                let seconds = bytes.len() as f64 / f64::from(bytes_per_second.max(1));
                sleep(Duration::from_secs_f64(seconds)).await;
            }
            Mode::Pass | Mode::Refuse | Mode::Reset | Mode::Swallow | Mode::HalfOpen => {}
        }
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // The end comes through like anything else.
    if modes
        .wait_for(|mode| direction.is_open(*mode))
        .await
        .is_ok()
    {
        to.shutdown().await.ok();
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    /// How long something that must not happen is given to happen.
    const MOMENT: Duration = Duration::from_millis(100);

    /// A server that says everything twice, and a proxy in front of it.
    async fn echo() -> Result<Proxy> {
        let listener = listen(0)?;
        let port = listener.local_addr()?.port();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 1 << 16];
                    while let Ok(count @ 1..) = client.read(&mut buffer).await {
                        for _ in 0..2 {
                            client.write_all(&buffer[..count]).await.ok();
                        }
                    }
                });
            }
        });
        Proxy::in_front_of(port).await
    }

    async fn connect(proxy: &Proxy) -> std::io::Result<TcpStream> {
        TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).await
    }

    /// Asks, and returns the answer.
    async fn ask(connection: &mut TcpStream) -> std::io::Result<String> {
        connection.write_all(b"hi").await?;
        answer(connection).await
    }

    async fn answer(connection: &mut TcpStream) -> std::io::Result<String> {
        let mut answer = [0; 4];
        connection.read_exact(&mut answer).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    #[tokio::test]
    async fn connections_pass() -> Result<()> {
        let proxy = echo().await?;
        for number in 1..=3 {
            assert_eq!(ask(&mut connect(&proxy).await?).await?, "hihi");
            assert_eq!(proxy.accepted(), number);
        }
        let url = format!(
            "postgres://app@127.0.0.1:{}/shop",
            proxy.servers.borrow().ports[0]
        );
        let expected = format!("postgres://app@127.0.0.1:{}/shop", proxy.port());
        assert_eq!(proxy.url(&url), expected);
        Ok(())
    }

    #[tokio::test]
    async fn the_end_passes() -> Result<()> {
        let proxy = echo().await?;
        let mut connection = connect(&proxy).await?;
        ask(&mut connection).await?;
        connection.shutdown().await?;
        assert_eq!(connection.read(&mut [0; 1]).await?, 0);
        Ok(())
    }

    #[tokio::test]
    async fn new_ones_are_refused_and_open_ones_work() -> Result<()> {
        let proxy = echo().await?;
        let mut open = connect(&proxy).await?;
        ask(&mut open).await?;
        proxy.set(Mode::Refuse);
        crate::wait::until(async || {
            let refused = connect(&proxy).await.map_err(|error| error.kind());
            refused.is_err_and(|kind| kind == ErrorKind::ConnectionRefused)
        })
        .await;
        assert_eq!(
            connect(&proxy).await.expect_err("refused").kind(),
            ErrorKind::ConnectionRefused
        );
        assert_eq!(ask(&mut open).await?, "hihi");
        proxy.set(Mode::Pass);
        let works = async || match connect(&proxy).await {
            Ok(mut connection) => ask(&mut connection).await.is_ok(),
            Err(_) => false,
        };
        assert!(crate::wait::until(works).await);
        Ok(())
    }

    #[tokio::test]
    async fn open_ones_are_reset_and_new_ones_as_well() -> Result<()> {
        let proxy = echo().await?;
        let mut open = connect(&proxy).await?;
        ask(&mut open).await?;
        proxy.set(Mode::Reset);
        let error = open.read(&mut [0; 1]).await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let mut new = connect(&proxy).await?;
        let error = ask(&mut new).await.expect_err("reset");
        assert!(
            [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&error.kind()),
            "{error}"
        );
        proxy.set(Mode::Pass);
        assert_eq!(ask(&mut connect(&proxy).await?).await?, "hihi");
        Ok(())
    }

    #[tokio::test]
    async fn open_ones_are_forgotten_and_new_ones_work() -> Result<()> {
        let proxy = echo().await?;
        let (mut idle, mut busy) = (connect(&proxy).await?, connect(&proxy).await?);
        ask(&mut idle).await?;
        let since = Instant::now();
        ask(&mut busy).await?;
        proxy.forget_idle(since.elapsed());
        assert_eq!(ask(&mut busy).await?, "hihi");
        assert!(timeout(MOMENT, ask(&mut idle)).await.is_err());
        proxy.forget();
        assert!(timeout(MOMENT, ask(&mut busy)).await.is_err());
        assert_eq!(ask(&mut connect(&proxy).await?).await?, "hihi");
        Ok(())
    }

    #[tokio::test]
    async fn moved_open_ones_are_reset_and_new_ones_lead_to_the_other_server() -> Result<()> {
        let proxy = echo().await?;
        let mut open = connect(&proxy).await?;
        ask(&mut open).await?;
        let other = listen(0)?;
        proxy.lead_to(other.local_addr()?.port());
        let error = open.read(&mut [0; 1]).await.expect_err("reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let mut new = connect(&proxy).await?;
        let (mut server, _) = other.accept().await?;
        server.write_all(b"here").await?;
        assert_eq!(answer(&mut new).await?, "here");
        Ok(())
    }

    #[tokio::test]
    async fn balanced_ones_lead_to_the_servers_in_turns() -> Result<()> {
        let proxy = echo().await?;
        let servers = [listen(0)?, listen(0)?];
        proxy.balance([
            servers[0].local_addr()?.port(),
            servers[1].local_addr()?.port(),
        ]);
        for turn in 0..4 {
            let mut connection = connect(&proxy).await?;
            let (mut server, _) = servers[turn % 2].accept().await?;
            server.write_all(b"here").await?;
            assert_eq!(answer(&mut connection).await?, "here");
        }
        Ok(())
    }

    #[tokio::test]
    async fn what_is_swallowed_comes_when_the_network_is_back() -> Result<()> {
        let proxy = echo().await?;
        let mut open = connect(&proxy).await?;
        ask(&mut open).await?;
        proxy.set(Mode::Swallow);
        let mut new = connect(&proxy).await?;
        for connection in [&mut open, &mut new] {
            assert!(timeout(MOMENT, ask(connection)).await.is_err());
        }
        proxy.set(Mode::Pass);
        for connection in [&mut open, &mut new] {
            assert_eq!(answer(connection).await?, "hihi");
        }
        Ok(())
    }

    #[tokio::test]
    async fn half_open_the_server_hears_and_is_not_heard() -> Result<()> {
        let listener = listen(0)?;
        let proxy = Proxy::in_front_of(listener.local_addr()?.port()).await?;
        let mut client = connect(&proxy).await?;
        let (mut server, _) = listener.accept().await?;
        proxy.set(Mode::HalfOpen);
        client.write_all(b"question").await?;
        let mut heard = [0; 8];
        server.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"question");
        server.write_all(b"answer").await?;
        assert!(timeout(MOMENT, client.read(&mut heard)).await.is_err());
        proxy.set(Mode::Pass);
        assert_eq!(client.read(&mut heard).await?, 6);
        Ok(())
    }

    #[tokio::test]
    async fn a_round_trip_takes_so_much_longer() -> Result<()> {
        const DELAY: Duration = Duration::from_millis(60);
        let proxy = echo().await?;
        let mut one = connect(&proxy).await?;
        ask(&mut one).await?;
        proxy.set(Mode::Delay(DELAY));
        let begun = Instant::now();
        assert_eq!(ask(&mut one).await?, "hihi");
        assert!(begun.elapsed() >= DELAY, "{:?}", begun.elapsed());
        Ok(())
    }

    #[tokio::test]
    async fn bytes_pass_no_faster_than_that() -> Result<()> {
        let proxy = echo().await?;
        let mut connection = connect(&proxy).await?;
        proxy.set(Mode::Throttle(100_000));
        let begun = Instant::now();
        connection.write_all(&[7; 10_000]).await?;
        let mut answer = vec![0; 20_000];
        connection.read_exact(&mut answer).await?;
        assert!(begun.elapsed() >= Duration::from_millis(200));
        Ok(())
    }

    #[tokio::test]
    async fn dropped_it_is_gone_with_its_connections() -> Result<()> {
        let proxy = echo().await?;
        let port = proxy.port();
        let mut connection = connect(&proxy).await?;
        ask(&mut connection).await?;
        drop(proxy);
        assert_eq!(connection.read(&mut [0; 1]).await.unwrap_or(0), 0);
        let gone = async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .is_err()
        };
        assert!(crate::wait::until(gone).await);
        Ok(())
    }
}
