//! What is done to servers and networks, and when they are well again.

use std::collections::HashMap;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::log::{self, Loss};
use super::{Record, server};
use crate::Result;
use crate::conformance::{Handle, Site, Subject, until};
use crate::history::{Ability, Key, Outage, Predecessor, Promotion, Version};
use crate::proxy::{Mode, Proxy};

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its server is killed, and started again.
    Kill,
    /// Its server is shut down, and started again.
    Restart,
    /// Its server's processes stand still.
    Freeze,
    /// It receives, and shows nothing new.
    PauseReplay,
    /// Its connections are reset when it has heard what its answers do not say any more. New ones work.
    Cut,
    /// What its proxy does.
    Network(Mode),
    /// It is the primary, and shut down; a replica that has all that it had takes its place.
    SwitchOver,
    /// It is the primary, and killed when no replica has all that it has; one of them takes its place.
    FailOver,
}

/// Slow, not lost: what is said of slow nodes is said by the policies' benchmark.
const SLOW: Mode = Mode::Delay(Duration::from_millis(50));
/// Bytes a second: some tens of statements.
const THIN: Mode = Mode::Throttle(20_000);

/// Long enough for some statements to be sent.
const MOMENT: Duration = Duration::from_millis(20);

const FAULTS: [Fault; 13] = [
    Fault::Kill,
    Fault::Restart,
    Fault::Freeze,
    Fault::PauseReplay,
    Fault::Cut,
    Fault::Network(Mode::Refuse),
    Fault::Network(Mode::Reset),
    Fault::Network(Mode::Swallow),
    Fault::Network(Mode::HalfOpen),
    Fault::Network(SLOW),
    Fault::Network(THIN),
    Fault::SwitchOver,
    Fault::FailOver,
];

/// What may go on beside another. A replica that lags and another that is lost send whoever read from that one where
/// less is shown.
const BESIDE: [Fault; 6] = [
    Fault::PauseReplay,
    Fault::PauseReplay,
    Fault::Network(Mode::Refuse),
    Fault::Network(Mode::Reset),
    Fault::Network(Mode::Swallow),
    Fault::Network(SLOW),
];

impl Fault {
    /// What a node that it has struck cannot do.
    fn takes(self) -> Ability {
        match self {
            Self::PauseReplay | Self::Network(Mode::Delay(_) | Mode::Throttle(_)) => Ability::Proof,
            _ => Ability::Service,
        }
    }
}

/// One turn of what happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Strike {
    fault: Fault,
    /// Whom it strikes, counted from the primary on.
    whom: usize,
    /// What has struck another node shortly before, and goes on for as long.
    beside: Option<(Fault, usize)>,
    after: Duration,
    lasts: Duration,
}

/// All faults in some order, and again in another.
pub(super) struct Schedule {
    random: Rng,
    deck: Vec<Fault>,
    silence: Duration,
}

impl Schedule {
    /// Servers that say nothing do so for at least `silence`: it shows for how long they are waited for if it is longer than
    /// reads may take.
    pub(super) fn new(mut random: Rng, silence: Duration) -> Self {
        let mut deck = FAULTS.to_vec();
        random.shuffle(&mut deck);
        Self {
            random,
            deck,
            silence,
        }
    }

    /// Whether each fault has had its turn.
    pub(super) fn is_through(&self) -> bool {
        self.deck.is_empty()
    }

    pub(super) fn next(&mut self) -> Strike {
        if self.deck.is_empty() {
            *self = Self::new(self.random.clone(), self.silence);
        }
        let random = &mut self.random;
        let fault = self.deck.pop().unwrap_or(Fault::Kill);
        let whom = match fault {
            Fault::SwitchOver | Fault::FailOver => 0,
            Fault::PauseReplay => random.usize(1..3),
            _ => random.usize(..3),
        };
        let beside = BESIDE[random.usize(..BESIDE.len())];
        let other = match (whom, beside) {
            // Of the two others only one is a replica.
            (1 | 2, Fault::PauseReplay) => 3 - whom,
            _ => (whom + random.usize(1..3)) % 3,
        };
        let is_silent = matches!(
            fault,
            Fault::Freeze | Fault::Network(Mode::Swallow | Mode::HalfOpen)
        );
        let more = if is_silent {
            self.silence
        } else {
            Duration::ZERO
        };
        let is_alone = matches!(fault, Fault::SwitchOver | Fault::FailOver) || random.bool();
        Strike {
            fault,
            whom,
            beside: (!is_alone).then_some((beside, other)),
            after: Duration::from_millis(random.u64(50..400)),
            lasts: Duration::from_millis(random.u64(150..1300)) + more,
        }
    }
}

