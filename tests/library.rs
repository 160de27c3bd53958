//! The catalogue as its callers see it: what goes in comes out, and nothing committed is lost, with real
//! processes, real kills and real damage.

#![allow(clippy::unwrap_used)] // A helper that cannot go on ends its test, as unwrap in the test would.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use half::f16;
use ndarray::Array2;
use proptest::prelude::*;
use voisin::library::{
    Attached, AudioFacts, Failure, FileRecord, FileState, Finding, Library, LibraryError, NewTrack, OpenMode,
    Resolution, StoredModel, TrackFilter, TrackTags, TrackWindows, salvage,
};
use voisin::track::{ContentId, TrackId};

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

/// A unit vector that differs from seed to seed.
fn vector(seed: u64) -> Vec<f32> {
    let raw: Vec<f32> = (0..DIMENSION).map(|i| ((seed as f32 + 1.0) * (i as f32 + 0.7)).sin()).collect();
    let norm = raw.iter().map(|v| v * v).sum::<f32>().sqrt();
    raw.into_iter().map(|v| v / norm).collect()
}

fn windows(seed: u64, n: usize) -> TrackWindows {
    TrackWindows {
        vectors: Array2::from_shape_fn((n, DIMENSION), |(row, column)| {
            f16::from_f32(vector(seed)[column] * (1.0 + row as f32))
        }),
        starts: (0..n).map(|n| n as f32 * 2.5).collect(),
    }
}

fn file(path: impl Into<PathBuf>) -> FileRecord {
    FileRecord { path: path.into(), size: 1000, mtime_ns: 1_600_000_000_123_456_789 }
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
            genres: vec!["Rock".into(), format!("Genre {}", seed % 3)],
            year: Some(1990 + (seed % 10) as i32),
            ..TrackTags::default()
        },
        vector: vector(seed),
        windows: windows(seed, 3),
    }
}

fn sound(library: &Library) {
    let health = library.check(true).unwrap();
    assert_eq!(health.findings, vec![], "{health:?}");
}

// ---------------------------------------------------------------- what goes in comes out

#[test]
fn a_track_comes_back_as_it_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    #[cfg(unix)]
    let path = {
        use std::os::unix::ffi::OsStrExt;
        PathBuf::from(OsStr::from_bytes(b"/music/\xff\xfe \n\x1b[31m'; DROP TABLE audio; --.mp3"))
    };
    #[cfg(not(unix))]
    let path = PathBuf::from("/music/'; DROP TABLE audio; --.mp3");
    let mut new = new_track(1, &path);
    new.tags = TrackTags {
        title: Some("nul \0 and \u{1F3B5}'\"".into()),
        artist: Some(String::new()),
        album: Some("Á".into()),
        album_artist: None,
        genres: vec!["b".into(), "a".into(), "b".into(), String::new()],
        year: Some(-5),
        track_number: Some(u32::MAX),
        disc_number: Some(0),
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
    assert_eq!(library.windows(id).unwrap().unwrap(), new.windows);
    let vectors = library.vectors().unwrap();
    assert_eq!((vectors.ids.as_slice(), vectors.generation), (&[id][..], before + 1));
    assert_eq!(vectors.values.row(0).to_vec(), new.vector);
    assert_eq!(library.find_by_content(&content(1)).unwrap(), Some(id));
    assert_eq!(library.find_by_content(&content(2)).unwrap(), None);
    assert_eq!(library.find_by_path(&path).unwrap(), Some(id));
    assert_eq!(library.model().unwrap(), Some(model()));
    let status = library.status().unwrap();
    assert_eq!(
        (status.tracks, status.files, status.vectors, status.windows, status.failures),
        (1, 1, 1, 3, 0)
    );
    assert_eq!(status.generation, 1);
    assert!(matches!(library.track(TrackId(77)), Err(LibraryError::UnknownTrack(TrackId(77)))));
    sound(&library);
}

#[test]
fn what_would_spoil_the_library_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = Library::open(dir.path(), OpenMode::Create).unwrap();
    assert!(matches!(library.insert_track(&new_track(1, "/a.mp3")), Err(LibraryError::NoModel)));
    library.set_model(&model()).unwrap();
    let refuse = |library: &mut Library, change: &dyn Fn(&mut NewTrack)| {
        let mut new = new_track(1, "/a.mp3");
        change(&mut new);
        library.insert_track(&new).unwrap_err()
    };
    for bad in [f32::NAN, f32::INFINITY, 5.0] {
        assert!(matches!(refuse(&mut library, &|new| new.vector[3] = bad), LibraryError::BadVector { .. }));
    }
    assert!(matches!(refuse(&mut library, &|new| new.vector.fill(0.0)), LibraryError::BadVector { .. }));
    let error = refuse(&mut library, &|new| new.vector.push(0.0));
    assert!(matches!(error, LibraryError::Dimension { expected: 16, found: 17 }));
    assert!(matches!(
        refuse(&mut library, &|new| new.windows.starts.truncate(1)),
        LibraryError::BadVector { .. }
    ));
    assert!(matches!(
        refuse(&mut library, &|new| new.windows.vectors[(0, 0)] = f16::NAN),
        LibraryError::BadVector { .. }
    ));
    assert_eq!(library.status().unwrap().tracks, 0);

    let id = library.insert_track(&new_track(1, "/a.mp3")).unwrap();
    match library.insert_track(&new_track(1, "/b.mp3")) {
        Err(LibraryError::DuplicateContent { track }) => assert_eq!(track, id),
        other => panic!("{other:?}"),
    }
    let other = StoredModel { fingerprint: "beef".into(), name: "other".into(), ..model() };
    let message = library.set_model(&other).unwrap_err().to_string();
    assert!(message.contains("test-model (f00d)") && message.contains("other (beef)"), "{message}");
    // The same fingerprint may bring a better manifest.
    library.set_model(&StoredModel { manifest_json: "{}".into(), ..model() }).unwrap();
    assert_eq!(library.model().unwrap().unwrap().manifest_json, "{}");
    library.remove_tracks(&[id]).unwrap();
    library.set_model(&other).unwrap();
    assert_eq!(library.model().unwrap(), Some(other));
}

