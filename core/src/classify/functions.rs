//! What is known of the functions that a statement may call, and of the relations that are no tables.
//!
//! PostgreSQL's catalog tells of each function whether it is volatile, the user's own included. The lists
//! of the others, and of PostgreSQL while its catalog has not been read, come with this crate.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::postgres::{self, Catalog};
use super::sql::Grammar;

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

/// Names that the user has added or removed, as the catalog spells them.
#[derive(Clone, Debug, Default)]
pub(super) struct Overrides(Vec<(Box<str>, Effect)>);

impl Overrides {
    pub(super) fn add(&mut self, name: String, effect: Effect) {
        self.0.push((name.into(), effect));
    }
}

/// The functions that are known, and all else that calls one.
#[derive(Debug)]
pub(super) struct Functions {
    /// By name. One overload that may change something taints the name.
    plain: HashMap<Box<[u8]>, Effect, RandomState>,
    /// By schema and name.
    qualified: HashMap<Box<[u8]>, Effect, RandomState>,
    /// Functions of one row that are volatile: `t.f` calls them.
    attributes: Vec<Box<[u8]>>,
    /// Operators that call a volatile function.
    operators: Vec<Box<[u8]>>,
    /// Sequences and unlogged tables: a replica shows another state of them, or none.
    relations: HashSet<Box<[u8]>, RandomState>,
    /// Whether a backslash in a plain string is an escape.
    pub(super) backslash_escapes: bool,
}

impl Functions {
    /// The functions that come with a server.
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
            functions.withdraw();
        }
        functions.override_with(overrides);
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
        functions.attributes = lines(catalog.attributes).collect();
        functions.operators = lines(catalog.operators).collect();
        functions.relations = lines(catalog.relations).collect();
        functions.override_with(overrides);
        functions
    }

    fn empty(backslash_escapes: bool) -> Self {
        Self {
            plain: HashMap::default(),
            qualified: HashMap::default(),
            attributes: Vec::new(),
            operators: Vec::new(),
            relations: HashSet::default(),
            backslash_escapes,
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

    fn override_with(&mut self, overrides: &Overrides) {
        for (name, effect) in &overrides.0 {
            match name.split_once('.') {
                None => self.plain.insert(name.as_bytes().into(), *effect),
                Some((schema, name)) => self
                    .qualified
                    .insert(joined(schema.as_bytes(), name.as_bytes()), *effect),
            };
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

    /// Whether a relation is not the same on every server.
    pub(super) fn is_local_relation(&self, name: &[u8]) -> bool {
        !self.relations.is_empty() && self.relations.contains(name)
    }

    /// Whether an operator calls a function that is no read.
    pub(super) fn is_volatile_operator(&self, text: &str) -> bool {
        let mut operators = self.operators.iter();
        operators.any(|known| **known == *text.as_bytes())
    }
}

fn lines(text: &str) -> impl Iterator<Item = Box<[u8]>> {
    text.lines().map(|line| line.as_bytes().into())
}

/// The longest name that PostgreSQL does not cut off.
pub(super) const NAME_LENGTH: usize = 63;

/// Between schema and name: a dot may be in a quoted name.
const SEPARATOR: &[u8] = b"\0";

fn joined(schema: &[u8], name: &[u8]) -> Box<[u8]> {
    [schema, SEPARATOR, name].concat().into()
}
