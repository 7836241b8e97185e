//! What the classifier says of statements, and of the functions that it is told of. The large corpus, and
//! what servers say of it, is in the tests' own crate.

use proptest::prelude::*;

use super::sql::Sql;
use super::{Classification, Classifier};
use crate::decision::Cause;
use crate::dialect::Answer;
use crate::vocabulary::Intent;

fn verdict(sql: &Sql, text: &str) -> (Cause, String) {
    let inspection = sql.inspect(text);
    (
        inspection.classification.reason,
        inspection.token.to_owned(),
    )
}

fn assert_reads(sql: &Sql, texts: &[&str]) {
    for text in texts {
        let (cause, token) = verdict(sql, text);
        assert_eq!(cause, Cause::Query, "{token:?} in {text}");
    }
}

/// Each text, its cause and the deciding token.
fn assert_verdicts(sql: &Sql, verdicts: &[(&str, Cause, &str)]) {
    for (text, cause, token) in verdicts {
        assert_eq!(verdict(sql, text), (*cause, (*token).to_owned()), "{text}");
    }
}

#[test]
fn queries_are_reads() {
    let texts = [
        "select 1;",
        "/* a */ SELECT id FROM users WHERE id = $1 -- the end",
        "((select 1) union all (values (2))) order by 1",
        "table users",
        "with recursive t(n) as (values (1) union all select n + 1 from t) select sum(n) from t",
        "with a(x) as materialized (select 1), b(y) as (select 2) select * from a, b",
        "with t as (select 1) search depth first by a, b set c select 1",
        "select * from (values (1, 2)) v(a, b), generate_series(1, 2) g(i), s.t u(c, d)",
        "select * from json_to_record('{}') as (a int, b numeric(10, 2))",
        "select x::public.geometry(point), cast(x as app.kind(3)) from t",
        "select t.update, t.into as delete from t",
        "select count(*) filter (where a) over (partition by b order by c) from t",
        "select distinct on (a) lower(b) from t",
        "select pg_catalog.lower(a), pg_catalog . \"upper\" (b) from t",
        "select 'for update', e'\\'; delete', $a$ into $a$, u&'\\0041', b'1', x'f'",
        "explain delete from t",
        "explain (analyze off, costs) update t set a = 1",
        "explain (analyze) select lower(a) from t",
        "show server_version",
        "select current_setting('server_version'), current_setting('no_such', true)",
        "copy (select 1) to stdout with (format csv)",
        "select * from t tablesample system (10) repeatable (1)",
        "select 1 offset (select 2) fetch first (1 + 1) rows only",
        "select substring(a from 1 for 2), extract(year from b), trim(both 'x' from c) from t",
        "select random(), clock_timestamp(), pg_total_relation_size('t')",
        "select 1; select 2; explain delete from t;",
        "; select 1",
        "select 'a' as u&\"\\0061\", 'b' as u&\"!0062\" uescape '!'",
        "explain create table a as select 1",
        "explain (costs off) declare c cursor for select 1",
        "select ts_rewrite('a', 'b', ts_rewrite('a', 'b', 'c')), ts_rewrite(f[1, 2], (b), c) from t",
    ];
    assert_reads(&Sql::postgres(), &texts);
}

