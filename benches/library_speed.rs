#![allow(clippy::print_stdout, missing_docs, reason = "an example that prints")]
//! The cost of the library's database: `library_speed [TRACKS [DIR]]`, 100 000 tracks of 512 dimensions in a temporary folder
//! of DIR (`/dev/shm` leaves the disk out). Medians, and on Linux the smallest CPU time.

use std::io::Write;
use std::time::{Duration, Instant};

use half::f16;
use ndarray::Array2;
use voisin_base::track::{ContentId, TrackId};
use voisin_library::{
    AudioFacts, FileRecord, FileState, Library, LibraryError, NewTrack, OpenMode, StoredModel,
    TrackFilter, TrackTags, TrackWindows,
};

const DIMENSION: usize = 512;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn unit_vector(seed: u64, dimension: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let raw: Vec<f32> = (0..dimension)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 40) as f32 / (1 << 23) as f32) - 1.0
        })
        .collect();
    let norm = raw.iter().map(|v| v * v).sum::<f32>().sqrt();
    raw.into_iter().map(|v| v / norm).collect()
}

fn track(seed: u64, dimension: usize, windows: usize) -> NewTrack {
    let mut content = [0; 32];
    content[..8].copy_from_slice(&seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    content[8..16].copy_from_slice(&seed.to_le_bytes());
    NewTrack {
        audio: AudioFacts {
            content: ContentId(content),
            seconds: 240.0,
            sample_rate: 44_100,
            channels: 2,
            container: "mp3".into(),
            codec: "mp3".into(),
            packets: 9000,
            damaged_packets: 0,
        },
        file: FileRecord {
            path: format!(
                "/music/Artist {}/Album {}/{:02} Title {seed}.mp3",
                seed / 100,
                seed / 10,
                seed % 10
            )
            .into(),
            size: 9_000_000 + seed,
            mtime_ns: 1_700_000_000_000_000_000 + seed as i64,
        },
        tags: TrackTags {
            title: Some(format!("Title {seed}")),
            artist: Some(format!("Artist {}", seed / 100)),
            album: Some(format!("Album {}", seed / 10)),
            album_artist: None,
            genres: vec![
                format!("Genre {}", seed % 20),
                format!("Genre {}", seed % 7),
            ],
            year: Some(1960 + (seed % 60) as i32),
            track_number: Some(seed as u32 % 10),
            disc_number: Some(1),
            ..TrackTags::default()
        },
        vector: unit_vector(seed, dimension),
        windows: TrackWindows {
            vectors: Array2::from_elem((windows, dimension), f16::from_f32(0.25)),
            starts: (0..windows).map(|n| n as f32).collect(),
        },
        descriptors: None,
    }
}

/// CPU time of this thread; zero except on Linux. The kernel updates a running thread's time once a tick, and when it yields.
fn processor() -> Duration {
    std::thread::yield_now();
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(
        text.split(' ')
            .next()
            .and_then(|nanos| nanos.parse().ok())
            .unwrap_or(0),
    )
}

/// Runs `work` some times and prints its figures.
fn time<T, E: std::error::Error + 'static>(
    name: &str,
    times: usize,
    mut work: impl FnMut() -> Result<T, E>,
) -> Outcome {
    let mut walls = Vec::new();
    let mut least = Duration::MAX;
    for _ in 0..times {
        let start = Instant::now();
        let before = processor();
        work()?;
        walls.push(start.elapsed());
        least = least.min(processor().saturating_sub(before));
    }
    walls.sort_unstable();
    println!(
        "{name}: median of {times} {:?}, slowest {:?}, CPU {least:?}",
        walls[times / 2],
        walls[times - 1]
    );
    Ok(())
}

fn main() -> Outcome {
    let mut arguments = std::env::args().skip(1);
    let tracks: u64 = arguments.next().as_deref().unwrap_or("100000").parse()?;
    let parent = arguments.next().map_or_else(std::env::temp_dir, Into::into);
    let dir = tempfile::tempdir_in(parent)?;
    let mut library = Library::open(dir.path(), OpenMode::Create)?;
    library.set_model(&StoredModel {
        name: "made".into(),
        fingerprint: "made".into(),
        dimension: DIMENSION,
        manifest_json: "{}".into(),
    })?;
    let mut file = std::fs::File::create(dir.path().join("flush"))?;
    time("writing 150 kB and flushing", 200, || {
        file.write_all(&vec![1; 150_000])?;
        file.sync_data()
    })?;
    let mut seeds = tracks..;
    time("insert with 30 windows", 500, || {
        library.insert_track(&track(seeds.next().unwrap_or(0), DIMENSION, 30))
    })?;
    let start = Instant::now();
    for seed in 0..tracks {
        library.insert_track(&track(seed, DIMENSION, 0))?;
    }
    println!("{tracks} inserts without windows: {:?}", start.elapsed());
    time("open", 5, || Library::open(dir.path(), OpenMode::ReadOnly))?;
    time("status", 5, || library.status())?;
    time("vectors", 5, || library.vectors())?;
    time("tracks", 5, || library.tracks())?;
    let files: Vec<FileRecord> = (0..tracks).map(|seed| track(seed, 1, 0).file).collect();
    time("file_state of all", 5, || {
        files.iter().try_for_each(|file| {
            let state = library.files().file_state(file)?;
            assert!(
                matches!(state, FileState::Unchanged(_)),
                "{}",
                file.path.display()
            );
            Ok::<_, LibraryError>(())
        })
    })?;
    let genre = TrackFilter {
        genres: vec!["genre 1".into()],
        ..TrackFilter::default()
    };
    time("filter by genre", 5, || library.matching(&genre))?;
    let exclude_artists = vec!["Artist 3".into()];
    let year = TrackFilter {
        year_from: Some(1990),
        exclude_artists,
        ..TrackFilter::default()
    };
    time("filter by year, without an artist", 5, || {
        library.matching(&year)
    })?;
    time("words", 5, || {
        library.lookup().search_words("artist 17 title 17", 10)
    })?;
    let before = library.changes().generation()?.saturating_sub(10_000);
    time("changes of the last 10 000", 5, || {
        library.changes().changes_since(before)
    })?;
    time("check", 1, || library.check())?;
    let ids: Vec<TrackId> = (1..=1000).map(TrackId).collect();
    time("removal of 1 000 tracks", 1, || library.remove_tracks(&ids))
}
