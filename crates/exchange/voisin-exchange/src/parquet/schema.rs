//! The Arrow schema, and recordings as its rows.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{
    FixedSizeListBuilder, Float16Builder, Float32Builder, ListBuilder, StringBuilder,
};
use arrow_array::types::{
    Float64Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch,
    StringArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use half::f16;

use voisin_library::{
    Descriptors, Failure, MusicalKey, StoredModel, TaggedFile, TrackFacts, TrackRecord, TrackTags,
    path_to_bytes,
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

impl ParquetRow<'_> {
    fn path(&self) -> &Path {
        match self {
            Self::Track(_, file) => &file.record.path,
            Self::Failed(failure) => &failure.path,
        }
    }
}

/// The schema of all written files.
pub(super) fn schema(model: &StoredModel) -> SchemaRef {
    use DataType::{
        Binary, Boolean, FixedSizeBinary, FixedSizeList, Float16, Float32, Float64, Int32, Int64,
        List, UInt8, UInt16, UInt32, UInt64, Utf8,
    };
    let item = |kind| Arc::new(Field::new("item", kind, true));
    let needed = |name: &str, kind| Field::new(name, kind, false);
    let maybe = |name: &str, kind| Field::new(name, kind, true);
    // The order is a part of the format: new columns go to the end, and `batch` fills them in this
    // order.
    let fields = vec![
        // Only path, fingerprint and dimension are required: tracks and failures share the schema,
        // and columns of one are null in the other.
        needed("path", Utf8),
        maybe("path_bytes", Binary),
        maybe("size", UInt64),
        maybe("mtime_ns", Int64),
        maybe("content", FixedSizeBinary(32)),
        maybe("title", Utf8),
        maybe("artist", Utf8),
        maybe("album", Utf8),
        maybe("album_artist", Utf8),
        maybe("genres", List(item(Utf8))),
        maybe("year", Int32),
        maybe("track_number", UInt32),
        maybe("disc_number", UInt32),
        maybe("mbid", Utf8),
        maybe("isrc", Utf8),
        maybe("licence", Utf8),
        maybe("bpm", Float64),
        maybe("musical_key", Utf8),
        maybe("replay_gain", Float64),
        maybe("seconds", Float64),
        maybe("sample_rate", UInt32),
        maybe("channels", UInt16),
        maybe("container", Utf8),
        maybe("codec", Utf8),
        maybe("packets", UInt64),
        maybe("damaged_packets", UInt64),
        maybe("added_at", Int64),
        maybe("descriptors_version", UInt32),
        maybe("tempo", Float64),
        maybe("key", UInt8),
        maybe("loudness", Float64),
        maybe("loudness_is_exact", Boolean),
        maybe("is_steady", Boolean),
        maybe("label", Utf8),
        needed("model_fingerprint", Utf8),
        needed("dimension", Int32),
        maybe(
            "vector",
            FixedSizeList(item(Float16), model.dimension as i32),
        ),
        maybe("logits", List(item(Float32))),
        maybe(FAILURE, Utf8),
        maybe("transient", Boolean),
        maybe("composer", Utf8),
        maybe(SCALES, Utf8),
    ];
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
    let facts = |row: &ParquetRow<'_>| match row {
        ParquetRow::Track(record, _) => Some(record.facts.clone()),
        ParquetRow::Failed(_) => None,
    };
    let facts: Vec<Option<TrackFacts>> = rows.iter().map(facts).collect();
    let tags: Vec<Option<&TrackTags>> = rows
        .iter()
        .map(|row| {
            if let ParquetRow::Track(_, file) = row {
                Some(&file.tags)
            } else {
                None
            }
        })
        .collect();
    let failed: Vec<Option<&Failure>> = rows
        .iter()
        .map(|row| {
            if let ParquetRow::Failed(failure) = row {
                Some(*failure)
            } else {
                None
            }
        })
        .collect();
    let text = |values: &mut dyn Iterator<Item = Option<String>>| -> ArrayRef {
        Arc::new(values.collect::<StringArray>())
    };
    let of_tags = |tag_of: fn(&TrackTags) -> Option<String>| -> ArrayRef {
        text(&mut tags.iter().map(|tags| tags.and_then(tag_of)))
    };
    macro_rules! numbers {
        ($kind:ty, $from:expr, $tag_of:expr) => {
            Arc::new($from.iter().map($tag_of).collect::<PrimitiveArray<$kind>>()) as ArrayRef
        };
    }
    macro_rules! of_facts {
        ($kind:ty, $tag_of:expr) => {
            numbers!($kind, facts, |facts| facts.as_ref().and_then($tag_of))
        };
    }
    macro_rules! number_of_tags {
        ($kind:ty, $tag_of:expr) => {
            numbers!($kind, tags, |tags| tags.and_then($tag_of))
        };
    }
    let measured = |facts: &TrackFacts| facts.descriptors.clone().filter(|known| known.version > 0);
    let of_measured = |value_of: fn(&Descriptors) -> bool| -> ArrayRef {
        let values = facts.iter().map(|facts| {
            let known = facts.as_ref().and_then(measured)?;
            Some(value_of(&known))
        });
        Arc::new(values.collect::<BooleanArray>())
    };
    let scales = |facts: &Option<TrackFacts>| {
        let scales = &facts.as_ref()?.descriptors.as_ref()?.scales;
        // A map of names and numbers is always JSON.
        (!scales.is_empty()).then(|| serde_json::to_string(scales).unwrap_or_default())
    };
    let record_of = |row: &ParquetRow<'_>| -> Option<(u64, i64)> {
        match row {
            ParquetRow::Track(_, file) => Some((file.record.size, file.record.mtime_ns)),
            ParquetRow::Failed(failure) => failure.size.zip(failure.mtime_ns),
        }
    };
    let paths: Vec<&Path> = rows.iter().map(ParquetRow::path).collect();
    let bytes: Vec<Option<&[u8]>> = paths
        .iter()
        .map(|path| {
            // The column `path` has it without loss.
            if path.to_str().is_some() {
                None
            } else {
                path_to_bytes(path).ok()
            }
        })
        .collect();
    let contents = rows.iter().map(|row| match row {
        ParquetRow::Track(record, _) => Some(record.facts.audio.content.0),
        ParquetRow::Failed(_) => None,
    });
    // With a size, since a batch of failures alone has no value to infer it from.
    let contents = FixedSizeBinaryArray::try_from_sparse_iter_with_size(contents, 32)
        .map_err(|error| error.to_string())?;
    let mut genres = ListBuilder::new(StringBuilder::new());
    for tags in &tags {
        genres.append_option(tags.map(|tags| tags.genres.iter().map(Some)));
    }
    let (vectors, logits) = vector_columns(model.dimension, rows);
    let columns: Vec<ArrayRef> = vec![
        text(
            &mut paths
                .iter()
                .map(|path| Some(path.to_string_lossy().into_owned())),
        ),
        Arc::new(BinaryArray::from(bytes)),
        numbers!(UInt64Type, rows, |row| record_of(row)
            .map(|record| record.0)),
        numbers!(Int64Type, rows, |row| record_of(row).map(|record| record.1)),
        Arc::new(contents),
        of_tags(|tags| tags.title.clone()),
        of_tags(|tags| tags.artist.clone()),
        of_tags(|tags| tags.album.clone()),
        of_tags(|tags| tags.album_artist.clone()),
        Arc::new(genres.finish()),
        number_of_tags!(Int32Type, |tags| tags.year),
        number_of_tags!(UInt32Type, |tags| tags.track_number),
        number_of_tags!(UInt32Type, |tags| tags.disc_number),
        of_tags(|tags| tags.mbid.clone()),
        of_tags(|tags| tags.isrc.clone()),
        of_tags(|tags| tags.licence.clone()),
        number_of_tags!(Float64Type, |tags| tags.bpm),
        of_tags(|tags| tags.musical_key.clone()),
        number_of_tags!(Float64Type, |tags| tags.replay_gain),
        of_facts!(Float64Type, |facts| Some(facts.audio.seconds)),
        of_facts!(UInt32Type, |facts| Some(facts.audio.sample_rate)),
        of_facts!(UInt16Type, |facts| Some(facts.audio.channels)),
        text(
            &mut facts
                .iter()
                .map(|facts| facts.as_ref().map(|facts| facts.audio.container.clone())),
        ),
        text(
            &mut facts
                .iter()
                .map(|facts| facts.as_ref().map(|facts| facts.audio.codec.clone())),
        ),
        of_facts!(UInt64Type, |facts| Some(facts.audio.packets)),
        of_facts!(UInt64Type, |facts| Some(facts.audio.damaged_packets)),
        of_facts!(Int64Type, |facts| Some(facts.added_at)),
        of_facts!(UInt32Type, |facts| measured(facts)
            .map(|known| known.version)),
        of_facts!(Float64Type, |facts| measured(facts)?.tempo),
        of_facts!(UInt8Type, |facts| measured(facts)?
            .key
            .map(MusicalKey::number)),
        of_facts!(Float64Type, |facts| measured(facts)?.loudness),
        of_measured(|known| known.loudness_is_exact),
        of_measured(|known| known.is_steady),
        text(
            &mut facts
                .iter()
                .map(|facts| facts.as_ref().and_then(|facts| facts.label.clone())),
        ),
        text(&mut rows.iter().map(|_| Some(model.fingerprint.clone()))),
        numbers!(Int32Type, rows, |_| Some(model.dimension as i32)),
        vectors,
        logits,
        text(
            &mut failed
                .iter()
                .map(|failed| failed.map(|failure| failure.reason.clone())),
        ),
        Arc::new(
            failed
                .iter()
                .map(|failed| failed.map(|failure| failure.transient))
                .collect::<BooleanArray>(),
        ),
        of_tags(|tags| tags.composer.clone()),
        text(&mut facts.iter().map(scales)),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| error.to_string())
}

/// The columns `vector` and `logits`.
fn vector_columns(dimension: usize, rows: &[ParquetRow<'_>]) -> (ArrayRef, ArrayRef) {
    let mut vectors = FixedSizeListBuilder::new(Float16Builder::new(), dimension as i32);
    let mut logits = ListBuilder::new(Float32Builder::new());
    for row in rows {
        // A null in a list of fixed width needs the values of a vector; without them the builder refuses the row.
        let ParquetRow::Track(record, _) = row else {
            vectors.values().append_nulls(dimension);
            vectors.append(false);
            logits.append(false);
            continue;
        };
        for value in &record.vector {
            vectors.values().append_value(f16::from_f32(*value));
        }
        vectors.append(true);
        logits.values().append_slice(&record.logits);
        logits.append(true);
    }
    (Arc::new(vectors.finish()), Arc::new(logits.finish()))
}
