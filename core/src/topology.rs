//! The nodes of a cluster at one moment: immutable, and swapped as a whole when it changes.

use std::sync::Arc;

use crate::config::{ConfigError, ConfigErrorKind};
use crate::context::Context;
use crate::live::{Epoch, Live};
use crate::node::{Access, Leads, Member, Node, NodeId, NodeSpec};
use crate::vocabulary::Role;

/// The most nodes that one router holds. Candidates are kept in a set of so many bits on the stack.
pub(crate) const MOST_NODES: usize = 1024;

/// All nodes; members and nodes are parallel.
pub(crate) struct Topology<B> {
    pub(crate) members: Vec<Member>,
    pub(crate) nodes: Vec<Arc<Node<B>>>,
    /// The node that takes the writes: the one that was configured, or has been promoted since.
    pub(crate) primary: NodeId,
    /// Another node says that it is the primary as well, and neither history is the later one.
    pub(crate) contested: bool,
}

// Not derived: that would ask for `B: Clone`, and the nodes are shared, not copied.
impl<B> Clone for Topology<B> {
    fn clone(&self) -> Self {
        Self {
            members: self.members.clone(),
            nodes: self.nodes.clone(),
            primary: self.primary,
            contested: self.contested,
        }
    }
}

impl<B> Topology<B> {
    /// A primary whose role is not known yet. Its default name is `primary`.
    pub(crate) fn new(
        spec: &NodeSpec,
        context: &Arc<Context>,
        access: Access<B>,
    ) -> Result<Self, ConfigError> {
        let id = context.next_node();
        let mut topology = Self {
            members: Vec::new(),
            nodes: Vec::new(),
            primary: id,
            contested: false,
        };
        topology.add(id, spec, "primary", context, access)?;
        Ok(topology)
    }

    /// One node that is taken for a healthy primary.
    pub(crate) fn single(context: &Arc<Context>, access: Access<B>) -> Self {
        let id = context.next_node();
        let mut topology = Self {
            members: Vec::new(),
            nodes: Vec::new(),
            primary: id,
            contested: false,
        };
        topology.push(id, "primary", &NodeSpec::new(), context, access);
        topology
            .nodes
            .iter()
            .for_each(|node| node.take_for_primary());
        topology
    }

    /// Adds a replica. Its default name has the lowest number that is free.
    pub(crate) fn add_replica(
        &mut self,
        spec: &NodeSpec,
        context: &Arc<Context>,
        access: Access<B>,
    ) -> Result<(), ConfigError> {
        let mut number = 1;
        while self.index(&format!("replica-{number}")).is_some() {
            number += 1;
        }
        self.add(
            context.next_node(),
            spec,
            &format!("replica-{number}"),
            context,
            access,
        )
    }

    fn add(
        &mut self,
        id: NodeId,
        spec: &NodeSpec,
        default_name: &str,
        context: &Arc<Context>,
        access: Access<B>,
    ) -> Result<(), ConfigError> {
        let name = spec.name.as_deref().unwrap_or(default_name);
        if name.is_empty() {
            let problem = "is empty; give the node a name, or none to get a default one";
            return Err(ConfigError::new(
                ConfigErrorKind::Name,
                "node.name",
                problem,
            ));
        }
        if self.index(name).is_some() {
            let problem =
                format!("two nodes are called {name:?}; each name must be its node's own");
            return Err(ConfigError::new(
                ConfigErrorKind::Name,
                "node.name",
                problem,
            ));
        }
        if self.members.len() == MOST_NODES {
            let problem = format!("there is no room for {name:?}: at most {MOST_NODES} nodes");
            return Err(ConfigError::new(
                ConfigErrorKind::TooManyNodes,
                "nodes",
                problem,
            ));
        }
        self.push(id, name, spec, context, access);
        Ok(())
    }

