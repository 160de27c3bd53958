//! Converts rows of Parquet files to recordings and failures.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::schema::{FAILURE, SCALES};
use super::widths::{NumericValue, direction, number_at, reals, text_length};
use super::wrong;
use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow_schema::DataType;
use voisin::{EngineError, foreign_audio};
use voisin_base::text::{LONGEST_TEXT, grouped};
use voisin_base::track::ContentId;
use voisin_base::vector::make_unit;
use voisin_library::{
    AudioFacts, Descriptors, Failure, FileRecord, MusicalKey, Scales, TaggedFile, TrackFacts,
    TrackRecord, TrackTags, mtime_ns, path_from_bytes,
};

/// A batch of rows.
pub(super) struct RecordColumns<'a> {
    pub(super) path: &'a Path,
    pub(super) is_external: bool,
    /// Counts the numbers of tags that are left out.
    pub(super) bad_numbers: &'a Cell<u64>,
    pub(super) batch: &'a RecordBatch,
}

impl RecordColumns<'_> {
    /// One of the columns that were read; its type was checked when the file was opened.
    pub(super) fn column(&self, name: &str) -> Result<&ArrayRef, EngineError> {
        let column = self.batch.column_by_name(name);
        column.ok_or_else(|| {
            wrong(
                self.path,
                format!("column \"{name}\": expected one, found none"),
            )
        })
    }

    /// Refuses a row with a text that every library would refuse.
    pub(super) fn check_texts(&self, row: usize) -> Result<(), String> {
        for (field, column) in self
            .batch
            .schema_ref()
            .fields()
            .iter()
            .zip(self.batch.columns())
        {
            let length = text_length(column, row);
            if length > LONGEST_TEXT {
                return Err(format!(
                    "column \"{}\" of {} has {} bytes for it, expected at most {}: analyse the file again",
                    field.name(),
                    self.path.display(),
                    grouped(length as u64),
                    grouped(LONGEST_TEXT as u64),
                ));
            }
        }
        Ok(())
    }

    pub(super) fn text(&self, name: &str, row: usize) -> Result<Option<String>, EngineError> {
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
        Ok(number_at(self.column(name)?, row)
            .map(NumericValue::real)
            // pandas writes NaN for a missing number.
            .filter(|number| !number.is_nan()))
    }

    fn whole<T: TryFrom<i128>>(&self, name: &str, row: usize) -> Result<Option<T>, EngineError> {
        // pandas writes NaN for a missing number.
        let number = number_at(self.column(name)?, row).filter(|number| !number.real().is_nan());
        let Some(number) = number else {
            return Ok(None);
        };
        let fit = number.whole();
        let wrong = || {
            let kind = std::any::type_name::<T>();
            wrong(
                self.path,
                format!(
                    "column \"{name}\": expected a {kind}, found {}",
                    number.real()
                ),
            )
        };
        fit.map(Some).ok_or_else(wrong)
    }

    /// A number of a tag; one that does not fit is left out and counted, as the track has everything else.
    fn tag_number<T: TryFrom<i128>>(
        &self,
        name: &str,
        row: usize,
        fits: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let Ok(number) = self.whole::<T>(name, row) else {
            self.bad_numbers.set(self.bad_numbers.get() + 1);
            return None;
        };
        if number.as_ref().is_some_and(|number| !fits(number)) {
            self.bad_numbers.set(self.bad_numbers.get() + 1);
        }
        number.filter(fits)
    }

    /// A number that every track has.
    pub(super) fn needed<T: TryFrom<i128>>(
        &self,
        name: &str,
        row: usize,
    ) -> Result<T, EngineError> {
        self.whole(name, row)?.ok_or_else(|| self.lacks(name))
    }

    fn lacks(&self, name: &str) -> EngineError {
        wrong(
            self.path,
            format!("column \"{name}\": expected a value for each track, found none"),
        )
    }

    fn binary(&self, name: &str, row: usize) -> Result<Option<&[u8]>, EngineError> {
        let column = self.column(name)?;
        // Ids come in a fixed width from voisin and as plain binary from other programs;
        // `check_columns` has refused all other types.
        Ok(column.is_valid(row).then(|| match column.data_type() {
            DataType::FixedSizeBinary(_) => column.as_fixed_size_binary().value(row),
            _ => column.as_binary_view().value(row),
        }))
    }

    pub(super) fn file(&self, row: usize) -> Result<FileRecord, EngineError> {
        // `path` has replacement characters if a name is not UTF-8; only the bytes identify the file.
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

    /// The recording or the failure in a row.
    pub(super) fn row(
        &self,
        row: usize,
        dimension: usize,
    ) -> Result<Result<TrackRecord, Failure>, EngineError> {
        let mut record = self.file(row)?;
        if record.path.as_os_str().is_empty() {
            return Err(self.lacks("path"));
        }
        // Without repeated separators, with which a file would be two tracks.
        if self.is_external {
            record.path = record.path.components().collect();
        }
        // Another program's table has neither size nor time: the file is taken as it is today.
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
                // A number that is no key is ignored; the rest of the row is used.
                key: self.whole("key", row)?.and_then(MusicalKey::from_number),
                loudness: self.real("loudness", row)?,
                loudness_is_exact: self.boolean("loudness_is_exact", row)?.unwrap_or(false),
                is_steady: self.boolean("is_steady", row)?.unwrap_or(false),
                scales: Scales::new(),
            }),
        };
        let scales = self.scales(row)?;
        // A track may have values on scales but no measurements, which version 0, the default, means.
        let descriptors = match descriptors {
            None if scales.is_empty() => None,
            known => Some(Descriptors {
                scales,
                ..known.unwrap_or_default()
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
        Ok(Ok(TrackRecord {
            facts,
            vector: self.vector(row, dimension)?,
            logits: self.logits(row)?,
        }))
    }

    /// Values of scales, as JSON; none in files from before they existed.
    fn scales(&self, row: usize) -> Result<Scales, EngineError> {
        let Some(text) = self.text(SCALES, row)? else {
            return Ok(Scales::new());
        };
        serde_json::from_str(&text)
            .map_err(|error| wrong(self.path, format!("column \"{SCALES}\": {error}")))
    }

    /// A row's facts about its recording. A row with another program's vector may have only a path:
    /// the rest is read from the file, if it exists.
    fn audio(&self, row: usize, path: &Path) -> Result<(AudioFacts, TrackTags), EngineError> {
        let tags = self.tags(row)?;
        let content = match self.binary("content", row)? {
            None if self.is_external => return Ok(foreign_audio(path, tags)),
            content => content
                .and_then(|bytes| bytes.try_into().ok())
                .map(ContentId),
        };
        let content = content.ok_or_else(|| {
            wrong(
                self.path,
                "column \"content\": expected 32 bytes for each track, found none".to_owned(),
            )
        })?;
        let audio = AudioFacts {
            content,
            seconds: self
                .real("seconds", row)?
                .ok_or_else(|| self.lacks("seconds"))?,
            sample_rate: self.needed("sample_rate", row)?,
            channels: self.needed("channels", row)?,
            container: self.text("container", row)?.unwrap_or_default(),
            codec: self.text("codec", row)?.unwrap_or_default(),
            packets: self.needed("packets", row)?,
            damaged_packets: self.needed("damaged_packets", row)?,
        };
        Ok((audio, tags))
    }

    fn tags(&self, row: usize) -> Result<TrackTags, EngineError> {
        let genres = self.column("genres")?;
        let genres = match genres.data_type() {
            _ if genres.is_null(row) => Vec::new(),
            DataType::List(_) => {
                let genres = genres.as_list::<i32>().value(row);
                let names = genres.as_string_view().iter().flatten();
                names.map(str::to_owned).collect()
            }
            // Several in one text, as in `tracks.csv`.
            _ => {
                let names = genres.as_string_view().value(row).split(';').map(str::trim);
                let names = names.filter(|name| !name.is_empty());
                names.map(str::to_owned).collect()
            }
        };
        Ok(TrackTags {
            title: self.text("title", row)?,
            artist: self.text("artist", row)?,
            album: self.text("album", row)?,
            album_artist: self.text("album_artist", row)?,
            composer: self.text("composer", row)?,
            genres,
            // The years that tags may have.
            year: self.tag_number("year", row, |year| (1..=9999).contains(year)),
            track_number: self.tag_number("track_number", row, |_| true),
            disc_number: self.tag_number("disc_number", row, |_| true),
            mbid: self.text("mbid", row)?,
            isrc: self.text("isrc", row)?,
            licence: self.text("licence", row)?,
            bpm: self.real("bpm", row)?,
            musical_key: self.text("musical_key", row)?,
            replay_gain: self.real("replay_gain", row)?,
        })
    }

    fn vector(&self, row: usize, dimension: usize) -> Result<Vec<f32>, EngineError> {
        let vectors = self.column("vector")?.as_list::<i32>();
        let read = if self.is_external { direction } else { reals };
        let vector = vectors
            .is_valid(row)
            .then(|| read(&vectors.value(row)))
            .flatten();
        let mut vector = vector.ok_or_else(|| self.lacks("vector"))?;
        if vector.len() != dimension {
            let length = vector.len();
            return Err(wrong(
                self.path,
                format!("expected vectors of {dimension} numbers, found one of {length}"),
            ));
        }
        // Sixteen bits a number leave a norm of nearly 1. The library refuses others; for another
        // program's vectors only the direction is used.
        let norm = voisin_base::vector::norm(&vector);
        if (norm - 1.0).abs() < 0.01 || self.is_external && norm > 0.0 {
            make_unit(&mut vector);
        }
        Ok(vector)
    }

    /// Logits of the model's tags; none in files of other programs.
    fn logits(&self, row: usize) -> Result<Vec<f32>, EngineError> {
        let logits = self.column("logits")?.as_list::<i32>();
        if logits.is_null(row) {
            return Ok(Vec::new());
        }
        reals(&logits.value(row)).ok_or_else(|| self.lacks("logits"))
    }
}

/// Seconds since 1970 UTC.
fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs() as i64)
}
