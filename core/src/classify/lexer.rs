//! A statement's text as tokens, by the lexical rules of each dialect.
//!
//! Nothing here is recursive and every byte is looked at a bounded number of times, so that hostile text
//! costs no more than its length. What a server would refuse, or what two settings of one server would
//! read in two ways, is [`Kind::Strange`].

use super::sql::Grammar;

/// A piece of a statement that is neither blank nor a comment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
    /// Where it begins.
    pub(super) start: usize,
}

impl Token<'_> {
    /// Whether `next` follows without anything in between.
    pub(super) fn is_glued_to(&self, next: &Self) -> bool {
        self.start + self.text.len() == next.start
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A keyword or a plain name.
    Word,
    /// A quoted name, with its quotes. (In MySQL and SQLite it may be a string.)
    Quoted,
    /// A string, a number, a parameter.
    Value,
    /// `@name` or `@@name` in MySQL.
    Variable,
    Open,
    Close,
    Comma,
    Dot,
    Semicolon,
    /// `::`
    Cast,
    /// Operators, brackets, and whatever else stands between operands.
    Operator,
    /// Not a token, or not the same one under all of the server's settings.
    Strange,
    /// The end of the text.
    End,
}

/// Which settings of a server the text is read under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) grammar: Grammar,
    /// Whether a backslash in a plain string is an escape.
    pub(super) backslash_escapes: bool,
    /// Whether MySQL takes what is in double quotes for a name, in which a backslash is none.
    pub(super) ansi_quotes: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    position: usize,
    rules: Rules,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, rules: Rules) -> Self {
        Self {
            text,
            position: 0,
            rules,
        }
    }

    /// The next token; [`Kind::End`] again and again behind the last one, and [`Kind::Strange`] again and
    /// again once there was one.
    pub(super) fn next(&mut self) -> Token<'a> {
        if let Err(Unterminated) = self.skip_blanks() {
            return self.strange();
        }
        let bytes = &self.text.as_bytes()[self.position..];
        let Some(&first) = bytes.first() else {
            return self.token(Kind::End, 0);
        };
        match self.scan(first, bytes) {
            Some((Kind::Strange, _)) | None => self.strange(),
            Some((kind, length)) => {
                let token = self.token(kind, length);
                self.position += length;
                token
            }
        }
    }

    fn token(&self, kind: Kind, length: usize) -> Token<'a> {
        let end = self.position + length;
        let text = self.text.get(self.position..end).unwrap_or("");
        Token {
            kind,
            text,
            start: self.position,
        }
    }

    /// The first character that could not be read, without moving on.
    fn strange(&self) -> Token<'a> {
        let rest = self.text.get(self.position..).unwrap_or("");
        let length = rest.chars().next().map_or(0, char::len_utf8);
        self.token(Kind::Strange, length)
    }

    /// The kind and length of the token that `bytes` begins with.
    fn scan(&self, first: u8, bytes: &[u8]) -> Option<(Kind, usize)> {
        let grammar = self.rules.grammar;
        let second = bytes.get(1).copied().unwrap_or(0);
        Some(match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => return self.word(first, second, bytes),
            b'(' => (Kind::Open, 1),
            b')' => (Kind::Close, 1),
            b',' => (Kind::Comma, 1),
            b';' => (Kind::Semicolon, 1),
            b'.' if second.is_ascii_digit() => match self.is_behind_name() {
                // In MySQL `s.1()` calls `1`.
                true if grammar == Grammar::MySql => return None,
                _ => (Kind::Value, number(bytes, grammar)?),
            },
            b'.' => (Kind::Dot, 1),
            b'0'..=b'9' => (Kind::Value, number(bytes, grammar)?),
            // SQLite takes a string for a name wherever only a name can stand.
            b'\'' if grammar == Grammar::Sqlite => (Kind::Quoted, quoted(bytes, false)?),
            b'\'' => (Kind::Value, quoted(bytes, self.rules.backslash_escapes)?),
            // In MySQL a string, or with `ANSI_QUOTES` a name.
            b'"' => {
                let escapes = grammar == Grammar::MySql && self.escapes_in_double_quotes();
                (Kind::Quoted, quoted(bytes, escapes)?)
            }
            b'`' if grammar != Grammar::Postgres => (Kind::Quoted, quoted(bytes, false)?),
            b'[' if grammar == Grammar::Sqlite => {
                let end = bytes.iter().position(|byte| *byte == b']')?;
                (Kind::Quoted, end + 1)
            }
            b'$' => return dollar(second, bytes, grammar),
            b':' if second == b':' && grammar == Grammar::Postgres => (Kind::Cast, 2),
            b':' if second == b'=' && grammar == Grammar::MySql => (Kind::Variable, 2),
            b'@' if grammar == Grammar::MySql => return self.variable(bytes),
            b':' | b'@' | b'#' if grammar == Grammar::Sqlite => return sqlite_parameter(bytes),
            b'?' if grammar != Grammar::Postgres => (
                Kind::Value,
                1 + run(&bytes[1..], |byte| byte.is_ascii_digit()),
            ),
            _ if is_operator(first) => (Kind::Operator, operator(bytes, grammar)?),
            b'[' | b']' | b':' | b'{' | b'}' => (Kind::Operator, 1),
            // Backslashes, NUL and other control characters.
            _ => (Kind::Strange, 1),
        })
    }

    /// Whether a backslash is an escape in what MySQL takes for a string, unless it is a name.
    fn escapes_in_double_quotes(&self) -> bool {
        self.rules.backslash_escapes && !self.rules.ansi_quotes
    }

    /// Whether a name, or a number, ends right here.
    fn is_behind_name(&self) -> bool {
        let before = self.position.checked_sub(1);
        let before = before.and_then(|index| self.text.as_bytes().get(index));
        before.is_some_and(|byte| is_name(*byte) || *byte == b'`' || *byte == b'"')
    }

    /// A word, or a string with a prefix.
    fn word(&self, first: u8, second: u8, bytes: &[u8]) -> Option<(Kind, usize)> {
        if self.rules.grammar == Grammar::Postgres {
            match (first, second) {
                (b'e' | b'E', b'\'') => {
                    let length = 1 + quoted(&bytes[1..], true)?;
                    // A string that follows is a part of this one, with the same escapes.
                    let mut rest = self.clone();
                    rest.position += length;
                    rest.skip_blanks().ok()?;
                    let continued = rest.text.as_bytes().get(rest.position) == Some(&b'\'');
                    return (!continued).then_some((Kind::Value, length));
                }
                (b'u' | b'U', b'&') if matches!(bytes.get(2), Some(b'\'')) => {
                    return Some((Kind::Value, 2 + quoted(&bytes[2..], false)?));
                }
                // Which name it is depends on the escapes in it.
                (b'u' | b'U', b'&') if matches!(bytes.get(2), Some(b'"')) => {
                    return Some((Kind::Quoted, 2 + quoted(&bytes[2..], false)?));
                }
                (b'b' | b'B' | b'x' | b'X', b'\'') => {
                    return Some((Kind::Value, 1 + quoted(&bytes[1..], false)?));
                }
                (b'n' | b'N', b'\'') => {
                    let length = quoted(&bytes[1..], self.rules.backslash_escapes)?;
                    return Some((Kind::Value, 1 + length));
                }
                _ => {}
            }
        }
        // Between tokens SQLite takes a byte order mark for a blank, within them for a letter.
        let blank = self.rules.grammar == Grammar::Sqlite && bytes.starts_with(BYTE_ORDER_MARK);
        (!blank).then(|| (Kind::Word, run(bytes, is_name)))
    }

    /// `@name`, `@'name'`, `@@name`.
    fn variable(&self, bytes: &[u8]) -> Option<(Kind, usize)> {
        let ats = run(bytes, |byte| byte == b'@').min(2);
        let rest = &bytes[ats..];
        let length = match rest.first() {
            Some(b'\'') => quoted(rest, self.rules.backslash_escapes)?,
            Some(b'"') => quoted(rest, self.escapes_in_double_quotes())?,
            Some(b'`') => quoted(rest, false)?,
            _ => run(rest, |byte| is_name(byte) || byte == b'.'),
        };
        Some((Kind::Variable, ats + length))
    }

    /// Moves on to the next character that is neither blank nor in a comment.
    fn skip_blanks(&mut self) -> Result<(), Unterminated> {
        let bytes = self.text.as_bytes();
        loop {
            let rest = &bytes[self.position..];
            let length = match rest {
                [b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C, ..] => run(rest, is_blank),
                [b'-' | b'/' | b'#', ..] => match self.comment(rest)? {
                    0 => return Ok(()),
                    length => length,
                },
                _ => return Ok(()),
            };
            self.position += length;
        }
    }

    /// The length of the comment that `bytes` begins with; zero if there is none.
    fn comment(&self, bytes: &[u8]) -> Result<usize, Unterminated> {
        let line = |bytes: &[u8]| run(bytes, |byte| byte != b'\n' && byte != b'\r');
        match (self.rules.grammar, bytes) {
            // Without a blank behind them they are two minuses.
            (Grammar::MySql, [b'-', b'-', next, ..]) if !is_blank(*next) && *next >= b' ' => Ok(0),
            (Grammar::Postgres, [b'-', b'-', ..]) => Ok(line(bytes)),
            // The others end it at a line feed only.
            (_, [b'-', b'-', ..]) | (Grammar::MySql, [b'#', ..]) => Ok(until_newline(bytes)),
            (Grammar::Postgres, [b'/', b'*', ..]) => nested_comment(bytes).ok_or(Unterminated),
            // The server executes what is in it.
            (Grammar::MySql, [b'/', b'*', b'!', ..] | [b'/', b'*', b'M', b'!', ..]) => {
                Err(Unterminated)
            }
            (grammar, [b'/', b'*', rest @ ..]) => {
                let end = find(rest, *b"*/").ok_or(Unterminated)?;
                // The end of a comment with hints may be within the quotes of a name in it.
                let hints = grammar == Grammar::MySql && rest[0] == b'+';
                match hints && rest[..end].iter().any(|byte| b"`'\"".contains(byte)) {
                    true => Err(Unterminated),
                    false => Ok(2 + end + 2),
                }
            }
            _ => Ok(0),
        }
    }
}

