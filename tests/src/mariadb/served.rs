//! What the plugin `server_audit` writes down, which comes with the server: a line for each
//! statement when it has ended, with its user, its text and its error. The general query log knows
//! of no errors, and has statements that were sent together as one; the performance schema counts
//! no executions of prepared statements, which is what most statements are.

use std::{collections::HashMap, fs, io, path::PathBuf};

use super::{Node, StatementCount, number};
use crate::{Failure, Result};

/// How long an answered statement may take to be written down. Nothing waits for that long, but
/// beside a statement that has not been answered.
const WRITTEN_DOWN_MS: u32 = 2000;

impl Node {
    /// Counts from zero again.
    pub async fn forget_served(&self) -> Result<()> {
        self.wait_written_down().await?;
        Ok(forget(self)?)
    }

    /// Waits until everything that was answered is written down, which the server does after it
    /// answers.
    async fn wait_written_down(&self) -> Result<()> {
        let mut admin = self.admin().await?;
        let there = "SELECT count(*) FROM information_schema.plugins
                     WHERE plugin_name = 'SERVER_AUDIT' AND plugin_status = 'ACTIVE'";
        if number(&mut admin, there).await? == 0 {
            return Err(Failure::new("MariaDB lacks its plugin server_audit").into());
        }
        // Monitors that wait for a paused standby leave next to no moment without a statement.
        let idle = format!(
            "SELECT count(*) = 0 FROM information_schema.processlist
             WHERE user = 'app' AND command <> 'Sleep' AND time_ms < {WRITTEN_DOWN_MS}
             AND coalesce(info, '') NOT LIKE '%MASTER_GTID_WAIT(%'"
        );
        self.wait_until("finish its statements", &mut admin, &idle)
            .await
    }
}

/// What has the server write it down.
pub(super) fn settings(node: &Node) -> String {
    format!(
        "plugin-load-add = server_audit\n\
         loose-server-audit-logging = ON\n\
         loose-server-audit-events = QUERY\n\
         loose-server-audit-incl-users = app\n\
         loose-server-audit-query-log-limit = 1000000\n\
         loose-server-audit-file-rotations = 0\n\
         loose-server-audit-file-path = {}\n",
        journal(node).display()
    )
}

/// Empties the file. The server appends to it, wherever its end is.
pub(super) fn forget(node: &Node) -> io::Result<()> {
    node.account().write(&journal(node), "")
}

pub(super) async fn statement_counts(node: &Node) -> Result<Vec<StatementCount>> {
    node.wait_written_down().await?;
    let written = fs::read(journal(node))?;
    let mut calls: HashMap<String, i64> = HashMap::new();
    for text in String::from_utf8_lossy(&written)
        .lines()
        .filter_map(executed)
    {
        *calls.entry(without_constants(&text)).or_default() += 1;
    }
    let mut counts: Vec<_> = calls
        .into_iter()
        .map(|(text, calls)| StatementCount { text, calls })
        .collect();
    counts.sort_by(|one, other| (other.calls, &one.text).cmp(&(one.calls, &other.text)));
    Ok(counts)
}

fn journal(node: &Node) -> PathBuf {
    node.data().with_extension("audit")
}

/// The statement in a line, if it was executed in the application's database without an error.
///
/// A line is `time,server,user,host,connection,query,operation,database,'statement',error`.
fn executed(line: &str) -> Option<String> {
    let (rest, error) = line.rsplit_once(',')?;
    let mut columns = rest.splitn(9, ',').skip(6);
    let (operation, database, text) = (columns.next()?, columns.next()?, columns.next()?);
    if (operation, database, error) != ("QUERY", "app", "0") {
        return None;
    }
    Some(unescaped(text.strip_prefix('\'')?.strip_suffix('\'')?))
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => match characters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some(escaped) => escaped,
                None => break,
            },
            other => other,
        });
    }
    plain
}

/// The statement with a `?` for each string and number, a space for each stretch of white space, and
/// no comments. Parameters of a prepared statement are written down as constants, so this is what
/// makes its executions one.
fn without_constants(statement: &str) -> String {
    let mut plain = String::new();
    let mut rest = statement;
    while let Some(first) = rest.chars().next() {
        let (length, becomes) = if rest.starts_with("/*") && !rest.starts_with("/*!") {
            (rest.find("*/").map_or(rest.len(), |end| end + 2), " ")
        } else if first == '#' || rest.starts_with("-- ") || rest.starts_with("--\n") {
            (rest.find('\n').unwrap_or(rest.len()), " ")
        } else if matches!(first, '\'' | '"') {
            (string(rest, first), "?")
        } else if first.is_ascii_digit() {
            (rest.len() - rest.trim_start_matches(in_number).len(), "?")
        } else if first.is_whitespace() {
            (first.len_utf8(), " ")
        } else {
            // A digit in a name is no number.
            let word = rest.len() - rest.trim_start_matches(in_word).len();
            let length = word.max(first.len_utf8());
            (length, &rest[..length])
        };
        if becomes != " " || !(plain.is_empty() || plain.ends_with(' ')) {
            plain.push_str(becomes);
        }
        rest = &rest[length..];
    }
    plain.trim_end().to_owned()
}

/// The length of the string in quotes that this begins with.
fn string(text: &str, quote: char) -> usize {
    let mut escaped = false;
    text[1..]
        .find(|character| {
            let ends = character == quote && !escaped;
            escaped = character == '\\' && !escaped;
            ends
        })
        .map_or(text.len(), |end| end + 2)
}

fn in_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn in_number(character: char) -> bool {
    in_word(character) || character == '.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        let line = |rest| format!("20261125 01:54:09,host,app,127.0.0.1,6,7,{rest}");
        for (rest, statement) in [
            ("QUERY,app,'SELECT 1',0", Some("SELECT 1")),
            (
                r"QUERY,app,'SELECT \'a\\nb\',\n1',0",
                Some("SELECT 'a\\nb',\n1"),
            ),
            ("QUERY,app,'INSERT',1136", None),
            ("QUERY,mysql,'SELECT 1',0", None),
            ("DROP,app,'t',0", None),
        ] {
            assert_eq!(executed(&line(rest)).as_deref(), statement, "{rest}");
        }
        assert_eq!(executed("cut, off"), None);
    }

    #[test]
    fn constants() {
        for (statement, plain) in [
            (
                "INSERT INTO t1 VALUES (12, -3.5e2)",
                "INSERT INTO t1 VALUES (?, -?)",
            ),
            (r#"SELECT 'it''s', 'a\'b', "c'd", x"#, "SELECT ??, ?, ?, x"),
            (
                "/* don't */ SELECT 1 -- don't\n , 2 # don't",
                "SELECT ? , ?",
            ),
            ("SELECT\n\t *  FROM `t`", "SELECT * FROM `t`"),
            ("SELECT 'open", "SELECT ?"),
            ("SELECT größe, 1", "SELECT größe, ?"),
            ("/*! SELECT 1 */", "/*! SELECT ? */"),
        ] {
            assert_eq!(without_constants(statement), plain);
        }
    }
}
