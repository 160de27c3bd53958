//! Tests that need the inside of the catalogue: migrations to come, a full disk in miniature.

use std::path::Path;

use half::f16;
use ndarray::Array2;
use rusqlite_migration::M;

use super::open::{PAGE_SIZE, migrations};
use super::*;
use crate::track::{ContentId, TrackId};

fn unit_vector(seed: u64, dimension: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let raw: Vec<f32> = (0..dimension)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
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
            genres: vec![format!("Genre {}", seed % 20), format!("Genre {}", seed % 7)],
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

fn model(dimension: usize) -> StoredModel {
    StoredModel { name: "m".into(), fingerprint: "f".into(), dimension, manifest_json: "{}".into() }
}

fn open(dir: &Path, dimension: usize) -> Library {
    let mut library = Library::open(dir, OpenMode::Create).unwrap();
    library.set_model(&model(dimension)).unwrap();
    library
}

#[test]
fn migrations_are_well_formed() {
    rusqlite_migration::Migrations::from_slice(&migrations()).validate().unwrap();
}

#[test]
fn a_migration_keeps_a_copy_and_all_rows() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path(), 8);
    let id = library.insert_track(&track(1, 8, 2)).unwrap();
    drop(library);
    let future: Vec<M<'_>> =
        migrations().into_iter().chain([M::up("ALTER TABLE audio ADD COLUMN mood TEXT;")]).collect();
    let (now, next) = (i64::from(SCHEMA_VERSION), i64::from(SCHEMA_VERSION) + 1);

    let refused = Library::open_with(dir.path(), OpenMode::ReadOnly, &future, PAGE_SIZE).unwrap_err();
    assert!(
        matches!(refused, LibraryError::NeedsMigration { found, expected, .. } if (found, expected) == (now, next)),
        "{refused:?}"
    );

    let library = Library::open_with(dir.path(), OpenMode::ReadWrite, &future, PAGE_SIZE).unwrap();
    assert_eq!(library.status().unwrap().schema, SCHEMA_VERSION + 1);
    assert_eq!(library.vector(id).unwrap().unwrap(), unit_vector(1, 8));
    library.connection.execute("UPDATE audio SET mood = 'calm'", []).unwrap();
    drop(library);

    // The copy is the library as it was, and this voisin opens it.
    let copy = dir.path().join(format!("voisin.db.backup-v{now}"));
    let restored = tempfile::tempdir().unwrap();
    std::fs::copy(&copy, restored.path().join(DATABASE)).unwrap();
    let restored = Library::open(restored.path(), OpenMode::ReadWrite).unwrap();
    assert_eq!(restored.track(id).unwrap().tags, track(1, 8, 2).tags);
    assert_eq!(restored.check(true).unwrap().findings, vec![]);

    // The older voisin refuses what the newer one wrote.
    let newer = Library::open(dir.path(), OpenMode::ReadWrite).unwrap_err();
    assert!(
        matches!(newer, LibraryError::Newer { found, expected, .. } if (found, expected) == (next, now)),
        "{newer:?}"
    );
    let left: Vec<_> =
        std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with(".voisin-")), "{left:?}");
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path(), 8);
    library.insert_track(&track(1, 8, 2)).unwrap();
    drop(library);
    let broken: Vec<M<'_>> = migrations()
        .into_iter()
        .chain([M::up("DELETE FROM vectors; ALTER TABLE no_such_table ADD COLUMN x TEXT;")])
        .collect();
    let error = Library::open_with(dir.path(), OpenMode::ReadWrite, &broken, PAGE_SIZE).unwrap_err();
    assert!(
        matches!(error, LibraryError::Migration { from, .. } if from == i64::from(SCHEMA_VERSION)),
        "{error:?}"
    );
    let library = Library::open(dir.path(), OpenMode::ReadOnly).unwrap();
    assert_eq!(library.status().unwrap().vectors, 1);
    assert_eq!(library.check(true).unwrap().findings, vec![]);
}

/// A limit on the number of pages ends in the same error as a full disk, on every system.
#[test]
fn a_database_that_may_not_grow_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path(), 64);
    let pages = library.pragma("page_count").unwrap();
    library.connection.pragma_update(None, "max_page_count", pages + 40).unwrap();
    let mut held = Vec::new();
    let error = loop {
        match library.insert_track(&track(held.len() as u64, 64, 20)) {
            Ok(id) => held.push(id),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, LibraryError::DiskFull { .. }), "{error:?}");
    assert!(held.len() > 5);
    assert_eq!(library.vectors().unwrap().ids, held);
    assert_eq!(library.check(true).unwrap().findings, vec![]);
    // Once there is room, the same connection goes on.
    library.connection.pragma_update(None, "max_page_count", pages + 400).unwrap();
    library.insert_track(&track(held.len() as u64, 64, 20)).unwrap();
    assert_eq!(library.status().unwrap().tracks as usize, held.len() + 1);
}

