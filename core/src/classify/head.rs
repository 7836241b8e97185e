//! How statements begin: what kind they are of, and what must be looked for in the rest.

use super::lexer::{Kind, Token};
use super::name::Folded;
use super::scan::{Goal, Scan, Step, TEMPORARY, Verdict, is_common_setting};
use super::sql::Grammar;
use super::words::{self, Key, among};
use crate::decision::Cause;

impl<'a> Scan<'a, '_> {
    /// Reads the beginning of a statement: what must be looked for in the rest of it.
    pub(super) fn head(&mut self) -> Step<'a, Goal> {
        self.open_all();
        self.head = self.here.token;
        let in_parentheses = self.depth > 0;
        let Some(word) = self.word() else {
            return self.stop(Cause::Unknown);
        };
        if in_parentheses && self.grammar == Grammar::Sqlite {
            return self.stop(Cause::Malformed);
        }
        if Key::of(&word).heads_a_query() {
            return Ok(Goal::Query);
        }
        let mysql = self.grammar == Grammar::MySql;
        match &*word {
            _ if in_parentheses => self.stop(Cause::Unknown),
            b"explain" => self.explain(),
            b"analyze" if mysql && self.next.kind == Kind::Open => self.explain(),
            b"analyze" if mysql && self.is_next(&["format", "select", "values", "with"]) => {
                self.explain()
            }
            b"desc" | b"describe" if mysql => self.explain(),
            b"show" => self.show(),
            b"copy" if self.grammar == Grammar::Postgres => self.copy(),
            b"create" | b"drop" => self.create(),
            b"pragma" if self.grammar == Grammar::Sqlite => self.pragma(),
            b"load" if self.grammar == Grammar::Postgres => self.stop(Cause::SessionState),
            word if among(word, words::STATE_HEADS) => self.stop(Cause::SessionState),
            word if among(word, words::WRITE_HEADS) => self.stop(Cause::Writes),
            _ => self.stop(Cause::Unknown),
        }
    }

    fn open_all(&mut self) {
        while self.here.token.kind == Kind::Open {
            self.depth += 1;
            self.advance();
        }
    }

    fn explain(&mut self) -> Step<'a, Goal> {
        let executes = match self.grammar {
            Grammar::Postgres => self.explain_options(),
            Grammar::MySql => {
                // Some versions run subqueries in order to explain the query around them.
                self.advance();
                while self.word().is_some_and(|word| {
                    among(&word, &["analyze", "extended", "format", "partitions"])
                }) {
                    self.advance();
                    if self.here.token.text == "=" {
                        self.advance();
                        self.advance();
                    }
                }
                true
            }
            Grammar::Sqlite => {
                self.advance();
                while self
                    .word()
                    .is_some_and(|word| among(&word, &["plan", "query"]))
                {
                    self.advance();
                }
                false
            }
        };
        self.open_all();
        let Some(word) = self.word() else {
            let named = self.grammar == Grammar::MySql && self.here.token.kind == Kind::Quoted;
            return if named {
                Ok(Goal::Shape)
            } else {
                self.stop(Cause::Unknown)
            };
        };
        match Key::of(&word) {
            key if key.heads_a_query() && executes => Ok(Goal::Query),
            key if key.heads_a_query() => Ok(Goal::Shape),
            key if key.changes_rows() && executes => self.stop(Cause::Writes),
            key if key.changes_rows() => Ok(Goal::Shape),
            // A table that would be made of a query, and a cursor.
            _ if self.grammar == Grammar::Postgres
                && !executes
                && matches!(&*word, b"create" | b"declare") =>
            {
                Ok(Goal::Shape)
            }
            Key::For => self.stop(Cause::SessionDependent),
            // `DESCRIBE table`
            Key::Other if self.grammar == Grammar::MySql && !words::heads_a_change(&word) => {
                Ok(Goal::Shape)
            }
            _ => self.stop(Cause::Unknown),
        }
    }

    /// Reads the options of PostgreSQL's `EXPLAIN`. Whether the statement is executed.
    fn explain_options(&mut self) -> bool {
        const ANALYZE: &[&str] = &["analyse", "analyze"];
        self.advance();
        let mut executes = false;
        let in_parentheses = self.here.token.kind == Kind::Open
            && self.next.kind == Kind::Word
            && !Folded::word(self.next).is_some_and(|word| Key::of(&word).heads_a_query());
        if !in_parentheses {
            while let Some(word) = self.word()
                && (among(&word, ANALYZE) || *word == *b"verbose")
            {
                executes |= among(&word, ANALYZE);
                self.advance();
            }
            return executes;
        }
        while !matches!(
            self.here.token.kind,
            Kind::Close | Kind::End | Kind::Strange
        ) {
            // A quoted option is an option as well.
            executes |= self.here.token.kind == Kind::Quoted;
            let analyze = self.word().is_some_and(|word| among(&word, ANALYZE));
            executes |= analyze && !self.is_next(&["false", "off"]) && self.next.text != "0";
            self.advance();
        }
        self.advance();
        executes
    }

    fn show(&mut self) -> Step<'a, Goal> {
        match self.grammar {
            Grammar::Postgres if !self.shows_common_setting() => self.stop(Cause::SessionDependent),
            Grammar::Postgres => Ok(Goal::Shape),
            Grammar::Sqlite => self.stop(Cause::Unknown),
            Grammar::MySql => {
                self.advance();
                while self
                    .word()
                    .is_some_and(|word| among(&word, words::MYSQL_SHOW_MODIFIERS))
                {
                    self.advance();
                }
                match self.word() {
                    Some(word) if among(&word, words::MYSQL_SHOWN) => Ok(Goal::Shape),
                    Some(word) if *word == *b"variables" && self.shows_common_variables() => {
                        Ok(Goal::Shape)
                    }
                    _ => self.stop(Cause::SessionDependent),
                }
            }
        }
    }

    /// Whether what PostgreSQL shows is the same on every server and connection.
    fn shows_common_setting(&self) -> bool {
        let name = self.next.text.trim_matches('"');
        // With a dot it is one of the application's own, or of a library that is loaded on first use.
        is_common_setting(name) && self.lexer.clone().next().kind != Kind::Dot
    }

    /// Whether MySQL's `SHOW VARIABLES` asks by name for variables that are the same on every server and connection:
    /// `LIKE 'a'`, `WHERE variable_name = 'a' OR …`, `WHERE variable_name IN ('a', …)`. What follows is looked at
    /// once and no further than that, so it takes no more than another look at each token.
    fn shows_common_variables(&self) -> bool {
        let mut ahead = self.lexer.clone();
        let is = |token: Token<'_>, word: &str| {
            token.kind == Kind::Word && token.text.eq_ignore_ascii_case(word)
        };
        let ends = |token: Token<'_>| matches!(token.kind, Kind::End | Kind::Semicolon);
        let is_common = |token: Token<'_>| {
            let text = matches!(token.kind, Kind::Quoted | Kind::Value).then_some(token.text);
            let name = text.and_then(|text| text.get(1..text.len().checked_sub(1)?));
            let name = name.and_then(Folded::lower);
            name.is_some_and(|name| among(&name, words::MYSQL_VARIABLES))
        };
        if is(self.next, "like") {
            return is_common(ahead.next()) && ends(ahead.next());
        }
        if !is(self.next, "where") {
            return false;
        }
        loop {
            if !is(ahead.next(), "variable_name") {
                return false;
            }
            let operator = ahead.next();
            if is(operator, "in") {
                let mut token = ahead.next();
                while matches!(token.kind, Kind::Open | Kind::Comma) {
                    if !is_common(ahead.next()) {
                        return false;
                    }
                    token = ahead.next();
                }
                if token.kind != Kind::Close {
                    return false;
                }
            } else if !(operator.text == "=" || is(operator, "like")) || !is_common(ahead.next()) {
                return false;
            }
            match ahead.next() {
                token if ends(token) => return true,
                token if is(token, "or") => {}
                _ => return false,
            }
        }
    }

    /// SQLite's pragmas, of which some read what is in the file.
    fn pragma(&mut self) -> Step<'a, Goal> {
        self.advance();
        let schema = self.next.kind == Kind::Dot;
        if schema && self.word().is_none_or(|word| *word != *b"main") {
            return self.stop(Cause::SessionState);
        }
        if schema {
            self.advance();
            self.advance();
        }
        let reading = match self.next.kind {
            Kind::End | Kind::Semicolon => words::SQLITE_PRAGMAS,
            Kind::Open => words::SQLITE_PRAGMAS_OF,
            _ => &[],
        };
        match self.word().is_some_and(|word| among(&word, reading)) {
            true => Ok(Goal::Shape),
            false => self.stop(Cause::SessionState),
        }
    }

    fn copy(&mut self) -> Step<'a, Goal> {
        self.here.key = Key::Copy;
        self.advance();
        if self.here.token.kind != Kind::Open {
            return Ok(Goal::CopyOfTable);
        }
        self.open_all();
        match self.word().map(|word| Key::of(&word)) {
            Some(key) if key.heads_a_query() => Ok(Goal::CopyOfQuery),
            _ => self.stop(Cause::Writes),
        }
    }

    fn create(&mut self) -> Step<'a, Goal> {
        const BEFORE: &[&str] = &["create", "drop", "global", "local", "or", "replace"];
        let head = self.here.token.text;
        while self.word().is_some_and(|word| among(&word, BEFORE)) {
            self.advance();
        }
        if self.word().is_some_and(|word| among(&word, TEMPORARY)) {
            return self.stop(Cause::SessionState);
        }
        let cause = Cause::Writes;
        Err(Verdict { cause, token: head })
    }
}
