//! One head of the ensemble: the space it looks at tracks in, and the classifier fitted there.

use ndarray::{Array2, ArrayView2, Axis};

use super::{
    GenreError, Head, MemberSettings, Space, Unit,
    data::{Examples, targets},
    head::HeldOut,
};

/// Window rows a head is trained on, at most.
const WINDOW_ROWS: usize = 24_000;

#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) unit: Unit,
    pub(super) space: Space,
    pub(super) head: Head,
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
        examples: &Examples,
        settings: &MemberSettings,
        head_classes: &[usize],
    ) -> Result<Self, GenreError> {
        let (rows, t) = head_rows(&examples.classes, head_classes);
        let (x, t) = member_data(examples, settings.unit, &rows, &t);
        let space = Space::fit(x.view(), t.view(), settings.transform, settings.shrinkage);
        let input = head_input(&space, x.view());
        let fit = Head::fit(input.view(), t.view(), None::<HeldOut>, &settings.head)?;
        Ok(Self { unit: settings.unit, space, head: fit.head })
    }

    /// Log probabilities over the head's classes, `[m, head classes]`.
    pub(super) fn log_probabilities(
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
    examples: &Examples,
    unit: Unit,
    rows: &[usize],
    t: &Array2<f32>,
) -> (Array2<f32>, Array2<f32>) {
    match (&examples.windows, unit) {
        (Some((windows, owner)), Unit::Window) => {
            let (kept, places) = windows_of(owner, rows, examples.len());
            (windows.select(Axis(0), &kept), t.select(Axis(0), &places))
        }
        _ => (examples.x.select(Axis(0), rows), t.clone()),
    }
}

pub(super) fn log_softmax(logits: &mut Array2<f32>) {
    for mut row in logits.outer_iter_mut() {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let log_sum = row.iter().map(|v| (v - max).exp()).sum::<f32>().ln() + max;
        row.mapv_inplace(|v| v - log_sum);
    }
}
