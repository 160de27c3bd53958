//! Tracks that are far from all others, with reasons.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{KnnGraph, Result, TrackMeta, WindowSource, same_length};
use voisin_base::track::TrackId;

/// Neighbours over which distance is averaged.
const NEIGHBOURS: usize = 10;
/// Score above which a track that is no other track's neighbour is noise in a clustering.
const STRAY: f32 = 3.5;
/// Usual threshold for [`outliers`] (Iglewicz and Hoaglin, "How to detect and handle outliers", 1993).
pub const THRESHOLD: f32 = 3.5;

/// The reason for a steady sound.
pub const STEADY: &str = "it hardly changes from start to end: a test tone, noise or silence";

/// A track that does not belong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outlier {
    /// The track.
    pub track: TrackId,
    /// Its row.
    pub row: usize,
    /// Distance to its neighbours, in robust standard deviations (1.4826 times the median absolute deviation)
    /// above the collection's median.
    pub score: f32,
    /// Mean cosine similarity to its nearest neighbours.
    pub similarity: f32,
    /// Reasons as text, strongest first; at least one.
    pub reasons: Vec<String>,
}

/// Mean distance (1 − cosine) of each row to its first neighbours; 2 without neighbours.
fn distances(graph: &KnnGraph) -> Vec<f32> {
    (0..graph.len())
        .map(|i| {
            let (sum, count) = graph
                .row(i)
                .take(NEIGHBOURS)
                .fold((0.0, 0), |(sum, count), (_, s)| (sum + 1.0 - s, count + 1));
            // The largest distance of unit vectors.
            if count == 0 { 2.0 } else { sum / count as f32 }
        })
        .collect()
}

fn median(mut values: Vec<f32>) -> f32 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

/// Robust score per row.
fn scores(distances: &[f32]) -> Vec<f32> {
    let centre = median(distances.to_vec());
    let spread = 1.4826 * median(distances.iter().map(|d| (d - centre).abs()).collect());
    distances
        .iter()
        // The spread is 0 if more than half of the distances are equal.
        .map(|d| (d - centre) / spread.max(1e-4))
        .collect()
}

/// For each row, the number of rows that have it among their first neighbours.
fn named_by(graph: &KnnGraph) -> Vec<u32> {
    let mut named = vec![0; graph.len()];
    for i in 0..graph.len() {
        for (j, _) in graph.row(i).take(NEIGHBOURS) {
            named[j] += 1;
        }
    }
    named
}

/// Rows that are far away and no other row's neighbour, which are noise in a clustering.
pub(super) fn strays(graph: &KnnGraph) -> Vec<bool> {
    let scores = scores(&distances(graph));
    scores
        .iter()
        .zip(named_by(graph))
        .map(|(&score, named)| score > STRAY && named == 0)
        .collect()
}

/// Tracks whose score is above `threshold` (usually [`THRESHOLD`]) and those that are known to be no music, farthest
/// first.
///
/// - `graph`, `meta`: same rows
/// - `no_music`: rows that are outliers in any case, with the reason
/// - `source`: window vectors, which distinguish a steady tone or noise from speech or a mixture;
///   optional
pub fn outliers(
    graph: &KnnGraph,
    meta: &[TrackMeta],
    mut source: Option<&mut dyn WindowSource>,
    no_music: &BTreeMap<usize, &'static str>,
    threshold: f32,
) -> Result<Vec<Outlier>> {
    same_length("metadata", graph.len(), meta.len())?;
    let distances = distances(graph);
    let scores = scores(&distances);
    let named = named_by(graph);
    let mut rows: Vec<usize> = (0..graph.len())
        .filter(|&row| scores[row] > threshold || no_music.contains_key(&row))
        .collect();
    rows.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
    let found = rows.into_iter().map(|row| {
        let track = &meta[row];
        let mut reasons = facts(track);
        if let Some(reason) = no_music.get(&row) {
            // First, and without reading its windows, since the reason is known.
            reasons.insert(0, (*reason).to_owned());
        } else if let Some(windows) = source.as_mut().and_then(|source| source.windows(track.id)) {
            reasons.extend(course(&windows));
        }
        let similarity = 1.0 - distances[row];
        reasons.push(match named[row] {
            0 => format!("nothing sounds like it: its nearest tracks have a similarity of only {similarity:.2}, and it is near to none"),
            _ => format!("its nearest tracks have a similarity of only {similarity:.2}"),
        });
        Outlier { track: track.id, row, score: scores[row], similarity, reasons }
    });
    Ok(found.collect())
}

