//! The two halves before they are joined: heads and reference tracks, fitted with given settings.

use ndarray::{Array2, ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::{
    GenreError, Head, HeadOptions, Near, Space, Transform,
    data::{Problem, targets, thinned},
    head::HeldOut,
    nearest::nearest,
    space::unit_rows,
};

/// Neighbours whose distance makes up novelty: whitened Euclidean.
const NOVELTY_K: usize = 5;
/// Neighbours whose similarity makes up novelty: standardised cosine.
const NOVELTY_WIDE_K: usize = 20;
/// Temperature of the vote among those.
const WIDE_TEMPERATURE: f32 = 0.05;
/// Reference rows that novelty looks at, at most.
const NOVELTY_ROWS: usize = 4000;
/// Window rows a head is trained on, at most.
pub(super) const WINDOW_ROWS: usize = 24_000;
/// Share of a vote that is spread over all genres before logarithms are taken.
const VOTE_FLOOR: f32 = 0.05;

/// What a head is trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Track vectors.
    Track,
    /// Window vectors; the track's answer is the mean of its windows' logits.
    Window,
}

/// Settings of the vote, chosen by validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VoteSettings {
    /// Of the space in which neighbours are found.
    pub transform: Transform,
    /// See [`Space::fit`].
    pub shrinkage: f32,
    /// As in [`super::VoteOptions`].
    pub k: usize,
    /// As in [`super::VoteOptions`].
    pub temperature: f32,
    /// As in [`super::VoteOptions`].
    pub prior_correction: f32,
}

/// Settings of one head, chosen by validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemberSettings {
    /// Tracks or windows.
    pub unit: Unit,
    /// Of the head's space.
    pub transform: Transform,
    /// See [`Space::fit`].
    pub shrinkage: f32,
    /// The layers and their fit; `max_iterations` is where held-out loss was best.
    pub head: HeadOptions,
}

/// Everything that validation chose.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The vote.
    pub vote: VoteSettings,
    /// The heads whose log probabilities are averaged; empty when no two genres have enough tracks.
    pub members: Vec<MemberSettings>,
    /// Classes that the heads know, ascending.
    pub head_classes: Vec<usize>,
}

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) unit: Unit,
    pub(super) space: Space,
    pub(super) head: Head,
}

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
    /// Rows that novelty looks at, and those rows in its two forms.
    novelty_rows: Vec<usize>,
    whitened: Array2<f32>,
    standard: Array2<f32>,
    /// Share of each class, floored.
    priors: Vec<f32>,
}

/// What the halves say of some queries.
#[derive(Debug, Clone)]
pub(super) struct Parts {
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

/// Rows of `x` to a head's input: unit rows of length √d.
pub(super) fn head_input(space: &Space, x: ArrayView2<f32>) -> Array2<f32> {
    let length = (x.ncols() as f32).sqrt();
    space.apply(x) * length
}

/// Rows that have a class a head knows, and their targets over those classes.
pub(super) fn head_rows(classes: &[Vec<usize>], head_classes: &[usize]) -> (Vec<usize>, Array2<f32>) {
    let mut rows = Vec::new();
    let mut known = Vec::new();
    for (i, of_track) in classes.iter().enumerate() {
        let inside: Vec<usize> = of_track.iter().filter_map(|c| head_classes.binary_search(c).ok()).collect();
        if !inside.is_empty() {
            rows.push(i);
            known.push(inside);
        }
    }
    (rows, targets(&known, head_classes.len()))
}

/// Windows of the given rows, thinned evenly to [`WINDOW_ROWS`]: window rows and the place of their owner in `rows`.
pub(super) fn windows_of(owner: &[usize], rows: &[usize], n: usize) -> (Vec<usize>, Vec<usize>) {
    let mut place = vec![usize::MAX; n];
    for (i, &row) in rows.iter().enumerate() {
        place[row] = i;
    }
    let all: Vec<usize> = (0..owner.len()).filter(|&w| place[owner[w]] != usize::MAX).collect();
    let stride = all.len().div_ceil(WINDOW_ROWS).max(1);
    // one of each run of `stride`, its place in the run varied so as not to fall in step with the tracks
    let kept: Vec<usize> =
        all.chunks(stride).enumerate().map(|(i, run)| run[i.wrapping_mul(7919) % run.len()]).collect();
    let places = kept.iter().map(|&w| place[owner[w]]).collect();
    (kept, places)
}

/// Mean of the rows of each owner; owners without rows keep `None`.
pub(super) fn mean_by_owner(x: &Array2<f32>, owner: &[usize], n: usize) -> (Array2<f32>, Vec<bool>) {
    let mut sums = Array2::<f32>::zeros((n, x.ncols()));
    let mut counts = vec![0.0f32; n];
    for (row, &o) in x.outer_iter().zip(owner) {
        let mut sum = sums.row_mut(o);
        sum += &row;
        counts[o] += 1.0;
    }
    for (mut row, &count) in sums.outer_iter_mut().zip(&counts) {
        row /= count.max(1.0);
    }
    (sums, counts.iter().map(|c| *c > 0.0).collect())
}

impl Member {
    pub(super) fn fit(
        problem: &Problem,
        settings: &MemberSettings,
        head_classes: &[usize],
    ) -> Result<Self, GenreError> {
        let (rows, t) = head_rows(&problem.classes, head_classes);
        let (x, t) = member_data(problem, settings.unit, &rows, &t);
        let space = Space::fit(x.view(), t.view(), settings.transform, settings.shrinkage);
        let input = head_input(&space, x.view());
        let fit = Head::fit(input.view(), t.view(), None::<HeldOut>, &settings.head)?;
        Ok(Self { unit: settings.unit, space, head: fit.head })
    }

