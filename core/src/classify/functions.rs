//! What is known of the functions that a statement may call, and of the relations that are no tables.
//!
//! PostgreSQL's catalog tells of each function whether it is volatile, the user's own included. The lists
//! of the others, and of PostgreSQL while its catalog has not been read, come with this crate.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use foldhash::fast::RandomState;

use super::lexer::{Kind, Lexer, Rules};
use super::name::{Folded, NAME_LENGTH};
use super::postgres::{self, Catalog, Item};
use super::sql::Grammar;
use super::words;
use crate::decision::Cause;

/// What a call means for the statement that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Effect {
    /// None: it only reads.
    Reads,
    /// What it returns depends on the connection, or on the server.
    Local,
    /// It may change something.
    Volatile,
}

impl Effect {
    /// Why a statement with such a call is no read; `None` if it may be one.
    pub(super) fn cause(self) -> Option<Cause> {
        match self {
            Self::Reads => None,
            Self::Local => Some(Cause::SessionDependent),
            Self::Volatile => Some(Cause::Volatile),
        }
    }
}

/// Functions that the user has added or removed, in this order.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides(Vec<Override>);

#[derive(Clone, Debug)]
struct Override {
    schema: Option<Box<[u8]>>,
    name: Box<[u8]>,
    effect: Effect,
}

impl Overrides {
    /// Adds a function that is spelled as in a statement. Whether it could be read.
    pub(super) fn add(&mut self, spelled: &str, effect: Effect, grammar: Grammar) -> bool {
        let rules = Rules {
            grammar,
            backslash_escapes: false,
            ansi_quotes: false,
        };
        let mut lexer = Lexer::new(spelled, rules);
        let mut part = || {
            let token = lexer.next();
            let name = Folded::of(token, grammar).map(|name| Box::from(&*name));
            (name, lexer.next().kind)
        };
        let (schema, name) = match part() {
            (name, Kind::End) => (None, name),
            (Some(schema), Kind::Dot) => match part() {
                (name, Kind::End) => (Some(schema), name),
                _ => (None, None),
            },
            _ => (None, None),
        };
        let Some(name) = name else {
            return false;
        };
        self.0.push(Override {
            schema,
            name,
            effect,
        });
        true
    }

    /// Whether a function is a read by the user's word.
    fn read(&self, schema: &str, name: &str) -> bool {
        self.0.iter().any(|known| {
            let schemas = known.schema.as_deref();
            known.effect == Effect::Reads
                && *known.name == *name.as_bytes()
                && schemas.is_none_or(|known| *known == *schema.as_bytes())
        })
    }
}

/// The functions that are known, and all else that calls one.
#[derive(Debug)]
pub(super) struct Functions {
    /// By name. One overload that may change something taints the name.
    plain: HashMap<Box<[u8]>, Effect, RandomState>,
    /// By schema and name.
    qualified: HashMap<Box<[u8]>, Effect, RandomState>,
    /// Whether all of the server's functions are known: its catalog has been read.
    complete: bool,
    /// Functions of one row that are no reads: `t.f` calls them.
    attributes: Vec<Box<[u8]>>,
    /// Operators that call a function that is no read.
    operators: Vec<Box<[u8]>>,
    /// Relations that are no reads: sequences and unlogged tables, of which a replica shows another state or none;
    /// and views and tables whose queries or policies reach what is no read.
    relations: HashMap<Box<[u8]>, Effect, RandomState>,
    /// The keywords of the server that cannot be names of functions; empty if it was not asked.
    reserved: HashSet<Box<[u8]>, RandomState>,
    /// Whether a backslash in a plain string is an escape.
    pub(super) backslash_escapes: bool,
    /// Whether MySQL takes what is in double quotes for a name.
    pub(super) ansi_quotes: bool,
}

impl Functions {
    /// The functions that come with a server, and nothing else: the same for all classifiers.
    pub(super) fn common(grammar: Grammar) -> Arc<Self> {
        static POSTGRES: LazyLock<Arc<Functions>> = LazyLock::new(|| common(Grammar::Postgres));
        static MYSQL: LazyLock<Arc<Functions>> = LazyLock::new(|| common(Grammar::MySql));
        static SQLITE: LazyLock<Arc<Functions>> = LazyLock::new(|| common(Grammar::Sqlite));
        fn common(grammar: Grammar) -> Arc<Functions> {
            Arc::new(Functions::built_in(grammar, &Overrides::default()))
        }
        Arc::clone(match grammar {
            Grammar::Postgres => &POSTGRES,
            Grammar::MySql => &MYSQL,
            Grammar::Sqlite => &SQLITE,
        })
    }

