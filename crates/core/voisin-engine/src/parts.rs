//! The parts of an engine: its methods by subject.

use super::Engine;

voisin_base::parts! {
    Engine:
    /// Genres: labels and where they are from, the trained head, kinship.
    EngineGenres genres genres_mut;
    /// Moods.
    EngineScales scales scales_mut;
    /// Tracks by words, and words of tracks.
    EngineWords words;
}
