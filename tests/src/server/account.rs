use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd::{Gid, Uid, User};

use crate::{Failure, Result};

/// The user of the system that servers run as. They refuse to be root, so root steps down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    uid: Uid,
    gid: Gid,
}

impl Account {
    /// Oneself; for root, the first of `postgres`, `mysql` and `nobody` that there is. All kinds of
    /// servers run as the same, so that their fixtures share a home, and with it the ports.
    pub(crate) fn find() -> Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self {
                uid: Uid::effective(),
                gid: Gid::effective(),
            });
        }
        for name in ["postgres", "mysql", "nobody"] {
            if let Some(user) = User::from_name(name)? {
                return Ok(Self {
                    uid: user.uid,
                    gid: user.gid,
                });
            }
        }
        let missing =
            "servers do not run as root, and there is no user `postgres`, `mysql` or `nobody`";
        Err(Failure::new(missing).into())
    }

    pub(crate) fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// A command that will run as this account, away from the terminal and its signals.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.stdin(Stdio::null());
        // The present folder may be closed to that user.
        command.current_dir("/");
        command.process_group(0);
        if Uid::effective().is_root() {
            // Given a uid alone, a process would keep root's group.
            command.uid(self.uid.as_raw()).gid(self.gid.as_raw());
        }
        command
    }

    /// Runs the command to its end; an error has what it printed.
    pub(crate) fn run(&self, command: &mut Command) -> Result<String> {
        let output = command
            .output()
            .map_err(|error| Failure::new(format!("{command:?}: {error}")))?;
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).into_owned();
        if output.status.success() {
            Ok(printed)
        } else {
            Err(Failure::new(format!("{command:?}: {}\n{printed}", output.status)).into())
        }
    }

    /// Writes a file that this account owns.
    pub(crate) fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        fs::write(path, text)?;
        self.give(path)
    }

    /// Appends to such a file.
    pub(crate) fn append(&self, path: &Path, text: &str) -> io::Result<()> {
        let before = fs::read_to_string(path)?;
        self.write(path, &format!("{before}{text}"))
    }

    /// Makes this account the owner.
    pub(crate) fn give(&self, path: &Path) -> io::Result<()> {
        if Uid::effective().is_root() {
            chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))?;
        }
        Ok(())
    }
}
