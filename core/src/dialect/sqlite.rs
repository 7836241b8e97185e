//! SQLite: one file, many connections. A reader that begins after a commit sees it, so there is no
//! lag to speak of; what all nodes have in common is the file itself.

use super::{Answer, AnswerError, LogStanding, Question, Report};
use crate::vocabulary::Fault;

pub(super) const IDENTIFY: Question = Question::new(
    "SELECT file FROM pragma_database_list WHERE name = 'main'",
    1,
);

pub(super) const LOCATE: Question = Question::new("SELECT NULL", 1);

/// An in-memory database has no file, and so nothing that a second node could share.
pub(super) fn read(answer: &Answer) -> Result<Report, AnswerError> {
    Ok(Report {
        role: None,
        identity: answer
            .column(0)
            .filter(|file| !file.is_empty())
            .map(str::to_owned),
        waits: None,
        server: None,
        database: None,
        standing: LogStanding::Shared,
    })
}

// SQLite's primary result codes (sqlite.org/rescode.html).
const ERROR: u32 = 1;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const READONLY: u32 = 8;
const IO_ERROR: u32 = 10;
const CANNOT_OPEN: u32 = 14;
/// The schema changed again and again while the statement was prepared anew.
const SCHEMA: u32 = 17;
/// Several connections raced for the locks of the write-ahead log.
const PROTOCOL: u32 = 15;

/// By result code: the lower byte is the primary one, the rest says more.
pub(super) fn fault(code: &str, message: &str) -> Fault {
    match code.parse().unwrap_or(0) & 0xFF {
        BUSY | LOCKED | PROTOCOL => Fault::Busy,
        READONLY => Fault::ReadOnly,
        IO_ERROR | CANNOT_OPEN => Fault::Unavailable,
        SCHEMA => Fault::Prepared,
        // A temporary table, an attached database, a function: the writer may have it.
        ERROR if message.starts_with("no such ") => Fault::Missing,
        _ => Fault::Other,
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_code_says_whose_fault_an_error_is() {
        for (fault_of_it, codes) in [
            // The last one is SQLITE_BUSY_SNAPSHOT.
            (Fault::Busy, &["5", "6", "15", "517"][..]),
            (Fault::ReadOnly, &["8", "1032"]),
            (Fault::Unavailable, &["10", "14", "266"]),
            (Fault::Prepared, &["17"]),
            (
                Fault::Other,
                &[
                    "0", "1", "3", "7", "9", "11", "13", "18", "19", "20", "23", "26", "x",
                ],
            ),
        ] {
            for code in codes {
                assert_eq!(fault(code, "a message"), fault_of_it, "{code}");
            }
        }
        assert_eq!(fault("1", "no such table: orders"), Fault::Missing);
    }
}