/// Who strikes.
pub(super) struct Chaos<'a, S: Subject> {
    site: &'a Site<S>,
    db: &'a S::Handle,
    proxies: &'a [Proxy],
    record: &'a Record,
    primary: usize,
    losses: Vec<Loss>,
    strikes: usize,
}

impl<'a, S: Subject> Chaos<'a, S> {
    pub(super) fn new(
        site: &'a Site<S>,
        db: &'a S::Handle,
        proxies: &'a [Proxy],
        record: &'a Record,
    ) -> Self {
        Self {
            site,
            db,
            proxies,
            record,
            primary: 0,
            losses: Vec::new(),
            strikes: 0,
        }
    }

    /// Who is the primary now.
    pub(super) fn primary(&self) -> usize {
        self.primary
    }

    /// When something was lost with its server.
    pub(super) fn losses(&self) -> &[Loss] {
        &self.losses
    }

    pub(super) fn strikes(&self) -> usize {
        self.strikes
    }

    /// Does something, undoes it, and waits until all are well.
    pub(super) async fn strike(&mut self, strike: &Strike) -> Result<()> {
        sleep(strike.after).await;
        self.strikes += 1;
        let primary = self.primary;
        let number = (primary + strike.whom) % 3;
        let beside = strike
            .beside
            .map(|(fault, whom)| (fault, (primary + whom) % 3));
        let (fault, lasts) = (strike.fault, strike.lasts);
        let from = self.record.now();
        println!(
            "  {from:?}: {fault:?} of {number} for {lasts:?}, {primary} is the primary{}",
            beside.map_or(String::new(), |(fault, number)| format!(
                ", beside {fault:?} of {number}"
            ))
        );
        if let Some((fault, number)) = beside {
            self.harm(fault, number).await?;
            sleep(lasts / 4).await;
        }
        match fault {
            Fault::SwitchOver => self.switch_over(lasts).await?,
            Fault::FailOver => self.fail_over(lasts).await?,
            _ => {
                self.harm(fault, number).await?;
                sleep(lasts).await;
                self.mend(fault, number).await?;
            }
        }
        if let Some((fault, number)) = beside {
            self.mend(fault, number).await?;
        }
        self.settle().await?;
        let to = self.record.now();
        let unable = |number: usize, of: Ability| Outage {
            server: server(number),
            from,
            to,
            of,
        };
        self.record.history(|history| {
            if primary != self.primary {
                // All follow anew, one after the other.
                (0..3).for_each(|number| history.unable(unable(number, Ability::Service)));
            }
            for (fault, number) in [(fault, number)].into_iter().chain(beside) {
                history.unable(unable(number, fault.takes()));
                if number == primary {
                    // Who cannot ask the primary can prove nothing.
                    (0..3).for_each(|number| history.unable(unable(number, Ability::Proof)));
                }
            }
        });
        Ok(())
    }

    async fn harm(&self, fault: Fault, number: usize) -> Result<()> {
        match fault {
            Fault::Kill => self.site.kill(number).await,
            Fault::Restart => self.site.stop(number).await,
            Fault::Freeze => self.site.freeze(number),
            Fault::PauseReplay => self.site.pause(number).await,
            Fault::Cut => {
                for mode in [Mode::HalfOpen, Mode::Reset, Mode::Pass] {
                    self.proxies[number].set(mode);
                    sleep(MOMENT).await;
                }
                Ok(())
            }
            Fault::Network(mode) => {
                self.proxies[number].set(mode);
                Ok(())
            }
            Fault::SwitchOver | Fault::FailOver => Ok(()),
        }
    }

    async fn mend(&self, fault: Fault, number: usize) -> Result<()> {
        match fault {
            Fault::Kill | Fault::Restart => self.site.start(number).await,
            Fault::Freeze => self.site.thaw(number),
            Fault::PauseReplay => self.site.resume(number).await,
            Fault::Network(_) => {
                self.proxies[number].set(Mode::Pass);
                Ok(())
            }
            Fault::Cut | Fault::SwitchOver | Fault::FailOver => Ok(()),
        }
    }