#[test]
fn the_first_token_that_decides_is_named() {
    let verdicts = [
        ("", Cause::Unknown, ""),
        ("-- nothing", Cause::Unknown, ""),
        ("frobnicate", Cause::Unknown, "frobnicate"),
        ("delete from t", Cause::Writes, "delete"),
        ("select * into x from t", Cause::Writes, "into"),
        ("select * INTO TEMP x from t", Cause::SessionState, "INTO"),
        (
            "select * from t for /* a */ no key update",
            Cause::Locks,
            "for",
        ),
        (
            "with a as (select 1) delete from t",
            Cause::Writes,
            "delete",
        ),
        (
            "with a as (with b as (insert into t values (1) returning *) table b) table a",
            Cause::Writes,
            "insert",
        ),
        (
            "with a as (select 1) search depth first by a set b update t set c = 1",
            Cause::Writes,
            "update",
        ),
        ("select t.as into x from t", Cause::Writes, "into"),
        ("select nextval('s')", Cause::Volatile, "nextval"),
        ("select f /* a */ (1)", Cause::UnknownFunction, "f"),
        ("select app.lower('x')", Cause::UnknownFunction, "lower"),
        ("select \"Lower\"('x')", Cause::UnknownFunction, "\"Lower\""),
        (
            "select distinct on (a) f(b) from t",
            Cause::UnknownFunction,
            "f",
        ),
        (
            "select a operator(s.+) f(b) from t",
            Cause::UnknownFunction,
            "f",
        ),
        (
            "select * from xmltable('x' passing d columns a int path f(1))",
            Cause::UnknownFunction,
            "f",
        ),
        (
            "select * from xmltable('x' passing d columns a int \"path\" f(1))",
            Cause::UnknownFunction,
            "f",
        ),
        (
            "with t as (select 1) (select 1) order by 1, f(1)",
            Cause::UnknownFunction,
            "f",
        ),
        ("select txid_current()", Cause::Volatile, "txid_current"),
        (
            "select pg_backend_pid()",
            Cause::SessionDependent,
            "pg_backend_pid",
        ),
        (
            "select * from pg_catalog.pg_stat_activity",
            Cause::SessionDependent,
            "pg_stat_activity",
        ),
        ("show in_hot_standby", Cause::SessionDependent, "show"),
        ("show \"in_hot_standby\"", Cause::SessionDependent, "show"),
        ("show app.tenant", Cause::SessionDependent, "show"),
        (
            "select current_setting($1)",
            Cause::SessionDependent,
            "current_setting",
        ),
        (
            "select current_setting('a' || 'b')",
            Cause::SessionDependent,
            "current_setting",
        ),
        (
            "select current_setting('app.tenant', true)",
            Cause::SessionDependent,
            "current_setting",
        ),
        (
            "select current_setting('transaction_read_only')",
            Cause::SessionDependent,
            "current_setting",
        ),
        (
            "explain analyze verbose delete from t",
            Cause::Writes,
            "delete",
        ),
        (
            "explain (costs, analyze) select f(1)",
            Cause::UnknownFunction,
            "f",
        ),
        (
            "copy (delete from t returning *) to stdout",
            Cause::Writes,
            "delete",
        ),
        ("copy t from stdin", Cause::Writes, "from"),
        (
            "copy (select 1) to program 'cat'",
            Cause::SessionDependent,
            "to",
        ),
        ("begin", Cause::SessionState, "begin"),
        (
            "create local temporary table t (a int)",
            Cause::SessionState,
            "temporary",
        ),
        ("create table t (a int)", Cause::Writes, "create"),
        ("select 1; select f(1)", Cause::SeveralStatements, "f"),
        (
            "select 1; delete from t",
            Cause::SeveralStatements,
            "delete",
        ),
        ("; ;", Cause::Unknown, ""),
        ("select 'a", Cause::Malformed, "'"),
        ("select $a$ $b$", Cause::Malformed, "$"),
        ("select 1 /* /* */", Cause::Malformed, "/"),
        ("select (1", Cause::Malformed, ""),
        ("select 1)", Cause::Malformed, ")"),
        ("select a[1", Cause::Malformed, ""),
        ("with t as (select 1)", Cause::Malformed, ""),
        ("select 1\0", Cause::Malformed, "\0"),
        ("select 1into x from t", Cause::Malformed, "1"),
        ("select e'a' 'b'", Cause::Malformed, "e"),
        (
            "select u&\"a!0062\" uescape '!' (1)",
            Cause::Malformed,
            "u&\"a!0062\"",
        ),
        (
            "select t.u&\"\\0061\" from t",
            Cause::Malformed,
            "u&\"\\0061\"",
        ),
        (
            "select * from u&\"\\0061\"",
            Cause::SessionDependent,
            "u&\"\\0061\"",
        ),
    ];
    assert_verdicts(&Sql::postgres(), &verdicts);
}

