//! How a pool's connections are prepared when they are opened.

use std::sync::Arc;

use dbrouter::ServerCheck;
use sqlx::pool::PoolConnectionMetadata;
use sqlx::{ConnectOptions, Connection, Pool};

use crate::connecting::Present;
use crate::database::RoutedDatabase;
use crate::pool_options::{AfterConnect, PoolOptions};

/// Prepares a connection before the pool has it: the connection must lead to the node's server, the application's hook
/// runs, and a replica's connection becomes read-only.
pub(crate) struct Opening<DB: RoutedDatabase> {
    present: Arc<Present<DB>>,
    check: ServerCheck,
    hook: Option<Arc<AfterConnect<DB>>>,
    /// A pool that runs hooks which cannot be read.
    hooked: Option<Pool<DB>>,
    /// The statement that makes a replica's connection read-only, where its options do not.
    session: Option<&'static str>,
}

impl<DB: RoutedDatabase> Opening<DB> {
    pub(crate) fn new(
        present: Arc<Present<DB>>,
        check: &ServerCheck,
        pool_options: &PoolOptions<DB>,
        session: Option<&'static str>,
    ) -> Self {
        let hooked = pool_options.hides_hooks.then(|| {
            let hooked = pool_options.options.clone().min_connections(0);
            hooked.connect_lazy_with(present.options())
        });
        Self {
            present,
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
        let question = match DB::prepares(&self.present.options()) {
            true => question,
            false => question.unprepared(),
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
        // As the connection was opened whose place it takes.
        let options = self.present.options();
        let another = match &self.hooked {
            Some(hooked) => {
                hooked.set_connect_options(options);
                hooked.acquire().await?.detach()
            }
            None => options.connect().await?,
        };
        let former = std::mem::replace(connection, another);
        // The server may be gone. Nobody needs this connection any longer.
        former.close().await.ok();
        Ok(())
    }
}
