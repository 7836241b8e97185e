//! What a node's connections are opened with, which may change while the pool is in use.
//!
//! sqlx opens a connection with the options that its pool has at that moment. So the pool's options are set before a
//! connection is taken that may have to be opened, and when the server has refused what they were.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dbrouter::{CredentialsError, Login, NodeCredentials};
use sqlx::Pool;
use sqlx::error::DatabaseError;
use tokio::task::JoinHandle;

use crate::database::{Options, RoutedDatabase};

/// The present options of a node's connections.
pub(crate) struct Present<DB: RoutedDatabase> {
    options: Options<DB>,
    /// Without what makes a replica's connections read-only.
    plain: Option<Options<DB>>,
    /// A pooler in front of the server takes only the latter. A standby refuses writes on those as well.
    is_plain: AtomicBool,
    credentials: Option<NodeCredentials>,
}

impl<DB: RoutedDatabase> Present<DB> {
    pub(crate) fn new(
        options: Options<DB>,
        plain: Option<Options<DB>>,
        credentials: Option<NodeCredentials>,
    ) -> Self {
        Self {
            options,
            plain,
            is_plain: AtomicBool::new(false),
            credentials,
        }
    }

    /// The options, with the login that was given last.
    pub(crate) fn options(&self) -> Options<DB> {
        self.with(self.last().as_ref())
    }

    fn last(&self) -> Option<Login> {
        let credentials = self.credentials.as_ref();
        credentials.and_then(NodeCredentials::last)
    }

    fn with(&self, login: Option<&Login>) -> Options<DB> {
        let options = match &self.plain {
            Some(plain) if self.is_plain.load(Ordering::Relaxed) => plain,
            _ => &self.options,
        };
        match login {
            Some(login) => DB::with_login(options.clone(), login),
            None => options.clone(),
        }
    }
}

/// A pool that is told the present options.
struct Told<DB: RoutedDatabase> {
    present: Arc<Present<DB>>,
    /// The login that the pool has.
    login: Mutex<Option<Login>>,
}

impl<DB: RoutedDatabase> Told<DB> {
    fn login(&self) -> MutexGuard<'_, Option<Login>> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, pool: &Pool<DB>) {
        let mut login = self.login();
        *login = self.present.last();
        pool.set_connect_options(self.present.with(login.as_ref()));
    }

    async fn renew(&self, pool: &Pool<DB>) -> Result<(), sqlx::Error> {
        if let Some(credentials) = &self.present.credentials {
            credentials.now().await.map_err(unknown)?;
            self.set(pool);
        }
        Ok(())
    }

    /// Sets the pool's options after the server has refused them: `false` if there are no others.
    async fn changed(
        &self,
        pool: &Pool<DB>,
        used: Option<&Login>,
        refusal: Refusal,
    ) -> Result<bool, sqlx::Error> {
        let changed = match (refusal, &self.present.credentials) {
            (Refusal::ReadOnly, _) => {
                self.present.is_plain.store(true, Ordering::Relaxed);
                // The options of a primary have nothing that could be left out.
                self.present.plain.is_some()
            }
            (Refusal::Login, Some(credentials)) => {
                let other = credentials.after_refusal(used).await;
                other.map_err(unknown)?.is_some()
            }
            (Refusal::Login, None) => false,
        };
        if changed {
            self.set(pool);
        }
        Ok(changed)
    }
}

/// What a server refuses of a connection's options.
#[derive(Clone, Copy)]
enum Refusal {
    ReadOnly,
    Login,
}

impl Refusal {
    const ALL: [Self; 2] = [Self::ReadOnly, Self::Login];

    fn is<DB: RoutedDatabase>(self, error: &dyn DatabaseError) -> bool {
        match self {
            Self::ReadOnly => DB::refuses_read_only(error),
            Self::Login => DB::refuses_login(error),
        }
    }
}

/// How a pool's connections are opened. Clones are the same.
pub(crate) struct Connecting<DB: RoutedDatabase>(Option<Arc<How<DB>>>);

struct How<DB: RoutedDatabase> {
    told: Arc<Told<DB>>,
    /// Sets the pool's options now and then, for connections that it opens by itself.
    refreshing: Option<JoinHandle<()>>,
}

