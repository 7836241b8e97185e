use dbrouter::{
    Admission, Candidates, Cause, Consistency, NodeSpec, Preference, Reason, Request, Role,
    RouteError, Router, SessionState, WhyNot,
};

use crate::world::{Mood, Server, World, builder, millis, name, pass, settings, zone};

const PREFERENCES: [Preference; 5] = [
    Preference::Primary,
    Preference::PrimaryPreferred,
    Preference::Replica,
    Preference::ReplicaPreferred,
    Preference::Nearest,
];

/// What is the matter with the one replica that would be read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Matter {
    Nothing,
    Stale,
    Unhealthy,
    Disabled,
    Draining,
    Tags,
    Weight,
    JustFailed,
}

const MATTERS: [Matter; 8] = [
    Matter::Nothing,
    Matter::Stale,
    Matter::Unhealthy,
    Matter::Disabled,
    Matter::Draining,
    Matter::Tags,
    Matter::Weight,
    Matter::JustFailed,
];

/// A world in which the matter is so: replica-1 has it, and replica-2 is disabled.
async fn having(matter: Matter) -> (World, SessionState, Request) {
    let specs = ["a", "b"].map(|zone| NodeSpec::new().tag("zone", zone));
    let world = World::with(settings(), specs.to_vec()).await;
    let session = world.db.session();
    let mut request = Request::read();
    world.db.disable("replica-2").unwrap();
    match matter {
        Matter::Nothing => {}
        Matter::Stale => world.write(&session),
        Matter::Unhealthy => world.lose("replica-1"),
        Matter::Disabled => world.db.disable("replica-1").unwrap(),
        Matter::Draining => {
            let work = world.db.route(&request, &session).unwrap();
            let drain = world.db.drain("replica-1");
            tokio::time::timeout(millis(1), drain).await.unwrap_err();
            work.without_effect();
        }
        Matter::Tags => request = request.tagged(zone("b")),
        Matter::Weight => world.db.set_weight("replica-1", 0).unwrap(),
        Matter::JustFailed => request.exclude(world.node("replica-1").id()),
    }
    (world, session, request)
}

/// The rule for a read while the primary is well: its node and reason, or why replica-1 was refused.
fn expected(preference: Preference, matter: Matter) -> Result<(&'static str, Reason), WhyNot> {
    let fallback = match matter {
        Matter::Nothing => None,
        Matter::Stale => Some(Reason::NotFresh),
        Matter::Unhealthy | Matter::JustFailed => Some(Reason::NoHealthyReplica),
        Matter::Disabled | Matter::Draining | Matter::Tags | Matter::Weight => {
            Some(Reason::NoReplica)
        }
    };
    match (preference, fallback) {
        (Preference::Primary | Preference::PrimaryPreferred, _) => {
            Ok(("primary", Reason::PreferenceIsPrimary))
        }
        (_, None) => Ok(("replica-1", Reason::Policy)),
        (Preference::ReplicaPreferred, Some(reason)) => Ok(("primary", reason)),
        // The primary lacks the label, and takes the read all the same when nobody has it.
        (Preference::Nearest, Some(reason)) if matter == Matter::Tags => Ok(("primary", reason)),
        (Preference::Nearest, Some(_)) => Ok(("primary", Reason::Policy)),
        (Preference::Replica, Some(_)) => match matter {
            Matter::Nothing | Matter::Unhealthy => Ok(("replica-1", Reason::Policy)),
            Matter::Stale => Err(WhyNot::NotFresh(None)),
            Matter::Disabled => Err(WhyNot::Admission(Admission::Disabled)),
            Matter::Draining => Err(WhyNot::Admission(Admission::Draining)),
            Matter::Tags => Err(WhyNot::Tags),
            Matter::Weight => Err(WhyNot::Weight),
            Matter::JustFailed => Err(WhyNot::JustFailed),
        },
    }
}

/// The same, whatever the node is short of.
fn kind(why_not: WhyNot) -> WhyNot {
    match why_not {
        WhyNot::NotFresh(Some(short)) if !short.is_zero() => WhyNot::NotFresh(None),
        other => other,
    }
}

fn why_not(error: &RouteError, node: &str) -> WhyNot {
    let mut refusals = error.refusals().iter();
    refusals.find(|refusal| &*refusal.node == node).unwrap().why
}

