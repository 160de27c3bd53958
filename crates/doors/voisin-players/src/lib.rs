//! Players and media servers: the interfaces of theirs that are answered here, what they call songs, and lists, listens and
//! queues that go to them or come from them.
//!
//! For: other programs' names, ids, requests and errors. Not for: who may ask and when (`voisin-http`), the server's own
//! routes and page (`voisin-serve`), or which music is answered (`voisin-engine`, `voisin-questions`).

#![allow(
    clippy::result_large_err,
    reason = "a problem is made at most once for a request"
)]

pub mod audiomuse;
pub mod heard;
pub mod link;
mod listen_exports;
pub mod lists;
pub mod lms;
pub mod mpd;
pub mod songs;
pub mod subsonic;
pub mod upstream;
