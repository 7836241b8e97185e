//! The rules, checked in one pass over all begins and ends in their order.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::fate::Fates;
use super::knowledge::{Knowledge, Need, Needs};
use super::{
    Ability, History, Key, Limits, Operation, Outcome, Predecessor, Role, Rule, ServerId,
    SessionId, Told, Version, Violation, Visibility,
};

pub(super) fn check(history: &History, limits: &Limits) -> Vec<Violation> {
    let mut checker = Checker {
        history,
        limits,
        fates: Fates::of(history),
        abilities: Abilities::of(history),
        guessed: history.keys_of_unknown_writes(),
        sessions: HashMap::new(),
        tokens: HashMap::new(),
        acknowledged: HashMap::new(),
        violations: Vec::new(),
    };
    for moment in moments(history) {
        checker.pass(moment);
    }
    checker.executions();
    checker.remains();
    checker.violations
}

/// What happens at an instant, in the order in which it counts if the instant is the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// An operation has ended, as its own session sees it.
    Ended,
    Taken,
    Given,
    Began,
    /// An operation has ended, as others see it: only what begins later comes after it.
    Past,
}

fn moments(history: &History) -> Vec<(Duration, Step, usize)> {
    let operations = history.operations.iter().enumerate();
    let handovers = history.handovers.iter().enumerate();
    let mut moments = Vec::with_capacity(3 * history.operations.len());
    moments.extend(operations.flat_map(|(index, operation)| {
        [
            (operation.begin, Step::Began, index),
            (operation.end, Step::Ended, index),
            (operation.end, Step::Past, index),
        ]
    }));
    moments.extend(handovers.flat_map(|(index, handover)| {
        [
            (handover.taken, Step::Taken, index),
            (handover.given, Step::Given, index),
        ]
    }));
    moments.sort_unstable();
    moments
}

/// Where a session has been so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Home {
    /// It has only read, and on this server, since then.
    Only(ServerId, Duration),
    /// It has written, been told something, or changed servers.
    Nowhere,
}

#[derive(Default)]
struct Session {
    knowledge: Knowledge,
    /// `None`: it has done nothing.
    home: Option<Home>,
}

struct Checker<'a> {
    history: &'a History,
    limits: &'a Limits,
    fates: Fates,
    abilities: Abilities,
    guessed: HashSet<Key>,
    sessions: HashMap<SessionId, Session>,
    tokens: HashMap<usize, Knowledge>,
    acknowledged: HashMap<Key, Needs>,
    violations: Vec<Violation>,
}

