//! Colourings of a map: by genre, predicted genre, cluster, word, artist, year, folder, agreement of tag and prediction, or
//! a scale.

use std::collections::{BTreeSet, HashSet};

use super::super::scene::{Rgb, blend};
use super::super::{ExploreError, TrackMeta};
use super::labels::ranked;
use super::{MapData, palette};

/// The property that colours a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ColourBy {
    /// First genre of the tags.
    #[default]
    Genre,
    /// Predicted genre.
    Predicted,
    /// Cluster.
    Cluster,
    /// Strongest tag of the model (mood, instrument …).
    Word,
    /// Artist.
    Artist,
    /// Year, as a ramp from dark (early) to light (late).
    Year,
    /// Folder below the common part of all paths, as deep as there are colours for.
    Folder,
    /// Whether the predicted genre is among those of the tags.
    Agreement,
    /// The scale with this index in [`MapData::scales`], as a ramp from dark (low) to light (high).
    Scale(usize),
}

impl ColourBy {
    /// All colourings except scales, in the order of menus.
    pub const ALL: [Self; 8] = [
        Self::Genre,
        Self::Predicted,
        Self::Cluster,
        Self::Word,
        Self::Artist,
        Self::Year,
        Self::Folder,
        Self::Agreement,
    ];

    /// Its name, as in [`FromStr`](std::str::FromStr) and in links of the page.
    pub fn name(self) -> &'static str {
        match self {
            Self::Genre => "genre",
            Self::Predicted => "predicted",
            Self::Cluster => "cluster",
            Self::Word => "word",
            Self::Artist => "artist",
            Self::Year => "year",
            Self::Folder => "folder",
            Self::Agreement => "agreement",
            Self::Scale(_) => "scale",
        }
    }

    /// Name of the tracks without a category.
    pub(super) fn none(self) -> &'static str {
        match self {
            Self::Genre => "no genre",
            Self::Predicted => "no prediction",
            Self::Cluster => "noise",
            Self::Word => "no word",
            Self::Artist => "no artist",
            Self::Year => "no year",
            Self::Folder => "no folder",
            Self::Agreement => "not both known",
            Self::Scale(_) => "no value",
        }
    }

    /// Categories in the order of colours; a genre has the same colour by tags and by predictions.
    pub(super) fn order(self, data: &MapData<'_>, labels: &[Option<String>]) -> Vec<String> {
        match self {
            Self::Genre | Self::Predicted => genre_order(data.meta),
            Self::Agreement => AGREEMENT.map(str::to_owned).to_vec(),
            _ => ranked(labels.iter().map(Option::as_deref)),
        }
    }

    /// The category of each row, `None` for none.
    pub(super) fn labels(self, data: &MapData<'_>) -> Vec<Option<String>> {
        let text_of = |value: fn(&TrackMeta) -> Option<&str>| -> Vec<Option<String>> {
            let kept = |text: &&str| !text.is_empty();
            data.meta
                .iter()
                .map(|track| value(track).map(str::trim).filter(kept).map(str::to_owned))
                .collect()
        };
        match self {
            Self::Genre => text_of(|track| {
                track
                    .genres
                    .iter()
                    .map(String::as_str)
                    .find(|g| !g.trim().is_empty())
            }),
            Self::Predicted => text_of(|track| track.predicted_genre.as_deref()),
            Self::Cluster => data
                .cluster_names()
                .into_iter()
                .map(|name| name.map(str::to_owned))
                .collect(),
            Self::Word => text_of(|track| track.tags.first().map(String::as_str)),
            Self::Artist => text_of(|track| track.artist.as_deref()),
            Self::Year | Self::Scale(_) => self
                .numbers(data)
                .into_iter()
                .flatten()
                .map(|number| number.map(|number| number.to_string()))
                .collect(),
            Self::Folder => folders(data.meta),
            Self::Agreement => text_of(|track| {
                agreement(track).map(|agrees| if agrees { AGREEMENT[0] } else { AGREEMENT[1] })
            }),
        }
    }

    /// The number of each row, for colourings by a ramp.
    pub(super) fn numbers(self, data: &MapData<'_>) -> Option<Vec<Option<f32>>> {
        match self {
            Self::Year => {
                let years = data.meta.iter().map(|track| track.year);
                Some(years.map(|year| year.map(|year| year as f32)).collect())
            }
            Self::Scale(place) => data.scales.get(place).map(|scale| scale.values.clone()),
            _ => None,
        }
    }
}

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
    order.truncate(palette::light().colours.len());
    order
}

impl std::str::FromStr for ColourBy {
    type Err = ExploreError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|way| way.name() == text)
            .ok_or_else(|| ExploreError::Parameter {
                name: "colour",
                found: text.to_owned(),
                expected: "genre, predicted, cluster, word, artist, year, folder or agreement",
            })
    }
}

/// Names of the two results of [`agreement`], in the order of colours.
pub(super) const AGREEMENT: [&str; 2] = ["agree", "differ"];

