//! Inspects a data set: opens and decodes every file once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::Serialize;

use super::leak::{Leak, find_overlaps};
use super::matrix::{MatrixRow, artists, class_of, licences};
use super::split::{Split, split_rows};
use super::{LabError, csv_bytes};
use crate::dataset::{Dataset, Fault, Part};
use voisin_audio::{self, AudioInfo};
use voisin_base::text::{fold, with_causes};

/// Samples from this level on count as clipped.
const FULL_SCALE: f32 = 0.999;
/// Samples of a block, and the level below which it is silent.
const BLOCK: usize = 4096;
const SILENT_DB: f64 = -60.0;

/// Measurements of a decoded file.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedFile {
    /// Container, codec, rate and length.
    pub info: AudioInfo,
    /// Bytes of the file.
    pub bytes: u64,
    /// RMS level, dB relative to full scale.
    pub level: f64,
    /// Share of its samples at full scale.
    pub clipped: f64,
    /// Share of its blocks that are silent.
    pub silent: f64,
}

/// The results of an inspection.
#[derive(Debug)]
pub struct Inspection {
    /// Tracks that can be decoded.
    pub rows: Vec<MatrixRow>,
    /// Measurements of each; none without audio.
    pub decoded: Vec<Option<DecodedFile>>,
    /// Rows and files that could not be used.
    pub faults: Vec<Fault>,
}

fn measure(path: &Path) -> Result<DecodedFile, String> {
    let info = voisin_audio::probe(path).map_err(|error| with_causes(&error))?;
    // At the file's rate, since resampling would smooth clipped peaks.
    let starts: Vec<i64> = (0..info.n_frames)
        .step_by(BLOCK)
        .map(|start| start as i64)
        .collect();
    let mut square = 0.0f64;
    let mut clipped = 0usize;
    let mut silent = 0usize;
    let mut sink = |_: usize, block: &[f32]| {
        let energy: f64 = block.iter().map(|v| f64::from(*v).powi(2)).sum();
        clipped += block.iter().filter(|v| v.abs() >= FULL_SCALE).count();
        // The last block is padded with zeros, and may count as silent.
        silent += usize::from(10.0 * (energy / BLOCK as f64).max(1e-20).log10() < SILENT_DB);
        square += energy;
    };
    voisin_audio::read_windows(path, &info, info.sample_rate, &starts, BLOCK, &mut sink)
        .map_err(|error| with_causes(&error))?;
    let frames = info.n_frames.max(1) as f64;
    let decoded = DecodedFile {
        bytes: std::fs::metadata(path).map_or(0, |metadata| metadata.len()),
        level: 10.0 * (square / frames).max(1e-20).log10(),
        clipped: clipped as f64 / frames,
        silent: silent as f64 / starts.len().max(1) as f64,
        info,
    };
    if decoded.silent >= 1.0 {
        Err("silent from beginning to end".to_owned())
    } else {
        Ok(decoded)
    }
}

/// Opens and decodes every file.
pub fn inspect(
    set: &Dataset,
    progress: &(dyn Fn(usize) + Sync),
    stop: &AtomicBool,
) -> Result<Inspection, LabError> {
    let done = AtomicUsize::new(0);
    let decoded: Vec<Result<_, String>> = set
        .items
        .par_iter()
        .map(|item| {
            if stop.load(Ordering::Relaxed) {
                // Not shown, since an interrupted inspection ends with an error below.
                return Err(String::new());
            }
            // A track without audio is no fault; one that cannot be decoded is.
            let decoded = item.path.as_deref().map(measure).transpose();
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            decoded
        })
        .collect();
    if stop.load(Ordering::Relaxed) {
        return Err(LabError::Interrupted);
    }
    let mut found = Inspection {
        rows: Vec::new(),
        decoded: Vec::new(),
        faults: set.faults.clone(),
    };
    for (at, (item, decoded)) in set.items.iter().zip(decoded).enumerate() {
        match decoded {
            Ok(decoded) => {
                let (content, seconds) = decoded
                    .as_ref()
                    .map(|decoded| (decoded.info.content, decoded.info.seconds()))
                    .unzip();
                found.rows.push(match &set.columns {
                    Some(table) if content.is_none() => {
                        MatrixRow::of_numbers(item, table.values.row(at))
                    }
                    _ => MatrixRow {
                        item: item.clone(),
                        content,
                        seconds,
                    },
                });
                found.decoded.push(decoded);
            }
            Err(reason) => found.faults.push(Fault {
                key: item.key.clone(),
                reason,
            }),
        }
    }
    Ok(found)
}

/// One class of a data set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassCounts {
    /// Its name.
    pub name: String,
    /// Tracks.
    pub tracks: usize,
    /// Known artists.
    pub artists: usize,
    /// Largest share of its tracks by one artist.
    pub largest_artist: f64,
    /// Tracks for training, validation, test.
    pub parts: [usize; 3],
}

