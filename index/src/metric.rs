//! Metrics: each is searched by products with codes of vectors, most of them as cosines.
//!
//! - cosine: the vector, at length 1.
//! - inner product: `(y, √(1 − |y|²))` with `y = x / R`, the query `(q, 0)` at length 1 (Neyshabur
//!   and Srebro, "On symmetric and asymmetric LSHs for inner product search", ICML 2015). `R` is
//!   [`HEADROOM`] times the length of the longest: longer ones may be added, up to the [`LARGEST`]
//!   part of `R`.
//! - Euclidean: `y = (x − c) / R` and `z` of the query alike, by `⟨z, y⟩ − |y|²/2 − |z|²/2`, which
//!   is `−|z − y|²/2`. `c` has the median of each component and `R` is the median distance from it,
//!   so that a few far vectors change neither, and each code has its own scale. Products only
//!   select candidates: the vectors are stored as well, and results are ranked by their differences
//!   in double precision.

use std::borrow::Cow;

use voisin_base::track::Id;
use voisin_base::vector::{NORM_TOLERANCE, dot_in_lanes, norm};

use super::IndexError;

/// Radius of the sphere relative to the longest vector, so that longer ones can be added. A larger
/// radius would bring the lifted vectors closer together and waste their 16 bits.
const HEADROOM: f64 = 4.;
/// The longest allowed vector, relative to the radius.
const LARGEST: f64 = 0.9;
/// The farthest vector of a Euclidean index, in median distances: its square fits single precision.
pub(crate) const FARTHEST: f64 = 1e14;

/// A measure of nearness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexMetric {
    /// The cosine of the angle, independent of lengths.
    #[default]
    Cosine,
    /// The inner product.
    InnerProduct,
    /// The Euclidean distance.
    Euclidean,
}

impl IndexMetric {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Cosine, Self::InnerProduct, Self::Euclidean];

    /// Components of a lifted vector beyond its own.
    fn extra(self) -> usize {
        match self {
            Self::Cosine | Self::Euclidean => 0,
            Self::InnerProduct => 1,
        }
    }

    /// The name: cosine, ip or l2.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cosine => "cosine",
            Self::InnerProduct => "ip",
            Self::Euclidean => "l2",
        }
    }
}

impl std::fmt::Display for IndexMetric {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl std::str::FromStr for IndexMetric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::ALL.into_iter().find(|metric| metric.name() == text);
        named.ok_or_else(|| format!("unknown metric \"{text}\": expected cosine, ip or l2"))
    }
}

/// How vectors of one index are lifted.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sphere {
    pub(crate) metric: IndexMetric,
    pub(crate) dimension: usize,
    /// Radius of the sphere; 1 for cosines. Euclidean vectors are divided by it.
    pub(crate) radius: f64,
}

impl Sphere {
    /// For cosines, or before the radius is fitted.
    pub(crate) fn new(metric: IndexMetric, dimension: usize) -> Self {
        Self {
            metric,
            dimension,
            radius: 1.,
        }
    }

