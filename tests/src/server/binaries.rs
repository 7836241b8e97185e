use std::{
    cmp::Reverse,
    env, fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// There is no such server to be found, and where it was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    reason: String,
}

/// What to look for.
#[derive(Debug)]
pub(crate) struct Search<'a> {
    /// Its name, for people.
    pub(crate) server: &'a str,
    /// The variable of the environment that may name the folder.
    pub(crate) variable: &'a str,
    /// The names that the server's program may have.
    pub(crate) programs: &'a [&'a str],
    /// What makes a data directory, for people, where there are some.
    pub(crate) initialiser: Option<&'a str>,
}

impl Search<'_> {
    /// Looks in the folder that the variable names and nowhere else if it is set; otherwise along
    /// `PATH`, then in the folders where distributions `install` it.
    pub(crate) fn run<T>(
        &self,
        install: impl Iterator<Item = PathBuf>,
        in_folder: impl Fn(&Path) -> Option<T>,
    ) -> Result<T, Missing> {
        let Self {
            server,
            variable,
            programs,
            initialiser,
        } = self;
        let initialiser = initialiser.map(|name| format!(" and {name}"));
        if let Some(folder) = env::var_os(variable) {
            let folder = PathBuf::from(folder);
            return in_folder(&folder).ok_or_else(|| Missing {
                reason: format!(
                    "{variable}={} has no working {}{}",
                    folder.display(),
                    programs[0],
                    initialiser.unwrap_or_default()
                ),
            });
        }
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path)
            .flat_map(|folder| {
                programs
                    .iter()
                    .filter_map(move |name| really(&folder, name))
            })
            .chain(install)
            .find_map(|folder| in_folder(&folder))
            .ok_or_else(|| Missing {
                reason: format!(
                    "no {server} server on PATH or where distributions install it; \
                     {variable} may name the folder of its {}",
                    programs[0]
                ),
            })
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Missing {}

/// What the program says to `--version`, if it works.
pub(crate) fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let version = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| version.trim().to_owned())
}

/// The folders of versioned installations and in them `bin`, the highest version first.
pub(crate) fn versions(parent: &Path, prefix: &str) -> Vec<PathBuf> {
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

/// The folder where a program really is, since a link to it may stand alone.
fn really(folder: &Path, name: &str) -> Option<PathBuf> {
    let program = fs::canonicalize(folder.join(name)).ok()?;
    program.parent().map(Path::to_owned)
}
