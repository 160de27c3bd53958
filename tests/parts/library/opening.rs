//! Opening empty, older, damaged and foreign libraries.

#[cfg(unix)]
use super::processes::child;
use super::processes::child_dir;
use super::*;
use voisin::Remedy;

#[test]
fn opening_refuses_foreign_folders_and_leaves_them_alone() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("voisin.db");
    let modes = [OpenMode::ReadOnly, OpenMode::ReadWrite];
    for mode in modes {
        let error = Library::open(dir.path(), mode).unwrap_err();
        assert!(matches!(error, LibraryError::NotFound { .. }), "{error:?}");
        assert!(error.remedy() == Some(Remedy::AddMusicOrOtherLibrary));
    }
    assert!(!database.exists(), "opening for reading creates nothing");

    std::fs::write(
        &database,
        "this is not a database at all, but a text".repeat(100),
    )
    .unwrap();
    for mode in [OpenMode::ReadOnly, OpenMode::ReadWrite, OpenMode::Create] {
        let error = Library::open(dir.path(), mode).unwrap_err();
        assert!(
            matches!(error, LibraryError::NotALibrary { .. }),
            "{error:?}"
        );
    }
    assert!(
        std::fs::read(&database)
            .unwrap()
            .starts_with(b"this is not")
    );

    std::fs::remove_file(&database).unwrap();
    let other = rusqlite::Connection::open(&database).unwrap();
    other
        .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    drop(other);
    let error = Library::open(dir.path(), OpenMode::Create).unwrap_err();
    assert!(error.to_string().contains("another program"), "{error}");

    std::fs::remove_file(&database).unwrap();
    std::fs::create_dir(&database).unwrap();
    assert!(matches!(
        Library::open(dir.path(), OpenMode::Create),
        Err(LibraryError::NotALibrary { .. })
    ));
    std::fs::remove_dir(&database).unwrap();

    // A kill at the first moment leaves an empty file.
    std::fs::write(&database, "").unwrap();
    assert!(matches!(
        Library::open(dir.path(), OpenMode::ReadOnly),
        Err(LibraryError::NotFound { .. })
    ));
    sound(&open(dir.path()));

    let raw = rusqlite::Connection::open(&database).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    drop(raw);
    for mode in modes {
        let error = Library::open(dir.path(), mode).unwrap_err();
        assert!(
            matches!(error, LibraryError::Newer { found: 99, .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains("newer voisin"), "{error}");
    }
}

#[test]
fn libraries_written_by_every_schema_open() {
    for version in 1..=voisin_library::SCHEMA_VERSION {
        opens(version);
    }
}

fn opens(version: u32) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(
        format!("tests/data/library/v{version}.db"),
        dir.path().join("voisin.db"),
    )
    .unwrap();
    for mode in [OpenMode::ReadWrite, OpenMode::ReadOnly] {
        let library = Library::open(dir.path(), mode).unwrap();
        sound(&library);
        let status = library.status().unwrap();
        assert_eq!(
            (status.tracks, status.files, status.windows, status.failures),
            (5, 5, 15, 1)
        );
        assert_eq!(library.model().unwrap(), Some(model()));
        assert_eq!(
            library.settings().setting("windows").unwrap().as_deref(),
            Some("30")
        );
        for (seed, track) in library.tracks().unwrap().into_iter().enumerate() {
            let expected = new_track(seed as u64, format!("/music/{seed}.ogg"));
            let mut tags = expected.tags;
            if version == 1 {
                (tags.mbid, tags.isrc, tags.licence) = (None, None, None);
            }
            // Composers were not read then: the next add does.
            let state = library.files().file_state(&track.files[0].record).unwrap();
            if version < 7 {
                tags.composer = None;
                assert_eq!(state, FileState::OldTags(track.id));
            } else {
                assert_eq!(state, FileState::Unchanged(track.id));
            }
            assert_eq!((&track.audio, &track.tags), (&expected.audio, &tags));
            // The paths are those of the system that wrote the file.
            let path = PathBuf::from(format!("/music/{seed}.ogg"));
            assert_eq!(
                track.files[0].record,
                FileRecord {
                    path,
                    ..expected.file
                }
            );
            // Sines differ in their last bits between systems.
            let vector = library.vector(track.id).unwrap().unwrap();
            assert!(
                vector
                    .iter()
                    .zip(&expected.vector)
                    .all(|(a, b)| (a - b).abs() < 1e-6)
            );
            assert_eq!(
                library.windows(track.id).unwrap().unwrap(),
                expected.windows
            );
        }
        assert_eq!(
            library.changes().changes_since(4).unwrap().unwrap().added,
            vec![TrackId(5)]
        );
        assert_eq!(library.files().failures().unwrap()[0].reason, "no audio");
        if version < 12 {
            assert_eq!(library.spaces().all().unwrap().len(), 1);
        } else {
            has_its_space(dir.path(), mode);
        }
    }
    let backup = dir.path().join(format!("voisin.db.backup-v{version}"));
    assert_eq!(backup.exists(), version < voisin_library::SCHEMA_VERSION);
}

