//! Synthetic libraries.

use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use voisin::ContentId;
use voisin_library::{
    AudioFacts, Descriptors, FileRecord, Library, MusicalKey, OpenMode, ScaleValue, Scales,
    StoredModel, TrackTags,
};

pub(super) const DIMENSION: usize = 64;

pub(super) fn model() -> StoredModel {
    model_called("synthetic", DIMENSION)
}

/// A model of another program: no network of voisin's has so few dimensions.
pub(super) fn model_called(name: &str, dimension: usize) -> StoredModel {
    voisin::external_model(name, dimension).unwrap()
}

/// Clustered tracks, with tags of which some are rare, and some hostile.
pub(super) fn synthetic(dir: &Path, n: usize, seed: u64) -> Library {
    let mut random = StdRng::seed_from_u64(seed);
    let mut vector = |around: Option<&Vec<f32>>| -> Vec<f32> {
        let mut values: Vec<f32> = (0..DIMENSION)
            .map(|_| random.random_range(-1.0..1.0))
            .collect();
        if let Some(around) = around {
            values
                .iter_mut()
                .zip(around)
                .for_each(|(value, middle)| *value = 0.35 * *value + middle);
        }
        let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        values.iter_mut().for_each(|value| *value /= norm);
        values
    };
    let middles: Vec<Vec<f32>> = (0..40).map(|_| vector(None)).collect();
    let mut library = Library::open(dir, OpenMode::Create).unwrap();
    library.set_model(&model()).unwrap();
    let mut records = Vec::new();
    for i in 0..n {
        let vector = vector(Some(&middles[i % 40]));
        let record = track(i, vector);
        records.push((None, record));
    }
    for some in records.chunks(1000) {
        library.take_in(some).unwrap();
    }
    library
}

#[expect(clippy::too_many_lines, reason = "one scene")]
pub(super) fn track(i: usize, vector: Vec<f32>) -> voisin_library::TrackRecord {
    use voisin_library::{TaggedFile, TrackFacts, TrackRecord};
    let content = content(i);
    let hostile = i % 100 == 7;
    let path = if hostile {
        odd_path(i)
    } else {
        PathBuf::from(format!("/music/{}/album {}/{i}.flac", i % 10, i % 50))
    };
    let tags = TrackTags {
        title: Some(if hostile {
            format!("'; drop table voisin_track; -- {i} %_\\")
        } else {
            format!("title {i}")
        }),
        artist: Some(format!("Ärtist {}", i % 200)),
        album: Some(format!("album {}", i % 50)),
        genres: match i {
            _ if i.is_multiple_of(2) => vec!["Rock".into()],
            _ if i % 1000 == 1 => vec!["Zeuhl".into()],
            _ if i % 10 == 3 => vec!["Jazz".into(), "Pop".into()],
            _ => vec!["Ambient".into()],
        },
        year: (!i.is_multiple_of(3)).then(|| 1950 + (i % 70) as i32),
        licence: i
            .is_multiple_of(5)
            .then(|| "http://creativecommons.org/licenses/by/4.0/".into()),
        ..TrackTags::default()
    };
    // The first rows are as older versions sent them, without scales.
    let mut scales = Scales::new();
    if i >= 40 {
        let energy = ScaleValue {
            value: (i % 101) as f64,
            error: Some(3.1),
        };
        scales.insert("energy".parse().unwrap(), energy);
    }
    let descriptors = Descriptors {
        version: 1,
        tempo: Some(60.0 + (i % 120) as f64),
        key: MusicalKey::from_number((i % 24) as u8),
        loudness: Some(-30.0 + (i % 25) as f64),
        loudness_is_exact: true,
        is_steady: i.is_multiple_of(50),
        scales,
    };
    TrackRecord {
        facts: TrackFacts {
            audio: AudioFacts {
                content,
                seconds: 30.0 + (i % 600) as f64,
                sample_rate: 44_100,
                channels: 2,
                container: "flac".into(),
                codec: "flac".into(),
                packets: 100,
                damaged_packets: 0,
            },
            added_at: 1_700_000_000 + i as i64,
            files: vec![TaggedFile {
                record: FileRecord {
                    path,
                    size: 1,
                    mtime_ns: 1,
                },
                tags,
            }],
            descriptors: Some(descriptors),
            label: None,
        },
        vector,
        logits: vec![i as f32 / 7.0, -1.5],
    }
}

/// Any 32 bytes that differ will do.
fn content(i: usize) -> ContentId {
    let mut random = StdRng::seed_from_u64(i as u64);
    ContentId(std::array::from_fn(|_| random.random()))
}

fn odd_path(i: usize) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    let mut bytes = format!("/music/odd/{i}-").into_bytes();
    bytes.extend_from_slice(b"\xff\n'$1.flac");
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}
