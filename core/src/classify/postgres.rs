//! What PostgreSQL's catalog tells of functions, and the reviewed lists of what it cannot tell.

use super::functions::Effect;
use super::words::among;
use crate::dialect::{Answer, Question};

pub(super) const SYSTEM_SCHEMA: &str = "pg_catalog";

/// Asks what a statement can call or read that is no read, in all schemas: what is visible may differ from one
/// connection to the next. Its columns are those of [`Catalog`].
///
/// It tells of the system's functions and at most 2,000 of the user's, 500 views and so on, those of the lowest object
/// identifiers, and its last column says where [the next one](question_beyond) begins. So each stays within a statement timeout, however many there
/// are. Only the user's own objects are looked into. No subquery runs once for each row of a table, and none selects rows
/// by anything that the planner takes for many: with a cost of more than 100,000 by its estimate the question would be
/// compiled, which takes longer than to run it.
///
/// * Functions: a line each, with a letter, the schema and the name, and for a volatile one the extension that it
///   belongs to. The system's types and the user's are called in order to cast. Names with blanks are left out; they
///   are then not known.
/// * Uses: what a view's query, a table's policies, a function's body or its arguments' defaults, an aggregate and an
///   operator mention. The server keeps the first ones as trees of nodes (of `pg_depend` the system's own objects
///   are left out), which name what they call by its number. Of a body that is a string, the words are compared:
///   what is mentioned in a comment counts, what is put together at run time does not. Such a word means functions of
///   that name in any schema.
pub(super) const QUESTION: Question = Question::new(include_str!("catalog.sql"), COLUMNS);

const COLUMNS: usize = 7;

/// Asks for what changes when the answer to [`QUESTION`] does: how many rows there are of each kind that it reads, and
/// the sum of the numbers of the transactions that wrote them. A row that was changed is a new one, with a later number.
/// Temporary relations are left out: some applications make them all the time. So is what belongs to an extension: a
/// function that joins or leaves one does the same as before.
///
/// What would cost less is not sound. The server's counts of changed rows arrive late, or never from a connection that
/// is idle afterwards. The highest object identifier is not raised by `ALTER`. The highest transaction number is not raised
/// by a transaction that began earlier and is committed later.
pub(super) const SIGN: Question = Question::new(include_str!("sign.sql"), 1);

/// Where [`QUESTION`] begins.
const START: &str = "'0'::oid";

/// The highest number among what an answer tells of, if there is more.
pub(super) fn reached(answer: &Answer) -> Option<u32> {
    answer.column(COLUMNS - 1)?.parse().ok()
}

/// [`QUESTION`], for what has a higher number.
pub(super) fn question_beyond(number: u32) -> Question {
    let sql = QUESTION.sql().replace(START, &format!("'{number}'::oid"));
    Question::once(sql, COLUMNS)
}

/// The answers to [`QUESTION`] and those that follow it.
#[derive(Debug)]
pub(super) struct Catalog<'a> {
    /// Whether a backslash in a plain string is just that.
    pub(super) standard_strings: bool,
    answers: &'a [Answer],
}

/// What uses something, or is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Function {
        schema: &'a str,
        name: &'a str,
    },
    /// A function of that name in any schema.
    Named(&'a str),
    Operator(&'a str),
    Relation(&'a str),
}

impl<'a> Item<'a> {
    fn of(kind: &str, schema: &'a str, name: &'a str) -> Option<Self> {
        Some(match kind {
            "f" => Self::Function { schema, name },
            "n" => Self::Named(name),
            "o" => Self::Operator(name),
            "r" => Self::Relation(name),
            _ => return None,
        })
    }
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
    /// `None` if these are no such answers.
    pub(super) fn of(answers: &'a [Answer]) -> Option<Self> {
        let first = answers.first()?;
        first.column(1).filter(|lines| !lines.is_empty())?;
        Some(Self {
            standard_strings: first.column(0)? == "on",
            answers,
        })
    }

    fn lines(&self, column: usize) -> impl Iterator<Item = &'a str> {
        let columns = self.answers.iter();
        columns.flat_map(move |answer| answer.column(column).unwrap_or("").lines())
    }

    pub(super) fn functions(&self) -> impl Iterator<Item = Function<'a>> {
        self.lines(1).filter_map(|line| {
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

    /// Functions that can be called for one row, by schema and name.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.lines(2).filter_map(|line| line.split_once('\t'))
    }

    /// Sequences and unlogged tables.
    pub(super) fn relations(&self) -> impl Iterator<Item = &'a str> {
        self.lines(3)
    }

    /// What uses what.
    pub(super) fn uses(&self) -> impl Iterator<Item = (Item<'a>, Item<'a>)> {
        self.lines(4).filter_map(|line| {
            let mut fields = line.split('\t');
            let mut item = || Item::of(fields.next()?, fields.next()?, fields.next()?);
            Some((item()?, item()?))
        })
    }

    /// Keywords that cannot be names of functions.
    pub(super) fn reserved(&self) -> impl Iterator<Item = &'a str> {
        self.lines(5)
    }
}

