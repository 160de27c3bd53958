//! Centring and whitening of the search vector, used only if they help on held-out music.
//!
//! Labels are groups (packages, albums), since tracks of one group usually share a style. Whitening after Jégou and Chum,
//! "Negative evidences and co-occurences in image retrieval: the benefit of PCA and whitening", ECCV 2012.

use super::TrainError;
use super::cache::TrainingSet;
use voisin_base::vector::dot;
use voisin_encoder::openl3::{OpenL3Weights, WINDOW};
use voisin_kernels::isa;

/// Crops used for each track.
const CROPS: usize = 4;
/// Folds of the cross-validation.
const FOLDS: usize = 5;
/// Neighbours that are evaluated.
const NEIGHBOURS: usize = 10;
/// Shares of a spherical covariance that are mixed in; 1 only centres.
const SHRINKAGES: [f64; 4] = [1.0, 0.8, 0.5, 0.2];

/// The result of one refinement of the search vector.
#[derive(Debug, Clone, PartialEq)]
pub struct WhiteningFigure {
    /// The name of the refinement.
    pub name: String,
    /// Share of the nearest tracks that are of the query's group; groups held out from fitting.
    pub precision: f64,
    /// Gain over the plain vectors, and the standard error of this gain over queries.
    pub gain: (f64, f64),
    /// Whether it was folded into the model.
    pub chosen: bool,
}

impl std::fmt::Display for WhiteningFigure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let chosen = if self.chosen { " (kept)" } else { "" };
        write!(
            f,
            "{}: precision {:.3}, gain {:+.3} ± {:.3}{chosen}",
            self.name, self.precision, self.gain.0, self.gain.1
        )
    }
}

/// Means of each track's search vectors, with its group; grooves are left out.
pub(super) fn track_vectors(
    data: &TrainingSet,
    weights: &OpenL3Weights,
    matrix: &[f32],
    offsets: &[f32],
) -> Result<(Vec<Vec<f32>>, Vec<String>), TrainError> {
    let net = weights.compile(isa()?);
    let inputs = net.dimension();
    let mut by_track = vec![Vec::new(); data.tracks().len()];
    for crop in 0..data.len() {
        by_track[data.track(crop)].push(crop);
    }
    let mut vectors = Vec::new();
    let mut groups = Vec::new();
    let mut mels = vec![0.0; CROPS * WINDOW];
    let mut out = vec![0.0; CROPS * inputs];
    for (track, crops) in by_track.iter().enumerate() {
        // A track with many crops has the same weight as one with few.
        let crops = super::validate::thin(crops, CROPS);
        // The group of a groove is one of eight parts that contain every style, so it does not indicate similarity.
        if data.is_groove(track) || crops.is_empty() {
            continue;
        }
        for (&crop, mel) in crops.iter().zip(mels.chunks_exact_mut(WINDOW)) {
            data.mel(crop, 0, mel);
        }
        net.forward(&mels, crops.len(), &mut out);
        let mut mean = vec![0.0; inputs];
        for row in out[..crops.len() * inputs].chunks_exact(inputs) {
            for (mean, x) in mean.iter_mut().zip(row) {
                *mean += x / crops.len() as f32;
            }
        }
        let rows = matrix.chunks_exact(inputs).zip(offsets);
        vectors.push(rows.map(|(row, offset)| offset + dot(row, &mean)).collect());
        groups.push(data.tracks()[track].0.clone());
    }
    Ok((vectors, groups))
}

/// An affine map: `map · (x - mean)`; without a map only the mean is subtracted.
pub(super) struct Refinement {
    mean: Vec<f64>,
    /// `[dimension][dimension]`, lower triangular.
    map: Option<Vec<f64>>,
}

impl Refinement {
    fn fit(vectors: &[&Vec<f32>], shrinkage: f64) -> Self {
        let n = vectors.len() as f64;
        let d = vectors.first().map_or(0, |row| row.len());
        let mut mean = vec![0.0; d];
        for row in vectors {
            for (mean, &x) in mean.iter_mut().zip(*row) {
                *mean += f64::from(x) / n;
            }
        }
        if shrinkage >= 1.0 {
            return Self { mean, map: None };
        }
        let mut covariance = vec![0.0; d * d];
        for row in vectors {
            let centred: Vec<f64> = row
                .iter()
                .zip(&mean)
                .map(|(&x, m)| f64::from(x) - m)
                .collect();
            for (i, &a) in centred.iter().enumerate() {
                // The factor needs only the lower half.
                for (to, &b) in covariance[i * d..=i * d + i].iter_mut().zip(&centred) {
                    *to += (1.0 - shrinkage) * a * b / n;
                }
            }
        }
        // Dimensions that are always zero are not in the mean variance.
        let used = (0..d)
            .filter(|&i| covariance[i * d + i] > 0.0)
            .count()
            .max(1);
        let level =
            (0..d).map(|i| covariance[i * d + i]).sum::<f64>() / (1.0 - shrinkage) / used as f64;
        for i in 0..d {
            covariance[i * d + i] += shrinkage * level.max(1e-9);
        }
        Self {
            mean,
            map: Some(inverse_factor(covariance, d)),
        }
    }

