//! The way of one piece of work: intent, preference, candidates, policy, decision.
//!
//! Synchronous, without allocation, lock or wait: it reads one immutable snapshot and a few atomics.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::candidates::{Candidates, IndexSet};
use crate::causality::Needs;
use crate::clock::Instant;
use crate::context::Context;
use crate::decision::{Cause, Reason, Refusal, RouteError, WhyNot};
use crate::health::Health;
use crate::history::History;
use crate::live::{Admission, Alias, Epoch, Standing, Supply};
use crate::node::Member;
use crate::observer::Event;
use crate::request::Request;
use crate::route::Route;
use crate::session::SessionState;
use crate::settings::Settings;
use crate::topology::Topology;
use crate::vocabulary::{Consistency, Intent, Preference, Role};

/// One piece of work on its way.
pub(crate) struct Pipeline<'a, B> {
    pub(crate) topology: &'a Topology<B>,
    pub(crate) context: &'a Arc<Context>,
    pub(crate) settings: &'a Settings,
    pub(crate) history: &'a History,
    pub(crate) request: &'a Request,
    pub(crate) session: &'a SessionState,
}

/// One way to find a node for a read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// The primary itself.
    Primary,
    /// Whichever candidate the policy picks.
    Policy(Among),
}

/// Which roles a read's candidates may have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Among {
    Replicas,
    All,
}

/// Which nodes are candidates that are only second names of a server.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aliases {
    LeftOut,
    OfReplicas,
    All,
}

/// Whether nodes that are not fit for work are candidates: only when nothing else is left, because trying
/// is then better than refusing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fitness {
    Required,
    /// Not found gone: a write has nowhere else to go, but nobody waits for a server that does not answer.
    Possible,
    Ignored,
}

