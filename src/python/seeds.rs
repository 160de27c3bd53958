//! Seeds of a query.

use std::ffi::OsString;
use std::path::PathBuf;

use numpy::{AllowTypeChange, PyArrayLike1};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList, PyTuple};

use voisin::{Embedder, Engine, EngineError, NamedSeeds, SeedReader};
use voisin_base::track::TrackId;

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

    pub(super) fn is_vector(&self) -> bool {
        matches!(self, Self::Vector(_))
    }

    /// Resolves names by docs/guide.md to tracks and vectors.
    ///
    /// - `one_each`: each value is one track
    /// - `news`: receives notes on how names were resolved
    pub(super) fn seeds(
        all: &[Self],
        one_each: bool,
        engine: &Engine,
        embedder: Option<&Embedder>,
        news: &mut Vec<String>,
    ) -> Result<NamedSeeds, EngineError> {
        let mut found = NamedSeeds::default();
        let mut reader = SeedReader {
            engine,
            embedder: &|_| embedder.ok_or_else(|| no_embedder("this file is not in the library")),
            report: &mut |text| news.push(text),
        };
        for one in all {
            match one {
                Self::Named(name) if one_each => found.named.push(reader.one(name)?),
                Self::Named(name) => reader.read(name, &mut found)?,
                Self::Id(id) => found.named.push(reader.engine.seed_of(*id)?),
                Self::Vector(vector) => found
                    .named
                    .push(reader.engine.seed_of_vector(vector.clone())?),
            }
        }
        Ok(found)
    }
}

pub(super) fn no_embedder(why: &str) -> EngineError {
    EngineError::Model {
        reason: format!("{why}: expected embedder= to analyse it"),
    }
}
