//! What `dbrouter-diesel` promises, on real servers: the conformance suite, mounted once per database; what of it concerns
//! pools, once more for each other pool; and what concerns diesel alone.

mod conformance;
mod hooks;
mod listener;
mod pgbouncer;
mod testing;
mod web;

use std::process::ExitCode;

use dbrouter_tests::conformance::{Subject, cases, chapters};
use dbrouter_tests::harness::Case;

use conformance::{bb8_postgres, mariadb, mobc_postgres, postgres, sqlite};

/// How connections are had, kept, lost and given back. How a node is chosen for them is core's affair.
const POOLS: [&str; 7] = [
    "lazy",
    "routing",
    "transactions",
    "streams",
    "failover",
    "faults",
    "config",
];

/// The same with faults by chance, of which each is also among the chapters above: for runs of a given length.
fn of_pools<S: Subject>() -> Vec<Case> {
    let is_long = std::env::var_os("DBROUTER_CHAOS_SECONDS").is_some();
    let chaos = is_long.then_some("chaos");
    let names: Vec<_> = POOLS.into_iter().chain(chaos).collect();
    chapters::<S>(&names)
}

fn main() -> ExitCode {
    let cases = [
        cases::<sqlite::Mounted>(),
        cases::<postgres::Mounted>(),
        cases::<mariadb::Mounted>(),
        of_pools::<bb8_postgres::Mounted>(),
        of_pools::<mobc_postgres::Mounted>(),
        listener::cases(),
        pgbouncer::cases(),
        testing::cases(),
        hooks::cases(),
        web::cases(),
    ];
    dbrouter_tests::conformance::run(cases.into_iter().flatten())
}