#[test]
fn mysql_is_read_by_its_own_rules() {
    let sql = Sql::mysql();
    let texts = [
        "select `for update`, 'it\\'s', \"into\" from t # update",
        "select 1 --1",
        "select count(*), if(a, b, c), left(d, 1) from t use index (i)",
        "select @@version, @@global.sql_mode",
        "show full columns from t where `Field` like 'a%'",
        "show session variables like 'sql_mode'",
        "show variables where variable_name = 'version' or Variable_name in (\"sql_mode\", 'license')",
        "select 1; select 2",
        "analyze (select 1)",
        "describe t",
        "explain select 1",
        "select * from t for system_time as of now()",
        "select /*+ max_execution_time(1) */ 1",
        "select sys from user_statistics",
    ];
    assert_reads(&sql, &texts);
    let verdicts = [
        ("select * from t lock in share mode", Cause::Locks, "lock"),
        ("select * from t for update", Cause::Locks, "for"),
        ("select 1 into outfile 'x'", Cause::Writes, "into"),
        ("select @a := 1", Cause::SessionDependent, "@a"),
        (
            "select @@last_insert_id",
            Cause::SessionDependent,
            "@@last_insert_id",
        ),
        (
            "select last_insert_id()",
            Cause::UnknownFunction,
            "last_insert_id",
        ),
        ("select /*!50000 sleep(1) */ 1", Cause::Malformed, "/"),
        ("select count (*) from t", Cause::UnknownFunction, "count"),
        ("select next value for s", Cause::Writes, "next"),
        ("select s.nextval", Cause::Writes, "nextval"),
        (
            "select materialized(1)",
            Cause::UnknownFunction,
            "materialized",
        ),
        ("select filter(1)", Cause::UnknownFunction, "filter"),
        (
            "select sql_calc_found_rows * from t",
            Cause::SessionState,
            "sql_calc_found_rows",
        ),
        ("select 1abs(2)", Cause::Malformed, "1"),
        ("select `count`(1)", Cause::UnknownFunction, "`count`"),
        (
            "with a as (select 1) update .t set b = 1",
            Cause::Writes,
            "update",
        ),
        ("show variables", Cause::SessionDependent, "variables"),
        (
            "show global variables like 's%'",
            Cause::SessionDependent,
            "variables",
        ),
        (
            "show variables where variable_name = 'version' or 1",
            Cause::SessionDependent,
            "variables",
        ),
        (
            "show variables where variable_name in ('version', 'hostname')",
            Cause::SessionDependent,
            "variables",
        ),
        (
            "select * from mysql.gtid_executed",
            Cause::SessionDependent,
            "gtid_executed",
        ),
        (
            "select * from information_schema . `disks`",
            Cause::SessionDependent,
            "`disks`",
        ),
        (
            "select extract(year from json_table(1))",
            Cause::UnknownFunction,
            "json_table",
        ),
        ("; select 1", Cause::Unknown, ";"),
        ("show master status", Cause::SessionDependent, "master"),
        ("show tables where f(1)", Cause::UnknownFunction, "f"),
        (
            "show variables where @a := 1",
            Cause::SessionDependent,
            "variables",
        ),
        ("explain into @a select 1", Cause::Unknown, "into"),
        (
            "select * from innodb_cmp_reset",
            Cause::SessionDependent,
            "innodb_cmp_reset",
        ),
        (
            "select * from sys.innodb_buffer_stats_by_table",
            Cause::SessionDependent,
            "sys",
        ),
        (
            "select * from `INFORMATION_SCHEMA` . User_Statistics",
            Cause::SessionDependent,
            "User_Statistics",
        ),
        ("analyze table t", Cause::Writes, "analyze"),
        ("explain delete from t", Cause::Writes, "delete"),
        ("replace into t values (1)", Cause::Writes, "replace"),
    ];
    assert_verdicts(&sql, &verdicts);
}

