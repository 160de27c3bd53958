//! Parquet files of this schema, read row by row; whatever else they hold is told and ends nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};
use ndarray::Array2;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::reader::Length as _;

use super::pages::{PageFile, rows_at_once};
use super::schema::{FAILURE, KIND_KEY, MODEL_KEYS, schema};
use super::{TEXT_BESIDE, TEXT_PER_BYTE};
use voisin::EngineError;
use voisin::check_model;
use voisin_audio::guard;
use voisin_base::regular_file;
use voisin_base::text::{LONGEST_TEXT, grouped};
use voisin_base::track::{ContentId, ContentKind};
use voisin_base::vector::make_unit;
use voisin_library::{
    AudioFacts, Descriptors, Failure, FileRecord, MusicalKey, StoredModel, TaggedFile, TrackFacts,
    TrackRecord, TrackTags, TrackWindows, path_from_bytes,
};

/// A Parquet file that is read.
pub(super) struct ParquetInput {
    path: PathBuf,
    file: PageFile,
    metadata: ArrowReaderMetadata,
    pub(super) model: StoredModel,
    /// How its content ids are made.
    pub(super) kind: ContentKind,
}

impl ParquetInput {
    pub(super) fn open(path: &Path) -> Result<Self, EngineError> {
        let failed = |source| EngineError::ReadTable { path: path.to_owned(), source };
        let file = regular_file::open(path).map_err(failed)?;
        let read = || {
            let found = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
            let options = ArrowReaderOptions::new().with_schema(Arc::new(with_views(found.schema())));
            ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options)
        };
        let arrow =
            guard(path, read)?.map_err(|error| wrong(path, format!("expected a Parquet file: {error}")))?;
        let metadata = arrow.schema().metadata();
        let of = |key: &str| {
            metadata.get(key).cloned().ok_or_else(|| {
                wrong(path, format!("expected a file of voisin's with \"{key}\" in its metadata, found none"))
            })
        };
        let [name, fingerprint, dimension, manifest_json] = MODEL_KEYS;
        let dimension = of(dimension)?;
        let dimension = dimension
            .parse()
            .ok()
            .filter(|dimension| (1..=65_536).contains(dimension))
            .ok_or_else(|| wrong(path, format!("expected a dimension, found \"{dimension}\"")))?;
        let model = StoredModel {
            name: of(name)?,
            fingerprint: of(fingerprint)?,
            dimension,
            manifest_json: of(manifest_json)?,
        };
        check_model(&model).map_err(|problem| EngineError::ForeignModel {
            place: path.display().to_string(),
            problem,
            next: "write the file again".into(),
        })?;
        let kind = match metadata.get(KIND_KEY) {
            None => ContentKind::Full,
            Some(name) => {
                name.parse().map_err(|problem| wrong(path, format!("\"{KIND_KEY}\": {problem}")))?
            }
        };
        let expected = with_views(&schema(&model, kind));
        for field in expected.fields() {
            let found = arrow.schema().field_with_name(field.name()).ok();
            let fits =
                found.map_or(field.is_nullable(), |found| is_same(found.data_type(), field.data_type()));
            if !fits {
                let found = found.map_or("none".to_owned(), |found| found.data_type().to_string());
                return Err(wrong(
                    path,
                    format!(
                        "column \"{}\": expected the type that docs/parquet.md names, found {found}",
                        field.name()
                    ),
                ));
            }
        }
        Ok(Self { path: path.to_owned(), file: PageFile::new(file), metadata: arrow, model, kind })
    }

    /// Refuses a file some of whose rows have vectors of another model than the file's.
    pub(super) fn check_rows(&self) -> Result<(), EngineError> {
        let names = ["model_fingerprint", "dimension"];
        self.each_batch(&names, |columns| {
            let batch = columns.batch;
            for row in 0..batch.num_rows() {
                let fingerprint = columns.text(names[0], row)?;
                let dimension = columns.needed::<Int32Type>(names[1], row)?;
                let is_of_it = fingerprint.as_deref() == Some(&self.model.fingerprint)
                    && usize::try_from(dimension) == Ok(self.model.dimension);
                if !is_of_it {
                    let found = fingerprint.unwrap_or_default();
                    return Err(wrong(
                        &self.path,
                        format!(
                            "expected rows of model {} with {} numbers, as the file's metadata says, found {:?} with {dimension}: \
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

    pub(super) fn check(&self, model: &StoredModel, kind: ContentKind) -> Result<(), EngineError> {
        if self.kind != kind {
            return Err(wrong(
                &self.path,
                format!("its content ids are {}, expected {kind}: write into another folder", self.kind),
            ));
        }
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

    /// Refuses a file of whose rows so much text was read as its bytes do not stand for.
    ///
    /// - `bytes`: of the text of all rows so far
    pub(super) fn check_text(&self, bytes: u64) -> Result<(), EngineError> {
        let most = TEXT_BESIDE + TEXT_PER_BYTE * self.file.len();
        if bytes <= most {
            return Ok(());
        }
        Err(wrong(
            &self.path,
            format!(
                "expected at most {} MB of text in a file of {} bytes, found more: listen to its files again",
                most >> 20,
                grouped(self.file.len())
            ),
        ))
    }

    /// Some rows with these columns: those that the file has not, as older and other writers leave them out, are null.
    fn with_absent(&self, batch: &RecordBatch, names: &[&str]) -> Result<RecordBatch, ArrowError> {
        let schema = with_views(&schema(&self.model, self.kind));
        let fields: Fields =
            schema.fields().iter().filter(|field| names.contains(&field.name().as_str())).cloned().collect();
        let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
            Some(column) => (
                Arc::new(field.as_ref().clone().with_data_type(column.data_type().clone())),
                Arc::clone(column),
            ),
            None => (Arc::clone(field), new_null_array(field.data_type(), batch.num_rows())),
        };
        let (fields, columns): (Vec<Arc<Field>>, Vec<ArrayRef>) = fields.iter().map(column).unzip();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }

    /// Calls `visit` with some rows after the other, of these columns; of all that voisin knows where none is named.
    pub(super) fn each_batch(
        &self,
        names: &[&str],
        mut visit: impl FnMut(&RecordColumns<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let schema = schema(&self.model, self.kind);
        let all: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let names = if names.is_empty() { &all[..] } else { names };
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), names.iter().copied());
        let broken = |error: &dyn std::fmt::Display| wrong(&self.path, format!("cannot be read: {error}"));
        for (i, group) in self.metadata.metadata().row_groups().iter().enumerate() {
            let builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(self.file.clone(), self.metadata.clone())
                    .with_projection(mask.clone())
                    .with_row_groups(vec![i]);
            let open = || builder.with_batch_size(rows_at_once(&self.file, group, names)?).build();
            let mut reader = guard(&self.path, open)?.map_err(|error| broken(&error))?;
            // Some damaged files make the reader panic. It is not used after that.
            while let Some(batch) = guard(&self.path, || reader.next())? {
                let batch = batch.map_err(|error| broken(&error))?;
                let batch = self.with_absent(&batch, names).map_err(|error| broken(&error))?;
                visit(&RecordColumns { path: &self.path, batch: &batch })?;
            }
        }
        Ok(())
    }
}

/// The same schema, with each text as a view into the page that holds it: what a dictionary says once stays once in
/// memory, however many rows have it.
fn with_views(schema: &Schema) -> Schema {
    fn viewed(kind: &DataType) -> DataType {
        match kind {
            DataType::Utf8 => DataType::Utf8View,
            DataType::Binary => DataType::BinaryView,
            DataType::List(item) => {
                let kind = viewed(item.data_type());
                DataType::List(Arc::new(item.as_ref().clone().with_data_type(kind)))
            }
            other => other.clone(),
        }
    }
    let fields = schema.fields().iter().map(|field| {
        let kind = viewed(field.data_type());
        field.as_ref().clone().with_data_type(kind)
    });
    Schema::new_with_metadata(fields.collect::<Fields>(), schema.metadata().clone())
}

/// Whether two types are one, whatever the items of lists are called.
fn is_same(a: &DataType, b: &DataType) -> bool {
    match (a, b) {
        (DataType::List(a), DataType::List(b)) => is_same(a.data_type(), b.data_type()),
        (DataType::FixedSizeList(a, m), DataType::FixedSizeList(b, n)) => {
            m == n && is_same(a.data_type(), b.data_type())
        }
        _ => a == b,
    }
}

/// Bytes of text in a row of a column of any type.
fn text_length(column: &dyn Array, row: usize) -> usize {
    if column.is_null(row) {
        return 0;
    }
    match column.data_type() {
        DataType::Utf8View => column.as_string_view().value(row).len(),
        DataType::BinaryView => column.as_binary_view().value(row).len(),
        DataType::List(item) if *item.data_type() == DataType::Utf8View => {
            let texts = column.as_list::<i32>().value(row);
            // Each text of a list takes room besides its bytes.
            (0..texts.len()).map(|text| text_length(&texts, text) + size_of::<String>()).sum()
        }
        _ => 0,
    }
}

fn wrong(path: &Path, problem: String) -> EngineError {
    EngineError::Table { path: path.to_owned(), line: 0, problem }
}

/// Some rows of a file.
pub(super) struct RecordColumns<'a> {
    path: &'a Path,
    pub(super) batch: &'a RecordBatch,
}

impl RecordColumns<'_> {
    /// One of the columns that were read; each has the type of the schema since the file was opened.
    fn column(&self, name: &str) -> Result<&ArrayRef, EngineError> {
        let column = self.batch.column_by_name(name);
        column.ok_or_else(|| wrong(self.path, format!("column \"{name}\": expected one, found none")))
    }

    /// Bytes of all texts of a row, or what is wrong with one of them.
    pub(super) fn text_size(&self, row: usize) -> Result<usize, String> {
        let mut size = 0;
        for (field, column) in self.batch.schema_ref().fields().iter().zip(self.batch.columns()) {
            let length = text_length(column, row);
            if length > LONGEST_TEXT {
                return Err(format!(
                    "column \"{}\" of {} has {} bytes for it, expected at most {}: listen to the file again",
                    field.name(),
                    self.path.display(),
                    grouped(length as u64),
                    grouped(LONGEST_TEXT as u64),
                ));
            }
            size += length;
        }
        Ok(size)
    }

    fn text(&self, name: &str, row: usize) -> Result<Option<String>, EngineError> {
        let column = self.column(name)?.as_string_view();
        Ok(column.is_valid(row).then(|| column.value(row).to_owned()))
    }

    pub(super) fn booleans(&self, name: &str) -> Result<&BooleanArray, EngineError> {
        Ok(self.column(name)?.as_boolean())
    }

    fn boolean(&self, name: &str, row: usize) -> Result<Option<bool>, EngineError> {
        let column = self.booleans(name)?;
        Ok(column.is_valid(row).then(|| column.value(row)))
    }

    fn number<T: arrow_array::ArrowPrimitiveType>(
        &self,
        name: &str,
        row: usize,
    ) -> Result<Option<T::Native>, EngineError> {
        let column = self.column(name)?.as_primitive::<T>();
        Ok(column.is_valid(row).then(|| column.value(row)))
    }

    /// A number that every track has.
    fn needed<T: arrow_array::ArrowPrimitiveType>(
        &self,
        name: &str,
        row: usize,
    ) -> Result<T::Native, EngineError> {
        self.number::<T>(name, row)?.ok_or_else(|| {
            wrong(self.path, format!("column \"{name}\": expected a value for each track, found none"))
        })
    }

    pub(super) fn file(&self, row: usize) -> Result<FileRecord, EngineError> {
        let bytes = self.column("path_bytes")?.as_binary_view();
        let path = if bytes.is_valid(row) {
            path_from_bytes(bytes.value(row))
        } else {
            PathBuf::from(self.text("path", row)?.unwrap_or_default())
        };
        Ok(FileRecord {
            path,
            size: self.number::<UInt64Type>("size", row)?.unwrap_or_default(),
            mtime_ns: self.number::<Int64Type>("mtime_ns", row)?.unwrap_or_default(),
        })
    }

    /// The recording of a row, or the failure that it tells of.
    pub(super) fn row(
        &self,
        row: usize,
        dimension: usize,
    ) -> Result<Result<TrackRecord, Failure>, EngineError> {
        let record = self.file(row)?;
        if let Some(reason) = self.text(FAILURE, row)? {
            let known = self.number::<UInt64Type>("size", row)?.is_some();
            return Ok(Err(Failure {
                path: record.path,
                size: known.then_some(record.size),
                mtime_ns: known.then_some(record.mtime_ns),
                reason,
                transient: self.boolean("transient", row)?.unwrap_or(false),
                attempts: 0,
                failed_at: 0,
            }));
        }
        let content = self.column("content")?;
        let content = content.as_fixed_size_binary();
        let content = if content.is_valid(row) { content.value(row).try_into().ok() } else { None };
        let content = content.map(ContentId).ok_or_else(|| {
            wrong(self.path, "column \"content\": expected 32 bytes for each track, found none".to_owned())
        })?;
        let audio = AudioFacts {
            content,
            seconds: self.needed::<Float64Type>("seconds", row)?,
            sample_rate: self.needed::<UInt32Type>("sample_rate", row)?,
            channels: self.needed::<UInt16Type>("channels", row)?,
            container: self.text("container", row)?.unwrap_or_default(),
            codec: self.text("codec", row)?.unwrap_or_default(),
            packets: self.needed::<UInt64Type>("packets", row)?,
            damaged_packets: self.needed::<UInt64Type>("damaged_packets", row)?,
        };
        let tags = self.tags(row)?;
        let descriptors = match self.number::<UInt32Type>("descriptors_version", row)? {
            None => None,
            Some(version) => Some(Descriptors {
                version,
                tempo: self.number::<Float64Type>("tempo", row)?,
                key: self.number::<UInt8Type>("key", row)?.and_then(MusicalKey::from_number),
                loudness: self.number::<Float64Type>("loudness", row)?,
                loudness_is_exact: self.boolean("loudness_is_exact", row)?.unwrap_or(false),
            }),
        };
        let facts = TrackFacts {
            audio,
            added_at: self.needed::<Int64Type>("added_at", row)?,
            files: vec![TaggedFile { record, tags }],
            descriptors,
            label: self.text("label", row)?,
        };
        let (vector, windows) = self.vectors(row, dimension)?;
        Ok(Ok(TrackRecord { facts, vector, windows }))
    }

    fn tags(&self, row: usize) -> Result<TrackTags, EngineError> {
        let genres = self.column("genres")?.as_list::<i32>();
        let genres = if genres.is_valid(row) {
            genres.value(row).as_string_view().iter().flatten().map(str::to_owned).collect()
        } else {
            Vec::new()
        };
        Ok(TrackTags {
            title: self.text("title", row)?,
            artist: self.text("artist", row)?,
            album: self.text("album", row)?,
            album_artist: self.text("album_artist", row)?,
            composer: self.text("composer", row)?,
            genres,
            year: self.number::<Int32Type>("year", row)?,
            track_number: self.number::<UInt32Type>("track_number", row)?,
            disc_number: self.number::<UInt32Type>("disc_number", row)?,
            mbid: self.text("mbid", row)?,
            isrc: self.text("isrc", row)?,
            licence: self.text("licence", row)?,
            bpm: self.number::<Float64Type>("bpm", row)?,
            musical_key: self.text("musical_key", row)?,
            replay_gain: self.number::<Float64Type>("replay_gain", row)?,
        })
    }

    fn vectors(&self, row: usize, dimension: usize) -> Result<(Vec<f32>, TrackWindows), EngineError> {
        let vectors = self.column("vector")?.as_fixed_size_list();
        if vectors.is_null(row) {
            return Err(wrong(
                self.path,
                "column \"vector\": expected one for each track, found none".to_owned(),
            ));
        }
        let mut vector: Vec<f32> = vectors
            .value(row)
            .as_primitive::<Float16Type>()
            .values()
            .iter()
            .map(|value| value.to_f32())
            .collect();
        // Sixteen bits a number leave a norm of nearly 1. What is far from it is refused by the library.
        let norm = voisin_base::vector::norm(&vector);
        if (norm - 1.0).abs() < 0.01 {
            make_unit(&mut vector);
        }
        let (starts, windows) = (self.column("starts")?, self.column("windows")?);
        let (starts, windows) = (starts.as_list::<i32>(), windows.as_list::<i32>());
        if starts.is_null(row) || windows.is_null(row) {
            return Ok((vector, TrackWindows::none(dimension)));
        }
        let starts = starts.value(row).as_primitive::<Float32Type>().values().to_vec();
        let rows = windows.value(row);
        let rows = rows.as_fixed_size_list();
        let from = rows.value_offset_at(0);
        let values = rows.values().as_primitive::<Float16Type>();
        let values = values.values()[from..from + rows.len() * dimension].to_vec();
        let vectors = Array2::from_shape_vec((rows.len(), dimension), values)
            .map_err(|_| wrong(self.path, "column \"windows\": expected whole vectors".to_owned()))?;
        Ok((vector, TrackWindows { vectors, starts }))
    }
}
