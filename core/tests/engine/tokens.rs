//! What a session must see, handed on to another session, mostly of another process.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use dbrouter::{
    Cluster, Dialect, NodeSpec, Reason, Request, Router, SessionState, Settings, Token,
};
use proptest::prelude::*;

use crate::world::{Mood, Server, World, millis, pass, rarely, router, settings};

/// Two processes over the same servers: each has a router of its own.
struct Site {
    /// Where is written.
    world: World,
    /// Where is read.
    other: World,
}

impl Site {
    async fn of(replicas: usize) -> Self {
        let world = World::of(replicas).await;
        Self::beside(world, settings()).await
    }

    async fn beside(world: World, settings: Settings) -> Self {
        let other = World {
            db: router(settings, &world).await,
            primary: world.primary.clone(),
            replicas: world.replicas.clone(),
        };
        Self { world, other }
    }

    /// The token of a write that no replica shows.
    async fn written(&self) -> Token {
        self.world.replicas.iter().for_each(Server::pause);
        let session = self.world.db.session();
        self.world.write(&session);
        self.world.db.token(&session).await.unwrap()
    }

    /// A session of the other process.
    fn session(&self, token: &Token) -> SessionState {
        let session = self.other.db.session();
        self.other.db.observe(&session, token);
        session
    }
}

#[tokio::test(start_paused = true)]
async fn who_wrote_nothing_has_no_token_and_asks_nobody() {
    let site = Site::beside(
        World::with(settings().monitor(rarely()), vec![NodeSpec::new()]).await,
        settings().monitor(rarely()),
    )
    .await;
    let session = site.world.db.session();
    let asked = site.world.primary.asked();
    site.world.read(&session);
    assert_eq!(site.world.db.token(&session).await, None);
    assert_eq!(site.world.db.token(&site.world.db.session()).await, None);
    assert_eq!(site.world.primary.asked(), asked);
    // What others have written is not the session's own.
    site.world.db.observe(&session, &Token::UNPLACED);
    assert_eq!(site.world.db.token(&session).await, None);
    assert!(site.world.db.token_with_reads(&session).await.is_some());
    let new = site.world.db.session();
    assert_eq!(site.world.db.token_with_reads(&new).await, None);
}