#[test]
fn sqlite_is_read_by_its_own_rules() {
    let sql = Sql::sqlite();
    let texts = [
        "select [for update], `a`, \"b\" from t where c = :c and d = @d and e = $e and f = ?1",
        "explain query plan delete from t",
        "select * from json_each('[]'), pragma_table_info('t')",
        "values (1)",
        "with t as materialized (select 1) select max(a) from t",
        "; select a not match ('b'), t.a regexp ('c') from t limit 1 offset (2)",
        "select * from article('a') join other('b') on 1, third where a is distinct from 1",
        "pragma user_version",
        "pragma main . table_info(t)",
    ];
    assert_reads(&sql, &texts);
    let verdicts = [
        (
            "with t as (select 1) replace into u select * from t",
            Cause::Writes,
            "replace",
        ),
        (
            "select last_insert_rowid()",
            Cause::UnknownFunction,
            "last_insert_rowid",
        ),
        (
            "select * from pragma_optimize",
            Cause::SessionDependent,
            "pragma_optimize",
        ),
        (
            "pragma user_version = 1",
            Cause::SessionState,
            "user_version",
        ),
        (
            "pragma user_version(1)",
            Cause::SessionState,
            "user_version",
        ),
        ("pragma temp.table_info(t)", Cause::SessionState, "temp"),
        (
            "select 1 from t where a is distinct from f(1)",
            Cause::UnknownFunction,
            "f",
        ),
        ("select a, f(1) from t", Cause::UnknownFunction, "f"),
        (
            "select * from pragma_optimize('x')",
            Cause::UnknownFunction,
            "pragma_optimize",
        ),
        (
            "select * from sqlite_stmt()",
            Cause::SessionDependent,
            "sqlite_stmt",
        ),
        (
            "explain select * from temp.t",
            Cause::SessionDependent,
            "temp",
        ),
        ("select * from temp.t", Cause::SessionDependent, "temp"),
        ("explain pragma user_version = 1", Cause::Unknown, "pragma"),
        ("(select 1)", Cause::Malformed, "select"),
        ("select $a(')')", Cause::Malformed, "$"),
    ];
    assert_verdicts(&sql, &verdicts);
}

#[test]
fn a_hint_overrides_if_it_comes_first_and_is_wanted() {
    let sql = Sql::postgres();
    let hinted = |text: &str| {
        let classification = sql.classify(text);
        (classification.reason == Cause::Hint).then_some(classification.intent)
    };
    assert_eq!(hinted("/*dbrouter:primary*/ select 1"), Some(Intent::Write));
    assert_eq!(
        hinted(" /* dbrouter:replica */ select f(1)"),
        Some(Intent::Read)
    );
    assert_eq!(hinted("select 1 /*dbrouter:primary*/"), None);
    assert_eq!(hinted("/* a *//*dbrouter:primary*/ select 1"), None);
    assert_eq!(hinted("-- a\n/*dbrouter:primary*/ select 1"), None);
    assert_eq!(hinted("/*dbrouter:elsewhere*/ select 1"), None);
    assert_eq!(hinted("'/*dbrouter:replica*/'"), None);
    let sql = Sql::postgres().without_hints();
    assert_eq!(
        sql.classify("/*dbrouter:primary*/ select 1"),
        Classification::READ
    );
    assert_eq!(
        sql.classify("/*dbrouter:replica*/ delete from t").intent,
        Intent::Write
    );
}

