//! Agreement of the student with its teachers on held-out music.

use serde::{Deserialize, Serialize};

use super::cache::TrainingSet;
use super::layout::{Layout, OutputKind};
use super::{TeacherHead, TrainError};
use voisin_base::vector::dot;
use voisin_encoder::openl3::{OpenL3Weights, WINDOW};
use voisin_kernels::isa;

/// Windows that go through the network at once.
const BATCH: usize = 32;
/// Neighbours that are compared.
const NEIGHBOURS: usize = 10;

/// Agreement with the teachers on held-out groups. Means over targets, on windows that are not degraded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Windows compared.
    pub windows: usize,
    /// Tracks that they come from.
    pub tracks: usize,
    /// Share of the penultimate layers' variance (about the held-out mean) that is explained; 1 is perfect.
    pub r2_penultimate: f32,
    /// The same of the tag logits.
    pub r2_tags: f32,
    /// Pearson's correlation of the penultimate layers, window by window.
    pub correlation: f32,
    /// The same of the tracks' means.
    pub track_correlation: f32,
    /// Share of a track's ten nearest by the teachers (z-scored penultimate layers, cosine) that are among the ten
    /// nearest by the student.
    pub neighbours: f32,
    /// Share of held-out grooves' windows whose style is predicted; 0 without any.
    #[serde(default)]
    pub styles: f32,
}

/// Splits crops into those of held-out groups and the others; mixtures with a held-out group are in
/// neither. Groups are held out in the order of a hash of their name until they have a `share` of
/// the tracks; a group that would exceed it by half is skipped.
pub(super) fn split(
    data: &TrainingSet,
    share: f64,
    groups: &[String],
) -> Result<(Vec<usize>, Vec<usize>), TrainError> {
    let tracks = data.tracks();
    let mut sizes = std::collections::BTreeMap::<&str, usize>::new();
    // All groups of grooves are equivalent, so the first is held out, in addition to the share of the music.
    let mut grooves = std::collections::BTreeSet::<&str>::new();
    for (i, (group, _)) in tracks.iter().enumerate() {
        *sizes.entry(group).or_default() += 1;
        if data.is_groove(i) {
            grooves.insert(group);
        }
    }
    if let Some(unknown) = groups
        .iter()
        .find(|group| !sizes.contains_key(group.as_str()))
    {
        return Err(TrainError::Options(format!(
            "no group \"{unknown}\" to hold out in the prepared music"
        )));
    }
    let mut out: std::collections::BTreeSet<&str> = groups.iter().map(String::as_str).collect();
    // A single group cannot be held out.
    if out.is_empty() && sizes.len() > 1 {
        let mut order: Vec<(&str, usize)> = sizes
            .into_iter()
            .filter(|(group, _)| !grooves.contains(group))
            .collect();
        order.sort_by_key(|(group, _)| *blake3::hash(group.as_bytes()).as_bytes());
        let want = share * order.iter().map(|(_, size)| *size).sum::<usize>() as f64;
        if share > 0.0 && grooves.len() > 1 {
            out.extend(grooves.first());
        }
        let mut held = 0;
        for (group, size) in order {
            if held as f64 >= want {
                break;
            }
            if (held + size) as f64 <= 1.5 * want {
                out.insert(group);
                held += size;
            }
        }
    }
    let mut held = Vec::new();
    let mut rest = Vec::new();
    for crop in 0..data.len() {
        let group = tracks[data.track(crop)].0.as_str();
        match data.partner(crop) {
            None if out.contains(group) => held.push(crop),
            Some(partner) if out.contains(group) || out.contains(partner) => {}
            _ => rest.push(crop),
        }
    }
    Ok((held, rest))
}

/// At most `limit` of `crops`, evenly spread.
pub(super) fn thin(crops: &[usize], limit: usize) -> Vec<usize> {
    let n = crops.len().min(limit);
    (0..n).map(|i| crops[i * crops.len() / n]).collect()
}

/// Embeddings of crops that are not degraded, `[n][dimension]`.
pub(super) fn embed(
    data: &TrainingSet,
    crops: &[usize],
    weights: &OpenL3Weights,
) -> Result<Vec<f32>, TrainError> {
    let net = weights.compile(isa()?);
    let mut mels = vec![0.0; BATCH * WINDOW];
    let mut out = vec![0.0; crops.len() * net.dimension()];
    for (batch, embeddings) in crops
        .chunks(BATCH)
        .zip(out.chunks_mut(BATCH * net.dimension()))
    {
        for (&crop, mel) in batch.iter().zip(mels.chunks_exact_mut(WINDOW)) {
            data.mel(crop, 0, mel);
        }
        net.forward(&mels[..batch.len() * WINDOW], batch.len(), embeddings);
    }
    Ok(out)
}

