//! Songs as players refer to them: by MBID, ISRC or path, or by title, artists, album and length.

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::response::IntoResponse as _;
use serde::{Deserialize, Serialize};

use super::{Answer, Filters, MOST, within};
use crate::base::vector::dot;
use crate::engine::{EngineError, SimilarOptions};
use crate::explore::path::{PathOptions, path as walk_between};
use crate::library::{Library, LibraryError, Track, fold};
use crate::serve::ask;
use crate::serve::problem::Problem;
use crate::serve::state::Shared;
use crate::track::TrackId;

/// Lengths further apart than this, in seconds, are of two recordings.
const SAME_LENGTH: f64 = 5.0;

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ArtistRef {
    name: String,
}

/// A song as Navidrome's plugins refer to it. What is not known is left out; what is not understood is passed over.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SongRef {
    name: String,
    mbid: Option<String>,
    isrc: Option<String>,
    /// As the library has it, or its end.
    path: Option<String>,
    artist: Option<String>,
    artists: Vec<ArtistRef>,
    album: Option<String>,
    /// Seconds.
    duration: Option<f64>,
    duration_ms: Option<f64>,
}

/// A song of the answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SongJson {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    mbid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    isrc: Option<String>,
    artist: String,
    artists: Vec<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    album: Option<String>,
    duration_ms: u64,
    path: String,
}

#[derive(Debug, Serialize)]
struct MatchJson {
    song: SongJson,
    similarity: f32,
    /// voisin's own number of the track.
    track: TrackId,
}

#[derive(Debug, Serialize)]
struct Matches {
    /// How the songs asked about were found: `mbid`, `isrc`, `path` or `tags`.
    found_by: Vec<&'static str>,
    matches: Vec<MatchJson>,
}

fn said(text: Option<&String>) -> Option<&str> {
    text.map(|text| text.trim()).filter(|text| !text.is_empty())
}

impl SongRef {
    /// The track that is meant, and what told: the surest sign first.
    fn find(&self, library: &Library) -> Result<Option<(TrackId, &'static str)>, LibraryError> {
        for (how, mbid, isrc) in
            [("mbid", said(self.mbid.as_ref()), None), ("isrc", None, said(self.isrc.as_ref()))]
        {
            if mbid.is_some() || isrc.is_some() {
                let found = library.find_by_code(mbid, isrc)?;
                if let Some(track) = self.best(library, &found)? {
                    return Ok(Some((track, how)));
                }
            }
        }
        if let Some(path) = said(self.path.as_ref())
            && let Some(track) = library.find_by_stored_path(std::path::Path::new(path))?
        {
            return Ok(Some((track, "path")));
        }
        let title = fold(&self.name);
        if title.is_empty() {
            return Ok(None);
        }
        let mut found = library.search_words(&self.name, 1000)?;
        let tracks = library.tracks_by_id(&found)?;
        let fits = |track: &Track| {
            fold(track.tags.title.as_deref().unwrap_or_default()) == title && self.has_artist_of(track)
        };
        let fitting: Vec<TrackId> = tracks.iter().filter(|track| fits(track)).map(|track| track.id).collect();
        found.retain(|id| fitting.contains(id));
        Ok(self.best(library, &found)?.map(|track| (track, "tags")))
    }

    fn has_artist_of(&self, track: &Track) -> bool {
        let mut named = self.artists.iter().map(|artist| fold(&artist.name)).collect::<Vec<_>>();
        named.extend(said(self.artist.as_ref()).map(fold));
        named.retain(|name| !name.is_empty());
        let known = [track.tags.artist.as_deref(), track.tags.album_artist.as_deref()];
        // "A feat. B" is a track of A and of B.
        let is_known = |name: &String| {
            known.iter().flatten().any(|known| format!(" {} ", fold(known)).contains(&format!(" {name} ")))
        };
        named.is_empty() || named.iter().any(is_known)
    }

    /// Of several candidates the one of the same album, then of the nearest length; none whose length is another.
    fn best(&self, library: &Library, candidates: &[TrackId]) -> Result<Option<TrackId>, LibraryError> {
        let seconds =
            self.duration_ms.map(|ms| ms / 1000.0).or(self.duration).filter(|seconds| *seconds > 0.0);
        let album = said(self.album.as_ref()).map(fold);
        let mut best: Option<((bool, f64), TrackId)> = None;
        for track in library.tracks_by_id(candidates)? {
            let apart = seconds.map_or(0.0, |seconds| (seconds - track.audio.seconds).abs());
            if candidates.len() > 1 && apart > SAME_LENGTH {
                continue;
            }
            let other_album = album.is_some() && track.tags.album.as_deref().map(fold) != album;
            let rank = (other_album, apart);
            if best.is_none_or(|(known, _)| rank < known) {
                best = Some((rank, track.id));
            }
        }
        Ok(best.map(|(_, track)| track))
    }