impl<DB: RoutedDatabase> Drop for How<DB> {
    fn drop(&mut self) {
        if let Some(refreshing) = &self.refreshing {
            refreshing.abort();
        }
    }
}

// Not derived: that would ask for `DB: Clone`.
impl<DB: RoutedDatabase> Clone for Connecting<DB> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// How sqlx's errors are found in those of an ORM on sqlx, and become such.
pub(crate) struct Wraps<E> {
    /// sqlx's error that it is about.
    pub(crate) inner: fn(&E) -> Option<&sqlx::Error>,
    /// An error of that kind.
    pub(crate) outer: fn(sqlx::Error) -> E,
}

/// sqlx's own errors.
pub(crate) const PLAIN: Wraps<sqlx::Error> = Wraps {
    inner: |error| Some(error),
    outer: |error| error,
};

impl<DB: RoutedDatabase> Connecting<DB> {
    /// The pool keeps its options.
    pub(crate) fn as_it_is() -> Self {
        Self(None)
    }

    /// The pool is told.
    pub(crate) fn with(present: Arc<Present<DB>>, pool: &Pool<DB>) -> Self {
        let credentials = present.credentials.clone();
        let told = Arc::new(Told {
            present,
            login: Mutex::default(),
        });
        let refreshing = credentials.map(|credentials| {
            let (told, pool) = (Arc::clone(&told), pool.clone());
            tokio::spawn(async move {
                while !pool.is_closed() {
                    // Whoever cannot log in is told why.
                    told.renew(&pool).await.ok();
                    tokio::time::sleep(credentials.interval()).await;
                }
            })
        });
        Self(Some(Arc::new(How { told, refreshing })))
    }

    /// For another pool that leads to the same place.
    pub(crate) fn again(&self, pool: &Pool<DB>) -> Self {
        match &self.0 {
            Some(how) => Self::with(Arc::clone(&how.told.present), pool),
            None => Self::as_it_is(),
        }
    }

    /// Sets the pool's options, for a connection that is about to be opened.
    pub(crate) async fn renew(&self, pool: &Pool<DB>) -> Result<(), sqlx::Error> {
        match &self.0 {
            Some(how) => how.told.renew(pool).await,
            None => Ok(()),
        }
    }

    /// Takes a connection of the pool by `take`, which may open one.
    pub(crate) async fn take<F, R, T, E>(
        &self,
        pool: &Pool<DB>,
        wraps: Wraps<E>,
        take: F,
    ) -> Result<T, E>
    where
        F: FnMut() -> R,
        R: Future<Output = Result<T, E>>,
    {
        // A pool that is full opens none until it has closed one.
        if pool.num_idle() == 0 && pool.size() < pool.options().get_max_connections() {
            self.renew(pool).await.map_err(wraps.outer)?;
        }
        self.retry(pool, wraps, take).await
    }

    /// Opens a connection by `open`, and again if the server refuses options that can be changed.
    pub(crate) async fn retry<F, R, T, E>(
        &self,
        pool: &Pool<DB>,
        wraps: Wraps<E>,
        mut open: F,
    ) -> Result<T, E>
    where
        F: FnMut() -> R,
        R: Future<Output = Result<T, E>>,
    {
        let Some(told) = self.0.as_ref().map(|how| &how.told) else {
            return open().await;
        };
        let used = match told.present.credentials {
            Some(_) => told.login().clone(),
            None => None,
        };
        let mut opened = open().await;
        for refusal in Refusal::ALL {
            let is_refused = |error| {
                let error = (wraps.inner)(error).and_then(sqlx::Error::as_database_error);
                error.is_some_and(|error| refusal.is::<DB>(error))
            };
            if opened.as_ref().err().is_some_and(is_refused) {
                let changed = told.changed(pool, used.as_ref(), refusal).await;
                if changed.map_err(wraps.outer)? {
                    opened = open().await;
                }
            }
        }
        opened
    }
}

fn unknown(error: CredentialsError) -> sqlx::Error {
    sqlx::Error::Configuration(Box::new(error))
}
