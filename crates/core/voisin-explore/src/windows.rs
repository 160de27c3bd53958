//! Window vectors of a track.

use ndarray::Array2;

use voisin_base::track::TrackId;

/// The window vectors of one track.
#[derive(Debug, Clone)]
pub struct WindowSet {
    /// Start of each window in seconds from the start of the track, ascending.
    pub starts: Vec<f32>,
    /// `[n_windows, dim]`; rows are unit vectors after [`WindowSet::new`].
    pub vectors: Array2<f32>,
}

impl WindowSet {
    /// Scales raw window vectors to unit norm; rows without a direction (zero or not finite) are dropped together with
    /// their starts.
    ///
    /// - `starts`: seconds, one per row of `vectors`; surplus entries on either side are ignored
    pub fn new(starts: &[f32], vectors: &Array2<f32>) -> Self {
        let mut kept = Vec::new();
        let mut data = Vec::new();
        for (&start, row) in starts.iter().zip(vectors.rows()) {
            let norm = row
                .iter()
                .map(|x| f64::from(*x) * f64::from(*x))
                .sum::<f64>()
                .sqrt();
            // A damaged row must not make every similarity NaN.
            if norm.is_finite() && norm > 1e-9 && start.is_finite() {
                kept.push(start);
                data.extend(row.iter().map(|x| (f64::from(*x) / norm) as f32));
            }
        }
        let vectors = Array2::from_shape_vec((kept.len(), vectors.ncols()), data)
            .expect("one row was pushed per start kept");
        Self {
            starts: kept,
            vectors,
        }
    }

    /// Number of windows.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are no windows.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}

/// A source of window vectors: the library, or a map in a test.
///
/// Called from one thread at a time; `None` for a track without windows.
pub trait WindowSource {
    /// The windows of `track`.
    fn windows(&mut self, track: TrackId) -> Option<WindowSet>;
}

impl<F: FnMut(TrackId) -> Option<WindowSet>> WindowSource for F {
    fn windows(&mut self, track: TrackId) -> Option<WindowSet> {
        self(track)
    }
}
