//! The order of names in which a map colours them.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::super::TrackMeta;
use super::PALETTE;

/// A track's genre on maps: the first of its tags, else the predicted one.
pub fn genre(track: &TrackMeta) -> Option<&str> {
    let tags = track.genres.iter().map(String::as_str);
    let mut names = tags.chain(track.predicted_genre.as_deref()).map(str::trim);
    names.find(|name| !name.is_empty())
}

/// All genres of tags and predictions in the order of colours on every map: the most common ([`genre`]) first, and those
/// without tracks last, by name.
pub(super) fn genre_order(meta: &[TrackMeta]) -> Vec<String> {
    let mut order = ranked(meta.iter().map(genre));
    let known: HashSet<&str> = order.iter().map(String::as_str).collect();
    let further: BTreeSet<&str> = meta
        .iter()
        .flat_map(|track| track.genres.iter().chain(&track.predicted_genre))
        .map(|name| name.trim())
        .filter(|name| !name.is_empty() && !known.contains(name))
        .collect();
    let further: Vec<String> = further.into_iter().map(str::to_owned).collect();
    order.extend(further);
    order
}

/// The genres with a colour of their own, in the order of the palette's colours.
pub fn coloured_genres(meta: &[TrackMeta]) -> Vec<String> {
    let mut order = genre_order(meta);
    let palette: serde_json::Value = serde_json::from_str(PALETTE).expect("JSON");
    let colours = palette["light"]["colours"].as_array();
    order.truncate(colours.map_or(0, Vec::len));
    order
}

/// Names in the order of colours: the most common first, then by name.
pub(super) fn ranked<'a>(labels: impl Iterator<Item = Option<&'a str>>) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    labels
        .flatten()
        .for_each(|label| *counts.entry(label).or_default() += 1);
    let mut order: Vec<(&str, usize)> = counts.into_iter().collect();
    order.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    order.into_iter().map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::track::TrackId;

    fn at(paths: &[&str]) -> Vec<TrackMeta> {
        paths
            .iter()
            .enumerate()
            .map(|(i, path)| TrackMeta::new(TrackId(i as i64), *path))
            .collect()
    }

    #[test]
    fn a_genre_has_one_colour_for_tags_and_predictions() {
        let mut meta = at(&["x"; 6]);
        for (track, tags) in meta.iter_mut().zip([
            &["Rock", "Blues"][..],
            &["Rock"],
            &[" Jazz"],
            &[" ", "Dub"],
            &[],
            &[],
        ]) {
            track.genres = tags.iter().map(|&name| name.to_owned()).collect();
        }
        for (row, name) in [(0, "Acid"), (1, "Jazz"), (4, "Jazz"), (5, "Jazz")] {
            meta[row].predicted_genre = Some(name.into());
        }
        // Jazz: one tag and two predictions without a tag; without tracks: Acid and Blues.
        let expected = ["Jazz", "Rock", "Dub", "Acid", "Blues"];
        assert_eq!(genre_order(&meta), expected);
        assert_eq!(coloured_genres(&meta), expected);
    }
}
