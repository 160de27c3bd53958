//! A scan: `voisin add` of the folders that were named at the start, in a process of its own, so that a file that ends its
//! reader does not end the server. One at a time.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;

use super::problem::Problem;

/// How the last scan goes, or went.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct ScanProgress {
    /// `idle`, `running`, `done`, `stopped` or `failed`.
    pub(super) state: ScanState,
    /// Files looked at, of those that are new or changed.
    done: u64,
    total: u64,
    /// What `voisin add --format json` says at its end.
    summary: Option<Value>,
    /// Why it failed.
    message: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ScanState {
    #[default]
    Idle,
    Running,
    Done,
    Stopped,
    Failed,
}

pub(super) struct ScanProcess {
    add: Option<Box<dyn Fn() -> Command + Send + Sync>>,
    progress: watch::Sender<ScanProgress>,
    child: Arc<Mutex<Option<Child>>>,
}

impl ScanProcess {
    pub(super) fn new(add: Option<Box<dyn Fn() -> Command + Send + Sync>>) -> Self {
        Self { add, progress: watch::Sender::new(ScanProgress::default()), child: Arc::default() }
    }

    pub(super) fn progress(&self) -> watch::Receiver<ScanProgress> {
        self.progress.subscribe()
    }

    /// Starts one. What it does is told to those who look at [`progress`](Self::progress).
    pub(super) fn start(&self) -> Result<ScanProgress, Problem> {
        let Some(add) = &self.add else {
            return Err(Problem::new(
                StatusCode::CONFLICT,
                "there is nothing to scan: no folder was named at the start",
                "have the server started with a folder to scan",
            ));
        };
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if self.progress.borrow().state == ScanState::Running {
            let next = "wait for it (GET /api/v1/scan), or stop it (DELETE /api/v1/scan)";
            return Err(Problem::new(StatusCode::CONFLICT, "a scan is under way", next));
        }
        let mut command = add();
        // Its standard input ends with this process, and it with that.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut started = command.spawn().map_err(|error| {
            Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("cannot start the scan: {error}"),
                "please report it",
            )
        })?;
        let (stdout, stderr) = (started.stdout.take(), started.stderr.take());
        *child = Some(started);
        let running = ScanProgress { state: ScanState::Running, ..ScanProgress::default() };
        self.progress.send_replace(running.clone());
        let (progress, child) = (self.progress.clone(), Arc::clone(&self.child));
        std::thread::spawn(move || {
            let mut last = String::new();
            for line in
                stderr.into_iter().flat_map(|stderr| BufReader::new(stderr).lines()).map_while(Result::ok)
            {
                if let Some((done, total)) = counted(&line) {
                    progress.send_modify(|progress| (progress.done, progress.total) = (done, total));
                }
                last = line;
            }
            let mut said = String::new();
            let _ = stdout.map(|stdout| stdout.take(1 << 20).read_to_string(&mut said));
            let ended =
                child.lock().unwrap_or_else(PoisonError::into_inner).take().map(|mut child| child.wait());
            let summary: Option<Value> = serde_json::from_str(&said).ok();
            let code = ended.and_then(Result::ok).and_then(|status| status.code());
            progress.send_modify(|progress| {
                progress.state = match (code, &summary) {
                    (Some(0 | 1), Some(_)) => ScanState::Done,
                    (Some(130), _) => ScanState::Stopped,
                    _ if progress.state == ScanState::Stopped => ScanState::Stopped,
                    _ => ScanState::Failed,
                };
                if progress.state == ScanState::Failed {
                    progress.message = Some(last);
                }
                progress.summary = summary;
            });
        });
        Ok(running)
    }

    /// Stops the one that runs; the tracks in hand are finished first. Whether there was one.
    pub(super) fn stop(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(child) = child.as_mut() else { return false };
        #[cfg(unix)]
        {
            let _ = rustix::process::kill_process(
                rustix::process::Pid::from_child(child),
                rustix::process::Signal::INT,
            );
        }
        #[cfg(not(unix))]
        {
            self.progress.send_modify(|progress| progress.state = ScanState::Stopped);
            let _ = child.kill();
        }
        true
    }
}

/// Reads `12/43  /home/me/Music/song.flac  added`.
fn counted(line: &str) -> Option<(u64, u64)> {
    let (done, total) = line.split_once("  ")?.0.split_once('/')?;
    Some((done.parse().ok()?, total.parse().ok()?))
}
