//! Leakage: tracks, artists and albums that are in more than one part of a split.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::matrix::MatrixRow;
use super::split::Split;
use crate::dataset::Part;
use voisin_base::text::fold;

/// Overlap of the training part with the validation or the test part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SharedTracks {
    /// The part.
    pub with: Part,
    /// Artists on both sides.
    pub artists: Vec<String>,
    /// Albums on both sides.
    pub albums: Vec<String>,
    /// Pairs of tracks with the same audio.
    pub same_audio: Vec<(String, String)>,
}

impl SharedTracks {
    /// Whether no artist, album or audio is on both sides.
    pub fn is_clean(&self) -> bool {
        self.artists.is_empty() && self.albums.is_empty() && self.same_audio.is_empty()
    }
}

/// Why two tracks are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Likeness {
    /// The same audio.
    Audio,
    /// The same numbers in a table.
    Numbers,
}

impl Likeness {
    /// The predicate of a sentence about two tracks.
    pub fn words(self) -> &'static str {
        match self {
            Self::Audio => "are the same audio",
            Self::Numbers => "have equal numbers",
        }
    }
}

/// A duplicate track.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Double {
    /// The first.
    pub first: String,
    /// The other.
    pub second: String,
    /// Why they are the same.
    pub why: Likeness,
    /// Whether they are on two sides of the split, or may be on two sides of a fold.
    pub apart: bool,
}

/// The leakage report of a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Leak {
    /// Training against validation; both against test.
    pub shared: Vec<SharedTracks>,
    /// Tracks of the same audio or numbers under different labels.
    pub contradictions: Vec<(String, String)>,
    /// Duplicate tracks.
    pub doubles: Vec<Double>,
}

/// Finds overlaps of the parts by metadata and digests.
pub fn find_overlaps(rows: &[MatrixRow], split: &Split) -> Leak {
    let shared = [Part::Validation, Part::Test]
        .into_iter()
        .filter(|&part| !split.rows(part).is_empty())
        .map(|part| {
            let other = split.rows(part);
            // the final model is trained on validation tracks too
            let training: Vec<usize> = (0..rows.len())
                .filter(|&row| {
                    let training_part = split.parts[row];
                    training_part == Some(Part::Training)
                        || (part == Part::Test && training_part == Some(Part::Validation))
                })
                .collect();
            let common = |name: &dyn Fn(&MatrixRow) -> Option<String>| -> Vec<String> {
                let mine: BTreeSet<String> = training
                    .iter()
                    .filter_map(|&row| name(&rows[row]))
                    .collect();
                let theirs: BTreeSet<String> =
                    other.iter().filter_map(|&row| name(&rows[row])).collect();
                mine.intersection(&theirs).cloned().collect()
            };
            let mut by_content = BTreeMap::new();
            for &row in &training {
                if let Some(content) = rows[row].audio() {
                    // The first of several copies represents all of them.
                    by_content.entry(content).or_insert(row);
                }
            }
            let same_audio = other
                .iter()
                .filter_map(|&row| {
                    let first = by_content.get(&rows[row].audio()?)?;
                    Some((rows[*first].item.key.clone(), rows[row].item.key.clone()))
                })
                .collect();
            // an album's name alone identifies nothing: many artists have a "Greatest Hits"
            let album = |row: &MatrixRow| {
                let artist = row.item.artist.as_deref().map(fold).unwrap_or_default();
                row.item
                    .album
                    .as_deref()
                    .map(|album| format!("{artist} {}", fold(album)).trim().to_owned())
            };
            SharedTracks {
                with: part,
                artists: common(&|row| row.item.artist.as_deref().map(fold)),
                albums: common(&album),
                same_audio,
            }
        })
        .collect();
    let mut first: BTreeMap<_, usize> = BTreeMap::new();
    let mut contradictions = Vec::new();
    let mut doubles = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let Some(content) = row.content else { continue };
        // By audio, or by numbers if nothing was decoded.
        let before = *first.entry(content).or_insert(at);
        if before != at {
            let why = if row.seconds.is_some() {
                Likeness::Audio
            } else {
                Likeness::Numbers
            };
            doubles.push(double(rows, split, [before, at], why));
        }
        if rows[before].item.label != row.item.label {
            contradictions.push((rows[before].item.key.clone(), row.item.key.clone()));
        }
    }
    Leak {
        shared,
        contradictions,
        doubles,
    }
}

fn double(rows: &[MatrixRow], split: &Split, pair: [usize; 2], why: Likeness) -> Double {
    let [first, second] = pair.map(|row| rows[row].item.key.clone());
    Double {
        first,
        second,
        why,
        apart: apart(split, pair),
    }
}

/// Whether two rows are in two parts, or with cross-validation in two groups.
fn apart(split: &Split, [a, b]: [usize; 2]) -> bool {
    let part = split.parts[a];
    let other_part = split.parts[b];
    // without held-out parts any group may be in any fold
    let in_folds = split
        .parts
        .iter()
        .all(|part| matches!(part, None | Some(Part::Training)));
    part.is_some()
        && other_part.is_some()
        && (part != other_part || (in_folds && split.groups[a] != split.groups[b]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Item;
    use voisin_base::track::ContentId;

    fn row(key: &str, artist: &str, label: &str, content: u8) -> MatrixRow {
        let item = Item {
            key: key.to_owned(),
            artist: Some(artist.to_owned()),
            label: Some(label.to_owned()),
            ..Item::default()
        };
        MatrixRow {
            item,
            content: Some(ContentId([content; 32])),
            seconds: Some(1.0),
        }
    }

    #[test]
    fn a_check_finds_exactly_the_planted_leaks() {
        let rows = [
            row("a", "Björk", "pop", 1),
            row("b", "Other", "pop", 2),
            row("c", "bjork", "pop", 3),
            row("a again, retagged", "Third", "rock", 1),
        ];
        let t = Some(Part::Training);
        let e = Some(Part::Test);
        let split = |parts: [Option<Part>; 4]| Split {
            parts: parts.into(),
            groups: vec![0, 1, 0, 3],
            how: "given".to_owned(),
            summary: String::new(),
            at_random: false,
        };
        let found = find_overlaps(&rows, &split([t, t, e, e]));
        assert_eq!(found.shared.len(), 1);
        assert_eq!(found.shared[0].artists, ["bjork"]);
        assert_eq!(
            found.shared[0].same_audio,
            [("a".to_owned(), "a again, retagged".to_owned())]
        );
        assert_eq!(found.contradictions.len(), 1);
        let expected = Double {
            first: "a".to_owned(),
            second: "a again, retagged".to_owned(),
            why: Likeness::Audio,
            apart: true,
        };
        assert_eq!(found.doubles, [expected]);
        // with cross-validation two groups may be in two folds
        let in_folds = find_overlaps(&rows, &split([t; 4])).doubles;
        assert!(in_folds[0].apart && in_folds.len() == 1);
        let clean = find_overlaps(&rows[..3], &split([t, e, t, None]));
        assert!(clean.shared[0].is_clean() && clean.contradictions.is_empty());
    }
}
