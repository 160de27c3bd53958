//! Labels given by hand: reading, setting, undoing, and writing them into files.

use std::path::PathBuf;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use serde::Deserialize;

use super::{Answer, MOST, page};
use voisin_audio::tags::WriteOptions;
use voisin_base::track::TrackId;
use voisin_engine::{TagWish, write_tags};
use voisin_http::extract;
use voisin_http::problem::Problem;
use voisin_http::state::Shared;
use voisin_library::{Library, OpenMode};
use voisin_questions::answers::labels::{
    HandLabelJson, HandLabelsJson, LabelUndoneJson, LabelsChangedJson, LabelsWrittenJson,
};
use voisin_questions::answers::track::TrackRef;
use voisin_questions::page::{Paged, Plain};

/// Most files of a request: they are copied when they are written, which must fit its timeout.
const MOST_FILES: usize = 20;
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
            for (content, genre) in library.labels().hand_labels()? {
                // A label outlives its track.
                if let Some(track) = library.files().find_by_content(&content)? {
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
                generation: library.changes().generation()?,
                answer,
            })
        })
        .await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLabel {
    tracks: Vec<TrackId>,
    /// `null` removes labels.
    genre: Option<String>,
}

/// Refuses a library that cannot be written.
pub(super) fn writable(library: &Library) -> Result<(), Problem> {
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

fn some(tracks: &[TrackId], most: usize) -> Result<(), Problem> {
    if (1..=most).contains(&tracks.len()) {
        Ok(())
    } else {
        Err(Problem::bad(
            format!("1 to {most} tracks"),
            tracks.len().to_string(),
        ))
    }
}

pub(super) async fn give(
    State(state): State<Shared>,
    extract::Body(request): extract::Body<NewLabel>,
) -> Result<Answer<LabelsChangedJson>, Problem> {
    some(&request.tracks, MOST)?;
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
            let changed = context
                .engine
                .library_mut()
                .labels_mut()
                .set_labels(&contents, genre)?;
            let generation = context.engine.library().changes().generation()?;
            Ok(Answer {
                generation,
                answer: LabelsChangedJson { changed },
            })
        })
        .await
}

pub(super) async fn undo(
    State(state): State<Shared>,
    _: extract::NoBody,
) -> Result<Response<Body>, Problem> {
    state
        .run(|_, context| {
            writable(context.engine.library())?;
            let Some(change) = context.engine.library_mut().labels_mut().undo_label()? else {
                let next = "set a label first: POST /api/v1/labels";
                return Err(Problem::new(
                    StatusCode::CONFLICT,
                    "there is no change of a label to undo",
                    next,
                ));
            };
            let library = context.engine.library();
            let track = match library.files().find_by_content(&change.content)? {
                Some(id) => Some(TrackRef::of_track(&library.track(id)?)),
                None => None,
            };
            // Undoing exchanges the two.
            let answer = LabelUndoneJson {
                track,
                before: change.after,
                after: change.before,
            };
            Ok(Answer {
                generation: library.changes().generation()?,
                answer,
            }
            .into_response())
        })
        .await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Writing {
    tracks: Vec<TrackId>,
    /// Report the changes without making them.
    #[serde(default = "yes")]
    dry_run: bool,
    /// Continues this run, the last one, so that one `voisin tag --undo` reverts all of it.
    run: Option<i64>,
}

fn yes() -> bool {
    true
}

/// Writes labels given by hand into the files of these tracks, replacing their genres, which are stored first.
pub(super) async fn write(
    State(state): State<Shared>,
    extract::Body(request): extract::Body<Writing>,
) -> Result<Response<Body>, Problem> {
    some(
        &request.tracks,
        if request.dry_run { MOST } else { MOST_FILES },
    )?;
    state
        .run(move |_, context| {
            if !request.dry_run {
                writable(context.engine.library())?;
            }
            let by_hand = context.engine.library().labels().hand_labels()?;
            let taxonomy = context.engine.genres().taxonomy()?;
            let mut wishes = Vec::new();
            for track in context.engine.library().tracks_by_id(&request.tracks)? {
                let Some(genre) = by_hand.get(&track.audio.content) else {
                    continue;
                };
                let genres: Vec<String> = taxonomy
                    .parse(&[genre])
                    .iter()
                    .map(|genre| genre.name().to_owned())
                    .collect();
                let paths = track.files.into_iter().map(|file| file.record.path);
                let wish = |path: PathBuf| TagWish {
                    path,
                    genres: genres.clone(),
                    reason: "labelled by hand".to_owned(),
                };
                wishes.extend(paths.map(wish));
            }
            let options = WriteOptions {
                overwrite: true,
                // By the new time the next scan knows that the tags are to be read.
                keep_mtime: false,
                dry_run: request.dry_run,
            };
            let mut items = Vec::new();
            let library = context.engine.library_mut();
            let run = write_tags(library, &wishes, options, request.run, |file| {
                items.push(file);
                Ok::<_, Problem>(true)
            })?;
            let run = (!request.dry_run).then_some(run);
            let generation = context.engine.library().changes().generation()?;
            Ok(Answer {
                generation,
                answer: LabelsWrittenJson { run, items },
            }
            .into_response())
        })
        .await
}
