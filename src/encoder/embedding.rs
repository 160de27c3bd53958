//! The unit vector of a track, and pooling window embeddings.

use std::ops::Range;

use ndarray::ArrayView2;

use super::{EncoderError, ModelManifest};
use voisin_base::vector::{make_unit, norm, squared_norm};

/// A vector of unit norm. Similarity of two embeddings is their dot product.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Vec<f32>);

impl Embedding {
    pub fn new(mut values: Vec<f32>) -> Result<Self, EncoderError> {
        if values.is_empty() {
            return Err(EncoderError::BadVector("it has no dimensions"));
        }
        if values.iter().any(|x| !x.is_finite()) {
            return Err(EncoderError::BadVector("a value is not finite"));
        }
        if !make_unit(&mut values) {
            return Err(EncoderError::BadVector("all values are zero"));
        }
        Ok(Self(values))
    }

    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    pub fn into_vec(self) -> Vec<f32> {
        self.0
    }

    pub fn dimension(&self) -> usize {
        self.0.len()
    }
}

/// Least difference from a mean, relative to a vector's length, for a direction from there: smaller
/// ones are mostly rounding, to 32 and to 16 bits a number.
const AT_THE_MEAN: f64 = 1e-5;
const AT_THE_MEAN_ROUNDED: f64 = 1e-3;

/// The parts of a model's vectors: the concatenated vectors of its networks, with the weight of
/// each.
///
/// A vector to be compared is balanced first: each part is scaled to the length of its weight, so
/// that no network dominates by larger numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Parts(Vec<(usize, f64)>);

impl Parts {
    pub fn of(manifest: &ModelManifest) -> Self {
        let first = (manifest.own_dimension(), 1.0);
        let others = manifest
            .networks
            .iter()
            .map(|network| (network.dimension(), network.weight));
        Self(std::iter::once(first).chain(others).collect())
    }

    /// The parts of a stored manifest. One that cannot be parsed has one part.
    pub fn of_stored(manifest: &str) -> Self {
        serde_json::from_str(manifest).map_or(Self(Vec::new()), |manifest| Self::of(&manifest))
    }

    /// The dimension and weight of each part.
    pub fn all(&self) -> &[(usize, f64)] {
        &self.0
    }

    /// The parts that a vector of this length has, with their weights.
    fn ranges(&self, length: usize) -> Vec<(Range<usize>, f64)> {
        if self.0.len() < 2 {
            return vec![(0..length, 1.0)];
        }
        let mut start = 0;
        let parts = self.0.iter().map(|(count, weight)| {
            start += count;
            (start - count..start, *weight)
        });
        // A vector of another length is of another model.
        parts.take_while(|(range, _)| range.end <= length).collect()
    }

    /// Scales each part to the length of its weight; a single part is unchanged.
    fn balance(&self, vector: &mut [f32]) {
        if self.0.len() < 2 {
            return;
        }
        for (range, weight) in self.ranges(vector.len()) {
            let part = &mut vector[range];
            let length = norm(part);
            // A part of zeros has no direction to scale.
            if length > 0.0 && length.is_finite() {
                for x in part {
                    *x = (f64::from(*x) * weight / length) as f32;
                }
            }
        }
    }

    /// Centres a vector: the difference of each part from the mean, scaled to the part's weight,
    /// and the whole to length 1.
    ///
    /// A part at the mean has no direction and stays unchanged, and so does a vector of another
    /// length than the mean.
    pub fn centre(&self, vector: &mut [f32], mean: &[f32]) {
        if vector.len() != mean.len() {
            return;
        }
        for (range, _) in self.ranges(vector.len()) {
            let mean = &mean[range.clone()];
            let part = &mut vector[range];
            let beyond: Vec<f32> = part.iter().zip(mean).map(|(x, mean)| x - mean).collect();
            if norm(&beyond) > AT_THE_MEAN * norm(part) && norm(part) > 0.0 {
                part.copy_from_slice(&beyond);
            }
        }
        // Only now, since subtracting the mean changed the lengths of the parts.
        self.balance(vector);
        make_unit(vector);
    }

    /// Inverts [`centre`](Self::centre): the raw vector, as exact as this one.
    ///
    /// The raw parts' lengths are known, which determines their distances from the mean. A part at
    /// the mean stays unchanged, and so does a vector of another length than the mean.
    pub fn restore(&self, vector: &mut [f32], mean: &[f32]) {
        if vector.len() != mean.len() {
            return;
        }
        // Stored vectors are rounded to 16 bits, so their length is only about 1.
        make_unit(vector);
        for (range, _) in self.ranges(vector.len()) {
            let mean = &mean[range.clone()];
            let part = &mut vector[range];
            let length = norm(part);
            let products = part.iter().zip(mean);
            let along: f64 = products
                .map(|(x, mean)| f64::from(*x) * f64::from(*mean))
                .sum();
            let along = along / length;
            // The distance from the mean along the part's direction at which the vector has this
            // length. Rounding may make it slightly negative, which has no root.
            let square = along * along + length * length - squared_norm(mean);
            let far = square.max(0.0).sqrt() - along;
            if far > AT_THE_MEAN_ROUNDED * length {
                for (x, mean) in part.iter_mut().zip(mean) {
                    *x = (f64::from(*mean) + f64::from(*x) * far / length) as f32;
                }
            }
        }
    }

