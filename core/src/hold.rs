//! For how long a session keeps its connection between statements.

use std::time::Duration;

/// For how long a session keeps the replica connection that it reads from, between its statements.
///
/// A pool is in the way of each statement: it may ping the connection that it hands out, and sqlx's pings each
/// one that comes back. A session that keeps its connection spares the statements that follow all of that.
///
/// What is read, and from where, is the same: each statement is routed as ever, and a connection that does not
/// lead to its node goes back to its pool. It also goes back when the session ends or writes, when its node is
/// closed, and when it is wanted: while anybody waits for a connection of that node none is kept from them, nor for
/// 100 ms after there were too few. Statements that run at once in one session have one kept connection between them; the others use the
/// pool. Of a statement that failed, or was dropped before its end, no connection is kept: the pool checks it.
///
/// Only connections to replicas are kept, and never by the root handle, which is no unit of work. While one is
/// kept it counts as in use, the pool's limits for idle time and lifetime do not reach it, and to the pool's hooks
/// the statements are those of one checkout. After an idle time of half a second it is
/// not used again: the session takes another one from the pool, which has its own checks for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Not at all: each statement takes a connection from the pool.
    Never,
    /// Until it has been idle for so long: while statements follow each other closely. See [`Hold::closely`].
    WhileBusy(Duration),
    /// Until the session ends. For sessions that read much and pause little: one that pauses keeps a
    /// connection from new requests until one of them has to wait for it.
    ForLife,
}

impl Hold {
    /// While statements follow each other within 10 ms. The default.
    ///
    /// Measured with sqlx and SeaORM on PostgreSQL (`tests/benches/affinity.rs`), sessions of six reads had 1.4 to
    /// 1.9 times the throughput that they have with [`Never`](Self::Never) where the pools were larger than the
    /// number of clients, and the same where they were smaller; sessions of a single read had the same. The only
    /// load that had less, by up to a tenth, was one that waits for nothing: 32 clients that pause between their
    /// statements. The slowest statements were no slower. `ForLife` was hardly faster.
    /// The time is more than a handler spends between two statements unless it waits for something else; then its
    /// connection is better in the pool.
    #[must_use]
    pub const fn closely() -> Self {
        Self::WhileBusy(Duration::from_millis(10))
    }

    /// In one word, for a place that also knows "nothing was said".
    pub(crate) fn pack(hold: Option<Self>) -> u64 {
        match hold {
            None => u64::MAX,
            Some(Self::ForLife) => u64::MAX - 1,
            Some(Self::WhileBusy(idle)) => {
                let nanos = u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX);
                nanos.min(u64::MAX - 2)
            }
            Some(Self::Never) => 0,
        }
    }

    pub(crate) fn unpack(word: u64) -> Option<Self> {
        const FOR_LIFE: u64 = u64::MAX - 1;
        match word {
            u64::MAX => None,
            FOR_LIFE => Some(Self::ForLife),
            0 => Some(Self::Never),
            nanos => Some(Self::WhileBusy(Duration::from_nanos(nanos))),
        }
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn it_survives_its_word() {
        let all = [
            None,
            Some(Hold::Never),
            Some(Hold::closely()),
            Some(Hold::ForLife),
        ];
        for hold in all {
            assert_eq!(Hold::unpack(Hold::pack(hold)), hold);
        }
        let endless = Hold::unpack(Hold::pack(Some(Hold::WhileBusy(Duration::MAX))));
        assert!(matches!(endless, Some(Hold::WhileBusy(_))), "{endless:?}");
        let no_time = Hold::unpack(Hold::pack(Some(Hold::WhileBusy(Duration::ZERO))));
        assert_eq!(no_time, Some(Hold::Never));
    }
}
