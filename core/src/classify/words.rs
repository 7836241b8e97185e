//! The words that decide, reviewed list by list. All are sorted, so that a change is easy to see.

use std::sync::LazyLock;

use super::sql::Grammar;

/// The words that a scan looks out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    As,
    /// It begins a clause that is not looked at otherwise, and ends the one before.
    Clause,
    Copy,
    Cycle,
    Delete,
    Distinct,
    Fetch,
    For,
    From,
    Group,
    Insert,
    Into,
    Join,
    Lateral,
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
            b"except" | b"having" | b"intersect" | b"limit" | b"offset" | b"order" | b"union"
            | b"window" => Self::Clause,
            b"cycle" => Self::Cycle,
            b"delete" => Self::Delete,
            b"distinct" => Self::Distinct,
            b"fetch" => Self::Fetch,
            b"for" => Self::For,
            b"from" => Self::From,
            b"group" => Self::Group,
            b"insert" => Self::Insert,
            b"into" => Self::Into,
            b"join" => Self::Join,
            b"lateral" => Self::Lateral,
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

/// PostgreSQL's keywords that may stand before a parenthesis and cannot be the names of functions without quotes:
/// syntax, types, and functions that are part of the grammar. (`pg_get_keywords()`, categories C and R, but for
/// `overlay` and `substring`, which call the user's functions as well.)
#[rustfmt::skip]
const POSTGRES_RESERVED: &[&str] = &[
    "all", "and", "any", "array", "as", "asymmetric", "between", "bigint", "bit", "boolean", "both",
    "case", "cast", "char", "character", "coalesce", "collate", "current_time", "current_timestamp",
    "dec", "decimal", "default", "distinct", "else", "except", "exists", "extract", "fetch", "float",
    "for", "from", "greatest", "group", "grouping", "having", "in", "int", "integer", "intersect",
    "interval", "lateral", "leading", "least", "limit", "localtime", "localtimestamp", "national",
    "nchar", "normalize", "not", "nullif", "numeric", "offset", "on", "only", "or",
    "placing", "position", "precision", "real", "row", "select", "setof", "smallint",
    "some", "symmetric", "table", "then", "time", "timestamp", "to", "trailing",
    "treat", "trim", "union", "using", "values", "varchar", "variadic", "when", "where", "window",
    "xmlattributes", "xmlconcat", "xmlelement", "xmlexists", "xmlforest", "xmlnamespaces",
    "xmlparse", "xmlpi", "xmlroot", "xmlserialize", "xmltable",
];

/// Whether a word in lower case is one of them.
pub(super) fn is_reserved_in_postgres(word: &[u8]) -> bool {
    among(word, POSTGRES_RESERVED)
}

/// The same of PostgreSQL 16 and later. On servers before that they may be functions of the user's.
#[rustfmt::skip]
const POSTGRES_NEWLY_RESERVED: &[&str] = &[
    "json", "json_array", "json_arrayagg", "json_exists", "json_object", "json_objectagg",
    "json_query", "json_scalar", "json_serialize", "json_table", "json_value", "merge_action",
];

/// Whether a word in lower case is one of them.
pub(super) fn is_reserved_in_new_postgres(word: &[u8]) -> bool {
    among(word, POSTGRES_NEWLY_RESERVED)
}

/// PostgreSQL's functions that are called without parentheses.
#[rustfmt::skip]
pub(super) const POSTGRES_VALUES: &[&str] = &[
    "current_catalog", "current_date", "current_role", "current_schema", "current_time",
    "current_timestamp", "current_user", "localtime", "localtimestamp", "session_user",
    "system_user", "user",
];

/// Keywords of PostgreSQL that columns and tables are often named after, and behind which no expression begins.
#[rustfmt::skip]
pub(super) const POSTGRES_COLUMNS: &[&str] = &[
    "action", "comment", "data", "day", "domain", "hour", "key", "label", "language", "location",
    "method", "minute", "month", "name", "names", "object", "owner", "password", "policy", "role",
    "rule", "schema", "second", "sequence", "server", "session", "source", "state", "statement",
    "storage", "subscription", "template", "text", "type", "types", "view", "views", "year",
];

/// The keywords that may stand before a parenthesis in MySQL and MariaDB, and of which no server takes one for a
/// function of the user's there.
#[rustfmt::skip]
const MYSQL_RESERVED: &[&str] = &[
    "all", "and", "any", "as", "between", "binary", "bit", "by", "case", "cast", "character",
    "coalesce", "collate", "cross", "dec", "decimal", "distinct", "distinctrow", "div", "double",
    "else", "except", "exists", "extract", "fixed", "float", "for", "force", "from", "group",
    "having", "high_priority", "ignore", "in", "index", "inner", "int", "integer", "intersect",
    "is", "join", "key", "lateral", "left", "like", "limit", "natural", "nchar", "not", "nullif",
    "numeric", "offset", "on", "or", "partition", "real", "regexp", "right", "rlike", "row",
    "select", "signed", "some", "sounds", "sql_big_result", "sql_small_result", "straight_join",
    "table", "then", "time", "union", "unsigned", "using", "values", "varbinary", "varchar", "when",
    "where", "window", "xor",
];

/// Whether a word in lower case is one of them.
pub(super) fn is_reserved_in_mysql(word: &[u8]) -> bool {
    among(word, MYSQL_RESERVED)
}

/// What may stand between MySQL's `SELECT` and what it selects.
#[rustfmt::skip]
pub(super) const MYSQL_SELECT_OPTIONS: &[&str] = &[
    "all", "distinct", "distinctrow", "high_priority", "select", "sql_big_result",
    "sql_buffer_result", "sql_cache", "sql_no_cache", "sql_small_result", "straight_join",
];

