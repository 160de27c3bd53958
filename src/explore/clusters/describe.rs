//! Descriptions of clusters: centre, medoid, labels, name, neighbours.

use std::collections::{BTreeMap, HashMap, HashSet};

use ndarray::{Array2, ArrayView2};

use super::super::TrackMeta;
use super::super::artists::most;
use super::{Cluster, NearCluster, Share};
use voisin_base::track::TrackId;

/// Mean vector of each group: `[groups, dim]`, not normalised.
pub(super) fn centres(
    vectors: ArrayView2<'_, f32>,
    groups: usize,
    group_of: impl Fn(usize) -> Option<usize>,
) -> Array2<f32> {
    // In f64, because a cluster may have a hundred thousand vectors.
    let mut sums = Array2::<f64>::zeros((groups, vectors.ncols()));
    let mut sizes = vec![0.0_f64; groups];
    for (row, vector) in vectors.rows().into_iter().enumerate() {
        if let Some(group) = group_of(row) {
            sizes[group] += 1.0;
            sums.row_mut(group)
                .zip_mut_with(&vector, |sum, &x| *sum += f64::from(x));
        }
    }
    for (mut sum, size) in sums.rows_mut().into_iter().zip(sizes) {
        sum /= size.max(1.0);
    }
    sums.mapv(|x| x as f32)
}

/// Describes the clusters of an assignment (0 is noise), largest first.
///
/// - `assignment`: ids from 1, largest first, without gaps
pub(super) fn describe(
    vectors: ArrayView2<'_, f32>,
    meta: &[&TrackMeta],
    assignment: &[u32],
) -> Vec<Cluster> {
    let most = assignment.iter().copied().max().unwrap_or(0) as usize;
    let mut rows_of = vec![Vec::new(); most];
    for (row, &id) in assignment.iter().enumerate().filter(|&(_, &id)| id != 0) {
        rows_of[id as usize - 1].push(row);
    }
    let means = centres(vectors, most, |row| {
        (assignment[row] as usize).checked_sub(1)
    });
    let all: Vec<usize> = (0..meta.len()).collect();
    // Counted once, since every cluster's shares are compared with it.
    let collection = KINDS.map(|kind| counts(meta, &all, kind));
    let mut clusters: Vec<Cluster> = rows_of
        .into_iter()
        .zip(1..)
        .map(|(rows, id)| {
            let centre = means.row(id as usize - 1);
            let mut by_closeness: Vec<(f32, usize)> = rows
                .into_iter()
                .map(|row| (vectors.row(row).dot(&centre), row))
                .collect();
            by_closeness.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let rows: Vec<usize> = by_closeness.into_iter().map(|(_, row)| row).collect();
            // For unit vectors the mean similarity to all members is the dot product with their mean.
            let cohesion = centre.dot(&centre).sqrt().min(1.0);
            described(id, &rows, cohesion, meta, &collection)
        })
        .collect();
    make_names_unique(&mut clusters, meta);
    for i in 0..clusters.len() {
        clusters[i].nearest = nearest(&clusters, &means, i);
    }
    clusters
}

/// Labels by which clusters are described: genres and artists.
const KINDS: [fn(&TrackMeta) -> Vec<&str>; 2] =
    [genres, |track| track.named_artist().into_iter().collect()];