impl Checker<'_> {
    fn pass(&mut self, (_, step, index): (Duration, Step, usize)) {
        match step {
            Step::Ended => self.learn(index),
            Step::Taken => self.take(index),
            Step::Given => self.give(index),
            Step::Began => self.judge(index),
            Step::Past => self.acknowledge(index),
        }
    }

    /// What the operation's session knows now that it has ended.
    fn learn(&mut self, index: usize) {
        let operation = self.history.operations[index];
        let key = operation.key;
        let need = |version| Need::new(version, index, self.fates.loss(key, version));
        let session = self.sessions.entry(operation.session).or_default();
        match operation.outcome {
            Outcome::Wrote(version) => {
                let needs = session.knowledge.written.entry(key).or_default();
                needs.add(need(version));
                session.home = Some(Home::Nowhere);
            }
            Outcome::Saw(version) => {
                let needs = session.knowledge.seen.entry(key).or_default();
                needs.add(need(version));
                let server = operation.served.map(|served| served.server);
                session.home = Some(match (session.home, server) {
                    (None, Some(server)) => Home::Only(server, operation.begin),
                    (Some(Home::Only(home, since)), Some(server)) if home == server => {
                        Home::Only(home, since)
                    }
                    _ => Home::Nowhere,
                });
            }
            Outcome::WriteUnknown => session.home = Some(Home::Nowhere),
            Outcome::ReadFailed | Outcome::WriteRefused => {}
        }
    }

    fn take(&mut self, index: usize) {
        let handover = &self.history.handovers[index];
        let from = self.sessions.entry(handover.from).or_default();
        let mut knowledge = from.knowledge.clone();
        if handover.tells == Told::Writes {
            knowledge.seen.clear();
        }
        self.tokens.insert(index, knowledge);
    }

    fn give(&mut self, index: usize) {
        let to = self.sessions.entry(self.history.handovers[index].to);
        let to = to.or_default();
        to.home = Some(Home::Nowhere);
        if let Some(token) = self.tokens.remove(&index) {
            to.knowledge.merge(&token);
        }
    }

    /// What anybody knows to have been acknowledged.
    fn acknowledge(&mut self, index: usize) {
        let operation = self.history.operations[index];
        if let Outcome::Wrote(version) = operation.outcome {
            let loss = self.fates.loss(operation.key, version);
            let needs = self.acknowledged.entry(operation.key).or_default();
            needs.add(Need::new(version, index, loss));
        }
    }

    fn judge(&mut self, index: usize) {
        let operation = &self.history.operations[index];
        match operation.outcome {
            Outcome::Saw(version) => self.saw(index, operation, version),
            Outcome::ReadFailed => self.failed(Rule::FailedRead, index, operation),
            Outcome::Wrote(_) => self.wrote(index, operation),
            Outcome::WriteRefused | Outcome::WriteUnknown => {
                self.failed(Rule::FailedWrite, index, operation);
            }
        }
        let took = operation.end.saturating_sub(operation.begin);
        let limit = match operation.outcome {
            Outcome::Saw(_) | Outcome::ReadFailed => self.limits.read,
            Outcome::Wrote(_) | Outcome::WriteRefused | Outcome::WriteUnknown => self.limits.write,
        };
        if took > self.limits.patience || took > limit && self.able(operation).is_some() {
            let limit = limit.min(self.limits.patience);
            let explanation = format!("it took {took:?}, and may take {limit:?}");
            self.report(Rule::Latency, &[index], explanation);
        }
    }

    fn saw(&mut self, index: usize, operation: &Operation, version: Version) {
        let key = operation.key;
        let is_guess = self.history.executions.is_none() && self.guessed.contains(&key);
        let is_known = self.fates.of_version(key, version).is_some();
        if version != Version(0) && !is_known && !is_guess {
            let explanation = "nobody has written this version".to_owned();
            self.report(Rule::Invented, &[index], explanation);
        }
        let amounts_to = self.fates.amounts_to(key, version, operation.end);
        let missed = |needs: Option<&Needs>| -> Option<Need> {
            let need = needs?.at(operation.end)?;
            let is_missed = need.version > amounts_to && !self.is_unheard_of(need, operation);
            is_missed.then_some(*need)
        };
        let session = self.sessions.get(&operation.session);
        let knowledge = session.map(|session| &session.knowledge);
        let written = missed(knowledge.and_then(|knowledge| knowledge.written.get(&key)));
        let seen = missed(knowledge.and_then(|knowledge| knowledge.seen.get(&key)));
        let acknowledged = missed(self.acknowledged.get(&key));
        let state = match amounts_to == version {
            true => format!("version {}", version.0),
            false => format!(
                "version {}, which is lost and shows no more than {} of what counts,",
                version.0, amounts_to.0
            ),
        };
        if let Some(need) = written {
            let explanation = format!(
                "{state} was seen by a session that had written version {}",
                need.version.0
            );
            self.report(Rule::ReadYourWrites, &[need.because, index], explanation);
        }
        if let Some(need) = seen.filter(|need| !self.is_unannounced(need, operation)) {
            let explanation = format!(
                "{state} was seen by a session that had seen version {}",
                need.version.0
            );
            self.report(Rule::MonotonicReads, &[need.because, index], explanation);
        }
        if let Some(need) = acknowledged.filter(|_| self.is_served_by_the_primary(operation)) {
            let explanation = format!(
                "the primary showed {state} when version {} had been acknowledged",
                need.version.0
            );
            self.report(Rule::LostWrite, &[need.because, index], explanation);
        }
    }

    /// Whether it was written by a promoted server of which nobody need know yet, while its predecessor answers.
    fn is_unheard_of(&self, need: &Need, operation: &Operation) -> bool {
        let settled_since = operation.begin.checked_sub(self.limits.settle);
        let past = self.history.promotions.iter().rev();
        let mut past = past.filter(|promotion| promotion.at <= operation.end);
        past.any(|promotion| {
            let survived = promotion.survived.get(&operation.key).copied();
            let is_settled = settled_since.is_some_and(|from| {
                let (server, service) = (promotion.server, Ability::Service);
                promotion.at <= from && self.abilities.can(server, service, from, operation.begin)
            });
            promotion.predecessor == Predecessor::Answers
                && need.version > survived.unwrap_or_default()
                && !is_settled
        })
    }

    /// Whether what was seen is a commit of which nobody had been told, and it is the primary that does not show it.
    fn is_unannounced(&self, need: &Need, operation: &Operation) -> bool {
        let by_primary = operation
            .served
            .is_some_and(|served| served.role == Role::Primary);
        let write = self.fates.of_version(operation.key, need.version);
        let told = write.is_some_and(|write| {
            let write = &self.history.operations[write.operation];
            matches!(write.outcome, Outcome::Wrote(_)) && write.end <= operation.begin
        });
        self.limits.visibility == Visibility::Logged && by_primary && !told
    }

    /// Whether it was served by whoever was the primary all the time.
    fn is_served_by_the_primary(&self, operation: &Operation) -> bool {
        let server = operation
            .served
            .filter(|served| served.role == Role::Primary);
        server.is_some_and(|served| {
            let primary = self.history.primary_during(operation.begin, operation.end);
            primary == Some(served.server)
        })
    }

    fn failed(&mut self, rule: Rule, index: usize, operation: &Operation) {
        if let Some(able) = self.able(operation) {
            let explanation = format!("server {} was able to serve it", able.0);
            self.report(rule, &[index], explanation);
        }
    }

    /// A server that was able to serve the operation, and had been for long enough to be known.
    fn able(&self, operation: &Operation) -> Option<ServerId> {
        match operation.outcome {
            Outcome::Saw(_) | Outcome::ReadFailed => self.able_to_show(operation),
            Outcome::Wrote(_) | Outcome::WriteRefused | Outcome::WriteUnknown => {
                self.able_to_write(operation)
            }
        }
    }

    fn able_to_show(&self, operation: &Operation) -> Option<ServerId> {
        let from = operation.begin.saturating_sub(self.limits.settle);
        let primary = self.history.primary_during(from, operation.end);
        let session = self.sessions.get(&operation.session);
        let home = session.and_then(|session| session.home);
        let able = self.abilities.servers.iter().find(|server| {
            let can = |ability, from| self.abilities.can(**server, ability, from, operation.end);
            let suffices = match home {
                _ if primary == Some(**server) => true,
                None => true,
                Some(Home::Only(home, since)) if home == **server => {
                    // A router may notice later that the server was away, or that another one was promoted. Until
                    // then the session may have read from it, and nothing tells whether that was before or after.
                    let since = since.saturating_sub(self.limits.settle);
                    can(Ability::Service, since)
                        && self.history.primary_during(since, operation.end).is_some()
                }
                Some(_) => can(Ability::Proof, from),
            };
            suffices && can(Ability::Service, from)
        });
        able.copied()
    }

    fn able_to_write(&self, operation: &Operation) -> Option<ServerId> {
        let from = operation.begin.saturating_sub(self.limits.settle);
        let primary = self.history.primary_during(from, operation.end)?;
        let can = self
            .abilities
            .can(primary, Ability::Service, from, operation.end);
        can.then_some(primary)
    }

    fn wrote(&mut self, index: usize, operation: &Operation) {
        let Some(served) = operation.served else {
            return;
        };
        if served.role == Role::Replica {
            let explanation = "a replica acknowledged it".to_owned();
            return self.report(Rule::WriteOnReplica, &[index], explanation);
        }
        let from = operation.begin.saturating_sub(self.limits.settle);
        // A write that waits while another server is promoted is for that one.
        let primary = self.history.primary_during(from, operation.end);
        let can = |server| {
            self.abilities
                .can(server, Ability::Service, from, operation.begin)
        };
        let primary = primary.filter(|primary| *primary != served.server && can(*primary));
        if let Some(primary) = primary {
            let settle = self.limits.settle;
            let explanation = format!("{} was the primary for more than {settle:?}", primary.0);
            self.report(Rule::DeposedPrimary, &[index], explanation);
        }
    }

    /// What the servers carried out, against what the clients were told.
    fn executions(&mut self) {
        let Some(executions) = &self.history.executions else {
            return;
        };
        let mut counts = vec![0_u32; self.history.operations.len()];
        for execution in executions {
            let Some(count) = counts.get_mut(execution.operation) else {
                continue;
            };
            *count += 1;
            if execution.served.role == Role::Replica {
                let explanation = format!("replica {} carried it out", execution.served.server.0);
                self.report(Rule::WriteOnReplica, &[execution.operation], explanation);
            }
        }
        for (index, count) in counts.into_iter().enumerate() {
            let expected = match self.history.operations[index].outcome {
                Outcome::Wrote(_) => 1..=1,
                Outcome::WriteUnknown => 0..=1,
                Outcome::Saw(_) | Outcome::ReadFailed | Outcome::WriteRefused => 0..=0,
            };
            if !expected.contains(&count) {
                let explanation = format!("it was carried out {count} times");
                self.report(Rule::ExactlyOnce, &[index], explanation);
            }
        }
    }

    /// What was acknowledged and not lost is there in the end.
    fn remains(&mut self) {
        let Some(remained) = &self.history.remained else {
            return;
        };
        let mut lost = Vec::new();
        for (key, needs) in &self.acknowledged {
            let shown = remained.get(key).copied().unwrap_or_default();
            if let Some(need) = needs.at(Duration::MAX).filter(|need| need.version > shown) {
                let explanation = format!("only version {} of it remained", shown.0);
                lost.push((need.because, explanation));
            }
        }
        lost.sort_unstable();
        for (index, explanation) in lost {
            self.report(Rule::LostWrite, &[index], explanation);
        }
    }

    fn report(&mut self, rule: Rule, operations: &[usize], explanation: String) {
        let numbered = |index: &usize| (*index, self.history.operations[*index]);
        self.violations.push(Violation {
            rule,
            operations: operations.iter().map(numbered).collect(),
            explanation,
        });
    }
}

