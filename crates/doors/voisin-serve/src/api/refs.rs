//! Songs by the references of players: MBID, ISRC or path, or title, artists, album and length.

use axum::body::Body;
use axum::extract::State;
use axum::http::Response;
use axum::response::IntoResponse as _;
use serde::Deserialize;

use super::Answer;
use voisin_base::remedy::Remedy;
use voisin_base::track::TrackId;
use voisin_engine::{EngineError, MixOptions};
use voisin_explore::artists::{Makers, near_artists};
use voisin_http::extract;
use voisin_http::problem::Problem;
use voisin_http::state::{Explored, Shared, way};
use voisin_library::Library;
use voisin_players::songs::{AlbumRef, ArtistRef, SongRef};
use voisin_questions::answers::refs::{ArtistMatch, ArtistMatches, MatchJson, Matches, SongJson};
use voisin_questions::seed::MOST_SEEDS;
use voisin_questions::values::{Count, Limit};
use voisin_questions::{Filters, Mixing};

fn ten() -> Limit {
    Limit::from(10)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SimilarSongsQuestion {
    #[serde(default)]
    songs: Vec<SongRef>,
    /// All tracks of these albums.
    #[serde(default)]
    albums: Vec<AlbumRef>,
    /// All tracks of these artists.
    #[serde(default)]
    artists: Vec<ArtistRef>,
    #[serde(default = "ten")]
    count: Limit,
    /// As in `mixing`.
    max_per_artist: Option<Count>,
    #[serde(default)]
    mixing: Mixing,
    #[serde(default)]
    filters: Filters,
}

/// Songs that sound like these. Unknown ones are ignored if another one is known.
pub(super) async fn similar(
    State(state): State<Shared>,
    extract::Body(request): extract::Body<SimilarSongsQuestion>,
) -> Result<Response<Body>, Problem> {
    let named = request.songs.len() + request.albums.len() + request.artists.len();
    if !(1..=MOST_SEEDS).contains(&named) {
        return Err(Problem::bad(
            format!("1 to {MOST_SEEDS} songs, albums and artists"),
            named.to_string(),
        ));
    }
    let mut mixing = request.mixing.clone();
    mixing.max_per_artist = mixing
        .max_per_artist
        .or(request.max_per_artist.map(|most| most.get() as u32));
    state
        .run(move |state, context| {
            let generation = state.index(context)?;
            let engine = &mut *context.engine;
            request.filters.check_licences(engine.library())?;
            let library = engine.library();
            let mut found = Vec::new();
            for song in &request.songs {
                found.extend(song.find_sure(library)?);
            }
            for album in &request.albums {
                found.extend(
                    album
                        .tracks(library)?
                        .into_iter()
                        .map(|track| (track, "tags")),
                );
            }
            for artist in &request.artists {
                found.extend(
                    artist
                        .tracks(library)?
                        .into_iter()
                        .map(|track| (track, "tags")),
                );
            }
            if found.is_empty() {
                // The error of the first song has how it was searched.
                request
                    .songs
                    .first()
                    .map(|song| song.required(library))
                    .transpose()?;
                let next = Remedy::SeeTracks;
                return Err(Problem::not_found(
                    "the library has nothing of this album or artist",
                    next,
                ));
            }
            // An artist may have thousands of tracks.
            found.truncate(MOST_SEEDS);
            let seeds = found.iter().map(|(track, _)| engine.seed_of(*track));
            let seeds = seeds.collect::<Result<Vec<_>, EngineError>>()?;
            let filters = request.filters.clone().over(&state.mixes.filters);
            let filter = filters.filter(engine, &seeds)?;
            let limit = request.count.of(usize::MAX);
            let options = MixOptions {
                limit,
                filter,
                ..mixing.clone().over(&state.mixes.mixing).options()
            };
            let matches = engine
                .mix(&seeds, &options)?
                .into_iter()
                .map(|near| MatchJson {
                    track: near.track.id,
                    similarity: near.similarity.clamp(0.0, 1.0),
                    song: SongJson::new(near.track),
                });
            let found_by = found.iter().map(|(_, how)| *how).collect();
            let answer = Matches {
                found_by,
                matches: matches.collect(),
            };
            Ok(Answer { generation, answer }.into_response())
        })
        .await
}

fn twenty_five() -> Limit {
    Limit::from(25)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SongPathQuestion {
    start: SongRef,
    end: SongRef,
    /// Songs of the path, with both ends.
    #[serde(default = "twenty_five")]
    count: Limit,
}

/// The path from one song to another, with similarities to the start.
pub(super) async fn path(
    State(state): State<Shared>,
    extract::Body(request): extract::Body<SongPathQuestion>,
) -> Result<Response<Body>, Problem> {
    let count = request.count.of(usize::MAX);
    state
        .run_explored(move |_, context, explored| {
            let library = context.engine.library();
            let ends = [
                request.start.required(library)?,
                request.end.required(library)?,
            ];
            songs_between(library, explored, ends, count)
        })
        .await
}

/// - `ends`: with how each was found
fn songs_between(
    library: &Library,
    explored: &Explored,
    [(from, from_by), (to, to_by)]: [(TrackId, &'static str); 2],
    count: usize,
) -> Result<Response<Body>, Problem> {
    let found = way(explored, from, to, count)?;
    let ids: Vec<TrackId> = found.iter().map(|(track, _)| *track).collect();
    let matches = library.tracks_by_id(&ids)?.into_iter().zip(found);
    let matches = matches.map(|(track, (_, similarity))| MatchJson {
        track: track.id,
        similarity,
        song: SongJson::new(track),
    });
    let answer = Matches {
        found_by: vec![from_by, to_by],
        matches: matches.collect(),
    };
    Ok(Answer {
        generation: explored.generation,
        answer,
    }
    .into_response())
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArtistsQuestion {
    artist: ArtistRef,
    #[serde(default = "ten")]
    count: Limit,
}

/// The artists near to one.
pub(super) async fn artists(
    State(state): State<Shared>,
    extract::Body(request): extract::Body<ArtistsQuestion>,
) -> Result<Answer<ArtistMatches>, Problem> {
    let count = request.count.of(usize::MAX);
    state
        .run_collected(move |_, collected| {
            let collection = &collected.collection;
            let vectors = collection.vectors.view();
            let meta = &collection.meta;
            let near = near_artists(vectors, meta, Makers::Artists, &request.artist.name, count)?;
            let artists = near.into_iter().map(|near| ArtistMatch {
                name: near.artist,
                similarity: near.similarity.clamp(0.0, 1.0),
            });
            let answer = ArtistMatches {
                artists: artists.collect(),
            };
            Ok(Answer {
                generation: collected.generation,
                answer,
            })
        })
        .await
}
