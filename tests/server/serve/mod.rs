//! The server as a process: clients, attackers, and changes of the library meanwhile.

// A test may fail by a panic.
#![allow(clippy::unwrap_used)]

mod answers;
mod caching;
mod changes;
mod life;
mod packaging;
mod replaced;
mod sentences;
mod strangers;