    /// The functions that come with a server, and the user's changes.
    pub(super) fn built_in(grammar: Grammar, overrides: &Overrides) -> Self {
        let mut functions = Self::empty(grammar == Grammar::MySql);
        let (list, schema) = match grammar {
            Grammar::Postgres => (
                include_str!("functions/postgres.txt"),
                Some(postgres::SYSTEM_SCHEMA),
            ),
            Grammar::MySql => (include_str!("functions/mysql.txt"), None),
            Grammar::Sqlite => (include_str!("functions/sqlite.txt"), None),
        };
        for name in list.lines().filter(|line| !line.starts_with('#')) {
            functions.take_in(schema, name, Effect::Reads);
        }
        if grammar == Grammar::Postgres {
            for name in postgres::harmless() {
                functions.take_in(schema, name, Effect::Reads);
            }
            for name in postgres::VOLATILE_OF_ONE {
                functions.take_in(schema, name, Effect::Volatile);
            }
            functions.withdraw();
        }
        functions.override_with(overrides);
        functions
    }

    /// The functions that come with MySQL, to be read under an `sql_mode`.
    pub(super) fn under_mode(mode: &str, overrides: &Overrides) -> Self {
        let has = |name| mode.split(',').any(|set| set.eq_ignore_ascii_case(name));
        let mut functions = Self::built_in(Grammar::MySql, overrides);
        functions.backslash_escapes = !has("NO_BACKSLASH_ESCAPES");
        functions.ansi_quotes = has("ANSI_QUOTES");
        functions
    }

    /// The functions of a PostgreSQL server.
    pub(super) fn of_catalog(catalog: &Catalog<'_>, overrides: &Overrides) -> Self {
        let mut functions = Self::empty(!catalog.standard_strings);
        for function in catalog.functions() {
            let effect = match function.may_change() {
                true => Effect::Volatile,
                false => Effect::Reads,
            };
            functions.take_in(Some(function.schema), function.name, effect);
        }
        functions.withdraw();
        functions.complete = true;
        functions.reserved = catalog.reserved().map(boxed).collect();
        functions.relations = catalog
            .relations()
            .map(|name| (boxed(name), Effect::Local))
            .collect();
        functions.override_with(overrides);
        functions.spread(catalog, overrides);
        functions.attributes = catalog
            .attributes()
            .filter(|(schema, name)| {
                let effect = functions.effect(Some(schema.as_bytes()), name.as_bytes());
                effect != Some(Effect::Reads)
            })
            .map(|(_, name)| boxed(name))
            .collect();
        functions.override_with(overrides);
        functions
    }

