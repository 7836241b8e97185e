//! What happens rarely and an operator should hear of. Without the feature `tracing` it is only
//! counted, and seen in the status.

use std::fmt::Display;

/// A node was found not to answer.
pub(crate) fn lost(node: &str, error: &dyn Display) {
    #[cfg(feature = "tracing")]
    tracing::warn!(node, %error, "node lost");
    #[cfg(not(feature = "tracing"))]
    let _: (_, _) = (node, error);
}

/// The monitor has found a node to be in another state than before.
pub(crate) fn health_changed<B>(
    node: &crate::Node<B>,
    before: crate::Health,
    after: crate::Health,
) {
    #[cfg(feature = "tracing")]
    match after {
        crate::Health::Ejected => {
            let error = node.last_error();
            let error = error.as_deref().unwrap_or_default();
            let at_least = node.ejected_for().unwrap_or_default();
            tracing::warn!(node = &**node.name(), %before, ?at_least, error, "node ejected");
        }
        _ => {
            tracing::info!(node = &**node.name(), role = %node.role(), %before, %after, "node found");
        }
    }
    #[cfg(not(feature = "tracing"))]
    let _: (_, _, _, _) = (node.name(), node.ejected_for(), before, after);
}

/// Another node is the primary now.
pub(crate) fn primary_changed(from: &str, to: &str) {
    #[cfg(feature = "tracing")]
    tracing::warn!(from, to, "another node is the primary");
    #[cfg(not(feature = "tracing"))]
    let _: (_, _) = (from, to);
}

/// Another node claims to be the primary as well, and nobody can tell which of them is.
pub(crate) fn contested(primary: &str, rival: &str) {
    #[cfg(feature = "tracing")]
    tracing::error!(
        primary,
        rival,
        "two nodes claim to be the primary; no writes are taken"
    );
    #[cfg(not(feature = "tracing"))]
    let _: (_, _) = (primary, rival);
}

/// A node says that it is something else than it was configured to be.
pub(crate) fn role_changed(node: &str, role: crate::Role) {
    #[cfg(feature = "tracing")]
    tracing::warn!(node, %role, "node changed its role");
    #[cfg(not(feature = "tracing"))]
    let _: (_, _) = (node, role);
}

/// A policy returned an index that no candidate has. Reported once per router.
pub(crate) fn policy_out_of_range(index: usize, candidates: usize) {
    #[cfg(feature = "tracing")]
    tracing::error!(
        index,
        candidates,
        "policy picked an index out of range; the first candidate is used"
    );
    #[cfg(not(feature = "tracing"))]
    let _: (_, _) = (index, candidates);
}

/// A replica refused as a write what the classifier took for a read. Reported once per statement.
pub(crate) fn misjudged(node: &str, sql: &str) {
    #[cfg(feature = "tracing")]
    {
        // Enough to find the statement by; the rest may be values.
        let statement: String = sql.chars().take(200).collect();
        tracing::warn!(
            node,
            statement,
            "a replica refused as a write what was taken for a read; it goes to the primary now"
        );
    }
    #[cfg(not(feature = "tracing"))]
    let _: (_, _) = (node, sql);
}

/// What the classifier wants to know of the server could not be asked.
pub(crate) fn not_learnt(problem: &dyn Display) {
    #[cfg(feature = "tracing")]
    tracing::warn!(%problem, "the server's functions could not be read; calls of unknown ones go to the primary");
    #[cfg(not(feature = "tracing"))]
    let _ = problem;
}

/// A source of nodes has a new one, which was added.
#[cfg(feature = "builder")]
pub(crate) fn discovered(node: &str) {
    #[cfg(feature = "tracing")]
    tracing::info!(node, "node discovered");
    #[cfg(not(feature = "tracing"))]
    let _ = node;
}

/// A source of nodes no longer has one, which was drained and removed.
#[cfg(feature = "builder")]
pub(crate) fn let_go(node: &str) {
    #[cfg(feature = "tracing")]
    tracing::info!(
        node,
        "node is no longer there, by its source; it was removed"
    );
    #[cfg(not(feature = "tracing"))]
    let _ = node;
}

/// It could not be found out which nodes there are, or one of them could not be added.
#[cfg(feature = "builder")]
pub(crate) fn not_discovered(problem: &dyn Display) {
    #[cfg(feature = "tracing")]
    tracing::warn!(%problem, "discovery failed; the nodes stay as they are");
    #[cfg(not(feature = "tracing"))]
    let _ = problem;
}
