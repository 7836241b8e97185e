use std::panic::AssertUnwindSafe;

use dbrouter::policy::RoundRobin;
use dbrouter::scope::{carry, spawn, with_primary, with_replica, without_writes};
use dbrouter::{
    Classification, Classifier, Cluster, Intent, NodeSpec, Preference, Reason, RouteError, Router,
    SessionState, Terms, WhyNot, with_session,
};

use crate::world::{Failure, Server, World, millis, pass, settings};

fn current(world: &World) -> SessionState {
    world.db.current_session()
}

/// Whether two handles are one session: what one needs, the other needs.
fn same(world: &World, one: &SessionState, other: &SessionState) -> bool {
    world.write(one);
    one.needs() == other.needs()
}

/// Where a read of a handle goes that ends at once.
async fn reads(terms: &Terms<Server>) -> (String, Reason) {
    let (_, route) = terms.read().work().acquire().await.unwrap();
    let decision = route.decision();
    (decision.node.to_string(), decision.reason)
}

/// The nodes of so many reads of a handle.
async fn nodes(terms: &Terms<Server>, count: usize) -> Vec<String> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(reads(terms).await.0);
    }
    nodes
}

/// Writes on a handle.
async fn writes(world: &World, terms: &Terms<Server>) {
    let written = terms.write().work().acquire().await.unwrap();
    world.primary.commit();
    drop(written);
}

/// Three replicas that are read one after the other, and the root handle.
async fn in_turn() -> (World, Terms<Server>) {
    let world = World::under(RoundRobin::new(), 3).await;
    let root = Terms::new(&world.db);
    (world, root)
}

fn is_one(nodes: &[String]) -> bool {
    nodes.iter().all(|node| *node == nodes[0])
}

fn why_not(refusal: &RouteError) -> Vec<WhyNot> {
    refusal
        .refusals()
        .iter()
        .map(|refusal| refusal.why)
        .collect()
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
            pass(1).await;
            assert!(!same(&world, &current(&world), &outer));
        })
        .await;
        pass(1).await;
        assert!(same(&world, &current(&world), &outer));
    })
    .await;
}

/// Leaves a kind of scope by returning, by failing, by a panic, and by being dropped; calls `check` after each.
async fn leave_in_every_way<S, F>(scope: S, check: impl AsyncFn(&str))
where
    S: Fn(std::pin::Pin<Box<dyn Future<Output = Result<(), &'static str>>>>) -> F,
    F: Future<Output = Result<(), &'static str>>,
{
    assert_eq!(scope(Box::pin(async { Ok(()) })).await, Ok(()));
    check("a return").await;

    let fails = async {
        Err("no")?;
        Ok(())
    };
    assert_eq!(scope(Box::pin(fails)).await, Err("no"));
    check("an error").await;

    let mut panicking = Box::pin(scope(Box::pin(async { panic!("oops") })));
    let poll = |cx: &mut std::task::Context<'_>| {
        let poll = AssertUnwindSafe(|| panicking.as_mut().poll(cx).map(drop));
        std::task::Poll::Ready(std::panic::catch_unwind(poll).is_err())
    };
    assert!(std::future::poll_fn(poll).await);
    check("a panic").await;

    let endless = scope(Box::pin(std::future::pending()));
    let cut = tokio::time::timeout(millis(5), endless).await;
    assert!(cut.is_err());
    check("a cancellation").await;
}

