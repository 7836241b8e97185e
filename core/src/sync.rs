//! The atomics this crate is built from: the standard library's, or loom's when it is model-checked
//! (`RUSTFLAGS="--cfg dbrouter_loom"`).

#[cfg(dbrouter_loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[cfg(not(dbrouter_loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
