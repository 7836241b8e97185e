//! PostgreSQL's own view of the standbys that stream from the primary.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Discover, DiscoverError, DiscoverErrorKind, Endpoint, Pace, Servers};
use crate::dialect::{Answer, Dialect, Question};
use crate::vocabulary::Role;

/// PostgreSQL's own view of the standbys that stream from the primary: `pg_stat_replication`.
///
/// The primary is asked. It shows the address that a standby *connected from*, and nothing of where it listens. So by
/// default a standby is taken to listen at that address and at the [template's](crate::Builder::discover_template)
/// port, which holds where each server has an address of its own, and neither a proxy nor a translation of addresses
/// is in between. Elsewhere the standbys say it themselves, in `application_name` ([`by_application_name`]), or a
/// [closure](Self::endpoints) knows. Standbys that connect through a Unix socket have no address and are left out.
///
/// The router's user needs `pg_read_all_stats`, which is part of `pg_monitor`; without it the server shows who is
/// there, but nothing of them, and that is an error. Only physical standbys that stream or catch up are taken:
/// subscribers and backups are in the view as well. What else streams, such as `pg_receivewal`, is taken for a
/// standby that does not answer, unless a closure leaves it out.
///
/// [`by_application_name`]: Self::by_application_name
#[must_use]
pub struct Standbys {
    pace: Pace,
    linger: Duration,
    seen: Vec<(Standby, Instant)>,
    endpoints: Arc<Endpoints>,
}

type Endpoints = dyn Fn(&Standby) -> Option<Endpoint> + Send + Sync;

/// A standby as the primary shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standby {
    /// The name that it gave itself: `application_name` in its `primary_conninfo`, or else its `cluster_name`, or
    /// else `walreceiver`.
    pub application_name: String,
    /// The address that it connected from; `None` if that was a Unix socket.
    pub client_addr: Option<String>,
    /// The name of that address, if the primary's `log_hostname` is on.
    pub client_hostname: Option<String>,
}

impl Standbys {
    /// The standbys at the addresses that they connect from, asked for every 30 s.
    pub fn new() -> Self {
        Self {
            pace: Pace::every(Duration::from_secs(30)),
            linger: Duration::from_secs(60),
            seen: Vec::new(),
            endpoints: Arc::new(|standby: &Standby| {
                Some(Endpoint::host(standby.client_addr.as_deref()?, None))
            }),
        }
    }

    /// The standbys where their `application_name` says that they are: `host:port`, or `host` alone with the
    /// template's port. On the standby: `primary_conninfo = 'host=… application_name=10.0.0.7:5432'`. (The primary's
    /// `synchronous_standby_names` then knows it by that name as well.)
    pub fn by_application_name() -> Self {
        Self::new().endpoints(|standby| {
            let name = standby.application_name.as_str();
            let place = match name.rsplit_once(':') {
                Some((host, port)) if !host.is_empty() => (host, Some(port.parse().ok()?)),
                _ => (name, None),
            };
            Some(Endpoint::host(place.0.trim_matches(['[', ']']), place.1))
        })
    }

    /// How often the primary is asked. Defaults to every 30 s.
    pub fn every(mut self, interval: Duration) -> Self {
        self.pace.set_interval(interval);
        self
    }

    /// By which share of itself an interval is stretched at most, at random. Defaults to 0.1.
    pub fn jitter(mut self, share: f64) -> Self {
        self.pace = self.pace.jitter(share);
        self
    }

    /// The seed of its random numbers, for tests. Defaults to one that differs each time.
    pub fn seed(mut self, seed: u64) -> Self {
        self.pace = self.pace.seed(seed);
        self
    }

    /// For how long a standby that the primary no longer shows is still taken to be there. Defaults to 60 s: after a
    /// restart of the primary its standbys come back one after the other, within `wal_retrieve_retry_interval`, 5 s
    /// by default, and none of them was ever gone. Until then the router's monitor sees to it that one which really
    /// is gone, or no longer follows, is not read from.
    pub fn linger(mut self, time: Duration) -> Self {
        self.linger = time;
        self
    }