    /// The primary, who follows it, and who does not. Which standby is next follows from how long it lasts.
    fn roles(&self, lasts: Duration) -> (usize, usize, usize) {
        let heir = 1 + usize::from(lasts.as_millis().is_multiple_of(2));
        let (old, heir, other) = (0, heir, 3 - heir);
        let number = |whom: usize| (self.primary + whom) % 3;
        (number(old), number(heir), number(other))
    }

    /// As an operator does it, who loses nothing.
    async fn switch_over(&mut self, lasts: Duration) -> Result<()> {
        let (old, heir, other) = self.roles(lasts);
        self.site.retire(old, heir).await?;
        let at = self.record.now();
        self.site.promote(heir).await?;
        // Nothing is lost: what it shows now is no less than it had then.
        let survived = log::versions(self.site, heir).await?;
        self.promoted(heir, at, survived);
        self.site.stop(other).await?;
        self.site.rejoin(other, heir).await?;
        self.site.rejoin(old, heir).await?;
        self.primary = heir;
        Ok(())
    }

    /// What the primary has taken when both standbys are down dies with it.
    async fn fail_over(&mut self, lasts: Duration) -> Result<()> {
        let (old, heir, other) = self.roles(lasts);
        self.site.stop(other).await?;
        // Who is promoted must not have less than who follows it then.
        self.site.catch_up_with(heir, old).await?;
        self.site.stop(heir).await?;
        sleep(lasts / 4).await;
        self.site.kill(old).await?;
        // Nobody reaches the heir until it has been asked what it has.
        self.proxies[heir].set(Mode::Reset);
        self.site.start(heir).await?;
        self.site.promote(heir).await?;
        let survived = log::versions(self.site, heir).await?;
        let at = self.record.now();
        self.proxies[heir].set(Mode::Pass);
        self.losses.push(Loss {
            at,
            survived: survived.clone(),
        });
        self.promoted(heir, at, survived);
        self.site.rejoin(other, heir).await?;
        self.site.catch_up_with(other, heir).await?;
        self.site.stop(other).await?;
        self.site.copy(old, other).await?;
        self.site.rejoin(other, heir).await?;
        self.site.rejoin(old, heir).await?;
        self.primary = heir;
        Ok(())
    }

    fn promoted(&self, heir: usize, at: Duration, survived: HashMap<Key, Version>) {
        let promotion = Promotion {
            at,
            server: server(heir),
            survived,
            predecessor: Predecessor::Gone,
        };
        self.record.history(|history| history.promoted(promotion));
    }

    /// Waits until the router finds all nodes well, and takes writes.
    async fn settle(&self) -> Result<()> {
        let primary = self.site.name(self.primary).to_owned();
        until(self.db, "well", |status| {
            let well = status.nodes.iter().all(|node| node.healthy);
            let fresh = status.nodes.iter().all(|node| node.staleness.is_some());
            well && fresh && &**self.db.cluster().primary().name() == primary.as_str()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(seed: u64) -> Vec<Strike> {
        let mut schedule = Schedule::new(Rng::with_seed(seed), Duration::ZERO);
        (0..10 * FAULTS.len()).map(|_| schedule.next()).collect()
    }

    #[test]
    fn a_seed_is_a_schedule() {
        assert_eq!(schedule(7), schedule(7));
        assert_ne!(schedule(7), schedule(8));
    }

    #[test]
    fn each_fault_has_its_turn_before_any_has_another() {
        for turns in schedule(7).chunks(FAULTS.len()) {
            for fault in FAULTS {
                let strikes = turns.iter().filter(|strike| strike.fault == fault);
                assert_eq!(strikes.count(), 1, "{fault:?}");
            }
        }
        let mut schedule = Schedule::new(Rng::with_seed(7), Duration::ZERO);
        for _ in FAULTS {
            assert!(!schedule.is_through());
            schedule.next();
        }
        assert!(schedule.is_through());
    }

    #[test]
    fn two_faults_strike_two_nodes_and_no_primary_is_to_lag() {
        for Strike {
            fault,
            whom,
            beside,
            ..
        } in schedule(7)
        {
            assert!(fault != Fault::PauseReplay || whom != 0);
            if let Some((beside, other)) = beside {
                assert!(other < 3 && other != whom);
                assert!(beside != Fault::PauseReplay || other != 0);
            }
        }
    }
}