#[test]
fn the_log_of_changes_is_pruned() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path(), 8);
    library.connection.execute("UPDATE state SET generation = 200000", []).unwrap();
    library
        .connection
        .execute("INSERT INTO changes VALUES (1, 1, 0), (68929, 1, 0), (68930, 1, 0)", [])
        .unwrap();
    library.insert_track(&track(1, 8, 0)).unwrap();
    let oldest: i64 =
        library.connection.query_row("SELECT min(generation) FROM changes", [], |row| row.get(0)).unwrap();
    assert_eq!(oldest, 200_001 - 131_072 + 1);
    assert!(library.changes_since(68_929).unwrap().is_none());
    assert_eq!(library.changes_since(200_000).unwrap().unwrap().added, vec![TrackId(1)]);
}

#[test]
fn a_snapshot_stays_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = open(dir.path(), 8);
    let reader = Library::open(dir.path(), OpenMode::ReadOnly).unwrap();
    writer.insert_track(&track(1, 8, 1)).unwrap();
    let snapshot = reader.snapshot().unwrap();
    assert_eq!(reader.generation().unwrap(), 1);
    writer.insert_track(&track(2, 8, 1)).unwrap();
    assert_eq!((reader.generation().unwrap(), reader.tracks().unwrap().len()), (1, 1));
    drop(snapshot);
    assert_eq!((reader.generation().unwrap(), reader.tracks().unwrap().len()), (2, 2));
}

#[test]
fn an_upgrade_keeps_the_current_vectors_until_it_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path(), 4);
    let ids: Vec<TrackId> = (1..=3).map(|seed| library.insert_track(&track(seed, 4, 2)).unwrap()).collect();
    let other = |name: &str| StoredModel { name: name.into(), fingerprint: name.into(), ..model(6) };
    assert!(matches!(library.begin_upgrade(&model(4)), Err(LibraryError::SameModel { .. })));
    let new = track(1, 6, 2);
    let early = library.put_upgraded(ids[0], &new.vector, &new.windows);
    assert!(matches!(early, Err(LibraryError::NoUpgrade)), "{early:?}");
    library.begin_upgrade(&other("next")).unwrap();
    library.begin_upgrade(&other("next")).unwrap();
    let generation = library.generation().unwrap();
    for id in &ids[..2] {
        library.put_upgraded(*id, &new.vector, &new.windows).unwrap();
    }
    let wrong = track(1, 4, 2);
    let wrong = library.put_upgraded(ids[2], &wrong.vector, &wrong.windows);
    assert!(matches!(wrong, Err(LibraryError::Dimension { expected: 6, found: 4 })), "{wrong:?}");
    let second = library.begin_upgrade(&other("third"));
    assert!(matches!(second, Err(LibraryError::OtherUpgrade { done: 2, tracks: 3, .. })), "{second:?}");
    assert_eq!(library.tracks_to_upgrade().unwrap(), ids[2..]);
    // Nothing of it is seen but by who asks for it.
    let status = library.status().unwrap();
    assert_eq!((status.generation, status.vectors, status.windows), (generation, 3, 6));
    assert_eq!((library.model().unwrap(), status.upgrade.unwrap().done), (Some(model(4)), 2));
    assert_eq!(library.vector(ids[0]).unwrap().unwrap(), unit_vector(1, 4));
    assert_eq!(library.finish_upgrade(false).unwrap(), 1);
    assert_eq!(library.model().unwrap(), Some(model(4)), "one track is missing");
    library.put_upgraded(TrackId(99), &new.vector, &new.windows).unwrap();
    library.put_upgraded(ids[2], &new.vector, &new.windows).unwrap();
    assert_eq!(library.finish_upgrade(false).unwrap(), 0);
    let status = library.status().unwrap();
    assert_eq!((status.model, status.upgrade), (Some(other("next")), None));
    assert_eq!((status.vectors, status.windows), (3, 6));
    assert_eq!(library.changes_since(generation).unwrap(), None, "no index of before can be caught up");
    let rows = |library: &Library| -> i64 {
        library.connection.query_row("SELECT count(*) FROM vectors", [], |row| row.get(0)).unwrap()
    };
    assert_eq!(rows(&library), 6, "a kill here leaves the old vectors, which the next upgrade clears away");
    library.forget_other_models().unwrap();
    assert_eq!(rows(&library), 3);
    assert_eq!(library.check(true).unwrap().findings, vec![]);

    library.begin_upgrade(&other("third")).unwrap();
    library.put_upgraded(ids[0], &new.vector, &new.windows).unwrap();
    assert!(library.abandon_upgrade().unwrap() && !library.abandon_upgrade().unwrap());
    assert_eq!((rows(&library), library.model().unwrap()), (3, Some(other("next"))));
    library.begin_upgrade(&other("third")).unwrap();
    assert_eq!(library.finish_upgrade(true).unwrap(), 3);
    assert_eq!((library.status().unwrap().vectors, library.status().unwrap().tracks), (0, 3));
}