/// Whether the predicted genre is among those of the tags; `None` if either is missing.
pub(super) fn agreement(track: &TrackMeta) -> Option<bool> {
    let predicted = track
        .predicted_genre
        .as_deref()
        .map(str::trim)
        .filter(|genre| !genre.is_empty())?;
    let predicted = predicted.to_lowercase();
    let mut tags = track
        .genres
        .iter()
        .map(|genre| genre.trim().to_lowercase())
        .filter(|g| !g.is_empty());
    let first = tags.next()?;
    Some(first == predicted || tags.any(|genre| genre == predicted))
}

/// Each track's folder without the common part, limited to as many levels as there are colours for, at least one; `None`
/// for files in the common folder itself.
pub(super) fn folders(meta: &[TrackMeta]) -> Vec<Option<String>> {
    let parts: Vec<Vec<&str>> = meta
        .iter()
        .map(|track| {
            track
                .folder()
                .split(['/', '\\'])
                .filter(|part| !part.is_empty())
                .collect()
        })
        .collect();
    let Some(first) = parts.first() else {
        return Vec::new();
    };
    // The common folders of all paths.
    let shared = parts.iter().fold(first.len(), |shared, path| {
        first
            .iter()
            .zip(path)
            .take(shared)
            .take_while(|(a, b)| a == b)
            .count()
    });
    let deepest = parts
        .iter()
        .map(|path| path.len() - shared)
        .max()
        .unwrap_or_default();
    let cut = |levels: usize| -> Vec<Option<String>> {
        let below = |path: &Vec<&str>| {
            let end = path.len().min(shared + levels);
            (end > shared).then(|| path[shared..end].join("/"))
        };
        parts.iter().map(below).collect()
    };
    // The deepest level with a colour for each folder.
    (2..=deepest)
        .rev()
        .map(cut)
        .find(|names| {
            names.iter().flatten().collect::<HashSet<_>>().len() <= palette::light().colours.len()
        })
        .unwrap_or_else(|| cut(1))
}

/// The 2nd and 98th percentile, so that one wrong year does not take all colours; `None` without numbers.
pub(super) fn range(numbers: &[Option<f32>]) -> Option<[f32; 2]> {
    let mut known: Vec<f32> = numbers.iter().copied().flatten().collect();
    known.sort_unstable_by(f32::total_cmp);
    let at = |share: f64| {
        known
            .get(((share * known.len() as f64) as usize).min(known.len().max(1) - 1))
            .copied()
    };
    Some([at(0.02)?, at(0.98)?])
}

/// Colour of a number at a share of the range, 0 to 1.
pub(super) fn ramp(share: f64) -> Rgb {
    blend(&palette::light().ramp, share)
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
    fn every_colouring_has_a_name() {
        for way in ColourBy::ALL {
            assert_eq!(way.name().parse::<ColourBy>().expect("its own name"), way);
        }
        let error = "taste"
            .parse::<ColourBy>()
            .expect_err("no such way")
            .to_string();
        assert!(
            error.contains("taste") && error.contains("year, folder or agreement"),
            "{error}"
        );
    }

    #[test]
    fn folders_begin_below_the_common_part() {
        let found = folders(&at(&[
            "/music/jazz/a/1.mp3",
            "/music/jazz/b/2.mp3",
            "/music/rock/c/3.mp3",
            "/music/4.mp3",
        ]));
        let names: Vec<Option<&str>> = found.iter().map(Option::as_deref).collect();
        assert_eq!(
            names,
            [Some("jazz/a"), Some("jazz/b"), Some("rock/c"), None]
        );
        // With a hundred albums of four artists, the artists are shown.
        let many: Vec<String> = (0..100)
            .map(|i| format!("/m/artist {}/album {i}/x.mp3", i % 4))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let found = folders(&at(&many));
        assert_eq!(found.iter().flatten().collect::<HashSet<_>>().len(), 4);
        assert_eq!(found[5].as_deref(), Some("artist 1"));
        assert!(folders(&[]).is_empty());
        // "/music/ab" and "/music/abc" have no common name.
        assert_eq!(
            folders(&at(&["/music/ab/1.mp3", "/music/abc/2.mp3"]))[1].as_deref(),
            Some("abc")
        );
    }

    #[test]
    fn tags_and_prediction_agree_or_not() {
        let mut track = TrackMeta::new(TrackId(1), "a.mp3");
        assert_eq!(agreement(&track), None);
        track.genres = vec!["Rock".into(), "Jazz".into()];
        assert_eq!(agreement(&track), None);
        for (predicted, agrees) in [("jazz", true), ("Rock", true), ("Metal", false)] {
            track.predicted_genre = Some(predicted.into());
            assert_eq!(agreement(&track), Some(agrees), "{predicted}");
        }
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

    #[test]
    fn one_wrong_year_does_not_stretch_the_ramp() {
        let mut years: Vec<Option<f32>> = (0..101).map(|i| Some((1960 + i / 2) as f32)).collect();
        years[0] = Some(3.0);
        let [low, high] = range(&years).expect("years");
        assert!(
            (1960.0..1965.0).contains(&low) && (2006.0..=2010.0).contains(&high),
            "{low} {high}"
        );
        assert_eq!(range(&[None]), None);
        assert_eq!(
            (ramp(-1.0), ramp(0.5), ramp(2.0)),
            ((68, 1, 84), (33, 145, 140), (222, 208, 28))
        );
    }
}
