//! The catalogue as its callers use it: rows round-trip, and filters and changes are exact.

#![allow(clippy::unwrap_used)] // A helper that cannot go on ends its test, as unwrap in the test would.

mod opening;
mod written;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use voisin_base::track::{ContentId, TrackId};
use voisin_library::{
    AttachOutcome, AudioFacts, Descriptors, Failure, FileRecord, FileState, Library, LibraryError,
    MusicalKey, NewTrack, OpenMode, Resolution, ScaleBound, ScaleName, ScaleValue, Scales, SortBy,
    StoredModel, TrackFilter, TrackTags,
};

const DIMENSION: usize = 16;

fn model() -> StoredModel {
    StoredModel {
        name: "test-model".into(),
        fingerprint: "f00d".into(),
        dimension: DIMENSION,
        manifest_json: r#"{"name":"test-model"}"#.into(),
    }
}

fn open(dir: &Path) -> Library {
    let mut library = Library::open(dir, OpenMode::Create).unwrap();
    library.set_model(&model()).unwrap();
    library
}

fn content(seed: u64) -> ContentId {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    ContentId(bytes)
}

/// A unit vector that depends on the seed.
fn vector(seed: u64) -> Vec<f32> {
    let raw: Vec<f32> = (0..DIMENSION)
        .map(|i| ((seed as f32 + 1.0) * (i as f32 + 0.7)).sin())
        .collect();
    let norm = raw.iter().map(|v| v * v).sum::<f32>().sqrt();
    raw.into_iter().map(|v| v / norm).collect()
}

/// A path as Unix writes it, as this system has it.
fn rooted(path: impl Into<PathBuf>) -> PathBuf {
    let path = path.into();
    let is_unix = path.to_str().is_some_and(|path| path.starts_with('/'));
    if cfg!(windows) && is_unix {
        format!("C:{}", path.display()).replace('/', "\\").into()
    } else {
        path
    }
}

fn file(path: impl Into<PathBuf>) -> FileRecord {
    FileRecord {
        path: rooted(path),
        size: 1000,
        mtime_ns: 1_600_000_000_123_456_789,
    }
}

fn new_track(seed: u64, path: impl Into<PathBuf>) -> NewTrack {
    NewTrack {
        audio: AudioFacts {
            content: content(seed),
            seconds: 100.5 + seed as f64,
            sample_rate: 44_100,
            channels: 2,
            container: "ogg".into(),
            codec: "vorbis".into(),
            packets: 5000,
            damaged_packets: 3,
        },
        file: file(path),
        tags: TrackTags {
            title: Some(format!("Title {seed}")),
            artist: Some(format!("Artist {}", seed % 5)),
            composer: Some(format!("Composer {}; Another", seed % 2)),
            genres: vec!["Rock".into(), format!("Genre {}", seed % 3)],
            year: Some(1990 + (seed % 10) as i32),
            mbid: Some(format!("{seed:08x}-7e6a-48da-86a9-c1c07a0f47ae")),
            isrc: Some(format!("USRC1{seed:07}")),
            licence: Some("CC BY 4.0".into()),
            ..TrackTags::default()
        },
        vector: vector(seed),
        logits: vec![seed as f32, -1.25, 0.5],
        descriptors: None,
    }
}

fn sound(library: &Library) {
    let health = library.check().unwrap();
    assert!(health.findings.is_empty(), "{health:?}");
}