#[test]
fn changes_of_a_file_are_seen_whichever_way_the_clock_goes() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    let known = file("/music/a.mp3");
    assert_eq!(library.file_state(&known).unwrap(), FileState::New);
    let id = library.insert_track(&new_track(1, "/music/a.mp3")).unwrap();
    assert_eq!(library.file_state(&known).unwrap(), FileState::Unchanged(id));
    for mtime_ns in [known.mtime_ns + 1, known.mtime_ns - 1, 0, -1, i64::MIN] {
        assert_eq!(
            library.file_state(&FileRecord { mtime_ns, ..known.clone() }).unwrap(),
            FileState::Changed(id)
        );
    }
    assert_eq!(
        library.file_state(&FileRecord { size: 999, ..known.clone() }).unwrap(),
        FileState::Changed(id)
    );

    // A failure is remembered until the file changes, and one that says nothing of the contents not at all.
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
    assert_eq!(library.file_state(&bad).unwrap(), FileState::FailedBefore { reason: "no audio".into() });
    let earlier = FileRecord { mtime_ns: bad.mtime_ns - 1, ..bad.clone() };
    assert_eq!(library.file_state(&earlier).unwrap(), FileState::New);
    let listed = library.failures().unwrap();
    assert_eq!((listed.len(), listed[0].attempts, listed[0].reason.as_str()), (1, 2, "no audio"));
    assert_eq!(library.status().unwrap().failures, 1);
    assert_eq!(library.clear_failures(Some(&[PathBuf::from("/other")])).unwrap(), 0);
    assert_eq!(library.clear_failures(Some(&[PathBuf::from("/music")])).unwrap(), 1);
    assert_eq!(library.file_state(&bad).unwrap(), FileState::New);
    // Success forgets a failure; a failure without size and time is never "before".
    library.record_failure(&Failure { size: None, mtime_ns: None, ..failure(false) }).unwrap();
    assert_eq!(library.file_state(&bad).unwrap(), FileState::New);
    library.insert_track(&new_track(2, "/music/bad.mp3")).unwrap();
    assert_eq!(library.failures().unwrap(), vec![]);
    assert_eq!(library.clear_failures(None).unwrap(), 0);
    sound(&library);
}

#[test]
fn moved_copied_and_retagged_files_keep_their_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let music = dir.path().canonicalize().unwrap();
    let mut library = open(&music.join("library"));
    let (a, b, c) = (music.join("a.mp3"), music.join("b.mp3"), music.join("c.mp3"));
    std::fs::write(&a, "x").unwrap();
    let id = library.insert_track(&new_track(1, &a)).unwrap();
    let generation = library.generation().unwrap();

    let tags = TrackTags { title: Some("New".into()), genres: vec!["Jazz".into()], ..TrackTags::default() };
    let touched = FileRecord { size: 1001, ..file(&a) };
    assert_eq!(library.attach_file(id, &touched, &tags).unwrap(), Attached::Retagged);
    assert_eq!(library.track(id).unwrap().tags, tags);
    assert_eq!(library.file_state(&touched).unwrap(), FileState::Unchanged(id));

    std::fs::copy(&a, &b).unwrap();
    assert_eq!(library.attach_file(id, &file(&b), &tags).unwrap(), Attached::Duplicate);
    assert_eq!(library.track(id).unwrap().files.len(), 2);

    std::fs::rename(&b, &c).unwrap();
    assert_eq!(library.attach_file(id, &file(&c), &tags).unwrap(), Attached::Moved { from: b.clone() });
    let paths: Vec<_> = library.track(id).unwrap().files.into_iter().map(|file| file.record.path).collect();
    assert_eq!(paths, vec![a.clone(), c.clone()]);
    assert_eq!(library.find_by_path(&b).unwrap(), None);
    assert_eq!(library.generation().unwrap(), generation, "no vector changed");
    assert!(matches!(
        library.attach_file(TrackId(99), &file(&b), &tags),
        Err(LibraryError::UnknownTrack(TrackId(99)))
    ));

    // The last file but one goes, then the last, and the vector with it.
    assert_eq!(library.remove_paths(&[c]).unwrap().tracks, 0);
    std::fs::remove_file(&a).unwrap();
    let missing = library.missing_files(None).unwrap();
    assert_eq!(missing.len(), 1);
    assert!(missing[0].folder_exists);
    let removed = library.remove_missing(&missing).unwrap();
    assert_eq!((removed.files, removed.tracks), (1, 1));
    assert_eq!(library.vectors().unwrap().ids, vec![]);
    assert_eq!(library.windows(id).unwrap(), None);
    sound(&library);
}