    /// Which node a standby is; `None` if it is none. Its role is known. Defaults to the address that it connects
    /// from.
    pub fn endpoints(
        mut self,
        endpoints: impl Fn(&Standby) -> Option<Endpoint> + Send + Sync + 'static,
    ) -> Self {
        self.endpoints = Arc::new(endpoints);
        self
    }

    /// Takes in who is there now.
    fn see(&mut self, standbys: Vec<Standby>, now: Instant) {
        self.seen.retain(|(standby, seen)| {
            now.duration_since(*seen) < self.linger && !standbys.contains(standby)
        });
        self.seen
            .extend(standbys.into_iter().map(|standby| (standby, now)));
    }
}

impl Default for Standbys {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Standbys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standbys")
            .field("pace", &self.pace)
            .field("linger", &self.linger)
            .finish_non_exhaustive()
    }
}

impl Discover for Standbys {
    async fn next(&mut self, servers: &Servers) -> Result<Vec<Endpoint>, DiscoverError> {
        self.pace.due().await;
        if servers.dialect() != Dialect::Postgres {
            let problem = format!(
                "{} has no pg_stat_replication; PostgreSQL has",
                servers.dialect()
            );
            return Err(DiscoverError::new(DiscoverErrorKind::Unsupported, problem));
        }
        let standbys = read(&servers.ask_primary(&QUESTION).await?)?;
        let shown = standbys.len();
        self.see(standbys, Instant::now());
        let set: Vec<_> = self
            .seen
            .iter()
            .filter_map(|(standby, _)| (self.endpoints)(standby))
            .map(|endpoint| endpoint.role(Role::Replica))
            .collect();
        if set.is_empty() {
            let problem =
                format!("of {shown} standbys that stream from the primary none says where it is");
            return Err(DiscoverError::empty(problem));
        }
        self.pace.rest();
        Ok(set)
    }
}

/// Physical replication belongs to no database. Neither separator can be in a name, which the server takes only
/// printable characters of.
const QUESTION: Question = Question::new(
    "SELECT pg_is_in_recovery()::text, \
     count(*)::text, \
     (count(*) FILTER (WHERE r.state IS NULL))::text, \
     string_agg(concat(r.application_name, chr(9), host(r.client_addr), chr(9), r.client_hostname), chr(10) \
     ORDER BY r.application_name, r.client_addr) FILTER (WHERE r.state IN ('streaming', 'catchup')) \
     FROM pg_stat_replication r LEFT JOIN pg_stat_activity a ON a.pid = r.pid WHERE a.datid IS NULL",
    4,
);

fn read(answer: &Answer) -> Result<Vec<Standby>, DiscoverError> {
    let column = |index| answer.column(index).unwrap_or_default();
    if column(0) != "false" {
        let problem = "the server that was asked for its standbys is no primary";
        return Err(DiscoverError::new(DiscoverErrorKind::Answer, problem));
    }
    if column(2) != "0" {
        let problem = "the router's user may not see the standbys; grant it pg_read_all_stats";
        return Err(DiscoverError::new(DiscoverErrorKind::Privilege, problem));
    }
    if column(3).is_empty() {
        let problem = match column(1) {
            "0" => "no standby is connected to the primary",
            _ => "no standby streams from the primary yet",
        };
        return Err(DiscoverError::empty(problem));
    }
    column(3).split('\n').map(standby).collect()
}

