//! The classifier of this crate: tokens, an allow-list, and the functions of the server's catalog.

use std::fmt;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use arc_swap::ArcSwap;

use super::cache::Cache;
use super::functions::{Effect, Functions, Overrides};
use super::lexer::{Kind, Lexer, Rules, leading_comment};
use super::postgres::{self, Catalog};
use super::scan::{Verdict, scan};
use super::{Classification, Classifier};
use crate::config::{ConfigError, ConfigErrorKind};
use crate::decision::Cause;
use crate::dialect::{Answer, Dialect, Question};
use crate::request::stable_hash;
use crate::vocabulary::Intent;

/// Whose rules a statement is read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grammar {
    Postgres,
    /// MySQL and MariaDB.
    MySql,
    Sqlite,
}

impl Grammar {
    fn of(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Postgres => Self::Postgres,
            Dialect::MariaDb => Self::MySql,
            Dialect::Sqlite => Self::Sqlite,
        }
    }
}

/// How MySQL and MariaDB read strings, unless a connection says otherwise.
const SQL_MODE: Question = Question::new("SELECT CAST(@@GLOBAL.sql_mode AS CHAR)", 1);

/// Tells reads from writes by their text: sound first, generous second.
///
/// A statement is a read if its head is one of a query's, no word in it can make it anything else, and
/// every function that it calls is known to change nothing, to depend on nothing but its arguments and the
/// data, and to work on a replica. Whatever is not known goes to the primary. It works on tokens and not on
/// a full parse, in linear time and without recursion, and takes statements that no parser knows yet.
///
/// **Functions.** On PostgreSQL the server's own catalog decides, the user's functions included: immutable
/// and stable ones are reads, volatile ones are not, but for a short list of harmless ones such as
/// `random()`. One volatile overload taints its name, in whatever schema it is, because the search path of a
/// connection is not known. The router's monitor reads the catalog when it starts, and again when it has changed,
/// which it looks for every [`refresh`](crate::MonitorSettings::refresh). For MySQL, MariaDB and SQLite there is a reviewed list of
/// what comes with the server; [`reading`](Self::reading) adds your own. What depends on the connection or
/// the server, such as `lastval()`, `pg_backend_pid()` or `pg_stat_activity`, is never a read.
///
/// **Hints.** A statement that *begins* with the comment `/*dbrouter:primary*/` or `/*dbrouter:replica*/`
/// goes there. Where users may supply SQL, turn that off: [`without_hints`](Self::without_hints).
///
/// **Views and policies.** PostgreSQL's catalog also says what views, row-security policies, functions, aggregates and
/// operators use. Those that reach a sequence, an unlogged table, a view of one server's state or a function that is
/// no read are none either, at any distance. A function whose body is a string is known by the words in it.
///
/// **What neither text nor catalog shows.** User-defined types and casts may call functions; a function may put
/// together at run time what it calls; on MariaDB and SQLite a view may call anything. A replica refuses what writes,
/// and the adapter runs it again on the primary: see [`Cluster::misjudged`](crate::Cluster::misjudged).
///
/// **Strings** are read as the server said that it reads them, by `standard_conforming_strings` on PostgreSQL and
/// by `NO_BACKSLASH_ESCAPES` and `ANSI_QUOTES` in MySQL's and MariaDB's global `sql_mode`; until it was asked, by
/// its defaults. A connection that sets these for itself should state its intents.
///
/// Verdicts are kept, by text, in a cache of 4 MiB; texts above 16 KiB are read anew each time.
///
/// ```
/// use dbrouter::{Cause, Classifier, Intent, Sql};
///
/// let sql = Sql::postgres().reading(["geo.distance"]);
/// assert_eq!(sql.classify("select lower(name) from users").intent, Intent::Read);
/// assert_eq!(sql.classify("select geo.distance(a, b) from t").intent, Intent::Read);
///
/// let verdict = sql.inspect("select * from jobs limit 1 for update skip locked");
/// assert_eq!(verdict.classification.intent, Intent::Write);
/// assert_eq!(verdict.classification.reason, Cause::Locks);
/// assert_eq!(verdict.token, "for");
/// ```
pub struct Sql {
    grammar: Grammar,
    overrides: Overrides,
    /// The first name that is none, and where it was given.
    wrong: Option<(&'static str, String)>,
    hints: bool,
    functions: ArcSwap<Functions>,
    /// Grows after the functions have changed, so that who has seen it grown sees them changed.
    generation: AtomicU64,
    /// The hash of the catalog that the functions were last taken from.
    learnt: AtomicU64,
    /// The first answers of a catalog that was not told in one.
    answers: Mutex<Vec<Answer>>,
    cache: Cache,
}

/// What a statement needs, and the token that decided it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection<'a> {
    /// What the statement needs, and why.
    pub classification: Classification,
    /// The first token that made it what it is; of a read, the word that it begins with. Empty if there is none.
    pub token: &'a str,
}

