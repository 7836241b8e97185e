//! What the classifier asks the servers, and when.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbrouter::{
    Answer, Classification, Classifier, Cluster, Dialect, MonitorSettings, NodeSpec, Question,
    Settings, Start,
};

use crate::world::{Mood, SIGN, Server, TO_LEARN, builder, pass, settings};

/// Remembers what it was told.
#[derive(Clone, Default)]
struct Pupil(Arc<Mutex<Vec<String>>>);

impl Pupil {
    fn told(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Classifier for Pupil {
    fn classify(&self, _: &str) -> Classification {
        Classification::UNKNOWN
    }

    fn question(&self) -> Option<Question> {
        Some(Question::new(TO_LEARN, 1))
    }

    fn learn(&self, answer: &Answer) -> Option<Question> {
        let column = answer.columns().next().flatten().unwrap_or_default();
        self.0.lock().unwrap().push(column.to_owned());
        None
    }
}

/// The same, and asks nothing again that has not changed.
#[derive(Clone, Default)]
struct Attentive(Pupil);

impl Classifier for Attentive {
    fn classify(&self, sql: &str) -> Classification {
        self.0.classify(sql)
    }

    fn question(&self) -> Option<Question> {
        self.0.question()
    }

    fn sign(&self) -> Option<Question> {
        Some(SIGN)
    }

    fn learn(&self, answer: &Answer) -> Option<Question> {
        self.0.learn(answer)
    }
}

fn taught(pupil: &(impl Classifier + Clone)) -> Settings {
    let monitor = MonitorSettings::new().refresh(Duration::from_secs(10));
    settings().monitor(monitor).classifier(pupil.clone())
}

#[tokio::test(start_paused = true)]
async fn is_known_before_the_router_is_there_and_asked_again_from_time_to_time() {
    let pupil = Pupil::default();
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    primary.knows("one");
    let _db = builder(taught(&pupil))
        .primary(NodeSpec::new(), primary.clone())
        .replica(NodeSpec::new(), replica.clone())
        .connect()
        .await
        .unwrap();
    assert_eq!(pupil.told(), ["one"]);
    primary.knows("two");
    pass(9_900).await;
    assert_eq!(pupil.told(), ["one"]);
    pass(200).await;
    assert_eq!(pupil.told(), ["one", "two"]);
    pass(20_000).await;
    assert_eq!(
        (primary.consulted().len(), replica.consulted().len()),
        (4, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn is_asked_again_soon_if_it_could_not_be_asked() {
    let pupil = Pupil::default();
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    let _db = builder(taught(&pupil))
        .primary(NodeSpec::new(), primary.clone())
        .replica(NodeSpec::new(), replica)
        .connect()
        .await
        .unwrap();
    pass(2_500).await;
    assert_eq!((primary.consulted().len(), pupil.told().len()), (3, 0));
    primary.knows("one");
    pass(1_000).await;
    assert_eq!(pupil.told(), ["one"]);
    pass(5_000).await;
    assert_eq!(primary.consulted().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn is_asked_of_a_replica_while_there_is_no_primary() {
    let pupil = Pupil::default();
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    primary.mood(Mood::Refusing);
    replica.knows("of the replica");
    let _db = builder(taught(&pupil).start(Start::ReadOnly))
        .primary(NodeSpec::new(), primary)
        .replica(NodeSpec::new(), replica)
        .connect()
        .await
        .unwrap();
    assert_eq!(pupil.told(), ["of the replica"]);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_gets_its_first_replica_begins_to_learn() {
    let pupil = Pupil::default();
    let primary = Server::primary();
    primary.knows("one");
    let db = Cluster::single(Dialect::Postgres, taught(&pupil), primary.clone());
    pass(5_000).await;
    assert!(pupil.told().is_empty());
    let replica = Server::standby_of(&primary);
    db.add_replica(&NodeSpec::new(), replica).unwrap();
    pass(1_100).await;
    assert_eq!(pupil.told(), ["one"]);
}

#[tokio::test(start_paused = true)]
async fn is_asked_again_when_the_sign_has_changed() {
    let pupil = Attentive::default();
    let primary = Server::primary();
    let _db = builder(taught(&pupil))
        .primary(NodeSpec::new(), primary.clone())
        .replica(NodeSpec::new(), Server::standby_of(&primary))
        .connect()
        .await
        .unwrap();
    // It could not be asked, whatever the sign.
    pass(1_500).await;
    assert_eq!(primary.consulted().len(), 2);
    primary.knows("one");
    pass(60_000).await;
    assert_eq!(
        (primary.consulted().len(), pupil.0.told()),
        (3, vec!["one".to_owned()])
    );
    primary.knows("two");
    primary.sign("changed");
    pass(60_000).await;
    assert_eq!(pupil.0.told(), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn another_node_is_asked_even_if_its_sign_is_the_same() {
    let pupil = Attentive::default();
    let primary = Server::primary();
    let replica = Server::standby_of(&primary);
    primary.knows("of the primary");
    replica.knows("of the replica");
    let _db = builder(taught(&pupil))
        .primary(NodeSpec::new(), primary.clone())
        .replica(NodeSpec::new(), replica)
        .connect()
        .await
        .unwrap();
    primary.mood(Mood::Refusing);
    pass(20_000).await;
    assert_eq!(pupil.0.told(), ["of the primary", "of the replica"]);
}
