//! How many reads may be on the primary at once because they fell back to it.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll;
use std::time::Duration;

use dbrouter::{
    Candidates, FallbackLimit, NodeSpec, Preference, Reason, Request, Route, RouteError, Router,
    SessionState, Terms, WhyNot,
};
use tokio::time::Instant;

use crate::world::{Failure, Server, World, millis, pass, settings, zone};

const LONG: Duration = Duration::from_secs(3600);

/// One replica, which stands still, and a session that has written since.
async fn lagging(limit: FallbackLimit) -> (World, SessionState) {
    let settings = settings().fallback_limit(limit);
    let world = World::with(settings, vec![NodeSpec::new()]).await;
    let session = world.db.session();
    world.replicas[0].pause();
    world.write(&session);
    (world, session)
}

fn read(world: &World, session: &SessionState) -> Result<Route<Server>, RouteError> {
    world.db.route(&Request::read(), session)
}

fn taken(world: &World) -> u32 {
    world.db.status().fallback_places.unwrap().taken
}

fn why(refused: &RouteError, node: &str) -> WhyNot {
    let mut refusals = refused.refusals().iter();
    refusals.find(|refusal| &*refusal.node == node).unwrap().why
}

/// It is refused because no place is left.
fn is_refused(routed: Result<Route<Server>, RouteError>) -> bool {
    routed.is_err_and(|refused| {
        refused.is_fallback_limit() && why(&refused, "primary") == WhyNot::FallbackLimit
    })
}