/// Predictions of the head for crops that are not degraded, `[n][outputs]`.
pub(super) fn predict(
    data: &TrainingSet,
    crops: &[usize],
    weights: &OpenL3Weights,
    head: &TeacherHead,
) -> Result<Vec<f32>, TrainError> {
    Ok(head.forward(&embed(data, crops, weights)?))
}

/// Share of windows whose highest style logit is their style's; windows without a style are left out.
pub(super) fn style_accuracy(
    predictions: &[f32],
    styles: &[Option<usize>],
    layout: &Layout,
) -> f32 {
    let mut right = 0;
    let mut all = 0;
    for (row, style) in predictions.chunks_exact(layout.outputs()).zip(styles) {
        let Some(style) = *style else { continue };
        let logits = &row[layout.targets()..];
        all += 1;
        right += usize::from(logits.iter().all(|&x| x <= logits[style]));
    }
    right as f32 / all.max(1) as f32
}

/// Compares predictions with z-scored targets, both `[n][outputs]` of the teachers.
pub(super) fn compare(
    predictions: &[f32],
    targets: &[f32],
    tracks: &[usize],
    layout: &Layout,
) -> Validation {
    let kinds = layout.kinds();
    let outputs = layout.targets();
    let is_penultimate = |i: usize| kinds[i] == OutputKind::Penultimate;
    let columns = |values: &[f32], i: usize| -> Vec<f64> {
        values
            .chunks_exact(outputs)
            .map(|row| f64::from(row[i]))
            .collect()
    };
    let mut penultimate = Vec::new();
    let mut tags = Vec::new();
    let mut correlation = Vec::new();
    for i in 0..outputs {
        let p = columns(predictions, i);
        let t = columns(targets, i);
        let mean = t.iter().sum::<f64>() / t.len() as f64;
        let total: f64 = t.iter().map(|t| (t - mean).powi(2)).sum();
        let residual: f64 = p.iter().zip(&t).map(|(p, t)| (p - t).powi(2)).sum();
        // A target that is nearly constant on this music has no variance to explain.
        if total <= 1e-9 {
            continue;
        }
        if is_penultimate(i) {
            penultimate.push(1.0 - residual / total);
            correlation.push(pearson(&p, &t));
        } else {
            tags.push(1.0 - residual / total);
        }
    }
    let p = pool(predictions, tracks, outputs);
    let t = pool(targets, tracks, outputs);
    let by_track = (0..outputs).filter(|&i| is_penultimate(i));
    let by_track: Vec<f64> = by_track
        .map(|i| pearson(&columns(&p, i), &columns(&t, i)))
        .collect();
    Validation {
        windows: tracks.len(),
        tracks: t.len() / outputs,
        r2_penultimate: mean(&penultimate),
        r2_tags: mean(&tags),
        correlation: mean(&correlation),
        track_correlation: mean(&by_track),
        neighbours: agreement(&p, &t, &kinds[..outputs]),
        styles: 0.0,
    }
}

fn mean(values: &[f64]) -> f32 {
    (values.iter().sum::<f64>() / values.len().max(1) as f64) as f32
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let ma = a.iter().sum::<f64>() / n;
    let mb = b.iter().sum::<f64>() / n;
    let mut sums = [0.0; 3];
    for (a, b) in a.iter().zip(b) {
        sums[0] += (a - ma) * (b - mb);
        sums[1] += (a - ma).powi(2);
        sums[2] += (b - mb).powi(2);
    }
    if sums[1] * sums[2] > 0.0 {
        sums[0] / (sums[1] * sums[2]).sqrt()
    } else {
        0.0
    }
}

/// Means of the rows of each track, in the order of first appearance.
fn pool(rows: &[f32], tracks: &[usize], outputs: usize) -> Vec<f32> {
    let mut order = std::collections::HashMap::new();
    let mut sums = Vec::<f32>::new();
    let mut counts = Vec::<f32>::new();
    for (row, &track) in rows.chunks_exact(outputs).zip(tracks) {
        let next = order.len();
        let at = *order.entry(track).or_insert(next);
        if at == counts.len() {
            counts.push(0.0);
            sums.resize(sums.len() + outputs, 0.0);
        }
        counts[at] += 1.0;
        for (sum, x) in sums[at * outputs..].iter_mut().zip(row) {
            *sum += x;
        }
    }
    for (sums, count) in sums.chunks_exact_mut(outputs).zip(&counts) {
        for sum in sums {
            *sum /= count;
        }
    }
    sums
}

