//! Serialises numbers as text, exact to the last bit, including NaN and infinities.

use serde::de::Error as _;
use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer};

/// Writes a number as text.
pub fn serialize<S: Serializer>(value: &f64, to: S) -> Result<S::Ok, S::Error> {
    // Rust writes the shortest digits that read back as the same
    // bits, and "NaN" and "inf", which JSON has no numbers for.
    value.to_string().serialize(to)
}

/// Reads a number written as text.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

/// The same for optional numbers.
pub mod option {
    use super::{Deserializer, Serializer};
    use serde::de::Error as _;
    use serde::{Deserialize as _, Serialize as _};

    /// Writes a number as text.
    #[allow(clippy::ref_option, reason = "as serde calls it")]
    pub fn serialize<S: Serializer>(value: &Option<f64>, to: S) -> Result<S::Ok, S::Error> {
        value.map(|value| value.to_string()).serialize(to)
    }

    /// Reads a number written as text.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        text.map(|text| text.parse())
            .transpose()
            .map_err(D::Error::custom)
    }
}