#[tokio::test(start_paused = true)]
async fn one_read_too_many_is_refused_at_once_and_by_name() {
    let (world, session) = lagging(FallbackLimit::reads(2)).await;
    let first = read(&world, &session).unwrap();
    let second = read(&world, &session).unwrap();
    let refused = read(&world, &session).unwrap_err();
    assert_eq!(why(&refused, "primary"), WhyNot::FallbackLimit);
    assert!(matches!(
        why(&refused, "replica-1"),
        WhyNot::NotFresh(Some(_))
    ));
    assert!(refused.is_fallback_limit() && refused.is_temporary());
    let text = refused.to_string();
    let expected = "no node for this read: primary: as many reads have fallen back to it as may at once; \
                    replica-1: it is ";
    assert!(text.starts_with(expected), "{text}");
    // It took nothing, and does not count as one that fell back.
    assert_eq!(world.node("primary").in_flight(), 2);
    assert_eq!(world.db.status().fallbacks(Reason::NotFresh), 2);
    drop(first);
    let third = read(&world, &session).unwrap();
    assert!(is_refused(read(&world, &session)));
    drop((second, third));
    assert_eq!(taken(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_there_is_none() {
    let world = World::of(1).await;
    let session = world.db.session();
    world.replicas[0].pause();
    world.write(&session);
    let all: Vec<_> = (0..1000).map(|_| read(&world, &session).unwrap()).collect();
    assert!(all.iter().all(|route| route.reason() == Reason::NotFresh));
    assert_eq!(world.db.status().fallback_places, None);
}

#[tokio::test(start_paused = true)]
async fn a_share_is_one_of_the_primarys_pool() {
    // The scripted pools have ten connections.
    let (world, session) = lagging(FallbackLimit::share(0.39)).await;
    let all: Vec<_> = (0..10)
        .filter_map(|_| read(&world, &session).ok())
        .collect();
    assert_eq!(all.len(), 3);
    let places = world.db.status().fallback_places.unwrap();
    assert_eq!((places.taken, places.most), (3, 3));
}

/// A world in which a read falls back for this reason, with one place in all.
async fn falling_back(reason: Reason) -> (World, SessionState, Request) {
    let policy = move |candidates: Candidates<'_>, _: &Request| {
        let declines = reason == Reason::PolicyDeclined;
        candidates.len().checked_sub(1).filter(|_| !declines)
    };
    let limit = FallbackLimit::reads(1);
    let settings = settings().fallback_limit(limit).policy(policy);
    let world = World::with(settings, vec![NodeSpec::new()]).await;
    let session = world.db.session();
    let mut request = Request::read();
    match reason {
        Reason::NotFresh => {
            world.replicas[0].pause();
            world.write(&session);
        }
        Reason::NoHealthyReplica => world.lose("replica-1"),
        Reason::NotReplayed => request.not_replayed(),
        Reason::NoReplica => request = request.tagged(zone("nowhere")),
        Reason::OpenWriter => std::mem::forget(session.hold_open()),
        _ => {}
    }
    (world, session, request)
}

#[tokio::test(start_paused = true)]
async fn whatever_the_reason_it_counts() {
    for reason in [
        Reason::NotFresh,
        Reason::NoHealthyReplica,
        Reason::NotReplayed,
        Reason::NoReplica,
        Reason::PolicyDeclined,
        Reason::OpenWriter,
    ] {
        let (world, session, request) = falling_back(reason).await;
        let first = world.db.route(&request, &session).unwrap();
        assert_eq!(first.reason(), reason);
        assert_eq!(taken(&world), 1, "{reason}");
        let refused = world.db.route(&request, &session).unwrap_err();
        assert_eq!(why(&refused, "primary"), WhyNot::FallbackLimit, "{reason}");
        drop(first);
        assert_eq!(taken(&world), 0, "{reason}");
    }
}

/// When no node is left that would do, one that may be lost is tried. But there is one that would do.
#[tokio::test(start_paused = true)]
async fn with_all_replicas_lost_none_of_them_is_tried_instead() {
    let (world, session, request) = falling_back(Reason::NoHealthyReplica).await;
    let held = world.db.route(&request, &session).unwrap();
    let refused = world.db.route(&request, &session).unwrap_err();
    assert_eq!(why(&refused, "replica-1"), WhyNot::Suspect);
    assert_eq!(why(&refused, "primary"), WhyNot::FallbackLimit);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn what_did_not_fall_back_does_not_count() {
    let (world, session) = lagging(FallbackLimit::reads(1)).await;
    let wanted = Request::read().preference(Preference::Primary);
    let near = Request::read().preference(Preference::Nearest);
    let mut held = Vec::new();
    for request in [&wanted, &near, &Request::write()] {
        for _ in 0..3 {
            held.push(world.db.route(request, &session).unwrap());
        }
    }
    // A replica's reads do not, either.
    held.push(read(&world, &world.db.session()).unwrap());
    assert_eq!((held[9].reason(), taken(&world)), (Reason::Policy, 0));
}

#[tokio::test(start_paused = true)]
async fn without_replicas_the_primary_is_where_reads_go() {
    let limited = || settings().fallback_limit(FallbackLimit::reads(1));
    let world = World::with(limited(), vec![]).await;
    let session = world.db.session();
    let all: Vec<_> = (0..5).map(|_| read(&world, &session).unwrap()).collect();
    assert_eq!((all[0].reason(), taken(&world)), (Reason::NoReplica, 0));
    // One that takes no work now is one all the same.
    let world = World::with(limited(), vec![NodeSpec::new()]).await;
    world.db.disable("replica-1").unwrap();
    let _held = read(&world, &world.db.session()).unwrap();
    assert!(is_refused(read(&world, &world.db.session())));
}

#[tokio::test(start_paused = true)]
async fn a_place_is_given_back_however_the_work_ends() {
    let (world, session) = lagging(FallbackLimit::reads(1)).await;
    let ends: [fn(Route<Server>); 6] = [
        drop,
        Route::without_effect,
        Route::unsent,
        Route::rolled_back,
        |route| drop(route.hold_open()),
        |route| route.report(dbrouter::Fault::Busy, &"full"),
    ];
    for end in ends {
        let route = read(&world, &session).unwrap();
        assert!(is_refused(read(&world, &session)));
        end(route);
        assert_eq!(taken(&world), 0);
    }
    let db = world.db.clone();
    let held = session.clone();
    let cancelled = tokio::spawn(async move {
        let _route = db.route(&Request::read(), &held).unwrap();
        std::future::pending::<()>().await;
    });
    pass(1).await;
    assert_eq!(taken(&world), 1);
    cancelled.abort();
    cancelled.await.unwrap_err();
    assert_eq!(taken(&world), 0);
    // And when the work does not even get a connection, or fails.
    let terms = Terms::new(&world.db).read();
    world.write(&terms.state());
    world.primary.full(true);
    assert!(terms.work().acquire().await.is_err());
    world.primary.full(false);
    let failed = terms.work().run("select", |_, _| {
        Box::pin(async { Err::<(), _>(Failure("syntax error")) })
    });
    failed.await.unwrap_err();
    assert_eq!(taken(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn an_explanation_takes_no_place_and_says_when_there_is_none() {
    let (world, session) = lagging(FallbackLimit::reads(1)).await;
    let explain = || world.db.explain(&Request::read(), &session);
    for _ in 0..3 {
        assert_eq!(explain().unwrap().reason, Reason::NotFresh);
        assert_eq!(taken(&world), 0);
    }
    let held = read(&world, &session).unwrap();
    let refused = explain().unwrap_err();
    assert_eq!(why(&refused, "primary"), WhyNot::FallbackLimit);
    drop(held);
    assert!(explain().is_ok());
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_place_says_more_than_why_one_was_needed() {
    let (world, session) = lagging(FallbackLimit::reads(1)).await;
    let held = read(&world, &session).unwrap();
    let other = Terms::new(&world.db).session().read();
    let fails = |failure| {
        other.work().run("select", move |server, _| {
            let standby = server.is_standby();
            Box::pin(async move {
                match standby {
                    true => Err(Failure(failure)),
                    false => Ok(()),
                }
            })
        })
    };
    let failed = fails("connection reset").await.unwrap_err();
    assert_eq!(failed.0, "refused by the router");
    drop(held);
    pass(250).await;
    assert!(fails("connection reset").await.is_ok());
}

/// Real threads, and as many reads at once as they bring about.
#[tokio::test]
async fn there_are_never_more_than_the_limit() {
    let (world, session) = lagging(FallbackLimit::reads(2)).await;
    let (now, most, served) = (AtomicU32::new(0), AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let Ok(route) = read(&world, &session) else {
                        continue;
                    };
                    let inside = now.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(inside, Ordering::SeqCst);
                    served.fetch_add(1, Ordering::Relaxed);
                    now.fetch_sub(1, Ordering::SeqCst);
                    drop(route);
                }
            });
        }
    });
    assert!(most.into_inner() <= 2);
    assert!(served.into_inner() > 0);
    assert_eq!((taken(&world), world.node("primary").in_flight()), (0, 0));
}

async fn patiently(world: &World, session: &SessionState) -> Result<Route<Server>, RouteError> {
    world.db.route_patiently(&Request::read(), session).await
}

#[tokio::test(start_paused = true)]
async fn who_waits_gets_the_place_that_is_given_back() {
    let (world, session) = lagging(FallbackLimit::reads(1).or_wait(LONG)).await;
    let held = read(&world, &session).unwrap();
    let end = async {
        pass(70).await;
        // Who waits holds nothing.
        assert_eq!(world.node("primary").in_flight(), 1);
        // Nobody is let past who does not wait.
        drop(held);
        assert!(is_refused(read(&world, &session)));
    };
    let (waited, ()) = tokio::join!(patiently(&world, &session), end);
    let waited = waited.unwrap();
    assert_eq!((waited.reason(), taken(&world)), (Reason::NotFresh, 1));
    assert_eq!(world.db.status().fallbacks(Reason::NotFresh), 2);
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_is_refused_after_that_time() {
    let (world, session) = lagging(FallbackLimit::reads(1).or_wait(millis(80))).await;
    let held = read(&world, &session).unwrap();
    let begun = Instant::now();
    assert!(is_refused(patiently(&world, &session).await));
    let took = begun.elapsed();
    assert!(took >= millis(80) && took <= millis(82), "{took:?}");
    drop(held);
    drop(patiently(&world, &session).await.unwrap());
    assert_eq!(taken(&world), 0);
}

#[tokio::test(start_paused = true)]
async fn places_are_given_in_the_order_of_asking_and_a_dropped_wait_loses_none() {
    let (world, session) = lagging(FallbackLimit::reads(1).or_wait(LONG)).await;
    let held = read(&world, &session).unwrap();
    let mut one = pin!(patiently(&world, &session));
    let mut two = Box::pin(patiently(&world, &session));
    let mut three = pin!(patiently(&world, &session));
    assert!(poll(one.as_mut()).await.is_none());
    assert!(poll(two.as_mut()).await.is_none());
    assert!(poll(three.as_mut()).await.is_none());
    drop(held);
    assert!(poll(three.as_mut()).await.is_none());
    assert!(poll(two.as_mut()).await.is_none());
    let first = poll(one.as_mut()).await.unwrap().unwrap();
    // The place is the second one's, who is gone before it looks.
    drop(first);
    drop(two);
    let third = poll(three.as_mut()).await.unwrap().unwrap();
    assert_eq!(taken(&world), 1);
    drop(third);
    assert_eq!(taken(&world), 0);
}

async fn poll<F: Future>(mut future: std::pin::Pin<&mut F>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_place_takes_a_replica_that_comes_first() {
    let (world, session) = lagging(FallbackLimit::reads(1).or_wait(LONG)).await;
    let _held = read(&world, &session).unwrap();
    let resume = async {
        pass(70).await;
        world.replicas[0].resume();
    };
    let (waited, ()) = tokio::join!(patiently(&world, &session), resume);
    assert_eq!(&**waited.unwrap().node().name(), "replica-1");
    assert_eq!(taken(&world), 1);
}

/// First for the replica, then for the place.
#[tokio::test(start_paused = true)]
async fn both_waits_may_be_one_reads() {
    let (world, session) = lagging(FallbackLimit::reads(1).or_wait(millis(80))).await;
    let held = read(&world, &session).unwrap();
    let request = Request::read().wait_for_fresh(millis(100));
    let begun = Instant::now();
    assert!(is_refused(
        world.db.route_patiently(&request, &session).await
    ));
    let took = begun.elapsed();
    assert!(took >= millis(180) && took <= millis(183), "{took:?}");
    let end = async {
        pass(150).await;
        drop(held);
    };
    let (waited, ()) = tokio::join!(world.db.route_patiently(&request, &session), end);
    assert_eq!(waited.unwrap().reason(), Reason::NotFresh);
}
