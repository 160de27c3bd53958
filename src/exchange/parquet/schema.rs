//! The Arrow schema, and recordings as its rows.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    FixedSizeBinaryBuilder, FixedSizeListBuilder, Float16Builder, Float32Builder, ListBuilder,
    StringBuilder,
};
use arrow_array::types::{
    ArrowPrimitiveType, Float64Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use half::f16;

use voisin_library::{
    AudioFacts, Descriptors, Failure, MusicalKey, StoredModel, TaggedFile, TrackFacts, TrackRecord,
    TrackTags, path_to_bytes,
};

/// Key of the model in a file's metadata, and of each of its fields.
pub(super) const MODEL_KEYS: [&str; 4] = [
    "voisin.model",
    "voisin.fingerprint",
    "voisin.dimension",
    "voisin.manifest",
];

/// Key of the version of the schema in a file's metadata; 1 if there is none.
pub(super) const SCHEMA_KEY: &str = "voisin.schema";

/// The version that is written. Columns are only added, at the end, and are null in older files;
/// any other change raises the version.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// Key of the mean that is subtracted from a library's vectors before they are compared, as JSON, in an export's metadata.
pub(super) const MEAN_KEY: &str = "voisin.mean";

/// Column of the values of scales by name, as JSON.
pub(super) const SCALES: &str = "scales";

/// Column of the reason why a file failed; null if it did not.
pub(super) const FAILURE: &str = "failure";

/// A row for one file: with its recording, or with why it failed.
pub(super) enum ParquetRow<'a> {
    Track(&'a TrackRecord, &'a TaggedFile),
    Failed(&'a Failure),
}

impl<'a> ParquetRow<'a> {
    fn path(&self) -> &'a Path {
        match self {
            Self::Track(_, file) => &file.record.path,
            Self::Failed(failure) => &failure.path,
        }
    }

    /// Size and time of its file.
    fn file(&self) -> Option<(u64, i64)> {
        match self {
            Self::Track(_, file) => Some((file.record.size, file.record.mtime_ns)),
            Self::Failed(failure) => failure.size.zip(failure.mtime_ns),
        }
    }

    fn record(&self) -> Option<&'a TrackRecord> {
        match self {
            Self::Track(record, _) => Some(record),
            Self::Failed(_) => None,
        }
    }

    fn facts(&self) -> Option<&'a TrackFacts> {
        Some(&self.record()?.facts)
    }

    fn audio(&self) -> Option<&'a AudioFacts> {
        Some(&self.facts()?.audio)
    }

    fn measured(&self) -> Option<&'a Descriptors> {
        let known = self.facts()?.descriptors.as_ref();
        known.filter(|known| known.version > 0)
    }

    fn tags(&self) -> Option<&'a TrackTags> {
        match self {
            Self::Track(_, file) => Some(&file.tags),
            Self::Failed(_) => None,
        }
    }

    fn failure(&self) -> Option<&'a Failure> {
        match self {
            Self::Track(..) => None,
            Self::Failed(failure) => Some(failure),
        }
    }
}

/// A column, and how rows fill it.
struct Column {
    field: Field,
    fill: Fill,
}

