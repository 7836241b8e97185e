use std::panic::AssertUnwindSafe;

use dbrouter::{SessionState, with_session};

use crate::world::{Server, World};

fn current(world: &World) -> SessionState {
    world.db.current_session()
}

/// Whether two handles are one session: what one needs, the other needs.
fn same(world: &World, one: &SessionState, other: &SessionState) -> bool {
    world.write(one);
    one.needs() == other.needs()
}

#[tokio::test(start_paused = true)]
async fn inside_a_scope_the_root_handle_uses_its_session() {
    let world = World::of(1).await;
    let session = world.db.session();
    with_session(session.clone(), async {
        assert!(same(&world, &current(&world), &session));
    })
    .await;
    assert!(current(&world).is_root());
}

#[tokio::test(start_paused = true)]
async fn scopes_nest_and_restore_the_one_around_them() {
    let world = World::of(1).await;
    let (outer, inner) = (world.db.session(), world.db.session());
    with_session(outer.clone(), async {
        with_session(inner.clone(), async {
            assert!(same(&world, &current(&world), &inner));
            crate::world::pass(1).await;
            assert!(!same(&world, &current(&world), &outer));
        })
        .await;
        crate::world::pass(1).await;
        assert!(same(&world, &current(&world), &outer));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_there_is_back_after_an_error_a_panic_and_a_cancellation() {
    let world = World::of(1).await;
    let outer = world.db.session();
    with_session(outer.clone(), async {
        let failed = with_session(world.db.session(), async { Err::<(), _>("no") }).await;
        assert_eq!(failed, Err("no"));
        assert!(same(&world, &current(&world), &outer));

        let mut panicking = Box::pin(with_session(world.db.session(), async { panic!("oops") }));
        let poll = |cx: &mut std::task::Context<'_>| {
            let poll = AssertUnwindSafe(|| panicking.as_mut().poll(cx).map(|()| ()));
            std::task::Poll::Ready(std::panic::catch_unwind(poll).is_err())
        };
        assert!(std::future::poll_fn(poll).await);
        assert!(same(&world, &current(&world), &outer));

        let endless = with_session(world.db.session(), std::future::pending::<()>());
        let cut = tokio::time::timeout(crate::world::millis(5), endless).await;
        assert!(cut.is_err());
        assert!(same(&world, &current(&world), &outer));
    })
    .await;
    assert!(current(&world).is_root());
}

#[tokio::test(start_paused = true)]
async fn scopes_of_two_routers_do_not_hide_each_other() {
    let (one, other) = (World::of(1).await, World::of(1).await);
    let (in_one, in_other) = (one.db.session(), other.db.session());
    with_session(in_one.clone(), async {
        assert!(current(&other).is_root());
        with_session(in_other.clone(), async {
            assert!(same(&one, &current(&one), &in_one));
            assert!(same(&other, &current(&other), &in_other));
        })
        .await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_spawned_task_is_outside() {
    let world = World::of(1).await;
    let db: dbrouter::Cluster<Server> = world.db.clone();
    let outside = with_session(world.db.session(), async move {
        let task = tokio::spawn(async move { db.current_session().is_root() });
        task.await.unwrap()
    });
    assert!(outside.await);
}

#[tokio::test(start_paused = true)]
async fn two_futures_of_one_task_keep_their_sessions_apart() {
    let world = World::of(1).await;
    let sessions = [(); 2].map(|()| world.db.session());
    let one = |session: SessionState| {
        let world = &world;
        with_session(session.clone(), async move {
            for _ in 0..5 {
                crate::world::pass(1).await;
                assert!(same(world, &current(world), &session));
            }
        })
    };
    let [a, b] = sessions;
    tokio::join!(one(a), one(b));
}
