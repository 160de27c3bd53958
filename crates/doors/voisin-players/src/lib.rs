//! Players and media servers: their APIs, their references to songs, and exchange of playlists, listening history and queues.
//!
//! For: other programs' names, ids, requests and errors. Not for: authentication and admission (`voisin-http`), the server's
//! own routes and page (`voisin-serve`), or the answers' music (`voisin-engine`, `voisin-questions`).

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
