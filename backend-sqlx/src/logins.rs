//! What a pool's connections log in with, where a function is asked for it.
//!
//! sqlx opens a connection with the options that its pool has at that moment. So the pool's options are set before a
//! connection is taken that may have to be opened, and when the server has refused what they were.

use std::future::Future;
use std::sync::Arc;

use dbrouter::{CredentialsError, Login, NodeCredentials};
use sqlx::Pool;
use tokio::task::JoinHandle;

use crate::database::RoutedDatabase;

/// The logins of a node's pool, and of those that lead where it does. Clones are the same.
#[derive(Clone)]
pub(crate) struct Logins(Option<Arc<Source>>);

struct Source {
    credentials: NodeCredentials,
    /// Sets the options of the pool now and then, for connections that it opens by itself.
    refreshing: JoinHandle<()>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.refreshing.abort();
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

impl Logins {
    /// The pool keeps its options.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    /// The pool is told.
    pub(crate) fn of<DB: RoutedDatabase>(credentials: NodeCredentials, pool: &Pool<DB>) -> Self {
        let (asked, pool) = (credentials.clone(), pool.clone());
        let refreshing = tokio::spawn(async move {
            while !pool.is_closed() {
                // Who cannot log in without is told why.
                if let Ok(login) = asked.now().await {
                    set(&pool, &login);
                }
                tokio::time::sleep(asked.interval()).await;
            }
        });
        Self(Some(Arc::new(Source {
            credentials,
            refreshing,
        })))
    }

    pub(crate) fn credentials(&self) -> Option<&NodeCredentials> {
        self.0.as_ref().map(|source| &source.credentials)
    }

    /// Sets the pool's options, for a connection that is about to be opened.
    pub(crate) async fn renew<DB: RoutedDatabase>(
        &self,
        pool: &Pool<DB>,
    ) -> Result<(), sqlx::Error> {
        if let Some(credentials) = self.credentials() {
            set(pool, &credentials.now().await.map_err(unknown)?);
        }
        Ok(())
    }

    /// Takes a connection of the pool by `take`, which may open one.
    pub(crate) async fn take<DB, F, R, T, E>(
        &self,
        pool: &Pool<DB>,
        wraps: Wraps<E>,
        take: F,
    ) -> Result<T, E>
    where
        DB: RoutedDatabase,
        F: FnMut() -> R,
        R: Future<Output = Result<T, E>>,
    {
        // A pool that is full opens none until it has closed one.
        if pool.num_idle() == 0 && pool.size() < pool.options().get_max_connections() {
            self.renew(pool).await.map_err(wraps.outer)?;
        }
        self.retry(pool, wraps, take).await
    }

    /// Opens a connection by `open`, and once more if the server refuses a login that is no longer the present one.
    pub(crate) async fn retry<DB, F, R, T, E>(
        &self,
        pool: &Pool<DB>,
        wraps: Wraps<E>,
        mut open: F,
    ) -> Result<T, E>
    where
        DB: RoutedDatabase,
        F: FnMut() -> R,
        R: Future<Output = Result<T, E>>,
    {
        let Some(credentials) = self.credentials() else {
            return open().await;
        };
        let used = credentials.last();
        let error = match open().await {
            Err(error) if (wraps.inner)(&error).is_some_and(refuses_login::<DB>) => error,
            opened => return opened,
        };
        let other = credentials.after_refusal(used.as_ref()).await;
        match other.map_err(unknown).map_err(wraps.outer)? {
            Some(login) => {
                set(pool, &login);
                open().await
            }
            None => Err(error),
        }
    }
}

fn set<DB: RoutedDatabase>(pool: &Pool<DB>, login: &Login) {
    let options = (*pool.connect_options()).clone();
    pool.set_connect_options(DB::with_login(options, login));
}

fn refuses_login<DB: RoutedDatabase>(error: &sqlx::Error) -> bool {
    let error = error.as_database_error();
    error.is_some_and(DB::refuses_login)
}

fn unknown(error: CredentialsError) -> sqlx::Error {
    sqlx::Error::Configuration(Box::new(error))
}
