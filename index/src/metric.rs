//! Metrics: each is searched as cosines, of vectors that are lifted to the unit sphere first.
//!
//! - cosine: the vector, at length 1.
//! - inner product: `(y, √(1 − |y|²))` with `y = x / R`, the query `(q, 0)` at length 1 (Neyshabur
//!   and Srebro, "On symmetric and asymmetric LSHs for inner product search", ICML 2015).
//! - Euclidean: `(y, −|y|²/2, √(1 − …))` with `y = (x − c) / R`, the query `(z, 1, 0)` at length 1,
//!   `z` lifted like `y`: products are largest where `|y − z|` is smallest.
//!
//! `c` is the mean of the vectors that the index was built of. `R` is [`HEADROOM`] times the length
//! of the longest of them: longer ones can come later, up to the [`LARGEST`] part of `R`.

use std::borrow::Cow;

use voisin_base::track::TrackId;
use voisin_base::vector::{NORM_TOLERANCE, dot_in_lanes, norm};

use super::IndexError;

/// The sphere is so many times larger than the longest vector, so that longer ones can be added
/// later. A larger one would leave the lifted vectors closer together, and fewer of their 16 bits
/// to tell them apart.
const HEADROOM: f64 = 4.;
/// The longest vector that still has a place on the sphere, of its radius.
const LARGEST: f64 = 0.9;

/// A measure of nearness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IndexMetric {
    /// The cosine of the angle: lengths play no part.
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
            Self::Cosine => 0,
            Self::InnerProduct => 1,
            Self::Euclidean => 2,
        }
    }

    /// As it is written: cosine, ip or l2.
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
    /// Of Euclidean distances; empty for others.
    pub(crate) centre: Vec<f32>,
    /// Of the sphere; 1 for cosines.
    pub(crate) radius: f64,
}

impl Sphere {
    /// Fits centre and radius to vectors that were [checked](Self::check) for everything but their
    /// length.
    pub(crate) fn fit<'a>(
        metric: IndexMetric,
        dimension: usize,
        rows: impl Iterator<Item = &'a [f32]> + Clone,
    ) -> Self {
        let mut space = Self {
            metric,
            dimension,
            centre: Vec::new(),
            radius: 1.,
        };
        if metric == IndexMetric::Cosine {
            return space;
        }
        if metric == IndexMetric::Euclidean {
            let mut sum = vec![0_f64; dimension];
            let mut n = 0_usize;
            for row in rows.clone() {
                sum.iter_mut()
                    .zip(row)
                    .for_each(|(sum, &x)| *sum += f64::from(x));
                n += 1;
            }
            space.centre = sum
                .iter()
                .map(|sum| (sum / n.max(1) as f64) as f32)
                .collect();
        }
        // A set of zeros alone has no length to scale by.
        let longest = rows.map(|row| space.length(row)).fold(0_f64, f64::max);
        space.radius = HEADROOM * if longest.is_normal() { longest } else { 1. };
        space
    }

    /// Whether these can be a fitted space at all; for what is read from a file.
    pub(crate) fn is_sane(&self) -> bool {
        let centre = if self.metric == IndexMetric::Euclidean {
            self.dimension
        } else {
            0
        };
        self.radius.is_normal()
            && self.radius > 0.
            && self.centre.len() == centre
            && self.centre.iter().all(|x| x.is_finite())
    }

    /// Components of a lifted vector.
    pub(crate) fn lifted_dimension(&self) -> usize {
        self.dimension + self.metric.extra()
    }

    fn beyond_centre<'a>(&'a self, vector: &'a [f32]) -> impl Iterator<Item = f64> + 'a {
        let centre = self.centre.iter().copied().chain(std::iter::repeat(0.));
        vector
            .iter()
            .zip(centre)
            .map(|(&x, centre)| f64::from(x) - f64::from(centre))
    }

    /// Distance of a vector from the centre.
    fn length(&self, vector: &[f32]) -> f64 {
        self.beyond_centre(vector)
            .map(|x| x * x)
            .sum::<f64>()
            .sqrt()
    }

    /// Whether `vector` has the right number of components, all finite, and a direction where that
    /// is what counts.
    pub(crate) fn check(&self, track: Option<TrackId>, vector: &[f32]) -> Result<(), IndexError> {
        if vector.len() != self.dimension {
            return Err(IndexError::Dimension {
                expected: self.dimension,
                actual: vector.len(),
            });
        }
        if let Some(position) = vector.iter().position(|x| !x.is_finite()) {
            return Err(IndexError::NotFinite { track, position });
        }
        // Without a length a vector has no direction; as a stored vector it still has products, all
        // 0.
        let needs_direction = self.metric == IndexMetric::Cosine
            || self.metric == IndexMetric::InnerProduct && track.is_none();
        if needs_direction && !is_about_1(vector) && !norm(vector).is_normal() {
            return Err(IndexError::NoDirection { track });
        }
        Ok(())
    }

    /// A checked vector on the sphere.
    pub(crate) fn lift<'a>(
        &self,
        track: TrackId,
        vector: &'a [f32],
    ) -> Result<Cow<'a, [f32]>, IndexError> {
        if self.metric == IndexMetric::Cosine {
            return Ok(at_length_1(vector));
        }
        let length = self.length(vector);
        let share = length / self.radius;
        if share > LARGEST {
            return Err(IndexError::TooFar {
                track,
                length,
                limit: LARGEST * self.radius,
            });
        }
        let mut lifted: Vec<f32> = self
            .beyond_centre(vector)
            .map(|x| (x / self.radius) as f32)
            .collect();
        let mut square = share * share;
        if self.metric == IndexMetric::Euclidean {
            // The component that turns a product into a distance: -|y|²/2, as the heading has it.
            lifted.push((-0.5 * square) as f32);
            square += 0.25 * square * square;
        }
        // Rounding may leave a little more than 1.
        lifted.push((1. - square).max(0.).sqrt() as f32);
        Ok(lifted.into())
    }

    /// The vector that a checked query is compared as, and the factor that turns a cosine into an
    /// inner product. For cosines it is of any length.
    pub(crate) fn lift_query<'a>(&self, query: &'a [f32]) -> (Cow<'a, [f32]>, f64) {
        match self.metric {
            IndexMetric::Cosine => (query.into(), 1.),
            IndexMetric::InnerProduct => {
                // A query's length changes no order, so it goes into the factor.
                let length = norm(query);
                let unit = query.iter().map(|&x| (f64::from(x) / length) as f32);
                (
                    unit.chain([0.]).collect::<Vec<_>>().into(),
                    length * self.radius,
                )
            }
            IndexMetric::Euclidean => {
                let share = self.length(query) / self.radius;
                // A query is no vector of the set: its last two components are 1 and 0, scaled to
                // length 1.
                let scale = 1. / (share * share + 1.).sqrt();
                let lifted = self
                    .beyond_centre(query)
                    .map(|x| (x / self.radius * scale) as f32);
                (
                    lifted.chain([scale as f32, 0.]).collect::<Vec<_>>().into(),
                    1.,
                )
            }
        }
    }

    /// The vector that was lifted, in place.
    pub(crate) fn lower(&self, lifted: &mut Vec<f32>) {
        lifted.truncate(self.dimension);
        if self.metric != IndexMetric::Cosine {
            let centre = self.centre.iter().copied().chain(std::iter::repeat(0.));
            for (x, centre) in lifted.iter_mut().zip(centre) {
                *x = (f64::from(*x) * self.radius + f64::from(centre)) as f32;
            }
        }
    }
}

