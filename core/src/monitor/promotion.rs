//! Which node takes the writes when another one calls itself the primary.

use std::sync::Arc;

use crate::dialect::{Position, Rivalry, Timeline, Written};
use crate::health::Health;
use crate::node::Node;
use crate::observer::Event;
use crate::router::Backend;
use crate::settings::Promotion;
use crate::vocabulary::Role;

use super::following::Following;
use super::problem::Problem;
use super::{Count, Monitor};

/// What is known of a node that calls itself the primary and is not the one that takes the writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    /// It was seen to follow the primary before that.
    followed: bool,
    /// How many questions had been sent by then.
    since: Count,
    /// The primary was asked after that, and said that it is the primary as well.
    contradicted: bool,
}

impl Claim {
    /// The primary has answered that question, and said that it is the primary.
    pub(super) fn contradict(&mut self, question: Count) {
        self.contradicted |= question > self.since;
    }

    /// Whether the node was never seen to follow the primary beside which it claims to be one.
    pub(super) fn is_a_strangers(self) -> bool {
        self.contradicted && !self.followed
    }
}

/// What follows from such a claim.
pub(super) enum Verdict {
    /// It takes the writes from now on.
    Promoted,
    /// The same, and it leads to the server that took them before: the primary under another name.
    Renamed,
    /// The primary stays the primary.
    Ignored,
    /// The primary stays the primary, and the node is no part of its cluster.
    Refused(Problem),
}

impl<B: Backend> Monitor<B> {
    /// Whether a node that says it is the primary is the one to be followed now, rather than the one that was.
    ///
    /// If that one still answers and says the same, the later history wins, where histories have an order, and only if
    /// this router has seen the node follow the primary: a restored copy of the cluster has a later history as well.
    /// Two that have no order contest it, and nobody's writes are taken until one of them gives way.
    ///
    /// If it does not answer, the promoted one must have a later history than it had, or be known to have followed it
    /// (where histories are named after their writers, and a promoted server has not written yet). An old primary that
    /// comes back has neither.
    pub(super) fn judge(
        &mut self,
        node: &Node<B>,
        timeline: Timeline,
        written: &Written,
    ) -> Verdict {
        let topology = self.shared.topology.load_full();
        let primary = topology.primary();
        let promotion = self.shared.settings.promotion;
        let followed = self.shared.history.timeline().or(self.followed);
        let claims = Self::claims(primary);
        if !claims && self.was_the_primary(node) {
            // The primary itself, under another name, while its own leads nowhere.
            self.contests(node, false);
            return match self.shared.history.timeline() == Some(timeline) {
                true => Verdict::Renamed,
                false => Verdict::Promoted,
            };
        }
        let Some(known) = followed else {
            // No primary has been met yet.
            self.contests(node, false);
            return match claims || promotion == Promotion::Never {
                true => Verdict::Ignored,
                false => Verdict::Promoted,
            };
        };
        let watch = self.watches.entry(node.id()).or_default();
        let followed = watch.following.has_followed();
        if !claims {
            let is_stranger = watch.claim.is_some_and(Claim::is_a_strangers);
            // A node that may only take over now may have claimed for long.
            let waited = promotion == Promotion::WhenPrimaryIsGone
                && watch.claim.is_some_and(|claim| claim.followed);
            self.contests(node, false);
            let gave_way = primary.is_healthy() && primary.role() == Role::Replica;
            // A server that the former primary follows is no stranger, whatever this router has seen before. But a copy
            // of the cluster may bear the same number, and then the former primary may have replayed more than it has
            // written.
            let is_vouched_for = gave_way
                && timeline != known
                && self.follows(primary) == Some(timeline)
                && self
                    .replayed(primary)
                    .is_none_or(|replayed| !replayed.is_beyond(&written.inserted));
            let is_next = match Rivalry::by_number(known, timeline) {
                Some(Rivalry::Later) => true,
                Some(Rivalry::Undecided) => gave_way,
                Some(Rivalry::Earlier) => false,
                None => followed || waited || gave_way,
            };
            let takes_over = is_vouched_for || is_next && !is_stranger;
            return match takes_over && promotion != Promotion::Never {
                true => Verdict::Promoted,
                false => Verdict::Ignored,
            };
        }
        let claim = *watch.claim.get_or_insert(Claim {
            followed,
            since: self.sent,
            contradicted: false,
        });
        let newest = self.shared.history.newest();
        let rivalry = Rivalry::between(known, newest.as_ref(), timeline, &written.inserted);
        if !claim.followed && rivalry != Rivalry::Earlier {
            self.contests(node, false);
            if claim.contradicted {
                let primary = Arc::clone(primary.name());
                return Verdict::Refused(Problem::Stranger { primary });
            }
            // The primary may have given way meanwhile. It is asked.
            let context = &self.shared.context;
            context.wake.ask_roles(context.after_now());
            return Verdict::Ignored;
        }
        // Where no node may take over beside a primary that answers, there is nothing to contest.
        let may_win = promotion == Promotion::WhenSeenToFollow;
        self.contests(node, may_win && rivalry == Rivalry::Undecided);
        match may_win && rivalry == Rivalry::Later {
            true => Verdict::Promoted,
            false => Verdict::Ignored,
        }
    }

