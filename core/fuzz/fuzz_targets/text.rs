//! Arbitrary text, as the statement of each dialect.

#![no_main]

use dbrouter_fuzz::{CLASSIFIERS, check};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|sql: &str| {
    for classifier in &*CLASSIFIERS {
        check(classifier, sql);
    }
});
