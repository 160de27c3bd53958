//! Writes Parquet files, each whole or not at all.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::schema::{MEAN_KEY, ParquetRow, batch, schema};
use voisin::{EngineError, LibrarySpace};
use voisin_base::atomic_file::AtomicFile;
use voisin_base::output::{OutputError, OutputTarget};
use voisin_library::{Failure, StoredModel, TrackRecord};

/// A Parquet file that appears whole or not at all.
pub(super) struct ParquetOutput {
    target: PathBuf,
    file: AtomicFile,
    schema: SchemaRef,
    model: StoredModel,
}

/// The tracks that become rows.
#[derive(Default)]
pub(super) struct RowSet {
    pub(super) records: Vec<TrackRecord>,
    pub(super) failures: Vec<Failure>,
}

impl ParquetOutput {
    pub(super) fn create(target: PathBuf, model: &StoredModel) -> Result<Self, EngineError> {
        let place = OutputTarget::whole(&target)?.target()?;
        let file = AtomicFile::create(&place).map_err(OutputError::io(&target))?;
        Ok(Self {
            target,
            file,
            schema: schema(model),
            model: model.clone(),
        })
    }

    /// Stores the mean of the vectors.
    pub(super) fn of_library(self, space: &LibrarySpace) -> Self {
        let mut metadata = self.schema.metadata().clone();
        // `{:?}` of numbers is valid JSON and keeps each to its last bit.
        metadata.insert(MEAN_KEY.to_owned(), format!("{:?}", space.mean()));
        Self {
            schema: Arc::new(self.schema.as_ref().clone().with_metadata(metadata)),
            ..self
        }
    }

    /// Writes the sets of rows that `next` returns until there are none; returns the number of rows.
    pub(super) fn fill(
        mut self,
        mut next: impl FnMut() -> Result<Option<RowSet>, EngineError>,
    ) -> Result<u64, EngineError> {
        let path = self.target.clone();
        let failed = |problem: String| OutputError::io(&path)(std::io::Error::other(problem));
        let properties = WriterProperties::builder()
            // Every reader of Parquet knows it.
            .set_compression(Compression::SNAPPY)
            .build();
        let mut writer =
            ArrowWriter::try_new(self.file.file(), Arc::clone(&self.schema), Some(properties))
                .map_err(|error| failed(error.to_string()))?;
        let mut count = 0;
        while let Some(set) = next()? {
            let mut rows: Vec<ParquetRow<'_>> = Vec::new();
            for record in &set.records {
                rows.extend(
                    record
                        .facts
                        .files
                        .iter()
                        .map(|file| ParquetRow::Track(record, file)),
                );
            }
            rows.extend(set.failures.iter().map(ParquetRow::Failed));
            let batch = batch(&self.schema, &self.model, &rows).map_err(failed)?;
            count += rows.len() as u64;
            // A row group for each set, so that only one is in memory.
            let written = writer.write(&batch).and_then(|()| writer.flush());
            written.map_err(|error| failed(error.to_string()))?;
        }
        writer.close().map_err(|error| failed(error.to_string()))?;
        self.file.commit().map_err(OutputError::io(&path))?;
        Ok(count)
    }
}
