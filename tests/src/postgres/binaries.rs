use std::path::{Path, PathBuf};

use crate::server::{
    Missing,
    binaries::{self, Search},
};

/// An installation of PostgreSQL: the folder that has `postgres` and `initdb`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Binaries {
    folder: PathBuf,
    version: String,
}

impl Binaries {
    /// Looks in `PG_BIN` and nowhere else if that is set; otherwise along `PATH`, then where
    /// distributions put their versions, the newest first.
    pub fn find() -> Result<Self, Missing> {
        let search = Search {
            server: "PostgreSQL",
            variable: "PG_BIN",
            programs: &["postgres"],
            initialiser: Some("initdb"),
        };
        search.run(installed(), Self::in_folder)
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        Some(Self {
            folder: folder.to_owned(),
            version: binaries::version(&folder.join("postgres"))?,
        })
    }

    /// What `postgres --version` says, such as `postgres (PostgreSQL) 15.18 (Debian
    /// 15.18-0+deb12u1)`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The first number of that version: `15`.
    pub fn major(&self) -> Option<u32> {
        let number = self.version.split_whitespace().nth(2)?;
        let digits = number
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(number.len());
        number[..digits].parse().ok()
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }
}

/// The `bin` folders of versioned installations, the highest version first.
fn installed() -> impl Iterator<Item = PathBuf> {
    let families = [
        ("/usr/lib/postgresql", ""),          // Debian, Ubuntu
        ("/usr", "pgsql-"),                   // PostgreSQL's own packages for Fedora and its kin
        ("/usr/libexec", "postgresql"),       // Alpine
        ("/opt/homebrew/opt", "postgresql@"), // macOS on ARM
        ("/usr/local/opt", "postgresql@"),    // macOS on Intel
    ];
    families
        .into_iter()
        .flat_map(|(parent, prefix)| binaries::versions(Path::new(parent), prefix))
}
