//! Writes Parquet files, each whole or not at all.

use std::path::PathBuf;
use std::sync::Arc;

use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::objects::{is_address, send, temporary};
use super::schema::{CHANGE_KEY, MEAN_KEY, ParquetRow, RemovedFile, batch, schema};
use voisin_base::atomic_file::AtomicFile;
use voisin_base::output::OutputTarget;
use voisin_base::track::ContentKind;
use voisin_engine::{EngineError, LibrarySpace};
use voisin_library::{Failure, StoredModel, TrackRecord};

/// How pages of a Parquet file are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ParquetCompression {
    /// Not at all.
    None,
    /// Supported by every reader of Parquet.
    #[default]
    Snappy,
    /// LZ4 without frames.
    Lz4,
    /// DEFLATE, level 6.
    Gzip,
    /// Zstandard, level 3.
    Zstd,
}

impl ParquetCompression {
    /// Names in options, in the order of the variants.
    pub const NAMES: [&str; 5] = ["none", "snappy", "lz4", "gzip", "zstd"];

    /// By its name; `None` for other words.
    pub fn named(name: &str) -> Option<Self> {
        let all = [Self::None, Self::Snappy, Self::Lz4, Self::Gzip, Self::Zstd];
        Self::NAMES
            .into_iter()
            .zip(all)
            .find(|(known, _)| *known == name)
            .map(|(_, it)| it)
    }

    fn codec(self) -> Compression {
        match self {
            Self::None => Compression::UNCOMPRESSED,
            Self::Snappy => Compression::SNAPPY,
            Self::Lz4 => Compression::LZ4_RAW,
            Self::Gzip => Compression::GZIP(GzipLevel::default()),
            // 3 is a valid level, so the default is never used.
            Self::Zstd => Compression::ZSTD(ZstdLevel::try_new(3).unwrap_or_default()),
        }
    }
}

/// A Parquet file that appears whole or not at all.
pub(super) struct ParquetOutput {
    target: PathBuf,
    file: AtomicFile,
    schema: SchemaRef,
    model: StoredModel,
    compression: ParquetCompression,
    change: Option<u64>,
}

/// The tracks that become rows.
#[derive(Default)]
pub(super) struct RowSet {
    pub(super) records: Vec<TrackRecord>,
    pub(super) failures: Vec<Failure>,
    pub(super) removed: Vec<RemovedFile>,
}

impl ParquetOutput {
    pub(super) fn create(
        target: PathBuf,
        model: &StoredModel,
        kind: ContentKind,
        compression: ParquetCompression,
    ) -> Result<Self, EngineError> {
        let place = if is_address(&target) {
            // Parquet has its index at the end and an object is sent in one piece: it is written to
            // a local file first.
            temporary(&target)
        } else {
            OutputTarget::whole(&target, true)?.target()?
        };
        let file = AtomicFile::create(&place).map_err(|source| EngineError::Write {
            path: target.clone(),
            source,
        })?;
        Ok(Self {
            target,
            file,
            schema: schema(model, kind),
            model: model.clone(),
            compression,
            change: None,
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

    /// Marks it as the file of changes with this number.
    pub(super) fn of_change(self, change: u64) -> Self {
        let mut metadata = self.schema.metadata().clone();
        metadata.insert(CHANGE_KEY.to_owned(), change.to_string());
        let schema = Arc::new(self.schema.as_ref().clone().with_metadata(metadata));
        Self {
            schema,
            change: Some(change),
            ..self
        }
    }

    /// Writes the sets of rows that `next` returns until there are none; returns the number of rows.
    pub(super) fn fill(
        mut self,
        mut next: impl FnMut() -> Result<Option<RowSet>, EngineError>,
    ) -> Result<u64, EngineError> {
        let failed = |problem: String| EngineError::Write {
            path: self.target.clone(),
            source: std::io::Error::other(problem),
        };
        let properties = WriterProperties::builder()
            .set_compression(self.compression.codec())
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
            rows.extend(set.removed.iter().map(ParquetRow::Removed));
            let batch = batch(&self.schema, &self.model, self.change, &rows).map_err(failed)?;
            count += rows.len() as u64;
            // A row group for each set, so that only one is in memory.
            let written = writer.write(&batch).and_then(|()| writer.flush());
            written.map_err(|error| failed(error.to_string()))?;
        }
        writer.close().map_err(|error| failed(error.to_string()))?;
        // Another export may have taken this number meanwhile. Replacing its file would lose it for
        // followers that have not read it.
        if self.change.is_some() && !is_address(&self.target) && self.target.exists() {
            return Err(EngineError::Write {
                path: self.target,
                source: std::io::Error::new(
                    std::io::ErrorKind::AlreadyExists,
                    "expected no such file, found one of another export: export the changes again",
                ),
            });
        }
        let whole = if is_address(&self.target) {
            send(self.file.file(), &self.target)
        } else {
            self.file.commit()
        };
        whole.map_err(|source| EngineError::Write {
            path: self.target,
            source,
        })?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_library::testing::model;

    #[test]
    fn changes_replace_no_file_of_another_export() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("changes-0000000001.parquet");
        let kind = ContentKind::default();
        let compression = ParquetCompression::default();
        let output = ParquetOutput::create(path.clone(), &model(2), kind, compression).unwrap();
        let output = output.of_change(1);
        std::fs::write(&path, "another's").unwrap();
        let refused = output.fill(|| Ok(None)).unwrap_err();
        assert!(
            matches!(&refused, EngineError::Write { path: found, .. } if *found == path),
            "{refused}"
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"another's");
    }
}
