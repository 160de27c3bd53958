//! Files of rows: their schema, writing and reading. Each is written whole or not at all.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::builder::{
    FixedSizeListBuilder, Float16Builder, Float32Builder, ListBuilder, StringBuilder,
};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float16Type, Float32Type, Float64Type, Int64Type};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use half::f16;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::BATCH;
use crate::row::{COLUMNS, Cell, Column, Kind};
use voisin::{EngineError, check_model};
use voisin_audio::guard;
use voisin_base::atomic_file::AtomicFile;
use voisin_base::output::{OutputError, OutputTarget};
use voisin_base::regular_file;
use voisin_library::StoredModel;

/// The columns of a file that identify an audio file: path and its bytes, size, time.
pub(super) const IDENTITY: usize = 4;

/// The columns of audio files that failed.
pub(super) const FAILURES: [Column; 6] = [
    COLUMNS[0],
    COLUMNS[1],
    COLUMNS[2],
    COLUMNS[3],
    ("failure", Kind::Text, ""),
    ("transient", Kind::Bool, ""),
];

/// Keys of the model in a file's metadata.
const MODEL_KEYS: [&str; 4] = [
    "voisin.model",
    "voisin.fingerprint",
    "voisin.dimension",
    "voisin.manifest",
];

fn schema(model: &StoredModel, columns: &[Column]) -> SchemaRef {
    let fields = columns
        .iter()
        .map(|(name, kind, _)| Field::new(*name, data_type(*kind, model), true));
    let values = [
        model.name.clone(),
        model.fingerprint.clone(),
        model.dimension.to_string(),
        model.manifest_json.clone(),
    ];
    let keys = MODEL_KEYS.map(str::to_owned);
    let metadata: HashMap<String, String> = keys.into_iter().zip(values).collect();
    Arc::new(Schema::new_with_metadata(
        fields.collect::<Vec<Field>>(),
        metadata,
    ))
}

fn data_type(kind: Kind, model: &StoredModel) -> DataType {
    let item = |kind| Arc::new(Field::new("item", kind, true));
    match kind {
        Kind::Text | Kind::Json => DataType::Utf8,
        Kind::Texts => DataType::List(item(DataType::Utf8)),
        Kind::Int => DataType::Int64,
        Kind::Real => DataType::Float64,
        Kind::Bool => DataType::Boolean,
        Kind::Bytes => DataType::Binary,
        Kind::Floats => DataType::List(item(DataType::Float32)),
        Kind::Vector => DataType::FixedSizeList(item(DataType::Float16), model.dimension as i32),
    }
}

/// A column of an Arrow table.
fn array(kind: Kind, dimension: usize, cells: &[&Cell]) -> ArrayRef {
    let cells = cells.iter().copied();
    match kind {
        Kind::Text | Kind::Json => Arc::new(cells.map(Cell::text).collect::<StringArray>()),
        Kind::Int => {
            let number = |cell: &Cell| match cell {
                Cell::Int(number) => Some(*number),
                _ => None,
            };
            Arc::new(cells.map(number).collect::<Int64Array>())
        }
        Kind::Real => {
            let number = |cell: &Cell| match cell {
                Cell::Real(number) => Some(*number),
                _ => None,
            };
            Arc::new(cells.map(number).collect::<Float64Array>())
        }
        Kind::Bool => {
            let is = |cell: &Cell| match cell {
                Cell::Bool(is) => Some(*is),
                _ => None,
            };
            Arc::new(cells.map(is).collect::<BooleanArray>())
        }
        Kind::Bytes => {
            let bytes = |cell: &'_ Cell| match cell {
                Cell::Bytes(bytes) => Some(bytes.clone()),
                _ => None,
            };
            Arc::new(cells.map(bytes).collect::<BinaryArray>())
        }
        Kind::Texts => {
            let mut lists = ListBuilder::new(StringBuilder::new());
            for cell in cells {
                lists.append_option(match cell {
                    Cell::Texts(texts) => Some(texts.iter().map(Some)),
                    _ => None,
                });
            }
            Arc::new(lists.finish())
        }
        Kind::Floats => {
            let mut lists = ListBuilder::new(Float32Builder::new());
            for cell in cells {
                lists.values().append_slice(cell.floats());
                lists.append(true);
            }
            Arc::new(lists.finish())
        }
        Kind::Vector => vectors(dimension, cells),
    }
}

