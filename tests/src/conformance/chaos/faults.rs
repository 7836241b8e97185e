//! What is done to servers and networks, and when they are well again.

use std::collections::HashMap;
use std::time::Duration;

use dbrouter::{Dialect, NodeOptions};
use fastrand::Rng;
use tokio::time::sleep;

use super::log::{self, Loss};
use super::{Record, server};
use crate::Result;
use crate::any::Connection;
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
    /// Its connections that have been idle for a moment carry nothing more, and nobody is told. New ones work.
    Forget,
    /// It takes no new connections of the application's. Those that are open work.
    Login,
    /// It is the primary, and takes fewer connections than the pools would open.
    Few,
    /// The router gets another node, whose address leads to the same server.
    TwoNames,
    /// It is the primary. Commits are acknowledged before they are flushed, and the process that flushes them stands still.
    /// PostgreSQL alone has it.
    LogWriter,
    /// It is a replica, and says that it takes writes. Nobody writes to it. PostgreSQL's cannot say so.
    Writable,
    /// It is a replica, and its address leads to the other one, which shows less. Connections are reset when it moves.
    Moved,
    /// It is the primary, and shut down; a replica that has all that it had takes its place.
    SwitchOver,
    /// It is the primary, and killed when no replica has all that it has; one of them takes its place.
    FailOver,
}

/// Slow, not lost: what is said of slow nodes is said by the policies' benchmark.
const SLOW: Mode = Mode::Delay(Duration::from_millis(50));
/// On another continent.
const FAR: Mode = Mode::Delay(Duration::from_millis(300));
/// Bytes a second: some tens of statements.
const THIN: Mode = Mode::Throttle(20_000);

/// After how long without use the router asks whether a connection is still there.
pub(super) const PING_AFTER: Duration = Duration::from_millis(20);

/// For how long a connection has been idle that is forgotten. What is sent on a forgotten one all the same waits as long as
/// its client does, with any router. So it is longer than a busy machine takes from a ping to the statement, or from one
/// statement of a transaction to the next.
const IDLE: Duration = Duration::from_millis(100);

/// Long enough for some statements to be sent.
const MOMENT: Duration = Duration::from_millis(20);

const FAULTS: [Fault; 19] = [
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
    Fault::Network(FAR),
    Fault::Network(THIN),
    Fault::Forget,
    Fault::Login,
    Fault::Few,
    Fault::TwoNames,
    Fault::Moved,
    Fault::SwitchOver,
    Fault::FailOver,
];

/// All that may happen to servers of that kind.
pub(super) fn faults_of(database: Dialect) -> Vec<Fault> {
    let of_its_own = match database {
        Dialect::MariaDb => Fault::Writable,
        _ => Fault::LogWriter,
    };
    FAULTS.into_iter().chain([of_its_own]).collect()
}

/// What may go on beside another. A replica that lags and another that is lost send whoever read from that one where
/// less is shown.
const BESIDE: [Fault; 9] = [
    Fault::PauseReplay,
    Fault::PauseReplay,
    Fault::Network(Mode::Refuse),
    Fault::Network(Mode::Reset),
    Fault::Network(Mode::Swallow),
    Fault::Network(SLOW),
    Fault::Forget,
    Fault::Login,
    Fault::TwoNames,
];

impl Fault {
    /// What a server that it has struck cannot do.
    fn takes(self) -> Option<Ability> {
        match self {
            // It is there under both of its names.
            Self::TwoNames => None,
            Self::PauseReplay
            | Self::LogWriter
            | Self::Network(Mode::Delay(_) | Mode::Throttle(_)) => Some(Ability::Proof),
            // One that claims what it is not need not be read; one whose address has moved cannot be reached.
            Self::Writable
            | Self::Moved
            | Self::Kill
            | Self::Restart
            | Self::Freeze
            | Self::Cut
            | Self::Forget
            | Self::Login
            | Self::Few
            | Self::Network(_)
            | Self::SwitchOver
            | Self::FailOver => Some(Ability::Service),
        }
    }

