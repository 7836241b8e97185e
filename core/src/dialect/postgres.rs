//! PostgreSQL: positions are write-ahead log locations.
//!
//! The position that proves freshness at once is the *insert* position: with `synchronous_commit=off`
//! a commit is acknowledged before it is written or flushed. It has two traps. At a page boundary it
//! already counts the next page's header, which no replay position reaches on an idle system; so it is
//! brought back to the end of the last record. And what nobody flushes does not travel; so the flush
//! position is asked for as well, together with the setting that bounds how far it may be behind; and the primary can be
//! made to flush.
//!
//! Positions of two timelines do not compare: a standby of a primary that was replaced may have replayed
//! further than the new primary has written, and lack its writes. Who a standby is therefore includes its
//! timeline: what it receives, where the role may see that (`pg_read_all_stats`, part of `pg_monitor`), and
//! else what its control file says, which lags until the standby's next restartpoint. A standby only
//! receives a timeline that its own past leads to.

use std::time::Duration;

use super::{Answer, AnswerError, LogStanding, Position, Question, Report, Timeline, Written};
use crate::vocabulary::{Fault, Role};

const COLUMNS: usize = 12;

/// The first version that knows `WAIT FOR`, as `server_version_num` has it.
const WAITS: u32 = 190_000;

// All servers of a cluster have one identity, but no two of them were started in the same microsecond.
macro_rules! server {
    () => {
        "pg_catalog.concat(extract(epoch FROM pg_catalog.pg_postmaster_start_time()), ' ', \
         pg_catalog.current_setting('port'), ' ', pg_catalog.current_setting('cluster_name'))"
    };
}

/// Which server it is, as [`IDENTIFY`] and [`LOCATE`] ask it among other things.
pub(super) const SERVER: &str = concat!("SELECT ", server!());

// Every function is named with its schema: a `search_path` may put the application's own in front.
macro_rules! question {
    ($identity:literal, $timeline:literal, $version:literal, $database:literal) => {
        Question::new(
            concat!(
                "SELECT pg_catalog.pg_is_in_recovery()::pg_catalog.text, ",
                "CASE WHEN pg_catalog.pg_is_in_recovery() ",
                "THEN pg_catalog.pg_last_wal_replay_lsn()::pg_catalog.text END, ",
                "CASE WHEN pg_catalog.pg_is_in_recovery() ",
                "THEN NULL ELSE pg_catalog.pg_current_wal_insert_lsn()::pg_catalog.text END, ",
                "CASE WHEN pg_catalog.pg_is_in_recovery() ",
                "THEN NULL ELSE pg_catalog.pg_current_wal_flush_lsn()::pg_catalog.text END, ",
                "CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL ELSE pg_catalog.substr(",
                "pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END, ",
                "pg_catalog.current_setting('wal_segment_size'), ",
                "pg_catalog.current_setting('wal_writer_delay'), ",
                $identity,
                ", ",
                $timeline,
                ", ",
                $version,
                ", ",
                server!(),
                ", ",
                $database,
            ),
            COLUMNS,
        )
    };
}

pub(super) const IDENTIFY: Question = question!(
    "(SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system())",
    "(SELECT greatest(timeline_id, min_recovery_end_timeline, \
      (SELECT received_tli FROM pg_catalog.pg_stat_wal_receiver))::pg_catalog.text \
      FROM pg_catalog.pg_control_checkpoint(), pg_catalog.pg_control_recovery())",
    "pg_catalog.current_setting('server_version_num')",
    "pg_catalog.current_database()::pg_catalog.text"
);

pub(super) const LOCATE: Question = question!(
    "NULL::pg_catalog.text",
    "(SELECT received_tli::pg_catalog.text FROM pg_catalog.pg_stat_wal_receiver)",
    "NULL::pg_catalog.text",
    "NULL::pg_catalog.text"
);

/// A transaction that writes to the log flushes all of it when it commits, whatever the WAL writer does. `local` does not
/// wait for synchronous standbys, and overrides a default of `off`.
pub(super) const FLUSH: Question = Question::new(
    "SELECT pg_catalog.set_config('synchronous_commit', 'local', true), \
     pg_catalog.pg_logical_emit_message(true, 'dbrouter', '')::pg_catalog.text",
    2,
);

/// It needs no snapshot, so it keeps nothing from being cleaned up. Without `NO_THROW`, a time limit that is
/// reached would be an error.
pub(super) fn wait(position: u64, limit: Duration) -> Question {
    let sql = format!(
        "WAIT FOR LSN '{:X}/{:X}' WITH (MODE 'standby_replay', TIMEOUT '{}ms', NO_THROW)",
        position >> 32,
        position & u64::from(u32::MAX),
        limit.as_millis().max(1),
    );
    Question::once(sql, 1)
}