#[test]
fn two_files_that_change_names_lose_no_vector() {
    let dir = tempfile::tempdir().unwrap();
    let music = dir.path().canonicalize().unwrap();
    let mut library = open(&music.join("library"));
    let (a, b) = (music.join("a.mp3"), music.join("b.mp3"));
    std::fs::write(&a, "1").unwrap();
    std::fs::write(&b, "2").unwrap();
    let first = library.insert_track(&new_track(1, &a)).unwrap();
    let second = library.insert_track(&new_track(2, &b)).unwrap();
    let generation = library.generation().unwrap();

    // A run finds the audio of b under a: a is attached to the second track, the first has no file now.
    let tags = TrackTags::default();
    assert_eq!(library.attach_file(second, &file(&a), &tags).unwrap(), Attached::Duplicate);
    let track = library.track(first).unwrap();
    assert_eq!((track.files.len(), track.path.as_path()), (0, a.as_path()));
    assert_eq!(library.check(false).unwrap().without_file, 1);
    assert_eq!(library.attach_file(first, &file(&b), &tags).unwrap(), Attached::Duplicate);
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
    for (seed, path) in ["/m/a/1.mp3", "/m/a/2.mp3", "/m/ab/3.mp3", "/m/a.mp3"].iter().enumerate() {
        library.insert_track(&new_track(seed as u64, path)).unwrap();
    }
    let removed = library.remove_paths(&[PathBuf::from("/m/a")]).unwrap();
    assert_eq!((removed.files, removed.tracks), (2, 2));
    let left: Vec<_> = library.tracks().unwrap().into_iter().map(|track| track.path).collect();
    assert_eq!(left, vec![PathBuf::from("/m/ab/3.mp3"), PathBuf::from("/m/a.mp3")]);
    library.remove_tracks(&[TrackId(4), TrackId(4), TrackId(1000)]).unwrap();
    let again = library.insert_track(&new_track(9, "/m/new.mp3")).unwrap();
    assert_eq!(again, TrackId(5));
    let missing = library.missing_files(Some(Path::new("/m/ab"))).unwrap();
    assert_eq!(missing.len(), 1);
    assert!(!missing[0].folder_exists);
    assert_eq!(library.missing_files(None).unwrap().len(), 2);
    sound(&library);
}

// ---------------------------------------------------------------- generations

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// An index that only ever applies changes has what the library has, from whichever generation.
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
                    library.replace_vectors(id, &fresh, &windows(seed, 1)).unwrap();
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
fn a_log_that_was_cut_short_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    for seed in 0..10 {
        library.insert_track(&new_track(seed, format!("/m/{seed}"))).unwrap();
    }
    let raw = rusqlite::Connection::open(library.database_path()).unwrap();
    raw.execute("DELETE FROM changes WHERE generation <= 4", []).unwrap();
    assert!(library.changes_since(3).unwrap().is_none());
    assert_eq!(library.changes_since(4).unwrap().unwrap().added.len(), 6);
    assert_eq!(library.changes_since(10).unwrap().unwrap().added.len(), 0);
}

// ---------------------------------------------------------------- filters and words

#[test]
fn filters_pick_the_tracks_they_describe() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    let add = |library: &mut Library, seed: u64, path: &str, artist: &str, genres: &[&str], year| {
        let mut new = new_track(seed, path);
        new.tags.artist = Some(artist.into());
        new.tags.genres = genres.iter().map(|&genre| genre.into()).collect();
        new.tags.year = year;
        library.insert_track(&new).unwrap()
    };
    let a = add(&mut library, 1, "/m/one/a.mp3", "Björk", &["Electronic", "Trip-Hop"], Some(1995));
    let b = add(&mut library, 2, "/m/one/b.mp3", "Tricky", &["trip hop"], Some(1996));
    let c = add(&mut library, 3, "/m/onetwo/c.mp3", "Miles Davis", &["Jazz"], Some(1959));
    let d = add(&mut library, 4, "/m/d.mp3", "o'; --", &[], None);
    let pick = |filter: TrackFilter| library.matching(&filter).unwrap().to_vec();
    let all = TrackFilter::default();
    assert!(all.is_empty());
    assert_eq!(pick(all.clone()), vec![a, b, c, d]);
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(pick(TrackFilter { genres: names(&["TRIP HOP"]), ..all.clone() }), vec![a, b]);
    assert_eq!(pick(TrackFilter { genres: names(&["jazz", "electronic"]), ..all.clone() }), vec![a, c]);
    assert_eq!(pick(TrackFilter { artists: names(&["bjork", "O'; --"]), ..all.clone() }), vec![a, d]);
    assert_eq!(pick(TrackFilter { exclude_artists: names(&["BJÖRK"]), ..all.clone() }), vec![b, c, d]);
    assert_eq!(pick(TrackFilter { year_from: Some(1995), year_to: Some(1995), ..all.clone() }), vec![a]);
    assert_eq!(pick(TrackFilter { year_to: Some(1995), ..all.clone() }), vec![a, c]);
    assert_eq!(pick(TrackFilter { folders: vec!["/m/one".into()], ..all.clone() }), vec![a, b]);
    assert_eq!(
        pick(TrackFilter { folders: vec!["/m/one/".into(), "/m/d.mp3".into()], ..all.clone() }),
        vec![a, b, d]
    );
    assert_eq!(pick(TrackFilter { folders: vec!["/".into()], ..all.clone() }).len(), 4);
    assert_eq!(
        pick(TrackFilter { seconds_from: Some(103.0), seconds_to: Some(103.5), ..all.clone() }),
        vec![c]
    );
    let both = TrackFilter { genres: names(&["trip-hop"]), exclude_artists: names(&["Tricky"]), ..all };
    let set = library.matching(&both).unwrap();
    assert_eq!(
        (set.len(), set.contains(a), set.contains(b), set.contains(TrackId(-1))),
        (1, true, false, false)
    );
    assert_eq!(library.genre_counts().unwrap()[0], ("Electronic".to_owned(), 1));
}

