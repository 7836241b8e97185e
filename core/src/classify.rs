//! What a statement's text tells of its intent.

use crate::decision::Cause;
use crate::vocabulary::Intent;

/// What a statement needs, and what that was concluded from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Classification {
    /// What the statement needs.
    pub intent: Intent,
    /// What that was concluded from.
    pub cause: Cause,
}

impl Classification {
    /// The statement surely changes nothing.
    pub const READ: Self = Self {
        intent: Intent::Read,
        cause: Cause::Classified,
    };
    /// The statement changes something.
    pub const WRITE: Self = Self {
        intent: Intent::Write,
        cause: Cause::Classified,
    };
    /// The statement may change something.
    pub const UNKNOWN: Self = Self {
        intent: Intent::Write,
        cause: Cause::Unclassified,
    };
    /// The statement changes the state of its connection.
    pub const SESSION_STATE: Self = Self {
        intent: Intent::Write,
        cause: Cause::SessionState,
    };
}

/// Tells reads from writes by their text.
///
/// # Contract
///
/// * [`Classification::READ`] is only for statements that succeed on a read-only server and change
///   nothing. Whatever is not surely so is not a read: a read taken for a write costs the primary a
///   little; a write taken for a read is refused by the replica.
/// * `classify` neither blocks nor panics, whatever the text; it runs before every statement whose
///   intent was not stated.
///
/// ```
/// use dbrouter::{Classification, Classifier};
///
/// /// Only what is marked as a read is a read.
/// struct Marked;
///
/// impl Classifier for Marked {
///     fn classify(&self, sql: &str) -> Classification {
///         if sql.starts_with("/* read */") {
///             Classification::READ
///         } else {
///             Classification::UNKNOWN
///         }
///     }
/// }
/// ```
pub trait Classifier: Send + Sync + 'static {
    /// What the statement needs.
    fn classify(&self, sql: &str) -> Classification;
}

/// A small and cautious classifier: plain queries over tables, with the commonest functions.
///
/// It reads a statement word by word and knows a read only if it knows every word that could make it
/// something else. A statement is a read if it begins with `SELECT`, `WITH`, `VALUES` or `TABLE`, holds
/// none of the words that write, lock or change session state, calls no function but those of a short
/// list that is safe in every dialect, and contains no comment, semicolon, backslash, `@` variable or
/// dollar quote. Everything else goes to the primary.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cautious;

impl Cautious {
    /// The classifier.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Classifier for Cautious {
    fn classify(&self, sql: &str) -> Classification {
        let mut words = Tokens { rest: sql }.peekable();
        let Some(Token::Word(head)) = words.peek().copied() else {
            return Classification::UNKNOWN;
        };
        if among(head, STATE_HEADS) {
            return Classification::SESSION_STATE;
        }
        if among(head, WRITING) {
            return Classification::WRITE;
        }
        if !among(head, READING_HEADS) {
            return Classification::UNKNOWN;
        }
        if head.eq_ignore_ascii_case("with") {
            // What follows is a name, even where it looks like a function: `WITH t (a, b) AS …`.
            words.next();
            words
                .next_if(|token| matches!(token, Token::Word(word) if among(word, &["recursive"])));
            words.next_if(|token| matches!(token, Token::Word(_) | Token::Name));
        }
        while let Some(token) = words.next() {
            let called = matches!(words.peek(), Some(Token::Open));
            let harmless = match token {
                Token::Word(word) if among(word, WRITING) || among(word, LOCKING) => false,
                Token::Word(word) => !called || among(word, BEFORE_PARENTHESES),
                // A quoted name may be a function's, and a qualified one is not on the list.
                Token::Name => !called,
                Token::Open | Token::Value | Token::Mark => true,
                Token::Strange => false,
            };
            if !harmless {
                return Classification::UNKNOWN;
            }
        }
        Classification::READ
    }
}

const READING_HEADS: &[&str] = &["select", "table", "values", "with"];

const STATE_HEADS: &[&str] = &[
    "abort",
    "attach",
    "begin",
    "close",
    "commit",
    "deallocate",
    "declare",
    "detach",
    "discard",
    "end",
    "execute",
    "fetch",
    "listen",
    "lock",
    "move",
    "notify",
    "pragma",
    "prepare",
    "release",
    "reset",
    "rollback",
    "savepoint",
    "set",
    "start",
    "unlisten",
    "unlock",
    "use",
];

const WRITING: &[&str] = &[
    "alter", "analyze", "call", "copy", "create", "delete", "do", "drop", "grant", "insert",
    "merge", "refresh", "reindex", "replace", "revoke", "truncate", "update", "vacuum",
];

/// `FOR UPDATE`, `FOR SHARE`, `LOCK IN SHARE MODE`, `SELECT … INTO`, sequences' `NEXT VALUE FOR`.
const LOCKING: &[&str] = &[
    "dumpfile",
    "for",
    "into",
    "lock",
    "next",
    "outfile",
    "procedure",
    "share",
    "tablesample",
];

