//! Labels given by hand.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::extract;
use super::problem::Problem;
use super::state::Shared;
use voisin::questions::seed::{self, NamedSeed};
use voisin::questions::values::MOST;
use voisin_library::OpenMode;

/// Longest name of a genre.
const LONGEST: usize = 200;

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLabel {
    tracks: Vec<NamedSeed>,
    /// `null` removes labels.
    genre: Option<String>,
}

pub(super) async fn give(
    State(state): State<Shared>,
    extract::Body(request): extract::Body<NewLabel>,
) -> Result<Json<Value>, Problem> {
    if !(1..=MOST as usize).contains(&request.tracks.len()) {
        let found = request.tracks.len().to_string();
        return Err(Problem::bad(format!("1 to {MOST} tracks"), found));
    }
    state
        .run(move |_, context| {
            if context.engine.library().mode() == OpenMode::ReadOnly {
                let next = "allow the server to write into its folder";
                let detail = "the library cannot be written";
                return Err(Problem::new(StatusCode::CONFLICT, detail, next));
            }
            let genre = request.genre.as_deref().map(str::trim);
            if let Some(genre) = genre
                && (genre.len() > LONGEST
                    // A name that is empty when folded, such as "-", could not be used in any
                    // command.
                    || context
                        .engine
                        .taxonomy()?
                        .parse(&[genre])
                        .is_empty())
            {
                let found: String = genre.chars().take(50).collect();
                return Err(Problem::bad("the name of a genre", format!("{found:?}")));
            }
            let named = seed::seeds(&request.tracks, &context.engine)?;
            let ids: Vec<_> = named.iter().filter_map(|seed| seed.track).collect();
            let tracks = context.engine.library().tracks_by_id(&ids)?;
            let contents: Vec<_> = tracks.iter().map(|track| track.audio.content).collect();
            let changed = context.engine.library_mut().set_labels(&contents, genre)?;
            let generation = context.engine.library().generation()?;
            Ok(Json(json!({"generation": generation, "changed": changed})))
        })
        .await
}
