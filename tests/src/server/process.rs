use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::account::Account;

const GUARD: &str = include_str!("guard.sh");

/// How long a killed process may take to be gone.
const AGONY: Duration = Duration::from_secs(5);

/// The processes of one running server. Dropped, they are killed.
#[derive(Debug)]
pub(crate) struct Server {
    /// The one that was started, and whose children are all others.
    main: Child,
    /// The other end of what the guard reads. Not left in the child, whose `wait` would close it.
    guard: ChildStdin,
    account: Account,
    data: PathBuf,
}

impl Server {
    /// Starts `command`, guarded: when this process dies, so does the server, and `folder` goes.
    pub(crate) fn spawn(
        command: &Command,
        account: Account,
        folder: &Path,
        data: &Path,
        log: &Path,
    ) -> io::Result<Self> {
        let log = File::options().create(true).append(true).open(log)?;
        let mut guarded = account.command("/bin/sh");
        guarded.arg("-c").arg(GUARD).arg("guard").arg(folder);
        guarded.arg(command.get_program()).args(command.get_args());
        guarded
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut main = guarded.spawn()?;
        let guard = main.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(Self {
            main,
            guard,
            account,
            data: data.to_owned(),
        })
    }

    /// The main process and its children, which are all there are.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let main = self.pid();
        [vec![main], children(main)].concat()
    }

    /// Whether the main process has ended by itself.
    pub(crate) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.main.try_wait()?.is_some())
    }

    /// Sends the main process the signal that asks for a shutdown.
    pub(crate) fn ask_to_stop(&self, by: Signal) -> io::Result<()> {
        signal(self.pid(), by)
    }

    /// Stops all processes where they are. Connections stay open, and nothing answers.
    pub(crate) fn freeze(&self) -> io::Result<()> {
        let mut frozen = Vec::new();
        // The main process comes first and then forks no more, so this ends.
        while frozen != self.processes() {
            frozen = self.processes();
            for process in &frozen {
                signal(*process, Signal::SIGSTOP)?;
            }
        }
        Ok(())
    }

    /// Undoes [`Server::freeze`].
    pub(crate) fn thaw(&self) -> io::Result<()> {
        self.processes()
            .into_iter()
            .rev()
            .try_for_each(|process| signal(process, Signal::SIGCONT))
    }

    /// Kills all processes at once, as if the machine had lost its power, and returns when they are
    /// gone.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        if self.has_ended()? {
            return Ok(());
        }
        self.freeze()?;
        let processes = self.processes();
        for process in processes.iter().rev() {
            signal(*process, Signal::SIGKILL)?;
        }
        self.main.wait()?;
        if !crate::wait::until_now(AGONY, || processes.iter().all(|process| is_gone(*process))) {
            return Err(io::Error::other(format!(
                "killed, but not gone: {processes:?}"
            )));
        }
        self.release_memory()
    }

    fn pid(&self) -> Pid {
        // Process ids are positive and small; the standard library has them unsigned.
        Pid::from_raw(self.main.id().cast_signed())
    }

    /// A PostgreSQL that could not say goodbye leaves its lock file and a segment of System V
    /// shared memory, which its next start would take over. No other server has such a file, and
    /// there may be no segment.
    fn release_memory(&self) -> io::Result<()> {
        let file = self.data.join("postmaster.pid");
        let Ok(lock) = fs::read_to_string(&file) else {
            return Ok(());
        };
        // Line 7: the segment's key and its id.
        if let Some(id) = lock
            .lines()
            .nth(6)
            .and_then(|line| line.split_whitespace().nth(1))
        {
            self.account.command("ipcrm").args(["-m", id]).output()?;
        }
        fs::remove_file(file)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{}: {error}", self.data.display());
        }
        // The guard waits for a word. If somebody has killed it, nobody does.
        if let Err(error) = self.guard.write_all(b"stopped\n")
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            eprintln!("{}: {error}", self.data.display());
        }
    }
}

fn children(of: Pid) -> Vec<Pid> {
    let listed = fs::read_to_string(format!("/proc/{of}/task/{of}/children")).or_else(|_| {
        let output = Command::new("pgrep")
            .arg("-P")
            .arg(of.to_string())
            .output()?;
        String::from_utf8(output.stdout).map_err(io::Error::other)
    });
    let listed = listed.unwrap_or_default();
    listed
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .map(Pid::from_raw)
        .collect()
}

/// A process that is gone already is as good as signalled.
fn signal(process: Pid, signal: Signal) -> io::Result<()> {
    match kill(process, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Dead, if perhaps not buried: where init does not reap, zombies remain, but they hold nothing.
fn is_gone(process: Pid) -> bool {
    kill(process, None) == Err(Errno::ESRCH)
        || fs::read_to_string(format!("/proc/{process}/stat"))
            .is_ok_and(|stat| stat.contains(") Z ") || stat.contains(") X "))
}
