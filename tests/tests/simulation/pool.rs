//! A process's pool to the server behind one address: the router's backend.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dbrouter::{Answer, Backend, Fault, Pressure, Question, Role as RouterRole, RouteError};
use dbrouter_tests::history::{Key, Served, ServerId, Version};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time;

use crate::answers;
use crate::world::{Link, World};

/// One process's way to the server behind one address.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    world: World,
    address: usize,
    process: usize,
    /// Connections to replicas are read-only, and stay so.
    opened_for: RouterRole,
    /// The connections that may be out at once, if there are few. Who wants one waits in turn.
    places: Option<Arc<Semaphore>>,
}

/// A connection, back in its pool when it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    pool: Pool,
    link: Link,
    /// Given back after the connection.
    _place: Option<OwnedSemaphorePermit>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.pool.world.state();
        state.addresses[self.pool.address].idle[self.pool.process].push(self.link);
    }
}

/// A connection of a process's monitor.
#[derive(Debug)]
pub(crate) struct Monitored {
    pool: Pool,
    link: Link,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The router found no node.
    Refused,
    /// There was no connection.
    Unconnected,
    /// The connection broke.
    Broken,
    ReadOnly,
    Conflict,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Failure {}

impl Pool {
    pub(crate) fn new(
        world: &World,
        address: usize,
        process: usize,
        opened_for: RouterRole,
    ) -> Self {
        let connections = world.shape().connections;
        Self {
            world: world.clone(),
            address,
            process,
            opened_for,
            places: connections.map(|most| Arc::new(Semaphore::new(most))),
        }
    }

    /// Another pool for an address whose server is something else now.
    pub(crate) fn reopened(&self, role: RouterRole) -> Self {
        Self::new(&self.world, self.address, self.process, role)
    }

    /// The server that a new connection would lead to.
    fn server(&self) -> usize {
        self.world.state().addresses[self.address].server
    }

    /// Waits as it is told, and says how that ended.
    async fn waited(&self, told: (u64, Duration), link: Link) -> Result<Answer, Failure> {
        let (position, limit) = told;
        let end = time::Instant::now() + limit;
        let has_come = loop {
            let (standby, shown) = {
                let mut state = self.world.state();
                let place = self.world.place(&mut state, link.server);
                (state.servers[link.server].standby, place.position)
            };
            if !standby {
                let text = "not in recovery".to_owned();
                return Ok([Some(text)].into_iter().collect());
            } else if shown >= position {
                break true;
            } else if time::Instant::now() >= end {
                break false;
            }
            time::sleep(Duration::from_millis(2)).await;
            self.still(link).await?;
        };
        Ok(answers::of_waiting(&self.world.shape(), has_come))
    }

    /// Waits until the server answers on the connection.
    async fn still(&self, link: Link) -> Result<(), Failure> {
        let reached = self.world.reach(self.address, Some(link)).await;
        reached.map(drop).map_err(|()| Failure::Broken)
    }

    /// The same for an application's connection, some of which break more often than the monitor's.
    async fn still_works(&self, link: Link) -> Result<(), Failure> {
        self.still(link).await?;
        let mut state = self.world.state();
        let breaks = state.servers[link.server].breaks;
        match breaks > 0 && state.random.u8(..) < breaks {
            true => Err(Failure::Broken),
            false => Ok(()),
        }
    }
}

impl Connection {
    /// The server that it leads to.
    pub(crate) fn server(&self) -> usize {
        self.link.server
    }

    /// What the server shows of a key, and what it is.
    pub(crate) async fn read(&self, key: Key) -> Result<(Version, Served), Failure> {
        let world = &self.pool.world;
        let server = self.link.server;
        world.travel(server).await;
        self.pool.still_works(self.link).await?;
        let seen = {
            let mut guard = world.state();
            let state = &mut *guard;
            // Not while there may be no other node for the read.
            let may_fail = state.has_known_primary(world.elapsed());
            let conflict = state.servers[server].standby && may_fail && state.random.u8(..) < 2;
            let place = world.place(state, server);
            let served = Served {
                server: ServerId(server as u32),
                role: state.servers[server].role(),
            };
            match conflict {
                true => Err(Failure::Conflict),
                false => Ok((state.log.version(place, key), served)),
            }
        };
        world.travel(server).await;
        self.pool.still_works(self.link).await?;
        seen
    }

