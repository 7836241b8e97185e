//! How a pool's connections are prepared when they are opened.

use std::sync::Arc;

use dbrouter::ServerCheck;
use sqlx::pool::PoolConnectionMetadata;
use sqlx::{ConnectOptions, Connection, Pool};

use crate::database::{Options, RoutedDatabase};
use crate::pool_options::{AfterConnect, PoolOptions};

/// Prepares a connection before the pool has it: the connection must lead to the node's server, the application's hook
/// runs, and a replica's connection becomes read-only.
pub(crate) struct Opening<DB: RoutedDatabase> {
    options: Options<DB>,
    check: ServerCheck,
    hook: Option<Arc<AfterConnect<DB>>>,
    /// A pool that runs hooks which cannot be read.
    hooked: Option<Pool<DB>>,
    /// The statement that makes a replica's connection read-only, where its options do not.
    session: Option<&'static str>,
}

impl<DB: RoutedDatabase> Opening<DB> {
    pub(crate) fn new(
        options: &Options<DB>,
        check: &ServerCheck,
        pool_options: &PoolOptions<DB>,
        session: Option<&'static str>,
    ) -> Self {
        let hooked = pool_options.hides_hooks.then(|| {
            let hooked = pool_options.options.clone().min_connections(0);
            hooked.connect_lazy_with(options.clone())
        });
        Self {
            options: options.clone(),
            check: check.clone(),
            hook: pool_options.after_connect.clone(),
            hooked,
            session,
        }
    }

    /// Whether there is nothing to be done.
    pub(crate) fn is_empty(&self) -> bool {
        self.check.question(DB::DIALECT).is_none()
            && self.hook.is_none()
            && self.hooked.is_none()
            && self.session.is_none()
    }

    pub(crate) async fn prepare(
        &self,
        connection: &mut DB::Connection,
        meta: PoolConnectionMetadata,
    ) -> Result<(), sqlx::Error> {
        self.lead(connection).await?;
        if let Some(hook) = &self.hook {
            hook(connection, meta).await?;
        }
        match self.session {
            Some(session) => DB::execute(connection, session).await,
            None => Ok(()),
        }
    }

    /// Opens other connections in the place of this one until one leads to the right server.
    async fn lead(&self, connection: &mut DB::Connection) -> Result<(), sqlx::Error> {
        if self.hooked.is_some() {
            self.open_another(connection).await?;
        }
        let Some(question) = self.check.question(DB::DIALECT) else {
            return Ok(());
        };
        loop {
            let answer = DB::ask(connection, &question).await?;
            match self.check.admit(&answer).await {
                Ok(()) => return Ok(()),
                Err(other) if other.is_final() => {
                    return Err(sqlx::Error::Configuration(other.into()));
                }
                Err(_) => self.open_another(connection).await?,
            }
        }
    }

    async fn open_another(&self, connection: &mut DB::Connection) -> Result<(), sqlx::Error> {
        let another = match &self.hooked {
            Some(hooked) => hooked.acquire().await?.detach(),
            None => self.options.connect().await?,
        };
        let former = std::mem::replace(connection, another);
        // The server may be gone. Nobody needs this connection any longer.
        former.close().await.ok();
        Ok(())
    }
}