    /// Whether nothing else may go on. Of a primary that is lost, and a replica that takes writes as a promoted one does, the
    /// router would make the replica the primary.
    fn is_alone(self) -> bool {
        matches!(self, Self::SwitchOver | Self::FailOver | Self::Writable)
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
    faults: Vec<Fault>,
    deck: Vec<Fault>,
    silence: Duration,
}

impl Schedule {
    /// Servers that say nothing do so for at least `silence`: it shows for how long they are waited for if it is longer than
    /// reads may take.
    pub(super) fn new(mut random: Rng, faults: Vec<Fault>, silence: Duration) -> Self {
        let mut deck = faults.clone();
        random.shuffle(&mut deck);
        Self {
            random,
            faults,
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
            *self = Self::new(self.random.clone(), self.faults.clone(), self.silence);
        }
        let random = &mut self.random;
        let fault = self.deck.pop().unwrap_or(Fault::Kill);
        let whom = match fault {
            Fault::SwitchOver | Fault::FailOver | Fault::LogWriter | Fault::Few => 0,
            Fault::PauseReplay | Fault::Writable | Fault::Moved => random.usize(1..3),
            // As often the primary as a replica.
            Fault::TwoNames => random.usize(..2) * random.usize(1..3),
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
        // There is but one second name at a time.
        let is_twice = fault == beside && matches!(fault, Fault::TwoNames);
        let is_alone = fault.is_alone() || random.bool() || is_twice;
        let beside = match fault {
            // It moves to where less is shown.
            Fault::Moved => Some((Fault::PauseReplay, 3 - whom)),
            _ => (!is_alone).then_some((beside, other)),
        };
        Strike {
            fault,
            whom,
            beside,
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
    /// The second address of a server, and the name of the node that has it.
    second: Option<(Proxy, String)>,
    /// The administrator's connection to a server that takes few.
    admin: Option<Connection>,
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
            second: None,
            admin: None,
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
                let Some(ability) = fault.takes() else {
                    continue;
                };
                history.unable(unable(number, ability));
                if number == primary {
                    // Who cannot ask the primary can prove nothing.
                    (0..3).for_each(|number| history.unable(unable(number, Ability::Proof)));
                }
            }
        });
        Ok(())
    }