    /// What uses something that is no read is none either, at any distance: a view that calls a function, a
    /// function that reads a view.
    fn spread(&mut self, catalog: &Catalog<'_>, overrides: &Overrides) {
        let is_settled = |item: &Item<'_>| match item {
            Item::Function { schema, name } => overrides.read(schema, name),
            Item::Named(_) | Item::Operator(_) | Item::Relation(_) => false,
        };
        let mut uses: Vec<_> = catalog.uses().collect();
        uses.retain(|(user, _)| !is_settled(user));
        let mut named = self.named(&uses);
        loop {
            let before = uses.len();
            // What is no read has no need to be looked at again.
            uses.retain(|(user, used)| {
                let effect = self
                    .effect_of(used, &named)
                    .filter(|effect| *effect != Effect::Reads);
                if let Some(effect) = effect {
                    self.taint(user, effect);
                    if let Item::Function { name, .. } = user
                        && let Some(known) = named.get_mut(name.as_bytes())
                    {
                        *known = effect.max(*known);
                    }
                }
                effect.is_none()
            });
            if uses.len() == before {
                return;
            }
        }
    }

    /// The worst of the functions of each name that is used whatever its schema.
    fn named<'a>(&self, uses: &[(Item<'a>, Item<'a>)]) -> Named<'a> {
        let mut named: Named<'a> = uses
            .iter()
            .filter_map(|(_, used)| match used {
                Item::Named(name) if postgres::runs_text(postgres::SYSTEM_SCHEMA, name) => {
                    Some((name.as_bytes(), Effect::Volatile))
                }
                Item::Named(name) => Some((name.as_bytes(), Effect::Reads)),
                _ => None,
            })
            .collect();
        for (key, effect) in &self.qualified {
            let name = key.rsplit(|byte| SEPARATOR.contains(byte)).next();
            if let Some(known) = name.and_then(|name| named.get_mut(name)) {
                *known = (*known).max(*effect);
            }
        }
        named
    }

    fn effect_of(&self, item: &Item<'_>, named: &Named<'_>) -> Option<Effect> {
        match item {
            Item::Named(name) => named.get(name.as_bytes()).copied(),
            Item::Function { schema, name } if postgres::runs_text(schema, name) => {
                Some(Effect::Volatile)
            }
            Item::Function { schema, name } => {
                self.effect(Some(schema.as_bytes()), name.as_bytes())
            }
            Item::Operator(name) => self.is_volatile_operator(name).then_some(Effect::Volatile),
            Item::Relation(name) => {
                let name = name.as_bytes();
                let local = words::is_local_relation(name, Grammar::Postgres);
                self.relation(name).or(local.then_some(Effect::Local))
            }
        }
    }

    fn taint(&mut self, item: &Item<'_>, effect: Effect) {
        match item {
            Item::Function { schema, name } => self.take_in(Some(schema), name, effect),
            // A name alone uses nothing.
            Item::Named(_) => {}
            Item::Operator(name) => self.operators.push(boxed(name)),
            Item::Relation(name) => {
                let known = self.relations.entry(boxed(name));
                known
                    .and_modify(|known| *known = (*known).max(effect))
                    .or_insert(effect);
            }
        }
    }

    fn empty(backslash_escapes: bool) -> Self {
        Self {
            plain: HashMap::default(),
            qualified: HashMap::default(),
            complete: false,
            attributes: Vec::new(),
            operators: Vec::new(),
            relations: HashMap::default(),
            reserved: HashSet::default(),
            backslash_escapes,
            ansi_quotes: false,
        }
    }

    fn take_in(&mut self, schema: Option<&str>, name: &str, effect: Effect) {
        let worst = |known: &mut Effect| *known = (*known).max(effect);
        let name = name.as_bytes();
        self.plain
            .entry(name.into())
            .and_modify(worst)
            .or_insert(effect);
        if let Some(schema) = schema {
            self.qualified
                .entry(joined(schema.as_bytes(), name))
                .and_modify(worst)
                .or_insert(effect);
        }
    }

    /// Some functions of the system are no reads, whatever the catalog says of them.
    fn withdraw(&mut self) {
        let system = [postgres::SYSTEM_SCHEMA.as_bytes(), SEPARATOR].concat();
        for (name, effect) in &mut self.plain {
            *effect = postgres::withdrawn(name).unwrap_or(*effect);
        }
        for (name, effect) in &mut self.qualified {
            if let Some(name) = name.strip_prefix(&*system) {
                *effect = postgres::withdrawn(name).unwrap_or(*effect);
            }
        }
    }

    /// A function that is a read is one as it is spelled. One that is none taints its name in every spelling.
    fn override_with(&mut self, overrides: &Overrides) {
        for Override {
            schema,
            name,
            effect,
        } in &overrides.0
        {
            let reads = *effect == Effect::Reads;
            if let Some(schema) = schema {
                self.qualified.insert(joined(schema, name), *effect);
            }
            if schema.is_none() || !reads {
                self.plain.insert(name.clone(), *effect);
            }
            if schema.is_none() && !reads {
                let suffix = [SEPARATOR, name].concat();
                let spellings = self.qualified.iter_mut();
                for (_, known) in spellings.filter(|(key, _)| key.ends_with(&suffix)) {
                    *known = *effect;
                }
            }
        }
    }

    /// What a call means; `None` if the function is not known.
    pub(super) fn effect(&self, schema: Option<&[u8]>, name: &[u8]) -> Option<Effect> {
        match schema {
            None => self.plain.get(name).copied(),
            Some(schema) => {
                // Both are at most 63 bytes long, or the name would not be in a catalog.
                let mut key = [0; 2 * NAME_LENGTH + 1];
                let length = schema.len() + SEPARATOR.len() + name.len();
                let key = key.get_mut(..length)?;
                key[..schema.len()].copy_from_slice(schema);
                key[schema.len()] = SEPARATOR[0];
                key[schema.len() + 1..].copy_from_slice(name);
                self.qualified.get(&*key).copied()
            }
        }
    }

    /// Whether `t.name` may call a function that is no read.
    pub(super) fn is_attribute(&self, name: &[u8]) -> bool {
        self.attributes.iter().any(|known| **known == *name)
    }

    /// Whether all of the server's functions are known.
    pub(super) fn are_complete(&self) -> bool {
        self.complete
    }

    /// Whether the server has said that a word cannot be the name of a function.
    pub(super) fn is_reserved(&self, word: &[u8]) -> bool {
        self.reserved.contains(word)
    }

    /// Why a relation is no read, if it is known to be none.
    pub(super) fn relation(&self, name: &[u8]) -> Option<Effect> {
        self.relations.get(name).copied()
    }

    /// Whether an operator calls a function that is no read.
    pub(super) fn is_volatile_operator(&self, text: &str) -> bool {
        let mut operators = self.operators.iter();
        operators.any(|known| **known == *text.as_bytes())
    }
}

fn boxed(name: &str) -> Box<[u8]> {
    name.as_bytes().into()
}

/// What functions of a name do at worst.
type Named<'a> = HashMap<&'a [u8], Effect, RandomState>;

/// Between schema and name: a dot may be in a quoted name.
const SEPARATOR: &[u8] = b"\0";

fn joined(schema: &[u8], name: &[u8]) -> Box<[u8]> {
    [schema, SEPARATOR, name].concat().into()
}
