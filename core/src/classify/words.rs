//! The words that decide, reviewed list by list. All are sorted, so that a change is easy to see.

use std::sync::LazyLock;

use super::sql::Grammar;

/// The words that a scan looks out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    As,
    Copy,
    Cycle,
    Delete,
    Distinct,
    Fetch,
    For,
    From,
    Insert,
    Into,
    Join,
    Lock,
    Merge,
    Next,
    On,
    Only,
    Operator,
    Ordinality,
    Previous,
    Procedure,
    Recursive,
    Replace,
    Search,
    Select,
    SqlCalcFoundRows,
    Table,
    Tablesample,
    To,
    Update,
    Values,
    Where,
    With,
    /// Any other word, or a name.
    Other,
}

impl Key {
    /// The key that a word in lower case is.
    pub(super) fn of(word: &[u8]) -> Self {
        match word {
            b"as" => Self::As,
            b"cycle" => Self::Cycle,
            b"delete" => Self::Delete,
            b"distinct" => Self::Distinct,
            b"fetch" => Self::Fetch,
            b"for" => Self::For,
            b"from" => Self::From,
            b"insert" => Self::Insert,
            b"into" => Self::Into,
            b"join" => Self::Join,
            b"lock" => Self::Lock,
            b"merge" => Self::Merge,
            b"next" => Self::Next,
            b"on" => Self::On,
            b"only" => Self::Only,
            b"operator" => Self::Operator,
            b"ordinality" => Self::Ordinality,
            b"previous" => Self::Previous,
            b"procedure" => Self::Procedure,
            b"recursive" => Self::Recursive,
            b"replace" => Self::Replace,
            b"search" => Self::Search,
            b"select" => Self::Select,
            b"sql_calc_found_rows" => Self::SqlCalcFoundRows,
            b"table" => Self::Table,
            b"tablesample" => Self::Tablesample,
            b"to" => Self::To,
            b"update" => Self::Update,
            b"values" => Self::Values,
            b"where" => Self::Where,
            b"with" => Self::With,
            _ => Self::Other,
        }
    }

    /// Whether a query may begin with it.
    pub(super) fn heads_a_query(self) -> bool {
        matches!(self, Self::Select | Self::Table | Self::Values | Self::With)
    }

    /// Whether a statement that changes rows may begin with it, at any depth.
    pub(super) fn changes_rows(self) -> bool {
        use Key::{Delete, Insert, Merge, Replace, Update};
        matches!(self, Delete | Insert | Merge | Replace | Update)
    }
}

/// Whether a word in lower case is in a sorted list.
pub(super) fn among(word: &[u8], list: &[&str]) -> bool {
    list.binary_search_by(|known| known.as_bytes().cmp(word))
        .is_ok()
}

/// What begins with one of these changes the state of its connection, or depends on it.
#[rustfmt::skip]
pub(super) const STATE_HEADS: &[&str] = &[
    "abort", "attach", "begin", "close", "commit", "deallocate", "declare", "detach", "discard",
    "end", "execute", "fetch", "get", "handler", "listen", "lock", "move", "pragma", "prepare",
    "release", "reset", "rollback", "savepoint", "set", "start", "unlisten", "unlock", "use", "xa",
];

/// What begins with one of these changes something, or may.
#[rustfmt::skip]
pub(super) const WRITE_HEADS: &[&str] = &[
    "alter", "analyse", "analyze", "binlog", "call", "change", "checkpoint", "cluster", "comment",
    "copy", "create", "delete", "do", "drop", "flush", "grant", "import", "insert", "install",
    "kill", "load", "merge", "notify", "optimize", "purge", "reassign", "refresh", "reindex",
    "rename", "repair", "replace", "revoke", "security", "shutdown", "stop", "truncate",
    "uninstall", "update", "vacuum",
];

/// Whether a statement that begins with a word in lower case is of a kind that is no read.
pub(super) fn heads_a_change(word: &[u8]) -> bool {
    among(word, STATE_HEADS) || among(word, WRITE_HEADS)
}

/// What may stand before a parenthesis and calls no function, in any dialect.
#[rustfmt::skip]
const BEFORE_PARENTHESES: &[&str] = &[
    "all", "and", "any", "as", "between", "by", "case", "cast", "coalesce", "collate", "distinct",
    "else", "escape", "except", "exists", "extract", "filter", "from", "group", "having", "in",
    "intersect", "is", "join", "lateral", "like", "limit", "not", "nullif", "offset", "on", "or",
    "over", "partition", "row", "select", "some", "table", "then", "union", "using", "values",
    "when", "where", "window", "xor",
];

