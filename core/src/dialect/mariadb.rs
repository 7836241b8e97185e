//! MariaDB: positions are GTIDs, one for each replication domain, such as `0-1-42`: domain, the server that
//! wrote the event, and the event's number.
//!
//! The primary's is what it has written to its binary log: a commit is logged before it is acknowledged. The
//! replica's is what it has applied. Numbers of two servers' histories do not compare: a replica that a
//! failover left behind may have applied more events than the new primary has written, and none of its. So
//! the server that wrote the last event of the cluster's own domain names the history.
//!
//! A replica must be `read_only`, as MariaDB's manual asks of it: nothing else that an application's user may
//! see tells a replica from a primary. Clusters are told apart by `gtid_domain_id`, for want of anything
//! better.

use std::time::Duration;

use super::{Answer, AnswerError, LogStanding, Position, Question, Report, Timeline, Written};
use crate::vocabulary::{Fault, Role};

macro_rules! server {
    () => {
        "CONCAT_WS(' ', @@GLOBAL.server_id, @@GLOBAL.hostname, @@GLOBAL.port, @@GLOBAL.datadir)"
    };
}

/// Which server it is costs nothing extra. Replication asks of all servers of one cluster to have different
/// ids, but two clusters may use the same ones, so the id alone does not name a server.
pub(super) const LOCATE: Question = Question::new(
    concat!(
        "SELECT CAST(@@GLOBAL.read_only AS CHAR), CAST(@@GLOBAL.gtid_domain_id AS CHAR), ",
        "CAST(@@GLOBAL.gtid_binlog_pos AS CHAR), CAST(@@GLOBAL.gtid_slave_pos AS CHAR), ",
        server!(),
        ", IFNULL(DATABASE(), '')",
    ),
    6,
);

/// Which server it is, as [`LOCATE`] asks it among other things.
pub(super) const SERVER: &str = concat!("SELECT ", server!());

/// Of each GTID only the domain and the number are compared; who wrote it does not matter.
pub(super) fn wait(domains: &[(u32, u64)], limit: Duration) -> Question {
    let gtids: Vec<_> = domains
        .iter()
        .map(|(domain, sequence)| format!("{domain}-0-{sequence}"))
        .collect();
    let sql = format!(
        "SELECT CAST(MASTER_GTID_WAIT('{}', {}) AS CHAR)",
        gtids.join(","),
        limit.as_secs_f64(),
    );
    Question::once(sql, 1)
}

/// It has come so far, or the time was up.
pub(super) fn has_waited(answer: &Answer) -> bool {
    matches!(answer.column(0), Some("0" | "-1"))
}

pub(super) fn read(answer: &Answer) -> Result<Report, AnswerError> {
    let read_only = !matches!(answer.required(0, "read_only")?, "0" | "OFF");
    let domain = answer.required(1, "gtid_domain_id")?;
    let home = domain
        .parse()
        .map_err(|_| AnswerError::new("gtid_domain_id", domain, "a number"))?;
    let (role, standing) = match read_only {
        true => {
            let (timeline, domains) = position(answer, 3, "gtid_slave_pos", home)?;
            let position = (!domains.is_empty()).then_some(Position::Domains(domains));
            let timeline = Some(timeline);
            (Role::Replica, LogStanding::Replayed { timeline, position })
        }
        false => {
            let (timeline, domains) = position(answer, 2, "gtid_binlog_pos", home)?;
            let position = Position::Domains(domains);
            let written = Written {
                inserted: position.clone(),
                flushed: position,
                flush_delay: Duration::ZERO,
            };
            (Role::Primary, LogStanding::Written { timeline, written })
        }
    };
    Ok(Report {
        role: Some(role),
        identity: Some(format!("gtid_domain_id {home}")),
        waits: Some(true),
        server: answer.column(4).map(str::to_owned),
        database: answer.column(5).map(str::to_owned),
        standing,
    })
}

/// The GTIDs in a column, by domain, and the history that the one of the domain `home` belongs to.
fn position(
    answer: &Answer,
    index: usize,
    name: &'static str,
    home: u32,
) -> Result<(Timeline, Vec<(u32, u64)>), AnswerError> {
    let text = answer.required(index, name)?;
    let wrong = || AnswerError::new(name, text, "GTIDs such as 0-1-42, separated by commas");
    let mut writer = 0;
    let mut domains = Vec::new();
    for gtid in text
        .split(',')
        .map(str::trim)
        .filter(|gtid| !gtid.is_empty())
    {
        let (domain, server, sequence) = parse(gtid).ok_or_else(wrong)?;
        if domain == home {
            writer = server;
        }
        domains.push((domain, sequence));
    }
    Ok((Timeline::Writer(writer), domains))
}

