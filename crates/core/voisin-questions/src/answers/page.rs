//! Pages of longer answers of the server.

use schemars::JsonSchema;
use serde::Serialize;

use voisin_base::track::TrackId;

/// A part of an answer.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct Page<T, N> {
    /// Items of the whole answer.
    pub total: usize,
    /// The items of the page.
    #[serde(flatten)]
    pub part: T,
    /// `after` of the next page; null on the last one.
    pub next: Option<N>,
}

/// A list as a part.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct PageItems<'a, T> {
    pub items: &'a [T],
}

/// A page whose content has its own total.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
pub struct NextPage<T> {
    #[serde(flatten)]
    pub page: T,
    /// `after` of the next page; null on the last one.
    pub next: Option<TrackId>,
}
