//! Tracks as a table for data frames of other libraries (the Arrow PyCapsule interface).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::ffi_stream::FFI_ArrowArrayStream;
use arrow_array::types::{Float64Type, Int32Type, Int64Type};
use arrow_array::{
    ArrayRef, FixedSizeListArray, Float32Array, PrimitiveArray, RecordBatch, RecordBatchIterator,
    StringArray,
};
use arrow_schema::{ArrowError, DataType, Field};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use voisin_base::musical_key::MusicalKey;
use voisin_base::track::TrackId;
use voisin_genre::Genre;
use voisin_library::Vectors;
use voisin_library::{Descriptors, ScaleName, Track, licence_id};

/// Tracks as a table. Libraries with the Arrow PyCapsule interface take it over without a copy: `polars.DataFrame(table)`,
/// `pandas.DataFrame.from_arrow(table)`, `pyarrow.table(table)`, `duckdb.sql("from table")` with a local variable of that name.
#[pyclass(name = "Table", frozen, module = "voisin")]
pub(super) struct PyTable(RecordBatch);

impl PyTable {
    /// - `vectors`: of a library; tracks without one have null
    pub(super) fn new(
        tracks: &[Track],
        genres: &[Vec<Genre>],
        measured: &HashMap<TrackId, Descriptors>,
        vectors: Option<Vectors>,
    ) -> PyResult<Self> {
        let mut of_genres = ListBuilder::new(StringBuilder::new());
        for genres in genres {
            of_genres.append_value(genres.iter().map(|genre| Some(genre.name())));
        }
        let text = |value_of: &dyn Fn(&Track) -> Option<String>| -> ArrayRef {
            Arc::new(tracks.iter().map(value_of).collect::<StringArray>())
        };
        let descriptors = |track: &Track| measured.get(&track.id);
        macro_rules! numbers {
            ($kind:ty, $value_of:expr) => {
                Arc::new(
                    tracks
                        .iter()
                        .map($value_of)
                        .collect::<PrimitiveArray<$kind>>(),
                ) as ArrayRef
            };
        }
        let mut columns = vec![
            ("id", numbers!(Int64Type, |track| Some(track.id.0))),
            (
                "path",
                text(&|track| Some(track.path.to_string_lossy().into_owned())),
            ),
            ("title", text(&|track| track.tags.title.clone())),
            ("artist", text(&|track| track.tags.artist.clone())),
            ("album", text(&|track| track.tags.album.clone())),
            (
                "album_artist",
                text(&|track| track.tags.album_artist.clone()),
            ),
            ("composer", text(&|track| track.tags.composer.clone())),
            ("genres", Arc::new(of_genres.finish()) as ArrayRef),
            ("year", numbers!(Int32Type, |track| track.tags.year)),
            (
                "seconds",
                numbers!(Float64Type, |track| Some(track.audio.seconds)),
            ),
            ("codec", text(&|track| Some(track.audio.codec.clone()))),
            (
                "content",
                text(&|track| Some(track.audio.content.to_string())),
            ),
            (
                "licence",
                text(&|track| track.tags.licence.as_deref().map(licence_id)),
            ),
            ("mbid", text(&|track| track.tags.mbid.clone())),
            ("isrc", text(&|track| track.tags.isrc.clone())),
            (
                "replay_gain",
                numbers!(Float64Type, |track| track.tags.replay_gain),
            ),
            (
                "tempo",
                numbers!(Float64Type, |track| descriptors(track)?.tempo),
            ),
            (
                "key",
                text(&|track| {
                    descriptors(track)?
                        .key
                        .map(|key| MusicalKey::name(key).to_owned())
                }),
            ),
            (
                "camelot",
                text(&|track| descriptors(track)?.key.map(MusicalKey::camelot)),
            ),
            (
                "loudness",
                numbers!(Float64Type, |track| descriptors(track)?.loudness),
            ),
            ("added", numbers!(Int64Type, |track| Some(track.added_at))),
        ];
        let known = measured.values().flat_map(|known| known.scales.keys());
        // Columns of scales that some track has, sorted for a stable order.
        let scales: BTreeSet<ScaleName> = known.copied().collect();
        for name in &scales {
            let value = |track: &Track| Some(descriptors(track)?.scales.get(name)?.value);
            columns.push((name.as_str(), numbers!(Float64Type, value)));
        }
        if let Some(vectors) = vectors {
            columns.push(("vector", vector_column(tracks, vectors).map_err(refused)?));
        }
        RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                // All are nullable, so that the schema does not depend on the tracks
                // found.
                .map(|(name, column)| (name, column, true)),
        )
        .map(Self)
        .map_err(refused)
    }
}

fn refused(error: ArrowError) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// The tracks' vectors; without a copy if they are those of a whole library, in its order.
fn vector_column(tracks: &[Track], vectors: Vectors) -> Result<ArrayRef, ArrowError> {
    let dimension = vectors.values.ncols();
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let list_array = |values: Vec<f32>, known| {
        let values: ArrayRef = Arc::new(Float32Array::from(values));
        FixedSizeListArray::try_new(Arc::clone(&item), dimension as i32, values, known)
    };
    // A copy is avoided only if rows and tracks correspond one to one, as for a whole library.
    let is_all = tracks.len() == vectors.ids.len()
        && tracks
            .iter()
            .zip(&vectors.ids)
            .all(|(track, id)| track.id == *id);
    // Vectors read from a library begin at the start of their memory, so the offset is 0.
    if is_all && vectors.values.is_standard_layout() {
        return Ok(Arc::new(list_array(
            vectors.values.into_raw_vec_and_offset().0,
            None,
        )?));
    }
    let rows: Vec<_> = tracks
        .iter()
        .map(|track| vectors.ids.binary_search(&track.id).ok())
        .collect();
    let mut values = Vec::with_capacity(rows.len() * dimension);
    for row in &rows {
        match row {
            Some(row) => values.extend(vectors.values.row(*row)),
            // Arrow needs the space of a missing row filled; the mask below marks it as null.
            None => values.resize(values.len() + dimension, 0.0),
        }
    }
    let known = rows.iter().map(Option::is_some).collect();
    Ok(Arc::new(list_array(values, Some(known))?))
}

#[pymethods]
impl PyTable {
    /// The names of its columns.
    #[getter]
    fn columns(&self) -> Vec<String> {
        self.0
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    }

    /// The table as a stream of one batch, for Arrow's C interface; the requested schema is ignored.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The protocol allows producers to ignore it; consumers cast.
        let _ = requested_schema;
        // Cloning a batch shares its buffers, so the table can be exported any number of times.
        let batches = RecordBatchIterator::new([Ok(self.0.clone())], self.0.schema());
        let stream = FFI_ArrowArrayStream::new(Box::new(batches));
        PyCapsule::new(py, stream, Some(c"arrow_array_stream".to_owned()))
    }

    fn __len__(&self) -> usize {
        self.0.num_rows()
    }

    fn __repr__(&self) -> String {
        format!(
            "Table({} tracks, {} columns)",
            self.0.num_rows(),
            self.0.num_columns()
        )
    }
}
