//! Parquet files of this schema, read row by row; whatever else they hold is told and ends nothing.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Decimal128Type, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};
use half::f16;
use ndarray::Array2;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::file::reader::Length as _;

use super::pages::{PageFile, rows_at_once};
use super::schema::{
    CHANGE_KEY, FAILURE, KIND_KEY, MODEL_KEYS, RowDigest, SCHEMA_KEY, SCHEMA_VERSION, schema,
};
use super::{TEXT_BESIDE, TEXT_PER_BYTE, VectorsOf};
use voisin::EngineError;
use voisin::{check_model, external_model};
use voisin_audio::guard;
use voisin_base::regular_file;
use voisin_base::text::{LONGEST_TEXT, grouped};
use voisin_base::track::{ContentId, ContentKind};
use voisin_base::vector::make_unit;
use voisin_library::{
    AudioFacts, Descriptors, Failure, FileRecord, MusicalKey, StoredModel, TaggedFile, TrackFacts,
    TrackRecord, TrackTags, TrackWindows, mtime_ns, path_from_bytes,
};

/// Lengths of vectors.
const DIMENSIONS: RangeInclusive<usize> = 1..=65_536;

/// A Parquet file that is read.
pub(super) struct ParquetInput {
    path: PathBuf,
    file: PageFile,
    metadata: ArrowReaderMetadata,
    pub(super) model: StoredModel,
    /// Whether no model of voisin's made its vectors.
    is_external: bool,
    /// How its content ids are made.
    pub(super) kind: ContentKind,
}

impl ParquetInput {
    /// A file that says itself whose vectors it holds.
    pub(super) fn open(path: &Path) -> Result<Self, EngineError> {
        Self::open_as(path, &VectorsOf::File, None)
    }