/// Functions that change nothing in PostgreSQL, MariaDB and SQLite alike, and the keywords that may
/// stand before a parenthesis.
const BEFORE_PARENTHESES: &[&str] = &[
    "abs",
    "all",
    "and",
    "any",
    "array_agg",
    "as",
    "avg",
    "between",
    "bool_and",
    "bool_or",
    "by",
    "case",
    "cast",
    "ceil",
    "coalesce",
    "concat",
    "count",
    "cross",
    "date",
    "date_trunc",
    "dense_rank",
    "distinct",
    "else",
    "except",
    "exists",
    "extract",
    "filter",
    "floor",
    "from",
    "greatest",
    "group_concat",
    "having",
    "ifnull",
    "in",
    "inner",
    "intersect",
    "is",
    "join",
    "json_agg",
    "jsonb_agg",
    "lag",
    "lateral",
    "lead",
    "least",
    "left",
    "length",
    "like",
    "limit",
    "lower",
    "ltrim",
    "materialized",
    "max",
    "min",
    "mod",
    "not",
    "now",
    "nullif",
    "numeric",
    "offset",
    "on",
    "or",
    "over",
    "partition",
    "power",
    "rank",
    "recursive",
    "right",
    "round",
    "row_number",
    "rtrim",
    "select",
    "sqrt",
    "string_agg",
    "substr",
    "substring",
    "sum",
    "then",
    "to_char",
    "trim",
    "union",
    "upper",
    "using",
    "values",
    "varchar",
    "when",
    "where",
];

/// Whether `word`, in any case, is in the list.
fn among(word: &str, list: &[&str]) -> bool {
    list.iter().any(|known| known.eq_ignore_ascii_case(word))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// A keyword or a plain name.
    Word(&'a str),
    /// A quoted name, or the part of a name behind a dot.
    Name,
    /// A string, a number, a parameter.
    Value,
    /// An opening parenthesis.
    Open,
    /// An operator, a comma, a closing parenthesis.
    Mark,
    /// Something that this classifier makes no attempt to understand.
    Strange,
}

struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        let bytes = self.rest.as_bytes();
        let first = *bytes.first()?;
        let second = bytes.get(1).copied();
        let (token, length) = match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let length = run(bytes, is_name);
                let word = &self.rest[..length];
                // `e'…'`, `n'…'`, `x'…'`, `u&'…'`, `_utf8'…'`: strings with rules of their own.
                match bytes.get(length) {
                    Some(b'\'' | b'"' | b'&') => (Token::Strange, length),
                    _ => (Token::Word(word), length),
                }
            }
            b'0'..=b'9' => {
                number(bytes).map_or((Token::Strange, 1), |length| (Token::Value, length))
            }
            b'\'' => quoted(bytes).map_or((Token::Strange, 1), |length| (Token::Value, length)),
            b'"' | b'`' => {
                quoted(bytes).map_or((Token::Strange, 1), |length| (Token::Name, length))
            }
            b'.' if second.is_some_and(|byte| is_name(byte) && !byte.is_ascii_digit()) => {
                (Token::Name, 1 + run(&bytes[1..], is_name))
            }
            b'$' | b'?' => match run(&bytes[1..], |byte| byte.is_ascii_digit()) {
                0 if first == b'$' => (Token::Strange, 1),
                digits => (Token::Value, 1 + digits),
            },
            b'-' if second == Some(b'-') => (Token::Strange, 1),
            b'/' if second == Some(b'*') => (Token::Strange, 1),
            b':' if second == Some(b':') => (Token::Mark, 2),
            b'(' => (Token::Open, 1),
            b')' | b',' | b'.' | b'*' | b'+' | b'-' | b'/' | b'%' | b'<' | b'>' | b'=' | b'!'
            | b'|' | b'~' | b'[' | b']' | b'&' | b'^' => (Token::Mark, 1),
            // Semicolons, backslashes, `@`, `#`, control characters, anything that is not ASCII.
            _ => (
                Token::Strange,
                self.rest.chars().next().map_or(1, char::len_utf8),
            ),
        };
        self.rest = self.rest.get(length..).unwrap_or("");
        Some(token)
    }
}

/// The length of the number at the beginning, unless a word follows without a space: some servers
/// take `1into` for two words.
fn number(bytes: &[u8]) -> Option<usize> {
    let mut length = run(bytes, |byte| byte.is_ascii_digit() || byte == b'.');
    if let [b'e' | b'E', rest @ ..] = &bytes[length..] {
        let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
        length += 1 + sign + run(&rest[sign..], |byte| byte.is_ascii_digit());
    }
    let glued = bytes.get(length).is_some_and(|byte| is_name(*byte));
    (!glued).then_some(length)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// How many bytes from the beginning on satisfy `is`.
fn run(bytes: &[u8], is: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| is(**byte)).count()
}

