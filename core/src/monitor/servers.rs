//! Which servers the nodes lead to. A node is an address, and an address may lead to any server: to one that another node
//! leads to as well, to another server than before, or to another cluster.

use std::collections::HashMap;
use std::sync::Arc;

use crate::dialect::{Dialect, Report};
use crate::live::Alias;
use crate::node::Node;
use crate::observer::Event;
use crate::router::Backend;
use crate::topology::Topology;
use crate::vocabulary::Role;

use super::following::Following;
use super::promotion::Claim;
use super::{Identity, Monitor};

/// Whether a node's address leads to the same server as before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Leads {
    /// It does, or to one that has said who it is.
    Known,
    /// It does not, and the answer does not tell which cluster the server belongs to.
    UntoldYet,
}

impl<B: Backend> Monitor<B> {
    /// Takes in that a node's address leads to another server than before, if it does. It is that server from now on:
    /// nothing is proved of it, and connections to the former one are not used any longer.
    pub(super) fn leads_elsewhere(&mut self, node: &Node<B>, report: &Report) -> Leads {
        let watch = self.watches.entry(node.id()).or_default();
        let (Some(before), Some(now)) = (&watch.server, &report.server) else {
            return Leads::Known;
        };
        if before == now {
            return Leads::Known;
        }
        let now = Some(now.clone());
        // A restarted server may count as another one. Its connections are broken, so a new pool costs nothing.
        self.begin_anew(node, now);
        match report.identity {
            Some(_) => Leads::Known,
            None => Leads::UntoldYet,
        }
    }

    /// Goes on with whichever server a node's address leads to now, if the connections that its pool opens lead to another
    /// one than the monitor's own connection, which may outlive that the address has moved.
    pub(super) fn leave_addresses_that_moved(&mut self, topology: &Topology<B>) {
        for node in &topology.nodes {
            if !node.check().take_moved() {
                continue;
            }
            // An answer that is under way is the former server's.
            node.forget_answers();
            self.watches.entry(node.id()).or_default().last_asked = None;
            self.begin_anew(node, None);
        }
    }

    /// The node leads to another server from now on, which is not known yet if it is `None`: nothing is proved of it, and
    /// its pool is replaced.
    fn begin_anew(&mut self, node: &Node<B>, server: Option<String>) {
        let watch = self.watches.entry(node.id()).or_default();
        watch.server = server;
        watch.answers = false;
        watch.met = false;
        watch.following = Following::default();
        self.disprove(node);
        self.find_aliases(&self.shared.topology.load_full());
        self.shared.reopen(node.id());
    }

    /// Takes in which server a node that belongs to the cluster leads to.
    pub(super) fn met_server(&mut self, node: &Node<B>, report: &Report) {
        if self.shared.dialect == Dialect::Sqlite {
            // Nodes that share one file are meant to.
            return;
        }
        let watch = self.watches.entry(node.id()).or_default();
        if watch.answers && watch.server == report.server {
            return;
        }
        watch.server.clone_from(&report.server);
        watch.answers = true;
        let topology = self.shared.topology.load_full();
        // The node's pool may just have been replaced.
        let mut nodes = topology.nodes.iter();
        if let Some(node) = nodes.find(|other| other.id() == node.id()) {
            node.check().set_expected(report.server.as_deref());
        }
        self.find_aliases(&topology);
    }

    /// Finds out which nodes are second names of one server, and tells of those that have become one. Of several names
    /// the primary's is the first, and then the one that was given first, of those that answer.
    pub(super) fn find_aliases(&mut self, topology: &Topology<B>) {
        let mut first: HashMap<&str, &Arc<Node<B>>> = HashMap::new();
        let mut aliases = Vec::new();
        for node in std::iter::once(topology.primary()).chain(topology.replicas()) {
            let watch = self.watches.get(&node.id()).filter(|watch| watch.answers);
            let server = watch.and_then(|watch| watch.server.as_deref());
            let other = server.and_then(|server| match first.get(server) {
                Some(other) => Some(*other),
                None => {
                    first.insert(server, node);
                    None
                }
            });
            let alias = match other {
                None => Alias::No,
                Some(other) if other.id() == topology.primary && other.role() == Role::Primary => {
                    Alias::OfPrimary
                }
                Some(_) => Alias::OfReplica,
            };
            aliases.push((node, alias, other));
        }
        for (node, alias, other) in aliases {
            if node.live.standing().alias == Alias::OfPrimary && alias != Alias::OfPrimary {
                // It was as fresh as the primary because it led there.
                self.disprove(node);
            }
            if node.set_alias(alias, other.map(|other| other.name()))
                && let Some(other) = other
            {
                self.shared.context.events.emit(|| Event::SameServer {
                    peer: Arc::clone(node.peer()),
                    other: Arc::clone(other.name()),
                });
            }
        }
    }

    /// Whether the node leads to the server that was the primary when that last answered.
    pub(super) fn was_the_primary(&self, node: &Node<B>) -> bool {
        let server = self
            .watches
            .get(&node.id())
            .and_then(|watch| watch.server.as_ref());
        server.is_some() && server == self.primary_server.as_ref()
    }

    /// Another node that answers, and belongs to the cluster. One that was refused as a copy of it does not.
    pub(super) fn other_that_answers(&self, node: &Node<B>) -> Option<Arc<Node<B>>> {
        let topology = self.shared.topology.load();
        let mut others = topology
            .nodes
            .iter()
            .filter(|other| other.id() != node.id());
        let answers = |other: &&Arc<Node<B>>| {
            let watch = self.watches.get(&other.id());
            watch.is_some_and(|watch| {
                watch.met && watch.answers && !watch.claim.is_some_and(Claim::is_a_strangers)
            })
        };
        others.find(answers).cloned()
    }

    /// The primary's address leads to another cluster, and no node of the former one answers. Nothing that was proved
    /// holds, and tokens of the former cluster are no longer believed.
    pub(super) fn go_on_with(&mut self, primary: &Node<B>, from: &str, to: String) {
        self.shared.history.identify(&to);
        self.forget();
        self.disprove(primary);
        self.followed = None;
        self.primary_server = None;
        for watch in self.watches.values_mut() {
            watch.claim = None;
        }
        self.shared.context.events.emit(|| Event::ClusterReplaced {
            peer: Arc::clone(primary.peer()),
            from: from.into(),
            to: to.as_str().into(),
        });
        self.identity = Identity::Known(to);
    }
}
