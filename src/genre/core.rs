//! The fitted voices of one training set: reference tracks that vote, heads, and what is needed to judge novelty.

use ndarray::{Array2, ArrayView2, Axis};

use super::{
    GenreError, Near, Settings, Space, VoteSettings,
    data::{Examples, targets},
    member::{Member, log_softmax},
    nearest::nearest,
    novelty::NoveltyReference,
    space::unit_rows,
    vote::{floored_log, vote_shares},
};

/// Temperature of the vote in the space that is not whitened.
const WIDE_TEMPERATURE: f32 = 0.05;

/// Reference tracks and heads of one training set.
#[derive(Debug, Clone)]
pub(super) struct Core {
    pub(super) settings: Settings,
    pub(super) space: Space,
    pub(super) members: Vec<Member>,
    /// Raw vectors of the reference tracks, `[n, d]`.
    pub(super) raw: Array2<f32>,
    pub(super) classes: Vec<Vec<usize>>,
    /// In the vote's space, unit rows.
    unit: Array2<f32>,
    novelty: NoveltyReference,
    /// Share of each class, floored.
    priors: Vec<f32>,
}

/// What the halves say of some queries.
#[derive(Debug, Clone)]
pub(super) struct Voices {
    /// Log probabilities, `[m, classes]`; classes that no head knows have the vote's.
    pub(super) head: Array2<f32>,
    /// Log shares, `[m, classes]`, floored.
    pub(super) vote: Array2<f32>,
    /// Vote shares without the floor.
    pub(super) shares: Array2<f32>,
    /// Log shares of a vote in the space that is not whitened, floored: what unknown genres are near to.
    pub(super) wide: Array2<f32>,
    /// The two distances.
    pub(super) novelty: Vec<[f32; 2]>,
    /// Voters, nearest first.
    pub(super) neighbours: Vec<Vec<Near>>,
}

impl Core {
    pub(super) fn fit(examples: &Examples, settings: &Settings) -> Result<Self, GenreError> {
        let space = Space::fit(
            examples.x.view(),
            examples.targets().view(),
            settings.vote.transform,
            settings.vote.shrinkage,
        );
        let members = settings
            .members
            .iter()
            .map(|m| Member::fit(examples, m, &settings.head_classes))
            .collect::<Result<_, _>>()?;
        Ok(Self::assemble(
            settings.clone(),
            space,
            members,
            examples.x.clone(),
            examples.classes.clone(),
            examples.n_classes(),
        ))
    }

    /// Puts fitted parts together; everything else follows from them.
    pub(super) fn assemble(
        settings: Settings,
        space: Space,
        members: Vec<Member>,
        raw: Array2<f32>,
        classes: Vec<Vec<usize>>,
        n_classes: usize,
    ) -> Self {
        let n = raw.nrows();
        let standard = space.standardise(raw.view());
        let whitened = space.whiten(standard.view());
        let mut priors = targets(&classes, n_classes).sum_axis(Axis(0)).to_vec();
        priors.iter_mut().for_each(|p| *p = p.max(0.5) / n.max(1) as f32);
        Self {
            novelty: NoveltyReference::new(&standard, &whitened),
            unit: unit_rows(whitened),
            settings,
            space,
            members,
            raw,
            classes,
            priors,
        }
    }

    /// What heads, voters and distances say.
    ///
    /// `allowed(query, row)`: whether a reference row may vote for, or be near to, a query.
    pub(super) fn voices(
        &self,
        x: ArrayView2<f32>,
        windows: Option<(ArrayView2<f32>, &[usize])>,
        allowed: impl Fn(usize, usize) -> bool + Sync,
    ) -> Result<Voices, GenreError> {
        let standard = self.space.standardise(x);
        let whitened = self.space.whiten(standard.view());
        let (novelty, near) = self.novelty.distances(&standard, &whitened, &allowed);
        let settings = VoteSettings {
            k: NoveltyReference::NEIGHBOURS,
            temperature: WIDE_TEMPERATURE,
            ..self.settings.vote.clone()
        };
        let wide = floored_log(&self.shares(&near, &settings));
        let unit = unit_rows(whitened);
        let neighbours = nearest(unit.view(), self.unit.view(), self.settings.vote.k, &allowed);
        let shares = self.shares(&neighbours, &self.settings.vote);
        let vote = floored_log(&shares);
        let head = self.head(x, windows, &vote)?;
        Ok(Voices { head, vote, shares, wide, novelty, neighbours })
    }

    /// Vote shares of neighbour lists, `[m, classes]`; rows sum to 1.
    pub(super) fn shares(&self, neighbours: &[Vec<Near>], vote: &VoteSettings) -> Array2<f32> {
        vote_shares(neighbours, &self.classes, &self.priors, vote)
    }

    fn head(
        &self,
        x: ArrayView2<f32>,
        windows: Option<(ArrayView2<f32>, &[usize])>,
        vote: &Array2<f32>,
    ) -> Result<Array2<f32>, GenreError> {
        let classes = &self.settings.head_classes;
        if self.members.is_empty() {
            return Ok(vote.clone());
        }
        let mut mean = Array2::<f32>::zeros((x.nrows(), classes.len()));
        for member in &self.members {
            mean += &member.log_probabilities(x, windows)?;
        }
        mean /= self.members.len() as f32;
        log_softmax(&mut mean);
        // a genre that no head knows keeps its votes, the others share the rest
        let mut out = vote.clone();
        for (mut row, head) in out.outer_iter_mut().zip(mean.outer_iter()) {
            let small: f32 = row
                .iter()
                .enumerate()
                .filter(|(c, _)| classes.binary_search(c).is_err())
                .map(|(_, v)| v.exp())
                .sum();
            let rest = (1.0 - small).max(1e-3).ln();
            for (&class, &p) in classes.iter().zip(head) {
                row[class] = p.max(-12.0) + rest;
            }
        }
        Ok(out)
    }
}