#[tokio::test(start_paused = true)]
async fn what_was_there_is_back_after_a_return_an_error_a_panic_and_a_cancellation() {
    let (world, root) = in_turn().await;
    let outer = world.db.session();
    with_session(outer.clone(), async {
        let inner = world.db.session();
        leave_in_every_way(
            |inside| with_session(inner.clone(), inside),
            async |after: &str| {
                assert!(same(&world, &current(&world), &outer), "after {after}");
            },
        )
        .await;
    })
    .await;
    assert!(current(&world).is_root());
    // Until a replica shows what was written in those sessions, the root reads from the primary.
    pass(200).await;

    with_replica(async {
        let home = reads(&root).await.0;
        leave_in_every_way(with_primary, async |after: &str| {
            assert_eq!(reads(&root).await.0, home, "after {after}");
        })
        .await;
    })
    .await;

    with_primary(async {
        leave_in_every_way(with_replica, async |after: &str| {
            assert_eq!(reads(&root).await.0, "primary", "after {after}");
        })
        .await;
    })
    .await;

    leave_in_every_way(without_writes, async |after: &str| {
        let written = root.write().work().explain();
        assert!(written.is_ok(), "after {after}");
    })
    .await;
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
async fn each_router_has_a_replica_of_its_own_in_a_scope() {
    let ((one, root_of_one), (other, root_of_other)) = (in_turn().await, in_turn().await);
    reads(&root_of_other).await;
    with_replica(async {
        let (first, second) = (nodes(&root_of_one, 3).await, nodes(&root_of_other, 3).await);
        assert!(is_one(&first) && is_one(&second));
        assert_ne!(first[0], second[0]);
        // Each sees its own writes, and not the other's.
        writes(&one, &root_of_one).await;
        assert_eq!(reads(&root_of_one).await.1, Reason::NotFresh);
        assert_eq!(reads(&root_of_other).await.0, second[0]);
        assert!(!same(&other, &current(&one), &current(&other)));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_spawned_task_is_outside() {
    let world = World::of(1).await;
    let db: Cluster<Server> = world.db.clone();
    let outside = with_session(world.db.session(), async move {
        let task = tokio::spawn(async move { db.current_session().is_root() });
        task.await.unwrap()
    });
    assert!(outside.await);
}

#[tokio::test(start_paused = true)]
async fn what_a_scope_spawns_is_inside() {
    let (world, root) = in_turn().await;
    let session = world.db.session();
    let inside = with_session(session.clone(), async {
        let db = world.db.clone();
        let current = spawn(async move { db.current_session() }).await;
        assert!(same(&world, &current.unwrap(), &session));
    });
    inside.await;
    pass(200).await;

    let (home, task) = with_replica(without_writes(async {
        let home = reads(&root).await.0;
        let root = root.clone();
        let task = spawn(async move {
            // It goes on when the scope has ended.
            pass(5).await;
            let refused = root.write().work().explain().is_err();
            (nodes(&root, 3).await, refused)
        });
        (home, task)
    }))
    .await;
    let expected = (vec![home; 3], true);
    assert_eq!(task.await.unwrap(), expected);
    // Outside of all scopes it is a task like any other.
    assert_eq!(spawn(async { 7 }).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_carried_future_is_inside_wherever_it_is_polled() {
    let (_, root) = in_turn().await;
    let carried = with_primary(async {
        let root = root.clone();
        (carry(async move { nodes(&root, 3).await }),)
    })
    .await;
    assert_eq!(carried.0.await, ["primary"; 3]);
    // And yet a prohibition stays.
    let root = &root;
    let carried = carry(async move { root.write().work().explain().is_err() });
    assert!(without_writes(carried).await);
}

#[tokio::test(start_paused = true)]
async fn two_futures_of_one_task_keep_their_scopes_apart() {
    let (world, root) = in_turn().await;
    let one = |session: SessionState| {
        let world = &world;
        with_session(session.clone(), async move {
            for _ in 0..5 {
                pass(1).await;
                assert!(same(world, &current(world), &session));
            }
        })
    };
    let on = |wanted: &'static str| {
        let root = &root;
        async move {
            for _ in 0..5 {
                pass(1).await;
                let node = reads(root).await.0;
                assert_eq!(node == "primary", wanted == "primary", "{node}");
            }
        }
    };
    tokio::join!(with_primary(on("primary")), with_replica(on("a replica")));
    tokio::join!(one(world.db.session()), one(world.db.session()));
}

#[tokio::test(start_paused = true)]
async fn inside_of_with_replica_all_reads_are_on_one_whatever_the_policy() {
    let (world, root) = in_turn().await;
    assert!(!is_one(&nodes(&root, 3).await));
    for _ in 0..3 {
        assert!(is_one(&with_replica(nodes(&root, 6)).await));
    }
    // With a session it is the session's, whoever has it.
    let session = world.db.session();
    let ambient = with_session(session.clone(), with_replica(nodes(&root, 3))).await;
    assert!(is_one(&ambient), "{ambient:?}");
    let again = with_replica(with_session(session, nodes(&root, 3))).await;
    assert_eq!(again, ambient);
    let explicit = root.session();
    assert!(is_one(&with_replica(nodes(&explicit, 3)).await));
    // And the policy is heard again afterwards.
    assert!(!is_one(&nodes(&root, 3).await));
}

#[tokio::test(start_paused = true)]
async fn a_scope_inside_a_scope_has_the_same_replica() {
    let (_, root) = in_turn().await;
    with_replica(async {
        let home = nodes(&root, 2).await;
        let primary = with_primary(async {
            let inner = with_replica(nodes(&root, 2)).await;
            assert_eq!(inner, home);
            nodes(&root, 1).await
        });
        assert_eq!(primary.await, ["primary"]);
        // What the primary has shown must be on the replica first.
        pass(200).await;
        assert_eq!(nodes(&root, 2).await, home);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_a_handle_states_wins_over_the_scope() {
    let (_, root) = in_turn().await;
    let primary = root.preference(Preference::Primary);
    assert_eq!(
        with_replica(reads(&primary)).await,
        ("primary".to_owned(), Reason::PreferenceIsPrimary)
    );
    let replica = root.preference(Preference::Replica);
    assert_ne!(with_primary(reads(&replica)).await.0, "primary");
    // But not a prohibition.
    assert!(
        without_writes(async { root.session().write().work().explain() })
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn a_scope_wins_over_the_routers_own_preference() {
    let settings = settings().preference(Preference::Primary);
    let world = World::with(settings, vec![NodeSpec::new(); 2]).await;
    let root = Terms::new(&world.db);
    assert_eq!(reads(&root).await.0, "primary");
    assert_ne!(with_replica(reads(&root)).await.0, "primary");
}

#[tokio::test(start_paused = true)]
async fn a_bound_read_that_finds_no_fresh_replica_is_the_primarys() {
    let (world, root) = in_turn().await;
    for replica in &world.replicas {
        replica.pause();
    }
    with_replica(async {
        let home = reads(&root).await.0;
        writes(&world, &root).await;
        assert_eq!(reads(&root).await, ("primary".to_owned(), Reason::NotFresh));
        for replica in &world.replicas {
            replica.resume();
        }
        pass(200).await;
        assert_eq!(reads(&root).await, (home, Reason::Sticky));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_bound_replica_that_is_gone_is_replaced() {
    let (world, root) = in_turn().await;
    with_replica(async {
        let home = reads(&root).await.0;
        world.db.disable(&home).unwrap();
        pass(200).await;
        let other = nodes(&root, 3).await;
        assert!(is_one(&other) && other[0] != home, "{other:?}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_written_in_a_scope_without_a_session_is_the_roots() {
    let (world, root) = in_turn().await;
    for replica in &world.replicas {
        replica.pause();
    }
    with_replica(writes(&world, &root)).await;
    assert_eq!(reads(&root).await.1, Reason::NotFresh);
}

#[tokio::test(start_paused = true)]
async fn what_the_root_wrote_is_seen_in_a_scope_at_any_time() {
    let (world, root) = in_turn().await;
    let (task, primary) = (Terms::new(&world.db), world.primary.clone());
    for replica in &world.replicas {
        replica.pause();
    }
    writes(&world, &root).await;
    // Before it began,
    assert_eq!(with_replica(reads(&root)).await.1, Reason::NotFresh);
    for replica in &world.replicas {
        replica.resume();
    }
    pass(200).await;
    with_replica(async {
        reads(&root).await;
        for replica in &world.replicas {
            replica.pause();
        }
        // and meanwhile, by a task that is outside and that this one waits for.
        let task = tokio::spawn(async move {
            let written = task.write().work().acquire().await.unwrap();
            primary.commit();
            drop(written);
        });
        task.await.unwrap();
        assert_eq!(reads(&root).await.1, Reason::NotFresh);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_writer_held_in_a_scope_keeps_the_roots_reads_on_the_primary() {
    let (_, root) = in_turn().await;
    let held = with_replica(async {
        let (_, route) = root.write().work().acquire().await.unwrap();
        route.hold_open()
    })
    .await;
    assert_eq!(reads(&root).await.1, Reason::OpenWriter);
    assert_eq!(with_replica(reads(&root)).await.1, Reason::OpenWriter);
    held.rolled_back();
    assert_ne!(reads(&root).await.1, Reason::OpenWriter);
}

/// Takes everything for a read but what says that it is none.
struct Trusting;

impl Classifier for Trusting {
    fn classify(&self, sql: &str) -> Classification {
        match sql.starts_with("insert") {
            true => Classification::WRITE,
            false => Classification::READ,
        }
    }
}

/// Runs a statement that standbys refuse with a failure, if there is one; returns where it ran and how it ended.
async fn run(
    terms: &Terms<Server>,
    sql: &str,
    on_standbys: Option<&'static str>,
) -> (Vec<&'static str>, Result<(), &'static str>) {
    let mut ran = Vec::new();
    let run = terms.work().run(sql, |server, _| {
        let (where_to, failure) = match server.is_standby() {
            true => ("standby", on_standbys),
            false => ("primary", None),
        };
        ran.push(where_to);
        Box::pin(async move { failure.map_or(Ok(()), |failure| Err(Failure(failure))) })
    });
    let ended = run.await.map(drop).map_err(|failure| failure.0);
    (ran, ended)
}

async fn trusting() -> (World, Terms<Server>) {
    let settings = settings().classifier(Trusting);
    let world = World::with(settings, vec![NodeSpec::new(); 2]).await;
    let root = Terms::new(&world.db);
    (world, root)
}

#[tokio::test(start_paused = true)]
async fn a_forbidden_write_reaches_no_server() {
    let (world, root) = trusting().await;
    let refused = (vec![], Err("refused by the router"));
    without_writes(async {
        for terms in [
            root.clone(),
            root.session(),
            root.preference(Preference::Primary),
        ] {
            assert_eq!(run(&terms, "insert", None).await, refused);
            assert_eq!(run(&terms.write(), "select", None).await, refused);
            let begun = terms
                .write()
                .work()
                .begin(|_| async { panic!("it got to a server") });
            let begun: Result<((), _), Failure> = begun.await;
            assert!(begun.is_err());
            assert!(terms.work().of_connection().acquire().await.is_err());
            assert_eq!(run(&terms, "select", None).await.1, Ok(()));
        }
        let refusal = root.explain("insert").unwrap_err();
        assert_eq!(refusal.intent(), Intent::Write);
        assert_eq!(why_not(&refusal), [WhyNot::WritesForbidden; 3]);
        assert!(
            refusal
                .to_string()
                .contains("primary: writes are forbidden in this scope")
        );
        assert!(!refusal.is_temporary());
    })
    .await;
    assert_eq!(world.db.status().nodes[0].writes, 0);
    assert_eq!(run(&root, "insert", None).await, (vec!["primary"], Ok(())));
}

#[tokio::test(start_paused = true)]
async fn nothing_inside_lifts_a_prohibition() {
    let (world, root) = trusting().await;
    let written = async || run(&root, "insert", None).await.1.is_ok();
    assert!(!without_writes(with_replica(written())).await);
    assert!(!without_writes(with_primary(written())).await);
    assert!(!without_writes(with_session(world.db.session(), written())).await);
    assert!(!with_replica(without_writes(with_primary(written()))).await);
    assert!(with_replica(written()).await);
}

#[tokio::test(start_paused = true)]
async fn what_a_replica_refuses_does_not_go_to_the_primary_where_writes_are_forbidden() {
    let (world, root) = trusting().await;
    let (ran, ended) = without_writes(run(&root, "select f()", Some("read-only"))).await;
    assert_eq!(
        (ran, ended),
        (vec!["standby"], Err("refused by the router"))
    );
    // It is known from now on, and then no server sees it.
    assert_eq!(world.db.status().misjudged, 1);
    let (ran, ended) = without_writes(run(&root, "select f()", Some("read-only"))).await;
    assert_eq!((ran, ended), (vec![], Err("refused by the router")));
    // What may be the statement's own fault is its error.
    let (ran, ended) = without_writes(run(&root, "select g()", Some("not in recovery"))).await;
    assert_eq!((ran, ended), (vec!["standby"], Err("not in recovery")));
}

#[tokio::test(start_paused = true)]
async fn what_failed_elsewhere_before_does_not_hide_the_refusal() {
    let (_, root) = trusting().await;
    let mut runs = 0;
    let ended = without_writes(async {
        let run = root.work().run("select f()", |_, _| {
            runs += 1;
            let failure = match runs {
                1 => "conflict with recovery",
                _ => "read-only",
            };
            Box::pin(async move { Err::<(), _>(Failure(failure)) })
        });
        run.await.map(drop)
    });
    assert_eq!(ended.await.unwrap_err().0, "refused by the router");
    assert_eq!(runs, 2);
}

/// Work begins where its terms are looked up, and keeps to them.
#[tokio::test(start_paused = true)]
async fn work_keeps_to_the_scope_that_it_began_in() {
    let (_, root) = in_turn().await;
    let begun = without_writes(with_primary(async { root.work() })).await;
    assert_eq!(&*begun.explain().unwrap().node, "primary");
    assert!(begun.of_connection().acquire().await.is_err());
    let mut begun = root.write().work();
    assert!(without_writes(begun.acquire()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_routed_directly_knows_no_scope() {
    let (world, _) = in_turn().await;
    without_writes(with_primary(async {
        assert_ne!(world.read(&world.db.session()).0, "primary");
        world.write(&world.db.session());
    }))
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_explanation_is_what_the_work_would_do() {
    let (world, root) = trusting().await;
    let session = world.db.session();
    with_session(session.clone(), async {
        let explained = with_primary(async { root.explain("select") }).await;
        assert_eq!(*explained.unwrap().node, *"primary");
        let home = with_replica(async { reads(&root).await.0 }).await;
        let explained = with_replica(async { root.explain("select") })
            .await
            .unwrap();
        assert_eq!(
            (&*explained.node, explained.reason),
            (&*home, Reason::Sticky)
        );
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn work_in_scopes_allocates_nothing_once_they_have_begun() {
    let (_, root) = in_turn().await;
    with_primary(with_replica(async {
        // The first work makes the scope's own session.
        drop(root.work());
        let count = allocation_counter::measure(|| drop(root.work())).count_total;
        assert_eq!(count, 0);
    }))
    .await;
}

/// Handlers are large, and scopes stand in scopes.
#[test]
fn a_scope_is_hardly_larger_than_what_is_in_it() {
    let large = async {
        let room = [0_u8; 10_000];
        std::future::ready(()).await;
        assert_eq!(room[7], 0);
    };
    let large_alone = size_of_val(&large);
    let inside = with_replica(with_primary(without_writes(carry(large))));
    assert!(size_of_val(&inside) < large_alone + 500);
}
