//! What needs PostgreSQL: `push`, `pull`, `worker`, `eval index`, and libraries in databases that are asked. A program that is
//! built without the feature has `absent.rs` in its place.

mod eval_index;
mod pull;
mod push;
mod served;
mod take_down;
mod worker;

use std::error::Error;

use voisin_postgres::ddl::IndexCodes;
use voisin_postgres::{BackendError, IndexState, Postgres, PostgresAddress, Remote};

use super::remote::DatabaseAddress;
use super::render::count;
use crate::answers::status::StatusJson;
use crate::base::remedy::Remedy;
use crate::engine::EngineError;
use crate::questions::{Filters, RemoteLibrary};

pub(crate) use eval_index::run as eval_index;
pub(crate) use pull::run as pull;
pub(crate) use push::run as push;
pub(crate) use served::{copy, elsewhere};
pub(crate) use take_down::run as take_down;
pub(crate) use worker::run as worker;

/// The place that an option or the variable names.
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
/// - `sample`: tracks that stand for all where all are compared, and from how many on; `None`: as many as is usual
pub(crate) fn open(
    address: &DatabaseAddress,
    sample: Option<usize>,
) -> anyhow::Result<Box<dyn RemoteLibrary>> {
    let remote = Remote::open(Postgres::open(&parse(address)?)?, false)?;
    Ok(Box::new(remote.with_sample(sample)))
}

/// The engine's error in a database's.
pub(crate) fn engine_error(error: &anyhow::Error) -> Option<&EngineError> {
    match error.downcast_ref() {
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

/// Says of a database what was said of the temporary library.
fn tell_status(remote: &mut Remote, json: &mut StatusJson) -> anyhow::Result<()> {
    let store = remote.store();
    let size = store.counts()?;
    let width = store.width();
    let shards = store.shards().len();
    let index = store.index_state()?;
    let codes = store.codes();
    json.library = store.place().to_string();
    (json.tracks, json.files, json.windows) = (size.tracks, size.files, size.windows);
    (json.index_generation, json.database_bytes) = (size.generation, size.bytes);
    json.index.generation = Some(size.generation);
    json.index.state = "current";
    json.index.note = match index {
        IndexState::There(bytes) => {
            json.index_bytes = bytes;
            String::new()
        }
        IndexState::OnShards => format!("each of {} has its own", count(shards as u64, "shard")),
        IndexState::Missing => {
            json.index.state = "none";
            "the next push makes it; until then all tracks are compared".to_owned()
        }
    };
    json.search.mode = "hnsw";
    json.search.why = format!(
        "{}; the database's own index, {}of width {width}; filters that leave few tracks are compared in full",
        count(size.tracks, "track"),
        if codes == IndexCodes::Signs {
            "of one bit a number, "
        } else {
            ""
        }
    );
    Ok(())
}

/// Makes known what filters name.
fn fetch_filters(remote: &mut Remote, filters: &Filters) -> anyhow::Result<()> {
    let artists = filters.artists();
    let genres = filters.genres();
    Ok(remote.fetch_filters(artists, &filters.composer, genres, filters.folders())?)
}