fn vectors<'a>(dimension: usize, cells: impl Iterator<Item = &'a Cell>) -> ArrayRef {
    let mut lists = FixedSizeListBuilder::new(Float16Builder::new(), dimension as i32);
    for cell in cells {
        // A vector of a damaged library may have another length.
        let is_whole = cell.floats().len() == dimension;
        let mut numbers = vec![0.0; dimension];
        if is_whole {
            numbers.copy_from_slice(cell.floats());
        }
        for number in numbers {
            lists.values().append_value(f16::from_f32(number));
        }
        lists.append(is_whole);
    }
    Arc::new(lists.finish())
}

/// A value of a column, whose type was checked when the file was opened.
fn cell(kind: Kind, column: &ArrayRef, row: usize) -> Cell {
    if column.is_null(row) {
        return Cell::Null;
    }
    match kind {
        Kind::Text | Kind::Json => Cell::Text(column.as_string::<i32>().value(row).to_owned()),
        Kind::Int => Cell::Int(column.as_primitive::<Int64Type>().value(row)),
        Kind::Real => Cell::Real(column.as_primitive::<Float64Type>().value(row)),
        Kind::Bool => Cell::Bool(column.as_boolean().value(row)),
        Kind::Bytes => Cell::Bytes(column.as_binary::<i32>().value(row).to_owned()),
        Kind::Texts => {
            let texts = column.as_list::<i32>().value(row);
            let texts = texts.as_string::<i32>().iter().flatten();
            Cell::Texts(texts.map(str::to_owned).collect())
        }
        Kind::Floats => {
            let numbers = column.as_list::<i32>().value(row);
            Cell::Floats(numbers.as_primitive::<Float32Type>().values().to_vec())
        }
        Kind::Vector => {
            let halves = column.as_fixed_size_list().value(row);
            let halves = halves.as_primitive::<Float16Type>().values().iter();
            Cell::Floats(halves.map(|half| half.to_f32()).collect())
        }
    }
}

/// Writes the sets of rows that `next` returns until there are none; returns the number of rows.
pub(super) fn write(
    target: &Path,
    model: &StoredModel,
    columns: &[Column],
    mut next: impl FnMut() -> Result<Option<Vec<Vec<Cell>>>, EngineError>,
) -> Result<u64, EngineError> {
    let cannot = OutputError::io(target);
    let mut file = AtomicFile::create(&OutputTarget::whole(target)?.target()?).map_err(&cannot)?;
    let schema = schema(model, columns);
    // Every reader of Parquet knows this compression.
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    let mut writer =
        ArrowWriter::try_new(file.file(), Arc::clone(&schema), Some(properties.build()))
            .map_err(|error| cannot(error.into()))?;
    let mut count = 0;
    while let Some(rows) = next()? {
        let arrays = columns.iter().enumerate().map(|(at, (_, kind, _))| {
            let cells: Vec<&Cell> = rows.iter().map(|row| &row[at]).collect();
            array(*kind, model.dimension, &cells)
        });
        let batch = RecordBatch::try_new(Arc::clone(&schema), arrays.collect())
            .map_err(|error| cannot(std::io::Error::other(error)))?;
        count += rows.len() as u64;
        // A row group for each set, so that only one is in memory.
        let written = writer.write(&batch).and_then(|()| writer.flush());
        written.map_err(|error| cannot(error.into()))?;
    }
    writer.close().map_err(|error| cannot(error.into()))?;
    file.commit().map_err(&cannot)?;
    Ok(count)
}