    /// Fits the radius to [checked](Self::check) vectors, and the centre to subtract, if any, in
    /// units of the radius.
    pub(crate) fn fit<'a>(
        metric: IndexMetric,
        dimension: usize,
        rows: impl ExactSizeIterator<Item = &'a [f32]> + Clone,
    ) -> (Self, Option<Vec<f32>>) {
        let mut space = Self::new(metric, dimension);
        // A set of only zeros has no length to scale by.
        let or_one = |length: f64| if length.is_normal() { length } else { 1. };
        match metric {
            IndexMetric::Cosine => (space, None),
            IndexMetric::InnerProduct => {
                space.radius = HEADROOM * or_one(rows.map(norm).fold(0_f64, f64::max));
                (space, None)
            }
            IndexMetric::Euclidean => {
                let centre = medians(dimension, rows.clone());
                let lengths = rows.map(|row| distance(row, &centre));
                let mut lengths: Vec<f64> = lengths.filter(|&length| length > 0.).collect();
                let middle = lengths.len() / 2;
                let median = match lengths.len() {
                    0 => 0.,
                    _ => *lengths.select_nth_unstable_by(middle, f64::total_cmp).1,
                };
                // In these units the centre has to fit single precision, too.
                let largest = centre.iter().fold(0_f32, |most, x| most.max(x.abs()));
                space.radius = or_one(median.max(f64::from(largest) / FARTHEST));
                let centre = centre.iter().map(|&x| (f64::from(x) / space.radius) as f32);
                let centre = centre.collect();
                (space, Some(centre))
            }
        }
    }

    pub(crate) fn is_euclidean(&self) -> bool {
        self.metric == IndexMetric::Euclidean
    }

    /// Whether the values are valid, for those from a file.
    pub(crate) fn is_sane(&self) -> bool {
        self.radius.is_normal() && self.radius > 0.
    }

    /// The largest component of a mean, and of a code's scale.
    pub(crate) fn largest(&self) -> f32 {
        if self.is_euclidean() {
            2. * FARTHEST as f32
        } else {
            1.01
        }
    }

    /// Components of a lifted vector.
    pub(crate) fn lifted_dimension(&self) -> usize {
        self.dimension + self.metric.extra()
    }

    /// Whether `vector` has the right number of components, all finite, and for cosines a
    /// direction.
    pub(crate) fn check(&self, id: Option<Id>, vector: &[f32]) -> Result<(), IndexError> {
        if vector.len() != self.dimension {
            return Err(IndexError::Dimension {
                expected: self.dimension,
                actual: vector.len(),
            });
        }
        if let Some(position) = vector.iter().position(|x| !x.is_finite()) {
            return Err(IndexError::NotFinite { id, position });
        }
        // A vector of zeros has no direction; as a stored vector it still has products, all 0.
        let needs_direction = self.metric == IndexMetric::Cosine
            || self.metric == IndexMetric::InnerProduct && id.is_none();
        if needs_direction && !is_about_1(vector) && !norm(vector).is_normal() {
            return Err(IndexError::NoDirection { id });
        }
        Ok(())
    }

    /// A checked vector on the sphere; a Euclidean one as it is.
    pub(crate) fn lift<'a>(&self, id: Id, vector: &'a [f32]) -> Result<Cow<'a, [f32]>, IndexError> {
        match self.metric {
            IndexMetric::Cosine => return Ok(at_length_1(vector)),
            IndexMetric::Euclidean => return Ok(vector.into()),
            IndexMetric::InnerProduct => {}
        }
        let length = norm(vector);
        let share = length / self.radius;
        if share > LARGEST {
            return Err(IndexError::TooFar {
                id,
                length,
                limit: LARGEST * self.radius,
            });
        }
        let lifted = vector.iter().map(|&x| (f64::from(x) / self.radius) as f32);
        // Rounding may leave a little more than 1.
        let last = (1. - share * share).max(0.).sqrt() as f32;
        Ok(lifted.chain([last]).collect())
    }

    /// The vector that a checked query is compared as, and the factor that turns a cosine into an
    /// inner product. For cosines it is of any length, Euclidean ones stay as they are.
    pub(crate) fn lift_query<'a>(&self, query: &'a [f32]) -> (Cow<'a, [f32]>, f64) {
        if self.metric != IndexMetric::InnerProduct {
            return (query.into(), 1.);
        }
        // A query's length changes no order, so it goes into the factor.
        let length = norm(query);
        let unit = query.iter().map(|&x| (f64::from(x) / length) as f32);
        (unit.chain([0.]).collect(), length * self.radius)
    }

    /// The vector that was lifted, in place.
    pub(crate) fn lower(&self, lifted: &mut Vec<f32>) {
        lifted.truncate(self.dimension);
        if self.metric == IndexMetric::InnerProduct {
            for x in lifted {
                *x = (f64::from(*x) * self.radius) as f32;
            }
        }
    }
}

/// The median of each component, of a sample spread over all rows.
fn medians<'a>(dimension: usize, rows: impl ExactSizeIterator<Item = &'a [f32]>) -> Vec<f32> {
    /// Rows of the sample, as the median need not be exact.
    const SAMPLE: usize = 1001;
    let step = rows.len().div_ceil(SAMPLE).max(1);
    let sample: Vec<&[f32]> = rows.step_by(step).collect();
    let median = |at: usize| {
        let mut column: Vec<f32> = sample.iter().map(|row| row[at]).collect();
        let middle = column.len() / 2;
        *column.select_nth_unstable_by(middle, f32::total_cmp).1
    };
    if sample.is_empty() {
        return vec![0.; dimension];
    }
    (0..dimension).map(median).collect()
}

