//! What PostgreSQL's catalog tells of functions, and the reviewed lists of what it cannot tell.

use super::functions::Effect;
use super::words::among;
use crate::dialect::{Answer, Question};

pub(super) const SYSTEM_SCHEMA: &str = "pg_catalog";

/// Asks for all functions that a statement can call, in all schemas: which of them are visible may differ
/// from one connection to the next. A line each, with a letter, the schema and the name; and for a volatile
/// one the extension that it belongs to. An aggregate is what its support functions are, and a function what
/// its arguments' defaults call. The system's types are called in order to cast. Names with blanks are left out;
/// they are then not known. Then for what else calls a volatile function, and for the relations
/// that a standby cannot show, or not as they are.
pub(super) const QUESTION: Question = Question::new(
    "SELECT current_setting('standard_conforming_strings'), \
     (SELECT string_agg(DISTINCT line, E'\\n') FROM ( \
        SELECT concat_ws(' ', CASE WHEN changes THEN 'v' ELSE 'r' END, nspname, proname, \
          CASE WHEN changes THEN ( \
            SELECT extname FROM pg_catalog.pg_depend d \
            JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
            WHERE d.classid = 'pg_catalog.pg_proc'::regclass AND d.objid = f.oid \
            AND d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e' \
            LIMIT 1) END) AS line \
        FROM ( \
          SELECT p.oid, n.nspname, p.proname, CASE p.prokind WHEN 'a' THEN ( \
              SELECT bool_or(s.provolatile = 'v') FROM pg_catalog.pg_aggregate a \
              JOIN pg_catalog.pg_proc s ON s.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, \
                a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn) \
              WHERE a.aggfnoid = p.oid) \
            ELSE p.provolatile = 'v' OR EXISTS (SELECT FROM \
              regexp_matches(p.proargdefaults::text, ':(?:func|opfunc)id (\\d+)', 'g') m \
              JOIN pg_catalog.pg_proc d ON d.oid = m[1]::oid WHERE d.provolatile = 'v') \
            END AS changes \
          FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
          WHERE p.prokind <> 'p' AND n.nspname !~ '^pg_temp_' \
          AND n.nspname !~ '[[:space:][:cntrl:]]' AND p.proname !~ '[[:space:][:cntrl:]]' \
        ) f \
        UNION ALL \
        SELECT 'r ' || n.nspname || ' ' || t.typname FROM pg_catalog.pg_type t \
        JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
        WHERE n.nspname = 'pg_catalog' AND t.typtype IN ('b', 'r', 'm') AND t.typcategory <> 'A' \
     ) lines), \
     (SELECT string_agg(DISTINCT p.proname, E'\\n') FROM pg_catalog.pg_proc p \
        JOIN pg_catalog.pg_type t ON t.oid = p.proargtypes[0] \
        WHERE p.provolatile = 'v' AND p.oid >= 16384 AND p.pronargs - p.pronargdefaults <= 1 \
        AND t.typtype IN ('c', 'd', 'p')), \
     (SELECT string_agg(DISTINCT o.oprname, E'\\n') FROM pg_catalog.pg_operator o \
        JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode WHERE p.provolatile = 'v' \
        AND o.oprname NOT IN (SELECT oprname FROM pg_catalog.pg_operator \
          WHERE oprnamespace = 'pg_catalog'::regnamespace)), \
     (SELECT string_agg(DISTINCT c.relname, E'\\n') FROM pg_catalog.pg_class c \
        WHERE c.relkind = 'S' OR c.relpersistence = 'u' AND c.relkind IN ('m', 'r'))",
    5,
);

/// The answer to [`QUESTION`].
#[derive(Debug)]
pub(super) struct Catalog<'a> {
    /// Whether a backslash in a plain string is just that.
    pub(super) standard_strings: bool,
    functions: &'a str,
    pub(super) attributes: &'a str,
    pub(super) operators: &'a str,
    pub(super) relations: &'a str,
}

/// One overload of a function, or several that are alike.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function<'a> {
    pub(super) schema: &'a str,
    pub(super) name: &'a str,
    volatile: bool,
    extension: Option<&'a str>,
}

impl<'a> Catalog<'a> {
    /// `None` if that is no such answer.
    pub(super) fn of(answer: &'a Answer) -> Option<Self> {
        let functions = answer.column(1).filter(|lines| !lines.is_empty())?;
        Some(Self {
            standard_strings: answer.column(0)? == "on",
            functions,
            attributes: answer.column(2).unwrap_or(""),
            operators: answer.column(3).unwrap_or(""),
            relations: answer.column(4).unwrap_or(""),
        })
    }

    pub(super) fn functions(&self) -> impl Iterator<Item = Function<'a>> {
        self.functions.lines().filter_map(|line| {
            let mut fields = line.split(' ');
            let volatile = fields.next()? != "r";
            let (schema, name) = (fields.next()?, fields.next()?);
            let extension = fields.next();
            Some(Function {
                schema,
                name,
                volatile,
                extension,
            })
        })
    }
}

impl Function<'_> {
    /// Whether it is not surely a read.
    pub(super) fn may_change(&self) -> bool {
        let harmless = match self.extension {
            None if self.schema == SYSTEM_SCHEMA => HARMLESS,
            Some("pgcrypto") => HARMLESS_PGCRYPTO,
            Some("uuid-ossp") => HARMLESS_UUID,
            _ => &[],
        };
        self.volatile && !among(self.name.as_bytes(), harmless)
    }
}

