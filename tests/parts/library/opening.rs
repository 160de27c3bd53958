//! Opening empty, damaged and foreign libraries.

use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "one scene")]
fn opening_refuses_foreign_folders_and_leaves_them_alone() {
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("voisin.db");
    let modes = [OpenMode::ReadOnly, OpenMode::ReadWrite];
    for mode in modes {
        let error = Library::open(dir.path(), mode).unwrap_err();
        assert!(matches!(error, LibraryError::NotFound { .. }), "{error:?}");
        assert!(error.to_string().contains("voisin add FOLDER"));
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
            matches!(error, LibraryError::OtherSchema { found: 99, .. }),
            "{error:?}"
        );
        assert!(
            error.to_string().contains("another version of voisin"),
            "{error}"
        );
    }
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
        library.remove_paths(&["/a".into()]),
        Err(LibraryError::ReadOnly { .. })
    ));
}
