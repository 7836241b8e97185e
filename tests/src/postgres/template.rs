use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    path::{Path, PathBuf},
    process::Stdio,
    slice,
    time::Duration,
};

use super::{account::Account, binaries::Binaries, home::Home, node::APP_PASSWORD};
use crate::{Failure, Result};

/// What all nodes have in common.
///
/// Nothing here may make a case prove less than production would: durability is given up, since
/// machines do not fail during a test, but never what is written to the log or how it travels.
const CONFIGURATION: &str = "
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = 16MB
# In the data directory, which goes when the cluster goes; elsewhere a killed server would leave it
# behind.
dynamic_shared_memory_type = mmap
fsync = off
# As pg_rewind needs them.
full_page_writes = on
wal_log_hints = on
wal_level = replica
hot_standby = on
wal_keep_size = 64MB
min_wal_size = 8MB
max_wal_size = 128MB
wal_receiver_status_interval = 1s
# How soon a standby tries again to reach its primary; the default of 5 s is for networks.
wal_retrieve_retry_interval = 100ms
# Nothing but the case's own work moves the log.
autovacuum = off
jit = off
max_parallel_workers_per_gather = 0
";

const ACCOUNTING: &str = "
shared_preload_libraries = 'pg_stat_statements'
pg_stat_statements.save = off
";

/// Templates of other versions or of older fixtures are removed after a day.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes data directories for the nodes of one cluster. Copies of one template, they are equal to
/// the system identifier, unless that is to be its `own`.
pub(super) fn lay_out(
    home: &Home,
    binaries: &Binaries,
    own_identity: bool,
    settings: &str,
    nodes: &[PathBuf],
) -> Result<()> {
    let Some((first, others)) = nodes.split_first() else {
        return Ok(());
    };
    if own_identity {
        make(home, binaries, first)?;
    } else if settings.is_empty() {
        return copy(home, binaries, nodes);
    } else {
        copy(home, binaries, slice::from_ref(first))?;
    }
    configure(home.account(), first, settings)?;
    // A standby refuses to have less of something, such as connections, than its files say that the
    // primary had. So the settings are brought into the files once, and those copied.
    run_single(home, binaries, first, "postgres", "")?;
    copy_directory(home, first, others)
}

/// Appends to the configuration in a data directory.
pub(super) fn configure(account: Account, data: &Path, lines: &str) -> Result<()> {
    let file = data.join("postgresql.conf");
    let before = fs::read_to_string(&file)?;
    Ok(account.write(&file, &format!("{before}{lines}"))?)
}

/// Copies the template to each of the paths, and makes it first if this installation has none yet.
fn copy(home: &Home, binaries: &Binaries, to: &[PathBuf]) -> Result<()> {
    let template = home.path().join(name(binaries));
    let lock = home.lock_file("templates")?;
    loop {
        // Shared among those that copy, exclusive for those that make or remove.
        lock.lock_shared()?;
        if template.exists() {
            return copy_directory(home, &template, to);
        }
        lock.unlock()?;
        lock.lock()?;
        if !template.exists() {
            make_cached(home, binaries, &template)?;
        }
        lock.unlock()?;
    }
}

/// Different for whatever makes a difference in the result.
fn name(binaries: &Binaries) -> String {
    let mut hasher = DefaultHasher::new();
    (binaries, CONFIGURATION, ACCOUNTING, setup()).hash(&mut hasher);
    format!("template-{:016x}", hasher.finish())
}

fn make_cached(home: &Home, binaries: &Binaries, template: &Path) -> Result<()> {
    for entry in fs::read_dir(home.path())? {
        let entry = entry?;
        let is_template = entry.file_name().to_string_lossy().starts_with("template-");
        let age = entry.metadata()?.modified()?.elapsed().unwrap_or_default();
        if is_template && age > KEPT {
            fs::remove_dir_all(entry.path())?;
        }
    }
    // Renamed when it is whole, so that a process that dies here leaves no broken template.
    let draft = template.with_extension("draft");
    if draft.exists() {
        fs::remove_dir_all(&draft)?;
    }
    make(home, binaries, &draft)?;
    fs::rename(&draft, template)?;
    Ok(())
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
    let without = fs::read_to_string(at.join("postgresql.conf"))?;
    configure(account, at, ACCOUNTING)?;
    if run_single(home, binaries, at, "app", &extension).is_err() {
        // Some distributions package the extension apart, and only cases that count statements need
        // it.
        account.write(&at.join("postgresql.conf"), &without)?;
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
    postgres
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = postgres.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(statements.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let printed = String::from_utf8_lossy(&output.stderr);
    // A statement that fails does not make it fail.
    if output.status.success() && !printed.contains("ERROR:") {
        Ok(())
    } else {
        Err(Failure::new(format!("{postgres:?}: {}\n{printed}", output.status)).into())
    }
}

/// Copies in parallel: it is nearly all of what starting a cluster costs.
fn copy_directory(home: &Home, from: &Path, to: &[PathBuf]) -> Result<()> {
    let account = home.account();
    std::thread::scope(|scope| {
        let copies: Vec<_> = to
            .iter()
            .map(|to| {
                scope.spawn(move || account.run(account.command("cp").arg("-a").arg(from).arg(to)))
            })
            .collect();
        for copy in copies {
            copy.join()
                .map_err(|_| Failure::new("a copying thread panicked"))??;
        }
        Ok(())
    })
}
