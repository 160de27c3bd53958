//! What is on both sides of a split and should not be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ndarray::Axis;
use serde::{Deserialize, Serialize};

use super::LabError;
use super::matrix::{Matrix, Row};
use super::model::{Algorithm, AlgorithmSettings, Model};
use super::split::Split;
use crate::dataset::Part;
use voisin_base::text::fold;
use voisin_learn::Training;
use voisin_learn::genre::{Fold, deal_folds};
use voisin_learn::metrics::argmax;

/// What training shares with a part that judges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SharedTracks {
    /// The part.
    pub with: Part,
    /// Artists on both sides.
    pub artists: Vec<String>,
    /// Albums on both sides.
    pub albums: Vec<String>,
    /// Folders on both sides, where artists and albums are not known.
    pub folders: usize,
    /// Pairs of tracks with the same audio, whatever their tags and names.
    pub same_audio: Vec<(String, String)>,
}

impl SharedTracks {
    /// Whether anything is on both sides that makes figures too good.
    pub fn is_clean(&self) -> bool {
        self.artists.is_empty() && self.albums.is_empty() && self.same_audio.is_empty()
    }
}

/// The leakage card of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Leak {
    /// Training against validation; both against test.
    pub shared: Vec<SharedTracks>,
    /// Tracks of the same audio under different labels.
    pub contradictions: Vec<(String, String)>,
    /// What random folds would have shown.
    pub random_folds: Option<RandomFolds>,
}

/// The same algorithm judged twice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RandomFolds {
    /// Accuracy with groups kept together.
    pub grouped: f64,
    /// Accuracy with tracks dealt at random.
    pub random: f64,
}

impl RandomFolds {
    /// By how many points of accuracy random folds flatter.
    pub fn points(self) -> f64 {
        100.0 * (self.random - self.grouped)
    }
}

/// Looks for what the parts have in common.
pub fn look(rows: &[Row], split: &Split) -> Leak {
    let shared = [Part::Validation, Part::Test]
        .into_iter()
        .filter(|&part| !split.rows(part).is_empty())
        .map(|part| {
            let other = split.rows(part);
            // the final model learns from validation tracks too
            let training: Vec<usize> = (0..rows.len())
                .filter(|&row| {
                    let own = split.parts[row];
                    own == Some(Part::Training) || (part == Part::Test && own == Some(Part::Validation))
                })
                .collect();
            let common = |name: &dyn Fn(&Row) -> Option<String>| -> Vec<String> {
                let mine: BTreeSet<String> = training.iter().filter_map(|&row| name(&rows[row])).collect();
                let theirs: BTreeSet<String> = other.iter().filter_map(|&row| name(&rows[row])).collect();
                mine.intersection(&theirs).cloned().collect()
            };
            let folder = |row: &Row| {
                let path: &PathBuf = row.item.path.as_ref()?;
                Some(path.parent()?.to_string_lossy().into_owned())
            };
            let mut by_content = BTreeMap::new();
            for &row in &training {
                if let Some(content) = rows[row].content {
                    by_content.entry(content).or_insert(row);
                }
            }
            let same_audio = other
                .iter()
                .filter_map(|&row| {
                    let first = by_content.get(&rows[row].content?)?;
                    Some((rows[*first].item.key.clone(), rows[row].item.key.clone()))
                })
                .collect();
            // an album's name says little without its artist: every artist has a "Greatest Hits"
            let album = |row: &Row| {
                let artist = row.item.artist.as_deref().map(fold).unwrap_or_default();
                row.item.album.as_deref().map(|album| format!("{artist} {}", fold(album)).trim().to_owned())
            };
            SharedTracks {
                with: part,
                artists: common(&|row| row.item.artist.as_deref().map(fold)),
                albums: common(&album),
                folders: common(&folder).len(),
                same_audio,
            }
        })
        .collect();
    let mut first: BTreeMap<_, usize> = BTreeMap::new();
    let mut contradictions = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let Some(content) = row.content else { continue };
        let before = *first.entry(content).or_insert(at);
        if rows[before].item.label != row.item.label {
            contradictions.push((rows[before].item.key.clone(), row.item.key.clone()));
        }
    }
    Leak { shared, contradictions, random_folds: None }
}

/// Judges logistic regression on five folds, once with groups kept together and once with tracks dealt at random.
pub fn random_folds(
    matrix: &Matrix,
    class_of: &[usize],
    classes: &[String],
    groups: &[usize],
    settings: &AlgorithmSettings,
    seed: u64,
) -> Result<RandomFolds, LabError> {
    let n = class_of.len();
    let own: Vec<Vec<usize>> = class_of.iter().map(|&class| vec![class]).collect();
    let single: Vec<usize> = (0..n).collect();
    let accuracy = |groups: &[usize]| -> Result<f64, LabError> {
        let mut right = 0;
        let seeds = (0..3).map(|repeat| seed.wrapping_add(repeat));
        for Fold { rest, held, .. } in deal_folds(&own, classes.len(), groups, 5, seeds) {
            let x = matrix.values.select(Axis(0), &rest);
            let known: Vec<usize> = rest.iter().map(|&row| class_of[row]).collect();
            let (count, folds) = (classes.len(), vec![0; rest.len()]);
            let data = Training { x: x.view(), class_of: &known, classes: count, folds: &folds, seed };
            let model = Model::fit(Algorithm::Logistic, settings, &data, classes, &matrix.columns)?;
            let p = model.probabilities(matrix.values.select(Axis(0), &held).view());
            right += held.iter().zip(p.outer_iter()).filter(|(row, p)| argmax(p) == class_of[**row]).count();
        }
        Ok(right as f64 / (3 * n) as f64)
    };
    Ok(RandomFolds { grouped: accuracy(groups)?, random: accuracy(&single)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Item;
    use voisin_base::track::ContentId;

    fn row(key: &str, artist: &str, label: &str, content: u8) -> Row {
        let item = Item {
            key: key.to_owned(),
            artist: Some(artist.to_owned()),
            label: Some(label.to_owned()),
            ..Item::default()
        };
        Row { item, content: Some(ContentId([content; 32])), seconds: None }
    }

    #[test]
    fn a_check_finds_every_planted_leak_and_nothing_else() {
        let rows = [
            row("a", "Björk", "pop", 1),
            row("b", "Other", "pop", 2),
            row("c", "bjork", "pop", 3),
            row("a again, retagged", "Third", "rock", 1),
        ];
        let (t, e) = (Some(Part::Training), Some(Part::Test));
        let split = |parts: [Option<Part>; 4]| Split {
            parts: parts.into(),
            groups: vec![0, 1, 0, 3],
            how: "given".to_owned(),
            said: String::new(),
            at_random: false,
        };
        let found = look(&rows, &split([t, t, e, e]));
        assert_eq!(found.shared.len(), 1);
        assert_eq!(found.shared[0].artists, ["bjork"]);
        assert_eq!(found.shared[0].same_audio, [("a".to_owned(), "a again, retagged".to_owned())]);
        assert_eq!(found.contradictions.len(), 1);
        let clean = look(&rows[..3], &split([t, e, t, None]));
        assert!(clean.shared[0].is_clean() && clean.contradictions.is_empty());
    }
}
