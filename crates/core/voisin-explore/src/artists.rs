//! Artists near an artist, and albums near an album, by their best matching tracks.
//!
//! Artists with the same mean can be far apart (one plays in two styles, the other between them). Therefore the similarity
//! of two artists is the mean cosine of each track, of either artist, to the most similar one of the other. It is 1 only if
//! every track has a copy on the other side, and works with a single track as well. Albums are compared in the same way.

use std::collections::{BTreeMap, HashMap};

use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::albums::album_keys;
use super::{ExploreError, KnnGraph, Result, TrackMeta, same_length};
use voisin_base::text::{did_you_mean, fold, matching_names, spelt_alike};
use voisin_base::track::TrackId;
use voisin_library::artists;

/// Most tracks per artist to compare, evenly spread over the library's order.
const MOST_TRACKS: usize = 200;
/// Pairs of tracks returned as the reason.
const REASONS: usize = 3;
/// Artists with the nearest means that are compared in full when the nearest of every artist is computed.
const SHORT_LIST: usize = 20;
/// Artists per block in the comparison of means.
const TOGETHER: usize = 16;

/// Whether artists or albums are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Makers {
    /// Artists; a track of several counts for each.
    Artists,
    /// Albums: tracks with one title and one album artist, or without an album artist, in one folder.
    Albums,
}

impl Makers {
    /// The noun for one of them.
    pub fn one(self) -> &'static str {
        match self {
            Self::Artists => "artist",
            Self::Albums => "album",
        }
    }
}

/// An artist, or an album, near another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NearArtist {
    /// Name in its most common spelling; "various artists" for an album with several.
    pub artist: String,
    /// Title of the album, if albums are compared.
    pub album: Option<String>,
    /// Number of tracks.
    pub tracks: usize,
    /// Mean cosine similarity of each track, of either artist, to the most similar one of the other: -1 to 1.
    pub similarity: f32,
    /// Cosine similarity of the mean directions, for comparison.
    pub mean_similarity: f32,
    /// The nearest pairs of tracks, nearest first.
    pub because: Vec<TrackPair>,
    /// Its tracks (at most 200), those most similar to a track of the other first.
    pub songs: Vec<TrackId>,
}

/// Two tracks of two artists.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrackPair {
    /// A track of the query's artist.
    #[serde(rename = "own")]
    pub query: TrackId,
    /// A track of the other.
    pub other: TrackId,
    /// Their cosine similarity.
    pub similarity: f32,
}

/// The nearest artist, or album, of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Nearest {
    /// As [`NearArtist::artist`].
    pub artist: String,
    /// As [`NearArtist::album`].
    pub album: Option<String>,
    /// As [`NearArtist::similarity`].
    pub similarity: f32,
}

/// An artist of the collection, or an album.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArtistSummary {
    /// As [`NearArtist::artist`].
    pub artist: String,
    /// As [`NearArtist::album`].
    pub album: Option<String>,
    /// Number of tracks.
    pub tracks: usize,
    /// The most typical track.
    pub medoid: TrackId,
    /// Mean cosine similarity of the tracks to their centre; `None` for a single track.
    pub cohesion: Option<f32>,
    /// The nearest other, if there is one.
    pub nearest: Option<Nearest>,
}

/// One artist's or one album's tracks.
struct ArtistTracks {
    /// Its name in a query: an artist, or "artist – album".
    name: String,
    artist: String,
    album: Option<String>,
    count: usize,
    rows: Vec<usize>,
    vectors: Array2<f32>,
    mean: ndarray::Array1<f32>,
}

/// The most common text, of equals the alphabetically first.
fn most<'a>(texts: impl Iterator<Item = &'a str>) -> &'a str {
    let mut spellings: HashMap<&str, usize> = HashMap::new();
    texts.for_each(|text| *spellings.entry(text).or_default() += 1);
    spellings
        .into_iter()
        .max_by(|a, b| a.1.cmp(&b.1).then(b.0.cmp(a.0)))
        .map_or("", |found| found.0)
}

