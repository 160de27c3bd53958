//! The server as a process: what clients ask it, what strangers try, and what the library does meanwhile.

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