#[tokio::test(start_paused = true)]
async fn what_was_written_is_seen_in_another_process() {
    let site = Site::of(1).await;
    let token = site.written().await;
    assert_eq!(
        site.other.read(&site.other.db.session()).0,
        "replica-1",
        "without the token, the past is shown"
    );
    let session = site.session(&token);
    assert_eq!(
        site.other.read(&session),
        ("primary".to_owned(), Reason::NotFresh)
    );
    site.other.replicas[0].resume();
    pass(150).await;
    assert_eq!(site.other.read(&session).0, "replica-1");
    // Who comes by later finds it replayed, and waits for nothing.
    let session = site.session(&token);
    assert_eq!(site.other.read(&session).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn one_replica_may_have_it_and_another_not() {
    let site = Site::of(2).await;
    let token = site.written().await;
    site.other.replicas[0].resume();
    // The last one would be chosen.
    pass(150).await;
    assert_eq!(site.other.read(&site.other.db.session()).0, "replica-2");
    assert_eq!(site.other.read(&site.session(&token)).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_tokens_cost_one_question() {
    let world = World::with(settings().monitor(rarely()), vec![NodeSpec::new()]).await;
    let sessions: Vec<_> = (0..1000).map(|_| world.db.session()).collect();
    pass(500).await;
    sessions.iter().for_each(|session| world.write(session));
    let asked = world.primary.asked();
    let tokens: Vec<_> = sessions
        .iter()
        .map(|session| {
            let (db, session) = (world.db.clone(), session.clone());
            tokio::spawn(async move { db.token(&session).await.unwrap() })
        })
        .collect();
    for token in tokens {
        token.await.unwrap();
    }
    assert_eq!(world.primary.asked() - asked, 1);
    // From now on the answer is known.
    for session in &sessions {
        world.db.token(session).await.unwrap();
    }
    assert_eq!(world.primary.asked() - asked, 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_under_way_is_in_the_token_once_it_may_have_been_committed() {
    let site = Site::of(1).await;
    let session = site.world.db.session();
    site.world.replicas[0].pause();
    let route = site
        .world
        .db
        .route(&Request::write(), &session)
        .unwrap()
        .hold_open();
    site.world.primary.commit();
    // The router has not seen the commit, and never may: some ORMs' own types hide it.
    let token = site.world.db.token(&session).await.unwrap();
    assert_eq!(site.other.read(&site.session(&token)).1, Reason::NotFresh);
    drop(route);
}

#[tokio::test(start_paused = true)]
async fn of_two_parents_both_are_seen() {
    let site = Site::of(1).await;
    let first = site.written().await;
    site.world.replicas[0].resume();
    pass(150).await;
    let second = site.written().await;
    for tokens in [[&first, &second], [&second, &first]] {
        let session = site.session(&first);
        assert_eq!(site.other.read(&session).0, "replica-1");
        let session = site.other.db.session();
        tokens
            .iter()
            .for_each(|token| site.other.db.observe(&session, token));
        assert_eq!(site.other.read(&session).1, Reason::NotFresh);
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_read_is_seen_again_if_that_is_wanted() {
    let site = Site::of(2).await;
    site.world.replicas[1].pause();
    site.world.primary.commit();
    pass(150).await;
    // Somebody else wrote; this session read it.
    let session = site.world.db.session();
    let other = Request::read().preference(dbrouter::Preference::Primary);
    assert_eq!(site.world.went(&other, &session).0, "primary");
    assert_eq!(site.world.db.token(&session).await, None);
    let token = site.world.db.token_with_reads(&session).await.unwrap();
    assert_eq!(site.other.read(&site.other.db.session()).0, "replica-2");
    let session = site.session(&token);
    assert_ne!(site.other.read(&session).0, "replica-2");
    pass(150).await;
    assert_eq!(site.other.read(&session).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn the_primary_does_not_answer_and_the_token_says_of_no_place() {
    for mood in [Mood::Refusing, Mood::Hanging, Mood::Garbling] {
        let site = Site::of(1).await;
        let session = site.world.db.session();
        site.world.replicas[0].pause();
        site.world.write(&session);
        site.world.primary.mood(mood);
        let token = site.world.db.token(&session).await.unwrap();
        assert!(token.issued().is_some());
        site.world.primary.mood(Mood::Answering);
        pass(5000).await;
        let session = site.session(&token);
        assert_eq!(site.other.read(&session).1, Reason::NotFresh, "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_primary_is_not_waited_for() {
    let world = World::of(1).await;
    let session = world.db.session();
    world.write(&session);
    world.primary.mood(Mood::Refusing);
    pass(500).await;
    let mut token = pin!(world.db.token(&session));
    assert!(at_once(token.as_mut()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_token_from_before_a_failover_costs_the_freshness_of_now() {
    let site = Site::of(1).await;
    let token = site.written().await;
    site.world.replicas[0].resume();
    site.world.primary.fork(2, 1050);
    pass(500).await;
    let session = site.session(&token);
    assert_eq!(site.other.read(&session).1, Reason::NotFresh);
    pass(50).await;
    assert_eq!(site.other.read(&session).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_router_without_replicas_has_tokens_for_those_that_have_some() {
    let site = Site::of(1).await;
    site.world.replicas[0].pause();
    let connected = crate::world::builder(settings())
        .primary(NodeSpec::new(), site.world.primary.clone())
        .connect()
        .await
        .unwrap();
    let single = Cluster::single(Dialect::Postgres, settings(), site.world.primary.clone());
    for db in [connected, single] {
        let session = db.session();
        drop(db.route(&Request::write(), &session).unwrap());
        site.world.primary.commit();
        let token = db.token(&session).await.unwrap();
        pass(500).await;
        let session = site.session(&token);
        assert_eq!(site.other.read(&session).1, Reason::NotFresh);
        site.other.replicas[0].resume();
        pass(150).await;
        // It says of a place: one that has been reached is no reason to wait.
        assert_eq!(site.other.read(&site.session(&token)).0, "replica-1");
        site.other.replicas[0].pause();
    }
}

#[tokio::test(start_paused = true)]
async fn files_have_no_log_and_their_tokens_say_of_no_place() {
    let db = Cluster::single(Dialect::Sqlite, settings(), Server::primary());
    let session = db.session();
    drop(db.route(&Request::write(), &session).unwrap());
    let token = at_once(pin!(db.token(&session))).unwrap();
    db.observe(&session, &token);
    assert!(db.route(&Request::read(), &session).is_ok());
}

#[test]
fn outside_a_runtime_there_is_nobody_to_ask() {
    let db = Cluster::single(Dialect::Postgres, Settings::new(), Server::primary());
    let session = db.session();
    drop(db.route(&Request::write(), &session).unwrap());
    assert!(at_once(pin!(db.token(&session))).is_some());
    assert!(at_once(pin!(db.token_with_reads(&session))).is_some());
}

/// What the future is when it is polled once.
fn at_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> T {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("it waits"),
    }
}

/// What somebody may make up who knows how tokens are written.
#[derive(Debug, Clone)]
struct Forgery {
    identity: &'static str,
    timeline: u32,
    position: u64,
}

fn forgeries() -> impl Strategy<Value = Forgery> {
    let position = prop_oneof![0..3000_u64, any::<u64>().prop_map(|any| any >> 1)];
    let identity = prop_oneof!["7301", "7302"].prop_map(|_| "7301");
    let identity = prop_oneof![identity, Just("7302")];
    (identity, 1..4_u32, position).prop_map(|(identity, timeline, position)| Forgery {
        identity,
        timeline,
        position,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Whatever a token says: a position that the primary has come to is seen, and any other is paid for by the
    /// freshness of now, once.
    #[test]
    fn no_token_is_believed_beyond_what_it_can_cost(
        forgery in forgeries(),
        commits in 0..8_usize,
        replayed in 0..8_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(forged(forgery, commits, replayed));
    }
}

async fn forged(forgery: Forgery, commits: usize, replayed: usize) {
    let token = forge(&forgery).await;
    let world = World::of(1).await;
    for commit in 0..commits {
        world.primary.commit();
        if commit == replayed {
            world.replicas[0].pause();
        }
        pass(150).await;
    }
    let genuine = forgery.identity == "7301" && forgery.timeline == 1;
    let session = world.db.session();
    world.db.observe(&session, &token);
    let route = world.db.route(&Request::read(), &session).unwrap();
    let shown = route.node().backend().shows();
    let written = world.primary.shows();
    let needed = if genuine && forgery.position <= written {
        forgery.position
    } else {
        written
    };
    assert!(shown >= needed, "{needed} was needed, {shown} shown");
    drop(route);
    world.replicas[0].resume();
    let asked = world.primary.asked();
    pass(millis(20).as_millis() as u64).await;
    assert_eq!(world.read(&session).0, "replica-1", "one round is enough");
    assert!(world.primary.asked() - asked <= 2);
}

/// A token with a checksum that is right, of a server that is made for that.
async fn forge(forgery: &Forgery) -> Token {
    let server = Server::primary();
    server.identity(Some(forgery.identity));
    server.fork(forgery.timeline, forgery.position);
    let db = Cluster::single(Dialect::Postgres, settings(), server);
    let session = db.session();
    drop(db.route(&Request::write(), &session).unwrap());
    let token = db.token(&session).await.unwrap();
    token.to_string().parse().unwrap()
}
