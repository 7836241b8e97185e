//! The database's, the role's and the server's defaults: the monitor and the replicas work under each (contracts:
//! `Backend`, `Router`).

use dbrouter::{Dialect, Health, Router};

use super::{
    Handle, How, Mount, Need, READ, Site, Subject, WRITES, body, check, error, expect, last, until,
};
use crate::Result;

pub(super) fn mount<S: Subject>(mount: &mut Mount<S>) {
    use Need::{ReadOnlyTransactions, Servers, Snapshots};
    for default in defaults::<S>() {
        mount.case(
            default.name,
            &[Servers, ReadOnlyTransactions, Snapshots],
            async move |site: &Site<S>| works_under(site, default).await,
        );
    }
    if S::DATABASE == Dialect::Postgres {
        mount.case(
            "a_promoted_replicas_connections_have_the_databases_isolation_again",
            &[Servers],
            promoted,
        );
    }
}

/// A default, and what it leaves possible.
struct Default {
    name: &'static str,
    /// What sets it, on each server or on the primary alone.
    set: &'static [&'static str],
    /// Writes of an application without a router would take effect under it.
    writes: bool,
}

const fn default(name: &'static str, set: &'static [&'static str]) -> Default {
    Default {
        name,
        set,
        writes: true,
    }
}

const fn without_writes(name: &'static str, set: &'static [&'static str]) -> Default {
    Default {
        name,
        set,
        writes: false,
    }
}

fn defaults<S: Subject>() -> &'static [Default] {
    match S::DATABASE {
        Dialect::Postgres => &ON_POSTGRES,
        Dialect::MariaDb => &ON_MARIADB,
        _ => &[],
    }
}

/// Set on the primary, and replicated.
const ON_POSTGRES: [Default; 16] = [
    // ubicloud/ubicloud#5433, datanucleus/datanucleus-rdbms#336
    default(
        "isolation_of_the_database_serializable",
        &["alter database app set default_transaction_isolation = 'serializable'"],
    ),
    default(
        "isolation_of_the_role_serializable",
        &["alter role app set default_transaction_isolation = 'serializable'"],
    ),
    default(
        "isolation_serializable_and_deferrable",
        &[
            "alter database app set default_transaction_isolation = 'serializable'",
            "alter database app set default_transaction_deferrable = on",
        ],
    ),
    // supabase/supabase#32689
    without_writes(
        "read_only",
        &["alter database app set default_transaction_read_only = on"],
    ),
    default(
        "statement_timeout",
        &["alter database app set statement_timeout = '2s'"],
    ),
    default(
        "lock_timeout",
        &["alter database app set lock_timeout = '100ms'"],
    ),
    default(
        "idle_session_timeout",
        &["alter database app set idle_session_timeout = '1s'"],
    ),
    default(
        "idle_in_transaction_session_timeout",
        &["alter database app set idle_in_transaction_session_timeout = '2s'"],
    ),
    // Whoever asks without the name of the schema would be told that this is a primary.
    default(
        "search_path_with_functions_like_the_servers_own",
        &[
            "create schema mask",
            "create function mask.pg_is_in_recovery() returns boolean language sql as 'select false'",
            "create function mask.pg_last_wal_replay_lsn() returns pg_lsn language sql as 'select ''0/0''::pg_lsn'",
            "create function mask.current_setting(text) returns text language sql as 'select ''nonsense''::text'",
            "create function mask.pg_current_wal_insert_lsn() returns pg_lsn language sql as 'select ''0/0''::pg_lsn'",
            "grant usage on schema mask to app",
            "alter database app set search_path = mask, pg_catalog, public",
        ],
    ),
    default(
        "time_zone",
        &["alter database app set timezone = 'Asia/Kathmandu'"],
    ),
    default(
        "date_and_interval_style",
        &[
            "alter database app set datestyle = 'German, DMY'",
            "alter database app set intervalstyle = 'postgres_verbose'",
        ],
    ),
    default(
        "client_encoding",
        &["alter database app set client_encoding = 'LATIN1'"],
    ),
    default(
        "bytea_output",
        &["alter database app set bytea_output = 'escape'"],
    ),
    default(
        "standard_conforming_strings_off",
        &[
            "alter database app set standard_conforming_strings = off",
            "alter database app set transform_null_equals = on",
        ],
    ),
    default(
        "quote_all_identifiers",
        &["alter database app set quote_all_identifiers = on"],
    ),
    default(
        "messages_of_all_kinds",
        &["alter database app set client_min_messages = 'debug5'"],
    ),
];

/// Set on each server: MariaDB does not replicate its variables.
const ON_MARIADB: [Default; 11] = [
    default(
        "isolation_serializable",
        &["set global tx_isolation = 'SERIALIZABLE'"],
    ),
    default(
        "isolation_read_uncommitted",
        &["set global tx_isolation = 'READ-UNCOMMITTED'"],
    ),
    without_writes("read_only", &["set global tx_read_only = on"]),
    // Nobody commits. A connection's first read would then begin a transaction that never ends.
    without_writes("autocommit_off", &["set global autocommit = 0"]),
    without_writes(
        "autocommit_off_by_init_connect",
        &["set global init_connect = 'set autocommit = 0'"],
    ),
    default(
        "init_connect",
        &["set global init_connect = 'set time_zone = \"+05:45\", sql_mode = \"ANSI\"'"],
    ),
    default(
        "completion_type_chain",
        &["set global completion_type = 'CHAIN'"],
    ),
    default(
        "sql_mode",
        &["set global sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,IGNORE_SPACE,STRICT_ALL_TABLES'"],
    ),
    default("time_zone", &["set global time_zone = '+05:45'"]),
    default("max_statement_time", &["set global max_statement_time = 2"]),
    default(
        "lock_wait_timeout",
        &[
            "set global lock_wait_timeout = 1",
            "set global innodb_lock_wait_timeout = 1",
        ],
    ),
];

async fn set<S: Subject>(site: &Site<S>, set: &[&str]) -> Result<()> {
    let servers = match S::DATABASE {
        Dialect::MariaDb => 0..3,
        _ => 0..1,
    };
    // The fixture's own questions are none of the case's.
    let of_the_fixture: &[&str] = match S::DATABASE {
        Dialect::Postgres => &[
            "alter role current_user in database app set default_transaction_isolation = 'read committed'",
            "alter role current_user in database app set search_path = pg_catalog, public",
        ],
        _ => &[],
    };
    for number in servers {
        for sql in of_the_fixture.iter().chain(set) {
            site.administer(number, sql).await?;
        }
    }
    site.catch_up(1).await?;
    site.catch_up(2).await
}

async fn works_under<S: Subject>(site: &Site<S>, default: &Default) -> Result<()> {
    set(site, default.set).await?;
    // A busy machine is not to look like a replica that is slow to connect.
    let builder = site.builder().acquire_limit(super::PATIENCE);
    let db = S::root(builder.connect().await?);
    let well = |status: &dbrouter::Status| {
        let mut nodes = status.nodes.iter();
        nodes.all(|node| node.health == Health::Healthy)
    };
    until(&db, "well", well).await?;
    reads_are_the_replicas(site, &db, 0).await?;
    // Somebody else writes. The connections that have read before show it.
    let write = "update kv set version = 1 where id = 1";
    let write = match S::DATABASE {
        Dialect::MariaDb => format!("set session tx_read_only = off; {write}; commit"),
        _ => format!("begin read write; {write}; commit"),
    };
    site.administer(0, &write).await?;
    site.catch_up(1).await?;
    site.catch_up(2).await?;
    reads_are_the_replicas(site, &db, 1).await?;
    expect("reads on the primary", site.reads(&db, 0).await?, 0)?;
    let session = db.session();
    if default.writes {
        session.set(1, 2).await?;
        expect("its own write", session.get(1).await?, Some(2))?;
        db.transact(body(|tx| {
            Box::pin(async move { tx.execute(&super::write(3)).await })
        }))
        .await?;
        expect("on the primary", db.query(WRITES, READ).await?, 3)?;
    } else if default.name == "read_only" {
        error(session.set(1, 2).await, "a write where none are taken")?;
    }
    until(&db, "well after that", well).await?;
    expect("misjudged", db.cluster().status().misjudged, 0)
}

/// Reads of all kinds, each in a session of its own and on the root handle, show a version.
async fn reads_are_the_replicas<S: Subject>(
    site: &Site<S>,
    db: &S::Handle,
    version: i64,
) -> Result<()> {
    for _ in 0..5 {
        let session = db.session();
        expect("by the ORM", session.get(1).await?, Some(version))?;
        check(last(&session)?.0 != "primary", "the primary served it")?;
        expect("as text", db.query(How::AsIs, READ).await?, version)?;
        let read = move || {
            body(move |tx| {
                Box::pin(async move {
                    expect("in a transaction", tx.query(READ).await?, version)?;
                    error(tx.execute(&super::write(9)).await, "a write").map(drop)
                })
            })
        };
        // Where a refused write ends the transaction, its end is no commit, and not an error either.
        let session = db.session();
        session.read_only(read()).await?;
        check(last(&session)?.0 != "primary", "the primary served it")?;
        session.snapshot(read()).await?;
        check(last(&session)?.0 != "primary", "the primary served it")?;
    }
    expect("reads on the primary", site.reads(db, 0).await?, 0)
}

/// A promoted replica is used as the database's defaults have it, not as a replica is.
async fn promoted<S: Subject>(site: &Site<S>) -> Result<()> {
    set(
        site,
        &["alter database app set default_transaction_isolation = 'serializable'"],
    )
    .await?;
    let db = site.connect().await?;
    let level = "select (current_setting('transaction_isolation') = 'serializable')::int::bigint";
    expect("on the primary", db.query(WRITES, level).await?, 1)?;
    let on_replicas = db.eventual();
    expect(
        "on a replica",
        on_replicas.query(super::READS, level).await?,
        0,
    )?;
    site.stop(0).await?;
    site.promote(1).await?;
    let written = crate::wait::until(async || db.session().set(1, 5).await.is_ok());
    check(written.await, "no write is taken after the promotion")?;
    expect("on the new primary", db.query(WRITES, level).await?, 1)
}
