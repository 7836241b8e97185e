//! Pieces of SQL, glued together. If a parser takes the outcome for a statement that changes something, it
//! must not be taken for a read.

#![no_main]

use dbrouter::{Cause, Intent};
use dbrouter_fuzz::{CLASSIFIERS, check};
use libfuzzer_sys::fuzz_target;
use sqlparser::ast::{Query, SetExpr, Statement};
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect, SQLiteDialect};
use sqlparser::parser::Parser;

/// A byte of the input stands for one of these; its highest bit for a blank before it.
#[rustfmt::skip]
const PIECES: [&str; 128] = [
    "select", "from", "where", "t", "a", "1", "*", ",",
    "(", ")", ";", ".", "with", "recursive", "as", "materialized",
    "insert into", "update", "delete from", "merge into", "replace into", "set", "values", "returning",
    "for", "share", "no key", "skip locked", "lock in share mode", "into", "temporary", "table",
    "union", "all", "except", "intersect", "order by", "group by", "having", "limit",
    "offset", "fetch first", "rows only", "window", "over", "partition by", "filter", "within group",
    "join", "left", "natural", "lateral", "on", "using", "distinct", "distinct on",
    "case", "when", "then", "else", "end", "cast", "::", "int",
    "lower", "count", "nextval", "setval", "now", "random", "pg_sleep", "f",
    "'a'", "'a''b'", "'a\\'", "e'\\''", "u&'a'", "x'00'", "$$a$$", "$b$a$b$",
    "\"a\"", "\"A\"\"b\"", "`a`", "[a]", "$1", "?", ":a", "@a",
    "@@version", ":=", "/*", "*/", "--", "#", "\n", "\r",
    "/*! ", "\t", "explain", "analyze", "copy", "to stdout", "create", "drop",
    "call", "show", "tablesample", "operator", "collate", "search", "cycle", "depth first by",
    "=", "<", "-", "+", "~", "/", "||", "|",
    "1.5", ".5", "1e5", "0x1f", "current_setting", "temp", "and", "not",
];

fuzz_target!(|pieces: &[u8]| {
    let mut sql = String::new();
    for piece in pieces.iter().take(256) {
        if piece & 0x80 == 0 {
            sql.push(' ');
        }
        sql.push_str(PIECES[usize::from(piece & 0x7F)]);
    }
    let dialects: [&dyn Dialect; 3] = [&PostgreSqlDialect {}, &MySqlDialect {}, &SQLiteDialect {}];
    for (classifier, dialect) in CLASSIFIERS.iter().zip(dialects) {
        let classification = check(classifier, &sql).classification;
        if classification.intent == Intent::Read
            && classification.reason != Cause::Hint
            && let Ok(statements) = Parser::parse_sql(dialect, &sql)
        {
            assert_eq!(statements.len(), 1, "{sql}");
            // It explains what would change something, and does not do it.
            if matches!(
                statements[0],
                Statement::Explain { .. } | Statement::ExplainTable { .. }
            ) {
                continue;
            }
            assert!(!statements.iter().any(changes), "{classifier:?} {sql}");
        }
    }
});

fn changes(statement: &Statement) -> bool {
    match statement {
        Statement::Query(query) => query_changes(query),
        Statement::Insert(_)
        | Statement::Update(_)
        | Statement::Delete(_)
        | Statement::Merge(_)
        | Statement::Call(_)
        | Statement::CreateTable(_)
        | Statement::Drop { .. } => true,
        _ => false,
    }
}

fn query_changes(query: &Query) -> bool {
    let lists = query.with.iter();
    let mut tables = lists.flat_map(|with| &with.cte_tables);
    !query.locks.is_empty()
        || tables.any(|table| query_changes(&table.query))
        || body_changes(&query.body)
}

fn body_changes(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_some(),
        SetExpr::Query(query) => query_changes(query),
        SetExpr::SetOperation { left, right, .. } => body_changes(left) || body_changes(right),
        SetExpr::Values(_) | SetExpr::Table(_) => false,
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => true,
    }
}
