//! Statements for PostgreSQL put together at random, with the knowledge of whether they do more than
//! read.

use dbrouter_tests::{Failure, Result};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::{BoxedStrategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// A piece of a statement, or a whole one.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) text: String,
    /// Whether it writes, locks or has another effect where it stands.
    pub(crate) acts: bool,
}

/// The same statements each time.
pub(crate) fn sample(number: usize) -> Result<Vec<Piece>> {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let statements = statement();
    (0..number)
        .map(|_| {
            let tree = statements.new_tree(&mut runner);
            let tree = tree.map_err(|reason| Failure::new(reason.to_string()))?;
            Ok(tree.current())
        })
        .collect()
}

impl Piece {
    fn new(text: impl Into<String>, acts: bool) -> Self {
        let text = text.into();
        Self { text, acts }
    }

    /// The template with each `{}` replaced by the next of the pieces. It acts if one of them does.
    fn of(template: &str, pieces: &[&Self]) -> Self {
        let mut text = String::new();
        let mut pieces = pieces.iter();
        let mut acts = false;
        for (index, part) in template.split("{}").enumerate() {
            if index > 0 {
                let piece = pieces.next().expect("a piece for each place");
                text.push_str(&piece.text);
                acts |= piece.acts;
            }
            text.push_str(part);
        }
        Self { text, acts }
    }
}

fn harmless(texts: &'static [&'static str]) -> BoxedStrategy<Piece> {
    select(texts)
        .prop_map(|text| Piece::new(text, false))
        .boxed()
}

fn acting(texts: &'static [&'static str]) -> BoxedStrategy<Piece> {
    select(texts)
        .prop_map(|text| Piece::new(text, true))
        .boxed()
}

/// What may stand between any two tokens.
fn gap() -> BoxedStrategy<Piece> {
    harmless(&[
        " ",
        "  \t",
        "\n",
        "/**/",
        " /* for update */ ",
        "/* a /* b; */ delete */",
        " -- it's; $$\n",
        "/* ' \" $$ */",
    ])
}

fn value() -> BoxedStrategy<Piece> {
    harmless(&[
        "'for update'",
        "'it''s; DELETE FROM item; --'",
        "'/* no comment'",
        "'back\\'",
        "E'it\\'s; DELETE FROM item; --'",
        "E'\\\\'",
        "U&'d\\0061ta'",
        "'one'\n 'two; delete'",
        "$$it's; DELETE$$",
        "$tag$ $$ nested $$ $tag$",
        "(1.5e-3)::numeric(10, 2)::text",
        "CAST(.5 AS varchar(10))",
        "c.name",
        "c . \"email\"",
        "\"c\".name",
        "c.tags[1]",
        "o.\"update\"::text",
        "(o.nextval + o.lock)::text",
        "c.display_name",
        "(c.profile ->> 'age')",
        "(c.profile ? 'for update')::text",
        "current_date::text",
        "NULL",
        "EXTRACT(YEAR FROM c.created_at)::text",
        "(3 |*| 4)::text",
        "app_name.n::text",
    ])
}

/// A text that is had by an effect.
fn effect() -> BoxedStrategy<Piece> {
    let alone = acting(&[
        "nextval('ticket')::text",
        "pg_catalog.nextval('ticket')::text",
        "pg_catalog /* x */ . nextval ('ticket')::text",
        "U&\"n\\0065xtval\"('ticket')::text",
        "c.greeted",
        "(c).greeted",
        "greeted(c)",
        "initcap(c)",
        "\"Loud\"(1)::text",
        "shop.touch(1)::text",
        "(1 |+| 2)::text",
        "(3 OPERATOR(public.|+|) 4)::text",
        "pg_advisory_xact_lock_shared(1)::text",
        "set_config('shop.tenant', 'x', true)",
        "pg_current_xact_id()::text",
        "quote(1, 'remark')::text",
    ]);
    let nested = (gap(), value())
        .prop_map(|(gap, value)| Piece::of("log_visit{}({})", &[&gap, &value]))
        .prop_map(|piece| Piece {
            acts: true,
            ..piece
        });
    prop_oneof![3 => alone, 1 => nested].boxed()
}

/// A text, of the tables `c` and `o`.
fn expression() -> BoxedStrategy<Piece> {
    let leaf = prop_oneof![12 => value(), 1 => effect()];
    leaf.prop_recursive(4, 16, 3, |inner| {
        let two = (inner.clone(), gap(), inner.clone());
        let calls = select(&[
            "concat{}({}, {})",
            "coalesce{}({}, {}, 'x')",
            "pg_catalog.\"left\"{}({}, length({}))",
            "format{}('%s;%I', {}, coalesce({}, 'x'))",
        ]);
        let call = (calls, two.clone())
            .prop_map(|(call, (one, gap, two))| Piece::of(call, &[&gap, &one, &two]));
        let wraps = select(&[
            "({}{}||{})",
            "(ARRAY[{},{}{}])[1]",
            "CASE WHEN {}{}= {} THEN 'a' ELSE 'b' END",
            "(SELECT {} FROM{}odd AS delete WHERE {} IS NOT NULL)",
            "(WITH w(a, b) AS (SELECT {},{}{}) SELECT w.a || w.b FROM w)",
            "(SELECT max(title || {}) FILTER (WHERE{}title <> {}) FROM category)",
            "({} IN ({}'y', {}, 'z'))::text",
        ]);
        let wrap =
            (wraps, two).prop_map(|(wrap, (one, gap, two))| Piece::of(wrap, &[&one, &gap, &two]));
        prop_oneof![1 => call, 2 => wrap]
    })
    .boxed()
}