/// The keywords that may stand before a parenthesis in SQLite, and that it never takes for functions there.
#[rustfmt::skip]
const SQLITE_RESERVED: &[&str] = &[
    "all", "and", "as", "between", "case", "cast", "collate", "distinct", "else", "escape",
    "except", "exists", "from", "group", "having", "in", "intersect", "is", "isnull", "join",
    "limit", "not", "notnull", "on", "or", "select", "table", "then", "union", "using", "values",
    "when", "where",
];

/// Whether a word in lower case is one of them.
pub(super) fn is_reserved_in_sqlite(word: &[u8]) -> bool {
    among(word, SQLITE_RESERVED)
}

/// SQLite's keywords, which columns may be named after as well. (`sqlite3_keyword_name()`.)
#[rustfmt::skip]
pub(super) const SQLITE_KEYWORDS: &[&str] = &[
    "abort", "action", "add", "after", "all", "alter", "always", "analyze", "and", "as", "asc",
    "attach", "autoincrement", "before", "begin", "between", "by", "cascade", "case", "cast",
    "check", "collate", "column", "commit", "conflict", "constraint", "create", "cross", "current",
    "current_date", "current_time", "current_timestamp", "database", "default", "deferrable",
    "deferred", "delete", "desc", "detach", "distinct", "do", "drop", "each", "else", "end",
    "escape", "except", "exclude", "exclusive", "exists", "explain", "fail", "filter", "first",
    "following", "for", "foreign", "from", "full", "generated", "glob", "group", "groups", "having",
    "if", "ignore", "immediate", "in", "index", "indexed", "initially", "inner", "insert",
    "instead", "intersect", "into", "is", "isnull", "join", "key", "last", "left", "like", "limit",
    "match", "materialized", "natural", "no", "not", "nothing", "notnull", "null", "nulls", "of",
    "offset", "on", "or", "order", "others", "outer", "over", "partition", "plan", "pragma",
    "preceding", "primary", "query", "raise", "range", "recursive", "references", "regexp",
    "reindex", "release", "rename", "replace", "restrict", "returning", "right", "rollback", "row",
    "rows", "savepoint", "select", "set", "table", "temp", "temporary", "then", "ties", "to",
    "transaction", "trigger", "unbounded", "union", "unique", "update", "using", "vacuum", "values",
    "view", "virtual", "when", "where", "window", "with", "within", "without",
];

/// SQLite's pragmas that only read when they are given no value, and read the same on all connections to a file.
#[rustfmt::skip]
pub(super) const SQLITE_PRAGMAS: &[&str] = &[
    "application_id", "encoding", "foreign_key_check", "freelist_count", "page_count", "page_size",
    "schema_version", "table_list", "user_version",
];

/// SQLite's pragmas that only read what they are given the name of.
#[rustfmt::skip]
pub(super) const SQLITE_PRAGMAS_OF: &[&str] = &[
    "foreign_key_check", "foreign_key_list", "index_info", "index_list", "index_xinfo",
    "table_info", "table_list", "table_xinfo",
];

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

/// Tables of MySQL's and MariaDB's `information_schema` that show the same on all servers of a cluster. The others,
/// and those of later versions, show what a server or a connection does, or what is installed there.
#[rustfmt::skip]
pub(super) const MYSQL_INFORMATION: &[&str] = &[
    "administrable_role_authorizations", "applicable_roles", "character_sets", "check_constraints",
    "collation_character_set_applicability", "collations", "column_privileges", "column_statistics",
    "columns", "columns_extensions", "events", "geometry_columns", "key_column_usage", "keywords",
    "parameters", "partitions", "periods", "referential_constraints", "role_column_grants",
    "role_routine_grants", "role_table_grants", "routines", "schema_privileges", "schemata",
    "schemata_extensions", "spatial_ref_sys", "sql_functions", "st_geometry_columns",
    "st_spatial_reference_systems", "st_units_of_measure", "statistics", "table_constraints",
    "table_constraints_extensions", "table_privileges", "tables", "tables_extensions",
    "tablespaces", "tablespaces_extensions", "triggers", "user_attributes", "user_privileges",
    "view_routine_usage", "view_table_usage", "views",
];

/// Tables of the schema `mysql` whose changes are replicated. The others tell of one server.
#[rustfmt::skip]
pub(super) const MYSQL_SYSTEM_TABLES: &[&str] = &[
    "column_stats", "columns_priv", "db", "default_roles", "event", "func", "global_grants",
    "global_priv", "help_category", "help_keyword", "help_relation", "help_topic", "index_stats",
    "password_history", "proc", "procs_priv", "proxies_priv", "role_edges", "roles_mapping",
    "servers", "table_stats", "tables_priv", "time_zone", "time_zone_leap_second",
    "time_zone_name", "time_zone_transition", "time_zone_transition_type", "user",
];

/// Whether a name in lower case is that of PostgreSQL's schema of temporary objects, of this connection or another.
pub(super) fn is_temporary_schema(name: &[u8]) -> bool {
    *name == *b"pg_temp" || name.starts_with(b"pg_temp_") || name.starts_with(b"pg_toast_temp_")
}

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
            POSTGRES_RESERVED,
            POSTGRES_NEWLY_RESERVED,
            POSTGRES_VALUES,
            POSTGRES_COLUMNS,
            MYSQL_RESERVED,
            MYSQL_SELECT_OPTIONS,
            SQLITE_RESERVED,
            SQLITE_KEYWORDS,
            SQLITE_PRAGMAS,
            SQLITE_PRAGMAS_OF,
            MYSQL_GLUED,
            MYSQL_VARIABLES,
            MYSQL_SHOWN,
            MYSQL_INFORMATION,
            MYSQL_SYSTEM_TABLES,
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
