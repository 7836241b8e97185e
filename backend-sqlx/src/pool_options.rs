//! The options of the pools that a router opens.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dbrouter::BoxFuture;
use log::LevelFilter;
use sqlx::Pool;
use sqlx::pool::{PoolConnectionMetadata, PoolOptions as SqlxOptions};

use crate::database::RoutedDatabase;

/// Prepares a connection that has just been opened.
pub(crate) type AfterConnect<DB> = dyn for<'c> Fn(
        &'c mut <DB as sqlx::Database>::Connection,
        PoolConnectionMetadata,
    ) -> BoxFuture<'c, Result<(), sqlx::Error>>
    + Send
    + Sync;

/// Tells whether a connection can be used any longer.
pub(crate) type Keeps<DB> = dyn for<'c> Fn(
        &'c mut <DB as sqlx::Database>::Connection,
        PoolConnectionMetadata,
    ) -> BoxFuture<'c, Result<bool, sqlx::Error>>
    + Send
    + Sync;

/// The options of the pools that a router opens: sqlx's own, by the same names and with the same defaults.
///
/// The hooks run on the connections of every node, replicas included, and before the router's own; `after_connect` also
/// on those of the router's monitor, which are opened twice for that. The router asks each
/// new connection of a pool which server it leads to ([`ServerCheck`](dbrouter::ServerCheck)), makes a replica's read-only, and
/// [pings](dbrouter::Builder::ping_after) one that was idle. sqlx keeps one hook of each kind and does not tell which, so
/// they are given here and not in sqlx's own options; [`from_sqlx`](Self::from_sqlx) is for options that have them
/// already.
///
/// ```
/// use dbrouter_sqlx::{PoolOptions, RoutedPool};
/// use sqlx::{Executor, Postgres};
///
/// let options = PoolOptions::<Postgres>::new()
///     .max_connections(20)
///     .after_connect(|connection, _| Box::pin(async move {
///         connection.execute("set application_name = 'shop'").await?;
///         Ok(())
///     }));
/// let builder = RoutedPool::builder().pool_options(options);
/// # let _ = builder;
/// ```
pub struct PoolOptions<DB: RoutedDatabase> {
    pub(crate) options: SqlxOptions<DB>,
    pub(crate) after_connect: Option<Arc<AfterConnect<DB>>>,
    pub(crate) before_acquire: Option<Arc<Keeps<DB>>>,
    pub(crate) after_release: Option<Arc<Keeps<DB>>>,
    /// The options may have hooks of their own, which cannot be read.
    pub(crate) hides_hooks: bool,
    /// They are those of the builder, on top of which this comes.
    embedded: Option<Embedded>,
}

/// What the options of one of an embedded database's pools are in any case.
#[cfg_attr(not(feature = "sqlite"), expect(dead_code, reason = "SQLite's"))]
#[derive(Clone, Copy)]
pub(crate) enum Embedded {
    /// One connection.
    Writer,
    /// So many, unless the builder's options say how many.
    Readers(u32),
}

impl<DB: RoutedDatabase> PoolOptions<DB> {
    /// sqlx's defaults: at most 10 connections, and 30 s to wait for one.
    #[must_use]
    pub fn new() -> Self {
        Self::of(SqlxOptions::new(), false)
    }

    /// Options that exist already, hooks included.
    ///
    /// sqlx tells nobody which hooks they have, so there is but one way to run its `after_connect` as well as the router's
    /// own: a pool with these options opens a connection, and the router's pool takes that in the place of the one that it
    /// has opened itself. So each connection costs two, of which one is closed at once. Their `before_acquire` stays in
    /// the place of [`ping_after`](dbrouter::Builder::ping_after). Their `after_release` is not called where a transaction
    /// was begun through sqlx's `Acquire` trait, for which the router needs that hook.
    #[must_use]
    pub fn from_sqlx(options: SqlxOptions<DB>) -> Self {
        Self::of(options, true)
    }

    fn of(options: SqlxOptions<DB>, hides_hooks: bool) -> Self {
        Self {
            options,
            after_connect: None,
            before_acquire: None,
            after_release: None,
            hides_hooks,
            embedded: None,
        }
    }

    /// Those of a pool of an embedded database: the builder's, with what is so in any case.
    #[cfg(feature = "sqlite")]
    pub(crate) fn embedded(embedded: Embedded) -> Self {
        Self {
            embedded: Some(embedded),
            ..Self::new()
        }
    }

    /// The options of a node for which these were given, where the builder's are `general`.
    pub(crate) fn over(&self, general: &Self) -> Self {
        let Some(embedded) = self.embedded else {
            return self.clone();
        };
        let default = SqlxOptions::<DB>::new();
        general.clone().with(|options| {
            let stated = options.get_max_connections();
            let most = match embedded {
                Embedded::Writer => 1,
                Embedded::Readers(most) if stated == default.get_max_connections() => most.max(1),
                Embedded::Readers(_) => stated.max(1),
            };
            // Connections to a file do not age, and cannot be broken while nobody looks.
            let stated = |limit, default| (limit != default).then_some(limit).flatten();
            let lifetime = stated(options.get_max_lifetime(), default.get_max_lifetime());
            let idle = stated(options.get_idle_timeout(), default.get_idle_timeout());
            let least = options.get_min_connections().min(most);
            options
                .max_connections(most)
                .min_connections(least)
                .max_lifetime(lifetime)
                .idle_timeout(idle)
        })
    }

