//! What `dbrouter-diesel` promises, on real servers: the conformance suite, mounted once per database, and once
//! more for each other pool, and what concerns diesel alone.

mod conformance;
mod web;

use std::process::ExitCode;

use dbrouter_tests::conformance::cases;

use conformance::{bb8_postgres, mariadb, mobc_postgres, postgres, sqlite};

fn main() -> ExitCode {
    let cases = [
        cases::<sqlite::Mounted>(),
        cases::<postgres::Mounted>(),
        cases::<mariadb::Mounted>(),
        cases::<bb8_postgres::Mounted>(),
        cases::<mobc_postgres::Mounted>(),
        web::cases(),
    ];
    dbrouter_tests::conformance::run(cases.into_iter().flatten())
}