/// The artist of an album, and its title.
fn album_of(tracks: &[&TrackMeta]) -> (String, String) {
    let title = most(tracks.iter().filter_map(|track| track.album.as_deref()));
    let named = most(
        tracks
            .iter()
            .filter_map(|track| track.album_artist.as_deref()),
    );
    let artists: Vec<&str> = tracks
        .iter()
        .filter_map(|track| track.artist.as_deref())
        .collect();
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
    let albums = match makers {
        Makers::Artists => Vec::new(),
        Makers::Albums => album_keys(meta),
    };
    for (row, track) in meta.iter().enumerate() {
        let keys = match makers {
            Makers::Artists => track.artist_keys(),
            Makers::Albums => albums[row].iter().cloned().collect(),
        };
        for key in keys {
            rows_of.entry(key).or_default().push(row);
        }
    }
    let all: Vec<(String, Vec<usize>)> = rows_of.into_iter().collect();
    all.into_par_iter()
        .map(|(key, rows)| {
            let tracks: Vec<&TrackMeta> = rows.iter().map(|&row| &meta[row]).collect();
            let (name, artist, album) = match makers {
                Makers::Artists => {
                    let named = tracks.iter().flat_map(|track| track.people());
                    // A track of several artists has names of others as well, which are no spellings of
                    // this one.
                    let spellings = named.filter(|name| name.to_lowercase() == key);
                    let artist = most(spellings).to_owned();
                    (artist.clone(), artist, None)
                }
                Makers::Albums => {
                    let (artist, title) = album_of(&tracks);
                    let name = if artist.is_empty() {
                        title.clone()
                    } else {
                        format!("{artist} – {title}")
                    };
                    (name, artist, Some(title))
                }
            };
            let count = rows.len();
            let rows: Vec<usize> = rows
                .into_iter()
                // Evenly over the library, so that all albums are represented.
                .step_by(count.div_ceil(MOST_TRACKS))
                .collect();
            let vectors = vectors.select(Axis(0), &rows);
            let mean = vectors.mean_axis(Axis(0)).expect("an artist has tracks");
            ArtistTracks {
                name,
                artist,
                album,
                count,
                rows,
                vectors,
                mean,
            }
        })
        .collect()
}

fn similarity(a: &ArtistTracks, b: &ArtistTracks) -> f32 {
    let products: Array2<f32> = a.vectors.dot(&b.vectors.t());
    let best =
        |row: ndarray::ArrayView1<'_, f32>| row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = products
        .rows()
        .into_iter()
        .map(best)
        // In both directions, so that the similarity is symmetric.
        .chain(products.columns().into_iter().map(best))
        .sum();
    (sum / (a.rows.len() + b.rows.len()) as f32).clamp(-1.0, 1.0)
}

fn cosine(a: &ArtistTracks, b: &ArtistTracks) -> f32 {
    let norms = (a.mean.dot(&a.mean) * b.mean.dot(&b.mean)).sqrt();
    (a.mean.dot(&b.mean) / norms.max(f32::MIN_POSITIVE)).clamp(-1.0, 1.0)
}

/// For some artists, the [`SHORT_LIST`] others with the most similar directions of means.
fn near_means(bodies: &[ArtistTracks], some: &[usize]) -> Result<Vec<Vec<usize>>> {
    let Some(first) = bodies.first() else {
        return Ok(Vec::new());
    };
    let mut means = Array2::zeros((bodies.len(), first.mean.len()));
    for (mut row, body) in means.rows_mut().into_iter().zip(bodies) {
        let norm = body.mean.dot(&body.mean).sqrt();
        // If opposite tracks cancel out, the direction of the first is used.
        if norm > f32::EPSILON {
            row.assign(&(&body.mean / norm));
        } else {
            row.assign(&body.vectors.row(0));
        }
    }
    // At least 0, since there is a first body.
    let short = SHORT_LIST.min(bodies.len() - 1);
    // For most of the artists, the graph of all pairs, computed in blocks, is faster.
    if some.len() > bodies.len() / 2 {
        let graph = KnnGraph::exact(means.view(), short)?;
        return Ok(some
            .iter()
            .map(|&row| graph.row(row).map(|(other, _)| other).collect())
            .collect());
    }
    let nearest = |some: &[usize]| -> Vec<Vec<usize>> {
        let products = means.select(Axis(0), some).dot(&means.t());
        let nearest_means = |(&artist, products): (&usize, ndarray::ArrayView1<'_, f32>)| {
            let mut others: Vec<usize> =
                (0..bodies.len()).filter(|&other| other != artist).collect();
            let order =
                |&a: &usize, &b: &usize| products[b].total_cmp(&products[a]).then(a.cmp(&b));
            if short < others.len() {
                others.select_nth_unstable_by(short, order);
                others.truncate(short);
            }
            others
        };
        some.iter()
            .zip(products.rows())
            .map(nearest_means)
            .collect()
    };
    Ok(some.par_chunks(TOGETHER).flat_map_iter(nearest).collect())
}

