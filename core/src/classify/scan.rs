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
    // PostgreSQL and SQLite skip empty statements.
    if rules.grammar != Grammar::MySql {
        scan.skip_semicolons();
    }
    let first = match scan.statement() {
        Ok(verdict) => verdict,
        Err(verdict) => return verdict,
    };
    while scan.here.token.kind != Kind::End {
        match scan.statement() {
            Ok(_) => {}
            Err(verdict) if verdict.cause == Cause::Malformed => return verdict,
            Err(verdict) => {
                return Verdict {
                    cause: Cause::SeveralStatements,
                    ..verdict
                };
            }
        }
    }
    first
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
    /// The token before the one before.
    earlier: Seen<'a>,
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
    /// Where a `SELECT` has begun, so that `FROM` is its clause and no part of a call as in `extract(… FROM …)`.
    selects: Depths,
    from_clauses: Depths,
    group_clauses: Depths,
    /// The depths at which a parenthesis was opened for the arguments of a function in `FROM`.
    from_calls: Depths,
    /// The last parenthesis closed was one of those.
    closed_from_call: bool,
    /// Functions in `FROM`, and their aliases.
    from_functions: Few<Token<'a>>,
    /// Columns that have the name of a function that is no read: their owners, and the verdict if the owner is no table
    /// but what a function in `FROM` returns.
    attributes: Few<(Token<'a>, Verdict<'a>)>,
}

/// A few of a kind, and whether there were more.
#[derive(Clone, Copy)]
struct Few<T> {
    items: [Option<T>; 8],
    more: bool,
}

impl<T: Copy> Few<T> {
    const NONE: Self = Self {
        items: [None; 8],
        more: false,
    };

    fn push(&mut self, item: T) {
        match self.items.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(item),
            None => self.more = true,
        }
    }

    fn iter(&self) -> impl Iterator<Item = T> {
        self.items.iter().copied().flatten()
    }
}

/// The depths of parentheses at which something holds. Below the 64th it always does.
#[derive(Clone, Copy, Default)]
struct Depths(u64);

impl Depths {
    fn set(&mut self, depth: usize, holds: bool) {
        if depth < 64 {
            self.0 = self.0 & !(1 << depth) | u64::from(holds) << depth;
        }
    }

    fn has(self, depth: usize) -> bool {
        depth >= 64 || self.0 >> depth & 1 == 1
    }
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
    /// It stands where a relation can: behind `FROM`, `JOIN`, or a comma in such a clause.
    maybe_relation: bool,
    /// It stands behind a dot, and what stands before the dot is an expression and no name: `(a).b`, `$1.b`,
    /// `a[1].b`. In PostgreSQL it is then a field, or calls a function of one argument.
    of_expression: bool,
}

impl<'a> Seen<'a> {
    fn new(token: Token<'a>) -> Self {
        Self {
            token,
            key: Key::Other,
            named: false,
            behind_dot: false,
            maybe_relation: false,
            of_expression: false,
        }
    }

    fn is_name(&self) -> bool {
        matches!(self.token.kind, Kind::Word | Kind::Quoted)
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
        let nothing = Seen::new(Token {
            kind: Kind::Semicolon,
            ..token
        });
        Self {
            lexer,
            grammar: rules.grammar,
            functions,
            earlier: nothing,
            before: nothing,
            here: Seen::new(token),
            next,
            head: token,
            depth: 0,
            brackets: 0,
            owner: None,
            lists: Vec::new(),
            before_operand: Vec::new(),
            closed_before_operand: false,
            selects: Depths::default(),
            from_clauses: Depths::default(),
            group_clauses: Depths::default(),
            from_calls: Depths::default(),
            closed_from_call: false,
            from_functions: Few::NONE,
            attributes: Few::NONE,
        }
    }

    /// Reads one statement, and the semicolons behind it.
    fn statement(&mut self) -> Step<'a, Verdict<'a>> {
        self.before_operand.clear();
        self.from_clauses = Depths::default();
        self.group_clauses = Depths::default();
        self.selects = Depths::default();
        self.from_calls = Depths::default();
        self.closed_from_call = false;
        self.from_functions = Few::NONE;
        self.attributes = Few::NONE;
        let goal = self.head()?;
        self.walk(goal)
    }

    fn skip_semicolons(&mut self) {
        while self.here.token.kind == Kind::Semicolon {
            self.advance();
        }
    }

