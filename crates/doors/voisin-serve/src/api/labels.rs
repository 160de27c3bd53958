//! Labels given by hand.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;

use super::{Answer, MOST, page};
use voisin_base::track::TrackId;
use voisin_http::extract;
use voisin_http::problem::Problem;
use voisin_http::state::Shared;
use voisin_library::{Library, OpenMode};
use voisin_questions::answers::labels::{HandLabelJson, HandLabelsJson, LabelsChangedJson};
use voisin_questions::answers::track::TrackRef;
use voisin_questions::page::{Paged, Plain};

/// Longest name of a genre.
const LONGEST: usize = 200;

pub(super) async fn all(
    State(state): State<Shared>,
    extract::Query(request): extract::Query<Paged<Plain>>,
) -> Result<Answer<HandLabelsJson>, Problem> {
    state
        .run(move |_, context| {
            let library = context.engine.library();
            let mut by_hand = Vec::new();
            for (content, genre) in library.hand_labels()? {
                // A label outlives its track.
                if let Some(track) = library.find_by_content(&content)? {
                    by_hand.push((track, genre));
                }
            }
            by_hand.sort();
            let total = by_hand.len();
            let (part, next) = page(&by_hand, |(track, _)| *track, request.after, request.limit)?;
            let by_hand = by_hand.drain(part);
            let (ids, genres): (Vec<TrackId>, Vec<String>) = by_hand.unzip();
            let tracks = library.tracks_by_id(&ids)?;
            let labels = tracks.iter().zip(genres);
            let labels = labels.map(|(track, genre)| HandLabelJson {
                track: TrackRef::of_track(track),
                genre,
            });
            let source = context.engine.genres().label_source().to_string();
            let answer = HandLabelsJson {
                source,
                total,
                by_hand: labels.collect(),
                next,
            };
            Ok(Answer {
                generation: library.generation()?,
                answer,
            })
        })
        .await
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLabel {
    tracks: Vec<TrackId>,
    /// `null` removes labels.
    genre: Option<String>,
}

/// Refuses a library that cannot be written.
fn writable(library: &Library) -> Result<(), Problem> {
    if library.mode() == OpenMode::ReadOnly {
        let detail = "the library cannot be written";
        return Err(Problem::new(
            StatusCode::CONFLICT,
            detail,
            "allow the server to write into its folder",
        ));
    }
    Ok(())
}

pub(super) async fn give(
    State(state): State<Shared>,
    extract::Body(request): extract::Body<NewLabel>,
) -> Result<Answer<LabelsChangedJson>, Problem> {
    if !(1..=MOST).contains(&request.tracks.len()) {
        let found = request.tracks.len().to_string();
        return Err(Problem::bad(format!("1 to {MOST} tracks"), found));
    }
    state
        .run(move |_, context| {
            writable(context.engine.library())?;
            let genre = request.genre.as_deref().map(str::trim);
            if let Some(genre) = genre
                && (genre.len() > LONGEST
                    // A name that is empty when folded, such as "-", could not be used in any
                    // command.
                    || context
                        .engine
                        .genres()
                        .taxonomy()?
                        .parse(&[genre])
                        .is_empty())
            {
                let found: String = genre.chars().take(50).collect();
                return Err(Problem::bad("the name of a genre", format!("{found:?}")));
            }
            let tracks = context.engine.library().tracks_by_id(&request.tracks)?;
            let contents: Vec<_> = tracks.iter().map(|track| track.audio.content).collect();
            let changed = context.engine.library_mut().set_labels(&contents, genre)?;
            let generation = context.engine.library().generation()?;
            Ok(Answer {
                generation,
                answer: LabelsChangedJson { changed },
            })
        })
        .await
}