/// The same, in PostgreSQL: syntax, types, and functions that are part of the grammar.
#[rustfmt::skip]
const POSTGRES_BEFORE_PARENTHESES: &[&str] = &[
    "array", "asymmetric", "bigint", "bit", "boolean", "both", "char", "character", "columns",
    "cube", "current_time", "current_timestamp", "dec", "decimal", "default", "fetch", "float",
    "for", "greatest", "grouping", "ilike", "int", "integer", "interval", "isnull", "json",
    "json_array", "json_arrayagg", "json_exists", "json_object", "json_objectagg", "json_query",
    "json_scalar", "json_serialize", "json_table", "json_value", "leading", "least", "localtime",
    "localtimestamp", "materialized", "national", "nchar", "nested", "normalize", "notnull",
    "numeric", "only", "operator", "overlaps", "overlay", "passing", "placing", "position",
    "precision", "real", "repeatable", "rollup", "second", "setof", "sets", "similar", "smallint",
    "substring", "symmetric", "time", "timestamp", "to", "trailing", "treat", "trim", "varchar",
    "variadic", "varying", "within", "xmlattributes", "xmlconcat", "xmlelement", "xmlexists",
    "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize", "xmltable",
    "zone",
];

/// The same, in MySQL and MariaDB.
#[rustfmt::skip]
const MYSQL_BEFORE_PARENTHESES: &[&str] = &[
    "against", "binary", "bit", "character", "columns", "cross", "cube", "dec", "decimal",
    "distinctrow", "div", "double", "except", "fixed", "float", "for", "force", "high_priority",
    "ignore", "index", "inner", "int", "integer", "json_table", "key", "left", "natural", "nchar",
    "numeric", "of", "real", "regexp", "right", "rlike", "rollup", "signed", "sounds",
    "sql_big_result", "sql_buffer_result", "sql_cache", "sql_no_cache", "sql_small_result",
    "straight_join", "time", "unsigned", "varbinary", "varchar",
];

/// The same, in SQLite.
const SQLITE_BEFORE_PARENTHESES: &[&str] = &[
    "glob",
    "isnull",
    "match",
    "materialized",
    "notnull",
    "regexp",
];

/// Whether a word in lower case may stand before a parenthesis without calling a function.
pub(super) fn may_open(word: &[u8], grammar: Grammar) -> bool {
    among(word, BEFORE_PARENTHESES)
        || match grammar {
            Grammar::Postgres => among(word, POSTGRES_BEFORE_PARENTHESES),
            Grammar::MySql => among(word, MYSQL_BEFORE_PARENTHESES),
            Grammar::Sqlite => among(word, SQLITE_BEFORE_PARENTHESES),
        }
}

/// MySQL takes these for functions of its own only if the parenthesis follows without a blank.
/// (MySQL Reference Manual, "Function Name Parsing and Resolution".)
#[rustfmt::skip]
pub(super) const MYSQL_GLUED: &[&str] = &[
    "adddate", "bit_and", "bit_or", "bit_xor", "cast", "count", "cume_dist", "curdate", "curtime",
    "date_add", "date_sub", "dense_rank", "extract", "first_value", "group_concat", "json_arrayagg",
    "json_objectagg", "lag", "last_value", "lead", "max", "median", "mid", "min", "now",
    "nth_value", "ntile", "percent_rank", "percentile_cont", "percentile_disc", "position", "rank",
    "row_number", "session_user", "st_collect", "std", "stddev", "stddev_pop", "stddev_samp",
    "subdate", "substr", "substring", "sum", "sysdate", "system_user", "trim", "trim_oracle",
    "var_pop", "var_samp", "variance",
];

/// MySQL's system variables that are the same on every connection and server of a cluster.
#[rustfmt::skip]
pub(super) const MYSQL_VARIABLES: &[&str] = &[
    "autocommit", "character_set_client", "character_set_connection", "character_set_database",
    "character_set_results", "character_set_server", "collation_connection", "collation_database",
    "collation_server", "div_precision_increment", "group_concat_max_len", "innodb_page_size",
    "interactive_timeout", "license", "lower_case_table_names", "max_allowed_packet",
    "net_buffer_length", "net_write_timeout", "performance_schema", "sql_mode", "system_time_zone",
    "time_zone", "transaction_isolation", "tx_isolation", "version", "version_comment",
    "version_compile_machine", "version_compile_os", "wait_timeout",
];

/// PostgreSQL's settings that differ between a primary and its replicas.
#[rustfmt::skip]
pub(super) const POSTGRES_LOCAL_SETTINGS: &[&str] = &[
    "all", "cluster_name", "config_file", "data_directory", "default_transaction_read_only",
    "hba_file", "ident_file", "in_hot_standby", "listen_addresses", "port", "primary_conninfo",
    "primary_slot_name", "transaction_read_only",
];