/// A comment without an end, or one that is none.
#[derive(Debug)]
struct Unterminated;

/// The first comment of a text, without its delimiters, if the text begins with one.
pub(super) fn leading_comment(text: &str) -> Option<&str> {
    let inside = text.trim_ascii_start().strip_prefix("/*")?;
    inside.split_once("*/").map(|(inside, _)| inside)
}

/// The contents of a quoted name, unless something in it is escaped.
pub(super) fn unquoted(quoted: &str) -> Option<&str> {
    let inside = quoted.get(1..quoted.len().checked_sub(1)?)?;
    let escaped = inside.contains(['"', '`', '\\', '\0']) || quoted.starts_with(['u', 'U']);
    (!escaped).then_some(inside)
}

/// In UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0B | 0x0C)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

fn is_operator(byte: u8) -> bool {
    b"~!@#^&|`?+-*/%<>=".contains(&byte)
}

/// How many bytes from the beginning on satisfy `is`.
fn run(bytes: &[u8], is: impl Fn(u8) -> bool) -> usize {
    let end = bytes.iter().position(|byte| !is(*byte));
    end.unwrap_or(bytes.len())
}

fn until_newline(bytes: &[u8]) -> usize {
    run(bytes, |byte| byte != b'\n')
}

/// Where `pair` begins.
fn find(bytes: &[u8], pair: [u8; 2]) -> Option<usize> {
    bytes.windows(2).position(|window| window == pair)
}