    fn apply(&self, x: &[f32]) -> Vec<f32> {
        let centred: Vec<f64> = x
            .iter()
            .zip(&self.mean)
            .map(|(&x, m)| f64::from(x) - m)
            .collect();
        match &self.map {
            None => centred.iter().map(|&x| x as f32).collect(),
            Some(map) => map
                .chunks_exact(centred.len())
                .map(|row| row.iter().zip(&centred).map(|(a, b)| a * b).sum::<f64>() as f32)
                .collect(),
        }
    }

    /// The layer `matrix · e + offsets` followed by this map.
    pub(super) fn after(&self, matrix: &[f32], offsets: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let d = offsets.len();
        let inputs = matrix.len() / d;
        let shifted: Vec<f32> = offsets
            .iter()
            .zip(&self.mean)
            .map(|(&offset, mean)| (f64::from(offset) - mean) as f32)
            .collect();
        let Some(map) = &self.map else {
            return (matrix.to_vec(), shifted);
        };
        let mut out = Vec::with_capacity(matrix.len());
        for row in map.chunks_exact(d) {
            let mut sum = vec![0.0f64; inputs];
            for (&factor, from) in row
                .iter()
                .zip(matrix.chunks_exact(inputs))
                .filter(|(f, _)| **f != 0.0)
            {
                for (sum, &x) in sum.iter_mut().zip(from) {
                    *sum += factor * f64::from(x);
                }
            }
            out.extend(sum.iter().map(|&x| x as f32));
        }
        let offsets = map
            .chunks_exact(d)
            .map(|row| {
                row.iter()
                    .zip(&shifted)
                    .map(|(a, &b)| a * f64::from(b))
                    .sum::<f64>() as f32
            })
            .collect();
        (out, offsets)
    }
}

/// Inverse of the Cholesky factor of a positive definite matrix, of which the lower half is read.
pub(super) fn inverse_factor(mut a: Vec<f64>, d: usize) -> Vec<f64> {
    // Column by column, in place: the columns to the left are already the factor's.
    for j in 0..d {
        for i in j..d {
            let sum: f64 = (0..j).map(|k| a[i * d + k] * a[j * d + k]).sum();
            let value = a[i * d + j] - sum;
            a[i * d + j] = if i == j {
                // Rounding may leave a tiny negative number on the diagonal.
                value.max(1e-12).sqrt()
            } else {
                value / a[j * d + j]
            };
        }
    }
    let mut inverse = vec![0.0; d * d];
    for j in 0..d {
        inverse[j * d + j] = 1.0 / a[j * d + j];
        for i in j + 1..d {
            let sum: f64 = (j..i).map(|k| a[i * d + k] * inverse[k * d + j]).sum();
            inverse[i * d + j] = -sum / a[i * d + i];
        }
    }
    inverse
}

/// Precision of every query whose group has another track; `None` marks the others.
fn precisions(vectors: &[Vec<f32>], groups: &[&str]) -> Vec<Option<f64>> {
    let unit: Vec<Vec<f32>> = vectors
        .iter()
        .map(|row| {
            let length = dot(row, row).sqrt().max(1e-12);
            row.iter().map(|x| x / length).collect()
        })
        .collect();
    (0..unit.len())
        .map(|i| {
            let same = (0..unit.len())
                .filter(|&j| j != i && groups[j] == groups[i])
                .count();
            // No neighbour could be right, or none wrong.
            if same == 0 || same + 1 == unit.len() {
                return None;
            }
            let mut order: Vec<(f32, usize)> = (0..unit.len())
                .filter(|&j| j != i)
                .map(|j| (dot(&unit[i], &unit[j]), j))
                .collect();
            order.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            // At most as many as can be right.
            let k = NEIGHBOURS.min(same);
            Some(
                order[..k]
                    .iter()
                    .filter(|(_, j)| groups[*j] == groups[i])
                    .count() as f64
                    / k as f64,
            )
        })
        .collect()
}

