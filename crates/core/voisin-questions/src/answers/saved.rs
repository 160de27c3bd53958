//! Lists that are kept.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::playlist::PlaylistJson;
use crate::saved::TemplateJson;

/// A list: its query, and where its answer is put.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeptListJson {
    /// Its name.
    pub name: String,
    /// `similar`, `find`, `list`, `path`, `mix`, `artists` or `albums`.
    pub kind: &'static str,
    /// Its query, as the field of that name takes it.
    pub question: Value,
    /// Where it is put.
    pub to: Vec<String>,
    /// When that was done last, in seconds since 1970 UTC.
    pub pushed: Option<i64>,
}

/// All lists.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeptListsJson {
    /// Those of the library.
    pub lists: Vec<KeptListJson>,
    /// Queries to begin with.
    pub templates: Vec<TemplateJson>,
}

/// The tracks of a list as of now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListNowJson<'a> {
    /// Its name.
    pub name: &'a str,
    /// Gives the same tracks again.
    pub random_seed: u64,
    /// The tracks.
    #[serde(flatten)]
    pub list: PlaylistJson,
}

/// A list was put where players find it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListPushedJson {
    /// Tracks that were put, a line a place.
    pub said: Vec<String>,
}
