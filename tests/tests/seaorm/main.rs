//! What `dbrouter-seaorm` promises, on real servers: the conformance suite, mounted once per database.

mod conformance;

use std::process::ExitCode;

use dbrouter_tests::conformance::cases;

use conformance::{OnMariaDb, OnPostgres, OnSqlite};

fn main() -> ExitCode {
    let cases = [
        cases::<OnSqlite>(),
        cases::<OnPostgres>(),
        cases::<OnMariaDb>(),
    ];
    dbrouter_tests::harness::run(cases.into_iter().flatten())
}