impl History {
    /// The primary, if it was the same one from `from` to `to`.
    fn primary_during(&self, from: Duration, to: Duration) -> Option<ServerId> {
        let before = |instant| {
            self.promotions
                .partition_point(|promotion| promotion.at <= instant)
        };
        let index = before(from);
        let primary = self.promotions.get(index.checked_sub(1)?)?;
        (before(to) == index).then_some(primary.server)
    }

    /// The keys of which versions may be seen that nobody was told of.
    fn keys_of_unknown_writes(&self) -> HashSet<Key> {
        let unknown = |operation: &&Operation| operation.outcome == Outcome::WriteUnknown;
        let unknown = self.operations.iter().filter(unknown);
        unknown.map(|operation| operation.key).collect()
    }
}

/// Which server could do what, and when.
struct Abilities {
    servers: Vec<ServerId>,
    /// The stretches without it, in their order and apart from each other.
    without: HashMap<(ServerId, Ability), Vec<(Duration, Duration)>>,
}

impl Abilities {
    fn of(history: &History) -> Self {
        let served = history.operations.iter();
        let served = served.filter_map(|operation| Some(operation.served?.server));
        let promoted = history.promotions.iter().map(|promotion| promotion.server);
        let unable = history.outages.iter().map(|outage| outage.server);
        let servers: HashSet<_> = served.chain(promoted).chain(unable).collect();
        let mut servers: Vec<_> = servers.into_iter().collect();
        servers.sort_unstable();
        let mut outages = history.outages.clone();
        outages.sort_by_key(|outage| outage.from);
        let mut without: HashMap<_, Vec<(Duration, Duration)>> = HashMap::new();
        for outage in outages {
            let stretches = without.entry((outage.server, outage.of)).or_default();
            match stretches.last_mut() {
                Some((_, to)) if *to >= outage.from => *to = outage.to.max(*to),
                _ => stretches.push((outage.from, outage.to)),
            }
        }
        Self { servers, without }
    }

    /// Whether the server had the ability all the time.
    fn can(&self, server: ServerId, ability: Ability, from: Duration, to: Duration) -> bool {
        let Some(stretches) = self.without.get(&(server, ability)) else {
            return true;
        };
        let index = stretches.partition_point(|(_, until)| *until <= from);
        stretches.get(index).is_none_or(|(since, _)| *since >= to)
    }
}