impl Sql {
    /// The classifier for PostgreSQL. Until it has [learnt](Classifier::learn) a server's catalog it knows
    /// the functions that come with PostgreSQL.
    #[must_use]
    pub fn postgres() -> Self {
        Self::new(Grammar::Postgres)
    }

    /// The classifier for MySQL and MariaDB.
    #[must_use]
    pub fn mysql() -> Self {
        Self::new(Grammar::MySql)
    }

    /// The classifier for SQLite.
    #[must_use]
    pub fn sqlite() -> Self {
        Self::new(Grammar::Sqlite)
    }

    /// The classifier for a kind of server.
    #[must_use]
    pub fn of(dialect: Dialect) -> Self {
        Self::new(Grammar::of(dialect))
    }

    fn new(grammar: Grammar) -> Self {
        Self {
            grammar,
            functions: ArcSwap::new(Functions::common(grammar)),
            overrides: Overrides::default(),
            wrong: None,
            hints: true,
            generation: AtomicU64::new(0),
            learnt: AtomicU64::new(0),
            answers: Mutex::default(),
            cache: Cache::new(),
        }
    }

    /// Functions that are reads, whatever the catalog says: `name` or `schema.name`, spelled as in a statement
    /// (`"Mixed"` in quotes), and in that spelling only. Defaults to none. To be said before the classifier
    /// is used; a text that is no such name is an error when the router connects.
    #[must_use]
    pub fn reading<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        self.with_functions("reading", names, Effect::Reads)
    }

    /// Functions that are no reads, whatever the catalog says; spelled as for [`reading`](Self::reading). It
    /// taints the name, with a schema and without. Defaults to none.
    #[must_use]
    pub fn writing<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        self.with_functions("writing", names, Effect::Volatile)
    }

    fn with_functions<N: Into<String>>(
        mut self,
        field: &'static str,
        names: impl IntoIterator<Item = N>,
        effect: Effect,
    ) -> Self {
        for name in names.into_iter().map(Into::into) {
            if !self.overrides.add(&name, effect, self.grammar) {
                self.wrong.get_or_insert((field, name));
            }
        }
        let functions = Functions::built_in(self.grammar, &self.overrides);
        self.take_over(functions);
        self.learnt.store(0, Ordering::Relaxed);
        self
    }

    /// Takes hints for mere comments. Defaults to obeying them.
    #[must_use]
    pub fn without_hints(mut self) -> Self {
        self.hints = false;
        self
    }

    /// What a statement needs, and the token that decided it. It does not use the cache.
    #[must_use]
    pub fn inspect<'a>(&self, sql: &'a str) -> Inspection<'a> {
        if let Some(hint) = self.hint(sql) {
            return hint;
        }
        let functions = self.functions.load();
        let rules = Rules {
            grammar: self.grammar,
            backslash_escapes: functions.backslash_escapes,
            ansi_quotes: functions.ansi_quotes,
        };
        let Verdict { cause, token } = scan(sql, rules, &functions);
        let classification = Classification::because(cause);
        Inspection {
            classification,
            token,
        }
    }

    fn hint<'a>(&self, sql: &'a str) -> Option<Inspection<'a>> {
        if !self.hints {
            return None;
        }
        let token = leading_comment(sql)?;
        let intent = match token.trim().strip_prefix("dbrouter:")? {
            "primary" => Intent::Write,
            "replica" => Intent::Read,
            _ => return None,
        };
        let reason = Cause::Hint;
        let classification = Classification { intent, reason };
        Some(Inspection {
            classification,
            token,
        })
    }

    /// Takes in a catalog, or a part of it. Returns the question for the next part.
    fn learn_catalog(&self, answer: &Answer) -> Option<Question> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answer.column(0).is_some() {
            answers.clear();
        }
        let before = answers.last().and_then(postgres::reached);
        let reached = postgres::reached(answer).filter(|reached| before < Some(*reached));
        if reached.is_some() || !answers.is_empty() {
            answers.push(answer.clone());
        }
        if let Some(reached) = reached {
            return Some(postgres::question_beyond(reached));
        }
        let answers = std::mem::take(&mut *answers);
        let all = match answers.is_empty() {
            true => slice::from_ref(answer),
            false => &answers,
        };
        self.learn_from(all, || {
            Some(Functions::of_catalog(&Catalog::of(all)?, &self.overrides))
        });
        None
    }

    /// Takes over the functions that were made of some answers, unless these are the same as before.
    fn learn_from(&self, answers: &[Answer], functions: impl FnOnce() -> Option<Functions>) {
        let columns = answers.iter().flat_map(Answer::columns).flatten();
        let hash = columns.fold(1, |hash, column| {
            stable_hash(column.as_bytes()).rotate_left(1) ^ u64::rotate_left(hash, 7)
        });
        if self.learnt.load(Ordering::Relaxed) == hash {
            return;
        }
        if let Some(functions) = functions() {
            self.learnt.store(hash, Ordering::Relaxed);
            self.take_over(functions);
        }
    }

    fn take_over(&self, functions: Functions) {
        self.functions.store(functions.into());
        self.generation.fetch_add(1, Ordering::Release);
    }
}

