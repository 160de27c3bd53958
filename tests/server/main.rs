//! The server as a process: what clients ask it, and the players that people use.

// A helper that cannot go on ends its test, as unwrap in the test would.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod players;
mod serve;
