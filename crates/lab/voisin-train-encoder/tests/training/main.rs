//! Training of encoders, by the functions and by the program.

// A failing helper ends its test, as unwrap in the test would.
#![allow(clippy::unwrap_used)]

mod functions;
mod program;
