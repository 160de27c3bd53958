//! Errors of a library in a database.

use voisin_engine::EngineError;
use voisin_library::LibraryError;

/// A failure of a backend. No message contains a password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackendError {
    /// Not a valid address.
    #[error("the address of the database: {problem}; expected postgres://USER@HOST:PORT/DATABASE")]
    Address {
        /// The fault.
        problem: String,
    },
    /// A password where other users of the machine can read it.
    #[error(
        "a password on the command line can be read by everybody on this machine: put it into PGPASSWORD, or the whole address into VOISIN_BACKEND (push, pull) or VOISIN_LIBRARY (queries)"
    )]
    Password,
    /// No connection.
    #[error("cannot connect to {place}: {problem}")]
    Connect {
        /// The address, without a password.
        place: String,
        /// The client's or the server's message.
        problem: String,
    },
    /// The server refused a statement.
    #[error("{place}: {problem}")]
    Server {
        /// The address, without a password.
        place: String,
        /// The server's message, with its hint.
        problem: String,
        /// The SQLSTATE, if the error came from the server.
        code: Option<String>,
    },
    /// pgvector is missing.
    #[error(
        "{place} has no pgvector {expected} or newer ({found}): install it on the server (Debian and Ubuntu: apt install postgresql-{version}-pgvector) and run as its owner: {command}"
    )]
    NoVector {
        /// The address, without a password.
        place: String,
        /// The oldest version that will do.
        expected: &'static str,
        /// The version found.
        found: String,
        /// Version of the server.
        version: u32,
        /// The statement for its owner to run.
        command: &'static str,
    },
    /// There are no tables of voisin.
    #[error("{place} holds no library: \"voisin push --to {place}\" sends one")]
    NoLibrary {
        /// The address, without a password.
        place: String,
    },
    /// Tables of another version of voisin.
    #[error(
        "{place} has tables of schema {found}, expected {expected}: drop the tables that begin with voisin_ and push again"
    )]
    Schema {
        /// The address, without a password.
        place: String,
        /// Schema of the tables.
        found: i32,
        /// Schema that this version uses.
        expected: i32,
    },
    /// Another library was pushed there.
    #[error(
        "{place} holds another library, which this push would replace: use another schema (create schema NAME; ?options=-csearch_path%3DNAME,public), or drop the tables that begin with voisin_"
    )]
    OtherLibrary {
        /// The address, without a password.
        place: String,
    },
    /// Tables for vectors of another length.
    #[error(
        "the tables of {place} are for vectors of {found} numbers, those of this library have {expected}: voisin push --print-ddl prints tables for them"
    )]
    OtherTables {
        /// The address, without a password.
        place: String,
        /// Length of the vectors that the tables take.
        found: i32,
        /// Length of this library's vectors.
        expected: i32,
    },
    /// An invalid mean.
    #[error(
        "the mean in voisin_state of {place} has {found} numbers, expected {expected} that are finite"
    )]
    Mean {
        /// The address, without a password.
        place: String,
        /// Its length.
        found: usize,
        /// Length of the library's vectors.
        expected: usize,
    },
    /// Vectors of another model.
    #[error(
        "{place} holds vectors of model {held} ({held_fingerprint}), not of {offered} ({offered_fingerprint}): vectors of two models never mix; use another database, or another schema of it (create schema NAME; ?options=-csearch_path%3DNAME,public)"
    )]
    OtherModel {
        /// The address, without a password.
        place: String,
        /// Name of the model there.
        held: String,
        /// Its fingerprint.
        held_fingerprint: String,
        /// Name of the model here.
        offered: String,
        /// Its fingerprint.
        offered_fingerprint: String,
    },
    /// Rows that cannot be read.
    #[error(
        "{place}: {damaged} of {total} requested tracks are damaged (facts that are not voisin's JSON, or a vector that is not of {dimension} numbers): delete their rows from voisin_track and push again"
    )]
    Damaged {
        /// The address, without a password.
        place: String,
        /// How many.
        damaged: u64,
        /// Of how many.
        total: usize,
        /// Length of the vectors there.
        dimension: usize,
    },
    /// Another process sends tracks there.
    #[error("another voisin is sending tracks to {place}: wait until it is done")]
    Busy {
        /// The address, without a password.
        place: String,
    },
    /// Two recordings with one id.
    #[error(
        "two recordings have ids that share their first 63 bits, which one table cannot hold: {0}"
    )]
    Clash(String),
    /// Vectors too long for an index.
    #[error("vectors of {dimension} numbers: pgvector takes at most 4 000")]
    Dimension {
        /// Length of the vectors.
        dimension: usize,
    },
    /// A filter that only a library on this disk has.
    #[error(
        "a filter by tag needs all tracks, which a database does not send: fetch its library with \"voisin pull --from URL --library DIR\", then use --library DIR"
    )]
    Tag,
    /// Interrupted by the user.
    #[error("interrupted")]
    Interrupted,
    /// The library on this disk.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The engine on this disk.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A temporary file.
    #[error("cannot make a temporary library")]
    Io(#[from] std::io::Error),
}