/// The other answer is that it is not in recovery.
pub(super) fn has_waited(answer: &Answer) -> bool {
    matches!(answer.column(0), Some("success" | "timeout"))
}

pub(super) fn read(answer: &Answer) -> Result<Report, AnswerError> {
    let in_recovery = match answer.required(0, "pg_is_in_recovery")? {
        "true" | "t" => true,
        "false" | "f" => false,
        other => {
            return Err(AnswerError::new(
                "pg_is_in_recovery",
                other,
                "true or false",
            ));
        }
    };
    let standing = if in_recovery {
        standby(answer)?
    } else {
        written(answer)?
    };
    Ok(Report {
        role: Some(if in_recovery {
            Role::Replica
        } else {
            Role::Primary
        }),
        identity: answer.column(7).map(str::to_owned),
        waits: answer
            .column(9)
            .map(|version| version.parse().is_ok_and(|version: u32| version >= WAITS)),
        server: answer.column(10).map(str::to_owned),
        database: answer.column(11).map(str::to_owned),
        standing,
    })
}

fn standby(answer: &Answer) -> Result<LogStanding, AnswerError> {
    let replay = |text| location("pg_last_wal_replay_lsn", text).map(Position::Log);
    let number = |text: &str| {
        let wrong = |_| AnswerError::new("min_recovery_end_timeline", text, "a number");
        text.parse().map(Timeline::Numbered).map_err(wrong)
    };
    let timeline = answer.column(8).map(number).transpose()?;
    let position = answer.column(1).map(replay).transpose()?;
    Ok(LogStanding::Replayed { timeline, position })
}

fn written(answer: &Answer) -> Result<LogStanding, AnswerError> {
    let insert = "pg_current_wal_insert_lsn";
    let inserted = location(insert, answer.required(2, insert)?)?;
    let flush = "pg_current_wal_flush_lsn";
    // The server looks at this position later than at the other, and may have written in between. What is
    // inserted by then is flushed up to the earlier of the two in any case.
    let flushed = location(flush, answer.required(3, flush)?)?.min(inserted);
    let file = answer.required(4, "timeline")?;
    let timeline = u64::from_str_radix(file, 16)
        .map_err(|_| AnswerError::new("timeline", file, "eight hexadecimal digits"))?;
    let segment = segment_size(answer.required(5, "wal_segment_size")?)?;
    let delay = duration(answer.required(6, "wal_writer_delay")?)?;
    let written = Written {
        inserted: Position::Log(end_of_last_record(inserted, segment)),
        flushed: Position::Log(end_of_last_record(flushed, segment)),
        flush_delay: Written::flush_bound(delay),
    };
    Ok(LogStanding::Written {
        timeline: Timeline::Numbered(timeline),
        written,
    })
}

/// By SQLSTATE (appendix A of PostgreSQL's manual). The words of some messages tell apart what has one code; where
/// the server speaks another language than English, such an error is taken for the graver of the two.
pub(super) fn fault(code: &str, message: &str) -> Fault {
    let says = |words: &[&str]| words.iter().any(|words| message.contains(words));
    match code {
        // The server was shut down, has crashed or is starting up, or it closed an idle connection.
        "57P01" | "57P02" | "57P03" | "57P05" => Fault::Unavailable,
        // Too many connections: of all, of the database, or of the role.
        "53300" => Fault::Busy,
        "25006" => Fault::ReadOnly,
        // A conflict with recovery, as an error or as a deadlock. A lock that replay holds. A database that replay
        // drops. A snapshot that is too old.
        "40001" | "40P01" | "55P03" | "57P04" | "72000" => Fault::Conflict,
        // A hot standby refuses every statement at this isolation level. It is the connection's, not the statement's.
        "0A000" if says(&["serializable mode in a hot standby"]) => Fault::Conflict,
        // A prepared statement that is older than a change of its tables, that the server does not know, or whose name
        // somebody else has given to another one, as behind a pooler.
        "0A000" if says(&["cached plan must not change result type"]) => Fault::Prepared,
        "26000" | "42P05" => Fault::Prepared,
        // A materialized view that is not filled yet.
        "55000" if says(&["has not been populated"]) => Fault::Missing,
        // What recovery does not allow, not every time as a read-only transaction.
        "0A000" | "55000" => Fault::Unsupported,
        // An internal error is never translated. Unless it is about recovery, the catalog has changed under the
        // statement ("cache lookup failed for type"), or the server's files or its program are broken.
        "XX000" if says(&["during recovery"]) => Fault::Unsupported,
        // The statement breaks the protocol, such as one without a value for a parameter. PgBouncer has no code but
        // this one for its own errors.
        "08P01" if says(&POOLER_FULL) => Fault::Busy,
        "08P01" if says(&POOLER_WITHOUT_SERVER) => Fault::Unavailable,
        "08P01" => Fault::Other,
        code if may_be_missing(code) => Fault::Missing,
        // Connection exceptions, which a pooler or a load balancer in front of the server reports.
        code if code.starts_with("08") => Fault::Unavailable,
        _ => Fault::Other,
    }
}

