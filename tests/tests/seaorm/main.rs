//! What `dbrouter-seaorm` promises, on real servers: the conformance suite, mounted once per database, and what
//! concerns SeaORM alone.

mod conformance;
mod executors;
mod hooks;
mod listener;
mod web;

use std::process::ExitCode;

use dbrouter_tests::conformance::cases;

use conformance::{OnMariaDb, OnPostgres, OnSqlite};

fn main() -> ExitCode {
    let cases = [
        cases::<OnSqlite>(),
        cases::<OnPostgres>(),
        cases::<OnMariaDb>(),
        executors::cases(),
        hooks::cases(),
        listener::cases(),
        web::cases(),
    ];
    dbrouter_tests::conformance::run(cases.into_iter().flatten())
}
