//! Target values along a list, such as rising energy.

/// A curve between a low and a high percentile of the candidates' values.
pub struct Course<'a> {
    shape: &'a dyn Fn(f64) -> f64,
    /// Tracks of the list.
    count: f64,
    /// The 5th and the 95th percentile of the candidates.
    lowest: f64,
    highest: f64,
}

impl<'a> Course<'a> {
    /// - `shape`: from a position in the list, 0 to 1, to a height, 0 to 1
    /// - `count`: tracks of the list
    /// - `candidates`: their values, 0 to 100
    pub fn new(
        shape: &'a dyn Fn(f64) -> f64,
        count: f64,
        candidates: impl Iterator<Item = f64>,
    ) -> Self {
        let mut values: Vec<f64> = candidates.collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().saturating_sub(1) as f64;
        let at = |share: f64| values.get((share * last).round() as usize).copied();
        Self {
            shape,
            count,
            // Percentiles, so that outliers do not stretch the curve.
            lowest: at(0.05).unwrap_or(0.0),
            highest: at(0.95).unwrap_or(100.0),
        }
    }

    /// Distance of a value from the curve at a position in the list.
    pub fn off(&self, place: usize, value: f64) -> f64 {
        let place = (place as f64 / (self.count - 1.0).max(1.0)).min(1.0);
        let wanted = self.lowest + (self.shape)(place) * (self.highest - self.lowest);
        (value - wanted).abs()
    }
}
