//! Pseudorandom numbers that are the same on every machine and in every version.
//!
//! Used for all stored or visible results that depend on chance: generators of other crates may change with an update.
//! `SplitMix64` (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) passes `BigCrush`, has
//! one word of state, and accepts every seed. Not for secrets.

/// The odd number nearest to 2^64 over the golden ratio: the step between two states.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A stream of random numbers.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of 2^64 streams for each seed.
    pub fn stream(seed: u64, stream: u64) -> Self {
        // Mixed before use: streams of consecutive numbers would else begin near each other in the
        // sequence.
        let start = Self(seed ^ stream.wrapping_mul(STEP)).u64();
        Self(start ^ stream)
    }

    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mix(self.0)
    }

    /// In [0, 1), a multiple of 2^-24.
    pub fn f32(&mut self) -> f32 {
        // The upper bits, as many as a mantissa has: more would round up to 1.
        (self.u64() >> 40) as f32 / (1_u32 << 24) as f32
    }

    /// In [0, 1), a multiple of 2^-53.
    pub fn f64(&mut self) -> f64 {
        (self.u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// In [low, high).
    pub fn range(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.f64()
    }

    /// In 0..n; 0 if n is 0.
    pub fn below(&mut self, n: usize) -> usize {
        // The product may round up to n.
        ((self.f64() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// Of mean 0 and variance 1 (Box and Muller, 1958).
    pub fn normal(&mut self) -> f64 {
        // 1 minus the draw is never 0, whose logarithm is infinite.
        let radius = (-2.0 * (1.0 - self.f64()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.f64()).cos()
    }

    /// Shuffles items (Fisher and Yates, 1938).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

/// 64 well-mixed bits of a number: the draw after `n - 1` others of the stream that begins at 0.
pub fn hash(n: u64) -> u64 {
    mix(n.wrapping_mul(STEP))
}

/// The finaliser of `SplitMix64`: every bit of `z` affects every bit of the result.
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stored layouts, folds, indexes and weights depend on these numbers: they must never change.
    #[test]
    fn the_streams_are_what_they_always_were() {
        // From the authors' reference implementation with seed 1234567.
        let mut random = Random::new(1_234_567);
        let drawn: Vec<u64> = (0..5).map(|_| random.u64()).collect();
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(drawn, expected);
        let mut random = Random::new(0);
        assert_eq!(
            [hash(1), hash(2), hash(3)],
            [random.u64(), random.u64(), random.u64()]
        );
    }

    #[test]
    fn draws_stay_below_and_a_shuffle_keeps_everything() {
        let mut random = Random::new(7);
        assert!((0..600).all(|_| random.below(6) < 6));
        assert_eq!((random.below(1), random.below(0)), (0, 0));
        assert_ne!(Random::stream(1, 2).u64(), Random::stream(1, 3).u64());
        let mut items: Vec<usize> = (0..100).collect();
        Random::stream(3, 0).shuffle(&mut items);
        assert!(!items.is_sorted());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
