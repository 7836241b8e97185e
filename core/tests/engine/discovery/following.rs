//! What becomes of a router's nodes when its source says something else.

use dbrouter::discover::{
    Aurora, Backoff, Discover, DiscoverError, Dns, Endpoint, Servers, Standbys, Static,
};
use dbrouter::{
    Admission, Cluster, ConfigErrorKind, NodeOptions, Request, Role, Router, Start, Status,
};
use std::time::Duration;

use super::{Net, Teller, names, replica, script};
use crate::world::{Asked, Mood, Server, name, pass};

const PRIMARY: &str = "postgres://app:pw@primary/shop?sslmode=require";

/// A router over a primary and these standbys, found by a script.
async fn found(net: &Net, hosts: &[&str]) -> (Cluster<Server>, Teller) {
    let (teller, script) = script();
    teller.tell(hosts.iter().map(|host| replica(host)));
    let builder = net.builder().primary(PRIMARY).discover(script);
    (builder.connect().await.unwrap(), teller)
}

fn goes(db: &Cluster<Server>) -> String {
    name(&db.route(&Request::read(), &db.session()).unwrap())
}

fn last_error(db: &Cluster<Server>) -> Option<String> {
    let Status { discovery, .. } = db.status();
    discovery.unwrap().last_error
}

#[tokio::test(start_paused = true)]
async fn the_first_set_serves_when_the_router_is_there() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let (db, _teller) = found(&net, &["a", "b"]).await;
    assert_eq!(names(&db), ["primary", "a:5432", "b:5432"]);
    assert_eq!(goes(&db), "b:5432");
    let opened = net.opened();
    let url = |host: &str| format!("postgres://app:pw@{host}/shop?sslmode=require");
    assert_eq!(
        opened,
        [
            (url("primary"), Role::Primary),
            (url("a"), Role::Replica),
            (url("b"), Role::Replica)
        ]
    );
    assert_eq!(db.status().discovery.unwrap().sets, 1);
}

#[tokio::test(start_paused = true)]
async fn who_is_new_is_added_and_serves_once_it_is_met() {
    let net = Net::of(&["a:5432", "b:5433"]);
    let (db, teller) = found(&net, &["a"]).await;
    net.at("b:5433").mood(Mood::Refusing);
    teller.tell([
        replica("a"),
        Endpoint::host("b", Some(5433)).role(Role::Replica),
    ]);
    pass(500).await;
    assert_eq!(names(&db), ["primary", "a:5432"]);
    let status = db.status();
    assert_eq!(status.discovery.as_ref().unwrap().unmet, ["b:5433"]);
    assert!(status.to_string().contains("but silent: b:5433"));
    net.at("b:5433").mood(Mood::Answering);
    pass(2000).await;
    assert_eq!(names(&db), ["primary", "a:5432", "b:5433"]);
    assert_eq!(goes(&db), "b:5433");
    assert!(db.status().discovery.unwrap().unmet.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_gone_finishes_its_work_and_gets_no_more() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let (db, teller) = found(&net, &["a", "b"]).await;
    let work = db.route(&Request::read(), &db.session()).unwrap();
    assert_eq!(name(&work), "b:5432");
    teller.tell([replica("a")]);
    pass(60_000).await;
    assert_eq!(goes(&db), "a:5432");
    let status = db.status();
    let node = status.node("b:5432").unwrap();
    assert_eq!((node.admission, node.in_flight), (Admission::Draining, 1));
    // Others go and come meanwhile.
    teller.tell([replica("a").weight(3)]);
    pass(10).await;
    assert_eq!(db.status().node("a:5432").unwrap().weight, 3);
    drop(work);
    pass(10).await;
    assert_eq!(names(&db), ["primary", "a:5432"]);
    let asked = net.at("b:5432").asked();
    pass(1000).await;
    assert_eq!(net.at("b:5432").asked(), asked, "it is no longer watched");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_before_its_work_is_done_stays() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let (db, teller) = found(&net, &["a", "b"]).await;
    let before = db.node("b:5432").unwrap().id();
    let work = db.route(&Request::read(), &db.session()).unwrap();
    teller.tell([replica("a")]);
    pass(10).await;
    teller.tell([replica("a"), replica("b")]);
    pass(10).await;
    drop(work);
    pass(1000).await;
    assert_eq!(db.node("b:5432").unwrap().id(), before);
    assert_eq!(goes(&db), "b:5432");
    // And may go again.
    teller.tell([replica("a")]);
    pass(10).await;
    assert_eq!(names(&db), ["primary", "a:5432"]);
}

#[tokio::test(start_paused = true)]
async fn who_came_back_in_time_and_goes_again_is_gone_once() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let (db, teller) = found(&net, &["a", "b"]).await;
    let work = db.route(&Request::read(), &db.session()).unwrap();
    // No time passes in between: the first drain has not noticed anything when the second begins.
    for set in [&["a"][..], &["a", "b"], &["a"], &["a", "b"], &["a"]] {
        teller.tell(set.iter().map(|host| replica(host)));
    }
    pass(10).await;
    drop(work);
    pass(10).await;
    assert_eq!(names(&db), ["primary", "a:5432"]);
    teller.tell([replica("a"), replica("b")]);
    pass(500).await;
    assert_eq!(goes(&db), "b:5432");
}