    fn push(
        &mut self,
        id: NodeId,
        name: &str,
        spec: &NodeSpec,
        context: &Arc<Context>,
        access: Access<B>,
    ) {
        let member = Member::new(
            id,
            name,
            spec,
            Live::new(Role::Unknown, self.unused_epoch(context)),
        );
        let role = match id == self.primary {
            true => Role::Primary,
            false => Role::Replica,
        };
        self.nodes
            .push(Arc::new(Node::new(&member, context, access, role)));
        self.members.push(member);
    }

    /// An epoch that no node is in: what one node has shown must never be expected of another.
    pub(crate) fn unused_epoch(&self, context: &Context) -> Epoch {
        loop {
            let epoch = context.next_epoch();
            if self
                .members
                .iter()
                .all(|member| member.live.epoch() != epoch)
            {
                return epoch;
            }
        }
    }

    /// Removes a replica.
    pub(crate) fn remove(&mut self, name: &str) -> Result<Arc<Node<B>>, ConfigError> {
        let index = self.known(name)?;
        if self.members[index].id == self.primary {
            let problem = format!("{name:?} is the primary and cannot be removed");
            return Err(ConfigError::new(ConfigErrorKind::Primary, "node", problem));
        }
        self.members.remove(index);
        Ok(self.nodes.remove(index))
    }

    pub(crate) fn set_weight(&mut self, name: &str, weight: u32) -> Result<(), ConfigError> {
        let index = self.known(name)?;
        self.members[index].weight = weight;
        Ok(())
    }

    /// Replicas there may be none of; but if there are some, one must have a weight.
    pub(crate) fn check_weights(&self) -> Result<(), ConfigError> {
        let mut replicas = self
            .members
            .iter()
            .filter(|member| member.id != self.primary)
            .peekable();
        if replicas.peek().is_some() && replicas.all(|member| member.weight == 0) {
            let problem = "the weights of all replicas are 0, so none would ever be read from; \
                           give at least one a weight above 0, or configure no replicas";
            return Err(ConfigError::new(
                ConfigErrorKind::Weights,
                "replicas.weight",
                problem,
            ));
        }
        Ok(())
    }

    /// The node takes the writes from now on, and the one that did no longer. Their pools are opened anew, as is
    /// right for what they are now. Returns the nodes whose pools have been replaced.
    pub(crate) fn follow(&mut self, promoted: NodeId) -> Vec<Arc<Node<B>>> {
        let demoted = std::mem::replace(&mut self.primary, promoted);
        self.contested = false;
        [(demoted, Role::Replica), (promoted, Role::Primary)]
            .into_iter()
            .filter_map(|(id, role)| self.reopen(id, role, Leads::Here))
            .collect()
    }

    /// Opens a node's pool anew, as is right for a role. Returns the node with its former pool.
    pub(crate) fn reopen(&mut self, id: NodeId, role: Role, leads: Leads) -> Option<Arc<Node<B>>> {
        let node = self.nodes.iter_mut().find(|node| node.id() == id)?;
        let reopened = node.reopened(role, leads)?;
        Some(std::mem::replace(node, Arc::new(reopened)))
    }

    /// The node that takes the writes.
    pub(crate) fn primary(&self) -> &Arc<Node<B>> {
        let mut nodes = self.nodes.iter();
        let primary = nodes.find(|node| node.id() == self.primary);
        // It cannot be removed, so it is there.
        primary.unwrap_or(&self.nodes[0])
    }

    /// All others.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = &Arc<Node<B>>> {
        self.nodes.iter().filter(|node| node.id() != self.primary)
    }

    /// The index of the node of that name; if there is none, an error that lists the names.
    pub(crate) fn known(&self, name: &str) -> Result<usize, ConfigError> {
        self.index(name).ok_or_else(|| {
            let names: Vec<_> = self.members.iter().map(|member| &*member.name).collect();
            let problem = format!("no node is called {name:?}; there are {}", names.join(", "));
            ConfigError::new(ConfigErrorKind::UnknownNode, "node", problem)
        })
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.members.iter().position(|member| &*member.name == name)
    }
}
