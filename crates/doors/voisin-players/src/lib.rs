//! The proxy of a Subsonic server: similar songs for its clients.
//!
//! For: the server's songs, ids, requests and errors. Not for: authentication and admission (`voisin-http`), the server's
//! own routes and page (`voisin-serve`), or the answers' music (`voisin-engine`, `voisin-questions`).

#![allow(
    clippy::result_large_err,
    reason = "a problem is made at most once for a request"
)]

mod songs;
pub mod subsonic;
pub mod upstream;
