//! Real clusters, and what they prove about dbrouter.
//!
//! [`postgres`] and [`mariadb`] start a primary and its standbys in less than a second, and let a case
//! do to them what operations does: pause, lag, kill, freeze, promote; [`any`] is either, for cases
//! that are written once. [`harness`] mounts cases on `libtest-mimic`, so that one which lacks its
//! server is *ignored, with the reason*, and never just green.
//!
//! [`history`] checks what clients did and saw, whatever they ran against.
//!
//! Nothing that is started here survives the process that started it, whichever way that process
//! ends.

pub mod any;
pub mod conformance;
pub mod corpus;
mod failure;
pub mod harness;
pub mod history;
pub mod listening;
pub mod mariadb;
pub mod pgbouncer;
pub mod postgres;
pub mod proxy;
pub mod server;
pub mod wait;

pub use failure::{Failure, Result};

/// The README's code, compiled and run with the documentation's tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