#[test]
fn words_ids_and_paths_lead_to_tracks() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    let add = |library: &mut Library, seed: u64, path: &str, artist: &str, title: &str| {
        let mut new = new_track(seed, path);
        new.tags =
            TrackTags { artist: Some(artist.into()), title: Some(title.into()), ..TrackTags::default() };
        library.insert_track(&new).unwrap()
    };
    let joga = add(&mut library, 1, "/m/1.mp3", "Björk", "Jóga");
    let live = add(&mut library, 2, "/m/2.mp3", "Björk", "Jóga (live)");
    let number = add(&mut library, 3, "/m/3.mp3", "Prince", "2");
    let mut untagged = new_track(4, "/m/Unknown Pleasures.ogg");
    untagged.tags = TrackTags::default();
    let untagged = library.insert_track(&untagged).unwrap();

    let resolve = |text: &str| library.resolve(OsStr::new(text), 10).unwrap();
    assert_eq!(resolve("joga"), Resolution::One(joga), "the exact title wins");
    assert_eq!(resolve("bjork JOGA"), Resolution::One(joga));
    assert_eq!(resolve("Jóga Björk"), Resolution::One(joga));
    assert_eq!(resolve("live"), Resolution::One(live));
    match resolve("björk") {
        Resolution::Ambiguous(tracks) => {
            assert_eq!(tracks.iter().map(|track| track.id).collect::<Vec<_>>(), vec![joga, live]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(resolve("pleasures"), Resolution::One(untagged));
    assert_eq!(resolve("2"), Resolution::One(TrackId(2)), "an id comes first");
    assert_eq!(resolve("#3"), Resolution::One(number));
    assert_eq!(resolve("/m/../m/1.mp3"), Resolution::One(joga));
    for nothing in ["", "   ", "no such thing", "#99", "99999999999999999999", "%", "_", "' OR 'z'='z"] {
        assert_eq!(resolve(nothing), Resolution::Nothing, "{nothing:?}");
    }
    assert_eq!(library.search_words("bjo", 1).unwrap(), vec![joga]);
    // As many words as anyone likes.
    let many = (0..5000).map(|n| format!("w{n} ")).collect::<Vec<_>>().concat();
    assert_eq!(resolve(&many), Resolution::Nothing);
}

// ---------------------------------------------------------------- opening what is not as it should be

#[test]
fn what_is_no_library_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("voisin.db");
    let modes = [OpenMode::ReadOnly, OpenMode::ReadWrite];
    for mode in modes {
        let error = Library::open(dir.path(), mode).unwrap_err();
        assert!(matches!(error, LibraryError::NotFound { .. }), "{error:?}");
        assert!(error.to_string().contains("voisin add"));
    }
    assert!(!database.exists(), "looking creates nothing");

    std::fs::write(&database, "this is not a database at all, but a text".repeat(100)).unwrap();
    for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite, OpenMode::Create] {
        let error = Library::open(dir.path(), mode).unwrap_err();
        assert!(matches!(error, LibraryError::NotALibrary { .. }), "{error:?}");
    }
    assert!(std::fs::read(&database).unwrap().starts_with(b"this is not"));

    std::fs::remove_file(&database).unwrap();
    let other = rusqlite::Connection::open(&database).unwrap();
    other.execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)").unwrap();
    drop(other);
    let error = Library::open(dir.path(), OpenMode::Create).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");

    std::fs::remove_file(&database).unwrap();
    std::fs::create_dir(&database).unwrap();
    assert!(matches!(Library::open(dir.path(), OpenMode::Create), Err(LibraryError::NotALibrary { .. })));
    std::fs::remove_dir(&database).unwrap();

    // An empty file is what a kill at the first moment leaves.
    std::fs::write(&database, "").unwrap();
    assert!(matches!(Library::open(dir.path(), OpenMode::ReadOnly), Err(LibraryError::NotFound { .. })));
    sound(&open(dir.path()));

    let raw = rusqlite::Connection::open(&database).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    for mode in modes {
        let error = Library::open(dir.path(), mode).unwrap_err();
        assert!(matches!(error, LibraryError::Newer { found: 99, .. }), "{error:?}");
        assert!(error.to_string().contains("newer voisin"), "{error}");
    }
}

