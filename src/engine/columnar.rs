//! Recordings in Parquet files, for other engines and from other machines: one Arrow schema, told in docs/parquet.md.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use arrow_array::builder::{
    FixedSizeListBuilder, Float16Builder, Float32Builder, ListBuilder, StringBuilder,
};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{
    Array as _, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, PrimitiveArray, RecordBatch,
    StringArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use half::f16;
use ndarray::Array2;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::add::stored_model;
use super::{AddEvent, AddOptions, Embedder, Engine, EngineError, add};
use crate::audio::guard;
use crate::base::atomic_file::AtomicFile;
use crate::base::vector::make_unit;
use crate::library::{
    AudioFacts, Descriptors, Failure, FileRecord, Library, MusicalKey, OpenMode, StoredModel, TaggedFile,
    TakenIn, TrackFacts, TrackRecord, TrackTags, TrackWindows, path_from_bytes, path_to_bytes,
};
use crate::track::ContentId;

/// Rows that are in memory at once, and in one row group of a file.
const BATCH: usize = 1000;

/// Key of the model in a file's metadata, and of each of its fields.
const MODEL_KEYS: [&str; 4] = ["voisin.model", "voisin.fingerprint", "voisin.dimension", "voisin.manifest"];

/// Column of the words for why a file failed; null where it did not.
const FAILURE: &str = "failure";

/// What was written into Parquet files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ParquetSummary {
    /// Rows of tracks.
    pub tracks: u64,
    /// Rows of failures.
    pub failures: u64,
    /// Files that were there already and were left out.
    pub known: u64,
    /// Whether the run was stopped before its end.
    pub interrupted: bool,
}

/// A file of one row: with its recording, or with why it failed.
enum Row<'a> {
    Track(&'a TrackRecord, &'a TaggedFile),
    Failed(&'a Failure),
}

impl Row<'_> {
    fn path(&self) -> &Path {
        match self {
            Self::Track(_, file) => &file.record.path,
            Self::Failed(failure) => &failure.path,
        }
    }
}

