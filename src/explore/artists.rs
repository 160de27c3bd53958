//! Artists near an artist, and albums near an album, by the directions of their tracks' means.

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array1, ArrayView2};
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::Serialize;

use super::{ExploreError, Result, TrackMeta};
use voisin_base::text::{did_you_mean, fold, spelt_alike};
use voisin_library::artists;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Makers {
    /// Artists; a track of several counts for each.
    Artists,
    /// Albums: tracks with one title and one album artist, or without an album artist, in one folder.
    Albums,
}

impl Makers {
    pub fn one(self) -> &'static str {
        match self {
            Self::Artists => "artist",
            Self::Albums => "album",
        }
    }
}

/// An artist, or an album.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ArtistSummary {
    /// Title of the album, if albums are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub album: Option<String>,
    /// Name in its most common spelling; "various artists" for an album with several.
    pub artist: String,
    /// Number of tracks.
    pub tracks: usize,
    /// Mean cosine similarity of the tracks to their centre; `None` for a single track.
    pub cohesion: Option<f32>,
    /// Cosine similarity of the directions of both means, -1 to 1, to the named one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f32>,
}

struct ArtistTracks {
    /// Its name in a query: an artist, or "artist – album".
    name: String,
    artist: String,
    album: Option<String>,
    rows: Vec<usize>,
    /// The direction of the mean of its tracks.
    direction: Array1<f32>,
    /// The length of that mean.
    cohesion: f32,
}

/// The most common text, of equals the alphabetically first.
pub(super) fn most<'a>(texts: impl Iterator<Item = &'a str>) -> &'a str {
    let mut spellings: HashMap<&str, usize> = HashMap::new();
    texts.for_each(|text| *spellings.entry(text).or_default() += 1);
    spellings
        .into_iter()
        .max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)))
        .map_or("", |found| found.0)
}

fn album_of(tracks: &[&TrackMeta]) -> (String, String) {
    let title = most(tracks.iter().filter_map(|track| track.album.as_deref()));
    let owners = tracks
        .iter()
        .filter_map(|track| track.album_artist.as_deref());
    let named = most(owners);
    let artists = tracks.iter().filter_map(|track| track.artist.as_deref());
    let artists: Vec<&str> = artists.collect();
    let artist = match artists.as_slice() {
        _ if !named.is_empty() => named,
        // Several spellings of one artist are no compilation.
        [first, others @ ..] if others.iter().all(|other| fold(other) == fold(first)) => first,
        [] => "",
        _ => "various artists",
    };
    (artist.trim().to_owned(), title.trim().to_owned())
}

fn bodies(vectors: ArrayView2<'_, f32>, meta: &[TrackMeta], makers: Makers) -> Vec<ArtistTracks> {
    // Ordered by name, so that ties are deterministic.
    let mut rows_of: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (row, track) in meta.iter().enumerate() {
        let keys = match makers {
            Makers::Artists => track.artist_keys(),
            Makers::Albums => track.album_key().into_iter().collect(),
        };
        for key in keys {
            rows_of.entry(key).or_default().push(row);
        }
    }
    let all: Vec<(String, Vec<usize>)> = rows_of.into_iter().collect();
    all.into_par_iter()
        .map(|(key, rows)| {
            let tracks: Vec<&TrackMeta> = rows.iter().map(|&row| &meta[row]).collect();
            let (artist, album) = match makers {
                Makers::Artists => {
                    let named = tracks.iter().flat_map(|track| track.artists());
                    // A track of several artists has names of others as well, which are no spellings of
                    // this one.
                    (
                        most(named.filter(|name| fold(name) == key)).to_owned(),
                        None,
                    )
                }
                Makers::Albums => {
                    let (artist, title) = album_of(&tracks);
                    (artist, Some(title))
                }
            };
            ArtistTracks::new(vectors, artist, album, rows)
        })
        .collect()
}