/// See [`classify::shape`](super::shape).
pub(super) fn shape(sql: &str, dialect: Dialect) -> u64 {
    let grammar = Grammar::of(dialect);
    let rules = Rules {
        grammar,
        backslash_escapes: grammar == Grammar::MySql,
        ansi_quotes: false,
    };
    let mut lexer = Lexer::new(sql, rules);
    let mut hash = stable_hash(b"");
    // What the last tokens were: nothing in particular, a literal, or a literal and a comma.
    let (mut behind_literal, mut behind_list) = (false, false);
    loop {
        let token = lexer.next();
        let text = match token.kind {
            Kind::End => return hash,
            // The rest is what it is.
            Kind::Strange => return stable_hash(&sql.as_bytes()[token.start..]) ^ hash,
            Kind::Value if behind_list => {
                (behind_literal, behind_list) = (true, false);
                continue;
            }
            Kind::Value => "?",
            // In SQLite it may be a string or a name.
            Kind::Quoted if token.text.starts_with('\'') => "?",
            _ => token.text,
        };
        if behind_list {
            hash = mixed(hash, ",");
        }
        behind_list = behind_literal && token.kind == Kind::Comma;
        behind_literal = token.kind == Kind::Value;
        if !behind_list {
            hash = mixed(hash, text);
        }
    }
}

fn mixed(hash: u64, token: &str) -> u64 {
    stable_hash(token.as_bytes()) ^ hash.rotate_left(7).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

impl Classifier for Sql {
    fn classify(&self, sql: &str) -> Classification {
        let generation = self.generation.load(Ordering::Acquire);
        self.cache
            .get_or_insert(sql, generation, || self.inspect(sql).classification)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let Some((field, name)) = &self.wrong else {
            return Ok(());
        };
        let problem = format!(
            "{name:?} is no function's name; give `name` or `schema.name`, as it is spelled in statements"
        );
        let field = format!("classifier.{field}");
        Err(ConfigError::new(ConfigErrorKind::Function, field, problem))
    }

    fn question(&self) -> Option<Question> {
        match self.grammar {
            Grammar::Postgres => Some(postgres::QUESTION),
            Grammar::MySql => Some(SQL_MODE),
            Grammar::Sqlite => None,
        }
    }

    fn sign(&self) -> Option<Question> {
        match self.grammar {
            Grammar::Postgres => Some(postgres::SIGN),
            // What they are asked costs as little as a sign.
            Grammar::MySql | Grammar::Sqlite => None,
        }
    }

    fn learn(&self, answer: &Answer) -> Option<Question> {
        match self.grammar {
            Grammar::Postgres => return self.learn_catalog(answer),
            Grammar::MySql => self.learn_from(slice::from_ref(answer), || {
                Some(Functions::under_mode(answer.column(0)?, &self.overrides))
            }),
            Grammar::Sqlite => {}
        }
        None
    }
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sql")
            .field("grammar", &self.grammar)
            .field("overrides", &self.overrides)
            .field("hints", &self.hints)
            .finish_non_exhaustive()
    }
}
