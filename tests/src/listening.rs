//! A listener for PostgreSQL's notifications, whatever it is built of, through switchovers.

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use crate::postgres::Cluster;
use crate::{Failure, Result, wait};

/// What a listener tells of: a notification's payload, or by `None` that it listens from now on and may have missed something.
pub type Heard = Option<String>;

/// A primary and its standby change places again and again. The listener hears what `notify` sends through the router after
/// each of these switchovers, and tells of the gap before that.
pub async fn through_switchovers(
    cluster: &Cluster,
    mut heard: UnboundedReceiver<Heard>,
    notify: impl AsyncFn(&str) -> Result<()>,
) -> Result<()> {
    let mut next = async || -> Result<Heard> {
        let heard = timeout(wait::PATIENCE, heard.recv()).await?;
        heard.ok_or_else(|| Failure::new("the listener has ended").into())
    };
    for round in 0..4 {
        if round > 0 {
            let (former, promoted) = (cluster.node((round + 1) % 2), cluster.node(round % 2));
            former.stop().await?;
            promoted.promote().await?;
            former.rejoin(promoted).await?;
        }
        while next().await?.is_some() {}
        let payload = format!("round {round}");
        notify(&payload).await?;
        loop {
            match next().await? {
                Some(heard) if heard == payload => break,
                // It was sent twice.
                Some(_) => {}
                // What was sent may have been missed.
                None => notify(&payload).await?,
            }
        }
    }
    Ok(())
}