#[tokio::test(start_paused = true)]
async fn every_preference_meets_every_condition_with_its_node_and_reason() {
    for preference in PREFERENCES {
        for matter in MATTERS {
            let (world, session, request) = having(matter).await;
            let went = world.goes(&request.preference(preference), &session);
            let case = format!("{preference} with {matter:?}");
            match (went, expected(preference, matter)) {
                (Ok((node, reason)), Ok(expected)) => {
                    assert_eq!((&*node, reason), expected, "{case}");
                }
                (Err(error), Err(expected)) => {
                    assert_eq!(kind(why_not(&error, "replica-1")), expected, "{case}");
                    assert_eq!(why_not(&error, "primary"), WhyNot::Preference, "{case}");
                    let disabled = WhyNot::Admission(Admission::Disabled);
                    assert_eq!(why_not(&error, "replica-2"), disabled, "{case}");
                    assert_eq!(error.refusals().len(), 3, "{case}");
                }
                (went, expected) => panic!("{case}: {went:?}, not {expected:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_primary_replicas_serve_whoever_may_use_them() {
    for (preference, node, reason) in [
        (Preference::Primary, "primary", Reason::PreferenceIsPrimary),
        (Preference::PrimaryPreferred, "replica-1", Reason::NoPrimary),
        (Preference::Replica, "replica-1", Reason::Policy),
        (Preference::ReplicaPreferred, "replica-1", Reason::Policy),
        (Preference::Nearest, "replica-1", Reason::Policy),
    ] {
        let world = World::of(1).await;
        world.lose("primary");
        let request = Request::read().preference(preference);
        let went = world.went(&request, &world.db.session());
        assert_eq!(went, (node.to_owned(), reason), "{preference}");
    }
}

#[tokio::test(start_paused = true)]
async fn if_all_are_unhealthy_one_is_tried_rather_than_refused() {
    for preference in PREFERENCES {
        let world = World::of(2).await;
        for node in ["primary", "replica-1", "replica-2"] {
            world.lose(node);
        }
        let request = Request::read().preference(preference);
        assert!(
            world.goes(&request, &world.db.session()).is_ok(),
            "{preference}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_every_node_and_whether_it_may_pass() {
    let world = World::of(2).await;
    let session = world.db.session();
    world.write(&session);
    world.db.disable("replica-1").unwrap();
    let request = Request::read().preference(Preference::Replica);
    let error = world.goes(&request, &session).unwrap_err();
    assert!(error.is_temporary());
    let text = error.to_string();
    let (known, short) = text.split_once("; replica-2: it is ").unwrap();
    assert_eq!(
        known,
        "no node for this read: primary: the preference rules it out; replica-1: it is disabled"
    );
    assert!(short.ends_with("s short of what must be seen"), "{short}");
    world.db.disable("replica-2").unwrap();
    assert!(!world.goes(&request, &session).unwrap_err().is_temporary());
}

#[tokio::test(start_paused = true)]
async fn a_write_goes_to_the_primary_or_nowhere() {
    for preference in PREFERENCES {
        let world = World::of(2).await;
        let session = world.db.session();
        let request = Request::write().preference(preference);
        let primary = ("primary".to_owned(), Reason::Write);
        assert_eq!(world.went(&request, &session), primary);
        // Not to answer is no reason to refuse a write: there is nobody else.
        world.lose("primary");
        assert_eq!(world.went(&request, &session), primary);
        world.db.disable("primary").unwrap();
        let error = world.goes(&request, &session).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no node for this write: primary: it is disabled; \
             replica-1: it does not take the writes; replica-2: it does not take the writes"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_tells_what_it_was_concluded_from() {
    let world = World::of(1).await;
    for (cause, reason) in [
        (Cause::Asked, Reason::Write),
        (Cause::Hint, Reason::Write),
        (Cause::Writes, Reason::Write),
        (Cause::Locks, Reason::Write),
        (Cause::Volatile, Reason::Unclassified),
        (Cause::UnknownFunction, Reason::Unclassified),
        (Cause::SessionDependent, Reason::Unclassified),
        (Cause::SeveralStatements, Reason::Unclassified),
        (Cause::Malformed, Reason::Unclassified),
        (Cause::Unknown, Reason::Unclassified),
        (Cause::SessionState, Reason::SessionState),
        (Cause::Refused, Reason::Misrouted),
    ] {
        let request = Request::read().with_intent(dbrouter::Intent::Write, cause);
        let went = world.went(&request, &world.db.session());
        assert_eq!(went, ("primary".to_owned(), reason));
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_that_a_replica_does_not_understand_is_the_primarys() {
    let world = World::of(2).await;
    let session = world.db.session();
    let mut request = Request::read();
    request.not_replayed();
    let route = world.db.route(&request, &session).unwrap();
    assert_eq!(
        (name(&route), route.reason()),
        ("primary".to_owned(), Reason::NotReplayed)
    );
    drop(route);
    assert_eq!(world.db.status().fallbacks(Reason::NotReplayed), 1);
    // What the primary has shown must be on a replica before the session may read there again.
    assert_eq!(world.read(&session).1, Reason::NotFresh);
    let only_replicas = request.preference(Preference::Replica);
    assert!(world.goes(&only_replicas, &world.db.session()).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_demoted_primary_takes_no_writes() {
    let world = World::of(1).await;
    world.primary.demote();
    pass(200).await;
    let error = world
        .goes(&Request::write(), &world.db.session())
        .unwrap_err();
    assert_eq!(why_not(&error, "primary"), WhyNot::Role(Role::Replica));
    assert_eq!(why_not(&error, "replica-1"), WhyNot::NotThePrimary);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_calls_itself_primary_takes_neither_reads_nor_writes() {
    let world = World::of(2).await;
    world.replicas[1].promote();
    // An old primary that is back: its history has been left.
    world.replicas[1].fork(0, 2000);
    pass(200).await;
    let session = world.db.session();
    assert_eq!(world.read(&session).0, "replica-1");
    assert_eq!(world.went(&Request::write(), &session).0, "primary");
    let mut request = Request::read().preference(Preference::Replica);
    request.exclude(world.node("replica-1").id());
    let error = world.goes(&request, &session).unwrap_err();
    assert_eq!(why_not(&error, "replica-2"), WhyNot::Role(Role::Primary));
}

#[tokio::test(start_paused = true)]
async fn a_node_of_unknown_role_takes_nothing() {
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    primary.mood(Mood::Refusing);
    replica.mood(Mood::Refusing);
    let db = builder(settings().start(dbrouter::Start::ReadOnly))
        .primary(NodeSpec::new(), primary)
        .replica(NodeSpec::new(), replica)
        .connect()
        .await
        .unwrap();
    let session = db.session();
    for preference in PREFERENCES {
        for request in [Request::read(), Request::write()] {
            let eventual = request
                .preference(preference)
                .consistency(Consistency::Eventual);
            let error = db.route(&eventual, &session).unwrap_err();
            let refusals = error.refusals().iter();
            let by_role = refusals.filter(|refusal| refusal.why == WhyNot::Role(Role::Unknown));
            assert!(by_role.count() > 0, "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_that_were_never_reached_are_called_unhealthy_and_not_unsuitable() {
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    replica.mood(Mood::Refusing);
    let db = builder(settings())
        .primary(NodeSpec::new(), primary)
        .replica(NodeSpec::new(), replica)
        .connect()
        .await
        .unwrap();
    let route = db.route(&Request::read(), &db.session()).unwrap();
    assert_eq!(route.reason(), Reason::NoHealthyReplica);
}

#[tokio::test(start_paused = true)]
async fn an_eventual_read_accepts_any_replica_and_promises_nothing() {
    let world = World::of(1).await;
    let session = world.db.session();
    world.replicas[0].pause();
    world.write(&session);
    let needs = session.needs();
    let eventual = Request::read().consistency(Consistency::Eventual);
    let replica = ("replica-1".to_owned(), Reason::Policy);
    assert_eq!(world.went(&eventual, &session), replica);
    assert_eq!(session.needs(), needs);
    assert_eq!(world.read(&session).1, Reason::NotFresh);
    let writer = world.db.route(&Request::write(), &session).unwrap();
    let writer = writer.hold_open();
    assert_eq!(world.went(&eventual, &session), replica);
    drop(writer);
}

#[tokio::test(start_paused = true)]
async fn while_a_writer_is_open_reads_go_to_the_primary() {
    let world = World::of(1).await;
    let session = world.db.session();
    let writers = [(); 2].map(|()| {
        let route = world.db.route(&Request::write(), &session).unwrap();
        route.hold_open()
    });
    let primary = ("primary".to_owned(), Reason::OpenWriter);
    for writer in writers {
        pass(50).await;
        assert_eq!(world.read(&session), primary);
        drop(writer);
    }
    assert_eq!(world.read(&session).1, Reason::NotFresh);
    pass(50).await;
    assert_eq!(world.read(&session).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_wrote_nothing_leaves_no_needs() {
    let world = World::of(1).await;
    let session = world.db.session();
    let needs = session.needs();
    let writer = world.db.route(&Request::write(), &session).unwrap();
    writer.hold_open().without_effect();
    assert_eq!(session.needs(), needs);
    assert_eq!(world.read(&session).0, "replica-1");
}

#[tokio::test(start_paused = true)]
async fn nearest_chooses_among_the_primary_and_the_replicas() {
    let world = World::under(
        |candidates: Candidates<'_>, _: &Request| {
            let roles: Vec<_> = candidates
                .iter()
                .map(|candidate| candidate.role())
                .collect();
            assert_eq!(roles, [Role::Primary, Role::Replica]);
            Some(0)
        },
        1,
    )
    .await;
    let nearest = Request::read().preference(Preference::Nearest);
    let went = world.went(&nearest, &world.db.session());
    assert_eq!(went, ("primary".to_owned(), Reason::Policy));
}

#[tokio::test(start_paused = true)]
async fn the_primarys_weight_counts_only_where_it_is_one_of_many() {
    let world = World::of(1).await;
    world.db.set_weight("primary", 0).unwrap();
    world.db.disable("replica-1").unwrap();
    let session = world.db.session();
    let nearest = Request::read().preference(Preference::Nearest);
    let fallback = ("primary".to_owned(), Reason::NoReplica);
    assert_eq!(world.went(&nearest, &session), fallback);
    assert_eq!(world.went(&Request::write(), &session).0, "primary");
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_declines_sends_the_read_to_the_primary_or_nowhere() {
    let world = World::under(|_: Candidates<'_>, _: &Request| None, 1).await;
    let session = world.db.session();
    let primary = ("primary".to_owned(), Reason::PolicyDeclined);
    assert_eq!(world.read(&session), primary);
    assert_eq!(world.db.status().fallbacks(Reason::PolicyDeclined), 1);
    let only = Request::read().preference(Preference::Replica);
    let error = world.goes(&only, &world.db.session()).unwrap_err();
    assert_eq!(why_not(&error, "replica-1"), WhyNot::PolicyDeclined);
}

#[tokio::test(start_paused = true)]
async fn a_pick_out_of_range_is_counted_and_means_the_first_candidate() {
    for index in [2, usize::MAX] {
        let world = World::under(move |_: Candidates<'_>, _: &Request| Some(index), 2).await;
        let session = world.db.session();
        assert_eq!(
            world.read(&session),
            ("replica-1".to_owned(), Reason::Policy)
        );
        assert_eq!(world.db.status().policy_out_of_range, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_leaves_out_the_nodes_that_failed_it() {
    let world = World::of(2).await;
    let session = world.db.session();
    let mut request = Request::read();
    let mut went = Vec::new();
    for _ in 0..3 {
        let route = world.db.route(&request, &session).unwrap();
        went.push(crate::world::name(&route));
        request.exclude(route.node().id());
        route.without_effect();
    }
    assert_eq!(went, ["replica-2", "replica-1", "primary"]);
    assert!(request.is_retry());
    assert!(world.goes(&request, &session).unwrap_err().is_temporary());
}

#[tokio::test(start_paused = true)]
async fn the_demoted_primary_of_a_refusal_is_described_as_the_replica_it_is() {
    let world = World::of(1).await;
    world.primary.demote();
    pass(200).await;
    let session = world.db.session();
    drop(world.db.route(&Request::read(), &session).unwrap());
    world.db.disable("replica-1").unwrap();
    world.db.disable("primary").unwrap();
    let request = Request::read().preference(Preference::Replica);
    let error = world.goes(&request, &session).unwrap_err();
    assert_eq!(
        why_not(&error, "primary"),
        WhyNot::Admission(Admission::Disabled)
    );
}