#[test]
fn a_library_written_by_schema_1_opens() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy("tests/data/library/v1.db", dir.path().join("voisin.db")).unwrap();
    for mode in [OpenMode::ReadWrite, OpenMode::ReadOnly] {
        let library = Library::open(dir.path(), mode).unwrap();
        sound(&library);
        let status = library.status().unwrap();
        assert_eq!((status.tracks, status.files, status.windows, status.failures), (5, 5, 15, 1));
        assert_eq!(library.model().unwrap(), Some(model()));
        assert_eq!(library.setting("windows").unwrap().as_deref(), Some("30"));
        for (seed, track) in library.tracks().unwrap().into_iter().enumerate() {
            let expected = new_track(seed as u64, format!("/music/{seed}.ogg"));
            assert_eq!((&track.audio, &track.tags), (&expected.audio, &expected.tags));
            assert_eq!(track.files[0].record, expected.file);
            assert_eq!(library.vector(track.id).unwrap().unwrap(), expected.vector);
            assert_eq!(library.windows(track.id).unwrap().unwrap(), expected.windows);
        }
        assert_eq!(library.changes_since(4).unwrap().unwrap().added, vec![TrackId(5)]);
        assert_eq!(library.failures().unwrap()[0].reason, "no audio");
    }
}

/// Writes `tests/data/library/vN.db` for the schema of this source tree, in small pages. Run it once
/// when a schema is released: `cargo test --release --test library write_fixture -- --ignored`.
#[test]
#[ignore = "writes test data"]
fn write_fixture() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    library.set_setting("windows", Some("30")).unwrap();
    for seed in 0..5 {
        library.insert_track(&new_track(seed, format!("/music/{seed}.ogg"))).unwrap();
    }
    library
        .record_failure(&Failure {
            path: "/music/bad.mp3".into(),
            size: Some(1),
            mtime_ns: Some(2),
            reason: "no audio".into(),
            transient: false,
            attempts: 0,
            failed_at: 0,
        })
        .unwrap();
    let path = library.database_path().to_path_buf();
    let target = format!("tests/data/library/v{}.db", voisin::library::SCHEMA_VERSION);
    drop(library);
    let raw = rusqlite::Connection::open(&path).unwrap();
    raw.execute_batch(
        "PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM; PRAGMA journal_mode = WAL",
    )
    .unwrap();
    drop(raw);
    std::fs::copy(path, target).unwrap();
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_written_can_be_read() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    library.insert_track(&new_track(1, "/a.mp3")).unwrap();
    drop(library);
    let set = |mode| std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::set_permissions(dir.path().join("voisin.db"), std::fs::Permissions::from_mode(0o444)).unwrap();
    set(0o555);
    // Root may write anywhere: the child drops to another user, if there is a way to.
    let output = child("read_only_child", dir.path()).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    set(0o755);
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            panic!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        }
        Err(error) => eprintln!("skipped: cannot run a child as another user: {error}"),
    }
}

#[test]
#[ignore = "run by a_folder_that_cannot_be_written_can_be_read"]
fn read_only_child() {
    let dir = child_dir();
    let library = Library::open(&dir, OpenMode::ReadOnly).unwrap();
    assert_eq!(library.tracks().unwrap().len(), 1);
    sound(&library);
    for mode in [OpenMode::ReadWrite, OpenMode::Create] {
        let error = Library::open(&dir, mode).unwrap_err();
        assert!(matches!(error, LibraryError::ReadOnly { .. }), "{error:?}");
    }
    let error = Library::open(&dir.join("new"), OpenMode::Create).unwrap_err();
    assert!(matches!(error, LibraryError::ReadOnly { .. }), "{error:?}");
}

#[test]
fn a_read_only_library_refuses_to_write() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path());
    let mut library = Library::open(dir.path(), OpenMode::ReadOnly).unwrap();
    assert!(matches!(library.insert_track(&new_track(1, "/a.mp3")), Err(LibraryError::ReadOnly { .. })));
    assert!(matches!(library.remove_paths(&["/a".into()]), Err(LibraryError::ReadOnly { .. })));
}

// ---------------------------------------------------------------- damage

fn filled(dir: &Path, n: u64) -> Library {
    let mut library = open(dir);
    for seed in 0..n {
        library.insert_track(&new_track(seed, format!("/m/{seed}.mp3"))).unwrap();
    }
    library
}

