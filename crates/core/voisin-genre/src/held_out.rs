//! Predictions by models that never saw a track's group, for tracks that trained the head.

use std::collections::HashMap;

use ndarray::{Array1, Array2};

use super::{Genre, Near, fitted::AnswerSources};
use voisin_base::track::TrackId;

/// Answers of folds, kept with a model.
#[derive(Debug, Clone)]
pub(super) struct HeldOut {
    /// Row of each track that a fold answered for.
    row_of: HashMap<TrackId, usize>,
    /// The columns' genres.
    genres: Vec<Genre>,
    /// Joined probabilities, `[tracks, genres]`, which a track's genres divide among them.
    pub(super) fused: Array2<f32>,
    /// The head's.
    pub(super) head: Array2<f32>,
    /// Shares of the votes, each vote counted whole.
    pub(super) votes: Array2<f32>,
    /// Novelty scores.
    pub(super) novelty: Array1<f32>,
    /// Who voted, as rows of the training set, and how near they were, nearest first.
    pub(super) voters: Vec<Vec<Near>>,
    /// Of the rows.
    ids: Vec<TrackId>,
}

impl HeldOut {
    /// Tracks without voters were in no fold.
    pub(super) fn new(
        ids: Vec<TrackId>,
        genres: Vec<Genre>,
        [fused, head, votes]: [Array2<f32>; 3],
        novelty: Array1<f32>,
        voters: Vec<Vec<Near>>,
    ) -> Self {
        // A track of no fold has no voters; its flat predictions must not pass for an answer.
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

    /// Whether its parts fit together.
    pub(super) fn is_whole(&self) -> bool {
        let n = self.ids.len();
        let k = self.genres.len();
        [&self.fused, &self.head, &self.votes]
            .iter()
            .all(|p| p.dim() == (n, k))
            && (self.novelty.len(), self.voters.len()) == (n, n)
            && self.voters.iter().flatten().all(|near| near.row < n)
    }

    /// The row of a track that a fold answered for.
    pub(super) fn row(&self, track: TrackId) -> Option<usize> {
        self.row_of.get(&track).copied()
    }

    /// Puts the predictions for a track, by its row, in the place of an answer by a model that
    /// knows it.
    ///
    /// - `genres`, `reference`: columns and reference rows of that model; genres and voters that it
    ///   lacks are left out
    pub(super) fn answer(
        &self,
        row: usize,
        to: usize,
        genres: &[Genre],
        reference: &HashMap<TrackId, usize>,
        (fused, score, voices): (&mut Array2<f32>, &mut f64, &mut AnswerSources),
    ) {
        for (from, into) in [
            (&self.fused, &mut *fused),
            (&self.head, &mut voices.head),
            (&self.votes, &mut voices.whole),
        ] {
            let mut into = into.row_mut(to);
            // Genres that the folds did not know must not keep the model's own answer.
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
        // whole unless a genre is gone
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
        voices.neighbours[to] = self.voters[row].iter().filter_map(near).collect();
    }
}