    /// - `vectors`: whose its vectors are, where the file does not say
    /// - `kind`: how its content ids are made, where the file does not say
    pub(super) fn open_as(
        path: &Path,
        vectors: &VectorsOf,
        kind: Option<ContentKind>,
    ) -> Result<Self, EngineError> {
        let failed = |source| EngineError::ReadTable { path: path.to_owned(), source };
        let file = regular_file::open(path).map_err(failed)?;
        let read = || {
            let found = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new())?;
            let options = ArrowReaderOptions::new().with_schema(Arc::new(as_read(found.schema())));
            ArrowReaderMetadata::try_new(Arc::clone(found.metadata()), options)
        };
        let arrow =
            guard(path, read)?.map_err(|error| wrong(path, format!("expected a Parquet file: {error}")))?;
        let metadata = arrow.schema().metadata().clone();
        let version = metadata.get(SCHEMA_KEY).map_or(Ok(SCHEMA_VERSION), |version| version.parse());
        if !version.as_ref().is_ok_and(|version| (1..=SCHEMA_VERSION).contains(version)) {
            let found = &metadata[SCHEMA_KEY];
            return Err(wrong(
                path,
                format!("expected schema {SCHEMA_VERSION} or older, found {found:.100?}: update voisin"),
            ));
        }
        let kind = match metadata.get(KIND_KEY) {
            None => kind.unwrap_or_default(),
            Some(name) => {
                name.parse().map_err(|problem| wrong(path, format!("\"{KIND_KEY}\": {problem}")))?
            }
        };
        let says_its_model = MODEL_KEYS.iter().any(|key| metadata.contains_key(key));
        let mut input = Self {
            path: path.to_owned(),
            file: PageFile::new(file),
            metadata: arrow,
            model: StoredModel {
                name: String::new(),
                fingerprint: String::new(),
                dimension: 1,
                manifest_json: String::new(),
            },
            is_external: false,
            kind,
        };
        input.model = match vectors {
            VectorsOf::File => input.own_model()?,
            _ if says_its_model => input.own_model()?,
            VectorsOf::Model(model) => model.clone(),
            VectorsOf::Elsewhere(_) => {
                input.is_external = true;
                input.model
            }
        };
        input.check_columns()?;
        if let (true, VectorsOf::Elsewhere(name)) = (input.is_external, vectors) {
            let dimension = input.first_dimension()?;
            input.model = external_model(name, dimension).map_err(|problem| wrong(path, problem))?;
        } else if let VectorsOf::Elsewhere(name) = vectors
            && *name != input.model.name
        {
            let held = &input.model.name;
            return Err(wrong(
                path,
                format!("expected vectors of {name}, found those of {held}, as its metadata says"),
            ));
        }
        Ok(input)
    }

    /// The model that the file's metadata names.
    fn own_model(&self) -> Result<StoredModel, EngineError> {
        let path = &self.path;
        let of = |key: &str| {
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
        let dimension = of(dimension)?;
        let dimension = dimension
            .parse()
            .ok()
            .filter(|dimension| DIMENSIONS.contains(dimension))
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
        Ok(model)
    }

    /// Refuses columns that cannot stand for those of the schema.
    fn check_columns(&self) -> Result<(), EngineError> {
        let asks_less = ["model_fingerprint", "dimension"];
        for field in schema(&self.model, self.kind).fields() {
            let is_optional =
                field.is_nullable() || self.is_external && asks_less.contains(&field.name().as_str());
            let found = self.metadata.schema().field_with_name(field.name()).ok();
            let fits = match found.map(Field::data_type) {
                None | Some(DataType::Null) => is_optional,
                Some(found) => stands_for(found, &read_as(field.data_type())),
            };
            if !fits {
                let found = found.map_or("none".to_owned(), |found| found.data_type().to_string());
                return Err(wrong(
                    &self.path,
                    format!(
                        "column \"{}\": expected the type {} or one that docs/parquet.md lets stand for it, found {found}",
                        field.name(),
                        field.data_type(),
                    ),
                ));
            }
        }
        Ok(())
    }

    /// How many numbers the first vector has.
    fn first_dimension(&self) -> Result<usize, EngineError> {
        let mut dimension = None;
        self.each_batch(&["vector"], |columns| {
            let vectors = columns.column("vector")?.as_list::<i32>();
            let first = (0..vectors.len()).find(|&row| vectors.is_valid(row));
            dimension = dimension.or(first.map(|row| vectors.value_length(row) as usize));
            Ok(())
        })?;
        dimension.filter(|dimension| DIMENSIONS.contains(dimension)).ok_or_else(|| {
            let found = dimension.map_or("none".to_owned(), |found| format!("one of {found} numbers"));
            wrong(&self.path, format!("column \"vector\": expected a vector in some row, found {found}"))
        })
    }

    /// Refuses a file some of whose rows have vectors of another model than the file's.
    pub(super) fn check_rows(&self) -> Result<(), EngineError> {
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

    /// The number of a file that tells what changed; of other files `None`.
    pub(super) fn change(&self) -> Result<Option<u64>, EngineError> {
        let number = self.metadata.schema().metadata().get(CHANGE_KEY);
        let parse = |text: &String| {
            text.parse().map_err(|_| {
                wrong(&self.path, format!("expected a number as \"{CHANGE_KEY}\", found {text:.100?}"))
            })
        };
        number.map(parse).transpose()
    }

    /// Refuses a file that tells what changed in a library: what is gone from there would come in here.
    pub(super) fn refuse_changes(&self) -> Result<(), EngineError> {
        if self.change()?.is_none() {
            return Ok(());
        }
        let problem =
            "expected the tracks of a library, found what changed in one: write them without --changes";
        Err(wrong(&self.path, problem.to_owned()))
    }

    pub(super) fn not_of_changes(&self) -> EngineError {
        let problem = "expected a folder of nothing but changes, found this file: write into another folder";
        wrong(&self.path, problem.to_owned())
    }

    pub(super) fn gap(&self, expected: u64, found: u64) -> EngineError {
        let problem = format!(
            "expected the changes number {expected}, found those number {found}: bring back the file that is gone, or write into another folder"
        );
        wrong(&self.path, problem)
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
        let schema = as_read(&schema(&self.model, self.kind));
        let fields: Fields =
            schema.fields().iter().filter(|field| names.contains(&field.name().as_str())).cloned().collect();
        let column = |field: &Arc<Field>| match batch.column_by_name(field.name()) {
            Some(column) if *column.data_type() != DataType::Null => (
                Arc::new(field.as_ref().clone().with_data_type(column.data_type().clone())),
                Arc::clone(column),
            ),
            _ => (
                Arc::new(field.as_ref().clone().with_nullable(true)),
                new_null_array(field.data_type(), batch.num_rows()),
            ),
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
                visit(&RecordColumns {
                    path: &self.path,
                    is_external: self.is_external,
                    kind: self.kind,
                    batch: &batch,
                })?;
            }
        }
        Ok(())
    }
}

