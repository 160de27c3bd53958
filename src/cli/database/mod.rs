//! The verbs that need PostgreSQL: `push`, `pull`, and queries to libraries in databases. Builds without the feature have
//! `absent.rs` instead.

mod pull;
mod push;

use voisin_postgres::{BackendError, Postgres, PostgresAddress, Remote};

use super::remote::DatabaseAddress;
use voisin_engine::EngineError;
use voisin_questions::RemoteLibrary;

pub(crate) use pull::run as pull;
pub(crate) use push::run as push;

/// The address that an option or the variable names.
fn place(option: Option<&str>) -> anyhow::Result<Option<PostgresAddress>> {
    let address = super::remote::database_address(option);
    address.as_ref().map(parse).transpose()
}

fn parse(address: &DatabaseAddress) -> anyhow::Result<PostgresAddress> {
    Ok(PostgresAddress::parse(
        &address.text,
        address.on_command_line,
    )?)
}

/// A library in a database.
pub(crate) fn open(address: &DatabaseAddress) -> anyhow::Result<Box<dyn RemoteLibrary>> {
    Ok(Box::new(Remote::open(Postgres::open(&parse(address)?)?)?))
}

/// The engine's error inside a database's.
pub(crate) fn engine_error(error: &anyhow::Error) -> Option<&EngineError> {
    match error.downcast_ref() {
        // The exit code depends on the engine's error, for local and remote libraries alike.
        Some(BackendError::Engine(error)) => Some(error),
        _ => None,
    }
}
