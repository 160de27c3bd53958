//! The identities of a track: its key in one library, the digest of its audio, and the similarity of vectors of
//! one recording.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Key of a track inside one library: the rowid of its audio in SQLite, and its label in the index.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(rename = "TrackId")]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub i64);

pub use self::Id as TrackId;

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether vectors of this cosine similarity are of one recording: only exact copies and re-encodings at high bit rates
/// are this similar.
pub fn is_same_recording(similarity: f32) -> bool {
    similarity >= 0.999_9
}

/// Identity of a recording: BLAKE3 of its compressed packets.
///
/// Tags, cover art and the file's name are not included, so a file that is moved, renamed or
/// retagged keeps its vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ContentId(pub [u8; 32]);

impl std::fmt::Display for ContentId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
