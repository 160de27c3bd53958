//! The program as a process, verb by verb: what users type, what they read, and what survives when they pull the plug.

// A helper that cannot go on ends its test, as unwrap in the test would.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod catalogue;
mod cli;
mod cli_genre;
mod descriptors;
mod eval_cli;
mod explore_cli;
mod former_models;
mod grammar;
mod joined_models;
mod lab;
mod outputs;
mod robustness;