fn parse(gtid: &str) -> Option<(u32, u64, u64)> {
    let mut parts = gtid.splitn(3, '-');
    let mut part = || parts.next();
    Some((
        part()?.parse().ok()?,
        part()?.parse().ok()?,
        part()?.parse().ok()?,
    ))
}

/// By error number (mariadb.com/kb/en/mariadb-error-codes); from 2000 to 2999 they are the client's.
pub(super) fn fault(code: &str, message: &str) -> Fault {
    match code.parse().unwrap_or(0) {
        // The server shuts down or keeps this client out, or the connection was killed or broken; the client could
        // not connect, or lost the connection.
        1053
        | 1080
        | 1129
        | 1152
        | 1154
        | 1156..=1161
        | 1184
        | 1927
        | 2001..=2003
        | 2005
        | 2006
        | 2009
        | 2012
        | 2013
        | 2026
        | 2055 => Fault::Unavailable,
        // Too many connections, of all or of this user; no thread for one; too many prepared statements.
        1040 | 1135 | 1203 | 1226 | 1461 => Fault::Busy,
        // `--read-only`, and other options that forbid a statement.
        1290 if message.contains("read-only") => Fault::ReadOnly,
        // A transaction, a whole server, or a storage engine that only reads.
        1792 | 1836 | 1874 => Fault::ReadOnly,
        1290 => Fault::Unsupported,
        // A lock that replication holds, too. A table that replication changed under a snapshot.
        1020 | 1205 | 1213 | 1412 | 1689 => Fault::Conflict,
        // A prepared statement that the server does not know, or whose tables changed again and again.
        1243 | 1615 => Fault::Prepared,
        number if NOT_REPLAYED.contains(&number) => Fault::Missing,
        _ => Fault::Other,
    }
}

