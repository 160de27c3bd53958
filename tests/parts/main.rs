//! The crates below the program, as the program uses them: against reference implementations, by properties, on real
//! files and hostile ones. Each module names its crate.

// A failing helper ends its test, as unwrap in the test would.
#![allow(clippy::unwrap_used)]

mod audio;
mod encoder;
mod engine;
mod eval;
mod explore;
mod features;
mod genre;
mod index;
mod library;
mod traps;
