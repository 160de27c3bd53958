//! Libraries with synthetic vectors, labels and artists.

use std::path::Path;

use rand::{Rng, SeedableRng, rngs::StdRng};
use voisin_library::{Library, OpenMode, StoredModel, TrackTags, testing};

use crate::common::Sandbox;

/// Dimensions of a vector.
pub(crate) const D: usize = 24;

/// A library that is filled by hand.
pub(crate) struct Shelf {
    pub(crate) library: Library,
    rng: StdRng,
    pub(crate) centres: Vec<Vec<f32>>,
    tracks: u32,
}

impl Shelf {
    pub(crate) fn new(sandbox: &Sandbox) -> Self {
        Self::with(sandbox, D, 8)
    }

    pub(crate) fn with(sandbox: &Sandbox, d: usize, styles: usize) -> Self {
        let mut library = Library::open(&sandbox.path("library"), OpenMode::Create).unwrap();
        library
            .set_model(&StoredModel {
                name: "made-up".into(),
                fingerprint: "made-up-fingerprint".into(),
                dimension: d,
                manifest_json: "{}".into(),
            })
            .unwrap();
        let mut rng = StdRng::seed_from_u64(5);
        let centres = (0..styles)
            .map(|_| (0..d).map(|_| rng.random::<f32>() - 0.5).collect())
            .collect();
        Self {
            library,
            rng,
            centres,
            tracks: 0,
        }
    }

    /// A track near the centre of a style; three tracks an artist.
    pub(crate) fn put(&mut self, path: &Path, style: usize, genre: &str, spread: f32) {
        let centre = self.centres[style].clone();
        let artist = format!("Artist {style} {}", self.tracks / 3);
        self.put_spread(path, &centre, genre, spread, &artist);
    }

    pub(crate) fn put_spread(
        &mut self,
        path: &Path,
        centre: &[f32],
        genre: &str,
        spread: f32,
        artist: &str,
    ) {
        let vector: Vec<f32> = centre
            .iter()
            .map(|c| c + spread * (self.rng.random::<f32>() - 0.5))
            .collect();
        self.put_vector(path, &vector, genre, artist);
    }

    pub(crate) fn put_vector(&mut self, path: &Path, vector: &[f32], genre: &str, artist: &str) {
        let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
        let unit: Vec<f32> = vector.iter().map(|v| v / norm).collect();
        self.tracks += 1;
        let mut track = testing::track(u64::from(self.tracks), unit);
        path.clone_into(&mut track.file.path);
        // Files that exist get their real record: only unchanged files are written to.
        if let Ok(metadata) = std::fs::metadata(path) {
            track.file.size = metadata.len();
            track.file.mtime_ns = voisin_base::regular_file::mtime_ns(&metadata);
            track.audio.content = voisin_audio::probe(path).unwrap().content;
        }
        track.tags = tags(genre, artist);
        self.library.insert_track(&track).unwrap();
    }

    /// `styles` genres of `n` tracks in one folder each: genre 0 in /music/genre 0, and so on.
    pub(crate) fn fill(&mut self, styles: usize, n: usize, spread: f32) {
        for i in 0..styles * n {
            let style = i % styles;
            self.tracks_of(style, &format!("/music/genre {style}/{i:03}.mp3"), spread);
        }
    }

    pub(crate) fn tracks_of(&mut self, style: usize, path: &str, spread: f32) {
        self.put(Path::new(path), style, &format!("Genre {style}"), spread);
    }
}

pub(crate) fn tags(genre: &str, artist: &str) -> TrackTags {
    TrackTags {
        artist: Some(artist.to_owned()).filter(|artist| !artist.is_empty()),
        title: Some("Song".to_owned()),
        album: Some("Album".to_owned()),
        genres: if genre.is_empty() {
            Vec::new()
        } else {
            vec![genre.to_owned()]
        },
        ..TrackTags::default()
    }
}