/// Functions that are volatile only because two calls return two values, or because they read what the
/// planner must not fold: sizes, delays, chance, and the clock. They work on a standby and leave nothing
/// behind.
#[rustfmt::skip]
const HARMLESS: &[&str] = &[
    "amvalidate", "array_sample", "array_shuffle", "clock_timestamp", "gen_random_uuid",
    "pg_database_size", "pg_indexes_size", "pg_partition_ancestors", "pg_partition_tree",
    "pg_relation_size", "pg_sleep", "pg_sleep_for", "pg_sleep_until", "pg_table_size",
    "pg_tablespace_size", "pg_total_relation_size", "random", "random_normal", "timeofday",
    "uuidv4", "uuidv7",
];

const HARMLESS_PGCRYPTO: &[&str] = &[
    "gen_random_bytes",
    "gen_random_uuid",
    "gen_salt",
    "pgp_pub_encrypt",
    "pgp_pub_encrypt_bytea",
    "pgp_sym_encrypt",
    "pgp_sym_encrypt_bytea",
];

const HARMLESS_UUID: &[&str] = &["uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4"];

pub(super) fn harmless() -> impl Iterator<Item = &'static str> {
    HARMLESS.iter().copied()
}

/// What a function of the system is, whatever the catalog says of it: it tells of its connection or its
/// server, or acts on one; or a standby refuses it.
pub(super) fn withdrawn(name: &[u8]) -> Option<Effect> {
    if is_refused(name) {
        return Some(Effect::Volatile);
    }
    let starts = |prefix: &&str| name.starts_with(prefix.as_bytes());
    let local = among(name, LOCAL) || LOCAL_PREFIXES.iter().any(starts);
    local.then_some(Effect::Local)
}

/// Whether a standby refuses a function that is not volatile.
pub(super) fn is_refused(name: &[u8]) -> bool {
    among(name, REFUSED)
}

/// They are stable, and fail on a standby: they take a transaction id, want a log that is written, or read
/// relations that the text does not show.
#[rustfmt::skip]
const REFUSED: &[&str] = &[
    "database_to_xml", "database_to_xml_and_xmlschema", "pg_current_xact_id",
    "pg_replication_origin_oid", "pg_walfile_name", "pg_walfile_name_offset", "schema_to_xml",
    "schema_to_xml_and_xmlschema", "table_to_xml", "table_to_xml_and_xmlschema", "txid_current",
];

const LOCAL_PREFIXES: &[&str] = &[
    "pg_control_",
    "pg_current_wal_",
    "pg_last_",
    "pg_ls_",
    "pg_read_",
    "pg_stat_",
    "pg_wal_replay_",
];

#[rustfmt::skip]
const LOCAL: &[&str] = &[
    "currval", "inet_client_addr", "inet_client_port", "inet_server_addr", "inet_server_port",
    "lastval", "pg_available_wal_summaries", "pg_backend_pid", "pg_blocking_pids",
    "pg_cancel_backend", "pg_conf_load_time", "pg_config", "pg_current_logfile",
    "pg_current_xact_id_if_assigned", "pg_cursor", "pg_export_snapshot",
    "pg_get_backend_memory_contexts", "pg_get_replication_slots", "pg_get_shmem_allocations",
    "pg_get_wal_replay_pause_state", "pg_hba_file_rules", "pg_is_in_backup", "pg_is_in_recovery",
    "pg_is_other_temp_schema", "pg_is_wal_replay_paused", "pg_listening_channels", "pg_lock_status",
    "pg_my_temp_schema", "pg_notification_queue_usage", "pg_postmaster_start_time",
    "pg_prepared_statement", "pg_prepared_xact", "pg_safe_snapshot_blocking_pids",
    "pg_show_all_file_settings", "pg_show_all_settings", "pg_show_replication_origin_status",
    "pg_tablespace_location", "pg_terminate_backend", "pg_trigger_depth",
    "txid_current_if_assigned",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        for list in [HARMLESS, HARMLESS_PGCRYPTO, HARMLESS_UUID, LOCAL, REFUSED] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }

    #[test]
    fn a_catalog_is_read_line_by_line() {
        let answer = [
            "on",
            "r pg_catalog lower\nv app touch\nv public gen_salt pgcrypto\nv public gen_salt",
        ];
        let answer: Answer = answer
            .map(|column| Some(column.to_owned()))
            .into_iter()
            .collect();
        let catalog = Catalog::of(&answer).unwrap();
        assert!(catalog.standard_strings);
        let may_change: Vec<_> = catalog
            .functions()
            .map(|function| (function.name, function.may_change()))
            .collect();
        let expected = [
            ("lower", false),
            ("touch", true),
            ("gen_salt", false),
            ("gen_salt", true),
        ];
        assert_eq!(may_change, expected);
    }

    #[test]
    fn what_is_no_catalog_is_refused() {
        let empty: Answer = [].into_iter().collect();
        assert!(Catalog::of(&empty).is_none());
        let without_functions: Answer = [Some("on".to_owned()), None].into_iter().collect();
        assert!(Catalog::of(&without_functions).is_none());
    }
}
