//! Other programs as processes: supysonic with a client, and an assistant.
//!
//! Programs that are not installed are skipped with a message, or fail where the variable CI is set.
//! `VOISIN_PLAYERS_PYTHON` names the Python with the clients.

// A test may fail by a panic.
#![allow(clippy::unwrap_used, clippy::print_stderr)]
#![cfg(unix)]

mod assistant;
mod forwarded;
mod subsonic;

use std::net::TcpListener;
use std::process::Child;
use std::time::{Duration, Instant};

/// Prints that a test is skipped.
pub(crate) fn skipped(what: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "{what} is not installed, and CI needs it"
    );
    eprintln!("SKIPPED: {what} is not installed");
}

pub(crate) fn is_installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|folder| folder.join(program).is_file())
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_mins(1), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}
