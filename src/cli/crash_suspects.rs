//! Files that end the process that reads them: found after the fact, each in a process of its own, and set aside.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::cli::columnar;
use crate::cli::render::{Console, count};
use crate::engine::WindowPlan;
use crate::library::{Failure, FileRecord, Library};

/// How the reason of such a failure begins.
const REASON: &str = "reading it ended the process";

/// What reading a file in a process of its own showed.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The process lived.
    Harmless,
    /// It died, or did not come to an end: how.
    Deadly(String),
    /// Nobody knows: it was stopped from outside.
    Stopped,
}

/// How suspects are examined.
pub(crate) struct CrashSuspects<'a> {
    pub(crate) console: Console,
    pub(crate) windows: WindowPlan,
    pub(crate) stop: &'a AtomicBool,
    /// Files that ended a process before are about to be read again.
    pub(crate) again: bool,
}

impl CrashSuspects<'_> {
    /// Examines what a killed run had in hand (and, if they are to be read again, files that ended a process before), and
    /// notes the failure of those that end a process. Returns these, and why.
    pub(crate) fn set_aside(
        &self,
        library: &mut Library,
    ) -> anyhow::Result<(HashSet<PathBuf>, Vec<String>)> {
        let mut suspects: BTreeSet<PathBuf> = library.leftovers().in_hand.into_iter().collect();
        if !suspects.is_empty() {
            let files = count(suspects.len() as u64, "file");
            self.console.note(&format!(
                "the last run was cut off with {files} in hand: looking at each by itself"
            ));
        }
        if self.again {
            let deadly = library
                .failures()?
                .into_iter()
                .filter(|failure| failure.reason.starts_with(REASON));
            suspects.extend(deadly.map(|failure| failure.path));
        }
        let mut set_aside = HashSet::new();
        let mut reasons = Vec::new();
        for path in suspects {
            let Ok(file) = columnar::file_record(&path) else {
                continue;
            };
            match self.examine(&file)? {
                Verdict::Harmless => {}
                Verdict::Deadly(how) => {
                    let reason = format!("{REASON} ({how}): set aside until it changes");
                    reasons.push(format!("{}: {reason}", path.display()));
                    library.record_failure(&Failure {
                        path: path.clone(),
                        size: Some(file.size),
                        mtime_ns: Some(file.mtime_ns),
                        reason,
                        transient: false,
                        attempts: 0,
                        failed_at: 0,
                    })?;
                    set_aside.insert(path);
                }
                // The suspects stay noted for the next run.
                Verdict::Stopped => return Ok((set_aside, reasons)),
            }
        }
        library.forget_in_hand();
        Ok((set_aside, reasons))
    }

    fn examine(&self, file: &FileRecord) -> std::io::Result<Verdict> {
        let windows = match self.windows {
            WindowPlan::Spread(n) => n.to_string(),
            _ => "all".to_owned(),
        };
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["examine", "--windows", &windows, "--"])
            .arg(&file.path);
        // A minute, and as long as the slowest of disks needs.
        let limit = Duration::from_secs(60 + file.size / 1_000_000);
        outlive(&mut command, limit, self.stop)
    }
}

/// Runs a program and watches how it ends.
fn outlive(command: &mut Command, limit: Duration, stop: &AtomicBool) -> std::io::Result<Verdict> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(if stop.load(Ordering::Relaxed) {
                Verdict::Stopped
            } else {
                judge(status)
            });
        }
        let stopped = stop.load(Ordering::Relaxed);
        if stopped || start.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            let how = format!("it was not done after {} s", limit.as_secs());
            return Ok(if stopped {
                Verdict::Stopped
            } else {
                Verdict::Deadly(how)
            });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn judge(status: ExitStatus) -> Verdict {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt as _;
        if let Some(signal) = status.signal() {
            // What a person or the system sends to end a program says nothing of the file.
            const HANGUP: i32 = 1;
            const INTERRUPT: i32 = 2;
            const QUIT: i32 = 3;
            const TERMINATE: i32 = 15;
            if matches!(signal, HANGUP | INTERRUPT | QUIT | TERMINATE) {
                return Verdict::Stopped;
            }
            let name = match signal {
                4 => "SIGILL",
                6 => "SIGABRT",
                7 | 10 => "SIGBUS",
                8 => "SIGFPE",
                9 => "SIGKILL",
                11 => "SIGSEGV",
                other => return Verdict::Deadly(format!("signal {other}")),
            };
            return Verdict::Deadly(name.to_owned());
        }
    }
    match status.code() {
        // Windows gives the kind of crash as the exit code.
        Some(code) if !(0..=255).contains(&code) => Verdict::Deadly(format!("exit code {code:#x}")),
        _ => Verdict::Harmless,
    }
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used, reason = "a test may fail by a panic")]
mod tests {
    use super::*;

    fn shell(script: &str, limit: Duration) -> Verdict {
        let mut command = Command::new("sh");
        outlive(command.args(["-c", script]), limit, &AtomicBool::new(false)).unwrap()
    }

    #[test]
    fn a_verdict_follows_from_how_the_process_ended() {
        let patient = Duration::from_mins(1);
        assert_eq!(shell("exit 0", patient), Verdict::Harmless);
        assert_eq!(shell("exit 2", patient), Verdict::Harmless);
        assert_eq!(
            shell("kill -ABRT $$", patient),
            Verdict::Deadly("SIGABRT".into())
        );
        assert_eq!(
            shell("kill -KILL $$", patient),
            Verdict::Deadly("SIGKILL".into())
        );
        assert_eq!(shell("kill -TERM $$", patient), Verdict::Stopped);
        assert_eq!(
            shell("exec sleep 60", Duration::from_millis(50)),
            Verdict::Deadly("it was not done after 0 s".into())
        );
        let stopped = AtomicBool::new(true);
        let mut command = Command::new("sleep");
        assert_eq!(
            outlive(command.arg("60"), patient, &stopped).unwrap(),
            Verdict::Stopped
        );
    }
}
