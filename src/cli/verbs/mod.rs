//! One file a verb: each takes its arguments, asks the library, and hands the answer to `render`.
//!
//! Not for: what two verbs need. That has a file in [`cli`](super), [`render`](super::render) or the engine.

pub(super) mod add;
pub(super) mod artists;
pub(super) mod backup;
pub(super) mod bench;
pub(super) mod classify;
pub(super) mod clusters;
pub(super) mod completions;
pub(super) mod config;
pub(super) mod dataset;
pub(super) mod demo;
pub(super) mod duplicates;
pub(super) mod embed;
pub(super) mod eval;
pub(super) mod examine;
pub(super) mod export;
pub(super) mod failed;
pub(super) mod features;
pub(super) mod find;
pub(super) mod genres;
pub(super) mod labels;
pub(super) mod link;
pub(super) mod list;
pub(super) mod man;
pub(super) mod map;
pub(super) mod mcp;
pub(super) mod merge;
pub(super) mod model;
pub(super) mod mpd;
pub(super) mod outliers;
pub(super) mod path;
pub(super) mod playlist;
#[cfg(feature = "postgres")]
pub(super) mod pull;
#[cfg(feature = "postgres")]
pub(super) mod push;
pub(super) mod relocate;
pub(super) mod remove;
pub(super) mod repair;
pub(super) mod retry;
pub(super) mod serve;
pub(super) mod show;
pub(super) mod similar;
pub(super) mod status;
pub(super) mod suspects;
pub(super) mod terms;
pub(super) mod train;
pub(super) mod undo;
pub(super) mod verify;
pub(super) mod watch;
#[cfg(feature = "postgres")]
pub(super) mod worker;
mod write_tags;