/// What PgBouncer says when it has no room, under the code of a protocol violation.
const POOLER_FULL: [&str; 2] = ["no more connections allowed", "query_wait_timeout"];

/// What PgBouncer says when it has no server, under the code of a protocol violation.
const POOLER_WITHOUT_SERVER: [&str; 5] = [
    "pgbouncer cannot connect to server",
    "server login has been failing",
    "server conn crashed",
    "server closed the connection",
    "client_idle_timeout",
];

/// Whether a replica may raise this error only because it has not replayed a change yet that the statement relies on:
/// of a schema, a type or its values, a function, an extension, a privilege, a role or a setting. Errors that the
/// text of a statement, its parameters or its rows decide alone are not among them.
fn may_be_missing(code: &str) -> bool {
    NOT_REPLAYED.contains(&code)
        || NOT_REPLAYED_CLASSES
            .iter()
            .any(|class| code.starts_with(class))
            && !OF_THE_TEXT.contains(&code)
}

const NOT_REPLAYED: [&str; 17] = [
    // A value that its type does not know: a new label of an enum, a column that was widened, a format that a setting
    // decides, an argument that a new version of a function knows.
    "22003", "22007", "22008", "22023", "22P02", "22P03",
    // A domain's constraint that was dropped; a function's own error, which its next version may not have.
    "20000", "23502", "23514", "P0001",
    // A role or a database that does not exist here, or may not do that here; a schema.
    "0P000", "28000", "28P01", "3D000", "3F000",
    // A foreign server that cannot be reached from here.
    "08001", "08003",
];

/// Objects that are not there, are of another kind, or may not be used. Foreign data. The server's files, an
/// extension's library among them, and its internal errors.
const NOT_REPLAYED_CLASSES: [&str; 4] = ["42", "HV", "58", "XX"];

/// What the text alone decides in those classes: syntax, names, aliases, cursors, parameters, prepared statements.
const OF_THE_TEXT: [&str; 9] = [
    "42601", "42602", "42622", "42712", "42939", "42P02", "42P03", "42P05", "42P19",
];

/// `16/B374D848` as an offset.
fn location(column: &'static str, text: &str) -> Result<u64, AnswerError> {
    let parsed = text.split_once('/').and_then(|(high, low)| {
        let high = u32::from_str_radix(high, 16).ok()?;
        let low = u32::from_str_radix(low, 16).ok()?;
        Some(u64::from(high) << 32 | u64::from(low))
    });
    parsed.ok_or_else(|| AnswerError::new(column, text, "a log location such as 16/B374D848"))
}

/// A position just behind a page's header, brought back to the end of the record before it. Pages
/// are 8 kB; their header has 24 bytes, and 40 at the beginning of a segment.
fn end_of_last_record(position: u64, segment: u64) -> u64 {
    const PAGE: u64 = 8192;
    const PAGE_HEADER: u64 = 24;
    const SEGMENT_HEADER: u64 = 40;
    if position % segment == SEGMENT_HEADER {
        position - SEGMENT_HEADER
    } else if position % PAGE == PAGE_HEADER {
        position - PAGE_HEADER
    } else {
        position
    }
}

fn segment_size(text: &str) -> Result<u64, AnswerError> {
    let (number, unit) = quantity(text);
    let scale = match unit {
        "B" | "" => Some(1),
        "kB" => Some(1 << 10),
        "MB" => Some(1 << 20),
        "GB" => Some(1 << 30),
        _ => None,
    };
    let bytes = number
        .zip(scale)
        .and_then(|(number, scale)| number.checked_mul(scale));
    bytes
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| AnswerError::new("wal_segment_size", text, "a size such as 16MB"))
}