#[test]
fn a_name_behind_the_dot_of_an_expression_is_a_call_in_postgresql() {
    let sql = Sql::postgres();
    let calls = [
        "select ('s'::regclass).nextval",
        "select (id) . \"pg_advisory_lock\" from t",
        "select a[1].nextval from t",
        "select t.a[1].nextval from t",
        "select $1.nextval",
        "select (a).b.nextval from t",
        "explain analyze select ('s'::regclass).nextval",
        "copy (select ('s'::regclass).nextval) to stdout",
        // A function in `FROM` may return the argument.
        "select g.nextval from pg_catalog.regclass('s') g",
        "select regclass.nextval from regclass('s')",
        "select g.nextval from t, unnest($1::regclass[]) g",
        "select g.nextval from (t join rows from (regclass('s')) g on true)",
        "select g.nextval from cast('s' as regclass) g",
        "select g.pg_drop_replication_slot from current_user g",
        "select g.nextval from lateral regclass('s') g",
        "select g.pg_stat_get_numscans from regclass('s') g",
    ];
    // A field, a column.
    let fields = [
        "select (a).b, (a).b.c, ((a).b).c from t",
        "select o.nextval from odd o, generate_series(1, 2) g, (select 1) d where d.nextval > 1",
        "select odd.nextval, lower(b), (1 + 2) from odd",
    ];
    let own = ["select (a).audit from t", "select a[1].audit from t"];
    let catalog = "r pg_catalog lower\nv pg_catalog nextval\nv pg_catalog pg_advisory_lock\n\
                   r pg_catalog regclass\nr pg_catalog generate_series\nr pg_catalog unnest\nv app audit\n\
                   v pg_catalog pg_drop_replication_slot";
    let learnt = Sql::postgres();
    learn(&learnt, ["on", catalog, "", "", "", ""]);
    for text in calls.into_iter().chain(own) {
        for sql in [&sql, &learnt] {
            assert_eq!(sql.classify(text).intent, Intent::Write, "{text}");
        }
    }
    assert_reads(&learnt, &fields);
    assert_reads(&sql, &fields[1..]);
    // As long as its functions are not known, it may be one of the user's.
    assert_eq!(sql.classify(fields[0]).reason, Cause::UnknownFunction);
}

#[test]
fn what_is_temporary_is_of_one_connection() {
    let sql = Sql::postgres();
    let temporary = [
        "select * from pg_temp.t",
        "select pg_temp.f(1)",
        "copy pg_temp.t to stdout",
        "explain select * from pg_temp . t",
        "explain select \"pg_temp\".f(1)",
        "explain update pg_temp_3.t set a = 1",
    ];
    for text in temporary {
        assert_eq!(sql.classify(text).reason, Cause::SessionDependent, "{text}");
    }
    assert_reads(&sql, &["explain select pg_temperature from t"]);
}

#[test]
fn what_reaches_something_that_is_no_read_is_none() {
    let sql = Sql::postgres();
    let functions = "r pg_catalog lower\nr pg_catalog pg_backend_pid\nv pg_catalog nextval\n\
                     r app mine\nr app twice\nr app price\nr app whole";
    let uses = "f\tapp\tmine\tf\tpg_catalog\tpg_backend_pid\n\
                f\tapp\ttwice\tr\t\tdeep\n\
                r\t\tact\tr\t\tpg_stat_activity\n\
                r\t\tdeep\tr\t\tdeeper\n\
                r\t\tdeeper\tr\t\tact\n\
                r\t\tNo\"1\tr\t\tticket\n\
                r\t\trounds\tr\t\trounds too\n\
                r\t\trounds too\tr\t\trounds\n\
                r\t\tguarded\tf\tapp\tmine\n\
                r\t\tprices\tf\tapp\tprice\n\
                r\t\twords\tf\tpg_catalog\tts_rewrite\n\
                f\tapp\tprice\tf\tpg_catalog\tlower\n\
                o\t\t|-|\tf\tapp\tmine\n\
                nonsense";
    let catalog = [
        "on",
        functions,
        "app\twhole\napp\ttwice",
        "ticket",
        uses,
        "",
    ];
    learn(&sql, catalog);
    let local = [
        "select mine()",
        "select app.twice(1)",
        "select t.twice from t",
        "select a |-| b from t",
        "select * from act",
        "select * from t join app.deep using (a)",
        "select * from (t cross join deeper)",
        "select * from t, \"No\"\"1\"",
        "select * from guarded",
        "table ticket",
    ];
    for text in local {
        assert_ne!(sql.classify(text).intent, Intent::Read, "{text}");
    }
    assert_eq!(sql.classify("table words").reason, Cause::Volatile);
    let texts = [
        "select price(1), t.whole, act, deep from t order by guarded",
        "select * from prices, rounds",
    ];
    assert_reads(&sql, &texts);
    // Whose author says that a function reads, says so of what uses it as well.
    let sql = Sql::postgres().reading(["app.mine"]);
    learn(&sql, catalog);
    assert_reads(&sql, &["select app.mine(), a |-| b from guarded"]);
}