    /// Pools window embeddings into one track embedding: their mean with balanced parts, then unit norm.
    ///
    /// - `windows`: `[n_windows, dimension]`, raw network outputs (not normalised)
    ///
    /// An error if there is no row, a value is not finite, or the mean is zero.
    pub fn pool(&self, windows: ArrayView2<f32>) -> Result<Embedding, EncoderError> {
        let mut mean = mean(windows)?;
        self.balance(&mut mean);
        Embedding::new(mean)
    }
}

fn mean(windows: ArrayView2<f32>) -> Result<Vec<f32>, EncoderError> {
    if windows.nrows() == 0 {
        return Err(EncoderError::BadVector("there is no window to pool"));
    }
    // f64, so that many windows lose no digits.
    let mut sum = vec![0.0_f64; windows.ncols()];
    for row in windows.rows() {
        for (total, &x) in sum.iter_mut().zip(row) {
            *total += f64::from(x);
        }
    }
    let scale = 1.0 / windows.nrows() as f64;
    Ok(sum.into_iter().map(|x| (x * scale) as f32).collect())
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    fn whole() -> Parts {
        Parts::of_stored("{}")
    }

    fn assert_near(found: &[f32], expected: &[f32], bound: f32) {
        assert_eq!(found.len(), expected.len());
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() < bound, "{found:?} {expected:?}");
        }
    }

    #[test]
    fn refuses_what_has_no_direction() {
        for bad in [
            vec![],
            vec![0.0, 0.0],
            vec![1.0, f32::NAN],
            vec![f32::INFINITY],
        ] {
            assert!(Embedding::new(bad.clone()).is_err(), "{bad:?}");
        }
        assert!(whole().pool(Array2::zeros((0, 3)).view()).is_err());
        let opposite = array![[1.0_f32, 0.0], [-1.0, 0.0]];
        assert!(whole().pool(opposite.view()).is_err());
        let pooled = whole().pool(array![[3.0_f32, 0.0], [3.0, 8.0]].view());
        assert_eq!(pooled.unwrap().as_slice(), [0.6, 0.8]);
    }

    #[test]
    fn parts_are_balanced() {
        let pair = Parts(vec![(2, 1.0), (1, 0.5)]);
        let windows = array![[3.0_f32, 0.0, 8.0], [3.0, 8.0, 0.0]];
        let pooled = pair.pool(windows.view()).unwrap();
        let expected = [0.6, 0.8, 0.5].map(|x: f32| x / 1.25_f32.sqrt());
        assert_near(pooled.as_slice(), &expected, 1e-6);
        // A part without a direction stays without.
        let pooled = pair.pool(array![[3.0_f32, 4.0, 0.0]].view()).unwrap();
        assert_eq!(pooled.as_slice(), [0.6, 0.8, 0.0]);
    }

    #[test]
    fn each_part_is_centred_on_its_own() {
        let pair = Parts(vec![(2, 1.0), (2, 0.5)]);
        let scaled = |values: [f32; 4]| values.map(|x| x / 1.25_f32.sqrt());
        let mut vector = scaled([0.6, 0.8, 0.3, 0.4]);
        pair.centre(&mut vector, &scaled([0.3, 0.0, 0.0, 0.2]));
        let first = 0.73_f32.sqrt();
        let second = 2.0 * 0.13_f32.sqrt();
        let expected = scaled([0.3 / first, 0.8 / first, 0.3 / second, 0.2 / second]);
        assert_near(&vector, &expected, 1e-6);
        // A part without direction gets none by being unlike the mean.
        let mut silent = [0.6_f32, 0.8, 0.0];
        Parts(vec![(2, 1.0), (1, 0.5)]).centre(&mut silent, &[0.0, 0.0, 0.3]);
        assert_eq!(silent, [0.6, 0.8, 0.0]);
        // At the mean it keeps its direction.
        let mut vector = [0.6_f32, 0.8];
        whole().centre(&mut vector, &[0.6, 0.8]);
        assert_eq!(vector, [0.6, 0.8]);
    }

    #[test]
    fn centring_is_undone() {
        for parts in [whole(), Parts(vec![(32, 1.0), (16, 0.6)])] {
            let raw = |i: usize| -> Vec<f32> {
                let number =
                    |d: usize| ((i * 11 + d * 5) as f32 * 1.3).sin() + 0.8 * (d as f32).cos();
                let mut raw: Vec<f32> = (0..48).map(number).collect();
                // One in five has a second part without direction.
                if i.is_multiple_of(5) {
                    raw[32..].fill(0.0);
                }
                parts.balance(&mut raw);
                Embedding::new(raw).unwrap().into_vec()
            };
            let raws: Vec<Vec<f32>> = (0..50).map(raw).collect();
            let mean: Vec<f32> = (0..48)
                .map(|d| raws.iter().map(|raw| raw[d]).sum::<f32>() / 50.0)
                .collect();
            for raw in &raws {
                let mut centred = raw.clone();
                parts.centre(&mut centred, &mean);
                let mut restored = centred.clone();
                parts.restore(&mut restored, &mean);
                assert_near(&restored, raw, 1e-5);
                // As 16 bits a number have it: as exact as these are, and the same when it is
                // centred again.
                let rounded = |&x: &f32| half::f16::from_f32(x).to_f32();
                let rounded: Vec<f32> = centred.iter().map(rounded).collect();
                let mut restored = rounded.clone();
                parts.restore(&mut restored, &mean);
                assert_near(&restored, raw, 1e-3);
                parts.centre(&mut restored, &mean);
                assert_near(&restored, &rounded, 1e-4);
            }
            for mut odd in [vec![1.0], mean.clone(), vec![0.0; 48]] {
                parts.restore(&mut odd, &mean);
                assert!(odd.iter().all(|x| x.is_finite()));
            }
        }
    }
}
