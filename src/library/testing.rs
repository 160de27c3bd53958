//! Synthetic libraries for tests and fuzz targets: tracks without audio.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "what cannot be made ends the test"
)]

use std::path::Path;

use super::{AudioFacts, FileRecord, Library, NewTrack, OpenMode, StoredModel, TrackTags};
use voisin_base::track::ContentId;

/// A model whose vectors have `dimension` numbers.
pub fn model(dimension: usize) -> StoredModel {
    StoredModel {
        name: "m".into(),
        fingerprint: "f".into(),
        dimension,
        manifest_json: "{}".into(),
    }
}

/// A new library of that model.
pub fn library(dir: &Path, dimension: usize) -> Library {
    let mut library = Library::open(dir, OpenMode::Create).unwrap();
    library.set_model(&model(dimension)).unwrap();
    library
}

/// A track with that vector; different seeds give different tracks.
pub fn track(seed: u64, vector: Vec<f32>) -> NewTrack {
    let mut content = [0; 32];
    content[..8].copy_from_slice(&seed.to_le_bytes());
    NewTrack {
        audio: AudioFacts {
            content: ContentId(content),
            seconds: 100.0,
            sample_rate: 44_100,
            channels: 2,
            container: "ogg".into(),
            codec: "vorbis".into(),
            packets: 1,
            damaged_packets: 0,
        },
        file: FileRecord {
            path: format!("/m/{seed}.ogg").into(),
            size: 1,
            mtime_ns: 1,
        },
        tags: TrackTags {
            title: Some(format!("Title {seed}")),
            ..TrackTags::default()
        },
        vector,
        logits: Vec::new(),
        descriptors: None,
    }
}