/// The one schema of all that is written here.
fn schema(model: &StoredModel) -> SchemaRef {
    use DataType::{
        Binary, Boolean, FixedSizeBinary, FixedSizeList, Float16, Float32, Float64, Int32, Int64, List,
        UInt8, UInt16, UInt32, UInt64, Utf8,
    };
    let item = |kind| Arc::new(Field::new("item", kind, true));
    let vector = FixedSizeList(item(Float16), model.dimension as i32);
    let needed = |name: &str, kind| Field::new(name, kind, false);
    let maybe = |name: &str, kind| Field::new(name, kind, true);
    let fields = vec![
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
        maybe("label", Utf8),
        needed("model_fingerprint", Utf8),
        needed("dimension", Int32),
        maybe("vector", vector.clone()),
        maybe("starts", List(item(Float32))),
        maybe("windows", List(item(vector))),
        maybe(FAILURE, Utf8),
        maybe("transient", Boolean),
    ];
    let values = [&model.name, &model.fingerprint, &model.dimension.to_string(), &model.manifest_json]
        .map(String::clone);
    let metadata: HashMap<String, String> = MODEL_KEYS.into_iter().map(str::to_owned).zip(values).collect();
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

fn batch(schema: &SchemaRef, model: &StoredModel, rows: &[Row<'_>]) -> Result<RecordBatch, String> {
    let facts = |row: &Row<'_>| match row {
        Row::Track(record, _) => Some(record.facts.clone()),
        Row::Failed(_) => None,
    };
    let facts: Vec<Option<TrackFacts>> = rows.iter().map(facts).collect();
    let tags: Vec<Option<&TrackTags>> =
        rows.iter().map(|row| if let Row::Track(_, file) = row { Some(&file.tags) } else { None }).collect();
    let failed: Vec<Option<&Failure>> =
        rows.iter().map(|row| if let Row::Failed(failure) = row { Some(*failure) } else { None }).collect();
    let text = |values: &mut dyn Iterator<Item = Option<String>>| -> ArrayRef {
        Arc::new(values.collect::<StringArray>())
    };
    let of_tags = |of: fn(&TrackTags) -> Option<String>| -> ArrayRef {
        text(&mut tags.iter().map(|tags| tags.and_then(of)))
    };
    macro_rules! numbers {
        ($kind:ty, $from:expr, $of:expr) => {
            Arc::new($from.iter().map($of).collect::<PrimitiveArray<$kind>>()) as ArrayRef
        };
    }
    macro_rules! of_facts {
        ($kind:ty, $of:expr) => {
            numbers!($kind, facts, |facts| facts.as_ref().and_then($of))
        };
    }
    macro_rules! number_of_tags {
        ($kind:ty, $of:expr) => {
            numbers!($kind, tags, |tags| tags.and_then($of))
        };
    }
    let measured = |facts: &TrackFacts| facts.descriptors;
    let record_of = |row: &Row<'_>| -> Option<(u64, i64)> {
        match row {
            Row::Track(_, file) => Some((file.record.size, file.record.mtime_ns)),
            Row::Failed(failure) => failure.size.zip(failure.mtime_ns),
        }
    };
    let paths: Vec<&Path> = rows.iter().map(Row::path).collect();
    let bytes: Vec<Option<&[u8]>> = paths
        .iter()
        .map(|path| if path.to_str().is_some() { None } else { path_to_bytes(path).ok() })
        .collect();
    let contents = facts.iter().map(|facts| facts.as_ref().map(|facts| facts.audio.content.0));
    let contents = FixedSizeBinaryArray::try_from_sparse_iter_with_size(contents, 32)
        .map_err(|error| error.to_string())?;
    let mut genres = ListBuilder::new(StringBuilder::new());
    for tags in &tags {
        genres.append_option(tags.map(|tags| tags.genres.iter().map(Some)));
    }
    let (vectors, starts, windows) = vector_columns(model.dimension, rows);
    let columns: Vec<ArrayRef> = vec![
        text(&mut paths.iter().map(|path| Some(path.to_string_lossy().into_owned()))),
        Arc::new(BinaryArray::from(bytes)),
        numbers!(UInt64Type, rows, |row| record_of(row).map(|record| record.0)),
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
        text(&mut facts.iter().map(|facts| facts.as_ref().map(|facts| facts.audio.container.clone()))),
        text(&mut facts.iter().map(|facts| facts.as_ref().map(|facts| facts.audio.codec.clone()))),
        of_facts!(UInt64Type, |facts| Some(facts.audio.packets)),
        of_facts!(UInt64Type, |facts| Some(facts.audio.damaged_packets)),
        of_facts!(Int64Type, |facts| Some(facts.added_at)),
        of_facts!(UInt32Type, |facts| measured(facts).map(|known| known.version)),
        of_facts!(Float64Type, |facts| measured(facts)?.tempo),
        of_facts!(UInt8Type, |facts| measured(facts)?.key.map(MusicalKey::number)),
        of_facts!(Float64Type, |facts| measured(facts)?.loudness),
        Arc::new(
            facts
                .iter()
                .map(|facts| facts.as_ref().and_then(measured).map(|known| known.loudness_is_exact))
                .collect::<BooleanArray>(),
        ),
        text(&mut facts.iter().map(|facts| facts.as_ref().and_then(|facts| facts.label.clone()))),
        text(&mut rows.iter().map(|_| Some(model.fingerprint.clone()))),
        numbers!(Int32Type, rows, |_| Some(model.dimension as i32)),
        vectors,
        starts,
        windows,
        text(&mut failed.iter().map(|failed| failed.map(|failure| failure.reason.clone()))),
        Arc::new(
            failed.iter().map(|failed| failed.map(|failure| failure.transient)).collect::<BooleanArray>(),
        ),
    ];
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|error| error.to_string())
}

