//! Fits a head to a network without one, by least squares of the teachers' targets on its embeddings.

use ndarray::{Array2, Axis};

use super::cache::TrainingSet;
use super::layout::{Layout, standardise};
use super::refine::inverse_factor;
use super::validate::{embed, thin};
use super::{TeacherHead, TrainError};
use voisin_encoder::openl3::OpenL3Weights;

/// Windows that the head is fitted on: forty for each dimension.
const WINDOWS: usize = 20_000;
/// Penalty, as a share of the embedding's mean variance.
const RIDGE: f64 = 1e-3;

/// The ridge regression of z-scored targets on the embeddings of evenly spread crops; outputs beyond the teachers'
/// (styles) stay zero.
pub(super) fn fit(
    data: &TrainingSet,
    crops: &[usize],
    weights: &OpenL3Weights,
    layout: &Layout,
    mean: &[f32],
    deviation: &[f32],
) -> Result<TeacherHead, TrainError> {
    let crops = thin(crops, WINDOWS);
    let inputs = weights.widths()[7];
    let width = layout.targets();
    let x: Vec<f64> = embed(data, &crops, weights)?
        .iter()
        .map(|&x| f64::from(x))
        .collect();
    let mut row = vec![0.0; width];
    let mut y = Vec::with_capacity(crops.len() * width);
    for &crop in &crops {
        standardise(data.targets(crop), mean, deviation, &mut row);
        y.extend(row.iter().map(|&y| f64::from(y)));
    }
    let shaped = |values, columns| {
        Array2::from_shape_vec((crops.len(), columns), values).expect("a row for every crop")
    };
    Ok(solve(
        &shaped(x, inputs),
        &shaped(y, width),
        layout.outputs(),
    ))
}

/// Rows of `y` (`[n][targets]`) from rows of `x` (`[n][inputs]`), as a head of `outputs` outputs.
fn solve(x: &Array2<f64>, y: &Array2<f64>, outputs: usize) -> TeacherHead {
    let (n, inputs) = x.dim();
    let mean_of = |a: &Array2<f64>| a.sum_axis(Axis(0)) / n.max(1) as f64;
    let x_mean = mean_of(x);
    let y_mean = mean_of(y);
    // Centred, so that the penalty does not affect the bias.
    let x = x - &x_mean;
    let y = y - &y_mean;
    let mut gram = x.t().dot(&x);
    let level = gram.diag().sum() / inputs as f64;
    gram.diag_mut()
        .mapv_inplace(|value| value + RIDGE * level.max(1e-9));
    let (values, _) = gram.into_raw_vec_and_offset();
    let inverse = Array2::from_shape_vec((inputs, inputs), inverse_factor(values, inputs))
        .expect("a square matrix stays one");
    // (L L^T)^-1 = L^-T L^-1.
    let solution = inverse.t().dot(&inverse.dot(&x.t().dot(&y)));
    let bias = &y_mean - &x_mean.dot(&solution);
    let mut parameters = vec![0.0; outputs * (inputs + 1)];
    for (to, column) in parameters.chunks_exact_mut(inputs).zip(solution.columns()) {
        for (to, from) in to.iter_mut().zip(column) {
            *to = *from as f32;
        }
    }
    for (to, from) in parameters[outputs * inputs..].iter_mut().zip(&bias) {
        *to = *from as f32;
    }
    TeacherHead {
        inputs,
        outputs,
        parameters,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin_base::random::Random;

    #[test]
    fn a_linear_map_is_found_again() {
        let mut random = Random::stream(5, 5);
        let n = 400;
        let inputs = 12;
        let targets = 5;
        let mut draw =
            |rows, columns| Array2::from_shape_simple_fn((rows, columns), || random.normal());
        let x = draw(n, inputs);
        let map = draw(inputs, targets);
        let shift = draw(1, targets);
        let y = x.dot(&map) + &shift;
        let head = solve(&x, &y, targets + 2);
        for (i, row) in head.parameters[..targets * inputs]
            .chunks_exact(inputs)
            .enumerate()
        {
            for (j, &found) in row.iter().enumerate() {
                assert!(
                    (f64::from(found) - map[[j, i]]).abs() < 5e-3,
                    "{i}, {j}: {found}"
                );
            }
        }
        let bias = &head.parameters[(targets + 2) * inputs..];
        assert!(
            (f64::from(bias[1]) - shift[[0, 1]]).abs() < 5e-3,
            "{bias:?}"
        );
        assert_eq!(bias[targets..], [0.0, 0.0]);
        assert!(
            head.parameters[targets * inputs..(targets + 2) * inputs]
                .iter()
                .all(|&x| x == 0.0)
        );
    }
}
