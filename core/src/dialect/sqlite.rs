//! SQLite: one file, many connections. A reader that begins after a commit sees it, so there is no
//! lag to speak of; what all nodes have in common is the file itself.

use super::{Answer, AnswerError, LogStanding, Question, Report};

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
        standing: LogStanding::Shared,
    })
}