/// The same schema in the types that columns are read as.
fn as_read(schema: &Schema) -> Schema {
    let fields = schema.fields().iter().map(|field| {
        let kind = read_as(field.data_type());
        field.as_ref().clone().with_data_type(kind)
    });
    Schema::new_with_metadata(fields.collect::<Fields>(), schema.metadata().clone())
}

/// What a column of a type is read as. Each text is a view into the page that holds it: what a dictionary says once stays
/// once in memory, however many rows have it. Lists of all kinds are one.
fn read_as(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::Dictionary(_, value) => read_as(value),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let kind = read_as(item.data_type());
            DataType::List(Arc::new(item.as_ref().clone().with_data_type(kind)))
        }
        other => other.clone(),
    }
}

/// Whether a column of a type can hold what one of another does; the values are looked at one by one.
fn stands_for(found: &DataType, expected: &DataType) -> bool {
    let is_number = |kind: &DataType| {
        kind.is_integer() || kind.is_floating() || matches!(kind, DataType::Decimal128(_, 0))
    };
    let is_binary = |kind: &DataType| matches!(kind, DataType::BinaryView | DataType::FixedSizeBinary(_));
    match (found, expected) {
        (DataType::List(a), DataType::List(b)) => stands_for(a.data_type(), b.data_type()),
        (a, b) => a == b || is_number(a) && is_number(b) || is_binary(a) && is_binary(b),
    }
}

/// A number as a column holds it.
#[derive(Clone, Copy)]
enum NumericValue {
    Whole(i128),
    Real(f64),
}

impl NumericValue {
    fn real(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Real(number) => number,
        }
    }

    /// `None` where it is not whole or does not fit.
    fn whole<T: TryFrom<i128>>(self) -> Option<T> {
        let number = match self {
            Self::Whole(number) => number,
            Self::Real(number) => Some(number).filter(|number| number.fract() == 0.0)? as i128,
        };
        number.try_into().ok()
    }
}

/// A number of a column of numbers of any type.
fn number_at(column: &dyn Array, row: usize) -> Option<NumericValue> {
    macro_rules! number {
        ($($kind:pat => $type:ty, $number:ident;)+) => {
            match column.data_type() {
                $($kind => Some(NumericValue::$number(column.as_primitive::<$type>().value(row).into())),)+
                _ => None,
            }
        };
    }
    if column.is_null(row) {
        return None;
    }
    number! {
        DataType::Int8 => Int8Type, Whole;
        DataType::Int16 => Int16Type, Whole;
        DataType::Int32 => Int32Type, Whole;
        DataType::Int64 => Int64Type, Whole;
        DataType::UInt8 => UInt8Type, Whole;
        DataType::UInt16 => UInt16Type, Whole;
        DataType::UInt32 => UInt32Type, Whole;
        DataType::UInt64 => UInt64Type, Whole;
        DataType::Decimal128(_, _) => Decimal128Type, Whole;
        DataType::Float16 => Float16Type, Real;
        DataType::Float32 => Float32Type, Real;
        DataType::Float64 => Float64Type, Real;
    }
}