    /// Writes a key. What has been sent is carried out even if nobody waits for it any longer.
    pub(crate) async fn write(
        &self,
        key: Key,
        operation: usize,
    ) -> Result<(Version, Served), Failure> {
        let (pool, link) = (self.pool.clone(), self.link);
        let sent = tokio::spawn(async move {
            let (world, server) = (&pool.world, link.server);
            world.travel(server).await;
            pool.still_works(link).await?;
            if pool.opened_for == RouterRole::Replica {
                return Err(Failure::ReadOnly);
            }
            let version = world.write(server, key, operation);
            let version = version.ok_or(Failure::ReadOnly)?;
            let role = world.state().servers[server].role();
            world.travel(server).await;
            pool.still_works(link).await?;
            let server = ServerId(server as u32);
            Ok((version, Served { server, role }))
        });
        sent.await.unwrap()
    }
}

impl Backend for Pool {
    type Error = Failure;
    type Connection = Connection;
    type Probe = Monitored;

    fn refused(_: RouteError) -> Failure {
        Failure::Refused
    }

    /// One that lies in the pool is asked whether it is still there; else another one is opened.
    async fn acquire(&self) -> Result<Connection, Failure> {
        {
            let now = self.world.elapsed();
            let state = &mut *self.world.state();
            let server = &mut state.servers[state.addresses[self.address].server];
            server.wanted += 1;
            server.wanted_last = now;
        }
        let place = match &self.places {
            // It is never closed.
            Some(places) => Some(Arc::clone(places).acquire_owned().await.unwrap()),
            None => None,
        };
        loop {
            let idle = self.world.state().addresses[self.address].idle[self.process].pop();
            let reached = self.world.reach(self.address, idle).await;
            match (reached, idle) {
                (Ok(link), _) => {
                    return Ok(Connection {
                        pool: self.clone(),
                        link,
                        _place: place,
                    });
                }
                (Err(()), Some(_)) => {}
                (Err(()), None) => {
                    // A refusal takes a round trip, or who tries again at once would do so for ever in no time.
                    time::sleep(Duration::from_millis(1)).await;
                    return Err(Failure::Unconnected);
                }
            }
        }
    }

    fn pressure(&self) -> Pressure {
        let (in_use, idle, max) = match (&self.places, self.world.shape().connections) {
            (Some(places), Some(most)) => {
                let free = places.available_permits().min(most);
                (most - free, free, most)
            }
            _ => (2, 3, 10_000),
        };
        Pressure {
            in_use: in_use as u32,
            idle: idle as u32,
            waiting: None,
            max: max as u32,
        }
    }

    fn fault(failure: &Failure) -> Fault {
        match failure {
            Failure::Refused => Fault::Other,
            Failure::Unconnected | Failure::Broken => Fault::Unavailable,
            Failure::ReadOnly => Fault::ReadOnly,
            Failure::Conflict => Fault::Conflict,
        }
    }

    async fn open_probe(&self) -> Result<Monitored, Failure> {
        self.world.travel(self.server()).await;
        let reached = self.world.reach(self.address, None).await;
        let link = reached.map_err(|()| Failure::Unconnected)?;
        let pool = self.clone();
        Ok(Monitored { pool, link })
    }

    async fn ask(monitored: &mut Monitored, question: &Question) -> Result<Answer, Failure> {
        let Monitored { pool, link } = monitored;
        let (world, link) = (&pool.world, *link);
        world.travel(link.server).await;
        world.answer_slowly(link.server).await;
        pool.still(link).await?;
        let answer = match answers::told_to_wait(question) {
            Some(told) => pool.waited(told, link).await?,
            None if answers::told_to_flush(question) => {
                world.flush(link.server);
                answers::of_flushing()
            }
            None => {
                let mut state = world.state();
                answers::of_server(world, &mut state, link.server, question)
            }
        };
        world.travel(link.server).await;
        pool.still(link).await?;
        Ok(answer)
    }
}
