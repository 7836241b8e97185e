//! Whether a node is fit for work: a state machine without IO, fed by the monitor's questions and by what
//! traffic meets.
//!
//! | in the state | work failed there | a question failed | a question was answered |
//! | --- | --- | --- | --- |
//! | new | – | – | healthy |
//! | healthy | suspect | ejected | – |
//! | suspect | – | ejected | as before the suspicion; ejected after too many of them |
//! | ejected | – | – | recovering, once its time is over |
//! | recovering | suspect | ejected | healthy, once its time is over |
//!
//! Work's failures are no proof: one connection may have been cut. So they make a node suspect, which
//! keeps work off it for as long as one question takes. A hundred statements that fail at once are one suspicion.
//! But a node on which work fails again and again while it answers questions is as bad as one that does not.
//!
//! The growing ejection, its cap and the rule that nothing is ejected if everything is are those of Envoy's outlier
//! detection; here an ejection ends by an answer, and the first one as soon as there is one.

use std::fmt;
use std::time::Duration;

use crate::clock::Instant;
use crate::config::{ConfigError, ConfigErrorKind};

/// Whether a node is fit for work, as the router finds. (What the operator wishes is its
/// [admission](crate::Admission).)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Health {
    /// It has not answered yet since the router knows it.
    New,
    /// It answers.
    Healthy,
    /// Work has failed on it, and the monitor asks whether it is there. Until it answers, it gets no more work
    /// while others can have it.
    Suspect,
    /// It does not answer, or work has failed on it again and again. It gets no work while others can have it.
    Ejected,
    /// It is back, and gets its share of reads little by little.
    Recovering,
}

impl Health {
    /// Whether a node in this state gets work before others are tried.
    #[must_use]
    #[inline]
    pub fn is_fit(self) -> bool {
        matches!(self, Self::Healthy | Self::Recovering)
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::New => "new",
            Self::Healthy => "healthy",
            Self::Suspect => "suspect",
            Self::Ejected => "ejected",
            Self::Recovering => "recovering",
        })
    }
}

/// When a node is kept from work that has failed, and how it comes back.
///
/// ```
/// use std::time::Duration;
/// use dbrouter::HealthSettings;
///
/// let patient = HealthSettings::new().slow_start(Duration::from_secs(60));
/// # let _ = patient;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    pub(crate) ejection: Duration,
    pub(crate) longest_ejection: Duration,
    pub(crate) forgiveness: Duration,
    pub(crate) suspicions: u32,
    pub(crate) slow_start: Duration,
}

impl HealthSettings {
    /// The share of its reads that a node begins with when it is back: enough to fill its pool, and few enough
    /// to fail on if it is not well yet.
    const FIRST_SHARE: f32 = 0.1;

    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            ejection: Duration::from_millis(500),
            longest_ejection: Duration::from_secs(30),
            forgiveness: Duration::from_secs(60),
            suspicions: 5,
            slow_start: Duration::from_secs(5),
        }
    }

    /// By how much longer each further ejection lasts at least than the one before. The first ends as soon as the
    /// node answers: most are restarts, and who is back is back. Defaults to 500 ms: a node that comes and goes is
    /// out for half a second the second time, and for most of the time after the tenth.
    #[must_use]
    pub fn ejection(mut self, step: Duration) -> Self {
        self.ejection = step;
        self
    }

    /// The longest that a node is kept ejected although it answers. Defaults to 30 s, so that one that was mended
    /// is back before somebody asks why not.
    #[must_use]
    pub fn longest_ejection(mut self, longest: Duration) -> Self {
        self.longest_ejection = longest;
        self
    }

    /// How long a node must have had no trouble for its past to be forgotten. Defaults to 60 s, twice the longest
    /// ejection: a fault that recurs more often than that is one fault.
    #[must_use]
    pub fn forgiveness(mut self, time: Duration) -> Self {
        self.forgiveness = time;
        self
    }

    /// After how many suspicions a node is ejected although it answers the monitor each time. They count until the
    /// node has had no trouble for as long as [`forgiveness`](Self::forgiveness) says. Defaults to 5: a restarted
    /// pooler or a few connections that an administrator has ended stay below that; a network that lets the
    /// monitor through and not the application, or a server that dies of each statement, do not. The primary is never
    /// ejected while it answers: its writes have nowhere else to go.
    #[must_use]
    pub fn suspicions(mut self, most: u32) -> Self {
        self.suspicions = most;
        self
    }

    /// For how long a node that is back gets less than its share of reads: a tenth at first, all in the end.
    /// Zero gives it all at once. Defaults to 5 s: its caches are cold, its pool is empty, and opening all of its
    /// connections at once is the first thing that would make it slow.
    #[must_use]
    pub fn slow_start(mut self, time: Duration) -> Self {
        self.slow_start = time;
        self
    }

    /// The same for the primary, which is never ejected while it answers, however often it was away: its writes have
    /// nowhere else to go.
    pub(crate) fn of_the_primary(mut self) -> Self {
        self.suspicions = u32::MAX;
        self.ejection = Duration::ZERO;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let kind = ConfigErrorKind::OutOfRange;
        if self.suspicions == 0 {
            let problem = "is 0; it must be above zero: the first suspicion would eject every node";
            return Err(ConfigError::new(kind, "health.suspicions", problem));
        }
        if self.longest_ejection < self.ejection {
            let problem = format!(
                "is {:?}; it must not be below health.ejection, {:?}",
                self.longest_ejection, self.ejection
            );
            return Err(ConfigError::new(kind, "health.longest_ejection", problem));
        }
        Ok(())
    }

    /// The share of its reads that a node gets which is back since `since`, between zero and one.
    pub(crate) fn share(&self, since: Instant, now: Instant) -> f32 {
        let passed = now.since(since);
        if passed >= self.slow_start {
            return 1.0;
        }
        let grown = passed.as_secs_f32() / self.slow_start.as_secs_f32();
        Self::FIRST_SHARE + (1.0 - Self::FIRST_SHARE) * grown
    }
}

