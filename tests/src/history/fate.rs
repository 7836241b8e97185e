//! What becomes of a version when its server is replaced.

use std::collections::HashMap;
use std::time::Duration;

use super::{History, Key, Outcome, Promotion, ServerId, Version};

/// A version that is lost: since when, and what remained of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) at: Duration,
    pub(super) kept: Version,
}

/// Who has written a version, and whether it lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) operation: usize,
    pub(super) loss: Option<Loss>,
}

/// All versions that are known to have been written.
#[derive(Debug)]
pub(super) struct Fates {
    written: HashMap<(Key, Version), Written>,
}

impl Fates {
    pub(super) fn of(history: &History) -> Self {
        let mut written = HashMap::new();
        let mut add = |operation: usize, version, server, at| {
            let Some(of) = history.operations.get(operation) else {
                return;
            };
            let loss = loss(&history.promotions, of.key, version, server, at);
            written.insert((of.key, version), Written { operation, loss });
        };
        for (index, operation) in history.operations.iter().enumerate() {
            if let (Outcome::Wrote(version), Some(served)) = (operation.outcome, operation.served) {
                add(index, version, served.server, operation.end);
            }
        }
        // The servers know better where it was, and know of writes of which nobody was told the outcome.
        for execution in history.executions.iter().flatten() {
            let server = execution.served.server;
            add(execution.operation, execution.version, server, execution.at);
        }
        Self { written }
    }

    /// The write that made this version, if it is known.
    pub(super) fn of_version(&self, key: Key, version: Version) -> Option<&Written> {
        self.written.get(&(key, version))
    }

    /// When the version is lost, if it is.
    pub(super) fn loss(&self, key: Key, version: Version) -> Option<Loss> {
        self.of_version(key, version)?.loss
    }

    /// How much of the history that counts a read at `at` has seen that saw `version`.
    pub(super) fn amounts_to(&self, key: Key, version: Version, at: Duration) -> Version {
        match self.loss(key, version) {
            Some(loss) if loss.at <= at => loss.kept,
            _ => version,
        }
    }
}

/// When what `server` has written at `at` is lost: by the first promotion since the server's own that came without it.
fn loss(
    promotions: &[Promotion],
    key: Key,
    version: Version,
    server: ServerId,
    at: Duration,
) -> Option<Loss> {
    let own = promotions
        .iter()
        .rposition(|promotion| promotion.server == server && promotion.at <= at)?;
    let mut later = promotions[own + 1..].iter();
    later.find_map(|promotion| {
        let kept = promotion.survived.get(&key).copied().unwrap_or_default();
        (version > kept).then_some(Loss {
            at: promotion.at,
            kept,
        })
    })
}
