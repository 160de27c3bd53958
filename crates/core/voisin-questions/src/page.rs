//! Queries for one page of a long answer.

use schemars::JsonSchema;
use serde::Deserialize;

use super::values::Limit;
use voisin_base::track::TrackId;

/// A query for a page of an answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Paged<Q: Default, A = TrackId, const N: usize = 100> {
    /// Items of a page
    #[serde(default = "items::<N>")]
    pub limit: Limit,
    /// The previous page's `next`
    #[schemars(with = "Option<i64>")]
    pub after: Option<A>,
    /// The query itself.
    #[serde(default)]
    pub question: Q,
}

fn items<const N: usize>() -> Limit {
    Limit::from(N)
}

/// A query without options.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plain {}
