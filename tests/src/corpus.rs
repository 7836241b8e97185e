//! The corpus: statements of three kinds of servers, and what each of them is.
//!
//! A line of `corpus/*.sql` that begins with `===` names the label of the statement that follows it,
//! with a remark after ` -- ` if there is one. The statement goes on up to the next such line, without
//! its last newline. What stands before the first of them is for people.

use std::fmt;

const MARK: &str = "===";

/// The tables and functions that the statements for PostgreSQL are about.
pub const POSTGRES_SETUP: &str = include_str!("../corpus/postgres.setup.sql");

/// The tables and functions that the statements for MySQL and MariaDB are about, in a database of their own.
/// It takes the superuser.
pub const MYSQL_SETUP: &str = include_str!("../corpus/mysql.setup.sql");

/// The tables that the statements for SQLite are about.
pub const SQLITE_SETUP: &str = include_str!("../corpus/sqlite.setup.sql");

/// One statement, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The line of its label.
    pub line: usize,
    /// What it is.
    pub label: Label,
    /// The statement.
    pub sql: String,
}

/// What a statement is, by someone who knows, and so what a classifier has to say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// A read, and to be known as one.
    Read,
    /// A read, and known to be taken for something else.
    ReadOnPrimary,
    /// Nothing that may ever be taken for a read.
    Write,
    /// A change of its session's state.
    State,
    /// A write that a replica refuses, although nothing in the text shows that it is one.
    Hidden,
}

/// The statements for PostgreSQL.
///
/// # Panics
///
/// The file must be well-formed, as for its siblings.
pub fn postgres() -> Vec<Entry> {
    parse("postgres.sql", include_str!("../corpus/postgres.sql"))
}

/// The statements for MySQL and MariaDB.
pub fn mysql() -> Vec<Entry> {
    parse("mysql.sql", include_str!("../corpus/mysql.sql"))
}

/// The statements for SQLite.
pub fn sqlite() -> Vec<Entry> {
    parse("sqlite.sql", include_str!("../corpus/sqlite.sql"))
}

impl Label {
    /// Whether the statement only reads.
    pub fn reads(self) -> bool {
        matches!(self, Self::Read | Self::ReadOnPrimary)
    }

    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "read" => Self::Read,
            "read on primary" => Self::ReadOnPrimary,
            "write" => Self::Write,
            "state" => Self::State,
            "hidden" => Self::Hidden,
            _ => return None,
        })
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Read => "read",
            Self::ReadOnPrimary => "read on primary",
            Self::Write => "write",
            Self::State => "state",
            Self::Hidden => "hidden",
        })
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, label, sql } = self;
        write!(f, "line {line} ({label}): {sql}")
    }
}

fn parse(file: &str, text: &str) -> Vec<Entry> {
    let mut entries: Vec<(Entry, Vec<&str>)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(mark) = line.strip_prefix(MARK) {
            let name = mark.split_once(" -- ").map_or(mark, |(name, _)| name);
            let label = Label::of(name.trim())
                .unwrap_or_else(|| panic!("{file}:{number}: {mark:?} begins with no label"));
            let entry = Entry {
                line: number,
                label,
                sql: String::new(),
            };
            entries.push((entry, Vec::new()));
        } else if let Some((_, lines)) = entries.last_mut() {
            lines.push(line);
        } else {
            let comment = line.is_empty() || line.starts_with("--");
            assert!(comment, "{file}:{number}: no label comes before {line:?}");
        }
    }
    assert!(!entries.is_empty(), "{file}: there is no statement in it");
    entries
        .into_iter()
        .map(|(entry, lines)| {
            let line = entry.line;
            assert!(!lines.is_empty(), "{file}:{line}: no statement follows");
            let sql = lines.join("\n");
            Entry { sql, ..entry }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::panic;

    use super::*;

    fn entry(line: usize, label: Label, sql: &str) -> Entry {
        let sql = sql.to_owned();
        Entry { line, label, sql }
    }

    #[test]
    fn statements_keep_their_text() {
        let text = "-- What it is.\n\n=== read\nSELECT 1\n=== write -- why not\n-- x\n\n  DELETE\n\
                    === state\n\n=== read on primary\nSELECT '=== no label'\n";
        let expected = [
            entry(3, Label::Read, "SELECT 1"),
            entry(5, Label::Write, "-- x\n\n  DELETE"),
            entry(9, Label::State, ""),
            entry(11, Label::ReadOnPrimary, "SELECT '=== no label'"),
        ];
        assert_eq!(parse("some.sql", text), expected);
    }

    #[test]
    fn malformed_files_are_told() {
        for (text, complaint) in [
            ("", "some.sql: there is no statement in it"),
            (
                "SELECT 1\n",
                "some.sql:1: no label comes before \"SELECT 1\"",
            ),
            (
                "=== raed\nSELECT 1\n",
                "some.sql:1: \" raed\" begins with no label",
            ),
            (
                "=== read\n=== write\nDELETE\n",
                "some.sql:1: no statement follows",
            ),
        ] {
            let panic = panic::catch_unwind(|| parse("some.sql", text)).expect_err(text);
            let message = panic.downcast_ref::<String>().expect("a message");
            assert_eq!(message, complaint);
        }
    }

    #[test]
    fn the_files_are_well_formed() {
        for (entries, least) in [(postgres(), 420), (mysql(), 150), (sqlite(), 150)] {
            assert!(entries.len() >= least, "{} statements", entries.len());
            let mut texts: Vec<_> = entries.iter().map(|entry| &entry.sql).collect();
            texts.sort_unstable();
            let twice = texts.windows(2).find(|pair| pair[0] == pair[1]);
            assert_eq!(twice, None, "the same statement twice");
        }
    }
}
