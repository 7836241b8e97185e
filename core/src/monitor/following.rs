//! Whether a replica follows the history that the primary writes.
//!
//! A log position says how far a replica has come, and not whose log it has replayed: after a primary's disk was set
//! back to a snapshot, or its log was begun anew, a replica may stand at a position that the primary reaches later with
//! other contents. So a position alone proves nothing. Two observations do:
//!
//! * A replica stands **beyond** the primary if it told a position before the primary was asked, and the primary
//!   answered with a lower one. A log only grows, so the replica has replayed something else.
//! * A replica **follows** if it told a position, the primary was asked after that and answered with a position at or
//!   above it, and the replica later reached the primary's. One that stands still on another history never gets there.
//!
//! Both compare the order in which the monitor sent questions and took in answers, not times, so that a coarse clock
//! cannot reverse them. A primary that answers slowly is compared with what a replica had told when it was asked.

use crate::dialect::Position;

/// What a replica's answers have shown since it was last met.
#[derive(Debug, Default)]
pub(super) struct Following {
    /// The position that it told last.
    told: Option<Position>,
    /// The same when the primary was last asked. It may have told others before that answers.
    told_before: Option<Position>,
    stage: Stage,
    /// It has been shown to follow the primary since it was met first. That it was away since, or the primary, does not
    /// make it another server: if it calls itself the primary then, it has been promoted.
    followed: bool,
}

#[derive(Debug, Default)]
enum Stage {
    /// It has told at most where it stands.
    #[default]
    Unknown,
    /// It follows once it has replayed this: the primary's position, taken after the replica had told its own.
    Expected(Position),
    /// It follows.
    Shown,
    /// It stands on another history: the primary stood here when it was asked later.
    Beyond(Position),
}

/// Where a replica stands that is on another history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Beyond {
    /// How far it has replayed its own.
    pub(super) replayed: Position,
    /// How far the primary had written when it was asked later.
    pub(super) written: Position,
}

impl Following {
    /// The replica has told where it stands. Returns whether its log went back.
    pub(super) fn told(&mut self, position: Option<Position>) -> bool {
        let went_back = match (&self.told, &position) {
            (Some(before), Some(now)) => !now.covers(before),
            (Some(_), None) => true,
            (None, _) => false,
        };
        if went_back {
            self.begin_again();
        }
        if let (Stage::Expected(expected), Some(position)) = (&self.stage, &position)
            && position.covers(expected)
        {
            self.stage = Stage::Shown;
            self.followed = true;
        }
        self.told = position;
        went_back
    }

    /// The primary is being asked.
    pub(super) fn primary_is_asked(&mut self) {
        self.told_before.clone_from(&self.told);
    }

    /// The primary has answered with `written`. Returns where the replica stands if that is beyond it and was not known
    /// to be.
    pub(super) fn compare(&mut self, written: &Position) -> Option<Beyond> {
        let told = self.told_before.take()?;
        if matches!(self.stage, Stage::Beyond(_)) {
            return None;
        }
        if told.is_beyond(written) {
            self.stage = Stage::Beyond(written.clone());
            self.followed = false;
            return self.beyond();
        }
        if matches!(self.stage, Stage::Unknown) {
            self.stage = Stage::Expected(written.clone());
        }
        None
    }

    /// Whether it has been shown to follow the primary.
    pub(super) fn is_shown(&self) -> bool {
        matches!(self.stage, Stage::Shown)
    }

    /// Whether it has told where it stands, and the primary's answer to a later question is still to come.
    pub(super) fn awaits_the_primary(&self) -> bool {
        self.told.is_some() && matches!(self.stage, Stage::Unknown)
    }

    /// Whether it is still to be seen to reach where the primary stood.
    pub(super) fn is_expected(&self) -> bool {
        matches!(self.stage, Stage::Expected(_))
    }

    /// Whether it has been shown to follow the primary at any time since it was met first, and nothing contradicts that.
    pub(super) fn has_followed(&self) -> bool {
        self.followed
    }