    fn required(&self, library: &Library) -> Result<(TrackId, &'static str), Problem> {
        self.find(library)?.ok_or_else(|| {
            let name: String = self.name.chars().take(100).collect();
            Problem::not_found(
                format!("the library has no song like {name:?}"),
                "run \"voisin add\" on it; it is looked for by MBID, ISRC, path, then title and artists",
            )
        })
    }
}

fn song(track: Track) -> SongJson {
    let artist = track.main_artist().unwrap_or_default().to_owned();
    SongJson {
        name: track.tags.title.clone().unwrap_or_else(|| {
            crate::answers::lossy(std::path::Path::new(track.path.file_stem().unwrap_or_default()))
        }),
        artists: vec![serde_json::json!({"name": artist})],
        artist,
        mbid: track.tags.mbid,
        isrc: track.tags.isrc,
        album: track.tags.album,
        duration_ms: (track.audio.seconds * 1000.0).round() as u64,
        path: crate::answers::lossy(&track.path),
    }
}

fn ten() -> usize {
    10
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SimilarSongsQuestion {
    songs: Vec<SongRef>,
    #[serde(default = "ten")]
    count: usize,
    max_per_artist: Option<usize>,
    #[serde(default)]
    filters: Filters,
}

/// What sounds like these songs. Those that are not known are passed over if another one is.
pub(super) async fn similar(
    State(state): State<Shared>,
    ask::Body(asked): ask::Body<SimilarSongsQuestion>,
) -> Result<Response<Body>, Problem> {
    if !(1..=500).contains(&asked.songs.len()) {
        return Err(Problem::bad("1 to 500 songs", asked.songs.len().to_string()));
    }
    let options = SimilarOptions {
        limit: within("count", asked.count, MOST)?,
        filter: asked.filters.filter()?,
        max_per_artist: asked
            .max_per_artist
            .map(|most| within("max_per_artist", most, usize::MAX))
            .transpose()?,
        ..SimilarOptions::default()
    };
    state
        .ask(move |state, desk| {
            let generation = state.index(desk)?;
            let library = desk.engine.library();
            let mut found = Vec::new();
            for song in &asked.songs {
                found.extend(song.find(library)?);
            }
            if found.is_empty() {
                asked.songs[0].required(library)?;
            }
            let seeds = found.iter().map(|(track, _)| desk.engine.seed_of(*track));
            let seeds = seeds.collect::<Result<Vec<_>, EngineError>>()?;
            let matches = desk.engine.similar(&seeds, &options)?.into_iter().map(|near| MatchJson {
                track: near.track.id,
                similarity: near.similarity.clamp(0.0, 1.0),
                song: song(near.track),
            });
            let found_by = found.iter().map(|(_, how)| *how).collect();
            let answer = Matches { found_by, matches: matches.collect() };
            Ok(Answer { generation, answer }.into_response())
        })
        .await
}

fn twenty_five() -> usize {
    25
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SongPathQuestion {
    start: SongRef,
    end: SongRef,
    /// Songs of the way, both ends among them.
    #[serde(default = "twenty_five")]
    count: usize,
}

/// The way from one song to another. Similarities are those to the start.
pub(super) async fn path(
    State(state): State<Shared>,
    ask::Body(asked): ask::Body<SongPathQuestion>,
) -> Result<Response<Body>, Problem> {
    let count = within("count", asked.count, MOST)?;
    state
        .ask(move |state, desk| {
            let explored = state.explored(desk)?;
            let (collection, library) = (&explored.collection, desk.engine.library());
            let (from, from_by) = asked.start.required(library)?;
            let (to, to_by) = asked.end.required(library)?;
            let row = |track: TrackId| collection.row(track).ok_or(EngineError::NoVector { id: track });
            let (from, to) = (row(from)?, row(to)?);
            let meta = &collection.meta;
            let walk = |tracks| {
                let options = PathOptions { tracks, ..PathOptions::default() };
                walk_between(collection.vectors.view(), &explored.graph, meta, from, to, &options)
            };
            // The way as it comes, unless it is longer than is asked for.
            let mut found = walk(None)?;
            if found.rows.len() > count {
                found = walk(Some(count))?;
            }
            let ids: Vec<TrackId> = found.rows.iter().map(|&row| collection.ids[row]).collect();
            let start = collection.vectors.row(from).to_vec();
            let tracks = library.tracks_by_id(&ids)?;
            let matches = tracks.into_iter().zip(&found.rows).map(|(track, &row)| {
                let similarity = dot(&start, &collection.vectors.row(row).to_vec()).clamp(0.0, 1.0);
                MatchJson { track: track.id, similarity, song: song(track) }
            });
            let answer = Matches { found_by: vec![from_by, to_by], matches: matches.collect() };
            Ok(Answer { generation: explored.generation, answer }.into_response())
        })
        .await
}