/// Reasons from facts of the file.
fn facts(track: &TrackMeta) -> Vec<String> {
    let mut reasons = Vec::new();
    if track.decoded_share < 0.98 {
        reasons.push(format!(
            "{:.0} % of the audio is damaged",
            100.0 * (1.0 - track.decoded_share)
        ));
    }
    if let Some(peak) = track.peak.filter(|&peak| peak < 0.01) {
        let below = -20.0 * peak.max(1e-10).log10();
        reasons.push(format!(
            "nearly silent: its peak is {below:.0} dB below full scale"
        ));
    }
    if track.seconds > 0.0 && track.seconds < 15.0 {
        reasons.push(format!("only {:.0} s long", track.seconds));
    }
    if let Some(rate) = track.kilobits_per_second().filter(|&rate| rate < 40.0) {
        reasons.push(format!("only {rate:.0} kbit/s: a poor rip, or speech"));
    }
    reasons
}

/// A reason from the changes of the sound over windows.
fn course(windows: &super::WindowSet) -> Option<String> {
    if windows.len() < 4 {
        return None;
    }
    let steps: Vec<f32> = (1..windows.len())
        .map(|i| windows.vectors.row(i - 1).dot(&windows.vectors.row(i)))
        .collect();
    let steady = median(steps.clone());
    let jumps = steps.iter().filter(|&&s| s < 0.5).count();
    if steady > 0.995 {
        Some(STEADY.into())
    } else if jumps * 4 > steps.len() {
        Some("it jumps from sound to sound: a mixture, sketches or a broken rip".into())
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{grouped, unit_vectors};
    use super::super::{KnnGraph, WindowSet};
    use super::*;
    use ndarray::{Array2, Axis, concatenate};

    #[test]
    fn a_lone_vector_is_found_with_its_reasons() {
        let (vectors, _) = grouped(3, 60, 32, 0.3, 4);
        let vectors = concatenate(Axis(0), &[vectors.view(), unit_vectors(1, 32, 77).view()])
            .expect("same width");
        let graph = KnnGraph::exact(vectors.view(), 15).expect("unit vectors");
        let mut meta: Vec<TrackMeta> = (0..181)
            .map(|i| TrackMeta::new(TrackId(i), "x.mp3"))
            .collect();
        meta[180].decoded_share = 0.5;
        let tone = WindowSet::new(&[0.0, 1.0, 2.0, 3.0], &Array2::ones((4, 32)));
        let mut source = |_| Some(tone.clone());
        let none = BTreeMap::new();
        let found =
            outliers(&graph, &meta, Some(&mut source), &none, THRESHOLD).expect("same rows");
        assert_eq!(found[0].row, 180);
        assert_eq!(found[0].reasons[0], "50 % of the audio is damaged");
        assert!(found[0].reasons[1].contains("test tone"));
        assert!(found[0].reasons[2].starts_with("nothing sounds like it"));
        assert!(found.len() < 6, "{} of 181", found.len());
        assert!(strays(&graph)[180]);
        // In the middle of a group, but no music.
        let speech = BTreeMap::from([(7, "speech")]);
        let known =
            outliers(&graph, &meta, Some(&mut source), &speech, THRESHOLD).expect("same rows");
        let rows: Vec<usize> = known.iter().map(|outlier| outlier.row).collect();
        assert!(
            rows.contains(&7) && known.len() == found.len() + 1,
            "{rows:?}"
        );
        let seventh = known.iter().find(|outlier| outlier.row == 7);
        assert_eq!(
            seventh.map(|outlier| outlier.reasons[0].as_str()),
            Some("speech")
        );
    }
}
