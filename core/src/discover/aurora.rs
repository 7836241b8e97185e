//! Aurora's table of the cluster's instances.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Discover, DiscoverError, DiscoverErrorKind, Endpoint, Pace, Servers};
use crate::dialect::{Answer, Dialect, Question};
use crate::vocabulary::Role;

/// Aurora's table of the cluster's instances: the function `aurora_replica_status()` in Aurora PostgreSQL, the table
/// `information_schema.replica_host_status` in Aurora MySQL.
///
/// **Not tested on Aurora.** The question and the reading of its answer are tested on a function and a table of those
/// names and columns, after the [user guide] and the queries of AWS' own drivers. Whether the router's monitor can
/// prove anything fresh there is another question: Aurora's readers share the writer's storage and replay no log of
/// their own, and where a reader does not answer `pg_last_wal_replay_lsn()` it is not used for causal reads.
///
/// The table shows instances by their names, so their hosts are made of a pattern. Every instance says of itself when
/// it was last heard of; one that was not for five minutes is left out, as AWS' drivers do. The writer is in the
/// table too, and known to be it.
///
/// [user guide]: https://docs.aws.amazon.com/AmazonRDS/latest/AuroraUserGuide/aurora_replica_status.html
#[must_use]
pub struct Aurora {
    pace: Pace,
    stale: Duration,
    endpoints: Arc<Endpoints>,
}

type Endpoints = dyn Fn(&Instance) -> Option<Endpoint> + Send + Sync;

/// An instance as the table shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// Its name: the first part of its endpoint.
    pub server_id: String,
    /// Whether it is the writer.
    pub role: Role,
    /// How long ago the table last heard of it, if it says so.
    pub age: Option<Duration>,
}

impl Aurora {
    /// The instances whose endpoints are like `?.abc123.eu-west-1.rds.amazonaws.com`, where an instance's name takes
    /// the place of the question mark. (Without one, the name and a dot are put before it.)
    pub fn new(pattern: impl Into<String>) -> Self {
        let pattern = pattern.into();
        Self {
            pace: Pace::every(Duration::from_secs(30)),
            stale: Duration::from_secs(300),
            endpoints: Arc::new(move |instance: &Instance| {
                let name = &instance.server_id;
                let host = match pattern.contains('?') {
                    true => pattern.replacen('?', name, 1),
                    false => format!("{name}.{pattern}"),
                };
                Some(Endpoint::host(host, None).name(name))
            }),
        }
    }

    /// How often the table is read. Defaults to every 30 s, as AWS' drivers do.
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

    /// A reader that the table has not heard of for so long is not there. Defaults to five minutes.
    pub fn stale_after(mut self, age: Duration) -> Self {
        self.stale = age;
        self
    }

    /// Which node an instance is; `None` if it is none. Its role is known. Defaults to what the pattern makes of it,
    /// under its own name.
    pub fn endpoints(
        mut self,
        endpoints: impl Fn(&Instance) -> Option<Endpoint> + Send + Sync + 'static,
    ) -> Self {
        self.endpoints = Arc::new(endpoints);
        self
    }

    /// What is asked, for those who want to see by hand what their cluster answers.
    ///
    /// # Errors
    ///
    /// If Aurora has no such servers.
    pub fn question(dialect: Dialect) -> Result<Question, DiscoverError> {
        match dialect {
            Dialect::Postgres => Ok(POSTGRES),
            Dialect::MariaDb => Ok(MYSQL),
            Dialect::Sqlite => {
                let problem = format!("there is no Aurora for {dialect}");
                Err(DiscoverError::new(DiscoverErrorKind::Unsupported, problem))
            }
        }
    }

    fn set(&self, instances: &[Instance]) -> Result<Vec<Endpoint>, DiscoverError> {
        let heard_of = |instance: &&Instance| {
            instance.role == Role::Primary || instance.age.is_none_or(|age| age <= self.stale)
        };
        let set: Vec<_> = instances
            .iter()
            .filter(heard_of)
            .filter_map(|instance| Some((self.endpoints)(instance)?.role(instance.role)))
            .collect();
        match set.is_empty() {
            true => {
                let problem = format!("of {} instances none is a node", instances.len());
                Err(DiscoverError::empty(problem))
            }
            false => Ok(set),
        }
    }
}

impl fmt::Debug for Aurora {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aurora")
            .field("pace", &self.pace)
            .field("stale", &self.stale)
            .finish_non_exhaustive()
    }
}

impl Discover for Aurora {
    async fn next(&mut self, servers: &Servers) -> Result<Vec<Endpoint>, DiscoverError> {
        self.pace.due().await;
        let question = Self::question(servers.dialect())?;
        let set = self.set(&read(&servers.ask_any(&question).await?)?)?;
        self.pace.rest();
        Ok(set)
    }
}