// ---------------------------------------------------------------- round trips

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn a_track_is_read_as_it_was_stored() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    #[cfg(unix)]
    let path = {
        use std::os::unix::ffi::OsStrExt;
        PathBuf::from(OsStr::from_bytes(
            b"/music/\xff\xfe \n\x1b[31m'; DROP TABLE audio; --.mp3",
        ))
    };
    #[cfg(not(unix))]
    let path = rooted("/music/'; DROP TABLE audio; --.mp3");
    let mut new = new_track(1, &path);
    new.tags = TrackTags {
        title: Some("nul \0 and \u{1F3B5}'\"".into()),
        artist: Some(String::new()),
        album: Some("Á".into()),
        album_artist: None,
        composer: Some("Ž; \u{1F3B5}".into()),
        genres: vec!["b".into(), "a".into(), "b".into(), String::new()],
        year: Some(-5),
        track_number: Some(u32::MAX),
        disc_number: Some(0),
        mbid: None,
        isrc: Some("odd\0".into()),
        licence: Some(String::new()),
        bpm: Some(127.5),
        musical_key: Some("8A".into()),
        replay_gain: Some(-7.03),
    };
    new.file.mtime_ns = -3;
    new.file.size = u64::MAX / 2;
    let before = library.generation().unwrap();
    let id = library.insert_track(&new).unwrap();
    assert_eq!(library.generation().unwrap(), before + 1);

    drop(library);
    let library = Library::open(dir.path(), OpenMode::ReadOnly).unwrap();
    let track = library.track(id).unwrap();
    assert_eq!(track.audio, new.audio);
    assert_eq!(track.tags, new.tags);
    assert_eq!(track.files.len(), 1);
    assert_eq!(track.files[0].record, new.file);
    assert_eq!(track.path, path);
    assert!(track.added_at > 1_600_000_000);
    assert_eq!(library.tracks().unwrap(), vec![track]);
    assert_eq!(library.vector(id).unwrap().unwrap(), new.vector);
    let logits = library.logits(Some(&[id])).unwrap();
    assert_eq!(logits, [(id, new.logits)]);
    let vectors = library.vectors().unwrap();
    assert_eq!(
        (vectors.ids.as_slice(), vectors.generation),
        (&[id][..], before + 1)
    );
    assert_eq!(vectors.values.row(0).to_vec(), new.vector);
    assert_eq!(library.find_by_content(&content(1)).unwrap(), Some(id));
    assert_eq!(library.find_by_content(&content(2)).unwrap(), None);
    assert_eq!(library.find_by_path(&path).unwrap(), Some(id));
    assert_eq!(library.model().unwrap(), Some(model()));
    let status = library.status().unwrap();
    assert_eq!(
        (status.tracks, status.files, status.vectors, status.failures),
        (1, 1, 1, 0)
    );
    assert_eq!(status.generation, 1);
    assert!(matches!(
        library.track(TrackId(77)),
        Err(LibraryError::UnknownTrack(TrackId(77)))
    ));
    sound(&library);
}