/// What MySQL's `SHOW` shows of the cluster, and not of one connection or server.
#[rustfmt::skip]
pub(super) const MYSQL_SHOWN: &[&str] = &[
    "character", "charset", "collation", "columns", "create", "databases", "fields", "function",
    "grants", "index", "indexes", "keys", "procedure", "schemas", "table", "tables", "triggers",
    "variables",
];

/// Words that may stand between MySQL's `SHOW` and what it shows.
pub(super) const MYSQL_SHOW_MODIFIERS: &[&str] =
    &["extended", "full", "global", "local", "session"];

/// Relations that show one connection or one server, and their schemas. PostgreSQL's further ones begin
/// with [`POSTGRES_LOCAL_PREFIXES`].
pub(super) fn is_local_relation(name: &[u8], grammar: Grammar) -> bool {
    match grammar {
        Grammar::Postgres => {
            name.starts_with(b"pg_")
                && (POSTGRES_LOCAL_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix.as_bytes()))
                    || among(name, POSTGRES_LOCAL))
        }
        Grammar::MySql => {
            // Reading some of InnoDB's own tables even resets them.
            name.starts_with(b"innodb_")
                || matches!(
                    name,
                    b"current_role"
                        | b"enabled_roles"
                        | b"general_log"
                        | b"global_status"
                        | b"global_variables"
                        | b"gtid_slave_pos"
                        | b"metadata_lock_info"
                        | b"optimizer_trace"
                        | b"performance_schema"
                        | b"processlist"
                        | b"profiling"
                        | b"session_status"
                        | b"session_variables"
                        | b"slow_log"
                        | b"system_variables"
                        | b"user_variables"
                )
        }
        Grammar::Sqlite => matches!(
            name,
            b"sqlite_stmt" | b"sqlite_temp_master" | b"sqlite_temp_schema"
        ),
    }
}

/// Tables of MySQL's `information_schema` that count what one server does. Elsewhere they may be the user's.
pub(super) fn is_local_information(name: &[u8]) -> bool {
    name.starts_with(b"thread_pool_") || among(name, MYSQL_LOCAL_INFORMATION)
}

#[rustfmt::skip]
const MYSQL_LOCAL_INFORMATION: &[&str] = &[
    "client_statistics", "files", "index_statistics", "key_caches", "table_statistics",
    "user_statistics",
];

const POSTGRES_LOCAL_PREFIXES: &[&str] = &["pg_stat_", "pg_statio_", "pg_temp_", "pg_toast_temp_"];

#[rustfmt::skip]
const POSTGRES_LOCAL: &[&str] = &[
    "pg_aios", "pg_backend_memory_contexts", "pg_cursors", "pg_file_settings", "pg_hba_file_rules",
    "pg_ident_file_mappings", "pg_locks", "pg_prepared_statements", "pg_prepared_xacts",
    "pg_replication_origin_status", "pg_replication_slots", "pg_sequences", "pg_settings",
    "pg_shmem_allocations", "pg_shmem_allocations_numa", "pg_temp",
];

/// PostgreSQL's methods to take a sample of a table, with those of its own extensions.
pub(super) const POSTGRES_SAMPLING: &[&str] =
    &["bernoulli", "system", "system_rows", "system_time"];

/// PostgreSQL's keywords, reserved or not, of all versions up to 18, and `path`, which is one in
/// `XMLTABLE`. Behind any other word, what looks like a call is an alias with its columns.
/// (`pg_get_keywords()`.)
static POSTGRES_KEYWORDS: LazyLock<Vec<&str>> =
    LazyLock::new(|| include_str!("words/postgres.txt").lines().collect());

/// Whether a word in lower case is one of them.
pub(super) fn is_postgres_keyword(word: &[u8]) -> bool {
    among(word, &POSTGRES_KEYWORDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        for list in [
            STATE_HEADS,
            WRITE_HEADS,
            BEFORE_PARENTHESES,
            POSTGRES_BEFORE_PARENTHESES,
            MYSQL_BEFORE_PARENTHESES,
            SQLITE_BEFORE_PARENTHESES,
            MYSQL_GLUED,
            MYSQL_VARIABLES,
            MYSQL_SHOWN,
            MYSQL_LOCAL_INFORMATION,
            POSTGRES_LOCAL_SETTINGS,
            MYSQL_SHOW_MODIFIERS,
            POSTGRES_LOCAL,
            POSTGRES_SAMPLING,
            &POSTGRES_KEYWORDS,
        ] {
            assert!(list.is_sorted(), "{list:?}");
        }
    }
}