    pub(super) fn advance(&mut self) {
        self.earlier = self.before;
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
                    self.here.of_expression = match self.before.token.kind {
                        Kind::Close | Kind::Value => true,
                        Kind::Operator => self.before.token.text == "]",
                        _ => self.before.of_expression,
                    };
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

    /// The end of the statement, behind which another one that only reads may follow.
    fn end(&mut self, goal: Goal) -> Step<'a, Verdict<'a>> {
        // A list without a statement behind it is none either.
        if self.depth > 0 || self.brackets > 0 || !self.lists.is_empty() {
            return self.stop(Cause::Malformed);
        }
        if let Some(verdict) = self.attribute_of_function() {
            return Err(verdict);
        }
        self.skip_semicolons();
        match goal {
            Goal::Query | Goal::Shape => Ok(Verdict {
                cause: Cause::Query,
                token: self.head.text,
            }),
            Goal::CopyOfQuery | Goal::CopyOfTable => self.stop(Cause::Unknown),
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
        let distinct_on = (self.earlier.key, self.before.key) == (Key::Distinct, Key::On);
        if distinct_on || self.before.key == Key::Operator {
            self.before_operand.push(self.depth);
        }
        // `FROM (a JOIN b)`, and `ROWS FROM (f(1))`.
        let groups_relations = match self.before.token.kind {
            Kind::Open | Kind::Comma => true,
            _ => matches!(
                self.before.key,
                Key::From | Key::Join | Key::Lateral | Key::Only
            ),
        };
        let of_rows = self.before.key == Key::From && is(self.earlier.token, "rows");
        let calls =
            of_rows || self.before.maybe_relation && self.before.is_name() && !groups_relations;
        self.from_calls.set(self.depth, calls);
        let in_from = self.from_clauses.has(self.depth) && groups_relations;
        let in_group = self.group_clauses.has(self.depth) && is(self.before.token, "sets");
        self.depth += 1;
        self.selects.set(self.depth, false);
        self.from_clauses.set(self.depth, in_from);
        self.group_clauses.set(self.depth, in_group);
    }

    fn close(&mut self) -> Step<'a, ()> {
        let Some(depth) = self.depth.checked_sub(1) else {
            return self.stop(Cause::Malformed);
        };
        self.depth = depth;
        while self.lists.last().is_some_and(|list| list.depth > depth) {
            self.lists.pop();
        }
        self.closed_from_call = self.from_calls.has(depth);
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
            Key::From | Key::Join | Key::Lateral | Key::Only | Key::Table | Key::Copy
        );
        let in_list = matches!(token.kind, Kind::Comma | Kind::Open);
        self.here.behind_dot = behind_dot;
        self.here.of_expression = behind_dot && self.before.of_expression;
        // A dot hands on what is known of its owner: the name goes on.
        self.here.named = key == Key::As || token.kind == Kind::Cast || behind_dot && named;
        self.here.maybe_relation = behind_from
            || in_list && self.from_clauses.has(self.depth)
            || behind_dot && maybe_relation;
    }