impl Default for HealthSettings {
    fn default() -> Self {
        Self::new()
    }
}

/// What is learnt of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Work has found it unavailable.
    WorkFailed,
    /// It has not answered the monitor, or not as a node of this cluster should.
    Silent,
    /// It has answered the monitor.
    Answered,
}

/// The state machine of one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fitness {
    health: Health,
    /// Ejections that are not forgotten.
    ejections: u32,
    /// Suspicions that are not forgotten.
    suspicions: u32,
    /// Its last trouble: when it was last suspected, or not answering.
    trouble: Instant,
    /// It stays ejected until then, at least.
    until: Instant,
    /// It is back since then, if it was away.
    back_since: Option<Instant>,
}

impl Fitness {
    pub(crate) fn new() -> Self {
        Self {
            health: Health::New,
            ejections: 0,
            suspicions: 0,
            trouble: Instant::VOID,
            until: Instant::VOID,
            back_since: None,
        }
    }

    pub(crate) fn health(&self) -> Health {
        self.health
    }

    /// Since when it is back, if it was away.
    pub(crate) fn back_since(&self) -> Option<Instant> {
        self.back_since
    }

    /// For how long it stays ejected at least, if it is.
    pub(crate) fn ejected_for(&self, now: Instant) -> Option<Duration> {
        (self.health == Health::Ejected).then(|| self.until.since(now))
    }

    /// Takes in a sign.
    pub(crate) fn take(&mut self, sign: Sign, now: Instant, settings: &HealthSettings) {
        self.forgive(now, settings);
        match (self.health, sign) {
            (Health::New, Sign::Answered) => self.health = Health::Healthy,
            (Health::Healthy | Health::Recovering, Sign::WorkFailed) => {
                self.health = Health::Suspect;
                self.suspicions = self.suspicions.saturating_add(1);
                self.trouble = now;
            }
            (Health::Suspect, Sign::Answered) if self.suspicions >= settings.suspicions => {
                self.eject(now, settings);
                // A suspicion was contradicted each time, so the first ejection would end at once.
                self.until = self.until.max(now + settings.ejection);
            }
            (Health::Suspect | Health::Recovering | Health::Healthy, Sign::Answered) => {
                self.recover(now, settings);
            }
            (Health::Healthy | Health::Suspect | Health::Recovering, Sign::Silent) => {
                self.eject(now, settings);
            }
            // Who was ejected as a replica and has been promoted meanwhile is the primary, and that is never kept out.
            (Health::Ejected, Sign::Answered)
                if now >= self.until || settings.ejection.is_zero() =>
            {
                self.suspicions = 0;
                self.back_since = Some(now);
                self.recover(now, settings);
            }
            (Health::Ejected, Sign::Silent) => self.trouble = now,
            (Health::New, Sign::WorkFailed | Sign::Silent)
            | (Health::Suspect | Health::Ejected, Sign::WorkFailed)
            | (Health::Ejected, Sign::Answered) => {}
        }
    }

    /// A suspicion was not the node's fault: it does not count. The node stays suspect until it answers.
    pub(crate) fn acquit(&mut self) {
        self.suspicions = self.suspicions.saturating_sub(1);
    }

