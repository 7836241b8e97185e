//! The connection that a session keeps between its statements: when it is used again, and when it is given
//! back.

use std::future::{Future, pending, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use dbrouter::{
    BoxStream, Hold, Intent, NodeSpec, Preference, Router, SessionState, Settings, Terms,
    with_session,
};
use tokio::time::timeout;

use crate::world::{Failure, Server, World, millis, pass, settings};

const IDLE: Duration = Duration::from_millis(10);
const CLOSELY: Hold = Hold::WhileBusy(IDLE);

/// A world in which sessions hold.
async fn world(hold: Hold, replicas: usize) -> World {
    let settings = settings().hold_connection(hold);
    World::with(settings, vec![NodeSpec::new(); replicas]).await
}

/// A session's reads.
fn session(world: &World) -> Terms<Server> {
    Terms::new(&world.db).session().read()
}

/// Runs a read, and returns the number of its connection.
async fn read(terms: &Terms<Server>) -> u32 {
    reading(terms, None).await.unwrap()
}

async fn reading(
    terms: &Terms<Server>,
    failure: Option<&'static str>,
) -> Result<u32, &'static str> {
    let run = terms.work().run("select 1", |connection, _| {
        let number = connection.number;
        Box::pin(async move { failure.map_or(Ok(number), |failure| Err(Failure(failure))) })
    });
    let ended = run.await;
    ended.map(|(number, _)| number).map_err(|failure| failure.0)
}

/// A read that does not end, on a connection of the only replica.
fn endless(terms: &Terms<Server>) -> impl Future<Output = ()> + use<> {
    let work = terms.work();
    async move {
        let run = work.run(
            "select 1",
            |_, _| Box::pin(pending::<Result<(), Failure>>()),
        );
        run.await.map(drop).unwrap();
    }
}

async fn panics() -> Result<(), Failure> {
    panic!("in the middle of a statement");
}

