//! The lexer against the tokenizer of sqlparser, which was written by others from the same documentation.
//!
//! Texts are put together from pieces of all kinds, with blanks between them or without, and the two must
//! read the same tokens in them. Where the lexer gives up, everything up to there is compared. What
//! sqlparser reads in another way than the server is not put together: see [`must_be_apart`].

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::string::string_regex;
use proptest::test_runner::{Config, TestRunner};
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::tokenizer::{Location, Token as Theirs, Tokenizer};

use super::lexer::{Kind, Lexer, Rules};
use super::sql::Grammar;

#[test]
fn postgres_reads_the_same_tokens() {
    compare(Grammar::Postgres, &PostgreSqlDialect {});
}

#[test]
fn mysql_reads_the_same_tokens() {
    compare(Grammar::MySql, &MySqlDialect {});
}

#[test]
fn sqlite_reads_the_same_tokens() {
    compare(Grammar::Sqlite, &SQLiteDialect {});
}

/// A kind of token, and its text. Operators that touch are one.
#[derive(Debug, Default, PartialEq)]
struct Tokens<'a>(Vec<(Kind, &'a str)>);

impl<'a> Tokens<'a> {
    fn push(&mut self, sql: &'a str, kind: Kind, start: usize, end: usize) {
        if let Some((Kind::Operator, before)) = self.0.last_mut()
            && kind == Kind::Operator
        {
            let begin = before.as_ptr().addr() - sql.as_ptr().addr();
            if begin + before.len() == start {
                *before = &sql[begin..end];
                return;
            }
        }
        self.0.push((kind, &sql[start..end]));
    }
}

fn compare(grammar: Grammar, dialect: &dyn Dialect) {
    const CASES: u32 = 2048;
    let (read, whole) = (Cell::new(0), Cell::new(0));
    let mut config = Config::default();
    config.failure_persistence = None;
    config.cases = config.cases.max(CASES);
    let cases = config.cases;
    TestRunner::new(config)
        .run(&text(grammar), |sql| {
            let (ours, strange_at) = ours(&sql, grammar);
            let theirs = theirs(&sql, grammar, dialect, strange_at.unwrap_or(sql.len()));
            let Some(theirs) = theirs else {
                return Ok(());
            };
            prop_assert_eq!(ours, theirs);
            read.set(read.get() + 1);
            whole.set(whole.get() + u32::from(strange_at.is_none()));
            Ok(())
        })
        .unwrap();
    assert!(read.get() > cases / 2, "sqlparser gave up on most texts");
    assert!(whole.get() > cases / 4, "the lexer gave up on most texts");
}

/// The tokens of our lexer, and where it gave up.
fn ours(sql: &str, grammar: Grammar) -> (Tokens<'_>, Option<usize>) {
    let backslash_escapes = grammar == Grammar::MySql;
    let mut lexer = Lexer::new(
        sql,
        Rules {
            grammar,
            backslash_escapes,
            ansi_quotes: false,
        },
    );
    let mut tokens = Tokens::default();
    loop {
        let token = lexer.next();
        match token.kind {
            Kind::End => return (tokens, None),
            Kind::Strange => return (tokens, Some(token.start)),
            kind => tokens.push(sql, kind, token.start, token.start + token.text.len()),
        }
    }
}

/// The tokens of sqlparser that begin before `end`; `None` if it gave up before.
fn theirs<'a>(
    sql: &'a str,
    grammar: Grammar,
    dialect: &dyn Dialect,
    end: usize,
) -> Option<Tokens<'a>> {
    let places = places(sql);
    let offset = |place: Location| {
        let found = places.binary_search_by_key(&(place.line, place.column), |known| known.0);
        places[found.unwrap()].1
    };
    let mut tokens = Tokens::default();
    let mut found = Vec::new();
    // What it reads before it gives up is in the buffer.
    let outcome = Tokenizer::new(dialect, sql)
        .with_unescape(false)
        .tokenize_with_location_into_buf(&mut found);
    let reached = found.last().map_or(0, |token| offset(token.span.end));
    if outcome.is_err() && reached < end {
        return None;
    }
    for token in found {
        let (start, until) = (offset(token.span.start), offset(token.span.end));
        if start >= end {
            break;
        }
        let Some(kind) = kind(&token.token, grammar) else {
            continue;
        };
        // It leaves it to its parser to put SQLite's parameters together.
        if grammar == Grammar::Sqlite
            && kind == Kind::Word
            && let Some((Kind::Operator, sigil)) = tokens.0.last().copied()
            && matches!(sigil, ":" | "@")
            && sql[..start].ends_with(sigil)
        {
            tokens.0.pop();
            tokens.push(sql, Kind::Value, start - 1, until);
            continue;
        }
        tokens.push(sql, kind, start, until);
    }
    Some(tokens)
}

