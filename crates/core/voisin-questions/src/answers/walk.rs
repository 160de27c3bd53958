//! The way from one track to another.

use serde::Serialize;

use voisin_base::track::TrackId;
use voisin_engine::Collection;
use voisin_explore::TrackMeta;
use voisin_explore::path::Walk;

/// The documented JSON of `path`.
#[derive(Debug, Serialize)]
pub struct WalkJson<'a> {
    tracks: Vec<StepJson<'a>>,
    largest_step: f32,
    smallest_possible: f32,
}

#[derive(Debug, Serialize)]
pub(crate) struct StepJson<'a> {
    /// Null where it is not in the library.
    id: Option<TrackId>,
    path: &'a str,
    artist: Option<&'a str>,
    title: &'a str,
    /// Distance (1 − cosine) from the track before.
    step: Option<f32>,
}

impl<'a> StepJson<'a> {
    fn new(track: &'a TrackMeta, step: Option<f32>) -> Self {
        let artist = track.artist.as_deref();
        Self {
            id: track.library_id(),
            path: &track.path,
            artist,
            title: track.display_title(),
            step,
        }
    }
}

impl<'a> WalkJson<'a> {
    /// As programs read it.
    pub fn new(collection: &'a Collection, walk: &Walk) -> Self {
        let step = |i: usize| (i > 0).then(|| walk.steps[i - 1]);
        let tracks = walk.rows.iter().enumerate();
        Self {
            tracks: tracks
                .map(|(i, &row)| StepJson::new(&collection.meta[row], step(i)))
                .collect(),
            largest_step: walk.largest_step,
            smallest_possible: walk.bottleneck,
        }
    }
}
