//! Inspects a data set: opens and decodes every file once.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rayon::prelude::*;
use serde::Serialize;

use super::leak::{Leak, find_overlaps};
use super::matrix::{MatrixRow, artists, class_of};
use super::split::{Split, split_rows};
use super::{LabError, csv_bytes};
use crate::dataset::{Dataset, Fault, Part};
use voisin_audio::AudioInfo;
use voisin_base::text::{fold, with_causes};

/// Samples of a block, and the level below which it is silent.
const BLOCK: usize = 4096;
const SILENT_DB: f64 = -60.0;

#[derive(Debug)]
pub struct Inspection {
    pub rows: Vec<MatrixRow>,
    /// Container, codec and rate of each; none without audio.
    formats: Vec<Option<String>>,
    pub faults: Vec<Fault>,
}

fn decode(path: &Path) -> Result<AudioInfo, String> {
    let info = voisin_audio::probe(path).map_err(|error| with_causes(&error))?;
    let starts = (0..info.n_frames).step_by(BLOCK);
    let starts: Vec<i64> = starts.map(|start| start as i64).collect();
    let mut is_silent = true;
    let mut sink = |_: usize, block: &[f32]| {
        let energy: f64 = block.iter().map(|v| f64::from(*v).powi(2)).sum();
        is_silent &= 10.0 * (energy / BLOCK as f64).max(1e-20).log10() < SILENT_DB;
    };
    voisin_audio::read_windows(path, &info, info.sample_rate, &starts, BLOCK, &mut sink)
        .map_err(|error| with_causes(&error))?;
    if is_silent {
        Err("silent from beginning to end".to_owned())
    } else {
        Ok(info)
    }
}

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
            let decoded = item.path.as_deref().map(decode).transpose();
            progress(done.fetch_add(1, Ordering::Relaxed) + 1);
            decoded
        })
        .collect();
    if stop.load(Ordering::Relaxed) {
        return Err(LabError::Interrupted);
    }
    let mut found = Inspection {
        rows: Vec::new(),
        formats: Vec::new(),
        faults: set.faults.clone(),
    };
    for (item, decoded) in set.items.iter().zip(decoded) {
        match decoded {
            Ok(info) => {
                found.rows.push(MatrixRow {
                    item: item.clone(),
                    content: info.as_ref().map(|info| info.content),
                    seconds: info.as_ref().map(AudioInfo::seconds),
                });
                let format = |info: AudioInfo| {
                    format!("{}/{} {} Hz", info.container, info.codec, info.sample_rate)
                };
                found.formats.push(info.map(format));
            }
            Err(reason) => found.faults.push(Fault {
                key: item.key.clone(),
                reason,
            }),
        }
    }
    Ok(found)
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassCounts {
    pub name: String,
    pub tracks: usize,
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
    pub tracks: usize,
    pub unlabelled: usize,
    pub classes: Vec<ClassCounts>,
    pub artists: usize,
    pub seconds: f64,
    pub formats: BTreeMap<String, usize>,
    pub licences: BTreeMap<String, usize>,
    /// How the data is split; none if labels are missing.
    pub split: Option<String>,
    pub leak: Leak,
    pub failures: Vec<(String, String)>,
    pub notes: Vec<String>,
}

pub fn overview(
    set: &Dataset,
    found: &Inspection,
    how: &str,
    seed: u64,
) -> Result<Overview, LabError> {
    let labelled = found.rows.iter().filter(|row| row.item.label.is_some());
    let rows: Vec<MatrixRow> = labelled.cloned().collect();
    let names = set.classes();
    let class_of = class_of(&rows, &names);
    let mut notes = set.notes.clone();
    let split = match split_rows(&rows, &class_of, names.len(), how, seed) {
        _ if rows.is_empty() => None,
        Ok(split) => Some(split),
        // Data that cannot be split can still be inspected: the reason becomes a note.
        Err(LabError::Options(why)) => {
            notes.push(why);
            None
        }
        Err(error) => return Err(error),
    };
    let classes = names.into_iter().enumerate();
    let classes = classes.map(|(class, name)| {
        let members = (0..rows.len()).filter(|&row| class_of[row] == class);
        counts_of(name, &rows, &members.collect::<Vec<_>>(), split.as_ref())
    });
    let licences = found.rows.iter().filter_map(|row| row.item.licence.clone());
    let leak = split.as_ref().map(|split| find_overlaps(&rows, split));
    let failures = found.faults.iter();
    Ok(Overview {
        data: set.source.clone(),
        tracks: found.rows.len(),
        unlabelled: found.rows.len() - rows.len(),
        classes: classes.collect(),
        artists: artists(&found.rows),
        // An empty sum is -0; adding 0 makes it 0.
        seconds: found.rows.iter().filter_map(|row| row.seconds).sum::<f64>() + 0.0,
        formats: counted(found.formats.iter().flatten().cloned()),
        licences: counted(licences),
        leak: leak.unwrap_or_default(),
        split: split.map(|split| split.summary),
        failures: failures
            .map(|fault| (fault.key.clone(), fault.reason.clone()))
            .collect(),
        notes,
    })
}

fn counted(names: impl Iterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    names.for_each(|name| *counts.entry(name).or_default() += 1);
    counts
}

fn counts_of(
    name: String,
    rows: &[MatrixRow],
    members: &[usize],
    split: Option<&Split>,
) -> ClassCounts {
    let artists = members
        .iter()
        .filter_map(|&row| rows[row].item.artist.as_deref().map(fold));
    let artists = counted(artists);
    let largest = artists.values().max().copied().unwrap_or(0);
    let is_in = |row: usize, part| split.is_some_and(|split| split.parts[row] == Some(part));
    ClassCounts {
        name,
        tracks: members.len(),
        artists: artists.len(),
        largest_artist: largest as f64 / members.len().max(1) as f64,
        parts: Part::ALL.map(|part| members.iter().filter(|&&row| is_in(row, part)).count()),
    }
}

/// The canonical table of a data set, which `table:` reads.
pub fn canonical_table(found: &Inspection) -> Vec<u8> {
    let header = [
        "path", "genre", "artist", "album", "split", "licence", "seconds", "content", "status",
    ];
    let good = found.rows.iter().map(|row| {
        let item = &row.item;
        let path = item.path.as_ref();
        [
            path.map_or_else(
                || item.key.clone(),
                |path| path.to_string_lossy().into_owned(),
            ),
            item.label.clone().unwrap_or_default(),
            item.artist.clone().unwrap_or_default(),
            item.album.clone().unwrap_or_default(),
            item.part.map_or("", Part::name).to_owned(),
            item.licence.clone().unwrap_or_default(),
            row.seconds_text(),
            row.content_text(),
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
