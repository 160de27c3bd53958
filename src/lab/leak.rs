//! Leakage: tracks, artists and albums that are in more than one part of a split.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::matrix::MatrixRow;
use super::split::Split;
use crate::dataset::Part;
use voisin_base::text::fold;

/// Overlap of the training part with the validation or the test part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SharedTracks {
    pub with: Part,
    pub artists: Vec<String>,
    pub albums: Vec<String>,
}

impl SharedTracks {
    pub fn is_clean(&self) -> bool {
        self.artists.is_empty() && self.albums.is_empty()
    }
}

/// Two tracks of the same audio.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopyPair {
    pub first: String,
    pub second: String,
    /// Whether they are on two sides of the split, or may be on two sides of a fold.
    pub apart: bool,
    pub same_label: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Leak {
    /// Training against validation; both against test.
    pub shared: Vec<SharedTracks>,
    /// Tracks of the same audio, each with the first of them.
    pub copies: Vec<CopyPair>,
}

/// Finds overlaps of the parts by metadata and digests.
pub fn find_overlaps(rows: &[MatrixRow], split: &Split) -> Leak {
    // An album's name alone identifies nothing: many artists have a "Greatest Hits".
    let album = |row: &MatrixRow| {
        let artist = row.item.artist.as_deref().map(fold).unwrap_or_default();
        let album = fold(row.item.album.as_deref()?);
        Some(format!("{artist} {album}").trim().to_owned())
    };
    let artist = |row: &MatrixRow| row.item.artist.as_deref().map(fold);
    let held_out = [Part::Validation, Part::Test].into_iter();
    let shared = held_out
        .filter(|&part| !split.rows(part).is_empty())
        .map(|part| {
            // The final model is trained on validation tracks too.
            let is_training = |other: Option<Part>| other.is_some_and(|other| other < part);
            let common = |name: &dyn Fn(&MatrixRow) -> Option<String>| -> Vec<String> {
                let names = |is_in: &dyn Fn(Option<Part>) -> bool| -> BTreeSet<String> {
                    let all = rows.iter().zip(&split.parts);
                    let all = all.filter(|(_, other)| is_in(**other));
                    all.filter_map(|(row, _)| name(row)).collect()
                };
                let training = names(&is_training);
                let held_out = names(&|other| other == Some(part));
                training.intersection(&held_out).cloned().collect()
            };
            SharedTracks {
                with: part,
                artists: common(&artist),
                albums: common(&album),
            }
        });
    let shared = shared.collect();
    let mut first = HashMap::new();
    let mut copies = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let Some(content) = row.content else { continue };
        let before = *first.entry(content).or_insert(at);
        if before != at {
            copies.push(CopyPair {
                first: rows[before].item.key.clone(),
                second: row.item.key.clone(),
                apart: are_apart(split, [before, at]),
                same_label: rows[before].item.label == row.item.label,
            });
        }
    }
    Leak { shared, copies }
}

/// Whether two rows are in two parts, or with cross-validation in two groups.
fn are_apart(split: &Split, [a, b]: [usize; 2]) -> bool {
    let [Some(part), Some(other)] = [split.parts[a], split.parts[b]] else {
        return false;
    };
    // Without held-out parts any group may be in any fold.
    let mut parts = split.parts.iter().flatten();
    let in_folds = parts.all(|part| *part == Part::Training);
    part != other || (in_folds && split.groups[a] != split.groups[b])
}
