//! The name of a genre: its spelling, and the key by which spellings are compared.

use std::borrow::Cow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use voisin_base::text::{self, clean};

/// A genre label: compared by key, shown in the user's spelling.
///
/// Serialised as its name, and deserialised by [`plain`](Self::plain).
#[derive(Debug, Clone)]
pub struct Genre {
    name: Arc<str>,
    key: Arc<str>,
}

impl Genre {
    /// A genre from its stored parts, without applying synonyms (see
    /// [`Taxonomy::genre`](super::Taxonomy::genre)).
    pub fn from_parts(name: impl Into<Arc<str>>, key: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            key: key.into(),
        }
    }

    /// A genre as spelt, without synonyms.
    pub fn plain(name: &str) -> Self {
        let name = clean(name);
        Self {
            // The key decides equality; the name is only shown.
            key: text::key(&name).into(),
            name: name.into(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The form by which spellings are compared: letters and digits only, folded case, no accents.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl PartialEq for Genre {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}
impl Eq for Genre {}
impl PartialOrd for Genre {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Genre {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}
impl Hash for Genre {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
    }
}
impl std::fmt::Display for Genre {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.name)
    }
}
impl Serialize for Genre {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.name)
    }
}
impl JsonSchema for Genre {
    fn schema_name() -> Cow<'static, str> {
        "Genre".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        String::json_schema(generator)
    }
}
impl<'de> Deserialize<'de> for Genre {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::plain(&String::deserialize(deserializer)?))
    }
}
