//! What it costs to tell a read from a write: `cargo bench -p dbrouter --features sql --bench classify`.
//!
//! `uncached` is what a text costs that was never seen before, `cached` what it costs from then on, and
//! `worst` what a megabyte costs that someone wrote in order to make it costly. Allocations are counted as
//! well; there should be none but those of the nested lists in some of the worst cases.

use std::fmt;

use dbrouter::{Classifier, Intent, Sql};
use divan::{AllocProfiler, black_box};

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// Statements of about 120 bytes each, and an insert.
const POSTGRES: &str = "SELECT u.id, lower(u.email), o.total FROM users u JOIN orders o ON o.user_id = u.id \
                        WHERE u.tenant = $1 AND o.total > $2";
const OTHERS: &str = "SELECT u.id, lower(u.email), o.total FROM users u JOIN orders o ON o.user_id = u.id \
                      WHERE u.tenant = ? AND o.total > ?";
const INSERT: &str =
    "INSERT INTO orders (user_id, total, created_at) VALUES ($1, $2, now()) RETURNING id";

/// A text that is read anew each time.
mod uncached {
    use super::*;
    use divan::Bencher;

    fn measure(bencher: Bencher<'_, '_>, classifier: &Sql, sql: &str, intent: Intent) {
        assert_eq!(classifier.inspect(sql).classification.intent, intent);
        bencher.bench(|| classifier.inspect(black_box(sql)).classification);
    }

    #[divan::bench]
    fn postgres(bencher: Bencher<'_, '_>) {
        assert_eq!(POSTGRES.len(), 120);
        measure(bencher, &Sql::postgres(), POSTGRES, Intent::Read);
    }

    #[divan::bench]
    fn mysql(bencher: Bencher<'_, '_>) {
        measure(bencher, &Sql::mysql(), OTHERS, Intent::Read);
    }

    #[divan::bench]
    fn sqlite(bencher: Bencher<'_, '_>) {
        measure(bencher, &Sql::sqlite(), OTHERS, Intent::Read);
    }

    #[divan::bench]
    fn insert(bencher: Bencher<'_, '_>) {
        measure(bencher, &Sql::postgres(), INSERT, Intent::Write);
    }
}

/// A text that was seen before.
mod cached {
    use std::cell::Cell;

    use super::*;
    use divan::Bencher;

    /// More than the table by address has slots.
    const ADDRESSES: usize = 8192;

    fn known_address(bencher: Bencher<'_, '_>, sql: &str) {
        let classifier = Sql::postgres();
        // It takes several looks to get into the table by address.
        for _ in 0..1000 {
            black_box(classifier.classify(sql));
        }
        bencher.bench(|| classifier.classify(black_box(sql)));
    }

    fn new_address(bencher: Bencher<'_, '_>) {
        thread_local!(static TURN: Cell<usize> = const { Cell::new(0) });
        let classifier = Sql::postgres();
        let texts = vec![POSTGRES.to_owned(); ADDRESSES];
        bencher.bench(|| {
            let turn = TURN.get();
            TURN.set((turn + 1) % ADDRESSES);
            classifier.classify(&texts[turn])
        });
    }

    /// A constant of the program.
    #[divan::bench]
    fn constant(bencher: Bencher<'_, '_>) {
        known_address(bencher, POSTGRES);
    }

    #[divan::bench(threads = 2)]
    fn constant_contended(bencher: Bencher<'_, '_>) {
        known_address(bencher, POSTGRES);
    }

    #[divan::bench]
    fn insert(bencher: Bencher<'_, '_>) {
        known_address(bencher, INSERT);
    }

    /// A text that is put together each time.
    #[divan::bench]
    fn built(bencher: Bencher<'_, '_>) {
        new_address(bencher);
    }

    #[divan::bench(threads = 2)]
    fn built_contended(bencher: Bencher<'_, '_>) {
        new_address(bencher);
    }
}

/// A text of a megabyte that is read anew each time.
mod worst {
    use super::*;
    use divan::Bencher;

    const LENGTH: usize = 1 << 20;

    /// A head, and what is repeated behind it.
    #[derive(Clone, Copy)]
    struct Case(&'static str, &'static str);

    impl fmt::Display for Case {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let Self(head, repeated) = self;
            f.write_str(&format!("{head}⟨{repeated}⟩").replace('\n', "⏎"))
        }
    }

    const CASES: [Case; 37] = [
        Case("", " "),
        Case("", "("),
        Case("", ";"),
        Case("", "-- \n"),
        Case("select ", "("),
        Case("select ", "()"),
        Case("select ", "f("),
        Case("select ", "lower("),
        Case("select ", "current_setting("),
        Case("select ", "["),
        Case("select ", "/*"),
        Case("select ", "/*/"),
        Case("select /*", "*"),
        Case("select ", "/**/"),
        Case("select '", "a"),
        Case("select '", "'"),
        Case("select '", "\\"),
        Case("select e'", "\\'"),
        Case("select ", "e''/**/"),
        Case("select ", "e'',\n--'\n"),
        Case("select $$", "$"),
        Case("select ", "$"),
        Case("select $a$", "$b"),
        Case(
            "select $aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa$",
            "$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
        ),
        Case("select ", ","),
        Case("select a", "."),
        Case("select ", "a."),
        Case("select ", ";"),
        Case("select ", "a "),
        Case("select ", "lower "),
        Case("select ", "+ "),
        Case("select ", "+"),
        Case("select 0", "1"),
        Case("", "with a as ("),
        Case("with a as (select 1)", ", b as (select 2)"),
        Case("select ", "distinct on ("),
        Case("select 1 ", "operator("),
    ];

    fn measure(bencher: Bencher<'_, '_>, classifier: &Sql, case: Case) {
        let Case(head, repeated) = case;
        let mut sql = String::from(head);
        while sql.len() < LENGTH {
            sql.push_str(repeated);
        }
        bencher.bench_local(|| classifier.inspect(black_box(&sql)).classification);
    }

    #[divan::bench(args = CASES, sample_count = 10, sample_size = 1)]
    fn postgres(bencher: Bencher<'_, '_>, case: Case) {
        measure(bencher, &Sql::postgres(), case);
    }

    #[divan::bench(args = CASES, sample_count = 10, sample_size = 1)]
    fn mysql(bencher: Bencher<'_, '_>, case: Case) {
        measure(bencher, &Sql::mysql(), case);
    }

    #[divan::bench(args = CASES, sample_count = 10, sample_size = 1)]
    fn sqlite(bencher: Bencher<'_, '_>, case: Case) {
        measure(bencher, &Sql::sqlite(), case);
    }
}