    /// A name in a statement that is explained or copied, and not executed. The server looks at relations all
    /// the same, makes a temporary one, and calls functions that are not volatile.
    fn mention(&mut self) -> Step<'a, ()> {
        self.note_position();
        let name = self.folded_name();
        let may_call = self.next.kind == Kind::Open || self.here.of_expression;
        if may_call && name.as_deref().is_some_and(postgres::is_refused) {
            return self.stop(Cause::Volatile);
        }
        if name
            .as_deref()
            .is_some_and(|name| self.is_of_connection(name))
        {
            return self.stop(Cause::SessionDependent);
        }
        match self.here.token.kind {
            Kind::Word if !self.here.behind_dot => {
                self.here.key = name.as_deref().map_or(Key::Other, Key::of);
            }
            _ => {}
        }
        self.note_clause(self.here.key);
        if self.here.key == Key::Into && self.is_next(TEMPORARY) {
            return self.stop(Cause::SessionState);
        }
        self.relation(name.as_deref())
    }

    /// The name under examination.
    fn folded_name(&self) -> Option<Folded> {
        Folded::of(self.here.token, self.grammar)
    }

    /// A name of a relation that is no read. PostgreSQL cuts off names that are too long.
    fn relation(&self, name: Option<&[u8]>) -> Step<'a, ()> {
        let maybe = self.here.maybe_relation && self.next.kind != Kind::Dot;
        let postgres = self.grammar == Grammar::Postgres;
        let cause = match name {
            _ if !maybe || !postgres => None,
            Some(name) => self.functions.relation(name).and_then(Effect::cause),
            None => Some(Cause::SessionDependent),
        };
        cause.map_or(Ok(()), |cause| self.stop(cause))
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
        // `IS DISTINCT FROM`, `extract(year FROM a)`
        let in_query = self.selects.has(self.depth) || self.from_clauses.has(self.depth);
        let is_clause = in_query && self.before.key != Key::Distinct;
        if key == Key::From && !is_clause {
            self.here.key = Key::Other;
        } else if key != Key::Other {
            self.note_clause(key);
            self.keyword(key, first)?;
        }
        self.name(name)
    }

    /// Notes which clause a keyword begins.
    fn note_clause(&mut self, key: Key) {
        self.selects.set(
            self.depth,
            self.selects.has(self.depth) || key == Key::Select,
        );
        match key {
            Key::From => self.from_clauses.set(self.depth, true),
            Key::Clause
            | Key::Group
            | Key::Fetch
            | Key::For
            | Key::Select
            | Key::Values
            | Key::Where
            | Key::With => {
                self.from_clauses.set(self.depth, false);
                self.group_clauses.set(self.depth, key == Key::Group);
            }
            _ => {}
        }
    }

    fn quoted_name(&mut self) -> Step<'a, ()> {
        self.note_position();
        // Which function `U&"…"` calls depends on the escapes in it, and on the character that `UESCAPE` gives. Behind
        // `AS` it is no more than a name.
        let text = self.here.token.text;
        let behind_as = self.before.key == Key::As;
        if text.starts_with(['u', 'U']) && !behind_as {
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
        if self.closed_from_call && self.grammar == Grammar::Postgres {
            self.note_alias();
        }
        if self.next.kind == Kind::Open {
            return self.call(name);
        }
        let postgres = self.grammar == Grammar::Postgres;
        if postgres && self.here.of_expression {
            return self.attribute_of_expression(name);
        }
        self.relation(name)?;
        let Some(name) = name else {
            return Ok(());
        };
        if words::is_local_relation(name, self.grammar) {
            return self.stop(Cause::SessionDependent);
        }
        let behind_dot = self.here.behind_dot;
        match self.grammar {
            Grammar::Postgres if behind_dot && self.functions.is_attribute(name) => {
                self.stop(Cause::Volatile)
            }
            Grammar::Postgres if behind_dot => {
                let effect = self.functions.effect(None, name);
                let local = || name.starts_with(b"pg_").then(|| postgres::withdrawn(name));
                let effect = effect.or_else(|| local().flatten());
                if let (Some(cause), Some(owner)) = (effect.and_then(Effect::cause), self.owner) {
                    let token = self.here.token.text;
                    self.attributes.push((owner, Verdict { cause, token }));
                }
                Ok(())
            }
            // `FROM current_user AS u` is a function as well.
            Grammar::Postgres
                if self.here.maybe_relation && among(name, words::POSTGRES_VALUES) =>
            {
                self.from_functions.push(self.here.token);
                self.closed_from_call = true;
                Ok(())
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
                if self.is_of(b"information_schema") && !among(name, words::MYSQL_INFORMATION)
                    || self.is_of(b"mysql") && !among(name, words::MYSQL_SYSTEM_TABLES) =>
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

    /// Notes the alias of a function in `FROM`, which follows its arguments, with `AS` or without.
    fn note_alias(&mut self) {
        let behind = match self.before.key {
            Key::As => self.earlier.token,
            _ => self.before.token,
        };
        let behind_value =
            Folded::word(behind).is_some_and(|word| among(&word, words::POSTGRES_VALUES));
        if behind.kind == Kind::Close || behind_value {
            self.from_functions.push(self.here.token);
        }
    }

    /// A column whose owner is a function in `FROM`: it calls a function for what that returns.
    fn attribute_of_function(&self) -> Option<Verdict<'a>> {
        let same = |one: Token<'a>, other: Token<'a>| {
            let one = Folded::of(one, self.grammar);
            let other = Folded::of(other, self.grammar);
            one.zip(other).is_none_or(|(one, other)| *one == *other)
        };
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|(owner, _)| {
            self.from_functions.more
                || self
                    .from_functions
                    .iter()
                    .any(|function| same(*owner, function))
        });
        let more = self.attributes.more && self.from_functions.iter().next().is_some();
        let found = found.or_else(|| self.attributes.iter().last().filter(|_| more));
        found.map(|(_, verdict)| verdict)
    }

    /// PostgreSQL's `(a).b`: a field, or the call of a function of one argument. While no catalog has said which
    /// functions there are, it may be a function of the user's.
    fn attribute_of_expression(&self, name: Option<&[u8]>) -> Step<'a, ()> {
        let effect = name.and_then(|name| self.functions.effect(None, name));
        match effect {
            Some(effect) => effect.cause().map_or(Ok(()), |cause| self.stop(cause)),
            None if name.is_some() && self.functions.are_complete() => Ok(()),
            None => self.stop(Cause::UnknownFunction),
        }
    }

    /// Whether a name is that of a schema, or a table, that only this connection has.
    fn is_of_connection(&self, name: &[u8]) -> bool {
        match self.grammar {
            Grammar::Postgres => words::is_temporary_schema(name),
            Grammar::Sqlite => {
                *name == *b"temp" && self.next.kind == Kind::Dot
                    || words::is_local_relation(name, self.grammar)
            }
            Grammar::MySql => false,
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
        let postgres = self.grammar == Grammar::Postgres;
        if !behind_dot && postgres && self.is_alias() {
            return Ok(());
        }
        let groups = matches!(self.here.key, Key::Lateral | Key::Only);
        if self.here.maybe_relation && !groups {
            self.from_functions.push(self.here.token);
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
        // PostgreSQL's own grammar comes before functions of that name.
        if is_word && postgres && self.is_postgres_syntax(name) {
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
        if postgres && *name == *b"ts_rewrite" && !self.has_three_arguments() {
            return self.stop(Cause::Volatile);
        }
        // A table whose hidden columns are given as if they were arguments: no function can stand there.
        let table = self.grammar == Grammar::Sqlite && self.here.maybe_relation && self.depth < 64;
        if table && effect.is_none() && !name.starts_with(b"pragma_") {
            return match words::is_local_relation(name, self.grammar) {
                true => self.stop(Cause::SessionDependent),
                false => Ok(()),
            };
        }
        if let Some(cause) = effect.and_then(Effect::cause) {
            return self.stop(cause);
        }
        let new = postgres && is_word && words::is_reserved_in_new_postgres(name);
        match effect {
            Some(_) if self.is_native(name) => Ok(()),
            // Where that is no syntax yet and no such function is known, the server will say so.
            None if new && self.functions.are_complete() => Ok(()),
            _ if is_word && self.is_syntax(name) => Ok(()),
            _ => self.stop(Cause::UnknownFunction),
        }
    }

    /// Whether a word before a parenthesis is a part of MySQL's or SQLite's grammar. The reserved words always are;
    /// of the others the server takes some for functions in all places but those that are named here.
    fn is_syntax(&self, word: &[u8]) -> bool {
        let before = self.before.token;
        let behind = |words: &[&str]| Folded::word(before).is_some_and(|word| among(&word, words));
        let behind_call = before.kind == Kind::Close;
        let behind_value = matches!(
            before.kind,
            Kind::Close | Kind::Quoted | Kind::Value | Kind::Variable
        );
        match (self.grammar, word) {
            (Grammar::Postgres, _) => false,
            (Grammar::MySql, b"against" | b"over") | (Grammar::Sqlite, b"filter" | b"over") => {
                behind_call
            }
            (Grammar::MySql, b"columns" | b"escape") | (Grammar::Sqlite, b"offset") => behind_value,
            (Grammar::MySql, b"of") => behind(&["member"]),
            (Grammar::MySql, b"json_table") => self.here.maybe_relation && self.depth < 64,
            (Grammar::MySql, b"sql_buffer_result" | b"sql_cache" | b"sql_no_cache") => {
                behind(words::MYSQL_SELECT_OPTIONS)
            }
            (Grammar::MySql, word) => words::is_reserved_in_mysql(word),
            (Grammar::Sqlite, b"by") => behind(&["group", "order", "partition"]),
            (Grammar::Sqlite, b"glob" | b"like" | b"match" | b"regexp") => {
                self.is_behind_column(self.before)
                    || behind(&["not"]) && self.is_behind_column(self.earlier)
            }
            (Grammar::Sqlite, b"materialized") => self.is_before_body(),
            (Grammar::Sqlite, word) => words::is_reserved_in_sqlite(word),
        }
    }

    /// Whether the query of a common table expression follows.
    fn is_before_body(&self) -> bool {
        let list = self.lists.last();
        list.is_some_and(|list| list.depth == self.depth && list.stage == Stage::Body)
    }

    /// Whether a word before a parenthesis is a part of PostgreSQL's grammar, where [`is_alias`](Self::is_alias)
    /// has not said so. The reserved words always are; of the others the server takes some for functions in all
    /// places but those that are named here.
    fn is_postgres_syntax(&self, word: &[u8]) -> bool {
        let before = self.before.token;
        let behind = |words: &[&str]| Folded::word(before).is_some_and(|word| among(&word, words));
        let behind_value = before.kind == Kind::Value;
        match word {
            b"by" => behind(&["group", "order", "partition"]),
            b"columns" => behind_value,
            b"cube" | b"rollup" => {
                self.group_clauses.has(self.depth)
                    && (behind(&["by"]) && is(self.earlier.token, "group")
                        || matches!(before.kind, Kind::Comma | Kind::Open)
                        || behind(&["all", "distinct"]) && is(self.earlier.token, "by"))
            }
            b"escape" => behind_value || self.is_behind_column(self.before),
            b"ilike" => {
                behind_value
                    || self.is_behind_column(self.before)
                    || behind(&["not"]) && self.is_behind_column(self.earlier)
            }
            b"join" => {
                behind(&[
                    "cross", "full", "inner", "left", "natural", "outer", "right",
                ]) || self.is_behind_column(self.before)
            }
            b"materialized" => self.is_before_body(),
            b"operator" => self.names_an_operator(),
            b"second" => {
                behind_value
                    || behind(&["interval"])
                    || behind(&["to"])
                        && ["day", "hour", "minute"].map(|unit| is(self.earlier.token, unit))
                            != [false; 3]
            }
            b"sets" => behind(&["grouping"]),
            b"varying" => behind(&["bit", "char", "character", "nchar"]),
            b"zone" => behind(&["time"]),
            word => {
                words::is_reserved_in_postgres(word)
                    || words::is_reserved_in_new_postgres(word) && self.functions.is_reserved(word)
            }
        }
    }

    /// Whether an operand ends with the token, and so none begins behind it. Keywords may be columns' names as well:
    /// of those it knows a few.
    fn is_behind_column(&self, seen: Seen<'a>) -> bool {
        match seen.token.kind {
            Kind::Close => !self.closed_before_operand,
            Kind::Quoted | Kind::Value => true,
            Kind::Word if seen.named || seen.behind_dot => true,
            Kind::Word => Folded::word(seen.token).is_none_or(|word| match self.grammar {
                Grammar::Postgres => {
                    !words::is_postgres_keyword(&word) || among(&word, words::POSTGRES_COLUMNS)
                }
                Grammar::Sqlite => !among(&word, words::SQLITE_KEYWORDS),
                Grammar::MySql => false,
            }),
            _ => false,
        }
    }

    /// Whether PostgreSQL's operator stands in the parentheses that follow: `OPERATOR(pg_catalog.+)`.
    fn names_an_operator(&self) -> bool {
        let mut ahead = self.lexer.clone();
        let mut token = ahead.next();
        // A database and a schema at most.
        for _ in 0..2 {
            if matches!(token.kind, Kind::Word | Kind::Quoted) {
                if ahead.next().kind != Kind::Dot {
                    return false;
                }
                token = ahead.next();
            }
        }
        token.kind == Kind::Operator && ahead.next().kind == Kind::Close
    }

    /// Whether the call has three arguments. One that is too long to be looked through has not.
    fn has_three_arguments(&self) -> bool {
        const LONGEST: usize = 100;
        let (mut depth, mut commas) = (0_usize, 0);
        let mut ahead = self.lexer.clone();
        for _ in 0..LONGEST {
            let token = ahead.next();
            match token.kind {
                Kind::Comma if depth == 0 => commas += 1,
                Kind::Close if depth == 0 => return commas == 2,
                Kind::Open => depth += 1,
                Kind::Operator if token.text == "[" => depth += 1,
                Kind::Close => depth -= 1,
                Kind::Operator if token.text == "]" => depth = depth.saturating_sub(1),
                Kind::End | Kind::Strange => return false,
                _ => {}
            }
        }
        false
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
        let name = self.folded_name();
        if name.is_some_and(|name| words::is_local_relation(&name, self.grammar)) {
            return self.stop(Cause::SessionDependent);
        }
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

/// Whether a token is this word.
fn is(token: Token<'_>, word: &str) -> bool {
    token.kind == Kind::Word && token.text.eq_ignore_ascii_case(word)
}

pub(super) const TEMPORARY: &[&str] = &["temp", "temporary"];

/// Whether a setting of PostgreSQL is the same on every server and connection. The application's own have
/// a dot in their names.
pub(super) fn is_common_setting(name: &str) -> bool {
    let local = |name: Folded| among(&name, words::POSTGRES_LOCAL_SETTINGS);
    !name.contains('.') && !Folded::lower(name).is_none_or(local)
}
