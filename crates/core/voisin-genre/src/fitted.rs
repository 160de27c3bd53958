//! The fitted parts of a model: reference tracks that vote, the head, and the reference for
//! novelty.

use ndarray::{Array2, ArrayView2, Axis, CowArray};

use super::{
    Near, Settings, Space, VoteSettings,
    choose::head_rows,
    data::{Examples, priors},
    nearest::nearest,
    novelty::NoveltyReference,
    space::unit_rows,
    vote::{VotePart, floored_log, vote_shares},
};
use voisin_learn::Logistic;

/// Temperature of the vote in the space that is not whitened.
const WIDE_TEMPERATURE: f32 = 0.1;

/// Reference tracks and head of one training set.
#[derive(Debug, Clone)]
pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) space: Space,
    /// The head; `None` unless two genres have enough tracks.
    pub(super) head: Option<Logistic>,
    /// Raw vectors of the reference tracks, `[n, d]`.
    pub(super) raw: Array2<f32>,
    pub(super) classes: Vec<Vec<usize>>,
    /// Unit rows in the vote's space.
    unit: Array2<f32>,
    novelty: NoveltyReference,
    /// Share of the tracks with each class, floored.
    pub(super) priors: Vec<f32>,
}

/// Head, vote and distances of some queries.
#[derive(Debug, Clone)]
pub(super) struct AnswerSources {
    /// Log probabilities of the head, `[m, classes]`, divided among a track's classes; classes
    /// outside the head have the vote's.
    pub(super) head: Array2<f32>,
    /// Log shares of the vote, `[m, classes]`, floored.
    pub(super) vote: Array2<f32>,
    /// Vote shares without the floor.
    pub(super) shares: Array2<f32>,
    /// The same with whole votes for each of a voter's classes.
    pub(super) whole: Array2<f32>,
    /// Log shares of the plain vote, in the space that is not whitened, floored. Better for tracks of
    /// unknown genres, since whitening is fitted to the known ones.
    pub(super) wide: Array2<f32>,
    /// The two distances.
    pub(super) novelty: Vec<[f32; 2]>,
    /// Voters, nearest first.
    pub(super) neighbours: Vec<Vec<Near>>,
}

impl Core {
    pub(super) fn fit(examples: Examples, settings: &Settings) -> Self {
        let space = Space::fit(
            examples.x.view(),
            examples.targets().view(),
            settings.vote.transform,
            settings.vote.shrinkage,
        );
        let head = (!settings.head_classes.is_empty()).then(|| {
            let (rows, t) = head_rows(&examples.classes, &settings.head_classes);
            // Copied only if some tracks have no class of the head.
            let known = if rows.len() == examples.len() {
                CowArray::from(examples.x.view())
            } else {
                examples.x.select(Axis(0), &rows).into()
            };
            Logistic::fit(known.view(), t.view(), settings.penalty).sharpened(settings.sharpness)
        });
        let n_classes = examples.n_classes();
        Self::assemble(
            settings.clone(),
            space,
            head,
            examples.x,
            examples.classes,
            n_classes,
        )
    }

    /// Assembles fitted parts and computes the rest from them.
    pub(super) fn assemble(
        settings: Settings,
        space: Space,
        head: Option<Logistic>,
        raw: Array2<f32>,
        classes: Vec<Vec<usize>>,
        n_classes: usize,
    ) -> Self {
        let standard = space.standardise(raw.view());
        let whitened = space.whiten(standard.view());
        let priors = priors(&classes, n_classes);
        Self {
            novelty: NoveltyReference::new(&standard, &whitened),
            unit: unit_rows(whitened),
            settings,
            space,
            head,
            raw,
            classes,
            priors,
        }
    }

    /// Head, vote and distances of queries.
    ///
    /// `allowed(query, row)`: whether a reference row may vote for or be a neighbour of a query.
    pub(super) fn sources(
        &self,
        x: ArrayView2<f32>,
        allowed: impl Fn(usize, usize) -> bool + Sync,
    ) -> AnswerSources {
        let standard = self.space.standardise(x);
        let whitened = self.space.whiten(standard.view());
        let (novelty, near) = self.novelty.distances(&standard, &whitened, &allowed);
        // Uses the neighbours that were found for the distances.
        let settings = VoteSettings {
            k: NoveltyReference::NEIGHBOURS,
            temperature: WIDE_TEMPERATURE,
            ..self.settings.vote.clone()
        };
        let wide = floored_log(&self.shares(&near, &settings, VotePart::Divided));
        let unit = unit_rows(whitened);
        let neighbours = nearest(
            unit.view(),
            self.unit.view(),
            self.settings.vote.k,
            &allowed,
        );
        let [shares, whole] = [VotePart::Divided, VotePart::Whole]
            .map(|part| self.shares(&neighbours, &self.settings.vote, part));
        let vote = floored_log(&shares);
        let head = self.head(x, &vote);
        AnswerSources {
            head,
            vote,
            shares,
            whole,
            wide,
            novelty,
            neighbours,
        }
    }

    fn shares(&self, neighbours: &[Vec<Near>], vote: &VoteSettings, part: VotePart) -> Array2<f32> {
        vote_shares(neighbours, &self.classes, &self.priors, vote, part)
    }

    fn head(&self, x: ArrayView2<f32>, vote: &Array2<f32>) -> Array2<f32> {
        let classes = &self.settings.head_classes;
        let Some(head) = &self.head else {
            return vote.clone();
        };
        let logs = head.log_probabilities(x);
        // Genres outside the head keep their votes; the others share the rest.
        let mut out = vote.clone();
        for (mut row, head) in out.outer_iter_mut().zip(logs.outer_iter()) {
            let small: f32 = row
                .iter()
                .enumerate()
                .filter(|(c, _)| classes.binary_search(c).is_err())
                .map(|(_, v)| v.exp())
                .sum();
            // The rest may be 0, of which there is no logarithm.
            let rest = (1.0 - small).max(1e-3).ln();
            for (&class, &p) in classes.iter().zip(head) {
                // A floor, so that the head cannot rule out a genre completely.
                row[class] = p.max(-12.0) + rest;
            }
        }
        out
    }
}