/// Which of our kinds a token of sqlparser is of; `None` for blanks and comments.
fn kind(token: &Theirs, grammar: Grammar) -> Option<Kind> {
    Some(match token {
        Theirs::Whitespace(_) => return None,
        Theirs::Word(word) if word.quote_style.is_some() => Kind::Quoted,
        Theirs::Word(word) if word.value.starts_with('@') => Kind::Variable,
        Theirs::Word(_) => Kind::Word,
        Theirs::DoubleQuotedString(_) => Kind::Quoted,
        Theirs::SingleQuotedString(_) if grammar == Grammar::Sqlite => Kind::Quoted,
        Theirs::Number(..)
        | Theirs::Placeholder(_)
        | Theirs::SingleQuotedString(_)
        | Theirs::DollarQuotedString(_)
        | Theirs::SingleQuotedByteStringLiteral(_)
        | Theirs::NationalStringLiteral(_)
        | Theirs::EscapedStringLiteral(_)
        | Theirs::UnicodeStringLiteral(_)
        | Theirs::HexStringLiteral(_) => Kind::Value,
        Theirs::LParen => Kind::Open,
        Theirs::RParen => Kind::Close,
        Theirs::Comma => Kind::Comma,
        Theirs::Period => Kind::Dot,
        Theirs::SemiColon => Kind::Semicolon,
        Theirs::DoubleColon if grammar == Grammar::Postgres => Kind::Cast,
        Theirs::Assignment if grammar == Grammar::MySql => Kind::Variable,
        _ => Kind::Operator,
    })
}

/// The lines and columns of all characters, as sqlparser counts them, and where they are.
fn places(sql: &str) -> Vec<((u64, u64), usize)> {
    let (mut line, mut column) = (1, 1);
    let mut places = Vec::new();
    for (offset, character) in sql.char_indices() {
        places.push(((line, column), offset));
        (line, column) = match character {
            '\n' => (line + 1, 1),
            _ => (line, column + 1),
        };
    }
    places.push(((line, column), sql.len()));
    places
}

/// Pieces, with blanks between them or without.
fn text(grammar: Grammar) -> impl Strategy<Value = String> {
    const BLANKS: &[&str] = &[
        "", "", "", "", " ", "\t", "\n", "\r", "\r\n", "\x0B", "\x0C",
    ];
    let piece = (select(BLANKS), piece(grammar));
    prop::collection::vec(piece, 1..12).prop_map(move |pieces| {
        let mut text = String::new();
        for (blank, piece) in pieces {
            text.push_str(match must_be_apart(&text, &piece, grammar) {
                true if blank.is_empty() => " ",
                _ => blank,
            });
            text.push_str(&piece);
        }
        text
    })
}

