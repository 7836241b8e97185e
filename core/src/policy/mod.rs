//! Which of the candidates serves a read.
//!
//! | policy | picks |
//! | --- | --- |
//! | [`Random`] | any, with equal chances |
//! | [`WeightedRandom`] | any, with chances in proportion to the weights |
//! | [`RoundRobin`] | one after the other |
//! | [`WeightedRoundRobin`] | in turn, each as often as its weight says, evenly interleaved |
//! | [`LeastInFlight`] | the one with the least work under way for its weight |
//! | [`Rendezvous`] | the same one for the same key |
//! | [`Sticky`] | the session's replica, and asks another policy when there is none |
//!
//! A closure is a policy too:
//!
//! ```
//! use dbrouter::{Candidates, Request, policy::Policy};
//!
//! fn accepts(_: impl Policy) {}
//! accepts(|candidates: Candidates<'_>, _: &Request| {
//!     candidates.iter().position(|candidate| candidate.tags().value("zone") == Some("a"))
//! });
//! ```
//!
//! Nothing else is:
//!
//! ```compile_fail,E0277
//! # use dbrouter::policy::Policy;
//! fn accepts(_: impl Policy) {}
//! accepts("round robin");
//! ```

mod dice;
mod least_in_flight;
mod random;
mod rendezvous;
mod round_robin;
mod sticky;
mod weighted_random;
mod weighted_round_robin;

use std::sync::Arc;

use crate::candidates::Candidates;
use crate::request::Request;

pub use least_in_flight::LeastInFlight;
pub use random::Random;
pub use rendezvous::Rendezvous;
pub use round_robin::RoundRobin;
pub use sticky::Sticky;
pub use weighted_random::WeightedRandom;
pub use weighted_round_robin::WeightedRoundRobin;

/// Chooses among the candidates of a read.
///
/// # Contract
///
/// * `pick` returns an index below `candidates.len()`, or `None` to choose none of them; the read then
///   goes to the primary, if its preference allows that. An index out of range is counted in the
///   status, reported once, and replaced by the first candidate.
/// * `candidates` is never empty, and every one of them is consistent for the session: no policy can
///   break a guarantee, only balance well or badly.
/// * `pick` neither blocks nor waits: it runs before every read, on any thread, concurrently.
/// * A policy that panics fails the read that asked it, and nothing else.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a routing policy",
    note = "a closure is one if its parameters are typed: \
            `|candidates: Candidates<'_>, request: &Request| -> Option<usize> {{ … }}`"
)]
pub trait Policy: Send + Sync + 'static {
    /// The index of the chosen candidate.
    fn pick(&self, candidates: Candidates<'_>, request: &Request) -> Option<usize>;
}

impl<F> Policy for F
where
    F: Fn(Candidates<'_>, &Request) -> Option<usize> + Send + Sync + 'static,
{
    fn pick(&self, candidates: Candidates<'_>, request: &Request) -> Option<usize> {
        self(candidates, request)
    }
}

impl Policy for Arc<dyn Policy> {
    fn pick(&self, candidates: Candidates<'_>, request: &Request) -> Option<usize> {
        (**self).pick(candidates, request)
    }
}