type Fill = Box<dyn Fn(&[ParquetRow<'_>]) -> ArrayRef>;

impl Column {
    fn new(
        name: &str,
        kind: DataType,
        fill: impl Fn(&[ParquetRow<'_>]) -> ArrayRef + 'static,
    ) -> Self {
        Self {
            field: Field::new(name, kind, true),
            fill: Box::new(fill),
        }
    }

    fn text(name: &str, of: impl Fn(&ParquetRow<'_>) -> Option<String> + 'static) -> Self {
        Self::new(name, DataType::Utf8, move |rows| {
            Arc::new(rows.iter().map(&of).collect::<StringArray>())
        })
    }

    fn number<T: ArrowPrimitiveType>(
        name: &str,
        of: impl Fn(&ParquetRow<'_>) -> Option<T::Native> + 'static,
    ) -> Self {
        Self::new(name, T::DATA_TYPE, move |rows| {
            Arc::new(rows.iter().map(&of).collect::<PrimitiveArray<T>>())
        })
    }

    fn boolean(name: &str, of: fn(&ParquetRow<'_>) -> Option<bool>) -> Self {
        Self::new(name, DataType::Boolean, move |rows| {
            Arc::new(rows.iter().map(of).collect::<BooleanArray>())
        })
    }

    /// Every row needs a value.
    fn needed(self) -> Self {
        Self {
            field: self.field.with_nullable(false),
            ..self
        }
    }
}

/// The columns. Their order is a part of the format: new ones go to the end.
///
/// Only path, fingerprint and dimension are required: tracks and failures share the schema, and columns of one are null in
/// the other.
fn columns(model: &StoredModel) -> Vec<Column> {
    let fingerprint = model.fingerprint.clone();
    let dimension = model.dimension as i32;
    let mut all = of_files();
    all.extend(of_audio());
    all.extend([
        Column::text("model_fingerprint", move |_| Some(fingerprint.clone())).needed(),
        Column::number::<Int32Type>("dimension", move |_| Some(dimension)).needed(),
        Column::new(
            "vector",
            DataType::FixedSizeList(item(DataType::Float16), dimension),
            move |rows| vectors(dimension, rows),
        ),
        Column::new("logits", DataType::List(item(DataType::Float32)), logits),
        Column::text(FAILURE, |row| Some(row.failure()?.reason.clone())),
        Column::boolean("transient", |row| Some(row.failure()?.transient)),
        Column::text("composer", |row| row.tags()?.composer.clone()),
        Column::text(SCALES, |row| {
            let scales = &row.facts()?.descriptors.as_ref()?.scales;
            // A map of names and numbers is always JSON.
            (!scales.is_empty()).then(|| serde_json::to_string(scales).unwrap_or_default())
        }),
    ]);
    all
}

fn item(kind: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", kind, true))
}

/// Columns of a file and its tags.
fn of_files() -> Vec<Column> {
    vec![
        Column::text("path", |row| {
            Some(row.path().to_string_lossy().into_owned())
        })
        .needed(),
        Column::new("path_bytes", DataType::Binary, path_bytes),
        Column::number::<UInt64Type>("size", |row| Some(row.file()?.0)),
        Column::number::<Int64Type>("mtime_ns", |row| Some(row.file()?.1)),
        Column::new("content", DataType::FixedSizeBinary(32), contents),
        Column::text("title", |row| row.tags()?.title.clone()),
        Column::text("artist", |row| row.tags()?.artist.clone()),
        Column::text("album", |row| row.tags()?.album.clone()),
        Column::text("album_artist", |row| row.tags()?.album_artist.clone()),
        Column::new("genres", DataType::List(item(DataType::Utf8)), genres),
        Column::number::<Int32Type>("year", |row| row.tags()?.year),
        Column::number::<UInt32Type>("track_number", |row| row.tags()?.track_number),
        Column::number::<UInt32Type>("disc_number", |row| row.tags()?.disc_number),
        Column::text("mbid", |row| row.tags()?.mbid.clone()),
        Column::text("isrc", |row| row.tags()?.isrc.clone()),
        Column::text("licence", |row| row.tags()?.licence.clone()),
        Column::number::<Float64Type>("bpm", |row| row.tags()?.bpm),
        Column::text("musical_key", |row| row.tags()?.musical_key.clone()),
        Column::number::<Float64Type>("replay_gain", |row| row.tags()?.replay_gain),
    ]
}

/// Columns of a recording and what was measured of it.
fn of_audio() -> Vec<Column> {
    vec![
        Column::number::<Float64Type>("seconds", |row| Some(row.audio()?.seconds)),
        Column::number::<UInt32Type>("sample_rate", |row| Some(row.audio()?.sample_rate)),
        Column::number::<UInt16Type>("channels", |row| Some(row.audio()?.channels)),
        Column::text("container", |row| Some(row.audio()?.container.clone())),
        Column::text("codec", |row| Some(row.audio()?.codec.clone())),
        Column::number::<UInt64Type>("packets", |row| Some(row.audio()?.packets)),
        Column::number::<UInt64Type>("damaged_packets", |row| Some(row.audio()?.damaged_packets)),
        Column::number::<Int64Type>("added_at", |row| Some(row.facts()?.added_at)),
        Column::number::<UInt32Type>("descriptors_version", |row| Some(row.measured()?.version)),
        Column::number::<Float64Type>("tempo", |row| row.measured()?.tempo),
        Column::number::<UInt8Type>("key", |row| row.measured()?.key.map(MusicalKey::number)),
        Column::number::<Float64Type>("loudness", |row| row.measured()?.loudness),
        Column::boolean("loudness_is_exact", |row| {
            Some(row.measured()?.loudness_is_exact)
        }),
        Column::boolean("is_steady", |row| Some(row.measured()?.is_steady)),
        Column::text("label", |row| row.facts()?.label.clone()),
    ]
}

/// The schema of all written files.
pub(super) fn schema(model: &StoredModel) -> SchemaRef {
    let fields: Vec<Field> = columns(model)
        .into_iter()
        .map(|column| column.field)
        .collect();
    let values = [
        &model.name,
        &model.fingerprint,
        &model.dimension.to_string(),
        &model.manifest_json,
    ]
    .map(String::clone);
    let mut metadata: HashMap<String, String> = MODEL_KEYS
        .into_iter()
        .map(str::to_owned)
        .zip(values)
        .collect();
    metadata.insert(SCHEMA_KEY.to_owned(), SCHEMA_VERSION.to_string());
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

pub(super) fn batch(
    schema: &SchemaRef,
    model: &StoredModel,
    rows: &[ParquetRow<'_>],
) -> Result<RecordBatch, String> {
    let columns = columns(model)
        .iter()
        .map(|column| (column.fill)(rows))
        .collect();
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| error.to_string())
}

/// The bytes of paths that are not UTF-8; the column `path` has others without loss.
fn path_bytes(rows: &[ParquetRow<'_>]) -> ArrayRef {
    let bytes = rows.iter().map(|row| {
        let path = row.path();
        path.to_str().is_none().then(|| path_to_bytes(path).ok())?
    });
    Arc::new(BinaryArray::from(bytes.collect::<Vec<Option<&[u8]>>>()))
}

fn contents(rows: &[ParquetRow<'_>]) -> ArrayRef {
    let mut contents = FixedSizeBinaryBuilder::new(32);
    for row in rows {
        match row.audio() {
            Some(audio) => contents
                .append_value(audio.content.0)
                .expect("content ids have 32 bytes"),
            None => contents.append_null(),
        }
    }
    Arc::new(contents.finish())
}

fn genres(rows: &[ParquetRow<'_>]) -> ArrayRef {
    let mut genres = ListBuilder::new(StringBuilder::new());
    for row in rows {
        genres.append_option(row.tags().map(|tags| tags.genres.iter().map(Some)));
    }
    Arc::new(genres.finish())
}

fn vectors(dimension: i32, rows: &[ParquetRow<'_>]) -> ArrayRef {
    let mut vectors = FixedSizeListBuilder::new(Float16Builder::new(), dimension);
    for row in rows {
        match row.record() {
            Some(record) => {
                let values = record.vector.iter().map(|value| f16::from_f32(*value));
                values.for_each(|value| vectors.values().append_value(value));
            }
            // A null in a list of fixed width needs the values of a vector.
            None => vectors.values().append_nulls(dimension as usize),
        }
        vectors.append(row.record().is_some());
    }
    Arc::new(vectors.finish())
}

fn logits(rows: &[ParquetRow<'_>]) -> ArrayRef {
    let mut logits = ListBuilder::new(Float32Builder::new());
    for row in rows {
        if let Some(record) = row.record() {
            logits.values().append_slice(&record.logits);
        }
        logits.append(row.record().is_some());
    }
    Arc::new(logits.finish())
}
