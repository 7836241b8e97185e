use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use super::home::Home;
use crate::{Failure, Result};

/// Templates of other versions or of older fixtures are removed after a day.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Copies the template to each of the paths, and makes it first if there is none yet. The `recipe`
/// is whatever makes a difference in what is made.
pub(crate) fn copy(
    home: &Home,
    recipe: impl Hash,
    make: impl Fn(&Path) -> Result<()>,
    to: &[PathBuf],
) -> Result<()> {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let template = home
        .path()
        .join(format!("template-{:016x}", hasher.finish()));
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
            make_cached(home, &make, &template)?;
        }
        lock.unlock()?;
    }
}

/// Copies in parallel: it is nearly all of what starting a cluster costs.
pub(crate) fn copy_directory(home: &Home, from: &Path, to: &[PathBuf]) -> Result<()> {
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

/// Runs a command that reads statements, one a line.
pub(crate) fn feed(command: &mut Command, statements: &str) -> Result<()> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(statements.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    let printed = String::from_utf8_lossy(&output.stderr);
    // A statement that fails does not make all servers fail.
    if output.status.success() && !printed.contains("ERROR") {
        Ok(())
    } else {
        Err(Failure::new(format!("{command:?}: {}\n{printed}", output.status)).into())
    }
}

fn make_cached(home: &Home, make: impl Fn(&Path) -> Result<()>, template: &Path) -> Result<()> {
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
    make(&draft)?;
    fs::rename(&draft, template)?;
    Ok(())
}
