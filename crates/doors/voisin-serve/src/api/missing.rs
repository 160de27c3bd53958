//! Music that is no longer on the disk, or not within reach: which it is, and taking it out of the library.

use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::extract::State;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::labels::writable;
use super::{Answer, page_by_place};
use voisin_base::track::TrackId;
use voisin_engine::MissingFiles;
use voisin_http::ask;
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
    /// How many files of each folder are out of reach, as where a disk is not mounted.
    absent_folders: BTreeMap<String, u64>,
    /// Names the next page; null on the last one.
    next: Option<usize>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct MissingJson {
    /// Where the file was.
    path: String,
    /// The track it belongs to.
    track: Option<TrackRef>,
    /// The folder that is not there, as where a disk is not mounted; null where the file alone is gone.
    absent_folder: Option<String>,
}

pub(super) async fn all(
    State(state): State<Shared>,
    ask::Query(question): ask::Query<Paged<Plain, usize>>,
) -> Result<Answer<MissingPage>, Problem> {
    state
        .look(move |state, context| {
            let library = context.engine.library();
            // Files of a database's library lie on another machine.
            let gone = if state.is_elsewhere() {
                MissingFiles::default()
            } else {
                MissingFiles::anywhere(library)?
            };
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
    /// Also what lay in this folder, which is not there.
    folder: Option<PathBuf>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Gone {
    /// Files that were taken out.
    files: u64,
    /// Tracks that went with them.
    tracks: u64,
    /// Tracks that stay, because the same recording was added again: a scan that takes over joins the two.
    staying: usize,
}

/// Takes out what is gone from folders that are there, and what lay in a folder that is named.
pub(super) async fn remove(
    State(state): State<Shared>,
    ask::Query(question): ask::Query<Leaving>,
) -> Result<Answer<Gone>, Problem> {
    state
        .ask(move |state, context| {
            writable(state, context.engine.library())?;
            let gone = MissingFiles::anywhere(context.engine.library())?;
            let mut files = gone.files;
            let tracks: Vec<TrackId> = files.iter().map(|one| one.file.track).collect();
            // The same recording is there under another path: its label and plays would be lost
            // with the old track.
            let replaced = context.engine.successors(&[], &tracks)?;
            files.retain(|one| replaced.iter().all(|kept| kept.gone != one.file.track));
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
                    staying: replaced.len(),
                },
            })
        })
        .await
}
