use std::path::{Path, PathBuf};

use crate::server::{
    Missing,
    binaries::{self, Search},
};

const SERVERS: [&str; 2] = ["mariadbd", "mysqld"];
const INITIALISERS: [&str; 2] = ["mariadb-install-db", "mysql_install_db"];

/// An installation of MariaDB: its server, and what makes data directories.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Binaries {
    server: PathBuf,
    initialiser: PathBuf,
    version: String,
}

impl Binaries {
    /// Looks in `MARIADB_BIN` and nowhere else if that is set, which names the folder of
    /// `mariadbd`; otherwise along `PATH`, then where distributions put servers. What makes data
    /// directories may be in that folder or beside it, in `bin` or `scripts`.
    pub fn find() -> Result<Self, Missing> {
        let search = Search {
            server: "MariaDB",
            variable: "MARIADB_BIN",
            programs: &SERVERS,
            initialiser: Some(INITIALISERS[0]),
        };
        search.run(installed(), Self::in_folder)
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        let server = first(&[folder.to_owned()], &SERVERS)?;
        let beside = |name| folder.join("..").join(name);
        let folders = [folder.to_owned(), beside("bin"), beside("scripts")];
        let initialiser = first(&folders, &INITIALISERS)?;
        let version = binaries::version(&server)?;
        // MySQL has a `mysqld`, too.
        version.contains("MariaDB").then_some(Self {
            server,
            initialiser,
            version,
        })
    }

    /// What `mariadbd --version` says, after the path that it was called by.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn mariadbd(&self) -> &Path {
        &self.server
    }

    pub(super) fn install_db(&self) -> &Path {
        &self.initialiser
    }
}

/// The folders that have servers and that `PATH` often lacks.
fn installed() -> impl Iterator<Item = PathBuf> {
    [
        "/usr/sbin",                     // Debian, Ubuntu
        "/usr/libexec",                  // Fedora and its kin
        "/usr/bin",                      // Alpine, Arch
        "/opt/homebrew/opt/mariadb/bin", // macOS on ARM
        "/usr/local/opt/mariadb/bin",    // macOS on Intel
    ]
    .into_iter()
    .map(PathBuf::from)
}

fn first(folders: &[PathBuf], names: &[&str]) -> Option<PathBuf> {
    folders
        .iter()
        .flat_map(|folder| names.iter().map(|name| folder.join(name)))
        .find(|program| program.is_file())
}