fn piece(grammar: Grammar) -> BoxedStrategy<String> {
    let patterns: &[&str] = match grammar {
        Grammar::Postgres => &[
            r"[acdfé日_\u{a0}][a-z0-9_$é]{0,4}",
            r#"'(''|[a\\$ /*"-]){0,5}'"#,
            r#"[eE]'(''|\\\\|\\'|[a$ /*"-]){0,5}'"#,
            r"[uU]&'(''|\\0061|[a$]){0,4}'",
            r"[bB]'[01]{0,4}'",
            // In hexadecimal strings sqlparser takes a backslash for an escape, which it is not.
            r"[xX]'(''|[0-9a-f]){0,4}'",
            r"[nN]'(''|[a\\$]){0,4}'",
            r"\$\$(\$?[a' ]){0,4}\$\$",
            r"\$[té]\$(\$?[a' ]|\$\$|\$u\$|\$t){0,4}\$t\$",
            r#""(""|[a' \\$/*-]){1,5}""#,
            r"/\*(a|'|\*|/|/\*a\*/|\$\$){0,5}\*/",
            r"--[a'/*$-]{0,4}[\r\n]",
            r"[0-9]{1,3}(_[0-9])?(\.[0-9]{0,2})?([eE][+-]?[0-9]{1,2})?",
            r"\.[0-9]{1,2}([eE][+-]?[0-9]{1,2})?",
            r"0[xob]_?[01]{1,3}",
            r"\$[0-9]{1,2}",
            r"[+*/<>=~!@#%^&|`?-]{1,4}",
            r"::|:=|[():;,.\[\]{}]",
        ],
        Grammar::MySql => &[
            r"[acdfé日_\u{a0}][a-z0-9_$é]{0,4}",
            // Strings with a prefix are words and strings in our lexer.
            r#"'(''|\\.|[a$ /*"-]){0,5}'"#,
            r#""(""|\\.|[a' $/*-]){1,5}""#,
            r"`(``|[a' \\$/*-]){1,5}`",
            r"/\*[a*/ ]{0,5}\*/",
            r"-- [a'/*$-]{0,4}\n",
            r"--[a1(]",
            r"#[a'/*$-]{0,4}\n",
            // `0b1` is a name to sqlparser, and a number to the server.
            r"[0-9]{1,3}(_[0-9])?(\.[0-9]{0,2})?([eE][+-]?[0-9]{1,2})?",
            r"\.[0-9]{1,2}([eE][+-]?[0-9]{1,2})?",
            r"0x[0-9a-f]{1,3}",
            r"\?",
            r"@@?[a-f_$][a-f0-9_$]{0,3}",
            r"[+*/<>=~!%^&|-]{1,3}",
            r":=|[():;,.\[\]{}]",
        ],
        Grammar::Sqlite => &[
            r"[acdfé日_\u{a0}][a-z0-9_$é]{0,4}",
            r#"'(''|[a\\$ /*"-]){0,5}'"#,
            r#""(""|[a' \\$/*-]){1,5}""#,
            r"`(``|[a' \\$/*-]){1,5}`",
            r"\[[a'` \\$/*-]{1,5}\]",
            r"/\*[a*/ ]{0,5}\*/",
            r"--[a'/*$-]{0,4}[\r\n]",
            r"[0-9]{1,3}(_[0-9])?(\.[0-9]{0,2})?([eE][+-]?[0-9]{1,2})?",
            r"\.[0-9]{1,2}([eE][+-]?[0-9]{1,2})?",
            r"0x[0-9a-f]{1,3}",
            r"\?[0-9]{0,2}",
            r"[:@$][a-f_][a-f0-9_$]{0,3}",
            r"[+*/<>=~%&|-]{1,3}",
            r"[();,.]",
        ],
    };
    let pieces = patterns.iter().map(|pattern| {
        string_regex(pattern)
            .unwrap()
            .prop_filter("it begins a comment, or what sqlparser misreads", |piece| {
                let operators = piece.trim_start_matches(OPERATORS).is_empty();
                // It takes the character behind `&>` for a part of it.
                !operators || !["--", "/*", "&>"].iter().any(|pair| piece.contains(pair))
            })
            .boxed()
    });
    prop::strategy::Union::new(pieces).boxed()
}

const OPERATORS: &[char] = &[
    '+', '-', '*', '/', '<', '>', '=', '~', '!', '@', '#', '%', '^', '&', '|', '`', '?',
];

/// Whether sqlparser would read the two, without a blank in between, in another way than the server.
fn must_be_apart(before: &str, piece: &str, grammar: Grammar) -> bool {
    let first = piece.chars().next().unwrap();
    let Some(last) = before.chars().last() else {
        return false;
    };
    // Whatever is above ASCII is a part of a name.
    let in_name = |character: char| {
        !character.is_ascii() || character.is_ascii_alphanumeric() || "_$".contains(character)
    };
    let behind_variable = before.trim_end_matches(in_name).ends_with('@');
    match first {
        // In MySQL a dot is a part of a variable's name, which is left to its parser.
        '.' | '0'..='9' if behind_variable && grammar == Grammar::MySql => true,
        // PostgreSQL ends an operator where a comment begins (scan.l, "operator"); sqlparser does so only
        // behind those that it does not prolong.
        '-' | '/' if grammar == Grammar::Postgres => {
            let operator = before.trim_end_matches(OPERATORS).len();
            before[operator..].contains(|operator| !"+*=".contains(operator))
        }
        // The string before may be a hexadecimal one, which ends otherwise with sqlparser.
        '\'' if grammar == Grammar::Postgres => last == '\'' && piece.contains('\\'),
        '-' => last == '-',
        // It knows PostgreSQL's `|/` in all dialects.
        '/' => last == '|',
        '*' => last == '/',
        '>' => last == '&',
        // `1..2` is a number and two dots (scan.l, "numericfail"), `t.1` a name in MySQL alone.
        '.' => last == '.' || piece.len() > 1,
        // In MySQL `a@b` is a name and a host, and `:=` begins behind a colon.
        '@' => grammar != Grammar::Postgres,
        ':' => last == ':' || grammar == Grammar::Sqlite,
        '=' => last == ':',
        // SQLite's names go on with any byte above ASCII (tokenize.c, "IdChar"), `$a` included.
        '\u{a0}' => grammar == Grammar::Sqlite,
        // SQLite's parameters `?1` are those of its own lexer, MySQL has none with a number.
        '0'..='9' => last == '?',
        _ => false,
    }
}