#[test]
fn words_are_syntax_only_where_the_grammar_has_them() {
    let sql = Sql::postgres();
    let syntax = [
        "select count(*) filter (where a) over (partition by (b) order by (c)) from t group by (d)",
        "select 1 from t group by grouping sets ((a), rollup (b), cube (c)), cube (d)",
        "select 1 from t group by distinct rollup (a)",
        "with a as not materialized (select 1), b as materialized (select 2) select * from a, b",
        "select a from t where name ilike ('x') or b not ilike ('y') and 'a' like 'b' escape ('c')",
        "select * from a left join (b cross join c) on true, d join (select 1) e on true",
        "select interval '1' second (3), interval day to second (3), a::character varying (3) from t",
        "select a at time zone ('utc') operator(pg_catalog.+) b from t",
    ];
    assert_reads(&sql, &syntax);
    let calls = [
        ("select cube(1) from t order by cube(2)", "cube"),
        ("select 1 from t group by (cube(1))", "cube"),
        ("select xor(1, 2)", "xor"),
        ("select 1 where not ilike(1)", "ilike"),
        ("select not materialized(1)", "materialized"),
        ("select distinct on (a) over(1) from t", "over"),
        ("select 'a' similar to second(1)", "second"),
        ("select json_value(1)", "json_value"),
    ];
    for (text, token) in calls {
        assert_eq!(
            verdict(&sql, text),
            (Cause::UnknownFunction, token.to_owned()),
            "{text}"
        );
    }
    let (keywords, functions) = ("json_value\njson_table", "r pg_catalog lower");
    learn(&sql, ["on", functions, "", "", "", keywords]);
    assert_reads(&sql, &["select json_value('{}', '$.a')"]);
}

fn learn(sql: &Sql, catalog: [&str; 6]) {
    let answer = catalog.map(|column| Some(column.to_owned()));
    sql.learn(&answer.into_iter().collect());
}

fn catalog(standard_strings: &str, functions: &str) -> Answer {
    let columns = [standard_strings, functions].map(|column| Some(column.to_owned()));
    columns.into_iter().collect()
}

#[test]
fn the_catalog_decides() {
    let sql = Sql::postgres();
    let functions = "r pg_catalog lower\nv pg_catalog random\nv pg_catalog nextval\nr app price\n\
                     v app touch\nr public touch\nr app Mixed\nv x gen_random_bytes pgcrypto\n\
                     r pg_catalog txid_current\nr pg_catalog pg_backend_pid\nv app filter";
    learn(
        &sql,
        [
            "on",
            functions,
            "app\ttouch",
            "orders_id_seq\nscratch",
            "o\t\t|+|\tf\tapp\ttouch",
            "",
        ],
    );
    assert_reads(
        &sql,
        &[
            "select lower(a), price(b), app.price(c), public.touch(d), app.\"Mixed\"(e) from t",
            "select random(), x.gen_random_bytes(1)",
            "select a + b, a || b, a |+ b from t",
            "select app.\"Mixed\" (1), touch from t",
        ],
    );
    let verdicts = [
        ("select nextval('s')", Cause::Volatile, "nextval"),
        ("select upper(a) from t", Cause::UnknownFunction, "upper"),
        ("select touch(1)", Cause::Volatile, "touch"),
        ("select app.touch(1)", Cause::Volatile, "touch"),
        ("select app.mixed(1)", Cause::UnknownFunction, "mixed"),
        ("select txid_current()", Cause::Volatile, "txid_current"),
        (
            "select pg_backend_pid()",
            Cause::SessionDependent,
            "pg_backend_pid",
        ),
        ("select t.touch from t", Cause::Volatile, "touch"),
        ("select a|+|b from t", Cause::Volatile, "|+|"),
        ("select filter(1)", Cause::Volatile, "filter"),
        ("table app.scratch", Cause::SessionDependent, "scratch"),
        (
            "select last_value from \"orders_id_seq\"",
            Cause::SessionDependent,
            "\"orders_id_seq\"",
        ),
    ];
    assert_verdicts(&sql, &verdicts);
}

