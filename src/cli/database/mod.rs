//! What needs PostgreSQL: `push`, `pull`, `worker`, `eval index`, and libraries in databases that are asked. A program that is
//! built without the feature has `absent.rs` in its place.

mod eval_index;
mod pull;
mod push;
mod take_down;
mod worker;

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use voisin_postgres::{BackendError, IndexState, Mirror, Postgres, PostgresAddress, Remote, TracksNeeded};

use super::context::Context;
use super::remote::{DatabaseAddress, RemoteLibrary};
use super::render::count;
use crate::answers::status::StatusJson;
use crate::base::remedy::Remedy;
use crate::base::text::with_causes;
use crate::engine::{Engine, EngineError, Seed, SimilarOptions, SimilarTrack};
use crate::library::{OpenMode, TrackFilter};
use crate::questions::Filters;
use crate::serve::Follow;

pub(crate) use eval_index::run as eval_index;
pub(crate) use pull::run as pull;
pub(crate) use push::run as push;
pub(crate) use take_down::run as take_down;
pub(crate) use worker::run as worker;

/// The place that an option or the variable names.
fn place(option: Option<&str>) -> anyhow::Result<Option<PostgresAddress>> {
    let address = super::remote::database_address(option);
    address.as_ref().map(parse).transpose()
}

fn parse(address: &DatabaseAddress) -> anyhow::Result<PostgresAddress> {
    Ok(PostgresAddress::parse(&address.text, address.on_command_line)?)
}

/// A library in a database.
pub(crate) fn open(address: &DatabaseAddress, windows: bool) -> anyhow::Result<Box<dyn RemoteLibrary>> {
    Ok(Box::new(Remote::open(Postgres::open(&parse(address)?)?, windows)?))
}

/// A copy of a database's library in a folder that goes with the program, and what keeps it up to date.
pub(crate) fn mirror(context: &Context, address: &DatabaseAddress) -> anyhow::Result<(PathBuf, Follow)> {
    let mut store = Postgres::open(&parse(address)?)?;
    let tracks = store.size()?.0;
    context.console.note(&format!("bringing {} here, to answer from", count(tracks, "track")));
    let folder = tempfile::tempdir().context("cannot make a folder for the copy")?;
    let dir = folder.path().to_owned();
    context.keep(folder);
    let stop = Arc::new(AtomicBool::new(false));
    let mut mirror = Mirror::open(store, &dir)?;
    mirror.follow(&stop)?;
    if tracks > 0 {
        let mut engine = Engine::open(&dir, OpenMode::ReadWrite)?;
        context.listen_quietly(&mut engine);
        engine.refresh_index()?;
    }
    let follow = move || mirror.follow(&stop).map(|_| ()).map_err(|error| with_causes(&error));
    Ok((dir, Box::new(follow)))
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
    error.downcast_ref::<BackendError>().and_then(BackendError::remedy)
}

impl RemoteLibrary for Remote {
    fn engine(&mut self) -> &mut Engine {
        self.engine()
    }

    fn tracks(&mut self) -> anyhow::Result<usize> {
        Ok(self.store().size()?.0 as usize)
    }

    fn tell_status(&mut self, json: &mut StatusJson) -> anyhow::Result<()> {
        let store = self.store();
        let (size, width, shards) = (store.counts()?, store.width(), store.shards().len());
        let index = store.index_state()?;
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
            "{}; the database's own index, of width {width}; filters that leave few tracks are compared in full",
            count(size.tracks, "track")
        );
        Ok(())
    }

    fn fetch_named(&mut self, names: &[OsString]) -> anyhow::Result<()> {
        Ok(self.fetch_named(names)?)
    }

    fn fetch_filters(&mut self, filters: &Filters) -> anyhow::Result<()> {
        for artist in filters.artist.iter().chain(&filters.exclude_artist) {
            self.fetch_artist(artist)?;
        }
        self.fetch_genres(&filters.genre)?;
        self.fetch_genres(&filters.exclude_genre)?;
        Ok(self.fetch_folders(filters.folders())?)
    }

    fn fetch_some(&mut self, most: Option<usize>) -> anyhow::Result<Option<u64>> {
        Ok(self.fetch_some(most.map_or(TracksNeeded::All, TracksNeeded::Sample))?)
    }

    fn fetch_near(&mut self, seeds: &[Seed], each: usize) -> anyhow::Result<()> {
        Ok(self.fetch_near(seeds, each)?)
    }

    fn fetch_fitting(
        &mut self,
        filter: &TrackFilter,
        words: &str,
        most: usize,
    ) -> anyhow::Result<Option<u64>> {
        Ok(self.fetch_fitting(filter, words, most)?)
    }

    fn leave_windows(&mut self) {
        self.leave_windows();
    }

    fn similar(&mut self, seeds: &[Seed], options: &SimilarOptions) -> anyhow::Result<Vec<SimilarTrack>> {
        Ok(self.similar(seeds, options)?)
    }

    fn into_parts(self: Box<Self>) -> (Engine, tempfile::TempDir) {
        (*self).into_parts()
    }
}