/// Polls a future once.
async fn poll(future: impl Future + Unpin) -> bool {
    let mut future = pin!(future);
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

#[tokio::test(start_paused = true)]
async fn a_session_reads_on_one_connection() {
    for hold in [CLOSELY, Hold::ForLife] {
        let world = world(hold, 1).await;
        let replica = &world.replicas[0];
        let one = session(&world);
        let first = read(&one).await;
        assert_eq!(replica.lent(), 1, "{hold:?}: it is kept");
        // Somebody else cannot have got it.
        assert_ne!(read(&session(&world)).await, first);
        for _ in 0..5 {
            assert_eq!(read(&one).await, first);
            assert_eq!(replica.lent(), 1);
        }
        assert_eq!(
            world.db.status().nodes[1].in_flight,
            0,
            "kept is not under way"
        );
        drop(one);
        assert_eq!(replica.lent(), 0, "{hold:?}: the session has ended");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_unless_that_is_wanted() {
    let world = world(Hold::Never, 1).await;
    let one = session(&world);
    read(&one).await;
    assert_eq!(world.replicas[0].lent(), 0);
    for hold in [Hold::Never, Hold::WhileBusy(Duration::ZERO)] {
        read(&one.hold_connection(hold)).await;
        assert_eq!(world.replicas[0].lent(), 0);
    }
    // The terms of one handle; then the session's own, which they go before.
    read(&one.hold_connection(CLOSELY)).await;
    assert_eq!(world.replicas[0].lent(), 1);
    read(&one).await;
    assert_eq!(
        world.replicas[0].lent(),
        0,
        "the last statement's terms count"
    );
    one.state().hold_connection(CLOSELY);
    read(&one).await;
    assert_eq!(world.replicas[0].lent(), 1);
    read(&one.hold_connection(Hold::Never)).await;
    assert_eq!(world.replicas[0].lent(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_root_keeps_nothing_and_the_ambient_session_does() {
    let world = world(Hold::ForLife, 1).await;
    let root = Terms::new(&world.db).read().hold_connection(Hold::ForLife);
    read(&root).await;
    assert_eq!(world.replicas[0].lent(), 0);
    let ambient: SessionState = world.db.session();
    with_session(ambient.clone(), async {
        let first = read(&root).await;
        assert_eq!(world.replicas[0].lent(), 1);
        assert_eq!(read(&root).await, first);
    })
    .await;
    drop(ambient);
    assert_eq!(world.replicas[0].lent(), 0);
}

#[tokio::test(start_paused = true)]
async fn it_goes_back_when_it_has_been_idle_for_too_long() {
    let world = world(CLOSELY, 1).await;
    let replica = &world.replicas[0];
    let one = session(&world);
    for _ in 0..5 {
        read(&one).await;
        pass(8).await;
        assert_eq!(replica.lent(), 1, "statements follow each other closely");
    }
    read(&one).await;
    pass(9).await;
    assert_eq!(replica.lent(), 1);
    pass(2).await;
    assert_eq!(replica.lent(), 0);
    // And again, as often as it is taken.
    read(&one).await;
    assert_eq!(replica.lent(), 1);
    pass(11).await;
    assert_eq!(replica.lent(), 0);
    let for_life = one.hold_connection(Hold::ForLife);
    read(&for_life).await;
    pass(60_000).await;
    assert_eq!(replica.lent(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_idle_for_long_is_checked_by_its_pool() {
    let world = world(Hold::ForLife, 1).await;
    let replica = &world.replicas[0];
    let one = session(&world);
    let first = read(&one).await;
    // The next connection that the pool lends is another.
    drop(session(&world).work().acquire().await.unwrap());
    pass(400).await;
    assert_eq!(read(&one).await, first);
    pass(501).await;
    assert_ne!(read(&one).await, first);
    assert_eq!(replica.lent(), 1, "and the one went back");
}

#[tokio::test(start_paused = true)]
async fn it_goes_back_when_the_session_writes() {
    let world = world(Hold::ForLife, 1).await;
    let replica = &world.replicas[0];
    let one = session(&world);
    let ended = async |work: dbrouter::Work<Server>| {
        let run = work.run("update", |_, _| Box::pin(async { Ok(()) }));
        run.await.map(drop).unwrap();
    };
    read(&one).await;
    ended(one.write().work()).await;
    assert_eq!(replica.lent(), 0, "a statement");
    // The next reads may go to the primary, whose connections are not kept.
    ended(one.preference(Preference::Primary).work()).await;
    assert_eq!(world.primary.lent(), 0);

    let one = session(&world);
    read(&one).await;
    let unseen = one.state().hold_open();
    assert_eq!(replica.lent(), 0, "writes that the router cannot see");
    drop(unseen);

    let one = session(&world);
    read(&one).await;
    let (connection, route) = one.write().work().acquire().await.unwrap();
    assert_eq!(replica.lent(), 0, "a connection to write on");
    drop((connection, route));
}

#[tokio::test(start_paused = true)]
async fn it_is_kept_after_a_success_only() {
    let world = world(Hold::ForLife, 1).await;
    let replica = &world.replicas[0];
    let one = session(&world);
    read(&one).await;
    for failure in ["syntax error", "read-only", "no room"] {
        read(&one).await;
        assert_eq!(replica.lent(), 1);
        reading(&one, Some(failure)).await.ok();
        assert_eq!(replica.lent(), 0, "{failure}");
    }

    read(&one).await;
    let mut dropped = Box::pin(endless(&one));
    assert!(!poll(&mut dropped).await);
    assert_eq!(replica.lent(), 1);
    drop(dropped);
    assert_eq!(replica.lent(), 0, "a future was dropped");

    read(&one).await;
    let work = one.work();
    let panicking = tokio::spawn(async move {
        let run = work.run("select 1", |_, _| Box::pin(panics()));
        run.await.map(drop).unwrap();
    });
    assert!(panicking.await.unwrap_err().is_panic());
    assert_eq!(replica.lent(), 0, "a statement panicked");
    // And none of that is in the way of the next.
    let number = read(&one).await;
    assert_eq!(read(&one).await, number);
}

/// The rows of a stream: so many, each its connection's number, and then an error or the end.
fn rows(
    terms: &Terms<Server>,
    count: usize,
    fails: bool,
) -> BoxStream<'static, Result<u32, Failure>> {
    terms.work().stream("select 1", move |connection, intent| {
        assert_eq!(intent, Intent::Read);
        let number = connection.number;
        Box::pin(async_stream::stream! {
            for _ in 0..count {
                yield Ok(number);
            }
            if fails {
                yield Err(Failure("syntax error"));
            }
        })
    })
}

async fn next<T>(rows: &mut BoxStream<'_, T>) -> Option<T> {
    poll_fn(|cx| rows.as_mut().poll_next(cx)).await
}

#[tokio::test(start_paused = true)]
async fn a_streams_is_kept_when_its_end_was_reached() {
    let world = world(Hold::ForLife, 1).await;
    let replica = &world.replicas[0];
    let one = session(&world);
    let first = read(&one).await;
    let mut all = rows(&one, 3, false);
    for _ in 0..3 {
        assert_eq!(next(&mut all).await.unwrap().unwrap(), first);
    }
    assert!(next(&mut all).await.is_none());
    assert_eq!(replica.lent(), 1, "before the stream is dropped");
    assert_eq!(read(&one).await, first);
    drop(all);
    assert_eq!(read(&one).await, first);

    let mut half_read = rows(&one, 3, false);
    for _ in 0..3 {
        next(&mut half_read).await.unwrap().unwrap();
    }
    drop(half_read);
    assert_eq!(
        replica.lent(),
        0,
        "whether there is a fourth row is not known"
    );

    read(&one).await;
    let mut failing = rows(&one, 1, true);
    next(&mut failing).await.unwrap().unwrap();
    next(&mut failing).await.unwrap().unwrap_err();
    assert!(next(&mut failing).await.is_none());
    assert_eq!(replica.lent(), 0, "it failed");
}

#[tokio::test(start_paused = true)]
async fn statements_at_once_share_one_and_the_pool() {
    let world = world(Hold::ForLife, 1).await;
    let replica = &world.replicas[0];
    let one = session(&world);
    let kept = read(&one).await;
    let mut first = Box::pin(endless(&one));
    assert!(!poll(&mut first).await);
    assert_eq!(replica.lent(), 1, "the first takes the one that is kept");
    assert_ne!(read(&one).await, kept);
    assert_eq!(replica.lent(), 2, "the second's is kept meanwhile");
    drop(first);
    assert_eq!(replica.lent(), 1);
    let mut both = [rows(&one, 1, false), rows(&one, 1, false)];
    for stream in &mut both {
        next(stream).await.unwrap().unwrap();
    }
    assert_eq!(replica.lent(), 2);
    for stream in &mut both {
        assert!(next(stream).await.is_none());
    }
    assert_eq!(replica.lent(), 1, "never two");
}

#[tokio::test(start_paused = true)]
async fn it_is_used_where_the_statement_goes_and_nowhere_else() {
    let world = world(Hold::ForLife, 2).await;
    let [first, second] = [&world.replicas[0], &world.replicas[1]];
    // The policy takes the last of them, whatever the session has seen.
    let one = session(&world).eventual();
    read(&one).await;
    assert_eq!((first.lent(), second.lent()), (0, 1));
    world.db.set_weight("replica-2", 0).unwrap();
    read(&one).await;
    assert_eq!((first.lent(), second.lent()), (1, 0), "another node");

    // The same node, which may have gone back in time.
    world.db.set_weight("replica-2", 1).unwrap();
    read(&one).await;
    let opened = read(&one).await;
    second.restart();
    pass(300).await;
    assert!(world.node("replica-2").is_healthy());
    drop(session(&world).eventual().work().acquire().await.unwrap());
    assert_ne!(read(&one).await, opened, "another epoch");
    assert_eq!((first.lent(), second.lent()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_closed_node_gets_its_connections_back() {
    for how in ["disable", "drain", "remove", "stop"] {
        let world = world(Hold::ForLife, 2).await;
        let node = world.node("replica-2");
        let replica = &world.replicas[1];
        let (idle, busy) = (session(&world), session(&world));
        read(&idle).await;
        let mut under_way = rows(&busy, 1, false);
        next(&mut under_way).await.unwrap().unwrap();
        assert_eq!(replica.lent(), 2);
        let mut draining = Box::pin(world.db.drain("replica-2"));
        match how {
            "disable" => world.db.disable("replica-2").unwrap(),
            "drain" => assert!(!poll(&mut draining).await),
            "remove" => world.db.remove("replica-2").unwrap(),
            _ => node.stop_holding(),
        }
        assert_eq!(replica.lent(), 1, "{how}: the idle one is back");
        assert!(next(&mut under_way).await.is_none());
        assert_eq!(replica.lent(), 0, "{how}: and the busy one, too");
        drop(under_way);
        if how == "drain" {
            draining.await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_would_wait_gets_an_idle_one() {
    let world = world(Hold::ForLife, 1).await;
    let replica = &world.replicas[0];
    replica.at_most(1);
    let (one, other) = (session(&world), session(&world));
    // Nobody has waited for a while, so it is kept.
    let keeps = async || {
        pass(100).await;
        read(&one).await;
        assert_eq!(replica.lent(), 1);
    };
    keeps().await;
    let both = async {
        for _ in 0..50 {
            read(&other).await;
            read(&one).await;
        }
    };
    timeout(millis(1), both).await.expect("both go on");
    // Somebody without a session; a connection to keep; a transaction, which the pool itself begins.
    keeps().await;
    let root = Terms::new(&world.db).read();
    timeout(millis(1), read(&root)).await.expect("it goes on");
    keeps().await;
    let acquired = timeout(millis(1), root.work().acquire()).await;
    drop(acquired.expect("it goes on").unwrap());
    keeps().await;
    let begin = |server: &Server| {
        let server = server.clone();
        async move { dbrouter::Backend::acquire(&server).await }
    };
    let begun = timeout(millis(1), root.work().begin(begin)).await;
    drop(begun.expect("it goes on").unwrap());
}

#[tokio::test(start_paused = true)]
async fn while_somebody_waits_nothing_is_kept() {
    let world = world(Hold::ForLife, 1).await;
    let replica = &world.replicas[0];
    replica.at_most(1);
    let (one, other) = (session(&world), session(&world));
    let mut under_way = rows(&one, 1, false);
    next(&mut under_way).await.unwrap().unwrap();
    let waiting = tokio::spawn(async move { read(&other).await });
    pass(5).await;
    assert!(!waiting.is_finished());
    assert!(next(&mut under_way).await.is_none());
    timeout(millis(1), waiting)
        .await
        .expect("it is given on")
        .unwrap();
    // Nobody waits any more, but somebody just did.
    read(&one).await;
    assert_eq!(replica.lent(), 0);
    pass(99).await;
    read(&one).await;
    assert_eq!(replica.lent(), 0);
    pass(1).await;
    read(&one).await;
    assert_eq!(replica.lent(), 1);
}

/// A pool that says it has room and gives nothing all the same is given what there is after a while.
#[tokio::test(start_paused = true)]
async fn who_waits_for_long_gets_an_idle_one_whatever_the_pool_says() {
    let world = world(Hold::ForLife, 1).await;
    let replica = &world.replicas[0];
    let one = session(&world);
    read(&one).await;
    let begin = |server: &Server| {
        let server = server.clone();
        async move {
            while server.lent() > 0 {
                pass(1).await;
            }
            Ok::<_, Failure>(())
        }
    };
    let (_, route) = session(&world).work().begin(begin).await.unwrap();
    assert_eq!(replica.lent(), 0);
    drop(route);
}

/// To open a connection takes time, above all on a long way and with TLS. That is no reason to keep none.
#[tokio::test(start_paused = true)]
async fn a_pool_that_takes_its_time_is_not_short() {
    let world = world(Hold::ForLife, 1).await;
    let replica = &world.replicas[0];
    let begin = |_: &Server| async {
        pass(50).await;
        Ok::<_, Failure>(())
    };
    drop(session(&world).work().begin(begin).await.unwrap());
    let one = session(&world);
    read(&one).await;
    assert_eq!(replica.lent(), 1);
}

/// Pools check what comes back, which takes its time. If sessions kept nothing because of that, still more would come
/// back, for ever.
#[tokio::test(start_paused = true)]
async fn a_pool_whose_connections_are_coming_back_is_not_short() {
    let world = world(Hold::ForLife, 1).await;
    let replica = &world.replicas[0];
    replica.at_most(1);
    let coming_back = dbrouter::Backend::acquire(replica).await.unwrap();
    let one = session(&world);
    let waiting = tokio::spawn(async move {
        let number = read(&one).await;
        (one, number)
    });
    pass(1).await;
    assert!(!waiting.is_finished());
    drop(coming_back);
    let (_one, _) = waiting.await.unwrap();
    assert_eq!(replica.lent(), 1, "it is kept");
}

#[test]
fn a_session_may_end_outside_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (world, one) = runtime.block_on(async {
        let world = world(CLOSELY, 1).await;
        let one = session(&world);
        read(&one).await;
        (world, one)
    });
    let replica = &world.replicas[0];
    assert_eq!(replica.lent(), 1);
    drop(one);
    assert_eq!(replica.lent(), 0);
    assert!(replica.was_returned_inside_a_runtime());
}

#[test]
fn settings_say_so() {
    let shown = format!("{:?}", Settings::new().hold_connection(Hold::ForLife));
    assert!(shown.contains("hold: ForLife"), "{shown}");
    assert_eq!(Hold::closely(), Hold::WhileBusy(millis(10)));
}