#[test]
fn the_library_refuses_records_that_would_spoil_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = Library::open(dir.path(), OpenMode::Create).unwrap();
    assert!(matches!(
        library.insert_track(&new_track(1, "/a.mp3")),
        Err(LibraryError::Refused(_))
    ));
    library.set_model(&model()).unwrap();
    let refuse = |library: &mut Library, change: &dyn Fn(&mut NewTrack)| {
        let mut new = new_track(1, "/a.mp3");
        change(&mut new);
        library.insert_track(&new).unwrap_err()
    };
    for bad in [f32::NAN, f32::INFINITY, 5.0] {
        assert!(matches!(
            refuse(&mut library, &|new| new.vector[3] = bad),
            LibraryError::Refused(_)
        ));
    }
    assert!(matches!(
        refuse(&mut library, &|new| new.vector.fill(0.0)),
        LibraryError::Refused(_)
    ));
    let error = refuse(&mut library, &|new| new.vector.push(0.0));
    assert!(error.to_string().contains("dimension 17"), "{error}");
    assert!(matches!(
        refuse(&mut library, &|new| new.logits[0] = f32::NAN),
        LibraryError::Refused(_)
    ));
    assert_eq!(library.status().unwrap().tracks, 0);

    let id = library.insert_track(&new_track(1, "/a.mp3")).unwrap();
    match library.insert_track(&new_track(1, "/b.mp3")) {
        Err(LibraryError::DuplicateContent { track }) => assert_eq!(track, id),
        other => panic!("{other:?}"),
    }
    let other = StoredModel {
        fingerprint: "beef".into(),
        name: "other".into(),
        ..model()
    };
    let message = library.set_model(&other).unwrap_err().to_string();
    assert!(
        message.contains("test-model (f00d)") && message.contains("other (beef)"),
        "{message}"
    );
    // The same fingerprint may bring a better manifest.
    library
        .set_model(&StoredModel {
            manifest_json: "{}".into(),
            ..model()
        })
        .unwrap();
    assert_eq!(library.model().unwrap().unwrap().manifest_json, "{}");
    library.remove_tracks(&[id]).unwrap();
    library.set_model(&other).unwrap();
    assert_eq!(library.model().unwrap(), Some(other));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn changes_of_a_file_are_seen_whichever_way_the_clock_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    let known = file("/music/a.mp3");
    assert_eq!(library.file_state(&known).unwrap(), FileState::New);
    let id = library.insert_track(&new_track(1, "/music/a.mp3")).unwrap();
    assert_eq!(
        library.file_state(&known).unwrap(),
        FileState::Unchanged(id)
    );
    for mtime_ns in [known.mtime_ns + 1, known.mtime_ns - 1, 0, -1, i64::MIN] {
        assert_eq!(
            library
                .file_state(&FileRecord {
                    mtime_ns,
                    ..known.clone()
                })
                .unwrap(),
            FileState::Changed(id)
        );
    }
    assert_eq!(
        library
            .file_state(&FileRecord {
                size: 999,
                ..known.clone()
            })
            .unwrap(),
        FileState::Changed(id)
    );

    // A failure is stored until the file changes, a transient one not at all.
    let bad = file("/music/bad.mp3");
    let failure = |transient| Failure {
        path: bad.path.clone(),
        size: Some(bad.size),
        mtime_ns: Some(bad.mtime_ns),
        reason: "no audio".into(),
        transient,
        attempts: 0,
        failed_at: 0,
    };
    library.record_failure(&failure(true)).unwrap();
    assert_eq!(library.file_state(&bad).unwrap(), FileState::New);
    library.record_failure(&failure(false)).unwrap();
    assert_eq!(
        library.file_state(&bad).unwrap(),
        FileState::FailedBefore {
            reason: "no audio".into()
        }
    );
    let earlier = FileRecord {
        mtime_ns: bad.mtime_ns - 1,
        ..bad.clone()
    };
    assert_eq!(library.file_state(&earlier).unwrap(), FileState::New);
    let listed = library.failures().unwrap();
    assert_eq!(
        (listed.len(), listed[0].attempts, listed[0].reason.as_str()),
        (1, 2, "no audio")
    );
    assert_eq!(library.status().unwrap().failures, 1);
    assert_eq!(
        library.clear_failures(Some(&[rooted("/other")])).unwrap(),
        0
    );
    assert_eq!(
        library.clear_failures(Some(&[rooted("/music")])).unwrap(),
        1
    );
    assert_eq!(library.file_state(&bad).unwrap(), FileState::New);
    // Success forgets a failure; a failure without size and time is never "before".
    library
        .record_failure(&Failure {
            size: None,
            mtime_ns: None,
            ..failure(false)
        })
        .unwrap();
    assert_eq!(library.file_state(&bad).unwrap(), FileState::New);
    library
        .insert_track(&new_track(2, "/music/bad.mp3"))
        .unwrap();
    assert_eq!(library.failures().unwrap(), vec![]);
    assert_eq!(library.clear_failures(None).unwrap(), 0);
    sound(&library);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn moved_copied_and_retagged_files_keep_their_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let music = dunce::canonicalize(dir.path()).unwrap();
    let mut library = open(&music.join("library"));
    let a = music.join("a.mp3");
    let b = music.join("b.mp3");
    let c = music.join("c.mp3");
    std::fs::write(&a, "x").unwrap();
    let id = library.insert_track(&new_track(1, &a)).unwrap();
    assert_eq!(library.tracks_of_several_files().unwrap(), vec![]);
    let generation = library.generation().unwrap();

    let tags = TrackTags {
        title: Some("New".into()),
        genres: vec!["Jazz".into()],
        ..TrackTags::default()
    };
    let touched = FileRecord {
        size: 1001,
        ..file(&a)
    };
    assert_eq!(
        library.attach_file(id, &touched, &tags).unwrap(),
        AttachOutcome::Retagged
    );
    assert_eq!(library.track(id).unwrap().tags, tags);
    assert_eq!(
        library.file_state(&touched).unwrap(),
        FileState::Unchanged(id)
    );

    std::fs::copy(&a, &b).unwrap();
    assert_eq!(
        library.attach_file(id, &file(&b), &tags).unwrap(),
        AttachOutcome::Duplicate
    );
    assert_eq!(library.track(id).unwrap().files.len(), 2);
    assert_eq!(
        library.tracks_of_several_files().unwrap(),
        vec![library.track(id).unwrap()]
    );

    let written = voisin_library::WrittenTags {
        path: b.clone(),
        before: Vec::new(),
        after: Vec::new(),
        patch: None,
    };
    library.record_written(1, &written).unwrap();
    library.record_written(3, &written).unwrap();
    std::fs::rename(&b, &c).unwrap();
    assert_eq!(
        library.attach_file(id, &file(&c), &tags).unwrap(),
        AttachOutcome::Moved { from: b.clone() }
    );
    let written = [1, 3].map(|run| library.written_into(run, &c).unwrap());
    assert!(written.iter().all(Option::is_some));
    let paths: Vec<_> = library
        .track(id)
        .unwrap()
        .files
        .into_iter()
        .map(|file| file.record.path)
        .collect();
    assert_eq!(paths, vec![a.clone(), c.clone()]);
    assert_eq!(library.find_by_path(&b).unwrap(), None);
    assert_eq!(
        library.generation().unwrap(),
        generation,
        "no vector changed"
    );
    assert!(matches!(
        library.attach_file(TrackId(99), &file(&b), &tags),
        Err(LibraryError::UnknownTrack(TrackId(99)))
    ));

    // The last file but one is removed, then the last, and the vector with it.
    assert_eq!(library.remove_paths(&[c]).unwrap().tracks, 0);
    std::fs::remove_file(&a).unwrap();
    let missing = library.missing_files(None).unwrap();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].absent_folder, None);
    let removed = library.remove_missing(&missing).unwrap();
    assert_eq!((removed.files, removed.tracks), (1, 1));
    assert_eq!(library.vectors().unwrap().ids, vec![]);
    assert_eq!(library.logits(None).unwrap(), []);
    sound(&library);
}