/// An open file.
pub(super) struct ParquetInput {
    path: PathBuf,
    file: File,
    metadata: ArrowReaderMetadata,
    pub(super) model: StoredModel,
    /// Whether its rows are failures.
    pub(super) has_failures: bool,
}

impl ParquetInput {
    pub(super) fn open(path: &Path) -> Result<Self, EngineError> {
        let file = regular_file::open(path).map_err(EngineError::unread(path))?;
        let load = || ArrowReaderMetadata::load(&file, ArrowReaderOptions::new());
        let metadata = guard(path, load)?.map_err(|error| {
            EngineError::file(path, format!("expected a Parquet file: {error}"))
        })?;
        let model = model(path, metadata.schema())?;
        let input = Self {
            path: path.to_owned(),
            has_failures: metadata.schema().field_with_name("failure").is_ok(),
            file,
            metadata,
            model,
        };
        // Before any row is read: rows are read as these types without another check.
        for field in schema(&input.model, input.columns()).fields() {
            let found = input.metadata.schema().field_with_name(field.name());
            let found = found.map_or("none".to_owned(), |found| found.data_type().to_string());
            let expected = field.data_type().to_string();
            if found != expected {
                let name = field.name();
                return Err(EngineError::file(
                    path,
                    format!(
                        "column \"{name}\": expected {expected} (docs/scale.md), found {found}"
                    ),
                ));
            }
        }
        Ok(input)
    }

    pub(super) fn columns(&self) -> &'static [Column] {
        if self.has_failures {
            &FAILURES
        } else {
            &COLUMNS
        }
    }

    /// Calls `visit` with the values of these columns in each row.
    pub(super) fn each_row(
        &self,
        columns: &[Column],
        mut visit: impl FnMut(Vec<Cell>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let broken = |error: &dyn std::fmt::Display| {
            EngineError::file(&self.path, format!("cannot be read: {error}"))
        };
        let names = columns.iter().map(|(name, ..)| *name);
        let mask = ProjectionMask::columns(self.metadata.parquet_schema(), names);
        let open = || {
            let file = self.file.try_clone()?;
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_projection(mask)
                .with_batch_size(BATCH)
                .build()
        };
        let mut reader = guard(&self.path, open)?.map_err(|error| broken(&error))?;
        // Some damaged files make the reader panic. It is not used after that.
        while let Some(batch) = guard(&self.path, || reader.next())? {
            let batch = batch.map_err(|error| broken(&error))?;
            let absent = || broken(&"a column is missing");
            let arrays: Option<Vec<&ArrayRef>> = columns
                .iter()
                .map(|(name, ..)| batch.column_by_name(name))
                .collect();
            let arrays = arrays.ok_or_else(absent)?;
            for row in 0..batch.num_rows() {
                let cells = columns.iter().zip(&arrays);
                visit(
                    cells
                        .map(|((_, kind, _), array)| cell(*kind, array, row))
                        .collect(),
                )?;
            }
        }
        Ok(())
    }
}

/// The model that a file's metadata names, which may have been changed by other programs.
fn model(path: &Path, schema: &Schema) -> Result<StoredModel, EngineError> {
    let [name, fingerprint, dimension, manifest_json] =
        MODEL_KEYS.map(|key| schema.metadata().get(key).cloned().unwrap_or_default());
    if manifest_json.is_empty() {
        let problem = "expected a file that voisin wrote, found none of its metadata";
        return Err(EngineError::file(path, problem.to_owned()));
    }
    let model = StoredModel {
        name,
        fingerprint,
        dimension: dimension.parse().unwrap_or_default(),
        manifest_json,
    };
    check_model(&model).map_err(|problem| {
        let place = path.display().to_string();
        EngineError::foreign_model(&place, &problem, "write the file again")
    })?;
    Ok(model)
}
