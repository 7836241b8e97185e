use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{Binaries, Installation, Node, served};
use crate::{
    Result,
    server::{APP_PASSWORD, Home, Layout, template},
};

/// What all nodes have in common.
///
/// Nothing here may make a case prove less than production would: durability is given up, since
/// machines do not fail during a test, but never what is written to the log or how it travels.
const CONFIGURATION: &str = "[mariadbd]
bind-address = 127.0.0.1
# None: its path would be too long in some folders for temporary files.
socket =
# Applications are known by the address that they come from.
skip-name-resolve
pid-file = server.pid
# Whose connections end without a word is no news.
log-warnings = 1
innodb-buffer-pool-size = 8M
innodb-log-file-size = 4M
innodb-temp-data-file-path = ibtmp1:1M:autoextend
key-buffer-size = 64K
aria-pagecache-buffer-size = 1M
table-open-cache = 100
# Its rings are locked in memory, of which a user may lock little, and many nodes run at once.
innodb-use-native-aio = OFF
# At each commit to the system, which outlives the server, and not further.
innodb-flush-log-at-trx-commit = 2
innodb-doublewrite = OFF
innodb-flush-method = fsync
innodb-fast-shutdown = 2
sync-binlog = 0
binlog-format = ROW
relay-log = relay
gtid-strict-mode = ON
";

/// What the setting up itself does without, so that all nodes begin with an empty log.
const LOGGING: &str = "
log-bin = bin
log-slave-updates = ON
";

/// Makes data directories for the nodes of one cluster, copies of one template. An identity is in
/// their configuration alone: by default the domain 0 and the servers 1, 2 …, otherwise numbers
/// taken from the ports, which no two clusters share.
pub(super) fn lay_out(binaries: &Binaries, layout: &Layout<'_, Binaries>) -> Result<()> {
    let (home, settings) = (layout.home, layout.settings);
    let recipe = (binaries, CONFIGURATION, setup());
    template::copy(home, recipe, |at| make(home, binaries, at), &layout.data())?;

    let domain = match layout.nodes {
        [first, ..] if layout.own_identity => first.port(),
        _ => 0,
    };
    for (number, node) in (1..).zip(layout.nodes) {
        let server = domain + number;
        let (port, data, audit) = (node.port(), node.data(), served::settings(node));
        let lines = format!(
            "{LOGGING}{audit}port = {port}\nserver-id = {server}\ngtid-domain-id = {domain}\n\
             tmpdir = {}\nread-only = {}\n{settings}",
            data.display(),
            if number == 1 { "OFF" } else { "ON" }
        );
        node.account().append(&configuration(data), &lines)?;
    }
    Ok(())
}

/// The command that is a server over this data directory.
pub(super) fn command(mariadbd: &Path, data: &Path) -> Command {
    on_data(Command::new(mariadbd), data)
}

impl Node {
    /// Sets a line of the configuration for the next start: the last of the same name is what
    /// counts.
    pub(super) fn keep(&self, name: &str, value: &str) -> Result<()> {
        let line = Binaries::setting(name, value);
        let file = configuration(self.data());
        Ok(self.account().append(&file, &format!("{line}\n"))?)
    }
}

fn make(home: &Home, binaries: &Binaries, at: &Path) -> Result<()> {
    let account = home.account();
    fs::create_dir(at)?;
    account.give(at)?;
    account.write(&configuration(at), CONFIGURATION)?;

    let mut install_db = on_data(account.command(binaries.install_db()), at);
    if let Some(base) = binaries.mariadbd().parent().and_then(Path::parent) {
        install_db.arg(option("--basedir", base));
    }
    install_db.args([
        "--auth-root-authentication-method=normal",
        "--skip-name-resolve",
        "--skip-test-db",
    ]);
    account.run(&mut install_db)?;
    // Without the network, and without asking who it is that speaks.
    let mut bootstrap = on_data(account.command(binaries.mariadbd()), at);
    template::feed(bootstrap.arg("--bootstrap"), &setup())
}

/// The statements that make it what it is, one a line.
fn setup() -> String {
    let admin = Binaries::ADMIN;
    // An application is no superuser: those may do too much for a case to prove anything, such as
    // to write to a replica.
    format!(
        "FLUSH PRIVILEGES;\n\
         CREATE USER {admin}@'127.0.0.1';\n\
         GRANT ALL PRIVILEGES ON *.* TO {admin}@'127.0.0.1' WITH GRANT OPTION;\n\
         CREATE DATABASE app;\n\
         CREATE USER app@'127.0.0.1' IDENTIFIED BY '{APP_PASSWORD}';\n\
         GRANT ALL PRIVILEGES ON app.* TO app@'127.0.0.1';\n"
    )
}

fn on_data(mut command: Command, data: &Path) -> Command {
    command.arg(option("--defaults-file", &configuration(data)));
    command.arg(option("--datadir", data));
    command
}

fn configuration(data: &Path) -> PathBuf {
    data.join(Binaries::CONFIGURATION)
}

fn option(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}