/// Euclidean distance, by differences in double precision: near vectors that are far from the
/// origin lose nothing. The sums are the same on every machine.
pub(crate) fn distance(a: &[f32], b: &[f32]) -> f64 {
    const LANES: usize = 8;
    let square = |a: f32, b: f32| {
        let difference = f64::from(a) - f64::from(b);
        difference * difference
    };
    let mut lanes = [0_f64; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for i in 0..LANES {
            lanes[i] += square(a[i], b[i]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(&a, &b)| square(a, b)).sum();
    (lanes.into_iter().sum::<f64>() + rest).sqrt()
}

/// Whether a vector's length is 1 within [`NORM_TOLERANCE`], by single precision.
fn is_about_1(vector: &[f32]) -> bool {
    (dot_in_lanes::<f32, 16>(vector, vector) - 1.).abs() <= NORM_TOLERANCE as f32
}

/// A vector of length 1 unchanged, any other scaled to it.
pub(crate) fn at_length_1(vector: &[f32]) -> Cow<'_, [f32]> {
    if is_about_1(vector) {
        return vector.into();
    }
    let norm = norm(vector);
    vector
        .iter()
        .map(|&x| (f64::from(x) / norm) as f32)
        .collect::<Vec<_>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter()
            .zip(b)
            .map(|(&a, &b)| f64::from(a) * f64::from(b))
            .sum()
    }

    #[test]
    fn lifted_vectors_are_on_the_sphere_and_come_back() {
        let rows = [[3_f32, 4., 0.], [-1., 0., 0.5], [100., -7., 2.]];
        for metric in IndexMetric::ALL {
            let (space, _) = Sphere::fit(metric, 3, rows.iter().map(|row| &row[..]));
            assert!(space.is_sane());
            for row in &rows {
                let lifted = space.lift(Id(1), row).unwrap();
                assert_eq!(lifted.len(), space.lifted_dimension());
                assert!(
                    space.is_euclidean() || (norm(&lifted) - 1.).abs() < 1e-6,
                    "{metric}"
                );
                let mut back = lifted.into_owned();
                space.lower(&mut back);
                let length = if metric == IndexMetric::Cosine {
                    norm(row)
                } else {
                    1.
                };
                for (back, &x) in back.iter().zip(row) {
                    assert!(
                        (f64::from(*back) * length - f64::from(x)).abs() < 1e-4,
                        "{metric} {back} {x}"
                    );
                }
            }
            let far = space.lift(Id(9), &[1e6, 0., 0.]);
            assert_eq!(
                matches!(far, Err(IndexError::TooFar { .. })),
                metric == IndexMetric::InnerProduct
            );
        }
    }

    #[test]
    fn cosines_of_lifted_vectors_are_products() {
        let rows = [[3_f32, 4., 0.], [-1., 0., 0.5], [10., -7., 2.]];
        let query = [0.5_f32, -2., 30.];
        let (space, _) = Sphere::fit(
            IndexMetric::InnerProduct,
            3,
            rows.iter().map(|row| &row[..]),
        );
        let (lifted, factor) = space.lift_query(&query);
        assert!((norm(&lifted) - 1.).abs() < 1e-6);
        for row in &rows {
            let product = dot(&space.lift(Id(1), row).unwrap(), &lifted) * factor;
            assert!((product - dot(row, &query)).abs() < 1e-4, "{product}");
        }
    }

    #[test]
    fn centre_and_radius_are_those_of_most_vectors() {
        let rows: Vec<Vec<f32>> = (0..99).map(|i| vec![1000. + i as f32, 7.]).collect();
        let fitted = |rows: &[Vec<f32>]| {
            let rows = rows.iter().map(|row| &row[..]);
            let (space, centre) = Sphere::fit(IndexMetric::Euclidean, 2, rows);
            let centre = centre.unwrap().into_iter();
            let centre: Vec<f64> = centre.map(|x| f64::from(x) * space.radius).collect();
            (space.radius, centre)
        };
        let (radius, centre) = fitted(&rows);
        assert!((20. ..30.).contains(&radius), "{radius}");
        assert!((centre[0] - 1049.).abs() < 1e-2 && (centre[1] - 7.).abs() < 1e-4);
        let mut with_a_far_one = rows;
        with_a_far_one.push(vec![1e9, -1e9]);
        let (radius, centre) = fitted(&with_a_far_one);
        assert!((20. ..30.).contains(&radius), "{radius}");
        assert!((centre[0] - 1049.).abs() < 2. && (centre[1] - 7.).abs() < 1e-4);
    }

    #[test]
    fn distances_of_near_vectors_far_away_keep_their_digits() {
        let a = [4_208_843.5_f32, 2_334_869.5, 4_171_171.5, 1e-3];
        let b = [4_208_843., 2_334_869.5, 4_171_171.5, 0.];
        assert!((distance(&a, &b) - (0.25 + 1e-6_f64).sqrt()).abs() < 1e-9);
        // More components than there are lanes.
        let long: Vec<f32> = (0..19).map(|i| i as f32).collect();
        let expected = (0..19).map(|i| f64::from(i * i)).sum::<f64>().sqrt();
        assert!((distance(&long, &[0.; 19]) - expected).abs() < 1e-12);
    }
}
