//! Saved lists.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::playlist::PlaylistJson;
use crate::saved::TemplateJson;

/// A saved list: its query, and its destinations.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeptListJson {
    /// Its name.
    pub name: String,
    /// `similar`, `find`, `list`, `path`, `mix`, `artists` or `albums`.
    pub kind: &'static str,
    /// Its query, in the form of requests.
    pub question: Value,
    /// Its destinations.
    pub to: Vec<String>,
    /// Time of the last push, in seconds since 1970 UTC.
    pub pushed: Option<i64>,
}

/// All lists.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeptListsJson {
    /// The lists of the library.
    pub lists: Vec<KeptListJson>,
    /// Templates.
    pub templates: Vec<TemplateJson>,
}

/// The current tracks of a list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListNowJson<'a> {
    /// Its name.
    pub name: &'a str,
    /// The random seed, to get the same tracks again.
    pub random_seed: u64,
    /// The tracks.
    #[serde(flatten)]
    pub list: PlaylistJson,
}

/// The result of pushing a list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ListPushedJson {
    /// A message for each destination.
    #[serde(rename = "said")]
    pub messages: Vec<String>,
}
