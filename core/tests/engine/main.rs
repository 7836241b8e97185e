//! The engine, through its public interface, over scripted servers and in virtual time.

#![cfg(not(dbrouter_loom))]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod affinity;
mod allocations;
mod config;
mod defaults;
#[cfg(feature = "builder")]
mod discovery;
mod failover;
mod guarantees;
mod history;
mod in_flight;
mod lazy;
mod learning;
mod limit;
mod measuring;
#[cfg(feature = "metrics")]
mod metrics;
mod misjudged;
mod monitor;
mod moved;
mod observer;
mod patience;
mod pipeline;
mod policies;
mod primary;
mod read_only;
mod runtimes;
mod scope;
mod servers;
mod sessions;
mod staleness;
mod standstill;
mod stated_reads;
mod status;
mod supply;
mod tokens;
mod told_to_wait;
mod topology;
mod waiting;
#[cfg(feature = "tower")]
mod web;
mod work;
mod world;
