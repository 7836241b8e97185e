//! The walk over a statement's tokens that decides what it needs.
//!
//! It knows just enough of the grammar to tell a keyword from a name and a call from an alias or a type.
//! The first token that could make the statement anything but a read ends the walk; a statement that gets
//! to its end is one.

use super::functions::{Effect, Functions};
use super::lexer::{Kind, Lexer, Rules, Token, unquoted};
use super::name::Folded;
use super::postgres;
use super::sql::Grammar;
use super::words::{self, Key, among};
use crate::decision::Cause;

/// What a statement is, and the token that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict<'a> {
    pub(super) cause: Cause,
    pub(super) token: &'a str,
}

/// What a statement is.
pub(super) fn scan<'a>(sql: &'a str, rules: Rules, functions: &Functions) -> Verdict<'a> {
    if let Some(nul) = sql.find('\0') {
        let token = &sql[nul..=nul];
        let cause = Cause::Malformed;
        return Verdict { cause, token };
    }
    let mut scan = Scan::new(sql, rules, functions);
    match scan.head().and_then(|goal| scan.walk(goal)) {
        Ok(verdict) | Err(verdict) => verdict,
    }
}

/// An early end of the walk, with the verdict.
pub(super) type Step<'a, T> = Result<T, Verdict<'a>>;

/// What is looked for in the rest of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// That it only reads.
    Query,
    /// That it is one statement: it runs nothing of what it contains.
    Shape,
    /// That what it copies only reads, and goes to the client.
    CopyOfQuery,
    /// That it goes to the client.
    CopyOfTable,
}

pub(super) struct Scan<'a, 'f> {
    pub(super) lexer: Lexer<'a>,
    pub(super) grammar: Grammar,
    functions: &'f Functions,
    /// The key of the token before the one before.
    key_before_that: Key,
    pub(super) before: Seen<'a>,
    pub(super) here: Seen<'a>,
    pub(super) next: Token<'a>,
    /// The word that the statement begins with.
    pub(super) head: Token<'a>,
    /// The open parentheses, and the open brackets.
    pub(super) depth: usize,
    brackets: usize,
    /// What stands before the last dot.
    owner: Option<Token<'a>>,
    /// Lists of common table expressions that have been begun, innermost last.
    lists: Vec<List>,
    /// The depths of parentheses that an operand follows, as in `DISTINCT ON (…) f(…)`.
    before_operand: Vec<usize>,
    /// The last parenthesis closed was one of those.
    closed_before_operand: bool,
}

/// A token, and what is known of it from those before it.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) token: Token<'a>,
    pub(super) key: Key,
    /// It is a name for sure, or a type: it stands behind `AS` or `::`.
    named: bool,
    /// It stands behind a dot.
    behind_dot: bool,
    /// It stands where a relation can: behind `FROM`, `JOIN`, a comma.
    maybe_relation: bool,
}

impl<'a> Seen<'a> {
    fn new(token: Token<'a>) -> Self {
        Self {
            token,
            key: Key::Other,
            named: false,
            behind_dot: false,
            maybe_relation: false,
        }
    }
}

/// A list of common table expressions: `WITH name (columns) AS (…), …`.
struct List {
    depth: usize,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// A name follows, which looks like a call if columns follow.
    Name,
    /// `AS` follows.
    As,
    /// The query in its parentheses follows.
    Body,
    /// The query has begun. Behind it follows the next one, or the statement.
    Begun,
    /// `SEARCH` or `CYCLE`, whose own lists have commas too.
    Extras,
}

impl<'a, 'f> Scan<'a, 'f> {
    fn new(sql: &'a str, rules: Rules, functions: &'f Functions) -> Self {
        let mut lexer = Lexer::new(sql, rules);
        let token = lexer.next();
        let next = lexer.next();
        Self {
            lexer,
            grammar: rules.grammar,
            functions,
            key_before_that: Key::Other,
            before: Seen::new(Token {
                kind: Kind::Semicolon,
                ..token
            }),
            here: Seen::new(token),
            next,
            head: token,
            depth: 0,
            brackets: 0,
            owner: None,
            lists: Vec::new(),
            before_operand: Vec::new(),
            closed_before_operand: false,
        }
    }

    pub(super) fn advance(&mut self) {
        self.key_before_that = self.before.key;
        self.before = self.here;
        self.here = Seen::new(self.next);
        self.next = self.lexer.next();
    }

