//! Seeds of a query.

use std::ffi::OsString;
use std::path::PathBuf;

use numpy::{AllowTypeChange, PyArrayLike1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList, PyTuple};
use serde_json::{Value, json};

use voisin_base::track::TrackId;
use voisin_engine::{Embedder, Engine, EngineError, NamedSeeds, Seed, SeedReader};
use voisin_library::LibraryError;
use voisin_questions::QuestionError;

/// A seed.
pub(super) enum SeedArgument {
    Named(OsString),
    Id(TrackId),
    Vector(Vec<f32>),
}

impl SeedArgument {
    fn of(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        const EXPECTED: &str =
            "seeds: expected an id, a path, words, or a vector of the library's dimension";
        // `True` is an integer in Python, and would be the id 1.
        if value.is_instance_of::<PyBool>() {
            let text = format!("{EXPECTED}, found {value}");
            return Err(PyTypeError::new_err(text));
        }
        // NumPy's integers are ids, too; floats are refused by this and fall through.
        if let Ok(id) = value.extract::<i64>() {
            return Ok(Self::Id(TrackId(id)));
        }
        if let Ok(path) = value.extract::<PathBuf>() {
            return Ok(Self::Named(path.into_os_string()));
        }
        let vector: PyArrayLike1<'_, f32, AllowTypeChange> = value
            .extract()
            .map_err(|_| PyTypeError::new_err(EXPECTED))?;
        Ok(Self::Vector(vector.as_array().to_vec()))
    }

    /// One value, or a list or tuple of them.
    pub(super) fn all(seeds: &Bound<'_, PyAny>) -> PyResult<Vec<Self>> {
        // Not every iterable: text is one, and an array, which is one vector.
        if seeds.is_instance_of::<PyList>() || seeds.is_instance_of::<PyTuple>() {
            return seeds.try_iter()?.map(|seed| Self::of(&seed?)).collect();
        }
        Ok(vec![Self::of(seeds)?])
    }

    /// Refuses a vector, for queries that need a track.
    pub(super) fn check_name(&self) -> PyResult<()> {
        match self {
            Self::Vector(_) => Err(PyTypeError::new_err(
                "expected an id, a path or words, found a vector",
            )),
            _ => Ok(()),
        }
    }

    /// Its JSON in a query.
    pub(super) fn as_json(&self) -> Value {
        match self {
            Self::Id(id) => json!({"id": id.0}),
            Self::Named(name) => json!({"words": name.to_string_lossy()}),
            // Playlists and paths never have vectors, which `check_name` refuses.
            Self::Vector(_) => Value::Null,
        }
    }

    /// Resolves names by docs/grammar.md to tracks and vectors.
    ///
    /// - `news`: receives notes on how names were resolved
    pub(super) fn seeds(
        all: &[Self],
        engine: &mut Engine,
        embedder: Option<&Embedder>,
        news: &mut Vec<String>,
    ) -> Result<NamedSeeds, QuestionError> {
        let mut found = NamedSeeds::default();
        Self::read(all, engine, embedder, news, |one, reader| {
            one.add(reader, &mut found)
        })?;
        Ok(found)
    }

    /// As [`seeds`](Self::seeds), for queries about exactly these tracks, in this order: words that match none are an error.
    pub(super) fn tracks(
        all: &[Self],
        engine: &mut Engine,
        embedder: Option<&Embedder>,
        news: &mut Vec<String>,
    ) -> Result<Vec<Seed>, QuestionError> {
        let tracks = Self::read(all, engine, embedder, news, |one, reader| {
            let mut found = NamedSeeds::default();
            one.add(reader, &mut found)?;
            Ok(found.all())
        })?;
        Ok(tracks.concat())
    }

    /// As [`tracks`](Self::tracks), where each value is one track.
    pub(super) fn stops(
        all: &[Self],
        engine: &mut Engine,
        embedder: Option<&Embedder>,
        news: &mut Vec<String>,
    ) -> Result<Vec<Seed>, QuestionError> {
        Self::read(all, engine, embedder, news, Self::one)
    }

    fn read<'a, T>(
        all: &[Self],
        engine: &mut Engine,
        embedder: Option<&'a Embedder>,
        news: &mut Vec<String>,
        mut work: impl FnMut(&Self, &mut SeedReader<'_, &'a Embedder>) -> Result<T, EngineError>,
    ) -> Result<Vec<T>, QuestionError> {
        let mut reader = SeedReader {
            engine,
            embedder: &|_| embedder.ok_or_else(|| no_embedder("this file is not in the library")),
            report: &mut |text| news.push(text),
        };
        let found: Result<_, EngineError> = all.iter().map(|one| work(one, &mut reader)).collect();
        Ok(found?)
    }

    fn add(
        &self,
        reader: &mut SeedReader<'_, &Embedder>,
        found: &mut NamedSeeds,
    ) -> Result<(), EngineError> {
        if let Self::Named(name) = self {
            return reader.read(name, found);
        }
        found.named.push(self.one(reader)?);
        Ok(())
    }

    fn one(&self, reader: &mut SeedReader<'_, &Embedder>) -> Result<Seed, EngineError> {
        match self {
            Self::Named(name) => reader.one(name),
            Self::Id(id) => reader.engine.seed_of(*id),
            Self::Vector(vector) => {
                let expected = reader.engine.model()?.dimension;
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
        reason: format!("{why}: expected embedder= to analyse it"),
    }
}
