//! Recordings that are back as another file: encoded or ripped again, or changed and moved.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use ndarray::Array2;

use super::collection::window_set;
use super::{Engine, EngineError};
use voisin_base::track::TrackId;
use voisin_explore::duplicates::{DuplicateOptions, DuplicatePair, same_by_windows};
use voisin_explore::{TrackMeta, WindowSet};
use voisin_index::SearchMode;
use voisin_library::OpenMode;

/// Largest difference in seconds between the lengths of two files of one recording, so that a part of a track does not count.
const MOST_DIFFERENCE: f64 = 10.0;
/// The same, as a share of the longer one.
const MOST_DIFFERENCE_SHARE: f64 = 0.05;

/// A track whose files are gone, and a later one that is the same recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Successor {
    /// The track whose files are gone.
    pub gone: TrackId,
    /// Where its last file was.
    pub was: PathBuf,
    /// The later track.
    pub by: TrackId,
    /// Its file.
    pub path: PathBuf,
}

impl Engine {
    /// Finds pairs of tracks that are the same recording, of which the earlier one has lost all its files. Each track is in at
    /// most one pair. Stored windows decide (see [`same_by_windows`]), since the earlier file cannot be decoded.
    ///
    /// - `added`: tracks whose files exist; for others the disk is checked
    /// - `missing`: tracks that miss a file
    pub fn successors(
        &mut self,
        added: &[TrackId],
        missing: &[TrackId],
    ) -> Result<Vec<Successor>, EngineError> {
        if added.is_empty() && missing.is_empty() || self.library.status()?.vectors == 0 {
            return Ok(Vec::new());
        }
        // The new tracks have to be in the index to be found as neighbours.
        self.refresh_index()?;
        let options = DuplicateOptions::default();
        let mut is_gone: HashMap<TrackId, bool> =
            added.iter().map(|&track| (track, false)).collect();
        let mut pairs: Vec<(DuplicatePair, TrackId, TrackId)> = Vec::new();
        // From both sides: a new track may replace one that is gone, and a track that lost its file
        // may have been replaced earlier.
        for &track in added.iter().chain(missing) {
            for other in self.candidates_of(track, &options)? {
                // Later tracks have higher ids.
                let old = track.min(other);
                let new = track.max(other);
                let mut gone = |track: TrackId| -> Result<bool, EngineError> {
                    if let Some(&known) = is_gone.get(&track) {
                        return Ok(known);
                    }
                    let answer = self.library.files().is_gone(track)?;
                    is_gone.insert(track, answer);
                    Ok(answer)
                };
                // The cheap checks first; windows are read only if they pass.
                if gone(old)?
                    && !gone(new)?
                    && let Some(pair) = self.same_recording(old, new, &options)?
                {
                    pairs.push((pair, old, new));
                }
            }
        }
        // The most similar pairs first; remaining tracks may pair with others.
        pairs.sort_by(|(a, ..), (b, ..)| {
            b.distinctness
                .total_cmp(&a.distinctness)
                .then((a.a, a.b).cmp(&(b.a, b.b)))
        });
        let mut taken = HashSet::new();
        pairs.retain(|&(_, old, new)| {
            let is_free = !taken.contains(&old) && !taken.contains(&new);
            taken.extend([old, new].into_iter().filter(|_| is_free));
            is_free
        });
        let path = |track| Ok::<_, EngineError>(self.library.track(track)?.path);
        let successor = |(_, gone, by)| {
            Ok(Successor {
                gone,
                was: path(gone)?,
                by,
                path: path(by)?,
            })
        };
        pairs.into_iter().map(successor).collect()
    }

    /// Moves tracks whose files are gone to the audio of their successors; returns how many.
    pub fn take_over(&mut self, successors: &[Successor]) -> Result<u64, EngineError> {
        for successor in successors {
            self.library
                .files_mut()
                .take_over(successor.gone, successor.by)?;
        }
        if !successors.is_empty() && self.library.mode() != OpenMode::ReadOnly {
            self.maintain_index()?;
        }
        Ok(successors.len() as u64)
    }

    /// The nearest tracks that may be the same recording.
    fn candidates_of(
        &self,
        track: TrackId,
        options: &DuplicateOptions,
    ) -> Result<Vec<TrackId>, EngineError> {
        let Some(vector) = self.loaded_index().vector(track) else {
            return Ok(Vec::new());
        };
        let query =
            Array2::from_shape_vec((1, vector.len()), vector).expect("one row of all numbers");
        // One more, because the track itself is among them.
        let limit = options.neighbours + 1;
        let found =
            self.search_until_all(query.view(), limit, SearchMode::Auto, None, |_, found| {
                Ok(found)
            })?;
        let near = found.into_iter().flatten();
        let near =
            near.filter(|near| near.id != track && near.similarity >= options.candidate_similarity);
        Ok(near.map(|near| near.id).collect())
    }

    fn same_recording(
        &self,
        a: TrackId,
        b: TrackId,
        options: &DuplicateOptions,
    ) -> Result<Option<DuplicatePair>, EngineError> {
        let [one, other] = [self.described(a)?, self.described(b)?];
        let longer = one.seconds.max(other.seconds);
        if (one.seconds - other.seconds).abs() > MOST_DIFFERENCE.min(MOST_DIFFERENCE_SHARE * longer)
        {
            return Ok(None);
        }
        let parts = self.parts()?;
        let windows = |track| -> Option<WindowSet> { window_set(&self.library, &parts, track) };
        let (Some(first), Some(second)) = (windows(a), windows(b)) else {
            return Ok(None);
        };
        Ok(same_by_windows((&one, &first), (&other, &second), options))
    }

    /// The facts that two tracks are compared by.
    fn described(&self, track: TrackId) -> Result<TrackMeta, EngineError> {
        let track = self.library.track(track)?;
        Ok(TrackMeta {
            title: track.tags.title.clone().unwrap_or_default(),
            artist: track.main_artist().map(str::to_owned),
            seconds: track.audio.seconds,
            ..TrackMeta::of_file(track.id, &track.path)
        })
    }
}
