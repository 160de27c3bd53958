//! Seeds of a question.

use std::ffi::OsString;
use std::path::PathBuf;

use numpy::{AllowTypeChange, PyArrayLike1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use serde_json::{Value, json};

use voisin_base::track::TrackId;
use voisin_engine::{Embedder, Engine, EngineError, Seed, SeedName};
use voisin_library::LibraryError;
use voisin_questions::{LibrarySource, Named, QuestionError};

/// A seed.
pub(super) enum SeedArgument {
    Named(OsString),
    Id(TrackId),
    Vector(Vec<f32>),
}

impl SeedArgument {
    fn of(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        // NumPy's integers are ids, too; floats are refused by this and fall through.
        if let Ok(id) = value.extract::<i64>() {
            return Ok(Self::Id(TrackId(id)));
        }
        if let Ok(path) = value.extract::<PathBuf>() {
            return Ok(Self::Named(path.into_os_string()));
        }
        let vector: PyArrayLike1<'_, f32, AllowTypeChange> = value.extract().map_err(|_| {
            PyTypeError::new_err(
                "seeds: expected an id, a path, words, or a vector of the library's dimension",
            )
        })?;
        Ok(Self::Vector(vector.as_array().to_vec()))
    }

    /// One value, or a list or tuple of them.
    pub(super) fn all(seeds: &Bound<'_, PyAny>) -> PyResult<Vec<Self>> {
        // Not whatever is iterable: text is, and so is an array, which is one vector.
        if seeds.is_instance_of::<PyList>() || seeds.is_instance_of::<PyTuple>() {
            return seeds.try_iter()?.map(|seed| Self::of(&seed?)).collect();
        }
        Ok(vec![Self::of(seeds)?])
    }

    /// The same, for lists and ways, in which seeds have places of their own: a vector has no name there.
    pub(super) fn all_with_names(seeds: &Bound<'_, PyAny>) -> PyResult<Vec<Self>> {
        Self::all(seeds)?
            .into_iter()
            .map(Self::checked_name)
            .collect()
    }

    /// One value with a name.
    pub(super) fn with_name(seed: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::of(seed)?.checked_name()
    }

    fn checked_name(self) -> PyResult<Self> {
        match self {
            Self::Vector(_) => Err(PyTypeError::new_err(
                "expected an id, a path or words, found a vector",
            )),
            named => Ok(named),
        }
    }

    /// As a question has it.
    pub(super) fn as_json(&self) -> Value {
        match self {
            Self::Id(id) => json!({"id": id.0}),
            Self::Named(name) => json!({"words": name.to_string_lossy()}),
            // Cannot come here from lists and ways: `checked_name` refuses vectors for those.
            Self::Vector(_) => Value::Null,
        }
    }

    /// The tracks and vectors that these stand for; a phrase for its sound stands for several.
    pub(super) fn seeds(
        all: &[Self],
        library: &mut LibrarySource,
        embedder: Option<&Embedder>,
    ) -> Result<Vec<Seed>, QuestionError> {
        // All are fetched before any is resolved: words may mean tracks of a database only once
        // these are here.
        Self::fetch(all, library)?;
        let is_local = !library.is_remote();
        let engine = &*library.engine();
        let mut seeds = Vec::new();
        for one in all {
            if let Some(phrase) = one.phrase() {
                seeds.extend(engine.words().seeds(phrase, false)?);
                continue;
            }
            match one.seed(engine, embedder) {
                // Words that name no track may describe a sound. A database's copy holds too few
                // tracks to rank them by words.
                Err(EngineError::NoSuchTrack { text, candidates }) if is_local => {
                    let found = engine.words().seeds_of_unknown(&text)?;
                    seeds.extend(found.ok_or(EngineError::NoSuchTrack { text, candidates })?);
                }
                found => seeds.push(found?),
            }
        }
        Ok(seeds)
    }

    /// As [`seeds`](Self::seeds), for answers about these very tracks: each stands for one.
    pub(super) fn tracks(
        all: &[Self],
        library: &mut LibrarySource,
        embedder: Option<&Embedder>,
    ) -> Result<Vec<Seed>, QuestionError> {
        Self::fetch(all, library)?;
        let engine = library.engine();
        let seeds = all.iter().map(|one| one.seed(engine, embedder));
        Ok(seeds.collect::<Result<_, EngineError>>()?)
    }

    fn fetch(all: &[Self], library: &mut LibrarySource) -> Result<(), QuestionError> {
        for one in all {
            match one {
                Self::Id(id) => library.fetch(Named::Id(*id))?,
                Self::Named(name) => library.fetch(Named::Written(name))?,
                Self::Vector(_) => {}
            }
        }
        Ok(())
    }

    /// The words of `sounds:WORDS`.
    fn phrase(&self) -> Option<&str> {
        match self {
            Self::Named(name) => match SeedName::parse(name) {
                SeedName::Sounds(phrase) => Some(phrase),
                _ => None,
            },
            _ => None,
        }
    }

    fn seed(&self, engine: &Engine, embedder: Option<&Embedder>) -> Result<Seed, EngineError> {
        if let Some(phrase) = self.phrase() {
            return engine.words().seed(phrase);
        }
        match self {
            Self::Id(id) => engine.seed_of(*id),
            Self::Named(name) => engine.seed(name, || {
                embedder.ok_or_else(|| no_embedder("this file is not in the library"))
            }),
            Self::Vector(vector) => {
                let expected = engine.model()?.dimension;
                let found = vector.len();
                if expected != found {
                    return Err(LibraryError::Dimension { expected, found }.into());
                }
                let mut vector = vector.clone();
                // Stored vectors are of length 1, and the mean of several seeds would lean to the
                // longest.
                voisin_base::vector::make_unit(&mut vector);
                Ok(Seed::of_vector(vector))
            }
        }
    }
}

pub(super) fn no_embedder(why: &str) -> EngineError {
    EngineError::Model {
        reason: format!("{why}: expected embedder= to listen to it"),
    }
}
