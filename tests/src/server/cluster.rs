use std::{fmt::Write, path::Path};

use super::{
    Installation, Layout, Node,
    account::Account,
    home::{Home, Plot},
};
use crate::Result;

/// A primary and its standbys. Dropped, it is gone, with its files.
#[derive(Debug)]
pub struct Cluster<I: Installation> {
    /// Dropped before the ground that they stand on.
    nodes: Vec<Node<I>>,
    plot: Plot,
}

/// How a [`Cluster`] is to be started.
#[derive(Debug, Clone)]
#[must_use = "nothing is started before `start`"]
pub struct ClusterBuilder<I: Installation> {
    standbys: usize,
    own_identity: bool,
    settings: String,
    binaries: Option<I>,
}

impl<I: Installation> Cluster<I> {
    /// Starts a primary and this many standbys. Returns when all receive and show what the primary
    /// shows.
    pub async fn start(standbys: usize) -> Result<Self> {
        Self::builder().standbys(standbys).start().await
    }

    /// A lone primary, unless told otherwise.
    pub fn builder() -> ClusterBuilder<I> {
        ClusterBuilder {
            standbys: 0,
            own_identity: false,
            settings: String::new(),
            binaries: None,
        }
    }

    /// The node that was started as the primary, whatever became of it.
    pub fn primary(&self) -> &Node<I> {
        self.node(0)
    }

    /// The nodes that were started as standbys.
    pub fn standbys(&self) -> &[Node<I>] {
        &self.nodes[1..]
    }

    /// All nodes, the primary first.
    pub fn nodes(&self) -> &[Node<I>] {
        &self.nodes
    }

    /// The primary is 0; standbys count from 1, as in their names.
    ///
    /// # Panics
    ///
    /// There must be such a node.
    pub fn node(&self, number: usize) -> &Node<I> {
        &self.nodes[number]
    }

    /// Where its files are, for as long as it lives.
    pub fn folder(&self) -> &Path {
        self.plot.folder()
    }

    /// Waits until every standby that runs shows what the primary has acknowledged so far; see
    /// [`Node::catch_up_with`].
    pub async fn wait_caught_up(&self) -> Result<()> {
        // One for all: asking may add to the log, and no standby is to be further than another.
        let position = self.primary().position().await?;
        for standby in self
            .standbys()
            .iter()
            .filter(|standby| standby.is_running())
        {
            standby.wait_replayed(&position).await?;
        }
        Ok(())
    }
}

impl<I: Installation> ClusterBuilder<I> {
    /// How many standbys follow the primary. Defaults to none.
    pub fn standbys(mut self, number: usize) -> Self {
        self.standbys = number;
        self
    }

    /// Gives the cluster an identity that no other has, as separate clusters do in production: a
    /// system identifier in PostgreSQL, which takes half a second more, and a replication domain
    /// and server ids in MariaDB. Defaults to what all others have that do not ask.
    pub fn own_identity(mut self) -> Self {
        self.own_identity = true;
        self
    }

    /// Sets a line of the configuration on all nodes, as in `.setting("max_connections", "20")`.
    /// Defaults to a small server that need not survive a loss of power.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        // Writing to a string cannot fail.
        writeln!(self.settings, "{}", I::setting(name, value)).ok();
        self
    }

    /// The installation to use. Defaults to what [`Installation::find`] finds.
    pub fn binaries(mut self, binaries: I) -> Self {
        self.binaries = Some(binaries);
        self
    }

    /// Starts it. Returns when all standbys receive and show what the primary shows.
    pub async fn start(self) -> Result<Cluster<I>> {
        // Files are copied, locks are waited for: not on a thread that others need.
        let cluster = tokio::task::spawn_blocking(move || self.launch()).await??;
        for node in &cluster.nodes {
            node.wait_ready().await?;
        }
        I::replicate(&cluster).await?;
        cluster.wait_caught_up().await?;
        Ok(cluster)
    }

    fn launch(self) -> Result<Cluster<I>> {
        let binaries = self.binaries.map_or_else(I::find, Ok)?;
        let home = Home::open(Account::find()?)?;
        let plot = home.take_plot(1 + self.standbys)?;
        let nodes: Vec<_> = (0..)
            .zip(plot.ports())
            .map(|(number, port)| {
                let folder = plot.folder().to_owned();
                Node::new(
                    name(number),
                    *port,
                    folder,
                    binaries.clone(),
                    home.account(),
                )
            })
            .collect();

        binaries.lay_out(&Layout {
            home: &home,
            own_identity: self.own_identity,
            settings: &self.settings,
            nodes: &nodes,
        })?;
        nodes.iter().try_for_each(Node::launch)?;
        Ok(Cluster { nodes, plot })
    }
}

fn name(number: usize) -> String {
    match number {
        0 => "primary".to_owned(),
        standby => format!("standby-{standby}"),
    }
}
