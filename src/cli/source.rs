//! The library that a query goes to: a folder of this disk, or with `--library postgresql://…` one in a database, whose
//! tracks are fetched into a temporary library as far as a query needs them.

use std::ffi::{OsStr, OsString};

use super::context::Context;
use super::database;
use voisin::questions::answers::card::{Card, cards, nearest_options};
use voisin::questions::answers::similar::SimilarJson;
use voisin::questions::{Filters, Similar};
use voisin::{Engine, GenreNews, LabelSource, Seed, TrackPage, TrackQuery};

pub(crate) enum Source {
    Local(Box<Engine>),
    Database(Box<database::Remote>),
}

impl Source {
    pub(crate) fn open(context: &Context) -> anyhow::Result<Self> {
        let Some(address) = context.database() else {
            return Ok(Self::Local(Box::new(context.open_engine()?)));
        };
        let remote = database::open(address, context.has_library_option())?;
        let mut source = Self::Database(Box::new(remote));
        context.report_index(source.engine(), false);
        // The copy of a database has its model, so --model is checked against it as with a folder.
        context.check_options(source.engine().library())?;
        Ok(source)
    }

    /// The engine; for a database that of the temporary library.
    pub(crate) fn engine(&mut self) -> &mut Engine {
        match self {
            Self::Local(engine) => engine,
            Self::Database(remote) => remote.engine(),
        }
    }

    /// Whether all tracks of the library are on this disk.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Makes sure that the engine has the tracks that names may mean.
    pub(crate) fn fetch(&mut self, names: &[OsString]) -> anyhow::Result<()> {
        let Self::Database(remote) = self else {
            return Ok(());
        };
        for name in names {
            remote.fetch(name)?;
        }
        // Words without quotes may be one name.
        remote.fetch(&names.join(OsStr::new(" ")))?;
        Ok(())
    }

    /// Makes sure that the engine has the artists, genres and folders that filters name, and refuses licences and folders
    /// that no track has.
    pub(crate) fn fetch_filters(&mut self, filters: &Filters) -> anyhow::Result<()> {
        match self {
            Self::Local(engine) => Ok(filters.check(engine)?),
            Self::Database(remote) => {
                remote.fetch_filters(filters)?;
                Ok(filters.check_folders(remote.engine())?)
            }
        }
    }

    /// Makes sure that the engine has the tracks that an answer compares with each other, and reports it if these are not
    /// all.
    pub(crate) fn fetch_around(
        &mut self,
        context: &Context,
        answer: &str,
        seeds: &[Seed],
    ) -> anyhow::Result<()> {
        if let Self::Database(remote) = self
            && let Some(sample) = remote.fetch_around(seeds)?
        {
            context.console.note(&format!("{answer} works on {sample}"));
        }
        Ok(())
    }

    pub(crate) fn list(&mut self, query: &TrackQuery) -> anyhow::Result<TrackPage> {
        match self {
            Self::Local(engine) => Ok(engine.list(query)?),
            Self::Database(remote) => Ok(remote.list(query)?),
        }
    }

    pub(crate) fn similar(
        &mut self,
        question: &Similar,
        seeds: &[Seed],
        unlike: Vec<Seed>,
    ) -> anyhow::Result<SimilarJson> {
        match self {
            Self::Local(engine) => Ok(question.run(engine, seeds, unlike)?),
            Self::Database(remote) => {
                let tracks = remote.tracks()?;
                let options = question.options(remote.engine(), seeds, unlike, tracks)?;
                let found = remote.similar(seeds, &options)?;
                // Without a standing, which needs all tracks.
                Ok(SimilarJson::new(remote.engine(), seeds, &found, None)?)
            }
        }
    }

    pub(crate) fn cards(
        &mut self,
        context: &Context,
        seeds: Vec<Seed>,
        report: impl FnMut(GenreNews),
    ) -> anyhow::Result<Vec<Card>> {
        let mut nearest = Vec::new();
        // Before others are fetched: a temporary library has only these.
        for seed in &seeds {
            let seed = std::slice::from_ref(seed);
            nearest.push(match self {
                Self::Local(engine) => engine.similar(seed, &nearest_options())?,
                Self::Database(remote) => remote.similar(seed, &nearest_options())?,
            });
        }
        self.fetch_around(context, "the predicted genre", &seeds)?;
        let tags = self.engine().predicted_tags_if_any()?;
        Ok(cards(
            self.engine(),
            seeds,
            nearest,
            tags.as_ref(),
            true,
            report,
        )?)
    }
}

/// Reports a lost table of labels: searches go on with the genres in the files' tags, other commands fail.
pub(crate) fn warn_of_lost_labels(context: &Context, engine: &Engine) {
    if let LabelSource::File(table) = engine.label_source()
        && !table.is_file()
    {
        context.console.warn(&format!(
            "{}, where the genres of this library come from, is not there: restore it, or \"voisin labels tags\" uses the files' tags instead",
            table.display()
        ));
    }
}
