//! A library in a database, as the server asks it.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::Context as _;
use voisin_postgres::{BackendError, Mirror, Postgres, Remote};

use super::parse;
use crate::answers::status::StatusJson;
use crate::base::text::with_causes;
use crate::cli::context::Context;
use crate::cli::remote::DatabaseAddress;
use crate::engine::{
    Engine, MixOptions, Seed, SimilarOptions, SimilarTrack, TrackPage, TrackQuery,
};
use crate::library::{OpenMode, TrackFilter};
use crate::questions::Filters;
use crate::serve::{Elsewhere, ElsewhereError, Follow, Named, OpenElsewhere};

/// What opens a library in a database for the server's requests.
pub(crate) fn elsewhere(address: &DatabaseAddress) -> anyhow::Result<OpenElsewhere> {
    let place = parse(address)?;
    // What is wrong with the address is said at the start.
    drop(Postgres::open(&place)?);
    Ok(Box::new(move || {
        let open = || anyhow::Ok(Remote::open(Postgres::open(&place)?, false)?.with_short_ids());
        Ok(Box::new(ServedRemote(open().map_err(elsewhere_error)?)))
    }))
}

/// What brings a copy of a database's library into a folder and keeps it up to date.
pub(crate) fn copy(
    context: &Context,
    address: &DatabaseAddress,
    dir: &Path,
) -> anyhow::Result<Follow> {
    let console = context.console;
    let dir = dir.to_owned();
    let mut mirror = Mirror::open(Postgres::open(&parse(address)?)?, &dir)?;
    let mut is_new = true;
    Ok(Box::new(move |progress| {
        let mut run = || -> anyhow::Result<()> {
            mirror.follow(&AtomicBool::new(false), progress)?;
            if std::mem::take(&mut is_new) {
                let mut engine = Engine::open(&dir, OpenMode::ReadWrite).context("the copy")?;
                if engine.library().status()?.tracks > 0 {
                    engine.refresh_index()?;
                }
                console.note(&format!("the copy in {} is complete", dir.display()));
            }
            Ok(())
        };
        run().map_err(|error| with_causes(error.as_ref()))
    }))
}

/// Its errors as the server tells them.
fn elsewhere_error(error: impl Into<anyhow::Error>) -> ElsewhereError {
    match error.into().downcast() {
        Ok(BackendError::Engine(error)) => ElsewhereError::Engine(error),
        Ok(BackendError::Library(error)) => ElsewhereError::Engine(error.into()),
        Ok(error @ BackendError::LocalOnly(_)) => ElsewhereError::Refused(error.to_string()),
        Ok(error) => ElsewhereError::Away(with_causes(&error)),
        Err(error) => ElsewhereError::Away(with_causes(error.as_ref())),
    }
}

/// A library in a database with ids that a browser can hold.
struct ServedRemote(Remote);

impl Elsewhere for ServedRemote {
    fn engine(&mut self) -> &mut Engine {
        self.0.engine()
    }

    fn generation(&mut self) -> Result<u64, ElsewhereError> {
        self.0.store().generation().map_err(elsewhere_error)
    }

    fn fetch(&mut self, named: Named<'_>) -> Result<(), ElsewhereError> {
        let done = match named {
            Named::Id(id) => self.0.fetch_local(&[id]),
            Named::Path(path) => self.0.fetch_paths(&[path.to_owned()]),
            Named::Words(words) => self.0.fetch_by_words(words),
            Named::Artist(name) => self.0.fetch_of_artist(name),
            Named::Album(name) => self.0.fetch_album(name),
        };
        done.map_err(elsewhere_error)
    }

    fn fetch_filters(&mut self, filters: &Filters) -> Result<(), ElsewhereError> {
        super::fetch_filters(&mut self.0, filters).map_err(elsewhere_error)
    }

    fn fetch_around(
        &mut self,
        seeds: &[Seed],
        filter: &TrackFilter,
    ) -> Result<Option<String>, ElsewhereError> {
        let sample = self
            .0
            .fetch_around(seeds, filter, None)
            .map_err(elsewhere_error)?;
        Ok(sample.map(|sample| sample.to_string()))
    }

    fn is_whole(&self) -> bool {
        self.0.is_whole()
    }

    fn similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> Result<Vec<SimilarTrack>, ElsewhereError> {
        self.0.similar(seeds, options).map_err(elsewhere_error)
    }

    fn mix(
        &mut self,
        seeds: &[Seed],
        options: &MixOptions,
    ) -> Result<Vec<SimilarTrack>, ElsewhereError> {
        self.0.mix(seeds, options).map_err(elsewhere_error)
    }

    fn list(&mut self, query: &TrackQuery) -> Result<TrackPage, ElsewhereError> {
        self.0.list(query).map_err(elsewhere_error)
    }

    fn tell_status(&mut self, json: &mut StatusJson) -> Result<(), ElsewhereError> {
        super::tell_status(&mut self.0, json).map_err(elsewhere_error)
    }
}