/// The model of a space beside the default one.
fn second_model() -> StoredModel {
    StoredModel {
        name: "reader".into(),
        fingerprint: "fingerprint-of-reader".into(),
        dimension: 2,
        ..model()
    }
}

/// A track's vector there, and one window.
fn in_second_space(id: i64) -> (Vec<f32>, TrackWindows) {
    let vector = if id % 2 == 0 { [0.6, 0.8] } else { [0.8, 0.6] };
    let windows = TrackWindows {
        vectors: ndarray::Array2::from_elem((1, 2), half::f16::from_f32(0.25)),
        starts: vec![id as f32],
    };
    (vector.to_vec(), windows)
}

/// A second space, which libraries can have since schema 12.
fn has_its_space(dir: &Path, mode: OpenMode) {
    let inside = Library::open_in_space(dir, mode, Some("words")).unwrap();
    assert_eq!(inside.model().unwrap(), Some(second_model()));
    let status = inside.status().unwrap();
    assert_eq!((status.tracks, status.vectors, status.windows), (5, 4, 4));
    for id in 1..=4 {
        let (vector, windows) = in_second_space(id);
        assert_eq!(inside.vector(TrackId(id)).unwrap(), Some(vector));
        assert_eq!(inside.windows(TrackId(id)).unwrap(), Some(windows));
    }
    assert_eq!(
        inside.changes().changes_since(3).unwrap().unwrap().added,
        vec![TrackId(4)]
    );
}

/// Writes `tests/data/library/vN.db` for the schema of this source tree, in small pages. Run it once
/// when a schema is released: `cargo test --release --test parts library::opening::write_fixture -- --ignored`.
#[test]
#[ignore = "writes test data"]
fn write_fixture() {
    let dir = tempfile::tempdir().unwrap();
    let mut library = open(dir.path());
    library
        .settings_mut()
        .set_setting("windows", Some("30"))
        .unwrap();
    for seed in 0..5 {
        library
            .insert_track(&new_track(seed, format!("/music/{seed}.ogg")))
            .unwrap();
    }
    library
        .files_mut()
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
    let space = second_model();
    library.spaces_mut().begin_space("words", &space).unwrap();
    for id in 1..=4 {
        let (vector, windows) = in_second_space(id);
        library
            .spaces_mut()
            .put_other_vectors(&space.fingerprint, TrackId(id), &vector, &windows)
            .unwrap();
    }
    let path = library.database_path().to_path_buf();
    let target = format!("tests/data/library/v{}.db", voisin_library::SCHEMA_VERSION);
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
    let set =
        |mode| std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::set_permissions(
        dir.path().join("voisin.db"),
        std::fs::Permissions::from_mode(0o444),
    )
    .unwrap();
    set(0o555);
    // Root may write anywhere: the child drops to another user, if there is a way to.
    let output = child("opening::read_only_child", dir.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output();
    set(0o755);
    match output {
        // An unknown test name runs no test, and succeeds.
        Ok(output)
            if output.status.success()
                && String::from_utf8_lossy(&output.stdout).contains("1 passed") => {}
        Ok(output) => {
            panic!(
                "{}\n{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
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
    assert!(matches!(
        library.insert_track(&new_track(1, "/a.mp3")),
        Err(LibraryError::ReadOnly { .. })
    ));
    assert!(matches!(
        library.files_mut().remove_paths(&["/a".into()]),
        Err(LibraryError::ReadOnly { .. })
    ));
}