#[test]
fn a_track_is_shown_by_a_file_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let music = dunce::canonicalize(dir.path()).unwrap();
    let mut library = open(&music.join("library"));
    let a = music.join("a.mp3");
    let b = music.join("b.mp3");
    std::fs::write(&a, "1").unwrap();
    std::fs::write(&b, "1").unwrap();
    let id = library.insert_track(&new_track(1, &a)).unwrap();
    let tags = library.track(id).unwrap().tags;
    library.attach_file(id, &file(&b), &tags).unwrap();
    let shown = |library: &Library| {
        let track = library.track(id).unwrap();
        let files = track.files.into_iter();
        let paths: Vec<PathBuf> = files.map(|file| file.record.path).collect();
        assert_eq!((&track.path, &track.tags), (&paths[0], &tags));
        paths
    };
    assert_eq!(shown(&library), [a.clone(), b.clone()]);
    std::fs::remove_file(&a).unwrap();
    let missing = library.missing_files(None).unwrap();
    library.put_missing_last(&missing).unwrap();
    assert_eq!(shown(&library), [b.clone(), a.clone()]);
    // Where both are missing, the order stays.
    std::fs::remove_file(&b).unwrap();
    let missing = library.missing_files(None).unwrap();
    library.put_missing_last(&missing).unwrap();
    assert_eq!(shown(&library), [b, a]);
    sound(&library);
}