/// Everything that `voisin lab data` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Overview {
    /// `KIND:PATH` with its options.
    pub data: String,
    /// Tracks that can be used.
    pub tracks: usize,
    /// Tracks without a label.
    pub unlabelled: usize,
    /// By class.
    pub classes: Vec<ClassCounts>,
    /// Artists that are known.
    pub artists: usize,
    /// Seconds of music.
    pub seconds: f64,
    /// Tracks of each container, codec and rate.
    pub formats: BTreeMap<String, usize>,
    /// Tracks of each licence.
    pub licences: BTreeMap<String, usize>,
    /// Mean kilobits a second.
    pub kbit: f64,
    /// How the data is split; none if labels are missing.
    pub split: Option<String>,
    /// Tracks, artists and albums in more than one part.
    pub leak: Leak,
    /// Tracks with one channel.
    pub mono: usize,
    /// Tracks with more than a thousandth at full scale.
    pub clipped: usize,
    /// Tracks that are more than half silent.
    pub mostly_silent: usize,
    /// Rows and files that could not be used, with reasons.
    pub failures: Vec<(String, String)>,
    /// Notes on how it was read.
    pub notes: Vec<String>,
}

/// Summarises an inspection.
pub fn overview(
    set: &Dataset,
    found: &Inspection,
    how: &str,
    seed: u64,
) -> Result<Overview, LabError> {
    let rows: Vec<MatrixRow> = found
        .rows
        .iter()
        .filter(|row| row.item.label.is_some())
        .cloned()
        .collect();
    let names = set.classes();
    let class_of = class_of(&rows, &names);
    let mut notes = set.notes.clone();
    let split: Option<Split> = match split_rows(&rows, &class_of, names.len(), how, seed) {
        _ if rows.is_empty() => None,
        Ok(split) => Some(split),
        // Data that cannot be split can still be inspected: the reason becomes a note.
        Err(LabError::Options(why)) => {
            notes.push(why);
            None
        }
        Err(error) => return Err(error),
    };
    let classes = names
        .iter()
        .enumerate()
        .map(|(class, name)| {
            let members: Vec<usize> = (0..rows.len())
                .filter(|&row| class_of[row] == class)
                .collect();
            let mut artists: BTreeMap<String, usize> = BTreeMap::new();
            members
                .iter()
                .filter_map(|&row| rows[row].item.artist.as_deref())
                .for_each(|name| {
                    *artists.entry(fold(name)).or_default() += 1;
                });
            let largest = artists.values().max().copied().unwrap_or(0);
            let parts = Part::ALL.map(|part| {
                let split = split.as_ref();
                members
                    .iter()
                    .filter(|&&row| split.is_some_and(|split| split.parts[row] == Some(part)))
                    .count()
            });
            ClassCounts {
                name: name.clone(),
                tracks: members.len(),
                artists: artists.len(),
                largest_artist: largest as f64 / members.len().max(1) as f64,
                parts,
            }
        })
        .collect();
    let decoded: Vec<&DecodedFile> = found.decoded.iter().flatten().collect();
    let mut formats: BTreeMap<String, usize> = BTreeMap::new();
    for one in &decoded {
        let info = &one.info;
        *formats
            .entry(format!(
                "{}/{} {} Hz",
                info.container, info.codec, info.sample_rate
            ))
            .or_default() += 1;
    }
    // An empty sum is -0; adding 0 makes it 0.
    let seconds = found.rows.iter().filter_map(|row| row.seconds).sum::<f64>() + 0.0;
    let bytes: u64 = decoded.iter().map(|one| one.bytes).sum();
    Ok(Overview {
        data: set.source.clone(),
        tracks: found.rows.len(),
        unlabelled: found.rows.len() - rows.len(),
        classes,
        artists: artists(&found.rows),
        seconds,
        formats,
        licences: licences(&found.rows),
        kbit: if seconds > 0.0 {
            bytes as f64 * 8.0 / 1000.0 / seconds
        } else {
            0.0
        },
        leak: split
            .as_ref()
            .map_or_else(Leak::default, |split| find_overlaps(&rows, split)),
        split: split.map(|split| split.summary),
        mono: decoded.iter().filter(|one| one.info.channels == 1).count(),
        clipped: decoded.iter().filter(|one| one.clipped > 1e-3).count(),
        mostly_silent: decoded.iter().filter(|one| one.silent > 0.5).count(),
        failures: found
            .faults
            .iter()
            .map(|fault| (fault.key.clone(), fault.reason.clone()))
            .collect(),
        notes,
    })
}

/// The canonical table of a data set, which `table:` reads.
pub fn canonical_table(found: &Inspection) -> Vec<u8> {
    let header = [
        "path", "genre", "artist", "album", "split", "licence", "seconds", "content", "status",
    ];
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let good = found.rows.iter().map(|row| {
        let item = &row.item;
        let path = item.path.as_ref().map_or_else(
            || item.key.clone(),
            |path| path.to_string_lossy().into_owned(),
        );
        [
            path,
            text(item.label.as_ref()),
            text(item.artist.as_ref()),
            text(item.album.as_ref()),
            item.part.map_or("", Part::name).to_owned(),
            text(item.licence.as_ref()),
            row.seconds
                .map_or_else(String::new, |seconds| format!("{seconds:.3}")),
            row.audio()
                .map_or_else(String::new, |content| content.to_string()),
            "ok".to_owned(),
        ]
    });
    let bad = found.faults.iter().map(|fault| {
        let mut row: [String; 9] = Default::default();
        row[0].clone_from(&fault.key);
        // In the column "status", by which a later reading skips the row.
        row[8].clone_from(&fault.reason);
        row
    });
    csv_bytes(&header.map(str::to_owned), b',', good.chain(bad))
}