/// The length of the quoted token at the beginning, if it ends and holds no backslash, which means
/// different things in different dialects and settings.
fn quoted(bytes: &[u8]) -> Option<usize> {
    let quote = bytes[0];
    let mut index = 1;
    loop {
        match *bytes.get(index)? {
            b'\\' => return None,
            byte if byte == quote => {
                if bytes.get(index + 1) != Some(&quote) {
                    return Some(index + 1);
                }
                index += 2;
            }
            _ => index += 1,
        }
    }
}

#[cfg(all(test, not(dbrouter_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn classify(sql: &str) -> Classification {
        Cautious.classify(sql)
    }

    #[test]
    fn plain_queries_are_reads() {
        for sql in [
            "select 1",
            "SELECT id, name FROM users WHERE id = $1 AND deleted_at IS NULL",
            "select * from orders o join users u on (u.id = o.user_id) where u.email like '%it''s%'",
            "select count(*), max(o.\"total\") from shop.orders o group by o.user_id having sum(1) > 2",
            "with recent as (select * from t where at > now()) select * from recent",
            "with recursive t(n) as (values (1) union all select n + 1 from t) select sum(n) from t",
            "values (1), (2)",
            "table users",
            "select a::text, b -> 'c' from t where x in (1, 2, 3) order by a limit 10 offset ?",
            "select 'for update' as harmless, 'insert; -- no' from t",
            "select `id` from t where id = ?1",
            "SELECT row_number() over (partition by a order by b) FROM t",
            "select naïve from t",
            "with t(a, b) as (values (1, 2)) select a + 1.5e-3 from t",
            "WITH RECURSIVE \"t\" (n) AS (SELECT 1) SELECT * FROM t",
        ] {
            assert_eq!(classify(sql), Classification::READ, "{sql}");
        }
    }

    #[test]
    fn what_writes_locks_or_is_not_known_is_no_read() {
        for sql in [
            "",
            "   ",
            "insert into t values (1)",
            "select * from t for update",
            "select * from t FOR UPDATE SKIP LOCKED",
            "select * from (select * from t for share) x",
            "select * from t lock in share mode",
            "select * into backup from t",
            "with gone as (delete from t returning *) select * from gone",
            "with x as (update t set a = 1 returning *) select 1",
            "select nextval('s')",
            "select my_function(1)",
            "select public.lower('x')",
            "select \"lower\"('x')",
            "select pg_advisory_lock(1)",
            "select 1; delete from t",
            "select 1;",
            "/* hello */ select 1",
            "-- hello\nselect 1",
            "select /*+ hint */ 1",
            "select /*! sleep(1) */ 1",
            "select $$text$$",
            "select $tag$text$tag$",
            "select e'\\''; delete from t --'",
            "select 'a\\'; delete from t; -- '",
            "select 'unterminated",
            "select @x := 1",
            "select a into outfile '/tmp/x' from t",
            "select next value for s",
            "explain analyze delete from t",
            "select u&'\\0041'",
            "select 1 \0",
            "select lower /* x */ ('a')",
            // Some servers see two words where others see a name or an error.
            "select 1into backup from t",
            "select 1.into backup from t",
            "select 1e5into backup from t",
            "select * from t limit 1for share",
            "select 1$$ ' $$, f(1), $$ ' $$",
            "with recursive (select f(1))",
            "with t as (select 1) , f(1) as (select 2) select 1",
            "with recursive f(n) as (select g(1)) select 1",
            "with delete (n) as (select 1) select 1, f (1)",
            "select recursive f(1)",
        ] {
            assert_eq!(classify(sql).intent, Intent::Write, "{sql}");
        }
    }

    #[test]
    fn session_state_is_named_as_such() {
        for sql in [
            "begin",
            "SET search_path = x",
            "listen c",
            "PRAGMA foreign_keys = on",
        ] {
            assert_eq!(classify(sql), Classification::SESSION_STATE, "{sql}");
        }
    }

    #[test]
    fn lists_are_sorted_so_that_they_can_be_reviewed() {
        for list in [
            READING_HEADS,
            STATE_HEADS,
            WRITING,
            LOCKING,
            BEFORE_PARENTHESES,
        ] {
            assert!(list.is_sorted());
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(sql in "\\PC*") {
            classify(&sql);
            classify(&format!("select {sql}"));
        }

        #[test]
        fn a_writing_word_outside_quotes_is_always_seen(
            before in "[a-z0-9 ,=+()*]{0,20}",
            word in proptest::sample::select(WRITING),
            after in "[a-z0-9 ,=+()*]{0,20}",
        ) {
            let sql = format!("select {before} {word} {after}");
            prop_assert_eq!(classify(&sql).intent, Intent::Write);
        }
    }
}