#[test]
fn two_files_that_change_names_lose_no_vector() {
    let dir = tempfile::tempdir().unwrap();
    let music = dunce::canonicalize(dir.path()).unwrap();
    let mut library = open(&music.join("library"));
    let a = music.join("a.mp3");
    let b = music.join("b.mp3");
    std::fs::write(&a, "1").unwrap();
    std::fs::write(&b, "2").unwrap();
    let first = library.insert_track(&new_track(1, &a)).unwrap();
    let second = library.insert_track(&new_track(2, &b)).unwrap();
    let generation = library.generation().unwrap();

    // A run finds the audio of b under a: a is attached to the second track, the first has no file now.
    let tags = TrackTags::default();
    assert_eq!(
        library.attach_file(second, &file(&a), &tags).unwrap(),
        AttachOutcome::Duplicate
    );
    let track = library.track(first).unwrap();
    assert_eq!((track.files.len(), track.path.as_path()), (0, a.as_path()));
    assert_eq!(library.check().unwrap().without_file, 1);
    assert_eq!(
        library.attach_file(first, &file(&b), &tags).unwrap(),
        AttachOutcome::Duplicate
    );
    assert_eq!(library.remove_orphans().unwrap(), 0);
    assert_eq!(library.generation().unwrap(), generation);
    assert_eq!(library.find_by_path(&a).unwrap(), Some(second));
    assert_eq!(library.find_by_path(&b).unwrap(), Some(first));

    // Other audio under a: the track that was there is an orphan until the end of the run.
    let third = library.insert_track(&new_track(3, &a)).unwrap();
    assert_eq!(library.vectors().unwrap().ids, vec![first, second, third]);
    assert_eq!(library.remove_orphans().unwrap(), 1);
    assert_eq!(library.vectors().unwrap().ids, vec![first, third]);
    sound(&library);
}

#[test]
fn ids_never_come_back_and_removal_reaches_folders() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    for (seed, path) in ["/m/a/1.mp3", "/m/a/2.mp3", "/m/ab/3.mp3", "/m/a.mp3"]
        .iter()
        .enumerate()
    {
        library.insert_track(&new_track(seed as u64, path)).unwrap();
    }
    let removed = library.remove_paths(&[rooted("/m/a")]).unwrap();
    assert_eq!((removed.files, removed.tracks), (2, 2));
    let left: Vec<_> = library
        .tracks()
        .unwrap()
        .into_iter()
        .map(|track| track.path)
        .collect();
    assert_eq!(left, vec![rooted("/m/ab/3.mp3"), rooted("/m/a.mp3")]);
    library
        .remove_tracks(&[TrackId(4), TrackId(4), TrackId(1000)])
        .unwrap();
    let again = library.insert_track(&new_track(9, "/m/new.mp3")).unwrap();
    assert_eq!(again, TrackId(5));
    let missing = library.missing_files(Some(&rooted("/m/ab"))).unwrap();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].absent_folder, Some(rooted("/m")));
    assert_eq!(library.missing_files(None).unwrap().len(), 2);
    sound(&library);
}

// ---------------------------------------------------------------- generations

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// An index that applies changes from any generation equals the library.
    #[test]
    fn changes_lead_from_any_generation_to_now(ops in prop::collection::vec((0..4_u8, 0..12_u64), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let mut library = open(dir.path());
        let mut history: Vec<BTreeMap<TrackId, Vec<f32>>> = vec![BTreeMap::new()];
        let mut next = 100;
        for (op, seed) in ops {
            let now = history.last().unwrap().clone();
            let victim = now.keys().nth(seed as usize % now.len().max(1)).copied();
            match (op, victim) {
                (0 | 1, _) | (_, None) => {
                    next += 1;
                    let new = new_track(next, format!("/m/{next}.mp3"));
                    let id = library.insert_track(&new).unwrap();
                    history.push(now.into_iter().chain([(id, new.vector)]).collect());
                }
                (2, Some(id)) => {
                    let fresh = vector(seed + 1000);
                    library.replace_vector(id, &fresh, &[]).unwrap();
                    history.push(now.into_iter().chain([(id, fresh)]).collect());
                }
                (_, Some(id)) => {
                    library.remove_tracks(&[id]).unwrap();
                    history.push(now.into_iter().filter(|(known, _)| *known != id).collect());
                }
            }
        }
        prop_assert_eq!(library.generation().unwrap() as usize, history.len() - 1);
        let last = history.last().unwrap();
        for (generation, state) in history.iter().enumerate() {
            let changes = library.changes_since(generation as u64).unwrap().unwrap();
            prop_assert_eq!(changes.generation as usize, history.len() - 1);
            let mut index = state.clone();
            for id in &changes.removed {
                index.remove(id);
            }
            for id in &changes.added {
                let fresh = library.vector(*id).unwrap().unwrap();
                prop_assert!(index.insert(*id, fresh).is_none(), "{id} was there already");
            }
            prop_assert_eq!(&index, last);
        }
        prop_assert!(library.changes_since(history.len() as u64).unwrap().is_none(), "the future");
        let vectors = library.vectors().unwrap();
        prop_assert_eq!(vectors.ids, last.keys().copied().collect::<Vec<_>>());
        sound(&library);
    }
}