impl ArtistTracks {
    fn new(
        vectors: ArrayView2<'_, f32>,
        artist: String,
        album: Option<String>,
        rows: Vec<usize>,
    ) -> Self {
        let zero = Array1::zeros(vectors.ncols());
        let sum = rows.iter().fold(zero, |sum, &row| sum + vectors.row(row));
        let mean: Array1<f32> = sum / rows.len() as f32;
        let cohesion = mean.dot(&mean).sqrt();
        let direction = if cohesion > f32::EPSILON {
            mean / cohesion
        } else {
            // Opposite tracks cancel out.
            vectors.row(rows[0]).to_owned()
        };
        Self {
            name: match &album {
                Some(title) if artist.is_empty() => title.clone(),
                Some(title) => format!("{artist} – {title}"),
                None => artist.clone(),
            },
            artist,
            album,
            rows,
            direction,
            cohesion: cohesion.min(1.0),
        }
    }

    fn summary(&self) -> ArtistSummary {
        ArtistSummary {
            album: self.album.clone(),
            artist: self.artist.clone(),
            tracks: self.rows.len(),
            cohesion: (self.rows.len() > 1).then_some(self.cohesion),
            similarity: None,
        }
    }
}

const NAMED: usize = 5;

/// Artists nearest to an artist, or albums nearest to an album, nearest first.
///
/// - `name`: of the artist, or of the album, if several have it with the artist before it ("Muldjord – Chaos"), regardless
///   of case, accents and punctuation
/// - `vectors`: `[n, dim]` unit vectors; `meta`: same rows
pub fn near_artists(
    vectors: ArrayView2<'_, f32>,
    meta: &[TrackMeta],
    makers: Makers,
    name: &str,
    limit: usize,
) -> Result<Vec<ArtistSummary>> {
    let bodies = bodies(vectors, meta, makers);
    let names = || bodies.iter().map(|body| body.name.as_str());
    // "A feat. B" means A; the title of an album is not split.
    let wanted = match makers {
        Makers::Artists => artists::artists(name).first().copied().unwrap_or(name),
        Makers::Albums => name,
    };
    let key = fold(wanted);
    let is_named = |body: &&ArtistTracks| {
        let title = body.album.as_ref().is_some_and(|title| fold(title) == key);
        title || fold(&body.name) == key
    };
    let found: Vec<&ArtistTracks> = bodies.iter().filter(is_named).collect();
    let [queried] = found[..] else {
        let hint = if found.is_empty() {
            did_you_mean(&spelt_alike(wanted, names()))
        } else {
            let names = found.iter().take(NAMED).map(|body| body.name.as_str());
            let names: Vec<&str> = names.collect();
            format!("it is the title of {}: ", names.join(" and of "))
        };
        return Err(ExploreError::UnknownArtist {
            makers,
            requested: wanted.to_owned(),
            hint,
        });
    };
    // By address, because two albums may have the same name.
    let others = bodies
        .par_iter()
        .filter(|body| !std::ptr::eq(*body, queried));
    let similarity = |body: &ArtistTracks| body.direction.dot(&queried.direction);
    let mut near: Vec<(f32, &ArtistTracks)> = others.map(|body| (similarity(body), body)).collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.name.cmp(&b.1.name)));
    near.truncate(limit);
    let summary = |(similarity, body): (f32, &ArtistTracks)| ArtistSummary {
        similarity: Some(similarity.clamp(-1.0, 1.0)),
        ..body.summary()
    };
    Ok(near.into_iter().map(summary).collect())
}

