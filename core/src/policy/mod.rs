//! Which of the candidates serves a read.
//!
//! | policy | picks |
//! | --- | --- |
//! | [`Random`] | any, with equal chances |
//! | [`WeightedRandom`] | any, with chances in proportion to the weights |
//! | [`RoundRobin`] | one after the other |
//! | [`WeightedRoundRobin`] | in turn, each as often as its weight says, evenly interleaved |
//! | [`LeastInFlight`] | the one with the least work under way for its weight |
//! | [`PowerOfTwo`] | of two drawn by weight, the one with less work under way for its weight |
//! | [`PeakEwma`] | of two drawn by weight, the one that would be done sooner, by its latency and its work |
//! | [`Nearest`] | any of those that are about as near as the nearest, by weight |
//! | [`Rendezvous`] | the same one for the same key |
//! | [`Sticky`] | the session's replica, and asks another policy when there is none |
//!
//! # What was taken from where, and what was left
//!
//! A router in a client sees its own work and nobody else's, and has 2 to 50 nodes that answer questions of the
//! monitor's ten times a second anyway. From *the power of two choices* (Mitzenmacher, 2001) it takes the two; from Finagle's
//! and linkerd's peak EWMA the latency; from *Prequal* (Wydrowski et al., NSDI 2024) that nodes are measured apart from
//! the work that is sent to them, so that an idle node's figure does not become a lie. Prequal's figures of the server
//! itself (its requests in flight, for all clients) no database tells for the price of a question, so its rule of hot
//! and cold nodes was left. From *C3* (Suresh et al., NSDI 2015) the product of queue and time was taken, and its third
//! power of the queue left, which needs the servers' own queue lengths; so was its rate control: what is too much for a
//! database is what its pool's size says.
//!
//! A node that fails is not the policies' business but its [health](crate::Health)'s, and a node that is back gets its
//! share little by little under each of them.
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
mod nearest;
mod pair;
mod peak_ewma;
mod power_of_two;
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
pub use nearest::Nearest;
pub use peak_ewma::PeakEwma;
pub use power_of_two::PowerOfTwo;
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