#[test]
fn a_cut_database_says_so_and_what_is_left_is_salvaged() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 400));
    let database = dir.path().join("voisin.db");
    let whole = std::fs::read(&database).unwrap();
    let mut salvaged_some = false;
    for share in [0.999, 0.8, 0.5, 0.3] {
        let cut = &whole[..(whole.len() as f64 * share) as usize];
        std::fs::write(&database, cut).unwrap();
        for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite, OpenMode::Create] {
            let error = Library::open(dir.path(), mode).unwrap_err();
            assert!(matches!(error, LibraryError::Damaged { .. }), "{share}: {error:?}");
            assert!(error.to_string().contains("voisin repair"), "{error}");
        }
        assert_eq!(std::fs::read(&database).unwrap(), cut, "opening changes nothing");
        let report = salvage(dir.path()).unwrap();
        assert_eq!(std::fs::read(&report.damaged).unwrap(), cut, "the damaged file is kept");
        assert!(!report.incomplete.is_empty(), "{report:?}");
        let mut library = Library::open(dir.path(), OpenMode::ReadWrite).unwrap();
        let _ = library.repair().unwrap();
        sound(&library);
        assert!(library.generation().unwrap() > 400, "an index of the damaged library must not fit");
        assert!(library.changes_since(400).unwrap().is_none());
        for track in library.tracks().unwrap() {
            let seed = u64::from_le_bytes(track.audio.content.0[..8].try_into().unwrap());
            assert_eq!(track.audio, new_track(seed, "/").audio);
            if let Some(vector) = library.vector(track.id).unwrap() {
                assert_eq!(vector, new_track(seed, "/").vector);
                salvaged_some = true;
            }
        }
    }
    assert!(salvaged_some);
    std::fs::write(&database, &whole[..50]).unwrap();
    assert!(salvage(dir.path()).is_err());
    assert_eq!(std::fs::read(&database).unwrap(), &whole[..50]);
}

#[test]
fn salvage_of_a_sound_database_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let library = filled(dir.path(), 50);
    let (tracks, vectors) = (library.tracks().unwrap(), library.vectors().unwrap());
    drop(library);
    let report = salvage(dir.path()).unwrap();
    assert_eq!(report.incomplete, Vec::<&str>::new());
    let library = Library::open(dir.path(), OpenMode::ReadOnly).unwrap();
    assert_eq!(library.tracks().unwrap(), tracks);
    assert_eq!(library.vectors().unwrap().values, vectors.values);
    assert_eq!(library.genre_counts().unwrap().iter().map(|(_, n)| n).sum::<u64>(), 100);
    sound(&library);
}

#[test]
fn flipped_bits_end_in_an_error_or_a_finding_never_in_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    drop(filled(dir.path(), 60));
    let database = dir.path().join("voisin.db");
    let whole = std::fs::read(&database).unwrap();
    let mut random: u64 = 0x9e37_79b9;
    let mut refused = 0;
    for _ in 0..150 {
        let mut bytes = whole.clone();
        for _ in 0..20 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 20) as usize % bytes.len();
            bytes[at] ^= 1 << (random >> 60 & 7);
        }
        std::fs::write(&database, &bytes).unwrap();
        let outcome = Library::open(dir.path(), OpenMode::ReadOnly).and_then(|library| {
            let _ = (library.tracks(), library.vectors(), library.status(), library.changes_since(0));
            let _ = (library.resolve(OsStr::new("title"), 5), library.matching(&TrackFilter::default()));
            library.check(true).map(|health| health.findings)
        });
        refused += u32::from(!matches!(outcome.as_deref(), Ok([])));
    }
    assert!(refused > 5, "some damage must have been noticed, not {refused}");
}

