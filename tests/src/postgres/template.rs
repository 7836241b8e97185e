use std::{
    fs,
    path::{Path, PathBuf},
    slice,
};

use super::{Binaries, Node, replication::conninfo};
use crate::{
    Result,
    server::{APP_PASSWORD, Account, Home, Installation, Layout, template},
};

/// What all nodes have in common. All else is as the vendor has it.
///
/// Nothing here may make a case prove less than production would: durability is given up, since
/// machines do not fail during a test, but never what is written to the log or how it travels, and
/// nothing that decides how long a question takes.
const CONFIGURATION: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
# Many nodes run at once.
shared_buffers = 16MB
min_wal_size = 8MB
max_wal_size = 128MB
# In the data directory, which goes when the cluster goes; elsewhere a killed server would leave it
# behind.
dynamic_shared_memory_type = mmap
fsync = off
# As pg_rewind needs it.
wal_log_hints = on
# A standby that was away finds what it has missed.
wal_keep_size = 64MB
# How soon a standby tries again to reach its primary; the default of 5 s is for networks.
wal_retrieve_retry_interval = 100ms
# Nothing but the case's own work moves the log: cases of `sessions` and `waiting` are about a log that
# stands still.
autovacuum = off
";

const ACCOUNTING: &str = "
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.save = off
";

/// Makes data directories for the nodes of one cluster. Copies of one template, they are equal to
/// the system identifier, unless that is to be its `own`.
pub(super) fn lay_out(binaries: &Binaries, layout: &Layout<'_, Binaries>) -> Result<()> {
    fill(binaries, layout)?;
    let mut follows = None;
    for node in layout.nodes {
        configure_node(node, follows)?;
        follows = layout.nodes.first();
    }
    Ok(())
}

fn fill(binaries: &Binaries, layout: &Layout<'_, Binaries>) -> Result<()> {
    let (home, data) = (layout.home, layout.data());
    let Some((first, others)) = data.split_first() else {
        return Ok(());
    };
    if layout.own_identity {
        make(home, binaries, first)?;
    } else if layout.settings.is_empty() {
        return copy(home, binaries, &data);
    } else {
        copy(home, binaries, slice::from_ref(first))?;
    }
    configure(home.account(), first, layout.settings)?;
    // A standby refuses to have less of something, such as connections, than its files say that the
    // primary had. So the settings are brought into the files once, and those copied.
    run_single(home, binaries, first, "postgres", "")?;
    template::copy_directory(home, first, others)
}

/// Writes what is the node's own in its configuration, before its first start.
pub(super) fn configure_node(node: &Node, follows: Option<&Node>) -> Result<()> {
    let mut lines = format!("port = {}\n", node.port());
    if let Some(primary) = follows {
        lines.push_str(&format!(
            "primary_conninfo = '{}'\n",
            conninfo(primary, node.name())
        ));
        node.account()
            .write(&node.data().join("standby.signal"), "")?;
    }
    configure(node.account(), node.data(), &lines)
}

/// Appends to the configuration in a data directory.
fn configure(account: Account, data: &Path, lines: &str) -> Result<()> {
    Ok(account.append(&data.join(Binaries::CONFIGURATION), lines)?)
}

/// Copies the template of this installation.
fn copy(home: &Home, binaries: &Binaries, to: &[PathBuf]) -> Result<()> {
    let recipe = (binaries, CONFIGURATION, ACCOUNTING, setup());
    template::copy(home, recipe, |at| make(home, binaries, at), to)
}

fn make(home: &Home, binaries: &Binaries, at: &Path) -> Result<()> {
    let account = home.account();
    let mut initdb = account.command(binaries.initdb());
    initdb.args([
        "--username=postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--no-locale",
    ]);
    // Small segments: they are copied for each node, and small ones turn over soon enough to be
    // tested.
    initdb
        .args(["--wal-segsize=1", "--no-sync", "--pgdata"])
        .arg(at);
    account.run(&mut initdb)?;

    let [roles, extension, tidy] = setup();
    configure(account, at, CONFIGURATION)?;
    run_single(home, binaries, at, "postgres", &roles)?;
    let without = fs::read_to_string(at.join(Binaries::CONFIGURATION))?;
    configure(account, at, ACCOUNTING)?;
    if run_single(home, binaries, at, "app", &extension).is_err() {
        // Some distributions package the extension apart, and only cases that count statements need
        // it.
        account.write(&at.join(Binaries::CONFIGURATION), &without)?;
    }
    run_single(home, binaries, at, "app", &tidy)
}

/// The statements that make it what it is.
fn setup() -> [String; 3] {
    [
        // An application is no superuser: those may do too much for a case to prove anything.
        format!(
            "CREATE ROLE app LOGIN PASSWORD '{APP_PASSWORD}'\n\
             CREATE DATABASE app OWNER app\n"
        ),
        "CREATE EXTENSION pg_stat_statements\n".to_owned(),
        // Else the first who reads a page of the catalog has it logged whole, for its hint bits.
        "VACUUM FREEZE\n".to_owned(),
    ]
}

/// Runs statements, one a line, without starting a server.
fn run_single(
    home: &Home,
    binaries: &Binaries,
    at: &Path,
    database: &str,
    statements: &str,
) -> Result<()> {
    let mut postgres = home.account().command(binaries.postgres());
    postgres.args(["--single", "-D"]).arg(at).arg(database);
    template::feed(&mut postgres, statements)
}
