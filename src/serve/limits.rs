//! Limits of requests and connections: bytes, numbers and times.

use std::time::Duration;

/// Longest address of a request, in bytes.
pub(crate) const LONGEST_URI: usize = 8 * 1024;
/// Longest JSON body, in bytes.
pub(crate) const LONGEST_BODY: u64 = 1 << 20;
/// Longest file, in bytes.
pub(crate) const LONGEST_FILE: u64 = 200_000_000;
/// Longest body that brings a token, in bytes.
pub(crate) const LONGEST_SESSION: u64 = 4096;
/// Time for the whole body of a request that needs no token.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(5);
/// Timeout of a request, body included; streams (audio, events) only have to begin within it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// As [`PATIENCE`], for uploads of audio files.
pub(crate) const PATIENCE_FOR_FILES: Duration = Duration::from_mins(10);
/// Most open connections; for another the oldest without a token is closed. With a file for each, and those of the library,
/// this is within the usual limit of 1024 descriptors.
pub(crate) const MOST_CONNECTIONS: usize = 384;
pub(crate) const MOST_HEADERS: usize = 64;
/// Most bytes of a request's head.
pub(crate) const LONGEST_HEAD: usize = 64 * 1024;
/// Timeout of a request's head, and of an idle connection.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(10);
/// Timeout for answers in progress when the server stops.
pub(crate) const STOP_TIME: Duration = Duration::from_secs(4);

/// Delay after a connection that could not be accepted.
pub(crate) const ACCEPT_AGAIN: Duration = Duration::from_millis(50);
/// How long a request waits for a permit.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(5);