/// A cluster but for its neighbours.
///
/// - `rows`: nearest to its centre first
/// - `collection`: labels of all tracks, for each of [`KINDS`]
fn described<'a>(
    id: u32,
    rows: &[usize],
    cohesion: f32,
    meta: &[&'a TrackMeta],
    collection: &[BTreeMap<String, (usize, &'a str)>; 2],
) -> Cluster {
    let [mut genres, mut artists] =
        [0, 1].map(|kind| shares(meta, rows, KINDS[kind], &collection[kind]));
    let is_unlabelled = |row: &usize| meta[*row].genres.is_empty();
    let unlabelled: Vec<usize> = rows.iter().copied().filter(is_unlabelled).collect();
    let predicted = counts(meta, &unlabelled, KINDS[0]);
    for share in &mut genres {
        let known = predicted.get(&share.label.to_lowercase());
        share.predicted = known.map_or(0, |(tracks, _)| *tracks);
    }
    // Before genres are sorted by size, because the name has the most distinctive ones.
    let mut name = name(&genres, &artists);
    if name.is_empty() {
        name = format!("like {}", meta[rows[0]].display());
    }
    genres.sort_by(|a, b| b.tracks.cmp(&a.tracks).then_with(|| a.label.cmp(&b.label)));
    artists.truncate(12);
    Cluster {
        id,
        name,
        members: rows.iter().map(|&row| meta[row].id).collect(),
        medoid: meta[rows[0]].id,
        cohesion,
        genres,
        artists,
        nearest: Vec::new(),
    }
}

/// The five clusters whose centres are nearest to that of one.
fn nearest(clusters: &[Cluster], means: &Array2<f32>, of: usize) -> Vec<NearCluster> {
    let mut nearest: Vec<NearCluster> = (0..clusters.len())
        .filter(|&other| other != of)
        .map(|other| {
            let norms = clusters[of].cohesion * clusters[other].cohesion;
            let similarity = means.row(of).dot(&means.row(other)) / norms.max(f32::MIN_POSITIVE);
            NearCluster {
                id: clusters[other].id,
                name: clusters[other].name.clone(),
                similarity: similarity.clamp(-1.0, 1.0),
            }
        })
        .collect();
    nearest.sort_by(|a, b| b.similarity.total_cmp(&a.similarity).then(a.id.cmp(&b.id)));
    nearest.truncate(5);
    nearest
}

/// Least share of the votes of a predicted genre: as much as all others together. Of a library with 18 labels among 50 tracks
/// most predictions have 14 to 30 %.
const CONFIDENT: f32 = 0.5;

/// Genres of a track: those of its tags, or else a confidently predicted one.
fn genres(track: &TrackMeta) -> Vec<&str> {
    if track.genres.is_empty() {
        let is_confident = track.predicted_probability.is_some_and(|p| p >= CONFIDENT);
        let predicted = track.predicted_genre.as_deref();
        predicted.filter(|_| is_confident).into_iter().collect()
    } else {
        track.genres.iter().map(String::as_str).collect()
    }
}

/// Tracks per label (folded case), with the label's most common spelling.
fn counts<'a>(
    meta: &[&'a TrackMeta],
    rows: &[usize],
    labels: fn(&'a TrackMeta) -> Vec<&'a str>,
) -> BTreeMap<String, (usize, &'a str)> {
    let mut spellings: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for &row in rows {
        let mut seen = HashSet::new();
        for label in labels(meta[row]) {
            let key = label.to_lowercase();
            // Two spellings of a label on one track count once.
            if seen.insert(key.clone()) {
                spellings.entry(key).or_default().push(label);
            }
        }
    }
    let all = spellings.into_iter();
    all.map(|(key, spelt)| (key, (spelt.len(), most(spelt.into_iter()))))
        .collect()
}

/// Labels of some rows, most distinctive first: by share times the logarithm of the lift (the label's
/// contribution to the mutual information).
fn shares<'a>(
    meta: &[&'a TrackMeta],
    rows: &[usize],
    labels: fn(&'a TrackMeta) -> Vec<&'a str>,
    collection: &BTreeMap<String, (usize, &'a str)>,
) -> Vec<Share> {
    let mut shares: Vec<Share> = counts(meta, rows, labels)
        .into_iter()
        .map(|(key, (tracks, _))| {
            let (all, label) = collection[&key];
            let share = tracks as f32 / rows.len() as f32;
            Share {
                label: label.to_owned(),
                tracks,
                predicted: 0,
                share,
                lift: share / (all as f32 / meta.len() as f32),
            }
        })
        .collect();
    let by_weight = |a: &Share, b: &Share| weight(b).total_cmp(&weight(a));
    shares.sort_by(|a, b| by_weight(a, b).then_with(|| a.label.cmp(&b.label)));
    shares
}

fn weight(share: &Share) -> f32 {
    share.share * share.lift.ln()
}

fn distinctive(share: &Share, least: f32, lift: f32) -> bool {
    // At least two tracks, however rare the label is elsewhere.
    share.tracks >= 2 && share.share >= least && share.lift >= lift
}

/// Up to two genres and an artist, if they are distinctive; "mixed" if there are genres, but none that is at least as common
/// as elsewhere.
fn name(genres: &[Share], artists: &[Share]) -> String {
    let mut words: Vec<&str> = genres
        .iter()
        .filter(|g| distinctive(g, 0.2, 1.2))
        .take(2)
        .map(|g| g.label.as_str())
        .collect();
    // The genre of most tracks comes first, even if it is as common elsewhere; if none is distinctive,
    // the most common.
    let enough = if words.is_empty() { 0.3 } else { 0.5 };
    let common = genres
        .iter()
        .filter(|g| g.share >= enough && g.lift >= AS_COMMON)
        .max_by(|a, b| a.tracks.cmp(&b.tracks))
        .map(|g| g.label.as_str());
    if let Some(common) = common.filter(|common| words.first() != Some(common)) {
        words.retain(|word| *word != common);
        words.insert(0, common);
        words.truncate(2);
    }
    if words.is_empty() && !genres.is_empty() {
        words.push("mixed");
    }
    let mut name = words.join(", ");
    if let Some(artist) = artists.iter().find(|a| distinctive(a, 0.3, 2.0)) {
        if !name.is_empty() {
            name.push_str(" · ");
        }
        name.push_str(&artist.label);
    }
    name
}

/// Least lift of a genre in a name: not rarer than elsewhere, except for rounding.
const AS_COMMON: f32 = 0.999;

/// Adds to repeated names the medoid, and to those that are then still the same the id.
fn make_names_unique(clusters: &mut [Cluster], meta: &[&TrackMeta]) {
    let titles: HashMap<TrackId, String> = {
        let medoids: HashSet<TrackId> = clusters.iter().map(|cluster| cluster.medoid).collect();
        let named = meta.iter().filter(|track| medoids.contains(&track.id));
        named.map(|track| (track.id, track.display())).collect()
    };
    let suffixes: [&dyn Fn(&Cluster) -> String; 2] = [
        &|cluster| format!(" · like {}", titles[&cluster.medoid]),
        &|cluster| format!(" #{}", cluster.id),
    ];
    for suffix in suffixes {
        let mut seen: HashMap<String, usize> = HashMap::new();
        for cluster in clusters.iter() {
            *seen.entry(cluster.name.clone()).or_default() += 1;
        }
        for cluster in clusters.iter_mut().filter(|c| seen[&c.name] > 1) {
            cluster.name += &suffix(cluster);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uncertain_prediction_names_no_cluster() {
        let mut track = TrackMeta::new(TrackId(1), "a.mp3");
        track.predicted_genre = Some("Rock".into());
        for (share, genres) in [(None, 0), (Some(0.3), 0), (Some(0.6), 1)] {
            track.predicted_probability = share;
            assert_eq!(super::genres(&track).len(), genres, "{share:?}");
        }
    }

    #[test]
    fn a_genre_rarer_than_elsewhere_is_not_in_a_name() {
        let share = |label: &str, share: f32, lift: f32| Share {
            label: label.to_owned(),
            tracks: (100.0 * share) as usize,
            predicted: 0,
            share,
            lift,
        };
        let rock = share("Rock", 0.4, 0.96);
        let world = share("World", 0.1, 3.0);
        assert_eq!(name(&[rock.clone(), world], &[]), "mixed");
        let lehrer = share("Tom Lehrer", 0.4, 3.0);
        assert_eq!(name(&[rock], &[lehrer]), "mixed · Tom Lehrer");
        let everywhere = share("Rock", 1.0, 1.0);
        assert_eq!(name(&[everywhere], &[]), "Rock");
        assert_eq!(name(&[], &[]), "", "no genres are known");
    }
}
