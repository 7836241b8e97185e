//! Names and their addresses, from a scripted resolver.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbrouter::Dialect;
use dbrouter::discover::{
    Discover, DiscoverError, DiscoverErrorKind, Dns, Endpoint, Resolve, Resolved, Servers,
};
use tokio::time::Instant;

/// Answers the same until it is told otherwise.
#[derive(Clone)]
struct Book {
    answer: Arc<Mutex<(Vec<&'static str>, Option<Duration>)>>,
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Book {
    fn new(addresses: &[&'static str], ttl: Option<u64>) -> Self {
        let book = Self {
            answer: Arc::default(),
            asked: Arc::default(),
        };
        book.write(addresses, ttl);
        book
    }

    fn write(&self, addresses: &[&'static str], ttl: Option<u64>) {
        *self.answer.lock().unwrap() = (addresses.to_vec(), ttl.map(Duration::from_secs));
    }

    fn waits(&self) -> Vec<Duration> {
        let asked = self.asked.lock().unwrap();
        asked.windows(2).map(|two| two[1] - two[0]).collect()
    }
}

impl Resolve for Book {
    async fn resolve(&self, host: &str, port: u16) -> Result<Resolved, DiscoverError> {
        assert_eq!(host, "replicas.test");
        self.asked.lock().unwrap().push(Instant::now());
        let (addresses, ttl) = self.answer.lock().unwrap().clone();
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), port);
        let addresses = addresses.into_iter().map(address).collect();
        Ok(Resolved { addresses, ttl })
    }
}

fn dns(book: &Book) -> Dns<Book> {
    Dns::new("replicas.test", 5433).resolver(book.clone())
}

fn nobody() -> Servers {
    Servers::none(Dialect::Postgres)
}

#[tokio::test(start_paused = true)]
async fn each_address_is_a_node_in_whichever_order_they_come() {
    let book = Book::new(&["10.0.0.2", "10.0.0.1", "fd00::1", "10.0.0.2"], None);
    let mut source = dns(&book);
    let set = source.next(&nobody()).await.unwrap();
    let node = |host: &str| Endpoint::host(host, Some(5433));
    assert_eq!(set, [node("10.0.0.1"), node("10.0.0.2"), node("fd00::1")]);
    book.write(&["fd00::1", "10.0.0.1", "10.0.0.2"], None);
    assert_eq!(source.next(&nobody()).await.unwrap(), set);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_kept_for_its_time_to_live() {
    let book = Book::new(&["10.0.0.1"], Some(5));
    let mut source = dns(&book).every(Duration::from_secs(60)).jitter(0.0);
    for ttl in [Some(120), Some(0), None, None] {
        source.next(&nobody()).await.unwrap();
        book.write(&["10.0.0.1"], ttl);
    }
    source.next(&nobody()).await.unwrap();
    let waits: Vec<_> = book.waits().iter().map(Duration::as_secs).collect();
    // A time of zero is a second, and an unknown one the interval.
    assert_eq!(waits, [5, 120, 1, 60]);
}

#[tokio::test(start_paused = true)]
async fn processes_that_start_together_do_not_ask_together() {
    let waits = async |seed| {
        let book = Book::new(&["10.0.0.1"], Some(10));
        let mut source = dns(&book).jitter(0.5).seed(seed);
        for _ in 0..4 {
            source.next(&nobody()).await.unwrap();
        }
        book.waits()
    };
    let (one, same, other) = (waits(1).await, waits(1).await, waits(2).await);
    assert_eq!(one, same);
    assert_ne!(one, other);
    let longest = Duration::from_millis(15_002);
    assert!(
        one.iter()
            .all(|wait| *wait >= Duration::from_secs(10) && *wait <= longest)
    );
}

#[tokio::test(start_paused = true)]
async fn a_name_without_addresses_is_an_error_and_asked_for_again_at_once() {
    let book = Book::new(&[], Some(3600));
    let mut source = dns(&book);
    let error = source.next(&nobody()).await.unwrap_err();
    assert_eq!(error.kind(), DiscoverErrorKind::Empty);
    assert_eq!(
        error.to_string(),
        "\"replicas.test\" has no address of a node"
    );
    book.write(&["10.0.0.1"], None);
    let before = Instant::now();
    assert_eq!(source.next(&nobody()).await.unwrap().len(), 1);
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_closure_says_which_addresses_are_which_nodes() {
    let book = Book::new(&["10.0.0.1", "fd00::1"], None);
    let url = |address: SocketAddr| {
        let ip = address.ip();
        Endpoint::url(format!("postgres://replicas.test/shop?hostaddr={ip}")).name(ip.to_string())
    };
    let mut source = dns(&book).endpoints(move |address| address.is_ipv4().then(|| url(address)));
    let set = source.next(&nobody()).await.unwrap();
    assert_eq!(set, [url("10.0.0.1:5433".parse().unwrap())]);
    book.write(&["fd00::1"], None);
    let error = source.next(&nobody()).await.unwrap_err();
    assert_eq!(error.kind(), DiscoverErrorKind::Empty);
}

/// The real thing: every machine knows this name, and nobody knows the other.
#[tokio::test]
async fn the_systems_resolver_knows_localhost() {
    let set = Dns::new("localhost", 5433).next(&nobody()).await.unwrap();
    let here = [
        Endpoint::host("127.0.0.1", Some(5433)),
        Endpoint::host("::1", Some(5433)),
    ];
    assert!(set.iter().all(|node| here.contains(node)), "{set:?}");
    let unknown = Dns::new("no-such-name.invalid", 5433).next(&nobody()).await;
    assert_eq!(unknown.unwrap_err().kind(), DiscoverErrorKind::Unanswered);
}