#[test]
fn what_is_learnt_replaces_what_is_cached() {
    let sql = Sql::postgres();
    let text = "select price(1)";
    (0..100).for_each(|_| assert_eq!(sql.classify(text).intent, Intent::Write));
    sql.learn(&catalog("on", "r app price"));
    (0..100).for_each(|_| assert_eq!(sql.classify(text).intent, Intent::Read));
    sql.learn(&catalog("on", "v app price"));
    (0..100).for_each(|_| assert_eq!(sql.classify(text).intent, Intent::Write));
    // No catalog at all: what is known stays.
    sql.learn(&[Some("nonsense".to_owned())].into_iter().collect());
    assert_eq!(sql.classify(text).reason, Cause::Volatile);
}

#[test]
fn a_catalog_in_parts_is_taken_in_whole() {
    let part = |strings: Option<&str>, functions: &str, uses: &str, reached: Option<&str>| {
        let columns = [
            strings,
            Some(functions),
            None,
            None,
            Some(uses),
            None,
            reached,
        ];
        let columns = columns.map(|column| column.map(str::to_owned));
        columns.into_iter().collect::<Answer>()
    };
    let sql = Sql::postgres().reading(["geo.here"]);
    // The functions that are meant by a name alone are told later.
    let uses = "f\ta\tprice\tn\t\ttouch\nf\ta\ttax\tn\t\tround\nf\ta\tnear\tn\t\there\n\
                f\ta\tdeep\tn\t\tprice";
    let functions = "r pg_catalog round\nr a price\nr a tax\nr a near\nr a deep\nr a touch";
    let first = part(Some("on"), functions, uses, Some("20000"));
    let beyond = |number: &str| {
        let next = sql.learn(&first).unwrap();
        assert!(next.sql().contains("'20000'::oid"), "{}", next.sql());
        assert!(!next.is_repeated());
        sql.learn(&part(None, "v b touch\nv geo here", "", Some(number)))
    };
    // Until the last part nothing is known.
    assert!(beyond("30000").unwrap().sql().contains("'30000'::oid"));
    assert_eq!(sql.classify("select tax(1)").intent, Intent::Write);
    assert!(sql.learn(&part(None, "r c last", "", None)).is_none());
    let known = || {
        assert_reads(
            &sql,
            &["select tax(1), near(2), a.touch(3), geo.here(4), last(5)"],
        );
        let verdicts = [
            ("select price(1)", Cause::Volatile, "price"),
            ("select a.deep(1)", Cause::Volatile, "deep"),
        ];
        assert_verdicts(&sql, &verdicts);
    };
    known();
    // One that was broken off, and one that goes round in circles.
    assert!(sql.learn(&first).is_some());
    assert!(beyond("30000").is_some());
    assert!(sql.learn(&part(None, "r c last", "", None)).is_none());
    known();
    assert!(beyond("20000").is_none());
}

#[test]
fn the_server_says_how_strings_are_read() {
    let sql = Sql::postgres();
    let text = r"select 'a\'";
    assert_eq!(sql.classify(text), Classification::READ);
    sql.learn(&catalog("off", "r pg_catalog lower"));
    assert_eq!(sql.classify(text).reason, Cause::Malformed);
    assert_eq!(sql.classify(r"select 'a\''"), Classification::READ);
}

#[test]
fn the_mode_says_how_mysql_reads_strings() {
    let single = r"select 'a\', get_lock('b', 1) -- '";
    let double = r#"select "a\", get_lock("b", 1) -- ""#;
    let variable = r#"select @@version, @"a\", 1 -- ""#;
    let learnt = |mode: Option<&str>| {
        let sql = Sql::mysql();
        sql.learn(&[mode.map(str::to_owned)].into_iter().collect());
        [single, double, variable].map(|text| sql.classify(text).reason)
    };
    let (reads, calls) = (Cause::Query, Cause::UnknownFunction);
    let of_session = Cause::SessionDependent;
    for mode in [None, Some(""), Some("STRICT_TRANS_TABLES,PIPES_AS_CONCAT")] {
        assert_eq!(learnt(mode), [reads, reads, of_session], "{mode:?}");
    }
    let mode = Some("STRICT_TRANS_TABLES,NO_BACKSLASH_ESCAPES");
    assert_eq!(learnt(mode), [calls, calls, of_session]);
    let mode = Some("ANSI_QUOTES,STRICT_TRANS_TABLES");
    assert_eq!(learnt(mode), [reads, calls, of_session]);
}

