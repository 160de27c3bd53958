//! The server as a process: clients' requests, and players.

// A failing helper ends its test, as unwrap in the test would.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod doors;
mod players;
mod serve;
mod talk;
