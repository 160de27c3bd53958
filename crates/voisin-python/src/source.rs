//! Where a library is: in a folder of this machine, or in a database, which is only read here.

use std::io;
use std::path::{Path, PathBuf};

use super::errors::NoAnswer;
use super::seeds::SeedArgument;
use voisin::{Embedder, Engine, EngineError, Seed, TrackPage, TrackQuery};
use voisin_library::{LibraryError, OpenMode};
use voisin_postgres::{Postgres, PostgresAddress, Remote};
use voisin_questions::{Filters, LocalOnly, Mix, Mixing, Similar, SimilarAnswer};

/// Tracks that are kept of a database for the next questions.
const MOST_FETCHED: u64 = 20_000;

/// Where a library is opened, in this process and in others.
pub(super) enum LibraryPlace {
    /// Absolute.
    Folder(PathBuf),
    /// With the size of its sample.
    Database(Box<PostgresAddress>, Option<usize>),
}

impl LibraryPlace {
    pub(super) fn open(&self) -> Result<OpenLibrary, NoAnswer> {
        match self {
            Self::Folder(dir) => OpenLibrary::in_folder(dir, false),
            Self::Database(address, sample) => {
                OpenLibrary::database(PostgresAddress::clone(address), *sample)
            }
        }
    }
}

/// A library that can be asked.
pub(super) enum OpenLibrary {
    Folder(Box<Engine>),
    Database(Box<DatabaseLibrary>),
}

/// A library in a database.
pub(super) struct DatabaseLibrary {
    address: PostgresAddress,
    /// How many tracks stand for all where all are compared; `None`: as many as is usual.
    sample: Option<usize>,
    /// What was fetched for the questions before.
    remote: Remote,
    /// The state of the database that it is of.
    generation: u64,
}

impl DatabaseLibrary {
    fn open(address: PostgresAddress, sample: Option<usize>) -> Result<Self, NoAnswer> {
        let mut remote = Remote::open(Postgres::open(&address)?, false)?;
        let generation = remote.store().generation()?;
        Ok(Self {
            address,
            sample,
            remote,
            generation,
        })
    }

    fn tracks(&mut self) -> Result<usize, NoAnswer> {
        Ok(self.remote.store().size()?.0 as usize)
    }

    /// Without what was fetched before, which must not change what a sample stands for.
    fn afresh(&self, windows: bool) -> Result<Remote, NoAnswer> {
        Ok(Remote::open(Postgres::open(&self.address)?, windows)?)
    }
}

impl OpenLibrary {
    pub(super) fn in_folder(dir: &Path, create: bool) -> Result<Self, NoAnswer> {
        let mode = if create {
            OpenMode::Create
        } else {
            OpenMode::ReadWrite
        };
        let engine = match Engine::open(dir, mode) {
            Err(EngineError::Library(LibraryError::ReadOnly { .. })) => {
                Engine::open(dir, OpenMode::ReadOnly)?
            }
            engine => engine?,
        };
        Ok(Self::Folder(Box::new(engine)))
    }

    pub(super) fn in_database(address: &str, sample: Option<usize>) -> Result<Self, NoAnswer> {
        Self::database(PostgresAddress::parse(address, false)?, sample)
    }

    fn database(address: PostgresAddress, sample: Option<usize>) -> Result<Self, NoAnswer> {
        Ok(Self::Database(Box::new(DatabaseLibrary::open(
            address, sample,
        )?)))
    }

    /// Whether it is in a folder.
    pub(super) fn is_folder(&self) -> bool {
        matches!(self, Self::Folder(_))
    }

    /// Where it is.
    pub(super) fn place(&self) -> io::Result<LibraryPlace> {
        Ok(match self {
            Self::Folder(engine) => {
                LibraryPlace::Folder(std::path::absolute(engine.library().dir())?)
            }
            Self::Database(there) => {
                LibraryPlace::Database(Box::new(there.address.clone()), there.sample)
            }
        })
    }

    /// Forgets what was fetched of a database that has changed since, or when that is much.
    pub(super) fn renew(&mut self) -> Result<(), NoAnswer> {
        if let Self::Database(there) = self {
            let fetched = there.remote.engine().library().status()?.tracks;
            if fetched >= MOST_FETCHED || there.remote.store().generation()? != there.generation {
                **there = DatabaseLibrary::open(there.address.clone(), there.sample)?;
            }
        }
        Ok(())
    }

    /// The engine; of a database that of the temporary library.
    pub(super) fn engine(&mut self) -> &mut Engine {
        match self {
            Self::Folder(engine) => engine,
            Self::Database(there) => there.remote.engine(),
        }
    }

    /// The engine, for what a database does not answer.
    pub(super) fn in_folder_only(&mut self, reason: LocalOnly) -> Result<&mut Engine, NoAnswer> {
        match self {
            Self::Folder(engine) => Ok(engine),
            Self::Database(_) => Err(reason.into()),
        }
    }

