//! Where answers come from: the library on this disk, or, with `--backend`, a database from which a temporary library is
//! fetched.

use std::ffi::OsString;

use super::args::BackendArgs;
use super::context::Context;
use super::database;
use super::remote::{RemoteLibrary, database_address};
use crate::answers::status::StatusJson;
use crate::engine::{Engine, Seed, SimilarOptions, SimilarTrack, TrackPage, TrackQuery};
use crate::library::TrackFilter;
use crate::questions::{Filters, Mix, Mixing, SimilarAnswer};

/// A library that can be asked.
pub(crate) enum LibraryTarget {
    /// On this disk.
    Local(Box<Engine>),
    /// In a database.
    Remote {
        remote: Box<dyn RemoteLibrary>,
        sample: Option<usize>,
    },
}

impl LibraryTarget {
    /// - `windows`: window vectors will be needed
    pub(crate) fn open(
        context: &Context,
        args: &BackendArgs,
        windows: bool,
    ) -> anyhow::Result<Self> {
        match Self::open_remote(context, args, windows)? {
            Some(mut there) => {
                context.check_options(there.engine().library())?;
                Ok(there)
            }
            None => Ok(Self::Local(Box::new(context.open_engine()?))),
        }
    }

    /// The database, where one is named.
    pub(crate) fn open_remote(
        context: &Context,
        args: &BackendArgs,
        windows: bool,
    ) -> anyhow::Result<Option<Self>> {
        let Some(address) = database_address(args.backend.as_deref()) else {
            return Ok(None);
        };
        let mut remote = database::open(&address, windows)?;
        context.listen_quietly(remote.engine());
        let sample = args.sample.map(|sample| sample.of(usize::MAX));
        Ok(Some(Self::Remote { remote, sample }))
    }

    /// Whether the library is in a database.
    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Self::Remote { .. })
    }

    pub(crate) fn engine(&mut self) -> &mut Engine {
        match self {
            Self::Local(engine) => engine,
            Self::Remote { remote, .. } => remote.engine(),
        }
    }

    /// How many tracks there are, wherever they are.
    pub(crate) fn tracks(&mut self) -> anyhow::Result<usize> {
        match self {
            Self::Local(engine) => Ok(engine.library().status()?.vectors as usize),
            Self::Remote { remote, .. } => remote.tracks(),
        }
    }

    /// What `status` says of it.
    pub(crate) fn tell_status(&mut self, json: &mut StatusJson) -> anyhow::Result<()> {
        match self {
            Self::Local(_) => Ok(()),
            Self::Remote { remote, .. } => remote.tell_status(json),
        }
    }

    /// Makes sure that the tracks which names may mean can be found.
    pub(crate) fn resolve_names(&mut self, names: &[OsString]) -> anyhow::Result<()> {
        match self {
            Self::Local(_) => Ok(()),
            Self::Remote { remote, .. } => remote.fetch_named(names),
        }
    }

    /// Window vectors are not needed of what is fetched from now on.
    pub(crate) fn leave_windows(&mut self) {
        if let Self::Remote { remote, .. } = self {
            remote.leave_windows();
        }
    }

    /// Makes sure that the artists, genres and folders which filters name can be told.
    pub(crate) fn resolve_filters(&mut self, filters: &Filters) -> anyhow::Result<()> {
        match self {
            Self::Local(_) => Ok(()),
            Self::Remote { remote, .. } => remote.fetch_filters(filters),
        }
    }

    /// Makes known what answers about these tracks are made of: all tracks, or where they are many, of those that fit the
    /// nearest of these by the database's index and some that stand for all the others.
    pub(crate) fn fetch_around(
        &mut self,
        context: &Context,
        what: &str,
        seeds: &[Seed],
        filter: &TrackFilter,
    ) -> anyhow::Result<()> {
        if let Self::Remote { remote, sample } = self
            && let Some(fetched) = remote.fetch_around(seeds, filter, *sample)?
        {
            context
                .console
                .note(&format!("{what} works on {fetched}: --sample N takes more"));
        }
        Ok(())
    }

    /// As [`Engine::list`].
    pub(crate) fn list(&mut self, query: &TrackQuery) -> anyhow::Result<TrackPage> {
        match self {
            Self::Local(engine) => Ok(engine.list(query)?),
            Self::Remote { remote, .. } => remote.list(query),
        }
    }

    /// As [`Engine::similar`].
    pub(crate) fn similar(
        &mut self,
        seeds: &[Seed],
        options: &SimilarOptions,
    ) -> anyhow::Result<Vec<SimilarTrack>> {
        match self {
            Self::Local(engine) => Ok(engine.similar(seeds, options)?),
            Self::Remote { remote, .. } => remote.similar(seeds, options),
        }
    }

    /// As [`Mix::run`].
    pub(crate) fn mix(
        &mut self,
        asked: &Mix,
        seeds: &[Seed],
        played: Vec<Seed>,
    ) -> anyhow::Result<SimilarAnswer> {
        match self {
            Self::Local(engine) => Ok(asked.run(engine, seeds, played, &Mixing::default())?),
            Self::Remote { remote, .. } => {
                let tracks = asked.limit.of_counted(|| remote.tracks())?;
                let options =
                    asked.options(remote.engine(), seeds, played, &Mixing::default(), tracks)?;
                let found = remote.mix(seeds, &options)?;
                Ok(SimilarAnswer {
                    found,
                    standing: None,
                    steered: None,
                })
            }
        }
    }

    /// The temporary library stays as long as the program.
    pub(crate) fn into_engine(self, context: &Context) -> Engine {
        match self {
            Self::Local(engine) => *engine,
            Self::Remote { remote, .. } => {
                let (engine, folder) = remote.into_parts();
                context.keep(folder);
                engine
            }
        }
    }
}