/// Locks, or nothing, or what only looks like a lock.
fn locking() -> BoxedStrategy<Piece> {
    let none = harmless(&[
        "",
        " /* FOR UPDATE */",
        " -- FOR SHARE",
        " OFFSET 0",
        " LIMIT ALL",
    ]);
    let locks = (
        gap(),
        select(&["UPDATE", "NO{}KEY UPDATE", "SHARE", "KEY{}SHARE", "update"]),
        gap(),
        select(&["", " OF c", " SKIP LOCKED", " OF c NOWAIT"]),
    );
    let locks = locks.prop_map(|(gap, strength, between, rest)| {
        let strength = strength.replace("{}", &between.text);
        Piece::new(format!(" FOR{}{strength}{rest}", gap.text), true)
    });
    prop_oneof![12 => none, 1 => locks].boxed()
}

fn query() -> BoxedStrategy<Piece> {
    let aliases = harmless(&[
        "AS update",
        "AS \"for update\"",
        "AS into",
        "AS größe",
        "\"delete\"",
        "AS nextval",
    ]);
    let heads = select(&[
        "SELECT{}{} {} FROM customer c JOIN odd o ON true CROSS JOIN (VALUES (1)) app_name(n) \
         WHERE c.id < 3 AND {} IS NOT NULL{}",
        "SELECT DISTINCT ON (c.id){}{} {} FROM customer c, odd o, generate_series(1, 1) app_name(n) \
         WHERE c.id < 3 AND {} IS NULL ORDER BY c.id{}",
        "(SELECT{}(count({}) OVER ())::text {} FROM customer c, odd o, LATERAL (SELECT 1) app_name(n) \
         WHERE ({}) LIKE 'a%' ESCAPE '!'{}\n)",
    ]);
    // DISTINCT and window functions do not go with locks, which is as well on either server.
    let parts = (gap(), expression(), aliases, expression(), locking());
    (heads, parts)
        .prop_map(|(head, (gap, one, alias, two, locking))| {
            Piece::of(head, &[&gap, &one, &alias, &two, &locking])
        })
        .boxed()
}

fn statement() -> BoxedStrategy<Piece> {
    let writes = acting(&[
        "DELETE FROM item WHERE false RETURNING *",
        "UPDATE customer SET visits = 0 WHERE false RETURNING id",
        "INSERT INTO audit (what) SELECT 'x' WHERE false RETURNING id",
        "/* SELECT */ DELETE FROM item WHERE false RETURNING 1",
    ]);
    let common = (
        select(&["first", "\"delete\"", "größe", "lower"]),
        select(&["", "(a)", " (\"update\")"]),
        select(&["", "MATERIALIZED", "NOT MATERIALIZED", "/* ( */"]),
        prop_oneof![6 => query(), 1 => writes.clone()],
        query(),
    );
    let with = common.prop_map(|(name, columns, kept, inner, outer)| {
        let template = format!("WITH {name}{columns} AS {kept} ({{}}\n) {{}}");
        Piece::of(&template, &[&inner, &outer])
    });
    let both = (
        query(),
        select(&["UNION ALL", "EXCEPT", "INTERSECT"]),
        query(),
    );
    let both = both
        .prop_map(|(one, set, two)| Piece::of(&format!("({{}}\n) {set} ({{}}\n)"), &[&one, &two]));
    let into = query().prop_map(|query| {
        let text = query
            .text
            .replacen(" FROM customer", " INTO copied FROM customer", 1);
        Piece::new(text, true)
    });
    let plain = prop_oneof![6 => query(), 3 => with.clone(), 2 => both, 1 => into, 1 => writes];
    let explained = (
        select(&["EXPLAIN{}{}", "EXPLAIN{}(COSTS OFF, ANALYZE false) {}"]),
        gap(),
        plain.clone(),
    );
    let explained = explained.prop_map(|(explain, gap, plain)| {
        let piece = Piece::of(explain, &[&gap, &plain]);
        Piece {
            acts: false,
            ..piece
        }
    });
    let analyzed = (gap(), query()).prop_map(|(gap, query)| {
        let analyze = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF){}{}";
        Piece::of(analyze, &[&gap, &query])
    });
    let copied = query().prop_map(|query| Piece::of("COPY ({}\n) TO STDOUT", &[&query]));
    let whole = prop_oneof![
        12 => plain,
        1 => explained,
        1 => analyzed,
        1 => copied,
    ];
    let ends = prop_oneof![
        12 => harmless(&["", ";", "\n;\n", "\n; -- DELETE", "\n/* ; DELETE */", "\n;;"]),
        1 => acting(&[
            "\n; DELETE FROM item WHERE false",
            "\n;/**/SELECT nextval('ticket')",
            "\n; -- x\nUPDATE customer SET visits = 1 WHERE false",
        ]),
    ];
    let lead = harmless(&["", "", "/* DELETE */", "-- x;\n", "\n\t"]);
    (lead, whole, ends)
        .prop_map(|(lead, whole, end)| Piece::of("{}{}{}", &[&lead, &whole, &end]))
        .boxed()
}
