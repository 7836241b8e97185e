//! A process's pool to one server: the router's backend.

use std::fmt;
use std::time::Duration;

use dbrouter::{Answer, Backend, Fault, Pressure, Question, Role as RouterRole, RouteError};
use dbrouter_tests::history::{Key, Role, Served, ServerId, Version};
use tokio::time;

use crate::world::World;

/// One process's way to one server.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    world: World,
    server: usize,
    process: usize,
    /// Connections to replicas are read-only, and stay so.
    opened_for: RouterRole,
}

/// A connection, back in its pool when it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    pool: Pool,
    incarnation: u64,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut state = self.pool.world.state();
        state.servers[self.pool.server].idle[self.pool.process].push(self.incarnation);
    }
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
    UnknownStatement,
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
        server: usize,
        process: usize,
        opened_for: RouterRole,
    ) -> Self {
        Self {
            world: world.clone(),
            server,
            process,
            opened_for,
        }
    }

    /// The same for a server that is something else now.
    pub(crate) fn reopened(&self, role: RouterRole) -> Self {
        Self {
            opened_for: role,
            ..self.clone()
        }
    }

    fn answer(&self, identifies: bool) -> Answer {
        let mut guard = self.world.state();
        let state = &mut *guard;
        let place = self.world.place(state, self.server);
        let server = &state.servers[self.server];
        let standby = server.standby;
        let flushed = state.log.flushed(server.timeline, self.world.elapsed());
        let location = |position: u64| Some(format!("{:X}/{:X}", position >> 32, position as u32));
        let of = |role: bool, value: Option<String>| value.filter(|_| role == standby);
        let number = server.timeline + 1;
        let columns = [
            Some(standby.to_string()),
            of(true, location(place.position)),
            of(false, location(place.position)),
            of(false, location(flushed)),
            of(false, Some(format!("{number:08X}"))),
            Some("16MB".to_owned()),
            Some("200ms".to_owned()),
            Some("7301".to_owned()).filter(|_| identifies),
            of(true, Some(number.to_string())).filter(|_| identifies || server.streams),
            Some(match self.world.shape().waits {
                true => "190000".to_owned(),
                false => "180004".to_owned(),
            })
            .filter(|_| identifies),
        ];
        columns.into_iter().collect()
    }

    /// Waits as it is told, and says how that ended.
    async fn waited(&self, sql: &str, incarnation: u64) -> Result<Answer, Failure> {
        let (position, limit) = told(sql);
        let end = time::Instant::now() + limit;
        let status = loop {
            let (standby, shown) = {
                let mut state = self.world.state();
                let place = self.world.place(&mut state, self.server);
                (state.servers[self.server].standby, place.position)
            };
            if !standby {
                break "not in recovery";
            } else if shown >= position {
                break "success";
            } else if time::Instant::now() >= end {
                break "timeout";
            }
            time::sleep(Duration::from_millis(2)).await;
            self.still(incarnation).await?;
        };
        Ok([Some(status.to_owned())].into_iter().collect())
    }

    async fn still(&self, incarnation: u64) -> Result<(), Failure> {
        let reached = self.world.reach(self.server, Some(incarnation)).await;
        reached.map(drop).map_err(|()| Failure::Broken)
    }
}

/// The position and the time of `WAIT FOR LSN '0/A0' WITH (MODE 'standby_replay', TIMEOUT '100ms', NO_THROW)`.
fn told(sql: &str) -> (u64, Duration) {
    let mut quoted = sql.split('\'').skip(1).step_by(2);
    let (high, low) = quoted.next().unwrap().split_once('/').unwrap();
    let [high, low] = [high, low].map(|half| u64::from_str_radix(half, 16).unwrap());
    let limit = quoted.nth(1).unwrap().strip_suffix("ms").unwrap();
    let limit = Duration::from_millis(limit.parse().unwrap());
    (high << 32 | low, limit)
}

