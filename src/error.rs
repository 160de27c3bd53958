//! One error for the whole crate: each module's own, folded.

use crate::base::remedy::Remedy;

/// Anything that can go wrong in voisin; each variant is one module's error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Decoding, resampling, tags.
    #[error(transparent)]
    Audio(#[from] crate::audio::AudioError),
    /// Spectrograms.
    #[error(transparent)]
    Features(#[from] crate::features::FeaturesError),
    /// Networks, weights, devices.
    #[error(transparent)]
    Encoder(#[from] crate::encoder::EncoderError),
    /// Weights from other programs.
    #[error(transparent)]
    Import(#[from] crate::encoder::ImportError),
    /// The catalogue.
    #[error(transparent)]
    Library(#[from] crate::library::LibraryError),
    /// The index.
    #[error(transparent)]
    Index(#[from] crate::index::IndexError),
    /// Genres.
    #[error(transparent)]
    Genre(#[from] crate::genre::GenreError),
    /// Clusters, maps, paths, playlists.
    #[error(transparent)]
    Explore(#[from] crate::explore::ExploreError),
    /// Training encoders.
    #[error(transparent)]
    Train(#[from] crate::train::encoder::TrainError),
    /// Libraries in other engines.
    #[cfg(feature = "postgres")]
    #[error(transparent)]
    Backend(#[from] crate::backend::BackendError),
    /// The parts joined.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
}

impl Error {
    /// The next step, where the message does not have it.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Encoder(error) => error.remedy(),
            Self::Library(error) => error.remedy(),
            Self::Genre(error) => error.remedy(),
            Self::Explore(error) => error.remedy(),
            #[cfg(feature = "postgres")]
            Self::Backend(error) => error.remedy(),
            Self::Engine(error) => error.remedy(),
            _ => None,
        }
    }
}

/// `Result` with voisin's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