/// Evaluates every refinement on held-out groups; the best is fitted on all and returned if its gain is larger than its error.
pub(super) fn choose(
    vectors: &[Vec<f32>],
    groups: &[String],
) -> (Option<Refinement>, Vec<WhiteningFigure>) {
    // By a digest of the group, so that no group is on both sides and the folds are always the same.
    let fold = |group: &str| usize::from(blake3::hash(group.as_bytes()).as_bytes()[0]) % FOLDS;
    let mut plain: Vec<f64> = Vec::new();
    let mut refined: Vec<Vec<f64>> = vec![Vec::new(); SHRINKAGES.len()];
    for part in 0..FOLDS {
        let (held, rest): (Vec<usize>, Vec<usize>) =
            (0..vectors.len()).partition(|&i| fold(&groups[i]) == part);
        if held.is_empty() || rest.len() < 2 {
            continue;
        }
        let names: Vec<&str> = held.iter().map(|&i| groups[i].as_str()).collect();
        let rows: Vec<Vec<f32>> = held.iter().map(|&i| vectors[i].clone()).collect();
        plain.extend(precisions(&rows, &names).into_iter().flatten());
        let rest: Vec<&Vec<f32>> = rest.iter().map(|&i| &vectors[i]).collect();
        for (values, shrinkage) in refined.iter_mut().zip(SHRINKAGES) {
            let refinement = Refinement::fit(&rest, shrinkage);
            let mapped: Vec<Vec<f32>> = rows.iter().map(|row| refinement.apply(row)).collect();
            values.extend(precisions(&mapped, &names).into_iter().flatten());
        }
    }
    // Values of all refinements are in the same order, so that gains are paired by query.
    let n = plain.len().max(1) as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
    let mut figures = vec![WhiteningFigure {
        name: "plain".to_owned(),
        precision: mean(&plain),
        gain: (0.0, 0.0),
        chosen: false,
    }];
    let mut best: Option<(usize, f64)> = None;
    for (i, (values, shrinkage)) in refined.iter().zip(SHRINKAGES).enumerate() {
        let gains: Vec<f64> = values.iter().zip(&plain).map(|(a, b)| a - b).collect();
        let gain = mean(&gains);
        let error = (gains.iter().map(|g| (g - gain).powi(2)).sum::<f64>() / n / n).sqrt();
        if gain > error && gain > 0.0 && best.is_none_or(|(_, most)| gain > most) {
            best = Some((i, gain));
        }
        let name = if shrinkage >= 1.0 {
            "centred".to_owned()
        } else {
            format!("centred and whitened, {:.0} % round", 100.0 * shrinkage)
        };
        figures.push(WhiteningFigure {
            name,
            precision: mean(values),
            gain: (gain, error),
            chosen: false,
        });
    }
    let chosen = best.map(|(i, _)| {
        figures[i + 1].chosen = true;
        Refinement::fit(&vectors.iter().collect::<Vec<_>>(), SHRINKAGES[i])
    });
    figures[0].chosen = chosen.is_none();
    (chosen, figures)
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::random::Random;

    /// Groups differ in four dimensions of low variance; three of high variance are noise.
    fn made_up(noise: f64) -> (Vec<Vec<f32>>, Vec<String>) {
        let mut random = Random::stream(6, 6);
        let mut vectors = Vec::new();
        let mut groups = Vec::new();
        for group in 0..20 {
            let centre: Vec<f64> = (0..4).map(|_| random.normal()).collect();
            for _ in 0..8 {
                let mut row: Vec<f32> = centre
                    .iter()
                    .map(|c| (c + 0.3 * random.normal()) as f32)
                    .collect();
                row.extend((0..3).map(|_| (noise * random.normal() + 2.0 * noise) as f32));
                row.push(0.0);
                vectors.push(row);
                groups.push(format!("group {group}"));
            }
        }
        (vectors, groups)
    }

    #[test]
    fn whitening_is_used_against_loud_noise() {
        let (vectors, groups) = made_up(4.0);
        let (refinement, figures) = choose(&vectors, &groups);
        let kept = figures.iter().find(|figure| figure.chosen).unwrap();
        assert!(
            kept.name.contains("whitened") && kept.precision > figures[0].precision + 0.1,
            "{figures:?}"
        );
        let refinement = refinement.unwrap();
        // Folded into a layer, it gives the same numbers.
        let d = vectors[0].len();
        let mut random = Random::stream(1, 2);
        let matrix: Vec<f32> = (0..d * d).map(|_| random.normal() as f32).collect();
        let offsets: Vec<f32> = (0..d).map(|_| random.normal() as f32).collect();
        let layer = |matrix: &[f32], offsets: &[f32], x: &[f32]| -> Vec<f32> {
            matrix
                .chunks_exact(d)
                .zip(offsets)
                .map(|(row, o)| o + dot(row, x))
                .collect()
        };
        let expected = refinement.apply(&layer(&matrix, &offsets, &vectors[3]));
        let (folded, shift) = refinement.after(&matrix, &offsets);
        for (a, b) in layer(&folded, &shift, &vectors[3]).iter().zip(&expected) {
            assert!((a - b).abs() < 1e-3 * (1.0 + b.abs()), "{a} {b}");
        }
    }

    #[test]
    fn a_refinement_without_gain_is_dropped() {
        let (vectors, _) = made_up(0.5);
        // With random groups, a map can help only by chance.
        let groups: Vec<String> = (0..vectors.len())
            .map(|i| format!("{}", i * 7919 % 20))
            .collect();
        let (_, figures) = choose(&vectors, &groups);
        assert!(
            figures.iter().all(|figure| figure.gain.0.abs() < 0.1),
            "{figures:?}"
        );
        assert_eq!(figures.iter().filter(|figure| figure.chosen).count(), 1);
    }

    #[test]
    fn a_factor_is_inverted() {
        let inverse = inverse_factor(vec![4.0, 0.0, 2.0, 5.0], 2);
        assert_eq!(inverse, [0.5, 0.0, -0.25, 0.5]);
    }
}
