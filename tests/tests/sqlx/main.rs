//! What `dbrouter-sqlx` promises, on real servers.

mod cancellation;
mod catalog;
mod classifier;
mod config;
mod conformance;
mod credentials;
mod discovery;
mod drop_in;
mod embedded;
mod errors;
mod failover;
mod hooks;
mod jobs;
mod journeys;
mod listener;
mod monotonic;
mod outside;
mod pgbouncer;
mod processes;
mod reader;
mod routing;
mod safety_net;
mod sessions;
mod standstill;
mod statements;
mod support;
mod testing;
mod web;

use std::process::ExitCode;

use dbrouter_tests::conformance as suite;
use sqlx::{MySql, Postgres, Sqlite};

use conformance::Mounted;

fn main() -> ExitCode {
    if let Some(code) = reader::run().or_else(testing::run) {
        return code;
    }
    let cases = [
        routing::cases(),
        sessions::cases(),
        failover::cases(),
        hooks::cases(),
        credentials::cases(),
        cancellation::cases(),
        catalog::cases(),
        journeys::cases(),
        listener::cases(),
        processes::cases(),
        jobs::cases(),
        monotonic::cases(),
        outside::cases(),
        pgbouncer::cases(),
        standstill::cases(),
        config::cases(),
        discovery::cases(),
        drop_in::cases(),
        embedded::cases(),
        errors::cases(),
        classifier::cases(),
        safety_net::cases(),
        testing::cases(),
        web::cases(),
        suite::cases::<Mounted<Sqlite>>(),
        suite::cases::<Mounted<Postgres>>(),
        suite::cases::<Mounted<MySql>>(),
    ];
    dbrouter_tests::conformance::run(cases.into_iter().flatten())
}