#[test]
fn repair_mends_and_deletes_nothing_that_cannot_be_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let on_disk = dir.path().join("here.mp3");
    std::fs::write(&on_disk, "x").unwrap();
    let mut library = filled(dir.path(), 5);
    let mut new = new_track(70, &on_disk);
    new.windows = windows(70, 0);
    let here = library.insert_track(&new).unwrap();
    let mut new = new_track(71, "/gone.mp3");
    new.windows = windows(71, 0);
    let gone = library.insert_track(&new).unwrap();

    let raw = rusqlite::Connection::open(library.database_path()).unwrap();
    raw.pragma_update(None, "foreign_keys", false).unwrap();
    let bytes = |vector: &[f32]| vector.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let put = |id: i64, vector: &[f32]| {
        raw.execute("UPDATE vectors SET vector = ?2 WHERE track = ?1", (id, bytes(vector))).unwrap();
    };
    let mut nan = vector(0);
    nan[2] = f32::NAN;
    put(1, &nan);
    put(2, &vector(1).iter().map(|value| value * 3.0).collect::<Vec<_>>());
    put(3, &vector(2)[..7]);
    put(here.0, &nan);
    put(gone.0, &nan);
    raw.execute("UPDATE windows SET starts = x'00' WHERE track = 4", []).unwrap();
    raw.execute("UPDATE state SET tracks = 1000", []).unwrap();
    raw.execute("INSERT INTO vectors VALUES (500, x'00000000')", []).unwrap();
    raw.execute("INSERT INTO genres VALUES (500, 0, 'x', 'x')", []).unwrap();

    let health = library.check(false).unwrap();
    let expected = [
        Finding::Dangling { table: "genres".into(), rows: 1 },
        Finding::Dangling { table: "vectors".into(), rows: 1 },
        Finding::Counter { name: "tracks", stored: 1000, actual: 7 },
        Finding::NotFinite(TrackId(1)),
        Finding::WrongDimension { track: TrackId(3), found: 7 },
        Finding::NotFinite(here),
        Finding::NotFinite(gone),
        Finding::BadWindows(TrackId(4)),
    ];
    for finding in &expected {
        assert!(health.findings.contains(finding), "{finding} not in {:?}", health.findings);
    }
    assert!(health.findings.iter().any(|f| matches!(f, Finding::NotUnit { track: TrackId(2), .. })));

    let generation = library.generation().unwrap();
    let report = library.repair().unwrap();
    assert_eq!((report.repooled, report.renormalised, report.to_embed), (3, 0, 1));
    assert_eq!((report.dangling_rows, report.counters), (2, 1));
    assert_eq!(report.remaining, vec![Finding::NotFinite(gone), Finding::BadWindows(TrackId(4))]);
    assert!(library.generation().unwrap() > generation);
    for (id, seed) in [(1, 0), (2, 1), (3, 2)] {
        let mended = library.vector(TrackId(id)).unwrap().unwrap();
        let cosine: f32 = mended.iter().zip(vector(seed)).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.9999, "{cosine}");
    }
    assert_eq!(library.vector(here).unwrap(), None);
    assert_eq!(library.file_state(&file(&on_disk)).unwrap(), FileState::NoVector(here));
    library.replace_vectors(here, &vector(70), &windows(70, 2)).unwrap();
    assert_eq!(library.file_state(&file(&on_disk)).unwrap(), FileState::Unchanged(here));
    library.replace_vectors(gone, &vector(71), &windows(71, 2)).unwrap();
    library.replace_vectors(TrackId(4), &vector(3), &windows(3, 2)).unwrap();
    sound(&library);
}

// ---------------------------------------------------------------- several processes

/// The command that runs one ignored test of this file as a process of its own.
fn child(test: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env("VOISIN_TEST_DIR", dir);
    #[cfg(unix)]
    if test == "read_only_child" {
        use std::os::unix::fs::MetadataExt;
        use std::os::unix::process::CommandExt;
        if std::fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0) {
            command.uid(65_534);
        }
    }
    command
}

fn child_dir() -> PathBuf {
    std::env::var_os("VOISIN_TEST_DIR").expect("run by another test").into()
}

fn child_number(name: &str) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).expect("run by another test")
}

/// Inserts tracks and says so after each, until killed or done.
#[test]
#[ignore = "run by other tests"]
fn inserting_child() {
    let (dir, first, count) =
        (child_dir(), child_number("VOISIN_TEST_FIRST"), child_number("VOISIN_TEST_COUNT"));
    let mut library = open(&dir);
    for seed in first..first + count {
        library.insert_track(&new_track(seed, format!("/m/{seed}.mp3"))).unwrap();
        println!("\ninserted {seed}");
    }
}

fn inserter(dir: &Path, first: u64, count: u64) -> Child {
    child("inserting_child", dir)
        .env("VOISIN_TEST_FIRST", first.to_string())
        .env("VOISIN_TEST_COUNT", count.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn acknowledged(child: &mut Child) -> impl Iterator<Item = u64> + use<> {
    let output = BufReader::new(child.stdout.take().unwrap());
    output.lines().map_while(Result::ok).filter_map(|line| line.strip_prefix("inserted ")?.parse().ok())
}

fn seeds(library: &Library) -> BTreeSet<u64> {
    library
        .tracks()
        .unwrap()
        .iter()
        .map(|track| u64::from_le_bytes(track.audio.content.0[..8].try_into().unwrap()))
        .collect()
}

fn kill_inserters(kills: u64) {
    let dir = tempfile::tempdir().unwrap();
    let mut promised = BTreeSet::new();
    let mut random = u64::from(std::process::id());
    for round in 0..kills {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut child = inserter(dir.path(), round * 100_000, 100_000);
        let patience = Duration::from_micros(20_000 + (random >> 33) % 60_000);
        let reader = std::thread::spawn({
            let lines = acknowledged(&mut child);
            move || lines.collect::<Vec<u64>>()
        });
        std::thread::sleep(patience);
        child.kill().unwrap();
        child.wait().unwrap();
        promised.extend(reader.join().unwrap());

        let library = open(dir.path());
        let held = seeds(&library);
        let lost: Vec<_> = promised.difference(&held).collect();
        assert!(lost.is_empty(), "round {round}: lost {lost:?}");
        // At most the insertion in hand is there without having been acknowledged, one a round.
        assert!(held.len() as u64 <= promised.len() as u64 + round + 1);
        let status = library.status().unwrap();
        assert_eq!((status.vectors, status.windows), (held.len() as u64, held.len() as u64 * 3));
        assert_eq!(library.generation().unwrap(), held.len() as u64);
    }
    assert!(promised.len() as u64 > kills, "the children were killed before they did anything");
    sound(&open(dir.path()));
}

#[test]
fn twenty_kills_lose_nothing_that_was_acknowledged() {
    kill_inserters(20);
}

#[test]
#[ignore = "the long run"]
fn a_hundred_kills_lose_nothing_that_was_acknowledged() {
    kill_inserters(100);
}

#[test]
fn two_writers_queue_and_a_reader_sees_what_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let reader = Library::open(dir.path(), OpenMode::ReadOnly).unwrap();
    let mut children = [inserter(dir.path(), 0, 150), inserter(dir.path(), 1000, 150)];
    let mut first = acknowledged(&mut children[0]);
    let mut second = acknowledged(&mut children[1]);
    let (mut slowest, mut reads) = (Duration::ZERO, 0);
    let mut seen = BTreeSet::new();
    for (a, b) in std::iter::zip(&mut first, &mut second) {
        let start = Instant::now();
        let snapshot = reader.snapshot().unwrap();
        let vectors = reader.vectors().unwrap();
        let held = seeds(&reader);
        assert_eq!(vectors.generation, held.len() as u64, "one state of the database");
        assert_eq!(vectors.ids.len(), held.len());
        drop(snapshot);
        slowest = slowest.max(start.elapsed());
        reads += 1;
        assert!(held.contains(&a) && held.contains(&b), "acknowledged but not visible");
        assert!(seen.is_subset(&held));
        seen = held;
    }
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(reads, 150);
    assert!(slowest < Duration::from_secs(5), "a reader waited {slowest:?}");
    assert_eq!(seeds(&reader).len(), 300);
    sound(&reader);
}

#[test]
fn many_processes_may_create_one_library_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("not/yet");
    let mut children: Vec<Child> = (0..4).map(|n| inserter(&dir, n * 100, 5)).collect();
    for child in &mut children {
        assert_eq!(acknowledged(child).count(), 5);
        assert!(child.wait().unwrap().success());
    }
    let library = Library::open(&dir, OpenMode::ReadOnly).unwrap();
    assert_eq!(seeds(&library).len(), 20);
    sound(&library);
}

