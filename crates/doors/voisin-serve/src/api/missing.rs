//! Files that are gone or out of reach, and their removal from the library.

use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::labels::writable;
use super::{Answer, page_by_place};
use voisin_base::track::TrackId;
use voisin_engine::MissingFiles;
use voisin_http::extract;
use voisin_http::problem::Problem;
use voisin_http::state::Shared;
use voisin_library::MissingFile;
use voisin_questions::answers::lossy;
use voisin_questions::answers::track::TrackRef;
use voisin_questions::page::{Paged, Plain};

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct MissingPage {
    /// Files in all.
    total: usize,
    /// The files of the page.
    items: Vec<MissingJson>,
    /// Number of files out of reach by absent folder, as of a disk that is not mounted.
    absent_folders: BTreeMap<String, u64>,
    /// `after` of the next page; null on the last one.
    next: Option<usize>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct MissingJson {
    /// Where the file was.
    path: String,
    /// The track it belongs to.
    track: Option<TrackRef>,
    /// The absent folder, as of a disk that is not mounted; null if only the file is gone.
    absent_folder: Option<String>,
}

pub(super) async fn all(
    State(state): State<Shared>,
    extract::Query(question): extract::Query<Paged<Plain, usize>>,
) -> Result<Answer<MissingPage>, Problem> {
    state
        .look(move |_, context| {
            let library = context.engine.library();
            let gone = MissingFiles::anywhere(library)?;
            let absent = gone.absent_folders().into_iter();
            let absent_folders = absent
                .map(|(folder, files)| (lossy(folder), files))
                .collect();
            let files: Vec<&MissingFile> = gone.files.iter().chain(&gone.out_of_reach).collect();
            let (part, next) = page_by_place(files.len(), question.after, question.limit)?;
            let ids: Vec<TrackId> = files[part.clone()]
                .iter()
                .map(|one| one.file.track)
                .collect();
            let tracks = library.tracks_by_id(&ids)?;
            let known = |id| tracks.iter().find(|track| track.id == id);
            let items = files[part].iter().map(|one| MissingJson {
                path: lossy(&one.file.record.path),
                track: known(one.file.track).map(TrackRef::of_track),
                absent_folder: one.absent_folder.as_deref().map(lossy),
            });
            let answer = MissingPage {
                total: files.len(),
                items: items.collect(),
                absent_folders,
                next,
            };
            Ok(Answer {
                generation: library.changes().generation()?,
                answer,
            })
        })
        .await
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Leaving {
    /// Also the files of this absent folder.
    folder: Option<PathBuf>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Gone {
    /// Files that were removed.
    files: u64,
    /// Tracks that were removed with them.
    tracks: u64,
}

/// Removes files that are gone from existing folders, and those of a named absent folder.
pub(super) async fn remove(
    State(state): State<Shared>,
    extract::Query(question): extract::Query<Leaving>,
) -> Result<Answer<Gone>, Problem> {
    state
        .run(move |_, context| {
            writable(context.engine.library())?;
            let gone = MissingFiles::anywhere(context.engine.library())?;
            let mut files = gone.files;
            if let Some(folder) = &question.folder {
                let lay_in = |one: &MissingFile| one.absent_folder.as_ref() == Some(folder);
                files.extend(gone.out_of_reach.into_iter().filter(lay_in));
            }
            let removed = context
                .engine
                .library_mut()
                .files_mut()
                .remove_missing(&files)?;
            Ok(Answer {
                generation: context.engine.library().changes().generation()?,
                answer: Gone {
                    files: removed.files,
                    tracks: removed.tracks,
                },
            })
        })
        .await
}
