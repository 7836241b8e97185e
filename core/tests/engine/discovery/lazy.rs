//! Builders that end without connecting.

use dbrouter::observer::{Event, Observer};
use dbrouter::{ConfigErrorKind, NodeOptions, Preference, Request, Role, Router, Start};
use std::sync::{Arc, Mutex};

use super::{Net, names, replica, script};
use crate::world::{Mood, name, pass};

const PRIMARY: &str = "postgres://app:pw@primary/shop";

async fn goes(db: &dbrouter::Cluster<crate::world::Server>, request: &Request) -> String {
    name(&db.route_patiently(request, &db.session()).await.unwrap())
}

#[test]
fn pools_that_were_opened_outside_of_a_runtime_are_opened_anew_in_the_first() {
    let net = Net::of(&["a:5432"]);
    let roles = || -> Vec<_> { net.opened().into_iter().map(|(_, role)| role).collect() };
    let lazy = || {
        let builder = net.builder().primary(PRIMARY);
        builder
            .replica("postgres://app@a/shop")
            .connect_lazy()
            .unwrap()
    };
    let db = lazy();
    assert_eq!(roles(), [Role::Primary, Role::Replica]);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    runtime.block_on(async {
        assert_eq!(goes(&db, &Request::write()).await, "primary");
        let again = [Role::Primary, Role::Replica].repeat(2);
        assert_eq!(roles(), again);
        // Those that were opened inside of one stay.
        let db = lazy();
        assert_eq!(goes(&db, &Request::write()).await, "primary");
        assert_eq!(roles()[4..], again[..2]);
    });
}

#[tokio::test(start_paused = true)]
async fn the_source_is_asked_with_the_first_work_which_does_not_wait_for_it() {
    let net = Net::of(&["a:5432"]);
    let (teller, script) = script();
    let builder = net.builder().primary(PRIMARY).discover(script);
    let db = builder.connect_lazy().unwrap();
    pass(1000).await;
    assert_eq!(teller.asked().len(), 0);
    assert_eq!(goes(&db, &Request::read()).await, "primary");
    teller.tell([replica("a")]);
    pass(1000).await;
    assert_eq!(goes(&db, &Request::read()).await, "a:5432");
}

#[tokio::test(start_paused = true)]
async fn the_primary_must_be_named() {
    let net = Net::of(&["a:5432"]);
    let (_teller, script) = script();
    let named = "postgres://app@a/shop";
    let cases = [
        (net.builder(), "primary", "no primary was given"),
        (
            net.builder().nodes([PRIMARY]),
            "nodes",
            "name it with `primary`",
        ),
        (
            net.builder().discover(script),
            "discover",
            "name it with `primary`",
        ),
        (
            net.builder().primary(PRIMARY).nodes([named]),
            "primary",
            "one or the other",
        ),
    ];
    for (builder, field, text) in cases {
        let error = builder.start(Start::ReadOnly).connect_lazy().unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (ConfigErrorKind::Primary, field)
        );
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_eq!(net.opened(), []);
}

#[derive(Clone, Default)]
struct Decisions(Arc<Mutex<Vec<String>>>);

impl Observer for Decisions {
    fn happened(&self, _: &Event) {}

    fn decided(&self, decided: &dbrouter::observer::Decided<'_>) {
        self.0.lock().unwrap().push(decided.peer.node().to_owned());
    }
}

/// Whatever the builder says holds for a single node, too, and nobody asks it anything.
#[test]
fn a_single_node_is_taken_for_a_primary_with_all_that_the_builder_says() {
    let net = Net::of(&[]);
    let decisions = Decisions::default();
    let pool = NodeOptions::with_pool(net.at("primary:5432"));
    net.at("primary:5432").mood(Mood::Refusing);
    let db = net
        .builder()
        .primary(pool.name("here").tag("zone", "eu"))
        .observer(decisions.clone())
        .preference(Preference::Primary)
        .single()
        .unwrap();
    assert_eq!(names(&db), ["here"]);
    let status = db.status();
    let node = status.node("here").unwrap();
    assert!(
        node.role == Role::Primary && node.healthy && !status.unwatched,
        "{status}"
    );
    assert_eq!(node.tags.value("zone"), Some("eu"));
    for request in [Request::read(), Request::write()] {
        drop(db.route(&request, &db.session()).unwrap());
    }
    assert_eq!(*decisions.0.lock().unwrap(), ["here", "here"]);
    assert_eq!(net.at("primary:5432").asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_single_node_has_no_others() {
    let net = Net::of(&["a:5432"]);
    let (_teller, script) = script();
    let named = "postgres://app@a/shop";
    let single = || net.builder().primary(PRIMARY);
    let cases = [
        (single().replica(named), "replicas"),
        (single().nodes([named]), "nodes"),
        (single().discover(script), "discover"),
        (net.builder(), "primary"),
    ];
    for (builder, field) in cases {
        let error = builder.single().unwrap_err();
        assert_eq!(
            (error.kind(), error.field()),
            (ConfigErrorKind::Primary, field)
        );
    }
    let zero = single().acquire_limit(std::time::Duration::ZERO).single();
    assert_eq!(zero.unwrap_err().kind(), ConfigErrorKind::OutOfRange);
    let db = single().single().unwrap();
    let opened = net.opened();
    assert!(
        opened
            .iter()
            .all(|node| *node == (PRIMARY.to_owned(), Role::Primary))
    );
    assert!(db.route(&Request::write(), &db.session()).is_ok());
}

#[test]
fn a_single_node_given_by_url_needs_a_runtime_to_open_its_pool() {
    let error = Net::of(&[])
        .builder()
        .primary(PRIMARY)
        .single()
        .unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Runtime);
}
