//! Statements that were taken for reads, and that a replica refused.

use dbrouter::{Cause, Classification, Classifier, Intent, NodeSpec, Router};
#[cfg(feature = "sql")]
use dbrouter::{MonitorSettings, Sql};

#[cfg(feature = "sql")]
use crate::world::pass;
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

#[cfg(feature = "sql")]
#[tokio::test(start_paused = true)]
async fn are_reads_again_after_the_refresh_whether_or_not_the_classifier_asks_a_question() {
    for classifier in [Sql::postgres(), Sql::sqlite()] {
        let monitor = MonitorSettings::new().refresh(std::time::Duration::from_secs(10));
        let settings = settings().monitor(monitor).classifier(classifier);
        let world = World::with(settings, vec![NodeSpec::new()]).await;
        let replica = world.node("replica-1");
        let sql = "select id from visits";
        world.db.misjudged(sql, &replica);
        assert_eq!(world.db.classify(sql).reason, Cause::Refused);
        pass(9_000).await;
        assert_eq!(world.db.classify(sql).reason, Cause::Refused);
        pass(2_000).await;
        assert_eq!(world.db.classify(sql), Classification::READ);
    }
}

#[cfg(feature = "sql")]
#[tokio::test(start_paused = true)]
async fn a_hint_and_what_is_no_read_anyway_do_not_depend_on_what_was_refused() {
    let world = World::of(1).await;
    let replica = world.node("replica-1");
    world.db.misjudged("select id from visits", &replica);
    let hinted = world
        .db
        .classify("/*dbrouter:replica*/ select id from visits");
    assert_eq!(hinted.reason, Cause::Hint);
    world.db.misjudged("delete from visits", &replica);
    let deleted = world.db.classify("delete from visits");
    assert_eq!(deleted.reason, Cause::Writes);
}

/// Counts warnings.
#[cfg(feature = "tracing")]
#[derive(Clone, Default)]
struct Warnings(std::sync::Arc<std::sync::atomic::AtomicUsize>);

#[cfg(feature = "tracing")]
impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[cfg(feature = "tracing")]
#[tokio::test(start_paused = true)]
async fn are_warned_of_once() {
    let world = World::of(1).await;
    let replica = world.node("replica-1");
    let warnings = Warnings::default();
    let count = || warnings.0.load(std::sync::atomic::Ordering::Relaxed);
    let _guard = tracing::subscriber::set_default(warnings.clone());
    for (sql, warned) in [("a", 1), ("a", 1), ("b", 2), ("a", 2)] {
        world.db.misjudged(sql, &replica);
        assert_eq!(count(), warned, "{sql}");
    }
}
