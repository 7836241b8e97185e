//! What differs by pool: how one is opened, how a connection is taken from it and given back.

#[cfg(feature = "bb8")]
mod bb8;
#[cfg(feature = "deadpool")]
mod deadpool;
#[cfg(feature = "mobc")]
mod mobc;

use std::future::ready;
use std::ops::DerefMut;
use std::time::Duration;

use dbrouter::{ConfigError, Pressure};
use diesel_async::pooled_connection::AsyncDieselConnectionManager;

use crate::database::RoutedConnection;
use crate::error::Error;

/// A pool of diesel-async's connections: its deadpool, bb8 and mobc pools, with the features of those names.
///
/// # Contract
///
/// * Clones are the same pool.
/// * `open` connects to nothing that it waits for, and does not panic.
/// * `take` gives a connection that is in no transaction, or fails when the pool's own limit says so. It may
///   be dropped at any time, and then keeps no place in the pool.
/// * `give_back` lets nobody have a connection again that is left inside a transaction, and does not wait.
/// * `connect` opens a connection that is none of the pool's, and waits for none of the pool's.
/// * `pressure` neither blocks nor waits.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no pool of connections that can be routed to",
    note = "a router is made over the pool's own type, such as \
            `RoutedPool<diesel_async::pooled_connection::deadpool::Pool<AsyncPgConnection>>`",
    note = "the features `deadpool`, `bb8` and `mobc` of dbrouter-diesel turn on the pools, and `postgres`, \
            `mysql` and `sqlite` the connections"
)]
pub trait Pool: Clone + Send + Sync + 'static {
    /// The connections.
    type Connection: RoutedConnection;

    /// What the pool hands out. It is owned, so it can be kept and moved into tasks.
    type Guard: DerefMut<Target = Self::Connection> + Send + 'static;

    /// The pool's own builder.
    type Builder;

    /// Whether `open` can have those connections pinged that were idle for long, and no others.
    const KNOWS_IDLE: bool;

    /// Opens a pool. `options` applies what the application wants to the pool's own builder. If the pool
    /// knows how long its connections are idle, one that was idle for longer than `ping_after` is pinged when
    /// it is taken.
    ///
    /// # Errors
    ///
    /// If the options are wrong. `field` is what errors call the node.
    fn open(
        manager: AsyncDieselConnectionManager<Self::Connection>,
        options: &(dyn Fn(Self::Builder) -> Self::Builder + Send + Sync),
        ping_after: Option<Duration>,
        field: &str,
    ) -> Result<Self, ConfigError>;

    /// Limits the pool's connections.
    fn limit(builder: Self::Builder, connections: u32) -> Self::Builder;

    /// Whether a pool that exists already can be used. Defaults to yes.
    ///
    /// # Errors
    ///
    /// If it can not. `field` is what errors call the node.
    fn check(&self, field: &str) -> Result<(), ConfigError> {
        let _ = field;
        Ok(())
    }

    /// Takes a connection.
    fn take(&self) -> impl Future<Output = Result<Self::Guard, Error>> + Send;

    /// Gives a connection back.
    fn give_back(guard: Self::Guard);

    /// Opens a connection beside the pool.
    fn connect(&self) -> impl Future<Output = Result<Self::Connection, Error>> + Send;

    /// Opens a connection as a pool would that [`open`](Self::open) opens with the same arguments, the hooks of the pool's
    /// own builder included. Defaults to `None`, for pools without such hooks.
    fn connect_as(
        manager: AsyncDieselConnectionManager<Self::Connection>,
        options: &(dyn Fn(Self::Builder) -> Self::Builder + Send + Sync),
    ) -> impl Future<Output = Option<Result<Self::Connection, Error>>> + Send {
        drop((manager, options));
        ready(None)
    }

    /// How occupied the pool is.
    fn pressure(&self) -> Pressure;

    /// Closes the pool, if it can be closed. Defaults to nothing.
    fn close(&self) {}
}
