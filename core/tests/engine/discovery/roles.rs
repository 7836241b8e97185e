//! Nodes without roles: found out by asking.

use std::error::Error as _;

use dbrouter::{ConfigError, ConfigErrorKind, NodeOptions, Request, Role, Router, Start};

use super::{Net, names};
use crate::world::{Mood, Server, pass};

const HOSTS: [&str; 3] = ["a:5432", "b:5432", "c:5432"];

/// Three standbys of a primary that is not among them.
fn standbys() -> Net {
    Net::of(&HOSTS)
}

fn urls() -> [String; 3] {
    HOSTS.map(|host| format!("postgres://app:pw@{host}/shop"))
}

async fn error(net: &Net, start: Start) -> ConfigError {
    let builder = net.builder().nodes(urls()).start(start);
    builder.connect().await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn who_says_so_is_the_primary_and_the_others_are_replicas() {
    let net = standbys();
    net.put("b:5432", net.at("primary:5432"));
    let db = net.builder().nodes(urls()).connect().await.unwrap();
    assert_eq!(names(&db), ["b:5432", "a:5432", "c:5432"]);
    let roles: Vec<_> = db.nodes().iter().map(|node| node.role()).collect();
    assert_eq!(roles, [Role::Primary, Role::Replica, Role::Replica]);
    assert!(db.route(&Request::write(), &db.session()).is_ok());
    // Nobody was asked on connections that may write, before it was known who may.
    let writable: Vec<_> = net
        .opened()
        .into_iter()
        .filter(|(_, role)| *role != Role::Replica)
        .collect();
    assert_eq!(writable, [(urls()[1].clone(), Role::Primary)]);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_answer_costs_the_time_limit_once_and_comes_later() {
    let net = standbys();
    net.put("c:5432", net.at("primary:5432"));
    for host in ["a:5432", "b:5432"] {
        net.at(host).mood(Mood::Hanging);
    }
    let before = tokio::time::Instant::now();
    let db = net.builder().nodes(urls()).connect().await.unwrap();
    // Once to find the primary, once to meet the replicas, both all at once.
    assert!(before.elapsed().as_millis() < 2100);
    for host in ["a:5432", "b:5432"] {
        net.at(host).mood(Mood::Answering);
    }
    pass(2000).await;
    assert!(db.nodes().iter().all(|node| node.is_healthy()));
}

#[tokio::test(start_paused = true)]
async fn of_two_primaries_it_is_the_one_on_the_highest_timeline() {
    for (newer, older) in [("a:5432", "c:5432"), ("c:5432", "a:5432")] {
        let net = standbys();
        net.put(older, net.at("primary:5432"));
        net.at(newer).promote();
        net.at(newer).fork(2, 2000);
        let db = net.builder().nodes(urls()).connect().await.unwrap();
        assert_eq!(names(&db)[0], newer);
        for _ in 0..10 {
            let route = db.route(&Request::read(), &db.session()).unwrap();
            assert_ne!(&**route.node().name(), older, "it is no replica either");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_primaries_on_one_timeline_are_an_error() {
    let net = standbys();
    for host in ["a:5432", "b:5432"] {
        net.at(host).promote();
    }
    for start in [Start::WithPrimary, Start::ReadOnly] {
        let error = error(&net, start).await;
        assert_eq!(
            (error.kind(), error.field()),
            (ConfigErrorKind::Primary, "nodes")
        );
        let text = error.to_string();
        assert!(text.contains("more than one node"), "{text}");
        assert!(
            text.contains("a:5432: is a primary; b:5432: is a primary; c:5432: is a replica"),
            "{text}"
        );
    }
    // A third on a later one ends the tie.
    net.at("c:5432").promote();
    net.at("c:5432").fork(3, 2000);
    let db = net.builder().nodes(urls()).connect().await.unwrap();
    assert_eq!(names(&db)[0], "c:5432");
}

#[tokio::test(start_paused = true)]
async fn without_a_primary_all_say_what_they_are() {
    let net = standbys();
    net.at("b:5432").mood(Mood::Refusing);
    net.at("c:5432").mood(Mood::Hanging);
    let error = error(&net, Start::WithPrimary).await;
    assert_eq!(
        (error.kind(), error.field()),
        (ConfigErrorKind::Primary, "nodes")
    );
    assert!(error.source().is_none());
    let text = error.to_string();
    for part in [
        "no node says that it is the primary",
        "start read-only",
        "a:5432: is a replica",
        "b:5432: connection refused",
        "c:5432: no answer within 1s",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains("pw"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn read_only_the_first_that_does_not_answer_may_be_the_primary() {
    let net = standbys();
    net.put("b:5432", net.at("primary:5432"));
    net.at("b:5432").mood(Mood::Refusing);
    let builder = net.builder().nodes(urls()).start(Start::ReadOnly);
    let db = builder.connect().await.unwrap();
    assert_eq!(names(&db), ["b:5432", "a:5432", "c:5432"]);
    assert!(db.route(&Request::write(), &db.session()).is_err());
    net.at("b:5432").mood(Mood::Answering);
    pass(1000).await;
    assert!(db.route(&Request::write(), &db.session()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn read_only_standbys_alone_serve_and_whichever_is_promoted_takes_the_writes() {
    for promoted in HOSTS {
        let net = standbys();
        let builder = net.builder().nodes(urls()).start(Start::ReadOnly);
        let db = builder.connect().await.unwrap();
        assert_eq!(names(&db), HOSTS);
        assert!(db.route(&Request::read(), &db.session()).is_ok());
        let refused = db.route(&Request::write(), &db.session()).unwrap_err();
        assert!(refused.is_without_primary(), "{refused}");
        net.at(promoted).promote();
        net.at(promoted).fork(2, 2000);
        pass(1000).await;
        let route = db.route(&Request::write(), &db.session()).unwrap();
        assert_eq!(&**route.node().name(), promoted);
    }
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_panics_is_one_that_does_not_answer() {
    let net = standbys();
    net.put("b:5432", net.at("primary:5432"));
    net.at("a:5432").mood(Mood::Panicking);
    let db = net.builder().nodes(urls()).connect().await.unwrap();
    assert_eq!(names(&db)[0], "b:5432");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_given_twice_is_one_node() {
    let net = standbys();
    for host in ["a:5432", "c:5432"] {
        net.put(host, net.at("primary:5432"));
    }
    let db = net.builder().nodes(urls()).connect().await.unwrap();
    assert_eq!(names(&db), ["a:5432", "b:5432"]);
}

#[tokio::test(start_paused = true)]
async fn nodes_may_be_named_and_be_pools() {
    let net = standbys();
    let nodes = [
        NodeOptions::with_pool(net.at("a:5432")).name("here"),
        NodeOptions::with_pool(net.at("primary:5432")),
        NodeOptions::new(urls()[1].clone()).weight(3),
    ];
    let db = net.builder().nodes(nodes).connect().await.unwrap();
    assert_eq!(names(&db), ["primary", "here", "b:5432"]);
    assert_eq!(db.status().node("b:5432").unwrap().weight, 3);
}

#[tokio::test(start_paused = true)]
async fn a_primary_is_given_or_found_and_not_both() {
    let net = standbys();
    let both = net.builder().primary(urls()[0].clone()).nodes(urls());
    let error = both.connect().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (ConfigErrorKind::Primary, "primary")
    );
    let none = net.builder().nodes(Vec::<String>::new());
    let error = none.connect().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (ConfigErrorKind::EmptyList, "nodes")
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_cluster_is_an_error_all_the_same() {
    let net = standbys();
    net.put("a:5432", net.at("primary:5432"));
    let stranger: Server = net.at("c:5432");
    stranger.identity(Some("9999"));
    let error = error(&net, Start::WithPrimary).await;
    assert_eq!(
        (error.kind(), error.field()),
        (ConfigErrorKind::OtherCluster, "c:5432.url")
    );
}
