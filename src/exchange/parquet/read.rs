//! Reads Parquet files of this schema in batches of rows.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::ops::{ControlFlow, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use super::rows::RecordColumns;
use super::schema::{MODEL_KEYS, SCHEMA_KEY, SCHEMA_VERSION, schema};
use super::widths::{as_read, is_compatible, read_as};
use super::{BATCH, VectorsOf, wrong};
use voisin::{EngineError, check_model, external_model};
use voisin_audio::guard;
use voisin_base::regular_file;
use voisin_library::StoredModel;

/// Lengths of vectors.
const DIMENSIONS: RangeInclusive<usize> = 1..=65_536;

/// Columns of genres, texts or lists of them: that of the schema, and as most other programs name it.
const GENRES: [&str; 2] = ["genres", "genre"];

/// Whether a column, as it is read, has genres.
fn has_genres(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) => *item.data_type() == DataType::Utf8View,
        kind => *kind == DataType::Utf8View,
    }
}

/// An open Parquet file.
pub(super) struct ParquetInput {
    path: PathBuf,
    file: File,
    metadata: ArrowReaderMetadata,
    pub(super) model: StoredModel,
    /// Whether its vectors are another program's.
    is_external: bool,
    /// Numbers of tags that were left out, since they cannot be one, such as a year of 2001.5.
    pub(super) bad_numbers: Cell<u64>,
}

impl ParquetInput {
    /// Opens a file whose metadata names its model.
    pub(super) fn open(path: &Path) -> Result<Self, EngineError> {
        Self::open_as(path, &VectorsOf::File)
    }

