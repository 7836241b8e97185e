use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use super::{
    account::Account,
    binaries::Binaries,
    home::{Home, Plot},
    node::Node,
    replication::holds,
    template,
};
use crate::Result;

/// A primary and its streaming standbys. Dropped, it is gone, with its files.
#[derive(Debug)]
pub struct Cluster {
    /// Dropped before the ground that they stand on.
    nodes: Vec<Node>,
    plot: Plot,
}

/// How a [`Cluster`] is to be started.
#[derive(Debug, Clone, Default)]
#[must_use = "nothing is started before `start`"]
pub struct ClusterBuilder {
    standbys: usize,
    own_identity: bool,
    settings: String,
    binaries: Option<Binaries>,
}

impl Cluster {
    /// Starts a primary and this many standbys. Returns when all stream and show what the primary
    /// shows.
    pub async fn start(standbys: usize) -> Result<Self> {
        Self::builder().standbys(standbys).start().await
    }

    /// A lone primary, unless told otherwise.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// The node that was started as the primary, whatever became of it.
    pub fn primary(&self) -> &Node {
        self.node(0)
    }

    /// The nodes that were started as standbys.
    pub fn standbys(&self) -> &[Node] {
        &self.nodes[1..]
    }

    /// All nodes, the primary first.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The primary is 0; standbys count from 1, as in their names.
    ///
    /// # Panics
    ///
    /// There must be such a node.
    pub fn node(&self, number: usize) -> &Node {
        &self.nodes[number]
    }

    /// Where its files are, for as long as it lives.
    pub fn folder(&self) -> &Path {
        self.plot.folder()
    }

    /// Waits until every standby that runs shows what the primary has acknowledged so far; see
    /// [`Node::catch_up_with`].
    pub async fn wait_caught_up(&self) -> Result<()> {
        for standby in self
            .standbys()
            .iter()
            .filter(|standby| standby.is_running())
        {
            standby.catch_up_with(self.primary()).await?;
        }
        Ok(())
    }

    async fn wait_streaming(&self) -> Result<()> {
        let mut primary = self.primary().admin().await?;
        let all_stream = format!(
            "SELECT count(*) = {} FROM pg_stat_replication WHERE state = 'streaming'",
            self.standbys().len()
        );
        let ready = async || holds(&mut primary, &all_stream).await;
        self.primary()
            .wait_for("stream to all its standbys", ready)
            .await
    }
}

impl ClusterBuilder {
    /// How many standbys stream from the primary. Defaults to none.
    pub fn standbys(mut self, number: usize) -> Self {
        self.standbys = number;
        self
    }

    /// Gives the cluster a system identifier that no other has, as separate clusters do in
    /// production. Defaults to that of the template, which is there at once: this takes half a
    /// second more.
    pub fn own_identity(mut self) -> Self {
        self.own_identity = true;
        self
    }

    /// Sets a line of `postgresql.conf` on all nodes, as in `.setting("max_connections", "20")`.
    /// Defaults to a small server that need not survive a loss of power.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        let value = value.replace('\'', "''");
        // Writing to a string cannot fail.
        writeln!(self.settings, "{name} = '{value}'").ok();
        self
    }

    /// The installation to use. Defaults to what [`Binaries::find`] finds.
    pub fn binaries(mut self, binaries: Binaries) -> Self {
        self.binaries = Some(binaries);
        self
    }

    /// Starts it. Returns when all standbys stream and show what the primary shows.
    pub async fn start(self) -> Result<Cluster> {
        // Files are copied, locks are waited for: not on a thread that others need.
        let cluster = tokio::task::spawn_blocking(move || self.launch()).await??;
        for node in &cluster.nodes {
            node.wait_ready().await?;
        }
        cluster.wait_streaming().await?;
        cluster.wait_caught_up().await?;
        Ok(cluster)
    }

    fn launch(self) -> Result<Cluster> {
        let binaries = self.binaries.map_or_else(Binaries::find, Ok)?;
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

        let data: Vec<PathBuf> = (0..nodes.len())
            .map(|number| plot.folder().join(name(number)))
            .collect();
        template::lay_out(&home, &binaries, self.own_identity, &self.settings, &data)?;
        for (number, node) in nodes.iter().enumerate() {
            node.configure((number > 0).then_some(&nodes[0]))?;
            node.launch()?;
        }
        Ok(Cluster { nodes, plot })
    }
}

fn name(number: usize) -> String {
    match number {
        0 => "primary".to_owned(),
        standby => format!("standby-{standby}"),
    }
}