impl Function<'_> {
    /// Whether it is not surely a read.
    pub(super) fn may_change(&self) -> bool {
        let harmless = match self.extension {
            None if self.schema == SYSTEM_SCHEMA => HARMLESS,
            Some("pgcrypto") => HARMLESS_PGCRYPTO,
            Some("timescaledb") => HARMLESS_TIMESCALE,
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
    "ts_rewrite", "uuidv4", "uuidv7",
];

/// Whether a harmless function runs a query that it is given as text, if it is called with less than three arguments.
pub(super) fn runs_text(schema: &str, name: &str) -> bool {
    schema == SYSTEM_SCHEMA && name == "ts_rewrite"
}

const HARMLESS_PGCRYPTO: &[&str] = &[
    "gen_random_bytes",
    "gen_random_uuid",
    "gen_salt",
    "pgp_pub_encrypt",
    "pgp_pub_encrypt_bytea",
    "pgp_sym_encrypt",
    "pgp_sym_encrypt_bytea",
];

/// They fill gaps in what the query has read. (timescale/timescaledb, `sql/gapfill.sql`.)
const HARMLESS_TIMESCALE: &[&str] = &["interpolate", "locf", "time_bucket_gapfill"];

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

/// The system's volatile functions of one argument, which `t.f` may call as well, for as long as no catalog has said
/// so. Those that tell of one server are [withdrawn] anyway.
#[rustfmt::skip]
pub(super) const VOLATILE_OF_ONE: &[&str] = &[
    "brin_summarize_new_values", "currval", "gin_clean_pending_list", "lo_close", "lo_creat", "lo_create",
    "lo_get", "lo_import", "lo_tell", "lo_tell64", "lo_unlink", "nextval", "pg_advisory_lock",
    "pg_advisory_lock_shared", "pg_advisory_unlock", "pg_advisory_unlock_shared",
    "pg_advisory_xact_lock", "pg_advisory_xact_lock_shared", "pg_backup_start", "pg_backup_stop",
    "pg_collation_actual_version", "pg_create_physical_replication_slot", "pg_create_restore_point",
    "pg_database_collation_actual_version", "pg_drop_replication_slot", "pg_get_multixact_members",
    "pg_import_system_collations", "pg_log_backend_memory_contexts", "pg_promote",
    "pg_replication_origin_create", "pg_replication_origin_drop",
    "pg_replication_origin_session_progress", "pg_replication_origin_session_setup",
    "pg_sequence_last_value", "pg_start_backup", "pg_stop_backup", "pg_sync_replication_slot",
    "pg_try_advisory_lock", "pg_try_advisory_lock_shared", "pg_try_advisory_xact_lock",
    "pg_try_advisory_xact_lock_shared", "pg_xact_commit_timestamp",
    "pg_xact_commit_timestamp_origin", "pg_xact_status", "plpgsql_validator", "setseed", "ts_stat",
    "txid_status",
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
    use std::slice;

    use super::*;

    #[test]
    fn lists_are_sorted() {
        for list in [
            HARMLESS,
            HARMLESS_PGCRYPTO,
            HARMLESS_TIMESCALE,
            HARMLESS_UUID,
            LOCAL,
            REFUSED,
            VOLATILE_OF_ONE,
        ] {
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
        let catalog = Catalog::of(slice::from_ref(&answer)).unwrap();
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
        assert!(Catalog::of(&[empty]).is_none());
        let without_functions: Answer = [Some("on".to_owned()), None].into_iter().collect();
        assert!(Catalog::of(&[without_functions]).is_none());
    }
}
