use std::{
    ffi::OsStr,
    fs, io,
    os::unix::{fs::chown, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use nix::unistd::{Gid, Uid, User};

use crate::{Failure, Result};

/// The user of the system that servers run as. PostgreSQL refuses to be root, so root steps down.
#[derive(Debug, Clone, Copy)]
pub(super) struct Account {
    uid: Uid,
    gid: Gid,
}

impl Account {
    /// Oneself; for root, `postgres` if there is such a user and else `nobody`.
    pub(super) fn find() -> Result<Self> {
        if !Uid::effective().is_root() {
            return Ok(Self {
                uid: Uid::effective(),
                gid: Gid::effective(),
            });
        }
        for name in ["postgres", "nobody"] {
            if let Some(user) = User::from_name(name)? {
                return Ok(Self {
                    uid: user.uid,
                    gid: user.gid,
                });
            }
        }
        Err(
            Failure::new("root cannot run PostgreSQL, and there is no user `postgres` or `nobody`")
                .into(),
        )
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// A command that will run as this account, away from the terminal and its signals.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
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
    pub(super) fn run(&self, command: &mut Command) -> Result<String> {
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
    pub(super) fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        fs::write(path, text)?;
        self.give(path)
    }

    /// Makes this account the owner.
    pub(super) fn give(&self, path: &Path) -> io::Result<()> {
        if Uid::effective().is_root() {
            chown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw()))?;
        }
        Ok(())
    }
}
