//! Stored out-of-fold predictions for the training tracks of a model.

use std::collections::HashMap;

use ndarray::{Array1, Array2};

use super::{Genre, Near, fitted::AnswerSources};
use voisin_base::track::TrackId;

/// Out-of-fold predictions, saved with a model.
#[derive(Debug, Clone)]
pub(super) struct HeldOut {
    /// Row of each track in the test part of a fold.
    row_of: HashMap<TrackId, usize>,
    /// The genres of the columns.
    genres: Vec<Genre>,
    /// Combined probabilities, `[tracks, genres]`, divided among a track's genres.
    pub(super) fused: Array2<f32>,
    /// The head's.
    pub(super) head: Array2<f32>,
    /// Shares of whole votes.
    pub(super) votes: Array2<f32>,
    /// Novelty scores.
    pub(super) novelty: Array1<f32>,
    /// Voters, as rows of the training set, with their similarities, nearest first.
    pub(super) voters: Vec<Vec<Near>>,
    /// The tracks of the rows.
    ids: Vec<TrackId>,
}

impl HeldOut {
    /// Tracks without voters were in no test part.
    pub(super) fn new(
        ids: Vec<TrackId>,
        genres: Vec<Genre>,
        [fused, head, votes]: [Array2<f32>; 3],
        novelty: Array1<f32>,
        voters: Vec<Vec<Near>>,
    ) -> Self {
        // Flat predictions of tracks outside all folds, which have no voters, are not used.
        let answered = ids
            .iter()
            .zip(&voters)
            .enumerate()
            .filter(|(_, (_, voters))| !voters.is_empty());
        let row_of = answered.map(|(row, (id, _))| (*id, row)).collect();
        Self {
            row_of,
            genres,
            fused,
            head,
            votes,
            novelty,
            voters,
            ids,
        }
    }

    /// Whether its parts are consistent.
    pub(super) fn is_whole(&self) -> bool {
        let n = self.ids.len();
        let k = self.genres.len();
        [&self.fused, &self.head, &self.votes]
            .iter()
            .all(|p| p.dim() == (n, k))
            && (self.novelty.len(), self.voters.len()) == (n, n)
            && self.voters.iter().flatten().all(|near| near.row < n)
    }

    /// The row of a track in the test part of a fold.
    pub(super) fn row(&self, track: TrackId) -> Option<usize> {
        self.row_of.get(&track).copied()
    }

    /// Replaces a prediction of the full model for a training track, by its row, by the out-of-fold
    /// one.
    ///
    /// - `genres`, `reference`: columns and reference rows of that model; genres and voters that it
    ///   lacks are left out
    pub(super) fn answer(
        &self,
        row: usize,
        to: usize,
        genres: &[Genre],
        reference: &HashMap<TrackId, usize>,
        (fused, score, sources): (&mut Array2<f32>, &mut f64, &mut AnswerSources),
    ) {
        for (from, into) in [
            (&self.fused, &mut *fused),
            (&self.head, &mut sources.head),
            (&self.votes, &mut sources.whole),
        ] {
            let mut into = into.row_mut(to);
            // Genres that the folds lack must not keep the full model's prediction.
            into.fill(0.0);
            for (genre, &p) in self.genres.iter().zip(from.row(row)) {
                genres
                    .binary_search(genre)
                    .into_iter()
                    .for_each(|at| into[at] = p);
            }
        }
        let mut joined = fused.row_mut(to);
        let sum = joined.sum();
        // The sum is 1 unless a genre was removed.
        if sum > 0.0 && sum < 0.999 {
            joined /= sum;
        }
        *score = f64::from(self.novelty[row]);
        let near = |near: &Near| {
            Some(Near {
                row: *reference.get(&self.ids[near.row])?,
                ..*near
            })
        };
        sources.neighbours[to] = self.voters[row].iter().filter_map(near).collect();
    }
}
