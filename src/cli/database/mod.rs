//! The verbs that need PostgreSQL: `push`, `pull`, `worker`, `eval index`, and queries to libraries in databases. Builds without
//! the feature have `absent.rs` instead.

mod eval_index;
mod pull;
mod push;
mod served;
mod take_down;
mod worker;

use std::error::Error;

use voisin_postgres::{BackendError, Postgres, PostgresAddress, Remote};

use super::remote::DatabaseAddress;
use voisin_base::remedy::Remedy;
use voisin_engine::EngineError;
use voisin_questions::RemoteLibrary;

pub(crate) use eval_index::run as eval_index;
pub(crate) use pull::run as pull;
pub(crate) use push::run as push;
pub(crate) use served::{copy, elsewhere};
pub(crate) use take_down::run as take_down;
pub(crate) use worker::run as worker;

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
///
/// - `sample`: size of the sample that is compared instead of a larger library; `None`: the default
pub(crate) fn open(
    address: &DatabaseAddress,
    sample: Option<usize>,
) -> anyhow::Result<Box<dyn RemoteLibrary>> {
    let remote = Remote::open(Postgres::open(&parse(address)?)?)?;
    Ok(Box::new(remote.with_sample(sample)))
}

/// The engine's error inside a database's.
pub(crate) fn engine_error(error: &anyhow::Error) -> Option<&EngineError> {
    match error.downcast_ref() {
        // The exit code depends on the engine's error, for local and remote libraries alike.
        Some(BackendError::Engine(error)) => Some(error),
        _ => None,
    }
}

/// The next step after a database's error.
pub(crate) fn remedy(error: &(dyn Error + 'static)) -> Option<Remedy> {
    error
        .downcast_ref::<BackendError>()
        .and_then(BackendError::remedy)
}
