//! Where answers come from: the library on this disk, or, with `--backend`, a database from which a library for the
//! occasion is fetched.

use std::ffi::OsString;

use super::args::BackendArgs;
use super::context::Context;
#[cfg(feature = "postgres")]
use crate::backend::{Place, Postgres, Remote, TracksNeeded};
use crate::engine::{Engine, Seed, SimilarOptions, SimilarTrack};
use crate::library::TrackFilter;
use crate::questions::Filters;

/// Tracks that are fetched where a verb compares all with all and nobody says how many.
#[cfg(feature = "postgres")]
const SAMPLE: usize = 20_000;

/// Variable that names a database.
#[cfg(feature = "postgres")]
const VARIABLE: &str = "VOISIN_BACKEND";

/// A library that can be asked.
pub(crate) enum LibraryTarget {
    /// On this disk.
    Local(Box<Engine>),
    /// In a database.
    #[cfg(feature = "postgres")]
    Remote { remote: Box<Remote>, sample: Option<usize> },
}

#[cfg_attr(not(feature = "postgres"), allow(unused_variables, clippy::unnecessary_wraps))]
impl LibraryTarget {
    /// - `windows`: window vectors will be needed
    pub(crate) fn open(context: &Context, args: &BackendArgs, windows: bool) -> anyhow::Result<Self> {
        #[cfg(feature = "postgres")]
        if let Some(place) = place(args.backend.as_deref())? {
            let mut remote = Remote::open(Postgres::open(&place)?, windows)?;
            context.listen_quietly(remote.engine());
            context.check_options(remote.engine().library())?;
            let sample = args.sample.map(|sample| sample.of(usize::MAX));
            return Ok(Self::Remote { remote: Box::new(remote), sample });
        }
        Ok(Self::Local(Box::new(context.open_engine()?)))
    }

    /// Whether the library is in a database.
    pub(crate) fn is_remote(&self) -> bool {
        match self {
            Self::Local(_) => false,
            #[cfg(feature = "postgres")]
            Self::Remote { .. } => true,
        }
    }

    pub(crate) fn engine(&mut self) -> &mut Engine {
        match self {
            Self::Local(engine) => engine,
            #[cfg(feature = "postgres")]
            Self::Remote { remote, .. } => remote.engine(),
        }
    }

    /// How many tracks there are, wherever they are.
    pub(crate) fn tracks(&mut self) -> anyhow::Result<usize> {
        Ok(match self {
            Self::Local(engine) => engine.library().status()?.vectors as usize,
            #[cfg(feature = "postgres")]
            Self::Remote { remote, .. } => remote.store().size()?.0 as usize,
        })
    }

    /// Makes sure that the tracks which names may mean can be found.
    pub(crate) fn resolve_names(&mut self, names: &[OsString]) -> anyhow::Result<()> {
        #[cfg(feature = "postgres")]
        if let Self::Remote { remote, .. } = self {
            remote.fetch_named(names)?;
        }
        Ok(())
    }

    /// Window vectors are not needed of what is fetched from now on.
    pub(crate) fn leave_windows(&mut self) {
        #[cfg(feature = "postgres")]
        if let Self::Remote { remote, .. } = self {
            remote.leave_windows();
        }
    }

    /// Makes sure that the artists, genres and folders which filters name can be told.
    pub(crate) fn resolve_filters(&mut self, filters: &Filters) -> anyhow::Result<()> {
        #[cfg(feature = "postgres")]
        if let Self::Remote { remote, .. } = self {
            for artist in filters.artist.iter().chain(&filters.exclude_artist) {
                remote.fetch_artist(artist)?;
            }
            remote.fetch_genres(&filters.genre)?;
            remote.fetch_genres(&filters.exclude_genre)?;
            remote.fetch_folders(filters.folders())?;
        }
        Ok(())
    }

    /// Makes all tracks known, or as many as `--sample` says, for what compares all with all.
    pub(crate) fn fetch_all(&mut self, context: &Context, what: &str) -> anyhow::Result<()> {
        #[cfg(feature = "postgres")]
        if let Self::Remote { remote, sample } = self {
            let most = sample.unwrap_or(SAMPLE);
            if let Some(all) = remote.fetch_some(TracksNeeded::Sample(most))? {
                context.console.note(&format!(
                    "{what} works on {most} of {all} tracks, which stand for all: --sample N takes more"
                ));
            }
        }
        Ok(())
    }

    /// Makes every track known that fits.
    pub(crate) fn fetch_fitting(&mut self, filter: &TrackFilter, words: &str) -> anyhow::Result<()> {
        #[cfg(feature = "postgres")]
        if let Self::Remote { remote, sample } = self {
            let most = sample.unwrap_or(SAMPLE);
            if let Some(found) = remote.fetch_fitting(filter, words, most)? {
                anyhow::bail!(
                    "{found} tracks fit or more, and at most {most} are put in order here: narrow them by filters or words, or take more with --sample N"
                );
            }
        }
        Ok(())
    }

    /// As [`Engine::similar`].
    pub(crate) fn similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> anyhow::Result<Vec<SimilarTrack>> {
        Ok(match self {
            Self::Local(engine) => engine.similar(seeds, options)?,
            #[cfg(feature = "postgres")]
            Self::Remote { remote, .. } => remote.similar(seeds, options)?,
        })
    }

    /// The temporary library stays as long as the program.
    pub(crate) fn into_engine(self, context: &Context) -> Engine {
        match self {
            Self::Local(engine) => *engine,
            #[cfg(feature = "postgres")]
            Self::Remote { remote, .. } => {
                let (engine, folder) = remote.into_parts();
                context.keep(folder);
                engine
            }
        }
    }
}

/// The database that an option names, else the variable; `None` where nobody does.
#[cfg(feature = "postgres")]
pub(crate) fn place(option: Option<&str>) -> anyhow::Result<Option<Place>> {
    if let Some(text) = option.filter(|text| !text.is_empty()) {
        return Ok(Some(Place::parse(text, true)?));
    }
    match std::env::var(VARIABLE) {
        Ok(text) if !text.is_empty() => Ok(Some(Place::parse(&text, false)?)),
        _ => Ok(None),
    }
}