#[test]
fn a_truncated_change_log_gives_no_changes() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    for seed in 0..10 {
        library
            .insert_track(&new_track(seed, format!("/m/{seed}")))
            .unwrap();
    }
    let raw = rusqlite::Connection::open(library.dir().join(voisin_library::DATABASE)).unwrap();
    raw.execute("DELETE FROM changes WHERE generation <= 4", [])
        .unwrap();
    assert!(library.changes_since(3).unwrap().is_none());
    assert_eq!(library.changes_since(4).unwrap().unwrap().added.len(), 6);
    assert_eq!(library.changes_since(10).unwrap().unwrap().added.len(), 0);
}

// ---------------------------------------------------------------- filters and words

type Change<'a> = &'a dyn Fn(&mut TrackFilter);

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn filters_pick_the_tracks_they_describe() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    let add =
        |library: &mut Library, seed: u64, path: &str, artist: &str, genres: &[&str], year| {
            let mut new = new_track(seed, path);
            new.tags.artist = Some(artist.into());
            new.tags.genres = genres.iter().map(|&genre| genre.into()).collect();
            new.tags.year = year;
            library.insert_track(&new).unwrap()
        };
    let a = add(
        &mut library,
        1,
        "/m/one/a.mp3",
        "Björk",
        &["Electronic", "Trip-Hop"],
        Some(1995),
    );
    let b = add(
        &mut library,
        2,
        "/m/one/b.mp3",
        "Tricky",
        &["trip hop"],
        Some(1996),
    );
    let c = add(
        &mut library,
        3,
        "/m/onetwo/c.mp3",
        "Miles Davis",
        &["Jazz"],
        Some(1959),
    );
    let d = add(&mut library, 4, "/m/d.mp3", "o'; --", &[], None);
    let all = TrackFilter::default;
    assert!(all().is_empty());
    let names = |names: &[&str]| -> Vec<String> { names.iter().map(|&n| n.to_owned()).collect() };
    let folders = |folders: &[&str]| -> Vec<PathBuf> { folders.iter().map(rooted).collect() };
    let cases: [(Change<'_>, &[TrackId]); 14] = [
        (&|_| {}, &[a, b, c, d]),
        (&|f| f.genres = names(&["TRIP HOP"]), &[a, b]),
        (&|f| f.genres = names(&["jazz", "electronic"]), &[a, c]),
        (&|f| f.artists = names(&["bjork", "O'; --"]), &[a, d]),
        (&|f| f.exclude_artists = names(&["BJÖRK"]), &[b, c, d]),
        (
            &|f| (f.year_from, f.year_to) = (Some(1995), Some(1995)),
            &[a],
        ),
        (&|f| f.year_to = Some(1995), &[a, c]),
        (&|f| f.folders = folders(&["/m/one"]), &[a, b]),
        (
            &|f| f.folders = folders(&["/m/one/", "/m/d.mp3"]),
            &[a, b, d],
        ),
        (&|f| f.folders = folders(&["/"]), &[a, b, c, d]),
        (&|f| f.exclude_folders = folders(&["/m/one"]), &[c, d]),
        (
            &|f| {
                f.folders = folders(&["/m"]);
                f.exclude_folders = folders(&["/m/one/b.mp3", "/m/onetwo"]);
            },
            &[a, d],
        ),
        (
            &|f| (f.seconds_from, f.seconds_to) = (Some(103.0), Some(103.5)),
            &[c],
        ),
        (
            &|f| {
                f.genres = names(&["trip-hop"]);
                f.exclude_artists = names(&["Tricky"]);
            },
            &[a],
        ),
    ];
    for (change, expected) in cases {
        let mut filter = all();
        change(&mut filter);
        let found = library.matching(&filter).unwrap();
        assert_eq!(found.to_vec(), expected, "{filter:?}");
        assert!(!found.contains(TrackId(-1)));
    }
    let both_in_order = library.tracks_by_id(&[b, a, b]).unwrap();
    assert_eq!(
        both_in_order,
        [b, a, b].map(|id| library.track(id).unwrap())
    );
    assert!(matches!(
        library.tracks_by_id(&[a, TrackId(-1)]),
        Err(LibraryError::UnknownTrack(TrackId(-1)))
    ));
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn descriptors_are_kept_with_the_track_and_filter_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    let key = |name: &str| -> MusicalKey { name.parse().unwrap() };
    let add = |library: &mut Library, seed: u64, descriptors| {
        let new = NewTrack {
            descriptors,
            ..new_track(seed, format!("/m/{seed}.mp3"))
        };
        library.insert_track(&new).unwrap()
    };
    let measured = |tempo, name: &str, loudness| Descriptors {
        version: 1,
        tempo: Some(tempo),
        key: Some(key(name)),
        loudness: Some(loudness),
        loudness_is_exact: true,
        is_steady: true,
        scales: Scales::new(),
    };
    let a = add(&mut library, 1, Some(measured(124.0, "Am", -9.5)));
    let b = add(&mut library, 2, Some(measured(62.0, "C", -14.0)));
    let c = add(&mut library, 3, None);
    let d = add(
        &mut library,
        4,
        Some(Descriptors {
            version: 1,
            ..Descriptors::default()
        }),
    );

    let found = library.descriptors(&[a, c, d, TrackId(-1)]).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[&a], measured(124.0, "Am", -9.5));
    assert_eq!(
        found[&d],
        Descriptors {
            version: 1,
            ..Descriptors::default()
        }
    );

    let all = TrackFilter::default();
    let pick = |library: &Library, filter: TrackFilter| library.matching(&filter).unwrap().to_vec();
    let beats = TrackFilter {
        tempo_from: Some(120.0),
        tempo_to: Some(128.0),
        ..all.clone()
    };
    assert_eq!(pick(&library, beats), [a]);
    assert_eq!(
        pick(
            &library,
            TrackFilter {
                tempo_to: Some(100.0),
                ..all.clone()
            }
        ),
        [b]
    );
    assert_eq!(
        pick(
            &library,
            TrackFilter {
                keys: vec![key("8A"), key("D")],
                ..all.clone()
            }
        ),
        [a]
    );

    let exact = Descriptors {
        loudness: Some(-12.5),
        loudness_is_exact: false,
        ..measured(90.0, "F#", 0.0)
    };
    library.set_descriptors(c, &exact).unwrap();
    assert_eq!(library.descriptors(&[c]).unwrap()[&c], exact);
    library.remove_tracks(&[c]).unwrap();
    assert!(library.descriptors(&[c]).unwrap().is_empty());
    library.set_descriptors(c, &exact).unwrap();
    assert!(
        library.descriptors(&[c]).unwrap().is_empty(),
        "a removed track gets none"
    );
}