    /// - `vectors`: the model of its vectors, if the file does not name it
    pub(super) fn open_as(path: &Path, vectors: &VectorsOf) -> Result<Self, EngineError> {
        let file = regular_file::open(path).map_err(EngineError::unread(path))?;
        // Loaded twice: first for the file's types, then to read them as the types of `as_read`.
        let read = || {
            let found = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
            let options = ArrowReaderOptions::new().with_schema(Arc::new(as_read(found.schema())));
            ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options)
        };
        let arrow = guard(path, read)?
            .map_err(|error| wrong(path, format!("expected a Parquet file: {error}")))?;
        let metadata = arrow.schema().metadata().clone();
        let version = metadata
            .get(SCHEMA_KEY)
            .map_or(Ok(1), |version| version.parse());
        if !version
            .as_ref()
            .is_ok_and(|version| (1..=SCHEMA_VERSION).contains(version))
        {
            // The check above accepts files without the key, so it is there.
            let found = &metadata[SCHEMA_KEY];
            return Err(wrong(
                path,
                format!(
                    "expected schema {SCHEMA_VERSION} or older, found {found:.100?}: update voisin"
                ),
            ));
        }
        let names_its_model = MODEL_KEYS.iter().any(|key| metadata.contains_key(key));
        let mut input = Self {
            path: path.to_owned(),
            file,
            metadata: arrow,
            // A placeholder: the model is found below, by methods that read the metadata through
            // `input`.
            model: StoredModel {
                name: String::new(),
                fingerprint: String::new(),
                dimension: 1,
                manifest_json: String::new(),
            },
            is_external: false,
            bad_numbers: Cell::new(0),
        };
        // A model in the file's own metadata takes precedence over the one that the caller named.
        input.model = match vectors {
            VectorsOf::File => input.own_model()?,
            _ if names_its_model => input.own_model()?,
            VectorsOf::Model(model) => model.clone(),
            VectorsOf::Elsewhere(_) => {
                input.is_external = true;
                input.model
            }
        };
        // Before any row is read: rows are downcast to these types without another check.
        input.check_columns()?;
        if let (true, VectorsOf::Elsewhere(name)) = (input.is_external, vectors) {
            let dimension = input.commonest_dimension()?;
            input.model =
                external_model(name, dimension).map_err(|problem| wrong(path, problem))?;
        } else if let VectorsOf::Elsewhere(name) = vectors
            && *name != input.model.name
        {
            let held = &input.model.name;
            return Err(wrong(
                path,
                format!("expected vectors of {name}, found those of {held} by its metadata"),
            ));
        }
        Ok(input)
    }

    /// The model that the file's metadata names.
    fn own_model(&self) -> Result<StoredModel, EngineError> {
        let path = &self.path;
        let metadata_value = |key: &str| {
            self.metadata.schema().metadata().get(key).cloned().ok_or_else(|| {
                wrong(
                    path,
                    format!(
                        "expected \"{key}\" in its metadata, found none: name the model that made its vectors with --model, or \
                         with --vectors-of if no model of voisin's did"
                    ),
                )
            })
        };
        let [name, fingerprint, dimension, manifest_json] = MODEL_KEYS;
        let dimension = metadata_value(dimension)?;
        let dimension = dimension
            .parse()
            .ok()
            .filter(|dimension| DIMENSIONS.contains(dimension))
            .ok_or_else(|| wrong(path, format!("expected a dimension, found \"{dimension}\"")))?;
        let model = StoredModel {
            name: metadata_value(name)?,
            fingerprint: metadata_value(fingerprint)?,
            dimension,
            manifest_json: metadata_value(manifest_json)?,
        };
        // Tools that copy metadata may have changed a part of it, so name, fingerprint and
        // dimension are compared with the manifest.
        check_model(&model).map_err(|problem| {
            let place = path.display().to_string();
            EngineError::foreign_model(&place, &problem, "write the file again")
        })?;
        Ok(model)
    }

    /// Refuses columns whose types cannot be read as those of the schema.
    fn check_columns(&self) -> Result<(), EngineError> {
        let optional = ["model_fingerprint", "dimension"];
        for field in schema(&self.model).fields() {
            let is_optional = field.is_nullable()
                || self.is_external && optional.contains(&field.name().as_str());
            let found = self.metadata.schema().field_with_name(field.name()).ok();
            let fits = match found.map(Field::data_type) {
                None | Some(DataType::Null) => is_optional,
                Some(found) if field.name() == GENRES[0] && has_genres(found) => true,
                Some(found) => is_compatible(found, &read_as(field.data_type())),
            };
            if !fits {
                let found = found.map_or("none".to_owned(), |found| found.data_type().to_string());
                let expected = match field.data_type() {
                    // Its width is that of the model, which may not be known yet.
                    DataType::FixedSizeList(..) => "a list of numbers".to_owned(),
                    kind => format!("the type {kind} or a compatible one"),
                };
                return Err(wrong(
                    &self.path,
                    format!(
                        "column \"{}\": expected {expected} (docs/scale.md), found {found}",
                        field.name(),
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The commonest length of the first vectors, of which one may be damaged.
    fn commonest_dimension(&self) -> Result<usize, EngineError> {
        let mut dimension = None;
        // Stops at the first batch with vectors: a file may hold millions of them.
        self.each_batch_until(&["vector"], |columns| {
            let vectors = columns.column("vector")?.as_list::<i32>();
            let mut counts = BTreeMap::new();
            for row in (0..vectors.len()).filter(|&row| vectors.is_valid(row)) {
                *counts
                    .entry(vectors.value_length(row) as usize)
                    .or_insert(0) += 1;
            }
            let commonest = counts
                .into_iter()
                .max_by_key(|&(length, count)| (count, length));
            dimension = commonest.map(|(length, _)| length);
            Ok(match dimension {
                Some(_) => ControlFlow::Break(()),
                None => ControlFlow::Continue(()),
            })
        })?;
        dimension
            .filter(|dimension| DIMENSIONS.contains(dimension))
            .ok_or_else(|| {
                let found =
                    dimension.map_or("none".to_owned(), |found| format!("one of {found} numbers"));
                wrong(
                    &self.path,
                    format!("column \"vector\": expected a vector in some row, found {found}"),
                )
            })
    }

    /// Refuses a file with rows of another model than the file's.
    pub(super) fn check_rows(&self) -> Result<(), EngineError> {
        // Another program's vectors have no fingerprint: their model was made from this file.
        if self.is_external {
            return Ok(());
        }
        let names = ["model_fingerprint", "dimension"];
        self.each_batch(&names, |columns| {
            let batch = columns.batch;
            for row in 0..batch.num_rows() {
                let fingerprint = columns.text(names[0], row)?;
                let dimension = columns.needed::<i32>(names[1], row)?;
                let is_of_it = fingerprint.as_deref() == Some(&self.model.fingerprint)
                    && usize::try_from(dimension) == Ok(self.model.dimension);
                if !is_of_it {
                    let found = fingerprint.unwrap_or_default();
                    return Err(wrong(
                        &self.path,
                        format!(
                            "expected rows of model {} with {} numbers by the file's metadata, found {:?} with {dimension}: \
                             write the file again",
                            self.model.fingerprint,
                            self.model.dimension,
                            found.chars().take(100).collect::<String>()
                        ),
                    ));
                }
            }
            Ok(())
        })
    }

    pub(super) fn check(&self, model: &StoredModel) -> Result<(), EngineError> {
        // The fingerprint covers all of a model that changes a vector; the name is for display only.
        if self.model.fingerprint == model.fingerprint {
            return Ok(());
        }
        Err(wrong(
            &self.path,
            format!(
                "its vectors are from model {} ({}), expected {} ({}): write into another folder",
                self.model.name, self.model.fingerprint, model.name, model.fingerprint
            ),
        ))
    }

    /// Rows with these columns; those that the file lacks, as files of older and other writers do, are null.
    fn with_absent(&self, batch: &RecordBatch, names: &[&str]) -> Result<RecordBatch, ArrowError> {
        let schema = as_read(&schema(&self.model));
        let fields: Fields = schema
            .fields()
            .iter()
            .filter(|field| names.contains(&field.name().as_str()))
            .cloned()
            .collect();
        // A column of type null, which some writers use if it has no values, counts as absent.
        let column = |field: &Arc<Field>| {
            let found = if field.name() == GENRES[0] {
                let columns = GENRES.iter().filter_map(|name| batch.column_by_name(name));
                let mut columns = columns.filter(|column| has_genres(column.data_type()));
                columns.next()
            } else {
                let column = batch.column_by_name(field.name());
                column.filter(|column| *column.data_type() != DataType::Null)
            };
            let column = found
                .cloned()
                .unwrap_or_else(|| new_null_array(field.data_type(), batch.num_rows()));
            let field = field.as_ref().clone();
            let field = field.with_data_type(column.data_type().clone());
            // A null in a column that every row needs is a fault of that row, not of the file.
            (Arc::new(field.with_nullable(true)), column)
        };
        let (fields, columns): (Vec<Arc<Field>>, Vec<ArrayRef>) = fields.iter().map(column).unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }

    /// Calls `visit` with each batch of rows, with these columns, or all of the schema if none is named.
    pub(super) fn each_batch(
        &self,
        names: &[&str],
        mut visit: impl FnMut(&RecordColumns<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.each_batch_until(names, |columns| visit(columns).map(ControlFlow::Continue))
    }

    /// As [`each_batch`](Self::each_batch), until `visit` breaks.
    fn each_batch_until(
        &self,
        names: &[&str],
        mut visit: impl FnMut(&RecordColumns<'_>) -> Result<ControlFlow<()>, EngineError>,
    ) -> Result<(), EngineError> {
        let schema = schema(&self.model);
        let all: Vec<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        let names = if names.is_empty() { &all[..] } else { names };
        let names = &if names.contains(&GENRES[0]) {
            [names, &GENRES[1..]].concat()
        } else {
            names.to_vec()
        };
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), names.iter().copied());
        let broken =
            |error: &dyn std::fmt::Display| wrong(&self.path, format!("cannot be read: {error}"));
        // A reader for each row group, of which the first may suffice.
        for group in 0..self.metadata.metadata().num_row_groups() {
            let open = || {
                let file = self.file.try_clone()?;
                ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                    .with_projection(mask.clone())
                    .with_row_groups(vec![group])
                    .with_batch_size(BATCH)
                    .build()
            };
            let mut reader = guard(&self.path, open)?.map_err(|error| broken(&error))?;
            // Some damaged files make the reader panic. It is not used after that.
            while let Some(batch) = guard(&self.path, || reader.next())? {
                let batch = batch.map_err(|error| broken(&error))?;
                let batch = self
                    .with_absent(&batch, names)
                    .map_err(|error| broken(&error))?;
                let columns = RecordColumns {
                    path: &self.path,
                    is_external: self.is_external,
                    bad_numbers: &self.bad_numbers,
                    batch: &batch,
                };
                if visit(&columns)?.is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::Float32Type;
    use arrow_array::{ListArray, StringArray};
    use parquet::arrow::ArrowWriter;

    /// The vectors after the first ones are damaged, so that reading them fails.
    #[test]
    fn a_dimension_is_that_of_most_first_vectors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("clap.parquet");
        let vector = Some(vec![Some(1.0), Some(0.0), Some(0.5)]);
        let vectors = [Some(vec![Some(1.0)]), None, vector.clone(), vector];
        let batch = RecordBatch::try_from_iter([
            (
                "path",
                Arc::new(StringArray::from(vec![
                    "/a.ogg", "/b.ogg", "/c.ogg", "/d.ogg",
                ])) as ArrayRef,
            ),
            (
                "vector",
                Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(vectors)),
            ),
        ])
        .unwrap();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        for _ in 0..2 {
            writer.write(&batch).unwrap();
            writer.flush().unwrap();
        }
        let metadata = writer.close().unwrap();
        let (start, length) = metadata.row_group(1).column(1).byte_range();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[start as usize..(start + length) as usize].fill(0xff);
        std::fs::write(&path, bytes).unwrap();

        let elsewhere = VectorsOf::Elsewhere("clap".to_owned());
        let input = ParquetInput::open_as(&path, &elsewhere).unwrap();
        assert_eq!(input.model.dimension, 3);
        assert!(input.each_batch(&["vector"], |_| Ok(())).is_err());
    }
}