/// What a replica may raise only because it has not replayed a change yet that the statement relies on: of a schema, a
/// function, a privilege, an account, a collation, a partition or a time zone. Errors that the text of a statement,
/// its parameters or its rows decide alone are not among them.
const NOT_REPLAYED: [u32; 79] = [
    // Privileges and accounts, at login as well.
    1044, 1045, 1130, 1141, 1142, 1143, 1147, 1227, 1345, 1370, 1403, 1449, 1698, 1820, 1862, 1873,
    1959, 4150, 4151,
    // Databases, tables, views, columns, indexes, partitions, sequences and periods; also what a view refers to, and
    // columns that are ambiguous, or too many, until one of them is dropped.
    1029, 1049, 1051, 1052, 1054, 1055, 1109, 1146, 1176, 1191, 1222, 1241, 1347, 1356, 1735, 1747,
    4089, 4090, 4091, 4092, 4156,
    // Functions and what they raise; variables and plugins; types and operators.
    1106, 1128, 1193, 1305, 1318, 1327, 1339, 1524, 1582, 1630, 1644, 4078, 4079, 4161, 4162,
    // Character sets, collations, time zones and locales.
    1115, 1253, 1267, 1270, 1271, 1273, 1298, 1649,
    // Storage engines, their files, and foreign servers.
    1016, 1017, 1030, 1033, 1034, 1168, 1194, 1195, 1286, 1429, 1430, 1431, 1477, 1812, 1814, 1932,
];

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    fn answer(columns: [&str; 4]) -> Answer {
        let who = ["1 db-1 3306 /var/lib/mysql/", "shop"];
        columns
            .into_iter()
            .chain(who)
            .map(|text| Some(text.to_owned()))
            .collect()
    }

    #[test]
    fn a_primary_reports_what_it_logged() {
        let report = read(&answer(["0", "0", "0-2-42,7-9-5", ""])).unwrap();
        assert_eq!(report.role, Some(Role::Primary));
        let server = "1 db-1 3306 /var/lib/mysql/";
        assert_eq!(report.server.as_deref(), Some(server));
        assert_eq!(report.database.as_deref(), Some("shop"));
        let LogStanding::Written { timeline, written } = report.standing else {
            panic!("{report:?}");
        };
        assert_eq!(timeline, Timeline::Writer(2));
        assert_eq!(written.inserted, Position::Domains(vec![(0, 42), (7, 5)]));
    }

    #[test]
    fn a_replica_reports_what_it_applied() {
        let report = read(&answer(["1", "0", "0-3-1", "0-2-41"])).unwrap();
        assert_eq!(report.role, Some(Role::Replica));
        let expected = LogStanding::Replayed {
            timeline: Some(Timeline::Writer(2)),
            position: Some(Position::Domains(vec![(0, 41)])),
        };
        assert_eq!(report.standing, expected);
    }

    #[test]
    fn each_domain_must_be_covered() {
        let here = Position::Domains(vec![(0, 42), (7, 5)]);
        for (there, covered) in [
            (vec![], true),
            (vec![(0, 42)], true),
            (vec![(0, 43)], false),
            (vec![(7, 5), (0, 1)], true),
            (vec![(1, 1)], false),
        ] {
            assert_eq!(
                here.covers(&Position::Domains(there.clone())),
                covered,
                "{there:?}"
            );
        }
        assert!(!here.covers(&Position::Log(0)));
    }

    #[test]
    fn nonsense_is_an_error_that_names_the_column() {
        for (columns, column) in [
            (["0", "0", "0-1", ""], "gtid_binlog_pos"),
            (["1", "0", "", "0-1-x"], "gtid_slave_pos"),
            (["0", "none", "", ""], "gtid_domain_id"),
        ] {
            let error = read(&answer(columns)).unwrap_err().to_string();
            assert!(error.contains(column), "{error}");
        }
    }

    #[test]
    fn each_number_says_whose_fault_an_error_is() {
        use Fault::{Busy, Conflict, Missing, Other, Prepared, ReadOnly, Unavailable, Unsupported};
        let table: [(Fault, &[u32]); 8] = [
            (
                Unavailable,
                &[
                    1053, 1080, 1129, 1152, 1154, 1156, 1157, 1158, 1159, 1160, 1161, 1184, 1927,
                    2002, 2003, 2005, 2006, 2012, 2013, 2026, 2055,
                ],
            ),
            (Busy, &[1040, 1135, 1203, 1226, 1461]),
            (ReadOnly, &[1792, 1836, 1874]),
            (Unsupported, &[1290]),
            (Conflict, &[1020, 1205, 1213, 1412, 1689]),
            (Prepared, &[1243, 1615]),
            (
                Missing,
                &[
                    1016, 1030, 1034, 1044, 1045, 1049, 1051, 1052, 1054, 1055, 1109, 1115, 1128,
                    1130, 1141, 1142, 1143, 1146, 1147, 1176, 1191, 1193, 1194, 1222, 1227, 1241,
                    1253, 1267, 1270, 1271, 1273, 1286, 1298, 1305, 1318, 1327, 1339, 1345, 1347,
                    1356, 1370, 1429, 1449, 1477, 1524, 1582, 1630, 1644, 1649, 1698, 1735, 1747,
                    1812, 1820, 1873, 1932, 1959, 4078, 4079, 4089, 4091, 4092, 4151, 4156, 4161,
                    4162,
                ],
            ),
            (
                Other,
                &[
                    0, 1021, 1037, 1038, 1041, 1046, 1047, 1048, 1062, 1063, 1064, 1065, 1105,
                    1114, 1153, 1162, 1210, 1221, 1235, 1242, 1264, 1292, 1295, 1317, 1365, 1366,
                    1390, 1406, 1411, 1451, 1452, 1568, 1583, 1690, 1835, 1969, 2014, 2027, 3024,
                    3140, 4038,
                ],
            ),
        ];
        for (expected, numbers) in table {
            for number in numbers {
                assert_eq!(
                    fault(&number.to_string(), "a message"),
                    expected,
                    "{number}"
                );
            }
        }
        assert_eq!(fault("nonsense", ""), Other);
    }

    #[test]
    fn only_one_of_the_forbidding_options_makes_a_server_read_only() {
        let message = "The MariaDB server is running with the --read-only option so it cannot \
                       execute this statement";
        assert_eq!(fault("1290", message), Fault::ReadOnly);
        assert_eq!(fault("1290", "--secure-file-priv"), Fault::Unsupported);
    }
}