/// The columns `vector`, `starts` and `windows`.
fn vector_columns(dimension: usize, rows: &[Row<'_>]) -> (ArrayRef, ArrayRef, ArrayRef) {
    let vector_builder = || FixedSizeListBuilder::new(Float16Builder::new(), dimension as i32);
    let mut vectors = vector_builder();
    let mut starts = ListBuilder::new(Float32Builder::new());
    let mut windows = ListBuilder::new(vector_builder());
    for row in rows {
        let Row::Track(record, _) = row else {
            vectors.values().append_nulls(dimension);
            vectors.append(false);
            starts.append(false);
            windows.append(false);
            continue;
        };
        for value in &record.vector {
            vectors.values().append_value(f16::from_f32(*value));
        }
        vectors.append(true);
        starts.values().append_slice(&record.windows.starts);
        starts.append(true);
        for window in record.windows.vectors.rows() {
            for value in window {
                windows.values().values().append_value(*value);
            }
            windows.values().append(true);
        }
        windows.append(true);
    }
    (Arc::new(vectors.finish()), Arc::new(starts.finish()), Arc::new(windows.finish()))
}

/// A Parquet file that appears whole or not at all.
struct Output {
    target: PathBuf,
    file: AtomicFile,
    schema: SchemaRef,
    model: StoredModel,
}

impl Output {
    fn create(target: PathBuf, model: &StoredModel) -> Result<Self, EngineError> {
        let file = AtomicFile::create(&target)
            .map_err(|source| EngineError::Write { path: target.clone(), source })?;
        Ok(Self { target, file, schema: schema(model), model: model.clone() })
    }

    /// Writes what `next` gives, some rows at a time, until it gives none; returns how many rows there were.
    fn fill(
        mut self,
        mut next: impl FnMut() -> Result<Option<(Vec<TrackRecord>, Vec<Failure>)>, EngineError>,
    ) -> Result<u64, EngineError> {
        let failed = |problem: String| EngineError::Write {
            path: self.target.clone(),
            source: std::io::Error::other(problem),
        };
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut writer = ArrowWriter::try_new(self.file.file(), Arc::clone(&self.schema), Some(properties))
            .map_err(|error| failed(error.to_string()))?;
        let mut count = 0;
        while let Some((records, failures)) = next()? {
            let mut rows: Vec<Row<'_>> = Vec::new();
            for record in &records {
                rows.extend(record.facts.files.iter().map(|file| Row::Track(record, file)));
            }
            rows.extend(failures.iter().map(Row::Failed));
            let batch = batch(&self.schema, &self.model, &rows).map_err(failed)?;
            count += rows.len() as u64;
            let written = writer.write(&batch).and_then(|()| writer.flush());
            written.map_err(|error| failed(error.to_string()))?;
        }
        writer.close().map_err(|error| failed(error.to_string()))?;
        self.file.commit().map_err(|source| EngineError::Write { path: self.target, source })?;
        Ok(count)
    }
}

/// Writes the tracks of a library into `tracks.parquet`, and the files that failed into `failures.parquet`.
pub fn export_parquet(engine: &Engine, dir: &Path, windows: bool) -> Result<ParquetSummary, EngineError> {
    let library = engine.library();
    let _snapshot = library.snapshot()?;
    let model = engine.model()?;
    std::fs::create_dir_all(dir).map_err(|source| EngineError::Write { path: dir.to_owned(), source })?;
    let mut summary = ParquetSummary::default();
    let ids = library.track_ids()?;
    let mut chunks = ids.chunks(BATCH);
    summary.tracks = Output::create(dir.join("tracks.parquet"), &model)?.fill(|| {
        let Some(chunk) = chunks.next() else { return Ok(None) };
        let mut records = Vec::with_capacity(chunk.len());
        for &id in chunk {
            records.extend(library.record(id, windows)?);
        }
        Ok(Some((records, Vec::new())))
    })?;
    let mut failures = Some(library.failures()?);
    summary.failures = Output::create(dir.join("failures.parquet"), &model)?
        .fill(|| Ok(failures.take().map(|failures| (Vec::new(), failures))))?;
    Ok(summary)
}

/// How files are turned into Parquet files.
#[derive(Debug, Clone, Copy)]
pub struct EmbedOptions {
    /// How each file is listened to.
    pub add: AddOptions,
    /// Audio files in one Parquet file.
    pub per_file: usize,
    /// Write the window vectors too.
    pub windows: bool,
}

/// Listens to files and writes what [`add`] would store into new Parquet files of a folder: `tracks-*.parquet`, and
/// `failures-*.parquet` for files that failed.
///
/// Files that a Parquet file of the folder has, of the same size and time, are left out unless `options.add.force`: a run
/// that was killed goes on, several processes may write into one folder, and each Parquet file is there whole or not at all.
pub fn embed_to_parquet(
    embedder: &Embedder,
    files: &[FileRecord],
    dir: &Path,
    options: &EmbedOptions,
    progress: &mut dyn FnMut(AddEvent<'_>),
    stop: &AtomicBool,
) -> Result<ParquetSummary, EngineError> {
    let cannot_write = |path: &Path, source| EngineError::Write { path: path.to_owned(), source };
    std::fs::create_dir_all(dir).map_err(|source| cannot_write(dir, source))?;
    let model = stored_model(embedder)?;
    let known = if options.add.force { HashMap::new() } else { known_files(dir, &model)? };
    let is_new = |file: &&FileRecord| known.get(&file.path) != Some(&(file.size, file.mtime_ns));
    let todo: Vec<FileRecord> = files.iter().filter(is_new).cloned().collect();
    let mut summary =
        ParquetSummary { known: (files.len() - todo.len()) as u64, ..ParquetSummary::default() };
    for chunk in todo.chunks(options.per_file.max(1)) {
        // A library for the occasion: who listens, what fails and how is told as by `add`.
        let scratch = tempfile::tempdir().map_err(|source| cannot_write(dir, source))?;
        let mut library = Library::open(scratch.path(), OpenMode::Create)?;
        let added = add(&mut library, embedder, chunk, &options.add, progress, stop)?;
        let mut records = Vec::new();
        for id in library.track_ids()? {
            records.extend(library.record(id, options.windows)?);
        }
        records.sort_by(|a, b| a.facts.files[0].record.path.cmp(&b.facts.files[0].record.path));
        let failures = library.failures()?;
        for (kind, rows) in [("tracks", (records, Vec::new())), ("failures", (Vec::new(), failures))] {
            let Some(name) = file_name(kind, &model, &rows) else { continue };
            let mut rows = Some(rows);
            let written = Output::create(dir.join(name), &model)?.fill(|| Ok(rows.take()))?;
            *(if kind == "tracks" { &mut summary.tracks } else { &mut summary.failures }) += written;
        }
        if added.interrupted {
            summary.interrupted = true;
            break;
        }
    }
    Ok(summary)
}

/// A name that two sets of files never share; `None` where there is nothing to write.
fn file_name(kind: &str, model: &StoredModel, rows: &(Vec<TrackRecord>, Vec<Failure>)) -> Option<String> {
    let (records, failures) = rows;
    if records.is_empty() && failures.is_empty() {
        return None;
    }
    let mut hasher = blake3::Hasher::new();
    hasher.update(model.fingerprint.as_bytes());
    let files = records.iter().flat_map(|record| &record.facts.files).map(|file| &file.record.path);
    for path in files.chain(failures.iter().map(|failure| &failure.path)) {
        hasher.update(path_to_bytes(path).unwrap_or_default());
        hasher.update(&[0]);
    }
    Some(format!("{kind}-{}.parquet", &hasher.finalize().to_hex()[..16]))
}

/// Size and time of each file that some Parquet file of a folder has, but for those that are to be tried again.
fn known_files(dir: &Path, model: &StoredModel) -> Result<HashMap<PathBuf, (u64, i64)>, EngineError> {
    let mut known = HashMap::new();
    for path in parquet_files(dir)? {
        let input = Input::open(&path)?;
        input.check_model(model)?;
        input.each_batch(&["path", "path_bytes", "size", "mtime_ns", "transient"], |columns| {
            let transient = columns.booleans("transient")?;
            for row in 0..columns.batch.num_rows() {
                if transient.is_valid(row) && transient.value(row) {
                    continue;
                }
                let file = columns.file(row)?;
                known.insert(file.path, (file.size, file.mtime_ns));
            }
            Ok(())
        })?;
    }
    Ok(known)
}

/// The Parquet files directly in a folder, by name; a file is itself.
pub fn parquet_files(path: &Path) -> Result<Vec<PathBuf>, EngineError> {
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |source| EngineError::ReadTable { path: path.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        let is_hidden = file.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !is_hidden && file.extension().is_some_and(|ending| ending == "parquet") {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

/// Takes what Parquet files hold into a library; their model must be the library's, or the library empty.
pub fn add_from_parquet(library: &mut Library, file: &Path) -> Result<TakenIn, EngineError> {
    let input = Input::open(file)?;
    library.set_model(&input.model)?;
    let mut taken = TakenIn::default();
    // Rows of one recording in several files lie side by side.
    let mut pending: Vec<TrackRecord> = Vec::new();
    let mut take = |library: &mut Library, pending: &mut Vec<TrackRecord>| -> Result<(), EngineError> {
        let records: Vec<_> = pending.drain(..).map(|record| (None, record)).collect();
        taken += library.take_in(&records)?;
        Ok(())
    };
    input.each_batch(&[], |columns| {
        let mut failures = Vec::new();
        for row in 0..columns.batch.num_rows() {
            match columns.row(row, input.model.dimension)? {
                Ok(record) => match pending.last_mut() {
                    Some(last) if last.facts.audio.content == record.facts.audio.content => {
                        last.facts.files.extend(record.facts.files);
                    }
                    _ => pending.push(record),
                },
                Err(failure) => failures.push(failure),
            }
        }
        library.take_in_failures(&failures)?;
        if pending.len() >= BATCH {
            let last = pending.pop();
            take(library, &mut pending)?;
            pending.extend(last);
        }
        Ok(())
    })?;
    take(library, &mut pending)?;
    Ok(taken)
}

/// A Parquet file that is read.
struct Input {
    path: PathBuf,
    model: StoredModel,
}

impl Input {
    fn open(path: &Path) -> Result<Self, EngineError> {
        let builder = builder(path)?;
        let metadata = builder.schema().metadata();
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
        Ok(Self { path: path.to_owned(), model })
    }

    fn check_model(&self, model: &StoredModel) -> Result<(), EngineError> {
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

    /// Calls `visit` with some rows after the other, of these columns; of all where none is named.
    fn each_batch(
        &self,
        names: &[&str],
        mut visit: impl FnMut(&Columns<'_>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let builder = builder(&self.path)?;
        let mask = if names.is_empty() {
            ProjectionMask::all()
        } else {
            ProjectionMask::columns(builder.parquet_schema(), names.iter().copied())
        };
        let broken = |error: &dyn std::fmt::Display| wrong(&self.path, format!("cannot be read: {error}"));
        let mut reader: ParquetRecordBatchReader =
            builder.with_projection(mask).with_batch_size(BATCH).build().map_err(|error| broken(&error))?;
        // Some damaged files make the reader panic. It is not used after that.
        while let Some(batch) = guard(&self.path, || reader.next())? {
            let batch = batch.map_err(|error| broken(&error))?;
            visit(&Columns { path: &self.path, batch: &batch })?;
        }
        Ok(())
    }
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, EngineError> {
    let file = File::open(path).map_err(|source| EngineError::ReadTable { path: path.to_owned(), source })?;
    guard(path, || ParquetRecordBatchReaderBuilder::try_new(file))?
        .map_err(|error| wrong(path, format!("expected a Parquet file: {error}")))
}

fn wrong(path: &Path, problem: String) -> EngineError {
    EngineError::Table { path: path.to_owned(), line: 0, problem }
}

/// Some rows of a file.
struct Columns<'a> {
    path: &'a Path,
    batch: &'a RecordBatch,
}

impl Columns<'_> {
    fn column(&self, name: &str, is_right: impl Fn(&DataType) -> bool) -> Result<&ArrayRef, EngineError> {
        let column = self.batch.column_by_name(name);
        column.filter(|column| is_right(column.data_type())).ok_or_else(|| {
            let found = column.map_or("no such column".to_owned(), |column| column.data_type().to_string());
            wrong(
                self.path,
                format!("column \"{name}\": expected the type that docs/parquet.md names, found {found}"),
            )
        })
    }

    fn text(&self, name: &str, row: usize) -> Result<Option<String>, EngineError> {
        let column = self.column(name, |kind| *kind == DataType::Utf8)?.as_string::<i32>();
        Ok(column.is_valid(row).then(|| column.value(row).to_owned()))
    }

    fn booleans(&self, name: &str) -> Result<&BooleanArray, EngineError> {
        Ok(self.column(name, |kind| *kind == DataType::Boolean)?.as_boolean())
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
        let column = self.column(name, |kind| *kind == T::DATA_TYPE)?.as_primitive::<T>();
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

    fn file(&self, row: usize) -> Result<FileRecord, EngineError> {
        let bytes = self.column("path_bytes", |kind| *kind == DataType::Binary)?.as_binary::<i32>();
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
    fn row(&self, row: usize, dimension: usize) -> Result<Result<TrackRecord, Failure>, EngineError> {
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
        let content = self.column("content", |kind| *kind == DataType::FixedSizeBinary(32))?;
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
        let genres = self.column(
            "genres",
            |kind| matches!(kind, DataType::List(item) if *item.data_type() == DataType::Utf8),
        )?;
        let genres = genres.as_list::<i32>();
        let genres = if genres.is_valid(row) {
            genres.value(row).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
        } else {
            Vec::new()
        };
        Ok(TrackTags {
            title: self.text("title", row)?,
            artist: self.text("artist", row)?,
            album: self.text("album", row)?,
            album_artist: self.text("album_artist", row)?,
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
        let is_vector = |kind: &DataType| {
            matches!(kind, DataType::FixedSizeList(item, length)
            if *item.data_type() == DataType::Float16 && *length as usize == dimension)
        };
        let is_windows =
            |kind: &DataType| matches!(kind, DataType::List(item) if is_vector(item.data_type()));
        let is_starts =
            |kind: &DataType| matches!(kind, DataType::List(item) if *item.data_type() == DataType::Float32);
        let vectors = self.column("vector", is_vector)?.as_fixed_size_list();
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
        let norm = crate::base::vector::norm(&vector);
        if (norm - 1.0).abs() < 0.01 {
            make_unit(&mut vector);
        }
        let (starts, windows) = (self.column("starts", is_starts)?, self.column("windows", is_windows)?);
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
