//! Long answers, a page at a time.

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::Limit;
use crate::track::TrackId;

/// A page of a question's answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paged<Q: Default, A = TrackId, const N: usize = 100> {
    /// Items of a page
    #[serde(default = "items::<N>")]
    pub(crate) limit: Limit,
    /// What the page before gave as `next`
    #[schemars(with = "Option<i64>")]
    pub(crate) after: Option<A>,
    #[serde(default)]
    pub(crate) question: Q,
}

fn items<const N: usize>() -> Limit {
    Limit::from(N)
}

/// A question that has no options.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plain {}