    /// Past trouble is forgotten after some time without any.
    fn forgive(&mut self, now: Instant, settings: &HealthSettings) {
        if self.health.is_fit() && now.since(self.trouble) >= settings.forgiveness {
            self.ejections = 0;
            self.suspicions = 0;
        }
    }

    fn eject(&mut self, now: Instant, settings: &HealthSettings) {
        let longer = settings.ejection.saturating_mul(self.ejections);
        self.health = Health::Ejected;
        self.ejections = self.ejections.saturating_add(1);
        self.trouble = now;
        self.until = now + longer.min(settings.longest_ejection);
        self.back_since = None;
    }

    /// It answers: it is healthy, or still on its way there.
    fn recover(&mut self, now: Instant, settings: &HealthSettings) {
        let since = self.back_since;
        let slow = since.is_some_and(|since| now.since(since) < settings.slow_start);
        self.health = if slow {
            Health::Recovering
        } else {
            self.back_since = None;
            Health::Healthy
        };
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: HealthSettings = HealthSettings {
        ejection: Duration::from_millis(500),
        longest_ejection: Duration::from_secs(2),
        forgiveness: Duration::from_secs(60),
        suspicions: 3,
        slow_start: Duration::from_secs(5),
    };

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1 + millis * 1_000_000)
    }

    /// The health after each of these signs at these milliseconds.
    fn after(signs: &[(u64, Sign)]) -> Vec<Health> {
        let mut fitness = Fitness::new();
        let mut all = Vec::new();
        for (millis, sign) in signs {
            fitness.take(*sign, at(*millis), &SETTINGS);
            all.push(fitness.health());
        }
        all
    }

    use Health::{Ejected, Healthy, New, Recovering, Suspect};
    use Sign::{Answered, Silent, WorkFailed};

    /// A way into each state, and what each sign makes of it a millisecond later.
    #[test]
    fn every_state_takes_every_sign() {
        let new: &[(u64, Sign)] = &[];
        let healthy = &[(0, Answered)][..];
        let suspect = &[(0, Answered), (1, WorkFailed)][..];
        let ejected = &[(0, Answered), (1, Silent)][..];
        let recovering = &[(0, Answered), (1, Silent), (2, Answered)][..];
        let table = [
            (new, New, [New, New, Healthy]),
            (healthy, Healthy, [Suspect, Ejected, Healthy]),
            (suspect, Suspect, [Suspect, Ejected, Healthy]),
            // The first ejection ends with the first answer.
            (ejected, Ejected, [Ejected, Ejected, Recovering]),
            (recovering, Recovering, [Suspect, Ejected, Recovering]),
        ];
        for (way, state, becomes) in table {
            assert_eq!(after(way).last().copied().unwrap_or(New), state);
            for (sign, expected) in [WorkFailed, Silent, Answered].into_iter().zip(becomes) {
                let mut signs = way.to_vec();
                signs.push((3, sign));
                assert_eq!(after(&signs).last(), Some(&expected), "{state} {sign:?}");
            }
        }
    }

    #[test]
    fn suspicions_that_were_not_the_nodes_fault_never_eject_it() {
        let mut fitness = Fitness::new();
        fitness.take(Answered, at(0), &SETTINGS);
        for round in 1..10 {
            fitness.take(WorkFailed, at(round * 10), &SETTINGS);
            fitness.acquit();
            assert_eq!(fitness.health(), Suspect);
            fitness.take(Answered, at(round * 10 + 1), &SETTINGS);
            assert_eq!(fitness.health(), Healthy);
        }
    }

    #[test]
    fn who_is_back_is_healthy_after_a_slow_start() {
        let back = [(0, Answered), (1, Silent), (1000, Answered)];
        let signs = |more: &[(u64, Sign)]| after(&[&back[..], more].concat());
        assert_eq!(signs(&[(5999, Answered)]).last(), Some(&Recovering));
        assert_eq!(signs(&[(6000, Answered)]).last(), Some(&Healthy));
        // A suspicion on the way ends where it began.
        let suspected = [(2000, WorkFailed), (2001, Answered)];
        assert_eq!(signs(&suspected)[3..], [Suspect, Recovering]);
        let late = [(2000, WorkFailed), (6000, Answered)];
        assert_eq!(signs(&late)[3..], [Suspect, Healthy]);
    }

    #[test]
    fn ejections_grow_up_to_the_longest_and_are_forgotten() {
        let mut fitness = Fitness::new();
        let mut now = 0;
        let mut take = |fitness: &mut Fitness, sign, passed: u64| {
            now += passed;
            fitness.take(sign, at(now), &SETTINGS);
            fitness.health()
        };
        take(&mut fitness, Answered, 0);
        for least in [0, 500, 1000, 1500, 2000, 2000] {
            assert_eq!(take(&mut fitness, Silent, 10), Ejected);
            if least > 0 {
                assert_eq!(take(&mut fitness, Answered, least - 1), Ejected, "{least}");
                assert_eq!(take(&mut fitness, Answered, 1), Recovering, "{least}");
            } else {
                assert_eq!(take(&mut fitness, Answered, 0), Recovering);
            }
        }
        // Almost long enough, and the past still counts.
        take(&mut fitness, Answered, 5000);
        take(&mut fitness, Silent, 52_000);
        assert_eq!(fitness.ejected_for(at(now)), Some(Duration::from_secs(2)));
        now += 2000;
        fitness.take(Answered, at(now), &SETTINGS);
        now += 60_000;
        fitness.take(Silent, at(now), &SETTINGS);
        assert_eq!(fitness.ejected_for(at(now)), Some(Duration::ZERO));
    }

    #[test]
    fn who_answers_while_all_work_fails_is_ejected_in_the_end() {
        let again = [WorkFailed, WorkFailed, Answered];
        let signs: Vec<_> = std::iter::once(Answered)
            .chain(again.into_iter().cycle().take(9))
            .enumerate()
            .map(|(index, sign)| (index as u64 * 10, sign))
            .collect();
        let expected = [
            Healthy, Suspect, Suspect, Healthy, Suspect, Suspect, Healthy, Suspect, Suspect,
            Ejected,
        ];
        assert_eq!(after(&signs), expected);
        let mut fitness = Fitness::new();
        for (millis, sign) in signs {
            fitness.take(sign, at(millis), &SETTINGS);
        }
        assert_eq!(fitness.ejected_for(at(90)), Some(SETTINGS.ejection));
        // The primary is not.
        let mut primary = Fitness::new();
        for index in 0..100 {
            let sign = [Answered, WorkFailed][index as usize % 2];
            primary.take(sign, at(index), &SETTINGS.of_the_primary());
            assert_ne!(primary.health(), Ejected);
        }
    }

    #[test]
    fn who_is_promoted_while_it_is_ejected_is_back_as_soon_as_it_answers() {
        let mut fitness = Fitness::new();
        for (millis, sign) in [(0, Answered), (1, Silent), (2, Answered), (3, Silent)] {
            fitness.take(sign, at(millis), &SETTINGS);
        }
        fitness.take(Answered, at(4), &SETTINGS);
        assert_eq!(fitness.health(), Ejected);
        fitness.take(Answered, at(5), &SETTINGS.of_the_primary());
        assert_eq!(fitness.health(), Recovering);
    }

    #[test]
    fn the_share_grows_from_a_tenth_to_all() {
        let share = |millis| SETTINGS.share(at(0), at(millis));
        assert!((share(0) - 0.1).abs() < 1e-6);
        assert!((share(2500) - 0.55).abs() < 1e-6);
        assert!((share(5000) - 1.0).abs() < 1e-6);
        let at_once = SETTINGS.slow_start(Duration::ZERO);
        assert!((at_once.share(at(0), at(0)) - 1.0).abs() < 1e-6);
    }

    fn signs() -> impl Strategy<Value = Vec<(u64, Sign)>> {
        let sign = prop_oneof![Just(WorkFailed), Just(Silent), Just(Answered)];
        proptest::collection::vec((0_u64..10_000, sign), 0..200)
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

        /// Whatever has happened: who has been well for long is healthy, who does not answer is not fit, no
        /// ejection lasts longer than the longest, and nobody is fit that has not answered last.
        #[test]
        fn all_pasts_end(signs in signs()) {
            let mut fitness = Fitness::new();
            let mut now = 0;
            for (passed, sign) in signs {
                now += passed;
                let before = fitness.health();
                fitness.take(sign, at(now), &SETTINGS);
                let after = fitness.health();
                prop_assert!(sign != Silent || !after.is_fit());
                prop_assert!(sign != WorkFailed || !after.is_fit());
                prop_assert!(before == after || sign != Answered || before != New || after == Healthy);
                let left = fitness.ejected_for(at(now)).unwrap_or_default();
                prop_assert!(left <= SETTINGS.longest_ejection, "{left:?}");
            }
            for _ in 0..4 {
                now += 5000;
                fitness.take(Answered, at(now), &SETTINGS);
            }
            prop_assert_eq!(fitness.health(), Healthy);
        }
    }
}
