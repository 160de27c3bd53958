//! Pages of longer answers, as the server gives them.

use schemars::JsonSchema;
use serde::Serialize;

use voisin_base::track::TrackId;

/// A part of an answer.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Page<T, N> {
    /// Items of the whole answer, however many are on the page.
    pub total: usize,
    /// Those of the page.
    #[serde(flatten)]
    pub part: T,
    /// Names the next page; null on the last one.
    pub next: Option<N>,
}

/// A list as a part.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct PageItems<'a, T> {
    /// The items.
    pub items: &'a [T],
}

/// A page that counts the whole answer itself.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct NextPage<T> {
    /// The page.
    #[serde(flatten)]
    pub page: T,
    /// Names the next page; null on the last one.
    pub next: Option<TrackId>,
}
