use std::sync::atomic::{AtomicU64, Ordering};

use siphasher::sip::SipHasher13;
use std::hash::Hasher;

use super::Policy;
use crate::candidates::Candidates;
use crate::request::Request;

/// The same candidate for the same key, so that its caches serve the key again.
///
/// Every candidate gets a score from the key and its name; the highest wins. A node that leaves moves
/// only its own keys, and they spread over all others; a node that comes takes its share from each.
/// Names and keys are hashed alike in every process, so all instances of a service agree.
///
/// Rendezvous hashing: D. Thaler and C. V. Ravishankar, *Using name-based mappings to increase hit
/// rates*, 1998. Weights by the logarithmic method: C. Schindelhauer and G. Schomaker, *Weighted
/// distributed hash tables*, 2005.
///
/// The key is [`Request::key`]; without one, a session keeps its replica, and the root handle's reads
/// are spread.
#[derive(Debug, Default)]
pub struct Rendezvous {
    keyless: AtomicU64,
}

impl Rendezvous {
    /// The policy.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Policy for Rendezvous {
    fn pick(&self, candidates: Candidates<'_>, request: &Request) -> Option<usize> {
        let key = request
            .key_hash()
            .or_else(|| candidates.session_id())
            .unwrap_or_else(|| self.keyless.fetch_add(1, Ordering::Relaxed));
        candidates
            .iter()
            .map(|candidate| score(key, candidate.name_hash(), candidate.weight()))
            .enumerate()
            .max_by(|(_, one), (_, other)| one.total_cmp(other))
            .map(|(index, _)| index)
    }
}

/// `-w / ln(h)` for a hash `h` that is uniform between 0 and 1.
fn score(key: u64, name: u64, weight: u32) -> f64 {
    let hash = SipHasher13::new_with_keys(key, name).finish();
    // The upper 52 bits: with the half that keeps it from 0 and 1, as many as an f64 holds exactly.
    let uniform = ((hash >> 12) as f64 + 0.5) / (1_u64 << 52) as f64;
    -f64::from(weight) / uniform.ln()
}
