//! Statements that were taken for reads, and that a replica refused.

use dbrouter::{Cause, Classification, Classifier, Intent, NodeSpec, Router};

use crate::world::{World, settings};

/// Takes everything for a read.
struct Trusting;

impl Classifier for Trusting {
    fn classify(&self, _: &str) -> Classification {
        Classification::READ
    }
}

#[tokio::test(start_paused = true)]
async fn are_writes_from_then_on_whatever_the_classifier_says() {
    let world = World::with(settings().classifier(Trusting), vec![NodeSpec::new()]).await;
    let replica = world.node("replica-1");
    assert_eq!(world.db.classify("select f()"), Classification::READ);
    world.db.misjudged("select f()", &replica);
    let classification = world.db.classify("select f()");
    assert_eq!(classification.intent, Intent::Write);
    assert_eq!(classification.reason, Cause::Refused);
    assert_eq!(world.db.classify("select g()"), Classification::READ);
    world.db.misjudged("select f()", &replica);
    assert_eq!(world.db.status().misjudged, 2);
}
