//! Candle's layers as the reference networks use them: with a span each where the feature `trace`
//! is on, plain without.

#[cfg(not(feature = "trace"))]
pub(super) use candle_nn::{Conv2d, Linear, conv2d, linear};
#[cfg(feature = "trace")]
pub(super) use candle_transformers::models::with_tracing::{Conv2d, Linear, conv2d, linear};