/// All artists, or all albums, most tracks first.
///
/// - `vectors`: `[n, dim]` unit vectors; `meta`: same rows
/// - `limit`: most results
pub fn artists(
    vectors: ArrayView2<'_, f32>,
    meta: &[TrackMeta],
    makers: Makers,
    limit: usize,
) -> Vec<ArtistSummary> {
    let bodies = bodies(vectors, meta, makers);
    let mut all: Vec<ArtistSummary> = bodies.iter().map(ArtistTracks::summary).collect();
    all.sort_by(|a, b| {
        (b.tracks.cmp(&a.tracks)).then_with(|| (&a.artist, &a.album).cmp(&(&b.artist, &b.album)))
    });
    all.truncate(limit);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;
    use voisin_base::track::TrackId;

    /// A track's path, artist, album, album artist and angle.
    type Row<'a> = (&'a str, &'a str, Option<&'a str>, Option<&'a str>, f32);

    fn collection(rows: &[Row<'_>]) -> (Array2<f32>, Vec<TrackMeta>) {
        let angles: Vec<[f32; 2]> = rows
            .iter()
            .map(|row| [row.4.to_radians().cos(), row.4.to_radians().sin()])
            .collect();
        let meta = rows
            .iter()
            .zip(0..)
            .map(|((path, artist, album, owner, _), id)| TrackMeta {
                artist: Some((*artist).to_owned()),
                album: album.map(str::to_owned),
                album_artist: owner.map(str::to_owned),
                ..TrackMeta::new(TrackId(id), *path)
            })
            .collect();
        (Array2::from(angles), meta)
    }

    #[test]
    fn artists_are_near_if_their_means_are() {
        let (vectors, meta) = collection(&[
            ("1.mp3", " Ann", None, None, 0.0),
            ("2.mp3", "Ánn feat. Cy", None, None, 20.0),
            ("3.mp3", "Ann", None, None, 0.0),
            ("4.mp3", "Bo", None, None, 8.0),
            ("5.mp3", "Cy", None, None, 90.0),
        ]);
        let near = |name| near_artists(vectors.view(), &meta, Makers::Artists, name, 5);
        let of_ann = near("ann").expect("known");
        assert_eq!(
            (of_ann[0].artist.as_str(), of_ann[1].artist.as_str()),
            ("Bo", "Cy")
        );
        assert!(of_ann[0].similarity > Some(0.99) && of_ann[1].similarity < Some(0.9));
        let all = artists(vectors.view(), &meta, Makers::Artists, 9);
        let counted: Vec<(&str, usize)> =
            all.iter().map(|a| (a.artist.as_str(), a.tracks)).collect();
        assert_eq!(counted, [("Ann", 3), ("Cy", 2), ("Bo", 1)]);
        assert_eq!(all[2].cohesion, None);
        let unknown = near("Z").expect_err("unknown").to_string();
        assert!(unknown.contains("no artist \"Z\""), "{unknown}");
    }

    /// Two albums of one title by two artists, a compilation in one folder, and tracks of no album.
    #[test]
    fn albums_are_identified_by_their_artist_or_folder() {
        let (vectors, meta) = collection(&[
            ("/m/a/1.mp3", "Ann", Some("Hits"), Some("Ann"), 0.0),
            ("/m/a/2.mp3", "Ann feat. Bo", Some("hits"), Some("Ann"), 2.0),
            ("/m/b/1.mp3", "Bo", Some("Hits"), Some("Bo"), 90.0),
            ("/m/mix/1.mp3", "Cy", Some("Summer"), None, 10.0),
            ("/m/mix/2.mp3", "Di", Some("Summer"), None, 12.0),
            ("/m/other/1.mp3", "Ed", Some("Summer"), None, 91.0),
            ("/m/x.mp3", "Ann", None, None, 45.0),
        ]);
        let all = artists(vectors.view(), &meta, Makers::Albums, 9);
        let named: Vec<(&str, Option<&str>, usize)> = all
            .iter()
            .map(|a| (a.artist.as_str(), a.album.as_deref(), a.tracks))
            .collect();
        let expected = [
            ("Ann", Some("Hits"), 2),
            ("various artists", Some("Summer"), 2),
            ("Bo", Some("Hits"), 1),
            ("Ed", Some("Summer"), 1),
        ];
        assert_eq!(named, expected);
        let near = |name: &str| near_artists(vectors.view(), &meta, Makers::Albums, name, 1);
        assert_eq!(
            near("ann – hits").expect("known")[0].artist,
            "various artists"
        );
        assert_eq!(near("bo hits").expect("known")[0].artist, "Ed");
        let several = near("summer").expect_err("two albums").to_string();
        assert!(
            several.contains("it is the title of various artists – Summer and of Ed – Summer"),
            "{several}"
        );
    }
}