#[test]
fn scales_filter_sort_and_go_with_their_track() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    let energy: ScaleName = "energy".parse().unwrap();
    let calm: ScaleName = "calm".parse().unwrap();
    let value = |value| ScaleValue::new(value, Some(3.1)).unwrap();
    let measured = |energy_of: f64| Descriptors {
        version: 4,
        scales: Scales::from([(energy, value(energy_of))]),
        ..Descriptors::default()
    };
    let add = |library: &mut Library, seed: u64| {
        let new = NewTrack {
            descriptors: Some(measured(10.0 * seed as f64)),
            ..new_track(seed, format!("/m/{seed}.mp3"))
        };
        library.insert_track(&new).unwrap()
    };
    let a = add(&mut library, 1);
    let b = add(&mut library, 2);
    let c = add(&mut library, 3);
    assert_eq!(library.descriptors(&[b]).unwrap()[&b], measured(20.0));
    let bound = |scale, from, to| TrackFilter {
        scales: vec![ScaleBound { scale, from, to }],
        ..TrackFilter::default()
    };
    let pick = |library: &Library, filter| library.matching(&filter).unwrap().to_vec();
    assert_eq!(pick(&library, bound(energy, Some(20.0), None)), [b, c]);
    assert_eq!(pick(&library, bound(energy, Some(15.0), Some(25.0))), [b]);
    assert_eq!(pick(&library, bound(calm, None, None)), []);
    let given = [(a, 80.0), (b, 5.0)].map(|(id, of)| (id, Scales::from([(calm, value(of))])));
    library.set_scales(&given).unwrap();
    let both = &library.descriptors(&[b]).unwrap()[&b].scales;
    assert_eq!((both[&energy].value, both[&calm].value), (20.0, 5.0));
    let sorted = |by| {
        let mut all = Vec::new();
        let keep = |id| {
            all.push(id);
            true
        };
        library.sorted(by, true, None, keep).unwrap();
        all
    };
    assert_eq!(sorted(SortBy::Scale(calm)), [a, b, c]);
    assert_eq!(sorted(SortBy::Scale(energy)), [c, b, a]);
    // A transferred record includes them.
    let record = library.record(a).unwrap().unwrap();
    let other = tempfile::tempdir().unwrap();
    let mut other = open(other.path());
    other.take_in(&[(None, record)]).unwrap();
    let [taken] = other.track_ids().unwrap()[..] else {
        panic!("one track");
    };
    let scales = library.scale_values(&[a]).unwrap().remove(&a);
    assert_eq!(other.scale_values(&[taken]).unwrap().remove(&taken), scales);

    library.remove_tracks(&[a, b]).unwrap();
    let b = library.insert_track(&new_track(2, "/m/2.mp3")).unwrap();
    assert!(!library.scale_values(&[b]).unwrap().contains_key(&b));
    sound(&library);
}

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn words_ids_and_paths_lead_to_tracks() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    let add = |library: &mut Library, seed: u64, path: &str, artist: &str, title: &str| {
        let mut new = new_track(seed, path);
        new.tags = TrackTags {
            artist: Some(artist.into()),
            title: Some(title.into()),
            ..TrackTags::default()
        };
        library.insert_track(&new).unwrap()
    };
    let joga = add(&mut library, 1, "/m/1.mp3", "Björk", "Jóga");
    let live = add(&mut library, 2, "/m/2.mp3", "Björk", "Jóga (live)");
    let number = add(&mut library, 3, "/m/3.mp3", "Prince", "2");
    let mut untagged = new_track(4, "/m/Unknown Pleasures.ogg");
    untagged.tags = TrackTags::default();
    let untagged = library.insert_track(&untagged).unwrap();

    let resolve = |text: &str| library.resolve(OsStr::new(text), 10).unwrap();
    assert_eq!(
        resolve("joga"),
        Resolution::One(joga),
        "the exact title wins"
    );
    assert_eq!(resolve("bjork JOGA"), Resolution::One(joga));
    assert_eq!(resolve("Jóga Björk"), Resolution::One(joga));
    assert_eq!(resolve("live"), Resolution::One(live));
    match resolve("björk") {
        Resolution::Ambiguous(tracks) => {
            assert_eq!(
                tracks.iter().map(|track| track.id).collect::<Vec<_>>(),
                vec![joga, live]
            );
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(resolve("pleasures"), Resolution::One(untagged));
    assert_eq!(
        resolve("2"),
        Resolution::One(TrackId(2)),
        "an id comes first"
    );
    assert_eq!(resolve("#3"), Resolution::One(number));
    assert_eq!(
        resolve(rooted("/m/../m/1.mp3").to_str().unwrap()),
        Resolution::One(joga)
    );
    for nothing in [
        "",
        "   ",
        "no such thing",
        "#99",
        "99999999999999999999",
        "%",
        "_",
        "' OR 'z'='z",
    ] {
        assert_eq!(resolve(nothing), Resolution::Nothing, "{nothing:?}");
    }
    assert_eq!(library.search_words("bjo", 1).unwrap(), vec![joga]);
    // A query may have thousands of words.
    let many = (0..5000)
        .map(|n| format!("w{n} "))
        .collect::<Vec<_>>()
        .concat();
    assert_eq!(resolve(&many), Resolution::Nothing);
}