/// The age is in whole seconds. Names of instances are letters, digits and hyphens.
const POSTGRES: Question = Question::new(
    "SELECT count(*)::text, string_agg(concat(server_id, ' ', \
     CASE session_id WHEN 'MASTER_SESSION_ID' THEN 'w' ELSE 'r' END, ' ', \
     trunc(extract(epoch FROM now() - last_update_timestamp))), ',' ORDER BY server_id) \
     FROM aurora_replica_status()",
    2,
);

/// As long as the server's `group_concat_max_len` allows, so the count is asked for as well.
const MYSQL: Question = Question::new(
    "SELECT CAST(COUNT(*) AS CHAR), CAST(GROUP_CONCAT(server_id, ' ', \
     IF(session_id = 'MASTER_SESSION_ID', 'w', 'r'), ' ', \
     COALESCE(TIMESTAMPDIFF(SECOND, last_update_timestamp, NOW()), '') \
     ORDER BY server_id SEPARATOR ',') AS CHAR) \
     FROM information_schema.replica_host_status",
    2,
);

fn read(answer: &Answer) -> Result<Vec<Instance>, DiscoverError> {
    let wrong = |problem: String| DiscoverError::new(DiscoverErrorKind::Answer, problem);
    let list = answer.column(1).unwrap_or_default();
    if list.is_empty() {
        return Err(DiscoverError::empty("the table has no instance"));
    }
    let instances = list
        .split(',')
        .map(|entry| {
            instance(entry).ok_or_else(|| wrong(format!("the table has {entry:?} for an instance")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let count = answer.column(0).unwrap_or_default();
    if count != instances.len().to_string() {
        let problem = format!(
            "the table has {count} instances, and the answer {}; raise group_concat_max_len",
            instances.len()
        );
        return Err(wrong(problem));
    }
    Ok(instances)
}

fn instance(entry: &str) -> Option<Instance> {
    let mut fields = entry.split(' ');
    let (name, role, age) = (fields.next()?, fields.next()?, fields.next()?);
    if name.is_empty() || fields.next().is_some() {
        return None;
    }
    let role = match role {
        "w" => Role::Primary,
        "r" => Role::Replica,
        _ => return None,
    };
    // Clocks of two instances may differ: what was heard of in the future was heard of now.
    let age = match age.strip_prefix('-').unwrap_or(age) {
        "" => None,
        seconds => {
            let seconds = seconds.parse().ok()?;
            Some(Duration::from_secs(if age.starts_with('-') {
                0
            } else {
                seconds
            }))
        }
    };
    Some(Instance {
        server_id: name.to_owned(),
        role,
        age,
    })
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    fn answer(count: &str, list: Option<&str>) -> Answer {
        [Some(count.to_owned()), list.map(str::to_owned)]
            .into_iter()
            .collect()
    }

    #[test]
    fn instances_are_read_and_those_that_are_gone_left_out() {
        let list = "a-1 w 900,a-2 r 1,a-3 r 301,a-4 r ,a-5 r -2";
        let instances = read(&answer("5", Some(list))).unwrap();
        let set = Aurora::new("?.abc.eu-west-1.rds.amazonaws.com")
            .set(&instances)
            .unwrap();
        let wanted = |name: &str, role| {
            let host = format!("{name}.abc.eu-west-1.rds.amazonaws.com");
            Endpoint::host(host, None).name(name).role(role)
        };
        assert_eq!(
            set,
            [
                wanted("a-1", Role::Primary),
                wanted("a-2", Role::Replica),
                wanted("a-4", Role::Replica),
                wanted("a-5", Role::Replica),
            ]
        );
        let plain = Aurora::new("abc.eu-west-1.rds.amazonaws.com").set(&instances);
        assert_eq!(plain.unwrap(), set);
        assert_eq!(instances[2].age, Some(Duration::from_secs(301)));
        assert_eq!(instances[3].age, None);
    }

    #[test]
    fn what_cannot_be_is_an_error_and_never_a_smaller_set() {
        use DiscoverErrorKind::{Answer, Empty};
        for (count, list, kind) in [
            ("0", None, Empty),
            ("0", Some(""), Empty),
            // Cut off by `group_concat_max_len`, at an entry's end or within one.
            ("3", Some("a w 1,b r 1"), Answer),
            ("2", Some("a w 1,b"), Answer),
            ("1", Some("a x 1"), Answer),
            ("1", Some("a r soon"), Answer),
            ("1", Some(" r 1"), Answer),
            ("1", Some("a r 1 1"), Answer),
        ] {
            assert_eq!(
                read(&answer(count, list)).unwrap_err().kind(),
                kind,
                "{list:?}"
            );
        }
        let all_stale = read(&answer("1", Some("a r 999"))).unwrap();
        let set = Aurora::new("x").set(&all_stale);
        assert_eq!(set.unwrap_err().kind(), Empty);
    }
}