/// Overlap of the nearest tracks in two spaces.
fn agreement(a: &[f32], b: &[f32], kinds: &[OutputKind]) -> f32 {
    let unit = |rows: &[f32]| -> Vec<Vec<f32>> {
        rows.chunks_exact(kinds.len())
            .map(|row| {
                let row: Vec<f32> = row
                    .iter()
                    .zip(kinds)
                    .filter(|(_, kind)| **kind == OutputKind::Penultimate)
                    .map(|(x, _)| *x)
                    .collect();
                let length = dot(&row, &row).max(1e-12).sqrt();
                row.iter().map(|x| x / length).collect()
            })
            .collect()
    };
    let a = unit(a);
    let b = unit(b);
    let n = a.len();
    if n < 2 {
        return 1.0;
    }
    let k = NEIGHBOURS.min(n - 1);
    let nearest = |rows: &[Vec<f32>], i: usize| -> Vec<usize> {
        let mut others: Vec<(f32, usize)> = (0..n)
            .filter(|&j| j != i)
            .map(|j| (dot(&rows[i], &rows[j]), j))
            .collect();
        others.sort_by(|x, y| y.0.total_cmp(&x.0).then(x.1.cmp(&y.1)));
        others.iter().take(k).map(|(_, j)| *j).collect()
    };
    let mut common = 0;
    for i in 0..n {
        let other = nearest(&b, i);
        common += nearest(&a, i).iter().filter(|j| other.contains(j)).count();
    }
    common as f32 / (n * k) as f32
}

#[cfg(test)]
mod tests {
    use super::super::layout::Teacher;
    use super::*;
    use voisin_base::random::Random;

    const TARGETS: usize = 250;

    #[test]
    fn perfect_and_useless_students() {
        let mut random = Random::stream(5, 5);
        let teacher = Teacher {
            name: String::new(),
            penultimate: 200,
            tags: 50,
        };
        let layout = Layout {
            teachers: vec![teacher],
            styles: 0,
        };
        let n = 60;
        let targets: Vec<f32> = (0..n * TARGETS).map(|_| random.normal() as f32).collect();
        let tracks: Vec<usize> = (0..n).map(|i| 100 + i / 3).collect();
        let perfect = compare(&targets, &targets, &tracks, &layout);
        assert!(
            (perfect.r2_penultimate - 1.0).abs() < 1e-6
                && (perfect.track_correlation - 1.0).abs() < 1e-6
        );
        assert!(
            (perfect.neighbours - 1.0).abs() < 1e-6 && perfect.tracks == 20 && perfect.windows == n
        );
        let zero = compare(&vec![0.0; n * TARGETS], &targets, &tracks, &layout);
        assert!(
            zero.r2_penultimate <= 0.0
                && zero.r2_penultimate > -0.1
                && zero.correlation.abs() < 1e-6
        );
        // With half the amplitude, three quarters of the variance are explained, and the order is perfect.
        let half: Vec<f32> = targets.iter().map(|x| x * 0.5).collect();
        let half = compare(&half, &targets, &tracks, &layout);
        assert!((half.r2_penultimate - 0.75).abs() < 0.02 && (half.correlation - 1.0).abs() < 1e-6);
        let other: Vec<f32> = (0..n * TARGETS).map(|_| random.normal() as f32).collect();
        let other = compare(&other, &targets, &tracks, &layout);
        // By chance ten of nineteen.
        assert!(
            (other.neighbours - 10.0 / 19.0).abs() < 0.12,
            "{}",
            other.neighbours
        );
    }

    #[test]
    fn style_accuracy_counts_windows_with_a_style() {
        let teacher = Teacher {
            name: String::new(),
            penultimate: 1,
            tags: 1,
        };
        let layout = Layout {
            teachers: vec![teacher],
            styles: 3,
        };
        let rows = [
            9.0, 9.0, 0.1, 0.3, 0.2, 0.0, 0.0, 5.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0,
        ];
        let share = |styles: &[Option<usize>]| style_accuracy(&rows, styles, &layout);
        assert!((share(&[Some(1), Some(1), Some(2)]) - 2.0 / 3.0).abs() < 1e-6);
        assert!((share(&[Some(1), None, None]) - 1.0).abs() < 1e-6 && share(&[None; 3]) == 0.0);
    }
}