    pub(super) fn stop<T>(&self, cause: Cause) -> Step<'a, T> {
        let cause = match self.here.token.kind {
            Kind::Strange => Cause::Malformed,
            _ => cause,
        };
        let token = self.here.token.text;
        Err(Verdict { cause, token })
    }

    /// The word under examination, in lower case.
    pub(super) fn word(&self) -> Option<Folded> {
        Folded::word(self.here.token)
    }

    pub(super) fn is_next(&self, words: &[&str]) -> bool {
        Folded::word(self.next).is_some_and(|word| among(&word, words))
    }

    /// Reads the rest of a statement.
    fn walk(&mut self, mut goal: Goal) -> Step<'a, Verdict<'a>> {
        let first = self.here.token;
        loop {
            match self.here.token.kind {
                Kind::End | Kind::Semicolon => return self.end(goal),
                Kind::Strange => return self.stop(Cause::Malformed),
                Kind::Open => self.open(),
                Kind::Close => self.close()?,
                Kind::Comma => self.comma(),
                Kind::Dot => {
                    let named = matches!(self.before.token.kind, Kind::Word | Kind::Quoted);
                    self.owner = named.then_some(self.before.token);
                    self.here.named = self.before.named;
                    self.here.maybe_relation = self.before.maybe_relation;
                }
                Kind::Word | Kind::Quoted if goal == Goal::Shape => {
                    self.mention()?;
                    // `SHOW TABLES WHERE f(1)` does call `f`.
                    if self.here.key == Key::Where && self.grammar == Grammar::MySql {
                        goal = Goal::Query;
                    }
                }
                Kind::Word | Kind::Quoted
                    if goal == Goal::CopyOfTable || self.is_behind_copy(goal) =>
                {
                    goal = self.destination(goal)?;
                }
                Kind::Word => self.plain_name(first)?,
                Kind::Quoted => self.quoted_name()?,
                Kind::Variable if goal != Goal::Shape => self.variable()?,
                Kind::Operator if self.here.token.text == "[" => self.brackets += 1,
                Kind::Operator if self.here.token.text == "]" => match self.brackets.checked_sub(1)
                {
                    Some(brackets) => self.brackets = brackets,
                    None => return self.stop(Cause::Malformed),
                },
                Kind::Operator if self.functions.is_volatile_operator(self.here.token.text) => {
                    self.stop(Cause::Volatile)?;
                }
                Kind::Variable | Kind::Operator | Kind::Value | Kind::Cast => {}
            }
            self.advance();
        }
    }

    /// The end of the statement, behind which nothing may follow.
    fn end(&mut self, goal: Goal) -> Step<'a, Verdict<'a>> {
        // A list without a statement behind it is none either.
        if self.depth > 0 || self.brackets > 0 || !self.lists.is_empty() {
            return self.stop(Cause::Malformed);
        }
        while self.here.token.kind == Kind::Semicolon {
            self.advance();
        }
        match (self.here.token.kind, goal) {
            (Kind::End, Goal::Query | Goal::Shape) => Ok(Verdict {
                cause: Cause::Query,
                token: self.head.text,
            }),
            (Kind::End, Goal::CopyOfQuery | Goal::CopyOfTable) => self.stop(Cause::Unknown),
            _ => self.stop(Cause::SeveralStatements),
        }
    }

    fn open(&mut self) {
        if let Some(list) = self.list() {
            match list.stage {
                Stage::As => {}
                Stage::Body => list.stage = Stage::Begun,
                Stage::Name | Stage::Begun | Stage::Extras => {
                    self.lists.pop();
                }
            }
        }
        let distinct_on = (self.key_before_that, self.before.key) == (Key::Distinct, Key::On);
        if distinct_on || self.before.key == Key::Operator {
            self.before_operand.push(self.depth);
        }
        self.depth += 1;
    }

    fn close(&mut self) -> Step<'a, ()> {
        let Some(depth) = self.depth.checked_sub(1) else {
            return self.stop(Cause::Malformed);
        };
        self.depth = depth;
        while self.lists.last().is_some_and(|list| list.depth > depth) {
            self.lists.pop();
        }
        self.closed_before_operand = self.before_operand.last() == Some(&depth);
        if self.closed_before_operand {
            self.before_operand.pop();
        }
        Ok(())
    }

    fn comma(&mut self) {
        if let Some(list) = self.list()
            && matches!(list.stage, Stage::Begun | Stage::Extras)
        {
            list.stage = Stage::Name;
        }
    }

    /// The list of common table expressions that the token is a part of.
    fn list(&mut self) -> Option<&mut List> {
        let depth = self.depth;
        self.lists.last_mut().filter(|list| list.depth == depth)
    }

    /// Whether the name is that of a common table expression.
    fn names_a_table(&mut self, key: Key) -> bool {
        let recursive = key == Key::Recursive && self.before.key == Key::With;
        let Some(list) = self.list() else {
            return false;
        };
        let begins_statement = key.heads_a_query() || key.changes_rows();
        match (list.stage, key) {
            (Stage::Name, _) if recursive => {}
            (Stage::Name, _) => {
                list.stage = Stage::As;
                return true;
            }
            (Stage::As, Key::As) => list.stage = Stage::Body,
            (Stage::Begun, Key::Search | Key::Cycle) => list.stage = Stage::Extras,
            (Stage::Begun, _) => {
                self.lists.pop();
            }
            (Stage::As | Stage::Extras, _) if begins_statement => {
                self.lists.pop();
            }
            (Stage::As | Stage::Body | Stage::Extras, _) => {}
        }
        false
    }

    /// Notes where the name stands.
    fn note_position(&mut self) {
        let Seen {
            token,
            key,
            named,
            maybe_relation,
            ..
        } = self.before;
        let behind_dot = token.kind == Kind::Dot;
        let behind_from = matches!(
            key,
            Key::From | Key::Join | Key::Only | Key::Table | Key::Copy
        );
        self.here.behind_dot = behind_dot;
        // A dot hands on what is known of its owner: the name goes on.
        self.here.named = key == Key::As || token.kind == Kind::Cast || behind_dot && named;
        self.here.maybe_relation =
            behind_from || token.kind == Kind::Comma || behind_dot && maybe_relation;
    }

    /// A name in a statement that is explained or copied, and not executed. The server looks at relations all
    /// the same, makes a temporary one, and calls functions that are not volatile.
    fn mention(&mut self) -> Step<'a, ()> {
        self.note_position();
        let name = self.folded_name();
        if self.next.kind == Kind::Open && name.as_deref().is_some_and(postgres::is_refused) {
            return self.stop(Cause::Volatile);
        }
        match self.here.token.kind {
            Kind::Word if !self.here.behind_dot => {
                self.here.key = name.as_deref().map_or(Key::Other, Key::of);
            }
            _ => {}
        }
        if self.here.key == Key::Into && self.is_next(TEMPORARY) {
            return self.stop(Cause::SessionState);
        }
        self.relation(name.as_deref())
    }

    /// The name under examination.
    fn folded_name(&self) -> Option<Folded> {
        Folded::of(self.here.token, self.grammar)
    }

    /// A name of a relation that is not the same on every server.
    fn relation(&self, name: Option<&[u8]>) -> Step<'a, ()> {
        let maybe = self.here.maybe_relation && self.next.kind != Kind::Dot;
        match name {
            Some(name) if maybe && self.functions.is_local_relation(name) => {
                self.stop(Cause::SessionDependent)
            }
            _ => Ok(()),
        }
    }

    fn plain_name(&mut self, first: Token<'a>) -> Step<'a, ()> {
        self.note_position();
        let word = self.folded_name();
        let name = word.as_deref();
        let key = match name {
            Some(name) if !self.here.named && !self.here.behind_dot => Key::of(name),
            _ => Key::Other,
        };
        if self.names_a_table(key) {
            return Ok(());
        }
        self.here.key = key;
        if key != Key::Other {
            self.keyword(key, first)?;
        }
        self.name(name)
    }

    fn quoted_name(&mut self) -> Step<'a, ()> {
        self.note_position();
        // Which function `U&"…"` calls depends on the escapes in it, and on the character that `UESCAPE` gives.
        let text = self.here.token.text;
        if text.starts_with(['u', 'U']) {
            let may_call = self.next.kind == Kind::Open || self.here.behind_dot;
            if may_call && text.contains('\\') || self.is_next(&["uescape"]) {
                return self.stop(Cause::Malformed);
            }
        }
        if self.names_a_table(Key::Other) {
            return Ok(());
        }
        self.name(self.folded_name().as_deref())
    }

    /// A keyword that may make the statement something else than a read.
    fn keyword(&mut self, key: Key, first: Token<'a>) -> Step<'a, ()> {
        let mysql = self.grammar == Grammar::MySql;
        // In MySQL a name may begin with a dot.
        let before_name = matches!(self.next.kind, Kind::Word | Kind::Quoted)
            || mysql && self.next.kind == Kind::Dot;
        match key {
            Key::Into if self.is_next(TEMPORARY) => self.stop(Cause::SessionState),
            Key::Into => self.stop(Cause::Writes),
            Key::For if self.is_next(&["key", "no", "share", "update"]) => self.stop(Cause::Locks),
            Key::Lock if mysql && self.is_next(&["in"]) => self.stop(Cause::Locks),
            Key::Replace if self.grammar == Grammar::Postgres => Ok(()),
            key if key.changes_rows() && before_name => self.stop(Cause::Writes),
            Key::Next if mysql && self.is_next(&["value"]) => self.stop(Cause::Writes),
            Key::Previous if mysql && self.is_next(&["value"]) => {
                self.stop(Cause::SessionDependent)
            }
            Key::Procedure if mysql => self.stop(Cause::Unknown),
            Key::SqlCalcFoundRows if mysql => self.stop(Cause::SessionState),
            Key::With
                if before_name
                    && (self.before.token.kind == Kind::Open
                        || self.here.token.start == first.start) =>
            {
                let (depth, stage) = (self.depth, Stage::Name);
                self.lists.push(List { depth, stage });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A name of something: a relation, a column, a function.
    fn name(&mut self, name: Option<&[u8]>) -> Step<'a, ()> {
        if self.next.kind == Kind::Open {
            return self.call(name);
        }
        let Some(name) = name else {
            return Ok(());
        };
        if words::is_local_relation(name, self.grammar) {
            return self.stop(Cause::SessionDependent);
        }
        self.relation(Some(name))?;
        let behind_dot = self.here.behind_dot;
        match self.grammar {
            Grammar::Postgres if behind_dot && self.functions.is_attribute(name) => {
                self.stop(Cause::Volatile)
            }
            // Oracle's spelling of a sequence's values, which MariaDB understands.
            Grammar::MySql if behind_dot && among(name, &["currval", "nextval"]) => {
                self.stop(Cause::Writes)
            }
            // Its views tell of one server.
            Grammar::MySql if *name == *b"sys" && self.next.kind == Kind::Dot => {
                self.stop(Cause::SessionDependent)
            }
            Grammar::MySql
                if words::is_local_information(name) && self.is_of(b"information_schema") =>
            {
                self.stop(Cause::SessionDependent)
            }
            Grammar::Sqlite if *name == *b"temp" && self.next.kind == Kind::Dot => {
                self.stop(Cause::SessionDependent)
            }
            // The pragmas that only read are known as functions; they may be named like tables.
            Grammar::Sqlite
                if name.starts_with(b"pragma_") && self.functions.effect(None, name).is_none() =>
            {
                self.stop(Cause::SessionDependent)
            }
            _ => Ok(()),
        }
    }

    /// Whether what stands before the name and a dot is this schema.
    fn is_of(&self, schema: &[u8]) -> bool {
        let owner = self.owner.filter(|_| self.here.behind_dot);
        let owner = owner.and_then(|owner| Folded::of(owner, self.grammar));
        owner.is_some_and(|owner| *owner == *schema)
    }

    /// A name before a parenthesis: syntax, a type, an alias with columns, or the call of a function.
    fn call(&mut self, name: Option<&[u8]>) -> Step<'a, ()> {
        if self.here.named {
            return Ok(());
        }
        let behind_dot = self.here.behind_dot;
        if !behind_dot && self.grammar == Grammar::Postgres && self.is_alias() {
            return Ok(());
        }
        // Behind quotes MySQL looks for functions of the user's, even of the names that are its own syntax.
        let foreign =
            self.grammar == Grammar::MySql && self.here.token.kind == Kind::Quoted && !behind_dot;
        let Some(name) = name.filter(|_| !foreign) else {
            return self.stop(Cause::UnknownFunction);
        };
        let is_word = self.here.token.kind == Kind::Word && !behind_dot;
        let samples = is_word && self.before.key == Key::Tablesample;
        if samples && among(name, words::POSTGRES_SAMPLING) {
            return Ok(());
        }
        // `FETCH FIRST (1 + 1) ROWS ONLY`
        if is_word && self.before.key == Key::Fetch {
            return Ok(());
        }
        let effect = if behind_dot {
            let schema = self.owner.and_then(|owner| Folded::of(owner, self.grammar));
            schema.and_then(|schema| self.functions.effect(Some(&schema), name))
        } else {
            self.functions.effect(None, name)
        };
        if *name == *b"current_setting" && !self.asks_for_common_setting() {
            return self.stop(Cause::SessionDependent);
        }
        match effect {
            Some(Effect::Volatile) => self.stop(Cause::Volatile),
            Some(Effect::Local) => self.stop(Cause::SessionDependent),
            Some(Effect::Reads) if self.is_native(name) => Ok(()),
            _ if is_word && self.is_syntax(name) => Ok(()),
            Some(Effect::Reads) | None => self.stop(Cause::UnknownFunction),
        }
    }

    /// Whether a word before a parenthesis is a part of the grammar. Two of them are so only behind a call.
    fn is_syntax(&self, word: &[u8]) -> bool {
        let behind_call = self.before.token.kind == Kind::Close;
        words::may_open(word, self.grammar) && (behind_call || !matches!(word, b"filter" | b"over"))
    }

    /// Whether a call of a function that comes with the server is one. With a blank before the parenthesis
    /// some of MySQL's names are the user's.
    fn is_native(&self, name: &[u8]) -> bool {
        self.grammar != Grammar::MySql
            || self.here.token.is_glued_to(&self.next)
            || !among(name, words::MYSQL_GLUED)
    }

    /// Whether the call's only argument, but for whether it may be missing, is the name of a setting that is the
    /// same on every server and connection.
    fn asks_for_common_setting(&self) -> bool {
        let mut ahead = self.lexer.clone();
        let (argument, behind) = (ahead.next(), ahead.next());
        let quoted = argument.text.strip_prefix('\'');
        let name = quoted.and_then(|text| text.strip_suffix('\''));
        matches!(behind.kind, Kind::Close | Kind::Comma) && name.is_some_and(is_common_setting)
    }

    /// Whether the name stands where a function cannot: PostgreSQL's `FROM f(1) alias (columns)`.
    fn is_alias(&self) -> bool {
        match self.before.token.kind {
            // In `XMLTABLE` an expression follows `PATH`, which is a keyword nowhere else, and may be quoted.
            Kind::Quoted => unquoted(self.before.token.text)
                .is_some_and(|name| !name.eq_ignore_ascii_case("path")),
            Kind::Close => !self.closed_before_operand,
            Kind::Word if self.before.named || self.before.behind_dot => true,
            Kind::Word => {
                self.before.key == Key::Ordinality
                    || Folded::word(self.before.token)
                        .is_none_or(|word| !words::is_postgres_keyword(&word))
            }
            _ => false,
        }
    }

    /// MySQL's variables: the user's belong to the connection.
    fn variable(&mut self) -> Step<'a, ()> {
        let system = self
            .here
            .token
            .text
            .strip_prefix("@@")
            .and_then(Folded::lower);
        let known = system.is_some_and(|name| {
            let mut scopes = [&b"global."[..], b"local.", b"session."].into_iter();
            let unscoped = scopes.find_map(|scope| name.strip_prefix(scope));
            among(unscoped.unwrap_or(&name), words::MYSQL_VARIABLES)
        });
        match known {
            true => Ok(()),
            false => self.stop(Cause::SessionDependent),
        }
    }

    /// Whether what is copied has been read, and where it goes to follows.
    fn is_behind_copy(&self, goal: Goal) -> bool {
        goal == Goal::CopyOfQuery && self.depth == 0
    }

    /// Where a copy goes to, or comes from.
    fn destination(&mut self, goal: Goal) -> Step<'a, Goal> {
        self.mention()?;
        match self.here.key {
            _ if self.depth > 0 => Ok(goal),
            Key::From => self.stop(Cause::Writes),
            Key::To if self.is_next(&["stdout"]) => Ok(Goal::Shape),
            // A file of the server's.
            Key::To => self.stop(Cause::SessionDependent),
            _ => Ok(goal),
        }
    }
}

pub(super) const TEMPORARY: &[&str] = &["temp", "temporary"];

/// Whether a setting of PostgreSQL is the same on every server and connection. The application's own have
/// a dot in their names.
pub(super) fn is_common_setting(name: &str) -> bool {
    let local = |name: Folded| among(&name, words::POSTGRES_LOCAL_SETTINGS);
    !name.contains('.') && !Folded::lower(name).is_none_or(local)
}
