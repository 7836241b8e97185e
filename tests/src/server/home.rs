use std::{
    env,
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

use super::account::Account;
use crate::{Failure, Result};

const SHARED_MEMORY: &str = "/dev/shm";
/// A primary and two standbys take 50 MiB; containers often have no more than 64 MiB of shared
/// memory.
const ENOUGH_MEMORY: u128 = 1 << 30;

const FIRST_PORT: u16 = 21_000;
const PORTS_PER_PLOT: u16 = 16;
const PLOTS: u16 = 256;

/// The folder in which all fixtures of one account live, whatever process they belong to.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    account: Account,
}

/// One cluster's own folder and ports.
///
/// Ports are held by a lock, not drawn from those that the system hands out: a node that is down
/// must find its port free when it comes back, and every outgoing connection of a busy test run
/// draws one of those. The lock goes with the process that holds it, and whoever gets it next
/// removes what was left here.
#[derive(Debug)]
pub(crate) struct Plot {
    folder: TempDir,
    ports: Vec<u16>,
    _lock: File,
}

impl Home {
    pub(crate) fn open(account: Account) -> Result<Self> {
        let path = storage().join(format!("dbrouter-tests-{}", account.uid()));
        if !path.exists() {
            settle(&path, account)?;
        }
        let found = fs::symlink_metadata(&path)?;
        if !found.is_dir() || found.uid() != account.uid() || found.mode() & 0o022 != 0 {
            return Err(Failure::new(format!(
                "{} must be a folder that nobody but user {} can write to",
                path.display(),
                account.uid()
            ))
            .into());
        }
        Ok(Self { path, account })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn account(&self) -> Account {
        self.account
    }

    /// A file to lock, here or elsewhere in this folder.
    pub(crate) fn lock_file(&self, name: &str) -> io::Result<File> {
        File::options()
            .create(true)
            .append(true)
            .open(self.path.join(name))
    }

    /// Takes the first plot that nobody holds and that has this many free ports.
    pub(crate) fn take_plot(&self, wanted: usize) -> Result<Plot> {
        for number in 0..PLOTS {
            let lock = self.lock_file(&format!("plot-{number}"))?;
            if lock.try_lock().is_err() {
                continue;
            }
            let first = FIRST_PORT + number * PORTS_PER_PLOT;
            let ports: Vec<_> = (first..first + PORTS_PER_PLOT)
                .filter(|port| is_free(*port))
                .take(wanted)
                .collect();
            if ports.len() < wanted {
                continue;
            }
            let prefix = format!("cluster-{number}-");
            self.remove_leftovers(&prefix)?;
            let folder = tempfile::Builder::new()
                .prefix(&prefix)
                .tempdir_in(&self.path)?;
            self.account.give(folder.path())?;
            return Ok(Plot {
                folder,
                ports,
                _lock: lock,
            });
        }
        Err(Failure::new(format!(
            "nowhere from port {FIRST_PORT} on are {wanted} free together"
        ))
        .into())
    }

    /// Normally there are none: guards remove the folders of processes that were killed.
    fn remove_leftovers(&self, prefix: &str) -> io::Result<()> {
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                // A guard may be at it, and no name is used twice: what stays now goes next time.
                fs::remove_dir_all(entry.path()).ok();
            }
        }
        Ok(())
    }
}

impl Plot {
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn ports(&self) -> &[u16] {
        &self.ports
    }
}

fn storage() -> PathBuf {
    let memory = Path::new(SHARED_MEMORY);
    let room = statvfs(memory).is_ok_and(|of| {
        u128::from(of.blocks_available()) * u128::from(of.fragment_size()) >= ENOUGH_MEMORY
    });
    if room {
        memory.to_owned()
    } else {
        env::temp_dir()
    }
}

/// Makes the folder under another name first, so that nobody meets it half made.
fn settle(path: &Path, account: Account) -> io::Result<()> {
    let made = tempfile::Builder::new()
        .prefix("dbrouter-tests-")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(path.parent().unwrap_or(Path::new("/")))?;
    account.give(made.path())?;
    match fs::rename(made.path(), path) {
        Err(error) if !path.exists() => Err(error),
        // Somebody else was faster, and theirs is as good.
        Err(_) => Ok(()),
        Ok(()) => {
            let _moved_away = made.keep();
            Ok(())
        }
    }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
