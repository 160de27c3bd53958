//! The tracks that voted for a genre, so that a user can check the result by listening.

use std::path::PathBuf;

use voisin_base::track::TrackId;
use voisin_genre::Genre;

/// A labelled track that voted.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// The track that voted.
    pub track: TrackId,
    /// Its path.
    pub path: PathBuf,
    /// Artist and title, or the file's name.
    pub display: String,
    /// Its artist, or its composers if the library is set to these.
    pub artist: Option<String>,
    /// The genres it voted for.
    pub genres: Vec<Genre>,
    /// Cosine similarity to the track in question.
    pub similarity: f32,
    /// Its share of the total voting weight.
    pub weight: f32,
}
