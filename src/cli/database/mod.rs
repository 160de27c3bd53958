//! What needs PostgreSQL: `push`, `pull`, `worker`, `eval index`, and libraries in databases that are asked. A program that is
//! built without the feature has `absent.rs` in its place.

mod eval_index;
mod pull;
mod push;
mod served;
mod take_down;
mod worker;

use std::error::Error;
use std::ffi::OsString;

use voisin_postgres::ddl::IndexCodes;
use voisin_postgres::{BackendError, IndexState, Postgres, PostgresAddress, Remote, TracksNeeded};

use super::remote::{DatabaseAddress, RemoteLibrary};
use super::render::count;
use crate::answers::status::StatusJson;
use crate::base::remedy::Remedy;
use crate::engine::{
    Engine, EngineError, MixOptions, Seed, SimilarOptions, SimilarTrack, TrackPage, TrackQuery,
};
use crate::library::TrackFilter;
use crate::questions::Filters;

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
pub(crate) fn open(
    address: &DatabaseAddress,
    windows: bool,
) -> anyhow::Result<Box<dyn RemoteLibrary>> {
    Ok(Box::new(Remote::open(
        Postgres::open(&parse(address)?)?,
        windows,
    )?))
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

impl RemoteLibrary for Remote {
    fn engine(&mut self) -> &mut Engine {
        self.engine()
    }

    fn tracks(&mut self) -> anyhow::Result<usize> {
        Ok(self.store().size()?.0 as usize)
    }

    fn tell_status(&mut self, json: &mut StatusJson) -> anyhow::Result<()> {
        tell_status(self, json)
    }

    fn fetch_named(&mut self, names: &[OsString]) -> anyhow::Result<()> {
        Ok(self.fetch_named(names)?)
    }

    fn fetch_filters(&mut self, filters: &Filters) -> anyhow::Result<()> {
        fetch_filters(self, filters)
    }

    fn fetch_some(&mut self, most: Option<usize>) -> anyhow::Result<Option<u64>> {
        Ok(self.fetch_some(most.map_or(TracksNeeded::All, TracksNeeded::Sample))?)
    }

    fn fetch_around(
        &mut self,
        seeds: &[Seed],
        filter: &TrackFilter,
        sample: Option<usize>,
    ) -> anyhow::Result<Option<String>> {
        Ok(self
            .fetch_around(seeds, filter, sample)?
            .map(|sample| sample.to_string()))
    }

    fn list(&mut self, query: &TrackQuery) -> anyhow::Result<TrackPage> {
        Ok(self.list(query)?)
    }

    fn leave_windows(&mut self) {
        self.leave_windows();
    }

    fn take_exact(&mut self) {
        self.take_exact();
    }

    fn similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> anyhow::Result<Vec<SimilarTrack>> {
        Ok(self.similar(seeds, options)?)
    }

    fn mix(&mut self, seeds: &[Seed], options: &MixOptions) -> anyhow::Result<Vec<SimilarTrack>> {
        Ok(self.mix(seeds, options)?)
    }

    fn into_parts(self: Box<Self>) -> (Engine, tempfile::TempDir) {
        (*self).into_parts()
    }
}
