//! The verbs that need PostgreSQL: `push`, `pull`, and queries to libraries in databases. Builds without the feature have
//! `absent.rs` instead.

mod pull;
mod push;

use anyhow::bail;
use voisin_exchange::postgres::{BackendError, Postgres, PostgresAddress};

pub(crate) use pull::run as pull;
pub(crate) use push::run as push;
pub(super) use voisin_exchange::postgres::Remote;

const VARIABLE: &str = "VOISIN_BACKEND";

/// - `name`: of the option
fn place(option: Option<&str>, name: &str) -> anyhow::Result<PostgresAddress> {
    let given = option.filter(|text| !text.is_empty());
    let from_variable = || std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    match given.map(str::to_owned).or_else(from_variable) {
        // Other users can read the command line, so a password does not belong there.
        Some(text) => Ok(PostgresAddress::parse(&text, given.is_some())?),
        None => bail!(
            "expected the address of a database: {name} postgres://USER@HOST/DATABASE, or {VARIABLE}"
        ),
    }
}

/// - `is_option`: whether the command line has the address
pub(super) fn open(address: &str, is_option: bool) -> anyhow::Result<Remote> {
    let store = Postgres::open(&PostgresAddress::parse(address, is_option)?)?;
    Ok(Remote::open(store)?)
}

/// Whether a database's error is one of the engine that something named does not exist.
pub(crate) fn is_not_found(error: &anyhow::Error) -> bool {
    match error.downcast_ref() {
        Some(BackendError::Engine(error)) => error.is_not_found(),
        Some(BackendError::Library(error)) => error.is_not_found(),
        _ => false,
    }
}
