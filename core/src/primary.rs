//! Following the primary: for connections that are held for long and are of use on the primary alone, such as those of
//! listeners.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::sleep;

use crate::cluster::{Cluster, inside_a_runtime};
use crate::health::Health;
use crate::node::Node;
use crate::request::Request;
use crate::route::Route;
use crate::router::Backend;
use crate::vocabulary::Role;

impl<B: Backend> Cluster<B> {
    /// The primary, as soon as there is one that answers and takes writes. Meanwhile all nodes are asked again and again
    /// which of them it is.
    ///
    /// It waits without a limit, whatever [`wait_for_primary`](crate::Settings::wait_for_primary) says of writes: give it a
    /// `tokio::time::timeout`. A router without replicas, which watches nothing otherwise, watches its primary from this call
    /// on. [`while_primary`](Self::while_primary) is the other half, and shows how the two are used.
    pub async fn ready_primary(&self) -> Arc<Node<B>> {
        if inside_a_runtime().is_ok() {
            self.be_watched();
        }
        let (request, session) = (Request::write(), self.session());
        let wake = &self.shared().context.wake;
        let _asked_for_meanwhile = wake.await_primary();
        loop {
            let met = self.be_watched_again(&request).await;
            if met.is_err() && inside_a_runtime().is_ok() {
                // The nodes of a lazy router could not be met, and are met anew.
                sleep(self.acquire_limit()).await;
                continue;
            }
            let mut proof = pin!(wake.next_proof());
            // From here on no change is missed, so the look may come now.
            proof.as_mut().enable();
            let found = self.find(&request, &session);
            let node = found.as_ref().ok().map(|route| Arc::clone(route.node()));
            found.map(Route::unsent).ok();
            if let Some(node) = node.filter(|node| node.is_healthy()) {
                return node;
            }
            proof.await;
        }
    }

    /// Runs `work` for as long as `node` is the primary. `None` if it is not, or ceases to be: another node has become the
    /// primary, another pool has taken the place of this one, the server says that it is a replica, or the monitor finds that
    /// it does not answer. `work` is dropped then.
    ///
    /// It is for connections that are held for long. A server that is cut off, or that is demoted without a restart, closes no
    /// connection; so whoever waits for a message on one may wait for ever. A connection that breaks is `work`'s own affair,
    /// and is noticed there at once.
    ///
    /// ```
    /// use dbrouter::{Backend, Cluster};
    ///
    /// async fn listen<B: Backend>(cluster: &Cluster<B>) {
    ///     loop {
    ///         let primary = cluster.ready_primary().await;
    ///         // On a new connection, for as long as that lives:
    ///         let work = hear(primary.backend());
    ///         if cluster.while_primary(&primary, work).await.is_none() {
    ///             println!("{} is no longer the primary", primary.name());
    ///         }
    ///         // Either way something may have been missed: what was sent in between is lost.
    ///     }
    /// }
    ///
    /// async fn hear<B: Backend>(backend: &B) {
    ///     // LISTEN, read what may have been missed, and handle messages until the connection breaks.
    /// #   let _ = backend;
    /// }
    /// ```
    pub async fn while_primary<F: Future>(&self, node: &Node<B>, work: F) -> Option<F::Output> {
        let mut work = pin!(work);
        let mut over = pin!(self.when_not_primary(node));
        poll_fn(|cx| match over.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(None),
            Poll::Pending => work.as_mut().poll(cx).map(Some),
        })
        .await
    }

    /// Waits until `node` is not the primary, or does not answer.
    async fn when_not_primary(&self, node: &Node<B>) {
        let request = Request::write();
        loop {
            if self.be_watched_again(&request).await.is_err() {
                return;
            }
            // The one tells of health and pools, the other of roles.
            let mut changed = pin!(node.changes());
            let mut proof = pin!(self.shared().context.wake.next_proof());
            changed.as_mut().enable();
            proof.as_mut().enable();
            if !self.is_primary(node) {
                return;
            }
            poll_fn(|cx| match changed.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(()),
                Poll::Pending => proof.as_mut().poll(cx),
            })
            .await;
        }
    }

    /// Whether the node, with this pool, is the primary and answers, as far as is known.
    fn is_primary(&self, node: &Node<B>) -> bool {
        let topology = self.shared().topology.load();
        std::ptr::eq(&**topology.primary(), node)
            && node.role() == Role::Primary
            && node.health() != Health::Ejected
    }
}