    /// Whether the node that takes the writes still says that it is the primary, as far as is known. That work has
    /// failed on it is no reason to doubt that: one connection may have been cut.
    fn claims(primary: &Node<B>) -> bool {
        primary.role() == Role::Primary
            && matches!(
                primary.health(),
                Health::Healthy | Health::Recovering | Health::Suspect
            )
    }

    /// How far a replica has said that it has replayed the log.
    fn replayed(&self, node: &Node<B>) -> Option<&Position> {
        self.watches.get(&node.id())?.following.position()
    }

    /// The history that a replica has said that it follows.
    fn follows(&self, node: &Node<B>) -> Option<Timeline> {
        self.watches.get(&node.id())?.follows
    }

    /// Writes go to this node from now on. What was proved of the others was proved by another log.
    pub(super) fn follow(&mut self, node: &Node<B>, timeline: Timeline) {
        let before = self.take_over(node);
        // Before that is forgotten: what they alone show now, the new primary shows then, and no read is without a node.
        self.void(node);
        node.set_role(Role::Primary);
        self.forget();
        self.followed = Some(timeline);
        for (id, watch) in &mut self.watches {
            watch.following = Following::default();
            // A copy of the cluster that was refused beside the former primary is none of the new one's servers either.
            let is_other = *id != node.id();
            watch.claim = watch
                .claim
                .filter(|claim| is_other && claim.is_a_strangers());
        }
        self.has_taken_over(node, &before);
    }

    /// Writes go to this node from now on, which leads to the server that took them before. The log is the same one, so
    /// what was proved of the replicas holds. Only the former name must say anew where it leads.
    pub(super) fn rename(&mut self, node: &Node<B>) {
        let before = self.take_over(node);
        self.disprove(&before);
        let watch = self.watches.entry(before.id()).or_default();
        watch.met = false;
        watch.following = Following::default();
        let watch = self.watches.entry(node.id()).or_default();
        watch.following = Following::default();
        watch.claim = None;
        self.has_taken_over(node, &before);
    }

    /// Puts the node in the primary's place, and returns the one that was there.
    fn take_over(&self, node: &Node<B>) -> Arc<Node<B>> {
        let before = Arc::clone(self.shared.topology.load().primary());
        // The standing of the promoted node is changed after that, so that it is read from all the time, as a replica
        // or as the primary.
        self.shared.follow(node.id());
        before
    }

    fn has_taken_over(&mut self, node: &Node<B>, before: &Node<B>) {
        // Other names of its server are names of the primary from now on.
        self.find_aliases(&self.shared.topology.load_full());
        self.shared.context.wake.proved();
        self.shared.context.events.emit(|| Event::PrimaryChanged {
            from: Arc::clone(before.peer()),
            to: Arc::clone(node.peer()),
        });
    }
}