/// Most names in an error.
const NAMED: usize = 5;

/// Artists nearest to an artist, or albums nearest to an album, nearest first.
///
/// - `name`: of the artist, or of the album with its artist before it ("Muldjord – Chaos"), regardless of case, accents and
///   punctuation; a part of it suffices if it is unique
/// - `vectors`: `[n, dim]` unit vectors; `meta`: same rows
pub fn near_artists(
    vectors: ArrayView2<'_, f32>,
    meta: &[TrackMeta],
    makers: Makers,
    name: &str,
    limit: usize,
) -> Result<Vec<NearArtist>> {
    same_length("metadata", vectors.nrows(), meta.len())?;
    let bodies = bodies(vectors, meta, makers);
    let names = || bodies.iter().map(|body| body.name.as_str());
    // "A feat. B" means A; the title of an album is not split.
    let wanted = match makers {
        Makers::Artists => artists::artists(name).first().copied().unwrap_or(name),
        Makers::Albums => name,
    };
    let found = matching_names(wanted, names());
    let [name] = found.as_slice() else {
        let hint = if found.is_empty() {
            did_you_mean(&spelt_alike(wanted, names()))
        } else if found.len() <= NAMED {
            format!("it is a part of {}: ", found.join(" and of "))
        } else {
            format!("it is a part of {} names: ", found.len())
        };
        return Err(ExploreError::UnknownArtist {
            makers,
            requested: wanted.to_owned(),
            hint,
        });
    };
    let queried = bodies
        .iter()
        .find(|body| body.name == *name)
        .expect("the name is one of theirs");
    let mut near: Vec<(f32, &ArtistTracks)> = bodies
        .par_iter()
        // By address, because two albums may have the same name.
        .filter(|body| !std::ptr::eq(*body, queried))
        .map(|body| (similarity(queried, body), body))
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.name.cmp(&b.1.name)));
    near.truncate(limit);
    let answer = near.into_iter().map(|(similarity, body)| {
        // Computed again for the few results, since storing them for all artists would take too much
        // memory.
        let products: Array2<f32> = queried.vectors.dot(&body.vectors.t());
        let best = products
            .columns()
            .into_iter()
            .map(|column| column.fold(f32::NEG_INFINITY, |a, &b| a.max(b)));
        let mut songs: Vec<(f32, TrackId)> = best
            .zip(body.rows.iter().map(|&row| meta[row].id))
            .collect();
        songs.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut pairs: Vec<TrackPair> = products
            .indexed_iter()
            .map(|((a, b), &similarity)| TrackPair {
                query: meta[queried.rows[a]].id,
                other: meta[body.rows[b]].id,
                similarity,
            })
            .collect();
        pairs.sort_by(|a, b| {
            b.similarity
                .total_cmp(&a.similarity)
                .then((a.query, a.other).cmp(&(b.query, b.other)))
        });
        // Each track once, so that a single track is not in all the reasons.
        let mut because: Vec<TrackPair> = Vec::new();
        for pair in pairs {
            if because.len() == REASONS {
                break;
            }
            if because
                .iter()
                .all(|known| known.query != pair.query && known.other != pair.other)
            {
                because.push(pair);
            }
        }
        NearArtist {
            artist: body.artist.clone(),
            album: body.album.clone(),
            tracks: body.count,
            similarity,
            mean_similarity: cosine(queried, body),
            because,
            songs: songs.into_iter().map(|(_, song)| song).collect(),
        }
    });
    Ok(answer.collect())
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
) -> Result<Vec<ArtistSummary>> {
    same_length("metadata", vectors.nrows(), meta.len())?;
    let bodies = bodies(vectors, meta, makers);
    let mut rows: Vec<usize> = (0..bodies.len()).collect();
    rows.sort_by(|&a, &b| {
        let a = &bodies[a];
        let b = &bodies[b];
        b.count
            .cmp(&a.count)
            .then_with(|| (&a.artist, &a.album).cmp(&(&b.artist, &b.album)))
    });
    rows.truncate(limit);
    // Tracks are compared only for artists with near means, or the time would be quadratic.
    let near = near_means(&bodies, &rows)?;
    let answer = rows
        .par_iter()
        .zip(near)
        .map(|(&row, near)| {
            let body = &bodies[row];
            let nearest = near
                .into_iter()
                .map(|other| (similarity(body, &bodies[other]), &bodies[other]))
                .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.name.cmp(&a.1.name)));
            let closeness = body.vectors.dot(&body.mean);
            let most = (0..body.rows.len())
                .max_by(|&a, &b| closeness[a].total_cmp(&closeness[b]).then(b.cmp(&a)));
            ArtistSummary {
                artist: body.artist.clone(),
                album: body.album.clone(),
                tracks: body.count,
                medoid: meta[body.rows[most.expect("an artist has tracks")]].id,
                // The length of the mean of unit vectors measures their cohesion.
                cohesion: (body.count > 1).then(|| body.mean.dot(&body.mean).sqrt().min(1.0)),
                nearest: nearest.map(|(similarity, body)| Nearest {
                    artist: body.artist.clone(),
                    album: body.album.clone(),
                    similarity,
                }),
            }
        })
        .collect();
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::super::testing::normal;
    use super::*;
    use rand::{SeedableRng, rngs::StdRng};

    /// Artist A plays two styles, B the same two, C what lies between them.
    fn two_styles() -> (Array2<f32>, Vec<TrackMeta>) {
        let mut rng = StdRng::seed_from_u64(1);
        let mut meta = Vec::new();
        let mut vectors = Array2::zeros((60, 8));
        for i in 0..60 {
            let mut track = TrackMeta::new(TrackId(i as i64), "x.mp3");
            track.artist =
                Some([" A", "B", "c", "C"][if i % 3 == 2 && i > 30 { 3 } else { i % 3 }].into());
            for d in 0..8 {
                vectors[[i, d]] = 0.05 * normal(&mut rng);
            }
            match i % 3 {
                2 => {
                    vectors[[i, 0]] += 0.7;
                    vectors[[i, 1]] += 0.7;
                }
                _ => vectors[[i, (i / 3) % 2]] += 1.0,
            }
            meta.push(track);
        }
        for mut row in vectors.rows_mut() {
            let norm = row.dot(&row).sqrt();
            row /= norm;
        }
        (vectors, meta)
    }

    #[test]
    fn similarity_compares_distributions_and_not_only_means() {
        let (vectors, meta) = two_styles();
        let near = near_artists(vectors.view(), &meta, Makers::Artists, "a ", 5).expect("known");
        assert_eq!(near[0].artist, "B");
        assert!(
            near[0].similarity > 0.97 && near[1].similarity < 0.9,
            "{near:?}"
        );
        assert!((near[0].mean_similarity - near[1].mean_similarity).abs() < 0.05);
        assert_eq!(near[0].because.len(), 3);
        let all = artists(vectors.view(), &meta, Makers::Artists, 9).expect("same rows");
        assert_eq!((all.len(), all[0].tracks), (3, 20));
        assert_eq!(
            all.iter()
                .find(|a| a.artist == "A")
                .and_then(|a| a.nearest.clone())
                .map(|n| n.artist)
                .as_deref(),
            Some("B")
        );
    }

    #[test]
    fn a_limit_does_not_change_the_first_artists() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut vectors = Array2::from_shape_simple_fn((400, 12), || normal(&mut rng));
        for mut row in vectors.rows_mut() {
            let norm = row.dot(&row).sqrt();
            row /= norm;
        }
        let track_of = |i: usize| {
            let mut track = TrackMeta::new(TrackId(i as i64), "x.mp3");
            track.artist = Some(format!("artist {}", (i * i) % 90));
            track
        };
        let meta: Vec<TrackMeta> = (0..400).map(track_of).collect();
        let all = artists(vectors.view(), &meta, Makers::Artists, usize::MAX).expect("same rows");
        let first = artists(vectors.view(), &meta, Makers::Artists, 7).expect("same rows");
        assert!(all.len() > 20 && all[..7] == first, "{first:?}");
        assert!(first.iter().all(|artist| artist.nearest.is_some()));
    }

    /// Three artists of one track each, on the corners of a square, so that no similarity is 1.
    #[test]
    fn artists_of_one_track_are_as_similar_as_their_tracks() {
        let vectors = ndarray::arr2(&[[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]]);
        let meta: Vec<TrackMeta> = (0..3)
            .map(|i| {
                let mut track = TrackMeta::new(TrackId(i), "x.mp3");
                track.artist = Some(format!("artist {i}"));
                track
            })
            .collect();
        let all = artists(vectors.view(), &meta, Makers::Artists, 9).expect("same rows");
        let nearest: Vec<(f32, Option<f32>)> = all
            .iter()
            .map(|a| (a.nearest.as_ref().map_or(9.0, |n| n.similarity), a.cohesion))
            .collect();
        for ((found, cohesion), expected) in nearest.into_iter().zip([0.6, 0.6, -0.6]) {
            assert!(
                (found - expected).abs() < 1e-6 && cohesion.is_none(),
                "{found} for {expected}"
            );
        }
        let near =
            near_artists(vectors.view(), &meta, Makers::Artists, "artist 0", 5).expect("known");
        assert_eq!(near[0].because[0].similarity, near[0].similarity);
    }

    #[test]
    fn an_unknown_artist_is_an_error() {
        let (vectors, meta) = two_styles();
        assert!(
            near_artists(vectors.view(), &meta, Makers::Artists, "Z", 5)
                .expect_err("unknown")
                .to_string()
                .contains("no artist \"Z\"")
        );
    }

    /// Two albums of one title by two artists, a compilation in one folder, and tracks of no album.
    #[test]
    fn albums_are_identified_by_their_artist_or_folder() {
        let rows = [
            ("/m/a/1.mp3", "Ann", Some("Hits"), Some("Ann")),
            ("/m/a/2.mp3", "Ann feat. Bo", Some("hits"), Some("Ann")),
            ("/m/b/1.mp3", "Bo", Some("Hits"), Some("Bo")),
            ("/m/mix/1.mp3", "Cy", Some("Summer"), None),
            ("/m/mix/2.mp3", "Di", Some("Summer"), None),
            ("/m/other/1.mp3", "Ed", Some("Summer"), None),
            ("/m/x.mp3", "Ann", None, None),
        ];
        let meta: Vec<TrackMeta> = rows
            .iter()
            .enumerate()
            .map(|(i, (path, artist, album, owner))| TrackMeta {
                artist: Some((*artist).to_owned()),
                album: album.map(str::to_owned),
                album_artist: owner.map(str::to_owned),
                ..TrackMeta::new(TrackId(i as i64), *path)
            })
            .collect();
        let angle = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
        let vectors = ndarray::arr2(&[0.0, 2.0, 90.0, 10.0, 12.0, 91.0, 45.0].map(angle));
        let all = artists(vectors.view(), &meta, Makers::Albums, 9).expect("same rows");
        let named: Vec<(&str, &str, usize)> = all
            .iter()
            .map(|a| {
                (
                    a.artist.as_str(),
                    a.album.as_deref().unwrap_or("?"),
                    a.tracks,
                )
            })
            .collect();
        assert_eq!(
            named,
            [
                ("Ann", "Hits", 2),
                ("various artists", "Summer", 2),
                ("Bo", "Hits", 1),
                ("Ed", "Summer", 1)
            ]
        );
        let near = |name: &str| near_artists(vectors.view(), &meta, Makers::Albums, name, 1);
        let nearest = near("ann – hits").expect("known").remove(0);
        assert_eq!(
            (nearest.artist.as_str(), nearest.album.as_deref()),
            ("various artists", Some("Summer"))
        );
        assert_eq!(near("bo hits").expect("known")[0].artist, "Ed");
        let several = near("summer").expect_err("two albums").to_string();
        assert!(
            several.contains("it is a part of various artists – Summer and of Ed – Summer"),
            "{several}"
        );
    }
}
