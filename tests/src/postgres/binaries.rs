use std::{
    cmp::Reverse,
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// An installation of PostgreSQL: the folder that has `postgres` and `initdb`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Binaries {
    folder: PathBuf,
    version: String,
}

/// There is no PostgreSQL to be found, and where it was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    reason: String,
}

impl Binaries {
    /// Looks in `PG_BIN` and nowhere else if that is set; otherwise along `PATH`, then where
    /// distributions put their versions, the newest first.
    pub fn find() -> Result<Self, Missing> {
        if let Some(folder) = env::var_os("PG_BIN") {
            let folder = PathBuf::from(folder);
            return Self::in_folder(&folder).ok_or_else(|| Missing {
                reason: format!(
                    "PG_BIN={} has no working postgres and initdb",
                    folder.display()
                ),
            });
        }
        on_path()
            .chain(installed())
            .find_map(|folder| Self::in_folder(&folder))
            .ok_or_else(|| Missing {
                reason: "no PostgreSQL server on PATH or where distributions install it; \
                         PG_BIN may name the folder of its initdb"
                    .to_owned(),
            })
    }

    fn in_folder(folder: &Path) -> Option<Self> {
        if !folder.join("initdb").is_file() {
            return None;
        }
        let output = Command::new(folder.join("postgres"))
            .arg("--version")
            .output()
            .ok()?;
        let version = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| Self {
            folder: folder.to_owned(),
            version: version.trim().to_owned(),
        })
    }

    /// What `postgres --version` says, such as `postgres (PostgreSQL) 15.18 (Debian
    /// 15.18-0+deb12u1)`.
    pub fn version(&self) -> &str {
        &self.version
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.folder.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.folder.join("initdb")
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Missing {}

/// The folders along `PATH` that have `postgres`: where it really is, since a link to it may stand
/// alone.
fn on_path() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).collect();
    folders.into_iter().filter_map(|folder| {
        let postgres = fs::canonicalize(folder.join("postgres")).ok()?;
        postgres.parent().map(Path::to_owned)
    })
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
        .flat_map(|(parent, prefix)| versions(Path::new(parent), prefix))
}

fn versions(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let version = entry
                .file_name()
                .to_str()?
                .strip_prefix(prefix)?
                .parse::<f32>()
                .ok()?;
            Some(((version * 100.0) as u32, entry.path()))
        })
        .flat_map(|(version, path)| [(version, path.join("bin")), (version, path)])
        .collect();
    found.sort_by_key(|(version, _)| Reverse(*version));
    found.into_iter().map(|(_, folder)| folder).collect()
}
