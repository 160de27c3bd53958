//! Scans: `voisin add` of the server's folders, in a process of its own, so that a file that crashes the decoder does not
//! end the server. One at a time.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use super::problem::Problem;

/// The progress or outcome of the last scan.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ScanProgress {
    /// `idle`, `running`, `done`, `stopped` or `failed`.
    state: ScanState,
    /// Processed files, of those that are new or changed.
    done: u64,
    total: u64,
    /// Seconds since the first of them was done.
    seconds: f64,
    /// The last line of `voisin add --format json`.
    summary: Option<Value>,
    message: Option<String>,
    /// Whether the server has folders to scan.
    can_start: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
enum ScanState {
    #[default]
    Idle,
    Running,
    Done,
    Stopped,
    Failed,
}

/// Starts scans, and holds the one that runs.
pub(crate) struct ScanProcess {
    add: Option<Box<dyn Fn() -> Command + Send + Sync>>,
    progress: watch::Sender<ScanProgress>,
    child: Arc<Mutex<Option<Child>>>,
}

impl ScanProgress {
    pub(crate) fn is_running(&self) -> bool {
        self.state == ScanState::Running
    }
}

impl ScanProcess {
    /// - `add`: `voisin add` of the folders; `None` without folders
    pub(crate) fn new(add: Option<Box<dyn Fn() -> Command + Send + Sync>>) -> Self {
        let idle = ScanProgress {
            can_start: add.is_some(),
            ..ScanProgress::default()
        };
        Self {
            add,
            progress: watch::Sender::new(idle),
            child: Arc::default(),
        }
    }

    /// The progress of the last scan, and its changes.
    pub(crate) fn progress(&self) -> watch::Receiver<ScanProgress> {
        self.progress.subscribe()
    }

    /// Starts a scan, whose progress is sent to [`progress`](Self::progress).
    pub(crate) fn start(&self) -> Result<ScanProgress, Problem> {
        let Some(add) = &self.add else {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "there is nothing to scan: the server was started without a folder",
                "start the server with a folder to scan",
            ));
        };
        // Held until the child is stored, so that two requests cannot start two scans.
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if self.progress.borrow().state == ScanState::Running {
            let next = "wait for it (GET /api/v1/scan), or stop it (DELETE /api/v1/scan)";
            let status = StatusCode::CONFLICT;
            return Err(Problem::new(status, "a scan is running", next));
        }
        let mut command = add();
        // Its standard input closes when this process ends, which ends the scan.
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let fault = |error| {
            let detail = format!("cannot start the scan: {error}");
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                detail,
                "please report it",
            )
        };
        let mut started = command.spawn().map_err(fault)?;
        let stdout = started.stdout.take();
        let stderr = started.stderr.take();
        *child = Some(started);
        let running = ScanProgress {
            state: ScanState::Running,
            can_start: true,
            ..ScanProgress::default()
        };
        self.progress.send_replace(running.clone());
        let progress = self.progress.clone();
        let child = Arc::clone(&self.child);
        std::thread::spawn(move || watched(stdout, stderr, &child, &progress));
        Ok(running)
    }

    /// Stops the running scan after the tracks in progress; returns whether there was one.
    pub(crate) fn stop(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(child) = child.as_mut() else {
            return false;
        };
        #[cfg(unix)]
        {
            // As Ctrl-C: `voisin add` finishes the tracks in progress.
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_child(child),
                rustix::process::Signal::INT,
            );
        }
        #[cfg(not(unix))]
        {
            self.progress
                .send_modify(|progress| progress.state = ScanState::Stopped);
            let _ = child.kill();
        }
        true
    }
}

/// Follows a scan to its end.
fn watched(
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    child: &Mutex<Option<Child>>,
    progress: &watch::Sender<ScanProgress>,
) {
    // In parallel to standard error: a summary longer than a pipe's buffer would otherwise block both processes.
    let summary = std::thread::spawn(move || {
        let mut output = Vec::new();
        if let Some(mut stdout) = stdout {
            let _ = stdout.read_to_end(&mut output);
        }
        output
    });
    let last = counted_lines(stderr, progress);
    let output = summary.join().unwrap_or_default();
    let ended = child
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
        .map(|mut child| child.wait());
    let summary: Option<Value> = serde_json::from_slice(&output).ok();
    let status = ended.and_then(Result::ok);
    let code = status.and_then(|status| status.code());
    progress.send_modify(|progress| {
        progress.state = match (code, &summary) {
            // 1: some files failed; all others were added.
            (Some(0 | 1), Some(_)) => ScanState::Done,
            // 128 + SIGINT, as shells count.
            (Some(130), _) => ScanState::Stopped,
            _ if progress.state == ScanState::Stopped => ScanState::Stopped,
            _ => ScanState::Failed,
        };
        if progress.state == ScanState::Failed {
            progress.message = Some(reason(last, status));
        }
        progress.summary = summary;
    });
}

/// Reports the counts of a scan's messages; returns its last message that is no count.
fn counted_lines(stderr: Option<ChildStderr>, progress: &watch::Sender<ScanProgress>) -> String {
    let mut last = String::new();
    let mut first = None;
    let lines = stderr
        .into_iter()
        .flat_map(|stderr| BufReader::new(stderr).lines());
    for line in lines.map_while(Result::ok) {
        if let Some((done, total)) = counted(&line) {
            let first = first.get_or_insert_with(Instant::now);
            let seconds = first.elapsed().as_secs_f64();
            progress.send_modify(|progress| {
                (progress.done, progress.total, progress.seconds) = (done, total, seconds);
            });
        } else {
            last = line;
        }
    }
    last
}

/// Why a scan failed: its last message, if it had any.
fn reason(last: String, status: Option<ExitStatus>) -> String {
    if !last.is_empty() {
        return last;
    }
    let status = status.map_or_else(|| "unknown status".to_owned(), |status| status.to_string());
    format!("the scan ended without a message ({status}): scan again; added tracks stay")
}

/// Parses `12/43  /home/me/Music/song.flac  added`.
fn counted(line: &str) -> Option<(u64, u64)> {
    let (done, total) = line.split_once("  ")?.0.split_once('/')?;
    Some((done.parse().ok()?, total.parse().ok()?))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    /// The outcome of a scan that is this shell script.
    fn ended(script: &'static str) -> ScanProgress {
        let scan = ScanProcess::new(Some(Box::new(move || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        })));
        scan.start().ok().unwrap();
        let mut progress = scan.progress();
        let is_over = |progress: &ScanProgress| progress.state != ScanState::Running;
        crate::runtime()
            .unwrap()
            .block_on(async { progress.wait_for(is_over).await.unwrap().clone() })
    }

    #[test]
    fn a_failed_scan_has_its_reason_instead_of_progress() {
        let killed = ended("echo '12/43  /music/a.mp3  added' >&2; kill -9 $$");
        let message = killed.message.unwrap();
        assert_eq!(
            (killed.state, killed.done, killed.total),
            (ScanState::Failed, 12, 43)
        );
        assert!(
            message.contains("signal: 9") && message.contains("scan again"),
            "{message}"
        );
    }
}
