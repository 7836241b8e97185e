use super::Policy;
use crate::candidates::Candidates;
use crate::request::Request;

/// The session's replica while it is a candidate; otherwise whatever `P` chooses, from then on.
///
/// All reads of a session then land on one replica: its caches are warm, and the session sees one
/// moment of the database. Consistency does not rest on it: a sticky replica that dies is replaced
/// without time going back. The root handle has no replica of its own, so there `P` is always asked.
#[derive(Debug, Default)]
pub struct Sticky<P>(P);

impl<P: Policy> Sticky<P> {
    /// Sticky sessions over `policy`.
    #[must_use]
    pub fn new(policy: P) -> Self {
        Self(policy)
    }
}

impl<P: Policy> Policy for Sticky<P> {
    fn pick(&self, candidates: Candidates<'_>, request: &Request) -> Option<usize> {
        candidates.stay(|| self.0.pick(candidates, request))
    }
}