    /// Log probabilities over the head's classes, `[m, head classes]`.
    fn log_probabilities(
        &self,
        x: ArrayView2<f32>,
        windows: Option<(ArrayView2<f32>, &[usize])>,
    ) -> Result<Array2<f32>, GenreError> {
        let mut logits = match (self.unit, windows) {
            (Unit::Window, Some((w, owner))) => {
                let all = self.head.logits(head_input(&self.space, w).view())?;
                let (mut means, found) = mean_by_owner(&all, owner, x.nrows());
                let missing: Vec<usize> = (0..x.nrows()).filter(|&i| !found[i]).collect();
                if !missing.is_empty() {
                    let rest = x.select(Axis(0), &missing);
                    let logits = self.head.logits(head_input(&self.space, rest.view()).view())?;
                    for (&i, row) in missing.iter().zip(logits.outer_iter()) {
                        means.row_mut(i).assign(&row);
                    }
                }
                means
            }
            _ => self.head.logits(head_input(&self.space, x).view())?,
        };
        log_softmax(&mut logits);
        Ok(logits)
    }
}

/// Inputs and targets of a head: the tracks named, or their windows.
pub(super) fn member_data(
    problem: &Problem,
    unit: Unit,
    rows: &[usize],
    t: &Array2<f32>,
) -> (Array2<f32>, Array2<f32>) {
    match (&problem.windows, unit) {
        (Some((windows, owner)), Unit::Window) => {
            let (kept, places) = windows_of(owner, rows, problem.len());
            (windows.select(Axis(0), &kept), t.select(Axis(0), &places))
        }
        _ => (problem.x.select(Axis(0), rows), t.clone()),
    }
}

pub(super) fn log_softmax(logits: &mut Array2<f32>) {
    for mut row in logits.outer_iter_mut() {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let log_sum = row.iter().map(|v| (v - max).exp()).sum::<f32>().ln() + max;
        row.mapv_inplace(|v| v - log_sum);
    }
}

impl Core {
    pub(super) fn fit(problem: &Problem, settings: &Settings) -> Result<Self, GenreError> {
        let space = Space::fit(
            problem.x.view(),
            problem.targets().view(),
            settings.vote.transform,
            settings.vote.shrinkage,
        );
        let members = settings
            .members
            .iter()
            .map(|m| Member::fit(problem, m, &settings.head_classes))
            .collect::<Result<_, _>>()?;
        Ok(Self::assemble(
            settings.clone(),
            space,
            members,
            problem.x.clone(),
            problem.classes.clone(),
            problem.n_classes(),
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
        let novelty_rows = thinned(n, NOVELTY_ROWS);
        let mut priors = targets(&classes, n_classes).sum_axis(Axis(0)).to_vec();
        priors.iter_mut().for_each(|p| *p = p.max(0.5) / n.max(1) as f32);
        Self {
            whitened: with_norms(whitened.select(Axis(0), &novelty_rows)),
            standard: unit_rows(standard.select(Axis(0), &novelty_rows)),
            unit: unit_rows(whitened),
            settings,
            space,
            members,
            raw,
            classes,
            novelty_rows,
            priors,
        }
    }

    /// What heads, voters and distances say.
    ///
    /// `allowed(query, row)`: whether a reference row may vote for, or be near to, a query.
    pub(super) fn parts(
        &self,
        x: ArrayView2<f32>,
        windows: Option<(ArrayView2<f32>, &[usize])>,
        allowed: impl Fn(usize, usize) -> bool + Sync,
    ) -> Result<Parts, GenreError> {
        let standard = self.space.standardise(x);
        let whitened = self.space.whiten(standard.view());
        let (novelty, wide) = self.novelty(&standard, &whitened, &allowed);
        let unit = unit_rows(whitened);
        let neighbours = nearest(unit.view(), self.unit.view(), self.settings.vote.k, &allowed);
        let shares = self.shares(&neighbours, &self.settings.vote);
        let vote = floored_log(&shares);
        let head = self.head(x, windows, &vote)?;
        Ok(Parts { head, vote, shares, wide, novelty, neighbours })
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

    fn novelty(
        &self,
        standard: &Array2<f32>,
        whitened: &Array2<f32>,
        allowed: &(impl Fn(usize, usize) -> bool + Sync),
    ) -> (Vec<[f32; 2]>, Array2<f32>) {
        let inside = |q: usize, r: usize| allowed(q, self.novelty_rows[r]);
        // 2 q·r - |r|² orders rows by Euclidean distance; |q|² is added back below
        let mut asking = Array2::ones((whitened.nrows(), whitened.ncols() + 1));
        asking.slice_mut(ndarray::s![.., ..whitened.ncols()]).assign(&(whitened * 2.0));
        let near = nearest(asking.view(), self.whitened.view(), NOVELTY_K, inside);
        let wide = nearest(unit_rows(standard.clone()).view(), self.standard.view(), NOVELTY_WIDE_K, inside);
        let dimension = (whitened.ncols() as f32).sqrt();
        let distances = near
            .iter()
            .zip(&wide)
            .zip(whitened.outer_iter())
            .map(|((near, wide), row)| {
                let square = row.dot(&row);
                let distance = mean(near.iter().map(|n| (square - n.similarity).max(0.0).sqrt() / dimension));
                [distance.unwrap_or(10.0), 1.0 - mean(wide.iter().map(|n| n.similarity)).unwrap_or(-1.0)]
            })
            .collect();
        let voters: Vec<Vec<Near>> = wide
            .into_iter()
            .map(|list| list.iter().map(|n| Near { row: self.novelty_rows[n.row], ..*n }).collect())
            .collect();
        let settings =
            VoteSettings { k: NOVELTY_WIDE_K, temperature: WIDE_TEMPERATURE, ..self.settings.vote.clone() };
        (distances, floored_log(&self.shares(&voters, &settings)))
    }
}

fn mean(values: impl Iterator<Item = f32>) -> Option<f32> {
    let (sum, n) = values.fold((0.0, 0), |(s, n), v| (s + v, n + 1));
    (n > 0).then(|| sum / n as f32)
}

/// Rows `[r, -|r|²]`.
fn with_norms(x: Array2<f32>) -> Array2<f32> {
    let mut out = Array2::zeros((x.nrows(), x.ncols() + 1));
    for (mut to, from) in out.outer_iter_mut().zip(x.outer_iter()) {
        to.slice_mut(ndarray::s![..from.len()]).assign(&from);
        to[from.len()] = -from.dot(&from);
    }
    out
}

/// Shares of the classes among voters, `[m, classes]`: what [`super::vote()`] computes, over rows.
///
/// A query without voters gets the classes' priors.
pub(super) fn vote_shares(
    neighbours: &[Vec<Near>],
    classes: &[Vec<usize>],
    priors: &[f32],
    vote: &VoteSettings,
) -> Array2<f32> {
    let correction: Vec<f32> = priors.iter().map(|p| p.powf(-vote.prior_correction)).collect();
    let mut shares = Array2::zeros((neighbours.len(), priors.len()));
    for (mut out, list) in shares.outer_iter_mut().zip(neighbours) {
        let Some(best) = list.first().map(|n| n.similarity) else {
            let total: f32 = priors.iter().sum();
            out.iter_mut().zip(priors).for_each(|(o, p)| *o = p / total);
            continue;
        };
        for near in list.iter().take(vote.k) {
            let weight = ((near.similarity - best) / vote.temperature).exp();
            let of_row = &classes[near.row];
            for &class in of_row {
                out[class] += weight / of_row.len() as f32 * correction[class];
            }
        }
        let total = out.sum();
        out /= total;
    }
    shares
}

/// Logarithms of shares of which a small part is spread evenly, so that no genre is impossible.
pub(super) fn floored_log(shares: &Array2<f32>) -> Array2<f32> {
    let even = VOTE_FLOOR / shares.ncols() as f32;
    shares.mapv(|s| (s * (1.0 - VOTE_FLOOR) + even).ln())
}