fn duration(text: &str) -> Result<Duration, AnswerError> {
    let (number, unit) = quantity(text);
    let scale = match unit {
        "us" => Some(Duration::from_micros(1)),
        "ms" | "" => Some(Duration::from_millis(1)),
        "s" => Some(Duration::from_secs(1)),
        "min" => Some(Duration::from_secs(60)),
        _ => None,
    };
    let number = number.and_then(|number| u32::try_from(number).ok());
    number
        .zip(scale)
        .and_then(|(number, scale)| scale.checked_mul(number))
        .ok_or_else(|| AnswerError::new("wal_writer_delay", text, "a time such as 200ms"))
}

fn quantity(text: &str) -> (Option<u64>, &str) {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    (number.parse().ok(), unit.trim())
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    fn answer(columns: [Option<&str>; COLUMNS]) -> Answer {
        columns
            .into_iter()
            .map(|column| column.map(str::to_owned))
            .collect()
    }

    #[test]
    fn a_primary_reports_what_it_wrote() {
        let report = read(&answer([
            Some("false"),
            None,
            Some("1/A0"),
            Some("0/FF"),
            Some("0000000B"),
            Some("16MB"),
            Some("200ms"),
            Some("7301"),
            None,
            Some("190000"),
            Some("1700000000.5 5432 "),
            Some("shop"),
        ]))
        .unwrap();
        assert_eq!(report.waits, Some(true));
        let written = Written {
            inserted: Position::Log((1 << 32) + 0xA0),
            flushed: Position::Log(0xFF),
            flush_delay: Duration::from_millis(600),
        };
        assert_eq!(report.role, Some(Role::Primary));
        assert_eq!(report.identity.as_deref(), Some("7301"));
        assert_eq!(report.server.as_deref(), Some("1700000000.5 5432 "));
        assert_eq!(report.database.as_deref(), Some("shop"));
        assert_eq!(
            report.standing,
            LogStanding::Written {
                timeline: Timeline::Numbered(11),
                written
            }
        );
    }

    /// The server evaluates the insert position first, so the flush position may be the later one.
    #[test]
    fn a_flush_position_beyond_the_insert_position_counts_as_that() {
        let mut columns = [None; COLUMNS];
        columns[0] = Some("false");
        columns[2] = Some("0/A0");
        columns[3] = Some("0/C0");
        columns[4] = Some("00000001");
        columns[5] = Some("16MB");
        columns[6] = Some("200ms");
        let LogStanding::Written { written, .. } = read(&answer(columns)).unwrap().standing else {
            panic!("it is a primary");
        };
        assert_eq!(written.inserted, Position::Log(0xA0));
        assert_eq!(written.flushed, Position::Log(0xA0));
    }

    #[test]
    fn a_standby_reports_what_it_replayed() {
        let standby = |replayed, timeline| {
            let settings = [Some("16MB"), Some("1s")];
            let columns = [
                Some("true"),
                replayed,
                None,
                None,
                None,
                settings[0],
                settings[1],
                None,
            ];
            let mut all = [None; COLUMNS];
            all[..8].copy_from_slice(&columns);
            all[8] = timeline;
            read(&answer(all)).unwrap().standing
        };
        let replayed = |position: Option<u64>, timeline: Option<u64>| LogStanding::Replayed {
            timeline: timeline.map(Timeline::Numbered),
            position: position.map(Position::Log),
        };
        assert_eq!(
            standby(Some("0/10"), Some("3")),
            replayed(Some(16), Some(3))
        );
        assert_eq!(standby(None, None), replayed(None, None));
    }

    #[test]
    fn each_code_says_whose_fault_an_error_is() {
        use Fault::{Busy, Conflict, Missing, Other, Prepared, ReadOnly, Unavailable, Unsupported};
        let table: [(Fault, &[&str]); 8] = [
            (
                Unavailable,
                &[
                    "08000", "08004", "08006", "08007", "57P01", "57P02", "57P03", "57P05",
                ],
            ),
            (Busy, &["53300"]),
            (ReadOnly, &["25006"]),
            (Prepared, &["26000", "42P05"]),
            (Conflict, &["40001", "40P01", "55P03", "57P04", "72000"]),
            (Unsupported, &["0A000", "55000"]),
            (
                Missing,
                &[
                    "08001", "08003", "0P000", "20000", "22003", "22007", "22008", "22023",
                    "22P02", "22P03", "23502", "23514", "28000", "28P01", "3D000", "3F000",
                    "42501", "42702", "42703", "42704", "42725", "42803", "42804", "42809",
                    "42846", "42883", "42P01", "42P18", "42P21", "42P22", "58030", "58P01",
                    "HV000", "HV00N", "P0001", "XX000", "XX001", "XX002",
                ],
            ),
            (
                Other,
                &[
                    "00000", "02000", "03000", "08P01", "09000", "21000", "22000", "22001",
                    "22012", "22021", "2201B", "2202E", "22P05", "23000", "23503", "23505",
                    "23P01", "24000", "25000", "25001", "25P01", "25P02", "25P03", "25P04",
                    "27000", "2D000", "34000", "39000", "3B001", "40000", "40002", "40003",
                    "42601", "42602", "42622", "42712", "42939", "42P02", "42P03", "42P19",
                    "44000", "53000", "53100", "53200", "53400", "54000", "54001", "54023",
                    "55006", "55P02", "57000", "57014", "F0000", "P0000", "P0002", "P0003",
                    "P0004", "", "nonsense",
                ],
            ),
        ];
        for (expected, codes) in table {
            for code in codes {
                assert_eq!(fault(code, "a message"), expected, "{code}");
            }
        }
    }

    #[test]
    fn where_one_code_has_several_meanings_the_message_decides() {
        use Fault::{Busy, Conflict, Missing, Other, Prepared, Unavailable, Unsupported};
        for (code, message, expected) in [
            (
                "0A000",
                "cannot use serializable mode in a hot standby",
                Conflict,
            ),
            (
                "0A000",
                "cannot access temporary or unlogged relations during recovery",
                Unsupported,
            ),
            ("0A000", "cached plan must not change result type", Prepared),
            ("55000", "recovery is in progress", Unsupported),
            (
                "55000",
                "materialized view \"sums\" has not been populated",
                Missing,
            ),
            ("XX000", "cache lookup failed for type 16390", Missing),
            ("XX000", "cannot assign OIDs during recovery", Unsupported),
            (
                "08P01",
                "bind message supplies 0 parameters, but prepared statement \"\" requires 1",
                Other,
            ),
            (
                "08P01",
                "no more connections allowed (max_client_conn)",
                Busy,
            ),
            ("08P01", "query_wait_timeout", Busy),
            ("08P01", "pgbouncer cannot connect to server", Unavailable),
            (
                "08P01",
                "server login has been failing, try again later (server_login_retry)",
                Unavailable,
            ),
        ] {
            assert_eq!(fault(code, message), expected, "{code}: {message}");
        }
    }

    #[test]
    fn positions_behind_a_header_are_brought_back() {
        const MB: u64 = 1 << 20;
        assert_eq!(end_of_last_record(5 * MB + 40, MB), 5 * MB);
        assert_eq!(end_of_last_record(5 * MB + 8192 + 24, MB), 5 * MB + 8192);
        assert_eq!(
            end_of_last_record(5 * MB + 8192 + 40, MB),
            5 * MB + 8192 + 40
        );
        assert_eq!(end_of_last_record(5 * MB + 100, MB), 5 * MB + 100);
        // The first page of a segment has the long header, and so no record at 24.
        assert_eq!(end_of_last_record(16 * MB + 40, 16 * MB), 16 * MB);
    }

    #[test]
    fn settings_are_read_with_their_units() {
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(segment_size("1MB"), Ok(1 << 20));
        assert_eq!(segment_size("64kB"), Ok(1 << 16));
    }

    #[test]
    fn a_replica_is_told_to_wait_in_its_own_words() {
        let question = wait((0x16 << 32) + 0xB374_D848, Duration::from_millis(100));
        assert_eq!(
            question.sql(),
            "WAIT FOR LSN '16/B374D848' WITH (MODE 'standby_replay', TIMEOUT '100ms', NO_THROW)"
        );
        assert!(!question.is_repeated() && LOCATE.is_repeated());
        for (status, waited) in [
            ("success", true),
            ("timeout", true),
            ("not in recovery", false),
        ] {
            let answer = [Some(status.to_owned())].into_iter().collect();
            assert_eq!(has_waited(&answer), waited);
        }
    }

    #[test]
    fn nonsense_is_an_error_that_names_the_column() {
        let mut columns = [None; COLUMNS];
        columns[0] = Some("maybe");
        let garbled = answer(columns);
        let error = read(&garbled).unwrap_err().to_string();
        assert_eq!(
            error,
            r#"the server answered pg_is_in_recovery = "maybe", not true or false"#
        );
        let empty: Answer = [].into_iter().collect();
        assert!(
            read(&empty)
                .unwrap_err()
                .to_string()
                .contains("lacks pg_is_in_recovery")
        );
        assert!(segment_size("0MB").is_err());
        assert!(duration("99999999999999999999s").is_err());
        assert!(location("x", "12").is_err());
    }
}