/// Numbers of any type; `None` where one is missing.
fn reals(values: &dyn Array) -> Option<Vec<f32>> {
    match values.data_type() {
        _ if values.null_count() > 0 => None,
        DataType::Float16 => {
            Some(values.as_primitive::<Float16Type>().values().iter().map(|x| x.to_f32()).collect())
        }
        DataType::Float32 => Some(values.as_primitive::<Float32Type>().values().to_vec()),
        _ => (0..values.len()).map(|i| number_at(values, i).map(|number| number.real() as f32)).collect(),
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
    is_external: bool,
    kind: ContentKind,
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

    fn real(&self, name: &str, row: usize) -> Result<Option<f64>, EngineError> {
        Ok(number_at(self.column(name)?, row).map(NumericValue::real).filter(|number| !number.is_nan()))
    }

    fn whole<T: TryFrom<i128>>(&self, name: &str, row: usize) -> Result<Option<T>, EngineError> {
        let Some(number) = number_at(self.column(name)?, row) else { return Ok(None) };
        let fit = number.whole();
        let wrong = || {
            let kind = std::any::type_name::<T>();
            wrong(self.path, format!("column \"{name}\": expected a {kind}, found {}", number.real()))
        };
        fit.map(Some).ok_or_else(wrong)
    }

    /// A number that every track has.
    fn needed<T: TryFrom<i128>>(&self, name: &str, row: usize) -> Result<T, EngineError> {
        self.whole(name, row)?.ok_or_else(|| self.lacks(name))
    }

    fn lacks(&self, name: &str) -> EngineError {
        wrong(self.path, format!("column \"{name}\": expected a value for each track, found none"))
    }

    fn binary(&self, name: &str, row: usize) -> Result<Option<&[u8]>, EngineError> {
        let column = self.column(name)?;
        Ok(column.is_valid(row).then(|| match column.data_type() {
            DataType::FixedSizeBinary(_) => column.as_fixed_size_binary().value(row),
            _ => column.as_binary_view().value(row),
        }))
    }

    pub(super) fn file(&self, row: usize) -> Result<FileRecord, EngineError> {
        let path = match self.binary("path_bytes", row)? {
            Some(bytes) => path_from_bytes(bytes),
            None => PathBuf::from(self.text("path", row)?.unwrap_or_default()),
        };
        Ok(FileRecord {
            path,
            size: self.whole("size", row)?.unwrap_or_default(),
            mtime_ns: self.whole("mtime_ns", row)?.unwrap_or_default(),
        })
    }

    /// The path of a row of changes, and the recording that it has since then, with the row's digest; `None` where it is gone.
    pub(super) fn told(&self, row: usize) -> Result<(PathBuf, Option<(ContentId, RowDigest)>), EngineError> {
        let path = self.file(row)?.path;
        if self.boolean("removed", row)? == Some(true) {
            return Ok((path, None));
        }
        let content = self.binary("content", row)?.and_then(|bytes| bytes.try_into().ok());
        let digest = self.binary("digest", row)?.and_then(|bytes| bytes.try_into().ok());
        let content = content.ok_or_else(|| self.lacks("content"))?;
        Ok((path, Some((ContentId(content), digest.ok_or_else(|| self.lacks("digest"))?))))
    }

    /// The recording of a row, or the failure that it tells of.
    pub(super) fn row(
        &self,
        row: usize,
        dimension: usize,
    ) -> Result<Result<TrackRecord, Failure>, EngineError> {
        let mut record = self.file(row)?;
        if self.is_external
            && self.column("size")?.is_null(row)
            && let Ok(metadata) = std::fs::metadata(&record.path)
        {
            record.size = metadata.len();
            record.mtime_ns = mtime_ns(&metadata);
        }
        if let Some(reason) = self.text(FAILURE, row)? {
            let known = self.whole::<u64>("size", row)?.is_some();
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
        let (audio, tags) = self.audio(row, &record.path)?;
        let descriptors = match self.whole("descriptors_version", row)? {
            None => None,
            Some(version) => Some(Descriptors {
                version,
                tempo: self.real("tempo", row)?,
                key: self.whole("key", row)?.and_then(MusicalKey::from_number),
                loudness: self.real("loudness", row)?,
                loudness_is_exact: self.boolean("loudness_is_exact", row)?.unwrap_or(false),
            }),
        };
        let facts = TrackFacts {
            audio,
            added_at: match self.whole("added_at", row)? {
                None if self.is_external => now(),
                time => time.ok_or_else(|| self.lacks("added_at"))?,
            },
            files: vec![TaggedFile { record, tags }],
            descriptors,
            label: self.text("label", row)?,
        };
        let (vector, windows) = self.vectors(row, dimension)?;
        Ok(Ok(TrackRecord { facts, vector, windows }))
    }

    /// What a row says of its recording. Of vectors that were made elsewhere it may say no more than the path: then the file
    /// says the rest, as far as it is there.
    fn audio(&self, row: usize, path: &Path) -> Result<(AudioFacts, TrackTags), EngineError> {
        let tags = self.tags(row)?;
        let content = match self.binary("content", row)? {
            None if self.is_external => return Ok(self.audio_of_file(path, tags)),
            content => content.and_then(|bytes| bytes.try_into().ok()).map(ContentId),
        };
        let content = content.ok_or_else(|| {
            wrong(self.path, "column \"content\": expected 32 bytes for each track, found none".to_owned())
        })?;
        let audio = AudioFacts {
            content,
            seconds: self.real("seconds", row)?.ok_or_else(|| self.lacks("seconds"))?,
            sample_rate: self.needed("sample_rate", row)?,
            channels: self.needed("channels", row)?,
            container: self.text("container", row)?.unwrap_or_default(),
            codec: self.text("codec", row)?.unwrap_or_default(),
            packets: self.needed("packets", row)?,
            damaged_packets: self.needed("damaged_packets", row)?,
        };
        Ok((audio, tags))
    }

    /// What a file says of itself, and its tags where the row has none; one that is not there is known by its path alone.
    fn audio_of_file(&self, path: &Path, tags: TrackTags) -> (AudioFacts, TrackTags) {
        let Ok(info) = voisin_audio::probe_as(path, self.kind) else {
            let name = path.as_os_str().as_encoded_bytes();
            let content = ContentId(blake3::derive_key("voisin: a recording known by its path", name));
            let audio = AudioFacts {
                content,
                seconds: 0.0,
                sample_rate: 0,
                channels: 0,
                container: String::new(),
                codec: String::new(),
                packets: 0,
                damaged_packets: 0,
            };
            return (audio, tags);
        };
        let audio = AudioFacts {
            content: info.content,
            seconds: info.seconds(),
            sample_rate: info.sample_rate,
            channels: info.channels,
            container: info.container,
            codec: info.codec,
            packets: info.packets,
            damaged_packets: 0,
        };
        let has_tags = tags != TrackTags::default();
        (audio, if has_tags { tags } else { voisin_audio::tags::read_tags(path).unwrap_or_default() })
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
            year: self.whole("year", row)?,
            track_number: self.whole("track_number", row)?,
            disc_number: self.whole("disc_number", row)?,
            mbid: self.text("mbid", row)?,
            isrc: self.text("isrc", row)?,
            licence: self.text("licence", row)?,
            bpm: self.real("bpm", row)?,
            musical_key: self.text("musical_key", row)?,
            replay_gain: self.real("replay_gain", row)?,
        })
    }

    fn vectors(&self, row: usize, dimension: usize) -> Result<(Vec<f32>, TrackWindows), EngineError> {
        let is_whole = |length: usize| {
            if length == dimension {
                return Ok(());
            }
            Err(wrong(self.path, format!("expected vectors of {dimension} numbers, found one of {length}")))
        };
        let vectors = self.column("vector")?.as_list::<i32>();
        let vector = vectors.is_valid(row).then(|| reals(&vectors.value(row))).flatten();
        let mut vector = vector.ok_or_else(|| self.lacks("vector"))?;
        is_whole(vector.len())?;
        // Sixteen bits a number leave a norm of nearly 1. What is far from it is refused by the library; only the direction
        // of vectors from elsewhere is looked at.
        let norm = voisin_base::vector::norm(&vector);
        if (norm - 1.0).abs() < 0.01 || self.is_external && norm > 0.0 {
            make_unit(&mut vector);
        }
        let (starts, windows) = (self.column("starts")?, self.column("windows")?);
        let (starts, windows) = (starts.as_list::<i32>(), windows.as_list::<i32>());
        if starts.is_null(row) || windows.is_null(row) {
            return Ok((vector, TrackWindows::none(dimension)));
        }
        let starts = reals(&starts.value(row)).ok_or_else(|| self.lacks("starts"))?;
        let rows = windows.value(row);
        let rows = rows.as_list::<i32>();
        rows.offsets().lengths().try_for_each(is_whole)?;
        let (from, to) = (rows.offsets().first(), rows.offsets().last());
        let values = rows.values().slice(from as usize, (to - from) as usize);
        let values: Option<Vec<f16>> = match values.data_type() {
            DataType::Float16 if values.null_count() == 0 => {
                Some(values.as_primitive::<Float16Type>().values().to_vec())
            }
            _ => reals(&values).map(|values| values.into_iter().map(f16::from_f32).collect()),
        };
        let values = values.ok_or_else(|| self.lacks("windows"))?;
        let vectors = Array2::from_shape_vec((rows.len(), dimension), values)
            .map_err(|_| wrong(self.path, "column \"windows\": expected whole vectors".to_owned()))?;
        Ok((vector, TrackWindows { vectors, starts }))
    }
}

/// Seconds since 1970 UTC.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}
