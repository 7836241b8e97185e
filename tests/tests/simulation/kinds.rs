//! What a world may have beside what every world has: each kind of it can be switched off, and what a seed decides
//! otherwise stays the same.

use std::env;
use std::fmt;

use fastrand::Rng;

/// A kind of fault, or of world, that not every seed has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Some servers have a second address.
    TwoNames,
    /// Addresses move from server to server, after some time in which nobody answers there.
    Moves,
    /// The primary's disk is set back to an earlier state: same identity, same timeline, lower position.
    GoesBack,
    /// The whole cluster is replaced by a new one with the same data; or, on MariaDB, the primary's log begins anew.
    Anew,
    /// A copy of the primary that was promoted elsewhere, with the same identity and a later timeline, is one of the
    /// router's replicas.
    Stranger,
    /// The servers are MariaDB's.
    MariaDb,
    /// A replica of MariaDB's becomes writable while the primary is there. Without [`Kind::MariaDb`] it is nothing.
    Opens,
    /// Pools have few connections, so that statements wait for one.
    Queues,
    /// Connections to a server break faster than it answers the monitor.
    Storms,
    /// The primary's log is not flushed for a while, and commits are acknowledged all the same.
    Stalls,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::TwoNames,
        Self::Moves,
        Self::GoesBack,
        Self::Anew,
        Self::Stranger,
        Self::MariaDb,
        Self::Opens,
        Self::Queues,
        Self::Storms,
        Self::Stalls,
    ];

    /// Of how many worlds one is of this kind. What only MariaDB's servers do is drawn more often.
    fn rarity(self) -> u64 {
        match self {
            Self::Opens => 2,
            _ => 6,
        }
    }

    /// A random sequence that no other kind of the same seed has, and that does not depend on which of them are drawn.
    pub(crate) fn random(self, seed: u64) -> Rng {
        let own = (self as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        Rng::with_seed(seed ^ own)
    }
}

/// The kinds that one world is of.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Kinds(u32);

impl Kinds {
    fn all() -> Self {
        Kind::ALL.into_iter().fold(Self::default(), Self::with)
    }

    /// The kinds that may be drawn: all, or those that `DBROUTER_SIM_KINDS` names, separated by commas; `none` is a word
    /// for no kind, `all` one for all of them. An unknown name is an error.
    pub(crate) fn switched_on() -> Result<Self, String> {
        let Ok(names) = env::var("DBROUTER_SIM_KINDS") else {
            return Ok(Self::all());
        };
        let mut kinds = Self::default();
        for name in names.split(',').map(str::trim) {
            let mut named = Kind::ALL.into_iter();
            match named.find(|kind| format!("{kind:?}").eq_ignore_ascii_case(name)) {
                Some(kind) => kinds = kinds.with(kind),
                None if name == "none" => {}
                None if name == "all" => kinds = Self::all(),
                None => {
                    let known = Kind::ALL;
                    return Err(format!(
                        "no kind of world is called {name:?}; there are {known:?}"
                    ));
                }
            }
        }
        Ok(kinds)
    }

    /// Those of the kinds that this seed draws.
    pub(crate) fn drawn(self, seed: u64) -> Self {
        let drawn = |kind: &Kind| self.has(*kind) && kind.random(seed).u64(..kind.rarity()) == 0;
        let drawn = Kind::ALL.into_iter().filter(drawn);
        let mut drawn = drawn.fold(Self::default(), Self::with);
        if !drawn.has(Kind::MariaDb) {
            drawn = drawn.without(Kind::Opens);
        }
        drawn
    }

    fn with(self, kind: Kind) -> Self {
        Self(self.0 | 1 << kind as u32)
    }

    fn without(self, kind: Kind) -> Self {
        Self(self.0 & !(1 << kind as u32))
    }

    pub(crate) fn has(self, kind: Kind) -> bool {
        self.0 & 1 << kind as u32 != 0
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |kind: &Kind| self.has(*kind);
        f.debug_list()
            .entries(Kind::ALL.into_iter().filter(has))
            .finish()
    }
}