    /// Where it stands if it is on another history.
    pub(super) fn beyond(&self) -> Option<Beyond> {
        match (&self.stage, &self.told) {
            (Stage::Beyond(written), Some(replayed)) => Some(Beyond {
                replayed: replayed.clone(),
                written: written.clone(),
            }),
            _ => None,
        }
    }

    /// The position that it told last.
    pub(super) fn position(&self) -> Option<&Position> {
        self.told.as_ref()
    }

    /// Nothing is known any longer: the replica was away, or the primary's history may be another one.
    pub(super) fn begin_again(&mut self) {
        *self = Self {
            followed: self.followed,
            ..Self::default()
        };
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    fn log(position: u64) -> Position {
        Position::Log(position)
    }

    /// The primary is asked, and answers.
    fn compared(following: &mut Following, written: u64) -> Option<Beyond> {
        following.primary_is_asked();
        following.compare(&log(written))
    }

    #[test]
    fn a_replica_follows_once_it_reaches_what_the_primary_told_later() {
        let mut following = Following::default();
        following.primary_is_asked();
        assert!(!following.told(Some(log(35))));
        // Asked before the replica answered: says nothing.
        assert!(following.compare(&log(30)).is_none());
        assert!(compared(&mut following, 40).is_none());
        following.told(Some(log(39)));
        assert!(!following.is_shown());
        following.told(Some(log(41)));
        assert!(following.is_shown());
    }

    #[test]
    fn a_replica_that_tells_more_often_than_the_primary_answers_is_compared_all_the_same() {
        let mut following = Following::default();
        following.told(Some(log(35)));
        following.primary_is_asked();
        following.told(Some(log(42)));
        assert!(following.compare(&log(40)).is_none(), "it wrote on");
        following.told(Some(log(42)));
        assert!(following.is_shown());
        following.told(Some(log(45)));
        following.primary_is_asked();
        following.told(Some(log(46)));
        assert!(following.compare(&log(44)).is_some());
    }

    #[test]
    fn a_replica_on_another_history_never_follows_however_far_the_primary_comes() {
        let mut following = Following::default();
        for written in [30, 33, 37, 50, 90] {
            following.told(Some(log(35)));
            compared(&mut following, written);
            assert!(!following.is_shown(), "at {written}");
        }
        assert!(following.beyond().is_some());
    }

    #[test]
    fn a_replica_met_late_on_another_history_does_not_follow_either() {
        let mut following = Following::default();
        for written in [40, 50] {
            following.told(Some(log(35)));
            compared(&mut following, written);
        }
        assert!(!following.is_shown() && following.beyond().is_none());
    }

    #[test]
    fn a_replica_beyond_a_later_answer_is_on_another_history_until_its_log_goes_back() {
        let mut following = Following::default();
        following.told(Some(log(35)));
        compared(&mut following, 35);
        following.told(Some(log(35)));
        assert!(following.is_shown());
        let beyond = Some(Beyond {
            replayed: log(35),
            written: log(34),
        });
        assert_eq!(compared(&mut following, 34), beyond);
        assert_eq!(compared(&mut following, 34), None, "it is told once");
        assert_eq!(following.beyond(), beyond);
        assert!(following.told(Some(log(20))));
        assert_eq!(following.beyond(), None);
    }

    #[test]
    fn only_domains_that_both_have_are_compared() {
        let domains = |domains: &[(u32, u64)]| Position::Domains(domains.to_vec());
        let mut following = Following::default();
        following.told(Some(domains(&[(0, 9), (7, 5)])));
        following.primary_is_asked();
        assert!(following.compare(&domains(&[(0, 9)])).is_none());
        following.told(Some(domains(&[(0, 9), (7, 5)])));
        assert!(following.is_shown());
        following.primary_is_asked();
        assert!(following.compare(&domains(&[(0, 8)])).is_some());
    }
}