    async fn harm(&mut self, fault: Fault, number: usize) -> Result<()> {
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
            Fault::Forget => {
                self.proxies[number].forget_idle(IDLE);
                Ok(())
            }
            Fault::Login => self.site.refuse_logins(number, true).await,
            Fault::Few => {
                let mut admin = self.site.admin(number).await?;
                Site::<S>::limit_connections(&mut admin, Some(6)).await?;
                self.admin = Some(admin);
                Ok(())
            }
            Fault::TwoNames => self.add_name(number).await,
            Fault::LogWriter => {
                let off = self.site.set(number, "synchronous_commit", "off");
                off.await?;
                self.site.freeze_wal_writer(number).await
            }
            Fault::Writable => self.site.set(number, "read_only", "OFF").await,
            Fault::Moved => {
                let other = self.other_replica(number);
                // Which of the two serves is not to be told by the name from now on.
                self.record.names.forget(self.site.name(number));
                self.proxies[number].lead_to(self.site.port(other)?);
                Ok(())
            }
            Fault::SwitchOver | Fault::FailOver => Ok(()),
        }
    }

    async fn mend(&mut self, fault: Fault, number: usize) -> Result<()> {
        match fault {
            Fault::Kill | Fault::Restart => self.site.start(number).await,
            Fault::Freeze => self.site.thaw(number),
            Fault::PauseReplay => self.site.resume(number).await,
            Fault::Network(_) => {
                self.proxies[number].set(Mode::Pass);
                Ok(())
            }
            Fault::Login => self.site.refuse_logins(number, false).await,
            Fault::Few => match self.admin.take() {
                Some(mut admin) => Site::<S>::limit_connections(&mut admin, None).await,
                None => Ok(()),
            },
            Fault::TwoNames => self.remove_name(),
            Fault::LogWriter => {
                self.site.thaw_wal_writer(number).await?;
                self.site.commit_synchronously(number).await
            }
            Fault::Writable => self.site.set(number, "read_only", "ON").await,
            Fault::Moved => {
                self.proxies[number].lead_to(self.site.port(number)?);
                Ok(())
            }
            Fault::Cut | Fault::Forget | Fault::SwitchOver | Fault::FailOver => Ok(()),
        }
    }

    /// The router has two nodes from now on that are one server.
    async fn add_name(&mut self, number: usize) -> Result<()> {
        let proxy = Proxy::in_front_of(self.site.port(number)?).await?;
        // No name is used twice: what was read under it once was read on that server.
        let name = format!("second-{}", self.strikes);
        self.record
            .names
            .add(&name, server(number), self.record.now());
        let node = NodeOptions::new(proxy.url(&self.site.url(number))).name(&name);
        S::add_replica(self.db, node)?;
        self.second = Some((proxy, name));
        Ok(())
    }

    /// What is under way under that name goes on: its address is there until there is another one.
    fn remove_name(&self) -> Result<()> {
        if let Some((_, name)) = &self.second {
            self.db.cluster().remove(name)?;
        }
        Ok(())
    }

    /// Who follows the primary beside this replica.
    fn other_replica(&self, number: usize) -> usize {
        3 - self.primary - number
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
        self.record.promoted(heir);
    }

    /// Waits until the router finds all nodes well, and takes writes; and until clients have done something meanwhile, so
    /// that no fault strikes a router that has nothing to do.
    async fn settle(&self) -> Result<()> {
        let primary = self.site.name(self.primary).to_owned();
        until(self.db, "well", |status| {
            let well = status.nodes.iter().all(|node| node.healthy);
            let fresh = status.nodes.iter().all(|node| node.staleness.is_some());
            well && fresh && &**self.db.cluster().primary().name() == primary.as_str()
        })
        .await?;
        for number in 0..3 {
            let name = self.site.name(number);
            self.record
                .names
                .add(name, server(number), self.record.now());
        }
        self.record.wait_for_work().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATABASES: [Dialect; 2] = [Dialect::Postgres, Dialect::MariaDb];

    fn schedule(seed: u64) -> Vec<Strike> {
        let strikes = DATABASES.map(|database| {
            let faults = faults_of(database);
            let count = 10 * faults.len();
            let mut schedule = Schedule::new(Rng::with_seed(seed), faults, Duration::ZERO);
            (0..count).map(|_| schedule.next()).collect::<Vec<_>>()
        });
        strikes.concat()
    }

    #[test]
    fn a_seed_is_a_schedule() {
        assert_eq!(schedule(7), schedule(7));
        assert_ne!(schedule(7), schedule(8));
    }

    #[test]
    fn each_fault_has_its_turn_before_any_has_another() {
        for database in DATABASES {
            let faults = faults_of(database);
            let mut schedule = Schedule::new(Rng::with_seed(7), faults.clone(), Duration::ZERO);
            for _ in 0..10 {
                let turns: Vec<_> = faults.iter().map(|_| schedule.next()).collect();
                assert!(schedule.is_through());
                for fault in &faults {
                    let strikes = turns.iter().filter(|strike| strike.fault == *fault);
                    assert_eq!(strikes.count(), 1, "{fault:?}");
                }
            }
        }
    }

    #[test]
    fn two_faults_strike_two_nodes_and_each_one_that_it_can() {
        for Strike {
            fault,
            whom,
            beside,
            ..
        } in schedule(7)
        {
            match fault {
                Fault::PauseReplay | Fault::Writable | Fault::Moved => assert_ne!(whom, 0),
                Fault::SwitchOver | Fault::FailOver | Fault::LogWriter | Fault::Few => {
                    assert_eq!(whom, 0);
                }
                _ => {}
            }
            assert!(beside.is_none() || !fault.is_alone());
            if fault == Fault::Moved {
                assert_eq!(beside, Some((Fault::PauseReplay, 3 - whom)));
            }
            if let Some((beside, other)) = beside {
                assert!(other < 3 && other != whom);
                assert!(beside != Fault::PauseReplay || other != 0);
            }
        }
    }

    #[test]
    fn there_is_one_second_name_at_a_time() {
        for seed in 0..20 {
            for strike in schedule(seed) {
                let beside = strike.beside.map(|(fault, _)| fault);
                assert_ne!(
                    (strike.fault, beside),
                    (Fault::TwoNames, Some(Fault::TwoNames))
                );
            }
        }
    }

    #[test]
    fn each_server_gets_a_second_name() {
        let strikes = schedule(7);
        for server in 0..3 {
            let named = |strike: &Strike| (strike.fault, strike.whom) == (Fault::TwoNames, server);
            assert!(strikes.iter().any(named), "{server}");
        }
    }
}
