//! What the servers say that they have written: a trigger notes each write, and which server it was, in a table that is
//! replicated with it.

use std::collections::HashMap;
use std::time::Duration;

use dbrouter::Dialect;

use super::server;
use crate::Result;
use crate::conformance::{Site, Subject};
use crate::history::{Key, Operation, Outcome, ServerId, Version};

/// What the server says that it has written.
pub(super) struct Written {
    key: Key,
    version: Version,
    by: Option<ServerId>,
}

/// A promotion of a server that had not all that its predecessor had.
pub(super) struct Loss {
    pub(super) at: Duration,
    pub(super) survived: HashMap<Key, Version>,
}

impl Loss {
    fn takes(&self, operation: &Operation, version: Version) -> bool {
        let kept = self.survived.get(&operation.key);
        self.at >= operation.begin && kept.is_none_or(|kept| version > *kept)
    }
}

/// From now on each write is noted.
pub(super) async fn keep<S: Subject>(site: &Site<S>) -> Result<()> {
    let table = "create table written (id int, version bigint, port int)";
    site.execute(0, table).await?;
    // Ports are the servers' own: they do not know of proxies.
    let statements: &[&str] = match S::DATABASE {
        Dialect::MariaDb => &["create trigger note after update on kv for each row \
                               insert into written values (new.id, new.version, @@port)"],
        _ => &[
            "create function note() returns trigger language plpgsql as $$ begin \
             insert into written values (new.id, new.version, inet_server_port()); return null; end $$",
            "create trigger note after update on kv for each row execute function note()",
        ],
    };
    for statement in statements {
        site.administer(0, statement).await?;
    }
    Ok(())
}

/// All that the server shows to have been written.
pub(super) async fn read<S: Subject>(site: &Site<S>, number: usize) -> Result<Vec<Written>> {
    let ports = [site.port(0)?, site.port(1)?, site.port(2)?].map(i64::from);
    let rows = site
        .numbers(number, "select id, version, port from written")
        .await?;
    let written = rows.into_iter().map(|[id, version, port]| Written {
        key: Key(u64::try_from(id).unwrap_or_default()),
        version: Version(u64::try_from(version).unwrap_or_default()),
        by: ports.iter().position(|known| *known == port).map(server),
    });
    Ok(written.collect())
}

/// What a server shows of all keys that were ever written.
pub(super) async fn versions<S: Subject>(
    site: &Site<S>,
    number: usize,
) -> Result<HashMap<Key, Version>> {
    let rows = site
        .numbers(number, "select id, version from kv where version > 0")
        .await?;
    let versions = rows.into_iter().map(|[id, version]| {
        let (id, version) = (u64::try_from(id)?, u64::try_from(version)?);
        Ok((Key(id), Version(version)))
    });
    versions.collect()
}

/// Where the servers' log contradicts what clients were told.
pub(super) fn contradictions(
    operations: &[Operation],
    written: &[Written],
    losses: &[Loss],
) -> Vec<String> {
    let mut found = Vec::new();
    let mut by = HashMap::new();
    for row in written {
        let (key, version) = (row.key, row.version);
        if by.insert((key, version), row.by).is_some() {
            found.push(format!(
                "version {} of key {} was written twice",
                version.0, key.0
            ));
        }
    }
    for operation in operations {
        let Outcome::Wrote(version) = operation.outcome else {
            continue;
        };
        let server = operation.served.map(|served| served.server);
        match by.get(&(operation.key, version)) {
            Some(by) if *by == server => {}
            Some(by) => {
                let by = by.map_or("none of them".to_owned(), |by| format!("server {}", by.0));
                found.push(format!("it was {by} that has written: {operation}"));
            }
            None if losses.iter().any(|loss| loss.takes(operation, version)) => {}
            None => found.push(format!("no server has written: {operation}")),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Role, Served, SessionId};

    const KEY: Key = Key(7);

    /// Server 0 has acknowledged this version, in the second of that number.
    fn wrote(version: u64) -> Operation {
        Operation {
            session: SessionId(1),
            key: KEY,
            begin: Duration::from_secs(version),
            end: Duration::from_secs(version + 1),
            served: Some(Served {
                server: server(0),
                role: Role::Primary,
            }),
            outcome: Outcome::Wrote(Version(version)),
        }
    }

    fn row(version: u64, by: usize) -> Written {
        Written {
            key: KEY,
            version: Version(version),
            by: Some(server(by)),
        }
    }

    fn loss(at: u64, survived: u64) -> Loss {
        Loss {
            at: Duration::from_secs(at),
            survived: HashMap::from([(KEY, Version(survived))]),
        }
    }

    #[test]
    fn what_was_acknowledged_was_written_once_and_there() {
        let operations = [wrote(1), wrote(2)];
        let found = |rows: &[Written]| contradictions(&operations, rows, &[]);
        assert_eq!(found(&[row(1, 0), row(2, 0)]), Vec::<String>::new());
        let twice = found(&[row(1, 0), row(2, 0), row(2, 0)]);
        assert!(twice.len() == 1 && twice[0].contains("twice"), "{twice:?}");
        let elsewhere = found(&[row(1, 0), row(2, 1)]);
        let expected = "it was server 1 that has written: 2s to 3s";
        assert!(
            elsewhere.len() == 1 && elsewhere[0].starts_with(expected),
            "{elsewhere:?}"
        );
        let missing = found(&[row(2, 0)]);
        let expected = "no server has written: 1s to 2s";
        assert!(
            missing.len() == 1 && missing[0].starts_with(expected),
            "{missing:?}"
        );
    }

    #[test]
    fn what_is_missing_died_with_its_server() {
        let found = |losses: &[Loss]| contradictions(&[wrote(5)], &[], losses).len();
        assert_eq!(found(&[loss(9, 4)]), 0);
        assert_eq!(found(&[loss(3, 2)]), 1, "it was lost before it was written");
        assert_eq!(found(&[loss(9, 5)]), 1, "it had survived");
    }
}