#[test]
fn names_can_be_added_and_removed() {
    let sql = Sql::postgres()
        .reading(["Price", "app.tax", "app.\"Mixed\""])
        .writing(["LOWER", "app.x", "audit"]);
    let all = "r pg_catalog lower\nr app x\nv app price\nr app audit";
    for _ in 0..2 {
        assert_reads(&sql, &["select price(1), app.tax(2), app.\"Mixed\"(3)"]);
        let verdicts = [
            ("select lower('A')", Cause::Volatile, "lower"),
            ("select app.x(1)", Cause::Volatile, "x"),
            ("select x(1)", Cause::Volatile, "x"),
            ("select pg_catalog.lower('A')", Cause::Volatile, "lower"),
            ("select tax(1)", Cause::UnknownFunction, "tax"),
        ];
        assert_verdicts(&sql, &verdicts);
        // The catalog does not overrule them.
        sql.learn(&catalog("on", all));
    }
    assert_verdicts(&sql, &[("select app.audit(1)", Cause::Volatile, "audit")]);
    let mysql = Sql::mysql().reading(["Shop.Price"]).writing(["ABS"]);
    assert_reads(&mysql, &["select shop.PRICE(1)"]);
    assert_verdicts(&mysql, &[("select abs(1)", Cause::Volatile, "abs")]);
    assert_reads(
        &Sql::sqlite().reading(["regexp"]),
        &["select regexp('a', b) from t"],
    );
}

#[test]
fn what_is_no_name_is_an_error() {
    for name in ["audit()", "", "a b", "a.b.c", "a.", "'a'", "\"a"] {
        let error = Sql::postgres().writing(["fine", name]).check().unwrap_err();
        assert_eq!(error.field(), "classifier.writing", "{name}");
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
    assert!(Sql::postgres().reading(["a", "b.c"]).check().is_ok());
}

#[test]
fn a_read_is_named_by_its_first_word() {
    for (text, word) in [
        ("explain delete from t", "explain"),
        ("((select 1))", "select"),
        ("copy t to stdout", "copy"),
    ] {
        assert_eq!(
            verdict(&Sql::postgres(), text),
            (Cause::Query, word.to_owned())
        );
    }
}

const WRITING: &[&str] = &[
    "insert into t values (1)",
    "update t set a = 1",
    "delete from t",
    "merge into t using u on true",
    "select 1 into t",
    "select 1 for update",
    "select 1 for no key update",
    "select f(1)",
];

proptest! {
    #[test]
    fn no_text_is_too_strange(text in "\\PC*") {
        for sql in [Sql::postgres(), Sql::mysql(), Sql::sqlite()] {
            for text in [text.clone(), format!("select {text}"), format!("with t as ({text}) {text}")] {
                let inspection = sql.inspect(&text);
                prop_assert!(text.contains(inspection.token));
                prop_assert_eq!(sql.classify(&text), inspection.classification);
            }
        }
    }

    #[test]
    fn what_writes_is_found_at_any_depth(
        before in "[a-z0-9 ,=+*]{0,20}",
        depth in 0_usize..200,
        writing in proptest::sample::select(WRITING),
        blank in proptest::sample::select(&[" ", "\n", "/**/", "-- a\n", "/* ' */"][..]),
    ) {
        let writing = writing.replace(' ', blank);
        let (open, close) = ("(".repeat(depth), ")".repeat(depth));
        for sql in [Sql::postgres(), Sql::mysql(), Sql::sqlite()] {
            let text = format!("select {before} {open}{blank}{writing}{blank}{close}");
            prop_assert_eq!(sql.classify(&text).intent, Intent::Write);
        }
    }
}