/// Holds the writers' lock until its standard input ends.
#[test]
#[ignore = "run by another test"]
fn locking_child() {
    let library = open(&child_dir());
    let _lock = library.lock_for_writing().unwrap();
    println!("\nlocked");
    let _ = std::io::stdin().lines().count();
}

#[test]
fn one_long_run_at_a_time_and_its_lock_dies_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    let mut holder =
        child("locking_child", dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(holder.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "locked"));
    match library.lock_for_writing() {
        Err(LibraryError::WriterBusy { pid, .. }) => assert_eq!(pid, Some(holder.id())),
        other => panic!("{other:?}"),
    }
    // Small changes need not wait for a long run.
    library.set_setting("x", Some("1")).unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let lock = library.lock_for_writing().unwrap();
    assert!(matches!(library.lock_for_writing(), Err(LibraryError::WriterBusy { .. })));
    drop(lock);
    drop(library.lock_for_writing().unwrap());
}

#[test]
fn a_writer_that_waits_too_long_fails_clearly() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    library.set_busy_timeout(Duration::from_millis(50)).unwrap();
    let mut raw = rusqlite::Connection::open(library.database_path()).unwrap();
    let hold = raw.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
    let error = library.insert_track(&new_track(1, "/a.mp3")).unwrap_err();
    assert!(matches!(error, LibraryError::Locked { .. }), "{error:?}");
    assert_eq!(library.tracks().unwrap().len(), 0, "readers do not wait");
    drop(hold);
    library.insert_track(&new_track(1, "/a.mp3")).unwrap();
}

// ---------------------------------------------------------------- full disk

/// A real file system of eight megabytes. Needs the right to mount, so it is skipped elsewhere; the page
/// limit in the module's own tests stands in for it.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing_that_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "voisin-test"])
        .arg(dir.path())
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no right to mount a file system");
        return;
    }
    let outcome = std::panic::catch_unwind(|| {
        let mut library = open(dir.path());
        let mut held = BTreeSet::new();
        let error = loop {
            let seed = held.len() as u64;
            match library.insert_track(&new_track(seed, format!("/m/{seed}.mp3"))) {
                Ok(_) => held.insert(seed),
                Err(error) => break error,
            };
        };
        assert!(matches!(error, LibraryError::DiskFull { .. }), "{error:?}");
        assert!(held.len() > 20, "{}", held.len());
        assert_eq!(seeds(&library), held, "still readable");
        drop(library);
        // A second process finds the same, even with the disk still full.
        let mut library = Library::open(dir.path(), OpenMode::ReadWrite).unwrap();
        assert_eq!(seeds(&library), held);
        sound(&library);
        // Removing tracks makes room inside the database again.
        let some: Vec<TrackId> = library.tracks().unwrap().iter().map(|track| track.id).take(10).collect();
        let removed = library.remove_tracks(&some);
        assert!(matches!(removed, Ok(_) | Err(LibraryError::DiskFull { .. })), "{removed:?}");
        sound(&library);
    });
    let _ = Command::new("umount").arg(dir.path()).status();
    outcome.unwrap();
}
