//! Long answers, a page at a time.

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::Limit;
use voisin_base::track::TrackId;

/// A page of a question's answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paged<Q: Default, A = TrackId, const N: usize = 100> {
    /// Items of a page
    #[serde(default = "items::<N>")]
    pub limit: Limit,
    /// What the page before gave as `next`
    #[schemars(with = "Option<i64>")]
    pub after: Option<A>,
    /// The question itself.
    #[serde(default)]
    pub question: Q,
}

fn items<const N: usize>() -> Limit {
    Limit::from(N)
}

/// A question that has no options.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plain {}
