//! Clusters that a case has left as it found them, but for the table: another case may have them, which saves
//! most of what a short case costs.

use std::sync::{Mutex, PoisonError};

use super::site::{TABLE, rows};
use crate::any::{Cluster, ClusterBuilder, Kind};
use crate::{Failure, Result, wait};

static SPARE: Mutex<Vec<Cluster>> = Mutex::new(Vec::new());

/// A primary and two replicas with the table as it is in the beginning.
pub(super) async fn take(kind: Kind) -> Result<Cluster> {
    if let Some(cluster) = spare(kind)
        && renew(&cluster).await.is_ok()
    {
        return Ok(cluster);
    }
    start(kind.builder()).await
}

pub(super) fn leave(cluster: Cluster) {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    spare.push(cluster);
}

/// Stops all that nobody wants any more.
pub(super) fn clear() {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    spare.clear();
}

fn spare(kind: Kind) -> Option<Cluster> {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let index = spare.iter().position(|cluster| cluster.kind() == kind)?;
    Some(spare.swap_remove(index))
}

pub(super) async fn start(builder: ClusterBuilder) -> Result<Cluster> {
    let cluster = builder.standbys(2).start().await?;
    fill(&cluster, TABLE).await?;
    Ok(cluster)
}

/// Undoes what the last case may have done: what it left running ends, replay goes on, the table is new.
async fn renew(cluster: &Cluster) -> Result<()> {
    for node in cluster.nodes() {
        let alone = async || {
            node.backends("app")
                .await
                .is_ok_and(|backends| backends == 0)
        };
        if !wait::until(alone).await {
            let failure = format!("somebody stays connected to {}", node.name());
            return Err(Failure::new(failure).into());
        }
    }
    for standby in cluster.standbys() {
        standby.resume_replay().await?;
    }
    // Dead rows would be cleared away by whoever reads them, which a primary logs and does not flush at once.
    fill(cluster, "truncate table kv").await
}

async fn fill(cluster: &Cluster, before: &str) -> Result<()> {
    let fill = format!("{before}; {}", rows());
    cluster.primary().execute(&fill).await?;
    cluster.wait_caught_up().await?;
    for node in cluster.nodes() {
        node.forget_served().await?;
    }
    Ok(())
}
