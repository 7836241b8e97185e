//! What servers answer to the monitor's questions, column by column, in the order in which each dialect asks for them.

use std::time::Duration;

use dbrouter::{Answer, Dialect, Question};

use crate::log::{Log, Place};
use crate::world::{Shape, State, World};

impl Shape {
    /// Whose servers they are.
    pub(crate) fn dialect(&self) -> Dialect {
        match self.mariadb {
            true => Dialect::MariaDb,
            false => Dialect::Postgres,
        }
    }
}

/// What a replica is told to wait for, and how long at most; `None` if the question is another one.
pub(crate) fn told_to_wait(question: &Question) -> Option<(u64, Duration)> {
    let sql = question.sql();
    let mut quoted = sql.split('\'').skip(1).step_by(2);
    if sql.starts_with("WAIT FOR LSN") {
        // `WAIT FOR LSN '0/A0' WITH (MODE 'standby_replay', TIMEOUT '100ms', NO_THROW)`
        let (high, low) = quoted.next()?.split_once('/')?;
        let [high, low] = [high, low].map(|half| u64::from_str_radix(half, 16).ok());
        let limit = quoted.nth(1)?.strip_suffix("ms")?.parse().ok()?;
        Some((high? << 32 | low?, Duration::from_millis(limit)))
    } else if sql.contains("MASTER_GTID_WAIT(") {
        // `SELECT CAST(MASTER_GTID_WAIT('0-0-42', 0.1) AS CHAR)`
        let count = quoted.next()?.rsplit('-').next()?.parse().unwrap_or(0);
        let limit = sql.split(", ").nth(1)?.split(')').next()?.parse().ok()?;
        Some((Log::position(count), Duration::from_secs_f64(limit)))
    } else {
        None
    }
}

/// What a replica that was told to wait says in the end.
pub(crate) fn of_waiting(shape: &Shape, has_come: bool) -> Answer {
    let text = match (shape.mariadb, has_come) {
        (true, true) => "0",
        (true, false) => "-1",
        (false, true) => "success",
        (false, false) => "timeout",
    };
    [Some(text.to_owned())].into_iter().collect()
}

/// Whether the server is told to flush its log.
pub(crate) fn told_to_flush(question: &Question) -> bool {
    question.sql().contains("pg_logical_emit_message")
}

/// What a server says that has flushed its log.
pub(crate) fn of_flushing() -> Answer {
    [None, Some("0/1".to_owned())].into_iter().collect()
}

/// What a server says of itself.
pub(crate) fn of_server(
    world: &World,
    state: &mut State,
    index: usize,
    question: &Question,
) -> Answer {
    let place = world.place(state, index);
    match world.shape().mariadb {
        true => of_mariadb(state, index, place),
        false => {
            let flushed = state.log.flushed(place.timeline, world.elapsed());
            let identifies = question.sql().contains("system_identifier");
            of_postgres(world.shape(), state, index, place, flushed, identifies)
        }
    }
}

fn of_postgres(
    shape: Shape,
    state: &State,
    index: usize,
    place: Place,
    flushed: u64,
    identifies: bool,
) -> Answer {
    let server = &state.servers[index];
    let standby = server.standby;
    let location = |position: u64| Some(format!("{:X}/{:X}", position >> 32, position as u32));
    let of = |role: bool, value: Option<String>| value.filter(|_| role == standby);
    let number = state.log.number(server.timeline);
    let columns = [
        Some(standby.to_string()),
        of(true, location(place.position)),
        of(false, location(place.position)),
        of(false, location(flushed)),
        of(false, Some(format!("{number:08X}"))),
        Some("16MB".to_owned()),
        Some("200ms".to_owned()),
        Some(state.identity_of(index)).filter(|_| identifies),
        of(true, Some(number.to_string())).filter(|_| identifies || server.streams),
        Some(match shape.waits {
            true => "190000".to_owned(),
            false => "180004".to_owned(),
        })
        .filter(|_| identifies),
        Some(format!("{}.{index} 5432 ", server.starts)),
        Some("shop".to_owned()).filter(|_| identifies),
    ];
    columns.into_iter().collect()
}

fn of_mariadb(state: &State, index: usize, place: Place) -> Answer {
    let server = &state.servers[index];
    let domain = state.identity_of(index);
    let id = |writer: usize| 1 + writer;
    let (writer, count) = state.log.gtid(place);
    let gtid = format!("{domain}-{}-{count}", id(writer));
    let read_only = if server.is_writable() { "0" } else { "1" };
    let applied = if server.standby && !server.forked {
        gtid.clone()
    } else {
        String::new()
    };
    let columns = [
        read_only.to_owned(),
        domain,
        gtid,
        applied,
        format!("{} db-{index} 3306 /var/lib/mysql/", id(index)),
        "shop".to_owned(),
    ];
    columns.into_iter().map(Some).collect()
}