impl Connection {
    /// What the server shows of a key, and what it is.
    pub(crate) async fn read(&self, key: Key) -> Result<(Version, Served), Failure> {
        let Pool { world, server, .. } = &self.pool;
        world.travel(*server).await;
        self.pool.still(self.incarnation).await?;
        let seen = {
            let mut guard = world.state();
            let state = &mut *guard;
            // Not while there may be no other node for the read.
            let may_fail = state.has_known_primary(world.elapsed());
            let conflict = state.servers[*server].standby && may_fail && state.random.u8(..) < 2;
            let place = world.place(state, *server);
            let served = Served {
                server: ServerId(*server as u32),
                role: state.servers[*server].role(),
            };
            match conflict {
                true => Err(Failure::Conflict),
                false => Ok((state.log.version(place, key), served)),
            }
        };
        world.travel(*server).await;
        self.pool.still(self.incarnation).await?;
        seen
    }

    /// Writes a key. What has been sent is carried out even if nobody waits for it any longer.
    pub(crate) async fn write(
        &self,
        key: Key,
        operation: usize,
    ) -> Result<(Version, Served), Failure> {
        let (pool, incarnation) = (self.pool.clone(), self.incarnation);
        let sent = tokio::spawn(async move {
            let Pool {
                world,
                server,
                opened_for,
                ..
            } = &pool;
            world.travel(*server).await;
            pool.still(incarnation).await?;
            if *opened_for == RouterRole::Replica {
                return Err(Failure::ReadOnly);
            }
            let version = world.write(*server, key, operation);
            let version = version.ok_or(Failure::ReadOnly)?;
            world.travel(*server).await;
            pool.still(incarnation).await?;
            let server = ServerId(*server as u32);
            let role = Role::Primary;
            Ok((version, Served { server, role }))
        });
        sent.await.unwrap()
    }
}

impl Backend for Pool {
    type Error = Failure;
    type Connection = Connection;

    fn refused(_: RouteError) -> Failure {
        Failure::Refused
    }

    /// One that lies in the pool is asked whether it is still there; else another one is opened.
    async fn acquire(&self) -> Result<Connection, Failure> {
        {
            let now = self.world.elapsed();
            let server = &mut self.world.state().servers[self.server];
            server.wanted += 1;
            server.wanted_last = now;
        }
        loop {
            let idle = self.world.state().servers[self.server].idle[self.process].pop();
            let reached = self.world.reach(self.server, idle).await;
            match (reached, idle) {
                (Ok(incarnation), _) => {
                    let pool = self.clone();
                    return Ok(Connection { pool, incarnation });
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
        Pressure {
            in_use: 2,
            idle: 3,
            waiting: None,
            max: 10_000,
        }
    }

    fn fault(failure: &Failure) -> Fault {
        match failure {
            Failure::Refused | Failure::UnknownStatement => Fault::Other,
            Failure::Unconnected | Failure::Broken => Fault::Unavailable,
            Failure::ReadOnly => Fault::ReadOnly,
            Failure::Conflict => Fault::Conflict,
        }
    }

    async fn ask(&self, _: &Question) -> Result<Answer, Failure> {
        Err(Failure::UnknownStatement)
    }

    /// On a connection of its own, which is opened again when it has broken.
    async fn probe(&self, question: &Question) -> Result<Answer, Failure> {
        let known = {
            let mut state = self.world.state();
            let server = &mut state.servers[self.server];
            let known = &mut server.monitors[self.process];
            std::mem::replace(known, 0)
        };
        self.world.travel(self.server).await;
        let known = Some(known).filter(|known| *known > 0);
        let reached = self.world.reach(self.server, known).await;
        let incarnation = reached.map_err(|()| Failure::Unconnected)?;
        let sql = question.sql();
        let answer = match sql.starts_with("WAIT FOR") {
            true => self.waited(sql, incarnation).await?,
            false => self.answer(sql.contains("system_identifier")),
        };
        self.world.travel(self.server).await;
        self.still(incarnation).await?;
        self.world.state().servers[self.server].monitors[self.process] = incarnation;
        Ok(answer)
    }
}