#[tokio::test(start_paused = true)]
async fn the_same_set_changes_nothing() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let (db, teller) = found(&net, &["a", "b"]).await;
    let ids = |db: &Cluster<Server>| -> Vec<_> { db.nodes().iter().map(|n| n.id()).collect() };
    let (before, opened) = (ids(&db), net.opened());
    let fresh = db.node("a:5432").unwrap().fresh_as_of();
    for _ in 0..3 {
        teller.tell([replica("b"), replica("a"), replica("a")]);
        pass(1).await;
    }
    assert_eq!((ids(&db), net.opened()), (before, opened));
    assert!(db.node("a:5432").unwrap().fresh_as_of() >= fresh);
    assert_eq!(db.status().discovery.unwrap().sets, 4);
}

#[tokio::test(start_paused = true)]
async fn another_weight_is_applied() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let (db, teller) = found(&net, &["a", "b"]).await;
    let id = db.node("b:5432").unwrap().id();
    teller.tell([replica("a"), replica("b").weight(0)]);
    pass(10).await;
    assert_eq!(goes(&db), "a:5432");
    teller.tell([replica("a"), replica("b")]);
    pass(10).await;
    assert_eq!(goes(&db), "b:5432");
    assert_eq!(db.node("b:5432").unwrap().id(), id);
}

#[tokio::test(start_paused = true)]
async fn who_is_elsewhere_now_is_drained_and_opened_anew() {
    let net = Net::of(&["a:5432", "b:5432", "c:5432"]);
    let (teller, script) = script();
    teller.tell([replica("a"), replica("b").name("moving")]);
    let builder = net.builder().primary(PRIMARY).discover(script);
    let db = builder.connect().await.unwrap();
    let before = db.node("moving").unwrap().id();
    let work = db.route(&Request::read(), &db.session()).unwrap();
    assert_eq!(name(&work), "moving");
    teller.tell([replica("a"), replica("c").name("moving")]);
    pass(1000).await;
    assert_eq!(db.node("moving").unwrap().id(), before);
    assert_eq!(goes(&db), "a:5432");
    drop(work);
    pass(1000).await;
    assert_ne!(db.node("moving").unwrap().id(), before);
    assert_eq!(goes(&db), "moving");
    assert!(net.opened().last().unwrap().0.contains("@c/"));
}

#[tokio::test(start_paused = true)]
async fn an_error_leaves_the_nodes_and_is_seen() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let (db, teller) = found(&net, &["a", "b"]).await;
    teller.fail();
    pass(10).await;
    teller.tell([]);
    pass(100_000).await;
    assert_eq!(names(&db), ["primary", "a:5432", "b:5432"]);
    assert_eq!(goes(&db), "b:5432");
    let discovery = db.status().discovery.unwrap();
    assert_eq!((discovery.sets, discovery.failures), (1, 2));
    let error = discovery.last_error.unwrap();
    assert_eq!(error, "there is no node in the set");
    assert!(db.status().to_string().contains(&error));
    teller.tell([replica("a")]);
    pass(100_000).await;
    assert_eq!(names(&db), ["primary", "a:5432"]);
    assert_eq!(last_error(&db), None);
}

