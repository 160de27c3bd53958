//! Inspects a data set: opens and decodes every file once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::matrix::{FACTS, Matrix, MatrixRow, PerTrack, SoundFile, artists, class_of, each_track};
use super::split::{Split, split_rows};
use super::{LabError, csv_bytes};
use crate::dataset::{Dataset, Fault, Part};
use voisin_base::text::{fold, with_causes};

/// Samples of a block, and the level below which it is silent.
const BLOCK: usize = 4096;
const SILENT_DB: f64 = -60.0;

#[derive(Debug)]
pub struct Inspection {
    pub rows: Vec<MatrixRow>,
    pub faults: Vec<Fault>,
}

/// Decodes a file once, and refuses silence.
fn decode(file: SoundFile<'_>) -> Result<(), String> {
    let info = file.info;
    let starts = (0..info.n_frames).step_by(BLOCK);
    let starts: Vec<i64> = starts.map(|start| start as i64).collect();
    let mut is_silent = true;
    let mut sink = |_: usize, block: &[f32]| {
        let energy: f64 = block.iter().map(|v| f64::from(*v).powi(2)).sum();
        is_silent &= 10.0 * (energy / BLOCK as f64).max(1e-20).log10() < SILENT_DB;
    };
    voisin_audio::read_windows(file.path, info, info.sample_rate, &starts, BLOCK, &mut sink)
        .map_err(|error| with_causes(&error))?;
    if is_silent {
        return Err("silent from beginning to end".to_owned());
    }
    Ok(())
}

pub fn inspect(
    set: &Dataset,
    progress: &(dyn Fn(usize) + Sync),
    stop: &AtomicBool,
) -> Result<Inspection, LabError> {
    // A table of numbers has no audio to decode.
    if let Some(matrix) = Matrix::own(set) {
        let Matrix { rows, faults, .. } = matrix;
        return Ok(Inspection { rows, faults });
    }
    match each_track(set, |file| Ok(decode(file)), progress, stop) {
        Ok(PerTrack { rows, faults, .. }) => Ok(Inspection { rows, faults }),
        Err(LabError::NoneDecoded(faults)) => Ok(Inspection {
            rows: Vec::new(),
            faults,
        }),
        Err(error) => Err(error),
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassCounts {
    pub name: String,
    pub tracks: usize,
    pub artists: usize,
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
    pub licences: BTreeMap<String, usize>,
    /// How the data is split; none if labels are missing.
    pub split: Option<String>,
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
    let mut licences = BTreeMap::new();
    for licence in found.rows.iter().filter_map(|row| row.item.licence.clone()) {
        *licences.entry(licence).or_default() += 1;
    }
    let failures = found.faults.iter();
    Ok(Overview {
        data: set.source.clone(),
        tracks: found.rows.len(),
        unlabelled: found.rows.len() - rows.len(),
        classes: classes.collect(),
        artists: artists(&found.rows),
        // An empty sum is -0; adding 0 makes it 0.
        seconds: found.rows.iter().filter_map(|row| row.seconds).sum::<f64>() + 0.0,
        licences,
        split: split.map(|split| split.summary),
        failures: failures
            .map(|fault| (fault.key.clone(), fault.reason.clone()))
            .collect(),
        notes,
    })
}

fn counts_of(
    name: String,
    rows: &[MatrixRow],
    members: &[usize],
    split: Option<&Split>,
) -> ClassCounts {
    let artists = members.iter();
    let artists = artists.filter_map(|&row| rows[row].item.artist.as_deref().map(fold));
    let is_in = |row: usize, part| split.is_some_and(|split| split.parts[row] == Some(part));
    ClassCounts {
        name,
        tracks: members.len(),
        artists: artists.collect::<BTreeSet<String>>().len(),
        parts: Part::ALL.map(|part| members.iter().filter(|&&row| is_in(row, part)).count()),
    }
}

/// The canonical table of a data set, which `table:` reads.
pub fn canonical_table(found: &Inspection) -> Vec<u8> {
    let header = [&["path"][..], &FACTS].concat();
    let good = found.rows.iter().map(|row| {
        let path = row.item.path.as_ref();
        let path = path.map(|path| path.to_string_lossy().into_owned());
        let path = path.unwrap_or_else(|| row.item.key.clone());
        [&[path][..], &row.facts(row.item.part)].concat()
    });
    let bad = found.faults.iter().map(|fault| {
        let mut row = vec![String::new(); header.len()];
        row[0].clone_from(&fault.key);
        // In the column "status", by which a later reading skips the row.
        row[header.len() - 1].clone_from(&fault.reason);
        row
    });
    csv_bytes(&header, b',', good.chain(bad))
}