/// Whether a vector's length is 1 within [`NORM_TOLERANCE`], by single precision.
fn is_about_1(vector: &[f32]) -> bool {
    (dot_in_lanes::<f32, 16>(vector, vector) - 1.).abs() <= NORM_TOLERANCE as f32
}

/// A vector of length 1 as it is, any other made one.
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
            let space = Sphere::fit(metric, 3, rows.iter().map(|row| &row[..]));
            assert!(space.is_sane());
            for row in &rows {
                let lifted = space.lift(TrackId(1), row).unwrap();
                assert_eq!(lifted.len(), space.lifted_dimension());
                assert!((norm(&lifted) - 1.).abs() < 1e-6, "{metric}");
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
            let far = space.lift(TrackId(9), &[1e6, 0., 0.]);
            assert_eq!(
                matches!(far, Err(IndexError::TooFar { .. })),
                metric != IndexMetric::Cosine
            );
        }
    }

    #[test]
    fn cosines_of_lifted_vectors_say_products_and_distances() {
        let rows = [[3_f32, 4., 0.], [-1., 0., 0.5], [10., -7., 2.]];
        let query = [0.5_f32, -2., 30.];
        let cosines_of = |metric| {
            let space = Sphere::fit(metric, 3, rows.iter().map(|row| &row[..]));
            let (lifted, factor) = space.lift_query(&query);
            assert!((norm(&lifted) - 1.).abs() < 1e-6);
            let cosines =
                rows.map(|row| dot(&space.lift(TrackId(1), &row).unwrap(), &lifted) * factor);
            (cosines, space)
        };
        let (products, _) = cosines_of(IndexMetric::InnerProduct);
        for (product, row) in products.iter().zip(&rows) {
            assert!((product - dot(row, &query)).abs() < 1e-4, "{product}");
        }
        let (cosines, space) = cosines_of(IndexMetric::Euclidean);
        for (cosine, row) in cosines.iter().zip(&rows) {
            let far = row
                .iter()
                .zip(&query)
                .map(|(x, q)| f64::from(x - q).powi(2))
                .sum::<f64>();
            let share = space.length(&query) / space.radius;
            let found =
                (share * share - 2. * cosine * (share * share + 1.).sqrt()) * space.radius.powi(2);
            assert!((found - far).abs() < 1e-3 * far, "{found} {far}");
        }
    }
}
