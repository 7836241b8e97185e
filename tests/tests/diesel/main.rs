//! What `dbrouter-diesel` promises, on real servers: the conformance suite, mounted once per database; what of it concerns
//! pools, once more for each other pool; and what concerns diesel alone.

mod conformance;
mod web;

use std::process::ExitCode;

use dbrouter_tests::conformance::{cases, chapters};

use conformance::{bb8_postgres, mariadb, mobc_postgres, postgres, sqlite};

/// How connections are had, kept, lost and given back. How a node is chosen for them is core's affair.
const POOLS: [&str; 7] = [
    "routing",
    "transactions",
    "streams",
    "failover",
    "faults",
    "chaos",
    "config",
];

fn main() -> ExitCode {
    let cases = [
        cases::<sqlite::Mounted>(),
        cases::<postgres::Mounted>(),
        cases::<mariadb::Mounted>(),
        chapters::<bb8_postgres::Mounted>(&POOLS),
        chapters::<mobc_postgres::Mounted>(&POOLS),
        web::cases(),
    ];
    dbrouter_tests::conformance::run(cases.into_iter().flatten())
}
