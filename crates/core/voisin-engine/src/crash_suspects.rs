//! Files that crash the process that reads them: examined after a crash, each in a separate process, and set aside.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::add::AddEvent;
use super::{EngineError, WindowPlan};
use voisin_library::{Failure, FileRecord, Library};

/// Prefix of the reason of such a failure.
const REASON: &str = "reading it ended the process";

/// How a file is read in a separate process.
#[derive(Clone, Copy)]
pub struct Examiner<'a> {
    /// The command that reads a file as [`read_through`](super::read_through) does.
    pub command: &'a (dyn Fn(&Path, WindowPlan) -> std::io::Result<Command> + Sync),
}

/// The result of reading a file in a separate process.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// The process did not crash.
    Harmless,
    /// It crashed or did not end in time; with a description.
    Deadly(String),
    /// Unknown, because it was stopped from outside.
    Stopped,
}

impl Examiner<'_> {
    /// Examines the files that a killed run was processing, and records a failure for those that crash a process. Returns
    /// these.
    ///
    /// - `again`: also examine files that crashed a process before, because they are about to be read again
    pub(super) fn set_aside(
        &self,
        library: &mut Library,
        windows: WindowPlan,
        again: bool,
        on_event: &mut dyn FnMut(AddEvent<'_>),
        stop: &AtomicBool,
    ) -> Result<HashSet<PathBuf>, EngineError> {
        let mut suspects: BTreeSet<PathBuf> = library
            .files()
            .leftovers()
            .interrupted
            .into_iter()
            .collect();
        if !suspects.is_empty() {
            on_event(AddEvent::CutOff {
                files: suspects.len(),
            });
        }
        if again {
            let deadly = library
                .files()
                .failures()?
                .into_iter()
                .filter(|failure| failure.reason.starts_with(REASON));
            suspects.extend(deadly.map(|failure| failure.path));
        }
        let mut set_aside = HashSet::new();
        for path in suspects {
            // A missing or unreachable file cannot be examined; if it comes back and crashes a run,
            // it is recorded again.
            let Ok(file) = FileRecord::read(&path) else {
                continue;
            };
            match self.examine(&file, windows, stop)? {
                Verdict::Harmless => {}
                Verdict::Deadly(how) => {
                    let reason = format!("{REASON} ({how}): set aside until it changes");
                    on_event(AddEvent::SetAside {
                        path: &path,
                        reason: &reason,
                    });
                    library.files_mut().record_failure(&Failure {
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
                // The suspects stay recorded for the next run.
                Verdict::Stopped => return Ok(set_aside),
            }
        }
        // Only after the last suspect, so that after a stop or a crash of this process all of them
        // are examined again.
        library.files().forget_interrupted();
        Ok(set_aside)
    }

    fn examine(
        &self,
        file: &FileRecord,
        windows: WindowPlan,
        stop: &AtomicBool,
    ) -> Result<Verdict, EngineError> {
        // A minute, plus the time for reading at 1 MB/s.
        let limit = Duration::from_secs(60 + file.size / 1_000_000);
        (self.command)(&file.path, windows)
            .and_then(|mut command| outlive(&mut command, limit, stop))
            .map_err(|source| EngineError::Examine {
                path: file.path.clone(),
                source,
            })
    }
}

/// Runs a program and classifies how it ends.
fn outlive(command: &mut Command, limit: Duration, stop: &AtomicBool) -> std::io::Result<Verdict> {
    let mut child = command
        .stdin(Stdio::null())
        // Messages of a decoder would be mixed into this run's output.
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            // Ctrl+C reaches the child, too, which is then no evidence about the file.
            return Ok(if stop.load(Ordering::Relaxed) {
                Verdict::Stopped
            } else {
                verdict(status)
            });
        }
        if stop.load(Ordering::Relaxed) {
            end(&mut child)?;
            return Ok(Verdict::Stopped);
        }
        if start.elapsed() > limit {
            end(&mut child)?;
            let how = format!("it was not done after {} s", limit.as_secs());
            return Ok(Verdict::Deadly(how));
        }
        // Short compared with reading a file, and no load on the CPU.
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn end(child: &mut Child) -> std::io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}

fn verdict(status: ExitStatus) -> Verdict {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt as _;
        if let Some(signal) = status.signal() {
            // A signal by which a user or the system ends a program is no evidence about the file.
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
        // With an error code, as after a caught panic, the process ended by itself.
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