    /// How many tracks there are.
    pub(super) fn tracks(&mut self) -> Result<usize, NoAnswer> {
        Ok(match self {
            Self::Folder(engine) => engine.library().status()?.vectors as usize,
            Self::Database(there) => there.tracks()?,
        })
    }

    /// Makes known what is named.
    pub(super) fn fetch(&mut self, named: &[SeedArgument]) -> Result<(), NoAnswer> {
        if let Self::Database(there) = self {
            SeedArgument::fetch(named, &mut there.remote)?;
        }
        Ok(())
    }

    /// Makes known what filters name.
    pub(super) fn fetch_filters(&mut self, filters: &Filters) -> Result<(), NoAnswer> {
        if let Self::Database(there) = self {
            fetch_filters(&mut there.remote, filters)?;
        }
        Ok(())
    }

    /// As [`Engine::list`].
    pub(super) fn list(&mut self, query: &TrackQuery) -> Result<TrackPage, NoAnswer> {
        Ok(match self {
            Self::Folder(engine) => engine.list(query)?,
            Self::Database(there) => there.remote.list(query)?,
        })
    }

    /// As [`Similar::run`].
    pub(super) fn similar(
        &mut self,
        asked: &Similar,
        seeds: &[Seed],
        unlike: Vec<Seed>,
    ) -> Result<SimilarAnswer, NoAnswer> {
        let there = match self {
            Self::Folder(engine) => return Ok(asked.run(engine, seeds, unlike)?),
            Self::Database(there) => there,
        };
        if asked.is_steered() {
            return Err(LocalOnly::Steering.into());
        }
        let tracks = asked.limit.of_counted(|| there.tracks())?;
        let options = asked.options(there.remote.engine(), seeds, unlike, tracks)?;
        let mut found = there.remote.similar(seeds, &options)?;
        asked.sort(there.remote.engine(), &mut found)?;
        Ok(SimilarAnswer {
            found,
            standing: None,
            steered: None,
        })
    }

    /// As [`Mix::run`].
    pub(super) fn mix(
        &mut self,
        asked: &Mix,
        seeds: &[Seed],
        played: Vec<Seed>,
    ) -> Result<SimilarAnswer, NoAnswer> {
        let usual = Mixing::default();
        match self {
            Self::Folder(engine) => Ok(asked.run(engine, seeds, played, &usual)?),
            Self::Database(there) => {
                let tracks = asked.limit.of_counted(|| there.tracks())?;
                let options =
                    asked.options(there.remote.engine(), seeds, played, &usual, tracks)?;
                let found = there.remote.mix(seeds, &options)?;
                Ok(SimilarAnswer {
                    found,
                    standing: None,
                    steered: None,
                })
            }
        }
    }

    /// Works with an engine that has what `fetch` brings from a database, and nothing else.
    ///
    /// - `windows`: of these tracks, too
    pub(super) fn apart<T>(
        &mut self,
        windows: bool,
        fetch: impl FnOnce(&mut Remote) -> Result<(), NoAnswer>,
        work: impl FnOnce(&mut Engine) -> Result<T, NoAnswer>,
    ) -> Result<T, NoAnswer> {
        match self {
            Self::Folder(engine) => work(engine),
            Self::Database(there) => {
                let mut remote = there.afresh(windows)?;
                fetch(&mut remote)?;
                work(remote.engine())
            }
        }
    }

    /// Works with an engine that has what an answer about tracks is made of: all tracks, or where a database has many, the
    /// nearest of these and some that stand for all the others.
    ///
    /// - `what`: is answered
    /// - returns: the answer, and what is worth knowing about it
    pub(super) fn around<T>(
        &mut self,
        what: &str,
        named: &[SeedArgument],
        embedder: Option<&Embedder>,
        filters: &Filters,
        work: impl FnOnce(&mut Engine, Vec<Seed>) -> Result<T, NoAnswer>,
    ) -> Result<(T, Vec<String>), NoAnswer> {
        let there = match self {
            Self::Folder(engine) => {
                let seeds = SeedArgument::seeds(named, engine, embedder)?;
                return Ok((work(engine, seeds)?, Vec::new()));
            }
            Self::Database(there) => there,
        };
        let mut remote = there.afresh(false)?;
        SeedArgument::fetch(named, &mut remote)?;
        fetch_filters(&mut remote, filters)?;
        let seeds = SeedArgument::seeds(named, remote.engine(), embedder)?;
        let filter = filters.filter(remote.engine(), &seeds)?;
        let fetched = remote.fetch_around(&seeds, &filter, there.sample)?;
        let news = fetched
            .map(|fetched| format!("{what} works on {fetched}: Library(sample=N) takes more"));
        Ok((work(remote.engine(), seeds)?, news.into_iter().collect()))
    }
}

fn fetch_filters(remote: &mut Remote, filters: &Filters) -> Result<(), NoAnswer> {
    let artists = filters.artists();
    let genres = filters.genres();
    Ok(remote.fetch_filters(artists, &filters.composer, genres, filters.folders())?)
}