/// The length of a comment that may hold others.
fn nested_comment(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut index = 0;
    loop {
        match bytes.get(index..)? {
            [b'/', b'*', ..] => {
                depth += 1;
                index += 2;
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                index += 2;
                if depth == 0 {
                    return Some(index);
                }
            }
            [] => return None,
            _ => index += 1,
        }
    }
}

/// The length of the quoted text at the beginning, if it ends. Within it a quote is doubled.
fn quoted(bytes: &[u8], backslash_escapes: bool) -> Option<usize> {
    let quote = *bytes.first()?;
    let mut index = 1;
    loop {
        match *bytes.get(index)? {
            0 => return None,
            b'\\' if backslash_escapes => index += 2,
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

/// The length of the number at the beginning, if it is one. A word without a space behind it is read as
/// part of a number, of a name, or as a word of its own, by server and version; so that is none.
fn number(bytes: &[u8], grammar: Grammar) -> Option<usize> {
    // In MySQL `1_0` and `0X0` are names, and so are `0x` and `0b2`.
    let radix = match (bytes, grammar) {
        ([b'0', b'x', ..], _) | ([b'0', b'X', ..], Grammar::Postgres | Grammar::Sqlite) => 16,
        ([b'0', b'b', ..], Grammar::MySql) | ([b'0', b'b' | b'B', ..], Grammar::Postgres) => 2,
        ([b'0', b'o' | b'O', ..], Grammar::Postgres) => 8,
        _ => 10,
    };
    let separates = |byte| byte == b'_' && grammar != Grammar::MySql;
    let is_digit = |byte| char::from(byte).is_digit(radix) || separates(byte);
    let digits = |bytes: &[u8]| run(bytes, is_digit);
    let length = match radix {
        2 | 8 | 16 => match digits(&bytes[2..]) {
            0 => return None,
            digits => 2 + digits,
        },
        _ => {
            let mut length = digits(bytes);
            // PL/pgSQL's `1..2` is no number and two dots.
            if bytes.get(length) == Some(&b'.') && bytes.get(length + 1) != Some(&b'.') {
                length += 1;
                length += digits(&bytes[length..]);
            }
            if let [b'e' | b'E', rest @ ..] = &bytes[length..] {
                let sign = usize::from(matches!(rest.first(), Some(b'+' | b'-')));
                length += match digits(&rest[sign..]) {
                    0 => return None,
                    digits => 1 + sign + digits,
                };
            }
            length
        }
    };
    let next = bytes.get(length).copied().unwrap_or(b' ');
    // A dollar quote may follow a number in PostgreSQL, but no statement can hold the two in a row.
    let glued = is_name(next) || next == b'.' && grammar != Grammar::Postgres;
    (!glued).then_some(length)
}

/// A parameter `$1`, or in PostgreSQL a string in dollar quotes.
fn dollar(second: u8, bytes: &[u8], grammar: Grammar) -> Option<(Kind, usize)> {
    match grammar {
        Grammar::Postgres if second.is_ascii_digit() => {
            let length = 1 + run(&bytes[1..], |byte| byte.is_ascii_digit());
            let glued = bytes.get(length).is_some_and(|byte| is_name(*byte));
            (!glued).then_some((Kind::Value, length))
        }
        Grammar::Postgres => {
            let tag = 1 + run(&bytes[1..], |byte| is_name(byte) && byte != b'$');
            if bytes.get(tag) != Some(&b'$') {
                return None;
            }
            let delimiter = &bytes[..=tag];
            let end = closing(&bytes[delimiter.len()..], delimiter)?;
            Some((Kind::Value, delimiter.len() + end + delimiter.len()))
        }
        Grammar::Sqlite => sqlite_parameter(bytes),
        Grammar::MySql => None,
    }
}

/// Where the closing delimiter of a dollar quote begins: each dollar is looked at once.
fn closing(bytes: &[u8], delimiter: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let dollar = from + bytes.get(from..)?.iter().position(|byte| *byte == b'$')?;
        if bytes[dollar..].starts_with(delimiter) {
            return bytes[..dollar]
                .iter()
                .all(|byte| *byte != 0)
                .then_some(dollar);
        }
        from = dollar + 1;
    }
}

/// `:name`, `@name`, `$name`, `#name`. Behind `$name` there may be something in parentheses.
fn sqlite_parameter(bytes: &[u8]) -> Option<(Kind, usize)> {
    let length = 1 + run(&bytes[1..], is_name);
    let next = bytes.get(length);
    let plain = length > 1 && next != Some(&b'(') && next != Some(&b':');
    plain.then_some((Kind::Value, length))
}

/// The length of the operator at the beginning, which ends where a comment begins. It ends with a sign only
/// if there is something unusual in it: `a<-1` compares with minus one, `a@-1` calls `@-`.
fn operator(bytes: &[u8], grammar: Grammar) -> Option<usize> {
    /// Longer names are refused; and without a limit, the signs cut off would be read again and again.
    const LONGEST: usize = 63;
    if grammar != Grammar::Postgres {
        return Some(1);
    }
    let bytes = &bytes[..bytes.len().min(LONGEST + 2)];
    let bytes = &bytes[..run(bytes, is_operator)];
    let comment = |pair| find(bytes, pair).unwrap_or(bytes.len());
    let bytes = &bytes[..comment(*b"--").min(comment(*b"/*"))];
    let unusual = bytes.iter().any(|byte| b"~!@#^&|`?%".contains(byte));
    let signs = bytes.iter().rev().take_while(|byte| b"+-".contains(byte));
    let length = match unusual {
        true => bytes.len(),
        false => bytes.len().saturating_sub(signs.count()).max(1),
    };
    (bytes.len() <= LONGEST).then_some(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Kind::{
        Cast, Close, Comma, Dot, Open, Operator, Quoted, Semicolon, Strange, Value, Variable, Word,
    };

    /// The tokens of a text up to its end, or to the first one that is strange.
    fn tokens(grammar: Grammar, text: &str) -> Vec<(Kind, &str)> {
        let backslash_escapes = grammar == Grammar::MySql;
        tokens_under(
            Rules {
                grammar,
                backslash_escapes,
                ansi_quotes: false,
            },
            text,
        )
    }

    fn tokens_under(rules: Rules, text: &str) -> Vec<(Kind, &str)> {
        let mut lexer = Lexer::new(text, rules);
        let mut tokens = Vec::new();
        loop {
            let token = lexer.next();
            assert_eq!(&text[token.start..][..token.text.len()], token.text);
            if token.kind == Kind::End {
                return tokens;
            }
            tokens.push((token.kind, token.text));
            if token.kind == Strange {
                return tokens;
            }
        }
    }

    fn check(grammar: Grammar, cases: &[(&str, &[(Kind, &str)])]) {
        for (text, expected) in cases {
            assert_eq!(tokens(grammar, text), *expected, "{grammar:?} {text}");
        }
    }

    /// A single token is what it is, and ends where it ends.
    fn check_single(grammar: Grammar, kind: Kind, texts: &[&str]) {
        for text in texts {
            let followed = format!("{text} , -");
            let expected = [(kind, *text), (Comma, ","), (Operator, "-")];
            assert_eq!(tokens(grammar, &followed), expected, "{grammar:?} {text}");
        }
    }

    /// What is neither read nor passed over.
    fn check_strange(grammar: Grammar, texts: &[&str]) {
        for text in texts {
            let last = tokens(grammar, text).last().map(|token| token.0);
            assert_eq!(last, Some(Strange), "{grammar:?} {text}");
        }
    }

    #[test]
    fn postgres() {
        let grammar = Grammar::Postgres;
        #[rustfmt::skip]
        check_single(grammar, Value, &[
            "''", "'a''b'", r"'a\'", "'--'", "e''", r"E'a\'b'", r"e'\\'", "e'a''b'",
            r"u&'\0061'", "U&'a''b'", "b'01'", "X'ff'", "n'a'", "$$$$", "$$a$b$$", "$a$$b$ $a $a$",
            "$é$a$é$", "1", "1.", "1.5", ".5", "1e5", "1.5E-3", "1_000", "0x1F", "0o17", "0b01", "$1",
        ]);
        #[rustfmt::skip]
        check_single(grammar, Word, &["a", "_a1", "a$b$", "été", "\u{a0}", "e", "u", "b"]);
        check_single(
            grammar,
            Quoted,
            &["\"a\"", "\"a\"\"b\"", r#""\""#, "U&\"a\""],
        );
        #[rustfmt::skip]
        check_single(grammar, Operator, &[
            "+", "<=", "->>", "@-", "||", "?", "?|", "#>", "`", "[", "]", ":", "{", "}",
        ]);
        #[rustfmt::skip]
        check_strange(grammar, &[
            "'", "'a", "'a''", "\"", "$a", "$a$ $b$", "$", "/*", "/*/", "/* /* */", r"e'\'", "e'a' 'b'",
            "e'a'\n'b'", "e'a' -- c\n'b'", "u&'", "b'", "1a", "1e", "1.a", "0xg", "$1a", "1$$a$$", "\\", "\u{1}",
        ]);
        check(
            grammar,
            &[
                ("", &[]),
                (" \t\r\n\x0B\x0C", &[]),
                ("/* /* ' */ */ -- '", &[]),
                ("--a\ra", &[(Word, "a")]),
                ("/**/*/", &[(Operator, "*/")]),
                (
                    "a.b(c)",
                    &[
                        (Word, "a"),
                        (Dot, "."),
                        (Word, "b"),
                        (Open, "("),
                        (Word, "c"),
                        (Close, ")"),
                    ],
                ),
                (
                    "a::b;",
                    &[(Word, "a"), (Cast, "::"), (Word, "b"), (Semicolon, ";")],
                ),
                ("a:b", &[(Word, "a"), (Operator, ":"), (Word, "b")]),
                ("1..2", &[(Value, "1"), (Dot, "."), (Value, ".2")]),
                ("a'b'", &[(Word, "a"), (Value, "'b'")]),
                ("$1.a", &[(Value, "$1"), (Dot, "."), (Word, "a")]),
                (
                    "E'a' , 'b'",
                    &[(Value, "E'a'"), (Comma, ","), (Value, "'b'")],
                ),
            ],
        );
    }

    #[test]
    fn an_operator_ends_where_a_comment_or_a_sign_begins() {
        check(
            Grammar::Postgres,
            &[
                ("a<--'", &[(Word, "a"), (Operator, "<")]),
                ("a@>/*'*/b", &[(Word, "a"), (Operator, "@>"), (Word, "b")]),
                ("+/*-- */*", &[(Operator, "+"), (Operator, "*")]),
                ("<-1", &[(Operator, "<"), (Operator, "-"), (Value, "1")]),
                (
                    "<<<-+1",
                    &[
                        (Operator, "<<<"),
                        (Operator, "-"),
                        (Operator, "+"),
                        (Value, "1"),
                    ],
                ),
                ("@-1", &[(Operator, "@-"), (Value, "1")]),
                ("+-+", &[(Operator, "+"), (Operator, "-"), (Operator, "+")]),
            ],
        );
        let longest = "<".repeat(63);
        let tokens = tokens(Grammar::Postgres, &longest);
        assert_eq!(tokens, [(Operator, &*longest)]);
        check_strange(Grammar::Postgres, &[&"<".repeat(64), &"+".repeat(100)]);
    }

    #[test]
    fn a_backslash_in_a_plain_string_is_what_the_server_says() {
        let rules = Rules {
            grammar: Grammar::Postgres,
            backslash_escapes: true,
            ansi_quotes: false,
        };
        for text in [r"'a\'b'", r"n'a\'b'", r"e'a\'b'"] {
            assert_eq!(tokens_under(rules, text), [(Value, text)]);
        }
        for text in [r#""a\""#, r"u&'a\'"] {
            assert_eq!(tokens_under(rules, text).len(), 1);
        }
    }

    #[test]
    fn mysql() {
        let grammar = Grammar::MySql;
        #[rustfmt::skip]
        check_single(grammar, Value, &[
            "''", "'a''b'", r"'a\'b'", r"'\\'", "1", "1.", "1.5", ".5", "1e5", "1.5E-3", "0x1F", "0b01", "?",
        ]);
        #[rustfmt::skip]
        check_single(grammar, Quoted, &["\"a\"", "\"a\"\"b\"", r#""a\"b""#, "`a`", "`a``b`", r"`\`"]);
        check_single(grammar, Word, &["a", "_a1", "a$b", "été"]);
        #[rustfmt::skip]
        check_single(grammar, Variable, &[
            "@a", "@a.b$c", "@'a'", "@`a`", "@@a", "@@global.a", "@", "@@", ":=",
        ]);
        #[rustfmt::skip]
        check_strange(grammar, &[
            "'", r"'\'", "\"", "`", "@'a", "/*", "/*/", "/*! 1 */", "/*M! 1 */", "/*!50000 1 */",
            "select /*+ a(`*/ `) */ 1", "1a", "1e", "1_0", "0X1F", "0B1", "0b2", "0x", "0o17", "1.a", "1.2.3",
            "a.1", "`a`.1", "a.1e5", "a.1b", "$1", "$$a$$", r"\N", "\u{7f}",
        ]);
        check(
            grammar,
            &[
                ("-- a\n--\n--", &[]),
                ("--\u{1}a", &[]),
                ("# '\n/* ' /* */", &[]),
                ("/*+ a(b) */", &[]),
                ("-- a\rb\nc", &[(Word, "c")]),
                ("--1", &[(Operator, "-"), (Operator, "-"), (Value, "1")]),
                ("--- a", &[(Operator, "-")]),
                ("<=>", &[(Operator, "<"), (Operator, "="), (Operator, ">")]),
                ("x'00'", &[(Word, "x"), (Value, "'00'")]),
                ("_utf8'a'", &[(Word, "_utf8"), (Value, "'a'")]),
                ("a .5", &[(Word, "a"), (Value, ".5")]),
                ("`a`.b", &[(Quoted, "`a`"), (Dot, "."), (Word, "b")]),
                ("a@b", &[(Word, "a"), (Variable, "@b")]),
                ("a:b", &[(Word, "a"), (Operator, ":"), (Word, "b")]),
            ],
        );
    }

    #[test]
    fn sqlite() {
        let grammar = Grammar::Sqlite;
        #[rustfmt::skip]
        check_single(grammar, Value, &[
            "1", "1.", "1.5", ".5", "1e5", "1_000", "0x1F", "?", "?12", ":a", "@a", "$a", "#a", ":1",
        ]);
        #[rustfmt::skip]
        check_single(grammar, Quoted, &[
            "''", "'a''b'", r"'\'", "\"a\"", "\"a\"\"b\"", "`a`", "`a``b`", "[a]", "[a[`'\"]",
        ]);
        check_single(grammar, Word, &["a", "_a1", "a$b", "été", "a\u{feff}"]);
        #[rustfmt::skip]
        check_strange(grammar, &[
            "'", "\"", "`", "[", "/*", "/*/", "1a", "1e", "0b01", "0o17", "1.2.3", "1..2", ":", "$", "$a(b)",
            "$a::b", "\\", "\u{feff}a",
        ]);
        check(
            grammar,
            &[
                ("-- '\n/* /* */", &[]),
                ("--a\rb\nc", &[(Word, "c")]),
                (
                    "a->>b",
                    &[
                        (Word, "a"),
                        (Operator, "-"),
                        (Operator, ">"),
                        (Operator, ">"),
                        (Word, "b"),
                    ],
                ),
                ("x'00'", &[(Word, "x"), (Quoted, "'00'")]),
                ("[a]]", &[(Quoted, "[a]"), (Operator, "]")]),
            ],
        );
    }

    #[test]
    fn what_was_strange_once_stays_so() {
        let rules = Rules {
            grammar: Grammar::Postgres,
            backslash_escapes: false,
            ansi_quotes: false,
        };
        let mut lexer = Lexer::new("é' a", rules);
        assert_eq!(lexer.next().kind, Word);
        assert_eq!(lexer.next(), lexer.next());
        assert_eq!(lexer.next().kind, Strange);
        let mut lexer = Lexer::new("a", rules);
        lexer.next();
        assert_eq!(lexer.next(), lexer.next());
        assert_eq!(lexer.next().kind, Kind::End);
    }

    #[test]
    fn hints_are_found_and_names_unquoted() {
        assert_eq!(leading_comment(" /*a*/ b"), Some("a"));
        for text in ["a /*b*/", "/*a", "-- a\n/*b*/", ""] {
            assert_eq!(leading_comment(text), None);
        }
        for name in ["\"a\"", "`a`", "[a]"] {
            assert_eq!(unquoted(name), Some("a"));
        }
        for name in ["\"a\"\"b\"", "U&\"a\"", r#""a\"b""#, "\""] {
            assert_eq!(unquoted(name), None);
        }
    }
}