    /// The options of a pool whose connections are set up by the application's hook, and by nothing else; `None` if there is
    /// no such hook.
    pub(crate) fn set_up(&self) -> Option<SqlxOptions<DB>> {
        match (&self.after_connect, self.hides_hooks) {
            (None, false) => None,
            (None, true) => Some(self.options.clone()),
            (Some(hook), _) => {
                let hook = Arc::clone(hook);
                let options = SqlxOptions::new();
                Some(options.after_connect(move |connection, meta| hook(connection, meta)))
            }
        }
    }

    fn with(self, change: impl FnOnce(SqlxOptions<DB>) -> SqlxOptions<DB>) -> Self {
        Self {
            options: change(self.options),
            ..self
        }
    }

    /// How many connections there are at most. Defaults to 10.
    #[must_use]
    pub fn max_connections(self, most: u32) -> Self {
        self.with(|options| options.max_connections(most))
    }

    /// How many connections are kept open. Defaults to none.
    #[must_use]
    pub fn min_connections(self, least: u32) -> Self {
        self.with(|options| options.min_connections(least))
    }

    /// How long a connection is waited for. Defaults to 30 s.
    #[must_use]
    pub fn acquire_timeout(self, limit: Duration) -> Self {
        self.with(|options| options.acquire_timeout(limit))
    }

    /// At which level sqlx logs how long a connection was waited for.
    #[must_use]
    pub fn acquire_time_level(self, level: LevelFilter) -> Self {
        self.with(|options| options.acquire_time_level(level))
    }

    /// At which level sqlx logs that a connection was waited for longer than the
    /// [threshold](Self::acquire_slow_threshold).
    #[must_use]
    pub fn acquire_slow_level(self, level: LevelFilter) -> Self {
        self.with(|options| options.acquire_slow_level(level))
    }

    /// How long a connection is waited for before sqlx logs it.
    #[must_use]
    pub fn acquire_slow_threshold(self, threshold: Duration) -> Self {
        self.with(|options| options.acquire_slow_threshold(threshold))
    }

    /// After which time a connection is closed. Defaults to 30 minutes.
    #[must_use]
    pub fn max_lifetime(self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.with(|options| options.max_lifetime(lifetime))
    }

    /// After which idle time a connection is closed. Defaults to 10 minutes.
    #[must_use]
    pub fn idle_timeout(self, limit: impl Into<Option<Duration>>) -> Self {
        self.with(|options| options.idle_timeout(limit))
    }

    /// Whether a connection is pinged whenever it is taken. It matters where
    /// [`ping_after`](dbrouter::Builder::ping_after) is `None`. Defaults to yes.
    #[must_use]
    pub fn test_before_acquire(self, test: bool) -> Self {
        self.with(|options| options.test_before_acquire(test))
    }

    /// Prepares each connection that is opened. If that fails, sqlx closes it and opens another one.
    #[must_use]
    pub fn after_connect<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Fn(
                &'c mut DB::Connection,
                PoolConnectionMetadata,
            ) -> BoxFuture<'c, Result<(), sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        self.after_connect = Some(Arc::new(hook));
        self
    }

    /// Tells whether a connection that was idle may be used. If not, or if that fails, sqlx closes it and takes another.
    #[must_use]
    pub fn before_acquire<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Fn(
                &'c mut DB::Connection,
                PoolConnectionMetadata,
            ) -> BoxFuture<'c, Result<bool, sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        self.before_acquire = Some(Arc::new(hook));
        self
    }

    /// Tells whether a connection goes back to the pool when nobody uses it any longer. If not, or if that fails, sqlx
    /// closes it.
    #[must_use]
    pub fn after_release<F>(mut self, hook: F) -> Self
    where
        F: for<'c> Fn(
                &'c mut DB::Connection,
                PoolConnectionMetadata,
            ) -> BoxFuture<'c, Result<bool, sqlx::Error>>
            + Send
            + Sync
            + 'static,
    {
        self.after_release = Some(Arc::new(hook));
        self
    }
}

/// The options of a pool beside this one that has a single connection, which is prepared as this one's are, and does not age.
pub(crate) fn of_one_connection<DB: RoutedDatabase>(pool: &Pool<DB>) -> SqlxOptions<DB> {
    let options = pool.options().clone();
    options
        .min_connections(0)
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
}

impl<DB: RoutedDatabase> Default for PoolOptions<DB> {
    fn default() -> Self {
        Self::new()
    }
}

// Not derived: that would ask for `DB: Clone`.
impl<DB: RoutedDatabase> Clone for PoolOptions<DB> {
    fn clone(&self) -> Self {
        Self {
            options: self.options.clone(),
            after_connect: self.after_connect.clone(),
            before_acquire: self.before_acquire.clone(),
            after_release: self.after_release.clone(),
            hides_hooks: self.hides_hooks,
            embedded: self.embedded,
        }
    }
}

impl<DB: RoutedDatabase> fmt::Debug for PoolOptions<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolOptions")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