#[tokio::test(start_paused = true)]
async fn after_an_error_it_is_asked_again_later_and_later() {
    let net = Net::of(&["a:5432"]);
    let (teller, script) = script();
    teller.tell([replica("a")]);
    let backoff = Backoff::new()
        .first(Duration::from_secs(2))
        .most(Duration::from_secs(10))
        .seed(7);
    let builder = net.builder().primary(PRIMARY).discover(script);
    let db = builder.discover_backoff(backoff).connect().await.unwrap();
    for _ in 0..5 {
        teller.fail();
    }
    pass(600_000).await;
    teller.tell([replica("a")]);
    pass(10).await;
    teller.fail();
    pass(600_000).await;
    let asked = teller.asked();
    // The first is of the start, and the second waited for the first error.
    let waits: Vec<_> = asked[1..].windows(2).map(|two| two[1] - two[0]).collect();
    for (wait, most) in waits.iter().zip([2.0, 4.0, 8.0, 10.0, 10.0]) {
        let wait = wait.as_secs_f64();
        // Tokio's clock has milliseconds.
        assert!(
            wait >= most / 2.0 && wait <= most + 0.002,
            "{wait} of {most}"
        );
    }
    let last = waits.last().unwrap().as_secs_f64();
    assert!((1.0..=2.002).contains(&last), "{last}, after a success");
    assert_eq!(names(&db), ["primary", "a:5432"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_at_first_is_a_configuration_error() {
    let net = Net::of(&["a:5432"]);
    for empty in [true, false] {
        let (teller, script) = script();
        match empty {
            true => teller.tell([]),
            false => teller.fail(),
        }
        let builder = net.builder().primary(PRIMARY).discover(script);
        let error = builder.connect().await.unwrap_err();
        assert_eq!(error.kind(), ConfigErrorKind::Discovery);
        assert_eq!(error.field(), "discover");
        let wanted = match empty {
            true => "discover: there is no node in the set",
            false => "discover: the oracle is silent",
        };
        assert_eq!(error.to_string(), wanted);
        assert!(!teller.is_followed());
    }
    let (_teller, script) = script();
    let builder = net.builder().primary(PRIMARY).discover(script);
    let error = builder.connect().await.unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Discovery);
    assert!(error.to_string().contains("no nodes within 30s"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_router_that_may_start_read_only_starts_without_its_source() {
    let net = Net::of(&["a:5432"]);
    let (teller, script) = script();
    teller.fail();
    let builder = net.builder().primary(PRIMARY).discover(script);
    let db = builder.start(Start::ReadOnly).connect().await.unwrap();
    assert_eq!(names(&db), ["primary"]);
    assert_eq!(last_error(&db).unwrap(), "the oracle is silent");
    teller.tell([replica("a")]);
    // It waits as it does after every error.
    pass(400).await;
    assert_eq!(teller.asked().len(), 1);
    pass(1000).await;
    assert_eq!(goes(&db), "a:5432");
}

#[tokio::test(start_paused = true)]
async fn a_router_that_may_start_read_only_starts_over_a_source_of_standbys_alone() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let (teller, script) = script();
    let both = ["a", "b"].map(replica);
    teller.tell(both.clone());
    let template = "postgres://app@template/shop";
    let builder = net.builder().discover(script).discover_template(template);
    let db = builder.start(Start::ReadOnly).connect().await.unwrap();
    assert_eq!(names(&db), ["a:5432", "b:5432"]);
    assert_eq!(goes(&db), "b:5432");
    let write = || {
        let route = db.route(&Request::write(), &db.session())?;
        Ok::<_, dbrouter::RouteError>(route.node().name().to_string())
    };
    assert!(write().unwrap_err().is_without_primary());
    net.at("b:5432").promote();
    net.at("b:5432").fork(2, 2000);
    pass(1000).await;
    assert_eq!(write().unwrap(), "b:5432");
    // It is no node of the source's now, which cannot remove it.
    teller.tell([both[0].clone()]);
    pass(1000).await;
    assert_eq!(write().unwrap(), "b:5432");
}

#[tokio::test(start_paused = true)]
async fn what_the_configuration_names_is_not_added_again() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let (teller, script) = script();
    let all = ["primary", "A", "b"].map(|host| Endpoint::host(host, Some(5432)));
    teller.tell(all.clone());
    let builder = net.builder().primary(PRIMARY).discover(script);
    let listed = NodeOptions::new("postgres://app@a:5432/shop").name("listed");
    let db = builder.replica(listed).connect().await.unwrap();
    assert_eq!(names(&db), ["primary", "listed", "b:5432"]);
    teller.tell([all[0].clone()]);
    pass(10).await;
    assert_eq!(
        names(&db),
        ["primary", "listed"],
        "it is not removed either"
    );
}

#[tokio::test(start_paused = true)]
async fn who_says_that_it_is_a_primary_is_no_replica() {
    let net = Net::of(&["a:5432", "b:5432"]);
    // The primary, under another name.
    net.put("vip:5432", net.at("primary:5432"));
    let (teller, script) = script();
    let hosts = |hosts: &[&str]| -> Vec<_> {
        hosts
            .iter()
            .map(|host| Endpoint::host(*host, None))
            .collect()
    };
    teller.tell(hosts(&["vip", "a"]));
    let builder = net.builder().primary(PRIMARY).discover(script);
    let db = builder.connect().await.unwrap();
    assert_eq!(names(&db), ["primary", "a:5432"]);
    // Who does not answer may be one.
    net.at("b:5432").mood(Mood::Refusing);
    net.at("vip:5432").mood(Mood::Hanging);
    teller.tell(hosts(&["a", "b", "vip"]));
    pass(10_000).await;
    assert_eq!(names(&db), ["primary", "a:5432"]);
    net.at("b:5432").mood(Mood::Answering);
    net.at("vip:5432").mood(Mood::Answering);
    pass(3000).await;
    assert_eq!(names(&db), ["primary", "a:5432", "b:5432"]);
    assert!(db.route(&Request::write(), &db.session()).is_ok());
    // Neither is one that was left behind by a failover, and would be taken for a rival.
    let rival = Server::standby_of(&net.at("primary:5432"));
    rival.promote();
    net.put("old:5432", rival);
    teller.tell(hosts(&["a", "b", "old"]));
    pass(1000).await;
    assert_eq!(names(&db), ["primary", "a:5432", "b:5432"]);
    assert!(db.route(&Request::write(), &db.session()).is_ok());
    let told = Endpoint::host("c", None).role(Role::Primary);
    teller.tell([replica("a"), replica("b"), told]);
    pass(1000).await;
    assert_eq!(names(&db), ["primary", "a:5432", "b:5432"]);
    assert_eq!(last_error(&db), None);
}

#[tokio::test(start_paused = true)]
async fn a_server_is_one_node_by_whichever_address() {
    let net = Net::of(&["a:5432", "b:5432"]);
    for (address, server) in [
        ("10.0.0.1:5432", "a:5432"),
        ("10.0.0.2:5432", "b:5432"),
        ("[fd00::2]:5432", "b:5432"),
    ] {
        net.put(address, net.at(server));
    }
    let (teller, script) = script();
    teller.tell(["10.0.0.1", "10.0.0.2", "fd00::2"].map(replica));
    let builder = net.builder().primary(PRIMARY).discover(script);
    let listed = NodeOptions::new("postgres://a/shop").name("listed");
    let db = builder.replica(listed).connect().await.unwrap();
    assert_eq!(names(&db), ["primary", "listed", "10.0.0.2:5432"]);
    // The other address takes its place when it is gone.
    teller.tell(["10.0.0.1", "fd00::2"].map(replica));
    pass(10).await;
    teller.tell(["10.0.0.1", "fd00::2"].map(replica));
    pass(10).await;
    assert_eq!(names(&db), ["primary", "listed", "[fd00::2]:5432"]);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_at_the_start_comes_when_it_does() {
    let net = Net::of(&["a:5432", "b:5432"]);
    net.at("b:5432").mood(Mood::Hanging);
    let builder = net.builder().primary(PRIMARY);
    let source = Static::new(["a", "b"].map(|host| Endpoint::host(host, None)));
    let db = builder.discover(source).connect().await.unwrap();
    assert_eq!(names(&db), ["primary", "a:5432"]);
    net.at("b:5432").mood(Mood::Answering);
    pass(3000).await;
    assert_eq!(goes(&db), "b:5432");
    let asked = net.at("b:5432").asked_about(Asked::WhoItIs);
    pass(60_000).await;
    assert_eq!(
        net.at("b:5432").asked_about(Asked::WhoItIs),
        asked,
        "once is enough"
    );
}

#[tokio::test(start_paused = true)]
async fn who_is_promoted_takes_the_writes_although_it_was_to_leave() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let (db, teller) = found(&net, &["a", "b"]).await;
    let work = db.route(&Request::read(), &db.session()).unwrap();
    assert_eq!(name(&work), "b:5432");
    // A standby that is promoted no longer streams.
    teller.tell([replica("a")]);
    pass(10).await;
    net.at("primary:5432").mood(Mood::Refusing);
    net.at("b:5432").promote();
    net.at("b:5432").fork(2, 5000);
    pass(1000).await;
    let route = db.route(&Request::write(), &db.session()).unwrap();
    assert_eq!(name(&route), "b:5432");
    drop((work, route));
    pass(1000).await;
    assert_eq!(names(&db), ["primary", "a:5432", "b:5432"]);
    assert!(db.route(&Request::write(), &db.session()).is_ok());
    assert_eq!(db.primary().name().as_ref(), "b:5432");
}

#[tokio::test(start_paused = true)]
async fn the_primary_is_found_in_the_first_set_and_never_removed() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let (teller, script) = script();
    teller.tell(["a", "primary", "b"].map(|host| Endpoint::host(host, None)));
    let builder = net.builder().discover(script);
    let template = NodeOptions::new("postgres://app:pw@any/shop")
        .weight(4)
        .tag("zone", "eu");
    let db = builder.discover_template(template).connect().await.unwrap();
    assert_eq!(names(&db), ["primary:5432", "a:5432", "b:5432"]);
    assert_eq!(db.primary().role(), Role::Primary);
    let status = db.status();
    assert!(status.nodes.iter().all(|node| node.weight == 4));
    assert!(
        status
            .nodes
            .iter()
            .all(|node| node.tags.value("zone") == Some("eu"))
    );
    teller.tell([replica("a")]);
    pass(1000).await;
    assert_eq!(names(&db), ["primary:5432", "a:5432"]);
    assert_eq!(last_error(&db), None);
    assert!(db.route(&Request::write(), &db.session()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_while_the_primary_is_looked_for_comes_when_it_speaks() {
    let net = Net::of(&["a:5432", "b:5432"]);
    net.put("vip:5432", Server::standby_of(&net.at("primary:5432")));
    net.at("vip:5432").mood(Mood::Refusing);
    net.at("b:5432").mood(Mood::Refusing);
    let hosts = ["a", "b", "primary", "vip"];
    let source = Static::new(hosts.map(|host| Endpoint::host(host, None)));
    let builder = net.builder().discover(source);
    let db = builder.discover_template(PRIMARY).connect().await.unwrap();
    assert_eq!(names(&db), ["primary:5432", "a:5432"]);
    assert_eq!(db.status().discovery.unwrap().unmet, ["b:5432", "vip:5432"]);
    // It leads to the primary.
    net.put("vip:5432", net.at("primary:5432"));
    net.at("b:5432").mood(Mood::Answering);
    pass(3000).await;
    assert_eq!(names(&db), ["primary:5432", "a:5432", "b:5432"]);
    assert!(db.route(&Request::write(), &db.session()).is_ok());
    assert!(db.status().discovery.unwrap().unmet.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_asks_the_primary_needs_one() {
    let net = Net::of(&["a:5432"]);
    let error = net.builder().discover(Standbys::new()).connect().await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Discovery);
    assert!(error.to_string().contains("name the primary"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_not_understood_in_full_removes_nobody() {
    let net = Net::of(&["a:5432", "b:5432", "c:5432", "d:5432", "e:5432"]);
    let (db, teller) = found(&net, &["a", "b"]).await;
    teller.tell([replica("c"), replica("not/a host")]);
    pass(1000).await;
    assert_eq!(names(&db), ["primary", "a:5432", "b:5432", "c:5432"]);
    let error = last_error(&db).unwrap();
    assert!(
        error.contains("\"not/a host\" cannot take the host's place"),
        "{error}"
    );
    assert!(!error.contains("pw"), "{error}");
    teller.tell([replica("d").name("x"), replica("e").name("x")]);
    pass(1000).await;
    assert_eq!(db.nodes().len(), 5);
    assert!(
        last_error(&db)
            .unwrap()
            .contains("two nodes that are called \"x\"")
    );
    let (teller, script) = script();
    teller.tell([replica("a").name("x"), replica("b").name("x")]);
    let builder = net.builder().primary(PRIMARY).discover(script);
    let error = builder.connect().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (ConfigErrorKind::Name, "discover")
    );
}

#[tokio::test(start_paused = true)]
async fn hosts_need_a_url_to_be_put_into() {
    let net = Net::of(&["a:5432"]);
    let (teller, script) = script();
    teller.tell([replica("a")]);
    let pool = NodeOptions::with_pool(net.at("primary:5432"));
    let builder = net.builder().primary(pool).discover(script);
    let error = builder.connect().await.unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Url);
    assert!(error.to_string().contains("discover_template"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_operators_wish_is_kept_but_for_a_removal() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let (db, teller) = found(&net, &["a", "b"]).await;
    db.disable("b:5432").unwrap();
    db.remove("a:5432").unwrap();
    let all = || ["a", "b"].map(replica);
    teller.tell(all());
    pass(1000).await;
    assert_eq!(names(&db), ["primary", "b:5432", "a:5432"]);
    assert_eq!(goes(&db), "a:5432");
    let status = db.status();
    assert_eq!(
        status.node("b:5432").unwrap().admission,
        Admission::Disabled
    );
}

#[tokio::test(start_paused = true)]
async fn what_an_operator_puts_in_the_place_of_a_node_that_leaves_stays() {
    let net = Net::of(&["a:5432", "b:5432", "c:5432"]);
    let (db, teller) = found(&net, &["a", "b"]).await;
    let work = db.route(&Request::read(), &db.session()).unwrap();
    assert_eq!(name(&work), "b:5432");
    teller.tell([replica("a")]);
    pass(10).await;
    db.remove("b:5432").unwrap();
    let spec = dbrouter::NodeSpec::new().name("b:5432");
    db.add_replica(&spec, net.at("c:5432")).unwrap();
    drop(work);
    pass(1000).await;
    assert_eq!(names(&db), ["primary", "a:5432", "b:5432"]);
    assert_eq!(goes(&db), "b:5432");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_somebody_else_has_taken_is_reported() {
    let net = Net::of(&["a:5432", "b:5432", "c:5432"]);
    let (db, teller) = found(&net, &["a"]).await;
    let spec = dbrouter::NodeSpec::new().name("b:5432");
    db.add_replica(&spec, net.at("c:5432")).unwrap();
    let theirs = db.node("b:5432").unwrap().id();
    teller.tell(["a", "b"].map(replica));
    pass(10).await;
    assert!(
        last_error(&db)
            .unwrap()
            .contains("two nodes are called \"b:5432\"")
    );
    teller.tell([replica("a")]);
    pass(10).await;
    assert_eq!(db.node("b:5432").unwrap().id(), theirs);
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_handle() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let (db, teller) = found(&net, &["a", "b"]).await;
    let work = db.route(&Request::read(), &db.session()).unwrap();
    teller.tell([replica("a")]);
    pass(10).await;
    let other = db.clone();
    drop(db);
    pass(10).await;
    assert!(teller.is_followed());
    // Although a drain is under way.
    drop(other);
    pass(10).await;
    assert!(!teller.is_followed());
    let asked = net.at("a:5432").asked();
    drop(work);
    pass(10_000).await;
    assert_eq!(net.at("a:5432").asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn a_list_stays_as_it_is() {
    let net = Net::of(&["a:5432"]);
    let builder = net.builder().primary(PRIMARY);
    let source = Static::new([replica("a")]);
    let db = builder.discover(source).connect().await.unwrap();
    pass(3_600_000).await;
    assert_eq!(names(&db), ["primary", "a:5432"]);
    assert_eq!(db.status().discovery.unwrap().sets, 1);
    let empty = net.builder().primary(PRIMARY).discover(Static::new([]));
    let error = empty.connect().await.unwrap_err();
    assert_eq!(error.kind(), ConfigErrorKind::Discovery);
}

#[tokio::test(start_paused = true)]
async fn a_source_is_given_once() {
    let net = Net::of(&["a:5432"]);
    let builder = net.builder().primary(PRIMARY);
    let source = || Static::new([replica("a")]);
    let twice = builder.discover(source()).discover(source());
    let error = twice.connect().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.field()),
        (ConfigErrorKind::Discovery, "discover")
    );
}

/// Panics at its second call.
struct Panics(u32);

impl Discover for Panics {
    async fn next(&mut self, _: &Servers) -> Result<Vec<Endpoint>, DiscoverError> {
        self.0 += 1;
        match self.0 {
            1 => Ok(vec![replica("a")]),
            2 => panic!("the source has a bug"),
            3 => Ok(vec![replica("b")]),
            _ => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_has_failed_and_is_asked_again() {
    let net = Net::of(&["a:5432", "b:5432"]);
    let builder = net.builder().primary(PRIMARY).discover(Panics(0));
    let db = builder.connect().await.unwrap();
    pass(100).await;
    assert_eq!(last_error(&db).unwrap(), "the source panicked");
    assert_eq!(names(&db), ["primary", "a:5432"]);
    pass(2000).await;
    assert_eq!(names(&db), ["primary", "b:5432"]);
}

#[test]
fn nothing_shows_a_password() {
    let net = Net::of(&[]);
    let endpoint = Endpoint::url("postgres://app:sup3r-secret@h/d?password=sup3r-secret");
    let template = "postgres://app:sup3r-secret@h/d";
    let builder = net.builder().nodes([template]).discover_template(template);
    let shown = format!("{endpoint:?} {builder:?}");
    assert!(
        !shown.contains("sup3r") && shown.contains("app:***@h"),
        "{shown}"
    );
}

/// Whatever a source says, and whoever has work where: all work goes somewhere, and in the end the router has the
/// nodes of the last set.
#[tokio::test(start_paused = true)]
async fn in_the_end_the_nodes_are_those_of_the_last_set() {
    const HOSTS: [&str; 5] = ["a", "b", "c", "d", "e"];
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let net = Net::of(&["a:5432", "b:5432", "c:5432", "d:5432", "e:5432"]);
        let (teller, script) = script();
        teller.tell(HOSTS.map(replica));
        let backoff = Backoff::new().most(Duration::from_millis(20)).seed(seed);
        let builder = net.builder().primary(PRIMARY).discover(script);
        let db = builder.discover_backoff(backoff).connect().await.unwrap();
        let set = |random: &mut fastrand::Rng| -> Vec<Endpoint> {
            let mut hosts = HOSTS.to_vec();
            random.shuffle(&mut hosts);
            hosts.truncate(random.usize(1..=HOSTS.len()));
            let endpoint = |host| {
                let endpoint = replica(host).weight(random.u32(1..3));
                match random.u8(..8) {
                    0 => endpoint.tag("zone", "b"),
                    _ => endpoint,
                }
            };
            hosts.into_iter().map(endpoint).collect()
        };
        let mut works = Vec::new();
        for _ in 0..40 {
            match random.u8(..6) {
                0 => teller.fail(),
                1 => teller.tell([]),
                2 => teller.tell(set(&mut random)),
                3 => works.push(db.route(&Request::read(), &db.session()).unwrap()),
                4 if !works.is_empty() => drop(works.swap_remove(random.usize(..works.len()))),
                _ => pass(random.u64(..50)).await,
            }
            let work = db.route(&Request::read(), &db.session());
            assert!(work.is_ok(), "seed {seed}: {}", db.status());
        }
        let last = set(&mut random);
        teller.tell(last.clone());
        // As long as the longest backoff takes, for each time that it failed.
        pass(40 * 21).await;
        drop(works);
        pass(1000).await;
        let mut names = names(&db);
        names.sort();
        let mut wanted: Vec<_> = HOSTS
            .iter()
            .filter(|host| last.iter().any(|endpoint| shows(endpoint, host)))
            .map(|host| format!("{host}:5432"))
            .collect();
        wanted.push("primary".to_owned());
        assert_eq!(names, wanted, "seed {seed}");
        let nodes = db.status().nodes;
        let in_use = nodes
            .iter()
            .all(|node| node.healthy && node.admission == Admission::Enabled);
        assert!(in_use, "seed {seed}: {}", db.status());
    }
}

/// Whether the endpoint is on that host.
fn shows(endpoint: &Endpoint, host: &str) -> bool {
    format!("{endpoint:?}").contains(&format!("place: \"{host}\""))
}

#[test]
fn sources_have_the_documented_defaults() {
    for (shown, parts) in [
        (
            format!("{:?}", Dns::new("h", 1)),
            ["interval: 30s", "jitter: 0.1"],
        ),
        (
            format!("{:?}", Standbys::new()),
            ["interval: 30s", "linger: 60s"],
        ),
        (
            format!("{:?}", Aurora::new("h")),
            ["interval: 30s", "stale: 300s"],
        ),
        (format!("{:?}", Backoff::new()), ["first: 1s", "most: 30s"]),
    ] {
        for part in parts {
            assert!(shown.contains(part), "{part}: {shown}");
        }
    }
}
