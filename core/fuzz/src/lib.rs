//! What holds for the classifier, whatever the text.

use std::sync::LazyLock;

use dbrouter::{Cause, Classifier, Inspection, Intent, Sql};

/// The classifiers of all dialects.
pub static CLASSIFIERS: LazyLock<[Sql; 3]> =
    LazyLock::new(|| [Sql::postgres(), Sql::mysql(), Sql::sqlite()]);

/// What a classifier says, after a look at whether it contradicts itself.
///
/// # Panics
///
/// If it does.
pub fn check<'a>(classifier: &Sql, sql: &'a str) -> Inspection<'a> {
    let verdict = classifier.inspect(sql);
    let classification = verdict.classification;
    // The second time it may come from the cache.
    for _ in 0..2 {
        assert_eq!(classification, classifier.classify(sql));
    }
    let text = sql.as_bytes().as_ptr_range();
    let token = verdict.token.as_bytes().as_ptr_range();
    let inside = text.start <= token.start && token.end <= text.end;
    assert!(inside, "{:?} is no part of the statement", verdict.token);

    let read = classification.intent == Intent::Read;
    if classification.reason == Cause::Hint {
        return verdict;
    }
    assert_eq!(read, classification.reason == Cause::Query);
    if read {
        assert!(!verdict.token.is_empty(), "nothing at all is no read");
        assert!(!sql.contains('\0'), "a server would not see all of it");
        // What is all of a statement cannot hide another one behind it, nor a comment in front of it.
        let followed = format!("{sql}\n;delete from t");
        assert_ne!(
            classifier.inspect(&followed).classification.intent,
            Intent::Read
        );
        let led = format!(" /* {} */\n{sql}", "a");
        assert_eq!(classifier.inspect(&led).classification, classification);
    }
    verdict
}