impl<B> Pipeline<'_, B> {
    pub(crate) fn run(&self) -> Result<Route<B>, RouteError> {
        match self.request.intent() {
            Intent::Write => self.write(),
            Intent::Read => self.read(),
        }
    }

    fn write(&self) -> Result<Route<B>, RouteError> {
        if self.request.forbids_writes() {
            return Err(self.refusal(|_| Some(WhyNot::WritesForbidden)));
        }
        if self.topology.contested {
            return Err(self.refusal(|member| {
                let why = |claims| {
                    if claims {
                        WhyNot::Contested
                    } else {
                        WhyNot::NotThePrimary
                    }
                };
                Some(why(member.live.standing().role == Role::Primary))
            }));
        }
        let reason = self.request.cause().of_write();
        self.primary(Fitness::Possible, reason).ok_or_else(|| {
            self.refusal(|member| match self.is_primary(member) {
                true => self.why_not_primary(member, Fitness::Possible),
                false => Some(WhyNot::NotThePrimary),
            })
        })
    }

    fn read(&self) -> Result<Route<B>, RouteError> {
        // Before the session's needs: who no longer leans towards the primary needs what has been written.
        let steps = self.steps();
        let needs = self.needs();
        let in_service = self.in_service(needs);
        match self.look(steps, Fitness::Required, in_service) {
            Some(route) => Ok(route),
            None => self.look_further(steps, needs, in_service),
        }
    }

    /// No node that is fit and in service will do. Nodes that are only suspected are tried next, then replicas that are
    /// too old, and then nodes that were found gone.
    #[cold]
    fn look_further(
        &self,
        steps: &[Step],
        needs: Needs,
        in_service: Needs,
    ) -> Result<Route<B>, RouteError> {
        let looks = [
            (Fitness::Possible, in_service),
            (Fitness::Required, needs),
            (Fitness::Ignored, needs),
        ];
        let mut looks = looks.into_iter();
        let found = looks.find_map(|(fitness, needs)| self.look(steps, fitness, needs));
        found.ok_or_else(|| self.read_refused(in_service, None))
    }

    #[inline]
    fn look(&self, steps: &[Step], fitness: Fitness, needs: Needs) -> Option<Route<B>> {
        let mut reason = match self.is_not_replayed() {
            true => Reason::NotReplayed,
            false => Reason::PreferenceIsPrimary,
        };
        for step in steps {
            match step {
                Step::Policy(among) => match self.candidate(*among, fitness, needs) {
                    Ok(route) if steps.first() == Some(&Step::Primary) => {
                        return Some(route.instead_of_the_primary());
                    }
                    Ok(route) => return Some(route),
                    Err(without) => reason = without,
                },
                Step::Primary => {
                    if Self::primary_suffices(fitness, needs)
                        && let Some(route) = self.primary(fitness, reason)
                    {
                        return Some(route);
                    }
                }
            }
        }
        None
    }

    /// The read was to fall back to the primary, where there are too many such reads.
    pub(crate) fn fallback_refused(&self) -> RouteError {
        let needs = self.in_service(self.needs());
        self.read_refused(needs, Some(WhyNot::FallbackLimit))
    }

    /// No node serves the read; `limit` is why the primary does not if nothing else is the matter with it.
    fn read_refused(&self, needs: Needs, limit: Option<WhyNot>) -> RouteError {
        self.refusal(|member| {
            let steps = self.steps().iter().map(|step| match step {
                Step::Primary if self.is_primary(member) => {
                    self.why_not_primary(member, Fitness::Required).or(limit)
                }
                Step::Policy(among) if *among == Among::All || !self.acts_as_primary(member) => {
                    let aliases = self.aliases();
                    let why_not = self.why_not(member, *among, Fitness::Required, needs, aliases);
                    why_not.or(Some(WhyNot::PolicyDeclined))
                }
                _ => None,
            });
            steps.flatten().next().or(Some(WhyNot::Preference))
        })
    }

    /// Where the read may go: the request's own wish first. Who accepts any state has none for the primary.
    fn preference(&self) -> Preference {
        let stated = self.request.stated_preference();
        let eventual = self.request.stated_consistency() == Consistency::Eventual;
        let leaning = || self.session.preference().filter(|_| !eventual);
        stated.or_else(leaning).unwrap_or(self.settings.preference)
    }

    /// What is tried for the read, in this order.
    fn steps(&self) -> &'static [Step] {
        match self.preference() {
            // Only replicas were wanted, and one has answered.
            Preference::Replica if self.is_not_replayed() => &[],
            _ if self.is_not_replayed() => steps(Preference::Primary),
            preference => steps(preference),
        }
    }

    fn is_not_replayed(&self) -> bool {
        self.request.cause() == Cause::NotReplayed
    }

    /// What the read must see: what its session must, and what its request promises.
    fn needs(&self) -> Needs {
        let needs = if self.request.stated_consistency() == Consistency::Eventual {
            Needs::NONE
        } else if self.session.has_open_writer() {
            Needs::EVERYTHING
        } else {
            self.session.causal_needs()
        };
        match self.request.promised_staleness() {
            None => needs,
            // A replica that has proved nothing may be of any age.
            Some(bound) => needs.as_of(self.context.now().back(bound).max(Instant::PROVED)),
        }
    }

    /// These needs, and what a replica must show that is not too old to be in service. A request that states its own
    /// bound is not concerned.
    #[inline]
    fn in_service(&self, needs: Needs) -> Needs {
        match self.request.stated_max_staleness() {
            None => needs.as_of(self.history.oldest()),
            Some(_) => needs,
        }
    }

    fn primary(&self, fitness: Fitness, reason: Reason) -> Option<Route<B>> {
        let index = self
            .topology
            .members
            .iter()
            .position(|member| self.is_primary(member))?;
        let member = &self.topology.members[index];
        match self.why_not_primary(member, fitness) {
            None => self.enter(index, member.live.epoch(), reason),
            Some(_) => None,
        }
    }

    /// Lets the policy choose among the candidates; or says why there are none.
    fn candidate(&self, among: Among, fitness: Fitness, needs: Needs) -> Result<Route<B>, Reason> {
        let mut aliases = Aliases::LeftOut;
        loop {
            let mut set = IndexSet::new();
            let mut all_ordinary = true;
            let mut stale = false;
            let mut sick = false;
            let mut aliased = false;
            for (index, member) in self.topology.members.iter().enumerate() {
                if self.is_ordinary_candidate(member, needs) {
                    set.add(index);
                    continue;
                }
                match self.why_not(member, among, fitness, needs, aliases) {
                    None => {
                        all_ordinary = false;
                        set.add(index);
                    }
                    Some(WhyNot::NotFresh(_)) => stale = true,
                    // Who has not said yet what it is has not been reached yet.
                    Some(
                        WhyNot::Unhealthy
                        | WhyNot::Suspect
                        | WhyNot::NoConnection
                        | WhyNot::JustFailed
                        | WhyNot::Role(Role::Unknown),
                    ) => {
                        sick = true;
                    }
                    Some(WhyNot::SameServer) => aliased = true,
                    Some(_) => {}
                }
            }
            if set.len() == 0 && aliased && aliases == Aliases::LeftOut {
                // A second name of a server is better than none.
                aliases = self.aliases();
                continue;
            }
            if set.len() == 0 {
                return Err(match (stale, sick) {
                    (true, _) if needs.are_everything() => Reason::OpenWriter,
                    (true, _) => Reason::NotFresh,
                    (false, true) => Reason::NoHealthyReplica,
                    (false, false) => Reason::NoReplica,
                });
            }
            if !all_ordinary {
                self.leave_out_what_stands_still(&mut set);
                self.thin_out(&mut set);
            }
            let stays_with = self.session.choice();
            let index = self.pick(&set)?;
            let member = &self.topology.members[index];
            let epoch = member.live.epoch();
            let reason = match epoch == stays_with {
                true => Reason::Sticky,
                false => Reason::Policy,
            };
            // The node may have changed since it became a candidate, and what the session remembers
            // of this read is tied to this epoch. Then the next look leaves it out.
            let serves = self.is_ordinary_candidate(member, needs)
                || self
                    .why_not(member, among, fitness, needs, aliases)
                    .is_none();
            if serves && let Some(route) = self.enter(index, epoch, reason) {
                return Ok(route);
            }
        }
    }

    /// Leaves out those replicas whose replay stands still, a session's own among them: reads may hang there. If no
    /// other candidate is left, none is left out.
    fn leave_out_what_stands_still(&self, set: &mut IndexSet) {
        let mut left = IndexSet::new();
        for index in set.iter() {
            if !self.topology.members[index].live.standing().stands_still() {
                left.add(index);
            }
        }
        if left.len() > 0 {
            *set = left;
        }
    }

    /// Leaves out those candidates that are recovering as often as is right for the time since they are back,
    /// whatever the policy. A session stays with one that it has chosen; and if none is left, none is left out.
    fn thin_out(&self, set: &mut IndexSet) {
        let settings = &self.context.health;
        let now = self.context.now();
        let mut left = IndexSet::new();
        for index in set.iter() {
            let live = &self.topology.members[index].live;
            let gets_this_one = live.standing().health != Health::Recovering
                || live.epoch() == self.session.choice()
                || fastrand::f32() < settings.share(live.back_since(), now);
            if gets_this_one {
                left.add(index);
            }
        }
        if left.len() > 0 {
            *set = left;
        }
    }

    /// The index of the node that the policy picks.
    fn pick(&self, set: &IndexSet) -> Result<usize, Reason> {
        let candidates = Candidates::new(&self.topology.members, set, self.session);
        let policy = || self.settings.policy.pick(candidates, self.request);
        let picked = match self.request.is_bound() {
            true => candidates.stay(policy),
            false => policy(),
        };
        let picked = picked.ok_or(Reason::PolicyDeclined)?;
        if picked >= set.len() {
            let counter = &self.context.counters.policy_out_of_range;
            if counter.fetch_add(1, Ordering::Relaxed) == 0 {
                let candidates = set.len();
                self.context.events.emit(|| Event::PolicyOutOfRange {
                    index: picked,
                    candidates,
                });
            }
        }
        set.nth(picked)
            .or_else(|| set.nth(0))
            .ok_or(Reason::NoReplica)
    }

    #[inline]
    fn enter(&self, index: usize, epoch: Epoch, reason: Reason) -> Option<Route<B>> {
        Route::enter(
            &self.topology.nodes[index],
            epoch,
            reason,
            self.session,
            self.request,
        )
    }

    fn is_primary(&self, member: &Member) -> bool {
        member.id == self.topology.primary
    }

    /// Whether the primary shows all that a read must see. One that was found gone may be a standby when it answers
    /// again, or another server: no more is known of it than of a replica that was lost.
    fn primary_suffices(fitness: Fitness, needs: Needs) -> bool {
        fitness != Fitness::Ignored || needs.anywhere() <= Instant::ORIGIN
    }

    /// Whether it is the primary, and has not turned out to be a replica.
    fn acts_as_primary(&self, member: &Member) -> bool {
        self.is_primary(member) && member.live.standing().role != Role::Replica
    }

    /// Why the node may not take what the primary takes: its weight and its labels do not matter.
    fn why_not_primary(&self, member: &Member, fitness: Fitness) -> Option<WhyNot> {
        let standing = member.live.standing();
        if standing.role != Role::Primary {
            return Some(WhyNot::Role(standing.role));
        }
        self.why_not_now(member, standing, fitness)
    }

    /// Whether the node is a candidate for this read, and a replica that nothing is the matter with. Most are: this is
    /// [`why_not`](Self::why_not) for them, which says the same and takes longer.
    #[inline]
    fn is_ordinary_candidate(&self, member: &Member, needs: Needs) -> bool {
        if !member.live.is_ordinary_replica() {
            return false;
        }
        let (epoch, proved) = member.live.proof();
        proved >= needs.of(epoch)
            && member.weight > 0
            && member.tags.satisfy(self.request.tags())
            && !self.request.excludes(member.id)
    }

    /// Why the node is no candidate for this read.
    fn why_not(
        &self,
        member: &Member,
        among: Among,
        fitness: Fitness,
        needs: Needs,
        aliases: Aliases,
    ) -> Option<WhyNot> {
        let standing = member.live.standing();
        let (epoch, proved) = member.live.proof();
        let fresh_as_of = match (standing.role, among) {
            (Role::Primary, Among::All) if self.is_primary(member) => {
                match Self::primary_suffices(fitness, needs) {
                    true => Instant::ALWAYS,
                    false => return Some(WhyNot::Unhealthy),
                }
            }
            (Role::Replica, _) => proved,
            (role, _) => return Some(WhyNot::Role(role)),
        };
        if member.weight == 0 {
            return Some(WhyNot::Weight);
        }
        if !member.tags.satisfy(self.request.tags()) {
            return Some(WhyNot::Tags);
        }
        if let Some(why_not) = self.why_not_now(member, standing, fitness) {
            return Some(why_not);
        }
        let needed = needs.of(epoch);
        if fresh_as_of < needed {
            let short = (fresh_as_of != Instant::VOID).then(|| needed.since(fresh_as_of));
            return Some(WhyNot::NotFresh(short));
        }
        match (standing.alias, aliases) {
            (Alias::No, _) | (_, Aliases::All) | (Alias::OfReplica, Aliases::OfReplicas) => None,
            (Alias::OfPrimary | Alias::OfReplica, _) => Some(WhyNot::SameServer),
        }
    }

    /// Which second names of servers may serve the read if no first one does. One of the primary may not where the
    /// primary itself may: there are as many reads on it as there are to be.
    fn aliases(&self) -> Aliases {
        match self.preference() {
            Preference::Replica => Aliases::All,
            _ => Aliases::OfReplicas,
        }
    }

    /// Why the node, whatever its role, takes no work at this moment.
    fn why_not_now(&self, member: &Member, standing: Standing, fitness: Fitness) -> Option<WhyNot> {
        if standing.admission != Admission::Enabled {
            Some(WhyNot::Admission(standing.admission))
        } else if self.request.excludes(member.id) {
            Some(WhyNot::JustFailed)
        } else if standing.supply == Supply::Fails
            && fitness == Fitness::Required
            && standing.health.is_fit()
        {
            Some(WhyNot::NoConnection)
        } else {
            match (standing.health, fitness) {
                (Health::Healthy | Health::Recovering, _)
                | (Health::Suspect | Health::New, Fitness::Possible)
                | (_, Fitness::Ignored) => None,
                (Health::Suspect, Fitness::Required) => Some(WhyNot::Suspect),
                (Health::Ejected | Health::New, _) => Some(WhyNot::Unhealthy),
            }
        }
    }

    fn refusal(&self, why_not: impl Fn(&Member) -> Option<WhyNot>) -> RouteError {
        let mut without_primary = false;
        let refusals = self.topology.members.iter().map(|member| {
            // A node that would do by now did not answer when it was asked.
            let why = why_not(member).unwrap_or(WhyNot::Unhealthy);
            without_primary |= self.is_primary(member) && why.is_for_want_of_a_primary();
            Refusal {
                node: Arc::clone(&member.name),
                why,
            }
        });
        let refusals = refusals.collect();
        RouteError::new(self.request.intent(), refusals, without_primary)
    }
}

/// What is tried for a read, in this order.
fn steps(preference: Preference) -> &'static [Step] {
    match preference {
        Preference::Primary => &[Step::Primary],
        Preference::PrimaryPreferred => &[Step::Primary, Step::Policy(Among::Replicas)],
        Preference::Replica => &[Step::Policy(Among::Replicas)],
        Preference::ReplicaPreferred => &[Step::Policy(Among::Replicas), Step::Primary],
        Preference::Nearest => &[Step::Policy(Among::All), Step::Primary],
    }
}
