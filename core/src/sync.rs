//! The atomics this crate is built from: the standard library's, or loom's in the tests that check its models
//! (`RUSTFLAGS="--cfg dbrouter_loom"`).

#[cfg(all(test, dbrouter_loom))]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(not(all(test, dbrouter_loom)))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
