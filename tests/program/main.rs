//! The program as a process, verb by verb: input, output, and the state after a kill.

// A failing helper ends its test, as unwrap in the test would.
#![allow(clippy::unwrap_used)]

#[path = "../common/mod.rs"]
mod common;

mod catalogue;
mod cli;
mod cli_genre;
mod descriptors;
mod eval_cli;
mod explore_cli;
mod grammar;
mod joined_models;
mod lab;
mod outputs;
mod robustness;