fn standby(line: &str) -> Result<Standby, DiscoverError> {
    let mut fields = line.split('\t');
    let mut field = || fields.next().map(str::to_owned);
    let (Some(application_name), Some(address), Some(hostname), None) =
        (field(), field(), field(), field())
    else {
        let problem = format!("the primary describes a standby as {line:?}, not in three fields");
        return Err(DiscoverError::new(DiscoverErrorKind::Answer, problem));
    };
    Ok(Standby {
        application_name,
        client_addr: Some(address).filter(|address| !address.is_empty()),
        client_hostname: Some(hostname).filter(|hostname| !hostname.is_empty()),
    })
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    fn answer(columns: [Option<&str>; 4]) -> Answer {
        columns
            .into_iter()
            .map(|column| column.map(str::to_owned))
            .collect()
    }

    fn shown(lines: &str) -> Result<Vec<Standby>, DiscoverError> {
        let count = lines.lines().count().to_string();
        read(&answer([
            Some("false"),
            Some(&count),
            Some("0"),
            Some(lines),
        ]))
    }

    #[test]
    fn standbys_are_read() {
        let standbys =
            shown("walreceiver\t10.0.0.7\t\nlocal\t\t\nnamed\tfd00::7\tpg-2.internal").unwrap();
        let fields: Vec<_> = standbys
            .iter()
            .map(|standby| {
                let name = standby.application_name.as_str();
                (
                    name,
                    standby.client_addr.as_deref(),
                    standby.client_hostname.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            fields,
            [
                ("walreceiver", Some("10.0.0.7"), None),
                ("local", None, None),
                ("named", Some("fd00::7"), Some("pg-2.internal")),
            ]
        );
    }

    #[test]
    fn what_cannot_be_is_an_error_and_never_an_empty_set() {
        use DiscoverErrorKind::{Answer, Empty, Privilege};
        for (columns, kind) in [
            ([Some("true"), Some("1"), Some("0"), Some("a\t\t")], Answer),
            ([None, None, None, None], Answer),
            ([Some("false"), Some("2"), Some("2"), None], Privilege),
            (
                [Some("false"), Some("2"), Some("1"), Some("a\t\t")],
                Privilege,
            ),
            ([Some("false"), Some("0"), Some("0"), None], Empty),
            ([Some("false"), Some("1"), Some("0"), None], Empty),
            ([Some("false"), Some("1"), Some("0"), Some("a")], Answer),
            (
                [Some("false"), Some("1"), Some("0"), Some("a\tb\tc\td")],
                Answer,
            ),
        ] {
            assert_eq!(
                read(&answer(columns)).unwrap_err().kind(),
                kind,
                "{columns:?}"
            );
        }
    }

    #[test]
    fn a_name_may_be_a_place() {
        let by_name = Standbys::by_application_name();
        let place = |name: &str| {
            (by_name.endpoints)(&Standby {
                application_name: name.to_owned(),
                client_addr: None,
                client_hostname: None,
            })
        };
        assert_eq!(place("pg-2:5433"), Some(Endpoint::host("pg-2", Some(5433))));
        assert_eq!(place("pg-2"), Some(Endpoint::host("pg-2", None)));
        assert_eq!(
            place("[fd00::7]:5433"),
            Some(Endpoint::host("fd00::7", Some(5433)))
        );
        assert_eq!(place("pg-2:many"), None);
    }

    #[test]
    fn a_standby_lingers() {
        let begun = Instant::now();
        let mut source = Standbys::new().linger(Duration::from_secs(60));
        let there = |source: &Standbys| -> Vec<String> {
            let seen = source.seen.iter();
            seen.map(|(standby, _)| standby.application_name.clone())
                .collect()
        };
        source.see(shown("a\t10.0.0.1\t\nb\t10.0.0.2\t").unwrap(), begun);
        source.see(
            shown("a\t10.0.0.1\t").unwrap(),
            begun + Duration::from_secs(59),
        );
        assert_eq!(there(&source), ["b", "a"]);
        source.see(
            shown("a\t10.0.0.1\t").unwrap(),
            begun + Duration::from_secs(60),
        );
        assert_eq!(there(&source), ["a"]);
    }
}
